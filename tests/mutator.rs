//! A tree that changes all the time: no snapshot holds content that never was, nothing outside the tree is read, and what could not be
//! captured whole is named.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::inotify;
use wp_backup_agent::repository::entry::{FileEntry, FileFlag, FileKind, Finding, FindingCode};

use support::blocks::{Verdict, read};
use support::files_site::FilesSite;
use support::mutator::{ACTIONS, Mutator, RESTLESS, SECRET};
use support::roomy;

const RUNS: usize = 50;

/// One run, and when it began and ended.
struct Ran {
    seq: u64,
    time: (Instant, Instant),
}

#[test]
fn snapshots_of_a_tree_that_is_never_at_rest() {
    let (site, dir) = (FilesSite::of(1 << 30), roomy::directory(1 << 30));
    let mutator = Mutator::make(dir.path(), 1);
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    let audit = Audit::of(&outside);
    let running = mutator.start();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let seq = site.commits(&root).summary.seq;
        runs.push(Ran { seq, time: (begun, Instant::now()) });
    }
    let mutator = running.stop();
    assert_eq!(audit.events(), [""; 0], "something outside the tree was opened");
    // The audit would have seen it.
    std::fs::read(outside.join("swap0/f0.bin")).unwrap();
    assert!(audit.events().iter().any(|event| event.contains("f0.bin")));

    let mut counts = BTreeMap::<&str, u64>::new();
    for ran in &runs {
        check(&site, &mutator, ran, &mut counts);
    }
    no_pack_holds_a_secret(site.kept.path());
    let done: Vec<String> = ACTIONS.iter().zip(mutator.done).map(|(action, n)| format!("{n} {action}")).collect();
    println!("{RUNS} runs; changes meanwhile: {}; {counts:?}", done.join(", "));
    assert!(mutator.done.iter().all(|n| *n > 0));
    // It was hard enough: some files changed at each of the three readings, some entries were links for a while.
    assert!(counts["torn"] > 0 && counts["links out of the tree"] > 0, "{counts:?}");
}

/// Restores a snapshot and looks at each file of it.
fn check(site: &FilesSite, mutator: &Mutator, ran: &Ran, counts: &mut BTreeMap<&'static str, u64>) {
    let target = roomy::directory(1 << 28);
    site.restore(ran.seq, target.path());
    let (manifest, entries, findings) = site.lists(ran.seq);
    named(&entries, &findings);
    for finding in &findings {
        *counts.entry(code(finding.code)).or_default() += 1;
    }
    assert_eq!(manifest.findings.values().sum::<u64>(), findings.len() as u64);
    for subject in mutator.subjects.iter().filter(|subject| subject.is_settled()) {
        let path = subject.path.to_str().unwrap();
        let captured = entries.iter().any(|entry| entry.path.as_bytes() == path.as_bytes());
        assert!(captured, "snapshot {}: {path} is missing", ran.seq);
    }
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::File) {
        let path = entry.path.to_string();
        let bytes = std::fs::read(target.path().join(&path)).unwrap();
        if entry.flags.contains(&FileFlag::Torn) || path == RESTLESS {
            continue;
        }
        let Some((id, runs)) = read(&bytes) else { panic!("snapshot {}: {path} is a mixture within a block", ran.seq) };
        // An empty file doesn't tell whose it is.
        let subject = match runs.is_empty() {
            true => mutator.subjects.iter().find(|subject| subject.path == Path::new(&path)),
            false => mutator.subjects.get(id as usize),
        };
        let Some(subject) = subject else { continue };
        let moved = subject.path.starts_with("moving") && path.starts_with("moving/");
        assert!(moved || subject.path == Path::new(&path), "snapshot {}: {path} has another's content", ran.seq);
        let verdict = subject.history.judge(&runs, ran.time);
        assert_ne!(verdict, Verdict::Never, "snapshot {}: {path} never was {runs:?} during the run: {entry:?}", ran.seq);
        *counts.entry(if verdict == Verdict::Whole { "whole" } else { "half-written for a moment" }).or_default() += 1;
    }
}

/// Torn entries and the findings of that kind are the same.
fn named(entries: &[FileEntry], findings: &[Finding]) {
    let torn = entries.iter().filter(|entry| entry.flags.contains(&FileFlag::Torn));
    let flagged: BTreeSet<String> = torn.map(|entry| entry.path.to_string()).collect();
    let of_kind = findings.iter().filter(|finding| finding.code == FindingCode::Torn);
    let named: BTreeSet<String> = of_kind.map(|finding| finding.subject.to_string()).collect();
    assert_eq!(flagged, named);
}

fn code(code: FindingCode) -> &'static str {
    match code {
        FindingCode::Torn => "torn",
        FindingCode::OutsideLink => "links out of the tree",
        FindingCode::SpecialFile => "special files",
        FindingCode::Unreadable => "unreadable",
        _ => "other findings",
    }
}

/// Looks through all that was sent, also what no snapshot names.
fn no_pack_holds_a_secret(kept: &Path) {
    let search = |word: &str| {
        let script = "find \"$0\" -name '*.tar.zst' -exec zstd -dcq {} + | grep --text --count --fixed-strings \"$1\"";
        let status = Command::new("sh").args(["-c", script]).arg(kept).arg(word).stdout(Stdio::null()).status().unwrap();
        status.success()
    };
    assert!(search("toc.json"), "the packs could not be searched");
    assert!(!search(std::str::from_utf8(&SECRET[..6]).unwrap()));
}

/// Hears of every file and directory below this one that is opened or read.
struct Audit(OwnedFd);

impl Audit {
    fn of(dir: &Path) -> Self {
        let audit = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        let flags = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
        for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_dir()) {
            inotify::add_watch(&audit, entry.path(), flags).unwrap();
        }
        let audit = Self(audit);
        // Of the walk just now, which went on while the first were watched.
        audit.events();
        audit
    }

    /// What that was since it was last asked.
    fn events(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            events.push(format!("{:?} of {:?}", event.events(), event.file_name()));
        }
        events
    }
}
