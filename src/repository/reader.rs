//! From the store back to chunks. Every chunk is hashed before it is handed out.
//!
//! Lists and files are in the order in which they were packed, most of the time: a pack of which the snapshot needs
//! much is fetched whole, once; of another only the frames that are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::{ChunkId, PackName};
use super::layout::Layout;
use super::manifest::PackInfo;
use super::pack::{FRAME_LIMIT, slice};
use crate::storage::{Store, StoreErrorKind};

/// Decompressed frames kept in memory.
const FRAMES_KEPT: usize = 4;
/// A pack larger than this (one large row) is never kept whole.
const WHOLE_LIMIT: u64 = 32 << 20;

type FrameKey = (PackName, u64);

/// Reads chunks of one snapshot.
pub struct ChunkReader {
    store: Arc<dyn Store>,
    layout: Layout,
    packs: HashMap<PackName, PackInfo>,
    whole: Option<(PackName, Bytes)>,
    frames: VecDeque<(FrameKey, Bytes)>,
    codec: Codec,
}

impl ChunkReader {
    /// A reader for a snapshot that needs these packs.
    pub fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo]) -> Self {
        let packs = packs.iter().map(|p| (p.name, p.clone())).collect();
        Self { store, layout, packs, whole: None, frames: VecDeque::new(), codec: Codec::default() }
    }

    /// A chunk's content, whose hash is its id.
    pub async fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        let what = || format!("pack {}", chunk.pack);
        let frame = self.frame(chunk).await?;
        let content = slice(&frame, chunk.at, chunk.size)
            .ok_or_else(|| RepositoryError::damaged(what(), format!("chunk {} is out of its frame's bounds", chunk.id)))?;
        if ChunkId::of(content) != chunk.id {
            return Err(RepositoryError::damaged(what(), format!("the content of chunk {} is not what it should be", chunk.id)));
        }
        Ok(frame.slice_ref(content))
    }

    async fn frame(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        let key = (chunk.pack, chunk.frame.0);
        if let Some((_, frame)) = self.frames.iter().find(|(k, _)| *k == key) {
            return Ok(frame.clone());
        }
        let stored = self.stored(chunk).await?;
        // A frame of several chunks is within the limit; one larger holds this chunk alone.
        let limit = (FRAME_LIMIT as u64).max(chunk.size.saturating_add(4 << 10));
        let pack = chunk.pack;
        let mut codec = std::mem::take(&mut self.codec);
        let task = tokio::task::spawn_blocking(move || (codec.decompress(&stored, limit), codec));
        let (plain, codec) = task.await.map_err(|_| RepositoryError::Task)?;
        self.codec = codec;
        let plain = Bytes::from(plain.map_err(|detail| RepositoryError::damaged(format!("pack {pack}"), detail))?);
        // Nothing else is in it: it would only lie here while the next is read.
        if plain.len() > FRAME_LIMIT {
            return Ok(plain);
        }
        while self.frames.len() >= FRAMES_KEPT || self.frames.iter().map(|(_, f)| f.len()).sum::<usize>() > 4 * FRAME_LIMIT {
            self.frames.pop_front();
        }
        self.frames.push_back((key, plain.clone()));
        Ok(plain)
    }

    /// The frame's stored bytes.
    async fn stored(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        let (offset, length) = chunk.frame;
        let what = || format!("pack {}", chunk.pack);
        let info = self.packs.get(&chunk.pack).ok_or_else(|| {
            RepositoryError::damaged(
                "the manifest",
                format!("chunk {} is in pack {}, which it does not name", chunk.id, chunk.pack),
            )
        })?;
        if offset.checked_add(length).is_none_or(|end| end > info.size) {
            return Err(RepositoryError::damaged(what(), "a frame is out of the pack's bounds"));
        }
        if let Some((_, pack)) = self.whole.as_ref().filter(|(name, _)| *name == chunk.pack) {
            return slice_of(pack, offset, length).ok_or_else(|| RepositoryError::damaged(what(), "a frame is out of bounds"));
        }
        let key = self.layout.pack(&chunk.pack);
        if info.live < info.size / 2 || info.size > WHOLE_LIMIT {
            return self.store.get_range(&key, offset, length).await.map_err(|e| missing(e, &chunk.pack));
        }
        // The one before goes first: only one is in memory.
        self.whole = None;
        let pack = self.store.get(&key, info.size).await.map_err(|e| missing(e, &chunk.pack))?;
        let bytes = pack.clone();
        let name = tokio::task::spawn_blocking(move || PackName::of(&bytes)).await.map_err(|_| RepositoryError::Task)?;
        if name != chunk.pack {
            return Err(RepositoryError::damaged(what(), "its bytes don't have the hash that is its name"));
        }
        self.whole = Some((chunk.pack, pack.clone()));
        slice_of(&pack, offset, length).ok_or_else(|| RepositoryError::damaged(what(), "a frame is out of bounds"))
    }
}

pub(super) fn slice_of(bytes: &Bytes, offset: u64, length: u64) -> Option<Bytes> {
    slice(bytes, offset, length).map(|part| bytes.slice_ref(part))
}

/// A pack that isn't there is damage of the snapshot, not a wrong question.
pub(super) fn missing(error: crate::storage::StoreError, pack: &PackName) -> RepositoryError {
    match error.kind {
        StoreErrorKind::NotFound => RepositoryError::damaged(format!("pack {pack}"), "it is not in the store"),
        _ => RepositoryError::Store(error),
    }
}
