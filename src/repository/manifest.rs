//! The manifest: the public part of a snapshot, and the commit. A plain struct; see docs/FORMAT.md, "Manifest".
//!
//! It holds no names (paths, tables, URLs): those stand only in the lists, which are chunks inside packs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{PublicKey, TreeName};

use super::entry::{ChunkRef, FindingCode};
use super::ids::{PackName, RecipientsId, RunId};
use super::suspicion::{Baseline, Suspicion, Watched};

/// The format's version that this agent writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// This agent, as what it writes names it.
pub const TOOL: &str = concat!("wp-backup-agent ", env!("CARGO_PKG_VERSION"));

/// [`Manifest::trigger`] of the snapshot that a restore makes before it replaces the site.
pub const SAFETY: &str = "safety";

/// A snapshot's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's version: [`FORMAT`].
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// The run that made it.
    pub id: RunId,
    /// The parent's plus one; 1 without a parent.
    pub seq: u64,
    /// The snapshot that this run compared with.
    pub parent: Option<Parent>,
    /// The newest snapshot before, when it isn't the parent but can be read: nothing was taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Parent>,
    /// When.
    pub times: Times,
    /// `wp-backup-agent 0.1.0`
    pub tool: String,
    /// Who asked: `schedule`, `request`, `command`, or [`SAFETY`].
    pub trigger: String,
    /// The database server.
    pub server: Server,
    /// The age recipients that the run sealed its packs to, in ascending order; empty: its packs are plain.
    pub recipients: Vec<String>,
    /// The recipients of all sealed packs of the snapshot, by [`PackInfo::sealed`]: packs that are the parent's may have others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sealed: BTreeMap<RecipientsId, Vec<String>>,
    /// Whether every entry was captured whole.
    pub status: Status,
    /// How many findings of each kind; their subjects are in the list of findings.
    pub findings: BTreeMap<FindingCode, u64>,
    /// What exclude rules left out of the files, sorted by rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
    /// What the snapshot holds.
    pub counts: Counts,
    /// What the snapshots after this one are judged by; absent of one that no agent judges by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<Watched>,
    /// What this one was judged against; absent when there was none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Why it is suspect; empty: it isn't (docs/SUSPECT.md).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspect: Vec<Suspicion>,
    /// What this run sent to the store before this manifest.
    pub uploaded: Uploaded,
    /// The pieces of the list of files, in order.
    pub files: Vec<ChunkRef>,
    /// The trees beside wp-content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<TreeList>,
    /// The pieces of the list of tables, in order.
    pub tables: Vec<ChunkRef>,
    /// The pieces of the list of findings, in order.
    pub notes: Vec<ChunkRef>,
    /// Every pack that the snapshot needs, sorted by name.
    pub packs: Vec<PackInfo>,
    /// Whose signature follows (docs/FORMAT.md, "Signatures").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<PublicKey>,
}

/// A tree beside wp-content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeList {
    /// Which.
    pub name: TreeName,
    /// Entries in its list.
    pub entries: u64,
    /// Bytes of its files' content.
    pub bytes: u64,
    /// The pieces of its list, in order.
    pub files: Vec<ChunkRef>,
}

/// The snapshot that a run compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its manifest's key below the site's prefix.
    pub key: String,
    /// BLAKE3 of its manifest's stored bytes, in hexadecimal.
    pub blake3: String,
}

/// When: RFC 3339, UTC, by the host's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The run began.
    pub started: jiff::Timestamp,
    /// The database's point in time.
    pub point_in_time: jiff::Timestamp,
    /// The manifest was made.
    pub finished: jiff::Timestamp,
}

/// The database server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Server {
    /// `mariadb` or `mysql`.
    pub flavour: String,
    /// As `SELECT VERSION()` says.
    pub version: String,
    /// How the point in time was made: `single-connection`.
    pub consistency: String,
    /// Binlog file, position and GTID of the point in time, where the server tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// Whether every entry was captured whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Everything was.
    Complete,
    /// Something could not be captured or is missing: see the findings.
    Findings,
}

/// What one exclude rule left out of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The rule: `default:PATTERN`, `marker:NAME`, `kernel`; an owner's pattern, which is a name, by its number: `own:1`.
    pub rule: String,
    /// Files and directories that the rule applied to.
    pub subjects: u64,
    /// Entries that aren't directories, in all of them.
    pub files: u64,
    /// Bytes of the regular files among them.
    pub bytes: u64,
    /// Not all of them were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Counts {
    /// Entries in the list of files.
    pub file_entries: u64,
    /// Bytes of file content.
    pub file_bytes: u64,
    /// Tables, not counting views.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of SQL.
    pub sql_bytes: u64,
}

/// What a run sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Uploaded {
    /// Packs.
    pub packs: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

/// One pack that the snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    /// Its name.
    pub name: PackName,
    /// Its stored bytes.
    pub size: u64,
    /// SHA-256 of its stored bytes, as S3 keeps it: hexadecimal here.
    pub sha256: String,
    /// Bytes of content that this snapshot uses of it, a chunk counted once per entry that names it.
    pub live: u64,
    /// Bytes of content of all chunks in it; 0 where that isn't known.
    #[serde(default)]
    pub content: u64,
    /// Whom it is sealed to ([`Manifest::sealed`]); absent: it is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<RecipientsId>,
}
