//! How much an exclude rule leaves out: files and bytes, counted beneath what is left out and never read.
//!
//! Nobody waits for these numbers, so they may not cost: a page cache can hold a million files, and backups/ can be the mount
//! of a server that is gone. Counting ends at a number of entries and at a time, and doesn't enter mounts; the numbers are
//! then "at least".

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::exclude::KERNEL;
use super::metadata::size;
use super::tree::Tree;
use crate::repository::entry::LeftOut;

/// What is beneath one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    /// Entries that aren't directories.
    files: u64,
    /// Bytes of the regular files among them.
    bytes: u64,
    /// Not all of it was counted.
    at_least: bool,
}

impl Count {
    const UNKNOWN: Self = Self { files: 0, bytes: 0, at_least: true };
}

/// How far counting goes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: u64,
    time: Duration,
}

/// For one path.
const ONE: Limits = Limits { entries: 100_000, time: Duration::from_secs(5) };
/// For all paths of a run.
const ALL: Limits = Limits { entries: 1_000_000, time: Duration::from_secs(20) };
/// Each level holds a descriptor and a buffer.
const DEEPEST: usize = 64;
/// How often the clock is looked at.
const LOOK_EVERY: u64 = 256;
/// How many directories are remembered, and bytes of their paths.
const REMEMBERED: (usize, usize) = (4096, 256 << 10);

/// Counts for one run. A directory that was counted is remembered, so that the second look at a tree doesn't count again.
#[derive(Debug)]
pub struct Measure {
    one: Limits,
    left: Limits,
    remembered: HashMap<Vec<u8>, Count>,
    path_bytes: usize,
}

impl Default for Measure {
    fn default() -> Self {
        Self { one: ONE, left: ALL, remembered: HashMap::new(), path_bytes: 0 }
    }
}

impl Measure {
    /// What a rule leaves out at this path.
    pub fn left_out(&mut self, tree: &Tree, rel: &[u8], rule: &str) -> LeftOut {
        // There is nothing to be counted in /proc.
        let Count { files, bytes, at_least } = if rule == KERNEL { Count::default() } else { self.of(tree, rel) };
        LeftOut { rule: rule.to_owned(), files, bytes, at_least }
    }

    /// What is at this path of the tree, with all that is beneath it. Nothing when it has gone.
    fn of(&mut self, tree: &Tree, rel: &[u8]) -> Count {
        if let Some(known) = self.remembered.get(rel) {
            return *known;
        }
        let (parent, name) = match rel.iter().rposition(|b| *b == b'/') {
            Some(at) => (rel.get(..at).unwrap_or_default(), rel.get(at + 1..).unwrap_or_default()),
            None => (&b""[..], rel),
        };
        if self.left.entries == 0 || self.left.time.is_zero() {
            return Count::UNKNOWN;
        }
        let Ok(parent) = tree.open_dir(parent) else { return Count::UNKNOWN };
        match tree.open_unmounted(parent.as_fd(), name).and_then(Dir::new) {
            Ok(dir) => {
                let begun = Instant::now();
                let mut counting = Counting {
                    count: Count::default(),
                    entries: self.left.entries.min(self.one.entries),
                    until: begun + self.left.time.min(self.one.time),
                };
                let before = counting.entries;
                counting.all(tree, dir);
                self.left.entries -= before - counting.entries;
                self.left.time = self.left.time.saturating_sub(begun.elapsed());
                self.remember(rel, counting.count);
                counting.count
            }
            Err(Errno::NOENT) => Count::default(),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.left.entries -= 1;
                file(parent.as_fd(), name)
            }
            Err(_) => Count::UNKNOWN,
        }
    }

    fn remember(&mut self, rel: &[u8], count: Count) {
        let bytes = self.path_bytes + rel.len();
        if self.remembered.len() < REMEMBERED.0 && bytes <= REMEMBERED.1 {
            self.path_bytes = bytes;
            self.remembered.insert(rel.to_vec(), count);
        }
    }
}

/// Something that isn't a directory.
fn file(dir: BorrowedFd<'_>, name: &[u8]) -> Count {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Count { files: 1, bytes: size(&stat), at_least: false }
        }
        Ok(_) => Count { files: 1, bytes: 0, at_least: false },
        Err(Errno::NOENT) => Count::default(),
        Err(_) => Count::UNKNOWN,
    }
}

/// One directory being counted.
struct Counting {
    count: Count,
    /// How many more entries may be looked at.
    entries: u64,
    until: Instant,
}

/// Where counting goes on.
enum Next {
    Here,
    Inside(Dir),
    Above,
    Over,
}

impl Counting {
    fn all(&mut self, tree: &Tree, dir: Dir) {
        let mut stack = vec![dir];
        while let Some(dir) = stack.last_mut() {
            match self.step(tree, dir) {
                Next::Here => {}
                Next::Inside(inner) if stack.len() < DEEPEST => stack.push(inner),
                Next::Inside(_) => self.count.at_least = true,
                Next::Above => {
                    stack.pop();
                }
                Next::Over => {
                    self.count.at_least = true;
                    return;
                }
            }
        }
    }

