//! Signed and chained: what is forged, taken away, put back or exchanged is named; who isn't trusted is refused; a lost key is a deliberate change.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::agent::{Agent, Store, text};
use support::bare_site::manifests_in;
use support::small_blog::{SmallBlog, public_key};
use support::small_site::noise;

struct Bench {
    blog: SmallBlog,
    agent: Agent,
}

impl Bench {
    fn new() -> Self {
        let blog = SmallBlog::new();
        let agent = blog.machine();
        Self { blog, agent }
    }

    fn store(&self) -> PathBuf {
        self.blog.store()
    }

    fn snapshot(&self, n: u64) {
        self.blog.write("uploads/a.bin", &noise(10_000, n));
        self.agent.snapshot();
    }

    fn manifests(&self) -> Vec<PathBuf> {
        manifests_in(&self.store())
    }

    fn key(&self) -> String {
        public_key(&self.agent)
    }

    fn trust(&self, keys: &[&str]) {
        self.blog.trust(&self.agent, keys);
    }

    fn restore(&self, snapshot: &str) -> Output {
        let target = self.agent.path("target");
        let _ = fs::remove_dir_all(&target);
        self.agent.run(&["restore", snapshot, "--files", target.to_str().unwrap()])
    }

    /// What is wrong with the store.
    fn faults(&self) -> Vec<(String, String)> {
        let output = self.agent.run(&["verify", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        let faults = report["faults"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(output.status.code(), Some(if faults.is_empty() { 0 } else { 65 }));
        let word = |fault: &Value, name: &str| fault[name].as_str().unwrap().to_owned();
        faults.iter().map(|fault| (word(fault, "kind"), word(fault, "object"))).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.faults().into_iter().map(|(kind, _)| kind).collect()
    }
}

#[test]
fn a_forged_manifest_is_refused_where_keys_are_named_and_told_where_not() {
    let (bench, other) = (Bench::new(), Bench::new());
    bench.snapshot(1);
    other.snapshot(1);
    other.snapshot(2);
    assert_ne!(bench.key(), other.key());
    assert!(bench.agent.run(&["check"]).stdout.windows(72).any(|at| at == bench.key().as_bytes()), "check shows the key");
    let told = text(&bench.restore("latest"));
    assert!(told.contains(&bench.key()) && told.contains("names no key"), "{told}");

    // Someone else's, signed well: with all that it needs.
    let forged = other.manifests().pop().unwrap();
    let name = forged.file_name().unwrap();
    fs::copy(&forged, bench.store().join("blog/snapshots").join(name)).unwrap();
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(other.store().join("blog/packs"))
            .arg(bench.store().join("blog"))
            .status()
            .unwrap()
            .success()
    );
    bench.trust(&[&bench.key()]);
    let output = bench.restore("latest");
    let told = text(&output);
    assert_eq!(output.status.code(), Some(65), "{told}");
    assert!(told.contains(&other.key()) && told.contains("what to do"), "{told}");
    assert!(!bench.agent.path("target").exists(), "nothing is touched");
    assert!(bench.restore("1").status.success());
    assert!(bench.kinds().contains(&"untrusted".to_owned()));
    // It pushes nothing out, whatever is kept.
    bench.agent.ok(&["prune", "--keep-last", "1"]);
    assert_eq!(bench.manifests().len(), 2);
    // And the next run takes nothing from it, and says so.
    let output = bench.agent.run(&["run-now", "--foreground"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("nothing is taken from it"), "{}", text(&output));
    let newest: Value = serde_json::from_slice(&fs::read(bench.manifests().pop().unwrap()).unwrap()).unwrap();
    assert_eq!((newest["seq"].as_u64(), newest["signer"].as_str()), (Some(3), Some(bench.key().as_str())));
    assert!(newest["parent"]["key"].as_str().unwrap().contains("/0000000001-"), "{}", newest["parent"]);
    assert!(bench.restore("latest").status.success());
}

#[test]
fn one_changed_byte_is_enough() {
    let bench = Bench::new();
    bench.snapshot(1);
    let path = bench.manifests().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let text_of = String::from_utf8(whole.clone()).unwrap();
    for (from, to) in [
        ("\"file_entries\":", "\"file_entries\":1"),
        ("\"status\":\"complete\"", "\"status\":\"findings\""),
        ("ed25519:", "ed25519:0"),
    ] {
        let changed = text_of.replacen(from, to, 1);
        assert_ne!(changed, text_of);
        fs::remove_file(&path).unwrap();
        fs::write(&path, changed).unwrap();
        let output = bench.restore("latest");
        assert_eq!(output.status.code(), Some(65), "{}", text(&output));
        assert_eq!(bench.kinds(), ["manifest"]);
    }
    // Without its signature it is believed by those alone who believe anyone.
    let (start, _) = text_of.rsplit_once(",\"signature\"").unwrap();
    let (before, after) = start.rsplit_once(",\"signer\"").unwrap();
    assert!(after.len() < 80);
    fs::write(&path, format!("{before}}}")).unwrap();
    assert!(bench.restore("latest").status.success());
    bench.trust(&[&bench.key()]);
    assert_eq!(bench.restore("latest").status.code(), Some(65));
}

#[test]
fn what_is_taken_away_or_exchanged_is_named_and_what_was_pruned_is_not() {
    let bench = Bench::new();
    for n in 1..=5 {
        bench.snapshot(n);
    }
    bench.trust(&[&bench.key()]);
    assert_eq!(bench.kinds(), [""; 0]);
    bench.agent.ok(&["prune", "--keep-last", "3"]);
    assert_eq!(bench.kinds(), [""; 0], "its note explains the gap");
    let all = bench.manifests();
    let bytes: Vec<_> = all.iter().map(|path| fs::read(path).unwrap()).collect();

    // A gap of someone else's.
    fs::remove_file(&all[1]).unwrap();
    let faults = bench.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].0 == "missing" && faults[0].1.contains("/0000000004-"), "{faults:?}");
    // Back in place of another, and in its own place again.
    fs::write(&all[1], &bytes[0]).unwrap();
    assert!(bench.kinds().contains(&"manifest".to_owned()));
    fs::write(&all[1], &bytes[1]).unwrap();
    assert_eq!(bench.kinds(), [""; 0]);

    // The newest goes: no gap, but it was seen.
    fs::remove_file(&all[2]).unwrap();
    assert_eq!(bench.kinds(), ["rolled-back"]);
    assert_eq!(bench.kinds(), ["rolled-back"], "until someone has looked");
    fs::write(&all[2], &bytes[2]).unwrap();
    assert_eq!(bench.kinds(), [""; 0]);

    // A note that is changed explains nothing.
    let note = fs::read_dir(bench.store().join("blog/pruned")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replacen("\"tool\":\"wp", "\"tool\":\"xp", 1)).unwrap();
    let mut kinds = bench.kinds();
    kinds.sort();
    assert_eq!(kinds, ["missing", "note"]);
}

#[test]
fn a_lost_key_makes_a_full_snapshot_and_readers_must_be_told() {
    let bench = Bench::new();
    bench.snapshot(1);
    let old = bench.key();
    bench.trust(&[&old]);
    fs::remove_dir_all(bench.agent.path("state")).unwrap();
    let output = bench.agent.run(&["run-now", "--foreground"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let new = bench.key();
    assert!(new != old && text(&output).contains(&new), "{}", text(&output));
    let newest: Value = serde_json::from_slice(&fs::read(bench.manifests().pop().unwrap()).unwrap()).unwrap();
    // Where keys are named, an older one is still believed, and its snapshot is gone on from.
    assert!(newest["parent"].is_object(), "{newest}");
    let output = bench.restore("latest");
    assert_eq!(output.status.code(), Some(65));
    assert!(text(&output).contains(&new));
    bench.trust(&[&old, &new]);
    assert!(bench.restore("latest").status.success());
    assert_eq!(bench.kinds(), [""; 0]);

    // Where they aren't, the run takes nothing from what is there.
    bench.agent.configure(&bench.blog.server.socket(), &Store::Local(&bench.store()), "", "");
    fs::remove_dir_all(bench.agent.path("state")).unwrap();
    let output = bench.agent.run(&["run-now", "--foreground"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let newest: Value = serde_json::from_slice(&fs::read(bench.manifests().pop().unwrap()).unwrap()).unwrap();
    assert!(newest["parent"].is_null() && newest["previous"]["key"].as_str().unwrap().contains("/0000000002-"), "{newest}");
    assert_eq!(bench.kinds(), [""; 0], "the chain goes on");
}

#[test]
fn openssl_verifies_it_as_the_docs_say() {
    if !Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("not looked at: there is no openssl");
        return;
    }
    let bench = Bench::new();
    bench.snapshot(1);
    let docs = include_str!("../docs/FORMAT.md");
    let (_, rest) = docs.split_once("## Signatures").unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    fs::copy(bench.manifests().pop().unwrap(), bench.blog.dir.path().join("M.json")).unwrap();
    let run = |script: &str| Command::new("bash").args(["-c", script]).current_dir(bench.blog.dir.path()).output().unwrap();
    // xxd may be missing: perl does the same.
    let script = script.replace("xxd -r -p", "perl -pe 's/\\s//g; $_ = pack(\"H*\", $_)'");
    let output = run(&script);
    assert!(output.status.success() && text(&output).contains("Verified Successfully"), "{}", text(&output));
    fs::write(
        bench.blog.dir.path().join("M.json"),
        fs::read_to_string(bench.blog.dir.path().join("M.json")).unwrap().replace("blog", "blag"),
    )
    .unwrap();
    assert!(!run(&script).status.success());
}

#[test]
fn what_someone_puts_into_the_store_stops_neither_runs_nor_restores() {
    let bench = Bench::new();
    bench.snapshot(1);
    for (place, content) in [
        ("snapshots/9999999999-20261127T000000Z-0000000000000001.json", "{}"),
        ("snapshots/9999999998-20261127T000000Z-0000000000000002.json", "no JSON at all"),
        ("checkpoints/20261127T000000Z-0000000000000001.json", "{}"),
        ("checkpoints/anything.json", "{}"),
    ] {
        let path = bench.store().join("blog").join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    // With its local state, and without it.
    for seq in [2, 3] {
        let output = bench.agent.run(&["run-now", "--foreground"]);
        assert!([0, 3].contains(&output.status.code().unwrap()), "{}", text(&output));
        assert!(bench.restore(&seq.to_string()).status.success());
        let manifest = bench.agent.ok(&["snapshots", "show", &seq.to_string(), "--json"]);
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert!(manifest["parent"].is_object(), "{manifest}");
        fs::remove_dir_all(bench.agent.path("state/blog")).unwrap();
    }
}

/// As if all had been written at one time, long ago.
fn age(store: &std::path::Path) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(9 * 86_400);
    for entry in walkdir::WalkDir::new(store).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        fs::File::options().write(true).open(entry.path()).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn an_old_note_explains_what_it_explained_and_a_forged_one_never_does() {
    let bench = Bench::new();
    for n in 1..=5 {
        bench.snapshot(n);
    }
    bench.trust(&[&bench.key()]);
    bench.agent.ok(&["prune", "--keep-last", "3"]);
    age(&bench.store());
    bench.agent.ok(&["prune", "--keep-last", "3"]);
    assert_eq!(bench.kinds(), [""; 0], "the oldest names one that is gone");

    // Someone takes one away, and says that retention did.
    let taken = &bench.manifests()[1];
    let (key, hash) = (taken.strip_prefix(bench.store()).unwrap().display().to_string(), blake3::hash(&fs::read(taken).unwrap()));
    let note = serde_json::json!({"format": 1, "site": "blog", "id": "0000000000000009", "at": "2026-11-01T00:00:00Z", "tool": "t",
        "dropped": [{"key": key, "blake3": hash.to_hex().as_str()}], "packs": []});
    fs::write(bench.store().join("blog/pruned/20261101T000000Z-0000000000000009.json"), note.to_string()).unwrap();
    fs::remove_file(taken).unwrap();
    age(&bench.store());
    for keep in ["2", "1"] {
        assert!(bench.kinds().contains(&"missing".to_owned()));
        bench.snapshot(6);
        age(&bench.store());
        bench.agent.ok(&["prune", "--keep-last", keep, "--keep-within", "30d"]);
    }
    assert!(bench.kinds().contains(&"missing".to_owned()));
}
