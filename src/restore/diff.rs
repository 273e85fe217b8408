//! What differs between two snapshots' files: their lists, merged.

use std::cmp::Ordering;

use serde::Serialize;

use super::list::{FileList, listed};
use super::{Restore, RestoreError};
use crate::config::TreeName;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind, path_order};

/// What became of a path between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// The second has it.
    Added,
    /// The first had it.
    Removed,
    /// Another content, target or kind.
    Content,
    /// Mode, owner or time only.
    Metadata,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The path.
    pub path: ByteText,
    /// How it differs.
    pub change: Changed,
    /// What it is; in the first snapshot, when it was removed.
    pub kind: FileKind,
    /// Bytes of content in the first snapshot.
    pub size_before: Option<u64>,
    /// Bytes of content in the second.
    pub size: Option<u64>,
}

/// How much differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DiffTotals {
    /// Paths that the second snapshot has and the first hasn't.
    pub added: u64,
    /// The other way round.
    pub removed: u64,
    /// Paths with another content, target or kind.
    pub content: u64,
    /// Paths with another mode, owner or time only.
    pub metadata: u64,
    /// Bytes of content of all files in the first snapshot.
    pub bytes_before: u64,
    /// The same in the second.
    pub bytes: u64,
}

impl DiffTotals {
    fn count(&mut self, difference: &Difference) {
        let of = match difference.change {
            Changed::Added => &mut self.added,
            Changed::Removed => &mut self.removed,
            Changed::Content => &mut self.content,
            Changed::Metadata => &mut self.metadata,
        };
        *of += 1;
    }
}

impl Restore {
    /// Compares this snapshot's list with that of `newer`, and gives each difference out, in the lists' order.
    pub async fn diff(
        &mut self,
        newer: &mut Restore,
        tree: Option<TreeName>,
        each: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<DiffTotals, RestoreError> {
        let (old, new) = (listed(&self.manifest, tree)?, listed(&newer.manifest, tree)?);
        let mut totals = DiffTotals { bytes_before: old.bytes, bytes: new.bytes, ..DiffTotals::default() };
        let mut old = FileList::new(&mut self.lists, old.pieces);
        let mut new = FileList::new(&mut newer.lists, new.pieces);
        let (mut a, mut b) = (None, None);
        loop {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            if a.is_none() && b.is_none() {
                // Two pieces that are the same need not be read.
                while let (Some(x), Some(y)) = (old.next_piece(), new.next_piece())
                    && x.id == y.id
                {
                    old.skip_piece();
                    new.skip_piece();
                }
            }
            if a.is_none() {
                a = old.next().await?;
            }
            if b.is_none() {
                b = new.next().await?;
            }
            let order = match (&a, &b) {
                (None, None) => return Ok(totals),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => path_order(a.path.as_bytes(), b.path.as_bytes()),
            };
            let before = if order == Ordering::Greater { None } else { a.take() };
            let after = if order == Ordering::Less { None } else { b.take() };
            if let Some(difference) = compare(before, after) {
                totals.count(&difference);
                each(&difference);
            }
        }
    }
}

fn compare(before: Option<FileEntry>, after: Option<FileEntry>) -> Option<Difference> {
    let size = |entry: &FileEntry| (entry.kind == FileKind::File).then_some(entry.size);
    let change = match (&before, &after) {
        (None, Some(_)) => Changed::Added,
        (Some(_), None) => Changed::Removed,
        (Some(a), Some(b)) if !same_content(a, b) => Changed::Content,
        (Some(a), Some(b)) if !same_metadata(a, b) => Changed::Metadata,
        _ => return None,
    };
    let (size_before, size_after) = (before.as_ref().and_then(size), after.as_ref().and_then(size));
    let entry = after.or(before)?;
    Some(Difference { path: entry.path, change, kind: entry.kind, size_before, size: size_after })
}

fn same_content(a: &FileEntry, b: &FileEntry) -> bool {
    (a.kind, a.size, &a.target, &a.holes) == (b.kind, b.size, &b.target, &b.holes)
        && a.chunks.iter().map(|chunk| chunk.id).eq(b.chunks.iter().map(|chunk| chunk.id))
}

fn same_metadata(a: &FileEntry, b: &FileEntry) -> bool {
    (a.mode, a.uid, a.gid, &a.user, &a.group, a.mtime, &a.flags, &a.xattrs)
        == (b.mode, b.uid, b.gid, &b.user, &b.group, b.mtime, &b.flags, &b.xattrs)
}
