//! Packs (docs/FORMAT.md, "Packs"): a tar of chunks, compressed as independent zstd frames that end on member
//! boundaries, closed by a table of contents. `zstd -d | tar x` reads it; a range of it reads one chunk.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::buffers::Buffers;
use super::codec::Codec;
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::{ChunkId, PackName, RunId};
use super::manifest::PackInfo;
use super::seal::{recipients_id, seal};
use crate::config::Recipients;
use crate::storage::Sha256;

/// A pack is sealed once it holds this many stored bytes.
pub(crate) const PACK_TARGET: usize = 16 << 20;
/// What a pack of ordinary chunks has room in: the target, its last frame, and its table of contents.
pub(crate) const PACK_ROOM: usize = PACK_TARGET + 2 * FRAME_LIMIT;
/// … or this many chunks, so that the table of contents stays small.
pub(crate) const PACK_CHUNKS: usize = 1 << 16;
/// A frame is closed once it holds this many bytes of tar.
pub(crate) const FRAME_TARGET: usize = 1 << 20;
/// A frame of more than one chunk never holds more bytes of tar than this.
pub(crate) const FRAME_LIMIT: usize = 2 << 20;

const BLOCK: usize = 512;
const TOC_MEMBER: &str = "toc.json";
/// A table of contents is never longer when it is decompressed: seventy bytes for each of 2^16 chunks, with room.
pub(crate) const TOC_LIMIT: u64 = 64 << 20;
/// A skippable zstd frame: decoders pass over it.
const SKIPPABLE: u32 = 0x184D_2A57;
const TRAILER_MARK: &[u8; 8] = b"WPBATOC1";
/// Skippable frame header, offset and length of the table of contents' frame, mark.
pub(crate) const TRAILER_BYTES: usize = 8 + 8 + 8 + 8;

/// A member of a frame under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) id: ChunkId,
    pub(crate) size: u64,
    /// Offset of the content in the decompressed frame.
    pub(crate) at: u64,
}

/// A frame under way: plain tar members.
#[derive(Debug, Default)]
pub(crate) struct RawFrame {
    pub(crate) tar: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

impl RawFrame {
    /// Whether this content should go into the next frame instead.
    pub(crate) fn is_full_for(&self, content: &[u8]) -> bool {
        !self.members.is_empty() && self.tar.len() + member_bytes(content.len()) > FRAME_LIMIT
    }

    /// Whether the frame is large enough to be compressed.
    pub(crate) fn is_ripe(&self) -> bool {
        self.tar.len() >= FRAME_TARGET
    }

    /// Appends a chunk; answers the offset of its content.
    pub(crate) fn push(&mut self, id: ChunkId, content: &[u8]) -> u64 {
        self.tar.reserve(member_bytes(content.len()));
        push_member(&mut self.tar, &id.to_string(), content);
        let at = (self.tar.len() - content.len().next_multiple_of(BLOCK)) as u64;
        self.members.push(Member { id, size: content.len() as u64, at });
        at
    }
}

fn member_bytes(content: usize) -> usize {
    BLOCK + content.next_multiple_of(BLOCK)
}

fn push_member(tar: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    // A name of at most 64 plain characters always fits a ustar header.
    let fits = header.set_path(name).is_ok();
    debug_assert!(fits);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o400);
    header.set_size(content.len() as u64);
    header.set_mtime(0);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// A compressed frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) stored: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

/// Compresses a frame into `stored`. The plain bytes come back for use as a buffer.
pub(crate) fn compress(codec: &mut Codec, raw: RawFrame, mut stored: Vec<u8>) -> Result<(Frame, Vec<u8>), RepositoryError> {
    codec.compress(&raw.tar, &mut stored)?;
    Ok((Frame { stored, members: raw.members }, raw.tar))
}

/// The table of contents: the last member of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toc {
    /// The format's version.
    pub format: u32,
    /// The run that made the pack: no two runs make a pack of the same name.
    pub run: RunId,
    /// Offset and length of each frame of chunks.
    pub frames: Vec<(u64, u64)>,
    /// Id, size, frame's number and offset in the decompressed frame of each chunk.
    pub chunks: Vec<(ChunkId, u64, u32, u64)>,
}

