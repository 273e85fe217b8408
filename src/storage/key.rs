//! Which keys there can be. Checked before a key becomes part of a path or of a URL.

use super::{Failure, StoreErrorKind};

/// Takes a whole key: parts of `[A-Za-z0-9._-]` separated by `/`, none of them empty, `.` or `..`.
pub(super) fn check_key(key: &str) -> Result<(), Failure> {
    if key.split('/').all(is_part) { Ok(()) } else { Err(StoreErrorKind::Other("this can't be a key".into()).into()) }
}

/// Takes the beginning of a key: whole parts, then a part that may be empty or go on.
pub(super) fn check_prefix(prefix: &str) -> Result<(), Failure> {
    let (directory, rest) = split_prefix(prefix);
    if (directory.is_empty() || directory.split('/').all(is_part)) && rest.bytes().all(in_alphabet) && !prefix.starts_with('/') {
        Ok(())
    } else {
        Err(StoreErrorKind::Other("this can't be the beginning of a key".into()).into())
    }
}

/// Cuts a prefix at its last `/`: the directory, without the slash, and the beginning of a name in it.
pub(super) fn split_prefix(prefix: &str) -> (&str, &str) {
    prefix.rsplit_once('/').unwrap_or(("", prefix))
}

/// Whether this can stand between two slashes of a key.
pub(super) fn is_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && part.bytes().all(in_alphabet)
}

fn in_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_alphabet_and_never_climb() {
        for good in
            ["a", "blog/packs/ab/0f.tar.zst.age", "blog/snapshots/00000001-20261120T021500Z-x_1.json", "a/..b", "...", ".tmp/x"]
        {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/..", "a/.", "a b", "a\0", "ä", "a\\b", "a%2e", "a\n"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_may_end_anywhere_in_a_key() {
        for good in ["", "a", "blog/", "blog/packs/ab/0", "blog/."] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["/", "/a", "a//", "../", "a/../b", "a b", "ä"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
