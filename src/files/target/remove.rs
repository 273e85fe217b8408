//! Deleting what the list doesn't have. No symlink is followed, no other file system entered.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::spares::Lacks;
use super::{Action, Delete, Target, is_temporary};
use crate::files::error::FilesError;
use crate::files::names::Names;
use crate::files::stack::DirStack;
use crate::files::tree::open_child_dir;
use crate::files::walk::marker;

/// A directory that is being deleted.
struct Doomed {
    name: Vec<u8>,
    names: Names,
    /// Something in it stays, and so it does.
    stays: bool,
}

enum Looked {
    /// What it was is gone, or never was.
    Gone,
    Stays,
    Directory(Arc<OwnedFd>, Names),
}

impl Target {
    /// Deletes `name` in `dir`, with all that is in it. False when something of it has to stay.
    pub(super) fn remove(&self, delete: &Delete, dir: &Arc<OwnedFd>, name: &[u8], path: &[u8]) -> Result<bool, FilesError> {
        let tree = self.tree().map_err(|source| self.failed(path, source))?;
        let mut stack: DirStack<Doomed> = DirStack::new();
        match self.look(delete, dir, name, path)? {
            Looked::Gone => return Ok(true),
            Looked::Stays => return Ok(false),
            Looked::Directory(open, names) => stack.push(open, path, Doomed { name: name.to_vec(), names, stays: false }),
        }
        loop {
            self.go_on()?;
            let Some(doomed) = stack.data() else { return Ok(true) };
            if let Some(child) = doomed.names.next().map(|(name, _)| name.to_vec()) {
                let child_path = stack.child(&child);
                let here = stack.dir(tree).map_err(|source| self.failed(&child_path, source))?;
                match self.look(delete, &here, &child, &child_path)? {
                    Looked::Gone => {}
                    Looked::Stays => stack.data().into_iter().for_each(|doomed| doomed.stays = true),
                    Looked::Directory(open, names) => {
                        stack.push(open, &child, Doomed { name: child.clone(), names, stays: false })
                    }
                }
                continue;
            }
            let left_path = stack.path().to_vec();
            let Some(left) = stack.pop() else { return Ok(true) };
            let outermost = stack.data().is_none();
            let parent = if outermost { Ok(Arc::clone(dir)) } else { stack.dir(tree) };
            let parent = parent.map_err(|source| self.failed(&left_path, source))?;
            let gone = !left.stays && self.remove_dir(&parent, &left.name, &left_path)?;
            self.told(if gone { Action::Delete } else { Action::Leave }, &left_path);
            if outermost {
                return Ok(gone);
            }
            stack.data().into_iter().for_each(|doomed| doomed.stays |= !gone);
        }
    }

    /// Whether the snapshot lacks this path for another reason than that it wasn't there. What an earlier restore left (`ours`) was never missed.
    pub(super) fn spares(&self, delete: &Delete, path: &[u8], ours: bool) -> Result<bool, FilesError> {
        Ok(self.is_spared(path, Lacks::Uncaptured)? || !ours && !delete.excluded && self.is_spared(path, Lacks::Excluded)?)
    }

    fn remove_dir(&self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<bool, FilesError> {
        if self.options.dry_run {
            return Ok(true);
        }
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            // Something came into it meanwhile, or it became something else.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
            Err(error) => Err(self.failed(path, error.into())),
        }
    }

    /// Deletes what isn't a directory, unless it has to stay.
    fn look(&self, delete: &Delete, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Looked, FilesError> {
        let failed = |error: Errno| self.failed(path, error.into());
        let stays = || {
            self.told(Action::Leave, path);
            Ok(Looked::Stays)
        };
        let kind = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(Looked::Gone),
            Err(error) => return Err(failed(error)),
        };
        let is_dir = kind == FileType::Directory;
        let ours = kind == FileType::RegularFile && is_temporary(name);
        // Whatever the list says of what is no part of the tree.
        if delete.rules.leaves_out(path, is_dir) {
            return stays();
        }
        if self.spares(delete, path, ours)? {
            self.leave_spared(path);
            return Ok(Looked::Stays);
        }
        if !ours && !delete.excluded && delete.rules.decide(path, is_dir).is_some() {
            return stays();
        }
        if is_dir {
            let open = match open_on_this_mount(dir, name) {
                Ok(open) => open,
                Err(Errno::XDEV) => return stays(),
                // Gone, or something else by now.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Looked::Stays),
                Err(error) => return Err(failed(error)),
            };
            let names = Names::list(open.as_fd()).map_err(|source| self.failed(path, source))?;
            if !delete.excluded && delete.rules.markers() && marker(open.as_fd(), &names).is_some() {
                return stays();
            }
            return Ok(Looked::Directory(open, names));
        }
        // No snapshot has a socket or a device, so that one lacks it says nothing.
        if !matches!(kind, FileType::RegularFile | FileType::Symlink) {
            return stays();
        }
        if !self.options.dry_run {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.told(Action::Delete, path);
        Ok(Looked::Gone)
    }
}

/// Opens a child directory; `EXDEV` says that something is mounted there.
fn open_on_this_mount(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<Arc<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match retry_on_intr(|| openat2(dir, name, flags, Mode::empty(), within)) {
        // An old kernel, or a filter that doesn't know the call: then a mount of the same file system isn't seen, but rmdir refuses it.
        Err(Errno::NOSYS | Errno::PERM) => {
            let open = open_child_dir(dir.as_fd(), name)?;
            if fstat(&open)?.st_dev == fstat(dir)?.st_dev { Ok(open) } else { Err(Errno::XDEV) }
        }
        opened => opened.map(Arc::new),
    }
}
