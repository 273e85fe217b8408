//! What changed without a trace is found: a share of the files that look unchanged is read again in each run.

#![allow(clippy::unwrap_used)]

mod support;

use support::files_site::{FilesSite, SETTLED};
use wp_backup_agent::repository::entry::{FileEntry, FindingCode};
use wp_backup_agent::repository::ids::ChunkId;
use wp_backup_agent::repository::list::{ListFile, ListReader};

/// Makes local state believe that a file had another content: the same as a disk that gives another one now, its times as they were.
fn forge(site: &FilesSite, path: &str) {
    let state = site.state.path().join("blog");
    let id = std::fs::read_to_string(state.join("parent")).unwrap();
    let list = state.join("snapshots").join(id.trim()).join("files.zst");
    let entries: Vec<FileEntry> = ListReader::open(&list).unwrap().map(Result::unwrap).collect();
    let mut file = ListFile::create(&list).unwrap();
    for mut entry in entries {
        if entry.path.to_string() == path {
            entry.chunks[0].id = ChunkId::of(b"another content");
        }
        file.push(&entry).unwrap();
    }
    file.finish(false).unwrap();
}

#[test]
fn each_file_is_read_again_in_its_turn_and_another_content_is_named() {
    let content = tempfile::tempdir().unwrap();
    for n in 0..300 {
        std::fs::write(content.path().join(format!("{n}.txt")), format!("content {n}")).unwrap();
    }
    let mut site = FilesSite::of(1 << 24);
    site.adjust = Box::new(|settings| settings.reread = 3);
    std::thread::sleep(SETTLED);
    let whole = site.commits(content.path()).read;
    let read: Vec<u64> = (0..3).map(|_| site.commits(content.path()).read).collect();
    assert_eq!(read.iter().sum::<u64>(), whole, "in three runs each is read once: {read:?}");
    assert!(read.iter().all(|bytes| *bytes > whole / 6), "{read:?}");

    forge(&site, "7.txt");
    let mut found = Vec::new();
    for _ in 0..3 {
        let committed = site.commits(content.path());
        let (_, files, notes) = site.lists(committed.summary.seq);
        let named: Vec<_> = notes.into_iter().filter(|note| note.code == FindingCode::SilentChange).collect();
        if let Some(note) = named.first() {
            assert_eq!(note.subject.to_string(), "7.txt");
            // What the disk has now is in the snapshot.
            let entry = files.iter().find(|entry| entry.path.to_string() == "7.txt").unwrap();
            assert_eq!(entry.chunks[0].id, ChunkId::of(b"content 7"));
        }
        found.extend(named);
    }
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn none_is_read_when_none_shall_be() {
    let content = tempfile::tempdir().unwrap();
    std::fs::write(content.path().join("a"), "a").unwrap();
    let site = FilesSite::of(1 << 24);
    std::thread::sleep(SETTLED);
    site.commits(content.path());
    assert_eq!(site.commits(content.path()).read, 0);
}
