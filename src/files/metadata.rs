//! From what the system says about a file to an entry of the list.

use std::ffi::OsStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;
use uzers::{Groups, Users, UsersCache};

use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind};
use crate::repository::xattrs::Xattrs;

/// An entry without chunks.
pub(super) fn entry<C>(path: &[u8], kind: FileKind, stat: &Stat, owners: &Owners) -> FileEntry<C> {
    let (user, group) = owners.names(stat.st_uid, stat.st_gid);
    FileEntry {
        path: ByteText::from(path),
        kind,
        size: if kind == FileKind::Dir { 0 } else { size(stat) },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        user,
        group,
        mtime: mtime(stat),
        ctime: ctime(stat),
        inode: stat.st_ino,
        links: if kind == FileKind::File { u32::try_from(stat.st_nlink).unwrap_or(u32::MAX).max(1) } else { 1 },
        target: None,
        flags: Vec::new(),
        xattrs: Xattrs::default(),
        holes: Vec::new(),
        chunks: Vec::new(),
    }
}

/// Bytes of content.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Nanoseconds since 1970.
pub(super) fn mtime(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec)
}

/// Nanoseconds since 1970.
pub(super) fn ctime(stat: &Stat) -> i64 {
    nanoseconds(stat.st_ctime, stat.st_ctime_nsec)
}

/// The range of i64 ends in the years 1677 and 2262; a forged time beyond it is kept at the end.
fn nanoseconds(seconds: i64, nanos: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(nanos)
}

/// The names of users and groups, each looked up once.
#[derive(Default)]
pub(super) struct Owners(Mutex<UsersCache>);

impl Owners {
    /// Names of a user and a group, where the host knows them and they are text.
    fn names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>) {
        let cache = self.cache();
        let text = |name: &OsStr| name.to_str().map(str::to_owned);
        let user = cache.get_user_by_uid(uid).and_then(|user| text(user.name()));
        let group = cache.get_group_by_gid(gid).and_then(|group| text(group.name()));
        (user, group)
    }

    /// The numbers that an entry's owner has here: by name where this host knows it, else as on the host it is from.
    pub(super) fn ids<C>(&self, entry: &FileEntry<C>) -> (u32, u32) {
        let cache = self.cache();
        let user = entry.user.as_ref().and_then(|name| cache.get_user_by_name(name));
        let group = entry.group.as_ref().and_then(|name| cache.get_group_by_name(name));
        (user.map_or(entry.uid, |user| user.uid()), group.map_or(entry.gid, |group| group.gid()))
    }

    fn cache(&self) -> MutexGuard<'_, UsersCache> {
        // A cache is as good after a panic elsewhere as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Owners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owners")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_far_off_ones() {
        assert_eq!(nanoseconds(1, 5), 1_000_000_005);
        assert_eq!(nanoseconds(-1, 999_999_999), -1);
        assert_eq!(nanoseconds(i64::MAX, 1), i64::MAX);
        assert_eq!(nanoseconds(i64::MIN, 0), i64::MIN);
    }

    #[test]
    fn owners_by_name_then_by_number() {
        let owners = Owners::default();
        assert_eq!(owners.names(0, 0), (Some("root".to_owned()), Some("root".to_owned())));
        assert_eq!(owners.names(3_999_999_999, 3_999_999_999), (None, None));
        let json = r#"{"path":"a","kind":"file","size":0,"mode":420,"uid":7777777,"gid":7777778,
            "user":"root","group":"no-such-group-here","mtime":0,"ctime":0,"inode":1}"#;
        let entry: FileEntry = serde_json::from_str(json).unwrap();
        assert_eq!(owners.ids(&entry), (0, 7_777_778));
    }
}
