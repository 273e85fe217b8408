//! Writing a tree back, entry by entry, in the list's order.

use std::cmp::Ordering;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fstat, openat, statat, symlinkat, syncfs, unlinkat};
use rustix::io::Errno;

use super::error::{FilesError, shown};
use super::names::Names;
use super::stack::DirStack;
use super::tree::{Tree, check_path, open_child_dir};
use super::write_file::{Attributes, FileWriter, put_in_place};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind, path_order};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Regular files.
    pub files: u64,
    /// Directories, the target itself among them when it is in the list.
    pub dirs: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Entries whose owner or group could not be set, because the process has no right to give files away.
    pub owners_not_set: u64,
}

/// Writes a list's entries below a target directory.
///
/// Entries come in the list's order, each after its directory. Every name is made in a directory that is held open and
/// was entered without following a symlink; so neither a link that is in the target already nor one that the snapshot
/// itself makes leads out of it. A directory gets its mode, owner and mtime when the list has left it.
///
/// Dropped before [`TreeWriter::finish`], it leaves the target incomplete, with directories that only their owner enters.
#[derive(Debug)]
pub struct TreeWriter {
    tree: Tree,
    overwrite: bool,
    stack: DirStack<Made>,
    last: Option<Vec<u8>>,
    /// Number of the next temporary name.
    temporary: u64,
    stats: WriteStats,
}

/// A directory that the list is in.
#[derive(Debug)]
struct Made {
    /// What it gets when the list has left it; the target has none before its own entry came.
    attributes: Option<Attributes>,
    device: u64,
}

impl TreeWriter {
    /// Makes the target directory, with its parents, or takes the one that is there. A symlink at `target` itself is
    /// followed, once: this is the caller's own path.
    ///
    /// # Errors
    /// [`FilesError::TargetNotEmpty`] when something is in it and `overwrite` isn't set; [`FilesError::Write`].
    pub fn create(target: &Path, overwrite: bool) -> Result<Self, FilesError> {
        let failed = |source: io::Error| FilesError::Write { path: shown(target), source };
        std::fs::create_dir_all(target).map_err(failed)?;
        let tree = Tree::open(target)?;
        let root = tree.open_dir(b"").map_err(failed)?;
        if !overwrite && Names::list(root.as_fd()).map_err(failed)?.next().is_some() {
            return Err(FilesError::TargetNotEmpty { path: shown(target) });
        }
        let device = fstat(&root).map_err(|e| failed(e.into()))?.st_dev;
        let mut stack = DirStack::new();
        stack.push(root, b"", Made { attributes: None, device });
        Ok(Self { tree, overwrite, stack, last: None, temporary: 0, stats: WriteStats::default() })
    }

    /// Makes the entry: whole, if it is a directory or a symlink. For a regular file the caller writes what
    /// the returned writer takes and gives it back to [`TreeWriter::finish_file`], before the next entry.
    ///
    /// With `overwrite`, a file or symlink of this name is replaced, a directory is kept and entered where one belongs, and
    /// what the list doesn't have stays.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] for an entry that no walk makes, or not in this order; [`FilesError::InTheWay`];
    /// [`FilesError::Write`].
    pub fn begin<C>(&mut self, entry: &FileEntry<C>) -> Result<Option<FileWriter>, FilesError> {
        let name = self.check(entry)?.to_vec();
        while !is_parent(self.stack.path(), &entry.path.0) {
            self.leave()?;
        }
        let ids = self.tree.owners.ids(entry);
        let attributes = Attributes { mode: entry.mode, ids, mtime: entry.mtime };
        self.last = Some(entry.path.0.clone());
        if name.is_empty() {
            if let Some(root) = self.stack.data() {
                root.attributes = Some(attributes);
            }
            return Ok(None);
        }
        let path = self.shown(&entry.path.0);
        let failed = |source| FilesError::Write { path: path.clone(), source };
        let dir = self.stack.dir(&self.tree).map_err(failed)?;
        match (entry.kind, &entry.target) {
            (FileKind::Dir, _) => self.make_dir(&dir, &name, attributes, &path)?,
            (FileKind::Symlink, Some(target)) => {
                self.clear_way(&dir, &name, &path)?;
                let temporary = self.temporary_name(|name| symlinkat(target.as_bytes(), &dir, name)).map_err(failed)?;
                let put = attributes
                    .set_on_link(&dir, &temporary.0)
                    .and_then(|owned| put_in_place(&dir, &temporary.0, &name).map(|()| owned));
                let owned = put.map_err(|error| {
                    let _ = unlinkat(&dir, temporary.0.as_slice(), AtFlags::empty());
                    failed(error.into())
                })?;
                self.stats.owners_not_set += u64::from(!owned);
                self.stats.symlinks += 1;
            }
            (FileKind::Symlink, None) => return Err(bad(entry, "a symlink without a target")),
            (FileKind::File, _) => {
                self.clear_way(&dir, &name, &path)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = self.temporary_name(|name| openat(&dir, name, flags, Mode::RUSR | Mode::WUSR));
                let (temporary, file) = made.map_err(failed)?;
                return Ok(Some(FileWriter::new(file.into(), dir, temporary, name, path, attributes, entry.size)));
            }
        }
        Ok(None)
    }

    /// Puts a file in its place, with its mode, owner and mtime.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] when fewer bytes were written than the entry says; [`FilesError::Write`].
    pub fn finish_file(&mut self, file: FileWriter) -> Result<(), FilesError> {
        let (bytes, owned) = file.finish()?;
        self.stats.files += 1;
        self.stats.bytes += bytes;
        self.stats.owners_not_set += u64::from(!owned);
        Ok(())
    }

