//! The local state of one site: a directory that one process at a time holds. All of it can be lost but for the signing key
//! (`sign`): the next run then reads the parent's lists from the store, or is full.
//!
//! ```text
//! <state>/signing-key                       what this machine signs with, for all sites
//! <state>/<site>/lock                       held while a run is under way
//! <state>/<site>/parent                     the id of the parent's directory
//! <state>/<site>/snapshots/<id>/            manifest.json, files.zst, tree-*.zst, tables.zst, key: of the parent, or of a commit under way
//! <state>/<site>/journal                    what the run under way has uploaded
//! <state>/<site>/packs-listed               when the store was last asked for all packs that the parent needs
//! <state>/<site>/receipts-heard             when the run was that last asked for receipts
//! <state>/<site>/verified.json              what verifies found (`verify`)
//! <state>/<site>/restore-under-way          written by a restore onto the site, removed when it comes to its end
//! <state>/<site>/scratch/                   goes with the run
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;
use super::ids::RunId;
use super::manifest::{Manifest, Parent};
use super::snapshots;
use crate::config::{SiteName, TreeName};

/// The held state of one site.
#[derive(Debug)]
pub struct SiteState {
    dir: PathBuf,
    /// The lock goes with the descriptor.
    _lock: File,
}

/// A snapshot whose manifest and lists are on local disk.
#[derive(Debug, Clone)]
pub struct LocalSnapshot {
    /// Its directory.
    pub dir: PathBuf,
    /// Its manifest's key below the store's prefix.
    pub path: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// BLAKE3 of the manifest's stored bytes, in hexadecimal.
    pub blake3: String,
}

impl LocalSnapshot {
    /// As the next manifest names it.
    pub fn named(&self) -> Parent {
        Parent { key: self.path.clone(), blake3: self.blake3.clone() }
    }

    /// The list of files.
    pub fn files(&self) -> PathBuf {
        self.dir.join("files.zst")
    }

    /// The list of a tree beside wp-content, when the snapshot has it.
    pub fn tree(&self, name: TreeName) -> Option<PathBuf> {
        self.manifest.trees.iter().any(|tree| tree.name == name).then(|| tree_list(&self.dir, name))
    }

    /// All lists of files.
    pub fn file_lists(&self) -> Vec<PathBuf> {
        let trees = self.manifest.trees.iter().filter(|tree| tree.name != TreeName::Unknown);
        std::iter::once(self.files()).chain(trees.map(|tree| tree_list(&self.dir, tree.name))).collect()
    }

    /// The list of tables.
    pub fn tables(&self) -> PathBuf {
        self.dir.join("tables.zst")
    }
}

/// What a run asks the store once a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weekly {
    /// Whether all packs that the parent needs are there; noted once they are.
    Packs,
    /// What standbys found; noted once a snapshot that goes by it is committed.
    Receipts,
}

impl Weekly {
    fn file(self) -> &'static str {
        match self {
            Self::Packs => "packs-listed",
            Self::Receipts => "receipts-heard",
        }
    }
}

/// The list of a tree beside wp-content in a snapshot's directory.
pub fn tree_list(dir: &Path, name: TreeName) -> PathBuf {
    dir.join(format!("tree-{}.zst", name.as_str()))
}

impl SiteState {
    /// Takes the site's state; [`RepositoryError::Held`] while another process has it.
    pub fn open(state: &Path, site: &SiteName) -> Result<Self, RepositoryError> {
        let dir = state.join(site.as_str());
        make_dir(&dir)?;
        let path = dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(RepositoryError::state("opening", &path))?;
        lock_file(&lock, site, &path)?;
        make_dir(&dir.join("snapshots"))?;
        let state = Self { dir, _lock: lock };
        state.clear_scratch()?;
        Ok(state)
    }

    /// The journal of the run under way.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Where a restore onto the site has noted that it had begun, if none has come to its end since.
    pub fn broken_restore(&self) -> Option<PathBuf> {
        Some(restore_marker(&self.dir)).filter(|marker| marker.exists())
    }

    /// When this was last done, by this host's clock.
    pub fn last(&self, what: Weekly) -> Option<jiff::Timestamp> {
        fs::read_to_string(self.dir.join(what.file())).ok()?.trim().parse().ok()
    }

    /// Notes that it was done.
    pub fn note(&self, what: Weekly, at: jiff::Timestamp) -> Result<(), RepositoryError> {
        write_durably(&self.dir.join(what.file()), format!("{at}\n").as_bytes())
    }

    /// Whether nothing of a run before is here.
    pub fn is_new(&self) -> bool {
        self.parent().is_none() && !self.journal().exists()
    }

    /// A directory whose content goes with the run.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Empties the scratch directory.
    pub fn clear_scratch(&self) -> Result<(), RepositoryError> {
        let scratch = self.scratch();
        remove_dir(&scratch)?;
        make_dir(&scratch)
    }

