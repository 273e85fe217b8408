use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{Mode, mknodat};

use super::*;
use crate::files::testing::as_nobody;
use crate::files::walk::Walked;
use crate::repository::entry::{ChunkRef, FindingCode};

fn write(path: PathBuf, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A tree in which each kind of rule decides about something.
fn make(root: &Path) -> Rules {
    write(root.join("cache/site/page.html"), b"x");
    write(root.join("uploads/cache/a.css"), b"x");
    write(root.join("plugins/seo/vendor/symfony/cache/Cache.php"), b"x");
    write(root.join("plugins/seo/error_log"), b"x");
    write(root.join("uploads/film.mp4"), b"x");
    write(root.join("uploads/half.part/is-a-directory.txt"), b"x");
    write(root.join("uploads/raw/deep/er.jpg"), b"x");
    write(root.join("uploads/private/.donotbackup"), b"");
    write(root.join("uploads/private/more/secret.txt"), b"x");
    write(root.join("uploads/thumbs/CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n");
    write(root.join("uploads/fake/CACHEDIR.TAG"), b"Signature: none");
    write(root.join(".donotbackup"), b"");
    symlink("film.mp4", root.join("uploads/link")).unwrap();
    symlink("uploads", root.join("media")).unwrap();
    mknodat(fs::File::open(root).unwrap(), "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    Rules::new(true, &["*.mp4".to_owned(), "uploads/raw/".to_owned()]).unwrap()
}

fn every_path(dir: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            every_path(&entry.path(), &format!("{path}/"), paths);
        }
        paths.push(path);
    }
}

#[test]
fn the_answer_is_what_a_walk_does() {
    let dir = tempfile::tempdir().unwrap();
    let rules = make(dir.path());
    let tree = Tree::open(dir.path()).unwrap();
    let (mut captured, mut left_out, mut special) = (Vec::new(), BTreeMap::new(), Vec::new());
    for walked in tree.walk::<ChunkRef>(&rules) {
        match walked.unwrap() {
            Walked::Entry(entry) => captured.push(entry.path.to_string()),
            Walked::Finding(found) if found.code == FindingCode::Excluded => {
                left_out.insert(found.subject.to_string(), found.detail);
            }
            Walked::Finding(found) if found.code == FindingCode::SpecialFile => special.push(found.subject.to_string()),
            Walked::Finding(_) => {}
        }
    }
    let mut paths = vec![String::new()];
    every_path(dir.path(), "", &mut paths);
    for path in paths {
        let answer = tree.why(&rules, path.as_bytes(), false).unwrap();
        assert!(answer.exists, "{path}");
        assert_eq!(answer.is_dir, dir.path().join(&path).symlink_metadata().unwrap().is_dir(), "{path}");
        match answer.why {
            Why::Captured => assert!(captured.contains(&path), "{path}"),
            Why::LeftOut { at, rule } => {
                let at = at.to_string();
                assert!(path == at || path.starts_with(&format!("{at}/")), "{path} in {at}");
                assert_eq!(left_out.get(&at), Some(&rule), "{path}");
                assert!(!captured.contains(&path), "{path}");
            }
            Why::Special => assert!(special.contains(&path), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(left_out.len(), 7, "{left_out:?}");
}

#[test]
fn the_rule_is_told_of_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let rules = make(dir.path());
    let tree = Tree::open(dir.path()).unwrap();
    let ask = |path: &str, is_dir| {
        let Answer { why, exists, .. } = tree.why(&rules, path.as_bytes(), is_dir).unwrap();
        assert!(!exists, "{path}");
        match why {
            Why::Captured => "captured".to_owned(),
            Why::LeftOut { at, rule } => format!("{at} by {rule}"),
            Why::BehindLink(at) => format!("behind {at}"),
            other => panic!("{path}: {other:?}"),
        }
    };
    assert_eq!(ask("cache/none/at-all", false), "cache by default:cache/");
    assert_eq!(ask("updraft/backup.zip", false), "updraft by default:updraft/");
    assert_eq!(ask("updraft", false), "captured");
    assert_eq!(ask("updraft", true), "updraft by default:updraft/");
    assert_eq!(ask("plugins/none/x.php", false), "captured");
    assert_eq!(ask("plugins/none/x.mp4", false), "plugins/none/x.mp4 by own:*.mp4");
    assert_eq!(ask("uploads/private/gone", false), "uploads/private by marker:.donotbackup");
    assert_eq!(ask("media/film.mp4", false), "behind media");
    assert_eq!(ask(".donotbackup/beneath-a-file", false), "captured");
}

#[test]
fn the_kernels_own_file_systems() {
    let rules = Rules::new(false, &[]).unwrap();
    let answer = Tree::open(Path::new("/")).unwrap().why(&rules, b"proc/self/status", false).unwrap();
    assert_eq!(answer.why, Why::LeftOut { at: "proc".into(), rule: KERNEL.to_owned() });
}

#[test]
fn what_cannot_be_read_is_told() {
    if !as_nobody("files::why::tests::what_cannot_be_read_is_told") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rules = make(dir.path());
    fs::set_permissions(dir.path().join("uploads/raw"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let none = Rules::new(false, &[]).unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    let locked = tree.why(&none, b"uploads/raw/deep/er.jpg", false).unwrap().why;
    assert!(
        matches!(&locked, Why::Unreadable { at, error } if at.0 == b"uploads/raw" && error.contains("ermission")),
        "{locked:?}"
    );
    let by_rule = tree.why(&rules, b"uploads/raw/deep/er.jpg", false).unwrap().why;
    assert!(matches!(by_rule, Why::LeftOut { .. }), "{by_rule:?}");
    fs::set_permissions(dir.path().join("uploads/raw"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn paths_as_people_give_them() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap().join("wp-content");
    fs::create_dir_all(real.join("uploads")).unwrap();
    symlink("uploads", real.join("media")).unwrap();
    let link = dir.path().join("www");
    symlink(&real, &link).unwrap();
    let other = dir.path().join("other");
    symlink(dir.path(), &other).unwrap();
    let tree = Tree::open(&link).unwrap();
    let ask = |given: &str| below(&tree, &link, Path::new(given)).map(|rel| String::from_utf8(rel).unwrap());
    let some = |rel: &str| Some(rel.to_owned());
    assert_eq!(ask("uploads//a.jpg/"), some("uploads/a.jpg"));
    assert_eq!(ask("./uploads/../x"), some("x"));
    assert_eq!(ask("."), some(""));
    assert_eq!(ask("../x"), None);
    assert_eq!(ask("uploads/../../x"), None);
    assert_eq!(ask(link.join("uploads/a").to_str().unwrap()), some("uploads/a"));
    assert_eq!(ask(real.join("uploads/a").to_str().unwrap()), some("uploads/a"));
    assert_eq!(ask(other.join("wp-content/new/a").to_str().unwrap()), some("new/a"));
    assert_eq!(ask(other.join("wp-content/media").to_str().unwrap()), some("media"));
    assert_eq!(ask(real.to_str().unwrap()), some(""));
    assert_eq!(ask("/etc/passwd"), None);
    assert_eq!(ask(&format!("{}-old/x", real.display())), None);
    let odd = tree.why(&Rules::new(true, &[]).unwrap(), b"a\0b", false);
    assert!(matches!(odd, Err(FilesError::BadPath { .. })));
}
