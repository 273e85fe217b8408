//! A pack of which little is still needed is given up: what is needed is sent again, and later snapshots don't name it.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::agent::{Agent, Store, set_mode, text};
use support::compare;
use support::files_site::{FilesSite, SETTLED};
use support::mariadb::MariaDb;
use support::small_site::{self, noise};
use wp_backup_agent::repository::ids::PackName;
use wp_backup_agent::repository::manifest::Manifest;

const MIB: usize = 1 << 20;

fn names(manifest: &Manifest) -> BTreeSet<PackName> {
    manifest.packs.iter().map(|pack| pack.name).collect()
}

/// Forty files of a MiB.
fn fill(content: &Path) {
    fs::create_dir_all(content.join("uploads")).unwrap();
    for n in 0..40 {
        fs::write(content.join(format!("uploads/{n}.bin")), noise(MIB, n)).unwrap();
    }
    std::thread::sleep(SETTLED);
}

#[test]
fn what_is_needed_of_a_sparse_pack_is_sent_again_once() {
    let (content, site) = (tempfile::tempdir().unwrap(), FilesSite::of(300 << 20));
    fill(content.path());
    site.commits(content.path());
    let first = site.manifest(1);
    let large = |manifest: &Manifest| manifest.packs.iter().filter(|pack| pack.size as usize > 10 * MIB).count();
    assert!(large(&first) >= 2, "{:?}", first.packs);
    assert!(first.packs.iter().all(|pack| pack.content >= pack.live && pack.content > 0), "{:?}", first.packs);

    // Six of seven go: less than a quarter of each pack is left.
    for n in (0..40).filter(|n| n % 7 != 0) {
        fs::remove_file(content.path().join(format!("uploads/{n}.bin"))).unwrap();
    }
    let second = site.commits(content.path());
    assert!(second.summary.uploaded.bytes < MIB as u64, "what is sparse now was not when the run began");
    let third = site.commits(content.path());
    assert_eq!(third.read, 6 * MIB as u64);
    assert!(third.summary.uploaded.bytes > 6 * MIB as u64, "{:?}", third.summary);
    assert!(names(&site.manifest(3)).is_disjoint(&names(&first)), "{:?}", site.manifest(3).packs);

    // Now nothing is sparse, and nothing is sent.
    let fourth = site.commits(content.path());
    assert_eq!((fourth.read, fourth.summary.uploaded.packs), (0, 0));
    for seq in [1, 3, 4] {
        let target = tempfile::tempdir().unwrap();
        site.restore(seq, target.path());
        if seq > 1 {
            compare::same_tree(content.path(), target.path()).unwrap();
        }
    }
}

/// Root without the right to read what others have.
#[test]
fn a_file_that_can_not_be_read_keeps_its_place() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let server = MariaDb::start();
    let [content, store] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    agent.configure(&server.socket(), &Store::Local(store.path()), "reread = 0", "");
    let [kept, other] = [content.path().join("uploads/kept.bin"), content.path().join("uploads/other.bin")];
    fs::write(&kept, noise(100_000, 9)).unwrap();
    fs::write(&other, noise(100_000, 10)).unwrap();
    std::os::unix::fs::chown(&kept, Some(1), None).unwrap();
    set_mode(&kept, 0o600);
    std::thread::sleep(SETTLED);
    agent.snapshot();
    for gone in ["uploads/large.bin", "uploads/2026/11/photo.jpg"] {
        fs::remove_file(content.path().join(gone)).unwrap();
    }
    server.client("DELETE FROM blog.wp_postmeta");
    agent.snapshot();

    let run = agent.command(&["run-now", "--foreground"]);
    let output = std::process::Command::new("setpriv")
        .args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search", "--"])
        .arg(run.get_program())
        .args(run.get_args())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("uploads/kept.bin") && text(&output).contains("is kept"), "{}", text(&output));
    let manifest = |seq: &str| -> Manifest { serde_json::from_str(&agent.ok(&["snapshots", "show", seq, "--json"])).unwrap() };
    let (before, after) = (manifest("2"), manifest("3"));
    let large = before.packs.iter().max_by_key(|pack| pack.size).unwrap().name;
    assert!(names(&after).contains(&large), "what can't be read is still there");
    assert!(after.packs.iter().find(|pack| pack.name == large).unwrap().live < 200_000, "the rest was sent again");
    let target = agent.path("restored");
    agent.ok(&["restore", "3", "--files", target.to_str().unwrap()]);
    compare::same_tree(content.path(), &target).unwrap();

    // Once it can be read the pack is given up.
    agent.snapshot();
    assert!(!names(&manifest("4")).contains(&large));
}
