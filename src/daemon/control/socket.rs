//! The socket file: made with the right mode from the start, never taken from a daemon that answers.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::error::{Exit, Explain};

/// The socket can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Someone answers on it.
    #[error("a daemon already answers on {}", path.display())]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{} is in the way: it is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group that may use it doesn't exist.
    #[error("there is no group {group:?}")]
    NoGroup {
        /// As configured.
        group: String,
    },
    /// The group that may use it isn't one of ours.
    #[error("the socket can't be given to group {group:?}")]
    Group {
        /// As configured.
        group: String,
        /// Why.
        source: io::Error,
    },
    /// Anything else.
    #[error("the control socket {} can't be made", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for SocketError {
    fn exit(&self) -> Exit {
        match self {
            Self::Answered { .. } => Exit::Busy,
            Self::NotASocket { .. } => Exit::CannotCreate,
            Self::NoGroup { .. } => Exit::Config,
            Self::Group { .. } => Exit::Denied,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Denied,
            Self::Io { .. } => Exit::Io,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Answered { .. } => Some("`systemctl status wp-backup-agent` may know it".into()),
            Self::NotASocket { .. } => Some("remove it, or set another `socket` in [daemon]".into()),
            Self::NoGroup { .. } => Some("make it with `groupadd --system`, or change `socket_group` in [daemon]".into()),
            Self::Group { group, .. } => {
                Some(format!("make the daemon's user a member: SupplementaryGroups={group} in a drop-in of the unit"))
            }
            Self::Io { source, path } if source.kind() == io::ErrorKind::NotFound => Some(format!(
                "make {} with `systemd-tmpfiles --create wp-backup-agent.conf`, or set another `socket` in [daemon]",
                path.parent().unwrap_or(path).display()
            )),
            Self::Io { .. } => None,
        }
    }
}

/// A listening socket; its file goes when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode of the file that we made.
    identity: (u64, u64),
    pub(super) listener: UnixListener,
}

impl Socket {
    /// Makes the socket file: mode 0660, of this group or of the daemon's own.
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        Self::clear(path).await?;
        // Made where only we can go, and moved to its name once mode and group are right. (Not by umask: that is the whole
        // process's.)
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let staging = parent.join(format!(".{}", std::process::id()));
        // A daemon that died here may have had our process id.
        let _ = std::fs::remove_file(staging.join("s"));
        let _ = std::fs::remove_dir(&staging);
        std::fs::DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
        let made = Self::make(&staging.join("s"), path, group);
        if made.is_err() {
            // The first error is the one to tell.
            let _ = std::fs::remove_file(staging.join("s"));
        }
        let _ = std::fs::remove_dir(&staging);
        made
    }

    fn make(staged: &Path, path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        let listener = UnixListener::bind(staged).map_err(failed)?;
        if let Some(group) = group {
            let gid = uzers::get_group_by_name(group).ok_or_else(|| SocketError::NoGroup { group: group.to_owned() })?.gid();
            let refused = |source| SocketError::Group { group: group.to_owned(), source };
            std::os::unix::fs::lchown(staged, None, Some(gid)).map_err(refused)?;
        }
        std::fs::set_permissions(staged, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        let file = std::fs::symlink_metadata(staged).map_err(failed)?;
        std::fs::rename(staged, path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), identity: (file.dev(), file.ino()), listener })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a socket that a dead daemon left behind.
    async fn clear(path: &Path) -> Result<(), SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket { path: path.to_owned() }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        match UnixStream::connect(path).await {
            Ok(_) => Err(SocketError::Answered { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A full backlog is a daemon, too.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SocketError::Answered { path: path.to_owned() }),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours {
            // Left behind it does no harm: the next daemon removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_live_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path, None).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let error = Socket::bind(&path, None).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Busy);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, None).await, Err(SocketError::NotASocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let error = Socket::bind(&dir.path().join("none/control.sock"), None).await.unwrap_err();
        assert!(error.advice().is_some());
        let error = Socket::bind(&dir.path().join("s"), Some("no-such-group-here")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Config);
        // Nothing is left behind but what was there.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
