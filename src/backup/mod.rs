//! One snapshot end to end: order, progress, commit.

mod report;

pub use report::{RunReport, SnapshotSummary, Trigger};