    /// Takes one entry.
    fn step(&mut self, tree: &Tree, dir: &mut Dir) -> Next {
        let entry = match dir.read() {
            Some(Ok(entry)) => entry,
            None => return Next::Above,
            Some(Err(_)) => return self.broken_off(),
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            return Next::Here;
        }
        if self.entries == 0 || (self.entries.is_multiple_of(LOOK_EVERY) && Instant::now() >= self.until) {
            return Next::Over;
        }
        self.entries -= 1;
        let Ok(here) = dir.fd() else { return self.broken_off() };
        // Where the directory doesn't say what it is, opening it does.
        let inner = match entry.file_type() {
            FileType::Directory | FileType::Unknown => tree.open_unmounted(here, name).and_then(Dir::new),
            _ => Err(Errno::NOTDIR),
        };
        match inner {
            Ok(inner) => return Next::Inside(inner),
            Err(Errno::NOTDIR | Errno::LOOP) => self.add(file(here, name)),
            Err(Errno::NOENT) => {}
            // A mount, or not to be opened.
            Err(_) => self.count.at_least = true,
        }
        Next::Here
    }

    fn broken_off(&mut self) -> Next {
        self.count.at_least = true;
        Next::Above
    }

    fn add(&mut self, more: Count) {
        self.count.files += more.files;
        self.count.bytes = self.count.bytes.saturating_add(more.bytes);
        self.count.at_least |= more.at_least;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn count(root: &Path, rel: &str) -> Count {
        Measure::default().of(&Tree::open(root).unwrap(), rel.as_bytes())
    }

    fn write(path: &Path, bytes: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    #[test]
    fn files_and_bytes_beneath_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(&root.join("cache/a/b/page.html"), 100);
        write(&root.join("cache/a/style.css"), 20);
        write(&root.join("cache/x"), 3);
        write(&root.join("outside"), 1000);
        fs::create_dir(root.join("cache/empty")).unwrap();
        symlink(root, root.join("cache/out")).unwrap();
        symlink("cache", root.join("link")).unwrap();
        assert_eq!(count(root, "cache"), Count { files: 4, bytes: 123, at_least: false });
        assert_eq!(count(root, "cache/a"), Count { files: 2, bytes: 120, at_least: false });
        assert_eq!(count(root, "cache/empty"), Count::default());
        assert_eq!(count(root, "outside"), Count { files: 1, bytes: 1000, at_least: false });
        assert_eq!(count(root, "link"), Count { files: 1, bytes: 0, at_least: false });
        assert_eq!(count(root, "gone"), Count::default());
        // Reached through a link: not beneath the tree's own directories.
        assert_eq!(count(root, "link/a"), Count::UNKNOWN);
    }

    #[test]
    fn counting_ends() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..50 {
            write(&dir.path().join(format!("a/{n}")), 1);
            write(&dir.path().join(format!("b/{n}")), 1);
        }
        let tree = Tree::open(dir.path()).unwrap();
        let limits = |entries, time| Limits { entries, time: Duration::from_millis(time) };
        let mut few = Measure { one: limits(10, 5000), left: limits(15, 5000), ..Measure::default() };
        assert_eq!(few.of(&tree, b"a"), Count { files: 10, bytes: 10, at_least: true });
        assert_eq!(few.of(&tree, b"b"), Count { files: 5, bytes: 5, at_least: true });
        assert_eq!(few.of(&tree, b"a/1"), Count::UNKNOWN);
        let mut just_enough = Measure { one: limits(50, 5000), ..Measure::default() };
        assert_eq!(just_enough.of(&tree, b"a"), Count { files: 50, bytes: 50, at_least: false });
        assert_eq!(few.of(&tree, b"a"), Count { files: 10, bytes: 10, at_least: true }, "remembered");
        let mut late = Measure { left: limits(1000, 0), ..Measure::default() };
        assert_eq!(late.of(&tree, b"a"), Count::UNKNOWN);
    }

    #[test]
    fn a_directory_is_counted_once_a_run() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("cache/a"), 1);
        let tree = Tree::open(dir.path()).unwrap();
        let mut measure = Measure::default();
        let first = measure.of(&tree, b"cache");
        write(&dir.path().join("cache/b"), 1);
        assert_eq!(measure.of(&tree, b"cache"), first);
        assert_eq!(Measure::default().of(&tree, b"cache").files, 2);
    }

    #[test]
    fn a_deep_tree_and_a_mount_are_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(DEEPEST + 10);
        write(&dir.path().join("cache").join(deep).join("file"), 1);
        write(&dir.path().join("cache/file"), 1);
        assert_eq!(count(dir.path(), "cache"), Count { files: 1, bytes: 1, at_least: true });
        assert_eq!(count(Path::new("/"), "proc"), Count::UNKNOWN);
    }
}
