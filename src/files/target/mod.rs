//! A directory that a snapshot's files are restored into: what is there already is compared, and only what differs is written.
//!
//! The list is surveyed by one thread ([`Survey`]), which makes directories and links, and says which files need content. Those are written by any
//! number of threads, each by a [`Desk`] of its own. A directory gets its mode, owner and mtime when the survey has left it and all in it is written ([`node`]).
//!
//! Every name is made in a directory that was opened beneath the target without following a symlink: neither a link that is in the target already nor one
//! that the snapshot itself makes leads out of it. Content is always written to a temporary name, which then takes the place of what was there.

mod check;
mod desk;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod hard_links;
mod node;
mod remove;
mod spares;
mod survey;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat, syncfs};

use super::error::{FilesError, shown};
use super::exclude::Rules;
use super::metadata::Owners;
use super::names::Names;
use super::owners::OwnerMap;
use super::paths::PathSelection;
use super::tree::Tree;
use super::write_file::{Attributes, Unset};
use tokio_util::sync::CancellationToken;

use crate::repository::byte_text::ByteText;
use crate::repository::entry::FileEntry;

pub use desk::{Desk, Found, Pieces};
use hard_links::HardLinks;
pub use spares::{Lacks, Spares};
pub use survey::{FileTask, Survey};

/// How a directory is restored into.
#[derive(Default)]
pub struct TargetOptions {
    /// The target may hold something.
    pub overwrite: bool,
    /// Nothing is written: what would be is told.
    pub dry_run: bool,
    /// A file of the same size and mtime is read, too, before it is kept.
    pub checksum: bool,
    /// What the list doesn't have goes, but for what these rules leave out of snapshots.
    pub delete: Option<Delete>,
    /// Which of the list's paths are restored.
    pub paths: PathSelection,
    /// Who owns what is restored.
    pub owners: OwnerMap,
    /// Hears of each path.
    pub tell: Option<Tell>,
}

/// Hears what becomes of a path. Called from several threads.
pub type Tell = Box<dyn Fn(Action, &ByteText) + Send + Sync>;

/// What may be deleted.
#[derive(Debug)]
pub struct Delete {
    /// What these leave out of snapshots is kept.
    pub rules: Rules,
    /// What patterns and markers leave out goes, too. What is no part of the tree never does.
    pub excluded: bool,
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It wasn't there.
    Create,
    /// Another content, link or kind was there.
    Replace,
    /// Only its mode, owner or time differed.
    Metadata,
    /// It was as it should be.
    Keep,
    /// The list doesn't have it.
    Delete,
    /// The list doesn't have it, and may not: an exclude rule, what could not be captured, another file system, a socket.
    Leave,
}

/// What became of a target, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetStats {
    /// Entries that weren't there.
    pub created: u64,
    /// Entries in whose place another content, link or kind was.
    pub replaced: u64,
    /// Entries of which only mode, owner or time differed.
    pub metadata: u64,
    /// Entries that were as they should be.
    pub kept: u64,
    /// What the list doesn't have and was deleted.
    pub deleted: u64,
    /// What the list doesn't have and was left, though deleting was asked for.
    pub left: u64,
    /// Those of them that the snapshot could not capture, or left out when it was made.
    pub spared: u64,
    /// Regular files, whatever became of them.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Those of them that were taken from the file that was there.
    pub reused_bytes: u64,
    /// Further names that were made of files that have several.
    pub hard_links: u64,
    /// Names of such files that became files of their own, because the file system can't have both.
    pub hard_links_not_made: u64,
    /// Entries whose owner or group could not be set, because the process has no right to give files away.
    pub owners_not_set: u64,
    /// Entries with extended attributes or ACLs that could not be set: by no right to, or on this file system.
    pub xattrs_not_set: u64,
}

/// What of an entry could not be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSet {
    /// Its path below the target.
    pub path: ByteText,
    /// What it is, and why.
    pub what: String,
}

