//! Pruning: drops the snapshots that no rule keeps, and packs that nothing has needed for the grace period (docs/RETENTION.md).
//!
//! It runs beside backups and beside itself, without locks. [`plan`](Plan::make) only reads, in this order: manifests, acceptances if one is
//! suspect, notes, checkpoints, receipts, packs.
//! What is dropped or written meanwhile is seen by the next of these. [`Plan::carry_out`] writes the note, then deletes manifests, then
//! packs that were nobody's before, then old checkpoints, notes and receipts. Killed anywhere, the next prune does the rest.

mod error;
mod look;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::RepositoryError;
use super::checksummed;
use super::ids::RunId;
use super::layout::Layout;
use super::manifest::{FORMAT, TOOL};
use super::pruned::{Dropped, Note};
use super::retention::Reason;
use super::reuse::{Rules, Since};
use super::sign::{Kind, SigningKey};
use super::snapshots::Found;
use crate::config::{Keep, PublicKey, TrustedKeys};
use crate::storage::{Deleter, Store};

pub use error::PruneError;

/// Deleted between two looks at the clock.
const BATCH: usize = 250;

/// A snapshot, and why it stays.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The snapshot.
    pub found: Found,
    /// The rules that keep it; none: it goes.
    pub reasons: BTreeSet<Reason>,
    /// It is suspect, and no reader has accepted it.
    pub suspect: bool,
}

/// Objects, and their stored bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a prune will do, and why.
#[derive(Debug)]
pub struct Plan {
    layout: Layout,
    rules: Rules,
    listed: Since,
    /// Every snapshot, in the order of their keys.
    pub snapshots: Vec<Judged>,
    /// Packs that go: their keys and stored bytes.
    pub packs: Vec<(String, u64)>,
    /// Packs that snapshots need, those that go now among them.
    pub needed: Amount,
    /// Packs that no snapshot needs, and that go once the grace period is over.
    pub waiting: Amount,
    /// Why no pack goes, though some might: what they are needed for can't be known.
    pub held: Vec<String>,
    /// What old notes say of gaps between snapshots that are still there.
    earlier: Vec<Dropped>,
    /// Checkpoints, notes and receipts that are too old to matter.
    old: Vec<String>,
    /// Notes that go once a newer one says what they said.
    old_notes: Vec<String>,
}

/// What a prune did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pruned {
    /// Snapshots that it dropped.
    pub snapshots: u64,
    /// Packs that it deleted.
    pub packs: Amount,
    /// Old checkpoints, notes and receipts that it deleted.
    pub tidied: u64,
}

impl Plan {
    /// Looks at the site's part of the store, and decides. Only reads.
    /// Snapshots that are signed by nobody of `trusted` take no other's place; nor do suspect ones, until someone of `trusted` accepts them.
    pub async fn make(
        store: &dyn Store,
        layout: &Layout,
        keep: &Keep,
        trusted: &TrustedKeys,
        rules: Rules,
        listed: Since,
    ) -> Result<Self, PruneError> {
        look::Look { store, layout, keep, trusted, rules, listed }.plan().await
    }

    /// The snapshots that go, the oldest first.
    pub fn dropped(&self) -> impl Iterator<Item = &Found> {
        self.snapshots.iter().filter(|judged| judged.reasons.is_empty()).map(|judged| &judged.found)
    }

    /// The stored bytes of the packs that go.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Does it. `id` and `at` name the note, `key` signs it.
    pub async fn carry_out(
        &self,
        store: &dyn Deleter,
        id: RunId,
        at: Timestamp,
        key: &SigningKey,
        cancel: &CancellationToken,
    ) -> Result<Pruned, PruneError> {
        let mut done = Pruned::default();
        let mut old = self.old.clone();
        self.in_time(cancel)?;
        if let Some(note) = self.note(store, id, at, key.public()).await? {
            let keys: Vec<String> = note.dropped.iter().map(|dropped| dropped.key.clone()).collect();
            let bytes = key.signed(Kind::Note, &note)?;
            let (body, sha256) = checksummed(bytes);
            // The key holds a random id: an object that is there already is this one, its reply lost.
            store.put_new(&self.layout.note(at, &id), body, sha256).await.map_err(RepositoryError::from)?;
            old.extend_from_slice(&self.old_notes);
            for keys in keys.chunks(BATCH) {
                self.delete(store, keys, cancel).await?;
                done.snapshots += keys.len() as u64;
            }
        }
        for packs in self.packs.chunks(BATCH) {
            let keys: Vec<String> = packs.iter().map(|(key, _)| key.clone()).collect();
            self.delete(store, &keys, cancel).await?;
            packs.iter().for_each(|(_, bytes)| done.packs.add(*bytes));
        }
        for keys in old.chunks(BATCH) {
            self.delete(store, keys, cancel).await?;
            done.tidied += keys.len() as u64;
        }
        Ok(done)
    }

    /// The note, if snapshots go. One that another prune has dropped meanwhile is in the other's note.
    async fn note(&self, store: &dyn Deleter, id: RunId, at: Timestamp, signer: PublicKey) -> Result<Option<Note>, PruneError> {
        let (mut dropped, mut packs) = (Vec::new(), BTreeSet::new());
        for found in self.dropped() {
            let Some(stored) = look::read(store, found).await? else { continue };
            dropped.push(Dropped { key: found.path.clone(), blake3: blake3::hash(&stored.bytes).to_hex().to_string() });
            packs.extend(stored.manifest.packs.iter().map(|pack| pack.name));
        }
        if dropped.is_empty() {
            return Ok(None);
        }
        Ok(Some(Note {
            format: FORMAT,
            site: self.layout.site().to_string(),
            id,
            at,
            tool: TOOL.to_owned(),
            dropped,
            earlier: self.earlier.clone(),
            packs: packs.into_iter().collect(),
            signer: Some(signer),
        }))
    }

    async fn delete(&self, store: &dyn Deleter, keys: &[String], cancel: &CancellationToken) -> Result<(), PruneError> {
        self.in_time(cancel)?;
        Ok(store.delete(keys).await.map_err(RepositoryError::from)?)
    }

    fn in_time(&self, cancel: &CancellationToken) -> Result<(), PruneError> {
        if cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled.into());
        }
        if self.rules.may_delete(self.listed.elapsed()) { Ok(()) } else { Err(PruneError::TooLong) }
    }
}
