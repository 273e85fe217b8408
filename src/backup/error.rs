//! Why a run failed: one of the floors below, or the run itself.

use crate::database::DatabaseError;
use crate::error::{Exit, Explain};
use crate::files::FilesError;
use crate::repository::RepositoryError;
use crate::storage::StoreError;
use crate::wordpress::ReferenceError;

/// Why a run failed. Nothing was committed, [`BackupError::Commit`] apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store, or the format in it.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// wp-content.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The cross-check.
    #[error(transparent)]
    References(#[from] ReferenceError),
    /// The manifest's PUT failed. Whether it took effect before that isn't known; the next run finds out.
    #[error("the commit failed; `wp-backup-agent snapshots list` tells whether it took effect all the same")]
    Commit(#[source] StoreError),
    /// A background task ended without an answer: a bug.
    #[error("a background task ended early")]
    Task,
    /// A signal or `cancel`.
    #[error("the run was cancelled; nothing was committed, the next run goes on from what was uploaded")]
    Cancelled,
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Repository(RepositoryError::Store(error))
    }
}

impl Explain for BackupError {
    fn exit(&self) -> Exit {
        match self {
            Self::Repository(error) => error.exit(),
            Self::Files(error) => error.exit(),
            Self::Database(error) => error.exit(),
            Self::References(error) => error.exit(),
            Self::Commit(error) => error.exit(),
            Self::Task => Exit::Internal,
            Self::Cancelled => Exit::Cancelled,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.advice(),
            Self::Files(error) => error.advice(),
            Self::Database(error) => error.advice(),
            Self::References(error) => error.advice(),
            Self::Commit(error) => error.advice(),
            Self::Task | Self::Cancelled => None,
        }
    }
}
