//! A test double that writes down every request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Deleter, Failure, Page, Put, Sha256, Store, StoreError, StoreErrorKind};

/// One request that went through a [`Recorder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// LIST, HEAD, GET (of a whole object or of a range), PUT or DELETE (one for each object).
    pub request: &'static str,
    /// The key; of a LIST, the prefix.
    pub key: String,
    /// Bytes of content: what a PUT was given, what a GET returned (0 while it is under way and when it failed); 0 for a LIST.
    pub bytes: u64,
}

/// A test double: passes every request on to another store and writes it down, failed ones too, in the order of their beginnings.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Store>,
    deleter: Option<Arc<dyn Deleter>>,
    calls: Mutex<Vec<Call>>,
}

impl Recorder {
    /// Records what goes to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, deleter: None, calls: Mutex::default() }
    }

    /// Records what goes to a store that takes deletions; those of any other are denied.
    pub fn deleting(inner: Arc<dyn Deleter>) -> Self {
        Self { inner: Arc::clone(&inner) as _, deleter: Some(inner), calls: Mutex::default() }
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// Forgets what was recorded and returns it.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, request: &'static str, key: &str, bytes: usize) -> usize {
        let mut calls = self.lock();
        calls.push(Call { request, key: key.to_owned(), bytes: bytes as u64 });
        calls.len() - 1
    }

    fn received(&self, call: usize, result: Result<Bytes, StoreError>) -> Result<Bytes, StoreError> {
        if let (Ok(bytes), Some(call)) = (&result, self.lock().get_mut(call)) {
            call.bytes = bytes.len() as u64;
        }
        result
    }
}

#[async_trait]
impl Store for Recorder {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.begin("LIST", prefix, 0);
        self.inner.list(prefix, after).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let call = self.begin("GET", key, 0);
        let result = self.inner.get(key, limit).await;
        self.received(call, result)
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let call = self.begin("GET", key, 0);
        let result = self.inner.get_range(key, offset, length).await;
        self.received(call, result)
    }

    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        self.begin("HEAD", key, 0);
        self.inner.checksum(key).await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        self.begin("PUT", key, body.len());
        self.inner.put_new(key, body, sha256).await
    }

    fn url(&self) -> String {
        self.inner.url()
    }
}

#[async_trait]
impl Deleter for Recorder {
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            self.begin("DELETE", key, 0);
        }
        match &self.deleter {
            Some(deleter) => deleter.delete(keys).await,
            None => Err(Failure::from(StoreErrorKind::Denied).of("DELETE", keys.first().map_or("", |key| key), self.url())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LocalStore;
    use super::super::tests::sum;
    use super::*;

    #[tokio::test]
    async fn every_request_is_written_down_in_order_with_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Recorder::new(Arc::new(LocalStore::new(dir.path().to_owned())));
        recorder.put_new("a/b", Bytes::from_static(b"hello"), sum(b"hello")).await.unwrap();
        recorder.list("a/", None).await.unwrap();
        recorder.get("a/b", 10).await.unwrap();
        recorder.get_range("a/b", 1, 2).await.unwrap();
        recorder.get("a/none", 10).await.unwrap_err();
        let call = |request, key: &str, bytes| Call { request, key: key.into(), bytes };
        let expected = [
            call("PUT", "a/b", 5),
            call("LIST", "a/", 0),
            call("GET", "a/b", 5),
            call("GET", "a/b", 2),
            call("GET", "a/none", 0),
        ];
        assert_eq!(recorder.calls(), expected);
        assert_eq!(recorder.take(), expected);
        assert_eq!(recorder.calls(), []);
    }
}
