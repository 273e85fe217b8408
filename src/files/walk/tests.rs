use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::fs::{Mode, mkdirat, mknodat, openat};

use super::*;
use crate::files::testing::{as_nobody, exchange, meanwhile};
use crate::repository::entry::{ChunkRef, path_order};

fn walk_with(root: &Path, rules: &Rules) -> (Vec<FileEntry>, Vec<Finding>) {
    let tree = Tree::open(root).unwrap();
    let (mut entries, mut findings) = (Vec::new(), Vec::new());
    for walked in tree.walk::<ChunkRef>(rules) {
        match walked.unwrap() {
            Walked::Entry(entry) => entries.push(entry),
            Walked::Finding(finding) => findings.push(finding),
        }
    }
    (entries, findings)
}

fn walk(root: &Path) -> (Vec<FileEntry>, Vec<Finding>) {
    walk_with(root, &Rules::new(true, &[]).unwrap())
}

fn paths(entries: &[FileEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.path.to_string()).collect()
}

fn told(findings: &[Finding]) -> Vec<(FindingCode, String, String)> {
    findings.iter().map(|f| (f.code, f.subject.to_string(), f.detail.clone())).collect()
}

fn write(path: PathBuf, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn every_kind_of_entry_with_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root.join("themes/style.css"), b"body {}");
    fs::set_permissions(root.join("themes/style.css"), PermissionsExt::from_mode(0o4640)).unwrap();
    symlink("style.css", root.join("themes/link")).unwrap();
    let (entries, findings) = walk(root);
    assert_eq!(paths(&entries), ["", "themes", "themes/link", "themes/style.css"]);
    assert_eq!(findings, []);
    let (file, link, sub) = (&entries[3], &entries[2], &entries[1]);
    let stat = fs::metadata(root.join("themes/style.css")).unwrap();
    assert_eq!((file.kind, file.size, file.mode), (FileKind::File, 7, 0o4640));
    assert_eq!((file.uid, file.gid, file.inode), (stat.uid(), stat.gid(), stat.ino()));
    assert_eq!(file.mtime, stat.mtime() * 1_000_000_000 + stat.mtime_nsec());
    assert_eq!(file.ctime, stat.ctime() * 1_000_000_000 + stat.ctime_nsec());
    assert_eq!((link.kind, link.size, link.target.clone()), (FileKind::Symlink, 9, Some(ByteText::from("style.css"))));
    assert_eq!((sub.kind, sub.size), (FileKind::Dir, 0));
    assert!(entries.iter().all(|entry| entry.chunks.is_empty() && entry.flags.is_empty()));
}

#[test]
fn special_files_are_named_and_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    let root = fs::File::open(dir.path()).unwrap();
    mknodat(&root, "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(&root, "CACHEDIR.TAG", FileType::Fifo, Mode::RUSR, 0).unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    mknodat(fs::File::open(&sub).unwrap(), "CACHEDIR.TAG", FileType::Fifo, Mode::RUSR, 0).unwrap();
    let (entries, findings) = walk(dir.path());
    assert_eq!(paths(&entries), ["", "sub"]);
    let special = |name: &str, what: &str| (FindingCode::SpecialFile, name.to_owned(), what.to_owned());
    let expected = [
        special("CACHEDIR.TAG", "a FIFO"),
        special("fifo", "a FIFO"),
        special("socket", "a socket"),
        special("sub/CACHEDIR.TAG", "a FIFO"),
    ];
    assert_eq!(told(&findings), expected);
}

#[test]
fn what_is_left_out_is_named_with_its_rule() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root.join("cache/page.html"), b"x");
    write(root.join("plugins/seo/vendor/symfony/cache/Cache.php"), b"x");
    write(root.join("uploads/film.mp4"), b"x");
    write(root.join("uploads/private/.donotbackup"), b"");
    write(root.join("uploads/thumbs/CACHEDIR.TAG"), &[CACHE_TAG_SIGNATURE as &[u8], b"\n# made by a test"].concat());
    write(root.join("uploads/fake/CACHEDIR.TAG"), b"Signature: of someone else, and long enough to be read");
    write(root.join(".donotbackup"), b"");
    let rules = Rules::new(true, &["*.mp4".to_owned()]).unwrap();
    let (entries, findings) = walk_with(root, &rules);
    assert_eq!(
        paths(&entries),
        [
            "",
            ".donotbackup",
            "plugins",
            "plugins/seo",
            "plugins/seo/vendor",
            "plugins/seo/vendor/symfony",
            "plugins/seo/vendor/symfony/cache",
            "plugins/seo/vendor/symfony/cache/Cache.php",
            "uploads",
            "uploads/fake",
            "uploads/fake/CACHEDIR.TAG",
        ]
    );
    let left_out = |path: &str, rule: &str| (FindingCode::Excluded, path.to_owned(), rule.to_owned());
    assert_eq!(
        told(&findings),
        [
            left_out("cache", "default:cache/"),
            left_out("uploads/film.mp4", "own:*.mp4"),
            left_out("uploads/private", "marker:.donotbackup"),
            left_out("uploads/thumbs", "marker:CACHEDIR.TAG"),
        ]
    );
    let (all, none) = walk_with(root, &Rules::new(false, &[]).unwrap());
    assert_eq!((all.len(), none.len()), (18, 0));
}

