//! What is left out is not in the snapshot, is told with rule, files and bytes, and `files why` says the same of every path.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::agent::{Agent, Store};
use support::mariadb::MariaDb;
use support::small_site;

struct Site {
    agent: Agent,
    content: tempfile::TempDir,
    store: tempfile::TempDir,
    _server: MariaDb,
}

impl Site {
    /// A small site, with these lines in [[site]].
    fn new(lines: &str) -> Self {
        let server = MariaDb::start();
        let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        small_site::make(&server, "blog", content.path());
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
        agent.configure(&server.socket(), &Store::Local(store.path()), lines, "");
        Self { agent, content, store, _server: server }
    }

    fn write(&self, path: &str, bytes: usize) {
        let path = self.content.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&self.agent.ok(&["snapshots", "show", "latest", "--json"])).unwrap()
    }

    /// The list of findings, read from the store without the program.
    fn notes(&self) -> Vec<Value> {
        let mut list = Vec::new();
        for piece in self.manifest()["notes"].as_array().unwrap() {
            let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
            let pack = piece["pack"].as_str().unwrap();
            let path = self.store.path().join(format!("blog/packs/{}/{pack}.tar.zst", &pack[..2]));
            let (offset, length) = (number(&piece["frame"][0]), number(&piece["frame"][1]));
            let frame = unpacked(&std::fs::read(path).unwrap()[offset..offset + length]);
            let at = number(&piece["at"]);
            list.extend_from_slice(&frame[at..at + number(&piece["size"])]);
        }
        list.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// What `files why` says of a path, in any form.
    fn why(&self, path: &Path) -> Value {
        let output = self.agent.command(&["files", "why", "--json"]).arg(path).output().unwrap();
        assert!(output.status.success(), "{path:?}: {}", support::agent::text(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["api"], &told["site"]), (&json!(1), &json!("blog")));
        told["why"].clone()
    }
}

fn unpacked(frame: &[u8]) -> Vec<u8> {
    let mut zstd = Command::new("zstd").args(["-dcq"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, frame) = (zstd.stdin.take().unwrap(), frame.to_vec());
    let feed = std::thread::spawn(move || stdin.write_all(&frame));
    let output = zstd.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    output.stdout
}

fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    entries.map(|entry| entry.path().strip_prefix(root).unwrap().to_owned()).collect()
}

/// Entries that aren't directories, and the bytes of the regular ones, at and beneath a path.
fn weigh(path: &Path) -> (u64, u64) {
    let walk = walkdir::WalkDir::new(path).follow_root_links(false);
    let entries = walk.into_iter().map(|entry| entry.unwrap().path().symlink_metadata().unwrap());
    entries
        .filter(|entry| !entry.is_dir())
        .fold((0, 0), |(files, bytes), entry| (files + 1, bytes + if entry.is_file() { entry.len() } else { 0 }))
}

