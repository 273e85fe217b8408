//! The note of retention (docs/FORMAT.md, "Note of retention"): what a prune drops, written before it does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::ids::{PackName, RunId};
use super::layout::Layout;
use super::manifest::FORMAT;
use super::sign::{self, Kind};
use crate::config::{PublicKey, TrustedKeys};

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

    /// Refuses a note, of which these are the stored bytes, that isn't signed by one of these keys, or isn't the one that its key names.
    pub(super) fn believed(
        &self,
        bytes: &[u8],
        key: &str,
        layout: &Layout,
        trusted: &TrustedKeys,
    ) -> Result<(), RepositoryError> {
        sign::accept(trusted, sign::signer(Kind::Note, bytes, key)?, key)?;
        if self.site == layout.site().as_str() && layout.parse_note(key) == Some(self.id) {
            Ok(())
        } else {
            Err(RepositoryError::damaged(key, "it is not the note that its key names"))
        }
    }
}