/// A pack under way.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    stored: Vec<u8>,
    toc: Toc,
}

impl PackBuilder {
    /// An empty pack, to be filled in this buffer.
    pub(crate) fn new(run: RunId, stored: Vec<u8>) -> Self {
        let toc = Toc { format: super::manifest::FORMAT, run, frames: Vec::new(), chunks: Vec::new() };
        Self { stored, toc }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.toc.chunks.is_empty()
    }

    /// Stored bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.stored.len() as u64
    }

    pub(crate) fn is_ripe(&self) -> bool {
        self.stored.len() >= PACK_TARGET || self.toc.chunks.len() >= PACK_CHUNKS
    }

    /// Appends a frame; answers its offset and length.
    pub(crate) fn push(&mut self, frame: &Frame) -> (u64, u64) {
        // A small pack stays small. A growing one gets its room at once: growing by doubling would hold it two times over.
        if self.stored.len() + frame.stored.len() > self.stored.capacity() && self.stored.len() > PACK_TARGET / 16 {
            self.stored.reserve_exact((PACK_ROOM - self.stored.len().min(PACK_ROOM)).max(frame.stored.len()));
        }
        let place = (self.stored.len() as u64, frame.stored.len() as u64);
        let number = self.toc.frames.len() as u32;
        self.toc.frames.push(place);
        self.toc.chunks.extend(frame.members.iter().map(|m| (m.id, m.size, number, m.at)));
        self.stored.extend_from_slice(&frame.stored);
        place
    }

    /// Closes the pack, reads all of it back as a restore would, encrypts it where there are recipients, and names it. Its buffer
    /// comes back to `packs` once it is sent.
    pub(crate) fn seal(
        mut self,
        codec: &mut Codec,
        packs: &Buffers,
        recipients: &Recipients,
    ) -> Result<SealedPack, RepositoryError> {
        let json = serde_json::to_vec(&self.toc).map_err(|e| RepositoryError::ReadBack(e.to_string()))?;
        let mut last = Vec::with_capacity(member_bytes(json.len()) + 2 * BLOCK);
        push_member(&mut last, TOC_MEMBER, &json);
        drop(json);
        // Two empty blocks end a tar.
        last.resize(last.len() + 2 * BLOCK, 0);
        let plain = std::mem::take(&mut last);
        codec.compress_summed(&plain, &mut last)?;
        let (offset, length) = (self.stored.len() as u64, last.len() as u64);
        self.stored.extend_from_slice(&last);
        self.stored.extend_from_slice(&trailer(offset, length));
        // What is encrypted, this host can't read any more.
        read_back(codec, &self.stored, &self.toc)?;
        let sealed = recipients_id(recipients);
        if sealed.is_some() {
            seal(recipients, &mut self.stored)?;
        }
        let (name, sha256): (_, Sha256) = (PackName::of(&self.stored), sha2::Sha256::digest(&self.stored).into());
        let content = self.toc.chunks.iter().map(|chunk| chunk.1).sum();
        let info = PackInfo { name, size: self.stored.len() as u64, sha256: hex::encode(sha256), live: 0, content, sealed };
        Ok(SealedPack { info, sha256, stored: packs.lend(self.stored), toc: self.toc })
    }
}

/// What ends a pack: where the frame of its table of contents is.
pub(super) fn trailer(offset: u64, length: u64) -> Vec<u8> {
    let header = [SKIPPABLE.to_le_bytes(), ((TRAILER_BYTES - 8) as u32).to_le_bytes()].concat();
    [header.as_slice(), &offset.to_le_bytes(), &length.to_le_bytes(), TRAILER_MARK].concat()
}

/// A closed pack, ready to be sent.
#[derive(Debug)]
pub(crate) struct SealedPack {
    /// No live bytes are counted yet.
    pub(crate) info: PackInfo,
    pub(crate) sha256: Sha256,
    pub(crate) stored: Bytes,
    pub(crate) toc: Toc,
}

