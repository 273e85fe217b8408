//! A store in memory, and the moments of a run at which something may happen to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::progress::{Event, Progress};
use crate::storage::{Listed, Page, Put, Sha256, Store, StoreError, StoreErrorKind};

/// The objects by their keys.
pub(super) type Objects = BTreeMap<String, Bytes>;

/// The store.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Objects>);

impl Memory {
    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap()
    }

    fn failed(&self, request: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError { request, key: key.to_owned(), store: self.url(), kind, source: None }
    }
}

#[async_trait]
impl Store for Memory {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let objects = self.objects();
        let found = objects.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        let listed =
            found.map(|(key, bytes)| Listed { key: key.clone(), size: bytes.len() as u64, modified: SystemTime::UNIX_EPOCH });
        Ok(Page { objects: listed.collect(), more: false, clock: Some(SystemTime::UNIX_EPOCH) })
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let found = self.objects().get(key).cloned().ok_or(StoreErrorKind::NotFound);
        let fitting = found.and_then(|b| if b.len() as u64 <= limit { Ok(b) } else { Err(StoreErrorKind::TooLarge(limit)) });
        fitting.map_err(|kind| self.failed("GET", key, kind))
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let whole = self.get(key, u64::MAX).await?;
        let short = || self.failed("GET", key, StoreErrorKind::Damaged("too short".into()));
        let part = whole.get(offset as usize..(offset + length) as usize).ok_or_else(short)?;
        Ok(whole.slice_ref(part))
    }

    async fn checksum(&self, _key: &str) -> Result<Option<Sha256>, StoreError> {
        Ok(None)
    }

    async fn put_new(&self, key: &str, body: Bytes, _sha256: Sha256) -> Result<Put, StoreError> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Put::Existed);
        }
        // The writer's buffer is used again.
        objects.insert(key.to_owned(), Bytes::copy_from_slice(&body));
        Ok(Put::Created)
    }

    fn url(&self) -> String {
        "memory:".to_owned()
    }
}

/// Counts what happens in a run: its events, and each request's beginning and end. At one of them, something is done.
pub(super) struct Moments {
    passed: AtomicU64,
    at: u64,
    action: Box<dyn Fn() + Send + Sync>,
}

impl Moments {
    pub(super) fn new(at: u64, action: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { passed: AtomicU64::new(0), at, action: Box::new(action) })
    }

    fn one(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            (self.action)();
        }
    }
}

impl Progress for Moments {
    fn event(&self, _: Event) {
        self.one();
    }
}

impl std::fmt::Debug for Moments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moments").field("at", &self.at).finish_non_exhaustive()
    }
}

/// A store whose requests count.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) inner: Arc<dyn Store>,
    pub(super) moments: Arc<Moments>,
}

impl Counted {
    async fn pass<T>(&self, work: impl Future<Output = T> + Send) -> T {
        self.moments.one();
        let result = work.await;
        self.moments.one();
        result
    }
}

#[async_trait]
impl Store for Counted {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.pass(self.inner.list(prefix, after)).await
    }
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.pass(self.inner.get(key, limit)).await
    }
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.pass(self.inner.get_range(key, offset, length)).await
    }
    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        self.pass(self.inner.checksum(key)).await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        self.pass(self.inner.put_new(key, body, sha256)).await
    }
    fn url(&self) -> String {
        self.inner.url()
    }
}
