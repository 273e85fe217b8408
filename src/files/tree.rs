//! A directory tree, held by a descriptor of its root, beneath which everything is opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::{Errno, retry_on_intr};

use super::error::FilesError;
use super::followed::Followed;
use super::metadata::Owners;

/// How far the kernel may go when it resolves a path.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// A place in the tree: says which directory it is, and reads nothing.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file's content. Without waiting for the other end of a FIFO, or becoming a terminal's owner.
const CONTENT: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// Bytes of path in one system call. The kernel takes 4095.
const LONGEST_STEP: usize = 4000;

/// A directory tree. Paths are bytes below its root, without a leading slash; the root itself is the empty path.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    root: Arc<OwnedFd>,
    /// Whether the kernel has openat2 (5.6) and a sandbox lets us have it.
    has_openat2: bool,
    /// Set when the root, or any mount a walk came across, is on a network.
    network: AtomicBool,
    pub(super) owners: Owners,
    /// The links that lead elsewhere and are followed.
    pub(super) followed: Followed,
}

impl Tree {
    /// Opens the tree at `path`. A symlink there is followed, once: this is the owner's own path.
    ///
    /// # Errors
    /// [`FilesError::Open`] when it isn't a directory or can't be reached.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let failed = |source: io::Error| FilesError::open(path, source);
        let real = path.canonicalize().map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&real, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        // A container's filter may answer EPERM to what it doesn't know.
        let has_openat2 = match openat2(&root, ".", PLACE, Mode::empty(), BENEATH) {
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(other) => return Err(failed(other.into())),
            Ok(_) => true,
        };
        let network = FileSystem::of(root.as_fd()) == FileSystem::Network;
        let network = AtomicBool::new(network);
        Ok(Self {
            path: real,
            root: Arc::new(root),
            has_openat2,
            network,
            owners: Owners::default(),
            followed: Followed::default(),
        })
    }

    /// The same tree, with links followed that lead into one of these directories. One that can't be opened leads nowhere.
    pub fn following(mut self, directories: &[PathBuf]) -> Self {
        self.followed = Followed::into(directories);
        self
    }

    /// Where the tree is, symlinks resolved, at the time it was opened. For messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether any part of the tree known so far is on a network file system: its root from the start, a mount inside it
    /// from the moment that a walk enters it.
    pub fn is_network_fs(&self) -> bool {
        self.network.load(Ordering::Relaxed)
    }

    pub(super) fn saw_network(&self) {
        self.network.store(true, Ordering::Relaxed);
    }

    /// Opens a regular file for reading, without following a symlink anywhere on the way.
    ///
    /// # Errors
    /// The system's, and `InvalidInput` when it isn't a regular file or `rel` isn't a path below the root.
    pub fn open_file(&self, rel: &[u8]) -> io::Result<File> {
        let file = self.open_beneath(rel, CONTENT)?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file.into())
    }

    /// Opens a directory as a place (`O_PATH`), without following a symlink anywhere on the way.
    pub(super) fn open_dir(&self, rel: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if rel.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        Ok(Arc::new(self.open_beneath(rel, PLACE)?))
    }

    /// Opens whatever has this path, as a place, without following a symlink anywhere on the way.
    pub(super) fn open_any(&self, rel: &[u8]) -> io::Result<OwnedFd> {
        self.open_beneath(rel, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)
    }

    /// Opens a child directory for listing, unless something is mounted there: then `XDEV`, and the mount isn't asked for
    /// anything (a server that is gone would not answer). `NOSYS` where the kernel can't promise that.
    pub(super) fn open_unmounted(&self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        if !self.has_openat2 {
            return Err(Errno::NOSYS);
        }
        let flags = CONTENT | OFlags::DIRECTORY;
        retry_on_intr(|| openat2(dir, name, flags, Mode::empty(), BENEATH | ResolveFlags::NO_XDEV))
    }

    fn open_beneath(&self, rel: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        check_path(rel).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        match self.followed.place(rel) {
            Some((directory, inside)) => self.open_from(directory, &inside, flags),
            None => self.open_from(&self.root, rel, flags),
        }
    }

    /// Opens what is at a path beneath an open directory.
    pub(super) fn open_from(&self, root: &OwnedFd, rel: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let mut dir: Option<OwnedFd> = None;
        let mut rest = if rel.is_empty() { &b"."[..] } else { rel };
        loop {
            let at = dir.as_ref().unwrap_or(root).as_fd();
            let Some(step) = self.step(rest) else {
                return Ok(self.open_step(at, rest, flags)?);
            };
            let (head, tail) = rest.split_at(step);
            dir = Some(self.open_step(at, head, PLACE)?);
            rest = tail.strip_prefix(b"/").unwrap_or(tail);
        }
    }

    /// Where to split a path, when it can't be opened in one call.
    fn step(&self, rest: &[u8]) -> Option<usize> {
        if self.has_openat2 {
            let head = rest.get(..LONGEST_STEP)?;
            head.iter().rposition(|b| *b == b'/')
        } else {
            rest.iter().position(|b| *b == b'/')
        }
    }

    fn open_step(&self, dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        if self.has_openat2 {
            retry_on_intr(|| openat2(dir, path, flags, Mode::empty(), BENEATH))
        } else {
            open_child(dir, path, flags)
        }
    }
}

