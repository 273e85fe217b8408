//! A tree with every kind of entry comes back as it was: bytes, metadata, links, extended attributes, ACLs and holes.
//! What isn't captured is named and never opened, and what can't be restored without root is named.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, mkdirat,
    mknodat, open, openat, seek, utimensat,
};
use wp_backup_agent::repository::entry::{FindingCode, path_order};

use support::agent::{Agent, Store, text};
use support::compare::same_tree;
use support::files_site::{FilesSite, SETTLED};
use support::mariadb::MariaDb;
use support::small_site;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// cap_net_bind_service+ep, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An ACL as the kernel has it: entries of tag, permissions and id. `u::rwx,u:1234:r-x,g::r-x,m::mask,o::---`
fn acl(mask: u16) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 7u16, u32::MAX), (2, 5, 1234), (4, 5, u32::MAX), (16, mask, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|error| panic!("{name} of {path:?}: {error}"));
}

/// All extended attributes, SELinux's labels aside.
fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..length].split(|b| *b == 0).filter(|name| !name.is_empty() && *name != b"security.selinux");
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}

/// Where a file has content.
fn extents(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        found.push((start, at - start));
    }
    found
}

/// A directory on a file system with attributes, ACLs and holes; or the reason why there is none.
fn directory() -> Option<tempfile::TempDir> {
    let makes: [fn() -> std::io::Result<tempfile::TempDir>; 2] =
        [tempfile::tempdir, || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))];
    let found = makes.into_iter().filter_map(|make| make().ok()).find(|dir| {
        let file = dir.path().join("try");
        std::fs::write(&file, "").unwrap();
        let has = |name: &str, value: &[u8]| lsetxattr(&file, name, value, XattrFlags::empty()).is_ok();
        let has = has("user.try", b"1") && has(ACCESS, &acl(5));
        std::fs::remove_file(file).unwrap();
        has
    });
    if found.is_none() {
        println!("skipped: neither the temporary directory nor the target directory has user attributes and ACLs");
    }
    found
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The tree, with all that one like it may hold.
fn make(root: &Path) {
    std::fs::create_dir(root).unwrap();
    // Names.
    write(root, &format!("uploads/{}", "n".repeat(255)), "long name");
    write(root, "uploads/-r 'x' \"y\" $(z) %41\n", "odd name");
    std::fs::write(root.join("uploads").join(OsStr::from_bytes(b"\xff\xfe.jpg")), "not UTF-8").unwrap();
    std::fs::create_dir(root.join("uploads/empty")).unwrap();
    // Links of both kinds.
    symlink("nowhere", root.join("uploads/dangling")).unwrap();
    symlink("/etc/passwd", root.join("uploads/outside")).unwrap();
    let first = write(root, "uploads/a/first.jpg", small_site::noise(70_000, 1));
    std::fs::create_dir(root.join("uploads/b")).unwrap();
    for other in ["uploads/a/second.jpg", "uploads/b/third.jpg", "zzz.jpg"] {
        std::fs::hard_link(&first, root.join(other)).unwrap();
    }
    // Another file of the same content, which is linked, too.
    let twin = write(root, "uploads/a/twin.jpg", small_site::noise(70_000, 1));
    std::fs::hard_link(&twin, root.join("uploads/b/twin.jpg")).unwrap();
    let large = write(root, "uploads/large.bin", small_site::noise(5 << 20, 2));
    std::fs::hard_link(&large, root.join("uploads/b/large-too.bin")).unwrap();
    // Holes: at the beginning, in between, at the end; a file that is one hole; one that would fill the store.
    let sparse = |path: &str, size: u64, content: &[(u64, usize)]| {
        let file = File::create(root.join(path)).unwrap();
        file.set_len(size).unwrap();
        for (n, (at, length)) in content.iter().enumerate() {
            file.write_all_at(&small_site::noise(*length, n as u64 + 10), *at).unwrap();
        }
    };
    sparse("uploads/sparse.bin", 50 << 20, &[(8 << 20, 100_000), (20 << 20, 3 << 20)]);
    sparse("uploads/hole.bin", 1 << 20, &[]);
    sparse("uploads/huge.bin", 1 << 40, &[(1 << 30, 500_000), (700 << 30, 500_000)]);
    std::fs::hard_link(root.join("uploads/sparse.bin"), root.join("uploads/sparse-too.bin")).unwrap();
    // Extended attributes and ACLs.
    let with = write(root, "uploads/with.txt", "attributes");
    set(&with, "user.mime_type", b"text/plain");
    set(&with, "user.any", &[0, 255, 10, 37]);
    set(&with, "user.empty", b"");
    set(&with, ACCESS, &acl(5));
    let read_only = write(root, "uploads/read-only.txt", "attributes");
    set(&read_only, "user.of", b"read-only");
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o444)).unwrap();
    let dir = root.join("uploads/shared");
    std::fs::create_dir(&dir).unwrap();
    write(root, "uploads/shared/before.txt", "made before the directory had an ACL to give");
    set(&dir, "user.of", b"a directory");
    set(&dir, ACCESS, &acl(7));
    set(&dir, DEFAULT, &acl(7));
    write(root, "uploads/shared/after.txt", "made after it");
    set(root, "user.of", b"the root");
    // Modes and owners.
    for (path, mode) in [("set-id", 0o6755), ("none", 0), ("all", 0o777)] {
        let path = write(root, &format!("plugins/{path}"), path);
        if is_root() && mode == 0o6755 {
            chown(&path, Some(54_321), Some(54_322)).unwrap();
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::create_dir(root.join("plugins/sticky")).unwrap();
    std::fs::set_permissions(root.join("plugins/sticky"), std::fs::Permissions::from_mode(0o3777)).unwrap();
    if is_root() {
        let program = write(root, "plugins/program", "#!/bin/sh\n");
        chown(&program, Some(54_321), Some(0)).unwrap();
        set(&program, "security.capability", &CAPABILITY);
        set(&program, "trusted.of", b"root");
        set(&root.join("uploads/dangling"), "trusted.of", b"a symlink");
    }
    // A path of more than 4096 bytes.
    let mut deep = open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..22 {
        let name = "d".repeat(200);
        mkdirat(&deep, &name, Mode::RWXU).unwrap();
        deep = openat(&deep, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let file = openat(&deep, "file", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
    std::io::Write::write_all(&mut File::from(file), b"deep").unwrap();
    rustix::fs::linkat(&deep, "file", &deep, "other", AtFlags::empty()).unwrap();
    // Times.
    for (path, seconds, nanoseconds) in
        [("plugins/all", -86_400 * 365, 123_456_789), ("plugins/none", 7_258_118_400, 1), ("uploads/dangling", 1, 999_999_999)]
    {
        set_time(&root.join(path), seconds, nanoseconds);
    }
}

/// What is no file, directory or link.
fn make_special(root: &Path) -> Vec<String> {
    let dir = File::open(root.join("uploads")).unwrap();
    mknodat(&dir, "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("uploads/socket")).unwrap();
    let mut made = vec!["uploads/fifo".to_owned(), "uploads/socket".to_owned()];
    if mknodat(&dir, "device", FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 5)).is_ok() {
        made.push("uploads/device".to_owned());
    }
    made.sort_by(|a, b| path_order(a.as_bytes(), b.as_bytes()));
    made
}

/// Which paths are one file.
fn groups(root: &Path) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<(u64, u64), Vec<PathBuf>> = BTreeMap::new();
    for (path, meta) in walk(root) {
        if meta.is_file() && meta.nlink() > 1 {
            groups.entry((meta.dev(), meta.ino())).or_default().push(path);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort());
    groups.sort();
    groups
}

/// Paths that fit into a system call; the deep ones are for `same_deep`.
fn walk(root: &Path) -> Vec<(PathBuf, std::fs::Metadata)> {
    let entries =
        walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| !entry.file_name().as_bytes().starts_with(b"dddd"));
    let entries = entries.map(|entry| entry.unwrap().into_path());
    entries
        .map(|path| {
            let meta = path.symlink_metadata().unwrap();
            (path.strip_prefix(root).unwrap().to_owned(), meta)
        })
        .collect()
}

fn same_deep(a: &Path, b: &Path) {
    let mut dirs = [a, b].map(|root| open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap());
    for _ in 0..22 {
        dirs = dirs.map(|dir| openat(&dir, "d".repeat(200), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap());
        let [x, y] = [&dirs[0], &dirs[1]].map(|dir| rustix::fs::fstat(dir).unwrap());
        assert_eq!((x.st_mode, x.st_mtime, x.st_mtime_nsec), (y.st_mode, y.st_mtime, y.st_mtime_nsec));
    }
    let file = openat(&dirs[1], "file", OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(std::io::read_to_string(File::from(file)).unwrap(), "deep");
    let inodes = ["file", "other"].map(|name| rustix::fs::statat(&dirs[1], name, AtFlags::SYMLINK_NOFOLLOW).unwrap().st_ino);
    assert_eq!(inodes[0], inodes[1]);
}

/// Everything that `same_tree` compares, and links, attributes, ACLs and holes.
fn same(a: &Path, b: &Path, skip: &[String]) {
    let is_deep = |path: &Path| path.as_os_str().as_bytes().starts_with(b"dddd");
    let (left, right) = (walk(a), walk(b));
    let kept: Vec<_> = left.iter().filter(|(path, _)| !skip.iter().any(|skipped| path == Path::new(skipped))).collect();
    assert_eq!(
        kept.iter().map(|(path, _)| path).collect::<std::collections::BTreeSet<_>>(),
        right.iter().map(|(path, _)| path).collect(),
    );
    for (path, x) in kept.iter().filter(|(path, _)| !is_deep(path)) {
        let (from, to) = (a.join(path), b.join(path));
        let y = to.symlink_metadata().unwrap();
        assert_eq!((x.mode(), x.uid(), x.gid(), x.size()), (y.mode(), y.uid(), y.gid(), y.size()), "{path:?}");
        assert_eq!((x.mtime(), x.mtime_nsec()), (y.mtime(), y.mtime_nsec()), "{path:?}");
        assert_eq!(xattrs(&from), xattrs(&to), "{path:?}");
        if x.is_symlink() {
            assert_eq!(std::fs::read_link(&from).unwrap(), std::fs::read_link(&to).unwrap());
        } else if x.is_file() {
            same_content(&from, &to);
        }
    }
    assert_eq!(groups(a), groups(b));
    same_deep(a, b);
}

/// The same bytes, and no more of them on the disk. Holes are compared, not read.
fn same_content(a: &Path, b: &Path) {
    let extents = extents(a);
    let (from, to) = (File::open(a).unwrap(), File::open(b).unwrap());
    for (at, length) in &extents {
        let [mut x, mut y] = [vec![0; *length as usize], vec![0; *length as usize]];
        from.read_exact_at(&mut x, *at).unwrap();
        to.read_exact_at(&mut y, *at).unwrap();
        assert!(x == y, "{a:?} at {at}");
    }
    let [x, y] = [&from, &to].map(|file| file.metadata().unwrap());
    if x.blocks() * 512 < x.size() {
        assert!(y.blocks() <= x.blocks() + 64, "{a:?}: {} blocks became {}", x.blocks(), y.blocks());
        // What lies between them is no content in the other, either.
        for (at, length) in self::extents(b) {
            let mut bytes = vec![0; length as usize];
            to.read_exact_at(&mut bytes, at).unwrap();
            let mut original = vec![0; length as usize];
            from.read_exact_at(&mut original, at).unwrap();
            assert!(original == bytes, "{a:?} at {at}");
        }
    }
}

struct Case {
    server: MariaDb,
    dir: tempfile::TempDir,
    agent: Agent,
}

impl Case {
    fn new(dir: tempfile::TempDir) -> Self {
        let server = MariaDb::start();
        server.client("CREATE DATABASE blog");
        let (content, store) = (dir.path().join("content"), dir.path().join("store"));
        std::fs::create_dir(&store).unwrap();
        make(&content);
        let agent = Agent::new(&server, "blog", &content, &Store::Local(&store));
        Self { server, dir, agent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn snapshot(&self) {
        // The schema is not WordPress's, which is a finding; so is what isn't captured.
        let output = self.agent.run(&["run-now", "--foreground"]);
        assert!(matches!(output.status.code(), Some(0 | 3)) || self.agent.snapshots() > 0, "{}", text(&output));
    }
}

#[test]
fn a_tree_of_everything_comes_back() {
    let Some(dir) = directory() else { return };
    let case = Case::new(dir);
    let content = case.path("content");
    let special = make_special(&content);
    let begun = Instant::now();
    case.snapshot();
    let target = case.path("restored");
    let said = case.agent.run(&["restore", "latest", "--files", target.to_str().unwrap()]);
    assert!(said.status.success(), "{}", text(&said));
    // A terabyte of nothing takes no time; and nobody waited for the other end of a FIFO.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    same(&content, &target, &special);
    if is_root() {
        assert!(!text(&said).contains("not restored"), "{}", text(&said));
    }

    // Onto itself: nothing is to be done.
    let again = case.agent.run(&["restore", "latest", "--files", target.to_str().unwrap(), "--overwrite"]);
    assert!(again.status.success() && text(&again).contains(" 0 created, 0 replaced, 0 changed"), "{}", text(&again));
    // What was changed since comes back.
    std::fs::remove_file(target.join("uploads/b/third.jpg")).unwrap();
    std::fs::write(target.join("uploads/b/third.jpg"), "a file of its own").unwrap();
    set(&target.join("uploads/with.txt"), "user.more", b"1");
    set(&target.join("uploads/shared"), "user.of", b"something else");
    File::options().write(true).open(target.join("uploads/sparse.bin")).unwrap().write_all_at(&[0; 200_000], 1 << 20).unwrap();
    let again = case.agent.run(&["restore", "latest", "--files", target.to_str().unwrap(), "--overwrite"]);
    assert!(again.status.success(), "{}", text(&again));
    same(&content, &target, &special);
}

#[test]
fn what_the_script_restores_is_the_same() {
    let Some(dir) = directory() else { return };
    let case = Case::new(dir);
    // The script wants paths that fit into a system call.
    std::fs::remove_dir_all(case.path("content").join("d".repeat(200))).unwrap();
    case.snapshot();
    let target = case.path("by-hand");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/restore-by-hand");
    let output = Command::new(script).arg(case.path("store")).args(["blog", "latest", "--files"]).arg(&target).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let content = case.path("content");
    let groups = (groups(&content), groups(&target));
    assert_eq!(groups.0, groups.1);
    for (path, meta) in walk(&content) {
        if meta.is_file() {
            same_content(&content.join(&path), &target.join(&path));
        }
    }
    let has_setfattr = Command::new("setfattr").arg("--version").output().is_ok();
    assert_eq!(text(&output).contains("setfattr is not installed"), !has_setfattr);
    for (path, _) in walk(&content).into_iter().filter(|_| has_setfattr && is_root()) {
        assert_eq!(xattrs(&content.join(&path)), xattrs(&target.join(&path)), "{path:?}");
    }
}

#[test]
fn without_root_what_is_lost_is_named() {
    let Some(dir) = directory() else { return };
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        println!("skipped: it takes root and setpriv to restore as somebody else");
        return;
    }
    let case = Case::new(dir);
    case.snapshot();
    // The program and the store, where nobody can read them.
    let open = tempfile::tempdir_in(case.dir.path()).unwrap();
    let nobody = |path: &Path| {
        let done = Command::new("chown").args(["-R", "nobody:"]).arg(path).status().unwrap();
        assert!(done.success());
    };
    let program = open.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_wp-backup-agent"), &program).unwrap();
    let config = open.path().join("config.toml");
    std::fs::copy(case.agent.config(), &config).unwrap();
    nobody(open.path());
    nobody(&case.path("store"));
    std::fs::set_permissions(case.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(&program)
        .arg("--config")
        .arg(&config)
        .args(["restore", "latest", "--files"])
        .arg(open.path().join("restored"))
        .current_dir(open.path())
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("owners of ") && said.contains("run as root to set them"), "{said}");
    assert!(said.contains("extended attributes or ACLs of 2 entries could not be set"), "{said}");
    assert!(said.contains("not restored: "), "{said}");
    let restored = open.path().join("restored");
    let program = restored.join("plugins/program");
    assert!(xattrs(&program).is_empty(), "neither capabilities nor what only root sets");
    assert_eq!(restored.join("plugins/set-id").symlink_metadata().unwrap().mode() & 0o7777, 0o755, "not as another's program");
    // All that its user may set is there.
    for path in ["uploads/with.txt", "uploads/read-only.txt", "uploads/shared", "uploads/shared/before.txt", ""] {
        assert_eq!(xattrs(&case.path("content").join(path)), xattrs(&restored.join(path)), "{path}");
    }
    assert_eq!(groups(&case.path("content")), groups(&restored));
    drop(case.server);
}

#[test]
fn an_unchanged_night_sends_nothing_and_one_attribute_little() {
    let Some(dir) = directory() else { return };
    let (site, content) = (FilesSite::of(64 << 20), dir.path().join("content"));
    make(&content);
    let special = make_special(&content);
    std::thread::sleep(SETTLED);
    site.commits(&content);
    let (_, files, notes) = site.lists(1);
    let named: Vec<String> = notes.iter().filter(|n| n.code == FindingCode::SpecialFile).map(|n| n.subject.to_string()).collect();
    assert_eq!(named, special);
    let entry = |path: &str| files.iter().find(|entry| entry.path.to_string() == path).unwrap();
    assert_eq!((entry("uploads/a/first.jpg").links, entry("uploads/with.txt").links), (4, 1));
    assert_eq!(entry("uploads/with.txt").xattrs.get(b"user.mime_type"), Some(&b"text/plain"[..]));
    assert_eq!(entry("uploads/hole.bin").data_size(), Some(0));
    assert!(entry("uploads/huge.bin").data_size().unwrap() < 2 << 20);

    let night = site.commits(&content);
    assert_eq!((night.read, night.summary.uploaded.packs), (0, 0), "{:?}", night.summary);
    assert_eq!(site.lists(2).1, files);

    set(&content.join("uploads/shared/before.txt"), "user.new", b"1");
    set(&content.join("uploads/shared"), "user.of", b"another");
    std::thread::sleep(SETTLED);
    let changed = site.commits(&content);
    assert!(changed.read < 1000, "{} bytes were read", changed.read);
    assert!(changed.summary.uploaded.bytes < 200_000, "{:?}", changed.summary.uploaded);
    let target = dir.path().join("restored");
    let restored = site.restore(3, &target);
    same(&content, &target, &special);
    assert_eq!(restored.stats.hard_links, 7, "{restored:?}");
}

#[test]
fn two_files_are_never_made_one() {
    let Some(dir) = directory() else { return };
    let (site, content) = (FilesSite::of(16 << 20), dir.path().join("content"));
    std::fs::create_dir(&content).unwrap();
    let first = write(&content, "a", "one");
    std::fs::hard_link(&first, content.join("b")).unwrap();
    write(&content, "c", "one");
    std::fs::hard_link(content.join("c"), content.join("d")).unwrap();
    // One name in the tree, another out of it.
    write(dir.path(), "outside", "outside");
    std::fs::hard_link(dir.path().join("outside"), content.join("e")).unwrap();
    std::thread::sleep(SETTLED);
    site.commits(&content);
    // One of the names becomes a file of its own.
    std::fs::remove_file(content.join("b")).unwrap();
    write(&content, "b", "one");
    site.commits(&content);
    for (seq, expected) in [(1, vec![vec!["a", "b"], vec!["c", "d"]]), (2, vec![vec!["c", "d"]])] {
        let target = dir.path().join(format!("restored-{seq}"));
        site.restore(seq, &target);
        assert_eq!(
            groups(&target),
            expected.iter().map(|group| group.iter().map(PathBuf::from).collect()).collect::<Vec<Vec<_>>>()
        );
        assert_eq!(std::fs::read_to_string(target.join("e")).unwrap(), "outside");
    }
    same_tree(&content, &dir.path().join("restored-2")).unwrap();
}
