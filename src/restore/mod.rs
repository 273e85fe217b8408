//! A snapshot back: into a directory, into a database, or as one stream of SQL.
//!
//! Every chunk is hashed before it is used, and every entry of the lists is accounted for against the manifest:
//! a restore is complete or it fails.

mod crossing;
mod database;
mod diff;
mod error;
mod files;
mod find;
mod list;
mod selection;
mod spares;
mod tables;
mod trial;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use database::{DatabaseOptions, DatabaseRestored};
pub use diff::{Changed, DiffTotals, Difference};
pub use error::RestoreError;
pub use files::FilesRestored;
pub use find::{FOUND_LIMIT, Finder, Hit, Searched, Version};
pub use selection::Selection;
pub use spares::Place;
pub use tables::{TablesLost, TablesRestored};
pub use trial::{Scratch, TrialEnded, verify_by_trial};

use crate::config::{Identities, PublicKey, TrustedKeys};
use crate::progress::{Event, Phase, Progress};
use crate::repository::layout::Layout;
use crate::repository::manifest::Manifest;
use crate::repository::reader::ChunkReader;
use crate::repository::salvage::Salvage;
use crate::repository::seal::Keys;
use crate::repository::sign;
use crate::repository::snapshots::{self, Stored};
use crate::storage::Store;

/// A snapshot opened for reading.
pub struct Restore {
    store: Arc<dyn Store>,
    layout: Layout,
    manifest: Manifest,
    path: String,
    signer: Option<PublicKey>,
    passed_over: Vec<u64>,
    also_spared: Vec<(Restore, Vec<Place>)>,
    chunks: ChunkReader,
    lists: ChunkReader,
    keys: Keys,
    salvage: Option<Arc<Salvage>>,
    /// What is lost of the database, as far as it was read.
    gone: TablesLost,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

impl Restore {
    /// Finds a snapshot (`latest`, a number, or the beginning of an id) and reads its manifest. Sealed packs can be read after [`Self::unlock`].
    pub async fn open(
        store: Arc<dyn Store>,
        layout: Layout,
        wanted: &str,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Self, RestoreError> {
        let (stored, passed_over) = if wanted == "latest" {
            snapshots::latest(&store, &layout).await?
        } else {
            let found = snapshots::find(&store, &layout, wanted).await?;
            (snapshots::read(store.as_ref(), &found).await?, Vec::new())
        };
        let Stored { manifest, path, signer, .. } = stored;
        progress.event(Event::Phase(Phase::Restoring));
        // Lists and content lie in different packs: each reader keeps its own in memory.
        let chunks = ChunkReader::new(Arc::clone(&store), layout.clone(), &manifest.packs);
        let lists = ChunkReader::new(Arc::clone(&store), layout.clone(), &manifest.packs);
        Ok(Self {
            store,
            layout,
            manifest,
            path,
            signer,
            passed_over,
            also_spared: Vec::new(),
            chunks,
            lists,
            keys: Keys::default(),
            salvage: None,
            gone: TablesLost::default(),
            progress,
            cancel,
        })
    }

    /// Goes on only if whoever signed the snapshot is one of these; of none, it is anyone.
    ///
    /// # Errors
    /// [`crate::repository::RepositoryError::Untrusted`]
    pub fn trusting(self, trusted: &TrustedKeys) -> Result<Self, RestoreError> {
        sign::accept(trusted, self.signer, &self.path)?;
        Ok(self)
    }

    /// Who signed the snapshot.
    pub fn signer(&self) -> Option<PublicKey> {
        self.signer
    }

    /// Takes what opens the snapshot's sealed packs.
    pub fn unlock(mut self, identities: &Identities) -> Self {
        self.keys = Keys::new(identities, &self.manifest);
        self.chunks = self.chunks.with_keys(self.keys.clone());
        self.lists = self.lists.with_keys(self.keys.clone());
        self
    }

    /// From now on content that is lost or damaged is looked for in the packs of the site's other snapshots; what isn't there either is left out and
    /// told. Comes after [`Self::unlock`] by the same identities. Needs a multi-threaded runtime.
    pub async fn salvaging(mut self, identities: &Identities, trusted: &TrustedKeys) -> Result<Self, RestoreError> {
        let keys = (identities, trusted);
        let (dir, cancel) = (std::env::temp_dir(), self.cancel.clone());
        let salvage = Salvage::of(&self.store, &self.layout, &self.manifest, keys, &dir, cancel).await?;
        let salvage = Some(Arc::new(salvage));
        self.chunks = self.chunks.salvaging(salvage.clone());
        self.lists = self.lists.salvaging(salvage.clone());
        self.salvage = salvage;
        Ok(self)
    }

    /// Newer snapshots than this, which `latest` passed over: restores made them before they replaced the site.
    pub fn passed_over(&self) -> &[u64] {
        &self.passed_over
    }

    /// The snapshot's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

fn expect(what: &'static str, expected: u64, found: u64) -> Result<(), RestoreError> {
    if expected == found { Ok(()) } else { Err(RestoreError::Incomplete { what, expected, found }) }
}
