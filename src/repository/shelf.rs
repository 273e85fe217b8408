//! The packs that several readers read at once: each is fetched once, whole, where much of it is needed; of another only the
//! frames that are asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::{ChunkId, PackName};
use super::layout::Layout;
use super::manifest::PackInfo;
use super::pack::{FRAME_LIMIT, slice};
use super::reader::{missing, slice_of};
use crate::storage::Store;

/// A pack larger than this (one large row) is never kept whole.
const WHOLE_LIMIT: u64 = 32 << 20;

/// The packs of one snapshot.
pub struct PackShelf {
    store: Arc<dyn Store>,
    layout: Layout,
    packs: HashMap<PackName, PackInfo>,
    /// The packs that are kept whole, the one that was asked for last at the end.
    kept: Mutex<Vec<(PackName, Arc<OnceCell<Bytes>>)>>,
    room: usize,
}

impl PackShelf {
    /// Packs of a snapshot; at most `room` of them are kept whole.
    pub fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo], room: usize) -> Self {
        let packs = packs.iter().map(|pack| (pack.name, pack.clone())).collect();
        Self { store, layout, packs, kept: Mutex::default(), room: room.max(1) }
    }

    /// Whether a pack of which so many bytes are needed soon is to be fetched whole.
    pub fn is_worth_it(&self, pack: &PackName, needed: u64) -> bool {
        self.packs.get(pack).is_some_and(|info| info.size <= WHOLE_LIMIT && needed >= info.size / 4)
    }

    /// The pack's slot, if it is kept or `whole` says that it is to be.
    fn slot(&self, pack: PackName, whole: bool) -> Option<Arc<OnceCell<Bytes>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match kept.iter().position(|(name, _)| *name == pack) {
            Some(at) => kept.remove(at),
            None if whole => (pack, Arc::default()),
            None => return None,
        };
        while kept.len() >= self.room {
            kept.remove(0);
        }
        kept.push(slot.clone());
        Some(slot.1)
    }

    /// The frame's stored bytes.
    async fn stored(&self, chunk: &ChunkRef, whole: bool) -> Result<Bytes, RepositoryError> {
        let (offset, length) = chunk.frame;
        let what = || format!("pack {}", chunk.pack);
        let info = self.packs.get(&chunk.pack).ok_or_else(|| {
            let detail = format!("chunk {} is in pack {}, which it does not name", chunk.id, chunk.pack);
            RepositoryError::damaged("the manifest", detail)
        })?;
        if offset.checked_add(length).is_none_or(|end| end > info.size) {
            return Err(RepositoryError::damaged(what(), "a frame is out of the pack's bounds"));
        }
        let key = self.layout.pack(&chunk.pack);
        let Some(slot) = self.slot(chunk.pack, whole && info.size <= WHOLE_LIMIT) else {
            return self.store.get_range(&key, offset, length).await.map_err(|e| missing(e, &chunk.pack));
        };
        // Its own hash isn't looked at: that of each chunk is.
        let pack = slot.get_or_try_init(|| self.store.get(&key, info.size)).await.map_err(|e| missing(e, &chunk.pack))?;
        slice_of(pack, offset, length).ok_or_else(|| RepositoryError::damaged(what(), "it is shorter than the manifest says"))
    }
}

/// Reads chunks off a shelf, in one thread that isn't one of the runtime's.
pub struct ShelfReader<'s> {
    shelf: &'s PackShelf,
    runtime: Handle,
    codec: Codec,
    /// Where the frame in `plain` stands.
    at: Option<(PackName, u64)>,
    plain: Vec<u8>,
}

impl<'s> ShelfReader<'s> {
    /// A reader that waits for the store by this runtime.
    pub fn new(shelf: &'s PackShelf, runtime: Handle) -> Self {
        Self { shelf, runtime, codec: Codec::default(), at: None, plain: Vec::new() }
    }

    /// A chunk's content, whose hash is its id; `whole`: its pack is to be fetched whole.
    pub fn read(&mut self, chunk: &ChunkRef, whole: bool) -> Result<&[u8], RepositoryError> {
        let damaged = |detail: String| RepositoryError::damaged(format!("pack {}", chunk.pack), detail);
        let at = Some((chunk.pack, chunk.frame.0));
        if self.at != at {
            self.at = None;
            let stored = self.runtime.block_on(self.shelf.stored(chunk, whole))?;
            // A frame of several chunks is within the limit; one larger holds this chunk alone.
            let limit = (FRAME_LIMIT as u64).max(chunk.size.saturating_add(4 << 10));
            self.plain = self.codec.decompress(&stored, limit).map_err(damaged)?;
            self.at = at;
        }
        let content = slice(&self.plain, chunk.at, chunk.size)
            .ok_or_else(|| damaged(format!("chunk {} is out of its frame's bounds", chunk.id)))?;
        if ChunkId::of(content) != chunk.id {
            return Err(damaged(format!("the content of chunk {} is not what it should be", chunk.id)));
        }
        Ok(content)
    }
}
