//! What the fuzz targets hold against the readers of the store's format and of local state (see `crate::fuzzing`).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::accepted::Acceptance;
use super::byte_text::ByteText;
use super::checkpoint::Checkpoint;
use super::chunk_table::Record as _;
use super::codec::Codec;
use super::draft::{DraftChunk, DraftPlace};
use super::entry::{FileEntry, Note, TableEntry};
use super::ids::{ChunkId, PackName, RecipientsId, RunId};
use super::journal::Journal;
use super::layout::Layout;
use super::list::{Cutter, LineBuffer, ListReader};
use super::manifest::{Manifest, PackInfo};
use super::pack::{self, TRAILER_BYTES, Toc, read_toc};
use super::receipt::Receipt;
use super::seal::{HEADER_LIMIT, Keys, Opener, SealedPart, header_length, seal, segments, unseal};
use super::sign::{self, Kind, SigningKey};
use super::verify::Record;
use super::{pruned, snapshots};
use crate::config::{Identities, Recipients, SiteName};

/// What is read, printed and read again is the same.
pub(crate) fn goes_round<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> Vec<u8> {
    let text = serde_json::to_vec(value).expect("what was read can be printed");
    assert_eq!(serde_json::from_slice::<T>(&text).expect("what was printed can be read"), *value);
    text
}

/// Manifests, checkpoints, notes, receipts and acceptances: what is read goes round, is signed, and is known by that signature alone.
pub fn manifest(data: &[u8]) {
    let key = signing_key();
    let kinds = [Kind::Manifest, Kind::Checkpoint, Kind::Note, Kind::Receipt, Kind::Acceptance];
    for kind in kinds {
        // Nothing here was ever signed by this key.
        assert_ne!(sign::signer(kind, data, "it").ok().flatten(), Some(key.public()));
    }
    if let Ok(manifest) = snapshots::parse(data, "it") {
        goes_round(&manifest);
        signed(Kind::Manifest, &Manifest { signer: Some(key.public()), ..manifest });
    }
    if let Ok(checkpoint) = Checkpoint::parse(data, "it") {
        goes_round(&checkpoint);
        signed(Kind::Checkpoint, &Checkpoint { signer: Some(key.public()), ..checkpoint });
    }
    if let Ok(note) = pruned::Note::parse(data, "it") {
        goes_round(&note);
        signed(Kind::Note, &pruned::Note { signer: Some(key.public()), ..note });
    }
    if let Ok(receipt) = serde_json::from_slice::<Receipt>(data) {
        goes_round(&receipt);
        signed(Kind::Receipt, &Receipt { signer: Some(key.public()), ..receipt });
    }
    if let Ok(acceptance) = serde_json::from_slice::<Acceptance>(data) {
        goes_round(&acceptance);
        signed(Kind::Acceptance, &Acceptance { signer: Some(key.public()), ..acceptance });
    }
}

fn signing_key() -> &'static SigningKey {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[9; 32]).expect("any seed makes a key"));
    &KEY
}

fn signed<T: Serialize>(kind: Kind, object: &T) {
    let key = signing_key();
    let mut bytes = key.signed(kind, object).expect("what was read can be signed");
    assert_eq!(sign::signer(kind, &bytes, "it").expect("it was signed just now"), Some(key.public()));
    // The first byte of a text in it.
    let at = bytes.iter().position(|byte| *byte == b'"').map_or(0, |at| at + 1);
    bytes[at] ^= 1;
    assert_ne!(sign::signer(kind, &bytes, "it").ok().flatten(), Some(key.public()));
}

/// Pieces of the lists of tables, findings and, as they are kept, files: each line goes round; cut anew, the pieces are the list.
pub fn lists(data: &[u8]) {
    entries::<TableEntry>(data, |entry| &entry.name);
    entries::<TableEntry<DraftChunk>>(data, |entry| &entry.name);
    entries::<Note>(data, |note| &note.finding.subject);
    entries::<FileEntry>(data, |entry| &entry.path);
    entries::<FileEntry<DraftChunk>>(data, |entry| &entry.path);
}

