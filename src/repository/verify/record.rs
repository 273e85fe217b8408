//! What verifies found, kept in local state: for `status`, for the next verify, and for runs, which send again what was found bad.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Fault, Report};
use crate::config::SiteName;
use crate::repository::RepositoryError;
use crate::repository::ids::PackName;
use crate::repository::manifest::Parent;
use crate::repository::state;

/// Faults that are kept of each verify; the number of all is, too.
const KEPT: usize = 20;

/// All that is kept of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The last verify of each level.
    #[serde(default)]
    pub levels: BTreeMap<String, Verified>,
    /// The newest snapshot that the last one saw.
    #[serde(default)]
    pub newest: Option<Parent>,
    /// How many verifies have read a share of the packs: which share is the next one's.
    #[serde(default)]
    pub turn: u64,
    /// Packs that are missing or bad, as far as snapshots need them.
    #[serde(default)]
    pub bad_packs: BTreeSet<PackName>,
}

/// How a verify ended. Add, never rename: `status` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When it ended.
    pub finished: Timestamp,
    /// One of so many shares of the packs was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Snapshots that it looked at.
    pub snapshots: u64,
    /// How many faults it found.
    pub faults: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Fault>,
}

impl Record {
    fn path(dir: &Path) -> PathBuf {
        dir.join("verified.json")
    }

    /// What is kept of a site; nothing when it can't be read, as it can all be found again.
    pub fn load(state: &Path, site: &SiteName) -> Self {
        Self::read(&state.join(site.as_str()))
    }

    /// The same from the site's own directory.
    pub fn read(dir: &Path) -> Self {
        fs::read(Self::path(dir)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Takes a report in.
    pub fn take(&mut self, report: &Report, finished: Timestamp) {
        let first = report.faults.iter().take(KEPT).cloned().collect();
        let verified = Verified { finished, share: report.share, snapshots: report.snapshots, faults: report.fault_count, first };
        self.levels.insert(report.level.clone(), verified);
        self.newest = report.newest.clone();
        if report.share.is_some() {
            self.turn = self.turn.wrapping_add(1);
        }
        self.bad_packs = report.bad_packs.clone();
    }

    /// Takes a report in, as of now, and keeps it all.
    pub fn keep(mut self, report: &Report, state: &Path, site: &SiteName) -> Result<(), RepositoryError> {
        self.take(report, Timestamp::now());
        self.save(state, site)
    }

    /// Keeps it, durably.
    pub fn save(&self, state: &Path, site: &SiteName) -> Result<(), RepositoryError> {
        let path = Self::path(&state.join(site.as_str()));
        let bytes = serde_json::to_vec(self).map_err(|error| RepositoryError::damaged("what a verify found", error))?;
        if let Some(dir) = path.parent() {
            state::make_dir(dir)?;
        }
        state::write_durably(&path, &bytes)
    }
}
