//! What the store holds already and this run may reuse: chunks of the parent, and of the broken run before.
//! Nothing else, so that pruning needs no locks (docs/FORMAT.md, "Retention").

use std::path::{Path, PathBuf};

use super::chunk_table::ChunkTable;
use super::draft::DraftPlace;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::ChunkId;

/// Fills a table from its source, on first use.
pub type Load = Box<dyn FnOnce(&mut dyn FnMut(&ChunkRef) -> Result<(), RepositoryError>) -> Result<(), RepositoryError> + Send>;

/// A table of chunks that is read when the first question comes: a night without changes never asks.
pub struct Known {
    dir: PathBuf,
    load: Option<Load>,
    table: Option<ChunkTable<DraftPlace>>,
}

impl Known {
    /// Nothing is known.
    pub fn nothing() -> Self {
        Self { dir: PathBuf::new(), load: None, table: None }
    }

    /// Chunks that `load` will name; the table's file goes into `dir`.
    pub fn lazy(dir: &Path, load: Load) -> Self {
        Self { dir: dir.to_owned(), load: Some(load), table: None }
    }

    pub(crate) fn get(&mut self, id: &ChunkId) -> Result<Option<DraftPlace>, RepositoryError> {
        if let Some(load) = self.load.take() {
            let mut table = ChunkTable::new(&self.dir)?;
            load(&mut |chunk| table.insert(&chunk.id, &DraftPlace::Stored(chunk.place())))?;
            self.table = Some(table);
        }
        match &self.table {
            Some(table) => table.get(id),
            None => Ok(None),
        }
    }
}
