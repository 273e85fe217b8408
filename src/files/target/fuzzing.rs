//! What the fuzz targets hold against the lists of files that a restore is given (see `crate::fuzzing`).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::check::{Checker, split};
use crate::repository::entry::{FileEntry, FileKind};
use crate::repository::list::LineBuffer;

/// A list of files: whatever is accepted stays in the target, in a directory that the list has, and is no name twice.
pub fn file_list(data: &[u8]) {
    let mut lines = LineBuffer::new("the list of files");
    lines.fill(&Bytes::copy_from_slice(data));
    let (mut checker, mut here) = (Checker::default(), Vec::new());
    let (mut seen, mut directories) = (BTreeSet::new(), BTreeSet::from([Vec::new()]));
    while let Ok(Some(entry)) = lines.next_entry::<FileEntry>() {
        if checker.check(&entry, &here).is_err() {
            return;
        }
        let path = entry.path.as_bytes().to_vec();
        let inside = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        assert!(path.is_empty() || path.split(|byte| *byte == b'/').all(inside), "{:?} leads out of the target", entry.path);
        let (parent, _) = split(&path);
        assert!(directories.contains(parent), "{:?} is in no directory of the list", entry.path);
        assert!(entry.mode <= 0o7777 && entry.data_size().is_some());
        let mut end = 0;
        for (offset, length) in &entry.holes {
            assert!(*offset >= end && offset + length <= entry.size);
            end = offset + length;
        }
        here = parent.to_vec();
        if entry.kind == FileKind::Dir {
            here.clone_from(&path);
            directories.insert(path.clone());
        }
        assert!(seen.insert(path), "{:?} is there twice", entry.path);
    }
}
