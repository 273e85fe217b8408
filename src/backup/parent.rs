//! Choosing the parent: the first of a run's requests is one LIST of snapshots/, from the local parent on.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::progress::{Event, Progress};
use crate::repository::RepositoryError;
use crate::repository::entry::{ChunkRef, FileEntry, TableEntry};
use crate::repository::layout::Layout;
use crate::repository::list::{LineBuffer, ListFile};
use crate::repository::reader::ChunkReader;
use crate::repository::snapshots::{self, Found};
use crate::repository::state::{LocalSnapshot, SiteState};
use crate::storage::Store;

/// What a run compares with, and where its own snapshot goes.
pub(super) struct Chosen {
    /// Nothing: the run makes a full snapshot.
    pub(super) parent: Option<LocalSnapshot>,
    /// The new snapshot's number.
    pub(super) seq: u64,
    /// When the store was asked: a commit must not be much later.
    pub(super) listed: Instant,
}

/// Chooses. A parent is the newest snapshot in the store, if its lists can be had: from local state, else from the store.
pub(super) async fn choose(
    store: &Arc<dyn Store>,
    layout: &Layout,
    state: &Arc<SiteState>,
    progress: &dyn Progress,
) -> Result<Chosen, RepositoryError> {
    let local = state.parent();
    let listed = Instant::now();
    let found = snapshots::list(store.as_ref(), layout, local.as_ref().map(|l| l.path.as_str())).await?;
    let note = |text: String| progress.event(Event::Note(text));
    let Some(newest) = found.last().cloned() else {
        if let Some(local) = &local {
            // Nothing from the parent on: is the store another one, or was it emptied?
            note(format!("the parent, snapshot {}, is not in the store any more; this run is full", local.manifest.seq));
            let all = snapshots::list(store.as_ref(), layout, None).await?;
            return from_store_or_full(store, layout, state, all.last(), listed, progress).await;
        }
        return Ok(Chosen { parent: None, seq: 1, listed });
    };
    if let Some(local) = local {
        if local.path == newest.path {
            return Ok(Chosen { parent: Some(local), seq: newest.key.seq + 1, listed });
        }
        if !found.iter().any(|f| f.path == local.path) {
            note(format!("the parent, snapshot {}, is not in the store any more", local.manifest.seq));
        }
    }
    // A commit whose reply was lost, or a crash right after it: its lists are staged.
    if let Some(staged) = state.snapshot(&newest.key.id).filter(|staged| staged.path == newest.path) {
        state.promote(&newest.key.id)?;
        return Ok(Chosen { parent: Some(staged), seq: newest.key.seq + 1, listed });
    }
    from_store_or_full(store, layout, state, Some(&newest), listed, progress).await
}

async fn from_store_or_full(
    store: &Arc<dyn Store>,
    layout: &Layout,
    state: &Arc<SiteState>,
    newest: Option<&Found>,
    listed: Instant,
    progress: &dyn Progress,
) -> Result<Chosen, RepositoryError> {
    let Some(newest) = newest else { return Ok(Chosen { parent: None, seq: 1, listed }) };
    let seq = newest.key.seq + 1;
    match fetch(store, layout, state, newest).await {
        Ok(parent) => {
            progress.event(Event::Note(format!(
                "local state lacked snapshot {}; its lists were read from the store",
                newest.key.seq
            )));
            Ok(Chosen { parent: Some(parent), seq, listed })
        }
        // A store that can't be reached now would fail the run later all the same.
        Err(error @ RepositoryError::State { .. }) => Err(error),
        Err(error) => {
            let why = crate::error::render(&error);
            progress
                .event(Event::Note(format!("the lists of snapshot {} can't be read ({why}); this run is full", newest.key.seq)));
            Ok(Chosen { parent: None, seq, listed })
        }
    }
}

/// Brings a snapshot's manifest and lists into local state.
async fn fetch(
    store: &Arc<dyn Store>,
    layout: &Layout,
    state: &Arc<SiteState>,
    found: &Found,
) -> Result<LocalSnapshot, RepositoryError> {
    let stored = snapshots::read(store.as_ref(), &found.path).await?;
    if stored.manifest.id != found.key.id {
        return Err(RepositoryError::damaged(&found.path, "its id is not that of its key"));
    }
    let reader = ChunkReader::new(Arc::clone(store), layout.clone(), &stored.manifest.packs);
    let (state, id, runtime) = (Arc::clone(state), found.key.id, Handle::current());
    let work = move || {
        let mut reader = reader;
        let dir = state.snapshot_dir(&id)?;
        copy::<FileEntry>(&runtime, &mut reader, &stored.manifest.files, ListFile::create(&dir.join("files.zst"))?)?;
        copy::<TableEntry>(&runtime, &mut reader, &stored.manifest.tables, ListFile::create(&dir.join("tables.zst"))?)?;
        state.stage(&id, &stored.path, &stored.bytes)?;
        state.promote(&id)?;
        state.parent().ok_or(RepositoryError::Task)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| RepositoryError::Task)?
}

fn copy<T: serde::Serialize + serde::de::DeserializeOwned>(
    runtime: &Handle,
    reader: &mut ChunkReader,
    pieces: &[ChunkRef],
    mut file: ListFile<T>,
) -> Result<(), RepositoryError> {
    let mut lines = LineBuffer::new("a list");
    for piece in pieces {
        lines.fill(&runtime.block_on(reader.read(piece))?);
        while let Some(entry) = lines.next_entry::<T>()? {
            file.push(&entry)?;
        }
    }
    file.finish(true)
}
