//! Whether the snapshot is suspect (docs/SUSPECT.md): what a run counts for it, and what it is judged against. The rules are in
//! `repository::suspicion`.

use super::error::BackupError;
use super::gone::is_below;
use super::look::{Draft, Look};
use super::run::Run;
use super::trees::{looked_up, uploads_in};
use crate::config::{TreeName, TrustedKeys};
use crate::error::render;
use crate::progress::Event;
use crate::repository::RepositoryError;
use crate::repository::accepted;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind, Finding, FindingCode, subject};
use crate::repository::ids::ChunkId;
use crate::repository::suspicion::{Baseline, Standing, Suspicion, SuspicionKind, Watched};
use crate::storage::StoreErrorKind;
use crate::wordpress::{FileLookup, is_stray_code};

/// So many files with code below uploads are named.
const NAMED: usize = 100;

/// What the new snapshot is judged by.
#[derive(Debug, Default)]
pub(super) struct JudgedBy {
    /// What it is judged against; `None`: there is nothing.
    pub(super) baseline: Option<Baseline>,
    /// What was suspected before, and that nobody has accepted.
    pub(super) before: Vec<Suspicion>,
}

impl Run<'_> {
    /// Asks for acceptances if the snapshot before is suspect, and only then: one LIST, and what it shows.
    pub(super) async fn judged_by(&self, before: Option<&Standing>, hosts: &TrustedKeys) -> Result<JudgedBy, BackupError> {
        let Some(before) = before else { return Ok(JudgedBy::default()) };
        let accepted = if before.suspect.is_empty() { None } else { self.accepted(before, hosts).await? };
        let (baseline, before) = before.next(accepted.as_ref());
        Ok(JudgedBy { baseline, before })
    }

    async fn accepted(&self, suspect: &Standing, hosts: &TrustedKeys) -> Result<Option<Standing>, BackupError> {
        let (store, readers) = (self.context.store.as_ref(), &self.context.site.trusted);
        match self.uncancelled(accepted::newest(store, &self.layout, suspect, readers, hosts)).await {
            Err(BackupError::Repository(RepositoryError::Store(error))) if error.kind == StoreErrorKind::Denied => {
                let note = format!("whether snapshot {} was accepted can't be asked: {}", suspect.seq, render(&error));
                self.context.progress.event(Event::Note(note));
                Ok(None)
            }
            answer => answer,
        }
    }
}

impl Look<'_> {
    fn is_upload(&self, path: &[u8]) -> bool {
        uploads_in(self.site_tree.name).is_some_and(|uploads| is_below(path, uploads))
    }

    /// Takes note of a file that was read.
    pub(super) fn count_read(&mut self, before: Option<&Draft>, now: &Draft) {
        if !self.is_upload(now.path.as_bytes()) {
            return;
        }
        let before = before.filter(|before| before.kind == FileKind::File);
        let content = |entry: &Draft| entry.chunks.iter().map(|chunk| chunk.id).collect::<Vec<_>>();
        let changed = before.is_some_and(|before| content(before) != content(now) || before.holes != now.holes);
        self.changes.changed += u64::from(changed);
        self.changes.new_php += u64::from(is_code(now, id(now)) && !before.is_some_and(|before| is_code(before, id(before))));
    }

    /// Takes note of a link that a server would follow to run it.
    pub(super) fn count_link(&mut self, before: Option<&Draft>, now: &Draft) {
        let is_new = is_code(now, None) && !before.is_some_and(|before| is_code(before, id(before)));
        self.changes.new_php += u64::from(is_new && self.is_upload(now.path.as_bytes()));
    }

    /// Takes note of an entry that is gone, or no file any more.
    pub(super) fn count_gone(&mut self, before: &Draft) {
        self.changes.changed += u64::from(before.kind == FileKind::File && self.is_upload(before.path.as_bytes()));
    }
}

fn id(entry: &Draft) -> Option<ChunkId> {
    entry.chunks.first().map(|chunk| chunk.id)
}

fn is_code<C>(entry: &FileEntry<C>, content: Option<ChunkId>) -> bool {
    match entry.kind {
        FileKind::File => is_stray_code(entry.path.as_bytes(), entry.size, content),
        // Of whatever it leads to, by its name.
        FileKind::Symlink => is_stray_code(entry.path.as_bytes(), entry.size, None),
        FileKind::Dir => false,
    }
}

/// What sees each entry while the lists are made: the cross-check, and what snapshots are judged by.
pub(super) struct Checks {
    references: FileLookup,
    watched: Watched,
    /// Code below uploads that has changed since this time, in nanoseconds since 1970, is named.
    since: i64,
    code: Vec<ByteText>,
}

impl Checks {
    pub(super) fn new(references: FileLookup, baseline: Option<&Baseline>) -> Self {
        let since = baseline.map_or(i64::MAX, |baseline| i64::try_from(baseline.started.as_nanosecond()).unwrap_or(i64::MAX));
        Self { references, watched: Watched::default(), since, code: Vec::new() }
    }

    /// Sees an entry of a tree; `content` is its first chunk.
    pub(super) fn see<C>(&mut self, tree: Option<TreeName>, entry: &FileEntry<C>, content: Option<ChunkId>) {
        let path = entry.path.as_bytes();
        match tree {
            None => self.references.see(path, entry.kind),
            Some(_) => self.references.see(&looked_up(tree, path), entry.kind),
        }
        if entry.kind == FileKind::Dir || tree == Some(TreeName::Root) {
            return;
        }
        let file = u64::from(entry.kind == FileKind::File);
        self.watched.files += file;
        if !uploads_in(tree).is_some_and(|uploads| is_below(path, uploads)) {
            return;
        }
        self.watched.media += file;
        if is_code(entry, content) {
            self.watched.media_php += 1;
            if entry.ctime >= self.since && self.code.len() < NAMED {
                self.code.push(subject(tree, entry.path.clone()));
            }
        }
    }

    /// All was seen: the cross-check, what was counted of the files, and the code that came or changed since the baseline.
    pub(super) fn finish(self) -> (FileLookup, Watched, Vec<ByteText>) {
        (self.references, self.watched, self.code)
    }
}

/// The code below uploads by name, when it makes the snapshot suspect.
pub(super) fn named(suspect: &[Suspicion], code: Vec<ByteText>) -> Vec<Finding> {
    let concerns = suspect.iter().any(|suspicion| suspicion.kind == SuspicionKind::PhpUnderUploads);
    let finding = |subject| {
        let detail =
            "a web server may run it as PHP, and it came or changed since the last snapshot that isn't suspect".to_owned();
        Finding { code: FindingCode::PhpUnderUploads, subject, detail }
    };
    if concerns { code.into_iter().map(finding).collect() } else { Vec::new() }
}
