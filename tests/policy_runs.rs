//! Runs, restores and prunes under the policies that `policy` prints, and what they can't do.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::Digest as _;
use support::agent::{Agent, Store};
use support::files_site::FilesSite;
use support::mariadb::MariaDb;
use support::policy::Rights;
use support::policy_store::{BUCKET, PREFIX, PolicyStore};
use support::roomy;
use support::s3::S3Server;
use support::small_site::{self, noise};
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::{Keep, SiteName, TrustedKeys};
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::prune::Plan;
use wp_backup_agent::repository::random_run_id;
use wp_backup_agent::repository::reuse::{Rules, Since};
use wp_backup_agent::repository::sign::SigningKey;
use wp_backup_agent::storage::{Deleter as _, LocalStore, Put, Store as _, StoreError, StoreErrorKind};

fn printed(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wp-backup-agent"));
    command.args(["--config", "/nonexistent/config.toml", "policy"]).args(arguments);
    let output = command.args(["--bucket", BUCKET, "--prefix", PREFIX]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who has this policy, in a bucket that has its own.
fn who(role: &str) -> Rights {
    Rights { identity: vec![printed(&[role, "--site", "blog"])], bucket: vec![printed(&["bucket"])] }
}

/// All that was asked was allowed; the actions.
#[track_caller]
fn allowed(store: &PolicyStore) -> BTreeSet<&'static str> {
    let asked = store.take();
    let denied: Vec<_> = asked.iter().filter(|(_, allowed)| !allowed).collect();
    assert!(denied.is_empty(), "{denied:?}");
    asked.iter().map(|(asked, _)| asked.action).collect()
}

async fn put(store: &PolicyStore, key: &str, body: &'static [u8]) -> Result<Put, StoreErrorKind> {
    let sha256 = sha2::Sha256::digest(body).into();
    store.put_new(key, Bytes::from_static(body), sha256).await.map_err(|error: StoreError| error.kind)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_host_runs_under_the_writers_policy_and_takes_nothing_back() {
    let (content, kept) = (tempfile::tempdir().unwrap(), roomy::directory(1 << 28));
    let store = PolicyStore::new(LocalStore::new(kept.path().to_owned()), who("writer"));
    let site = FilesSite::over(kept, store.clone());
    for n in 0..40 {
        fs::create_dir_all(content.path().join("uploads/2026")).unwrap();
        fs::write(content.path().join(format!("uploads/2026/{n}.jpg")), noise(40_000, n)).unwrap();
    }
    let first = site.commits(content.path()).summary;
    assert_eq!(allowed(&store), BTreeSet::from(["s3:ListBucket", "s3:PutObject"]));
    fs::write(content.path().join("uploads/2026/new.jpg"), noise(50_000, 100)).unwrap();
    let second = site.commits(content.path()).summary;
    assert_eq!((first.seq, second.seq), (1, 2));
    allowed(&store);
    // Broken off, with checkpoints, then without the local state: the tables of contents of its packs are read back.
    fs::write(content.path().join("uploads/2026/film.mp4"), noise(60 << 20, 101)).unwrap();
    site.is_broken_off(content.path(), 20 << 20);
    site.lose_state();
    assert_eq!(site.commits(content.path()).summary.seq, 3);
    assert!(allowed(&store).contains("s3:GetObject"));

    block_on(async {
        let pack = store.list("blog/packs/", None).await.unwrap().objects.remove(0).key;
        let manifest = store.list("blog/snapshots/", None).await.unwrap().objects.remove(0).key;
        for key in [&pack, &manifest] {
            let before = store.get(key, 1 << 30).await.unwrap();
            assert_eq!(store.delete(std::slice::from_ref(key)).await.unwrap_err().kind, StoreErrorKind::Denied);
            assert_eq!(put(&store, key, b"ransom").await, Ok(Put::Existed));
            assert_eq!(store.get(key, 1 << 30).await.unwrap(), before);
        }
        for key in ["blog/pruned/x.json", "blog/standbys/x/y.json", "blog/accepted/x.json", "shop/packs/ab/x"] {
            assert_eq!(put(&store, key, b"forged").await, Err(StoreErrorKind::Denied), "{key}");
        }
        assert_eq!(store.get("shop/snapshots/x.json", 10).await.unwrap_err().kind, StoreErrorKind::Denied);
        assert_eq!(store.list("shop/", None).await.unwrap_err().kind, StoreErrorKind::Denied);

        store.becomes(who("reader"));
        store.take();
    });
    let target = tempfile::tempdir().unwrap();
    site.restore(3, target.path());
    support::compare::same_tree(content.path(), target.path()).unwrap();
    assert_eq!(allowed(&store), BTreeSet::from(["s3:GetObject", "s3:ListBucket"]));
    block_on(async {
        assert_eq!(put(&store, "blog/packs/ab/x.tar.zst", b"forged").await, Err(StoreErrorKind::Denied));
        assert_eq!(put(&store, "blog/snapshots/x.json", b"forged").await, Err(StoreErrorKind::Denied));
        assert_eq!(put(&store, "blog/standbys/east/x.json", b"{}").await, Ok(Put::Created));
        assert_eq!(store.delete(&["blog/standbys/east/x.json".into()]).await.unwrap_err().kind, StoreErrorKind::Denied);
    });
}

fn write(root: &Path, key: &str, bytes: &[u8], days: u64) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60)).unwrap();
}

