//! Packs as the store has them, for whoever reads chunks: where a frame's bytes come from, sealed or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::block_in_place;

use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::PackName;
use super::layout::Layout;
use super::manifest::PackInfo;
use super::pack::{TOC_LIMIT, Toc, read_toc, slice, toc_place};
use super::seal::{HEADER_LIMIT, Keys, Opener, SealedPart, header_length, plain_length, segments};
use crate::storage::{Store, StoreError, StoreErrorKind};

/// Read of a pack's end at first: most tables of contents are shorter.
const END: u64 = 128 << 10;
/// A pack larger than this (one large row) is never kept whole.
pub(super) const WHOLE_LIMIT: u64 = 32 << 20;
/// Headers of sealed packs that are kept: some hundred bytes each.
const HEADERS_KEPT: usize = 4096;

/// The packs of one snapshot in the store.
pub(super) struct PackSource {
    store: Arc<dyn Store>,
    layout: Layout,
    packs: HashMap<PackName, PackInfo>,
    keys: Keys,
    headers: Mutex<HashMap<PackName, Bytes>>,
}

/// A frame as the store has it.
pub(super) enum StoredFrame {
    Plain(Bytes),
    Sealed(SealedPart),
}

impl StoredFrame {
    /// The frame's compressed bytes. Of a sealed frame the stored ones go before it is decompressed.
    pub(super) fn open(self, keys: &Keys, opener: &mut Opener) -> Result<Bytes, RepositoryError> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Sealed(part) => Ok(opener.open(keys, &part)?.into()),
        }
    }
}

impl PackSource {
    pub(super) fn new(store: Arc<dyn Store>, layout: Layout, packs: &[PackInfo]) -> Self {
        Self::of(store, layout, packs.iter().map(|pack| (pack.name, pack.clone())).collect())
    }

