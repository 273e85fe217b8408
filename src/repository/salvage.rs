//! Chunks of packs that are lost or damaged, from other packs of the site (`restore --salvage`): what was sent again since is in newer snapshots' packs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::chunk_table::ChunkTable;
use super::codec::Codec;
use super::draft::DraftPlace;
use super::entry::{ChunkRef, Place};
use super::error::RepositoryError;
use super::ids::PackName;
use super::layout::Layout;
use super::manifest::Manifest;
use super::pack::{content, frame_limit};
use super::seal::{Keys, Opener};
use super::source::PackSource;
use super::{sign, snapshots};
use crate::config::{Identities, TrustedKeys};
use crate::storage::{Store, StoreErrorKind};

/// The packs of a site's other snapshots, searched by their tables of contents, and no further than is needed.
pub struct Salvage {
    packs: PackSource,
    /// All of them, the likeliest last.
    order: Vec<PackName>,
    dir: PathBuf,
    cancel: CancellationToken,
    search: Mutex<Search>,
    /// Packs that the store doesn't give whole.
    broken: std::sync::Mutex<HashSet<PackName>>,
}

struct Search {
    /// Packs whose tables of contents haven't been read yet, the likeliest last.
    unread: Vec<PackName>,
    /// The first place of each chunk in those that were; a few bytes a chunk in memory.
    places: ChunkTable<DraftPlace>,
    /// Frames in which a chunk was bad, by pack and offset: they are no place.
    bad: HashSet<(PackName, u64)>,
    codec: Codec,
    opener: Opener,
}

impl Salvage {
    /// For a snapshot, by the manifests of all others that can be read and are signed by someone trusted. What is found goes to a file without a
    /// name in `dir`. Needs a multi-threaded runtime, as [`Self::read`] does.
    ///
    /// # Errors
    /// [`RepositoryError::Store`] when the store can't be asked; [`RepositoryError::State`] of that file.
    pub async fn of(
        store: &Arc<dyn Store>,
        layout: &Layout,
        manifest: &Manifest,
        (identities, trusted): (&Identities, &TrustedKeys),
        dir: &Path,
        cancel: CancellationToken,
    ) -> Result<Self, RepositoryError> {
        let mut seen: HashSet<PackName> = manifest.packs.iter().map(|pack| pack.name).collect();
        let (mut newer, mut older) = (Vec::new(), Vec::new());
        // Its own are asked last: what came back after it had gone is in two of them.
        let mut infos: HashMap<_, _> = manifest.packs.iter().map(|pack| (pack.name, pack.clone())).collect();
        let mut sealed = manifest.sealed.clone();
        for found in snapshots::list(store.as_ref(), layout, None).await? {
            if found.key.id == manifest.id {
                continue;
            }
            let other = match snapshots::read(store.as_ref(), &found).await {
                Ok(stored) if sign::accept(trusted, stored.signer, &stored.path).is_ok() => stored.manifest,
                Ok(_) => continue,
                // One that these credentials may not read, too: someone may have put it there so. This snapshot's own was read.
                Err(RepositoryError::Store(error)) if error.kind == StoreErrorKind::Denied => continue,
                Err(error) if error.is_of_the_object() => continue,
                Err(error) => return Err(error),
            };
            let order = if other.seq > manifest.seq { &mut newer } else { &mut older };
            for pack in other.packs.into_iter().filter(|pack| seen.insert(pack.name)) {
                order.push(pack.name);
                infos.insert(pack.name, pack);
            }
            sealed.extend(other.sealed);
        }
        // What is read first stands last: the packs of the next snapshot, which sent again what the store had lost.
        newer.reverse();
        let own = manifest.packs.iter().map(|pack| pack.name);
        let order: Vec<_> = own.chain(older).chain(newer).collect();
        let mut packs = PackSource::of(Arc::clone(store), layout.clone(), infos);
        packs.set_keys(Keys::of_sets(identities, sealed));
        let search = Search {
            unread: order.clone(),
            places: ChunkTable::new(dir)?,
            bad: HashSet::new(),
            codec: Codec::default(),
            opener: Opener::default(),
        };
        Ok(Self { packs, order, dir: dir.to_owned(), cancel, search: Mutex::new(search), broken: Default::default() })
    }

    /// Whether the store doesn't give this pack whole: what it holds is then asked for frame by frame.
    pub(super) fn is_broken(&self, pack: &PackName) -> bool {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).contains(pack)
    }

    /// Takes note of a pack that the store doesn't give whole.
    pub(super) fn note_broken(&self, pack: PackName) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }

    /// A chunk's content, whose hash is its id, from another pack than its own; `None` when none at hand has it.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn read(&self, chunk: &ChunkRef) -> Result<Option<Bytes>, RepositoryError> {
        let mut search = self.search.lock().await;
        loop {
            if self.cancel.is_cancelled() {
                return Err(RepositoryError::Cancelled);
            }
            if let Some(DraftPlace::Stored(place)) = search.places.get(&chunk.id)? {
                let content = passed_over(self.content(&mut search, chunk, place).await)?;
                if content.is_some() || !search.bad.insert((place.pack, place.frame.0)) {
                    return Ok(content);
                }
                // Another pack may have it, too: the tables of contents are read again, without that frame.
                search.places = ChunkTable::new(&self.dir)?;
                search.unread.clone_from(&self.order);
            }
            let Some(pack) = search.unread.pop() else { return Ok(None) };
            passed_over(self.take_in(&mut search, &pack).await)?;
        }
    }

    /// Reads a pack's table of contents.
    async fn take_in(&self, search: &mut Search, pack: &PackName) -> Result<(), RepositoryError> {
        let Some(info) = self.packs.get(pack) else { return Ok(()) };
        let Search { places, bad, codec, opener, .. } = search;
        let toc = self.packs.contents(info, codec, opener).await?;
        block_in_place(|| {
            for (id, _, frame, at) in toc.chunks {
                if let Some(&frame) = toc.frames.get(frame as usize).filter(|frame| !bad.contains(&(*pack, frame.0))) {
                    places.insert(&id, &DraftPlace::Stored(Place { pack: *pack, frame, at }))?;
                }
            }
            Ok(())
        })
    }

    async fn content(&self, search: &mut Search, chunk: &ChunkRef, place: Place) -> Result<Bytes, RepositoryError> {
        let Place { pack, frame, at } = place;
        let there = ChunkRef { pack, frame, at, ..*chunk };
        let info = self.packs.info(&there)?;
        let stored = self.packs.fetch(info, frame).await?;
        let damaged = |detail: String| RepositoryError::damaged(format!("pack {pack}"), detail);
        block_in_place(|| {
            let frame = stored.open(self.packs.keys(), &mut search.opener)?;
            let plain = search.codec.decompress(&frame, frame_limit(chunk.size)).map_err(damaged)?;
            content(&plain, &there).map(Bytes::copy_from_slice)
        })
    }
}

/// A pack that is bad, or sealed to others, is as one that isn't there.
fn passed_over<T>(result: Result<T, RepositoryError>) -> Result<Option<T>, RepositoryError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. }) => Ok(None),
        Err(error) if error.is_loss() => Ok(None),
        Err(error) => Err(error),
    }
}
