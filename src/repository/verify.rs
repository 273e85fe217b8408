//! Verifying a site's part of the store (docs/VERIFY.md), in levels that include those before: the structure (manifests, signatures, their chain,
//! lists, which packs are there), the checksums that the store keeps, and the packs' bytes. Only reads.

mod chain;
mod lists;
mod look;
mod packs;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::RepositoryError;
use super::ids::PackName;
use super::layout::Layout;
use super::manifest::Parent;
use super::prune::Amount;
use super::sign::SigningKey;
use crate::config::{Identities, PublicKey, TrustedKeys};
use crate::storage::Store;

pub use record::{Record, Verified};

/// Faults that are told one by one; of more, the number.
const TOLD: usize = 1000;

/// How deep it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Manifests, signatures, chain, notes and lists are read; packs are asked for by one LIST for a thousand.
    Structure,
    /// The store is asked for the checksum that it keeps of each pack. A directory keeps none: there it is reckoned from the file.
    Checksums,
    /// A share of the packs is read, and every chunk in them hashed.
    Read(Share),
    /// The structure; and who calls it restores the newest snapshot and compares.
    Restore,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Checksums => "checksums",
            Self::Read(_) => "read",
            Self::Restore => "restore",
        }
    }
}

/// One of so many shares, which differ from turn to turn and together are all packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    of: u32,
    turn: u32,
}

impl Share {
    /// All packs.
    pub const ALL: Self = Self { of: 1, turn: 0 };

    /// One of `of` shares: which, the turn says. `of` is 1 at least.
    pub fn new(of: u32, turn: u64) -> Self {
        let of = of.max(1);
        // Less than `of`.
        Self { of, turn: (turn % u64::from(of)) as u32 }
    }

    /// Whether a pack is of this share. Packs' names are hashes, so shares are even.
    pub fn has(&self, pack: &PackName) -> bool {
        let [a, b, c, d, ..] = pack.0;
        u32::from_le_bytes([a, b, c, d]) % self.of == self.turn
    }

    /// One of how many.
    pub fn of(&self) -> u32 {
        self.of
    }
}

/// `1/30`, or `1`: how many shares there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareOf(pub u32);

impl FromStr for ShareOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of = match text.split_once('/') {
            Some(("1", of)) => of,
            None if text == "1" => "1",
            _ => return Err("give a share such as 1/30, or 1 for all packs"),
        };
        match of.parse() {
            Ok(of @ 1..=10_000) => Ok(Self(of)),
            _ => Err("give a share between 1/1 and 1/10000"),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A manifest can't be read, or its signature doesn't fit.
    Manifest,
    /// A manifest is signed by nobody that is trusted.
    Untrusted,
    /// A manifest that another follows is not there, and no note says that it was dropped.
    Missing,
    /// A manifest is another than it was when the next was made.
    Replaced,
    /// A manifest's number isn't the next.
    OutOfOrder,
    /// The newest manifest of the verify before is not there any more.
    RolledBack,
    /// A note of retention can't be read, or isn't believed.
    Note,
    /// A checkpoint can't be read or isn't believed; a standby's receipt or a reader's acceptance can't be read or isn't signed.
    Record,
    /// A list can't be read, or names a place that no pack of the snapshot has.
    List,
    /// A pack that a snapshot needs is not there.
    PackMissing,
    /// A pack has another size than it was sent with.
    PackSize,
    /// The store's checksum of a pack is another than that of what was sent.
    PackChecksum,
    /// A pack's content isn't what it should be.
    PackDamaged,
    /// What was restored isn't what the snapshot holds, or it doesn't restore.
    Restored,
}

impl FaultKind {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Manifest => "damaged or forged manifest",
            Self::Untrusted => "manifest that is not believed",
            Self::Missing => "missing manifest",
            Self::Replaced => "replaced manifest",
            Self::OutOfOrder => "manifest out of order",
            Self::RolledBack => "rolled back",
            Self::Note => "note of retention",
            Self::Record => "checkpoint, receipt or acceptance",
            Self::List => "damaged list",
            Self::PackMissing => "missing pack",
            Self::PackSize => "pack of another size",
            Self::PackChecksum => "pack of another checksum",
            Self::PackDamaged => "damaged pack",
            Self::Restored => "restore",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The object's key.
    pub object: String,
    /// How it shows.
    pub detail: String,
    /// The numbers of the first and the last snapshot that it touches, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<(u64, u64)>,
}

