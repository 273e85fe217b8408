//! What the fuzz targets hold against the daemon's own files, and against those who talk to it (see `crate::fuzzing`).

pub use super::control::fuzzing::{control_answer, control_request};
use super::history;
use super::pruning::PruneReport;
use crate::backup::RunReport;
use crate::repository::fuzzing::{goes_round, in_memory};

/// A history, read from its end, and the report of a prune.
pub(super) fn history(data: &[u8]) {
    let (file, _) = in_memory(data);
    let lines: Vec<Vec<u8>> = history::lines(file).expect("a file").collect::<Result<_, _>>().expect("lines in memory");
    let mut forwards: Vec<&[u8]> = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    forwards.reverse();
    assert_eq!(lines, forwards);
    for report in lines.iter().filter_map(|line| serde_json::from_slice::<RunReport>(line).ok()) {
        goes_round(&report);
    }
    let _ = serde_json::from_slice::<PruneReport>(data).map(|report| goes_round(&report));
}
