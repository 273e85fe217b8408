//! Files back into a directory: only what differs is fetched and written, and nothing that isn't asked for is touched.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wp_backup_agent::backup::{RunContext, Trigger, run};
use wp_backup_agent::config::SiteName;
use wp_backup_agent::error::{Exit, Explain as _};
use wp_backup_agent::files::{Action, Delete, OwnerMap, PathSelection, Rules, TargetOptions};
use wp_backup_agent::progress::{Silent, Tally};
use wp_backup_agent::repository::checkpoint;
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::random_run_id;
use wp_backup_agent::restore::{FilesRestored, Restore, RestoreError};
use wp_backup_agent::storage::{LocalStore, Recorder, Store};

use support::agent::{Agent, signal, text};
use support::compare::same_tree;
use support::mariadb::MariaDb;
use support::{files_site, small_site};

/// A site of files, with a schema of next to nothing, and what its snapshots are in.
struct Site {
    server: MariaDb,
    content: tempfile::TempDir,
    state: tempfile::TempDir,
    kept: tempfile::TempDir,
    recorder: Arc<Recorder>,
}

impl Site {
    fn new() -> Self {
        let server = MariaDb::start();
        server.client("CREATE DATABASE blog");
        let kept = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::new(Arc::new(LocalStore::new(kept.path().to_owned()))));
        Self { server, content: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap(), kept, recorder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.content.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn store(&self) -> Arc<dyn Store> {
        self.recorder.clone()
    }

    async fn snapshot(&self) {
        let context = RunContext {
            store: self.store(),
            state: self.state.path().to_owned(),
            site: files_site::settings(&self.server, self.content.path()),
            run: random_run_id(),
            trigger: Trigger::Command,
            options: Default::default(),
            progress: Arc::new(Tally::default()),
            cancel: CancellationToken::new(),
            checkpoint_every: checkpoint::EVERY,
        };
        let report = run(context).await;
        assert!(report.snapshot.is_some(), "{report:#?}");
    }

    async fn open(&self) -> Restore {
        let layout = Layout::new(SiteName::new("blog").unwrap());
        Restore::open(self.store(), layout, "latest", Arc::new(Silent), CancellationToken::new()).await.unwrap()
    }

    async fn restore(&self, target: &Path, options: TargetOptions) -> Result<FilesRestored, RestoreError> {
        self.open().await.files_into(target, None, options).await
    }

    /// What a restore into this directory reads of packs, without the lists.
    async fn fetched(&self, target: &Path, options: TargetOptions) -> (FilesRestored, u64) {
        let mut restore = self.open().await;
        // The lists alone: nothing fits, and nothing is written.
        self.recorder.take();
        restore.entries(None, &mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
        let lists: u64 = self.recorder.take().iter().map(|call| call.bytes).sum();
        drop(restore);
        let mut restore = self.open().await;
        self.recorder.take();
        let restored = restore.files_into(target, None, options).await.unwrap();
        let all: u64 = self.recorder.take().iter().map(|call| call.bytes).sum();
        (restored, all - lists)
    }
}

fn over() -> TargetOptions {
    TargetOptions { overwrite: true, ..TargetOptions::default() }
}

fn deleting(excluded: bool) -> TargetOptions {
    TargetOptions { delete: Some(Delete { rules: Rules::new(true, &[]).unwrap(), excluded }), ..over() }
}

fn paths(patterns: &[&str]) -> PathSelection {
    PathSelection::new(&patterns.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
}

fn touch(path: &Path, seconds: i64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds as u64);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Every path below a directory, with what is known of it, to see that nothing changed.
fn photograph(root: &Path) -> BTreeMap<PathBuf, (u64, u32, i64, i64, i64, i64)> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let m = entry.path().symlink_metadata().unwrap();
            (entry.path().to_owned(), (m.ino(), m.mode(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_differs_is_fetched_and_written() {
    let site = Site::new();
    small_site::make_tree(site.content.path());
    for n in 0..300 {
        site.write(&format!("uploads/many/{n:03}.bin"), small_site::noise(20_000 + n, n as u64));
    }
    site.write("uploads/film.bin", small_site::noise(24 << 20, 77));
    site.snapshot().await;
    let (target, target_path) = directory();

    let (first, bytes) = site.fetched(&target_path, TargetOptions::default()).await;
    same_tree(site.content.path(), &target_path).unwrap();
    // All of it, and no pack twice.
    let stored: u64 =
        walkdir::WalkDir::new(site.kept.path()).into_iter().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes > 28 << 20 && bytes <= stored, "{bytes} of {stored}");
    assert_eq!((first.stats.kept, first.stats.replaced, first.stats.reused_bytes), (0, 0, 0));

    // Nothing differs: nothing is fetched, no file is touched.
    let before = photograph(&target_path);
    let (same, bytes) = site.fetched(&target_path, over()).await;
    assert_eq!(bytes, 0, "{same:?}");
    assert_eq!((same.stats.created, same.stats.replaced, same.stats.metadata, same.stats.bytes), (0, 0, 0, 0));
    assert_eq!(same.stats.kept, first.stats.created);
    assert_eq!(photograph(&target_path), before);

    // One of each kind of difference.
    std::fs::write(target_path.join("uploads/many/007.bin"), "another").unwrap();
    std::fs::remove_file(target_path.join("uploads/many/008.bin")).unwrap();
    touch(&target_path.join("uploads/many/009.bin"), 1_000_000_000);
    std::fs::set_permissions(target_path.join("uploads/many/010.bin"), PermissionsExt::from_mode(0o600)).unwrap();
    let mut film = small_site::noise(24 << 20, 77);
    film.splice(10 << 20..10 << 20, *b"inserted");
    std::fs::write(target_path.join("uploads/film.bin"), film).unwrap();
    std::fs::write(target_path.join("extra"), "stays").unwrap();
    let (some, bytes) = site.fetched(&target_path, over()).await;
    assert_eq!((some.stats.created, some.stats.replaced), (1, 2), "{some:?}");
    assert!(some.stats.reused_bytes > 20 << 20, "{some:?}");
    // Two small files, and the pieces around the place in the large one.
    assert!(bytes < 8 << 20, "{bytes}");
    assert_eq!(std::fs::read(target_path.join("extra")).unwrap(), b"stays");
    std::fs::remove_file(target_path.join("extra")).unwrap();
    site.restore(&target_path, over()).await.unwrap();
    same_tree(site.content.path(), &target_path).unwrap();
    drop(target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_looks_the_same_is_found_by_its_content() {
    let site = Site::new();
    site.write("a.txt", "the right content");
    site.write("large.bin", small_site::noise(9 << 20, 5));
    site.snapshot().await;
    let (_target, path) = directory();
    site.restore(&path, TargetOptions::default()).await.unwrap();
    for (name, at) in [("a.txt", 4u64), ("large.bin", 5 << 20)] {
        let time = std::fs::metadata(path.join(name)).unwrap().modified().unwrap();
        let file = std::fs::File::options().write(true).open(path.join(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"wrong", at).unwrap();
        file.set_modified(time).unwrap();
    }
    let restored = site.restore(&path, over()).await.unwrap();
    assert_eq!(restored.stats.replaced, 0, "by size and time they are the same");
    let restored = site.restore(&path, TargetOptions { checksum: true, ..over() }).await.unwrap();
    assert_eq!((restored.stats.replaced, restored.stats.kept), (2, 1), "{restored:?}");
    same_tree(site.content.path(), &path).unwrap();
    let restored = site.restore(&path, TargetOptions { checksum: true, ..over() }).await.unwrap();
    assert_eq!((restored.stats.replaced, restored.stats.kept), (0, 3), "{restored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_snapshot_does_not_have_is_deleted_and_nothing_else() {
    let site = Site::new();
    site.write("uploads/a.jpg", "a");
    site.write("plugins/p/p.php", "p");
    site.snapshot().await;
    let (outer, path) = directory();
    let outside = outer.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "kept").unwrap();
    site.restore(&path, TargetOptions::default()).await.unwrap();
    let extra = |name: &str| {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "extra").unwrap();
    };
    for name in ["0", "uploads/b.jpg", "uploads/deep/er/c.jpg", "zz/z", "plugins/p/.wp-backup-agent-3.tmp"] {
        extra(name);
    }
    for name in ["cache/page.html", "uploads/x.part", "mixed/debug.tmp", "optout/.donotbackup", "optout/y"] {
        extra(name);
    }
    symlink(&outside, path.join("uploads/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.join("uploads/fifo").as_path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    std::fs::remove_file(path.join("plugins/p/p.php")).unwrap();
    extra("plugins/p/p.php/is/a/directory/now");

    let there = |name: &str| path.join(name).symlink_metadata().is_ok();
    let dry = site.restore(&path, TargetOptions { dry_run: true, ..deleting(false) }).await.unwrap();
    assert!(there("zz/z") && there("plugins/p/p.php/is"), "a dry run deletes nothing");
    let done = site.restore(&path, deleting(false)).await.unwrap();
    assert_eq!((dry.stats.deleted, dry.stats.left), (done.stats.deleted, done.stats.left));
    assert_eq!((dry.stats.created, dry.stats.replaced), (done.stats.created, done.stats.replaced));
    for gone in ["0", "uploads/b.jpg", "uploads/deep", "zz", "plugins/p/.wp-backup-agent-3.tmp", "uploads/link"] {
        assert!(!there(gone), "{gone}");
    }
    for left in ["cache/page.html", "uploads/x.part", "mixed/debug.tmp", "optout/y", "uploads/fifo"] {
        assert!(there(left), "{left}");
    }
    assert_eq!(std::fs::read(outside.join("precious")).unwrap(), b"kept", "a symlink was followed");
    assert_eq!(std::fs::read(path.join("plugins/p/p.php")).unwrap(), b"p");

    std::fs::remove_file(path.join("uploads/fifo")).unwrap();
    site.restore(&path, deleting(true)).await.unwrap();
    same_tree(site.content.path(), &path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_across_a_mount() {
    let site = Site::new();
    site.write("a", "a");
    site.snapshot().await;
    let (outer, path) = directory();
    site.restore(&path, TargetOptions::default()).await.unwrap();
    let (other, at) = (outer.path().join("other"), path.join("extra/mounted"));
    std::fs::create_dir_all(&other).unwrap();
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(other.join("precious"), "kept").unwrap();
    // A mount of the same file system: device numbers don't tell.
    let mounted = Command::new("mount").arg("--bind").args([&other, &at]).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: mounting is not allowed here");
        return;
    }
    let deleted = site.restore(&path, deleting(true)).await;
    assert!(Command::new("umount").arg(&at).status().unwrap().success());
    assert!(deleted.unwrap().stats.left > 0);
    assert_eq!(std::fs::read(other.join("precious")).unwrap(), b"kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_paths_and_globs() {
    let site = Site::new();
    for name in ["uploads/2026/a.jpg", "uploads/2026/b.txt", "uploads/2025/c.jpg", "plugins/p/p.php", "index.php"] {
        site.write(name, name);
    }
    std::fs::set_permissions(site.at("uploads"), PermissionsExt::from_mode(0o751)).unwrap();
    site.snapshot().await;
    let selected = |patterns: &'static [&'static str]| {
        let site = &site;
        async move {
            let (target, path) = directory();
            site.restore(&path, TargetOptions { paths: paths(patterns), ..TargetOptions::default() }).await.unwrap();
            let files = walkdir::WalkDir::new(&path).sort_by_file_name().into_iter().map(Result::unwrap);
            let files = files.filter(|entry| entry.file_type().is_file());
            let names: Vec<String> = files.map(|entry| entry.path().strip_prefix(&path).unwrap().display().to_string()).collect();
            let mode = std::fs::metadata(path.join("uploads")).map(|found| found.mode() & 0o777).ok();
            drop(target);
            (names, mode)
        }
    };
    // The parents come with the snapshot's attributes.
    assert_eq!(selected(&["uploads/2026/a.jpg"]).await, (vec!["uploads/2026/a.jpg".into()], Some(0o751)));
    assert_eq!(selected(&["uploads/2026"]).await.0, ["uploads/2026/a.jpg", "uploads/2026/b.txt"]);
    assert_eq!(selected(&["*.jpg", "/index.php"]).await.0, ["index.php", "uploads/2025/c.jpg", "uploads/2026/a.jpg"]);
    assert_eq!(selected(&["plugins/"]).await, (vec!["plugins/p/p.php".into()], None));

    // What is there already stays as it is, but for what is selected.
    let (_target, path) = directory();
    std::fs::create_dir_all(path.join("uploads/2026")).unwrap();
    std::fs::set_permissions(path.join("uploads"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(path.join("uploads/2026/extra"), "extra").unwrap();
    std::fs::write(path.join("other"), "other").unwrap();
    let options = TargetOptions { paths: paths(&["uploads/2026"]), ..deleting(false) };
    site.restore(&path, options).await.unwrap();
    assert_eq!(std::fs::metadata(path.join("uploads")).unwrap().mode() & 0o777, 0o700);
    assert!(path.join("other").exists(), "it isn't below what was selected");
    assert!(!path.join("uploads/2026/extra").exists());

    // One that fits nothing is named before anything is written.
    let (_target, path) = directory();
    let options = TargetOptions { paths: paths(&["index.php", "no/such*"]), ..TargetOptions::default() };
    let error = site.restore(&path, options).await.unwrap_err();
    assert!(error.to_string().contains("no/such*") && error.exit() == Exit::NoInput, "{error}");
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_writes_nothing() {
    let site = Site::new();
    small_site::make_tree(site.content.path());
    site.write("uploads/same.txt", "same");
    site.write("uploads/other.txt", "right");
    site.write("uploads/mode.txt", "mode");
    site.snapshot().await;
    let (_target, path) = directory();
    let told = Arc::new(Mutex::new(BTreeMap::new()));
    let options = |overwrite: bool| {
        let told = Arc::clone(&told);
        TargetOptions {
            overwrite,
            dry_run: true,
            tell: Some(Box::new(move |action, path| {
                told.lock().unwrap().insert(path.to_string(), action);
            })),
            ..TargetOptions::default()
        }
    };
    let dry = site.restore(&path, options(false)).await.unwrap();
    assert!(!path.exists());
    let real = site.restore(&path, TargetOptions::default()).await.unwrap();
    assert_eq!(dry.stats, real.stats);

    std::fs::write(path.join("uploads/other.txt"), "not right").unwrap();
    std::fs::set_permissions(path.join("uploads/mode.txt"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::remove_dir_all(path.join("plugins")).unwrap();
    let before = photograph(&path);
    told.lock().unwrap().clear();
    let dry = site.restore(&path, options(true)).await.unwrap();
    assert_eq!(photograph(&path), before);
    {
        let told = told.lock().unwrap();
        assert_eq!(told["uploads/same.txt"], Action::Keep);
        assert_eq!(told["uploads/other.txt"], Action::Replace);
        assert_eq!(told["uploads/mode.txt"], Action::Metadata);
        assert_eq!(told["plugins"], Action::Create);
        assert_eq!(told["plugins/hello/h.php"], Action::Create);
    }
    let real = site.restore(&path, over()).await.unwrap();
    assert_eq!(
        (dry.stats.created, dry.stats.replaced, dry.stats.kept),
        (real.stats.created, real.stats.replaced, real.stats.kept)
    );
    same_tree(site.content.path(), &path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_by_option() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let site = Site::new();
    site.write("uploads/a", "a");
    symlink("a", site.at("uploads/l")).unwrap();
    std::os::unix::fs::chown(site.at("uploads/a"), Some(33), Some(33)).unwrap();
    site.snapshot().await;
    let owner = |options: TargetOptions| {
        let site = &site;
        async move {
            let (_target, path) = directory();
            site.restore(&path, options).await.unwrap();
            ["uploads", "uploads/a", "uploads/l"].map(|name| {
                let found = path.join(name).symlink_metadata().unwrap();
                (found.uid(), found.gid())
            })
        }
    };
    let with = |owner: Option<&str>, numeric| TargetOptions {
        owners: OwnerMap::new(owner, numeric).unwrap(),
        ..TargetOptions::default()
    };
    assert_eq!(owner(with(None, true)).await, [(0, 0), (33, 33), (0, 0)]);
    assert_eq!(owner(with(Some("1234:5678"), false)).await, [(1234, 5678); 3]);
    assert_eq!(owner(with(Some("1234"), false)).await, [(1234, 0), (1234, 33), (1234, 0)]);
}

/// What stands in the target may be of a hacked site's making: no symlink is followed.
#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_where_a_directory_belongs_is_not_followed() {
    let site = Site::new();
    site.write("uploads/2026/a.jpg", "from the snapshot");
    site.write("plugins/p/p.php", "p");
    site.snapshot().await;
    let (outer, path) = directory();
    let outside = outer.path().join("outside");
    std::fs::create_dir_all(outside.join("2026")).unwrap();
    std::fs::write(outside.join("2026/a.jpg"), "precious").unwrap();
    let prepare = || {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("plugins")).unwrap();
        symlink(&outside, path.join("uploads")).unwrap();
        symlink(outside.join("2026/a.jpg"), path.join("plugins/p")).unwrap();
    };
    let untouched = || {
        assert_eq!(std::fs::read(outside.join("2026/a.jpg")).unwrap(), b"precious");
        assert_eq!(walkdir::WalkDir::new(&outside).into_iter().count(), 3);
    };
    prepare();
    site.restore(&path, over()).await.unwrap();
    untouched();
    same_tree(site.content.path(), &path).unwrap();
    prepare();
    site.restore(&path, deleting(true)).await.unwrap();
    untouched();
    // A parent that isn't selected itself is not replaced: the restore is refused.
    prepare();
    let options = TargetOptions { paths: paths(&["uploads/2026/a.jpg"]), ..over() };
    let error = site.restore(&path, options).await.unwrap_err();
    assert_eq!(error.exit(), Exit::CannotCreate, "{error}");
    untouched();
    // Directories that become symlinks while they are restored.
    let link = path.join("uploads.link");
    prepare();
    std::fs::remove_file(path.join("uploads")).unwrap();
    symlink(&outside, &link).unwrap();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = {
        let (done, dir) = (Arc::clone(&done), path.clone());
        std::thread::spawn(move || {
            let dir = std::fs::File::open(dir).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&dir, "uploads", &dir, "uploads.link", flags);
            }
        })
    };
    for _ in 0..20 {
        // Whether it gets through is chance.
        let _ = site.restore(&path, over()).await;
        untouched();
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
}

/// A file with other names keeps what those have: its metadata aren't changed in place.
#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_out_of_the_target_is_left_alone() {
    let site = Site::new();
    site.write("a", "content");
    std::fs::set_permissions(site.at("a"), PermissionsExt::from_mode(0o666)).unwrap();
    site.snapshot().await;
    let (outer, path) = directory();
    let outside = outer.path().join("outside");
    std::fs::write(&outside, "content").unwrap();
    let time = std::fs::metadata(site.at("a")).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(&outside).unwrap().set_modified(time).unwrap();
    std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::hard_link(&outside, path.join("a")).unwrap();
    for options in [over(), TargetOptions { checksum: true, ..over() }] {
        site.restore(&path, options).await.unwrap();
        assert_eq!(std::fs::metadata(&outside).unwrap().mode() & 0o777, 0o600);
    }
    same_tree(site.content.path(), &path).unwrap();
}

/// Killed at any moment, a restore leaves each file as it was or as it is to be; the next one ends it.
#[test]
fn killed_in_the_middle_each_file_is_old_or_new() {
    let server = MariaDb::start();
    server.client("CREATE DATABASE blog");
    let (content, kept, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let new = |n: u64| small_site::noise(60_000 + n as usize, n);
    std::fs::create_dir(content.path().join("uploads")).unwrap();
    for n in 0..1500 {
        std::fs::write(content.path().join(format!("uploads/{n}.bin")), new(n)).unwrap();
    }
    let agent = Agent::new(&server, "blog", content.path(), &support::agent::Store::Local(kept.path()));
    let output = agent.run(&["run-now", "--foreground"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output));
    let target = out.path().join("target");
    let uploads = target.join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let old = |n: u64| format!("old {n}").into_bytes();
    for n in 0..1500 {
        std::fs::write(uploads.join(format!("{n}.bin")), old(n)).unwrap();
    }
    let args = ["restore", "latest", "--overwrite", "--files", target.to_str().unwrap()];
    // In the list's order.
    let mut names: Vec<u64> = (0..1500).collect();
    names.sort_by_key(|n| format!("{n}.bin"));
    let mut mixed = 0;
    for round in 0..6 {
        let mark = names[100 + 200 * round];
        let mut child = agent.command(&args).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while std::fs::metadata(uploads.join(format!("{mark}.bin"))).unwrap().len() < 60_000 {
            assert!(begun.elapsed() < Duration::from_secs(60), "file {mark} does not come");
        }
        signal(child.id() as i32, rustix::process::Signal::KILL);
        child.wait().unwrap();
        let mut seen = [0, 0];
        for n in 0..1500 {
            let there = std::fs::read(uploads.join(format!("{n}.bin"))).unwrap();
            assert!(there == old(n) || there == new(n), "file {n} is neither");
            seen[usize::from(there == new(n))] += 1;
        }
        mixed += u32::from(seen[0] > 0 && seen[1] > 0);
    }
    assert!(mixed > 0, "no kill fell into the middle");
    agent.ok(&["restore", "latest", "--overwrite", "--delete", "--files", target.to_str().unwrap()]);
    same_tree(content.path(), &target).unwrap();
}

/// Onto the site itself only after a snapshot of what is there.
#[test]
fn the_live_site_is_captured_first() {
    let server = MariaDb::start();
    server.client("CREATE DATABASE blog; CREATE TABLE blog.t (a INT PRIMARY KEY); INSERT INTO blog.t VALUES (1)");
    let (content, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(content.path().join("index.php"), "first").unwrap();
    let agent = Agent::new(&server, "blog", content.path(), &support::agent::Store::Local(kept.path()));
    agent.run(&["run-now", "--foreground"]);
    assert_eq!(agent.snapshots(), 1);
    std::fs::write(content.path().join("index.php"), "edited").unwrap();
    let live = content.path().to_str().unwrap();
    let edited = || std::fs::read_to_string(content.path().join("index.php")).unwrap();

    // Elsewhere, and in a dry run, nothing is to be saved.
    let elsewhere = tempfile::tempdir().unwrap();
    agent.ok(&["restore", "1", "--files", elsewhere.path().to_str().unwrap()]);
    agent.ok(&["restore", "latest", "--files", live, "--overwrite", "--dry-run"]);
    assert_eq!((agent.snapshots(), edited().as_str()), (1, "edited"));

    // `latest` is the one from before.
    let output = agent.run(&["restore", "latest", "--files", live, "--overwrite"]);
    assert!(output.status.success() && text(&output).contains("safety snapshot: 2"), "{}", text(&output));
    assert_eq!((agent.snapshots(), edited().as_str()), (2, "first"));
    let find = agent.ok(&["snapshots", "find", "index.php"]);
    assert_eq!(find.lines().count(), 2, "{find}");

    // By the daemon, when it runs.
    let daemon = agent.daemon();
    let output = agent.run(&["restore", "2", "--files", live, "--overwrite"]);
    assert!(output.status.success() && text(&output).contains("safety snapshot: 3"), "{}", text(&output));
    assert_eq!(edited(), "edited");
    daemon.stop();

    // A run that fails: nothing is restored, and the way round is named.
    server.client("DROP DATABASE blog");
    let output = agent.run(&["restore", "1", "--files", live, "--overwrite"]);
    assert!(!output.status.success() && text(&output).contains("--no-safety-snapshot"), "{}", text(&output));
    assert_eq!(edited(), "edited");
    agent.ok(&["restore", "1", "--files", live, "--overwrite", "--no-safety-snapshot"]);
    assert_eq!(edited(), "first");

    // The database: a schema of another name is no risk, the site's own is.
    server.client("CREATE DATABASE blog; CREATE TABLE blog.t (a INT PRIMARY KEY); INSERT INTO blog.t VALUES (2)");
    agent.ok(&["restore", "1", "--database", "elsewhere", "--user", "root"]);
    assert_eq!(agent.snapshots(), 3);
    let output = agent.run(&["restore", "1", "--database", "blog", "--user", "root", "--swap"]);
    assert!(output.status.success() && text(&output).contains("safety snapshot: 4"), "{}", text(&output));
    assert_eq!(server.client("SELECT a FROM blog.t").trim(), "1");
}

/// A directory that doesn't exist yet, and what it is in.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("target");
    (outer, path)
}
