//! Extended attributes, POSIX ACLs among them: read, compared, and set.
//!
//! Captured and restored are `user.*`, `trusted.*` (which only root sees; not those of overlayfs, which are its own), `security.capability`,
//! and the ACLs. What a host's own policy makes (`security.selinux`, IMA, EVM) means nothing elsewhere.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr, lremovexattr, lsetxattr};
use rustix::io::{Errno, Result};

use super::change::is_settled;
use super::tree::Tree;
use crate::repository::entry::{FileEntry, FileKind};
use crate::repository::xattrs::{MOST_XATTR_BYTES, Xattrs};

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
const CAPABILITY: &[u8] = b"security.capability";
/// What the kernel gives at most: a list of names, and a value.
const LARGEST: usize = 64 << 10;
/// Enough for most lists.
const ORDINARY: usize = 512;

/// Whether one of this name is captured and restored.
pub(super) fn is_kept(name: &[u8]) -> bool {
    let own = |prefix: &[u8]| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    own(b"user.") || own(b"trusted.") && !name.starts_with(b"trusted.overlay.") || is_late(name)
}

/// Those that a change of mode or owner changes or takes away.
fn is_late(name: &[u8]) -> bool {
    [ACCESS_ACL, DEFAULT_ACL, CAPABILITY].contains(&name)
}

/// Where attributes are.
#[derive(Debug)]
pub(super) enum At<'a> {
    /// Open, and not just as a place.
    Open(BorrowedFd<'a>),
    /// By name in an open directory, itself: no symlink is followed.
    Named(Vec<u8>),
}

impl At<'_> {
    /// What has this name in a directory; `.` is the directory.
    pub(super) fn named(dir: BorrowedFd<'_>, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Self::Named(path)
    }

    fn list(&self, into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => flistxattr(fd, into),
            Self::Named(path) => llistxattr(path.as_slice(), into),
        }
    }

    fn get(&self, name: &[u8], into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => fgetxattr(fd, name, into),
            Self::Named(path) => lgetxattr(path.as_slice(), name, into),
        }
    }

    fn set(&self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(path) => lsetxattr(path.as_slice(), name, value, XattrFlags::empty()),
        }
    }

    fn remove(&self, name: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Named(path) => lremovexattr(path.as_slice(), name),
        }
    }

    /// The names of those that are kept, each ended by a NUL.
    fn names(&self) -> Result<Vec<u8>> {
        let mut few = [0; ORDINARY];
        let listed = match self.list(&mut few) {
            Ok(length) => few.get(..length).unwrap_or_default().to_vec(),
            Err(Errno::RANGE) => {
                let mut many = vec![0; LARGEST];
                let length = self.list(&mut many)?;
                many.truncate(length);
                many
            }
            // The file system has none.
            Err(Errno::NOTSUP | Errno::NOSYS) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(listed.split_inclusive(|b| *b == 0).filter(|name| is_kept(without_nul(name))).flatten().copied().collect())
    }

    fn value(&self, name: &[u8]) -> Result<Vec<u8>> {
        let mut short = [0; ORDINARY];
        match self.get(name, &mut short) {
            Err(Errno::RANGE) => {}
            length => return Ok(short.get(..length?).unwrap_or_default().to_vec()),
        }
        let mut long = vec![0; LARGEST];
        let length = self.get(name, &mut long)?;
        long.truncate(length);
        Ok(long)
    }
}

fn without_nul(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

/// What is there; and why something isn't in it, if so.
pub(super) fn read(at: &At<'_>) -> (Xattrs, Option<String>) {
    let mut xattrs = Xattrs::default();
    let names = match at.names() {
        Ok(names) => names,
        Err(Errno::NOENT) => return (xattrs, None),
        Err(error) => return (xattrs, Some(format!("its extended attributes can't be listed: {error}"))),
    };
    let (mut bytes, mut lacking) = (0, None);
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match at.value(name) {
            Ok(value) if bytes + name.len() + value.len() > MOST_XATTR_BYTES => {
                let detail = format!(
                    "its extended attributes have more than {} KiB, which is the most that is kept",
                    MOST_XATTR_BYTES >> 10
                );
                lacking.get_or_insert(detail);
            }
            Ok(value) => {
                bytes += name.len() + value.len();
                xattrs.insert(name, value);
            }
            // Gone meanwhile; or an ACL that is empty.
            Err(Errno::NODATA | Errno::NOENT) => {}
            Err(error) => {
                let name = name.escape_ascii();
                lacking.get_or_insert(format!("its extended attribute {name} can't be read: {error}"));
            }
        }
    }
    (xattrs, lacking)
}

