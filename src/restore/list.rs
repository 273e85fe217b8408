//! A snapshot's lists of files and of findings, entry by entry.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{Restore, RestoreError};
use crate::config::TreeName;
use crate::repository::entry::{ChunkRef, FileEntry, Note};
use crate::repository::list::LineBuffer;
use crate::repository::manifest::Manifest;
use crate::repository::reader::ChunkReader;

/// A list of a snapshot, from its beginning.
pub(super) struct List<'a, T> {
    reader: &'a mut ChunkReader,
    pieces: std::slice::Iter<'a, ChunkRef>,
    lines: LineBuffer,
    of: PhantomData<T>,
}

/// The list of one tree.
pub(super) type FileList<'a> = List<'a, FileEntry>;
/// The list of findings.
pub(super) type NoteList<'a> = List<'a, Note>;

/// A tree's list and what the manifest counts of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) pieces: &'a [ChunkRef],
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// The list of wp-content, or of the tree beside it.
pub(super) fn listed(manifest: &Manifest, tree: Option<TreeName>) -> Result<Listed<'_>, RestoreError> {
    let Some(name) = tree else {
        let counts = &manifest.counts;
        return Ok(Listed { pieces: &manifest.files, entries: counts.file_entries, bytes: counts.file_bytes });
    };
    let found = manifest.trees.iter().find(|tree| tree.name == name);
    let found = found.ok_or(RestoreError::NoSuchTree { tree: name.as_str() })?;
    Ok(Listed { pieces: &found.files, entries: found.entries, bytes: found.bytes })
}

impl<'a> FileList<'a> {
    pub(super) fn new(reader: &'a mut ChunkReader, pieces: &'a [ChunkRef]) -> Self {
        Self::of(reader, pieces, "the list of files")
    }
}

impl<'a> NoteList<'a> {
    pub(super) fn new(reader: &'a mut ChunkReader, pieces: &'a [ChunkRef]) -> Self {
        Self::of(reader, pieces, "the list of findings")
    }
}

impl<'a, T: DeserializeOwned> List<'a, T> {
    fn of(reader: &'a mut ChunkReader, pieces: &'a [ChunkRef], what: &'static str) -> Self {
        Self { reader, pieces: pieces.iter(), lines: LineBuffer::new(what), of: PhantomData }
    }

    pub(super) async fn next(&mut self) -> Result<Option<T>, RestoreError> {
        loop {
            if let Some(entry) = self.lines.next_entry()? {
                return Ok(Some(entry));
            }
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            self.lines.fill(&self.reader.read_piece(piece).await?);
        }
    }

    /// The piece that is read next, when the one before is read to its end.
    pub(super) fn next_piece(&self) -> Option<&'a ChunkRef> {
        if self.lines.is_empty() { self.pieces.as_slice().first() } else { None }
    }

    /// Passes over that piece.
    pub(super) fn skip_piece(&mut self) {
        self.pieces.next();
    }
}

impl Restore {
    /// Gives out the entries of wp-content, or of a tree beside it, in the list's order, until `each` has enough.
    pub async fn entries(
        &mut self,
        tree: Option<TreeName>,
        each: &mut (dyn FnMut(&FileEntry) -> ControlFlow<()> + Send),
    ) -> Result<(), RestoreError> {
        let mut list = FileList::new(&mut self.lists, listed(&self.manifest, tree)?.pieces);
        while let Some(entry) = list.next().await? {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            if each(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}
