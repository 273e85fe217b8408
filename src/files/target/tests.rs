use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::error::{Exit, Explain};
use crate::files::testing::as_nobody;
use crate::files::{Rules, Walked};
use crate::repository::entry::{ChunkRef, FileKind};
use crate::repository::ids::{ChunkId, PackName};

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
        links: 1,
        target: None,
        flags: Vec::new(),
        xattrs: Default::default(),
        holes: Vec::new(),
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

/// Surveys entries, and writes each file full of `x`.
fn put<'t>(survey: &mut Survey<'t>, desk: &mut Desk<'t>, entries: &[FileEntry]) -> Result<(), FilesError> {
    for entry in entries {
        if let Some(task) = survey.entry(entry.clone())?
            && let Some(mut file) = desk.begin(&task)?
        {
            file.write(&vec![b'x'; entry.size as usize])?;
            desk.finish(task, file, 0)?;
        }
    }
    Ok(())
}

fn restore(path: &Path, overwrite: bool, entries: &[FileEntry]) -> Result<TargetStats, FilesError> {
    let target = Target::open(path, TargetOptions { overwrite, ..TargetOptions::default() })?;
    let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
    put(&mut survey, &mut desk, entries)?;
    drop(desk);
    survey.finish()?;
    target.finish()
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

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("parent/target");
    (dir, target)
}

#[test]
fn a_tree_deeper_than_a_path_can_be() {
    let (_keep, target) = place();
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
    assert_eq!((stats.files, stats.dirs, stats.created), (60, 61, 121));
    let walked = walk(&target);
    assert_eq!(walked.len(), entries.len());
    assert!(walked.iter().zip(&entries).all(|(a, b)| (&a.path, a.mode, a.mtime) == (&b.path, b.mode, b.mtime)));
    // Again, and into directories that their owner may not write.
    let stats = restore(&target, true, &entries).unwrap();
    assert_eq!((stats.kept, stats.created, stats.replaced, stats.metadata), (121, 0, 0, 0));
    // Deleted from the root, below which no path can be given as a whole.
    let delete = Some(Delete { rules: Rules::new(false, &[]).unwrap(), excluded: false });
    let target_dir = Target::open(&target, TargetOptions { overwrite: true, delete, ..TargetOptions::default() }).unwrap();
    let mut survey = Survey::new(&target_dir);
    survey.entry(root()).unwrap();
    survey.finish().unwrap();
    assert_eq!(target_dir.finish().unwrap().deleted, 120);
    assert_eq!(walk(&target).len(), 1);
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
            let (_keep, path) = place();
            let target = Target::open(&path, TargetOptions { overwrite, ..TargetOptions::default() }).unwrap();
            let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
            let (last, before) = entries.split_last().unwrap();
            put(&mut survey, &mut desk, before)
                .or_else(|error| if matches!(error, FilesError::BadEntry { .. }) { Ok(()) } else { Err(error) })
                .unwrap();
            let error = put(&mut survey, &mut desk, std::slice::from_ref(last)).unwrap_err();
            assert!(matches!(error, FilesError::BadEntry { .. }), "{entries:?}: {error}");
            assert_eq!(error.exit(), Exit::Data);
        }
    }
}

#[test]
fn content_that_does_not_fit_its_size_leaves_no_file() {
    let (_keep, path) = place();
    let target = Target::open(&path, TargetOptions::default()).unwrap();
    let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
    survey.entry(root()).unwrap();
    let task = survey.entry(file("long", 3)).unwrap().unwrap();
    let mut long = desk.begin(&task).unwrap().unwrap();
    long.write(b"abc").unwrap();
    assert_eq!(long.write(b"d").unwrap_err().exit(), Exit::Data);
    drop(long);
    let task = survey.entry(file("short", 3)).unwrap().unwrap();
    let mut short = desk.begin(&task).unwrap().unwrap();
    short.write(b"ab").unwrap();
    assert_eq!(desk.finish(task, short, 0).unwrap_err().exit(), Exit::Data);
    drop(desk);
    survey.finish().unwrap();
    target.finish().unwrap();
    assert_eq!(walk(&path).len(), 1);
}

