//! Manifests, lists and packs as nobody should write them: each is refused or restored, without a panic, without much memory, and without a
//! byte outside of the target.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use support::bare_site::manifests_in;
use support::files_site::{FilesSite, layout};
use support::small_site::noise;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::progress::Silent;
use wp_backup_agent::repository::verify::{Level, Share, Verify};
use wp_backup_agent::restore::Restore;
use wp_backup_agent::storage::LocalStore;

struct Bench {
    site: FilesSite,
    dir: tempfile::TempDir,
    /// The manifest's path, and the manifest without its signature.
    path: PathBuf,
    manifest: Value,
    cases: u64,
    refused: u64,
}

impl Bench {
    fn new() -> Self {
        let (site, dir) = (FilesSite::of(100 << 20), tempfile::tempdir().unwrap());
        let content = dir.path().join("content");
        fs::create_dir_all(content.join("uploads/2026")).unwrap();
        for n in 0..5 {
            fs::write(content.join(format!("uploads/2026/{n}.bin")), noise(3000, n)).unwrap();
        }
        fs::hard_link(content.join("uploads/2026/1.bin"), content.join("uploads/again.bin")).unwrap();
        std::os::unix::fs::symlink("uploads", content.join("link")).unwrap();
        site.commits(&content);
        let path = manifests_in(site.kept.path()).pop().unwrap();
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let fields = manifest.as_object_mut().unwrap();
        fields.remove("signer");
        fields.remove("signature");
        // What a path that climbs out of the target would come to.
        fs::create_dir_all(dir.path().join("outside/target")).unwrap();
        fs::write(dir.path().join("outside/x"), "as it was").unwrap();
        Self { site, dir, path, manifest, cases: 0, refused: 0 }
    }

    fn write(&self, bytes: &[u8]) {
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, bytes).unwrap();
    }

    /// Restores, into an empty directory and over what is there, and verifies.
    fn goes_well(&mut self, what: &str) {
        let (outside, store) = (self.dir.path().join("outside"), Arc::new(LocalStore::new(self.site.kept.path().to_owned())));
        let target = outside.join("target");
        let mut refused = false;
        for overwrite in [false, true] {
            if !overwrite {
                fs::remove_dir_all(&target).unwrap();
                fs::create_dir(&target).unwrap();
            }
            refused |= self.site.wait(async {
                let Ok(mut restore) =
                    Restore::open(store.clone(), layout(), "1", Arc::new(Silent), CancellationToken::new()).await
                else {
                    return true;
                };
                let files = restore.files(&target, overwrite).await.is_err();
                restore.sql(&mut std::io::sink(), &Default::default(), &Default::default()).await.is_err() || files
            });
        }
        let verify = Verify {
            store,
            layout: layout(),
            trusted: Default::default(),
            identities: Default::default(),
            level: Level::Read(Share::ALL),
            own: None,
            seen: None,
            known_bad: Default::default(),
            cancel: CancellationToken::new(),
        };
        self.site.wait(verify.run()).unwrap_or_else(|error| panic!("{what}: verify: {error}"));
        let mut names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert!(
            names == ["target", "x"] && fs::read(outside.join("x")).unwrap() == b"as it was",
            "{what} wrote outside: {names:?}"
        );
        self.cases += 1;
        self.refused += u64::from(refused);
    }

    /// A snapshot whose list of files is this.
    fn with_list(&self, lines: &[Value]) -> Value {
        let content: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let frame = zstd::bulk::compress(&[&[0; 512][..], &content].concat(), 1).unwrap();
        let name = blake3::hash(&frame).to_hex().to_string();
        let path = self.site.kept.path().join(format!("blog/packs/{}/{name}.tar.zst", &name[..2]));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &frame).unwrap();
        let mut manifest = self.manifest.clone();
        manifest["files"] = json!([{"id": blake3::hash(&content).to_hex().to_string(), "size": content.len(), "pack": name, "frame": [0, frame.len()], "at": 512}]);
        manifest["packs"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": name, "size": frame.len(), "sha256": "00".repeat(32), "live": 1}));
        manifest["counts"]["file_entries"] = json!(lines.len());
        let files = lines.iter().filter(|line| line["kind"] == "file");
        manifest["counts"]["file_bytes"] = json!(files.filter_map(|line| line["size"].as_u64()).fold(0, u64::wrapping_add));
        manifest
    }
}

/// Each place of a value, one of each kind: of an array the first element stands for all.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.push(format!("{at}/{name}"));
            places(value, &format!("{at}/{name}"), found);
        }),
        Value::Array(items) => items.iter().take(1).for_each(|item| {
            found.push(format!("{at}/0"));
            places(item, &format!("{at}/0"), found);
        }),
        _ => {}
    }
}

fn nasty() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![json!(null), json!(-1), json!(u64::MAX), json!(""), json!("../x"), json!("0".repeat(64)), json!([]), json!({}), deep]
}

#[test]
fn whatever_stands_in_a_manifest() {
    let mut bench = Bench::new();
    let mut all = Vec::new();
    places(&bench.manifest, "", &mut all);
    for place in &all {
        for value in nasty() {
            let mut manifest = bench.manifest.clone();
            *manifest.pointer_mut(place).unwrap() = value.clone();
            bench.write(manifest.to_string().as_bytes());
            bench.goes_well(&format!("{place} = {value}"));
        }
    }
    let text = bench.manifest.to_string();
    let deep = format!("{{\"format\":1,\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in [
        "",
        "{",
        "[]",
        "null",
        "{\"format\":1}",
        "{\"format\":2}",
        "{\"format\":18446744073709551615}",
        &text[..text.len() / 2],
        &deep,
    ] {
        bench.write(odd.as_bytes());
        bench.goes_well(&odd.chars().take(40).collect::<String>());
    }
    println!("{} malformed manifests, {} refused", bench.cases, bench.refused);
    assert!(bench.cases > 300 && bench.refused > 100 && bench.refused < bench.cases);
    peak_is_small();
}

