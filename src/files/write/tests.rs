use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::error::{Exit, Explain};
use crate::files::testing::as_nobody;
use crate::files::{Rules, Walked};

fn entry(kind: FileKind, path: &[u8]) -> FileEntry {
    FileEntry {
        path: ByteText::from(path),
        kind,
        size: 0,
        mode: if kind == FileKind::Dir { 0o755 } else { 0o644 },
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: None,
        group: None,
        mtime: 1_600_000_000_123_456_789,
        ctime: 0,
        inode: 0,
        target: None,
        flags: Vec::new(),
        chunks: Vec::new(),
    }
}

fn root() -> FileEntry {
    entry(FileKind::Dir, b"")
}

fn dir(path: &str) -> FileEntry {
    entry(FileKind::Dir, path.as_bytes())
}

fn file(path: &str, size: u64) -> FileEntry {
    FileEntry { size, ..entry(FileKind::File, path.as_bytes()) }
}

fn link(path: &str, target: &str) -> FileEntry {
    FileEntry { target: Some(ByteText::from(target)), ..entry(FileKind::Symlink, path.as_bytes()) }
}

/// Writes entries, each file full of `x`.
fn put(writer: &mut TreeWriter, entries: &[FileEntry]) -> Result<(), FilesError> {
    for entry in entries {
        if let Some(mut file) = writer.begin(entry)? {
            file.write(&vec![b'x'; entry.size as usize])?;
            writer.finish_file(file)?;
        }
    }
    Ok(())
}

fn restore(target: &Path, overwrite: bool, entries: &[FileEntry]) -> Result<WriteStats, FilesError> {
    let mut writer = TreeWriter::create(target, overwrite)?;
    put(&mut writer, entries)?;
    writer.finish()
}

fn walk(root: &Path) -> Vec<FileEntry> {
    let rules = Rules::new(false, &[]).unwrap();
    let mut entries = Vec::new();
    for walked in Tree::open(root).unwrap().walk(&rules) {
        if let Walked::Entry(entry) = walked.unwrap() {
            entries.push(entry);
        }
    }
    entries
}

fn target() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("parent/target");
    (dir, target)
}

