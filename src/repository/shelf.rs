//! The packs that several readers read at once: each is fetched once, whole, where much of it is needed; of another only the
//! frames that are asked for.

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
use super::pack::{frame_limit, slice};
use super::seal::{Keys, Opener};
use super::source::{PackSource, StoredFrame};
use crate::storage::Store;

/// A pack larger than this (one large row) is never kept whole.
const WHOLE_LIMIT: u64 = 32 << 20;

/// The packs of one snapshot.
pub struct PackShelf {
    packs: PackSource,
    /// The packs that are kept whole, as they are stored: the one that was asked for last at the end.
    kept: Mutex<Vec<(PackName, Arc<OnceCell<Bytes>>)>>,
    room: usize,
}

impl PackShelf {
    /// Packs of a snapshot; at most `room` of them are kept whole.
    pub fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo], room: usize) -> Self {
        Self { packs: PackSource::new(store, layout, packs), kept: Mutex::default(), room: room.max(1) }
    }

    /// The same with keys to the sealed ones.
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.packs.set_keys(keys);
        self
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

    /// The frame as it is stored.
    async fn stored(&self, chunk: &ChunkRef, whole: bool) -> Result<StoredFrame, RepositoryError> {
        let info = self.packs.info(chunk)?;
        let Some(slot) = self.slot(chunk.pack, whole && info.size <= WHOLE_LIMIT) else {
            return self.packs.fetch(info, chunk.frame).await;
        };
        // Its own hash isn't looked at: that of each chunk is.
        let pack = slot.get_or_try_init(|| self.packs.whole(info)).await?;
        self.packs.cut(info, pack, chunk.frame)
    }
}

/// Reads chunks off a shelf, in one thread that isn't one of the runtime's.
pub struct ShelfReader<'s> {
    shelf: &'s PackShelf,
    runtime: Handle,
    codec: Codec,
    opener: Opener,
    /// Where the frame in `plain` stands.
    at: Option<(PackName, u64)>,
    plain: Vec<u8>,
}

impl<'s> ShelfReader<'s> {
    /// A reader that waits for the store by this runtime.
    pub fn new(shelf: &'s PackShelf, runtime: Handle) -> Self {
        Self { shelf, runtime, codec: Codec::default(), opener: Opener::default(), at: None, plain: Vec::new() }
    }

    /// A chunk's content, whose hash is its id; `whole`: its pack is to be fetched whole.
    pub fn read(&mut self, chunk: &ChunkRef, whole: bool) -> Result<&[u8], RepositoryError> {
        let damaged = |detail: String| RepositoryError::damaged(format!("pack {}", chunk.pack), detail);
        let at = Some((chunk.pack, chunk.frame.0));
        if self.at != at {
            self.at = None;
            let stored = self.runtime.block_on(self.shelf.stored(chunk, whole))?;
            let limit = frame_limit(chunk.size);
            let frame = stored.open(self.shelf.packs.keys(), &mut self.opener)?;
            self.plain = self.codec.decompress(&frame, limit).map_err(damaged)?;
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
