//! One snapshot end to end: order, progress, commit.

mod avoided;
mod commit;
mod edits;
mod error;
mod findings;
mod gone;
mod look;
mod parent;
mod publish;
mod report;
mod reread;
mod run;
mod sealed;
mod suspect;
mod tables;
mod trees;

pub use error::BackupError;
pub use report::{RunReport, SnapshotSummary, Trigger};
pub use run::{RunContext, RunOptions, run};
