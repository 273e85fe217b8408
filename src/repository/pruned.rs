//! The note of retention (docs/FORMAT.md, "Note of retention"): what a prune drops, written before it does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::ids::{PackName, RunId};
use super::manifest::FORMAT;
use crate::config::PublicKey;

/// What one prune drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The format's version.
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// The prune.
    pub id: RunId,
    /// When, by the clock of the machine that pruned.
    pub at: Timestamp,
    /// The agent's version.
    pub tool: String,
    /// The snapshots that it drops, the oldest first.
    pub dropped: Vec<Dropped>,
    /// What older notes, which go with this one, say of gaps between snapshots that are still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Dropped>,
    /// Every pack that the dropped snapshots need, sorted: kept while this note is younger than the grace period.
    pub packs: Vec<PackName>,
    /// Whose signature follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<PublicKey>,
}

/// A snapshot that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its manifest's key.
    pub key: String,
    /// BLAKE3 of its manifest's stored bytes, in hexadecimal.
    pub blake3: String,
}

impl Note {
    /// Reads a note's bytes; `what` is its key, for messages.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, RepositoryError> {
        super::snapshots::newer(bytes, what)?;
        let note: Self = serde_json::from_slice(bytes).map_err(|e| RepositoryError::damaged(what, e))?;
        if note.format == FORMAT { Ok(note) } else { Err(RepositoryError::damaged(what, "no format has this number")) }
    }
}
