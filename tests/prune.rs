//! `prune` as a person calls it, on a store that is a directory.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["store", "content", "state"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "[store]\nurl = \"file://{}\"\n[daemon]\nstate = \"{}\"\n[[site]]\nname = \"blog\"\ncontent_dir = \"{}\"\ntable_prefix = \"wp_\"\n\
             [site.database]\nsocket = \"/nonexistent\"\nuser = \"wp\"\nname = \"wp\"\n",
            at("store"),
            at("state"),
            at("content"),
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        Self(dir)
    }

    fn write(&self, key: &str, bytes: &[u8], days: u64) {
        let path = self.store().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60)).unwrap();
    }

    fn snapshot(&self, seq: u64, pack: &str, days: u64) {
        let (id, name) = (format!("{seq:016x}"), pack.repeat(64));
        let time = "2026-11-01T02:00:00Z";
        let manifest = json!({
            "format": 1, "site": "blog", "id": id, "seq": seq, "parent": null,
            "times": {"started": time, "point_in_time": time, "finished": time},
            "tool": "t", "trigger": "schedule", "server": {"flavour": "", "version": "", "consistency": ""},
            "recipients": [], "status": "complete", "findings": {},
            "counts": {"file_entries": 0, "file_bytes": 0, "tables": 0, "rows": 0, "sql_bytes": 0},
            "uploaded": {"packs": 0, "bytes": 0}, "files": [], "tables": [], "notes": [],
            "packs": [{"name": name, "size": 4, "sha256": "", "live": 4}],
        });
        self.write(&format!("blog/packs/{}/{name}.tar.zst", &name[..2]), b"pack", days);
        self.write(&format!("blog/snapshots/{seq:010}-20261101T020000Z-{id}.json"), manifest.to_string().as_bytes(), days);
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn prune(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wp-backup-agent"));
        command.arg("--config").arg(self.0.path().join("config.toml")).arg("prune").args(arguments).output().unwrap()
    }

    fn count(&self, of: &str) -> usize {
        let walk = walkdir::WalkDir::new(self.store().join(Path::new("blog")).join(of)).into_iter();
        walk.filter_map(Result::ok).filter(|entry| entry.file_type().is_file()).count()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_anything_to_keep_it_is_a_wrong_command() {
    let bench = Bench::new();
    bench.snapshot(1, "a", 30);
    let output = bench.prune(&["--dry-run"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("--keep-within"), "{}", text(&output.stderr));
    for wrong in [["--keep-last", "0"], ["--keep-within", "1y"], ["--keep-daily", "x"]] {
        assert_eq!(bench.prune(&wrong).status.code(), Some(64));
    }
    assert_eq!(bench.prune(&["--keep-last", "1", "--site", "none"]).status.code(), Some(64));
    assert_eq!(bench.count("snapshots"), 1);
}

#[test]
fn it_says_what_goes_and_why_and_then_does_it() {
    let bench = Bench::new();
    for (seq, pack, days) in [(1, "a", 40), (2, "b", 39), (3, "c", 2), (4, "d", 1)] {
        bench.snapshot(seq, pack, days);
    }
    bench.write(&format!("blog/packs/ee/{}.tar.zst", "e".repeat(64)), b"nobody's", 20);
    let output = bench.prune(&["--keep-within", "7d", "--keep-weekly", "2", "--dry-run"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("no rule keeps it") && said.contains("within") && said.contains("newest"), "{said}");
    assert!(said.contains("would go now: 1 pack (8 B)") && said.contains(&"e".repeat(64)), "{said}");
    assert_eq!((bench.count("snapshots"), bench.count("packs"), bench.count("pruned")), (4, 5, 0));

    let output = bench.prune(&["--keep-within", "7d", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["done"]["snapshots"], 2);
    assert_eq!(answer["done"]["packs"]["bytes"], 8);
    assert_eq!(answer["snapshots"][0]["stays"], false);
    assert_eq!(answer["snapshots"][3]["why"], json!(["newest", "within"]));
    assert_eq!((bench.count("snapshots"), bench.count("packs"), bench.count("pruned")), (2, 4, 1));
}

#[test]
fn a_manifest_that_cannot_be_read_stops_it_by_name() {
    let bench = Bench::new();
    bench.snapshot(1, "a", 30);
    bench.snapshot(2, "b", 1);
    let key = format!("blog/snapshots/0000000001-20261101T020000Z-{:016x}.json", 1);
    bench.write(&key, b"{\"format\":1,\"si", 30);
    let output = bench.prune(&["--keep-last", "1"]);
    assert_eq!(output.status.code(), Some(65));
    assert!(text(&output.stderr).contains(&key), "{}", text(&output.stderr));
    assert_eq!((bench.count("snapshots"), bench.count("packs")), (2, 2));
}
