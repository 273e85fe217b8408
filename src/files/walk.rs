//! Walking a tree: every entry with its metadata, in the list's order.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Stat, fstat, readlinkat, statat};
use rustix::io::Errno;

use super::error::{FilesError, shown};
use super::exclude::{CACHE_TAG, CACHE_TAG_SIGNATURE, DO_NOT_BACK_UP, KERNEL, Rules};
use super::metadata::entry;
use super::names::Names;
use super::stack::DirStack;
use super::tree::{FileSystem, Tree, open_child_dir, open_child_file};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind, Finding, FindingCode};

/// What a walk comes across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walked<C> {
    /// A file, directory or symlink, without chunks.
    Entry(FileEntry<C>),
    /// Something that has no entry, or more to say about the entry before it.
    Finding(Finding),
}

impl Tree {
    /// Walks the tree: the root first, a directory before what is in it, in [`path_order`]. An entry that goes while the
    /// walk is under way is not seen; one that can't be read is a finding, and the walk goes on.
    ///
    /// Metadata is asked for by name in a directory that is held open, and directories are entered by name from one that
    /// is held open: a directory swapped for a symlink, at any moment, leads nowhere. Mounts are entered (uploads often is
    /// one), except of the kernel's own file systems.
    ///
    /// [`path_order`]: crate::repository::entry::path_order
    pub fn walk<'t, C>(&'t self, rules: &'t Rules) -> Walk<'t, C> {
        Walk { tree: self, rules, stack: DirStack::new(), ready: VecDeque::new(), state: State::Start }
    }
}

/// A walk under way. Ends after the first error.
#[derive(Debug)]
pub struct Walk<'t, C> {
    tree: &'t Tree,
    rules: &'t Rules,
    stack: DirStack<Open>,
    /// What was come across and not yet given out; a few at most.
    ready: VecDeque<Walked<C>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Under,
    Ended,
}

/// A directory that the walk is in.
#[derive(Debug)]
struct Open {
    names: Names,
    device: u64,
}

impl<C> Iterator for Walk<'_, C> {
    type Item = Result<Walked<C>, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(ready));
            }
            let stepped = match self.state {
                State::Start => self.start(),
                State::Under => self.step(),
                State::Ended => return None,
            };
            if let Err(error) = stepped {
                self.state = State::Ended;
                return Some(Err(error));
            }
        }
    }
}

