//! What the snapshot lacks though it was there: that it isn't in the list says nothing, so it is not deleted.
//!
//! Any number of paths: they are kept on the disk, in a file without a name, and a few bytes each in memory.

use std::io;
use std::sync::PoisonError;

use super::{Action, Target};
use crate::files::error::FilesError;
use crate::repository::byte_text::ByteText;
use crate::repository::chunk_table::{ChunkTable, Record};
use crate::repository::ids::ChunkId;

/// Why a snapshot lacks a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// It could not be captured, or is no part of the tree.
    Uncaptured,
    /// An exclude rule of that time left it out.
    Excluded,
}

/// Paths of the target that a snapshot lacks though they were there.
#[derive(Debug)]
pub struct Spares {
    paths: ChunkTable<Present>,
    any: bool,
}

/// That a path is in the table is all there is to know.
#[derive(Debug)]
struct Present;

impl Record for Present {
    const BYTES: usize = 0;

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &[u8]) -> Option<Self> {
        Some(Self)
    }
}

fn key(path: &[u8], lacks: Lacks) -> ChunkId {
    let kind: &[u8] = match lacks {
        Lacks::Uncaptured => b"u",
        Lacks::Excluded => b"x",
    };
    ChunkId::of(&[kind, path].concat())
}

impl Spares {
    /// None yet.
    ///
    /// # Errors
    /// When there is no room for a temporary file.
    pub fn new() -> io::Result<Self> {
        Ok(Self { paths: ChunkTable::new(&std::env::temp_dir()).map_err(io::Error::other)?, any: false })
    }

    /// Adds a path; the empty one is the target itself.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn add(&mut self, path: &[u8], lacks: Lacks) -> io::Result<()> {
        self.any = true;
        self.paths.insert(&key(path, lacks), &Present).map_err(io::Error::other)
    }

    fn has(&self, path: &[u8], lacks: Lacks) -> io::Result<bool> {
        Ok(self.any && self.paths.get(&key(path, lacks)).map_err(io::Error::other)?.is_some())
    }
}

/// How many paths that were spared are told.
const TOLD: usize = 20;

impl Target {
    /// Spares these paths and what is below them; before the first entry.
    pub fn spare(&self, spares: Spares) {
        *self.spares.lock().unwrap_or_else(PoisonError::into_inner) = Some(spares);
    }

    /// Paths that were spared; the first of them.
    pub fn spared(&self) -> Vec<ByteText> {
        self.spared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the path is spared for itself. What is below one that is, is not asked for.
    pub(super) fn is_spared(&self, path: &[u8], lacks: Lacks) -> Result<bool, FilesError> {
        let spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        spares.as_ref().map_or(Ok(false), |spares| spares.has(path, lacks)).map_err(|source| self.failed(path, source))
    }

    /// Counts and tells something that is spared.
    pub(super) fn leave_spared(&self, path: &[u8]) {
        self.count(|stats| stats.spared += 1);
        let mut told = self.spared.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(ByteText::from(path));
        }
        drop(told);
        self.told(Action::Leave, path);
    }
}
