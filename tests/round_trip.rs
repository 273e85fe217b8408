//! The thin path in one process: snapshot, change, snapshot, restore, equal.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wp_backup_agent::backup::{RunContext, RunReport, Trigger, run};
use wp_backup_agent::config::{SiteName, SiteSettings};
use wp_backup_agent::database::Existing;
use wp_backup_agent::error::Exit;
use wp_backup_agent::progress::{Event, Phase, Progress, Tally};
use wp_backup_agent::repository::checkpoint;
use wp_backup_agent::repository::entry::FindingCode;
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::random_run_id;
use wp_backup_agent::restore::{DatabaseOptions, Restore};
use wp_backup_agent::storage::{Fault, Faulty, LocalStore, Recorder, Store};

use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::{files_site, small_site};

fn replacing() -> DatabaseOptions {
    DatabaseOptions { existing: Existing::Replace, ..DatabaseOptions::default() }
}

async fn snapshot(site: &SiteSettings, state: &Path, store: &Arc<dyn Store>) -> (RunReport, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let context = RunContext {
        store: Arc::clone(store),
        state: state.to_owned(),
        site: site.clone(),
        run: random_run_id(),
        trigger: Trigger::Command,
        options: Default::default(),
        progress: tally.clone(),
        checkpoint_every: checkpoint::EVERY,
        cancel: CancellationToken::new(),
    };
    (run(context).await, tally)
}