/// Decompresses and hashes all that a pack holds, by its own table of contents.
pub(super) fn verify(codec: &mut Codec, plain: &[u8]) -> Result<Toc, RepositoryError> {
    let toc = read_toc(codec, plain, plain.len() as u64)?;
    match read_back(codec, plain, &toc) {
        Ok(()) => Ok(toc),
        Err(RepositoryError::ReadBack(detail)) => Err(RepositoryError::damaged("a pack", detail)),
        Err(error) => Err(error),
    }
}

/// Decompresses and hashes all that the table of contents names: bad memory never gets committed.
fn read_back(codec: &mut Codec, stored: &[u8], toc: &Toc) -> Result<(), RepositoryError> {
    let bad = |detail: &str| RepositoryError::ReadBack(detail.to_owned());
    if read_toc(codec, stored, stored.len() as u64).map_err(|e| bad(&e.to_string()))? != *toc {
        return Err(bad("its table of contents differs"));
    }
    let mut chunks = toc.chunks.iter().peekable();
    for (number, &(offset, length)) in toc.frames.iter().enumerate() {
        let frame = slice(stored, offset, length).ok_or_else(|| bad("a frame is out of bounds"))?;
        // As whoever reads a chunk of it alone.
        let smallest = chunks.clone().take_while(|c| c.2 as usize == number).map(|c| c.1).min();
        let plain = codec.read(frame, frame_limit(smallest.unwrap_or_default())).map_err(|detail| bad(&detail))?;
        while let Some(&(id, size, _, at)) = chunks.next_if(|c| c.2 as usize == number) {
            let content = slice(plain, at, size).ok_or_else(|| bad("a chunk is out of bounds"))?;
            if ChunkId::of(content) != id {
                return Err(bad("a chunk's content differs"));
            }
        }
    }
    if chunks.next().is_some() {
        return Err(bad("chunks are out of order"));
    }
    Ok(())
}

/// The most plain bytes of a frame with a chunk of this size: one of several chunks is within the limit; one larger holds this chunk alone.
pub(crate) fn frame_limit(chunk: u64) -> u64 {
    (FRAME_LIMIT as u64).max(chunk.saturating_add(4 << 10))
}

/// A chunk's content in its decompressed frame, whose hash is its id.
pub(super) fn content<'p>(plain: &'p [u8], chunk: &ChunkRef) -> Result<&'p [u8], RepositoryError> {
    let damaged = |detail| RepositoryError::damaged(format!("pack {}", chunk.pack), detail);
    let content =
        slice(plain, chunk.at, chunk.size).ok_or_else(|| damaged(format!("chunk {} is out of its frame's bounds", chunk.id)))?;
    if ChunkId::of(content) != chunk.id {
        return Err(damaged(format!("the content of chunk {} is not what it should be", chunk.id)));
    }
    Ok(content)
}

pub(crate) fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// Where the table of contents' frame is in the pack, by the trailer at the end of these bytes of it: offset and length.
pub(crate) fn toc_place(end: &[u8]) -> Result<(u64, u64), RepositoryError> {
    let trailer =
        end.len().checked_sub(TRAILER_BYTES).and_then(|at| end.get(at..)).ok_or_else(|| bad_toc("the pack is too short"))?;
    let number = |at: usize| trailer.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    if trailer.get(24..) != Some(TRAILER_MARK) {
        return Err(bad_toc("the pack does not end as packs do"));
    }
    Ok((number(8), number(16)))
}

/// Reads the table of contents from a pack of this size, or from an end of it that is long enough to hold it.
pub(crate) fn read_toc(codec: &mut Codec, end: &[u8], pack_size: u64) -> Result<Toc, RepositoryError> {
    let (offset, length) = toc_place(end)?;
    let before = pack_size.checked_sub(end.len() as u64).ok_or_else(|| bad_toc("the pack is longer than it should be"))?;
    let frame = offset.checked_sub(before).and_then(|at| slice(end, at, length)).ok_or_else(|| bad_toc("it is out of bounds"))?;
    let plain = codec.read(frame, TOC_LIMIT).map_err(|detail| bad_toc(&detail))?;
    let size = tar::Header::from_byte_slice(plain.get(..BLOCK).ok_or_else(|| bad_toc("no header"))?)
        .size()
        .map_err(|e| bad_toc(&e.to_string()))?;
    let json = slice(plain, BLOCK as u64, size).ok_or_else(|| bad_toc("it is cut off"))?;
    serde_json::from_slice(json).map_err(|e| bad_toc(&e.to_string()))
}

