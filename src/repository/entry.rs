//! The entries of a snapshot's lists, as they stand in the store: one JSON object a line (docs/FORMAT.md, "Lists").
//!
//! `C` is how an entry names its chunks: a [`ChunkRef`] in the store; a draft's own form while a run is under way.

use serde::{Deserialize, Serialize};

use super::byte_text::ByteText;
use super::ids::{ChunkId, PackName};
use super::xattrs::Xattrs;
use crate::config::TreeName;

/// Where a chunk's content is: in plaintext positions of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The pack.
    pub pack: PackName,
    /// Offset and length of the zstd frame in the pack, in bytes.
    pub frame: (u64, u64),
    /// Offset of the content in the decompressed frame, in bytes.
    pub at: u64,
}

/// A chunk and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// BLAKE3 of the content.
    pub id: ChunkId,
    /// Bytes of content.
    pub size: u64,
    /// The pack it is in.
    pub pack: PackName,
    /// Offset and length of the zstd frame in the pack, in bytes.
    pub frame: (u64, u64),
    /// Offset of the content in the decompressed frame, in bytes.
    pub at: u64,
}

impl ChunkRef {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place { pack: self.pack, frame: self.frame, at: self.at }
    }
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, kept as a link.
    Symlink,
}

/// What sets an entry apart from one that was captured whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFlag {
    /// The file changed each time it was read; the content is one reading that the size and times before it fit.
    Torn,
    /// The file was there in step 1 and gone in step 3.
    Gone,
    /// Not all of its extended attributes could be read.
    AttributesUnread,
}

/// One entry of the list of files. The list is sorted by [`path_order`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry<C = ChunkRef> {
    /// Path below the tree's root, without a leading slash. The root itself is the empty path.
    pub path: ByteText,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of content; of the target's name for a symlink; 0 for a directory.
    pub size: u64,
    /// Permission bits (0o7777).
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, where the host knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group by name, where the host knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Time of last modification: nanoseconds since 1970, UTC.
    pub mtime: i64,
    /// Time of last status change: nanoseconds since 1970, UTC. For change detection; not restored.
    pub ctime: i64,
    /// Inode number. For change detection, and to find the names of one file; not restored.
    pub inode: u64,
    /// How many names the file has, in the tree or out of it; 1 for what isn't a file.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub links: u32,
    /// A symlink's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ByteText>,
    /// What sets this entry apart.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FileFlag>,
    /// Extended attributes, POSIX ACLs among them.
    #[serde(default, skip_serializing_if = "Xattrs::is_empty")]
    pub xattrs: Xattrs,
    /// Offset and length of each hole that isn't part of the chunks, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
    /// The content without its holes, in order.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<C>,
}

impl<C> FileEntry<C> {
    /// Bytes of content that are in chunks; `None` when there are more bytes of holes than of the file.
    pub fn data_size(&self) -> Option<u64> {
        self.holes.iter().try_fold(self.size, |rest, hole| rest.checked_sub(hole.1))
    }

    /// The same entry, its chunks named another way.
    pub fn try_map_chunks<D, E>(self, to: impl FnMut(C) -> Result<D, E>) -> Result<FileEntry<D>, E> {
        let Self {
            path,
            kind,
            size,
            mode,
            uid,
            gid,
            user,
            group,
            mtime,
            ctime,
            inode,
            links,
            target,
            flags,
            xattrs,
            holes,
            chunks,
        } = self;
        let chunks = chunks.into_iter().map(to).collect::<Result<_, E>>()?;
        Ok(FileEntry {
            path,
            kind,
            size,
            mode,
            uid,
            gid,
            user,
            group,
            mtime,
            ctime,
            inode,
            links,
            target,
            flags,
            xattrs,
            holes,
            chunks,
        })
    }

