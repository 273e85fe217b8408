//! The store: where packs and manifests are kept. One small trait, and [`Deleter`] for who may delete, too; `s3` and `local` are the real ones,
//! [`Recorder`] and [`Faulty`] the doubles of the tests.
//!
//! Objects are immutable: there is no way to overwrite one. Keys are relative to the store's prefix,
//! separated by `/`, made of `[A-Za-z0-9._-]`, never empty, never with a `..` part.

mod failure;
mod faulty;
mod key;
mod local;
mod pages;
pub mod policy;
mod recorder;
mod s3;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::config::StoreSettings;
use crate::error::{Exit, Explain};

use failure::Failure;
pub use faulty::{Fault, Faulty};
pub use local::LocalStore;
pub use pages::Pages;
pub use recorder::{Call, Recorder};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use s3::fuzzing;
pub use s3::{DefaultLock, Expiry, S3Store};

/// Opens the store that the settings name. Makes no request to it.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings {
        StoreSettings::Local { path } => Arc::new(LocalStore::new(path.clone())),
        StoreSettings::S3(s3) => Arc::new(S3Store::new(s3).await?),
    })
}

/// The same for pruning, which alone may delete. Whether the credentials allow it shows when it does.
pub async fn open_deleter(settings: &StoreSettings) -> Result<Arc<dyn Deleter>, StoreError> {
    Ok(match settings {
        StoreSettings::Local { path } => Arc::new(LocalStore::new(path.clone())),
        StoreSettings::S3(s3) => Arc::new(S3Store::new(s3).await?),
    })
}

/// One object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, relative to the store's prefix.
    pub key: String,
    /// Stored bytes.
    pub size: u64,
    /// When the store says that it was written: the store's clock, never ours.
    pub modified: SystemTime,
}

/// One page of a listing, in ascending order of keys (bytewise).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most 1,000 objects.
    pub objects: Vec<Listed>,
    /// Whether more follow: ask again with the last key as `after`.
    pub more: bool,
    /// The store's own clock when it answered, to the second: what ages are reckoned by. `None`: it didn't tell.
    pub clock: Option<SystemTime>,
}

/// What a create-only write found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was written.
    Created,
    /// An object of that key was there already (HTTP 412); it was left as it is.
    Existed,
}

/// SHA-256 of an object's bytes: sent with each write, kept by S3, named in the manifest.
pub type Sha256 = [u8; 32];

/// Where objects are kept. Implementations retry passing faults themselves and bound every wait.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// One page (≤ 1,000) of the objects whose keys start with `prefix` and are greater than `after`.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// The whole object; `limit` bytes at most, a larger one is [`StoreErrorKind::TooLarge`].
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError>;

    /// Exactly `length` bytes from `offset` on; fewer is [`StoreErrorKind::Damaged`].
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError>;

    /// The SHA-256 of the object's bytes without fetching it: as the store keeps it, or reckons it itself. `None`: it keeps none.
    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError>;

    /// Writes a new object, durable when this returns. Never overwrites where the store can refuse it.
    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError>;

    /// The store as a person knows it: `s3://bucket/prefix` or `file:///path`.
    fn url(&self) -> String;
}

/// A store that takes deletions. A trait of its own, so that a run can't even be given it: only pruning is.
#[async_trait]
pub trait Deleter: Store {
    /// Deletes these objects, durably when this returns; one that isn't there counts as deleted. When it fails, any part of them may be gone.
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError>;
}

/// How long an S3 request without a large body may take, all attempts together; bodies get more by their length.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(300);

/// A request to the store that failed: which, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{request} {key} in {store} failed: {kind}")]
pub struct StoreError {
    /// LIST, HEAD, GET, PUT or DELETE.
    pub request: &'static str,
    /// The key or prefix, relative to the store's.
    pub key: String,
    /// The store's URL.
    pub store: String,
    /// What went wrong, as far as it can be told.
    pub kind: StoreErrorKind,
    /// The library's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure that callers and people treat differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// No such object.
    #[error("no such object")]
    NotFound,
    /// The bucket, or the directory of a local store, does not exist.
    #[error("the bucket or directory does not exist")]
    NoBucket,
    /// The credentials are refused, or lack the right.
    #[error("access denied")]
    Denied,
    /// No credentials could be found.
    #[error("no credentials were found")]
    NoCredentials,
    /// The server can't be reached, or did not answer in time.
    #[error("the store can't be reached or did not answer in time")]
    Unreachable,
    /// The disk of a local store is full.
    #[error("no space left")]
    Full,
    /// The object is larger than the caller allows.
    #[error("the object is larger than {0} bytes")]
    TooLarge(u64),
    /// The bytes are not what they should be.
    #[error("the object is damaged: {0}")]
    Damaged(String),
    /// Anything else, in the store's words.
    #[error("{0}")]
    Other(String),
}

impl Explain for StoreError {
    fn exit(&self) -> Exit {
        match self.kind {
            StoreErrorKind::NotFound => Exit::NoInput,
            StoreErrorKind::NoBucket | StoreErrorKind::Unreachable => Exit::Unavailable,
            StoreErrorKind::Denied | StoreErrorKind::NoCredentials => Exit::Denied,
            StoreErrorKind::Full => Exit::CannotCreate,
            StoreErrorKind::TooLarge(_) | StoreErrorKind::Damaged(_) => Exit::Data,
            StoreErrorKind::Other(_) => Exit::Failure,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match &self.kind {
            StoreErrorKind::Denied if self.store.starts_with("file://") => {
                "let the agent's user read and write there, and see that it isn't mounted read-only".into()
            }
            StoreErrorKind::NoBucket => format!("create it, or correct `store.url` in the configuration ({})", self.store),
            StoreErrorKind::Denied => {
                "check the credentials in [store], and that their policy allows this request on this prefix".into()
            }
            StoreErrorKind::NoCredentials => {
                "set `access_key_id` and `secret_access_key_file` in [store], or give the host a role or profile".into()
            }
            StoreErrorKind::Unreachable => {
                "check the network, `store.endpoint` and `store.region`; the next run tries again".into()
            }
            StoreErrorKind::Full => "free space where the store is kept; nothing half-written is left behind".into(),
            StoreErrorKind::TooLarge(_) | StoreErrorKind::Damaged(_) => {
                "the store holds something that this agent did not write; restore from another snapshot".into()
            }
            StoreErrorKind::NotFound | StoreErrorKind::Other(_) => return None,
        })
    }
}
