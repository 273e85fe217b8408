//! What a run ends with: a plain struct for the history, `status` and `run-now`. Part of the documented JSON: add, never rename.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Exit;
use crate::repository::entry::{Finding, FindingCode};
use crate::repository::ids::RunId;
use crate::repository::manifest::{Counts, SAFETY, Uploaded};
use crate::repository::suspicion::Suspicion;

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The schedule, or its catch-up after downtime.
    Schedule,
    /// A request over the control socket.
    Request,
    /// A command in the foreground, without the daemon.
    Command,
    /// A restore, before it replaces the site.
    Safety,
}

impl Trigger {
    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
            Self::Command => "command",
            Self::Safety => SAFETY,
        }
    }
}

/// One finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The site.
    pub site: String,
    /// The run's id; a committed snapshot has the same.
    pub run: RunId,
    /// Who asked.
    pub trigger: Trigger,
    /// When it began.
    pub started: jiff::Timestamp,
    /// When it ended.
    pub finished: jiff::Timestamp,
    /// How it ended.
    pub result: Exit,
    /// The message for a person, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The snapshot, when one was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSummary>,
}

/// A committed snapshot in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// Its sequence number.
    pub seq: u64,
    /// Its manifest's key below the site's prefix.
    pub key: String,
    /// The database's point in time.
    pub point_in_time: jiff::Timestamp,
    /// Whether it had a parent to compare with.
    pub full: bool,
    /// What it holds.
    pub counts: Counts,
    /// What the run sent to the store before the manifest.
    pub uploaded: Uploaded,
    /// How many findings of each kind.
    pub findings: BTreeMap<FindingCode, u64>,
    /// The first 100 of them.
    pub first_findings: Vec<Finding>,
    /// Why it is suspect; empty: it isn't (docs/SUSPECT.md).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspect: Vec<Suspicion>,
    /// The number of the snapshot that it was judged against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_against: Option<u64>,
}
