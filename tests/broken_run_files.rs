//! A first run that was killed half-way is not done all over: what was sent is used, all but the packs that were on their way.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::agent::{Agent, Store, signal};
use support::bare_site::manifests_in;
use support::mariadb::MariaDb;
use support::roomy;
use support::small_site::{make_tables, make_tree, noise};

const MIB: u64 = 1 << 20;
/// A pack and its last frame.
const PACK: u64 = 18 * MIB;
/// Sealed or sent at a time, and the one that is being filled.
const IN_FLIGHT: u64 = 3;

/// A tree of so many bytes that don't compress.
fn fill(content: &Path, bytes: u64) {
    let (mut made, mut piece) = (0, 0);
    for n in 0.. {
        let size = [200_000, 1 << 20, 5 * MIB, 40 * MIB, 700_000, 150 * MIB][n % 6].min(bytes - made);
        if size == 0 {
            return;
        }
        let dir = content.join(format!("uploads/{}", n % 7));
        std::fs::create_dir_all(&dir).unwrap();
        let mut file = File::create(dir.join(format!("{n}.bin"))).unwrap();
        for at in (0..size).step_by(MIB as usize) {
            piece += 1;
            file.write_all(&noise((size - at).min(MIB) as usize, piece)).unwrap();
        }
        made += size;
    }
}

/// The packs in the store, with their sizes.
fn packs(store: &Path) -> BTreeMap<String, u64> {
    let files = walkdir::WalkDir::new(store.join("blog/packs")).into_iter().filter_map(Result::ok);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.file_name().to_str().unwrap().trim_end_matches(".tar.zst").to_owned();
            (name, entry.metadata().map_or(0, |found| found.len()))
        })
        .collect()
}

/// 1.5 GB: in four minutes of all tests there is no room for 4 GB, which `WPBA_BROKEN_RUN_GB=4` asks for.
#[test]
fn a_killed_first_run_is_gone_on_with() {
    let gigabytes: f64 = std::env::var("WPBA_BROKEN_RUN_GB").map_or(1.5, |text| text.parse().unwrap());
    let bytes = (gigabytes * 1e9) as u64;
    let (server, content, store) = (MariaDb::start(), roomy::directory(3 * bytes), roomy::directory(2 * bytes));
    make_tables(&server, "blog");
    make_tree(content.path());
    fill(content.path(), bytes);
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));

    let begun = Instant::now();
    let mut child = agent.command(&["run-now", "--foreground"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while packs(store.path()).values().sum::<u64>() < bytes / 2 {
        assert!(child.try_wait().unwrap().is_none(), "the run is over before half of it was in the store");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::KILL);
    assert!(!child.wait().unwrap().success());
    assert!(manifests_in(store.path()).is_empty(), "nothing may be committed");
    let before = packs(store.path());
    let sent_before: u64 = before.values().sum();
    println!("killed after {:.1?}: {} packs, {} MiB in the store", begun.elapsed(), before.len(), sent_before / MIB);

    let begun = Instant::now();
    agent.snapshot();
    let manifest = std::fs::read(manifests_in(store.path()).last().unwrap()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let named: BTreeSet<&str> = manifest["packs"].as_array().unwrap().iter().map(|pack| pack["name"].as_str().unwrap()).collect();
    let after = packs(store.path());
    assert!(named.iter().all(|name| after.contains_key(*name)), "the snapshot needs packs that are not there");
    let orphans: Vec<u64> = after.iter().filter(|(name, _)| !named.contains(name.as_str())).map(|(_, size)| *size).collect();
    let all: u64 = after.values().sum();
    let sent_again = manifest["uploaded"]["bytes"].as_u64().unwrap();
    println!(
        "gone on with in {:.1?}: {} MiB sent, {} packs that nothing names, {} MiB beyond the content in the store",
        begun.elapsed(),
        sent_again / MIB,
        orphans.len(),
        all.saturating_sub(bytes) / MIB,
    );
    // What no snapshot names is what was on its way, and so is what was sent twice: no byte of it compresses.
    assert!(orphans.len() as u64 <= IN_FLIGHT, "{orphans:?}");
    let content_bytes = manifest["counts"]["file_bytes"].as_u64().unwrap() + manifest["counts"]["sql_bytes"].as_u64().unwrap();
    let overhead = content_bytes / 200 + MIB;
    assert!(all <= content_bytes + overhead + IN_FLIGHT * PACK, "{all} bytes in the store for {content_bytes}");
    assert!(
        sent_again <= content_bytes + overhead - sent_before + IN_FLIGHT * PACK,
        "{sent_again} bytes sent after {sent_before}"
    );

    let target = roomy::directory(bytes);
    agent.ok(&["restore", "latest", "--files", target.path().to_str().unwrap()]);
    support::compare::same_tree(content.path(), target.path()).unwrap();

    // And nothing of it is sent a third time.
    agent.snapshot();
    assert_eq!(packs(store.path()), after);

    // When the grace period is over, pruning leaves what the newest snapshot needs and nothing else.
    for entry in walkdir::WalkDir::new(store.path()).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        let file = File::options().write(true).open(entry.path()).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(8 * 86_400)).unwrap();
    }
    agent.ok(&["prune", "--keep-last", "1"]);
    let manifest = std::fs::read(manifests_in(store.path()).last().unwrap()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let needed: BTreeSet<String> =
        manifest["packs"].as_array().unwrap().iter().map(|pack| pack["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(packs(store.path()).into_keys().collect::<BTreeSet<_>>(), needed);
    agent.ok(&["verify"]);
}
