//! Packs that the parent needs and the store has no more, or at another size: once a week the store is asked; and those that a verify on this
//! machine found bad. What was in them is read and sent again, so that snapshots from this one on are whole.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::BackupError;
use crate::error::render;
use crate::progress::{Event, Progress};
use crate::repository::draft::{DraftChunk, DraftPlace};
use crate::repository::entry::{ChunkRef, Finding, FindingCode};
use crate::repository::ids::PackName;
use crate::repository::layout::Layout;
use crate::repository::lost_packs::{Lost, lost};
use crate::repository::manifest::PackInfo;
use crate::repository::state::{LocalSnapshot, SiteState};
use crate::storage::{Store, StoreErrorKind};

/// How often the store is asked.
const EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The packs that nothing may be taken from.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing(Arc<HashSet<PackName>>);

impl Missing {
    /// Whether this chunk is lost.
    pub(super) fn has(&self, chunk: &ChunkRef) -> bool {
        self.0.contains(&chunk.pack)
    }

    /// Whether any of these chunks is lost.
    pub(super) fn has_any(&self, chunks: &[DraftChunk]) -> bool {
        let lost = |chunk: &DraftChunk| matches!(&chunk.place, DraftPlace::Stored(place) if self.0.contains(&place.pack));
        !self.0.is_empty() && chunks.iter().any(lost)
    }
}

/// Looks for what the parent needs, if that wasn't done for a week; tells what is missing, and what a verify found bad.
pub(super) async fn look(
    store: &dyn Store,
    layout: &Layout,
    state: &SiteState,
    parent: Option<&LocalSnapshot>,
    known_bad: &BTreeSet<PackName>,
    progress: &dyn Progress,
) -> Result<(Missing, Vec<Finding>), BackupError> {
    let packs = parent.map(|parent| parent.manifest.packs.as_slice()).unwrap_or_default();
    let found_bad = |pack: &&PackInfo| known_bad.contains(&pack.name);
    let mut lost: Vec<_> = packs.iter().filter(found_bad).map(|pack| (pack, "a verify found it bad".to_owned())).collect();
    lost.extend(
        asked(store, layout, state, packs, progress).await?.into_iter().filter(|(pack, _)| !known_bad.contains(&pack.name)),
    );
    let finding = |(pack, why): &(&PackInfo, String)| Finding {
        code: FindingCode::PackMissing,
        subject: layout.pack(pack).as_str().into(),
        detail: format!(
            "{why}; what it held is sent again as far as it is still here, but older snapshots that need it are not whole"
        ),
    };
    let findings = lost.iter().map(finding).collect();
    Ok((Missing(Arc::new(lost.iter().map(|(pack, _)| pack.name).collect())), findings))
}

/// Which of these packs the store says that it lacks, if that wasn't asked for a week.
async fn asked<'p>(
    store: &dyn Store,
    layout: &Layout,
    state: &SiteState,
    packs: &'p [PackInfo],
    progress: &dyn Progress,
) -> Result<Vec<(&'p PackInfo, String)>, BackupError> {
    let now = Timestamp::now();
    // A time to come is another clock's.
    if state.packs_listed().is_some_and(|at| at <= now && now.duration_since(at) < EVERY) {
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
        state.note_packs_listed(now)?;
    }
    Ok(lost)
}

fn why(pack: &PackInfo, how: Lost) -> String {
    match how {
        Lost::Gone => "it is not in the store any more".to_owned(),
        Lost::Size(size) => format!("it has {size} bytes in the store, and was sent with {}", pack.size),
    }
}
