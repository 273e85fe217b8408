//! Packs of the parent that a run takes nothing from: those that the store has no more, or at another size (once a week it is asked); those that a
//! verify on this machine, or a standby's receipt, found bad; and those of which the parent needs little. What is needed of them is read and sent again: so snapshots from
//! this one on are whole, and little that nobody needs is kept.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::BackupError;
use crate::config::{PublicKey, TrustedKeys};
use crate::error::render;
use crate::progress::{Event, Progress};
use crate::repository::draft::{DraftChunk, DraftPlace};
use crate::repository::entry::{ChunkRef, Finding, FindingCode};
use crate::repository::ids::PackName;
use crate::repository::layout::Layout;
use crate::repository::lost_packs::{Lost, lost};
use crate::repository::manifest::PackInfo;
use crate::repository::sparse::sparse;
use crate::repository::state::{LocalSnapshot, SiteState, Weekly};
use crate::repository::{RepositoryError, receipt};
use crate::storage::{Store, StoreErrorKind};

/// How often the store is asked: each seventh night, though a night's run begins some hours earlier than that of the week before.
const EVERY: SignedDuration = SignedDuration::from_hours(7 * 24 - 12);

/// The packs that nothing is taken from, if it can be had elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Avoided(Arc<Packs>);

#[derive(Debug, Default)]
struct Packs {
    /// Lost, or bad.
    lost: HashSet<PackName>,
    /// Whole, but for the most part not needed.
    sparse: HashSet<PackName>,
    /// When standbys were asked, if they were.
    heard: Option<Timestamp>,
}

impl Avoided {
    /// Whether nothing is taken from this chunk's pack.
    pub(super) fn has(&self, chunk: &ChunkRef) -> bool {
        self.0.lost.contains(&chunk.pack) || self.0.sparse.contains(&chunk.pack)
    }

    /// The snapshot that goes by it is committed: what standbys said has been done.
    pub(super) fn done(&self, state: &SiteState) -> Result<(), RepositoryError> {
        self.0.heard.map_or(Ok(()), |at| state.note(Weekly::Receipts, at))
    }

    /// Whether any of these chunks is lost.
    pub(super) fn lost_any(&self, chunks: &[DraftChunk]) -> bool {
        any(&self.0.lost, chunks)
    }

    /// Whether any of these chunks is in a sparse pack.
    pub(super) fn sparse_any(&self, chunks: &[DraftChunk]) -> bool {
        any(&self.0.sparse, chunks)
    }
}

fn any(packs: &HashSet<PackName>, chunks: &[DraftChunk]) -> bool {
    let among = |chunk: &DraftChunk| matches!(&chunk.place, DraftPlace::Stored(place) if packs.contains(&place.pack));
    !packs.is_empty() && chunks.iter().any(among)
}

/// Who says what is bad.
pub(super) struct Told<'a> {
    /// Packs that verifies on this machine found bad.
    pub(super) known_bad: &'a BTreeSet<PackName>,
    /// Whose receipts count.
    pub(super) readers: &'a TrustedKeys,
    /// This machine's own key, whose receipts don't.
    pub(super) host: PublicKey,
}

