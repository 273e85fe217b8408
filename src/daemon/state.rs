//! The directory of local state: made, locked, and written so that a crash leaves the old file or the new one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::config::SiteName;
use crate::error::{Exit, Explain};

/// The state directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file or directory can't be made, read or written.
    #[error("state in {} can't be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory belongs to another user: files made by us would lock that user out.
    #[error("{} belongs to user id {owner}", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Another daemon holds the directory.
    #[error("another daemon holds {}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
}

impl StateError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Explain for StateError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Denied,
            Self::Io { .. } => Exit::Io,
            Self::Owner { .. } => Exit::Denied,
            Self::Held { .. } => Exit::Busy,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as the user that owns the state directory, or set `state` in [daemon]".into())
            }
            Self::Io { .. } => None,
            Self::Owner { owner, .. } => Some(format!("run as that user: `sudo -u '#{owner}' wp-backup-agent …`")),
            Self::Held { .. } => {
                Some("ask it with `wp-backup-agent status`; a second daemon needs a state directory and socket of its own".into())
            }
        }
    }
}

/// The daemon's hold on the state directory; given up when dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory (mode 0700) if need be and locks it for this daemon.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        private_dir(path)?;
        let lock = path.join("daemon.lock");
        let file =
            OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&lock).map_err(StateError::io(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Held { path: lock }),
            Err(errno) => Err(StateError::Io { path: lock, source: errno.into() }),
        }
    }

    /// A site's own directory, made if need be.
    pub fn site(&self, site: &SiteName) -> Result<PathBuf, StateError> {
        prepare_site(&self.path, site)
    }
}

/// Makes a site's own directory (mode 0700) below the state directory if need be.
pub fn prepare_site(state: &Path, site: &SiteName) -> Result<PathBuf, StateError> {
    let path = state.join(site.as_str());
    private_dir(&path)?;
    Ok(path)
}

/// Makes a directory (mode 0700) if need be.
pub(super) fn make_private(path: &Path) -> Result<(), StateError> {
    private_dir(path)
}

fn private_dir(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StateError::io(path))?;
    let owner = std::fs::metadata(path).map_err(StateError::io(path))?.uid();
    // Root may write anywhere, and what it makes the daemon's user can't open.
    if owner == rustix::process::geteuid().as_raw() { Ok(()) } else { Err(StateError::Owner { path: path.to_owned(), owner }) }
}

/// Replaces a file's content: after a crash it is the old one or the new one, whole.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_synced(&new, content).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // What is left of it would only puzzle people; the first error is the one to tell.
        let _ = std::fs::remove_file(&new);
    }
    written?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_daemon_holds_the_directory_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let held = StateDir::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = StateDir::open(&path).unwrap_err();
        assert_eq!(error.exit(), Exit::Busy);
        drop(held);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn replacing_leaves_no_second_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("schedule.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("none").join("x"), b"x").is_err());
    }
}
