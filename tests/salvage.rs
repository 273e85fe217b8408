//! `restore --salvage`: what a run sent again after a pack was lost serves the snapshots before it, too; what is nowhere is left out and named.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use support::agent::{Agent, Store, text};
use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::small_site;
use wp_backup_agent::repository::manifest::Manifest;

struct Site {
    server: MariaDb,
    content: tempfile::TempDir,
    store: tempfile::TempDir,
    agent: Agent,
    unlock: Vec<String>,
}

impl Site {
    fn new(sealed: bool) -> Self {
        let server = MariaDb::start();
        let [content, store] = [0; 2].map(|_| tempfile::tempdir().unwrap());
        small_site::make(&server, "blog", content.path());
        // So much that the lists lie in another pack than most of the content, and rows in both.
        for seed in 100..220 {
            let noise = hex::encode(small_site::noise(100_000, seed));
            server.client(&format!("INSERT INTO blog.wp_posts (post_title, post_content) VALUES ('Noise', '{noise}')"));
        }
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
        let mut unlock = Vec::new();
        if sealed {
            let path = agent.path("identity").to_str().unwrap().to_owned();
            let recipient = agent.ok(&["keygen", "--output", &path]).trim().to_owned();
            agent.seal_to(&[&recipient]);
            unlock = vec!["--identity".to_owned(), path];
        }
        Self { server, content, store, agent, unlock }
    }

    /// The packs of a snapshot in which none of its lists is.
    fn packs(&self, seq: &str) -> Vec<PathBuf> {
        let manifest: Manifest = serde_json::from_str(&self.agent.ok(&["snapshots", "show", seq, "--json"])).unwrap();
        let lists =
            [&manifest.files, &manifest.tables, &manifest.notes].into_iter().flatten().map(|piece| piece.pack.to_string());
        let lists: Vec<String> = lists.collect();
        let all = walkdir::WalkDir::new(self.store.path().join("blog/packs")).into_iter().map(Result::unwrap);
        let paths = all.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
        let is_of = |path: &PathBuf| manifest.packs.iter().any(|pack| path.to_string_lossy().contains(&pack.name.to_string()));
        let is_list = |path: &PathBuf| lists.iter().any(|list| path.to_string_lossy().contains(list));
        let paths: Vec<_> = paths.filter(|path| is_of(path) && !is_list(path)).collect();
        assert!(!paths.is_empty());
        paths
    }

    /// A run that looks for packs, and finds some missing.
    fn run_sends_again(&self) {
        let _ = fs::remove_file(self.agent.path("state/blog/packs-listed"));
        let run = self.agent.run(&["run-now", "--foreground"]);
        assert_eq!(run.status.code(), Some(3), "{}", text(&run));
        assert!(text(&run).contains("pack-missing"), "{}", text(&run));
    }

    /// The first snapshot comes back whole, and is what the site still is.
    #[track_caller]
    fn is_salvaged(&self) {
        let (target, salvaged) = self.restore("salvaged", &["--salvage"]);
        assert!(salvaged.status.success(), "sealed: {}\n{}", !self.unlock.is_empty(), text(&salvaged));
        same_tree(self.content.path(), &target).unwrap();
        same_database(&self.server, "blog", "salvaged").unwrap();
    }

    fn restore(&self, name: &str, more: &[&str]) -> (PathBuf, std::process::Output) {
        let target = self.agent.path(name);
        let mut args = vec!["restore", "1", "--files", target.to_str().unwrap(), "--database", name, "--user", "root"];
        args.extend(self.unlock.iter().map(String::as_str));
        args.extend(more);
        (target.clone(), self.agent.run(&args))
    }
}

#[test]
fn an_older_snapshot_is_whole_again_by_what_was_sent_since() {
    for sealed in [false, true] {
        let site = Site::new(sealed);
        site.agent.snapshot();
        site.packs("1").iter().for_each(|pack| fs::remove_file(pack).unwrap());
        site.run_sends_again();

        let (_, without) = site.restore("without", &[]);
        assert_eq!(without.status.code(), Some(65), "{}", text(&without));
        site.is_salvaged();
    }
}

