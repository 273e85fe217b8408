//! Suspect snapshots: what makes one, that it stays so until someone else than the site's own machine accepts it, and that none takes a good one's place.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use support::agent::{Agent, Store, text};
use support::bare_site::manifests_in;
use support::mariadb::MariaDb;
use support::s3::S3Server;
use support::small_blog::{SmallBlog, public_key};
use support::small_site::{age, make_tables, make_tree, noise};

const MANY: u64 = 150;

/// A blog, its own machine, and another that reads the store.
struct Bench {
    blog: SmallBlog,
    host: Agent,
    reader: Agent,
}

impl Bench {
    fn new() -> Self {
        let blog = SmallBlog::new();
        let (host, reader) = (blog.machine(), blog.machine());
        let bench = Self { blog, host, reader };
        for n in 0..MANY {
            bench.write(&format!("uploads/many/{n}.jpg"), &noise(900, n));
        }
        age(&bench.content());
        bench
    }

    fn content(&self) -> PathBuf {
        self.blog.content()
    }

    fn write(&self, path: &str, content: &[u8]) {
        self.blog.write(path, content);
    }

    /// A run, which must end like this; its manifest, and what was said.
    #[track_caller]
    fn run(&self, code: i32) -> (Value, String) {
        let output = self.host.run(&["run-now", "--foreground"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let newest = fs::read(manifests_in(&self.blog.store()).pop().unwrap()).unwrap();
        (serde_json::from_slice(&newest).unwrap(), said)
    }

    fn restore(&self, agent: &Agent) -> String {
        let target = agent.path("target");
        let _ = fs::remove_dir_all(&target);
        let output = agent.run(&["restore", "latest", "--files", target.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }
}

fn kinds(manifest: &Value) -> Vec<&str> {
    let suspect = manifest["suspect"].as_array().map_or(&[][..], Vec::as_slice);
    suspect.iter().map(|one| one["kind"].as_str().unwrap()).collect()
}

#[track_caller]
fn accepts(agent: &Agent, arguments: &[&str]) -> Output {
    agent.run(&[&["snapshots", "accept"], arguments].concat())
}

#[test]
fn files_that_are_gone_make_it_suspect_until_a_reader_accepts_it() {
    let bench = Bench::new();
    let (first, _) = bench.run(0);
    assert!(first["watched"]["media"].as_u64().unwrap() > MANY && first.get("baseline").is_none(), "{}", first["watched"]);
    assert_eq!(bench.run(0).0["baseline"]["seq"], 1);
    fs::remove_dir_all(bench.content().join("uploads/many")).unwrap();
    let (manifest, said) = bench.run(4);
    assert_eq!(kinds(&manifest), ["files-fell", "mass-change"]);
    assert_eq!((&manifest["suspect"][1]["is"], &manifest["status"]), (&MANY.into(), &"complete".into()));
    for part in ["snapshot 3 is SUSPECT: files fell from", "snapshots accept 3", "snapshots diff 2 3"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Nothing changes, and it stays so: what it is judged against, too.
    let (manifest, _) = bench.run(4);
    assert_eq!(kinds(&manifest), ["files-fell", "mass-change"]);
    assert_eq!((&manifest["suspect"][0]["since"], &manifest["baseline"]["seq"]), (&3.into(), &2.into()));
    // Put back, too, until someone has looked.
    for n in 0..MANY {
        bench.write(&format!("uploads/many/{n}.jpg"), &noise(900, n));
    }
    assert_eq!(kinds(&bench.run(4).0), ["files-fell", "mass-change"]);
    let told = bench.restore(&bench.reader);
    assert!(told.contains("snapshot 5 is SUSPECT") && told.contains("isn't suspect is 2"), "{told}");
    for arguments in [vec!["snapshots", "ls", "latest"], vec!["snapshots", "show", "latest"], vec!["snapshots", "list"]] {
        let shown = text(&bench.reader.run(&arguments)).to_lowercase();
        assert!(shown.contains("suspect"), "{arguments:?}: {shown}");
    }
    assert!(!bench.reader.ok(&["snapshots", "show", "2"]).contains("suspect"));

    // Its own machine can't say that it is well; a good one needs nobody to.
    let output = accepts(&bench.host, &["latest"]);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    assert!(text(&accepts(&bench.reader, &["2"])).contains("nothing to accept"));
    assert!(!bench.blog.store().join("blog/accepted").exists());
    let output = accepts(&bench.reader, &["latest"]);
    assert!(output.status.success() && text(&output).contains(&public_key(&bench.reader)), "{}", text(&output));
    assert!(text(&accepts(&bench.reader, &["latest"])).contains("already"));
    assert_eq!(fs::read_dir(bench.blog.store().join("blog/accepted")).unwrap().count(), 1);
    let told = bench.restore(&bench.reader);
    assert!(told.contains("was accepted") && !told.contains("SUSPECT"), "{told}");
    let listed: Value = serde_json::from_str(&bench.reader.ok(&["snapshots", "list", "--json"])).unwrap();
    let marked: Vec<_> = listed["snapshots"].as_array().unwrap().iter().map(|one| one["suspect"].as_bool().unwrap()).collect();
    assert_eq!(marked, [false, false, true, true, false]);
    let (manifest, _) = bench.run(0);
    assert_eq!((kinds(&manifest), &manifest["baseline"]["seq"]), (vec![], &5.into()));
    assert_eq!(bench.run(0).0["baseline"]["seq"], 6);
}

#[test]
fn code_below_uploads_is_named_and_silence_is_not() {
    let bench = Bench::new();
    bench.write("uploads/old/log.php", b"<?php // a plugin's log");
    bench.run(0);
    bench.write("uploads/wpforms/index.php", b"<?php\n// Silence is golden.\n");
    bench.write("uploads/old/log.php", b"<?php // a plugin's log, of today");
    bench.write("plugins/new/new.php", b"<?php // where code belongs");
    let (manifest, _) = bench.run(0);
    assert_eq!(manifest["watched"]["media_php"], 1);
    bench.write("uploads/2026/11/photo.jpg.PHTML", b"<?php eval($_POST['x']);");
    let (manifest, said) = bench.run(4);
    assert_eq!(kinds(&manifest), ["php-under-uploads"]);
    assert!(said.contains("php-under-uploads: uploads/2026/11/photo.jpg.PHTML") && !said.contains("index.php"), "{said}");
    // No name in what anyone may read.
    assert!(!manifest.to_string().contains("PHTML"));
    // It is named as long as it is suspected.
    let (manifest, said) = bench.run(4);
    assert!(said.contains("photo.jpg.PHTML") && manifest["findings"]["php-under-uploads"] == 1, "{said}");
    let daemon = bench.host.daemon();
    let status = bench.host.ok(&["status"]);
    assert!(status.contains("blog: snapshot 4 is SUSPECT: 1 new below uploads"), "{status}");
    let status = bench.host.curl(&[], "/v1/status");
    assert_eq!(status["sites"][0]["last_snapshot"]["snapshot"]["suspect"][0]["kind"], "php-under-uploads");
    daemon.stop();
    // Removed, it may have done what it was for.
    fs::remove_file(bench.content().join("uploads/2026/11/photo.jpg.PHTML")).unwrap();
    bench.run(4);
    // The newest but one is accepted: what came since is as it was there.
    accepts(&bench.reader, &["4"]);
    let (manifest, _) = bench.run(0);
    assert_eq!(manifest["baseline"]["seq"], 4);
}

#[test]
fn rows_that_are_gone_and_files_that_are_all_other_ones() {
    let bench = Bench::new();
    bench.run(0);
    bench.blog.server.client("USE blog; CREATE TABLE wp_log AS SELECT seq FROM seq_1_to_3000");
    bench.run(0);
    bench.blog.server.client("DELETE FROM blog.wp_posts WHERE ID > 100");
    assert_eq!(kinds(&bench.run(4).0), ["core-rows-fell"], "a log hides nothing");
    accepts(&bench.reader, &["latest"]);
    bench.blog.server.client("TRUNCATE blog.wp_log");
    assert_eq!(kinds(&bench.run(4).0), ["rows-fell"]);
    accepts(&bench.reader, &["latest"]);
    bench.run(0);
    // Of the same size, as someone who wants ransom writes them. Touched, they are what they were.
    age(&bench.content());
    bench.run(0);
    for n in 0..120 {
        bench.write(&format!("uploads/many/{n}.jpg"), &noise(900, 5000 + n));
    }
    let (manifest, _) = bench.run(4);
    assert_eq!((kinds(&manifest), &manifest["suspect"][0]["is"]), (vec!["mass-change"], &120.into()));
}

#[test]
fn only_who_is_named_can_accept_and_a_lost_state_forgets_nothing() {
    let bench = Bench::new();
    // Sealed lists can't be read without the state: the next run is full, and still knows what it is judged against.
    let identity = bench.reader.path("identity");
    let recipient = bench.reader.ok(&["keygen", "--output", identity.to_str().unwrap()]).trim().to_owned();
    bench.host.seal_to(&[&recipient]);
    bench.run(0);
    bench.write("uploads/x.php", b"<?php eval($_POST['x']);");
    bench.run(4);
    fs::remove_dir_all(bench.host.path("state/blog")).unwrap();
    let (manifest, _) = bench.run(4);
    assert_eq!((kinds(&manifest), &manifest["baseline"]["seq"]), (vec!["php-under-uploads"], &1.into()));
    assert!(manifest["parent"].is_null());

    // The host names its own key alone: this one's word is nothing there, nor is what was accepted somewhere else.
    let host = public_key(&bench.host);
    assert!(accepts(&bench.reader, &["3"]).status.success());
    bench.blog.trust(&bench.host, &[&host]);
    bench.host.seal_to(&[&recipient]);
    bench.run(4);
    bench.blog.trust(&bench.host, &[&host, &public_key(&bench.reader)]);
    bench.host.seal_to(&[&recipient]);
    // It takes up what it was told of snapshot 3; of 4, which came before it knew, nothing new is suspected.
    let (manifest, _) = bench.run(0);
    assert_eq!(manifest["baseline"]["seq"], 3);

    // A machine alone can do it deliberately, by a key that the agent doesn't have.
    bench.write("uploads/y.php", b"<?php eval($_POST['y']);");
    bench.run(4);
    let other = bench.host.path("another");
    let output = accepts(&bench.host, &["latest", "--state", other.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("trust.keys doesn't name"), "{}", text(&output));
    bench.run(4);
}

#[test]
fn suspect_ones_take_no_place_of_good_ones_until_they_are_accepted() {
    let bench = Bench::new();
    bench.run(0);
    bench.run(0);
    bench.write("uploads/x.php", b"<?php eval($_POST['x']);");
    for _ in 0..4 {
        bench.run(4);
    }
    let stays = |agent: &Agent| {
        let plan: Value = serde_json::from_str(&agent.ok(&["prune", "--keep-last", "2", "--dry-run", "--json"])).unwrap();
        let all = plan["snapshots"].as_array().unwrap().clone();
        let stays = |one: &&Value| one["stays"] == true;
        all.iter().filter(stays).map(|one| (one["seq"].as_u64().unwrap(), one["suspect"].as_bool().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(stays(&bench.reader), [(1, false), (2, false), (5, true), (6, true)]);
    assert!(accepts(&bench.reader, &["6"]).status.success());
    assert_eq!(stays(&bench.reader), [(2, false), (4, true), (5, true), (6, false)]);
    bench.reader.ok(&["prune", "--keep-last", "2"]);
    assert_eq!(manifests_in(&bench.blog.store()).len(), 4);
    assert_eq!(bench.run(0).0["baseline"]["seq"], 6);
    bench.restore(&bench.reader);
}

#[test]
fn one_more_question_is_asked_and_only_after_a_suspect_one() {
    let (server, s3, content) = (MariaDb::start(), S3Server::start(), tempfile::tempdir().unwrap());
    make_tables(&server, "blog");
    make_tree(content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    agent.snapshot();
    fs::write(content.path().join("uploads/x.php"), "<?php eval($_POST['x']);").unwrap();
    let asked = || {
        s3.forget_requests();
        let code = agent.run(&["run-now", "--foreground"]).status.code();
        let requests = s3.requests();
        let lists = requests.iter().filter(|request| request.to_string().contains("accepted")).count();
        (code, lists, requests.len())
    };
    let (code, lists, _) = asked();
    assert_eq!((code, lists), (Some(4), 0));
    let (code, lists, all) = asked();
    // Its findings are the same, so that no pack is sent: LIST, LIST, manifest.
    assert!(code == Some(4) && lists == 1 && all <= 4, "{:?}", s3.requests());
}
