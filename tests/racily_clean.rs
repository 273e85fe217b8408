//! A file that was overwritten without looks of it — same size, mtime set back — is in the next snapshot as it is.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs::{File, FileTimes, Metadata};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use wp_backup_agent::progress::{Event, Phase};

use support::files_site::{Committed, FilesSite, SETTLED};

/// Of all contents.
const SIZE: usize = 10_000;
/// The mtime of all of them.
fn mtime() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789)
}

fn content(version: u32) -> Vec<u8> {
    format!("version {version:08}\n").into_bytes().into_iter().cycle().take(SIZE).collect()
}

/// Overwrites a file in place; its inode, size and mtime stay.
fn overwrite(path: &Path, version: u32) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(&content(version)).unwrap();
    file.set_times(FileTimes::new().set_modified(mtime())).unwrap();
}

/// What the next snapshot would be taken in by.
fn looks(path: &Path) -> (u64, i64, i64, u64) {
    let found: Metadata = path.metadata().unwrap();
    (found.size(), found.mtime(), found.mtime_nsec(), found.ino())
}

fn ctime(path: &Path) -> (i64, i64) {
    let found = path.metadata().unwrap();
    (found.ctime(), found.ctime_nsec())
}

struct Fixture {
    site: FilesSite,
    content: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { site: FilesSite::of(1 << 20), content: tempfile::tempdir().unwrap() };
        for n in 0..5 {
            overwrite(&fixture.file(n), 0);
        }
        fixture
    }

    fn file(&self, n: u32) -> PathBuf {
        self.content.path().join(format!("{n}.bin"))
    }

    fn commits(&self) -> Committed {
        self.site.commits(self.content.path())
    }

    /// A snapshot of files at rest, and another to show that their looks are trusted by now.
    fn settle(&self) {
        sleep(SETTLED);
        self.commits();
        let trusting = self.commits();
        assert_eq!(trusting.read, 0, "nothing changed, yet something was read");
    }

    /// The file in this snapshot.
    fn restored(&self, seq: u64, n: u32) -> Vec<u8> {
        let target = tempfile::tempdir().unwrap();
        self.site.restore(seq, target.path());
        std::fs::read(target.path().join(format!("{n}.bin"))).unwrap()
    }

    #[track_caller]
    fn next_has(&self, n: u32, version: u32) {
        let next = self.commits();
        assert!(self.restored(next.summary.seq, n) == content(version), "version {version} of {n}.bin was not captured");
    }
}

#[test]
fn a_file_of_the_same_size_with_its_mtime_set_back() {
    let fixture = Fixture::new();
    fixture.settle();
    let file = fixture.file(1);
    let before = looks(&file);
    overwrite(&file, 1);
    assert_eq!(looks(&file), before);
    fixture.next_has(1, 1);
}

#[test]
fn another_file_of_the_same_inode_number() {
    let fixture = Fixture::new();
    fixture.settle();
    let file = fixture.file(1);
    let before = looks(&file);
    std::fs::remove_file(&file).unwrap();
    // What is made in between gets other numbers, until the wanted one comes up.
    let found = (0..2000).find(|n| {
        let attempt = fixture.content.path().join(format!(".attempt-{n}"));
        std::fs::write(&attempt, content(1)).unwrap();
        let is_it = attempt.metadata().unwrap().ino() == before.3;
        if is_it {
            std::fs::rename(&attempt, &file).unwrap();
            overwrite(&file, 1);
        }
        is_it
    });
    for n in 0..2000 {
        let _ = std::fs::remove_file(fixture.content.path().join(format!(".attempt-{n}")));
    }
    let Some(attempts) = found else {
        println!("skipped: this file system does not use an inode number again");
        return;
    };
    println!("inode {} again after {attempts} others", before.3);
    assert_eq!(looks(&file), before);
    fixture.next_has(1, 1);
}