#[test]
fn a_directory_is_finished_by_the_last_file_in_it() {
    let (_keep, path) = place();
    let target = Target::open(&path, TargetOptions::default()).unwrap();
    let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
    let closed = FileEntry { mode: 0o500, ..dir("a") };
    put(&mut survey, &mut desk, &[root(), closed]).unwrap();
    let task = survey.entry(file("a/late", 1)).unwrap().unwrap();
    put(&mut survey, &mut desk, &[file("b", 1)]).unwrap();
    survey.finish().unwrap();
    assert_ne!(fs::metadata(path.join("a")).unwrap().mode() & 0o7777, 0o500);
    let mut late = desk.begin(&task).unwrap().unwrap();
    late.write(b"x").unwrap();
    desk.finish(task, late, 0).unwrap();
    drop(desk);
    target.finish().unwrap();
    let walked = walk(&path);
    assert_eq!(walked.iter().map(|entry| entry.mode).collect::<Vec<_>>(), [0o755, 0o500, 0o644, 0o644]);
    assert!(walked.iter().all(|entry| entry.mtime == root().mtime));
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_written_gets_nothing_out() {
    let (keep, path) = place();
    let outside = keep.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = Target::open(&path, TargetOptions::default()).unwrap();
    let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
    put(&mut survey, &mut desk, &[root(), dir("a")]).unwrap();
    let task = survey.entry(file("a/file", 1)).unwrap().unwrap();
    fs::rename(path.join("a"), path.join("moved")).unwrap();
    symlink(&outside, path.join("a")).unwrap();
    desk.begin(&task).unwrap_err();
    let _ = put(&mut survey, &mut desk, &[dir("a/sub"), file("a/sub/file", 1)]);
    drop((desk, task));
    let _ = survey.finish();
    // The attributes of `a` don't go to what the link points to.
    target.finish().unwrap_err();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn names_that_the_target_holds_to_be_one_are_not_merged() {
    // As on a file system without case: something that wasn't made by this restore has the name.
    let (_keep, path) = place();
    let target = Target::open(&path, TargetOptions::default()).unwrap();
    let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
    put(&mut survey, &mut desk, &[root()]).unwrap();
    fs::write(path.join("file"), "").unwrap();
    fs::create_dir(path.join("sub")).unwrap();
    for entry in [file("file", 0), dir("sub")] {
        let error = put(&mut survey, &mut desk, &[entry]).unwrap_err();
        assert!(matches!(error, FilesError::InTheWay { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn a_directory_in_the_way_of_a_file_is_named() {
    let (_keep, path) = place();
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::write(path.join("a/b/precious"), "").unwrap();
    for entry in [file("a", 1), link("a", "x")] {
        let error = restore(&path, true, &[root(), entry]).unwrap_err();
        assert_eq!(error.exit(), Exit::CannotCreate, "{error}");
    }
    assert!(path.join("a/b/precious").exists());
}

#[test]
fn without_the_right_to_give_files_away_it_is_counted() {
    if !as_nobody("files::target::tests::without_the_right_to_give_files_away_it_is_counted") {
        return;
    }
    let (_keep, path) = place();
    let roots = |entry: FileEntry| FileEntry { uid: 0, gid: 0, ..entry };
    let setuid = FileEntry { mode: 0o6755, ..roots(file("theirs", 1)) };
    let entries = [root(), roots(dir("dir")), roots(link("link", "x")), file("mine", 1), setuid];
    let stats = restore(&path, false, &entries).unwrap();
    assert_eq!((stats.owners_not_set, stats.files), (3, 2));
    assert_eq!(fs::metadata(path.join("theirs")).unwrap().mode() & 0o7777, 0o755);

    let locked = path.join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).unwrap();
    let error = restore(&locked.join("sub"), false, &[root()]).unwrap_err();
    assert_eq!(error.exit(), Exit::Denied);
    // A file and a directory that their owner may not write are replaced all the same.
    let (_keep, path) = place();
    restore(&path, false, &[root(), FileEntry { mode: 0o500, ..dir("d") }, FileEntry { mode: 0, ..file("d/f", 1) }]).unwrap();
    let stats = restore(&path, true, &[root(), dir("d"), file("d/f", 2)]).unwrap();
    assert_eq!((stats.replaced, stats.metadata), (1, 1), "{stats:?}");
    let stats = restore(&path, true, &[root(), dir("d"), FileEntry { mode: 0o400, ..file("d/f", 2) }]).unwrap();
    assert_eq!((stats.replaced, stats.metadata), (0, 1), "{stats:?}");
}

#[test]
fn forged_holes_and_links_do_no_harm() {
    for holes in [vec![(0, 0)], vec![(0, 11)], vec![(5, 2), (4, 1)], vec![(u64::MAX, 2)], vec![(0, 6), (5, 1)]] {
        let (_dir, path) = place();
        let error = restore(&path, false, &[root(), FileEntry { holes: holes.clone(), ..file("a", 10) }]).unwrap_err();
        assert!(matches!(error, FilesError::BadEntry { .. }), "{holes:?}: {error}");
    }
    let (_dir, path) = place();
    let holes = FileEntry { holes: vec![(0, 10)], ..dir("a") };
    assert!(matches!(restore(&path, false, &[root(), holes]), Err(FilesError::BadEntry { .. })));
    // Chunks that hold what the holes should.
    let (_dir, path) = place();
    let error = restore(&path, false, &[root(), FileEntry { holes: vec![(2, 8)], ..file("a", 10) }]).unwrap_err();
    assert!(matches!(error, FilesError::BadEntry { .. }), "{error}");
    // What differs in anything is another file.
    let named = |path: &str| FileEntry { links: 2, inode: 5, ctime: 6, ..file(path, 1) };
    for (other, linked) in [
        (named("b"), true),
        (FileEntry { mode: 0o600, ..named("b") }, false),
        (FileEntry { inode: 6, ..named("b") }, false),
        (FileEntry { ctime: 7, ..named("b") }, false),
        (FileEntry { links: 1, ..named("b") }, false),
        (FileEntry { mtime: 1, ..named("b") }, false),
        (FileEntry { size: 2, ..named("b") }, false),
    ] {
        let (_dir, path) = place();
        let stats = restore(&path, false, &[root(), named("a"), other.clone()]).unwrap();
        let inodes = ["a", "b"].map(|name| fs::metadata(path.join(name)).unwrap().ino());
        assert_eq!((stats.hard_links, inodes[0] == inodes[1]), (u64::from(linked), linked), "{other:?}");
    }
}

#[test]
fn links_come_into_directories_that_are_complete() {
    let (_dir, path) = place();
    let named = |path: &str| FileEntry { links: 3, ..file(path, 1) };
    let list = [root(), dir("a"), named("a/1"), FileEntry { mode: 0o500, ..dir("b") }, named("b/2"), named("c")];
    for overwrite in [false, true, true] {
        let stats = restore(&path, overwrite, &list).unwrap();
        assert_eq!(stats.hard_links, if overwrite { 0 } else { 2 }, "{stats:?}");
        let made: Vec<_> = ["a/1", "b/2", "c"].map(|name| fs::metadata(path.join(name)).unwrap()).into();
        assert!(made.iter().all(|meta| meta.ino() == made[0].ino() && meta.nlink() == 3));
        let closed = fs::metadata(path.join("b")).unwrap();
        assert_eq!((closed.mode() & 0o7777, closed.mtime(), closed.mtime_nsec()), (0o500, 1_600_000_000, 123_456_789));
    }
    // Another file has taken one of the names.
    fs::remove_file(path.join("b/2")).unwrap();
    fs::write(path.join("b/2"), "z").unwrap();
    assert_eq!(restore(&path, true, &list).unwrap().hard_links, 1);
    assert_eq!(fs::metadata(path.join("b/2")).unwrap().nlink(), 3);
    assert_eq!(fs::read_dir(path.join("b")).unwrap().count(), 1, "no temporary name is left");
}

#[test]
fn what_cannot_be_linked_becomes_a_file_of_its_own() {
    let chunk = |content: &[u8]| ChunkRef {
        id: ChunkId::of(content),
        size: content.len() as u64,
        pack: PackName([0; 32]),
        frame: (0, 0),
        at: 0,
    };
    let named = |path: &str| FileEntry { links: 2, chunks: vec![chunk(b"x"), chunk(b"xx")], ..file(path, 3) };
    let list = [root(), named("a"), named("b")];
    // Somebody changes the first name's file before the second is made: its time, then its content.
    for (content, comes_back) in [("xxx", true), ("xyx", false)] {
        let (_dir, path) = place();
        let target = Target::open(&path, TargetOptions::default()).unwrap();
        let (mut survey, mut desk) = (Survey::new(&target), Desk::new(&target));
        put(&mut survey, &mut desk, &list).unwrap();
        drop(desk);
        survey.finish().unwrap();
        fs::write(path.join("a"), content).unwrap();
        let finished = target.finish();
        if !comes_back {
            let error = finished.unwrap_err();
            assert!(error.to_string().contains('b') && !path.join("b").exists(), "{error}");
            assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no temporary name is left");
            continue;
        }
        let stats = finished.unwrap();
        assert_eq!((stats.hard_links, stats.hard_links_not_made), (0, 1));
        let (a, b) = (fs::metadata(path.join("a")).unwrap(), fs::metadata(path.join("b")).unwrap());
        assert_ne!(a.ino(), b.ino());
        assert_eq!((fs::read(path.join("b")).unwrap(), b.mtime_nsec()), (b"xxx".to_vec(), 123_456_789));
        let told = target.not_set();
        assert!(told.len() == 1 && told[0].path.to_string() == "b" && told[0].what.contains("same file as a"), "{told:?}");
    }
}

#[test]
fn what_could_not_be_captured_is_spared_with_all_in_it() {
    let there = tempfile::tempdir().unwrap();
    let root_path = there.path();
    for path in ["locked/in/it", "half/listed", "half/lost", "private.pdf", "stray", "shown"] {
        fs::create_dir_all(root_path.join(path).parent().unwrap()).unwrap();
        fs::write(root_path.join(path), path).unwrap();
    }
    let delete = Delete { rules: Rules::new(true, &[]).unwrap(), excluded: true };
    let options = TargetOptions { overwrite: true, delete: Some(delete), ..TargetOptions::default() };
    let target = Target::open(root_path, options).unwrap();
    let mut spares = Spares::new().unwrap();
    for path in ["locked", "half", "private.pdf"] {
        spares.add(path.as_bytes(), Lacks::Uncaptured).unwrap();
    }
    target.spare(spares);
    let mut survey = Survey::new(&target);
    put(&mut survey, &mut Desk::new(&target), &[root(), dir("half"), file("half/listed", 3), file("shown", 5)]).unwrap();
    survey.finish().unwrap();
    assert!(!root_path.join("stray").exists());
    for path in ["locked/in/it", "half/lost", "private.pdf"] {
        assert_eq!(fs::read_to_string(root_path.join(path)).unwrap(), path);
    }
    let stats = target.finish().unwrap();
    assert_eq!((stats.deleted, stats.spared), (1, 3));
}

#[test]
fn a_deletion_ends_when_it_is_told_to() {
    let there = tempfile::tempdir().unwrap();
    fs::create_dir(there.path().join("old")).unwrap();
    fs::write(there.path().join("old/file"), "x").unwrap();
    let delete = Delete { rules: Rules::new(true, &[]).unwrap(), excluded: false };
    let options = TargetOptions { overwrite: true, delete: Some(delete), ..TargetOptions::default() };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let target = Target::open(there.path(), options).unwrap().cancelled_by(cancel);
    let mut survey = Survey::new(&target);
    put(&mut survey, &mut Desk::new(&target), &[root()]).unwrap();
    assert!(matches!(survey.finish(), Err(FilesError::Cancelled)));
    assert!(there.path().join("old/file").exists());
}
