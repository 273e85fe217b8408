//! How fast a run goes, and how long its step will take: arithmetic on figures and times, no clock of its own.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Figures, Phase};

/// What is done per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerSecond {
    /// Entries met by the walk.
    pub entries: u64,
    /// Bytes of content read.
    pub read_bytes: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes of SQL made from them.
    pub sql_bytes: u64,
    /// Stored bytes of packs that reached the store.
    pub uploaded_bytes: u64,
    /// Bytes written by a restore.
    pub written_bytes: u64,
}

/// Rates and estimates are of the last so much time.
const WINDOW: Duration = Duration::from_secs(15);
/// Samples are so far apart at least: a window holds few.
const APART: Duration = Duration::from_millis(500);
/// Before so much time has passed, there is no rate.
const RATE_FROM: Duration = Duration::from_secs(1);
/// Before a step is so old, nothing is said of its end.
const SETTLED: Duration = Duration::from_secs(3);
/// What would take longer than this isn't estimated: a store that stands still would be told as years.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Follows a run's figures. Times are since any moment before the run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the run began: with its first step.
    begun: Option<Duration>,
    /// When the step began.
    step: Duration,
    /// Of this step, the oldest first; one of before the window at most.
    samples: VecDeque<Sample>,
    /// Bytes read of a file that the walk hasn't counted yet.
    pub(super) in_file: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    done: PerSecond,
    /// How much of the step's total, in millionths.
    share: Option<u64>,
}

impl Pace {
    /// A step began.
    pub(super) fn step(&mut self, at: Duration, figures: &Figures) {
        self.begun.get_or_insert(at);
        self.step = at;
        self.in_file = 0;
        self.samples.clear();
        self.sample(at, figures);
    }

    /// The figures have changed.
    pub(super) fn moved(&mut self, at: Duration, figures: &Figures) {
        if self.samples.back().is_none_or(|last| at.saturating_sub(last.at) >= APART) {
            self.sample(at, figures);
        }
    }

    fn sample(&mut self, at: Duration, figures: &Figures) {
        let oldest = at.saturating_sub(WINDOW);
        while self.samples.get(1).is_some_and(|second| second.at <= oldest) {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at, done: done(figures), share: self.share(figures) });
    }

    /// Completes figures with what is known of their pace.
    pub(super) fn tell(&self, at: Duration, figures: &mut Figures) {
        let Some(begun) = self.begun else { return };
        figures.elapsed_seconds = at.saturating_sub(begun).as_secs();
        figures.step_seconds = at.saturating_sub(self.step).as_secs();
        figures.percent = self.share(figures).and_then(|share| u8::try_from(share / 10_000).ok());
        let window_begins = at.saturating_sub(WINDOW);
        // The youngest sample that is as old as the window, else the oldest there is. While nothing moves, rates sink to nothing.
        let before = self.samples.iter().rev().find(|sample| sample.at <= window_begins).or(self.samples.front());
        let Some(before) = before else { return };
        let passed = at.saturating_sub(before.at);
        // Of an instant there is no rate: what waited for the step comes all at once.
        if passed >= RATE_FROM {
            figures.per_second = per_second(before.done, done(figures), passed);
        }
        figures.eta_seconds = match (before.share, self.share(figures)) {
            (Some(then), Some(now)) if at.saturating_sub(self.step) >= SETTLED => eta(then, now, passed),
            _ => None,
        };
    }

    /// How much of the step under way is done, in millionths of what is expected; `None` when nothing is expected of it.
    ///
    /// Files are as far as the lesser of their entries and bytes: a thousand small files may come before the one large one.
    fn share(&self, figures: &Figures) -> Option<u64> {
        let of = |done: u64, expected: u64| {
            let share = u128::from(done) * u128::from(WHOLE) / u128::from(expected.max(1));
            (expected > 0).then(|| u64::try_from(share).unwrap_or(WHOLE).min(WHOLE))
        };
        match figures.phase {
            Phase::Files | Phase::SecondLook => {
                let bytes = figures.walked_bytes.saturating_add(self.in_file);
                let entries = of(figures.walked_entries, figures.expected_entries)?;
                Some(of(bytes, figures.expected_bytes).map_or(entries, |bytes| bytes.min(entries)))
            }
            Phase::Database => {
                of(figures.sql_bytes, figures.expected_sql_bytes).or_else(|| of(figures.rows, figures.expected_rows))
            }
            _ => None,
        }
    }
}

const WHOLE: u64 = 1_000_000;

/// How long the rest takes, in seconds, when it goes on as it did in the time that passed.
fn eta(then: u64, now: u64, passed: Duration) -> Option<u64> {
    let gained = now.checked_sub(then).filter(|gained| *gained > 0)?;
    let rest = WHOLE.saturating_sub(now);
    let seconds = u128::from(rest) * passed.as_millis() / u128::from(gained) / 1000;
    // Past the total there is nothing to go by.
    u64::try_from(seconds).ok().filter(|seconds| rest > 0 && *seconds <= LONGEST.as_secs())
}

fn done(figures: &Figures) -> PerSecond {
    let &Figures { walked_entries: entries, read_bytes, rows, sql_bytes, uploaded_bytes, written_bytes, .. } = figures;
    PerSecond { entries, read_bytes, rows, sql_bytes, uploaded_bytes, written_bytes }
}

fn per_second(then: PerSecond, now: PerSecond, passed: Duration) -> PerSecond {
    let millis = passed.as_millis();
    let rate = |then: u64, now: u64| {
        let gained = u128::from(now.saturating_sub(then)) * 1000;
        gained.checked_div(millis).and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
    };
    PerSecond {
        entries: rate(then.entries, now.entries),
        read_bytes: rate(then.read_bytes, now.read_bytes),
        rows: rate(then.rows, now.rows),
        sql_bytes: rate(then.sql_bytes, now.sql_bytes),
        uploaded_bytes: rate(then.uploaded_bytes, now.uploaded_bytes),
        written_bytes: rate(then.written_bytes, now.written_bytes),
    }
}

#[cfg(test)]
mod tests;
