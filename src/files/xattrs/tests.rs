#![allow(clippy::print_stdout)] // why a test was skipped

use std::os::fd::AsFd;

use super::*;

/// A file with one attribute; nothing where the file system has none.
fn file() -> Option<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = At::Open(file.as_file().as_fd()).set(b"user.one", b"1");
    if let Err(error) = &set {
        println!("skipped: no attributes here: {error}");
    }
    set.is_ok().then_some(file)
}

fn xattrs(all: &[(&str, &[u8])]) -> Xattrs {
    let mut xattrs = Xattrs::default();
    all.iter().for_each(|(name, value)| xattrs.insert(name.as_bytes(), value.to_vec()));
    xattrs
}

#[test]
fn only_what_means_something_elsewhere_is_kept() {
    for name in ["user.a", "trusted.a", "security.capability", "system.posix_acl_access", "system.posix_acl_default"] {
        assert!(is_kept(name.as_bytes()), "{name}");
    }
    for name in
        ["user.", "trusted.overlay.opaque", "security.selinux", "security.ima", "system.nfs4_acl", "a", "", "btrfs.compression"]
    {
        assert!(!is_kept(name.as_bytes()), "{name}");
    }
}

#[test]
fn what_is_wanted_is_there_and_nothing_else() {
    let Some(file) = file() else { return };
    let at = At::Open(file.as_file().as_fd());
    let long = vec![7; 2000];
    let wanted =
        xattrs(&[("user.two", b"2"), ("user.long", &long), ("security.selinux", b"a label"), ("trusted.overlay.opaque", b"y")]);
    assert!(differ(&at, Some(&wanted)) && differ(&at, None));
    let mut failed = Vec::new();
    set_early(&at, Some(&wanted), &mut |name, _| failed.push(String::from_utf8_lossy(name).into_owned()));
    set_late(&at, Some(&wanted), true, &mut |name, _| failed.push(String::from_utf8_lossy(name).into_owned()));
    assert_eq!(failed, ["security.selinux", "trusted.overlay.opaque"], "a list can't set what no snapshot holds");
    assert_eq!(read(&at), (xattrs(&[("user.two", b"2"), ("user.long", &long)]), None));
    assert!(!differ(&at, Some(&wanted)));
    set_early(&at, None, &mut |name, error| panic!("{name:?}: {error}"));
    assert!(read(&at).0.is_empty() && !differ(&at, None));
}

#[test]
fn a_link_is_not_followed() {
    let Some(file) = file() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(file.path(), dir.path().join("link")).unwrap();
    let open = std::fs::File::open(dir.path()).unwrap();
    assert!(read(&At::named(open.as_fd(), b"link")).0.is_empty());
    let parent = std::fs::File::open(file.path().parent().unwrap()).unwrap();
    let name = file.path().file_name().unwrap();
    let named = At::named(parent.as_fd(), std::os::unix::ffi::OsStrExt::as_bytes(name));
    assert_eq!(read(&named).0, xattrs(&[("user.one", b"1")]));
}

#[test]
fn capabilities_are_not_given_to_another_users_program() {
    let Some(file) = file() else { return };
    let mut failed = 0;
    let wanted = xattrs(&[("security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
    let at = At::Open(file.as_file().as_fd());
    set_late(&at, Some(&wanted), false, &mut |_, _| failed += 1);
    assert_eq!((failed, read(&at).0.get(b"security.capability")), (1, None));
}

#[test]
fn forged_attributes_are_refused() {
    assert_eq!(check(&xattrs(&[("user.a", b"1")])), Ok(()));
    for name in ["", "user.a\0b", &format!("user.{}", "a".repeat(251))] {
        assert!(check(&xattrs(&[(name, b"1")])).is_err(), "{name}");
    }
    assert!(check(&xattrs(&[("user.a", &vec![0; LARGEST + 1])])).is_err());
    let mut many = Xattrs::default();
    (0..17).for_each(|n| many.insert(format!("user.{n}").as_bytes(), vec![0; LARGEST]));
    assert!(check(&many).is_err());
}
