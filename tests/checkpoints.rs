//! A run that was broken off is gone on with, also by a host that has lost its local state: from the checkpoint in the store.

#![allow(clippy::unwrap_used)]

mod support;

use support::files_site::{FilesSite, named_bytes, newest_checkpoint};
use support::small_site::noise;
use support::{compare, roomy};
use wp_backup_agent::config::{Recipients, SiteSettings};
use wp_backup_agent::progress::Event;

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
    site.is_broken_off_with_a_checkpoint(content.path(), 40 * MIB);
    site.lose_state();
    // A pack is whole or not there, so what the checkpoint names is not sent again: not a chunk of it.
    let named = named_bytes(&newest_checkpoint(&site.checkpoints()).unwrap());
    assert!(named >= 40 * MIB);

    let committed = site.commits(content.path());
    let uploaded = committed.summary.uploaded.bytes;
    assert!(uploaded <= 200 * MIB - named + MIB, "{uploaded} bytes were sent, {named} were there");
    site.restore(1, target.path());
    compare::same_tree(content.path(), target.path()).unwrap();

    // A pack of it that is cut off: what was in it is sent again.
    let name = newest_checkpoint(&site.checkpoints()).unwrap().packs[0].name.to_string();
    let pack = site.kept.path().join(format!("blog/packs/{}/{name}.tar.zst", &name[..2]));
    std::fs::File::options().write(true).open(pack).unwrap().set_len(1000).unwrap();
    site.lose_state();
    site.commits(content.path());

    // A checkpoint that is damaged, or names packs that are gone, costs nothing but what it would have saved.
    site.lose_state();
    for checkpoint in std::fs::read_dir(site.checkpoints()).unwrap().flatten() {
        std::fs::write(checkpoint.path(), b"{\"format\":1").unwrap();
    }
    site.commits(content.path());
}

#[test]
fn a_sealed_run_goes_on_from_local_state_and_not_from_the_checkpoint() {
    let content = roomy::directory(200 * MIB);
    for n in 0..100 {
        std::fs::write(content.path().join(format!("{n}.bin")), noise(MIB as usize, n)).unwrap();
    }
    let mut site = FilesSite::of(500 * MIB);
    let [one, other] = [0; 2].map(|_| Recipients::new([age::x25519::Identity::generate().to_public()]));
    let seal_to = |recipients: Recipients| Box::new(move |site: &mut SiteSettings| site.recipients = recipients.clone());
    site.adjust = seal_to(one.clone());
    site.is_broken_off(content.path(), 40 * MIB);
    // What a broken run has sealed to others is no part of a snapshot that is sealed to these.
    site.adjust = seal_to(other.clone());
    assert!(site.commits(content.path()).summary.uploaded.bytes > 100 * MIB);
    assert_eq!(site.manifest(1).sealed.into_values().collect::<Vec<_>>(), [other.texts()]);

    let change = |seed: u64| {
        for n in 0..100 {
            std::fs::write(content.path().join(format!("{n}.bin")), noise(MIB as usize, seed + n)).unwrap();
        }
    };
    change(1000);
    site.is_broken_off(content.path(), 40 * MIB);
    let uploaded = site.commits(content.path()).summary.uploaded.bytes;
    assert!(uploaded <= 80 * MIB, "{uploaded} bytes were sent again");

    change(2000);
    site.is_broken_off(content.path(), 40 * MIB);
    site.lose_state();
    let notes = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let told = notes.clone();
    let committed = site.commits_watched(content.path(), move |event| {
        if let Event::Note(note) = event {
            told.lock().unwrap().push_str(note);
        }
    });
    assert!(committed.summary.uploaded.bytes > 100 * MIB);
    let notes = notes.lock().unwrap();
    assert!(
        notes.contains("are sealed, so their content is sent again") && notes.contains("lists can't be read here"),
        "{notes}"
    );
}