/// How many [`NotSet`] are told.
const NOT_SET_TOLD: usize = 20;
/// Files whose content can't be had.
#[derive(Debug, Default)]
struct Lost {
    count: u64,
    first: Vec<ByteText>,
    /// Those that have other names, which come later: all of them.
    named_again: HashSet<ByteText>,
}

/// How many lost files are told by name.
const LOST_TOLD: usize = 1000;

/// A directory that is restored into. Shared by the survey and the desks.
pub struct Target {
    /// As it was named.
    path: PathBuf,
    /// `None` when it doesn't exist, which only a dry run leaves so.
    tree: Option<Tree>,
    made_now: bool,
    options: TargetOptions,
    owners: Owners,
    /// Number of the next temporary name.
    temporary: AtomicU64,
    stats: Mutex<TargetStats>,
    /// The first that could not be restored whole.
    not_set: Mutex<Vec<NotSet>>,
    /// What the snapshot lacks though it was there.
    spares: Mutex<Option<Spares>>,
    /// The first of it that was come across.
    spared: Mutex<Vec<ByteText>>,
    /// Files whose content can't be had.
    lost: Mutex<Lost>,
    /// Files of several names.
    hard_links: Mutex<HardLinks>,
    /// The first failure of setting a directory's attributes, which happens where nobody can be told.
    failure: Mutex<Option<FilesError>>,
    /// Nothing more is to be done: directories stay as they are.
    stopped: AtomicBool,
    /// Asked before each step that can be long.
    cancel: CancellationToken,
    /// A directory of each file system that was met.
    devices: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Target {
    /// Takes the directory that is there, or makes it with its parents. A symlink at `path` itself is followed, once: this is
    /// the caller's own path.
    ///
    /// # Errors
    /// [`FilesError::TargetNotEmpty`] when something is in it and it may not be overwritten; [`FilesError::Write`].
    pub fn open(path: &Path, options: TargetOptions) -> Result<Self, FilesError> {
        let failed = |source: io::Error| FilesError::Write { path: shown(path), source };
        let there = path.try_exists().map_err(failed)?;
        if !options.dry_run {
            std::fs::create_dir_all(path).map_err(failed)?;
        }
        let tree = if there || !options.dry_run { Some(Tree::open(path)?) } else { None };
        if let (Some(tree), false) = (&tree, options.overwrite) {
            let root = tree.open_dir(b"").map_err(failed)?;
            if Names::list(root.as_fd()).map_err(failed)?.next().is_some() {
                return Err(FilesError::TargetNotEmpty { path: shown(path) });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            tree,
            made_now: !there,
            options,
            owners: Owners::default(),
            temporary: AtomicU64::new(0),
            stats: Mutex::default(),
            not_set: Mutex::default(),
            spares: Mutex::default(),
            spared: Mutex::default(),
            lost: Mutex::default(),
            hard_links: Mutex::default(),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
            cancel: CancellationToken::new(),
            devices: Mutex::default(),
        })
    }

    /// Ends with [`FilesError::Cancelled`] once this token says so.
    pub fn cancelled_by(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    fn go_on(&self) -> Result<(), FilesError> {
        if self.cancel.is_cancelled() { Err(FilesError::Cancelled) } else { Ok(()) }
    }

    /// Ends the work early: what is written stays, and no directory is touched any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether [`Target::stop`] was called, or a directory failed.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// When the survey and all desks have ended: everything is on the disk when this returns.
    ///
    /// # Errors
    /// [`FilesError::Write`], also of directories before.
    pub fn finish(&self) -> Result<TargetStats, FilesError> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if !self.options.dry_run {
            self.make_hard_links()?;
            let devices = std::mem::take(&mut *self.devices.lock().unwrap_or_else(PoisonError::into_inner));
            for (_, path) in devices {
                let failed = |source| self.failed(&path, source);
                let dir = self.tree().and_then(|tree| tree.open_dir(&path)).map_err(failed)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let open = openat(&dir, ".", flags, Mode::empty()).map_err(|e| failed(e.into()))?;
                syncfs(&open).map_err(|e| failed(e.into()))?;
            }
        }
        Ok(*self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What could not be restored; the first of them, after [`Target::finish`].
    pub fn not_set(&self) -> Vec<NotSet> {
        self.not_set.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a file whose content can't be had. What has its name stays as it is.
    pub fn lose(&self, entry: &FileEntry) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.count += 1;
        if lost.first.len() < LOST_TOLD {
            lost.first.push(entry.path.clone());
        }
        if entry.links > 1 {
            lost.named_again.insert(entry.path.clone());
        }
    }

    /// The files whose content can't be had: how many, and the first of them. After [`Target::finish`].
    pub fn lost(&self) -> (u64, Vec<ByteText>) {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        (lost.count, lost.first.clone())
    }

    /// Whether the file of several names whose first is this could not be had.
    fn has_lost(&self, first: &[u8]) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).named_again.contains(&ByteText::from(first))
    }

    /// Takes note of what could not be set.
    fn unset(&self, path: &[u8], unset: &Unset) {
        if *unset == Unset::default() {
            return;
        }
        self.count(|stats| {
            stats.owners_not_set += u64::from(unset.owner);
            stats.xattrs_not_set += u64::from(!unset.xattrs.is_empty());
        });
        let owner = unset.owner.then(|| "its owner".to_owned());
        let xattrs = unset.xattrs.iter().map(|(name, error)| format!("{name}: {error}"));
        self.tell_not_set(path, owner.into_iter().chain(xattrs).collect::<Vec<_>>().join("; "));
    }

    fn tell_not_set(&self, path: &[u8], what: String) {
        let mut told = self.not_set.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < NOT_SET_TOLD {
            told.push(NotSet { path: ByteText::from(path), what });
        }
    }

    fn tree(&self) -> io::Result<&Tree> {
        self.tree.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes note of a directory's file system.
    fn saw_device(&self, device: u64, dir: &node::DirNode<'_>) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.iter().all(|(seen, _)| *seen != device) {
            devices.push((device, dir.path()));
        }
    }

    fn count(&self, count: impl FnOnce(&mut TargetStats)) {
        count(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts and tells what becomes of a path.
    fn told(&self, action: Action, path: &[u8]) {
        self.count(|stats| {
            let of = match action {
                Action::Create => &mut stats.created,
                Action::Replace => &mut stats.replaced,
                Action::Metadata => &mut stats.metadata,
                Action::Keep => &mut stats.kept,
                Action::Delete => &mut stats.deleted,
                Action::Leave => &mut stats.left,
            };
            *of += 1;
        });
        if let Some(tell) = &self.options.tell {
            tell(action, &ByteText::from(path));
        }
    }

    fn attributes<C>(&self, entry: &FileEntry<C>) -> Attributes {
        let xattrs = (!entry.xattrs.is_empty()).then(|| Arc::new(entry.xattrs.clone()));
        Attributes { mode: entry.mode, ids: self.options.owners.ids(&self.owners, entry), mtime: entry.mtime, xattrs }
    }

    /// The next temporary name. Whoever makes something of it must insist that it is new.
    fn temporary_name(&self) -> Vec<u8> {
        format!("{TEMPORARY_START}{}{TEMPORARY_END}", self.temporary.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }

    /// A path below the target, for messages.
    fn shown(&self, rel: &[u8]) -> ByteText {
        let mut path = shown(&self.path);
        if !rel.is_empty() {
            path.0.push(b'/');
            path.0.extend_from_slice(rel);
        }
        path
    }

    fn failed(&self, rel: &[u8], source: io::Error) -> FilesError {
        FilesError::Write { path: self.shown(rel), source }
    }
}

const TEMPORARY_START: &str = ".wp-backup-agent-";
const TEMPORARY_END: &str = ".tmp";

/// Whether a name is one that a restore which was killed left.
fn is_temporary(name: &[u8]) -> bool {
    let number = name.strip_prefix(TEMPORARY_START.as_bytes()).and_then(|rest| rest.strip_suffix(TEMPORARY_END.as_bytes()));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

const TWO_NAMES: &str = "another entry, whose name the target's file system holds to be the same,";

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("path", &self.path).finish_non_exhaustive()
    }
}
