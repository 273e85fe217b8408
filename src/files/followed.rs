//! Links that are followed: those that lead into directories which the owner names. Debian's wordpress package has its themes and plugins
//! behind such links.
//!
//! Whoever can write wp-content chooses where its links lead, but not which directories are named. What a link leads to is opened beneath the
//! named directory, through no other link, so that one who swaps it meanwhile gains nothing. Links found behind a link are kept as links: so
//! there are no circles.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{Mode, OFlags};

/// More links than a site has. The others are kept as links.
const MOST: usize = 4096;

/// A directory that links may lead into.
#[derive(Debug)]
struct Directory {
    /// Without links.
    path: PathBuf,
    open: Arc<OwnedFd>,
}

/// Which links are followed, and which a walk has followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    directories: Vec<Directory>,
    /// By the link's path in the tree.
    links: RwLock<BTreeMap<Vec<u8>, Place>>,
}

/// The number of a directory, and a path in it.
type Place = (usize, Vec<u8>);

impl Followed {
    pub(super) fn into(directories: &[PathBuf]) -> Self {
        let open = |path: &PathBuf| {
            let path = path.canonicalize().ok()?;
            let open = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            Some(Directory { path, open: Arc::new(open) })
        };
        Self { directories: directories.iter().filter_map(open).collect(), links: RwLock::default() }
    }

    /// Forgets the links that an earlier walk followed.
    pub(super) fn begin(&self) {
        if !self.directories.is_empty() {
            self.links.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Whether this link of the tree at `root` is followed; remembers it.
    pub(super) fn follow(&self, root: &Path, link: &[u8]) -> bool {
        if self.directories.is_empty() || self.place(link).is_some() {
            return false;
        }
        let Ok(target) = root.join(std::ffi::OsStr::from_bytes(link)).canonicalize() else { return false };
        // What is in the tree anyway is not captured a second time.
        if target.starts_with(root) {
            return false;
        }
        let inside = |directory: &Directory| Some(target.strip_prefix(&directory.path).ok()?.as_os_str().as_bytes().to_vec());
        let found = self.directories.iter().enumerate().find_map(|(number, directory)| Some((number, inside(directory)?)));
        let Some(place) = found else { return false };
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let room = links.len() < MOST;
        if room {
            links.insert(link.to_vec(), place);
        }
        room
    }

    /// Where a path of the tree is, if it is a followed link or behind one: the open directory, and the path in it.
    pub(super) fn place(&self, path: &[u8]) -> Option<(&OwnedFd, Vec<u8>)> {
        if self.directories.is_empty() {
            return None;
        }
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let (link, rest) = path.split_at(end);
            if let Some((number, inside)) = links.get(link) {
                let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                let between: &[u8] = if inside.is_empty() || rest.is_empty() { b"" } else { b"/" };
                return Some((&*self.directories.get(*number)?.open, [inside, between, rest].concat()));
            }
        }
        None
    }
}
