//! Packs that the parent needs and the store has no more, or at another size: once a week the store is asked; and those that a verify on this
//! machine found bad. What was in them is read and sent again, so that snapshots from this one on are whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::BackupError;
use crate::error::render;
use crate::progress::{Event, Progress};
use crate::repository::draft::{DraftChunk, DraftPlace};
use crate::repository::entry::{ChunkRef, Finding, FindingCode};
use crate::repository::ids::PackName;
use crate::repository::layout::Layout;
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
        Ok(lost) => lost,
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

/// Which of these packs the store hasn't as they were sent, and why. One LIST for each thousand packs there are.
async fn lost<'p>(
    store: &dyn Store,
    layout: &Layout,
    packs: &'p [PackInfo],
) -> Result<Vec<(&'p PackInfo, String)>, crate::storage::StoreError> {
    let mut wanted: HashMap<String, &PackInfo> = packs.iter().map(|pack| (layout.pack(pack), pack)).collect();
    let (mut lost, mut after) = (Vec::new(), None::<String>);
    while !wanted.is_empty() {
        let page = store.list(&layout.packs(), after.as_deref()).await?;
        for object in &page.objects {
            if let Some(pack) = wanted.remove(&object.key)
                && pack.size != object.size
            {
                lost.push((pack, format!("it has {} bytes in the store, and was sent with {}", object.size, pack.size)));
            }
        }
        after = page.objects.last().map(|object| object.key.clone());
        if !page.more || after.is_none() {
            break;
        }
    }
    lost.extend(wanted.into_values().map(|pack| (pack, "it is not in the store any more".to_owned())));
    lost.sort_by_key(|(pack, _)| pack.name);
    Ok(lost)
}
