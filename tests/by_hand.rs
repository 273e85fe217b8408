//! The restore-by-hand script against stores that are written here byte by byte, as docs/FORMAT.md says.

#![allow(clippy::unwrap_used)] // clippy knows tests by #[test], not helpers beside them

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::compare::same_tree;

/// One pack, and the manifest that is made of it.
#[derive(Default)]
struct Fixture {
    tar: Vec<(String, Vec<u8>)>,
    files: Vec<String>,
    tables: Vec<String>,
    sql_bytes: usize,
}

impl Fixture {
    fn chunk(&mut self, content: &[u8]) -> Value {
        let id = blake3::hash(content).to_hex().to_string();
        self.tar.push((id.clone(), content.to_vec()));
        json!({"id": id, "size": content.len(), "pack": "0".repeat(64), "frame": [0, 0], "at": 0})
    }

    fn file(&mut self, path: &str, kind: &str, more: Value) {
        let mut entry = json!({"path": path, "kind": kind, "size": 0, "mode": 0o755, "uid": 0, "gid": 0,
            "mtime": 1_600_000_000_000_000_001_i64, "ctime": 0, "inode": 1});
        let owner = rustix::process::geteuid().as_raw();
        entry["uid"] = owner.into();
        entry["gid"] = rustix::process::getegid().as_raw().into();
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.files.push(entry.to_string());
    }

    fn sql(&mut self, sql: &str) {
        let chunk = self.chunk(sql.as_bytes());
        self.sql_bytes += sql.len();
        self.tables.push(json!({"item": "rows", "name": "t", "chunk": chunk}).to_string());
    }

    /// Every entry of a real tree.
    fn tree(&mut self, root: &Path) {
        for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            let path = entry.path().strip_prefix(root).unwrap();
            let mut more = json!({"mode": meta.mode() & 0o7777, "uid": meta.uid(), "gid": meta.gid(),
                "mtime": meta.mtime() * 1_000_000_000 + meta.mtime_nsec()});
            let kind = if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                more["target"] = escape(target.as_os_str()).into();
                "symlink"
            } else if meta.is_dir() {
                "dir"
            } else {
                let content = std::fs::read(entry.path()).unwrap();
                more["chunks"] = content.chunks(5).map(|piece| self.chunk(piece)).collect();
                more["size"] = content.len().into();
                "file"
            };
            self.file(&escape(path.as_os_str()), kind, more);
        }
    }

    fn write(mut self, store: &Path) {
        let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (count, files, tables) = (self.files.len(), lines(&self.files), lines(&self.tables));
        let (first, second) = files.as_bytes().split_at(files.len() / 2);
        let (files, tables) = ([self.chunk(first), self.chunk(second)], [self.chunk(tables.as_bytes())]);
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in self.tar.iter().chain([&("toc.json".to_owned(), b"{}".to_vec())]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // As a forger would: without the library's checks.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_slice()).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let (first, second) = tar.split_at(tar.len() / 1024 * 512);
        let pack = [first, second].map(|frame| zstd::encode_all(frame, 3).unwrap()).concat();
        let name = blake3::hash(&pack).to_hex().to_string();
        let packs = store.join("blog/packs").join(&name[..2]);
        std::fs::create_dir_all(&packs).unwrap();
        std::fs::write(packs.join(format!("{name}.tar.zst")), pack).unwrap();
        let manifest = json!({"format": 1, "recipients": [], "counts": {"file_entries": count, "sql_bytes": self.sql_bytes}, "files": files,
            "tables": tables, "notes": [], "packs": [{"name": name}]});
        let snapshots = store.join("blog/snapshots");
        std::fs::create_dir_all(&snapshots).unwrap();
        std::fs::write(snapshots.join("0000000001-20261121T023005Z-0707070707070707.json"), manifest.to_string()).unwrap();
    }
}

fn escape(name: &OsStr) -> String {
    wp_backup_agent::repository::byte_text::ByteText::from(name.as_bytes()).to_string()
}

fn restore(store: &Path, arguments: &[&OsStr]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/restore-by-hand");
    Command::new(script).arg(store).arg("blog").args(arguments).output().unwrap()
}

