//! Steps 1 and 3: a walk merged with an earlier list. What is unchanged keeps its chunks, what is new or changed is read.
//!
//! Step 1 compares with the parent's list, step 3 with step 1's own.

use std::cmp::Ordering;
use std::iter::Peekable;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::error::BackupError;
use super::findings::Findings;
use super::gone::GoneKeeper;
use crate::files::{Change, Measure, PieceSink, ReadError, Rules, Stopped, Tree, Walked, compare, read_file};
use crate::progress::{Event, Progress};
use crate::repository::RepositoryError;
use crate::repository::byte_text::ByteText;
use crate::repository::draft::DraftChunk;
use crate::repository::entry::{FileEntry, FileFlag, FileKind, Finding, FindingCode, path_order};
use crate::repository::known::Known;
use crate::repository::list::ListFile;
use crate::repository::writer::PackWriter;

/// Entries between two progress events.
const REPORT_EVERY: u64 = 256;

/// What both looks share.
pub(super) struct Look<'a> {
    pub(super) tree: &'a Tree,
    pub(super) rules: &'a Rules,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancellationToken,
    pub(super) writer: &'a mut PackWriter,
    pub(super) known: [&'a mut Known; 2],
    pub(super) findings: &'a mut Findings,
    pub(super) measure: &'a mut Measure,
    pub(super) draft: &'a mut ListFile<Draft>,
    /// What went away since the previous look.
    pub(super) gone: GoneKeeper,
}

/// An entry of a run under way.
type Draft = FileEntry<DraftChunk>;

/// Which look it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Step 1: what the parent had and the walk lacks is gone.
    First,
    /// Step 3: a file under uploads/ that has gone since step 1 is kept and flagged; the database may name it.
    Second,
}

/// A file larger than this is named and not read: its list of chunks would not fit into the run's memory.
const LARGEST_FILE: u64 = 128 << 30;

