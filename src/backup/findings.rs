//! Findings of a run: counted, the first ones kept for the report, all of them spooled to disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::repository::RepositoryError;
use crate::repository::entry::{Finding, FindingCode};
use crate::repository::list::{ListFile, ListReader};

/// How many findings a report names.
const FIRST: usize = 100;

/// What one step found.
pub(super) struct Findings {
    path: PathBuf,
    spool: ListFile<Finding>,
    counts: BTreeMap<FindingCode, u64>,
    first: Vec<Finding>,
    /// Adding can't fail where findings are made: the first failure waits for [`Findings::finish`].
    error: Option<RepositoryError>,
}

impl Findings {
    /// An empty collection, spooled to this file.
    pub(super) fn new(scratch: &Path, step: &str) -> Result<Self, RepositoryError> {
        let path = scratch.join(format!("findings-{step}.zst"));
        let spool = ListFile::create(&path)?;
        Ok(Self { path, spool, counts: BTreeMap::new(), first: Vec::new(), error: None })
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if let Err(error) = self.spool.push(&finding) {
            self.error.get_or_insert(error);
        }
        *self.counts.entry(finding.code).or_default() += 1;
        // What is lost comes before what is only told.
        if finding.code.is_loss() {
            let at = self.first.partition_point(|f| f.code.is_loss());
            self.first.insert(at, finding);
        } else if self.first.len() < FIRST {
            self.first.push(finding);
        }
        self.first.truncate(FIRST);
    }

    pub(super) fn finish(self) -> Result<Found, RepositoryError> {
        self.spool.finish(false)?;
        match self.error {
            Some(error) => Err(error),
            None => Ok(Found { path: self.path, counts: self.counts, first: self.first }),
        }
    }
}

/// The findings of a step that is over.
pub(super) struct Found {
    path: PathBuf,
    pub(super) counts: BTreeMap<FindingCode, u64>,
    pub(super) first: Vec<Finding>,
}

impl Found {
    pub(super) fn read(&self) -> Result<ListReader<Finding>, RepositoryError> {
        ListReader::open(&self.path)
    }
}

/// The counts of all steps together.
pub(super) fn sum(steps: &[Found]) -> BTreeMap<FindingCode, u64> {
    let mut total = BTreeMap::new();
    for (code, count) in steps.iter().flat_map(|step| &step.counts) {
        *total.entry(*code).or_default() += count;
    }
    total
}

/// The first findings of all steps together, losses first.
pub(super) fn first(steps: &[Found]) -> Vec<Finding> {
    let mut all: Vec<Finding> = steps.iter().flat_map(|step| step.first.clone()).collect();
    all.sort_by_key(|finding| !finding.code.is_loss());
    all.truncate(FIRST);
    all
}