    /// The directory of a snapshot, made if need be.
    pub fn snapshot_dir(&self, id: &RunId) -> Result<PathBuf, RepositoryError> {
        let dir = self.dir.join("snapshots").join(id.to_string());
        make_dir(&dir)?;
        Ok(dir)
    }

    /// The parent, when local state has one that reads well.
    pub fn parent(&self) -> Option<LocalSnapshot> {
        let id = fs::read_to_string(self.dir.join("parent")).ok()?;
        self.snapshot(&id.trim().parse().ok()?)
    }

    /// A snapshot on local disk: the parent, or one whose commit was under way when the process ended.
    pub fn snapshot(&self, id: &RunId) -> Option<LocalSnapshot> {
        let dir = self.dir.join("snapshots").join(id.to_string());
        let bytes = fs::read(dir.join("manifest.json")).ok()?;
        let manifest = snapshots::parse(&bytes, "manifest.json").ok()?;
        let path = fs::read_to_string(dir.join("key")).ok()?;
        let right = manifest.id == *id;
        let snapshot = LocalSnapshot { dir, path, manifest, blake3: blake3::hash(&bytes).to_hex().to_string() };
        let whole = snapshot.tables().exists() && snapshot.file_lists().iter().all(|list| list.exists());
        (right && whole).then_some(snapshot)
    }

    /// Writes a manifest beside its lists, durably: before the commit, so that a crash right after it loses nothing.
    pub fn stage(&self, id: &RunId, path: &str, manifest: &[u8]) -> Result<(), RepositoryError> {
        let dir = self.snapshot_dir(id)?;
        write_durably(&dir.join("key"), path.as_bytes())?;
        write_durably(&dir.join("manifest.json"), manifest)
    }

    /// Makes a staged snapshot the parent and drops all others.
    pub fn promote(&self, id: &RunId) -> Result<(), RepositoryError> {
        write_durably(&self.dir.join("parent"), format!("{id}\n").as_bytes())?;
        self.keep_only(Some(id))
    }

    /// Forgets the parent: the next run reads its lists from the store.
    pub fn forget_parent(&self) -> Result<(), RepositoryError> {
        let path = self.dir.join("parent");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(RepositoryError::state("removing", path)(error)),
            _ => self.keep_only(None),
        }
    }

    /// Drops what runs that failed at their commit have staged.
    pub fn keep_only(&self, id: Option<&RunId>) -> Result<(), RepositoryError> {
        let kept = id.map(RunId::to_string);
        let snapshots = self.dir.join("snapshots");
        let entries = fs::read_dir(&snapshots).map_err(RepositoryError::state("reading", &snapshots))?;
        for entry in entries {
            let entry = entry.map_err(RepositoryError::state("reading", &snapshots))?;
            if entry.file_name().to_str() != kept.as_deref() {
                remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Keeps runs of a site from beginning for as long as the file is open, without touching what a run owns; `None` where no run has been yet.
/// [`RepositoryError::Held`] while one is under way.
pub fn hold(state: &Path, site: &SiteName) -> Result<Option<File>, RepositoryError> {
    let path = state.join(site.as_str()).join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RepositoryError::state("opening", &path)(error)),
    };
    lock_file(&lock, site, &path).map(|()| Some(lock))
}

/// Locks a site's file for as long as it is open; [`RepositoryError::Held`] while another has it.
pub(crate) fn lock_file(file: &File, site: &SiteName, path: &Path) -> Result<(), RepositoryError> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RepositoryError::Held { site: site.to_string(), path: path.to_owned() }),
        Err(error) => Err(RepositoryError::state("locking", path)(error.into())),
    }
}

fn restore_marker(dir: &Path) -> PathBuf {
    dir.join("restore-under-way")
}

/// Notes, durably, that a restore replaces what this site lives on; answers where.
pub fn mark_restore(state: &Path, site: &SiteName, what: &str) -> Result<PathBuf, RepositoryError> {
    let marker = restore_marker(&state.join(site.as_str()));
    write_durably(&marker, format!("{what}\n").as_bytes())?;
    Ok(marker)
}

/// The restore came to its end.
pub fn unmark_restore(marker: &Path) -> Result<(), RepositoryError> {
    match fs::remove_file(marker) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RepositoryError::state("removing", marker)(error)),
        _ => Ok(()),
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), RepositoryError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(RepositoryError::state("making a directory", dir))
}

fn remove_dir(dir: &Path) -> Result<(), RepositoryError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RepositoryError::state("removing", dir)(error)),
        _ => Ok(()),
    }
}

/// Writes a file that is there whole or not at all, even after a power cut.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(RepositoryError::state("writing", path))
}
