//! What can go wrong with the format.

use std::path::PathBuf;

use super::ids::PackName;
use crate::error::{Exit, Explain};
use crate::storage::StoreError;

/// A failure of reading or writing the repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the local state can't be read or written.
    #[error("local state {path}: {action} failed")]
    State {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A list of the local state is damaged.
    #[error("the local list {path} is damaged: {detail}")]
    LocalList {
        /// The file.
        path: PathBuf,
        /// How it shows.
        detail: String,
    },
    /// Another process holds the site's local state.
    #[error("another run of site {site} is under way (it holds {path})")]
    Held {
        /// The site.
        site: String,
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes that don't fit the format or their name.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The object: a manifest's key, a pack's name, a list.
        what: String,
        /// How it shows.
        detail: String,
    },
    /// A format version that this agent doesn't know.
    #[error("{what} was made by a newer agent (format {found}, this one reads up to {known})")]
    Newer {
        /// The object.
        what: String,
        /// Its version.
        found: u64,
        /// The newest known.
        known: u32,
    },
    /// A sealed pack, and no identity.
    #[error("pack {pack} is sealed to {recipients}, and no identity is given")]
    NoIdentity {
        /// The pack.
        pack: PackName,
        /// Whom it is sealed to.
        recipients: String,
    },
    /// A sealed pack that none of the identities opens.
    #[error("none of the identities given opens pack {pack}, which is sealed to {recipients}")]
    WrongIdentity {
        /// The pack.
        pack: PackName,
        /// Whom it is sealed to.
        recipients: String,
    },
    /// An object that is signed by nobody whose key the configuration names.
    #[error("{what} is signed by {}, whom [trust] does not name", .signer.as_deref().unwrap_or("nobody"))]
    Untrusted {
        /// The object.
        what: String,
        /// Who signed it.
        signer: Option<String>,
    },
    /// This machine's signing key can't be used.
    #[error("the signing key {path} can't be used: {what}")]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The age library failed to seal a pack.
    #[error("sealing a pack failed: {0}")]
    Seal(String),
    /// No snapshot fits.
    #[error("site {site} has no snapshot {wanted:?} in {store}")]
    NoSnapshot {
        /// The site.
        site: String,
        /// What was asked for.
        wanted: String,
        /// The store's URL.
        store: String,
    },
    /// More than one snapshot fits.
    #[error("{wanted:?} fits more than one snapshot of site {site}: {found}")]
    Ambiguous {
        /// The site.
        site: String,
        /// What was asked for.
        wanted: String,
        /// Those that fit.
        found: String,
    },
    /// The run took longer than its reading of the store may be trusted.
    #[error("the run took longer than half the grace period, so what it reuses may have been pruned")]
    TooOld,
    /// The store took nothing, and there is no more room for packs to wait in.
    #[error("the store took nothing for {seconds} s, and the spool of {spool} bytes is full")]
    StoreTooSlow {
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// The spool's limit, in bytes.
        spool: u64,
    },
    /// The zstd library failed.
    #[error("compressing failed")]
    Compress(#[source] std::io::Error),
    /// A pack did not read back as it was written: bad memory or a bug.
    #[error("a pack did not read back as it was written ({0}); nothing of it was sent")]
    ReadBack(String),
    /// The system gives no threads.
    #[error("starting a thread failed")]
    Threads(#[source] std::io::Error),
    /// A background task ended without an answer.
    #[error("a background task ended early")]
    Task,
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl RepositoryError {
    /// Shorthand for damage.
    pub(crate) fn damaged(what: impl ToString, detail: impl ToString) -> Self {
        Self::Damaged { what: what.to_string(), detail: detail.to_string() }
    }

    /// Whether it is of the object that was read, and not of the way to it.
    pub fn is_of_the_object(&self) -> bool {
        use crate::storage::StoreErrorKind::{Damaged, NotFound, Other, TooLarge};
        match self {
            Self::Damaged { .. } | Self::Newer { .. } | Self::Untrusted { .. } => true,
            Self::Store(error) => matches!(error.kind, NotFound | Damaged(_) | TooLarge(_) | Other(_)),
            _ => false,
        }
    }

    /// The pack that it says is damaged or gone, if it says so of one.
    pub fn bad_pack(&self, layout: &super::layout::Layout) -> Option<super::ids::PackName> {
        match self {
            Self::Damaged { what, .. } => what.strip_prefix("pack ")?.parse().ok(),
            Self::Store(error) if self.is_loss() => layout.parse_pack(&error.key),
            _ => None,
        }
    }

    /// Whether the store refused: these credentials may not.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == crate::storage::StoreErrorKind::Denied)
    }

    /// Whether it says that the object's content can't be had any more: it is gone, or another. What only keeps from reading it is none.
    pub fn is_loss(&self) -> bool {
        use crate::storage::StoreErrorKind::{Damaged, NotFound, TooLarge};
        match self {
            Self::Damaged { .. } => true,
            Self::Store(error) => matches!(error.kind, NotFound | Damaged(_) | TooLarge(_)),
            _ => false,
        }
    }

    /// Shorthand for local state, to be used with `map_err`.
    pub(crate) fn state(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::State { action, path, source }
    }
}

impl Explain for RepositoryError {
    fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::State { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Exit::CannotCreate,
            Self::State { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Exit::Denied,
            Self::State { .. } | Self::LocalList { .. } => Exit::Io,
            Self::Held { .. } => Exit::Busy,
            Self::Damaged { .. } | Self::Newer { .. } | Self::Untrusted { .. } => Exit::Data,
            Self::SigningKey { .. } => Exit::Denied,
            Self::NoIdentity { .. } | Self::WrongIdentity { .. } => Exit::Denied,
            Self::NoSnapshot { .. } => Exit::NoInput,
            Self::Ambiguous { .. } => Exit::Usage,
            Self::TooOld | Self::Threads(_) => Exit::Failure,
            Self::StoreTooSlow { .. } => Exit::Unavailable,
            Self::Compress(_) | Self::Seal(_) | Self::ReadBack(_) | Self::Task => Exit::Internal,
            Self::Cancelled => Exit::Cancelled,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.advice(),
            Self::State { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free space where the local state is kept; the next run goes on".into()
            }
            Self::State { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "run as the user that the daemon runs as, or correct `daemon.state` in the configuration".into()
            }
            Self::LocalList { .. } => {
                "run it again: it then reads the list from the store, or makes a full snapshot if that is encrypted; and look at this machine's disk".into()
            }
            Self::Held { .. } => "wait for it, or see `wp-backup-agent status`".into(),
            Self::Damaged { .. } => "restore from another snapshot: see `wp-backup-agent snapshots list`".into(),
            Self::Untrusted { signer: Some(key), .. } => format!(
                "if the host lost its local state and so has a new key, compare {key} with what `wp-backup-agent check` shows there, and add it to \
                 trust.keys; else someone has put it there: take another snapshot (`wp-backup-agent snapshots list`)"
            ),
            Self::Untrusted { signer: None, .. } => "take another snapshot: see `wp-backup-agent snapshots list`".into(),
            Self::SigningKey { path, .. } => format!(
                "chmod 0600 {0}; or put it back from a copy; or, if it is lost, remove {0}: the next run makes another, whose public key all readers must be told",
                path.display()
            ),
            Self::NoIdentity { .. } => {
                "give the identity of one of them by --identity FILE, on a machine that may read the backups".into()
            }
            Self::WrongIdentity { .. } => "give by --identity FILE the identity of one of these recipients".into(),
            Self::Newer { .. } => "install the newest wp-backup-agent on this machine".into(),
            Self::NoSnapshot { .. } => "see `wp-backup-agent snapshots list`".into(),
            Self::Ambiguous { .. } => "give more digits of the id".into(),
            Self::TooOld => "start it again; it goes on from what was uploaded".into(),
            Self::StoreTooSlow { .. } => {
                "look at the way to the store; site.database.spool_mib and store_wait set what it is given before the database is let go".into()
            }
            Self::Threads(_) => "raise the limit of tasks (TasksMax= of the unit, ulimit -u)".into(),
            Self::ReadBack(_) => "test this machine's memory; then run again".into(),
            Self::State { .. } | Self::Compress(_) | Self::Seal(_) | Self::Task | Self::Cancelled => return None,
        })
    }
}
