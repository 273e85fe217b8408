//! Writing one file under a temporary name, and putting it in its place.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Gid, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, futimens, renameat,
    renameat_with, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::error::FilesError;
use crate::repository::byte_text::ByteText;

/// A regular file that is being restored. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct FileWriter {
    file: File,
    dir: Arc<OwnedFd>,
    temporary: Vec<u8>,
    name: Vec<u8>,
    /// In the target, for messages.
    path: ByteText,
    attributes: Attributes,
    size: u64,
    written: u64,
}

impl FileWriter {
    pub(super) fn new(
        file: File,
        dir: Arc<OwnedFd>,
        temporary: Vec<u8>,
        name: Vec<u8>,
        path: ByteText,
        attributes: Attributes,
        size: u64,
    ) -> Self {
        Self { file, dir, temporary, name, path, attributes, size, written: 0 }
    }

    /// Appends content.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] when it becomes more than the entry's size; [`FilesError::Write`].
    pub fn write(&mut self, content: &[u8]) -> Result<(), FilesError> {
        self.written += content.len() as u64;
        if self.written > self.size {
            return Err(self.bad("its chunks hold more bytes than its size says"));
        }
        self.file.write_all(content).map_err(|error| self.failed(error))
    }

    /// The same where nothing has the name; `None` when something has.
    pub(super) fn finish_new(mut self) -> Result<Option<(u64, bool)>, FilesError> {
        let owned = self.complete()?;
        match put_where_nothing_is(&self.dir, &self.temporary, &self.name) {
            Err(Errno::EXIST) => return Ok(None),
            put => put.map_err(|error| self.failed(error.into()))?,
        }
        self.temporary.clear();
        Ok(Some((self.written, owned)))
    }

    /// Puts the file in its place. Gives its size, and whether its owner could be set.
    pub(super) fn finish(mut self) -> Result<(u64, bool), FilesError> {
        let owned = self.complete()?;
        put_in_place(&self.dir, &self.temporary, &self.name).map_err(|error| self.failed(error.into()))?;
        self.temporary.clear();
        Ok((self.written, owned))
    }

    /// Whether its owner could be set.
    fn complete(&self) -> Result<bool, FilesError> {
        if self.written != self.size {
            return Err(self.bad("its chunks hold fewer bytes than its size says"));
        }
        self.attributes.set_on_file(&self.file).map_err(|error| self.failed(error.into()))
    }

    fn bad(&self, why: &'static str) -> FilesError {
        FilesError::BadEntry { path: self.path.clone(), why }
    }

    fn failed(&self, source: io::Error) -> FilesError {
        FilesError::Write { path: self.path.clone(), source }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            let _ = unlinkat(&self.dir, self.temporary.as_slice(), AtFlags::empty());
        }
    }
}

/// Gives what has a temporary name its own, in place of any file or symlink that has it.
pub(super) fn put_in_place(dir: &OwnedFd, temporary: &[u8], name: &[u8]) -> rustix::io::Result<()> {
    renameat(dir, temporary, dir, name)
}

/// The same where nothing has the name: `EEXIST` when something has.
fn put_where_nothing_is(dir: &OwnedFd, temporary: &[u8], name: &[u8]) -> rustix::io::Result<()> {
    match renameat_with(dir, temporary, dir, name, RenameFlags::NOREPLACE) {
        // A file system that can't do it in one step.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => put_in_place(dir, temporary, name),
            there => there.and(Err(Errno::EXIST)),
        },
        put => put,
    }
}

/// What an entry gets beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// User and group on this host.
    pub(super) ids: (u32, u32),
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
}

/// The bits that let a program run as its owner or group.
const SET_ID: u32 = 0o6000;

impl Attributes {
    // The owner first, because that clears bits of the mode; the time last, because all else may touch it.

    /// Whether the owner could be set. A file that isn't its owner's doesn't get the bits that let it run as its owner.
    pub(super) fn set_on_file(&self, file: &File) -> rustix::io::Result<bool> {
        let owned = self.own(|user, group| fchown(file, user, group))?;
        let mode = if owned { self.mode } else { self.mode & !SET_ID };
        fchmod(file, Mode::from_raw_mode(mode))?;
        futimens(file, &self.times())?;
        Ok(owned)
    }

    /// Whether the owner could be set.
    pub(super) fn set_on_dir(&self, dir: &OwnedFd) -> rustix::io::Result<bool> {
        let owned = self.own(|user, group| fchown(dir, user, group))?;
        fchmod(dir, Mode::from_raw_mode(self.mode))?;
        futimens(dir, &self.times())?;
        Ok(owned)
    }

    /// Whether the owner could be set. A symlink has no mode of its own.
    pub(super) fn set_on_link(&self, dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<bool> {
        let owned = self.own(|user, group| chownat(dir, name, user, group, AtFlags::SYMLINK_NOFOLLOW))?;
        utimensat(dir, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(owned)
    }

    /// Only root (CAP_CHOWN) gives files away, and in a container not to everyone; an owner gives them to groups he is in.
    fn own(&self, set: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>) -> rustix::io::Result<bool> {
        let (user, group) = (Uid::from_raw(self.ids.0), Gid::from_raw(self.ids.1));
        match set(Some(user), Some(group)) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                let _ = set(None, Some(group));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn times(&self) -> Timestamps {
        const SECOND: i64 = 1_000_000_000;
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.mtime.div_euclid(SECOND), tv_nsec: self.mtime.rem_euclid(SECOND) },
        }
    }
}
