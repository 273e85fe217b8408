//! What every store does, asked of each of them: a directory, and S3 as an in-process server speaks it.

mod s3_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::Digest as _;

use super::{Deleter, LocalStore, Put, S3Store, Sha256, Store, StoreError, StoreErrorKind, open_deleter};
use crate::config::{Credentials, S3Settings, Secret, StoreSettings};
use crate::error::{Exit, Explain as _};
pub(super) use s3_server::{S3Server, settings};

/// A store under test, and the directory where its objects are files.
struct Bench {
    store: Arc<dyn Deleter>,
    objects: PathBuf,
    _server: Option<S3Server>,
    _dir: tempfile::TempDir,
}

async fn local() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().to_owned();
    let store = open_deleter(&StoreSettings::Local { path: objects.clone() }).await.unwrap();
    Bench { store, objects, _server: None, _dir: dir }
}

async fn s3() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("bucket/some/prefix");
    fs::create_dir_all(&objects).unwrap();
    let server = S3Server::start(dir.path()).await;
    let store = open_deleter(&StoreSettings::S3(settings(&server.endpoint))).await.unwrap();
    Bench { store, objects, _server: Some(server), _dir: dir }
}

pub(super) fn sum(bytes: &[u8]) -> Sha256 {
    sha2::Sha256::digest(bytes).into()
}

async fn put(store: &dyn Store, key: &str, body: &'static [u8]) -> Result<Put, StoreError> {
    store.put_new(key, Bytes::from_static(body), sum(body)).await
}

fn fill(objects: &Path, keys: impl Iterator<Item = String>) {
    for key in keys {
        let path = objects.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix, None).await.unwrap().objects.into_iter().map(|object| object.key).collect()
}

async fn an_object_is_created_once(bench: Bench) {
    let store = &*bench.store;
    let before = SystemTime::now() - Duration::from_secs(2);
    assert_eq!(put(store, "blog/packs/ab/one.tar.zst", b"first").await.unwrap(), Put::Created);
    assert_eq!(put(store, "blog/packs/ab/one.tar.zst", b"second").await.unwrap(), Put::Existed);
    assert_eq!(&store.get("blog/packs/ab/one.tar.zst", 5).await.unwrap()[..], b"first");
    let page = store.list("blog/packs/", None).await.unwrap();
    assert!(!page.more);
    let [object] = &page.objects[..] else { panic!("{page:?}") };
    assert_eq!((object.key.as_str(), object.size), ("blog/packs/ab/one.tar.zst", 5));
    assert!(object.modified >= before && object.modified <= SystemTime::now() + Duration::from_secs(2));
}

async fn empty_and_large_objects_pass_unchanged(bench: Bench) {
    let store = &*bench.store;
    assert_eq!(put(store, "empty", b"").await.unwrap(), Put::Created);
    assert_eq!(store.get("empty", 0).await.unwrap().len(), 0);
    // Larger than what the SDK sends without asking first (Expect: 100-continue).
    let large: Bytes = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    assert_eq!(store.put_new("large", large.clone(), sum(&large)).await.unwrap(), Put::Created);
    assert_eq!(store.get("large", 5_000_000).await.unwrap(), large);
    assert_eq!(store.get_range("large", 4_999_000, 1000).await.unwrap(), large[4_999_000..]);
}

async fn reading_keeps_to_its_limits(bench: Bench) {
    let store = &*bench.store;
    put(store, "ten", b"0123456789").await.unwrap();
    assert_eq!(store.get("ten", 10).await.unwrap().len(), 10);
    assert_eq!(store.get("ten", 9).await.unwrap_err().kind, StoreErrorKind::TooLarge(9));
    assert_eq!(&store.get_range("ten", 0, 10).await.unwrap()[..], b"0123456789");
    assert_eq!(&store.get_range("ten", 3, 4).await.unwrap()[..], b"3456");
    assert_eq!(&store.get_range("ten", 9, 1).await.unwrap()[..], b"9");
    assert_eq!(store.get_range("ten", 4, 0).await.unwrap().len(), 0);
    for (offset, length) in [(9, 2), (10, 1), (0, 11), (500, 1), (u64::MAX, 2), (1, u64::MAX)] {
        let error = store.get_range("ten", offset, length).await.unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Damaged(_)), "{offset} {length}: {error:?}");
        assert_eq!(error.exit(), Exit::Data);
    }
}

