//! From the store back to chunks. Every chunk is hashed before it is handed out.
//!
//! Lists and files are in the order in which they were packed, most of the time: a pack of which the snapshot needs
//! much is fetched whole, once; of another only the frames that are asked for.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use bytes::Bytes;

use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::PackName;
use super::layout::Layout;
use super::list::LARGEST_PIECE;
use super::manifest::PackInfo;
use super::pack::{FRAME_LIMIT, content, frame_limit};
use super::salvage::Salvage;
use super::seal::{Keys, Opener};
use super::source::{PackSource, StoredFrame, WHOLE_LIMIT};
use crate::storage::Store;

/// Decompressed frames kept in memory.
const FRAMES_KEPT: usize = 4;

type FrameKey = (PackName, u64);

/// Reads chunks of one snapshot.
pub struct ChunkReader {
    packs: PackSource,
    whole: Option<(PackName, Bytes)>,
    frames: VecDeque<(FrameKey, Bytes)>,
    codec: Codec,
    opener: Opener,
    salvage: Option<Arc<Salvage>>,
}

impl ChunkReader {
    /// A reader for a snapshot that needs these packs, none of them sealed.
    pub fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo]) -> Self {
        let packs = PackSource::new(store, layout, packs);
        Self { packs, whole: None, frames: VecDeque::new(), codec: Codec::default(), opener: Opener::default(), salvage: None }
    }

    /// The same with keys to the sealed ones.
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.packs.set_keys(keys);
        self
    }

    /// The same with what finds elsewhere the chunks whose packs are bad.
    pub fn salvaging(mut self, salvage: Option<Arc<Salvage>>) -> Self {
        self.salvage = salvage;
        self
    }

    /// Whether it looks elsewhere, too.
    pub fn is_salvaging(&self) -> bool {
        self.salvage.is_some()
    }

    /// A chunk's content, whose hash is its id.
    pub async fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        match (self.read_in_place(chunk).await, &self.salvage) {
            (Err(error), Some(salvage)) if error.is_loss() => salvage.read(chunk).await?.ok_or(error),
            (read, _) => read,
        }
    }

    async fn read_in_place(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        let frame = self.frame(chunk).await?;
        let content = content(&frame, chunk)?;
        Ok(frame.slice_ref(content))
    }

    /// A piece of a list.
    pub async fn read_piece(&mut self, piece: &ChunkRef) -> Result<Bytes, RepositoryError> {
        if piece.size > LARGEST_PIECE {
            return Err(RepositoryError::damaged(
                "the manifest",
                format!("a piece of a list of {} bytes, where {LARGEST_PIECE} are allowed", piece.size),
            ));
        }
        self.read(piece).await
    }

    async fn frame(&mut self, chunk: &ChunkRef) -> Result<Bytes, RepositoryError> {
        let key = (chunk.pack, chunk.frame.0);
        if let Some((_, frame)) = self.frames.iter().find(|(k, _)| *k == key) {
            return Ok(frame.clone());
        }
        let stored = self.stored(chunk).await?;
        let (pack, limit) = (chunk.pack, frame_limit(chunk.size));
        let (keys, mut codec, mut opener) = (self.packs.keys().clone(), take(&mut self.codec), take(&mut self.opener));
        let task = tokio::task::spawn_blocking(move || {
            let frame = stored.open(&keys, &mut opener);
            let damaged = |detail| RepositoryError::damaged(format!("pack {pack}"), detail);
            let plain = frame.and_then(|frame| codec.decompress(&frame, limit).map_err(damaged));
            (plain, codec, opener)
        });
        let (plain, codec, opener) = task.await.map_err(|_| RepositoryError::Task)?;
        (self.codec, self.opener) = (codec, opener);
        let plain = Bytes::from(plain?);
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

    /// The frame as it is stored.
    async fn stored(&mut self, chunk: &ChunkRef) -> Result<StoredFrame, RepositoryError> {
        let info = self.packs.info(chunk)?;
        if let Some((_, pack)) = self.whole.as_ref().filter(|(name, _)| *name == chunk.pack) {
            return self.packs.cut(info, pack, chunk.frame);
        }
        let broken = self.salvage.as_ref().is_some_and(|salvage| salvage.is_broken(&chunk.pack));
        if info.live < info.size / 2 || info.size > WHOLE_LIMIT || broken {
            return self.packs.fetch(info, chunk.frame).await;
        }
        // The one before goes first: only one is in memory.
        self.whole = None;
        let pack = match (self.packs.whole(info).await, &self.salvage) {
            // The store itself knows that it is damaged, and doesn't give it whole.
            (Err(error), Some(salvage)) if error.is_loss() => {
                salvage.note_broken(chunk.pack);
                return self.packs.fetch(info, chunk.frame).await;
            }
            (pack, _) => pack?,
        };
        let bytes = pack.clone();
        let name = tokio::task::spawn_blocking(move || PackName::of(&bytes)).await.map_err(|_| RepositoryError::Task)?;
        // Of a pack that is damaged, what isn't is good: each chunk is hashed.
        if name != chunk.pack && self.salvage.is_none() {
            let detail = "its bytes don't have the hash that is its name";
            return Err(RepositoryError::damaged(format!("pack {}", chunk.pack), detail));
        }
        let frame = self.packs.cut(info, &pack, chunk.frame);
        self.whole = Some((chunk.pack, pack));
        frame
    }
}
