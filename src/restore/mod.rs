//! A snapshot back: into a directory, into a database, or as one stream of SQL.
//!
//! Every chunk is hashed before it is used, and every entry of the lists is accounted for against the manifest:
//! a restore is complete or it fails.

mod crossing;
mod database;
mod error;
mod selection;
mod tables;

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

pub use database::{DatabaseOptions, DatabaseRestored};
pub use error::RestoreError;
pub use selection::Selection;
pub use tables::TablesRestored;

use crate::files::{TreeWriter, WriteStats};
use crate::progress::{Event, Phase, Progress};
use crate::repository::RepositoryError;
use crate::repository::entry::{FileEntry, FileFlag, FileKind};
use crate::repository::layout::Layout;
use crate::repository::list::LineBuffer;
use crate::repository::manifest::Manifest;
use crate::repository::reader::ChunkReader;
use crate::repository::snapshots;
use crate::storage::Store;

/// A snapshot opened for reading.
pub struct Restore {
    manifest: Manifest,
    chunks: ChunkReader,
    lists: ChunkReader,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

/// What a restored directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesRestored {
    /// Entries written.
    pub written: WriteStats,
    /// Entries that the run flagged as torn: their content is one reading of a file that was being written.
    pub torn: u64,
}

impl Restore {
    /// Finds a snapshot (`latest`, a number, or the beginning of an id) and reads its manifest.
    pub async fn open(
        store: Arc<dyn Store>,
        layout: Layout,
        wanted: &str,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Self, RestoreError> {
        let found = snapshots::find(&store, &layout, wanted).await?;
        let manifest = snapshots::read(store.as_ref(), &found).await?.manifest;
        progress.event(Event::Phase(Phase::Restoring));
        // Lists and content lie in different packs: each reader keeps its own in memory.
        let chunks = ChunkReader::new(Arc::clone(&store), layout.clone(), &manifest.packs);
        let lists = ChunkReader::new(store, layout, &manifest.packs);
        Ok(Self { manifest, chunks, lists, progress, cancel })
    }

    /// The snapshot's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes all files below `target`, which must be empty or missing unless `overwrite`. Needs a multi-threaded runtime.
    pub async fn files(&mut self, target: &Path, overwrite: bool) -> Result<FilesRestored, RestoreError> {
        block_in_place(|| self.files_blocking(target, overwrite))
    }

    fn files_blocking(&mut self, target: &Path, overwrite: bool) -> Result<FilesRestored, RestoreError> {
        let runtime = Handle::current();
        let mut writer = TreeWriter::create(target, overwrite)?;
        let (mut entries, mut bytes, mut torn) = (0u64, 0u64, 0u64);
        let mut lines = LineBuffer::new("the list of files");
        for piece in self.manifest.files.clone() {
            lines.fill(&runtime.block_on(self.lists.read(&piece))?);
            while let Some(entry) = lines.next_entry::<FileEntry>()? {
                if self.cancel.is_cancelled() {
                    return Err(RestoreError::Cancelled);
                }
                entries += 1;
                torn += u64::from(entry.flags.contains(&FileFlag::Torn));
                if entry.kind == FileKind::File {
                    bytes = bytes.saturating_add(entry.size);
                }
                let Some(mut file) = writer.begin(&entry)? else { continue };
                let mut written = 0;
                for chunk in &entry.chunks {
                    let content = runtime.block_on(self.chunks.read(chunk))?;
                    file.write(&content)?;
                    written += content.len() as u64;
                    self.progress.event(Event::Written { bytes: content.len() as u64 });
                }
                if written != entry.size {
                    let detail = format!("its chunks hold {written} bytes, {} are listed", entry.size);
                    return Err(RepositoryError::damaged(format!("the entry of {}", entry.path), detail).into());
                }
                writer.finish_file(file)?;
            }
        }
        expect("entries of files", self.manifest.counts.file_entries, entries)?;
        expect("bytes of files", self.manifest.counts.file_bytes, bytes)?;
        Ok(FilesRestored { written: writer.finish()?, torn })
    }
}

fn expect(what: &'static str, expected: u64, found: u64) -> Result<(), RestoreError> {
    if expected == found { Ok(()) } else { Err(RestoreError::Incomplete { what, expected, found }) }
}