#[test]
fn links_that_point_out_are_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("wp-content");
    fs::create_dir_all(root.join("a")).unwrap();
    for (name, target) in [
        ("a/1-in", "../b"),
        ("a/2-out", "../../b"),
        ("a/3-out", "/etc/passwd"),
        ("a/4-in", root.join("b").to_str().unwrap()),
        ("a/5-in", "./x/../../b/."),
        ("a/6-out", "x/../../../wp-content-old/b"),
        ("a/7-in", "../../wp-content/b"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    let (entries, findings) = walk(&root);
    assert_eq!(entries.len(), 9);
    let outside: Vec<String> = findings.iter().map(|finding| finding.subject.to_string()).collect();
    assert_eq!(outside, ["a/2-out", "a/3-out", "a/6-out"]);
    assert!(findings.iter().all(|finding| finding.code == FindingCode::OutsideLink));
    assert_eq!(findings[1].detail, "points to /etc/passwd");
}

#[test]
fn links_into_named_directories_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outer = dir.path().canonicalize().unwrap();
    let (root, share, secret) = (outer.join("wp-content"), outer.join("share"), outer.join("secret"));
    write(root.join("own.php"), b"own");
    write(share.join("themes/plain/style.css"), b"a{}");
    write(share.join("index.php"), b"<?php");
    write(secret.join("key"), b"secret");
    fs::create_dir_all(root.join("themes")).unwrap();
    for (name, target) in [
        ("themes/plain", share.join("themes/plain")),
        ("index.php", PathBuf::from("../share/index.php")),
        ("chain", root.join("themes/plain")),
        // Out of the named directory, by words and by a link in it.
        ("out", share.join("../secret/key")),
        ("over", share.join("leads-out/key")),
        ("etc", PathBuf::from("/etc")),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    symlink(&secret, share.join("leads-out")).unwrap();
    symlink(&root, share.join("themes/plain/circle")).unwrap();
    let tree = Tree::open(&root).unwrap().following(&[share.clone(), outer.join("none")]);
    let rules = Rules::new(true, &[]).unwrap();
    let walked = || {
        let all = tree.walk::<ChunkRef>(&rules).map(Result::unwrap);
        let entries = all.filter_map(|walked| if let Walked::Entry(entry) = walked { Some(entry) } else { None });
        entries.map(|entry| (entry.path.to_string(), entry.kind)).collect::<Vec<_>>()
    };
    let (file, link, directory) = (FileKind::File, FileKind::Symlink, FileKind::Dir);
    let expected = [
        ("", directory),
        // A link to a link that is followed: its end is in the named directory.
        ("chain", directory),
        ("chain/circle", link),
        ("chain/style.css", file),
        ("etc", link),
        ("index.php", file),
        ("out", link),
        ("over", link),
        ("own.php", file),
        ("themes", directory),
        ("themes/plain", directory),
        ("themes/plain/circle", link),
        ("themes/plain/style.css", file),
    ];
    let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(walked(), expected);
    let read = |path: &str| tree.open_file(path.as_bytes()).map(|file| std::io::read_to_string(file).unwrap());
    assert_eq!(read("themes/plain/style.css").unwrap(), "a{}");
    assert_eq!(read("index.php").unwrap(), "<?php");
    for path in ["out", "over", "etc/passwd", "themes/plain/circle/own.php", "themes/plain/../../secret/key"] {
        assert!(read(path).is_err(), "{path}");
    }
    // A link that has led to the named directory leads nowhere else for being turned round; another walk sees what it is now.
    fs::remove_file(root.join("themes/plain")).unwrap();
    symlink(&secret, root.join("themes/plain")).unwrap();
    assert!(read("themes/plain/key").is_err());
    fs::remove_file(root.join("index.php")).unwrap();
    write(root.join("index.php"), b"its own now");
    assert!(walked().contains(&("themes/plain".to_owned(), link)));
    assert_eq!(read("index.php").unwrap(), "its own now");
}

#[test]
fn a_tree_deeper_than_a_path_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let name = "d".repeat(60);
    let mut open: OwnedFd = fs::File::open(dir.path()).unwrap().into();
    for _ in 0..100 {
        mkdirat(&open, &name, Mode::RWXU).unwrap();
        open = openat(&open, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    for leaf in ["leaf", "z"] {
        drop(openat(&open, leaf, flags, Mode::RUSR).unwrap());
    }
    let (entries, findings) = walk(dir.path());
    assert_eq!((entries.len(), findings.len()), (103, 0));
    let leaf = &entries[101].path;
    assert!(leaf.0.len() > 6000 && leaf.0.ends_with(b"/leaf"));
    let tree = Tree::open(dir.path()).unwrap();
    assert!(tree.open_file(leaf.as_bytes()).is_ok());
    assert!(tree.open_file(&entries[100].path.0).is_err());
}

#[test]
fn the_way_back_from_deep_directories() {
    let dir = tempfile::tempdir().unwrap();
    let mut path = dir.path().to_path_buf();
    for _ in 0..100 {
        path.push("m");
        fs::create_dir(&path).unwrap();
        fs::write(path.with_file_name("z"), "").unwrap();
    }
    let (entries, findings) = walk(dir.path());
    assert_eq!((entries.len(), findings.len()), (201, 0));
    assert!(entries.is_sorted_by(|a, b| path_order(&a.path.0, &b.path.0).is_lt()));
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for n in 0..20 {
        write(root.join(format!("dir/sub/inside-{n}")), b"in");
        write(outside.join(format!("sub/secret-{n}")), b"secret");
        write(outside.join(format!("sub/inside-{n}")), b"secret");
    }
    symlink(&outside, root.join("swap")).unwrap();
    let rules = Rules::new(true, &[]).unwrap();
    let swap = || exchange(&root, "dir", "swap");
    meanwhile(swap, || {
        let mut entered = 0;
        for _ in 0..300 {
            for entry in walk_with(&root, &rules).0 {
                assert!(!entry.path.to_string().contains("secret"), "{entry:?}");
                assert!(entry.kind != FileKind::File || entry.size == 2, "{entry:?}");
                entered += usize::from(entry.kind == FileKind::File);
            }
        }
        assert!(entered > 0);
    });
}

#[test]
fn what_the_system_refuses_is_a_finding() {
    if !as_nobody("files::walk::tests::what_the_system_refuses_is_a_finding") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a/locked/file"), b"x");
    write(dir.path().join("a/names-only/file"), b"x");
    write(dir.path().join("b"), b"x");
    fs::set_permissions(dir.path().join("a/locked"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(dir.path().join("a/names-only"), PermissionsExt::from_mode(0o400)).unwrap();
    let (entries, findings) = walk(dir.path());
    let not_opened = Tree::open(&dir.path().join("a/locked")).unwrap_err();
    fs::set_permissions(dir.path().join("a/locked"), PermissionsExt::from_mode(0o100)).unwrap();
    let not_listed = Tree::open(&dir.path().join("a/locked")).unwrap();
    let not_listed = not_listed.walk::<ChunkRef>(&Rules::new(true, &[]).unwrap()).next().unwrap().unwrap_err();
    for name in ["locked", "names-only"] {
        fs::set_permissions(dir.path().join("a").join(name), PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert_eq!(paths(&entries), ["", "a", "a/locked", "a/names-only", "b"]);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.code == FindingCode::Unreadable));
    assert_eq!(findings[0].subject.to_string(), "a/locked");
    assert!(findings[0].detail.contains("not listed: ") && findings[0].detail.contains("ermission"), "{findings:?}");
    assert_eq!(findings[1].subject.to_string(), "a/names-only/file");
    for error in [not_opened, not_listed] {
        assert_eq!(crate::error::Explain::exit(&error), crate::error::Exit::Denied);
    }
}

#[test]
fn the_kernels_own_file_systems_are_not_entered() {
    let root = Path::new("/");
    let (entries, findings) = walk_with(root, &Rules::new(false, &["/[!p]*".into(), "/p[!r]*".into()]).unwrap());
    let proc = findings.iter().find(|finding| finding.subject.0 == b"proc").unwrap();
    assert_eq!(proc.code, FindingCode::Excluded);
    assert!(entries.iter().all(|entry| !entry.path.0.starts_with(b"proc/")));
}

/// Names of the bytes that decide the order: those around the slash, letters, and ones that aren't UTF-8.
fn a_name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(&b" !-.09Aa\x01\xff\xc3\xa9"[..]), 1..4)
        .prop_filter("not a name", |name| name != b"." && name != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_walks_order_is_the_lists(files in proptest::collection::vec(proptest::collection::vec(a_name(), 1..4), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        for file in &files {
            let full = dir.path().join(OsStr::from_bytes(&file.join(&b'/')));
            // A name can't be a file's and a directory's: then there is one path less.
            let _ = fs::create_dir_all(full.parent().unwrap()).and_then(|()| fs::File::create_new(&full));
        }
        let mut expected = vec![Vec::new()];
        collect(dir.path(), b"", &mut expected);
        expected.sort_by(|a, b| path_order(a, b));
        let (entries, _) = walk_with(dir.path(), &Rules::new(false, &[]).unwrap());
        let seen: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.path.0).collect();
        prop_assert_eq!(seen, expected);
    }
}

/// Every path below a directory, in any order.
fn collect(dir: &Path, prefix: &[u8], paths: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = [prefix, entry.file_name().as_bytes()].concat();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &[&path, &b"/"[..]].concat(), paths);
        }
        paths.push(path);
    }
}
