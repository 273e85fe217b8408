//! A restore that deletes leaves what no snapshot has, and is refused where it would go too far; no run comes between.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::agent::{Agent, Store, text};
use support::bare_site::manifests_in;
use support::mariadb::MariaDb;
use support::small_site::make_tables;

struct Site {
    server: MariaDb,
    dir: tempfile::TempDir,
    agent: Agent,
}

impl Site {
    /// A whole WordPress root with another site's directory in it.
    fn new() -> Self {
        let (server, dir) = (MariaDb::start(), tempfile::tempdir().unwrap());
        let root = dir.path().join("site");
        make_tables(&server, "blog");
        for path in [
            "wp-load.php",
            "wp-config.php",
            "wp-admin/index.php",
            "wp-content/uploads/a.jpg",
            "wp-content/plugins/hello/h.php",
            "wp-content/themes/plain/style.css",
        ] {
            write(&root.join(path), path);
        }
        write(&root.join("othersite/data"), "not ours");
        fs::create_dir(dir.path().join("store")).unwrap();
        let agent = Agent::new(&server, "blog", &root.join("wp-content"), &Store::Local(&dir.path().join("store")));
        let site = Self { server, dir, agent };
        site.configure("");
        site
    }

    fn configure(&self, lines: &str) {
        let root = format!("path = \"{}\"\n{lines}", self.at("site").display());
        self.agent.configure(&self.server.socket(), &Store::Local(&self.at("store")), &root, "");
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// What `restore latest --files TARGET --overwrite --delete …` says; whether it worked.
    fn restores(&self, target: &Path, more: &[&str]) -> (bool, String) {
        let args = [&["restore", "latest", "--files", target.to_str().unwrap(), "--overwrite", "--delete"][..], more].concat();
        let output = self.agent.run(&args);
        (output.status.success(), text(&output))
    }

    fn snapshots(&self) -> usize {
        manifests_in(&self.at("store")).len()
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn what_snapshots_do_not_have_is_not_deleted() {
    let site = Site::new();
    let content = site.at("site/wp-content");
    write(&content.join("uploads/big/film.mp4"), "a film");
    site.configure("exclude = [\"uploads/big/\"]");
    site.agent.snapshot();
    // The rules of today would have it.
    site.configure("");
    write(&content.join("uploads/late.jpg"), "since the snapshot");
    let (done, told) = site.restores(&content, &["--no-safety-snapshot", "-v"]);
    assert!(done && told.contains("uploads/big") && told.contains("--delete spares"), "{told}");
    assert!(content.join("uploads/big/film.mp4").exists() && !content.join("uploads/late.jpg").exists());
    // Told to, it deletes that, too.
    let (done, told) = site.restores(&content, &["--no-safety-snapshot", "--delete-excluded"]);
    assert!(done && !content.join("uploads/big").exists(), "{told}");

    // Of the root only what belongs to it goes.
    let root = site.at("site");
    write(&root.join("stray.php"), "since the snapshot");
    let (done, told) = site.restores(&root, &["--tree", "root", "--delete-excluded", "--no-safety-snapshot"]);
    assert!(done && !root.join("stray.php").exists(), "{told}");
    for path in ["wp-config.php", "othersite/data", "wp-content/uploads/a.jpg"] {
        assert!(root.join(path).exists(), "{path}");
    }
}

#[test]
fn a_deletion_that_goes_too_far_is_refused() {
    let site = Site::new();
    site.agent.snapshot();
    for target in ["site", "", "store/blog", "site/wp-content/.."] {
        let (done, told) = site.restores(&site.at(target), &[]);
        assert!(!done && told.contains("--delete would delete"), "{target}: {told}");
    }
    assert!(site.at("site/wp-config.php").exists() && site.at("site/othersite/data").exists());
    assert_eq!(site.snapshots(), 1);
}

#[test]
fn what_can_be_refused_is_before_anything_is_touched() {
    let site = Site::new();
    site.agent.snapshot();
    let content = site.at("site/wp-content");
    write(&content.join("uploads/late.jpg"), "x");
    for more in
        [&["--database", "x", "--tables", "nosuch*"][..], &["--database", "x", "--user", "u", "--password-file", "/nowhere"]]
    {
        let (done, told) = site.restores(&content, more);
        assert!(!done && content.join("uploads/late.jpg").exists(), "{told}");
    }
    assert_eq!(site.snapshots(), 1);
}

#[test]
fn a_part_of_the_root_is_the_sites_own_too() {
    let site = Site::new();
    site.agent.snapshot();
    let (done, told) = site.restores(&site.at("site/wp-admin"), &["--path", "nothing-of-the-kind"]);
    // Refused for its path, but only after the snapshot was made.
    assert!(!done && told.contains("safety snapshot: 2"), "{told}");
    assert_eq!(site.snapshots(), 2);
}

#[test]
fn a_run_after_a_restore_that_broke_off_says_so() {
    let site = Site::new();
    site.agent.snapshot();
    let content = site.at("site/wp-content");
    // One that ends well leaves nothing behind.
    assert!(site.restores(&content, &[]).0);
    let marker = site.agent.path("state").join("blog/restore-under-way");
    assert!(!marker.exists());
    let (done, told) = site.restores(&content, &["--path", "nothing-of-the-kind"]);
    assert!(!done && marker.exists(), "{told}");
    let output = site.agent.run(&["run-now", "--foreground"]);
    assert!(output.status.code() == Some(3) && text(&output).contains("restore-unfinished"), "{}", text(&output));
    assert!(site.restores(&content, &[]).0 && !marker.exists());
    assert!(!text(&site.agent.run(&["run-now", "--foreground"])).contains("restore-unfinished"));

    // While one is under way no run begins, and the other way round.
    let lock = fs::File::open(site.agent.path("state").join("blog/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(site.agent.run(&["run-now", "--foreground"]).status.code(), Some(75));
    let (done, told) = site.restores(&content, &["--no-safety-snapshot"]);
    assert!(!done && told.contains("wait for it"), "{told}");
}
