//! The rules by which runs and pruning work on one store without locks (docs/RETENTION.md). Plain decisions, no I/O: runs, pruning and the
//! simulation of both take them from here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// The times that the rules go by. Whoever writes to a store and whoever prunes it must have the same: they aren't settings.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The grace period: a pack that nothing names is kept until it is older than this, and so long a note or a checkpoint keeps what it names.
    pub grace: Duration,
    /// A run commits only while its LIST of snapshots/ is younger than this.
    pub list: Duration,
    /// What a broken run sent is reused only while it, or a checkpoint that names it, is younger than this.
    pub resume: Duration,
    /// A prune deletes only while its own first LIST is younger than this.
    pub plan: Duration,
    #[cfg(test)]
    pub(crate) off: Option<Off>,
}

/// What a test may do without, to see that it is needed.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    /// A parent is a parent whether or not the LIST shows it.
    Parent,
    /// What local state remembers is reused, whichever snapshot or broken run it is of.
    Reuse,
    /// A run commits whenever it is done.
    List,
    /// Notes keep no packs.
    Notes,
    /// Checkpoints keep no packs.
    Checkpoints,
    /// A pack's age doesn't matter.
    Age,
    /// A prune deletes whenever it comes to it.
    Plan,
}

impl Default for Rules {
    /// `resume + list + plan` is less than `grace`: what is left over is for clocks that differ and requests that take long.
    fn default() -> Self {
        let grace = 7 * 24 * HOUR;
        Self {
            grace,
            list: grace / 2,
            resume: grace / 4,
            plan: grace / 8,
            #[cfg(test)]
            off: None,
        }
    }
}

/// What a chunk in the store is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The snapshot that the run compares with.
    Parent {
        /// Whether the run's LIST showed it.
        listed: bool,
    },
    /// A run that was broken off.
    Broken {
        /// The pack's age, by the store's clock.
        age: Duration,
        /// Whether a checkpoint names it that [`Rules::trusts_checkpoint`].
        named: bool,
    },
    /// Anything else that local state remembers.
    Remembered,
}

impl Rules {
    /// Whether a run may name a chunk where it is, instead of sending it.
    pub fn may_reuse(&self, known: Known) -> bool {
        match known {
            Known::Parent { listed } => listed || self.without(Missing::Parent),
            Known::Broken { age, named } => named || age <= self.resume || self.without(Missing::Reuse),
            Known::Remembered => self.without(Missing::Reuse),
        }
    }

    /// Whether what a checkpoint of this age names may be reused.
    pub fn trusts_checkpoint(&self, age: Duration) -> bool {
        age <= self.resume
    }

    /// Whether a run may write a checkpoint this long after the one before, or after its LIST: later, what it names may be gone.
    pub fn may_checkpoint(&self, since_last: Duration) -> bool {
        since_last <= self.resume
    }

    /// Whether a run may commit this long after its LIST.
    pub fn may_commit(&self, since_list: Duration) -> bool {
        since_list <= self.list || self.without(Missing::List)
    }

    /// Whether a prune may still delete this long after its first LIST.
    pub fn may_delete(&self, since_list: Duration) -> bool {
        since_list <= self.plan || self.without(Missing::Plan)
    }

    /// Whether a note of this age keeps the packs that it names.
    pub fn note_keeps(&self, age: Duration) -> bool {
        age <= self.grace && !self.without(Missing::Notes)
    }

    /// Whether a checkpoint of this age keeps the packs that it names.
    pub fn checkpoint_keeps(&self, age: Duration) -> bool {
        age <= self.grace && !self.without(Missing::Checkpoints)
    }

    /// Whether a pack of this age is kept, be it named or not.
    pub fn age_keeps(&self, age: Duration) -> bool {
        age <= self.grace && !self.without(Missing::Age)
    }
}

#[cfg(test)]
use Off as Missing;

/// Outside of tests every rule holds.
#[cfg(not(test))]
enum Missing {
    Parent,
    Reuse,
    List,
    Notes,
    Checkpoints,
    Age,
    Plan,
}

impl Rules {
    #[cfg(test)]
    fn without(&self, rule: Missing) -> bool {
        self.off == Some(rule)
    }

    #[cfg(not(test))]
    fn without(&self, _: Missing) -> bool {
        false
    }
}

/// How long ago something was: by two clocks, of which one goes on while the machine sleeps and the other isn't set; the longer counts.
#[derive(Clone)]
pub struct Since(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Since {
    /// From now on.
    pub fn now() -> Self {
        let (steady, wall) = (Instant::now(), Timestamp::now());
        Self(Arc::new(move || steady.elapsed().max(Timestamp::now().duration_since(wall).unsigned_abs())))
    }

    /// By another clock.
    pub fn by(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    /// How long ago.
    pub fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Since").field(&self.elapsed()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_leave_room_for_each_other() {
        let rules = Rules::default();
        // Named by a checkpoint that was as old as may be, committed as late as may be, looked at by a prune that takes as long as may be.
        assert!(rules.resume + rules.list + rules.plan < rules.grace);
        // Between two checkpoints that name a pack, one of which the next run went on from.
        assert!(rules.resume + rules.resume + rules.plan < rules.grace);
        assert!(rules.list + rules.plan < rules.grace);
    }

    #[test]
    fn a_pack_is_reused_while_something_keeps_it() {
        let rules = Rules::default();
        assert!(rules.may_reuse(Known::Parent { listed: true }) && !rules.may_reuse(Known::Parent { listed: false }));
        assert!(rules.may_reuse(Known::Broken { age: 42 * HOUR, named: false }));
        assert!(!rules.may_reuse(Known::Broken { age: 43 * HOUR, named: false }));
        assert!(rules.may_reuse(Known::Broken { age: 1000 * HOUR, named: true }));
        assert!(!rules.may_reuse(Known::Remembered));
        assert!(rules.may_commit(84 * HOUR) && !rules.may_commit(85 * HOUR));
    }
}