/// One thing that each kind of rule leaves out, and things that look alike.
fn fill(site: &Site) {
    for (path, bytes) in [
        ("cache/site/index.html", 4000),
        ("cache/site/deep/er/still/page.html", 60),
        ("cache/.htaccess", 5),
        ("updraft/backup.zip", 70_000),
        ("plugins/seo/vendor/symfony/cache/Cache.php", 11),
        ("plugins/seo/error_log", 900),
        ("plugins/a/error_log", 90),
        ("debug.log", 1234),
        ("uploads/film.mp4", 50_000),
        ("uploads/2026/second.mp4", 3),
        ("uploads/raw/a.nef", 77),
        ("uploads/raw/b/c.nef", 7),
        ("uploads/private/.donotbackup", 0),
        ("uploads/private/more/secret.txt", 42),
        ("uploads/fake/CACHEDIR.TAG", 60),
        ("uploads/half.part/kept-because-a-directory.txt", 8),
        ("uploads/upload.part", 13),
    ] {
        site.write(path, bytes);
    }
    let content = site.content.path();
    std::fs::create_dir_all(content.join("uploads/thumbs")).unwrap();
    std::fs::write(content.join("uploads/thumbs/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    std::os::unix::fs::symlink("site", content.join("cache/link")).unwrap();
    std::os::unix::fs::symlink("nowhere", content.join("uploads/link.mp4")).unwrap();
    std::fs::create_dir(content.join("cache/nothing")).unwrap();
    let open = std::fs::File::open(content).unwrap();
    rustix::fs::mknodat(&open, "a-fifo", rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    std::fs::write(content.join(OsStr::from_bytes(b"cache/\xff\xfe.html")), "bytes").unwrap();
    small_site::age(content);
}

#[test]
fn what_is_left_out_is_told_and_why_agrees_with_the_snapshot() {
    let site = Site::new("exclude = [\"*.mp4\", \"uploads/raw/\"]");
    fill(&site);
    site.agent.snapshot();
    let restored = site.agent.path("restored");
    site.agent.ok(&["restore", "latest", "--files", restored.to_str().unwrap()]);
    let (there, back) = (paths(site.content.path()), paths(&restored));
    assert!(back.is_subset(&there));

    // Each subject by name in the list of findings: rule, files, bytes, as counted by another program.
    let rules = BTreeMap::from([
        ("cache", ("default:cache/", "default:cache/")),
        ("updraft", ("default:updraft/", "default:updraft/")),
        ("plugins/seo/error_log", ("default:error_log", "default:error_log")),
        ("plugins/a/error_log", ("default:error_log", "default:error_log")),
        ("debug.log", ("default:/debug.log", "default:/debug.log")),
        ("uploads/film.mp4", ("own:*.mp4", "own:1")),
        ("uploads/link.mp4", ("own:*.mp4", "own:1")),
        ("uploads/2026/second.mp4", ("own:*.mp4", "own:1")),
        ("uploads/raw", ("own:uploads/raw/", "own:2")),
        ("uploads/private", ("marker:.donotbackup", "marker:.donotbackup")),
        ("uploads/thumbs", ("marker:CACHEDIR.TAG", "marker:CACHEDIR.TAG")),
        ("uploads/upload.part", ("default:*.part", "default:*.part")),
    ]);
    let notes: BTreeMap<String, Value> = site
        .notes()
        .into_iter()
        .filter(|note| note["code"] == "excluded")
        .map(|note| (note["subject"].as_str().unwrap().to_owned(), note))
        .collect();
    assert_eq!(notes.keys().map(String::as_str).collect::<Vec<_>>(), rules.keys().copied().collect::<Vec<_>>());
    let mut totals: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for (subject, (rule, public)) in &rules {
        let (files, bytes) = weigh(&site.content.path().join(subject));
        let note = json!({"code": "excluded", "subject": subject, "detail": rule, "rule": rule, "files": files, "bytes": bytes});
        assert_eq!(notes[*subject], note);
        let total = totals.entry(public).or_default();
        *total = (total.0 + 1, total.1 + files, total.2 + bytes);
    }
    // By rule in the manifest, which has no names.
    let totals: Vec<Value> = totals
        .iter()
        .map(|(rule, (subjects, files, bytes))| json!({"rule": rule, "subjects": subjects, "files": files, "bytes": bytes}))
        .collect();
    let manifest = site.manifest();
    assert_eq!(manifest["excluded"], Value::from(totals));
    let text = manifest.to_string();
    assert!(!text.contains("mp4") && !text.contains("raw") && !text.contains("private"), "{text}");
    let shown = site.agent.ok(&["snapshots", "show", "latest"]);
    assert!(shown.contains("default:updraft/: 1 file, 68.4 KiB, in 1 place"), "{shown}");
    assert!(shown.contains("own:1: 3 files, 48.8 KiB, in 3 places"), "{shown}");

    // Of every path of the tree the answer is what became of it.
    for path in &there {
        let why = site.why(path);
        let result = why["result"].as_str().unwrap();
        assert_eq!(why["exists"], true, "{path:?}: {why}");
        assert_eq!(result == "captured", back.contains(path), "{path:?}: {why}");
        match result {
            "captured" => {}
            "special-file" => assert_eq!(path, Path::new("a-fifo")),
            "left-out" => {
                let at = why["at"].as_str().unwrap();
                assert_eq!(why["rule"], rules[at].0, "{path:?}");
                assert!(path.starts_with(at), "{path:?}: {why}");
                assert!(!why["reason"].as_str().unwrap().is_empty());
            }
            other => panic!("{path:?}: {other}"),
        }
    }
}

#[test]
fn why_answers_of_any_path() {
    let site = Site::new("");
    fill(&site);
    let result = |path: &str| {
        let why = site.why(Path::new(path));
        let field = |name: &str| why[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", field("result"), field("rule"), why["exists"])
    };
    let content = site.content.path().to_str().unwrap();
    assert_eq!(result(&format!("{content}/uploads/film.mp4")), "captured - true");
    assert_eq!(result(&format!("{content}/cache/none")), "left-out default:cache/ false");
    assert_eq!(result(content), "captured - true");
    assert_eq!(result("ai1wm-backups"), "captured - false");
    assert_eq!(result("ai1wm-backups/"), "left-out default:ai1wm-backups/ false");
    assert_eq!(result("/etc/passwd"), "outside - true");
    assert_eq!(result("../wp-config.php"), "outside - false");
    assert_eq!(result("uploads/dangling/x"), "behind-link - false");
    let told = site.agent.ok(&["files", "why", "uploads/private/more/secret.txt", "--site", "blog"]);
    assert_eq!(
        told,
        "uploads/private/more/secret.txt: left out with uploads/private, by the rule marker:.donotbackup (a .donotbackup in a directory asks every backup to leave it out)\n"
    );
}

#[test]
fn without_the_defaults_only_own_patterns_count() {
    let site = Site::new("default_excludes = false\nexclude = [\"updraft/\"]");
    fill(&site);
    site.agent.snapshot();
    let manifest = site.manifest();
    assert_eq!(manifest["excluded"], json!([{"rule": "own:1", "subjects": 1, "files": 1, "bytes": 70_000}]));
    assert_eq!(site.why(Path::new("cache/.htaccess"))["result"], "captured");
    assert_eq!(site.why(Path::new("uploads/private/.donotbackup"))["result"], "captured");
}

#[test]
fn a_huge_cache_is_told_as_at_least_and_an_unchanged_one_uploads_nothing() {
    let site = Site::new("");
    let directory = site.content.path().join("cache/pages");
    std::fs::create_dir_all(&directory).unwrap();
    for n in 0..100_500 {
        std::fs::File::create(directory.join(format!("{n}.html"))).unwrap();
    }
    small_site::age(site.content.path());
    site.agent.snapshot();
    let manifest = site.manifest();
    // The directory itself is one of the entries that are looked at.
    let least = json!([{"rule": "default:cache/", "subjects": 1, "files": 99_999, "bytes": 0, "at_least": true}]);
    assert_eq!(manifest["excluded"], least);
    assert!(site.agent.ok(&["snapshots", "show", "latest"]).contains("default:cache/: at least 99,999 files, 0 B, in 1 place"));
    site.agent.snapshot();
    let again = site.manifest();
    assert_eq!(again["excluded"], least);
    assert_eq!((&again["seq"], &again["uploaded"]["packs"]), (&json!(2), &json!(0)));
}
