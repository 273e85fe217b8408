//! Steps 1 and 3: a walk merged with an earlier list. What is unchanged keeps its chunks, what is new or changed is read.
//!
//! Step 1 compares with the parent's list, step 3 with step 1's own.

use std::cmp::Ordering;
use std::iter::Peekable;

use tokio_util::sync::CancellationToken;

use super::avoided::Avoided;
use super::edits::EditWriter;
use super::error::BackupError;
use super::findings::Findings;
use super::gone::GoneKeeper;
use super::reread::Share;
use super::trees::SiteTree;
use crate::files::{Captured, Change, Measure, PieceSink, ReadBuffer, ReadError, Stopped, Walked, compare, read_file, xattrs_of};
use crate::progress::{Event, Progress};
use crate::repository::RepositoryError;
use crate::repository::byte_text::ByteText;
use crate::repository::draft::DraftChunk;
use crate::repository::entry::{FileEntry, FileFlag, FileKind, Finding, FindingCode, path_order, subject};
use crate::repository::known::Known;
use crate::repository::suspicion::Changes;
use crate::repository::writer::PackWriter;

/// Entries between two progress events.
const REPORT_EVERY: u64 = 256;

/// What both looks share.
pub(super) struct Look<'a> {
    pub(super) site_tree: &'a SiteTree,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancellationToken,
    pub(super) writer: &'a mut PackWriter,
    pub(super) known: [&'a mut Known; 2],
    pub(super) findings: &'a mut Findings,
    pub(super) measure: &'a mut Measure,
    /// What reading unchanged files found: a second look doesn't find it again.
    pub(super) reread: &'a mut Findings,
    /// Packs that nothing is taken from: what is in them is read again.
    pub(super) avoided: &'a Avoided,
    /// What is found, as edits of the earlier list.
    pub(super) edits: &'a mut EditWriter,
    pub(super) buffer: &'a mut ReadBuffer,
    /// What went away since the previous look.
    pub(super) gone: GoneKeeper,
    /// What changes below uploads, compared with the earlier list.
    pub(super) changes: &'a mut Changes,
    /// The unchanged files that are read all the same.
    pub(super) share: Share,
}

/// An entry of a run under way.
pub(super) type Draft = FileEntry<DraftChunk>;

/// Which look it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Step 1: what the parent had and the walk lacks is gone.
    First,
    /// Step 3: a file under uploads/ that has gone since step 1 is kept and flagged; the database may name it.
    Second,
}