async fn listings_page_in_the_order_of_keys(bench: Bench) {
    fill(&bench.objects, (0..2100).map(|n| format!("blog/packs/{:02x}/{n:04}", n % 7)));
    fill(
        &bench.objects,
        ["blog/packs-old", "blog/packs.old", "blog/snapshots/1.json", "other/packs/00/0000"].map(String::from).into_iter(),
    );
    let mut expected: Vec<String> = (0..2100).map(|n| format!("blog/packs/{:02x}/{n:04}", n % 7)).collect();
    expected.sort();
    let (mut found, mut sizes, mut after) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = bench.store.list("blog/packs/", after.as_deref()).await.unwrap();
        sizes.push(page.objects.len());
        found.extend(page.objects.into_iter().map(|object| object.key));
        after = found.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes, [1000, 1000, 100]);
    assert_eq!(found, expected);

    let store = &*bench.store;
    assert_eq!(
        keys(store, "blog/packs/03/2").await,
        ["2005", "2012", "2019", "2026", "2033", "2040", "2047", "2054", "2061", "2068", "2075", "2082", "2089", "2096"]
            .map(|n| format!("blog/packs/03/{n}"))
    );
    assert_eq!(keys(store, "blog/snap").await, ["blog/snapshots/1.json"]);
    assert_eq!(&keys(store, "blog/").await[..3], ["blog/packs-old", "blog/packs.old", "blog/packs/00/0000"]);
    assert_eq!(keys(store, "none/").await, [""; 0]);
    let after = store.list("blog/", Some("blog/packs/06/2099")).await.unwrap();
    assert_eq!(after.objects.len(), 1);
    let end = store.list("", Some("other/packs/00/0000")).await.unwrap();
    assert!(end.objects.is_empty() && !end.more);
}

async fn what_is_not_there_is_not_found(bench: Bench) {
    let store = &*bench.store;
    put(store, "blog/one", b"x").await.unwrap();
    for key in ["none", "blog/none", "blog/none/deeper"] {
        let error = store.get(key, 10).await.unwrap_err();
        assert_eq!((&error.kind, error.request, error.key.as_str()), (&StoreErrorKind::NotFound, "GET", key));
        assert_eq!(error.exit(), Exit::NoInput);
        assert_eq!(store.get_range(key, 0, 1).await.unwrap_err().kind, StoreErrorKind::NotFound);
    }
}

async fn a_missing_bucket_is_named_and_not_created(bench: Bench) {
    let bucket = bench.objects.ancestors().find(|path| path.ends_with("bucket")).unwrap_or(&bench.objects);
    fs::remove_dir_all(bucket).unwrap();
    let error = bench.store.list("blog/", None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NoBucket);
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(error.advice().unwrap().contains(&bench.store.url()));
    assert!(!bucket.exists());
}

async fn a_body_that_changed_on_the_way_is_refused(bench: Bench) {
    let error = bench.store.put_new("a", Bytes::from_static(b"body"), sum(b"another body")).await.unwrap_err();
    assert!(matches!(&error.kind, StoreErrorKind::Other(_)), "{error:?}");
}

async fn what_is_deleted_is_gone_and_nothing_else(bench: Bench) {
    let store = &*bench.store;
    for key in ["blog/packs/ab/one", "blog/packs/ab/two", "blog/packs/cd/three"] {
        put(store, key, b"x").await.unwrap();
    }
    let gone = ["blog/packs/ab/one", "blog/packs/cd/three", "blog/packs/cd/never-there", "none/at/all"].map(String::from);
    store.delete(&gone).await.unwrap();
    store.delete(&gone).await.unwrap();
    store.delete(&[]).await.unwrap();
    assert_eq!(keys(store, "").await, ["blog/packs/ab/two"]);
    assert_eq!(put(store, "blog/packs/ab/one", b"again").await.unwrap(), Put::Created);
    for key in ["../escape", "", "a//b"] {
        assert!(matches!(store.delete(&[key.to_owned()]).await.unwrap_err().kind, StoreErrorKind::Other(_)), "{key:?}");
    }
}

async fn a_listing_tells_the_stores_clock(bench: Bench) {
    let before = SystemTime::now() - Duration::from_secs(2);
    for prefix in ["", "none/"] {
        let clock = bench.store.list(prefix, None).await.unwrap().clock.unwrap();
        assert!(clock >= before && clock <= SystemTime::now() + Duration::from_secs(2), "{clock:?}");
    }
}