    /// Ends the list: directories get their attributes, and everything is on the disk when this returns.
    ///
    /// # Errors
    /// [`FilesError::Write`].
    pub fn finish(mut self) -> Result<WriteStats, FilesError> {
        while self.stack.data().is_some() {
            self.leave()?;
        }
        Ok(self.stats)
    }

    /// The entry's name, if no rule of the list forbids it here.
    fn check<'e, C>(&self, entry: &'e FileEntry<C>) -> Result<&'e [u8], FilesError> {
        let path = entry.path.as_bytes();
        check_path(path).map_err(|why| bad(entry, why))?;
        match &self.last {
            Some(last) if path_order(last, path) != Ordering::Less => {
                return Err(bad(entry, "it is in the list twice or out of order"));
            }
            _ => {}
        }
        if entry.uid == u32::MAX || entry.gid == u32::MAX || entry.mode > 0o7777 {
            return Err(bad(entry, "its mode or owner is none that a file can have"));
        }
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
            None => (&b""[..], path),
        };
        if path.is_empty() && entry.kind != FileKind::Dir {
            return Err(bad(entry, "the root is not a directory"));
        }
        // The directory at hand or one that it is in: then the list has it, and as a directory.
        let here = self.stack.path();
        if parent != here && !is_ancestor(parent, here) {
            return Err(bad(entry, "its directory is not in the list before it"));
        }
        if let (FileKind::Symlink, Some(target)) = (entry.kind, &entry.target)
            && (target.0.is_empty() || target.0.contains(&0))
        {
            return Err(bad(entry, "a symlink without a target"));
        }
        Ok(name)
    }

    fn make_dir(&mut self, dir: &Arc<OwnedFd>, name: &[u8], attributes: Attributes, path: &ByteText) -> Result<(), FilesError> {
        let failed = |error: Errno| FilesError::Write { path: path.clone(), source: error.into() };
        let make = || rustix::fs::mkdirat(dir, name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) if !self.overwrite => return Err(FilesError::InTheWay { path: path.clone(), what: TWO_NAMES }),
            Err(Errno::EXIST) => match FileType::from_raw_mode(status(dir, name).map_err(failed)?) {
                FileType::Directory => {}
                _ => {
                    unlinkat(dir, name, AtFlags::empty()).map_err(failed)?;
                    make().map_err(failed)?;
                }
            },
            made => made.map_err(failed)?,
        }
        let made = open_child_dir(dir.as_fd(), name).map_err(failed)?;
        let stat = fstat(&made).map_err(failed)?;
        if self.overwrite && stat.st_mode & 0o700 != 0o700 {
            // One that was there and that its owner may not write. Where this fails, writing in it says so.
            let _ = reopen(&made).and_then(|open| fchmod(&open, Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU));
        }
        self.stack.push(made, name, Made { attributes: Some(attributes), device: stat.st_dev });
        Ok(())
    }

    /// Makes sure that a file or symlink can take this name.
    fn clear_way(&self, dir: &Arc<OwnedFd>, name: &[u8], path: &ByteText) -> Result<(), FilesError> {
        let what = match status(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(FilesError::Write { path: path.clone(), source: error.into() }),
            Ok(mode) if FileType::from_raw_mode(mode) == FileType::Directory => "a directory",
            Ok(_) if self.overwrite => return Ok(()),
            Ok(_) => TWO_NAMES,
        };
        Err(FilesError::InTheWay { path: path.clone(), what })
    }

    /// Makes something under a name of its own, that nothing in the directory has.
    fn temporary_name<T>(&mut self, make: impl Fn(&[u8]) -> rustix::io::Result<T>) -> io::Result<(Vec<u8>, T)> {
        loop {
            let name = format!(".wp-backup-agent-{}.tmp", self.temporary).into_bytes();
            self.temporary += 1;
            match make(&name) {
                Err(Errno::EXIST | Errno::INTR) => {}
                made => return Ok((name, made?)),
            }
        }
    }

    /// Leaves the directory at hand.
    fn leave(&mut self) -> Result<(), FilesError> {
        let path = self.shown(self.stack.path());
        let failed = |source| FilesError::Write { path: path.clone(), source };
        let dir = self.stack.dir(&self.tree).map_err(failed)?;
        let Some(left) = self.stack.pop() else { return Ok(()) };
        let open = reopen(&dir).map_err(|e| failed(e.into()))?;
        if let Some(attributes) = left.attributes {
            let owned = attributes.set_on_dir(&open).map_err(|e| failed(e.into()))?;
            self.stats.dirs += 1;
            self.stats.owners_not_set += u64::from(!owned);
        }
        // One call per file system: the target's, and those mounted in it.
        if self.stack.data().is_none_or(|parent| parent.device != left.device) {
            syncfs(&open).map_err(|e| failed(e.into()))?;
        }
        Ok(())
    }

    /// A path below the target, for messages.
    fn shown(&self, rel: &[u8]) -> ByteText {
        let mut path = shown(self.tree.path());
        if !rel.is_empty() {
            path.0.push(b'/');
            path.0.extend_from_slice(rel);
        }
        path
    }
}

const TWO_NAMES: &str = "another entry, whose name the target's file system holds to be the same,";

fn bad<C>(entry: &FileEntry<C>, why: &'static str) -> FilesError {
    FilesError::BadEntry { path: entry.path.clone(), why }
}

/// The mode of what has this name, itself.
fn status(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<u32> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_mode)
}

/// A place as a descriptor that attributes can be set on.
fn reopen(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether `dir` is the directory of `path`, or the root's own entry is due at the root.
fn is_parent(dir: &[u8], path: &[u8]) -> bool {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => path.get(..at) == Some(dir),
        None => dir.is_empty(),
    }
}

/// Whether `dir` is a directory on the way from the root to `path`.
fn is_ancestor(dir: &[u8], path: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}
