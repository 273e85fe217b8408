//! Step 5, first half: drafts become the lists. Each entry's chunks get their place in the store, the lists are cut into
//! pieces, and what the snapshot uses of each pack is counted.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::error::BackupError;
use super::findings::Found;
use super::suspect::Checks;
use super::trees::After;
use crate::repository::draft::DraftChunk;
use crate::repository::entry::{ChunkRef, FileEntry, FileKind, TableEntry};
use crate::repository::ids::PackName;
use crate::repository::known::Known;
use crate::repository::list::{ListFile, ListReader};
use crate::repository::manifest::PackInfo;
use crate::repository::writer::PackWriter;
use crate::repository::{Cutter, RepositoryError};

/// Live bytes of each pack.
#[derive(Debug, Default)]
pub(super) struct Usage(HashMap<PackName, u64>);

impl Usage {
    pub(super) fn count(&mut self, chunk: &ChunkRef) {
        let live = self.0.entry(chunk.pack).or_default();
        *live = live.saturating_add(chunk.size);
    }

    /// Whether something in this pack is used, as far as is counted.
    pub(super) fn uses(&self, pack: &PackName) -> bool {
        self.0.contains_key(pack)
    }

    /// The packs that are used, sorted by name; `known` has what is known of each.
    pub(super) fn packs(self, known: &[&[PackInfo]]) -> Result<Vec<PackInfo>, RepositoryError> {
        let infos: HashMap<PackName, &PackInfo> = known.iter().flat_map(|packs| packs.iter()).map(|p| (p.name, p)).collect();
        let mut packs = Vec::with_capacity(self.0.len());
        for (name, live) in self.0 {
            let info = *infos
                .get(&name)
                .ok_or_else(|| RepositoryError::damaged("the parent", format!("pack {name} is not in its table")))?;
            packs.push(PackInfo { live, ..info.clone() });
        }
        packs.sort_by_key(|pack| pack.name);
        Ok(packs)
    }
}

/// The lists under way.
pub(super) struct Publisher<'a> {
    pub(super) writer: &'a mut PackWriter,
    /// The parent's list pieces.
    pub(super) known: &'a mut Known,
    pub(super) usage: &'a mut Usage,
}

/// What the list of files holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileCounts {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl FileCounts {
    fn add<C>(&mut self, entry: &FileEntry<C>) {
        self.entries += 1;
        if entry.kind == FileKind::File {
            self.bytes = self.bytes.saturating_add(entry.size);
        }
    }
}

impl Publisher<'_> {
    /// The list of a tree's files; `checks` see every entry of it.
    pub(super) fn files(
        &mut self,
        tree: After,
        local: &Path,
        checks: &mut Checks,
    ) -> Result<(Vec<DraftChunk>, FileCounts), BackupError> {
        let mut list = self.list::<FileEntry>(local)?;
        let mut counts = FileCounts::default();
        for entry in tree.entries {
            let entry = entry?.try_map_chunks(|chunk| self.resolve(&chunk))?;
            counts.add(&entry);
            checks.see(tree.name, &entry, entry.chunks.first().map(|chunk| chunk.id));
            list.push(self, &entry, entry.path.as_bytes())?;
        }
        Ok((list.finish(self)?, counts))
    }

    /// The same for a tree that is as the parent has it: its list's pieces are in the store, and its local copy is there.
    pub(super) fn same_files(
        &mut self,
        tree: After,
        pieces: &[ChunkRef],
        parents: &Path,
        local: &Path,
        checks: &mut Checks,
    ) -> Result<(Vec<DraftChunk>, FileCounts), BackupError> {
        let mut counts = FileCounts::default();
        for entry in tree.entries {
            let entry = entry?;
            entry.chunks.iter().try_for_each(|chunk| self.resolve(chunk).map(|_| ()))?;
            counts.add(&entry);
            checks.see(tree.name, &entry, entry.chunks.first().map(|chunk| chunk.id));
        }
        // A run that failed at its commit may have left one.
        let _ = std::fs::remove_file(local);
        std::fs::hard_link(parents, local)
            .or_else(|_| std::fs::copy(parents, local).and_then(|_| std::fs::File::open(local)?.sync_all()))
            .map_err(RepositoryError::state("linking a list", local))?;
        Ok((pieces.iter().copied().map(Into::into).collect(), counts))
    }

    /// The list of tables.
    pub(super) fn tables(&mut self, draft: &Path, local: &Path) -> Result<Vec<DraftChunk>, BackupError> {
        let mut list = self.list::<TableEntry>(local)?;
        for entry in ListReader::<TableEntry<DraftChunk>>::open(draft)? {
            let entry = entry?;
            let chunk = self.resolve(&entry.chunk)?;
            let (entry, _) = entry.with_chunk(chunk);
            // Rows have no name of their own: their content stands for their keys.
            list.push(self, &entry, &chunk.id.0)?;
        }
        Ok(list.finish(self)?)
    }

    /// The list of findings.
    pub(super) fn notes(&mut self, steps: &[Found], scratch: &Path) -> Result<Vec<DraftChunk>, BackupError> {
        let mut list = self.list(&scratch.join("notes.zst"))?;
        for step in steps {
            for note in step.read()? {
                let note = note?;
                list.push(self, &note, note.finding.subject.as_bytes())?;
            }
        }
        Ok(list.finish(self)?)
    }

    fn resolve(&mut self, chunk: &DraftChunk) -> Result<ChunkRef, RepositoryError> {
        let chunk = self.writer.resolve(chunk)?;
        self.usage.count(&chunk);
        Ok(chunk)
    }

    fn list<T: Serialize>(&self, local: &Path) -> Result<List<T>, RepositoryError> {
        Ok(List { file: ListFile::create(local)?, cutter: Cutter::default(), pieces: Vec::new() })
    }
}

/// One list: its local copy, and its pieces.
struct List<T> {
    file: ListFile<T>,
    cutter: Cutter,
    pieces: Vec<DraftChunk>,
}

impl<T: Serialize> List<T> {
    fn push(&mut self, publisher: &mut Publisher<'_>, entry: &T, key: &[u8]) -> Result<(), RepositoryError> {
        let line = self.file.push(entry)?;
        if let Some(piece) = self.cutter.push(line, key) {
            self.pieces.push(publisher.writer.add_blocking(&piece, &mut [publisher.known])?);
        }
        Ok(())
    }

    fn finish(mut self, publisher: &mut Publisher<'_>) -> Result<Vec<DraftChunk>, RepositoryError> {
        if let Some(piece) = self.cutter.finish() {
            self.pieces.push(publisher.writer.add_blocking(&piece, &mut [publisher.known])?);
        }
        self.file.finish(true)?;
        Ok(self.pieces)
    }
}
