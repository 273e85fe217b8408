//! What went away under uploads/ between the two looks: kept and flagged, since the database may name it.
//!
//! A restore needs the directory of each entry before it, as a directory. So a directory that went away is kept with the
//! first entry of it that is; where another kind of thing has taken its place, what was in it can't be kept.

use crate::repository::draft::DraftChunk;
use crate::repository::entry::{FileEntry, FileFlag, FileKind};

/// Follows the order of the list: which directories are in it on the way to the present path, and which gone ones could be.
#[derive(Debug)]
pub(super) struct GoneKeeper {
    /// What is kept: this directory and all in it.
    keeps: Option<&'static [u8]>,
    /// The directories of the list that the last entry is in, from the top down.
    listed: Vec<Vec<u8>>,
    /// Directories that are gone and not yet in the list.
    held: Vec<FileEntry<DraftChunk>>,
}

/// Whether `path` is below `dir`.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() && !path.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}

impl GoneKeeper {
    /// Keeps what is in this directory of the tree; with `None`, nothing.
    pub(super) fn new(keeps: Option<&'static [u8]>) -> Self {
        Self { keeps, listed: Vec::new(), held: Vec::new() }
    }

    /// Takes note of an entry that goes into the list.
    pub(super) fn listed(&mut self, path: &[u8], kind: FileKind) {
        self.advance(path);
        if kind == FileKind::Dir {
            self.listed.push(path.to_vec());
        }
    }

    /// Takes an entry that is gone. Answers what must go into the list now, in its order: nothing, or gone directories and
    /// the entry; `None` when the entry can't be kept.
    pub(super) fn gone(&mut self, entry: FileEntry<DraftChunk>) -> Option<Vec<FileEntry<DraftChunk>>> {
        let path = entry.path.as_bytes();
        self.advance(path);
        if !self.keeps.is_some_and(|kept| path == kept || is_below(path, kept)) {
            return Some(Vec::new());
        }
        let above = parent(path).to_vec();
        let reachable = self.listed.last() == Some(&above) || self.held.last().is_some_and(|dir| dir.path.as_bytes() == above);
        if entry.kind == FileKind::Dir {
            if reachable {
                self.held.push(entry);
            }
            return Some(Vec::new());
        }
        if !reachable {
            return None;
        }
        let mut kept: Vec<_> = std::mem::take(&mut self.held);
        self.listed.extend(kept.iter().map(|dir| dir.path.as_bytes().to_vec()));
        kept.push(entry);
        for entry in &mut kept {
            if !entry.flags.contains(&FileFlag::Gone) {
                entry.flags.push(FileFlag::Gone);
            }
        }
        Some(kept)
    }

    fn advance(&mut self, path: &[u8]) {
        while self.listed.last().is_some_and(|dir| !is_below(path, dir)) {
            self.listed.pop();
        }
        while self.held.last().is_some_and(|dir| !is_below(path, dir.path.as_bytes())) {
            self.held.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: FileKind) -> FileEntry<DraftChunk> {
        FileEntry {
            path: path.into(),
            kind,
            size: 0,
            mode: 0o755,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime: 0,
            ctime: 0,
            inode: 0,
            links: 1,
            target: None,
            flags: Vec::new(),
            xattrs: Default::default(),
            holes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn paths(kept: Option<Vec<FileEntry<DraftChunk>>>) -> Option<Vec<String>> {
        kept.map(|entries| entries.iter().map(|e| e.path.to_string()).collect())
    }

    #[test]
    fn directories_come_back_with_what_was_in_them() {
        let mut keeper = GoneKeeper::new(Some(b"uploads"));
        for (path, kind) in [("", FileKind::Dir), ("plugins", FileKind::Dir), ("uploads", FileKind::Dir)] {
            keeper.listed(path.as_bytes(), kind);
        }
        assert_eq!(paths(keeper.gone(entry("uploads/a", FileKind::Dir))), Some(vec![]));
        assert_eq!(paths(keeper.gone(entry("uploads/a/b", FileKind::Dir))), Some(vec![]));
        let kept = paths(keeper.gone(entry("uploads/a/b/1", FileKind::File)));
        assert_eq!(kept, Some(vec!["uploads/a".into(), "uploads/a/b".into(), "uploads/a/b/1".into()]));
        assert_eq!(paths(keeper.gone(entry("uploads/a/b/2", FileKind::File))), Some(vec!["uploads/a/b/2".into()]));
        assert_eq!(paths(keeper.gone(entry("uploads/a/c", FileKind::File))), Some(vec!["uploads/a/c".into()]));
        // An empty directory that is gone is of no use.
        assert_eq!(paths(keeper.gone(entry("uploads/d", FileKind::Dir))), Some(vec![]));
        keeper.listed(b"uploads/e", FileKind::File);
        assert_eq!(paths(keeper.gone(entry("uploads/f", FileKind::File))), Some(vec!["uploads/f".into()]));
    }

    #[test]
    fn what_was_in_a_directory_whose_place_is_taken_cannot_be_kept() {
        let mut keeper = GoneKeeper::new(Some(b"uploads"));
        keeper.listed(b"", FileKind::Dir);
        keeper.listed(b"uploads", FileKind::Dir);
        // The directory became a symlink: the list has the link.
        keeper.listed(b"uploads/a", FileKind::Symlink);
        assert_eq!(paths(keeper.gone(entry("uploads/a/1", FileKind::File))), None);
        assert_eq!(paths(keeper.gone(entry("uploads/a/b", FileKind::Dir))), Some(vec![]));
        assert_eq!(paths(keeper.gone(entry("uploads/a/b/1", FileKind::File))), None);
        assert_eq!(paths(keeper.gone(entry("uploads/b", FileKind::File))), Some(vec!["uploads/b".into()]));
    }

    #[test]
    fn a_whole_uploads_directory_that_is_gone_is_kept() {
        let mut keeper = GoneKeeper::new(Some(b"uploads"));
        keeper.listed(b"", FileKind::Dir);
        assert_eq!(paths(keeper.gone(entry("plugins/x", FileKind::File))), Some(vec![]));
        assert_eq!(paths(keeper.gone(entry("uploads", FileKind::Dir))), Some(vec![]));
        assert_eq!(paths(keeper.gone(entry("uploads/1", FileKind::File))), Some(vec!["uploads".into(), "uploads/1".into()]));
    }
}