/// Looks for what the parent needs, if that wasn't done for a week; tells what is missing, and what a verify or a standby found bad.
pub(super) async fn look(
    (store, layout): (&dyn Store, &Layout),
    state: &SiteState,
    parent: Option<&LocalSnapshot>,
    told: Told<'_>,
    progress: &dyn Progress,
) -> Result<(Avoided, Vec<Finding>), BackupError> {
    let known_bad = told.known_bad;
    let packs = parent.map(|parent| parent.manifest.packs.as_slice()).unwrap_or_default();
    let found_bad = |pack: &&PackInfo| known_bad.contains(&pack.name);
    let mut lost: Vec<_> = packs.iter().filter(found_bad).map(|pack| (pack, "a verify found it bad".to_owned())).collect();
    let (heard, at) = heard((store, layout), state, packs, &told, progress).await?;
    for (pack, why) in asked((store, layout), state, packs, progress).await?.into_iter().chain(heard) {
        if !lost.iter().any(|(known, _)| known.name == pack.name) {
            lost.push((pack, why));
        }
    }
    let finding = |(pack, why): &(&PackInfo, String)| Finding {
        code: FindingCode::PackMissing,
        subject: layout.pack(pack).as_str().into(),
        detail: format!(
            "{why}; what it held is sent again as far as it is still here, but older snapshots that need it are not whole"
        ),
    };
    let findings = lost.iter().map(finding).collect();
    let lost: HashSet<_> = lost.iter().map(|(pack, _)| pack.name).collect();
    let sparse: Vec<_> = sparse(packs).into_iter().filter(|pack| !lost.contains(&pack.name)).collect();
    if !sparse.is_empty() {
        let (count, live) = (sparse.len(), sparse.iter().map(|pack| pack.live).sum::<u64>());
        progress.event(Event::Note(format!(
            "of {count} packs less than a quarter is still needed: {live} bytes of content, which are sent again"
        )));
    }
    let sparse = sparse.into_iter().map(|pack| pack.name).collect();
    Ok((Avoided(Arc::new(Packs { lost, sparse, heard: at })), findings))
}

/// Whether a week has passed since this was done.
fn is_due(state: &SiteState, what: Weekly, now: Timestamp) -> bool {
    // A time to come is another clock's.
    state.last(what).is_none_or(|at| at > now || now.duration_since(at) >= EVERY)
}

/// Which of these packs the store says that it lacks, if that wasn't asked for a week.
async fn asked<'p>(
    (store, layout): (&dyn Store, &Layout),
    state: &SiteState,
    packs: &'p [PackInfo],
    progress: &dyn Progress,
) -> Result<Vec<(&'p PackInfo, String)>, BackupError> {
    let now = Timestamp::now();
    if !is_due(state, Weekly::Packs, now) {
        return Ok(Vec::new());
    }
    let lost = match lost(store, layout, packs).await {
        Ok(lost) => lost.into_iter().map(|(pack, how)| (pack, why(pack, how))).collect(),
        Err(error) if error.kind == StoreErrorKind::Denied => {
            progress.event(Event::Note(format!("whether packs are missing can't be asked: {}", render(&error))));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    // Not before what is lost has been sent again is it time to wait another week.
    if lost.is_empty() {
        state.note(Weekly::Packs, now)?;
    }
    Ok(lost)
}

/// Which of these packs standbys say are bad, if they weren't asked for a week; and when they were asked.
async fn heard<'p>(
    (store, layout): (&dyn Store, &Layout),
    state: &SiteState,
    packs: &'p [PackInfo],
    told: &Told<'_>,
    progress: &dyn Progress,
) -> Result<(Vec<(&'p PackInfo, String)>, Option<Timestamp>), BackupError> {
    let now = Timestamp::now();
    if !is_due(state, Weekly::Receipts, now) {
        return Ok((Vec::new(), None));
    }
    let heard = match receipt::hear((store, layout), &packs.iter().map(|pack| pack.name).collect(), told.readers, told.host).await
    {
        Err(error) if error.is_denied() => {
            progress.event(Event::Note(format!("what standbys found can't be asked: {}", render(&error))));
            return Ok((Vec::new(), None));
        }
        heard => heard?,
    };
    if heard.more {
        let note =
            "there are more receipts of standbys than are looked at; the oldest are passed over: see who writes below standbys/";
        progress.event(Event::Note(note.to_owned()));
    }
    let bad = packs.iter().filter_map(|pack| Some((pack, heard.bad_packs.get(&pack.name)?)));
    Ok((bad.map(|(pack, standby)| (pack, format!("standby {standby} found it bad"))).collect(), Some(now)))
}

fn why(pack: &PackInfo, how: Lost) -> String {
    match how {
        Lost::Gone => "it is not in the store any more".to_owned(),
        Lost::Size(size) => format!("it has {size} bytes in the store, and was sent with {}", pack.size),
    }
}