    /// The same entry, its chunks named another way that never fails.
    pub fn map_chunks<D>(self, mut to: impl FnMut(C) -> D) -> FileEntry<D> {
        let mapped = self.try_map_chunks(|chunk| Ok::<_, std::convert::Infallible>(to(chunk)));
        mapped.unwrap_or_else(|never| match never {})
    }

    /// The same entry with these flags.
    pub fn with_flags(mut self, flags: Vec<FileFlag>) -> Self {
        self.flags = flags;
        self
    }
}

/// The order of the list of files: by path, component by component, each bytewise. (A directory's content follows it
/// directly: `/` sorts before every other byte.)
pub fn path_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0u16 } else { u16::from(*byte) + 1 };
    a.iter().map(key).cmp(b.iter().map(key))
}

/// What one entry of the list of tables is. Loading the entries' chunks in the list's order rebuilds the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableItem {
    /// The session's settings; once, first.
    Session,
    /// A sequence (MariaDB).
    Sequence,
    /// A table's CREATE statement.
    Table,
    /// Rows of the table, in primary-key order.
    Rows,
    /// What is set after the rows: the AUTO_INCREMENT counter.
    AfterRows,
    /// A function or procedure.
    Routine,
    /// A view, as a table of the same columns so that other views can be made.
    ViewStub,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// An event.
    Event,
    /// What restores the session's settings; once, last.
    SessionEnd,
}

/// One entry of the list of tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry<C = ChunkRef> {
    /// What it is.
    pub item: TableItem,
    /// The object's name; of the table for rows; empty for the session.
    pub name: ByteText,
    /// Rows in the chunk, for rows; rows of the whole table, for a table's AfterRows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The storage engine, for a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// False for a table whose engine has no transactions: its rows are not of the point in time.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub consistent: bool,
    /// The DEFINER that the object had; kept as data, not part of the SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definer: Option<ByteText>,
    /// The SQL: one chunk.
    pub chunk: C,
}

impl<C> TableEntry<C> {
    /// The same entry, its chunk named another way.
    pub fn with_chunk<D>(self, chunk: D) -> (TableEntry<D>, C) {
        let Self { item, name, rows, engine, consistent, definer, chunk: old } = self;
        (TableEntry { item, name, rows, engine, consistent, definer, chunk }, old)
    }
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

/// One entry of the list of findings: what the snapshot's reader should know, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was found.
    pub code: FindingCode,
    /// The path, table or object it is about.
    pub subject: ByteText,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What an exclude rule left out, in numbers: more fields of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The rule: `default:PATTERN`, `own:PATTERN`, `marker:NAME` or `kernel`.
    pub rule: String,
    /// Entries that aren't directories.
    pub files: u64,
    /// Bytes of the regular files among them.
    pub bytes: u64,
    /// Counting ended early: there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// A finding as it stands in the list, with what only some kinds have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// For what an exclude rule left out of the files.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

impl From<Finding> for Note {
    fn from(finding: Finding) -> Self {
        Self { finding, left_out: None }
    }
}

/// A path of a tree, as findings name it: of wp-content plainly, of another behind the tree's name.
pub fn subject(tree: Option<TreeName>, path: ByteText) -> ByteText {
    match tree {
        None => path,
        Some(tree) => ByteText([tree.as_str().as_bytes(), b":/", path.as_bytes()].concat()),
    }
}

/// The path in this tree that a finding's subject may mean.
pub fn path_in(tree: Option<TreeName>, subject: &[u8]) -> Option<&[u8]> {
    let Some(tree) = tree else { return Some(subject) };
    let rest = subject.strip_prefix(tree.as_str().as_bytes())?;
    // The cross-check looks for the code of plugins below wp-content, wherever it is.
    rest.strip_prefix(b":/").or_else(|| rest.strip_prefix(b"/").filter(|_| tree == TreeName::Plugins))
}

/// The kinds of finding. Stored by name: add, never rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingCode {
    /// A file or directory that could not be read; it is not in the snapshot.
    Unreadable,
    /// A file that changed each time it was read.
    Torn,
    /// Extended attributes that could not be read; the entry is there without them.
    AttributesUnread,
    /// A file whose content is another than before, though nothing that the system says of it has changed: a bad disk, or someone who hides.
    SilentChange,
    /// A socket, FIFO or device: not captured.
    SpecialFile,
    /// A symlink that points out of the tree: kept as a link.
    OutsideLink,
    /// Left out by an exclude rule.
    Excluded,
    /// A table whose rows are not of the point in time.
    NotConsistent,
    /// A view, trigger, routine or event that could not be read or is broken.
    ObjectUnreadable,
    /// Objects that the account may not see: what may be missing, and the GRANT that shows it.
    NotVisible,
    /// An attachment that the database names and the files lack.
    AttachmentMissing,
    /// The active theme, its parent, or an active plugin that the files lack.
    CodeMissing,
    /// A core table or option that the database lacks.
    CoreMissing,
    /// A WordPress update was still under way when waiting for it ended.
    UpdateUnderWay,
    /// The snapshot before, or all of them, can't be found in the store or read from it any more.
    ParentLost,
    /// Packs or lists of snapshots before were sealed to others than this run's recipients: who can read what, and who can't.
    SealedBefore,
    /// A pack that is not in the store as it was sent: older snapshots that need it are not whole.
    PackMissing,
    /// A restore onto the site was begun and has not come to its end: files and database may be of two times.
    RestoreUnfinished,
    /// Code below uploads that makes the snapshot suspect: named, and captured.
    PhpUnderUploads,
    /// A finding of a newer agent.
    #[serde(other)]
    Unknown,
}

