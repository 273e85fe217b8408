//! A test double that fails on plan.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Deleter, Failure, Page, Put, Sha256, Store, StoreError, StoreErrorKind};

/// What happens to one request of a [`Faulty`] store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and was not carried out.
    Before,
    /// It is carried out, and its reply is lost.
    After,
    /// It waits that long, then goes on as usual.
    Stall(Duration),
    /// It and every later one fail and are not carried out.
    Down,
}

/// A test double: passes requests on to another store, except where its plan says otherwise.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    deleter: Option<Arc<dyn Deleter>>,
    plan: BTreeMap<u64, Fault>,
    down_from: u64,
    kind: StoreErrorKind,
    calls: AtomicU64,
}

impl Faulty {
    /// A store whose n-th request (the first is 1) meets the fault planned for n. With two faults for one number the later counts.
    pub fn new(inner: Arc<dyn Store>, plan: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let plan: BTreeMap<_, _> = plan.into_iter().collect();
        let down_from = plan.iter().find(|(_, fault)| **fault == Fault::Down).map_or(u64::MAX, |(call, _)| *call);
        Self { inner, deleter: None, plan, down_from, kind: StoreErrorKind::Unreachable, calls: AtomicU64::new(0) }
    }

    /// The same before a store that takes deletions, each call of which is one request; those of any other are denied.
    pub fn deleting(inner: Arc<dyn Deleter>, plan: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { deleter: Some(Arc::clone(&inner)), ..Self::new(inner, plan) }
    }

    /// The same with another kind of failure; without this it is [`StoreErrorKind::Unreachable`].
    pub fn failing_with(self, kind: StoreErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// How many requests came so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn pass<T>(
        &self,
        request: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = if call >= self.down_from { Some(Fault::Down) } else { self.plan.get(&call).copied() };
        let failure = |words: &str| Failure::because(self.kind.clone(), format!("request {call} {words}, as planned"));
        match fault {
            None => work.await,
            Some(Fault::Stall(time)) => {
                tokio::time::sleep(time).await;
                work.await
            }
            Some(Fault::Before | Fault::Down) => Err(failure("was not carried out").of(request, key, self.url())),
            Some(Fault::After) => {
                work.await?;
                Err(failure("was carried out, its reply lost").of(request, key, self.url()))
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.pass("LIST", prefix, self.inner.list(prefix, after)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.pass("GET", key, self.inner.get(key, limit)).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.pass("GET", key, self.inner.get_range(key, offset, length)).await
    }

    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        self.pass("HEAD", key, self.inner.checksum(key)).await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        self.pass("PUT", key, self.inner.put_new(key, body, sha256)).await
    }

    fn url(&self) -> String {
        self.inner.url()
    }
}

#[async_trait]
impl Deleter for Faulty {
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let first = keys.first().map_or("", |key| key);
        match &self.deleter {
            Some(deleter) => self.pass("DELETE", first, deleter.delete(keys)).await,
            None => Err(Failure::from(StoreErrorKind::Denied).of("DELETE", first, self.url())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LocalStore;
    use super::super::tests::sum;
    use super::*;

    #[tokio::test]
    async fn requests_fail_as_planned_and_only_those() {
        let dir = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Store> = Arc::new(LocalStore::new(dir.path().to_owned()));
        let stall = Duration::from_millis(20);
        let store =
            Faulty::new(inner.clone(), [(2, Fault::Before), (3, Fault::After), (4, Fault::Stall(stall)), (6, Fault::Down)]);
        let put = |key: &'static str| store.put_new(key, Bytes::from_static(b"x"), sum(b"x"));

        assert_eq!(put("one").await.unwrap(), Put::Created);
        assert_eq!(put("two").await.unwrap_err().kind, StoreErrorKind::Unreachable);
        assert_eq!(put("three").await.unwrap_err().kind, StoreErrorKind::Unreachable);
        let started = std::time::Instant::now();
        assert_eq!(put("three").await.unwrap(), Put::Existed);
        assert!(started.elapsed() >= stall);
        assert_eq!(put("two").await.unwrap(), Put::Created);
        for _ in 0..3 {
            store.get("one", 10).await.unwrap_err();
        }
        assert_eq!(store.calls(), 8);
        let keys: Vec<_> = inner.list("", None).await.unwrap().objects.into_iter().map(|o| o.key).collect();
        assert_eq!(keys, ["one", "three", "two"]);
    }

    #[tokio::test]
    async fn the_kind_of_failure_can_be_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let inner = Arc::new(LocalStore::new(dir.path().to_owned()));
        let store = Faulty::new(inner, [(1, Fault::Down)]).failing_with(StoreErrorKind::Denied);
        assert_eq!(store.list("", None).await.unwrap_err().kind, StoreErrorKind::Denied);
    }
}
