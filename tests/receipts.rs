//! A standby leaves a receipt of what it found, and the site's next look for packs sends again what it says is bad; who isn't believed is not heard.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::agent::{Agent, text};
use support::bare_site::{files_in, manifests_in};
use support::compare;
use support::small_blog::{SmallBlog, public_key};
use support::small_site::noise;

/// A blog, its own machine, and another that looks after its snapshots.
struct Bench {
    blog: SmallBlog,
    host: Agent,
    standby: Agent,
}

impl Bench {
    fn new() -> Self {
        let blog = SmallBlog::new();
        let (host, standby) = (blog.machine(), blog.machine());
        blog.write("uploads/large.bin", &noise(3_000_000, 1));
        host.snapshot();
        Self { blog, host, standby }
    }

    /// A byte of the newest snapshot's largest pack is another from now on. No look by size finds it.
    fn damage(&self) -> PathBuf {
        let manifest: Value = serde_json::from_slice(&fs::read(self.manifests().pop().unwrap()).unwrap()).unwrap();
        let packs = manifest["packs"].as_array().unwrap();
        let largest = packs.iter().max_by_key(|pack| pack["size"].as_u64()).unwrap()["name"].as_str().unwrap();
        let path = self.blog.store().join(format!("blog/packs/{}/{largest}.tar.zst", &largest[..2]));
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn manifests(&self) -> Vec<PathBuf> {
        manifests_in(&self.blog.store())
    }

    fn receipts(&self) -> Vec<PathBuf> {
        files_in(&self.blog.store().join("blog/standbys/aws-1"))
    }

    /// The standby reads all packs, which must end like this.
    #[track_caller]
    fn looks(&self, code: i32) -> Output {
        // Their names hold whole seconds.
        std::thread::sleep(Duration::from_millis(1100));
        let output = self.standby.run(&["verify", "--read", "--receipt", "aws-1"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains("left a receipt: blog/standbys/aws-1/"), "{}", text(&output));
        output
    }

    /// A run after a week. Whether it heard of a bad one.
    #[track_caller]
    fn run(&self) -> bool {
        for asked in ["packs-listed", "receipts-heard"] {
            let _ = fs::remove_file(self.host.path(&format!("state/blog/{asked}")));
        }
        self.runs()
    }

    #[track_caller]
    fn runs(&self) -> bool {
        let output = self.host.run(&["run-now", "--foreground"]);
        let heard = text(&output).contains("pack-missing");
        assert_eq!(output.status.code(), Some(if heard { 3 } else { 0 }), "{}", text(&output));
        heard
    }

    fn restores(&self, snapshot: &str) -> bool {
        let target = self.blog.path("target");
        let _ = fs::remove_dir_all(&target);
        let output = self.standby.run(&["restore", snapshot, "--files", target.to_str().unwrap()]);
        let whole = output.status.success();
        if whole {
            compare::same_tree(&self.blog.content(), &target).unwrap();
        }
        whole
    }
}

#[test]
fn what_a_standby_finds_bad_is_sent_again() {
    let bench = Bench::new();
    bench.looks(0);
    assert!(!bench.run(), "nothing is wrong");

    bench.damage();
    assert!(!bench.run(), "its size is the same");
    let output = bench.looks(65);
    assert!(text(&output).contains("damaged pack"), "{}", text(&output));
    // Within the week nobody is asked: a run costs no more.
    assert!(!bench.runs());
    assert!(!bench.restores("latest"));
    assert!(bench.run());
    assert!(bench.restores("latest") && !bench.restores("1"));
    let manifest: Value = serde_json::from_slice(&fs::read(bench.manifests().pop().unwrap()).unwrap()).unwrap();
    assert_eq!(manifest["findings"]["pack-missing"], 1, "{manifest}");
    // It needs the bad pack no more, so it isn't told again.
    assert!(!bench.run());
}

#[test]
fn nobody_else_is_heard() {
    let bench = Bench::new();
    bench.damage();
    bench.looks(65);
    let newest = bench.receipts().pop().unwrap();
    let whole = fs::read_to_string(&newest).unwrap();
    let put = |text: &str| {
        fs::remove_file(&newest).unwrap();
        fs::write(&newest, text).unwrap();
    };
    // Changed, cut off, unsigned, of a standby of another name, and far too long.
    let unsigned = format!("{}}}", &whole[..whole.find(",\"signer\"").unwrap()]);
    let long = format!("{}{}", whole, " ".repeat(2 << 20));
    for forged in [whole.replace("\"faults\":1", "\"faults\":2"), whole[..whole.len() / 2].to_owned(), unsigned, long] {
        assert_ne!(forged, whole);
        put(&forged);
        assert!(!bench.run(), "{}", &forged[..100]);
        let verified = bench.standby.run(&["verify", "--json"]);
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        let kinds: Vec<_> = report["faults"].as_array().unwrap().iter().map(|fault| fault["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"record"), "{report}");
    }
    put(&whole);
    let other = bench.blog.store().join("blog/standbys/aws-2");
    fs::create_dir(&other).unwrap();
    fs::rename(&newest, other.join(newest.file_name().unwrap())).unwrap();
    assert!(!bench.run());
    fs::rename(other.join(newest.file_name().unwrap()), &newest).unwrap();

    // Where keys are named, only those count; and never the host's own.
    bench.blog.trust(&bench.host, &[&public_key(&bench.host)]);
    assert!(!bench.run());
    let own = bench.host.run(&["verify", "--read", "--receipt", "me"]);
    assert_eq!(own.status.code(), Some(65), "{}", text(&own));
    fs::remove_file(bench.host.path("state/blog/verified.json")).unwrap();
    assert!(!bench.run());
    bench.blog.trust(&bench.host, &[&public_key(&bench.host), &public_key(&bench.standby)]);

    // Who isn't named silences nobody: not by a later receipt of the same name, of a time to come, nor by one that can't be read.
    let stranger = bench.blog.machine();
    bench.blog.trust(&stranger, &[&public_key(&bench.host)]);
    std::thread::sleep(Duration::from_millis(1100));
    let output = stranger.run(&["verify", "--receipt", "aws-1"]);
    assert!(output.status.success(), "{}", text(&output));
    let theirs = bench.receipts().pop().unwrap();
    let later = theirs.file_name().unwrap().to_str().unwrap().replacen("202", "992", 1);
    fs::copy(&theirs, theirs.with_file_name(later)).unwrap();
    fs::write(other.join("20260101T000000Z-0000000000000000.json"), "{").unwrap();
    assert!(bench.run());
    assert!(bench.restores("latest"));
}

#[test]
fn who_is_believed_without_keys_costs_one_upload_a_week() {
    let bench = Bench::new();
    bench.damage();
    bench.looks(65);
    assert!(bench.run());
    // The same pack is named by the same receipt, and a snapshot that doesn't need it asks nobody before a week is over.
    for _ in 0..2 {
        assert!(!bench.runs());
    }
    let heard = fs::read_to_string(bench.host.path("state/blog/receipts-heard")).unwrap();
    assert!(heard.trim().parse::<jiff::Timestamp>().is_ok(), "{heard}");
}

#[test]
fn a_reader_that_has_signed_looks_at_the_hosts_packs_all_the_same() {
    let bench = Bench::new();
    bench.looks(0);
    assert!(bench.standby.ok(&["check"]).contains(&public_key(&bench.standby)));
    let pruned = bench.standby.run(&["prune", "--keep-last", "1"]);
    assert!(pruned.status.success(), "{}", text(&pruned));
    bench.damage();
    let output = bench.looks(65);
    assert!(!text(&output).contains("not looked at"), "{}", text(&output));
}

#[test]
fn a_prune_takes_what_no_longer_counts() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.looks(0);
    }
    let receipts = bench.receipts();
    assert_eq!(receipts.len(), 3);
    let junk = bench.blog.store().join("blog/standbys/aws-1/20260101T000000Z-0000000000000000.json");
    fs::write(&junk, "no receipt").unwrap();
    for (receipt, days) in [(&receipts[0], 34), (&receipts[1], 36), (&junk, 36)] {
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        fs::File::options().write(true).open(receipt).unwrap().set_modified(time).unwrap();
    }
    bench.host.ok(&["prune", "--keep-last", "1"]);
    assert_eq!(bench.receipts(), [receipts[0].clone(), receipts[2].clone()]);
    assert!(bench.host.ok(&["verify"]).contains("nothing is wrong"));
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let bench = Bench::new();
    for name in ["", "../x", "A", ".x", &"a".repeat(65)] {
        let output = bench.standby.run(&["verify", "--receipt", name]);
        assert_eq!(output.status.code(), Some(64), "{name}: {}", text(&output));
    }
    assert!(bench.receipts().is_empty());
}