impl Look<'_> {
    /// Looks. `previous` is sorted as the walk is; `previous_started` is when its walk began, in nanoseconds since 1970.
    pub(super) fn run<C: Into<DraftChunk>>(
        &mut self,
        which: Which,
        previous: impl Iterator<Item = Result<FileEntry<C>, RepositoryError>>,
        previous_started: i64,
    ) -> Result<(), BackupError> {
        let mut previous = previous.map(|entry| Ok(entry?.map_chunks(Into::into))).peekable();
        let (mut entries, mut bytes) = (0, 0u64);
        for walked in self.tree.walk::<DraftChunk>(self.rules) {
            if self.cancel.is_cancelled() {
                return Err(BackupError::Cancelled);
            }
            let now = match walked? {
                Walked::Finding(finding) => {
                    self.found(finding);
                    continue;
                }
                Walked::Entry(entry) => entry,
            };
            let before = self.advance(which, &mut previous, now.path.as_bytes())?;
            entries += 1;
            bytes = bytes.saturating_add(now.size);
            let read = self.entry(which, before, now, previous_started)?;
            if read || entries == REPORT_EVERY {
                self.progress.event(Event::Walked { entries, bytes });
                (entries, bytes) = (0, 0);
            }
        }
        // What the previous list has after the walk's last path is gone, too.
        for gone in previous {
            self.gone(which, gone?)?;
        }
        self.progress.event(Event::Walked { entries, bytes });
        Ok(())
    }

    /// Takes a finding of the walk; of what a rule leaves out, how much that is.
    fn found(&mut self, finding: Finding) {
        if finding.code != FindingCode::Excluded {
            return self.findings.add(finding);
        }
        // The walk's word for why is the rule's name.
        let left_out = self.measure.left_out(self.tree, finding.subject.as_bytes(), &finding.detail);
        let public = self.rules.public_name(&left_out.rule);
        self.findings.left_out(finding, left_out, public);
    }

    /// An entry of the walk, and what the previous list has of its path. Answers whether it had to be read.
    fn entry(&mut self, which: Which, before: Option<Draft>, mut now: Draft, previous_started: i64) -> Result<bool, BackupError> {
        if now.kind != FileKind::File {
            self.list(&now)?;
            return Ok(false);
        }
        // Asked each time: the walk may have entered a mount.
        let network = self.tree.is_network_fs();
        match before {
            Some(before) if compare(&before, &now, previous_started, network) != Change::Content => {
                now.chunks = before.chunks;
                self.list(&now)?;
                Ok(false)
            }
            before => {
                self.read(which, before, now)?;
                Ok(true)
            }
        }
    }

    /// Puts an entry into the list.
    fn list(&mut self, entry: &Draft) -> Result<(), BackupError> {
        self.gone.listed(entry.path.as_bytes(), entry.kind);
        self.draft.push(entry)?;
        Ok(())
    }

    /// The previous list's entry of this path; passes over those before it, which are gone.
    fn advance(
        &mut self,
        which: Which,
        previous: &mut Peekable<impl Iterator<Item = Result<Draft, RepositoryError>>>,
        path: &[u8],
    ) -> Result<Option<Draft>, BackupError> {
        loop {
            let order = match previous.peek() {
                None => return Ok(None),
                // Taken out below.
                Some(Err(_)) => Ordering::Less,
                Some(Ok(entry)) => path_order(entry.path.as_bytes(), path),
            };
            match order {
                Ordering::Greater => return Ok(None),
                Ordering::Equal => return Ok(previous.next().transpose()?),
                Ordering::Less => {
                    if let Some(gone) = previous.next().transpose()? {
                        self.gone(which, gone)?;
                    }
                }
            }
        }
    }

    /// An entry of the previous list that isn't there any more.
    fn gone(&mut self, which: Which, entry: Draft) -> Result<(), BackupError> {
        if which == Which::First {
            return Ok(());
        }
        let path = entry.path.clone();
        match self.gone.gone(entry) {
            Some(kept) => kept.iter().try_for_each(|entry| {
                if entry.flags.contains(&FileFlag::Torn) {
                    self.torn(entry.path.clone());
                }
                self.draft.push(entry)?;
                Ok(())
            }),
            None => {
                let detail = "it went away while the snapshot was made, and something else has its directory's place".to_owned();
                self.findings.add(Finding { code: FindingCode::Unreadable, subject: path, detail });
                Ok(())
            }
        }
    }

    fn torn(&mut self, path: ByteText) {
        let detail = "it changed each time it was read; one reading of it was kept".to_owned();
        self.findings.add(Finding { code: FindingCode::Torn, subject: path, detail });
    }

    /// Reads a file. One that can't be captured is named; step 3 then keeps what step 1 has of it under uploads/.
    fn read(&mut self, which: Which, before: Option<Draft>, now: Draft) -> Result<(), BackupError> {
        let path = now.path;
        if now.size > LARGEST_FILE {
            let detail = format!("it is larger than {} GiB, which is the most that is read", LARGEST_FILE >> 30);
            self.findings.add(Finding { code: FindingCode::Unreadable, subject: path, detail });
            return before.map_or(Ok(()), |before| self.gone(which, before));
        }
        let mut pieces = Pieces {
            progress: self.progress,
            writer: self.writer,
            known: &mut self.known,
            chunks: Vec::new(),
            error: None,
            cancel: self.cancel,
        };
        let result = read_file(self.tree, path.as_bytes(), &mut pieces);
        let Pieces { chunks, error, .. } = pieces;
        let why = match result {
            Ok(captured) => {
                let mut entry: Draft = captured.entry;
                entry.chunks = chunks;
                if captured.torn {
                    self.torn(path);
                }
                return self.list(&entry);
            }
            Err(ReadError::Stopped) => return Err(error.unwrap_or(BackupError::Task)),
            // Gone between the walk and now: as if the walk had come later.
            Err(ReadError::Gone) => None,
            Err(ReadError::NotRegular) => Some("it stopped being a regular file while it was looked at".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(detail) = why {
            self.findings.add(Finding { code: FindingCode::Unreadable, subject: path, detail });
        }
        before.map_or(Ok(()), |before| self.gone(which, before))
    }
}

/// Turns a file's pieces into chunks.
struct Pieces<'a, 'b> {
    progress: &'a dyn Progress,
    writer: &'a mut PackWriter,
    known: &'a mut [&'b mut Known; 2],
    chunks: Vec<DraftChunk>,
    error: Option<BackupError>,
    cancel: &'a CancellationToken,
}

impl PieceSink for Pieces<'_, '_> {
    fn piece(&mut self, content: Bytes) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() {
            self.error = Some(BackupError::Cancelled);
            return Err(Stopped);
        }
        match self.writer.add_blocking(&content, self.known) {
            Ok(chunk) => {
                self.progress.event(Event::Read { bytes: content.len() as u64 });
                self.chunks.push(chunk);
                Ok(())
            }
            Err(error) => {
                self.error = Some(error.into());
                Err(Stopped)
            }
        }
    }

    fn restart(&mut self) {
        self.chunks.clear();
    }
}
