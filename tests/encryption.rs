//! Sealed packs: a host that can write and not read, and whoever has an identity reads all.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::agent::{Agent, Store, set_mode, text};
use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::small_site::{self, noise};

/// A site whose packs are sealed to one identity, which lies in a directory of its own.
struct Site {
    server: MariaDb,
    content: tempfile::TempDir,
    store: tempfile::TempDir,
    /// What the owner has elsewhere.
    elsewhere: tempfile::TempDir,
    agent: Agent,
}

impl Site {
    fn new() -> Self {
        let server = MariaDb::start();
        let [content, store, elsewhere] = [0; 3].map(|_| tempfile::tempdir().unwrap());
        small_site::make(&server, "blog", content.path());
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
        Self { server, content, store, elsewhere, agent }
    }

    /// Makes an identity; its file and its recipient.
    fn identity(&self, name: &str) -> (String, String) {
        let path = self.elsewhere.path().join(name).to_str().unwrap().to_owned();
        let recipient = self.agent.ok(&["keygen", "--output", &path]).trim().to_owned();
        assert!(recipient.starts_with("age1"), "{recipient}");
        (path, recipient)
    }

    fn run_now(&self, options: &[&str]) -> Output {
        let output = self.agent.run(&[&["run-now", "--foreground"], options].concat());
        assert!(output.status.success(), "{}", text(&output));
        output
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&self.agent.ok(&["snapshots", "show", "latest", "--json"])).unwrap()
    }

    fn packs(&self) -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(self.store.path().join("blog/packs")).into_iter().map(Result::unwrap);
        all.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    }

    /// Restores the newest snapshot's files.
    fn restore(&self, name: &str, identities: &[&str]) -> (PathBuf, Output) {
        let target = self.agent.path(name);
        let mut args = vec!["restore", "latest", "--files", target.to_str().unwrap()];
        args.extend(identities.iter().flat_map(|identity| ["--identity", identity]));
        let output = self.agent.run(&args);
        (target, output)
    }

    #[track_caller]
    fn restores(&self, name: &str, identities: &[&str]) {
        let (target, output) = self.restore(name, identities);
        assert!(output.status.success(), "{}", text(&output));
        same_tree(self.content.path(), &target).unwrap();
    }

    #[track_caller]
    fn refuses(&self, name: &str, identities: &[&str], code: i32, told: &[&str]) {
        let (_, output) = self.restore(name, identities);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        told.iter().for_each(|told| assert!(text(&output).contains(told), "{told:?} not in {}", text(&output)));
    }

    fn change(&self, seed: u64) {
        std::fs::write(self.content.path().join(format!("uploads/new-{seed}.bin")), noise(200_000, seed)).unwrap();
        self.server.client(&format!("UPDATE blog.wp_posts SET post_title = 'Changed {seed}' WHERE ID = 7"));
    }
}

fn uploaded(manifest: &Value) -> u64 {
    manifest["uploaded"]["bytes"].as_u64().unwrap()
}

#[test]
fn the_host_runs_incrementally_and_only_an_identity_reads() {
    let site = Site::new();
    let (identity, recipient) = site.identity("identity");
    site.agent.seal_to(&[&recipient]);
    site.run_now(&[]);
    let first = site.manifest();
    site.change(1);
    let told = site.run_now(&[]);
    let second = site.manifest();
    assert_eq!(second["parent"]["key"].as_str().map(|key| key.starts_with("blog/snapshots/0000000001-")), Some(true));
    assert!(uploaded(&second) < uploaded(&first) / 10, "{} and {} bytes", uploaded(&first), uploaded(&second));
    assert_eq!(second["recipients"], serde_json::json!([recipient]));
    assert!(!text(&told).contains("sealed before"), "{}", text(&told));
    let packs = site.packs();
    assert!(packs.iter().all(|pack| pack.to_str().unwrap().ends_with(".tar.zst.age")), "{packs:?}");

    // What the store shows to everyone holds no name.
    for object in walkdir::WalkDir::new(site.store.path()).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
        let bytes = std::fs::read(object.path()).unwrap();
        for name in ["photo", "uploads", "wp_posts", "blog.test", "hello"] {
            let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{name} in {}", object.path().display());
        }
    }

    let target = site.agent.path("restored");
    let restore = ["restore", "latest", "--files", target.to_str().unwrap(), "--database", "restored", "--identity", &identity];
    site.agent.ok(&restore);
    same_tree(site.content.path(), &target).unwrap();
    same_database(&site.server, "blog", "restored").unwrap();
    // Few files: parts of packs, by themselves.
    let few = site.agent.path("few");
    let one = ["restore", "1", "--files", few.to_str().unwrap(), "--path", "themes", "--identity", &identity];
    site.agent.ok(&one);
    same_tree(&site.content.path().join("themes"), &few.join("themes")).unwrap();
    let sql = site.agent.run(&["restore", "latest", "--sql", "--identity", &identity]);
    assert!(String::from_utf8_lossy(&sql.stdout).contains("Changed 1"));
    for browse in
        [&["snapshots", "ls", "latest", "uploads"][..], &["snapshots", "find", "*.jpg"], &["snapshots", "diff", "1", "2"]]
    {
        assert!(!site.agent.ok(&[browse, &["--identity", &identity]].concat()).is_empty());
        let output = site.agent.run(browse);
        assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    }

    let (stranger, _) = site.identity("stranger");
    site.refuses("refused-1", &[], 77, &[&recipient, "no identity is given", "--identity FILE"]);
    site.refuses("refused-2", &[&stranger], 77, &[&recipient, "none of the identities"]);
    site.restores("with-both", &[&stranger, &identity]);
    set_mode(Path::new(&identity), 0o644);
    site.refuses("refused-3", &[&identity], 77, &["every user of this machine", "chmod 0600"]);
}