/// Overwritten as soon as the run has read it, at the begin of each of its steps, and when it is over: each time the next run has it.
#[test]
fn overwritten_during_each_step_of_a_run_and_right_after_it() {
    let fixture = Fixture::new();
    let file = fixture.file(2);
    let moments: [fn(&Event) -> bool; 6] = [
        |event| matches!(event, Event::Phase(Phase::Files)),
        |event| matches!(event, Event::Read { .. }),
        |event| matches!(event, Event::Phase(Phase::Database)),
        |event| matches!(event, Event::Phase(Phase::SecondLook)),
        |event| matches!(event, Event::Phase(Phase::CrossCheck)),
        |event| matches!(event, Event::Phase(Phase::Done)),
    ];
    let mut version = 0;
    for round in 0..5 {
        for (n, moment) in moments.into_iter().enumerate() {
            version += 1;
            overwrite(&file, version);
            let last = Arc::new(Mutex::new(version));
            let (own, watched) = (last.clone(), file.clone());
            let committed = fixture.site.commits_watched(fixture.content.path(), move |event| {
                if moment(event) {
                    let mut version = own.lock().unwrap();
                    *version += 1;
                    overwrite(&watched, *version);
                }
            });
            let first = version;
            version = *last.lock().unwrap();
            assert!(version > first, "round {round}: moment {n} did not come");
            // One of the versions, whole.
            let held = fixture.restored(committed.summary.seq, 2);
            assert!((first..=version).any(|one| held == content(one)), "round {round}, moment {n}: {:?}", &held[..17]);
            fixture.next_has(2, version);
        }
    }
    // A run, and at once the next version, and at once a run.
    for _ in 0..30 {
        version += 1;
        overwrite(&file, version);
        fixture.next_has(2, version);
    }
}

/// On a file system whose times are whole seconds, all that can be told of a file stays the same within one.
#[test]
fn overwritten_within_one_tick_of_the_file_systems_clock() {
    let fixture = Fixture::new();
    let Some(mounted) = Coarse::mount() else { return };
    let tree = mounted.0.path().join("tree");
    let file = tree.join("1.bin");
    let (mut version, mut missed_it) = (0, 0);
    let mut same_looks = 0;
    while same_looks < 3 {
        assert!(missed_it < 30, "no run fits into a second of the clock");
        // At the beginning of a second, so that a run and the next version fit into it.
        let since_second = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        sleep(Duration::from_nanos(1_000_000_000 - u64::from(since_second)) + Duration::from_millis(5));
        version += 1;
        overwrite(&file, version);
        let before = (looks(&file), ctime(&file));
        let first = fixture.site.commits(&tree).summary.seq;
        version += 1;
        overwrite(&file, version);
        let same = (looks(&file), ctime(&file)) == before;
        let second = fixture.site.commits(&tree).summary.seq;
        for (seq, expected) in [(first, version - 1), (second, version)] {
            let target = tempfile::tempdir().unwrap();
            fixture.site.restore(seq, target.path());
            assert!(std::fs::read(target.path().join("1.bin")).unwrap() == content(expected), "version {expected}");
        }
        if same {
            same_looks += 1;
        } else {
            missed_it += 1;
        }
    }
    println!("{same_looks} times nothing told the versions apart; {missed_it} times the run took longer than the second");
}

/// An ext2 of small inodes, which have no room for parts of a second.
struct Coarse(tempfile::TempDir);

impl Coarse {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new("mkfs.ext2").args(["-q", "-F", "-I", "128"]).arg(&image).output();
        let mounted = made.is_ok_and(|made| made.status.success()) && {
            let mut mount = Command::new("mount");
            mount.args(["-o", "loop"]).arg(&image).arg(dir.path().join("tree"));
            std::fs::create_dir(dir.path().join("tree")).unwrap();
            mount.output().is_ok_and(|mount| mount.status.success())
        };
        if !mounted {
            println!("skipped: no file system with times of whole seconds can be mounted here");
        }
        mounted.then_some(Self(dir))
    }
}

impl Drop for Coarse {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path().join("tree")).status();
    }
}