    pub(super) fn of(store: Arc<dyn Store>, layout: Layout, packs: HashMap<PackName, PackInfo>) -> Self {
        Self { store, layout, packs, keys: Keys::default(), headers: Mutex::default() }
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What is known of a pack.
    pub(super) fn get(&self, pack: &PackName) -> Option<&PackInfo> {
        self.packs.get(pack)
    }

    /// What is known of the pack that a chunk is in; it can be read as far as that tells.
    pub(super) fn info(&self, chunk: &ChunkRef) -> Result<&PackInfo, RepositoryError> {
        let (offset, length) = chunk.frame;
        let info = self.packs.get(&chunk.pack).ok_or_else(|| {
            let detail = format!("chunk {} is in pack {}, which it does not name", chunk.id, chunk.pack);
            RepositoryError::damaged("the manifest", detail)
        })?;
        if offset.checked_add(length).is_none_or(|end| end > info.size) {
            return Err(out_of_bounds(&chunk.pack));
        }
        self.keys.could_open(info)?;
        Ok(info)
    }

    /// A pack's stored bytes.
    pub(super) async fn whole(&self, info: &PackInfo) -> Result<Bytes, RepositoryError> {
        self.store.get(&self.layout.pack(info), info.size).await.map_err(|error| missing(error, &info.name))
    }

    /// A pack's table of contents, read from its end.
    pub(super) async fn contents(&self, info: &PackInfo, codec: &mut Codec, opener: &mut Opener) -> Result<Toc, RepositoryError> {
        self.keys.could_open(info)?;
        let plain = match info.sealed {
            None => info.size,
            Some(_) => {
                let header = self.fetched_header(info).await?.len() as u64;
                plain_length(header, info.size).ok_or_else(|| out_of_bounds(&info.name))?
            }
        };
        let mut length = END.min(plain);
        loop {
            let stored = self.fetch(info, (plain - length, length)).await?;
            let end = block_in_place(|| stored.open(&self.keys, opener))?;
            let needed = plain.saturating_sub(toc_place(&end)?.0);
            if needed <= length {
                return block_in_place(|| read_toc(codec, &end, plain));
            }
            if needed > TOC_LIMIT {
                return Err(out_of_bounds(&info.name));
            }
            length = needed;
        }
    }

    /// A frame, fetched by itself: of a sealed pack the header, if it isn't known, and the segments around it.
    pub(super) async fn fetch(&self, info: &PackInfo, (offset, length): (u64, u64)) -> Result<StoredFrame, RepositoryError> {
        let key = self.layout.pack(info);
        let get = async |offset, length| self.store.get_range(&key, offset, length).await.map_err(|e| missing(e, &info.name));
        if info.sealed.is_none() {
            return Ok(StoredFrame::Plain(get(offset, length).await?));
        }
        let header = self.fetched_header(info).await?;
        let (at, stored) = segments(header.len() as u64, info.size, offset, length).ok_or_else(|| out_of_bounds(&info.name))?;
        sealed(info, header, at, get(at, stored).await?, (offset, length))
    }

    /// A frame of a pack that is held whole.
    pub(super) fn cut(
        &self,
        info: &PackInfo,
        pack: &Bytes,
        (offset, length): (u64, u64),
    ) -> Result<StoredFrame, RepositoryError> {
        let part = |at, length| slice(pack, at, length).map(|part| pack.slice_ref(part)).ok_or_else(|| out_of_bounds(&info.name));
        if info.sealed.is_none() {
            return Ok(StoredFrame::Plain(part(offset, length)?));
        }
        let header = match self.header(&info.name) {
            Some(header) => header,
            None => self.keep_header(info, pack)?,
        };
        let size = pack.len() as u64;
        let (at, stored) = segments(header.len() as u64, size, offset, length).ok_or_else(|| out_of_bounds(&info.name))?;
        sealed(info, header, at, part(at, stored)?, (offset, length))
    }

    /// A sealed pack's header, fetched if it isn't known.
    async fn fetched_header(&self, info: &PackInfo) -> Result<Bytes, RepositoryError> {
        if let Some(header) = self.header(&info.name) {
            return Ok(header);
        }
        let start = self.store.get_range(&self.layout.pack(info), 0, HEADER_LIMIT.min(info.size)).await;
        self.keep_header(info, &start.map_err(|error| missing(error, &info.name))?)
    }

    fn header(&self, pack: &PackName) -> Option<Bytes> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).get(pack).cloned()
    }

    /// Takes the header off a sealed pack's beginning.
    fn keep_header(&self, info: &PackInfo, start: &[u8]) -> Result<Bytes, RepositoryError> {
        let start = start.get(..HEADER_LIMIT as usize).unwrap_or(start);
        let header = header_length(start)
            .and_then(|length| slice(start, 0, length))
            .ok_or_else(|| RepositoryError::damaged(format!("pack {}", info.name), "it does not begin as an age file"))?;
        // A copy: a slice would keep the whole pack.
        let header = Bytes::copy_from_slice(header);
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if headers.len() >= HEADERS_KEPT {
            headers.clear();
        }
        headers.insert(info.name, header.clone());
        Ok(header)
    }
}

fn sealed(
    info: &PackInfo,
    header: Bytes,
    at: u64,
    segments: Bytes,
    (offset, length): (u64, u64),
) -> Result<StoredFrame, RepositoryError> {
    let sealed = info.sealed.ok_or(RepositoryError::Task)?;
    Ok(StoredFrame::Sealed(SealedPart { pack: info.name, sealed, header, at, segments, offset, length }))
}

fn out_of_bounds(pack: &PackName) -> RepositoryError {
    RepositoryError::damaged(format!("pack {pack}"), "a frame is out of the pack's bounds")
}

/// A pack that isn't there is damage of the snapshot, not a wrong question.
fn missing(error: StoreError, pack: &PackName) -> RepositoryError {
    match error.kind {
        StoreErrorKind::NotFound => RepositoryError::damaged(format!("pack {pack}"), "it is not in the store"),
        _ => RepositoryError::Store(error),
    }
}
