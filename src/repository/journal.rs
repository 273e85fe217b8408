//! What the run under way has uploaded, on local disk: a run that follows a broken one goes on from it.
//!
//! One JSON line a pack, appended and synced once the pack is in the store. A torn last line is what a crash leaves; it is dropped.
//! Which of them may still be reused, the store's clock and checkpoints tell ([`super::reuse`]): packs that nothing names are pruned some day.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::manifest::PackInfo;
use super::pack::Toc;

/// A line holds one pack's table of contents: 2^16 chunks of about 100 bytes at most.
const LINE_LIMIT: u64 = 32 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: Timestamp,
    /// The store's URL: in another store the pack isn't there.
    store: String,
    pack: PackInfo,
    toc: Toc,
}

/// The journal of one site.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    store: String,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the journal, for appending; `store` is the URL of the store that packs go to.
    pub fn open(path: &Path, store: &str) -> Result<Self, RepositoryError> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(RepositoryError::state("opening the journal", path))?;
        // A torn last line must not swallow the next one.
        let end = file.seek(SeekFrom::End(0)).map_err(RepositoryError::state("reading the journal", path))?;
        if end > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))
                .and_then(|_| file.read_exact(&mut last))
                .and_then(|()| if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") })
                .map_err(RepositoryError::state("mending the journal", path))?;
        }
        Ok(Self { path: path.to_owned(), store: store.to_owned(), file: Mutex::new(file) })
    }

    /// Notes a pack that is in the store.
    pub fn note(&self, pack: &PackInfo, toc: &Toc) -> Result<(), RepositoryError> {
        self.note_of(Timestamp::now(), pack, toc)
    }

    /// The same for one that has been there since then.
    pub fn note_of(&self, at: Timestamp, pack: &PackInfo, toc: &Toc) -> Result<(), RepositoryError> {
        let line = Line { at, store: self.store.clone(), pack: pack.clone(), toc: toc.clone() };
        let mut json = serde_json::to_vec(&line).map_err(|e| RepositoryError::damaged("the journal", e))?;
        json.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&json).and_then(|()| file.sync_data()).map_err(RepositoryError::state("writing the journal", &self.path))
    }

    /// Forgets everything: what was uploaded is in a committed snapshot.
    pub fn clear(path: &Path) -> Result<(), RepositoryError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(RepositoryError::state("clearing the journal", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The packs of a broken run before, and through `each` their chunks. Lines that can't be read
    /// or are of another store are passed over.
    pub fn read(
        path: &Path,
        store: &str,
        each: &mut dyn FnMut(&ChunkRef) -> Result<(), RepositoryError>,
    ) -> Result<Vec<PackInfo>, RepositoryError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(RepositoryError::state("reading the journal", path)(error)),
        };
        let mut reader = BufReader::new(file);
        let (mut packs, mut text) = (Vec::new(), Vec::new());
        loop {
            text.clear();
            let read = reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut text);
            if read.map_err(RepositoryError::state("reading the journal", path))? == 0 {
                return Ok(packs);
            }
            let Ok(line) = serde_json::from_slice::<Line>(&text) else { continue };
            if line.store != store {
                continue;
            }
            for &(id, size, frame, at) in &line.toc.chunks {
                if let Some(&frame) = line.toc.frames.get(frame as usize) {
                    each(&ChunkRef { id, size, pack: line.pack.name, frame, at })?;
                }
            }
            packs.push(line.pack);
        }
    }
}
