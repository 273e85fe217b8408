//! Whether a file is as the parent's list has it, told without reading it.

use crate::repository::entry::{FileEntry, FileKind};

/// What is new about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the parent's entry stands.
    Same,
    /// Mode, owner or a directory's or symlink's own data; a file's chunks in the parent's entry stand.
    Metadata,
    /// A file that must be read.
    Content,
}

/// How close to the parent's walk a change may be without its times telling: clocks tick, and a file system's times may
/// be as coarse as two seconds.
const SLACK_LOCAL_NS: i64 = 2_000_000_000;
/// The same where times are made by another machine, whose clock may differ and whose answers are cached.
const SLACK_NETWORK_NS: i64 = 60_000_000_000;

/// Compares an entry of the walk with the parent's of the same path. `parent_walk_started_ns` is when the parent's walk
/// started, in nanoseconds since 1970.
///
/// Size, mtime, ctime and inode must be equal, and the ctime clearly older than the parent's walk: content that was
/// written again within one tick of the clock that the parent saw has the same times (a racily clean file). An entry that
/// the parent flagged isn't trusted either.
pub fn compare<P, N>(parent: &FileEntry<P>, now: &FileEntry<N>, parent_walk_started_ns: i64, network_fs: bool) -> Change {
    let kind = parent.kind == now.kind;
    if now.kind == FileKind::File {
        let settled = is_settled(now.ctime, parent_walk_started_ns, network_fs);
        let as_it_was = parent.size == now.size
            && parent.mtime == now.mtime
            && parent.ctime == now.ctime
            && parent.inode == now.inode
            && parent.flags.is_empty();
        if !(kind && settled && as_it_was) {
            return Change::Content;
        }
    }
    let same = kind
        && parent.mode == now.mode
        && (parent.uid, parent.gid) == (now.uid, now.gid)
        && (&parent.user, &parent.group) == (&now.user, &now.group)
        && parent.mtime == now.mtime
        && parent.target == now.target
        && parent.flags.is_empty();
    if same { Change::Same } else { Change::Metadata }
}

/// Whether a ctime is so much older than the parent's walk that a later change has another.
pub(super) fn is_settled(ctime: i64, parent_walk_started_ns: i64, network_fs: bool) -> bool {
    let slack = if network_fs { SLACK_NETWORK_NS } else { SLACK_LOCAL_NS };
    ctime < parent_walk_started_ns.saturating_sub(slack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::byte_text::ByteText;
    use crate::repository::entry::FileFlag;

    const WALK: i64 = 1_000_000_000_000;

    fn entry(kind: FileKind) -> FileEntry {
        FileEntry {
            path: ByteText::from("a"),
            kind,
            size: 10,
            mode: 0o644,
            uid: 33,
            gid: 33,
            user: Some("www-data".to_owned()),
            group: None,
            mtime: 5,
            ctime: 6,
            inode: 7,
            links: 1,
            target: (kind == FileKind::Symlink).then(|| ByteText::from("b")),
            flags: Vec::new(),
            xattrs: Default::default(),
            holes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn changed(kind: FileKind, change: impl Fn(&mut FileEntry)) -> Change {
        let mut now = entry(kind);
        change(&mut now);
        compare(&entry(kind), &now, WALK, false)
    }

    #[test]
    fn each_field_of_a_file_counts() {
        assert_eq!(changed(FileKind::File, |_| {}), Change::Same);
        assert_eq!(changed(FileKind::File, |e| e.size += 1), Change::Content);
        assert_eq!(changed(FileKind::File, |e| e.mtime += 1), Change::Content);
        assert_eq!(changed(FileKind::File, |e| e.ctime += 1), Change::Content);
        assert_eq!(changed(FileKind::File, |e| e.inode += 1), Change::Content);
        assert_eq!(changed(FileKind::File, |e| e.mode = 0o600), Change::Metadata);
        assert_eq!(changed(FileKind::File, |e| e.uid = 0), Change::Metadata);
        assert_eq!(changed(FileKind::File, |e| e.gid = 0), Change::Metadata);
        assert_eq!(changed(FileKind::File, |e| e.user = None), Change::Metadata);
    }

    #[test]
    fn directories_and_links_are_never_read() {
        assert_eq!(changed(FileKind::Dir, |e| (e.ctime, e.inode) = (0, 0)), Change::Same);
        assert_eq!(changed(FileKind::Dir, |e| e.mtime += 1), Change::Metadata);
        assert_eq!(changed(FileKind::Symlink, |_| {}), Change::Same);
        assert_eq!(changed(FileKind::Symlink, |e| e.target = Some(ByteText::from("c"))), Change::Metadata);
        assert_eq!(compare(&entry(FileKind::File), &entry(FileKind::Dir), WALK, false), Change::Metadata);
        assert_eq!(compare(&entry(FileKind::Dir), &entry(FileKind::File), WALK, false), Change::Content);
    }

    #[test]
    fn a_change_close_to_the_parents_walk_is_not_trusted() {
        let at = |ctime: i64, network| {
            let mut both = entry(FileKind::File);
            both.ctime = ctime;
            compare(&both, &both, WALK, network)
        };
        assert_eq!(at(WALK - SLACK_LOCAL_NS - 1, false), Change::Same);
        assert_eq!(at(WALK - SLACK_LOCAL_NS + 1, false), Change::Content);
        assert_eq!(at(WALK + 1, false), Change::Content);
        assert_eq!(at(WALK - SLACK_LOCAL_NS - 1, true), Change::Content);
        assert_eq!(at(WALK - SLACK_NETWORK_NS - 1, true), Change::Same);
        assert_eq!(compare(&entry(FileKind::File), &entry(FileKind::File), i64::MIN, false), Change::Content);
    }

    #[test]
    fn what_the_parent_flagged_is_read_again() {
        for flag in [FileFlag::Torn, FileFlag::Gone] {
            let mut parent = entry(FileKind::File);
            parent.flags.push(flag);
            assert_eq!(compare(&parent, &entry(FileKind::File), WALK, false), Change::Content);
        }
    }
}
