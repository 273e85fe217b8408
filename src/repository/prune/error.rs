//! Why a prune ends early.

use super::super::RepositoryError;
use crate::error::{Exit, Explain};

/// A prune that ended early. What it deleted until then was nobody's; another prune does the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The store, or what is in it.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Ages can't be reckoned without the store's clock.
    #[error("{store} doesn't tell its time, so nothing's age is known; nothing was deleted")]
    NoClock {
        /// The store's URL.
        store: String,
    },
    /// What it has seen of the store is too old to delete by.
    #[error("the prune took longer than its reading of the store may be trusted; it stopped half-way")]
    TooLong,
}

impl Explain for PruneError {
    fn exit(&self) -> Exit {
        match self {
            Self::Repository(error) => error.exit(),
            Self::NoClock { .. } => Exit::Unavailable,
            Self::TooLong => Exit::Failure,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Repository(RepositoryError::Damaged { what, .. }) if what.contains("/snapshots/") => Some(format!(
                "what that snapshot needs can't be known, so nothing was deleted: look at it, restore its object, or remove {what} by hand"
            )),
            Self::Repository(error) => error.advice(),
            Self::NoClock { .. } => {
                Some("look for what stands between here and the store and takes the Date out of its answers".into())
            }
            Self::TooLong => Some("run it again: it goes on where it stopped".into()),
        }
    }
}
