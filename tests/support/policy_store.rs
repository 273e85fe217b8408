//! A store behind policies: each call is turned into what S3 would be asked, and refused where the policies say so.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use wp_backup_agent::storage::{Deleter, LocalStore, Page, Put, Sha256, Store, StoreError, StoreErrorKind};

use super::policy::{Asked, Rights};

/// The bucket that the policies are printed for.
pub const BUCKET: &str = "backups";
/// And the prefix.
pub const PREFIX: &str = "wordpress/sites";

/// Asks the bucket itself.
pub fn of_bucket(action: &'static str) -> Asked {
    Asked::new(action, format!("arn:aws:s3:::{BUCKET}"))
}

/// Asks for an object, by its key below the prefix.
pub fn of_object(action: &'static str, key: &str) -> Asked {
    Asked::new(action, format!("arn:aws:s3:::{BUCKET}/{PREFIX}/{key}"))
}

/// Lists what is below a key.
pub fn listing(action: &'static str, prefix: &str) -> Asked {
    of_bucket(action).with("s3:prefix", &format!("{PREFIX}/{prefix}"))
}

/// Creates an object as the agent does.
pub fn creation(key: &str) -> Asked {
    of_object("s3:PutObject", key).with("s3:if-none-match", "*")
}

/// A store in a directory, and the rights of who asks it.
#[derive(Debug)]
pub struct PolicyStore {
    inner: LocalStore,
    rights: Mutex<Rights>,
    asked: Mutex<Vec<(Asked, bool)>>,
}

impl PolicyStore {
    pub fn new(inner: LocalStore, rights: Rights) -> Arc<Self> {
        Arc::new(Self { inner, rights: Mutex::new(rights), asked: Mutex::default() })
    }

    /// From now on someone else asks.
    pub fn becomes(&self, rights: Rights) {
        *self.rights.lock().expect("the rights") = rights;
    }

    /// What was asked since the last time, and whether it was allowed.
    pub fn take(&self) -> Vec<(Asked, bool)> {
        std::mem::take(&mut self.asked.lock().expect("what was asked"))
    }

    fn ask(&self, request: &'static str, key: &str, asked: Asked) -> Result<(), StoreError> {
        let allowed = self.rights.lock().expect("the rights").allow(&asked);
        self.asked.lock().expect("what was asked").push((asked, allowed));
        let denied = || StoreError { request, key: key.into(), store: self.url(), kind: StoreErrorKind::Denied, source: None };
        allowed.then_some(()).ok_or_else(denied)
    }
}

#[async_trait]
impl Store for PolicyStore {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.ask("LIST", prefix, listing("s3:ListBucket", prefix))?;
        self.inner.list(prefix, after).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.ask("GET", key, of_object("s3:GetObject", key))?;
        self.inner.get(key, limit).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.ask("GET", key, of_object("s3:GetObject", key))?;
        self.inner.get_range(key, offset, length).await
    }

    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        self.ask("HEAD", key, of_object("s3:GetObject", key))?;
        self.inner.checksum(key).await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        self.ask("PUT", key, creation(key))?;
        self.inner.put_new(key, body, sha256).await
    }

    fn url(&self) -> String {
        format!("s3://{BUCKET}/{PREFIX}")
    }
}

#[async_trait]
impl Deleter for PolicyStore {
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            self.ask("DELETE", key, of_object("s3:DeleteObject", key))?;
        }
        self.inner.delete(keys).await
    }
}
