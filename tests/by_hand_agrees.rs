//! Readable without us: the restore-by-hand script's result equals `restore`'s, on names that aren't UTF-8 too.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::path::Path;
use std::process::Command;

use support::agent::{Agent, Store, text};
use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::small_site;

fn script(args: &[&Path]) -> std::process::Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/restore-by-hand")).args(args).output().expect("bash")
}

#[test]
fn the_script_and_the_program_agree() {
    let server = MariaDb::start();
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    agent.snapshot();
    // A second snapshot, so that it needs packs of two runs.
    std::fs::write(content.path().join("uploads/second.bin"), small_site::noise(1 << 20, 5)).unwrap();
    std::fs::remove_file(content.path().join("plugins/hello/copy.php")).unwrap();
    server.client("UPDATE blog.wp_posts SET post_title = 'By hand' WHERE ID = 3");
    agent.snapshot();

    let (by_program, by_hand, sql) = (agent.path("by-program"), agent.path("by-hand"), agent.path("by-hand.sql"));
    agent.ok(&["restore", "latest", "--files", by_program.to_str().unwrap(), "--database", "by_program"]);
    let site = Path::new("blog");
    let output = script(&[store.path(), site, Path::new("latest"), Path::new("--files"), &by_hand, Path::new("--sql"), &sql]);
    assert!(output.status.success(), "{}", text(&output));
    same_tree(&by_program, &by_hand).unwrap();
    same_tree(content.path(), &by_hand).unwrap();

    let stream = agent.run(&["restore", "latest", "--sql"]);
    assert_eq!(stream.stdout, std::fs::read(&sql).unwrap(), "the stream of SQL differs");
    server.client("CREATE DATABASE by_hand");
    let loaded = server
        .client_command()
        .args(["--binary-mode", "--comments"])
        .arg("by_hand")
        .stdin(std::fs::File::open(&sql).unwrap())
        .output()
        .unwrap();
    assert!(loaded.status.success(), "{}", text(&loaded));
    same_database(&server, "by_program", "by_hand").unwrap();
    same_database(&server, "blog", "by_hand").unwrap();
}

/// With Debian's age tool, which knows nothing of us.
#[test]
fn the_script_restores_an_encrypted_snapshot() {
    let server = MariaDb::start();
    let [content, store, elsewhere] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    // A plain snapshot first: its packs stay in the store.
    agent.snapshot();
    let identity = elsewhere.path().join("identity");
    let recipient = agent.ok(&["keygen", "--output", identity.to_str().unwrap()]);
    agent.seal_to(&[recipient.trim()]);
    agent.snapshot();
    std::fs::write(content.path().join("uploads/second.bin"), small_site::noise(1 << 20, 5)).unwrap();
    agent.snapshot();

    let (by_hand, sql) = (agent.path("by-hand"), agent.path("by-hand.sql"));
    let [site, latest, with, files, database] = ["blog", "latest", "--identity", "--files", "--sql"].map(Path::new);
    let output = script(&[store.path(), site, latest, with, &identity, files, &by_hand, database, &sql]);
    assert!(output.status.success(), "{}", text(&output));
    same_tree(content.path(), &by_hand).unwrap();
    let stream = agent.run(&["restore", "latest", "--sql", "--identity", identity.to_str().unwrap()]);
    assert!(!stream.stdout.is_empty() && stream.stdout == std::fs::read(&sql).unwrap(), "the stream of SQL differs");

    // Without an identity it says whose is wanted; with a stranger's it writes nothing.
    let nothing = agent.path("nothing");
    let output = script(&[store.path(), site, latest, files, &nothing]);
    assert!(!output.status.success() && text(&output).contains(recipient.trim()), "{}", text(&output));
    let stranger = elsewhere.path().join("stranger");
    agent.ok(&["keygen", "--output", stranger.to_str().unwrap()]);
    let output = script(&[store.path(), site, latest, with, &stranger, files, &nothing]);
    assert!(!output.status.success() && text(&output).contains("can't be opened"), "{}", text(&output));
    assert!(!nothing.exists());
}

#[test]
fn the_script_refuses_a_damaged_pack() {
    let server = MariaDb::start();
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    agent.snapshot();
    let pack = walkdir::WalkDir::new(store.path().join("blog/packs"))
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_type().is_file())
        .unwrap()
        .into_path();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    support::agent::set_mode(&pack, 0o600);
    std::fs::write(&pack, bytes).unwrap();
    let target = agent.path("by-hand");
    let output = script(&[store.path(), Path::new("blog"), Path::new("latest"), Path::new("--files"), &target]);
    assert!(!output.status.success());
    let ours = agent.run(&["restore", "latest", "--files", agent.path("ours").to_str().unwrap()]);
    assert_eq!(ours.status.code(), Some(65), "{}", text(&ours));
}