fn bad_toc(detail: &str) -> RepositoryError {
    RepositoryError::damaged("a pack's table of contents", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn pack(contents: &[&[u8]]) -> SealedPack {
        let mut codec = Codec::default();
        let mut builder = PackBuilder::new(RunId([1; 8]), Vec::new());
        for content in contents {
            let mut frame = RawFrame::default();
            frame.push(ChunkId::of(content), content);
            frame.push(ChunkId::of(b"beside"), b"beside");
            builder.push(&compress(&mut codec, frame, Vec::new()).unwrap().0);
        }
        builder.seal(&mut codec, &Buffers::new(0), &Recipients::default()).unwrap()
    }

    #[test]
    fn zstd_and_tar_read_a_pack() {
        let big = vec![9u8; 100_000];
        let sealed = pack(&[b"one", &big, b""]);
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", "zstd -dcq | tar -x && ls"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(&sealed.stored).unwrap();
        assert!(shell.wait_with_output().unwrap().status.success());
        for content in [b"one" as &[u8], &big, b"beside", b""] {
            assert_eq!(std::fs::read(dir.path().join(ChunkId::of(content).to_string())).unwrap(), content);
        }
        assert!(dir.path().join(TOC_MEMBER).exists());
        assert_eq!(read_toc(&mut Codec::default(), &sealed.stored, sealed.stored.len() as u64).unwrap(), sealed.toc);
        assert_eq!(sealed.info.name, PackName::of(&sealed.stored));
    }

    #[test]
    fn what_does_not_read_back_is_not_sealed() {
        let content = b"some content that is long enough to be more than its own frame".repeat(50);
        for flip in [0, 30, 60] {
            let mut codec = Codec::default();
            let mut builder = PackBuilder::new(RunId([1; 8]), Vec::new());
            let mut frame = RawFrame::default();
            frame.push(ChunkId::of(&content), &content);
            let (mut frame, _) = compress(&mut codec, frame, Vec::new()).unwrap();
            let at = flip.min(frame.stored.len() - 1);
            frame.stored[at] ^= 1;
            builder.push(&frame);
            let sealed = builder.seal(&mut codec, &Buffers::new(0), &Recipients::default());
            assert!(matches!(sealed, Err(RepositoryError::ReadBack(_))), "byte {flip}");
        }
    }

    #[test]
    fn a_frame_that_is_larger_than_its_chunks_may_make_it_is_damage() {
        let mut codec = Codec::default();
        let mut builder = PackBuilder::new(RunId([1; 8]), Vec::new());
        let mut frame = RawFrame::default();
        frame.push(ChunkId::of(b"one"), b"one");
        frame.tar.resize(2 * FRAME_LIMIT, 0);
        builder.push(&compress(&mut codec, frame, Vec::new()).unwrap().0);
        let sealed = builder.seal(&mut codec, &Buffers::new(0), &Recipients::default());
        assert!(matches!(sealed, Err(RepositoryError::ReadBack(detail)) if detail.contains("are allowed")));
    }

    #[test]
    fn a_bad_table_of_contents_is_an_error() {
        let sealed = pack(&[b"one"]);
        for cut in [0, 1, TRAILER_BYTES, sealed.stored.len() - 1] {
            assert!(read_toc(&mut Codec::default(), &sealed.stored[..cut], cut as u64).is_err());
        }
        for at in 0..sealed.stored.len() {
            let mut bad = sealed.stored.to_vec();
            bad[at] ^= 0x40;
            // Never a panic; an error or, where the byte isn't of the table of contents, the same table.
            if let Ok(toc) = read_toc(&mut Codec::default(), &bad, bad.len() as u64) {
                assert_eq!(toc, sealed.toc);
            }
        }
    }
}