impl<C> Walk<'_, C> {
    fn start(&mut self) -> Result<(), FilesError> {
        self.state = State::Under;
        let failed = |source| FilesError::Walk { path: shown(self.tree.path()), source };
        self.tree.followed.begin();
        let root = self.tree.open_dir(b"").map_err(failed)?;
        let stat = fstat(&root).map_err(|e| failed(e.into()))?;
        let names = Names::list(root.as_fd()).map_err(failed)?;
        self.ready.push_back(Walked::Entry(entry(b"", FileKind::Dir, &stat, &self.tree.owners)));
        self.stack.push(root, b"", Open { names, device: stat.st_dev });
        Ok(())
    }

    /// Takes one name.
    fn step(&mut self) -> Result<(), FilesError> {
        let Some(open) = self.stack.data() else {
            self.state = State::Ended;
            return Ok(());
        };
        let device = open.device;
        let Some((name, looks_dir)) = open.names.next() else {
            let incomplete = open.names.incomplete.take();
            if let Some(error) = incomplete {
                let path = self.stack.path().to_vec();
                self.trouble(&path, "not listed to its end", error)?;
            }
            self.stack.pop();
            return Ok(());
        };
        let name = name.to_vec();
        let path = self.stack.child(&name);
        if self.excluded(&path, looks_dir) {
            return Ok(());
        }
        let dir = match self.stack.dir(self.tree) {
            Ok(dir) => dir,
            Err(error) => {
                let left = self.stack.path().to_vec();
                self.stack.pop();
                return self.trouble(&left, "not listed to its end", error);
            }
        };
        let stat = match statat(&dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return self.trouble(&path, "", error.into()),
        };
        let special = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if looks_dir || !self.excluded(&path, true) => {
                return self.enter(&dir, &name, &path, device);
            }
            FileType::Directory => return Ok(()),
            FileType::RegularFile => {
                let entry = entry(&path, FileKind::File, &stat, &self.tree.owners);
                self.ready.push_back(Walked::Entry(entry));
                return Ok(());
            }
            FileType::Symlink if self.tree.followed.follow(self.tree.path(), &path) => return self.behind(&name, &path, device),
            FileType::Symlink => return self.symlink(&dir, &name, &path, &stat),
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice => "a character device",
            FileType::BlockDevice => "a block device",
            FileType::Unknown => "of a kind that the agent doesn't know",
        };
        self.found(FindingCode::SpecialFile, &path, special.to_owned());
        Ok(())
    }

    fn symlink(&mut self, dir: &Arc<OwnedFd>, name: &[u8], path: &[u8], stat: &Stat) -> Result<(), FilesError> {
        let target = match readlinkat(dir, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            // No longer a link.
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return self.trouble(path, "", error.into()),
        };
        let outside = points_outside(self.tree.path(), path, &target);
        let mut entry = entry(path, FileKind::Symlink, stat, &self.tree.owners);
        let target = ByteText(target);
        let detail = format!("points to {target}");
        entry.size = target.0.len() as u64;
        entry.target = Some(target);
        self.ready.push_back(Walked::Entry(entry));
        if outside {
            self.found(FindingCode::OutsideLink, path, detail);
        }
        Ok(())
    }

    /// Takes what a followed link leads to: as what it is, and by the link's name.
    fn behind(&mut self, name: &[u8], path: &[u8], device: u64) -> Result<(), FilesError> {
        let (place, stat) = match self.tree.open_any(path).and_then(|place| Ok((fstat(&place)?, place))) {
            Ok((stat, place)) => (place, stat),
            Err(error) => return self.trouble(path, "what the link leads to", error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.excluded(path, true) => Ok(()),
            FileType::Directory => self.enter_open(Arc::new(place), name, path, device),
            FileType::RegularFile => {
                self.ready.push_back(Walked::Entry(entry(path, FileKind::File, &stat, &self.tree.owners)));
                Ok(())
            }
            _ => {
                self.found(FindingCode::SpecialFile, path, "a link to what is neither file nor directory".to_owned());
                Ok(())
            }
        }
    }

    /// Goes into a directory.
    fn enter(&mut self, parent: &Arc<OwnedFd>, name: &[u8], path: &[u8], device: u64) -> Result<(), FilesError> {
        match open_child_dir(parent.as_fd(), name) {
            Ok(dir) => self.enter_open(dir, name, path, device),
            Err(error) => self.trouble(path, "", error.into()),
        }
    }

    /// Goes into an open directory, which is on this device's file system or on another.
    fn enter_open(&mut self, dir: Arc<OwnedFd>, name: &[u8], path: &[u8], device: u64) -> Result<(), FilesError> {
        // Of what was opened, which need not be what had the name a moment ago.
        let stat = match fstat(&dir) {
            Ok(stat) => stat,
            Err(error) => return self.trouble(path, "", error.into()),
        };
        if stat.st_dev != device {
            match FileSystem::of(dir.as_fd()) {
                FileSystem::Kernel => {
                    self.found(FindingCode::Excluded, path, KERNEL.to_owned());
                    return Ok(());
                }
                FileSystem::Network => self.tree.saw_network(),
                FileSystem::Local => {}
            }
        }
        let names = Names::list(dir.as_fd());
        if let Ok(names) = &names
            && self.rules.markers()
            && let Some(marker) = marker(dir.as_fd(), names)
        {
            self.found(FindingCode::Excluded, path, format!("marker:{marker}"));
            return Ok(());
        }
        self.ready.push_back(Walked::Entry(entry(path, FileKind::Dir, &stat, &self.tree.owners)));
        match names {
            Ok(names) => self.stack.push(dir, name, Open { names, device: stat.st_dev }),
            Err(error) => self.trouble(path, "not listed", error)?,
        }
        Ok(())
    }

    /// Asks the rules, and notes what they leave out.
    fn excluded(&mut self, path: &[u8], is_dir: bool) -> bool {
        let Some(rule) = self.rules.decide(path, is_dir) else { return false };
        let rule = rule.to_owned();
        self.found(FindingCode::Excluded, path, rule);
        true
    }

    /// What failed at one path: nothing when that went or was swapped meanwhile; the end of the walk when it isn't the
    /// path's fault; else a finding.
    fn trouble(&mut self, path: &[u8], what: &str, error: io::Error) -> Result<(), FilesError> {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
                return Err(FilesError::Walk { path: ByteText::from(path), source: error });
            }
            _ if what.is_empty() => self.found(FindingCode::Unreadable, path, error.to_string()),
            _ => self.found(FindingCode::Unreadable, path, format!("{what}: {error}")),
        }
        Ok(())
    }

    fn found(&mut self, code: FindingCode, path: &[u8], detail: String) {
        self.ready.push_back(Walked::Finding(Finding { code, subject: ByteText::from(path), detail }));
    }
}

/// The marker by which a directory asks to be left out.
pub(super) fn marker(dir: BorrowedFd<'_>, names: &Names) -> Option<&'static str> {
    if names.contains(DO_NOT_BACK_UP) {
        return Some(".donotbackup");
    }
    (names.contains(CACHE_TAG) && is_cache_tag(dir)).then_some("CACHEDIR.TAG")
}

fn is_cache_tag(dir: BorrowedFd<'_>) -> bool {
    let Ok(file) = open_child_file(dir, CACHE_TAG) else { return false };
    let regular = fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut start = [0; CACHE_TAG_SIGNATURE.len()];
    regular && std::fs::File::from(file).read_exact(&mut start).is_ok() && start == *CACHE_TAG_SIGNATURE
}

/// Whether a symlink points out of the tree, by the words of its target: other links on its way are not followed.
fn points_outside(root: &Path, link: &[u8], target: &[u8]) -> bool {
    let root: Vec<&[u8]> = components(root.as_os_str().as_bytes()).collect();
    let mut place = Vec::new();
    if !target.starts_with(b"/") {
        place.extend(root.iter().copied().chain(components(link)));
        place.pop();
    }
    for component in components(target) {
        if component == b".." {
            place.pop();
        } else {
            place.push(component);
        }
    }
    !place.starts_with(&root)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|component| !component.is_empty() && *component != b".")
}

#[cfg(test)]
mod tests;