/// Opens a child of a directory, by one component: without `..` and symlinks there is no way out.
pub(super) fn open_child(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    retry_on_intr(|| openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()))
}

/// Opens a child directory as a place.
pub(super) fn open_child_dir(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Arc<OwnedFd>> {
    open_child(dir, name, PLACE).map(Arc::new)
}

/// Opens a child file for reading.
pub(super) fn open_child_file(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    open_child(dir, name, CONTENT)
}

/// Says what is wrong with a path that isn't one below a root.
pub(super) fn check_path(rel: &[u8]) -> Result<(), &'static str> {
    if rel.contains(&0) {
        return Err("it holds a NUL byte");
    }
    if rel.is_empty() {
        return Ok(());
    }
    for component in rel.split(|b| *b == b'/') {
        match component {
            b"" => return Err("it is absolute or has an empty component"),
            b"." | b".." => return Err("it has a component . or .."),
            _ => {}
        }
    }
    Ok(())
}

/// What a file system is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    Local,
    /// Times are made by another machine's clock.
    Network,
    /// The kernel's own, like /proc: no data of anyone's.
    Kernel,
}

impl FileSystem {
    /// That of an open file or directory. One that can't be asked counts as a network's: that is the careful answer.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Self {
        fstatfs(fd).map_or(Self::Network, |stat| Self::by_magic(stat.f_type))
    }

    fn by_magic(magic: FsWord) -> Self {
        // The numbers are of 32 bits; their sign depends on the machine. From linux/magic.h and the file systems' own sources.
        match magic & 0xffff_ffff {
            0x6969 => Self::Network,                             // NFS
            0x517b | 0xfe53_4d42 | 0xff53_4d42 => Self::Network, // SMB, SMB2, CIFS
            0x6573_5546 => Self::Network,                        // FUSE: may be sshfs, s3fs, GlusterFS
            0x5346_414f | 0x6b41_4653 => Self::Network,          // AFS
            0x00c3_6400 => Self::Network,                        // Ceph
            0x0bd0_0bd0 => Self::Network,                        // Lustre
            0x0102_1997 => Self::Network,                        // 9P
            0x4750_4653 => Self::Network,                        // GPFS
            0x0116_1970 | 0x7461_636f => Self::Network,          // GFS2, OCFS2: shared disks
            0x9fa0 | 0x6265_6572 => Self::Kernel,                // proc, sysfs
            0x6462_6720 | 0x7472_6163 => Self::Kernel,           // debugfs, tracefs
            0x7363_6673 | 0x6265_6570 => Self::Kernel,           // securityfs, configfs
            0x0027_e0eb | 0x6367_7270 => Self::Kernel,           // cgroup, cgroup2
            0x1cd1 | 0xcafe_4a11 => Self::Kernel,                // devpts, bpf
            _ => Self::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn trees(path: &Path) -> [Tree; 2] {
        let mut by_component = Tree::open(path).unwrap();
        by_component.has_openat2 = false;
        [Tree::open(path).unwrap(), by_component]
    }

    #[test]
    fn only_what_is_beneath_the_root_opens() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink(dir.path(), root.join("out")).unwrap();
        symlink(dir.path().join("secret"), root.join("link")).unwrap();
        symlink("a", root.join("inner")).unwrap();
        let link = dir.path().join("root-link");
        symlink(&root, &link).unwrap();
        for tree in trees(&link) {
            let mut text = String::new();
            tree.open_file(b"a/b/file").unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside");
            for path in ["out/secret", "link", "inner/b/file", "../secret", "a/../../secret", "/etc/passwd", "a//b/file", "a", ""]
            {
                assert!(tree.open_file(path.as_bytes()).is_err(), "{path}");
            }
            let secret = format!("{}/secret", dir.path().display());
            assert!(tree.open_file(secret.as_bytes()).is_err());
            assert_eq!(tree.open_file(b"a/none").unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_missing_root_or_a_file_is_an_error_with_advice() {
        use crate::error::Explain;
        let dir = tempfile::tempdir().unwrap();
        let error = Tree::open(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.exit(), crate::error::Exit::NoInput);
        assert!(error.advice().is_some());
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(Tree::open(&dir.path().join("file")), Err(FilesError::Open { .. })));
    }

    #[test]
    fn file_systems_are_told_apart() {
        assert_eq!(FileSystem::by_magic(0x6969), FileSystem::Network);
        assert_eq!(FileSystem::by_magic(0xff53_4d42), FileSystem::Network);
        assert_eq!(FileSystem::by_magic(0xef53), FileSystem::Local);
        let proc = rustix::fs::open("/proc", PLACE, Mode::empty()).unwrap();
        assert_eq!(FileSystem::of(proc.as_fd()), FileSystem::Kernel);
    }
}