fn entries<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8], key: fn(&T) -> &ByteText) {
    let mut lines = LineBuffer::new("a list");
    lines.fill(&Bytes::copy_from_slice(data));
    let (mut cutter, mut pieces, mut printed) = (Cutter::default(), Vec::new(), Vec::new());
    while let Ok(Some(entry)) = lines.next_entry::<T>() {
        let mut line = goes_round(&entry);
        assert!(!line.contains(&b'\n'), "an entry is one line");
        line.push(b'\n');
        pieces.extend(cutter.push(&line, key(&entry).as_bytes()));
        printed.append(&mut line);
    }
    pieces.extend(cutter.finish());
    assert!(pieces.iter().all(|piece| !piece.is_empty()) && pieces.concat() == printed);
}

/// A pack. The first byte tells what stands after it: a pack as it is, or (its table of contents has a checksum, which no mutation fits) the
/// parts that one is made of here.
pub fn pack(data: &[u8]) {
    let mut codec = Codec::default();
    let Some((first, rest)) = data.split_first() else { return };
    let made = if first % 2 == 0 { None } else { Some(made_of(&mut codec, rest)) };
    let bytes = made.as_deref().unwrap_or(rest);
    if let Ok(toc) = pack::verify(&mut codec, bytes) {
        goes_round(&toc);
        // All of it was found to be what it is called, so a reader finds it, too.
        for &(id, size, frame, at) in &toc.chunks {
            let &(offset, length) = &toc.frames[frame as usize];
            let frame = pack::slice(bytes, offset, length).expect("a frame that was read");
            let plain = codec.read(frame, pack::frame_limit(size));
            assert!(plain.is_ok_and(|plain| ChunkId::of(pack::slice(plain, at, size).expect("a chunk that was read")) == id));
        }
    }
    // From its end alone, and with a size that doesn't fit.
    let end = bytes.get(bytes.len() / 2..).unwrap_or_default();
    let whole = read_toc(&mut codec, bytes, bytes.len() as u64).ok();
    let part: Option<Toc> = read_toc(&mut codec, end, bytes.len() as u64).ok();
    assert!(part.is_none() || part == whole);
    let _ = read_toc(&mut codec, end, u64::MAX);
    let _ = read_toc(&mut codec, bytes, 0);
}

/// A length in two bytes, as much of frames, and the plain bytes of the last one: made into a pack.
fn made_of(codec: &mut Codec, parts: &[u8]) -> Vec<u8> {
    let (length, rest) =
        parts.split_first_chunk().map_or((0, parts), |(length, rest)| (u16::from_le_bytes(*length).into(), rest));
    let (frames, plain) = rest.split_at(rest.len().min(length));
    let (mut pack, mut last) = (frames.to_vec(), Vec::new());
    codec.compress_summed(plain, &mut last).expect("any bytes can be compressed");
    pack.extend_from_slice(&last);
    pack.extend(pack::trailer(frames.len() as u64, last.len() as u64));
    assert!(pack.len() >= TRAILER_BYTES);
    pack
}

