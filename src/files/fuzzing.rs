//! What the fuzz targets hold against patterns and paths (see `crate::fuzzing`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub use super::target::fuzzing::file_list;
use super::{PathSelection, Rules, Scope, below_root, reason};

/// A pattern, as `exclude` and as `--path`, and behind a newline a path to hold it against.
pub fn patterns(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (pattern, path) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let below = below_root(OsStr::from_bytes(path));
    assert!(!below.starts_with(b"/") && !below.starts_with(b"./") && !below.ends_with(b"/"));
    if let Ok(selection) = PathSelection::new(&[OsStr::from_bytes(pattern).to_owned()]) {
        for is_dir in [false, true] {
            assert_eq!(selection.fits(path, is_dir), selection.unmatched().see(path, is_dir));
        }
    }
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    for scope in [Scope::Content, Scope::Elsewhere("plugins"), Scope::Root { secrets: false }] {
        let Ok(rules) = Rules::within(false, &[pattern.to_owned()], scope) else { continue };
        for is_dir in [false, true] {
            let Some(rule) = rules.decide(path, is_dir) else { continue };
            assert!(!path.is_empty() && !reason(rule).is_empty());
            // A pattern of the owner's is a name: only its number is told.
            assert!(!rule.starts_with("own:") || rules.public_name(rule) == "own:1");
        }
    }
}
