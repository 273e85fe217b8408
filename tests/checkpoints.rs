//! A run that was broken off is gone on with, also by a host that has lost its local state: from the checkpoint in the store.

#![allow(clippy::unwrap_used)]

mod support;

use support::files_site::FilesSite;
use support::small_site::noise;
use support::{compare, roomy};

const MIB: u64 = 1 << 20;

#[test]
fn without_local_state_a_run_goes_on_from_the_checkpoint() {
    let (content, target) = (roomy::directory(400 * MIB), roomy::directory(300 * MIB));
    for n in 0..200 {
        let dir = content.path().join(format!("uploads/{}", n % 5));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{n}.bin")), noise(MIB as usize, n)).unwrap();
    }
    let site = FilesSite::of(400 * MIB);
    site.is_broken_off(content.path(), 80 * MIB);
    let checkpoints = site.kept.path().join("blog/checkpoints");
    assert!(std::fs::read_dir(&checkpoints).unwrap().count() >= 1);
    site.lose_state();

    let committed = site.commits(content.path());
    // 80 MiB were there, but for the packs since the last checkpoint.
    let uploaded = committed.summary.uploaded.bytes;
    assert!(uploaded <= 200 * MIB - 80 * MIB + 3 * 18 * MIB + MIB, "{uploaded} bytes were sent");
    site.restore(1, target.path());
    compare::same_tree(content.path(), target.path()).unwrap();

    // A pack of it that is cut off: what was in it is sent again.
    let newest = std::fs::read_dir(&checkpoints).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    let checkpoint: serde_json::Value = serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
    let name = checkpoint["packs"][0]["name"].as_str().unwrap();
    let pack = site.kept.path().join(format!("blog/packs/{}/{name}.tar.zst", &name[..2]));
    std::fs::File::options().write(true).open(pack).unwrap().set_len(1000).unwrap();
    site.lose_state();
    site.commits(content.path());

    // A checkpoint that is damaged, or names packs that are gone, costs nothing but what it would have saved.
    site.lose_state();
    for checkpoint in std::fs::read_dir(&checkpoints).unwrap().flatten() {
        std::fs::write(checkpoint.path(), b"{\"format\":1").unwrap();
    }
    site.commits(content.path());
}