/// The host's configuration, state and credentials, everything of them, open no pack.
#[test]
fn with_all_that_the_host_has_no_pack_opens() {
    let site = Site::new();
    let (identity, recipient) = site.identity("identity");
    site.agent.seal_to(&[&recipient]);
    site.run_now(&[]);
    site.change(1);
    site.run_now(&[]);
    let host: Vec<PathBuf> = [site.agent.config(), site.agent.path("state")]
        .iter()
        .flat_map(|path| walkdir::WalkDir::new(path).into_iter().map(Result::unwrap))
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    assert!(host.len() > 5, "{host:?}");
    let opens = |with: &Path, pack: &Path| {
        let output = Command::new("age").arg("--decrypt").arg("--identity").arg(with).arg(pack).output().expect("the age tool");
        output.status.success()
    };
    for pack in site.packs() {
        assert!(opens(Path::new(&identity), &pack), "{}", pack.display());
        host.iter().for_each(|file| assert!(!opens(file, &pack), "{} opens {}", file.display(), pack.display()));
    }
    for file in &host {
        let bytes = std::fs::read(file).unwrap().to_ascii_uppercase();
        assert!(!bytes.windows(14).any(|window| window == b"AGE-SECRET-KEY"), "{}", file.display());
    }
    // Local state is for the agent's user alone: the lists in it are plain.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(site.agent.path("state/blog")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn tampered_packs_are_refused() {
    let site = Site::new();
    let (identity, recipient) = site.identity("identity");
    site.agent.seal_to(&[&recipient]);
    site.run_now(&[]);
    site.restores("good", &[&identity]);
    let packs = site.packs();
    let good: Vec<Vec<u8>> = packs.iter().map(|pack| std::fs::read(pack).unwrap()).collect();
    let largest = (0..packs.len()).max_by_key(|at| good[*at].len()).unwrap();
    let put = |bytes: &[u8]| {
        set_mode(&packs[largest], 0o600);
        std::fs::write(&packs[largest], bytes).unwrap();
    };
    let length = good[largest].len();
    let spoilt = |at: usize| {
        let mut bytes = good[largest].clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        spoilt(60),
        spoilt(1_000),
        spoilt(length / 2),
        spoilt(length - 1),
        good[largest][..length - 70_000].to_vec(),
        Vec::new(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        put(bytes);
        site.refuses(&format!("refused-{number}"), &[&identity], 65, &["damaged"]);
    }
    // One that was sealed by someone else, to the same recipient: not what the manifest names.
    let forged = site.agent.path("forged");
    let sealed = Command::new("age").args(["--recipient", &recipient, "--output"]).arg(&forged).arg(site.agent.config()).status();
    assert!(sealed.unwrap().success());
    put(&std::fs::read(&forged).unwrap());
    site.refuses("refused-forged", &[&identity], 65, &["damaged"]);
    put(&good[largest]);
    site.restores("good-again", &[&identity]);
}

#[test]
fn recipients_come_and_go_for_what_comes_after() {
    let site = Site::new();
    let (a, a_recipient) = site.identity("a");
    let (b, b_recipient) = site.identity("b");
    site.agent.seal_to(&[&a_recipient]);
    site.run_now(&[]);

    // One more: it can't open what was sealed before, and that is said.
    site.agent.seal_to(&[&a_recipient, &b_recipient]);
    site.change(1);
    let told = site.run_now(&[]);
    assert!(text(&told).contains(&format!("{b_recipient}: can't open")) && text(&told).contains("--full"), "{}", text(&told));
    let manifest = site.manifest();
    assert_eq!((manifest["findings"]["sealed-before"].as_u64(), manifest["status"].as_str()), (Some(1), Some("complete")));
    assert_eq!(manifest["sealed"].as_object().unwrap().len(), 2);
    site.restores("a-1", &[&a]);
    site.refuses("b-1", &[&b], 77, &[&a_recipient]);

    // One less.
    site.agent.seal_to(&[&b_recipient]);
    site.change(2);
    let told = site.run_now(&[]);
    assert!(text(&told).contains(&format!("{a_recipient}: opens")), "{}", text(&told));
    site.refuses("a-2", &[&a], 77, &[&b_recipient]);
    site.restores("both-2", &[&a, &b]);
    assert!(site.agent.ok(&["snapshots", "show", "latest"]).contains(&b_recipient));

    let told = site.run_now(&["--full"]);
    assert!(!text(&told).contains("sealed before"), "{}", text(&told));
    let manifest = site.manifest();
    assert_eq!((manifest["parent"].is_null(), manifest["sealed"].as_object().unwrap().len()), (true, 1));
    assert_eq!(manifest["seq"], 4);
    site.restores("b-3", &[&b]);
    site.refuses("a-3", &[&a], 77, &[&b_recipient]);
}

#[test]
fn lost_state_costs_a_full_snapshot_or_is_rebuilt_by_an_identity() {
    let site = Site::new();
    let (identity, recipient) = site.identity("identity");
    site.agent.seal_to(&[&recipient]);
    site.run_now(&[]);
    let lose = || std::fs::remove_dir_all(site.agent.path("state/blog")).unwrap();

    lose();
    let told = site.run_now(&[]);
    assert!(text(&told).contains("lists can't be read here") && text(&told).contains(&recipient), "{}", text(&told));
    let full = site.manifest();
    assert_eq!((full["seq"].as_u64(), full["parent"].is_null()), (Some(2), true));
    assert_eq!(full["findings"]["sealed-before"], 1);
    site.restores("full", &[&identity]);

    lose();
    site.change(1);
    site.run_now(&["--identity", &identity]);
    let rebuilt = site.manifest();
    assert_eq!((rebuilt["seq"].as_u64(), rebuilt["parent"].is_null()), (Some(3), false));
    assert!(uploaded(&rebuilt) < uploaded(&full) / 10, "{} and {} bytes", uploaded(&full), uploaded(&rebuilt));
    site.restores("rebuilt", &[&identity]);
    // And from then on without it.
    site.run_now(&[]);
    assert!(!site.manifest()["parent"].is_null());
}

#[test]
fn an_unencrypted_store_is_warned_of_and_encryption_begins_with_a_full_snapshot() {
    let site = Site::new();
    site.run_now(&[]);
    let plain = site.manifest();
    assert!(site.agent.ok(&["check"]).contains("NOT ENCRYPTED"));
    let daemon = site.agent.daemon();
    assert!(site.agent.ok(&["status"]).contains("not encrypted"));
    drop(daemon);
    assert!(site.agent.ok(&["snapshots", "show", "latest"]).contains("whoever reads the store"));

    let (identity, recipient) = site.identity("identity");
    site.agent.seal_to(&[&recipient]);
    let checked = site.agent.ok(&["check"]);
    assert!(!checked.contains("NOT ENCRYPTED") && checked.contains(&recipient), "{checked}");
    site.run_now(&[]);
    let sealed = site.manifest();
    assert!(sealed["packs"].as_array().unwrap().iter().all(|pack| pack["sealed"].is_string()));
    assert!(uploaded(&sealed) > uploaded(&plain) / 2);
    site.restores("sealed", &[&identity]);

    // Given up: what is there stays sealed, and that is said.
    site.agent.seal_to(&[]);
    site.change(1);
    site.run_now(&[]);
    let mixed = site.agent.ok(&["snapshots", "show", "latest"]);
    assert!(mixed.contains("sealed to") && mixed.contains("not encrypted"), "{mixed}");
    site.refuses("mixed", &[], 77, &[&recipient]);
    site.restores("mixed-opened", &[&identity]);
}

#[test]
fn what_holds_secrets_is_captured_when_it_is_sealed() {
    let site = Site::new();
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("wp-config.php"), "<?php define('AUTH_KEY', 'secret');").unwrap();
    let lines = format!("path = \"{}\"", root.path().display());
    site.agent.configure(&site.server.socket(), &Store::Local(site.store.path()), &lines, "");
    let (identity, recipient) = site.identity("identity");
    let captured =
        || site.agent.ok(&["snapshots", "ls", "latest", "--tree", "root", "--identity", &identity]).contains("wp-config.php");
    std::fs::write(root.path().join("robots.txt"), "User-agent: *").unwrap();
    site.run_now(&[]);
    assert!(!captured());
    site.agent.seal_to(&[&recipient]);
    site.run_now(&[]);
    assert!(captured());
}

#[test]
fn a_new_identity_overwrites_nothing() {
    let site = Site::new();
    let (path, recipient) = site.identity("identity");
    let output = site.agent.run(&["keygen", "--output", &path]);
    assert_eq!(output.status.code(), Some(73), "{}", text(&output));
    let printed = site.agent.run(&["keygen"]);
    let shown = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(shown.lines().any(|line| line.starts_with("AGE-SECRET-KEY-1")), "no identity");
    // The age tool takes it, and finds the same recipient.
    let known = Command::new("age-keygen").arg("-y").arg(&path).output().expect("age-keygen");
    assert_eq!(String::from_utf8_lossy(&known.stdout).trim(), recipient);
}
