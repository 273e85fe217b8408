//! The packs that several readers read at once: each is fetched once, whole, where much of it is needed; of another only the
//! frames that are asked for.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::PackName;
use super::layout::Layout;
use super::manifest::PackInfo;
use super::pack::{FRAME_LIMIT, content, frame_limit};
use super::salvage::Salvage;
use super::seal::{Keys, Opener};
use super::source::{PackSource, StoredFrame, WHOLE_LIMIT};
use crate::storage::Store;

/// Decompressed frames that each reader keeps.
const FRAMES_KEPT: usize = 3;

/// The packs of one snapshot.
pub struct PackShelf {
    packs: PackSource,
    /// The packs that are kept whole, as they are stored: the one that was asked for last at the end.
    kept: Mutex<Vec<(PackName, Arc<OnceCell<Bytes>>)>>,
    room: usize,
    salvage: Option<Arc<Salvage>>,
}

impl PackShelf {
    /// Packs of a snapshot; at most `room` of them are kept whole.
    pub fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo], room: usize) -> Self {
        Self { packs: PackSource::new(store, layout, packs), kept: Mutex::default(), room: room.max(1), salvage: None }
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
        let broken = self.salvage.as_ref().is_some_and(|salvage| salvage.is_broken(&chunk.pack));
        let Some(slot) = self.slot(chunk.pack, whole && info.size <= WHOLE_LIMIT).filter(|_| !broken) else {
            return self.packs.fetch(info, chunk.frame).await;
        };
        // Its own hash isn't looked at: that of each chunk is.
        match (slot.get_or_try_init(|| self.packs.whole(info)).await, &self.salvage) {
            // The store itself knows that it is damaged, and doesn't give it whole.
            (Err(error), Some(salvage)) if error.is_loss() => {
                salvage.note_broken(chunk.pack);
                self.packs.fetch(info, chunk.frame).await
            }
            (pack, _) => self.packs.cut(info, pack?, chunk.frame),
        }
    }
}

/// A decompressed frame, and where it stands; `None` where it is a chunk's content alone.
type Plain = (Option<(PackName, u64)>, Vec<u8>);

/// Reads chunks off a shelf, in one thread that isn't one of the runtime's.
pub struct ShelfReader<'s> {
    shelf: &'s PackShelf,
    runtime: Handle,
    codec: Codec,
    opener: Opener,
    /// The frames that were read last, the last one at the end: a file of which another has the content, too, lies elsewhere than those around it.
    frames: Vec<Plain>,
}

impl<'s> ShelfReader<'s> {
    /// A reader that waits for the store by this runtime.
    pub fn new(shelf: &'s PackShelf, runtime: Handle) -> Self {
        Self { shelf, runtime, codec: Codec::default(), opener: Opener::default(), frames: Vec::new() }
    }

    /// A chunk's content, whose hash is its id; `whole`: its pack is to be fetched whole.
    pub fn read(&mut self, chunk: &ChunkRef, whole: bool) -> Result<&[u8], RepositoryError> {
        let place = match (self.read_in_place(chunk, whole), &self.shelf.salvage) {
            (Err(error), Some(salvage)) if error.is_loss() => {
                let content = Vec::from(self.runtime.block_on(salvage.read(chunk))?.ok_or(error)?);
                let place = 0..content.len();
                self.keep((None, content));
                place
            }
            (read, _) => read?,
        };
        Ok(self.last().get(place).unwrap_or_default())
    }

    fn last(&self) -> &[u8] {
        self.frames.last().map(|(_, plain)| plain.as_slice()).unwrap_or_default()
    }

    fn keep(&mut self, frame: Plain) {
        // One that is larger than others holds one chunk alone: beside it none is kept.
        if frame.1.len() > FRAME_LIMIT || self.frames.last().is_some_and(|(_, plain)| plain.len() > FRAME_LIMIT) {
            self.frames.clear();
        } else if self.frames.len() >= FRAMES_KEPT {
            self.frames.remove(0);
        }
        self.frames.push(frame);
    }

    /// Makes the chunk's frame the last one; where the content is in it.
    fn read_in_place(&mut self, chunk: &ChunkRef, whole: bool) -> Result<Range<usize>, RepositoryError> {
        let damaged = |detail: String| RepositoryError::damaged(format!("pack {}", chunk.pack), detail);
        let at = Some((chunk.pack, chunk.frame.0));
        match self.frames.iter().position(|(kept, _)| *kept == at) {
            Some(position) => {
                let frame = self.frames.remove(position);
                self.frames.push(frame);
            }
            None => {
                let stored = self.runtime.block_on(self.shelf.stored(chunk, whole))?;
                let frame = stored.open(self.shelf.packs.keys(), &mut self.opener)?;
                let plain = self.codec.decompress(&frame, frame_limit(chunk.size)).map_err(damaged)?;
                self.keep((at, plain));
            }
        }
        let length = content(self.last(), chunk)?.len();
        // As it was cut out there.
        let start = usize::try_from(chunk.at).unwrap_or_default();
        Ok(start..start + length)
    }
}