#[test]
fn whatever_stands_in_a_list() {
    let mut bench = Bench::new();
    let (_, files, _) = bench.site.lists(1);
    let entries: Vec<Value> = files.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect();
    let root = entries[0].clone();
    let file = entries.iter().find(|entry| entry["path"] == "uploads/2026/0.bin").unwrap().clone();
    let link = entries.iter().find(|entry| entry["kind"] == "symlink").unwrap().clone();
    let named = |entry: &Value, path: &str| {
        let mut entry = entry.clone();
        entry["path"] = json!(path);
        entry
    };
    let mut lists: Vec<(String, Vec<Value>)> = Vec::new();
    for path in [
        "..",
        "../x",
        "/x",
        "/etc/passwd",
        "a/../../x",
        "./x",
        "a/./x",
        "a//x",
        "a/",
        ".",
        "%00",
        "a%00b",
        "%2e%2e/x",
        "%2E%2E%2Fx",
        "%2Fx",
        "%",
        "%zz",
        "x%",
        "\u{202e}x",
    ] {
        lists.push((format!("path {path}"), vec![root.clone(), named(&file, path)]));
    }
    lists.push(("a long path".into(), vec![root.clone(), named(&file, &"a".repeat(5000))]));
    lists.push(("a long way".into(), vec![root.clone(), named(&file, &"a/".repeat(3000))]));
    // A link out of the target, and what would be written through it.
    for target in ["..", "../", "/", "../x", "."] {
        let mut out = named(&link, "d");
        out["target"] = json!(target);
        lists.push((format!("through a link to {target}"), vec![root.clone(), out.clone(), named(&file, "d/x")]));
        let (mut dir, through) = (named(&root, "d"), named(&file, "d/x"));
        dir["mode"] = json!(0o755);
        lists.push((format!("a directory that is a link to {target}, too"), vec![root.clone(), dir, out, through]));
    }
    lists.push(("twice".into(), vec![root.clone(), named(&file, "x"), named(&file, "x")]));
    lists.push(("out of order".into(), vec![root.clone(), named(&file, "y"), named(&file, "x")]));
    lists.push(("no root".into(), vec![named(&file, "x")]));
    lists.push(("nothing".into(), vec![]));
    for entry in [&root, &file, &link] {
        let mut all = Vec::new();
        places(entry, "", &mut all);
        for place in all {
            for value in nasty().into_iter().chain([json!(1u64 << 40), json!([[0, u64::MAX]]), json!([[5, 3], [0, 9]])]) {
                let mut entry = entry.clone();
                *entry.pointer_mut(&place).unwrap() = value.clone();
                let list = if entry["path"] == json!("") {
                    vec![entry]
                } else {
                    vec![root.clone(), named(&root, "uploads"), named(&root, "uploads/2026"), entry]
                };
                lists.push((format!("{place} = {value}"), list));
            }
        }
    }
    // As it is, it restores.
    bench.write(bench.with_list(&entries).to_string().as_bytes());
    bench.goes_well("the list as it is");
    assert_eq!(bench.refused, 0);
    for (what, list) in lists {
        let manifest = bench.with_list(&list);
        bench.write(manifest.to_string().as_bytes());
        bench.goes_well(&what);
    }
    println!("{} malformed lists, {} refused", bench.cases, bench.refused);
    assert!(bench.cases > 300 && bench.refused > 150 && bench.refused < bench.cases);
    peak_is_small();
}

#[test]
fn whatever_stands_in_a_pack() {
    let mut bench = Bench::new();
    bench.write(bench.manifest.to_string().as_bytes());
    let name = bench.manifest["files"][0]["pack"].as_str().unwrap().to_owned();
    let path = bench.site.kept.path().join(format!("blog/packs/{}/{name}.tar.zst", &name[..2]));
    let whole = fs::read(&path).unwrap();
    let put = |path: &Path, bytes: &[u8]| {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).unwrap();
    };
    let step = whole.len() / 150 + 1;
    // The frames' headers and the trailer byte by byte, the rest by steps.
    let flips = (0..20).chain((20..whole.len()).step_by(step)).chain(whole.len() - 40..whole.len());
    for at in flips {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        put(&path, &bytes);
        bench.goes_well(&format!("byte {at}"));
    }
    for length in [0, 1, 31, 32, 100, whole.len() / 2, whole.len() - 1] {
        put(&path, &whole[..length]);
        bench.goes_well(&format!("{length} bytes"));
    }
    // The table of contents' place: beyond all bounds.
    for numbers in [[u64::MAX, u64::MAX], [0, u64::MAX], [u64::MAX, 1], [0, 0], [whole.len() as u64, 10], [1 << 40, 1 << 40]] {
        let mut bytes = whole.clone();
        let at = bytes.len() - 24;
        bytes[at..at + 8].copy_from_slice(&numbers[0].to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&numbers[1].to_le_bytes());
        put(&path, &bytes);
        bench.goes_well(&format!("{numbers:?}"));
    }
    println!("{} malformed packs, {} refused", bench.cases, bench.refused);
    assert!(bench.cases > 150 && bench.refused > 50);
    peak_is_small();
}

/// The most memory that this process has had: far from what the lengths in these objects ask for.
fn peak_is_small() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak: {} MiB", kib >> 10);
    assert!(kib < 1 << 20, "{kib} KiB");
}
