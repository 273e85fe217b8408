//! How entries name their chunks while a run is under way: a chunk that the run itself packs has no place in the
//! store yet, only a frame's number; [`super::writer::PackWriter::resolve`] knows it once the packs are up.

use serde::{Deserialize, Serialize};

use super::chunk_table::Record;
use super::entry::{ChunkRef, Place};
use super::ids::{ChunkId, PackName};

/// A chunk of a draft entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftChunk {
    /// BLAKE3 of the content.
    pub id: ChunkId,
    /// Bytes of content.
    pub size: u64,
    /// Where it is or will be.
    pub place: DraftPlace,
}

/// Where a chunk is or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DraftPlace {
    /// In the store already.
    Stored(Place),
    /// In a frame of this run.
    Fresh {
        /// The frame's number, counted over the whole run.
        frame: u32,
        /// Offset of the content in the decompressed frame.
        at: u64,
    },
}

impl From<ChunkRef> for DraftChunk {
    fn from(chunk: ChunkRef) -> Self {
        Self { id: chunk.id, size: chunk.size, place: DraftPlace::Stored(chunk.place()) }
    }
}

fn number(from: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(from.get(at..at + 8)?.try_into().ok()?))
}

impl Record for DraftPlace {
    const BYTES: usize = 32 + 3 * 8;

    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Stored(place) => {
                to.extend_from_slice(&place.pack.0);
                to.extend_from_slice(&place.frame.0.to_le_bytes());
                to.extend_from_slice(&place.frame.1.to_le_bytes());
                to.extend_from_slice(&place.at.to_le_bytes());
            }
            Self::Fresh { frame, at } => {
                // A stored frame is never empty: length 0 tells the two apart.
                to.extend_from_slice(&[0; 32]);
                to.extend_from_slice(&u64::from(*frame).to_le_bytes());
                to.extend_from_slice(&0u64.to_le_bytes());
                to.extend_from_slice(&at.to_le_bytes());
            }
        }
    }

    fn decode(from: &[u8]) -> Option<Self> {
        let pack = PackName(from.get(..32)?.try_into().ok()?);
        let (first, length, at) = (number(from, 32)?, number(from, 40)?, number(from, 48)?);
        Some(if length == 0 {
            Self::Fresh { frame: u32::try_from(first).ok()?, at }
        } else {
            Self::Stored(Place { pack, frame: (first, length), at })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_round() {
        for place in [
            DraftPlace::Fresh { frame: u32::MAX, at: 1 << 40 },
            DraftPlace::Stored(Place { pack: PackName([5; 32]), frame: (7, 8), at: 9 }),
        ] {
            let mut bytes = Vec::new();
            place.encode(&mut bytes);
            assert_eq!(bytes.len(), DraftPlace::BYTES);
            assert_eq!(DraftPlace::decode(&bytes), Some(place));
        }
    }
}
