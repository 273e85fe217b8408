//! The thin path in one process: snapshot, change, snapshot, restore, equal.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wp_backup_agent::backup::{RunContext, RunReport, Trigger, run};
use wp_backup_agent::config::{SiteName, SiteSettings};
use wp_backup_agent::error::Exit;
use wp_backup_agent::progress::{Phase, Tally};
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::random_run_id;
use wp_backup_agent::restore::Restore;
use wp_backup_agent::storage::{LocalStore, Recorder, Store};

use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::small_site;

fn site(server: &MariaDb, content: &Path) -> SiteSettings {
    SiteSettings {
        name: SiteName::new("blog").unwrap(),
        root: None,
        content_dir: content.to_owned(),
        table_prefix: "wp_".into(),
        database: server.settings("blog"),
        schedule: None,
        time_zone: None,
        exclude: Vec::new(),
        default_excludes: true,
        update_wait: Duration::from_secs(1),
    }
}

async fn snapshot(site: &SiteSettings, state: &Path, store: &Arc<dyn Store>) -> (RunReport, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let context = RunContext {
        store: Arc::clone(store),
        state: state.to_owned(),
        site: site.clone(),
        run: random_run_id(),
        trigger: Trigger::Command,
        progress: tally.clone(),
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
    restore.database(&server.settings("blog"), "restored", true).await.unwrap();
    same_database(server, "blog", "restored").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_restores() {
    let server = MariaDb::start();
    let (content, state, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let site = site(&server, content.path());
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