impl FindingCode {
    /// Whether the snapshot lacks something because of this: then the run ends with [`crate::error::Exit::Findings`].
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Excluded | Self::OutsideLink | Self::SpecialFile | Self::SealedBefore | Self::PhpUnderUploads)
    }

    /// Whether the list of files lacks the subject, or something in it, though it was there or belonged there.
    pub fn lacks_files(self) -> bool {
        matches!(self, Self::Unreadable | Self::AttachmentMissing | Self::CodeMissing | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_finding_with_more_fields() {
        let finding = Finding { code: FindingCode::Excluded, subject: "cache".into(), detail: "default:cache/".to_owned() };
        let plain = Note::from(finding.clone());
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"code":"excluded","subject":"cache","detail":"default:cache/"}"#);
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), plain);
        let left_out = Some(LeftOut { rule: "default:cache/".to_owned(), files: 3, bytes: 4096, at_least: false });
        let note = Note { finding, left_out };
        let text = serde_json::to_string(&note).unwrap();
        assert!(text.ends_with(r#","rule":"default:cache/","files":3,"bytes":4096}"#), "{text}");
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), note.finding);
    }

    #[test]
    fn a_subject_is_found_in_its_tree() {
        for tree in [None, Some(TreeName::Root), Some(TreeName::Plugins)] {
            for path in ["", "a", "a/b"] {
                assert_eq!(path_in(tree, subject(tree, path.into()).as_bytes()), Some(path.as_bytes()));
            }
        }
        assert_eq!(path_in(Some(TreeName::Uploads), b"root:/a"), None);
        assert_eq!(path_in(Some(TreeName::Plugins), b"plugins/p/p.php"), Some(b"p/p.php".as_slice()));
        assert_eq!(path_in(Some(TreeName::Uploads), b"uploads/a"), None);
    }

    #[test]
    fn a_directorys_content_follows_it() {
        let mut paths: Vec<&[u8]> = vec![b"a.b", b"a/c", b"a", b"a-b", b"", b"a/b/c", b"a/b"];
        paths.sort_by(|a, b| path_order(a, b));
        assert_eq!(paths, [b"" as &[u8], b"a", b"a/b", b"a/b/c", b"a/c", b"a-b", b"a.b"]);
    }
}
