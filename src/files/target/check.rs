//! Which entries are acceptable: a list may be damaged, or forged.

use std::cmp::Ordering;

use crate::files::error::FilesError;
use crate::files::tree::check_path;
use crate::files::xattrs::check as check_xattrs;
use crate::repository::entry::{FileEntry, FileKind, path_order};

/// Looks at each entry of a list, in the list's order.
#[derive(Debug, Default)]
pub(super) struct Checker {
    last: Option<Vec<u8>>,
}

impl Checker {
    /// Fails for an entry that no walk makes, or not in this order. `here`: the directory that the list is in.
    pub(super) fn check<C>(&mut self, entry: &FileEntry<C>, here: &[u8]) -> Result<(), FilesError> {
        let path = entry.path.as_bytes();
        let bad = |why| FilesError::BadEntry { path: entry.path.clone(), why };
        check_path(path).map_err(bad)?;
        if self.last.as_deref().is_some_and(|last| path_order(last, path) != Ordering::Less) {
            return Err(bad("it is in the list twice or out of order"));
        }
        if entry.uid == u32::MAX || entry.gid == u32::MAX || entry.mode > 0o7777 {
            return Err(bad("its mode or owner is none that a file can have"));
        }
        if path.is_empty() && entry.kind != FileKind::Dir {
            return Err(bad("the root is not a directory"));
        }
        // The directory at hand or one that it is in: then the list has it, and as a directory.
        let (parent, _) = split(path);
        if parent != here && !is_ancestor(parent, here) {
            return Err(bad("its directory is not in the list before it"));
        }
        if entry.kind == FileKind::Symlink
            && entry.target.as_ref().is_none_or(|target| target.0.is_empty() || target.0.contains(&0))
        {
            return Err(bad("a symlink without a target"));
        }
        check_xattrs(&entry.xattrs).map_err(bad)?;
        check_holes(entry).map_err(bad)?;
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(path);
        Ok(())
    }
}

/// Holes come in order, apart from each other, and within the file.
fn check_holes<C>(entry: &FileEntry<C>) -> Result<(), &'static str> {
    if entry.holes.is_empty() {
        return Ok(());
    }
    let mut end = 0;
    for (offset, length) in &entry.holes {
        if *offset < end || *length == 0 {
            return Err("its holes are out of order");
        }
        end = offset.checked_add(*length).ok_or("its holes are out of order")?;
    }
    if end > entry.size || entry.kind != FileKind::File || i64::try_from(entry.size).is_err() {
        return Err("its holes are larger than itself");
    }
    Ok(())
}

/// A path's directory and its name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Whether `dir` is a directory on the way from the root to `path`.
fn is_ancestor(dir: &[u8], path: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}
