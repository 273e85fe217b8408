//! A failure before it is known which request on which store it was.

use super::{StoreError, StoreErrorKind};

/// What went wrong and why; [`Failure::of`] adds the request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(super) fn because(kind: StoreErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// The error of a request (LIST, GET, PUT or DELETE) on `key` of the store named `store`.
    pub(super) fn of(self, request: &'static str, key: &str, store: String) -> StoreError {
        StoreError { request, key: key.to_owned(), store, kind: self.kind, source: self.source }
    }
}

impl From<StoreErrorKind> for Failure {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}