/// A sealed pack. The first byte tells what stands after it: an age file, numbers that are a place in one, or what is to be sealed.
pub fn sealed_pack(data: &[u8]) {
    static IDENTITY: LazyLock<age::x25519::Identity> = LazyLock::new(|| {
        // It opens nothing but what is sealed here.
        "AGE-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSKMP32K".parse().expect("an identity")
    });
    let Some((first, rest)) = data.split_first() else { return };
    let recipients = Recipients::new([IDENTITY.to_public()]);
    let info = PackInfo {
        name: PackName([1; 32]),
        size: rest.len() as u64,
        sha256: String::new(),
        live: 0,
        content: 0,
        sealed: Some(RecipientsId::of(&recipients.texts())),
    };
    let keys = Keys::of_sets(&Identities::new([IDENTITY.clone()]), Default::default());
    match first % 3 {
        0 => {
            let start = rest.get(..HEADER_LIMIT as usize).unwrap_or(rest);
            assert!(header_length(start).is_none_or(|length| length <= start.len() as u64 + 16));
            if let Ok(plain) = unseal(&keys, &info, &Bytes::copy_from_slice(rest)) {
                assert!(plain.len() < rest.len());
            }
        }
        1 => {
            let mut numbers = rest.chunks_exact(8).filter_map(|number| Some(u64::from_le_bytes(number.try_into().ok()?)));
            let (Some(header), Some(size), Some(offset), Some(length)) =
                (numbers.next(), numbers.next(), numbers.next(), numbers.next())
            else {
                return;
            };
            if let Some((at, bytes)) = segments(header, size, offset, length) {
                assert!(at >= header && at.checked_add(bytes).is_some_and(|end| end <= size) && bytes >= length);
            }
        }
        _ => {
            let mut stored = rest.to_vec();
            seal(&recipients, &mut stored).expect("any bytes can be sealed");
            let stored = Bytes::from(stored);
            assert_eq!(unseal(&keys, &info, &stored).expect("it was sealed to this identity"), rest);
            let header = header_length(&stored).expect("a header");
            // The second half of it, by itself.
            let (offset, length) = ((rest.len() / 2) as u64, (rest.len() - rest.len() / 2) as u64);
            let (at, bytes) = segments(header, stored.len() as u64, offset, length).expect("a part of it");
            let slice = |from: u64, to: u64| stored.slice(from as usize..to as usize);
            let part = SealedPart {
                pack: info.name,
                sealed: info.sealed.expect("it is sealed"),
                header: slice(0, header),
                at,
                segments: slice(at, at + bytes),
                offset,
                length,
            };
            assert_eq!(Opener::default().open(&keys, &part).expect("it was sealed to this identity"), &rest[offset as usize..]);
        }
    }
}

/// Files of local state: the journal, a list, what verifies found, and the records of a table of chunks.
pub fn local_state(data: &[u8]) {
    let (_file, path) = in_memory(data);
    let mut chunks = 0;
    let packs = Journal::read(&path, "file:///store", &mut |_| {
        chunks += 1;
        Ok(())
    });
    assert!(packs.expect("what can't be read is passed over").len() <= data.len() && chunks <= data.len());
    for entry in ListReader::<FileEntry>::open(&path).expect("a file that is there").take_while(Result::is_ok).flatten() {
        goes_round(&entry);
    }
    if let Ok(record) = serde_json::from_slice::<Record>(data) {
        goes_round(&record);
    }
    if let Some(place) = DraftPlace::decode(data) {
        let mut again = Vec::new();
        place.encode(&mut again);
        assert_eq!((again.len(), DraftPlace::decode(&again)), (DraftPlace::BYTES, Some(place)));
    }
}

/// A file of this content that is nowhere on disk, and a path by which it can be opened while it is there.
pub(crate) fn in_memory(data: &[u8]) -> (File, PathBuf) {
    let mut file = File::from(memfd_create("fuzzed", MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all(data).expect("room in memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

/// Keys of a store, ids, and escaped text: what is read goes round; nothing that a key names leads out of the site's prefix.
pub fn names(data: &[u8]) {
    let any = ByteText::from(data);
    assert_eq!(ByteText::unescape(&any.to_string()), Some(any.clone()));
    assert!(!any.to_string().bytes().any(|byte| byte.is_ascii_control()));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(plain) = ByteText::unescape(text) {
        assert_eq!(ByteText::unescape(&plain.to_string()), Some(plain));
    }
    let layout = Layout::new(SiteName::new("blog").expect("a name"));
    if let Some(key) = layout.parse_snapshot(text) {
        assert_eq!(layout.parse_snapshot(&layout.snapshot(&key)), Some(key));
    }
    if let Some(name) = layout.parse_pack(text) {
        let info = |sealed| PackInfo { name, size: 0, sha256: String::new(), live: 0, content: 0, sealed };
        assert!([None, Some(RecipientsId([0; 8]))].into_iter().any(|sealed| layout.pack(&info(sealed)) == text));
    }
    if layout.parse_checkpoint(text).or(layout.parse_note(text)).is_some() {
        assert!(text.matches('/').count() == 2 && !text.contains(".."));
    }
    if let Ok(run) = text.parse::<RunId>() {
        assert_eq!(run.to_string(), text);
    }
    if let Some(site) = SiteName::new(text) {
        assert!(site.as_str() == text && !text.contains('/') && !text.starts_with('.'));
    }
}
