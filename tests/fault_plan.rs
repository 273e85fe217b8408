//! A fault at every request to the store, in a first run, an incremental one and a prune; and at calls of the system, in the agent itself: after each,
//! what is in the store restores, and the next run commits. `FAULTS=all` makes a case of every call of the system.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use support::agent::{Agent, Store as Of, text};
use support::compare::same_tree;
use support::files_site::{FilesSite, layout};
use support::mariadb::MariaDb;
use support::small_site::{make_tables, make_tree, noise};
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::{Keep, TrustedKeys};
use wp_backup_agent::repository::prune::Plan;
use wp_backup_agent::repository::random_run_id;
use wp_backup_agent::repository::reuse::{Rules, Since};
use wp_backup_agent::repository::sign::SigningKey;
use wp_backup_agent::storage::{Fault, Faulty, LocalStore, StoreErrorKind};

/// More requests than any of these has.
const MANY: u64 = 100;

fn fault(kind: usize) -> Fault {
    [Fault::Before, Fault::After, Fault::Down, Fault::Stall(Duration::from_millis(30))][kind]
}

fn change(content: &Path, n: u64) {
    fs::create_dir_all(content.join("uploads")).unwrap();
    fs::write(content.join(format!("uploads/{}.bin", n % 7)), noise(50_000, n)).unwrap();
    fs::write(content.join("uploads/always.bin"), noise(20_000, 1000 + n)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn after_a_fault_at_any_request_of_a_run_the_store_is_whole_and_the_next_run_commits() {
    let mut cases = 0;
    for (first, kind) in [(true, 0), (true, 1), (true, 2), (true, 3), (false, 0), (false, 1), (false, 2), (false, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let (content, before, target) = (dir.path().join("content"), dir.path().join("before"), dir.path().join("target"));
        let mut site = FilesSite::of(100 << 20);
        change(&content, 0);
        if !first {
            site.commits(&content);
        }
        for n in 1..MANY {
            if first {
                site = FilesSite::of(100 << 20);
            }
            copy(&content, &before);
            change(&content, n);
            let seen = site.snapshots().len();
            let store = Arc::new(Faulty::new(site.store(), [(n, fault(kind))]).failing_with(StoreErrorKind::Unreachable));
            let report = site.tries(&content, store.clone());
            if store.calls() < n {
                assert!(report.snapshot.is_some() && n > 2, "{:?}", report.error);
                break;
            }
            cases += 1;
            // The newest is of before, or of now: also when the reply was lost, and the run believes that it failed.
            let there = site.snapshots();
            assert!(there.len() <= seen + 1);
            assert!(report.snapshot.is_none() || there.len() == seen + 1, "a run that committed is not there");
            if let Some(newest) = there.last() {
                let _ = fs::remove_dir_all(&target);
                site.restore(*newest, &target);
                same_tree(if there.len() > seen { &content } else { &before }, &target).unwrap();
            }
            site.commits(&content);
            let _ = fs::remove_dir_all(&target);
            site.restore(*site.snapshots().last().unwrap(), &target);
            same_tree(&content, &target).unwrap();
        }
    }
    println!("{cases} cases of a fault at a request of a run");
    assert!(cases >= 24, "{cases}");
}

/// As if all had been written at one time, long ago.
fn age(store: &Path) {
    let then = SystemTime::now() - Duration::from_secs(8 * 86_400);
    for entry in walkdir::WalkDir::new(store).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        File::options().write(true).open(entry.path()).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn after_a_fault_at_any_request_of_a_prune_every_snapshot_there_restores_and_the_next_one_does_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let content = dir.path().join("content");
    let site = FilesSite::of(100 << 20);
    for n in 0..4 {
        change(&content, n);
        site.commits(&content);
        copy(&content, &dir.path().join(format!("content-{}", n + 1)));
    }
    age(site.kept.path());
    let whole = dir.path().join("whole");
    copy(site.kept.path(), &whole);
    let (key, _) = SigningKey::load_or_make(site.state.path()).unwrap();
    let keep = Keep { last: 2, ..Keep::default() };
    let prune = |store: &Faulty| {
        site.wait(async {
            let plan = Plan::make(store, &layout(), &keep, &TrustedKeys::default(), Rules::default(), Since::now()).await?;
            plan.carry_out(store, random_run_id(), jiff::Timestamp::now(), &key, &CancellationToken::new()).await
        })
    };
    let all_restore = || {
        for seq in site.snapshots() {
            let target = dir.path().join("target");
            let _ = fs::remove_dir_all(&target);
            site.restore(seq, &target);
            same_tree(&dir.path().join(format!("content-{seq}")), &target).unwrap();
        }
    };
    let mut cases = 0;
    for kind in 0..3 {
        for n in 1..MANY {
            // The store is where the site has it; only what is in it is put back.
            for entry in fs::read_dir(site.kept.path()).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
            copy(&whole.join("blog"), &site.kept.path().join("blog"));
            let store = Faulty::deleting(Arc::new(LocalStore::new(site.kept.path().to_owned())), [(n, fault(kind))]);
            let pruned = prune(&store);
            if store.calls() < n {
                assert!(pruned.is_ok() && n > 4);
                break;
            }
            cases += 1;
            all_restore();
            // What it has written is young, and the next one comes at once.
            prune(&Faulty::deleting(Arc::new(LocalStore::new(site.kept.path().to_owned())), [])).unwrap();
            assert_eq!(site.snapshots(), [3, 4]);
            all_restore();
        }
    }
    println!("{cases} cases of a fault at a request of a prune");
    assert!(cases >= 15, "{cases}");
}

/// Calls by which local state, and a store that is a directory, are read and written.
/// Not among them: `write`, by which the runtime wakes its threads, too; that never fails, and a thread that isn't woken waits for ever.
const CALLS: [(&str, &str, usize); 11] = [
    ("openat", "EIO", 400),
    ("pwrite64", "ENOSPC", 4),
    ("fsync", "EIO", 20),
    ("fdatasync", "EIO", 4),
    ("rename", "EIO", 10),
    ("renameat2", "EIO", 10),
    ("linkat", "EIO", 6),
    ("mkdir", "ENOSPC", 12),
    ("unlink", "EIO", 10),
    ("unlinkat", "EIO", 10),
    ("flock", "EIO", 2),
];

#[test]
fn after_a_fault_at_a_call_of_the_system_the_store_is_whole_and_the_next_run_commits() {
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        println!("not looked at: this machine lets no process trace another");
        return;
    }
    let all = std::env::var("FAULTS").is_ok_and(|value| value == "all");
    let (dir, server) = (tempfile::tempdir().unwrap(), MariaDb::start());
    let (content, before, store) = (dir.path().join("content"), dir.path().join("before"), dir.path().join("store"));
    fs::create_dir(&store).unwrap();
    fs::create_dir(&content).unwrap();
    make_tables(&server, "blog");
    make_tree(&content);
    change(&content, 0);
    let agent = Agent::new(&server, "blog", &content, &Of::Local(&store));
    agent.snapshot();
    let restores = |expected: Option<&Path>| {
        let target = dir.path().join("target");
        let _ = fs::remove_dir_all(&target);
        agent.ok(&["restore", "latest", "--files", target.to_str().unwrap()]);
        if let Some(expected) = expected {
            same_tree(expected, &target).unwrap();
        }
    };
    let (mut cases, mut failed) = (0, 0);
    for (call, error, most) in CALLS {
        // Each thread counts its own calls.
        let step = if all { 1 } else { most.div_ceil(4) };
        for n in (1..=most).step_by(step) {
            copy(&content, &before);
            change(&content, 10 + cases);
            let seen = agent.snapshots();
            let run = agent.command(&["run-now", "--foreground"]);
            let output = Command::new("timeout")
                .args(["--kill-after=5", "60", "strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"])
                .arg(format!("inject={call}:error={error}:when={n}"))
                .arg(run.get_program())
                .args(run.get_args())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            cases += 1;
            let code = output.status.code();
            let what = || format!("{call} number {n}: {code:?}: {}", text(&output));
            assert!(!matches!(code, None | Some(70 | 101 | 124 | 134)), "{}", what());
            failed += u64::from(code != Some(0));
            let committed = agent.snapshots() > seen;
            assert!(committed || !matches!(code, Some(0 | 3)), "{}", what());
            // With findings something could not be read, and the snapshot says so.
            let findings = committed && code != Some(0);
            restores((!findings).then_some(if committed { &content } else { &before }));
            agent.snapshot();
            restores(Some(&content));
        }
    }
    println!("{cases} cases of a fault at a call of the system, {failed} of which the run did not end well");
    assert!(failed >= 10, "{failed} of {cases}: the faults don't come to the agent");
}
