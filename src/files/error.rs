//! What can go wrong with a whole tree. Trouble with one entry of a walk is a finding, not an error.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Exit, Explain};
use crate::repository::byte_text::ByteText;

/// Why a tree can't be walked or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The root of the tree to be read can't be opened.
    #[error("the directory {path} can't be opened")]
    Open {
        /// The root.
        path: ByteText,
        /// Why.
        source: io::Error,
    },
    /// The walk can't go on: the root can't be listed, or this process is out of descriptors or memory.
    #[error("the walk of {path} can't go on")]
    Walk {
        /// Where it stopped.
        path: ByteText,
        /// Why.
        source: io::Error,
    },
    /// An exclude pattern of the owner's that is no glob.
    #[error("the exclude pattern {pattern:?} can't be used")]
    Exclude {
        /// The pattern.
        pattern: String,
        /// Why.
        source: globset::Error,
    },
    /// An exclude pattern of the owner's that would exclude everything or nothing.
    #[error("the exclude pattern {pattern:?} names nothing below wp-content")]
    EmptyExclude {
        /// The pattern.
        pattern: String,
    },
    /// A path that no tree can have.
    #[error("{path} is no path below wp-content: {why}")]
    BadPath {
        /// The path.
        path: ByteText,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pattern of `--path` that isn't one.
    #[error("{pattern} is not a path or a glob: {detail}")]
    Pattern {
        /// As it was given.
        pattern: ByteText,
        /// What is wrong with it.
        detail: String,
    },
    /// An owner that this host doesn't know.
    #[error("{owner:?} is no user, or no user and group, of this machine")]
    NoSuchOwner {
        /// As it was given.
        owner: String,
    },
    /// The target of a restore holds something.
    #[error("the target directory {path} is not empty")]
    TargetNotEmpty {
        /// The target.
        path: ByteText,
    },
    /// Something that may not be replaced stands where an entry belongs.
    #[error("{path} can't be restored: {what} is in the way")]
    InTheWay {
        /// The path in the target.
        path: ByteText,
        /// What is there.
        what: &'static str,
    },
    /// An entry that no walk makes. Nothing was written for it.
    #[error("the snapshot's entry {path} is not acceptable: {why}")]
    BadEntry {
        /// The entry's path.
        path: ByteText,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It was to end.
    #[error("cancelled")]
    Cancelled,
    /// There is no room for what has to be remembered on the way.
    #[error("a temporary file in {} can't be used", path.display())]
    Temporary {
        /// The directory of temporary files.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system refused.
    #[error("{path} can't be written")]
    Write {
        /// The path in the target.
        path: ByteText,
        /// Why.
        source: io::Error,
    },
}

impl FilesError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: shown(path), source }
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &Path) -> ByteText {
    ByteText::from(path.as_os_str().as_bytes())
}

impl Explain for FilesError {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Exit::NoInput,
                io::ErrorKind::PermissionDenied => Exit::Denied,
                _ => Exit::Io,
            },
            Self::Walk { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Denied,
            Self::Walk { .. } => Exit::Io,
            Self::Exclude { .. } | Self::EmptyExclude { .. } => Exit::Config,
            Self::Pattern { .. } | Self::NoSuchOwner { .. } => Exit::Usage,
            Self::TargetNotEmpty { .. } | Self::InTheWay { .. } => Exit::CannotCreate,
            Self::Cancelled => Exit::Cancelled,
            Self::BadPath { .. } => Exit::Usage,
            Self::BadEntry { .. } => Exit::Data,
            Self::Temporary { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::NotADirectory => Exit::CannotCreate,
                io::ErrorKind::PermissionDenied => Exit::Denied,
                _ => Exit::Io,
            },
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Open { source, .. } | Self::Walk { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "let the agent's user read the whole tree: CAP_DAC_READ_SEARCH, or the group that owns it".to_owned()
                }
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    "check the path, and `content_dir` in the site's configuration".to_owned()
                }
                _ => return None,
            },
            Self::Exclude { .. } | Self::EmptyExclude { .. } => {
                "correct `exclude` in the site's configuration; patterns are relative to wp-content".to_owned()
            }
            Self::BadPath { .. } => "give a path relative to wp-content, or an absolute one in it".to_owned(),
            Self::Pattern { .. } => "give a path below the tree, such as uploads/2026, or a glob such as '*.php'".to_owned(),
            Self::NoSuchOwner { .. } => "give USER or USER:GROUP, by name or by number".to_owned(),
            Self::TargetNotEmpty { .. } => "name an empty or new directory, or give --overwrite".to_owned(),
            Self::InTheWay { path, .. } => format!("move {path} away, or restore to another directory"),
            Self::BadEntry { .. } => {
                "the list is damaged or forged: restore from another snapshot (`wp-backup-agent snapshots list`)".to_owned()
            }
            Self::Cancelled => "what was written or deleted stays so: restore again to the end".to_owned(),
            Self::Temporary { .. } => "free space there, or set TMPDIR to another directory".to_owned(),
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space on the target's disk or raise the quota, then restore again with --overwrite".to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::NotADirectory => "name a directory that can be made and written".to_owned(),
                io::ErrorKind::PermissionDenied => "restore as a user who may write the target".to_owned(),
                _ => return None,
            },
        })
    }
}
