//! What goes over the control socket. Documented in docs/CONTROL.md: add, never rename; readers ignore what they don't know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup::{RunReport, SnapshotSummary, Trigger};
use crate::daemon::PruneReport;
use crate::daemon::queue::Disposition;
use crate::progress::Figures;
use crate::repository::ids::RunId;
use crate::repository::verify::Verified;

/// The version of this contract.
pub const API: u32 = 1;

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`API`]
    pub api: u32,
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Its clock, for reckoning ages.
    pub now: Timestamp,
    /// Whether it is about to end and takes no requests.
    pub stopping: bool,
    /// The sites, in the order of the configuration.
    pub sites: Vec<SiteStatus>,
}

/// What a site is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteState {
    /// Nothing.
    Idle,
    /// A run is under way; another may be queued.
    Running,
    /// A run waits for another site's to end.
    Queued,
}

/// One site of [`Status`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Its name.
    pub site: String,
    /// What it is doing.
    pub state: SiteState,
    /// The run under way.
    pub running: Option<RunState>,
    /// The run that waits.
    pub queued: Option<RunState>,
    /// The newest snapshot that a run of this host committed.
    pub last_snapshot: Option<LastSnapshot>,
    /// How the last run ended.
    pub last_run: Option<RunReport>,
    /// The last five runs, newest first.
    pub history: Vec<RunReport>,
    /// The schedule, as configured.
    pub schedule: Option<String>,
    /// Its time zone; absent: the system's.
    pub time_zone: Option<String>,
    /// When the schedule is due next.
    pub next_run: Option<Timestamp>,
    /// The age recipients that packs are sealed to; empty: they are not encrypted. Absent from a daemon that doesn't tell.
    #[serde(default)]
    pub recipients: Option<Vec<String>>,
    /// Pruning by this host; absent: it prunes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneStatus>,
    /// The last verify of each level, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verified: BTreeMap<String, Verified>,
    /// Why parts of this are missing, when the local state can't be read.
    pub error: Option<String>,
}

/// Pruning by this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneStatus {
    /// Its schedule, as configured.
    pub schedule: String,
    /// When it is due next.
    pub next: Option<Timestamp>,
    /// How the last one ended; absent: there was none.
    pub last: Option<PruneReport>,
}

/// The newest snapshot of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastSnapshot {
    /// The run that committed it; its id is the snapshot's.
    pub run: RunId,
    /// Seconds since its point in time.
    pub age_seconds: i64,
    /// The run's result: `success`, `findings` or `suspect`.
    pub result: crate::error::Exit,
    /// The snapshot.
    pub snapshot: SnapshotSummary,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStage {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It is over: `report` says how.
    Finished,
}

/// `GET /v1/runs/{id}`, and each line of `GET /v1/runs/{id}/progress`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// [`API`]
    pub api: u32,
    /// The run.
    pub run: RunId,
    /// Its site.
    pub site: String,
    /// Who asked for it first.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: RunStage,
    /// When it was asked for; absent for a run of the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Timestamp>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// Its figures, while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// Its report, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RunReport>,
}

/// The answer to `POST /v1/sites/{site}/runs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// [`API`]
    pub api: u32,
    /// The run that answers the request.
    pub run: RunId,
    /// Its site.
    pub site: String,
    /// What the request led to.
    pub disposition: Disposition,
}

/// The body of every answer with a status of 400 or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// [`API`]
    pub api: u32,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}
