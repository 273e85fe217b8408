//! Every kind of damage to every kind of object: which level of `verify` finds it, what still restores, and whether the next backup heals.
//! The table of docs/VERIFY.md is what this finds; `DAMAGE_TABLE=write` writes it anew.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::agent::Agent;
use support::bare_site::{files_in, manifests_in};
use support::compare;
use support::small_blog::SmallBlog;
use support::small_site::noise;
use wp_backup_agent::config::SiteName;
use wp_backup_agent::repository::entry::{ChunkRef, FileEntry, TableEntry};
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::list::LineBuffer;
use wp_backup_agent::repository::manifest::Manifest;
use wp_backup_agent::repository::reader::ChunkReader;
use wp_backup_agent::storage::LocalStore;

const DAMAGE: [&str; 7] = ["flip", "truncate", "zero", "delete", "swap", "replay", "duplicate"];
const OBJECTS: [&str; 7] = ["pack", "manifest", "list chunk", "file chunk", "table chunk", "prune note", "receipt"];
const TABLE: &str = "docs/VERIFY.md";
const BEGIN: &str = "<!-- damage -->\n";
const END: &str = "<!-- /damage -->";

struct Bench {
    blog: SmallBlog,
    agent: Agent,
    /// The SQL of snapshots 3 and 4, and their trees.
    sql: [Vec<u8>; 2],
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

impl Bench {
    /// Four snapshots, of which two prunes have dropped two; a standby has left two receipts.
    fn new() -> Self {
        let blog = SmallBlog::new();
        let (agent, standby, content) = (blog.machine(), blog.machine(), blog.content());
        let mut bench = Self { blog, agent, sql: Default::default() };
        for n in 1..=4 {
            bench.blog.write(&format!("uploads/{n}.bin"), &noise(300_000, n));
            bench.blog.server.client(&format!("UPDATE blog.wp_posts SET post_title = 'In snapshot {n}' WHERE ID = {n}"));
            bench.agent.snapshot();
            if n > 2 {
                copy(&content, &bench.path(&format!("content-{n}")));
                bench.agent.ok(&["prune", "--keep-last", "2"]);
            }
        }
        for _ in 0..2 {
            standby.ok(&["verify", "--receipt", "standby-1"]);
            // Their names hold whole seconds.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        bench.sql = ["3", "4"].map(|n| bench.agent.run(&["restore", n, "--sql"]).stdout);
        // What it saw is remembered.
        bench.agent.ok(&["verify"]);
        copy(&bench.path("store"), &bench.path("store-whole"));
        copy(&bench.agent.path("state"), &bench.path("state-whole"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.blog.path(name)
    }

    fn make_whole(&self) {
        copy(&self.path("store-whole"), &self.path("store"));
        copy(&self.path("state-whole"), &self.agent.path("state"));
    }

    fn manifest(&self, at: usize) -> (PathBuf, Manifest) {
        let path = manifests_in(&self.path("store"))[at].clone();
        let manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, manifest)
    }

    fn pack(&self, name: &impl ToString) -> PathBuf {
        let name = name.to_string();
        self.path("store").join(format!("blog/packs/{}/{name}.tar.zst", &name[..2]))
    }

    fn notes(&self) -> Vec<PathBuf> {
        let mut notes = files_in(&self.path("store/blog/pruned"));
        // The last explains why the parent of the oldest snapshot is gone.
        notes.sort_by_key(|note| fs::read_to_string(note).unwrap().contains("/0000000002-"));
        notes
    }

    fn chunks(&self, manifest: &Manifest) -> [ChunkRef; 3] {
        let store = Arc::new(LocalStore::new(self.path("store")));
        let mut reader = ChunkReader::new(store, Layout::new(SiteName::new("blog").unwrap()), &manifest.packs);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut read = |pieces: &[ChunkRef]| {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| runtime.block_on(reader.read(piece)).unwrap().to_vec()).collect();
            let mut lines = LineBuffer::new("a list");
            lines.fill(&bytes::Bytes::from(bytes));
            lines
        };
        let (mut files, mut tables) = (read(&manifest.files), read(&manifest.tables));
        // What the oldest of all snapshots has sent, and those that are there share.
        let mut file = None;
        while let Some(entry) = files.next_entry::<FileEntry>().unwrap() {
            if entry.path.to_string() == "uploads/1.bin" {
                file = Some(entry.chunks[0]);
            }
        }
        let table = tables.next_entry::<TableEntry>().unwrap().unwrap();
        [manifest.files[0], file.unwrap(), table.chunk]
    }

    /// Does the damage; `None`: there is no such.
    fn damage(&self, what: &str, object: &str) {
        let ((older_path, _), (path, newest)) = (self.manifest(0), self.manifest(1));
        let [list, file, table] = self.chunks(&newest);
        let part = |chunk: ChunkRef| (self.pack(&chunk.pack), chunk.frame.0 as usize, (chunk.frame.0 + chunk.frame.1) as usize);
        match object {
            "pack" => {
                let path = self.pack(&file.pack);
                let other = newest.packs.iter().map(|pack| self.pack(&pack.name)).find(|other| *other != path).unwrap();
                let another_name = self.pack(&"ab".repeat(32));
                whole(what, &path, &other, &another_name);
            }
            "manifest" => {
                let name = path.file_name().unwrap().to_str().unwrap();
                whole(what, &path, &older_path, &path.with_file_name(name.replacen("0000000004", "0000000005", 1)));
            }
            "prune note" => named_by_time(what, &self.notes()),
            "receipt" => named_by_time(what, &files_in(&self.path("store/blog/standbys/standby-1"))),
            "list chunk" => inside(what, part(list)),
            "file chunk" => inside(what, part(file)),
            "table chunk" => inside(what, part(table)),
            _ => unreachable!(),
        }
    }

    fn verify(&self, level: &str) -> bool {
        let output = self.agent.run(&["verify", level]);
        match output.status.code() {
            Some(0) => false,
            Some(65) => true,
            other => panic!("verify {level} ended with {other:?}: {}", support::agent::text(&output)),
        }
    }

    /// Whether a snapshot restores; one that restores to anything else than it should be fails the test.
    fn restores(&self, snapshot: &str, sql: Option<&[u8]>, content: &Path) -> bool {
        let (target, output) = (self.path("target"), self.agent.run(&["restore", snapshot, "--sql"]));
        let _ = fs::remove_dir_all(&target);
        let mut whole = output.status.success();
        if let Some(sql) = sql.filter(|_| whole) {
            assert!(output.stdout == sql, "the SQL of {snapshot} is another");
        }
        let output = self.agent.run(&["restore", snapshot, "--files", target.to_str().unwrap()]);
        if output.status.success() {
            compare::same_tree(content, &target).unwrap();
        } else {
            assert!([65, 66].contains(&output.status.code().unwrap()), "{}", support::agent::text(&output));
            whole = false;
        }
        whole
    }

    /// A cell of the table.
    fn cell(&self, what: &str, object: &str) -> String {
        self.make_whole();
        self.damage(what, object);
        let record = self.agent.path("state/blog/verified.json");
        let found = ["structure", "checksums", "read"].into_iter().find(|level| {
            fs::copy(self.path("state-whole/blog/verified.json"), &record).unwrap();
            self.verify(&format!("--{level}"))
        });
        let older = self.restores("3", Some(&self.sql[0]), &self.path("content-3"));
        let newest = self.restores("4", Some(&self.sql[1]), &self.path("content-4"));
        let still = match (older, newest) {
            (true, true) => "all",
            (true, false) => "the older",
            (false, true) => "the newest",
            (false, false) => "none",
        };
        // What verify has found is known to the next run.
        let output = self.agent.run(&["run-now", "--foreground"]);
        assert!([0, 3].contains(&output.status.code().unwrap()), "{what} of {object}: {}", support::agent::text(&output));
        let heals = self.restores("latest", None, &self.path("content"));
        assert!(heals, "{what} of {object}: the next snapshot is not whole");
        format!("{}; {still}", found.unwrap_or("–"))
    }
}

/// Damage to the second of two objects of which the name is a time and an id.
fn named_by_time(what: &str, objects: &[PathBuf]) {
    let [older, object] = objects else { panic!("{objects:?}") };
    let name = object.file_stem().unwrap().to_str().unwrap();
    let another_name = object.with_file_name(format!("{}abcd.json", &name[..name.len() - 4]));
    whole(what, object, older, &another_name);
}

/// Damage to a whole object. `other` is one of the same kind.
fn whole(what: &str, path: &Path, other: &Path, another_name: &Path) {
    let (bytes, others) = (fs::read(path).unwrap(), fs::read(other).unwrap());
    let mut changed = bytes.clone();
    match what {
        // The end of a pack holds its table of contents.
        "flip" => {
            let at = changed.len() - 60;
            changed[at] ^= 1;
        }
        "truncate" => changed.truncate(bytes.len() / 2),
        "zero" => changed.fill(0),
        "delete" => return fs::remove_file(path).unwrap(),
        "swap" => {
            write(other, &bytes);
            changed = others;
        }
        "replay" => changed = others,
        "duplicate" => {
            fs::create_dir_all(another_name.parent().unwrap()).unwrap();
            return fs::write(another_name, &bytes).unwrap();
        }
        _ => unreachable!(),
    }
    write(path, &changed);
}

/// Damage to a frame inside a pack.
fn inside(what: &str, (path, start, end): (PathBuf, usize, usize)) {
    let mut bytes = fs::read(&path).unwrap();
    let frame = bytes[start..end].to_vec();
    // Of the same pack: what stands elsewhere.
    let elsewhere = if start >= frame.len() { 0 } else { end };
    match what {
        "flip" => bytes[(start + end) / 2] ^= 1,
        "truncate" => bytes.truncate((start + end) / 2),
        "zero" => bytes[start..end].fill(0),
        "delete" => drop(bytes.drain(start..end)),
        "swap" => {
            let length = frame.len().min(bytes.len() - elsewhere);
            let theirs = bytes[elsewhere..elsewhere + length].to_vec();
            bytes[start..start + length].copy_from_slice(&theirs);
            bytes[elsewhere..elsewhere + length].copy_from_slice(&frame[..length]);
        }
        "replay" => {
            let length = frame.len().min(bytes.len() - elsewhere);
            let theirs = bytes[elsewhere..elsewhere + length].to_vec();
            bytes[start..start + length].copy_from_slice(&theirs);
        }
        "duplicate" => drop(bytes.splice(end..end, frame)),
        _ => unreachable!(),
    }
    write(&path, &bytes);
}

fn write(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_kind_of_damage_is_found_and_healed() {
    let bench = Bench::new();
    for level in ["--structure", "--checksums", "--read"] {
        assert!(
            !bench.verify(level),
            "a whole store has a fault: {}",
            support::agent::text(&bench.agent.run(&["verify", level]))
        );
    }
    let mut table = format!("| | {} |\n|---|{}\n", DAMAGE.join(" | "), "---|".repeat(DAMAGE.len()));
    for object in OBJECTS {
        let cells = DAMAGE.map(|what| bench.cell(what, object));
        table += &format!("| {object} | {} |\n", cells.join(" | "));
    }
    println!("{} cells:\n{table}", DAMAGE.len() * OBJECTS.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    if std::env::var("DAMAGE_TABLE").is_ok_and(|value| value == "write") {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(documented, table, "{TABLE} is not what was found");
    }
}