#[test]
fn what_is_written_is_walked_the_same() {
    let (_keep, source) = target();
    fs::create_dir_all(source.join("closed/sub")).unwrap();
    fs::write(source.join("closed/sub/file"), "xxx").unwrap();
    fs::write(source.join(std::ffi::OsStr::from_bytes(b"name \xff\x01%")), "xx").unwrap();
    fs::write(source.join("empty"), "").unwrap();
    fs::write(source.join("suid"), "x").unwrap();
    symlink("../../nowhere", source.join("closed/link")).unwrap();
    for (path, mode) in [("suid", 0o4751), ("closed/sub/file", 0o400), ("closed/sub", 0o500), ("closed", 0o1500), ("", 0o2770)] {
        fs::set_permissions(source.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let entries = walk(&source);
    let (_keep, target) = target();
    let stats = restore(&target, false, &entries).unwrap();
    assert_eq!(stats, WriteStats { files: 4, dirs: 3, symlinks: 1, bytes: 6, owners_not_set: 0 });
    let plain = |entries: Vec<FileEntry>| -> Vec<FileEntry> {
        entries.into_iter().map(|entry| FileEntry { ctime: 0, inode: 0, ..entry }).collect()
    };
    assert_eq!(plain(walk(&target)), plain(entries));
    assert_eq!(fs::read(target.join("closed/sub/file")).unwrap(), b"xxx");
}

#[test]
fn a_tree_deeper_than_a_path_can_be() {
    let (_keep, target) = target();
    let mut entries = vec![root()];
    let mut path = String::new();
    for _ in 0..60 {
        path = format!("{path}{}{}", if path.is_empty() { "" } else { "/" }, "d".repeat(100));
        entries.push(FileEntry { mode: 0o500, ..dir(&path) });
    }
    entries.push(file(&format!("{path}/leaf"), 5));
    // One more on the way back, at each level, deepest first.
    for depth in (1..60).rev() {
        entries.push(file(&format!("{}/z", &path[..depth * 101 - 1]), 1));
    }
    let stats = restore(&target, false, &entries).unwrap();
    assert_eq!((stats.files, stats.dirs), (60, 61));
    let walked = walk(&target);
    assert_eq!(walked.len(), entries.len());
    assert!(walked.iter().zip(&entries).all(|(a, b)| (&a.path, a.mode, a.mtime) == (&b.path, b.mode, b.mtime)));
}

#[test]
fn a_target_with_something_in_it_is_refused() {
    let (_keep, target) = target();
    fs::create_dir_all(&target).unwrap();
    assert!(restore(&target, false, &[root()]).is_ok());
    fs::write(target.join("there"), "").unwrap();
    let error = restore(&target, false, &[root()]).unwrap_err();
    assert!(matches!(error, FilesError::TargetNotEmpty { .. }));
    assert_eq!(error.exit(), Exit::CannotCreate);
    assert!(error.advice().unwrap().contains("overwrit"));
    assert!(restore(&target.join("there"), true, &[root()]).is_err());
}

#[test]
fn overwriting_replaces_and_keeps() {
    let (keep, target) = target();
    let outside = keep.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::create_dir_all(target.join("dir")).unwrap();
    fs::write(target.join("dir/stays"), "mine").unwrap();
    fs::set_permissions(target.join("dir"), PermissionsExt::from_mode(0o500)).unwrap();
    fs::write(target.join("file"), "old and longer").unwrap();
    fs::hard_link(target.join("file"), outside.join("hard")).unwrap();
    fs::write(target.join("to-link"), "a file").unwrap();
    symlink(outside.join("victim"), target.join("to-file")).unwrap();
    symlink(&outside, target.join("uploads")).unwrap();
    let list = [
        root(),
        dir("dir"),
        file("dir/new", 1),
        file("file", 3),
        file("to-file", 4),
        link("to-link", "file"),
        dir("uploads"),
        file("uploads/victim", 2),
    ];
    restore(&target, true, &list).unwrap();
    assert_eq!(fs::read(target.join("dir/stays")).unwrap(), b"mine");
    assert_eq!(fs::read(target.join("dir/new")).unwrap(), b"x");
    assert_eq!(fs::read(target.join("file")).unwrap(), b"xxx");
    assert_eq!(fs::read(outside.join("hard")).unwrap(), b"old and longer");
    assert!(fs::symlink_metadata(target.join("to-file")).unwrap().is_file());
    assert_eq!(fs::read_link(target.join("to-link")).unwrap(), Path::new("file"));
    assert!(fs::symlink_metadata(target.join("uploads")).unwrap().is_dir());
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    // Twice gives the same; nothing temporary is left.
    restore(&target, true, &list).unwrap();
    assert_eq!(walk(&target).len(), list.len() + 1);
}

#[test]
fn a_directory_in_the_way_of_a_file_is_named() {
    let (_keep, target) = target();
    fs::create_dir_all(target.join("a/full")).unwrap();
    for entry in [file("a", 1), link("a", "b")] {
        let error = restore(&target, true, &[root(), entry]).unwrap_err();
        assert!(matches!(error, FilesError::InTheWay { .. }));
        assert_eq!(error.exit(), Exit::CannotCreate);
        assert!(error.to_string().contains("target/a can't be restored: a directory is in the way"), "{error}");
    }
    assert!(target.join("a/full").is_dir());
}

#[test]
fn entries_that_no_walk_makes_are_refused() {
    let outside_owner = FileEntry { uid: u32::MAX, ..file("a", 0) };
    let bad: Vec<Vec<FileEntry>> = vec![
        vec![root(), file("../a", 0)],
        vec![root(), dir(".."), file("../a", 0)],
        vec![root(), file("/etc/a", 0)],
        vec![root(), dir("a"), file("a/../../b", 0)],
        vec![root(), dir("a"), file("a//b", 0)],
        vec![root(), dir("a"), file("a/", 0)],
        vec![root(), file("./a", 0)],
        vec![root(), file("a\0b", 0)],
        vec![root(), file("a/b", 0)],
        vec![root(), file("a", 0), file("a/b", 0)],
        vec![root(), link("a", "/tmp"), file("a/b", 0)],
        vec![root(), link("a", "/tmp"), dir("a/b")],
        vec![root(), link("a", "/tmp"), dir("a"), file("a/b", 0)],
        vec![root(), file("a", 0), file("a", 0)],
        vec![root(), file("b", 0), file("a", 0)],
        vec![root(), dir("a"), file("b", 0), file("a/c", 0)],
        vec![root(), root()],
        vec![file("", 0)],
        vec![link("", "/tmp")],
        vec![root(), link("a", "")],
        vec![root(), link("a", "b\0c")],
        vec![root(), entry(FileKind::Symlink, b"a")],
        vec![root(), outside_owner],
        vec![root(), FileEntry { mode: 0o100_644, ..file("a", 0) }],
    ];
    for overwrite in [false, true] {
        for entries in &bad {
            let (_keep, target) = target();
            let mut writer = TreeWriter::create(&target, overwrite).unwrap();
            let (last, before) = entries.split_last().unwrap();
            put(&mut writer, before)
                .or_else(|error| if matches!(error, FilesError::BadEntry { .. }) { Ok(()) } else { Err(error) })
                .unwrap();
            let error = put(&mut writer, std::slice::from_ref(last)).unwrap_err();
            assert!(matches!(error, FilesError::BadEntry { .. }), "{entries:?}: {error}");
            assert_eq!(error.exit(), Exit::Data);
        }
    }
}

#[test]
fn content_that_does_not_fit_its_size_leaves_no_file() {
    let (_keep, target) = target();
    let mut writer = TreeWriter::create(&target, false).unwrap();
    let mut long = writer.begin(&file("long", 3)).unwrap().unwrap();
    long.write(b"abc").unwrap();
    assert_eq!(long.write(b"d").unwrap_err().exit(), Exit::Data);
    drop(long);
    let mut short = writer.begin(&file("short", 3)).unwrap().unwrap();
    short.write(b"ab").unwrap();
    assert_eq!(writer.finish_file(short).unwrap_err().exit(), Exit::Data);
    writer.finish().unwrap();
    assert_eq!(walk(&target).len(), 1);
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_written_gets_nothing_out() {
    let (keep, target) = target();
    let outside = keep.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut writer = TreeWriter::create(&target, false).unwrap();
    put(&mut writer, &[root(), dir("a")]).unwrap();
    fs::rename(target.join("a"), target.join("moved")).unwrap();
    symlink(&outside, target.join("a")).unwrap();
    put(&mut writer, &[file("a/file", 1), dir("a/sub"), file("a/sub/file", 1)]).unwrap();
    writer.finish().unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn names_that_the_target_holds_to_be_one_are_not_merged() {
    // As on a file system without case: something that the writer didn't make has the name.
    let (_keep, target) = target();
    let mut writer = TreeWriter::create(&target, false).unwrap();
    put(&mut writer, &[root()]).unwrap();
    fs::write(target.join("file"), "").unwrap();
    fs::create_dir(target.join("sub")).unwrap();
    for entry in [file("file", 0), dir("sub")] {
        assert!(matches!(put(&mut writer, &[entry]), Err(FilesError::InTheWay { .. })));
    }
}

#[test]
fn without_the_right_to_give_files_away_it_is_counted() {
    if !as_nobody("files::write::tests::without_the_right_to_give_files_away_it_is_counted") {
        return;
    }
    let (_keep, target) = target();
    let roots = |entry: FileEntry| FileEntry { uid: 0, gid: 0, ..entry };
    let mine = file("mine", 1);
    let setuid = FileEntry { mode: 0o6755, ..roots(file("theirs", 1)) };
    let stats = restore(&target, false, &[root(), roots(dir("dir")), roots(link("link", "x")), mine, setuid]).unwrap();
    assert_eq!((stats.owners_not_set, stats.files), (3, 2));
    assert_eq!(fs::metadata(target.join("theirs")).unwrap().mode() & 0o7777, 0o755);

    let locked = target.join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).unwrap();
    let error = restore(&locked.join("sub"), false, &[root()]).unwrap_err();
    assert_eq!(error.exit(), Exit::Denied);
}

#[test]
fn a_full_disk_says_what_to_do() {
    let full = FilesError::Write { path: ByteText::from("/x"), source: Errno::NOSPC.into() };
    assert_eq!(full.exit(), Exit::CannotCreate);
    assert!(full.advice().unwrap().contains("free space"));
}
