//! Which snapshots are suspect: whole, but so much another than the ones before that someone should look before anything relies on it
//! (docs/SUSPECT.md). Plain numbers and pure functions of them; a manifest carries them, so no names.
//!
//! A snapshot is judged against a *baseline*: the last one before it that wasn't suspect, or that a reader has accepted. What is suspected
//! stays so until then, whatever later snapshots look like.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Parent};
use crate::config::PublicKey;

/// So many files less than the baseline's are no large fall, whatever their share.
pub const FEW_FILES: u64 = 20;
/// … rows.
pub const FEW_ROWS: u64 = 100;
/// So many changed files below uploads are no mass change, whatever their share.
pub const FEW_CHANGES: u64 = 100;
/// A large fall leaves less than one of so many.
const FALL: u64 = 2;
/// A mass change touches more than so many of a hundred.
const MASS_PERCENT: u64 = 30;

/// What is counted of each snapshot to judge the ones after it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Watched {
    /// Files in all trees but the root: core can be had elsewhere.
    pub files: u64,
    /// Files below uploads.
    pub media: u64,
    /// Of those, the ones that a web server may run as PHP.
    pub media_php: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Rows of WordPress's own tables: those of a log that grows hide no loss of these.
    pub core_rows: u64,
}

/// What a snapshot was judged against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The number of the snapshot that wasn't suspect, or was accepted.
    pub seq: u64,
    /// When its run began, by the host's clock.
    pub started: Timestamp,
    /// What was counted of it.
    #[serde(flatten)]
    pub was: Watched,
    /// Files below uploads that got another content or went away, in all snapshots since; one that changes each time counts each time.
    pub changed: u64,
    /// Files below uploads that may be run as PHP and that weren't there before, in all snapshots since.
    pub new_php: u64,
}

/// What makes a snapshot suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspicionKind {
    /// Less than half of the baseline's files are there. `was` and `is`: how many.
    FilesFell,
    /// Less than half of its rows. `was` and `is`: how many.
    RowsFell,
    /// Less than half of its rows of WordPress's own tables. `was` and `is`: how many.
    CoreRowsFell,
    /// Below uploads there is code that wasn't there. `was`: how many such files the baseline had; `is`: how many are new since.
    PhpUnderUploads,
    /// More than 30 % of the files below uploads have another content or are gone. `was`: how many the baseline had; `is`: how many of them changed.
    MassChange,
    /// A suspicion of a newer agent.
    #[serde(other)]
    Unknown,
}

/// One reason why a snapshot is suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// What kind.
    pub kind: SuspicionKind,
    /// How it was in the baseline.
    pub was: u64,
    /// How it is, or was when it was last so.
    pub is: u64,
    /// The number of the snapshot that had it first.
    pub since: u64,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, was, is, since } = self;
        match kind {
            SuspicionKind::FilesFell => write!(f, "files fell from {was} to {is}"),
            SuspicionKind::RowsFell => write!(f, "rows fell from {was} to {is}"),
            SuspicionKind::CoreRowsFell => write!(f, "rows of WordPress's own tables fell from {was} to {is}"),
            SuspicionKind::PhpUnderUploads => {
                write!(f, "{is} new below uploads that a server may run as PHP, where there were {was}")
            }
            SuspicionKind::MassChange => write!(f, "of {was} files below uploads {is} got another content or are gone"),
            SuspicionKind::Unknown => write!(f, "for a reason that only a newer agent knows"),
        }?;
        write!(f, " (since snapshot {since})")
    }
}

/// What a run sees change below uploads, compared with its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Files that have another content, or are gone.
    pub changed: u64,
    /// Files that may be run as PHP, and weren't there or were none.
    pub new_php: u64,
}

/// What is suspected of snapshot `seq`, in the order of the kinds; `baseline` counts all changes up to it.
pub fn judge(baseline: &Baseline, now: &Watched, seq: u64) -> Vec<Suspicion> {
    use SuspicionKind::{CoreRowsFell, FilesFell, MassChange, PhpUnderUploads, RowsFell};
    let was = &baseline.was;
    let fell = |was: u64, is: u64, few: u64| is < was.div_ceil(FALL) && was - is >= few;
    let changed = baseline.changed;
    let mass = changed >= FEW_CHANGES && u128::from(changed) * 100 > u128::from(was.media) * u128::from(MASS_PERCENT);
    let all = [
        (FilesFell, was.files, now.files, fell(was.files, now.files, FEW_FILES)),
        (RowsFell, was.rows, now.rows, fell(was.rows, now.rows, FEW_ROWS)),
        (CoreRowsFell, was.core_rows, now.core_rows, fell(was.core_rows, now.core_rows, FEW_ROWS)),
        (PhpUnderUploads, was.media_php, baseline.new_php, baseline.new_php > 0),
        // Without files there before, none of them changed.
        (MassChange, was.media, changed, mass && was.media > 0),
    ];
    all.into_iter().filter(|(.., so)| *so).map(|(kind, was, is, _)| Suspicion { kind, was, is, since: seq }).collect()
}