#[test]
fn what_is_nowhere_is_left_out_and_named() {
    for sealed in [false, true] {
        let site = Site::new(sealed);
        let lost = site.content.path().join("uploads/large.bin");
        let named = site.content.path().join("uploads/named-twice.bin");
        fs::hard_link(&lost, &named).unwrap();
        site.agent.snapshot();
        for pack in site.packs("1") {
            fs::remove_file(pack).unwrap();
        }
        fs::remove_file(&lost).unwrap();
        fs::remove_file(&named).unwrap();
        site.server.client("UPDATE blog.wp_posts SET post_title = 'Another'; DROP TABLE blog.wp_links");
        site.run_sends_again();

        let (target, salvaged) = site.restore("salvaged", &["--salvage"]);
        let told = text(&salvaged);
        assert_eq!(salvaged.status.code(), Some(65), "{told}");
        for name in ["LOST: 2 files", "uploads/large.bin", "uploads/named-twice.bin", "wp_posts", "wp_links", "wp_before"] {
            assert!(told.contains(name), "{name:?} not in {told}");
        }
        assert!(!target.join("uploads/large.bin").exists() && !target.join("uploads/named-twice.bin").exists());
        // All else is there.
        fs::remove_dir_all(site.content.path().join("uploads/nothing")).unwrap();
        fs::remove_dir_all(target.join("uploads/nothing")).unwrap();
        for tree in ["plugins", "themes", "uploads/2026"] {
            same_tree(&site.content.path().join(tree), &target.join(tree)).unwrap();
        }
        let rows = |schema: &str, table: &str| site.server.client(&format!("SELECT COUNT(*) FROM {schema}.{table}"));
        assert_eq!(rows("salvaged", "wp_options"), rows("blog", "wp_options"));
        assert_ne!(rows("salvaged", "wp_posts"), rows("blog", "wp_posts"));
        assert!(site.server.try_client("SELECT * FROM salvaged.wp_links").is_err());

        // What is lost takes no place of what is there; beside it, it may.
        let mut args = vec!["restore", "1", "--database", "salvaged", "--user", "root", "--salvage"];
        args.extend(site.unlock.iter().map(String::as_str));
        site.server.client("CREATE TABLE salvaged.wp_links (id INT)");
        let refused = site.agent.run(&[&args[..], &["--overwrite"]].concat());
        assert!(refused.status.code() == Some(65) && text(&refused).contains("not touched"), "{}", text(&refused));
        assert_eq!(rows("salvaged", "wp_links").trim(), "0");
        let swapped = site.agent.run(&[&args[..], &["--swap"]].concat());
        assert!(swapped.status.code() == Some(65) && text(&swapped).contains("LOST: "), "{}", text(&swapped));
        assert_eq!(rows("salvaged_replaced", "wp_links").trim(), "0");
    }
}

/// Flips a bit of each of these.
fn damage(packs: &[PathBuf], at: impl Fn(usize) -> usize) {
    for pack in packs {
        let mut bytes = fs::read(pack).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 0x10;
        fs::remove_file(pack).unwrap();
        fs::write(pack, bytes).unwrap();
    }
}

#[test]
fn a_second_copy_that_is_bad_does_not_hide_a_third() {
    let site = Site::new(false);
    site.agent.snapshot();
    site.packs("1").iter().for_each(|pack| fs::remove_file(pack).unwrap());
    site.run_sends_again();
    damage(&site.packs("2"), |length| length / 2);
    let found = site.agent.run(&["verify", "--read"]);
    assert_eq!(found.status.code(), Some(65), "{}", text(&found));
    let run = site.agent.run(&["run-now", "--foreground"]);
    assert_eq!(run.status.code(), Some(3), "{}", text(&run));
    site.is_salvaged();
}

#[test]
fn of_a_pack_that_is_damaged_only_what_is_damaged_is_looked_for_elsewhere() {
    let site = Site::new(false);
    site.agent.snapshot();
    // In the middle: of the large file, and of a row.
    damage(&site.packs("1"), |length| length / 2);
    let (target, salvaged) = site.restore("salvaged", &["--salvage"]);
    assert_eq!(salvaged.status.code(), Some(65), "{}", text(&salvaged));
    for told in ["LOST: 1 file", "LOST: 1 row;"] {
        assert!(text(&salvaged).contains(told), "{told:?} not in {}", text(&salvaged));
    }
    same_tree(&site.content.path().join("plugins"), &target.join("plugins")).unwrap();
    let differences = same_database(&site.server, "blog", "salvaged").unwrap_err();
    assert!(differences.len() == 1 && differences[0].subject == "table wp_posts", "{differences:?}");
}

#[test]
fn of_a_database_whose_first_pack_is_lost_the_rest_comes_back() {
    let site = Site::new(false);
    site.agent.snapshot();
    // The full one: it was the first.
    let first = site.packs("1").into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    fs::remove_file(first).unwrap();
    let (_, salvaged) = site.restore("salvaged", &["--salvage"]);
    let told = text(&salvaged);
    assert_eq!(salvaged.status.code(), Some(65), "{told}");
    // With a table go its trigger, and the view that is made of it.
    for lost in ["character set", "wp_links", "wp_options", "wp_before"] {
        assert!(told.contains(lost), "{lost:?} not in {told}");
    }
    assert_eq!(site.server.client("SELECT COUNT(*), MAX(v) FROM salvaged.wp_users").trim(), "3\tone");
    assert!(site.server.try_client("SELECT * FROM salvaged.wp_options").is_err());
}
