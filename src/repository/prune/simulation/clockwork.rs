//! A store in memory whose every request waits for a permit, its clock, and the eye that sees what is lost.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::super::super::manifest::Manifest;
use super::super::super::reuse::Since;
use super::host::layout;
use crate::storage::{Deleter, Listed, Page, Put, Sha256, Store, StoreError, StoreErrorKind};

/// Small: so that what changes between two pages is seen.
const PAGE: usize = 3;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[derive(Debug, Default)]
struct World {
    objects: BTreeMap<String, (Bytes, u64)>,
    /// Seconds.
    now: u64,
    permit: bool,
    /// How many snapshots need each pack, by its key.
    needed: HashMap<String, u32>,
    lost: Option<String>,
    /// Writes under way: a request ends or fails within minutes, so that no day passes between a look at the clock and what follows.
    writers: Vec<u64>,
}

/// A write under way.
struct Write(Shared);

impl Write {
    fn begin(store: &Shared) -> Self {
        store.lock().writers.push(store.actor);
        Self(store.clone())
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let mut world = self.0.lock();
        world.writers.retain(|writer| *writer != self.0.actor);
    }
}

/// The store, as one of those who use it has it; clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    actor: u64,
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The same store for another.
    pub(super) fn of(&self, actor: u64) -> Self {
        Self { world: self.world.clone(), actor }
    }

    /// Who is about to write.
    pub(super) fn writer(&self) -> Option<u64> {
        self.lock().writers.first().copied()
    }

    /// Some time passes.
    pub(super) fn pass(&self, seconds: usize) {
        self.lock().now += seconds as u64;
    }

    /// The next request may be made.
    pub(super) fn permit(&self) {
        self.lock().permit = true;
    }

    pub(super) fn lost(&self) -> Option<String> {
        self.lock().lost.clone()
    }

    pub(super) fn since(&self) -> Since {
        let (world, begun) = (self.world.clone(), self.lock().now);
        Since::by(move || Duration::from_secs(world.lock().unwrap().now - begun))
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::try_from(time(self.lock().now)).unwrap()
    }

    async fn turn(&self) -> MutexGuard<'_, World> {
        poll_fn(|context| {
            if std::mem::take(&mut self.lock().permit) {
                Poll::Ready(())
            } else {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        self.lock()
    }

    fn failed(&self, request: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError { request, key: key.to_owned(), store: self.url(), kind, source: None }
    }
}

fn packs(bytes: &[u8]) -> Vec<String> {
    serde_json::from_slice::<Manifest>(bytes).unwrap().packs.iter().map(|pack| layout().pack(pack)).collect()
}

#[async_trait]
impl Store for Shared {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let world = self.turn().await;
        let from = after.map_or(prefix, |after| after.max(prefix)).to_owned();
        let found = world.objects.range(from..).filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(PAGE + 1);
        let listed = |(key, (bytes, at)): (&String, &(Bytes, u64))| Listed {
            key: key.clone(),
            size: bytes.len() as u64,
            modified: time(*at),
        };
        let mut objects: Vec<_> = found.map(listed).collect();
        let more = objects.len() > PAGE;
        objects.truncate(PAGE);
        Ok(Page { objects, more, clock: Some(time(world.now)) })
    }

    async fn get(&self, key: &str, _: u64) -> Result<Bytes, StoreError> {
        let found = self.turn().await.objects.get(key).map(|(bytes, _)| bytes.clone());
        found.ok_or_else(|| self.failed("GET", key, StoreErrorKind::NotFound))
    }

    async fn get_range(&self, key: &str, _: u64, _: u64) -> Result<Bytes, StoreError> {
        self.get(key, u64::MAX).await
    }

    async fn checksum(&self, _: &str) -> Result<Option<Sha256>, StoreError> {
        Ok(None)
    }

    async fn put_new(&self, key: &str, body: Bytes, _: Sha256) -> Result<Put, StoreError> {
        let _write = Write::begin(self);
        let mut world = self.turn().await;
        if world.objects.contains_key(key) {
            return Ok(Put::Existed);
        }
        if key.contains("/snapshots/") {
            for pack in packs(&body) {
                if !world.objects.contains_key(&pack) {
                    world.lost = Some(format!("{key} was committed, and its {pack} is gone"));
                }
                *world.needed.entry(pack).or_default() += 1;
            }
        }
        let now = world.now;
        world.objects.insert(key.to_owned(), (body, now));
        Ok(Put::Created)
    }

    fn url(&self) -> String {
        "memory:".to_owned()
    }
}

#[async_trait]
impl Deleter for Shared {
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let _write = Write::begin(self);
        // Who deletes many is seen, and may be killed, between any two of them.
        for key in keys {
            let mut world = self.turn().await;
            let Some((bytes, _)) = world.objects.remove(key) else { continue };
            if world.needed.get(key).is_some_and(|count| *count > 0) {
                world.lost = Some(format!("{key} was deleted, and a snapshot needs it"));
            }
            if key.contains("/snapshots/") {
                for pack in packs(&bytes) {
                    world.needed.entry(pack).and_modify(|count| *count -= 1);
                }
            }
        }
        Ok(())
    }
}
