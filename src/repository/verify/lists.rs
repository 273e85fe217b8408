//! The lists of a snapshot: each piece is read once, however many snapshots have it, and every chunk that it names must have a place in a pack
//! that the snapshot names.

use std::collections::HashMap;

use super::look::reason;
use super::{Fault, FaultKind, Report, Verify};
use crate::repository::RepositoryError;
use crate::repository::entry::{ChunkRef, FileEntry, TableEntry};
use crate::repository::ids::{ChunkId, PackName};
use crate::repository::list::LineBuffer;
use crate::repository::manifest::{Manifest, PackInfo};
use crate::repository::reader::ChunkReader;
use crate::repository::seal::Keys;
use std::sync::Arc;

/// What is wrong with a piece, once it is known: it is told of each snapshot that has it, but read once.
type Known = Result<Box<[u32]>, String>;

/// Pieces that were read: which packs each names, by number, or what is wrong with it.
#[derive(Default)]
pub(super) struct Lists {
    pieces: HashMap<(ChunkId, PackName, (u64, u64), u64), Known>,
    numbers: HashMap<PackName, u32>,
    names: Vec<PackName>,
}

/// Which list a piece is of.
#[derive(Clone, Copy)]
enum Of {
    Files,
    Tables,
    Findings,
}

impl Lists {
    /// Reads what is new of this snapshot's lists.
    pub(super) async fn check(
        &mut self,
        verify: &Verify,
        key: &str,
        manifest: &Manifest,
        report: &mut Report,
    ) -> Result<(), RepositoryError> {
        let keys = Keys::new(&verify.identities, manifest);
        let mut reader = ChunkReader::new(Arc::clone(&verify.store), verify.layout.clone(), &manifest.packs).with_keys(keys);
        let packs: HashMap<PackName, &PackInfo> = manifest.packs.iter().map(|pack| (pack.name, pack)).collect();
        let trees = manifest.trees.iter().map(|tree| (Of::Files, tree.files.as_slice()));
        let lists = [(Of::Files, manifest.files.as_slice()), (Of::Tables, &manifest.tables), (Of::Findings, &manifest.notes)];
        let mut sealed = false;
        for (of, pieces) in lists.into_iter().chain(trees) {
            for piece in pieces {
                verify.go_on()?;
                let fault = |detail: String| Fault {
                    kind: FaultKind::List,
                    object: key.to_owned(),
                    detail,
                    snapshots: Some((manifest.seq, manifest.seq)),
                };
                let place = (piece.id, piece.pack, piece.frame, piece.at);
                if !self.pieces.contains_key(&place) {
                    let known = match self.read(&mut reader, of, piece, &packs).await {
                        Ok(named) => Ok(named),
                        Err(RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. }) => {
                            sealed = true;
                            continue;
                        }
                        Err(error) if error.is_of_the_object() => {
                            let detail = match &error {
                                RepositoryError::Damaged { what, .. } => format!("{what}: {}", reason(&error)),
                                _ => reason(&error),
                            };
                            // What a run takes from a list that can't be read is not there either.
                            report.bad_packs.insert(piece.pack);
                            Err(format!("a piece of its lists can't be read: {detail}"))
                        }
                        Err(error) => return Err(error),
                    };
                    report.list_pieces += 1;
                    self.pieces.insert(place, known);
                }
                match self.pieces.get(&place) {
                    Some(Err(detail)) => report.fault(fault(detail.clone())),
                    Some(Ok(named)) => {
                        let lacks = named
                            .iter()
                            .filter_map(|number| self.names.get(*number as usize))
                            .find(|name| !packs.contains_key(name));
                        if let Some(pack) = lacks {
                            report.fault(fault(format!("its lists name pack {pack}, which it does not name itself")));
                        }
                    }
                    None => {}
                }
            }
        }
        if sealed {
            report.not_looked_at(
                "the lists of encrypted snapshots: give an identity that opens them by --identity FILE".to_owned(),
            );
        }
        Ok(())
    }

    /// Which packs a piece names.
    async fn read(
        &mut self,
        reader: &mut ChunkReader,
        of: Of,
        piece: &ChunkRef,
        packs: &HashMap<PackName, &PackInfo>,
    ) -> Result<Box<[u32]>, RepositoryError> {
        let bytes = reader.read_piece(piece).await?;
        let mut lines = LineBuffer::new("a list");
        lines.fill(&bytes);
        let mut named = Vec::new();
        let mut place = |chunk: &ChunkRef| -> Result<(), RepositoryError> {
            let end = chunk.frame.0.checked_add(chunk.frame.1);
            let fits = packs.get(&chunk.pack).is_none_or(|pack| end.is_some_and(|end| end <= pack.size));
            if !fits {
                return Err(RepositoryError::damaged(
                    "a list",
                    format!("chunk {} is out of the bounds of pack {}", chunk.id, chunk.pack),
                ));
            }
            let next = self.names.len() as u32;
            let number = *self.numbers.entry(chunk.pack).or_insert(next);
            if number == next {
                self.names.push(chunk.pack);
            }
            if named.last() != Some(&number) {
                named.push(number);
            }
            Ok(())
        };
        match of {
            Of::Files => {
                while let Some(entry) = lines.next_entry::<FileEntry>()? {
                    entry.chunks.iter().try_for_each(&mut place)?;
                }
            }
            Of::Tables => {
                while let Some(entry) = lines.next_entry::<TableEntry>()? {
                    place(&entry.chunk)?;
                }
            }
            Of::Findings => while lines.next_entry::<serde_json::Value>()?.is_some() {},
        }
        named.sort_unstable();
        named.dedup();
        Ok(named.into_boxed_slice())
    }
}
