//! Chunk id → value, on disk with a few bytes a chunk in memory.
//!
//! Records are appended to an unlinked file; memory holds an open-addressing table of (part of the id, record number):
//! 8 bytes a slot, at most three quarters full. A record is derived state: it goes with the process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;
use super::ids::ChunkId;

const ID: usize = 32;
/// Records wait in memory until there are this many bytes of them.
const BUFFER: usize = 64 << 10;

/// A value of fixed size.
pub(crate) trait Record: Sized {
    /// Encoded bytes.
    const BYTES: usize;
    fn encode(&self, to: &mut Vec<u8>);
    fn decode(from: &[u8]) -> Option<Self>;
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    mark: u32,
    /// Record number plus one; 0: free.
    record: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct ChunkTable<R> {
    slots: Vec<Slot>,
    count: u32,
    file: File,
    dir: PathBuf,
    written: u64,
    buffer: Vec<u8>,
    of: std::marker::PhantomData<R>,
}

impl<R: Record> ChunkTable<R> {
    const RECORD: usize = ID + R::BYTES;

    /// An empty table, whose records go to an unlinked file in this directory.
    pub(crate) fn new(dir: &Path) -> Result<Self, RepositoryError> {
        let file = tempfile_in(dir)?;
        Ok(Self {
            slots: vec![Slot::default(); 1 << 10],
            count: 0,
            file,
            dir: dir.to_owned(),
            written: 0,
            buffer: Vec::new(),
            of: std::marker::PhantomData,
        })
    }

    /// Records in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// Adds a record, unless its id is there already.
    pub(crate) fn insert(&mut self, id: &ChunkId, value: &R) -> Result<(), RepositoryError> {
        let (mut at, found) = self.find(id)?;
        if found.is_some() {
            return Ok(());
        }
        if (self.count as usize + 1) * 4 > self.slots.len() * 3 {
            self.grow()?;
            at = self.find(id)?.0;
        }
        self.buffer.extend_from_slice(&id.0);
        value.encode(&mut self.buffer);
        self.count += 1;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot { mark: mark(id), record: self.count };
        }
        if self.buffer.len() >= BUFFER {
            self.file
                .write_all_at(&self.buffer, self.written)
                .map_err(RepositoryError::state("writing a chunk table", &self.dir))?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The value of this id.
    pub(crate) fn get(&self, id: &ChunkId) -> Result<Option<R>, RepositoryError> {
        Ok(self.find(id)?.1)
    }

    /// The slot of this id, or the free one where it belongs.
    fn find(&self, id: &ChunkId) -> Result<(usize, Option<R>), RepositoryError> {
        let (wanted, mask) = (mark(id), self.slots.len() - 1);
        let mut at = home(id) & mask;
        loop {
            let slot = self.slots.get(at).copied().unwrap_or_default();
            if slot.record == 0 {
                return Ok((at, None));
            }
            if slot.mark == wanted {
                let record = self.record(slot.record - 1)?;
                if record.get(..ID) == Some(&id.0) {
                    return Ok((at, record.get(ID..).and_then(R::decode)));
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn record(&self, number: u32) -> Result<Vec<u8>, RepositoryError> {
        let offset = u64::from(number) * Self::RECORD as u64;
        let mut record = vec![0; Self::RECORD];
        if let Some(at) = offset.checked_sub(self.written) {
            let at = at as usize;
            record.copy_from_slice(self.buffer.get(at..at + Self::RECORD).ok_or(RepositoryError::Task)?);
        } else {
            self.file.read_exact_at(&mut record, offset).map_err(RepositoryError::state("reading a chunk table", &self.dir))?;
        }
        Ok(record)
    }

    fn grow(&mut self) -> Result<(), RepositoryError> {
        let mut slots = vec![Slot::default(); self.slots.len() * 2];
        let mask = slots.len() - 1;
        for number in 0..self.count {
            let record = self.record(number)?;
            let id = ChunkId(record.get(..ID).and_then(|b| b.try_into().ok()).ok_or(RepositoryError::Task)?);
            let mut at = home(&id) & mask;
            while slots.get(at).is_some_and(|slot| slot.record != 0) {
                at = (at + 1) & mask;
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot { mark: mark(&id), record: number + 1 };
            }
        }
        self.slots = slots;
        Ok(())
    }
}

// Ids are BLAKE3: any of their bytes are as good as a hash.
fn mark(id: &ChunkId) -> u32 {
    u32::from_le_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}

fn home(id: &ChunkId) -> usize {
    u64::from_le_bytes([id.0[4], id.0[5], id.0[6], id.0[7], id.0[8], id.0[9], id.0[10], id.0[11]]) as usize
}

/// A file without a name, for what goes with the process.
pub(crate) fn tempfile_in(dir: &Path) -> Result<File, RepositoryError> {
    let path = dir.join(format!("table-{}", super::random_hex()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(RepositoryError::state("making a temporary file", &path))?;
    std::fs::remove_file(&path).map_err(RepositoryError::state("unlinking a temporary file", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record for u64 {
        const BYTES: usize = 8;
        fn encode(&self, to: &mut Vec<u8>) {
            to.extend_from_slice(&self.to_le_bytes());
        }
        fn decode(from: &[u8]) -> Option<Self> {
            Some(Self::from_le_bytes(from.try_into().ok()?))
        }
    }

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = ChunkTable::<u64>::new(dir.path()).unwrap();
        let id = |n: u64| ChunkId::of(&n.to_le_bytes());
        for n in 0..20_000 {
            table.insert(&id(n), &n).unwrap();
        }
        table.insert(&id(5), &99).unwrap();
        assert_eq!(table.len(), 20_000);
        for n in 0..20_000 {
            assert_eq!(table.get(&id(n)).unwrap(), Some(n));
        }
        for n in 20_000..21_000 {
            assert_eq!(table.get(&id(n)).unwrap(), None);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