fn refusal(store: &Path, target: &Path) -> String {
    let output = restore(store, &["--files".as_ref(), target.as_ref()]);
    assert!(!output.status.success(), "it must not succeed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A fixture whose root directory is there.
fn fixture() -> Fixture {
    let mut fixture = Fixture::default();
    fixture.file("", "dir", json!({}));
    fixture.sql("SELECT 1;\n");
    fixture
}

#[test]
fn a_tree_of_hard_names_and_a_database_come_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, store, target) = (scratch.path().join("source"), scratch.path().join("store"), scratch.path().join("new/copy"));
    std::fs::create_dir_all(source.join("d/e")).unwrap();
    let names: [&[u8]; 9] = [
        b"caf\xe9",
        b"-rf",
        b" space ",
        b"line\nend\n",
        b"100%41",
        b"back\\x41slash\\",
        b"d/e/\x01\x1f\x7f",
        "日本".as_bytes(),
        b"d/*\"'$(x)",
    ];
    for (number, name) in names.iter().enumerate() {
        let path = source.join(OsStr::from_bytes(name));
        std::fs::write(&path, vec![b'\n'; number * 3]).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600 + u32::try_from(number).unwrap())).unwrap();
    }
    symlink(OsStr::from_bytes(b"/no\xffwhere\n"), source.join("-link")).unwrap();
    symlink("d", source.join("dir-link")).unwrap();
    std::fs::set_permissions(source.join("d/e"), PermissionsExt::from_mode(0o3750)).unwrap();
    std::fs::set_permissions(source.join("-rf"), PermissionsExt::from_mode(0o4711)).unwrap();
    let touch = |time: &str, name: &str| {
        let status = Command::new("touch").args(["-h", "-d", time, "--", name]).current_dir(&source).status();
        assert!(status.unwrap().success());
    };
    touch("@-1.250000001", " space ");
    touch("@1600000000.000000001", "-rf");
    touch("@0", "100%41");
    std::fs::set_permissions(source.join("d"), PermissionsExt::from_mode(0o500)).unwrap();

    let mut fixture = Fixture::default();
    fixture.tree(&source);
    fixture.sql("first\n");
    fixture.sql("second\n");
    fixture.sql("first\n");
    fixture.write(&store);
    let output = restore(&store, &["latest".as_ref(), "--sql".as_ref(), "-".as_ref(), "--files".as_ref(), target.as_ref()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "first\nsecond\nfirst\n");
    assert_eq!(same_tree(&source, &target), Ok(()));
    assert!(refusal(&store, &target).contains("is not empty"));
    for tree in [source, target] {
        // So that the scratch directory can be removed.
        std::fs::set_permissions(tree.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn what_would_leave_the_tree_is_refused() {
    for path in ["../out", "/out", "a/../../out", "a//b", "./a", "..", "%2e%2e/out", "..%2fout", "a/%2e/b", "%00", "a%0", "a\tb"]
    {
        let scratch = tempfile::tempdir().unwrap();
        let mut fixture = fixture();
        fixture.file("a", "dir", json!({}));
        fixture.file(path, "file", json!({}));
        fixture.write(&scratch.path().join("store"));
        refusal(&scratch.path().join("store"), &scratch.path().join("target/copy"));
        assert!(!scratch.path().join("target/out").exists() && !scratch.path().join("out").exists(), "{path}");
    }
}

#[test]
fn nothing_is_written_through_a_link_or_twice() {
    for (first, second) in [("symlink", "x/f"), ("symlink", "x"), ("file", "x"), ("dir", "x")] {
        let scratch = tempfile::tempdir().unwrap();
        let (outside, store) = (scratch.path().join("outside"), scratch.path().join("store"));
        std::fs::create_dir(&outside).unwrap();
        let mut fixture = fixture();
        let target = if first == "symlink" { json!({"target": outside.to_str().unwrap()}) } else { json!({}) };
        fixture.file("x", first, target);
        fixture.file(second, "file", json!({}));
        fixture.write(&store);
        refusal(&store, &scratch.path().join("copy"));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{first} {second}");
    }
}

#[test]
fn damage_is_named() {
    let damaged = |damage: &dyn Fn(&mut Fixture), after: &dyn Fn(&Path)| {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("store");
        let mut fixture = fixture();
        let chunk = fixture.chunk(b"content");
        fixture.file("f", "file", json!({"size": 7, "chunks": [chunk]}));
        damage(&mut fixture);
        fixture.write(&store);
        let pack = walkdir::WalkDir::new(store.join("blog/packs")).into_iter().flatten().find(|e| e.file_type().is_file());
        after(pack.unwrap().path());
        refusal(&store, &scratch.path().join("copy"))
    };
    let none = &|_: &Path| ();
    let untouched = &|_: &mut Fixture| ();
    let flip = |pack: &Path| {
        let mut bytes = std::fs::read(pack).unwrap();
        bytes[100] ^= 1;
        std::fs::write(pack, bytes).unwrap();
    };
    assert!(damaged(untouched, &flip).contains("is damaged"));
    assert!(damaged(untouched, &|pack| std::fs::remove_file(pack).unwrap()).contains("is missing"));
    assert!(damaged(&|fixture| fixture.tar[1].1[0] ^= 1, none).contains("chunk"));
    assert!(damaged(&|fixture| drop(fixture.tar.remove(1)), none).contains("is in no pack"));
    assert!(damaged(&|fixture| fixture.tar.push(("../evil".into(), vec![])), none).contains("is not a chunk"));
    let missized = |fixture: &mut Fixture| fixture.files[1] = fixture.files[1].replace("\"size\":7,\"uid", "\"size\":8,\"uid");
    assert!(damaged(&missized, none).contains("not as the list says"));
    let unknown =
        |fixture: &mut Fixture| fixture.files[1] = fixture.files[1].replace("\"kind\":\"file\"", "\"kind\":\"whiteout\"");
    assert!(damaged(&unknown, none).contains("unknown kind"));
}