/// What was found. Add, never rename: it is printed as JSON, and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Report {
    /// How deep it went.
    pub level: String,
    /// One of so many shares of the packs was read; absent of other levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Snapshots that are there.
    pub snapshots: u64,
    /// Packs that they need.
    pub needed: Amount,
    /// Pieces of lists that were read.
    pub list_pieces: u64,
    /// Packs whose checksums or bytes were looked at.
    pub looked_at: Amount,
    /// The snapshot that was restored, of the level that does so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// Who signed how many of the snapshots; those that nobody signed stand under `nobody`.
    pub signers: BTreeMap<String, u64>,
    /// What could not be looked at, and why: that is no fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_looked_at: Vec<String>,
    /// What is wrong: at most a thousand of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// The newest snapshot's key and hash: the next verify looks whether it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Parent>,
    /// Packs that are missing or bad.
    #[serde(skip)]
    pub bad_packs: BTreeSet<PackName>,
}

/// A snapshot that was restored and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Tried {
    /// Its manifest's key.
    pub snapshot: String,
    /// Its number.
    pub seq: u64,
    /// Files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Tables.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// What was not compared, and why.
    pub not_compared: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_fine(&self) -> bool {
        self.fault_count == 0
    }

    /// Takes a fault in.
    pub fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        }
    }

    fn not_looked_at(&mut self, what: String) {
        if self.not_looked_at.len() < TOLD && !self.not_looked_at.contains(&what) {
            self.not_looked_at.push(what);
        }
    }

    fn signed_by(&mut self, signer: Option<PublicKey>) {
        let name = signer.map_or_else(|| "nobody".to_owned(), |key| key.to_string());
        *self.signers.entry(name).or_default() += 1;
    }
}

/// A verify to be done.
pub struct Verify {
    /// Where.
    pub store: Arc<dyn Store>,
    /// Of which site.
    pub layout: Layout,
    /// Who is believed.
    pub trusted: TrustedKeys,
    /// This machine's own key, if it backs up itself: where nobody else is trusted by name, what others say of packs counts for nothing.
    pub own: Option<PublicKey>,
    /// What opens sealed packs; without it their bytes are hashed all the same, but nothing in them is read.
    pub identities: Identities,
    /// How deep.
    pub level: Level,
    /// The newest snapshot as the verify before saw it.
    pub seen: Option<Parent>,
    /// Packs that verifies before found bad: they are read again whatever share they are of.
    pub known_bad: BTreeSet<PackName>,
    /// Ends it between two objects.
    pub cancel: CancellationToken,
}

impl Verify {
    /// Does it. What is wrong with the store's content is in the report; an error says that the store could not be asked, or that it was cancelled.
    pub async fn run(self) -> Result<Report, RepositoryError> {
        let share = match self.level {
            Level::Read(share) => Some(share.of()),
            _ => None,
        };
        let mut report = Report { level: self.level.name().to_owned(), share, ..Report::default() };
        let site = look::Look { verify: &self, report: &mut report }.site().await?;
        packs::check(&self, &site, &mut report).await?;
        report.faults.sort_by(|a, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
        Ok(report)
    }

    /// The same with what verifies before have kept in local state, and that.
    pub fn informed(mut self, state: &Path) -> (Self, Record) {
        let record = Record::load(state, self.layout.site());
        self.own = SigningKey::load(state).ok().flatten().map(|key| key.public());
        (self.seen, self.known_bad) = (record.newest.clone(), record.bad_packs.clone());
        if let Level::Read(share) = &mut self.level {
            *share = Share::new(share.of(), record.turn);
        }
        (self, record)
    }

    /// Does it with what verifies before have kept in local state, and keeps what it found; the second is how that went.
    pub async fn run_and_keep(self, state: &Path) -> Result<(Report, Result<(), RepositoryError>), RepositoryError> {
        let site = self.layout.site().clone();
        let (verify, record) = self.informed(state);
        let report = verify.run().await?;
        let kept = record.keep(&report, state, &site);
        Ok((report, kept))
    }

    /// Whether what a manifest of this signer says of packs and lists is looked at.
    fn is_counted(&self, signer: Option<PublicKey>) -> bool {
        !self.trusted.is_empty() || self.own.is_none() || self.own == signer
    }

    fn go_on(&self) -> Result<(), RepositoryError> {
        if self.cancel.is_cancelled() { Err(RepositoryError::Cancelled) } else { Ok(()) }
    }
}
