//! Why a restore failed.

use crate::config::IdentityError;
use crate::database::DatabaseError;
use crate::error::{Exit, Explain};
use crate::files::FilesError;
use crate::repository::RepositoryError;
use crate::repository::byte_text::ByteText;

/// Why a restore failed. What was written so far is left where it is, and named in the message of the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The store, or the format in it.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The target directory.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The target database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The SQL stream's reader is gone, or its disk is full.
    #[error("writing the SQL stream failed")]
    Output(#[source] std::io::Error),
    /// The lists don't hold what the manifest says.
    #[error("the snapshot is incomplete: its manifest counts {expected} {what}, its lists hold {found}")]
    Incomplete {
        /// What was counted.
        what: &'static str,
        /// By the manifest.
        expected: u64,
        /// By the lists.
        found: u64,
    },
    /// A pattern of `--tables` that isn't one.
    #[error("{pattern:?} is not a pattern: {detail}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A pattern of `--tables` that no table of the snapshot matches.
    #[error("no table, view or sequence of the snapshot is called {pattern:?}")]
    NoSuchTable {
        /// As it was given.
        pattern: String,
    },
    /// The tables were swapped; what follows failed.
    #[error(
        "the tables in {name} are the snapshot's, but not all of its views, functions, procedures, triggers and events are there"
    )]
    AfterSwap {
        /// The schema.
        name: String,
        /// Why.
        source: Box<RestoreError>,
    },
    /// A pattern of `--path` that nothing in the snapshot fits.
    #[error("nothing in the snapshot fits the path {pattern}")]
    NoSuchPath {
        /// As it was given.
        pattern: ByteText,
    },
    /// Something was to be replaced by what is lost in part.
    #[error("{name} was not touched: what should take the place of what it holds can't all be had: {}", lost.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    WouldBeLost {
        /// The schema.
        name: String,
        /// What is lost, or not whole.
        lost: Vec<ByteText>,
    },
    /// Nobody is trusted.
    #[error(
        "trust.keys names nobody, and this machine has no key of its own: whoever can write to the store could have SQL of theirs run"
    )]
    NobodyTrusted,
    /// None of the snapshots is by someone who is trusted.
    #[error("none of the snapshots is signed by someone who is trusted")]
    NoneTrusted,
    /// There is too little room.
    #[error("{dir} has room for {free} bytes, and the snapshot's files have {needed}")]
    NoRoom {
        /// The directory.
        dir: ByteText,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// A tree that the snapshot doesn't have.
    #[error("the snapshot has no tree {tree}")]
    NoSuchTree {
        /// Its name.
        tree: &'static str,
    },
    /// A search that would fill the memory.
    #[error("more than {limit} paths fit {pattern}")]
    TooMany {
        /// As it was given.
        pattern: ByteText,
        /// How many are allowed.
        limit: usize,
    },
    /// A file of identities.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A signal.
    #[error("the restore was cancelled; what it had written is left as it is")]
    Cancelled,
}

impl Explain for RestoreError {
    fn exit(&self) -> Exit {
        match self {
            Self::Repository(error) => error.exit(),
            Self::Files(error) => error.exit(),
            Self::Database(error) => error.exit(),
            Self::Output(_) => Exit::Io,
            Self::Incomplete { .. } | Self::WouldBeLost { .. } | Self::NoneTrusted => Exit::Data,
            Self::NobodyTrusted => Exit::Config,
            Self::NoRoom { .. } => Exit::CannotCreate,
            Self::AfterSwap { source, .. } => source.exit(),
            Self::Pattern { .. } => Exit::Usage,
            Self::NoSuchTable { .. } | Self::NoSuchPath { .. } | Self::NoSuchTree { .. } => Exit::NoInput,
            Self::TooMany { .. } => Exit::Usage,
            Self::Identity(error) => error.exit(),
            Self::Cancelled => Exit::Cancelled,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.advice(),
            Self::Files(error) => error.advice(),
            Self::Database(error) => error.advice(),
            Self::Incomplete { .. } => Some("restore from another snapshot (`wp-backup-agent snapshots list`)".into()),
            Self::AfterSwap { source, .. } => source.advice(),
            Self::Pattern { .. } => Some("write a table's name, with * for any characters, such as 'wp_*_log'".into()),
            Self::NoSuchTable { .. } => {
                Some("see which there are: restore --sql, or the list of tables (docs/RESTORE-BY-HAND.md)".into())
            }
            Self::NoSuchPath { .. } => Some("`wp-backup-agent snapshots ls` and `snapshots find` show what there is".into()),
            Self::NoSuchTree { .. } => {
                Some("without --tree it is wp-content; `wp-backup-agent snapshots show --json` names the others".into())
            }
            Self::TooMany { .. } => Some("give a narrower pattern".into()),
            Self::Identity(error) => error.advice(),
            Self::WouldBeLost { .. } => Some(
                "restore into an empty schema, or with --swap, which keeps what stood there; or without those, by --tables"
                    .into(),
            ),
            Self::NobodyTrusted => {
                Some("name the keys of the machines that back up in trust.keys: `wp-backup-agent check` shows them there".into())
            }
            Self::NoneTrusted => Some("see who signed them: `wp-backup-agent verify`".into()),
            Self::NoRoom { .. } => Some("name another directory by --scratch".into()),
            Self::Output(_) | Self::Cancelled => None,
        }
    }
}
