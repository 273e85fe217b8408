//! What snapshots hold, seen without restoring them: ls, diff, find.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};

use support::agent::{Agent, Store, text};
use support::mariadb::MariaDb;

struct Site {
    _server: MariaDb,
    content: tempfile::TempDir,
    _kept: tempfile::TempDir,
    agent: Agent,
}

impl Site {
    fn new() -> Self {
        let server = MariaDb::start();
        server.client("CREATE DATABASE blog");
        let (content, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(kept.path()));
        Self { _server: server, content, _kept: kept, agent }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.content.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn snapshot(&self) {
        let output = self.agent.run(&["run-now", "--foreground"]);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output));
    }
}

#[test]
fn a_directory_of_a_snapshot_is_listed() {
    let site = Site::new();
    site.write("uploads/2026/a.jpg", "12345");
    site.write("uploads/b.txt", "b");
    site.write("uploads-old/c", "c");
    std::fs::write(site.content.path().join(OsStr::from_bytes(b"uploads/\xff%.bin")), "x").unwrap();
    symlink("b.txt", site.content.path().join("uploads/link")).unwrap();
    std::fs::set_permissions(site.content.path().join("uploads/b.txt"), PermissionsExt::from_mode(0o4755)).unwrap();
    site.snapshot();
    let agent = &site.agent;
    let names = |args: &[&str]| -> Vec<String> {
        let shown = agent.ok(&[&["snapshots", "ls", "latest"], args].concat());
        shown.lines().map(|line| line.splitn(7, char::is_whitespace).last().unwrap().to_owned()).collect()
    };
    let ends = |lines: &[String], names: &[&str]| {
        assert_eq!(lines.len(), names.len(), "{lines:?}");
        lines.iter().zip(names).for_each(|(line, name)| assert!(line.ends_with(name), "{line} {name}"));
    };
    ends(&names(&[]), &[" uploads", " uploads-old"]);
    ends(&names(&["uploads"]), &[" 2026", " b.txt", " link -> b.txt", " %FF%25.bin"]);
    ends(&names(&["/uploads/", "-R"]), &[" 2026", " 2026/a.jpg", " b.txt", " link -> b.txt", " %FF%25.bin"]);
    ends(&names(&["uploads/b.txt"]), &[" uploads/b.txt"]);
    ends(&names(&["uploads/%FF%25.bin"]), &[" uploads/%FF%25.bin"]);
    let shown = agent.ok(&["snapshots", "ls", "1", "uploads"]);
    assert!(shown.contains("-rwsr-xr-x") && shown.contains("drwx"), "{shown}");
    let json = agent.ok(&["snapshots", "ls", "1", "uploads/2026", "--json"]);
    let entry: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!((entry["path"].as_str(), entry["size"].as_u64()), (Some("uploads/2026/a.jpg"), Some(5)));
    assert_eq!(entry["content"].as_str().unwrap().len(), 64);
    let missing = agent.run(&["snapshots", "ls", "1", "nowhere"]);
    assert_eq!(missing.status.code(), Some(66), "{}", text(&missing));
}

#[test]
fn two_snapshots_are_compared() {
    let site = Site::new();
    for n in 0..500 {
        site.write(&format!("plugins/p{n:03}/index.php"), &format!("plugin {n}"));
    }
    site.write("uploads/gone.txt", "gone");
    site.write("uploads/changed.txt", "before");
    site.write("uploads/mode.txt", "mode");
    site.snapshot();
    std::fs::remove_file(site.content.path().join("uploads/gone.txt")).unwrap();
    site.write("uploads/changed.txt", "after!");
    site.write("uploads/new.txt", "new");
    std::fs::set_permissions(site.content.path().join("uploads/mode.txt"), PermissionsExt::from_mode(0o600)).unwrap();
    site.snapshot();
    let shown = site.agent.ok(&["snapshots", "diff", "1", "2"]);
    let lines: Vec<_> = shown.lines().collect();
    let expected = [
        "m uploads/",
        "c uploads/changed.txt  (6 B -> 6 B)",
        "- uploads/gone.txt  (4 B)",
        "m uploads/mode.txt",
        "+ uploads/new.txt  (3 B)",
    ];
    assert_eq!(lines[..lines.len() - 1], expected, "{shown}");
    assert!(lines.last().unwrap().starts_with("1 added, 1 removed, 1 with another content, 2 with another mode"), "{shown}");
    let json = site.agent.ok(&["snapshots", "diff", "1", "2", "--json"]);
    let values: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((values[1]["path"].as_str(), values[1]["change"].as_str()), (Some("uploads/changed.txt"), Some("content")));
    assert_eq!(values.last().unwrap()["totals"]["added"], 1);
    let back = site.agent.ok(&["snapshots", "diff", "2", "1"]);
    assert!(back.contains("+ uploads/gone.txt") && back.contains("- uploads/new.txt"), "{back}");
    let same = site.agent.ok(&["snapshots", "diff", "2", "latest"]);
    assert_eq!(same.lines().count(), 1, "{same}");
}

#[test]
fn a_path_is_found_in_all_snapshots_that_have_it() {
    let site = Site::new();
    site.write("wp.php", "stays");
    for content in [Some("one"), Some("one"), Some("other"), None, Some("other")] {
        match content {
            Some(content)
                if std::fs::read_to_string(site.content.path().join("uploads/a.jpg")).ok().as_deref() != Some(content) =>
            {
                site.write("uploads/a.jpg", content);
            }
            Some(_) => {}
            None => std::fs::remove_file(site.content.path().join("uploads/a.jpg")).unwrap(),
        }
        site.snapshot();
    }
    let found = |args: &[&str]| -> Vec<String> {
        let shown = site.agent.ok(&[&["snapshots", "find"], args].concat());
        shown.lines().map(str::to_owned).collect()
    };
    let first = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    let lines = found(&["*.jpg"]);
    assert_eq!(first(&lines), ["5", "3", "1-2"], "{lines:?}");
    let id = blake3::hash(b"one").to_hex();
    assert!(lines[2].contains(&id[..8]) && lines[2].ends_with(" uploads/a.jpg"), "{lines:?}");
    assert_eq!(first(&found(&["wp.php"])), ["1-5"]);
    assert_eq!(first(&found(&["wp.php", "--snapshot", "3"])), ["3"]);
    let json = found(&["*.jpg", "--json"]);
    let hit: serde_json::Value = serde_json::from_str(&json[2]).unwrap();
    assert_eq!((hit["first"].as_u64(), hit["last"].as_u64(), hit["content"].as_str()), (Some(1), Some(2), Some(id.as_str())));
    let nothing = site.agent.run(&["snapshots", "find", "*.nope"]);
    assert_eq!(nothing.status.code(), Some(66), "{}", text(&nothing));
}