/// The attributes of a directory or symlink that a walk has seen; and why something isn't in them, if so.
///
/// Those of its entry before stand if it can't have changed since: setting one changes the ctime. So a night without changes asks for none.
pub fn xattrs_of<P, N>(
    tree: &Tree,
    before: Option<&FileEntry<P>>,
    now: &FileEntry<N>,
    before_started_ns: i64,
) -> (Xattrs, Option<String>) {
    if let Some(before) = before
        && (before.kind, before.ctime, before.inode) == (now.kind, now.ctime, now.inode)
        && before.flags.is_empty()
        && is_settled(now.ctime, before_started_ns, tree.is_network_fs())
    {
        return (before.xattrs.clone(), None);
    }
    let path = now.path.as_bytes();
    let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&b""[..], path),
    };
    // A directory's own attributes through itself: what has its name in the one above may be another by now.
    let place = if now.kind == FileKind::Dir { tree.open_dir(path) } else { tree.open_dir(parent) };
    match place {
        Ok(place) if now.kind == FileKind::Dir => read(&At::named(place.as_fd(), b".")),
        Ok(place) => read(&At::named(place.as_fd(), name)),
        // Gone, or swapped: the next look tells.
        Err(_) => (Xattrs::default(), None),
    }
}

/// Whether what is there isn't what is wanted. What can't be told is as it should be: nobody could set it either.
pub(super) fn differ(at: &At<'_>, wanted: Option<&Xattrs>) -> bool {
    match at.names() {
        Ok(names) if names.is_empty() => wanted.is_some_and(|wanted| wanted.iter().any(|(name, _)| is_kept(name.as_bytes()))),
        Ok(_) => {
            let (there, _) = read(at);
            let kept = |xattrs: &Xattrs| xattrs.iter().filter(|(name, _)| is_kept(name.as_bytes())).count();
            let same = |wanted: &Xattrs| {
                kept(wanted) == kept(&there) && there.iter().all(|(name, value)| wanted.get(name.as_bytes()) == Some(value))
            };
            !wanted.map_or(there.is_empty(), same)
        }
        Err(_) => false,
    }
}

/// Before the mode is set: takes away what isn't wanted (an ACL that the directory gives to all that is made in it), and sets what a
/// mode doesn't change. `failed` hears which could not be.
pub(super) fn set_early(at: &At<'_>, wanted: Option<&Xattrs>, failed: &mut dyn FnMut(&[u8], Errno)) {
    let there = at.names().unwrap_or_default();
    for name in there.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if wanted.is_none_or(|wanted| wanted.get(name).is_none()) {
            match at.remove(name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(error) => failed(name, error),
            }
        }
    }
    for (name, value) in wanted.into_iter().flat_map(Xattrs::iter) {
        let name = name.as_bytes();
        if !is_kept(name) {
            failed(name, Errno::NOTSUP);
        } else if !is_late(name)
            && let Err(error) = at.set(name, value)
        {
            failed(name, error);
        }
    }
}

/// After it: the ACLs, and the capabilities of a program, unless it is another's now.
pub(super) fn set_late(at: &At<'_>, wanted: Option<&Xattrs>, owned: bool, failed: &mut dyn FnMut(&[u8], Errno)) {
    for (name, value) in wanted.into_iter().flat_map(Xattrs::iter).filter(|(name, _)| is_late(name.as_bytes())) {
        let name = name.as_bytes();
        let set = if name == CAPABILITY && !owned { Err(Errno::PERM) } else { at.set(name, value) };
        if let Err(error) = set {
            failed(name, error);
        }
    }
}

/// Says what is wrong with attributes that no walk has seen.
pub(super) fn check(xattrs: &Xattrs) -> std::result::Result<(), &'static str> {
    let bad = |name: &[u8]| name.is_empty() || name.len() > 255 || name.contains(&0);
    if xattrs.iter().any(|(name, value)| bad(name.as_bytes()) || value.len() > LARGEST) {
        return Err("it has an extended attribute that nothing can have");
    }
    if xattrs.bytes() > MOST_XATTR_BYTES {
        return Err("its extended attributes are too large");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
