//! Who owns what is restored.

use uzers::{get_group_by_name, get_user_by_name};

use super::error::FilesError;
use super::metadata::Owners;
use crate::repository::entry::FileEntry;

/// How an entry's owner becomes one of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerMap {
    /// Every entry gets this user.
    user: Option<u32>,
    /// Every entry gets this group.
    group: Option<u32>,
    /// Else the numbers count, not the names.
    numeric: bool,
}

impl OwnerMap {
    /// `owner` is `USER` or `USER:GROUP`, by name or by number, and is every entry's; without a group, each keeps its own.
    /// What isn't given is by name where this host knows the name, else by number; with `numeric` always by number.
    ///
    /// # Errors
    /// [`FilesError::NoSuchOwner`].
    pub fn new(owner: Option<&str>, numeric: bool) -> Result<Self, FilesError> {
        let Some(owner) = owner else { return Ok(Self { numeric, ..Self::default() }) };
        let unknown = || FilesError::NoSuchOwner { owner: owner.to_owned() };
        let (user, group) = match owner.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (owner, None),
        };
        // The last number means "no one" to the kernel.
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
        let user = get_user_by_name(user).map(|user| user.uid()).or_else(|| number(user)).ok_or_else(unknown)?;
        let group = match group {
            None => None,
            Some(name) => {
                let known = get_group_by_name(name).map(|group| group.gid());
                Some(known.or_else(|| number(name)).ok_or_else(unknown)?)
            }
        };
        Ok(Self { user: Some(user), group, numeric })
    }

    /// User and group of an entry on this host.
    pub(super) fn ids<C>(&self, owners: &Owners, entry: &FileEntry<C>) -> (u32, u32) {
        let (user, group) = if self.numeric { (entry.uid, entry.gid) } else { owners.ids(entry) };
        (self.user.unwrap_or(user), self.group.unwrap_or(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_by_option() {
        let json = r#"{"path":"a","kind":"file","size":0,"mode":420,"uid":7777777,"gid":7777778,
            "user":"root","group":"root","mtime":0,"ctime":0,"inode":1}"#;
        let (owners, entry): (_, FileEntry) = (Owners::default(), serde_json::from_str(json).unwrap());
        let ids = |owner, numeric| OwnerMap::new(owner, numeric).unwrap().ids(&owners, &entry);
        assert_eq!(ids(None, false), (0, 0));
        assert_eq!(ids(None, true), (7_777_777, 7_777_778));
        assert_eq!(ids(Some("12345"), false), (12_345, 0));
        assert_eq!(ids(Some("12345"), true), (12_345, 7_777_778));
        assert_eq!(ids(Some("root:54321"), true), (0, 54_321));
        for owner in ["no-such-user-here", "root:no-such-group-here", "", "root:", "-1", "4294967295"] {
            assert!(OwnerMap::new(Some(owner), false).is_err(), "{owner}");
        }
    }
}
