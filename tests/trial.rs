//! `verify --restore`: the newest snapshot is restored where nothing else is, read back, compared, and removed again.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::agent::{Agent, Store, text};
use support::mariadb::MariaDb;
use support::small_site;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::database::Fingerprint;
use wp_backup_agent::progress::Silent;

fn schemas(server: &MariaDb) -> String {
    server.client("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'wp\\_backup\\_agent\\_trial%'")
}

fn trials(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("wp-backup-agent-trial-") && !name.ends_with(".lock")).collect()
}

#[test]
fn a_snapshot_that_restores_is_told_so_and_one_that_does_not_is_a_fault() {
    let server = MariaDb::start();
    let [content, store, scratch] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    // An event of the site must not run a second time.
    server.client("CREATE EVENT blog.wp_event ON SCHEDULE EVERY 1 SECOND DO DELETE FROM blog.wp_links");
    server.client(
        "CREATE TABLE blog.wp_no_key (a INT, b TEXT); INSERT INTO blog.wp_no_key VALUES (3,'x'),(1,'y'),(1,'y'),(NULL,NULL)",
    );
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    let identity = agent.path("identity").to_str().unwrap().to_owned();
    let recipient = agent.ok(&["keygen", "--output", &identity]).trim().to_owned();
    agent.seal_to(&[&recipient]);
    agent.snapshot();

    // What one that was killed has left goes.
    let directory = scratch.path().to_str().unwrap();
    server.client("CREATE DATABASE wp_backup_agent_trial_0123456789abcdef; CREATE DATABASE wp_backup_agent_trial_of_another");
    fs::write(scratch.path().join("wp-backup-agent-trial-blog.lock"), "wp_backup_agent_trial_0123456789abcdef").unwrap();
    fs::create_dir_all(scratch.path().join("wp-backup-agent-trial-blog/left")).unwrap();

    let verify = ["verify", "--restore", "--scratch", directory, "--user", "root", "--identity", &identity];
    let told = agent.ok(&verify);
    for part in ["snapshot 1 was restored and compared", "13 tables", "not compared: events", "nothing is wrong"] {
        assert!(told.contains(part), "{part:?} not in {told}");
    }
    assert_eq!((schemas(&server).trim(), trials(scratch.path())), ("wp_backup_agent_trial_of_another", vec![]));
    let json: serde_json::Value = serde_json::from_str(&agent.ok(&[&verify[..], &["--json"]].concat())).unwrap();
    assert_eq!((&json["level"], &json["tried"]["seq"], &json["fault_count"]), (&"restore".into(), &1.into(), &0.into()));
    assert_eq!(json["tried"]["rows"].as_u64(), Some(9 * 3 + 8 + 400 + 1 + 4));

    // No identity: that is no fault of the snapshot's.
    let without = agent.run(&verify[..verify.len() - 2]);
    assert_eq!(without.status.code(), Some(77), "{}", text(&without));
    assert!(text(&without).contains("1 snapshot need"), "the structure was looked at all the same: {}", text(&without));
    assert_eq!((schemas(&server).trim(), trials(scratch.path())), ("wp_backup_agent_trial_of_another", vec![]));

    // Another machine has written to the store: what it says is not believed, and its SQL not run.
    let other = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    // It can't read what is there, and says so.
    assert_eq!(other.run(&["run-now", "--foreground"]).status.code(), Some(3));
    assert_eq!(agent.snapshots(), 2);
    let told = text(&agent.run(&verify));
    assert!(told.contains("snapshot 1 was restored and compared"), "{told}");

    // A second one is under way.
    let lock = fs::File::options().write(true).open(scratch.path().join("wp-backup-agent-trial-blog.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(agent.run(&verify).status.code(), Some(75));
    drop(lock);

    // What no trial has made is not touched, nor what is another's.
    let (mine, lock) =
        (scratch.path().join("wp-backup-agent-trial-blog"), scratch.path().join("wp-backup-agent-trial-blog.lock"));
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("kept"), "").unwrap();
    assert_eq!(agent.run(&verify).status.code(), Some(74));
    assert!(mine.join("kept").exists() && schemas(&server).trim() == "wp_backup_agent_trial_of_another");
    fs::remove_dir_all(&mine).unwrap();
    fs::remove_file(&lock).unwrap();
    fs::write(scratch.path().join("precious"), "kept").unwrap();
    std::os::unix::fs::symlink(scratch.path().join("precious"), &lock).unwrap();
    assert_ne!(agent.run(&verify).status.code(), Some(0));
    assert_eq!(fs::read_to_string(scratch.path().join("precious")).unwrap(), "kept");
    fs::remove_file(&lock).unwrap();

    // A byte of a pack is another.
    for entry in walkdir::WalkDir::new(store.path().join("blog/packs")).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            let mut bytes = fs::read(entry.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::remove_file(entry.path()).unwrap();
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    let damaged = agent.run(&verify);
    assert_eq!(damaged.status.code(), Some(65), "{}", text(&damaged));
    assert!(text(&damaged).contains("it doesn't restore"), "{}", text(&damaged));
    assert_eq!((schemas(&server).trim(), trials(scratch.path())), ("wp_backup_agent_trial_of_another", vec![]));
    let record = fs::read_to_string(agent.path("state/blog/verified.json")).unwrap();
    assert!(record.contains("\"restore\""), "{record}");
}

#[test]
fn a_change_of_one_value_is_another_fingerprint() {
    let server = MariaDb::start();
    small_site::make_tables(&server, "blog");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let of = || runtime.block_on(Fingerprint::of(&server.settings("blog"), "blog", &Silent, CancellationToken::new())).unwrap();
    let before = of();
    assert!(before.differences(&of(), true).is_empty());
    server.client("UPDATE blog.wp_posts SET post_title = CONCAT(post_title, ' ') WHERE ID = 7");
    server.client("DELETE FROM blog.wp_users WHERE id = 1; ALTER TABLE blog.wp_terms COMMENT 'x'; DROP VIEW blog.wp_titles");
    assert_eq!(
        before.differences(&of(), true),
        [
            "table wp_terms is defined in another way",
            "view wp_titles is not there",
            "table wp_posts holds other rows",
            "table wp_users has 2 rows, and 3 in the snapshot"
        ]
    );
}