impl Look<'_> {
    /// Looks. `previous` is sorted as the walk is; `previous_started` is when its walk began, in nanoseconds since 1970.
    pub(super) fn run(
        &mut self,
        which: Which,
        previous: impl Iterator<Item = Result<Draft, RepositoryError>>,
        previous_started: i64,
    ) -> Result<(), BackupError> {
        let mut previous = previous.peekable();
        let (mut entries, mut bytes) = (0, 0u64);
        for walked in self.site_tree.tree.walk::<DraftChunk>(&self.site_tree.rules) {
            if self.cancel.is_cancelled() {
                return Err(BackupError::Cancelled);
            }
            let now = match walked? {
                Walked::Finding(finding) => {
                    self.walked_past(finding);
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
    fn walked_past(&mut self, finding: Finding) {
        let SiteTree { name, tree, rules, .. } = self.site_tree;
        if finding.code != FindingCode::Excluded {
            return self.found(finding.code, finding.subject, finding.detail);
        }
        if self.site_tree.is_apart(finding.subject.as_bytes()) {
            return;
        }
        // The walk's word for why is the rule's name.
        let left_out = self.measure.left_out(tree, finding.subject.as_bytes(), &finding.detail);
        let public = rules.public_name(&left_out.rule);
        self.findings.left_out(Finding { subject: subject(*name, finding.subject), ..finding }, left_out, public);
    }

    /// An entry of the walk, and what the previous list has of its path. Answers whether it had to be read.
    fn entry(&mut self, which: Which, before: Option<Draft>, now: Draft, previous_started: i64) -> Result<bool, BackupError> {
        if now.kind != FileKind::File {
            self.list_unread(before, now, previous_started)?;
            return Ok(false);
        }
        // Asked each time: the walk may have entered a mount.
        let network = self.site_tree.tree.is_network_fs();
        match before {
            Some(before)
                if compare(&before, &now, previous_started, network) != Change::Content
                    && !self.avoided.lost_any(&before.chunks) =>
            {
                // By the second look it has been sent again, or can't be read.
                if which == Which::First && self.avoided.sparse_any(&before.chunks) {
                    self.read_anew(before, now)?;
                    return Ok(true);
                }
                if self.is_due(which, now.path.as_bytes()) {
                    self.read_again(before, now)?;
                    return Ok(true);
                }
                self.keep_content(before, now)?;
                Ok(false)
            }
            before => {
                self.read(which, before, now)?;
                Ok(true)
            }
        }
    }

    /// Lists a directory or a symlink.
    fn list_unread(&mut self, before: Option<Draft>, mut now: Draft, previous_started: i64) -> Result<(), BackupError> {
        let (xattrs, lacking) = xattrs_of(&self.site_tree.tree, before.as_ref(), &now, previous_started);
        now.xattrs = xattrs;
        if let Some(detail) = lacking {
            now.flags.push(FileFlag::AttributesUnread);
            self.found(FindingCode::AttributesUnread, now.path.clone(), detail);
        }
        before.iter().for_each(|before| self.count_gone(before));
        self.count_link(before.as_ref(), &now);
        self.list(before, &now)
    }

    /// Lists a file as the walk saw it, with the content that it had before; and with its extended attributes, since setting one
    /// changes the ctime.
    pub(super) fn keep_content(&mut self, mut before: Draft, mut now: Draft) -> Result<(), BackupError> {
        now.xattrs.clone_from(&before.xattrs);
        now.holes.clone_from(&before.holes);
        let chunks = std::mem::take(&mut before.chunks);
        if before == now {
            self.gone.listed(now.path.as_bytes(), now.kind);
            return Ok(self.edits.keep()?);
        }
        now.chunks = chunks;
        self.list(Some(before), &now)
    }

    /// Puts an entry into the list, in the place of the one before.
    fn list(&mut self, before: Option<Draft>, entry: &Draft) -> Result<(), BackupError> {
        self.gone.listed(entry.path.as_bytes(), entry.kind);
        match before {
            Some(before) if before == *entry => return Ok(self.edits.keep()?),
            Some(_) => self.edits.drop()?,
            None => {}
        }
        Ok(self.edits.put(entry)?)
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
        self.edits.drop()?;
        if which == Which::First {
            self.count_gone(&entry);
            return Ok(());
        }
        let path = entry.path.clone();
        match self.gone.gone(entry) {
            Some(kept) => kept.iter().try_for_each(|entry| {
                if entry.flags.contains(&FileFlag::Torn) {
                    self.torn(entry.path.clone());
                }
                Ok(self.edits.put(entry)?)
            }),
            None => {
                let detail = "it went away while the snapshot was made, and something else has its directory's place".to_owned();
                self.found(FindingCode::Unreadable, path, detail);
                Ok(())
            }
        }
    }

    fn torn(&mut self, path: ByteText) {
        let detail = "it changed each time it was read; one reading of it was kept".to_owned();
        self.found(FindingCode::Torn, path, detail);
    }

    pub(super) fn found(&mut self, code: FindingCode, path: ByteText, detail: String) {
        self.findings.add(Finding { code, subject: subject(self.site_tree.name, path), detail });
    }

    /// Reads a file and lists it. One that can't be captured is named; step 3 then keeps what step 1 has of it under uploads/.
    pub(super) fn read(&mut self, which: Which, before: Option<Draft>, now: Draft) -> Result<Option<Draft>, BackupError> {
        let captured = self.capture(&now.path)?;
        self.take(which, before, now.path, captured)
    }

    /// Reads a file's content into chunks. The outer failure is the run's.
    pub(super) fn capture(&mut self, path: &ByteText) -> Result<Result<Captured<DraftChunk>, ReadError>, BackupError> {
        let mut pieces = Pieces {
            progress: self.progress,
            writer: self.writer,
            known: &mut self.known,
            chunks: Vec::new(),
            error: None,
            cancel: self.cancel,
        };
        let result = read_file(&self.site_tree.tree, path.as_bytes(), self.buffer, &mut pieces);
        let Pieces { chunks, error, .. } = pieces;
        match result {
            Ok(mut captured) => {
                captured.entry.chunks = chunks;
                Ok(Ok(captured))
            }
            Err(ReadError::Stopped) => Err(error.unwrap_or(BackupError::Task)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Lists what was read of a file.
    pub(super) fn take(
        &mut self,
        which: Which,
        before: Option<Draft>,
        path: ByteText,
        captured: Result<Captured<DraftChunk>, ReadError>,
    ) -> Result<Option<Draft>, BackupError> {
        let why = match captured {
            Ok(Captured { entry, lacking, torn, .. }) => {
                if let Some(detail) = lacking {
                    self.found(FindingCode::AttributesUnread, path.clone(), detail);
                }
                if torn {
                    self.torn(path);
                }
                self.count_read(before.as_ref(), &entry);
                self.list(before, &entry)?;
                return Ok(Some(entry));
            }
            // Gone between the walk and now: as if the walk had come later.
            Err(ReadError::Gone) => None,
            Err(ReadError::NotRegular) => Some("it stopped being a regular file while it was looked at".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(detail) = why {
            self.found(FindingCode::Unreadable, path, detail);
        }
        self.not_read(which, before)
    }

    fn not_read(&mut self, which: Which, before: Option<Draft>) -> Result<Option<Draft>, BackupError> {
        before.map_or(Ok(()), |before| self.gone(which, before)).map(|()| None)
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
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped> {
        self.go_on()?;
        match self.writer.add_blocking(content, self.known) {
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

    fn go_on(&mut self) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() {
            self.error = Some(BackupError::Cancelled);
            return Err(Stopped);
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.chunks.clear();
    }
}
