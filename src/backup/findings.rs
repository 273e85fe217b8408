//! Findings of a run: counted, the first ones kept for the report, all of them spooled to disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::repository::RepositoryError;
use crate::repository::entry::{Finding, FindingCode, LeftOut, Note};
use crate::repository::list::{ListFile, ListReader};
use crate::repository::manifest::Excluded;

/// How many findings a report names.
const FIRST: usize = 100;

/// What one step found.
pub(super) struct Findings {
    path: PathBuf,
    spool: ListFile<Note>,
    counts: BTreeMap<FindingCode, u64>,
    first: Vec<Finding>,
    /// By rule, as it may be told in public.
    excluded: BTreeMap<String, Excluded>,
    /// Adding can't fail where findings are made: the first failure waits for [`Findings::finish`].
    error: Option<RepositoryError>,
}

impl Findings {
    /// An empty collection, spooled to this file.
    pub(super) fn new(scratch: &Path, step: &str) -> Result<Self, RepositoryError> {
        let path = scratch.join(format!("findings-{step}.zst"));
        let spool = ListFile::create(&path)?;
        Ok(Self { path, spool, counts: BTreeMap::new(), first: Vec::new(), excluded: BTreeMap::new(), error: None })
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.note(finding.into());
    }

    /// Adds what an exclude rule left out; `public` is the rule as it may be told in public.
    pub(super) fn left_out(&mut self, finding: Finding, left_out: LeftOut, public: String) {
        let LeftOut { files, bytes, at_least, .. } = left_out;
        let none = || Excluded { rule: public.clone(), subjects: 0, files: 0, bytes: 0, at_least: false };
        add_up(
            self.excluded.entry(public.clone()).or_insert_with(none),
            &Excluded { rule: public, subjects: 1, files, bytes, at_least },
        );
        self.note(Note { finding, left_out: Some(left_out) });
    }

    fn note(&mut self, note: Note) {
        if let Err(error) = self.spool.push(&note) {
            self.error.get_or_insert(error);
        }
        let finding = note.finding;
        *self.counts.entry(finding.code).or_default() += 1;
        let at = self.first.partition_point(|before| rank(before) <= rank(&finding));
        self.first.insert(at, finding);
        self.first.truncate(FIRST);
    }

    pub(super) fn finish(self) -> Result<Found, RepositoryError> {
        self.spool.finish(false)?;
        match self.error {
            Some(error) => Err(error),
            None => Ok(Found { path: self.path, counts: self.counts, first: self.first, excluded: self.excluded }),
        }
    }
}

/// The findings of a step that is over.
pub(super) struct Found {
    path: PathBuf,
    pub(super) counts: BTreeMap<FindingCode, u64>,
    pub(super) first: Vec<Finding>,
    excluded: BTreeMap<String, Excluded>,
}

impl Found {
    pub(super) fn read(&self) -> Result<ListReader<Note>, RepositoryError> {
        ListReader::open(&self.path)
    }
}

/// What is lost comes first, then what someone should look at, then what is only told.
fn rank(finding: &Finding) -> u8 {
    match finding.code {
        FindingCode::PhpUnderUploads => 1,
        code => {
            if code.is_loss() {
                0
            } else {
                2
            }
        }
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

/// What exclude rules left out of the files, in all steps together.
pub(super) fn excluded(steps: &[Found]) -> Vec<Excluded> {
    let mut total: BTreeMap<&str, Excluded> = BTreeMap::new();
    for (rule, one) in steps.iter().flat_map(|step| &step.excluded) {
        match total.get_mut(rule.as_str()) {
            Some(sum) => add_up(sum, one),
            None => {
                total.insert(rule, one.clone());
            }
        }
    }
    total.into_values().collect()
}

fn add_up(sum: &mut Excluded, one: &Excluded) {
    sum.subjects += one.subjects;
    sum.files = sum.files.saturating_add(one.files);
    sum.bytes = sum.bytes.saturating_add(one.bytes);
    sum.at_least |= one.at_least;
}

/// The first findings of all steps together, the gravest first.
pub(super) fn first(steps: &[Found]) -> Vec<Finding> {
    let mut all: Vec<Finding> = steps.iter().flat_map(|step| step.first.clone()).collect();
    all.sort_by_key(rank);
    all.truncate(FIRST);
    all
}
