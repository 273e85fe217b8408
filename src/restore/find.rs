//! Where a path is, over all snapshots: the newest first, unchanged stretches as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::RestoreError;
use super::list::listed;
use crate::config::{Identities, TreeName, TrustedKeys};
use crate::files::PathSelection;
use crate::repository::RepositoryError;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind};
use crate::repository::ids::ChunkId;
use crate::repository::layout::Layout;
use crate::repository::list::LineBuffer;
use crate::repository::manifest::Manifest;
use crate::repository::reader::ChunkReader;
use crate::repository::seal::Keys;
use crate::repository::sign;
use crate::repository::snapshots::{self, Found};
use crate::storage::Store;

/// Paths that a search holds at most.
pub const FOUND_LIMIT: usize = 100_000;

/// What a path is in one snapshot, or in several without a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// What it is.
    pub kind: FileKind,
    /// Bytes of content.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// The content's id: of its one chunk, or of the ids of its chunks; none for what has no content.
    pub content: Option<ChunkId>,
}

impl Version {
    /// What an entry is.
    pub fn of(entry: &FileEntry) -> Self {
        let content = match entry.chunks.as_slice() {
            [] => None,
            [chunk] => Some(chunk.id),
            chunks => Some(ChunkId::of(&chunks.iter().flat_map(|chunk| chunk.id.0).collect::<Vec<_>>())),
        };
        Self { kind: entry.kind, size: entry.size, mtime: entry.mtime, content }
    }
}

/// A path's stretch of snapshots without a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The path.
    pub path: ByteText,
    /// The number of the oldest snapshot of the stretch.
    pub first: u64,
    /// The number of the newest.
    pub last: u64,
    /// What it is.
    #[serde(flatten)]
    pub version: Version,
}

/// What a search came to.
#[derive(Debug)]
pub struct Searched {
    /// Stretches that were given out.
    pub hits: u64,
    /// The numbers of snapshots that were passed over, and why: the newest first.
    pub passed_over: Vec<(u64, RepositoryError)>,
}

type Matches = Vec<(ByteText, Version)>;

/// A search over the snapshots of a site.
pub struct Finder {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// The site.
    pub layout: Layout,
    /// What is looked for; one pattern.
    pub paths: PathSelection,
    /// The pattern as it was given, for messages.
    pub pattern: ByteText,
    /// wp-content, or a tree beside it.
    pub tree: Option<TreeName>,
    /// What opens sealed packs.
    pub identities: Identities,
    /// Whose snapshots are believed; those of others are passed over.
    pub trusted: TrustedKeys,
    /// Ends the search.
    pub cancel: CancellationToken,
}

impl Finder {
    /// Searches these snapshots, given the oldest first, and gives each stretch out: the newest first. One that can't be read, or isn't believed, is
    /// passed over, and told by its number.
    pub async fn search(&self, snapshots: &[Found], each: &mut (dyn FnMut(&Hit) + Send)) -> Result<Searched, RestoreError> {
        let mut open: BTreeMap<ByteText, Hit> = BTreeMap::new();
        // Of the snapshot before: most pieces of a list are those of the next.
        let mut known: HashMap<ChunkId, Arc<Matches>> = HashMap::new();
        let (mut hits, mut passed_over) = (0, Vec::new());
        let mut give = |hit: &Hit| {
            hits += 1;
            each(hit);
        };
        for found in snapshots.iter().rev() {
            let manifest = match self.manifest(found).await {
                Ok(manifest) => manifest,
                Err(error) if error.is_of_the_object() => {
                    passed_over.push((found.key.seq, error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let pieces = match listed(&manifest, self.tree) {
                Ok(listed) => listed.pieces,
                // Older snapshots may be without the tree.
                Err(RestoreError::NoSuchTree { .. }) => &[],
                Err(error) => return Err(error),
            };
            let keys = Keys::new(&self.identities, &manifest);
            let mut reader = ChunkReader::new(Arc::clone(&self.store), self.layout.clone(), &manifest.packs).with_keys(keys);
            let mut here = HashMap::with_capacity(pieces.len());
            let mut still = BTreeMap::new();
            let mut held = 0;
            let mut all = Vec::with_capacity(pieces.len());
            let mut bad = None;
            for piece in pieces {
                if self.cancel.is_cancelled() {
                    return Err(RestoreError::Cancelled);
                }
                let matches = match known.get(&piece.id) {
                    Some(matches) => Arc::clone(matches),
                    None => match reader.read_piece(piece).await {
                        Ok(piece) => Arc::new(self.matches(&piece)?),
                        Err(error) if error.is_of_the_object() => {
                            bad = Some(error);
                            break;
                        }
                        Err(error) => return Err(error.into()),
                    },
                };
                held += matches.len();
                if held > FOUND_LIMIT {
                    return Err(RestoreError::TooMany { pattern: self.pattern.clone(), limit: FOUND_LIMIT });
                }
                all.push((piece.id, matches));
            }
            if let Some(error) = bad {
                passed_over.push((found.key.seq, error));
                continue;
            }
            for (piece, matches) in all {
                for (path, version) in matches.iter() {
                    let hit = match open.remove(path) {
                        Some(hit) if hit.version == *version => Hit { first: manifest.seq, ..hit },
                        changed => {
                            changed.iter().for_each(&mut give);
                            Hit { path: path.clone(), first: manifest.seq, last: manifest.seq, version: version.clone() }
                        }
                    };
                    still.insert(path.clone(), hit);
                }
                here.insert(piece, matches);
            }
            // What this snapshot doesn't have.
            open.values().for_each(&mut give);
            (open, known) = (still, here);
        }
        open.values().for_each(&mut give);
        Ok(Searched { hits, passed_over })
    }

    async fn manifest(&self, found: &Found) -> Result<Manifest, RepositoryError> {
        let stored = snapshots::read(self.store.as_ref(), found).await?;
        sign::accept(&self.trusted, stored.signer, &found.path)?;
        Ok(stored.manifest)
    }

    fn matches(&self, piece: &bytes::Bytes) -> Result<Matches, RestoreError> {
        let mut lines = LineBuffer::new("the list of files");
        lines.fill(piece);
        let mut matches = Vec::new();
        while let Some(entry) = lines.next_entry::<FileEntry>()? {
            if self.paths.fits(entry.path.as_bytes(), entry.kind == FileKind::Dir) {
                matches.push((entry.path.clone(), Version::of(&entry)));
            }
        }
        Ok(matches)
    }
}
