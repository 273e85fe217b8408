//! A pack that goes missing, or is cut off, is found within a week; the snapshot that finds it is whole again.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use support::compare;
use support::files_site::{FilesSite, SETTLED};
use support::small_site::noise;
use wp_backup_agent::repository::entry::FindingCode;

const MIB: usize = 1 << 20;

fn packs(site: &FilesSite) -> BTreeSet<PathBuf> {
    let files = walkdir::WalkDir::new(site.kept.path().join("blog/packs")).into_iter().map(Result::unwrap);
    files.filter(|file| file.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// As if the last look had been a week ago.
fn a_week_passes(site: &FilesSite) {
    // A look that found something missing has left none.
    let _ = fs::remove_file(site.state.path().join("blog/packs-listed"));
}

#[test]
fn what_was_in_a_pack_that_went_missing_is_sent_again() {
    let (content, site) = (tempfile::tempdir().unwrap(), FilesSite::of(200 << 20));
    for n in 0..40 {
        let path = content.path().join(format!("uploads/{n}.bin"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(MIB, n)).unwrap();
    }
    std::thread::sleep(SETTLED);
    site.commits(content.path());
    let all = packs(&site);
    assert!(all.len() >= 3, "{all:?}");
    let lost = |seq| site.lists(seq).2.iter().filter(|finding| finding.code == FindingCode::PackMissing).count();

    // One of files' content, one of the list of files, one of the list of tables: gone, or cut off.
    let (mut seq, mut now) = (1, all);
    for n in 0..3 {
        let manifest = site.manifest(seq);
        let of_content = manifest.packs.iter().find(|pack| pack.size as usize > 10 * MIB).unwrap().name;
        let name = [of_content, manifest.files[0].pack, manifest.tables[0].pack][n].to_string();
        let pack = now.iter().find(|path| path.to_string_lossy().contains(&name)).unwrap();
        if n % 2 == 0 {
            fs::remove_file(pack).unwrap();
        } else {
            fs::File::options().write(true).open(pack).unwrap().set_len(1000).unwrap();
        }
        a_week_passes(&site);
        let committed = site.commits(content.path());
        seq += 1;
        assert!(committed.summary.uploaded.bytes > 0);
        assert_eq!((lost(seq), committed.summary.findings.get(&FindingCode::PackMissing)), (1, Some(&1)), "{pack:?}");
        let target = tempfile::tempdir().unwrap();
        site.restore(seq, target.path());
        compare::same_tree(content.path(), target.path()).unwrap();
        now = packs(&site);
    }

    // All is there: found so once, and not asked again for a week.
    site.commits(content.path());
    assert_eq!(lost(seq + 1), 0);
    let (before, packs_before) = (site.recorder.calls().len(), packs(&site));
    assert_eq!(site.commits(content.path()).summary.uploaded.packs, 0);
    assert_eq!((site.recorder.calls().len() - before, packs(&site)), (2, packs_before));
}
