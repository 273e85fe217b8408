//! Writing one file under a temporary name, and putting it in its place.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Gid, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, futimens, renameat,
    renameat_with, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::error::FilesError;
use super::holes::Hole;
use super::xattrs::{self, At};
use crate::repository::byte_text::ByteText;
use crate::repository::xattrs::Xattrs;

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
    /// Those before the present place are passed.
    holes: std::vec::IntoIter<Hole>,
    /// Bytes of content and holes so far.
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
        (size, holes): (u64, Vec<Hole>),
    ) -> Self {
        Self { file, dir, temporary, name, path, attributes, size, holes: holes.into_iter(), written: 0 }
    }

    /// Appends content.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] when it becomes more than the entry's size; [`FilesError::Write`].
    pub fn write(&mut self, mut content: &[u8]) -> Result<(), FilesError> {
        while !content.is_empty() {
            self.pass_holes()?;
            let end = self.holes.as_slice().first().map_or(self.size, |hole| hole.0);
            let room = usize::try_from(end.saturating_sub(self.written)).unwrap_or(usize::MAX).min(content.len());
            if room == 0 {
                return Err(self.bad("its chunks hold more bytes than its size says"));
            }
            let (now, rest) = content.split_at(room);
            self.file.write_all(now).map_err(|error| self.failed(error))?;
            self.written += room as u64;
            content = rest;
        }
        Ok(())
    }

    /// Goes behind the holes that begin here.
    fn pass_holes(&mut self) -> Result<(), FilesError> {
        while let Some(hole) = self.holes.as_slice().first().copied().filter(|hole| hole.0 == self.written) {
            self.holes.next();
            self.written = hole.0.saturating_add(hole.1);
            self.file.seek(SeekFrom::Start(self.written)).map_err(|error| self.failed(error))?;
            if self.written == self.size {
                self.file.set_len(self.size).map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    /// The same where nothing has the name; `None` when something has.
    pub(super) fn finish_new(mut self) -> Result<Option<(u64, Unset)>, FilesError> {
        let unset = self.complete()?;
        match put_where_nothing_is(&self.dir, &self.temporary, &self.name) {
            Err(Errno::EXIST) => return Ok(None),
            put => put.map_err(|error| self.failed(error.into()))?,
        }
        self.temporary.clear();
        Ok(Some((self.written, unset)))
    }

    /// Puts the file in its place. Gives its size, and what could not be set.
    pub(super) fn finish(mut self) -> Result<(u64, Unset), FilesError> {
        let unset = self.complete()?;
        put_in_place(&self.dir, &self.temporary, &self.name).map_err(|error| self.failed(error.into()))?;
        self.temporary.clear();
        Ok((self.written, unset))
    }

    /// What could not be set.
    fn complete(&mut self) -> Result<Unset, FilesError> {
        self.pass_holes()?;
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
pub(super) fn put_where_nothing_is(dir: &OwnedFd, temporary: &[u8], name: &[u8]) -> rustix::io::Result<()> {
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
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// User and group on this host.
    pub(super) ids: (u32, u32),
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
    /// Extended ones; `None` is none.
    pub(super) xattrs: Option<Arc<Xattrs>>,
}

/// What could not be set, because the process has no right to or the file system can't.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Unset {
    /// Owner or group.
    pub(super) owner: bool,
    /// Extended attributes, each with the reason.
    pub(super) xattrs: Vec<(ByteText, Errno)>,
}

/// The bits that let a program run as its owner or group.
const SET_ID: u32 = 0o6000;

impl Attributes {
    // The owner first, because that clears bits of the mode and a program's capabilities; ACLs after the mode, which is part of them;
    // the time last, because all else may touch it.

    /// Sets them. A file that isn't its owner's doesn't get the bits that let it run as its owner.
    pub(super) fn set_on_file(&self, file: &File) -> rustix::io::Result<Unset> {
        let owned = self.own(|user, group| fchown(file, user, group))?;
        let mode = if owned { self.mode } else { self.mode & !SET_ID };
        let unset = self.set_extended(&At::Open(file.as_fd()), owned, || fchmod(file, Mode::from_raw_mode(mode)))?;
        futimens(file, &self.times())?;
        Ok(unset)
    }

    /// Sets them on a directory that is open.
    pub(super) fn set_on_dir(&self, dir: &OwnedFd) -> rustix::io::Result<Unset> {
        let owned = self.own(|user, group| fchown(dir, user, group))?;
        let mode = Mode::from_raw_mode(self.mode);
        let unset = self.set_extended(&At::Open(dir.as_fd()), owned, || fchmod(dir, mode))?;
        futimens(dir, &self.times())?;
        Ok(unset)
    }

    /// Sets them. A symlink has no mode of its own.
    pub(super) fn set_on_link(&self, dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<Unset> {
        let owned = self.own(|user, group| chownat(dir, name, user, group, AtFlags::SYMLINK_NOFOLLOW))?;
        let unset = self.set_extended(&At::named(dir.as_fd(), name), owned, || Ok(()))?;
        utimensat(dir, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(unset)
    }

    /// Sets the mode, and what belongs before and after it.
    fn set_extended(
        &self,
        at: &At<'_>,
        owned: bool,
        set_mode: impl FnOnce() -> rustix::io::Result<()>,
    ) -> rustix::io::Result<Unset> {
        let mut unset = Unset { owner: !owned, xattrs: Vec::new() };
        let mut failed = |name: &[u8], error: Errno| unset.xattrs.push((ByteText::from(name), error));
        let wanted = self.xattrs.as_deref();
        xattrs::set_early(at, wanted, &mut failed);
        set_mode()?;
        xattrs::set_late(at, wanted, owned, &mut failed);
        Ok(unset)
    }

    /// Whether the extended ones that are there are others.
    pub(super) fn extended_differ(&self, at: &At<'_>) -> bool {
        xattrs::differ(at, self.xattrs.as_deref())
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