fn snapshot(root: &Path, seq: u64, pack: &str, days: u64) {
    let (id, name, time) = (format!("{seq:016x}"), pack.repeat(64), "2026-11-01T02:00:00Z");
    let manifest = json!({
        "format": 1, "site": "blog", "id": id, "seq": seq, "parent": null,
        "times": {"started": time, "point_in_time": time, "finished": time},
        "tool": "t", "trigger": "schedule", "server": {"flavour": "", "version": "", "consistency": ""},
        "recipients": [], "status": "complete", "findings": {},
        "counts": {"file_entries": 0, "file_bytes": 0, "tables": 0, "rows": 0, "sql_bytes": 0},
        "uploaded": {"packs": 0, "bytes": 0}, "files": [], "tables": [], "notes": [],
        "packs": [{"name": name, "size": 4, "sha256": "", "live": 4}],
    });
    write(root, &format!("blog/packs/{}/{name}.tar.zst", &name[..2]), b"pack", days);
    write(root, &format!("blog/snapshots/{seq:010}-20261101T020000Z-{id}.json"), manifest.to_string().as_bytes(), days);
}

#[test]
fn a_prune_runs_under_the_pruners_policy_and_writes_no_backups() {
    let dir = tempfile::tempdir().unwrap();
    for (seq, pack, days) in [(1, "a", 40), (2, "b", 1)] {
        snapshot(dir.path(), seq, pack, days);
    }
    write(dir.path(), &format!("blog/packs/ee/{}.tar.zst", "e".repeat(64)), b"nobody's", 20);
    write(dir.path(), &format!("blog/checkpoints/20261001T020000Z-{:016x}.json", 7), b"{}", 50);
    let (layout, keep) = (Layout::new(SiteName::new("blog").unwrap()), Keep { last: 1, ..Keep::default() });
    let state = tempfile::tempdir().unwrap();
    let (key, _) = SigningKey::load_or_make(state.path()).unwrap();
    let prune = async |store: Arc<PolicyStore>| {
        let plan =
            Plan::make(store.as_ref(), &layout, &keep, &TrustedKeys::default(), Rules::default(), Since::now()).await.unwrap();
        plan.carry_out(store.as_ref(), random_run_id(), jiff::Timestamp::now(), &key, &CancellationToken::new()).await
    };
    let store = PolicyStore::new(LocalStore::new(dir.path().to_owned()), who("writer"));
    block_on(async {
        assert!(prune(store.clone()).await.is_err(), "the writer's policy lets a prune through");
        store.becomes(who("pruner"));
        store.take();
        let done = prune(store.clone()).await.unwrap();
        assert_eq!((done.snapshots, done.packs.count), (1, 1));
        assert_eq!(allowed(&store), BTreeSet::from(["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]));
        for key in ["blog/packs/ab/x.tar.zst", "blog/snapshots/x.json", "blog/checkpoints/x.json"] {
            assert_eq!(put(&store, key, b"forged").await, Err(StoreErrorKind::Denied), "{key}");
        }
    });
}

#[test]
fn check_says_what_guards_a_store_in_s3() {
    let (server, s3, content) = (MariaDb::start(), S3Server::start(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    for _ in 0..2 {
        let said = agent.ok(&["check"]);
        println!("{said}");
        // Whoever has the keys of this server may do everything.
        for part in
            ["blog: writing: allowed; what is there is not overwritten", "blog: deleting: WARNING: allowed: ", "policy writer"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
        for part in ["blog: lifecycle: not known: ", "blog: object lock: "] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    let written: Vec<_> =
        s3.requests().into_iter().filter(|request| request.method == "PUT" && request.status == Some(200)).collect();
    assert!(matches!(&written[..], [only] if only.key == "backups/blog/packs/probe"), "{written:?}");
    // What it leaves is nobody's pack.
    agent.snapshot();
    agent.ok(&["prune", "--keep-last", "1"]);
}