async fn no_key_leaves_the_store(bench: Bench) {
    let store = &*bench.store;
    for key in ["", "/etc/passwd", "../escape", "a/../../escape", "a//b", "a/", "./a", "a b", "a\0b", "a?b", "\u{e4}"] {
        assert!(matches!(put(store, key, b"x").await.unwrap_err().kind, StoreErrorKind::Other(_)), "{key:?}");
        assert!(matches!(store.get(key, 1).await.unwrap_err().kind, StoreErrorKind::Other(_)), "{key:?}");
        assert!(matches!(store.get_range(key, 0, 1).await.unwrap_err().kind, StoreErrorKind::Other(_)), "{key:?}");
    }
    for prefix in ["/", "../", "a/../", "a b"] {
        assert!(matches!(store.list(prefix, None).await.unwrap_err().kind, StoreErrorKind::Other(_)), "{prefix:?}");
    }
    assert_eq!(keys(store, "").await, [""; 0]);
}

macro_rules! every_store {
    ($($behaviour:ident),* $(,)?) => {
        mod a_directory { $(#[tokio::test] async fn $behaviour() { super::$behaviour(super::local().await).await; })* }
        mod an_s3_server { $(#[tokio::test] async fn $behaviour() { super::$behaviour(super::s3().await).await; })* }
    };
}

every_store!(
    an_object_is_created_once,
    empty_and_large_objects_pass_unchanged,
    reading_keeps_to_its_limits,
    listings_page_in_the_order_of_keys,
    what_is_not_there_is_not_found,
    a_missing_bucket_is_named_and_not_created,
    a_body_that_changed_on_the_way_is_refused,
    what_is_deleted_is_gone_and_nothing_else,
    a_listing_tells_the_stores_clock,
    no_key_leaves_the_store,
);

#[tokio::test]
async fn a_local_store_that_is_missing_is_never_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not-mounted");
    let store = LocalStore::new(root.clone());
    assert_eq!(put(&store, "a", b"x").await.unwrap_err().kind, StoreErrorKind::NoBucket);
    assert_eq!(store.get("a", 1).await.unwrap_err().kind, StoreErrorKind::NoBucket);
    assert!(!root.exists());
    fs::write(&root, b"").unwrap();
    assert_eq!(put(&store, "a", b"x").await.unwrap_err().kind, StoreErrorKind::NoBucket);
}

#[tokio::test]
async fn objects_of_other_programs_are_not_listed() {
    let bench = s3().await;
    fill(&bench.objects, ["a", "has space", "\u{e4}", "z"].map(String::from).into_iter());
    fill(&bench.objects, (0..1100).map(|n| format!("foreign {n:04}")));
    assert_eq!(keys(&*bench.store, "").await, ["a"]);
    // A page without any object of ours must not look like the end.
    let next = bench.store.list("", Some("a")).await.unwrap();
    assert_eq!(next.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["z"]);
    assert!(!next.more);
}

#[tokio::test]
async fn the_prefix_stays_out_of_keys_and_other_prefixes_out_of_listings() {
    let bench = s3().await;
    put(&*bench.store, "blog/x", b"x").await.unwrap();
    fill(bench.objects.parent().unwrap(), ["prefix-of-another/y", "prefix2"].map(String::from).into_iter());
    assert!(bench.objects.join("blog/x").is_file());
    assert_eq!(keys(&*bench.store, "").await, ["blog/x"]);
    assert_eq!(bench.store.url(), "s3://bucket/some/prefix");
}

#[tokio::test]
async fn wrong_keys_are_denied_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bucket")).unwrap();
    let server = S3Server::start(dir.path()).await;
    for (id, secret) in [("somebody-else", "test-secret-key"), ("test-access-key", "wrong-secret")] {
        let credentials = Credentials::Keys { id: id.into(), secret: Secret::new(secret.into()) };
        let store = S3Store::new(&S3Settings { credentials, ..settings(&server.endpoint) }).await.unwrap();
        for error in [
            store.list("", None).await.unwrap_err(),
            store.get("a", 1).await.unwrap_err(),
            put(&store, "a", b"x").await.unwrap_err(),
        ] {
            assert_eq!(error.kind, StoreErrorKind::Denied);
            assert_eq!(error.exit(), Exit::Denied);
            let shown = format!("{} {error:?} {store:?}", crate::error::render(&error));
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
