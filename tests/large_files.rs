//! A large file costs about what changed of it, and a directory that was renamed nothing but its names.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use support::files_site::FilesSite;
use support::roomy;
use support::small_site::noise;

const MB: u64 = 1_000_000;
const GB: u64 = 1000 * MB;

/// Bytes that don't compress.
fn pour(file: &mut File, bytes: u64, seed: u64) {
    for (n, at) in (0..bytes).step_by(1 << 20).enumerate() {
        file.write_all(&noise((bytes - at).min(1 << 20) as usize, (seed << 32) + n as u64)).unwrap();
    }
}

/// A run; the bytes that it sent, lists and manifest among them.
fn sent(site: &FilesSite, content: &Path, what: &str) -> u64 {
    site.recorder.take();
    let begun = Instant::now();
    let committed = site.commits(content);
    let sent: u64 = site.recorder.take().iter().filter(|call| call.request == "PUT").map(|call| call.bytes).sum();
    println!("{what}: {} MB read, {sent} bytes sent, {:.1?}", committed.read / MB, begun.elapsed());
    sent
}

/// The BLAKE3 of each file.
fn sums(tree: &Path) -> BTreeMap<PathBuf, String> {
    let files = walkdir::WalkDir::new(tree).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let sum = |entry: walkdir::DirEntry| {
        let mut hasher = blake3::Hasher::new();
        let (mut file, mut buffer) = (File::open(entry.path()).unwrap(), vec![0; 1 << 20]);
        while let Some(count) = Some(file.read(&mut buffer).unwrap()).filter(|count| *count > 0) {
            hasher.update(&buffer[..count]);
        }
        (entry.path().strip_prefix(tree).unwrap().to_owned(), hasher.finalize().to_hex().to_string())
    };
    files.map(sum).collect()
}

#[test]
fn an_append_an_insert_and_a_rename() {
    let (site, dir) = (FilesSite::of(2 * GB), roomy::directory(3 * GB));
    let content = dir.path().join("content");
    let films = content.join("uploads/films");
    std::fs::create_dir_all(&films).unwrap();
    let large = films.join("large.mp4");
    pour(&mut File::create(&large).unwrap(), GB, 1);
    assert!(sent(&site, &content, "1 GB") > GB);

    pour(&mut File::options().append(true).open(&large).unwrap(), MB, 2);
    let appended = sent(&site, &content, "1 MB appended");
    assert!(appended < 20 * MB, "{appended}");

    // At no boundary of anything.
    let (middle, new) = (GB / 2 + 7, dir.path().join("new"));
    let (mut from, mut to) = (File::open(&large).unwrap(), File::create(&new).unwrap());
    io::copy(&mut (&from).take(middle), &mut to).unwrap();
    pour(&mut to, MB, 3);
    from.seek(SeekFrom::Start(middle)).unwrap();
    io::copy(&mut from, &mut to).unwrap();
    drop((from, to));
    std::fs::rename(&new, &large).unwrap();
    assert_eq!(large.metadata().unwrap().len(), GB + 2 * MB);
    let inserted = sent(&site, &content, "1 MB inserted");
    assert!(inserted < 20 * MB, "{inserted}");

    for n in 0..200 {
        pour(&mut File::create(films.join(format!("{n}.jpg"))).unwrap(), 5 * MB, 100 + n);
    }
    let more = sent(&site, &content, "1 GB more, in 200 files");
    assert!((GB..GB + 20 * MB).contains(&more), "{more}");
    std::fs::rename(&films, content.join("uploads/cinema")).unwrap();
    let renamed = sent(&site, &content, "a directory of 2 GB renamed");
    assert!(renamed < MB, "{renamed}");

    // The source goes before it comes back: two of it and the store would take much disk.
    let expected = sums(&content);
    std::fs::remove_dir_all(&content).unwrap();
    let restored = dir.path().join("restored");
    site.restore(5, &restored);
    assert!(sums(&restored) == expected, "the last snapshot does not restore byte for byte");
    assert_eq!(expected.len(), 201);
}