/// What the next snapshot is judged by: what a manifest says of its own.
#[derive(Debug, Clone)]
pub struct Standing {
    /// As the next manifest names it.
    pub named: Parent,
    /// Its number.
    pub seq: u64,
    /// Who signed it.
    pub signer: Option<PublicKey>,
    /// What is suspected of it.
    pub suspect: Vec<Suspicion>,
    started: Timestamp,
    watched: Option<Watched>,
    baseline: Option<Baseline>,
}

impl Standing {
    /// Of this manifest, which is signed well.
    pub fn of(manifest: &Manifest, named: Parent) -> Self {
        Self {
            named,
            seq: manifest.seq,
            signer: manifest.signer,
            suspect: manifest.suspect.clone(),
            started: manifest.times.started,
            watched: manifest.watched,
            baseline: manifest.baseline.clone(),
        }
    }

    /// The number of the snapshot that it was judged against.
    pub fn judged_against(&self) -> Option<u64> {
        self.baseline.as_ref().map(|baseline| baseline.seq)
    }

    fn as_baseline(&self) -> Option<Baseline> {
        let (seq, started) = (self.seq, self.started);
        self.watched.map(|was| Baseline { seq, started, was, changed: 0, new_php: 0 })
    }

    /// What the snapshot after this one is judged against, and what is suspected of it in any case. `accepted` is the newest that a reader
    /// has accepted, of this one and those between it and its baseline.
    pub fn next(&self, accepted: Option<&Standing>) -> (Option<Baseline>, Vec<Suspicion>) {
        let accepted = match accepted {
            _ if self.suspect.is_empty() => return (self.as_baseline(), Vec::new()),
            None => return (self.baseline.clone(), self.suspect.clone()),
            Some(accepted) if accepted.seq >= self.seq => return (self.as_baseline(), Vec::new()),
            Some(accepted) => accepted,
        };
        // This one was made before anyone looked at the accepted one: what has come since then is to be judged.
        let Some(mut baseline) = accepted.as_baseline() else { return (None, Vec::new()) };
        if let (Some(all), Some(then)) = (&self.baseline, &accepted.baseline) {
            let same = all.seq == then.seq;
            baseline.changed = all.changed.saturating_sub(if same { then.changed } else { 0 });
            baseline.new_php = all.new_php.saturating_sub(if same { then.new_php } else { 0 });
        }
        let suspect = self.watched.map(|watched| judge(&baseline, &watched, self.seq)).unwrap_or_default();
        (Some(baseline), suspect)
    }
}

/// Judges snapshot `seq`: what was suspected before stays so. `changes` are those since the parent; `None`: there was none to compare with.
pub fn conclude(
    baseline: Option<Baseline>,
    before: &[Suspicion],
    now: &Watched,
    changes: Option<Changes>,
    seq: u64,
) -> (Option<Baseline>, Vec<Suspicion>) {
    let baseline = baseline.map(|mut baseline| {
        let was = baseline.was;
        match changes {
            Some(changes) => {
                baseline.changed = baseline.changed.saturating_add(changes.changed);
                baseline.new_php = baseline.new_php.saturating_add(changes.new_php);
            }
            // The least that it can have been.
            None => {
                baseline.changed = baseline.changed.max(was.media.saturating_sub(now.media));
                baseline.new_php = baseline.new_php.max(now.media_php.saturating_sub(was.media_php));
            }
        }
        baseline
    });
    let mut all = baseline.as_ref().map(|baseline| judge(baseline, now, seq)).unwrap_or_default();
    for old in before {
        match all.iter_mut().find(|new| new.kind == old.kind) {
            Some(new) => new.since = new.since.min(old.since),
            None => all.push(*old),
        }
    }
    all.sort_by_key(|suspicion| suspicion.kind);
    (baseline, all)
}

#[cfg(test)]
#[path = "suspicion_tests.rs"]
mod tests;