async fn restored_is_equal(store: &Arc<dyn Store>, server: &MariaDb, content: &Path) {
    let target = tempfile::tempdir().unwrap();
    let layout = Layout::new(SiteName::new("blog").unwrap());
    let progress = Arc::new(Tally::default());
    let mut restore = Restore::open(Arc::clone(store), layout, "latest", progress, CancellationToken::new()).await.unwrap();
    restore.files(target.path(), false).await.unwrap();
    same_tree(content, target.path()).unwrap();
    restore.database(&server.settings("blog"), "restored", &replacing()).await.unwrap();
    same_database(server, "blog", "restored").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_restores() {
    let server = MariaDb::start();
    let (content, state, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let site = files_site::settings(&server, content.path());
    let recorder = Arc::new(Recorder::new(Arc::new(LocalStore::new(kept.path().to_owned()))));
    let store: Arc<dyn Store> = recorder.clone();

    let (first, tally) = snapshot(&site, state.path(), &store).await;
    assert_eq!(first.result, Exit::Success, "{first:#?}");
    let summary = first.snapshot.unwrap();
    assert!(summary.full && summary.seq == 1);
    assert_eq!(tally.figures().phase, Phase::Done);
    restored_is_equal(&store, &server, content.path()).await;

    // Nothing changed: LIST and manifest.
    recorder.take();
    let (second, _) = snapshot(&site, state.path(), &store).await;
    assert_eq!(second.result, Exit::Success, "{second:#?}");
    let calls = recorder.take();
    assert!(calls.len() <= 2, "{calls:?}");
    assert!(calls.iter().all(|call| !call.key.contains("/packs/")), "{calls:?}");

    std::fs::write(content.path().join("uploads/new.bin"), small_site::noise(3_000_000, 9)).unwrap();
    std::fs::remove_dir_all(content.path().join("themes/plain")).unwrap();
    server.client("DELETE FROM blog.wp_posts WHERE ID % 10 = 3; CREATE TABLE blog.wp_more (a INT) ENGINE=InnoDB; INSERT INTO blog.wp_more VALUES (1),(1)");
    let (third, _) = snapshot(&site, state.path(), &store).await;
    // The active theme is gone: named.
    assert_eq!(third.result, Exit::Findings, "{third:#?}");
    let summary = third.snapshot.unwrap();
    assert_eq!((summary.seq, summary.full), (3, false));
    assert!(summary.uploaded.bytes < 3_300_000, "{:?}", summary.uploaded);
    restored_is_equal(&store, &server, content.path()).await;
}

/// Does something at a run's third step, when step 1 has captured what goes away.
struct AtSecondLook<F>(F, std::sync::atomic::AtomicBool);

impl<F: Fn() + Send + Sync> Progress for AtSecondLook<F> {
    fn event(&self, event: Event) {
        if event == Event::Phase(Phase::SecondLook) && !self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
            (self.0)();
        }
    }
}

/// Under uploads/, what goes away between the two looks is kept, whatever takes its place; the snapshot restores.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_away_between_the_looks_does_not_spoil_the_snapshot() {
    let server = MariaDb::start();
    small_site::make_tables(&server, "blog");
    type Case = (&'static str, fn(&Path));
    let changes: [Case; 5] = [
        ("removed", |uploads| std::fs::remove_dir_all(uploads.join("2026")).unwrap()),
        ("a symlink in its place", |uploads| {
            std::fs::rename(uploads.join("2026"), uploads.join("../elsewhere")).unwrap();
            std::os::unix::fs::symlink("../elsewhere", uploads.join("2026")).unwrap();
        }),
        ("a file in its place", |uploads| {
            std::fs::remove_dir_all(uploads.join("2026")).unwrap();
            std::fs::write(uploads.join("2026"), "a file").unwrap();
        }),
        ("opted out", |uploads| std::fs::write(uploads.join("2026/.donotbackup"), "").unwrap()),
        ("all uploads", |uploads| std::fs::remove_dir_all(uploads).unwrap()),
    ];
    for (what, change) in changes {
        let (content, state, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        small_site::make_tree(content.path());
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(kept.path().to_owned()));
        let uploads = content.path().join("uploads");
        let context = RunContext {
            store: Arc::clone(&store),
            state: state.path().to_owned(),
            site: files_site::settings(&server, content.path()),
            run: random_run_id(),
            trigger: Trigger::Command,
            options: Default::default(),
            progress: Arc::new(AtSecondLook(move || change(&uploads), false.into())),
            checkpoint_every: checkpoint::EVERY,
            cancel: CancellationToken::new(),
        };
        let report = run(context).await;
        let summary = report.snapshot.unwrap_or_else(|| panic!("{what}: {:?}", report.error));
        let target = tempfile::tempdir().unwrap();
        let layout = Layout::new(SiteName::new("blog").unwrap());
        let progress = Arc::new(Tally::default());
        let mut restore = Restore::open(Arc::clone(&store), layout, "latest", progress, CancellationToken::new()).await.unwrap();
        restore.files(target.path(), false).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        // Kept, or named.
        let photo = target.path().join("uploads/2026/11/photo.jpg");
        let named = summary.first_findings.iter().any(|f| f.subject.to_string() == "uploads/2026/11/photo.jpg");
        let through_a_link = target.path().join("uploads/2026").is_symlink();
        assert!((photo.exists() && !through_a_link) != named, "{what}: {:?}", summary.first_findings);
        assert!(target.path().join("plugins/hello/h.php").exists(), "{what}");
    }
}

/// A broken run's packs are no use in another store, nor in one that was emptied.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_another_store_is_not_trusted() {
    let server = MariaDb::start();
    let (content, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stores = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    small_site::make(&server, "blog", content.path());
    let site = files_site::settings(&server, content.path());
    let store = |n: usize| -> Arc<dyn Store> { Arc::new(LocalStore::new(stores[n].path().to_owned())) };
    let broken: Arc<dyn Store> = Arc::new(Faulty::new(store(0), [(3, Fault::Down)]));
    for (what, next) in [("another store", store(1)), ("the same, emptied", store(0))] {
        let (report, _) = snapshot(&site, state.path(), &broken).await;
        assert!(report.snapshot.is_none(), "{what}: {report:?}");
        for dir in &stores {
            let _ = std::fs::remove_dir_all(dir.path().join("blog"));
        }
        let _ = std::fs::remove_file(state.path().join("blog/parent"));
        let (report, _) = snapshot(&site, state.path(), &next).await;
        assert_eq!(report.result, Exit::Success, "{what}: {report:?}");
        restored_is_equal(&next, &server, content.path()).await;
        std::fs::remove_dir_all(state.path()).unwrap();
        std::fs::create_dir(state.path()).unwrap();
    }
}

/// The store lost its snapshots: said as a finding, and the next snapshot is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_its_snapshots_is_named() {
    let server = MariaDb::start();
    let (content, state, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let site = files_site::settings(&server, content.path());
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(kept.path().to_owned()));
    assert_eq!(snapshot(&site, state.path(), &store).await.0.result, Exit::Success);
    std::fs::remove_dir_all(kept.path().join("blog")).unwrap();
    let (report, _) = snapshot(&site, state.path(), &store).await;
    assert_eq!(report.result, Exit::Findings);
    assert!(report.snapshot.unwrap().findings.contains_key(&FindingCode::ParentLost));
    restored_is_equal(&store, &server, content.path()).await;

    // A manifest that this agent can't read is none to compare with; its number isn't used again. The one before it is.
    let forged = kept.path().join("blog/snapshots/0000000007-20261121T090000Z-00000000000000fb.json");
    std::fs::write(&forged, "{\"format\":2}").unwrap();
    let (report, _) = snapshot(&site, state.path(), &store).await;
    let summary = report.snapshot.unwrap();
    assert_eq!((summary.seq, summary.full, summary.uploaded.packs), (8, false, 1));
    assert!(summary.findings.contains_key(&FindingCode::ParentLost));
}

/// A restore that replaces a database reads the whole snapshot first.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_by_a_snapshot_that_does_not_read() {
    let server = MariaDb::start();
    let (content, state, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(kept.path().to_owned()));
    snapshot(&files_site::settings(&server, content.path()), state.path(), &store).await;
    for pack in walkdir::WalkDir::new(kept.path().join("blog/packs")).into_iter().filter_map(Result::ok) {
        if pack.file_type().is_file() {
            let mut bytes = std::fs::read(pack.path()).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::remove_file(pack.path()).unwrap();
            std::fs::write(pack.path(), bytes).unwrap();
        }
    }
    server.client("CREATE DATABASE live; CREATE TABLE live.precious (a INT); INSERT INTO live.precious VALUES (42)");
    let layout = Layout::new(SiteName::new("blog").unwrap());
    let progress = Arc::new(Tally::default());
    let mut restore = Restore::open(store, layout, "latest", progress, CancellationToken::new()).await.unwrap();
    restore.database(&server.settings("blog"), "live", &replacing()).await.unwrap_err();
    assert_eq!(server.client("SELECT a FROM live.precious").trim(), "42");
    restore.database(&server.settings("blog"), "mysql", &replacing()).await.unwrap_err();
    assert!(server.client("SELECT COUNT(*) > 0 FROM mysql.global_priv").contains('1'));
}
