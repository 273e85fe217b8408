//! Sealed packs (docs/FORMAT.md, "Sealed packs"): an age file whose plaintext is the pack. Sealing needs recipients alone; reading a part of one
//! needs an identity, the file's header, and the segments that the part lies in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use age::stream::StreamReader;
use age::{DecryptError, Decryptor, Encryptor};
use bytes::{Buf as _, Bytes};

use super::error::RepositoryError;
use super::ids::{PackName, RecipientsId};
use super::manifest::{Manifest, PackInfo};
use crate::config::{Identities, Recipients};

/// Plain bytes of a segment; the last of a file may be shorter.
const SEGMENT: u64 = 64 << 10;
/// What sealing adds to a segment.
const TAG: u64 = 16;
/// Random bytes between the header and the first segment.
const NONCE: u64 = 16;
/// No header is longer: this much of a sealed pack is fetched to read it.
pub(super) const HEADER_LIMIT: u64 = 4 << 10;

/// The id of a set of recipients; none when there is no recipient.
pub fn recipients_id(recipients: &Recipients) -> Option<RecipientsId> {
    (!recipients.is_empty()).then(|| RecipientsId::of(&recipients.texts()))
}

/// Encrypts what is in the buffer, in place: a pack is held once, sealed or not.
pub(super) fn seal(recipients: &Recipients, stored: &mut Vec<u8>) -> Result<(), RepositoryError> {
    let failed = |error: &dyn std::fmt::Display| RepositoryError::Seal(error.to_string());
    let keys = recipients.keys().iter().map(|key| key as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(keys).map_err(|e| failed(&e))?;
    let sink = Sink::default();
    let mut writer = encryptor.wrap_output(sink.clone()).map_err(|e| failed(&e))?;

    let plain = stored.len();
    let tags = plain.div_ceil(SEGMENT as usize).max(1) * TAG as usize;
    let total = sink.len() + plain + tags;
    stored.reserve_exact(total - plain);
    stored.resize(total, 0);
    // What is read stays ahead of what is written.
    stored.copy_within(..plain, total - plain);
    let (mut read, mut written) = (total - plain, 0);
    while read < total {
        let end = total.min(read + SEGMENT as usize);
        writer.write_all(stored.get(read..end).unwrap_or_default()).map_err(|e| failed(&e))?;
        read = end;
        written += sink.drain_to(stored.get_mut(written..read)).ok_or_else(|| failed(&"it is longer than it should be"))?;
    }
    writer.finish().map_err(|e| failed(&e))?;
    written += sink.drain_to(stored.get_mut(written..)).ok_or_else(|| failed(&"it is longer than it should be"))?;
    if written == total { Ok(()) } else { Err(failed(&"it is shorter than it should be")) }
}

/// Where the encryptor writes to.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Sink {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Moves what was written to the beginning of `room`; how much, or `None` when there is too little room.
    fn drain_to(&self, room: Option<&mut [u8]>) -> Option<usize> {
        let mut bytes = self.0.borrow_mut();
        let length = bytes.len();
        room?.get_mut(..length)?.copy_from_slice(&bytes);
        bytes.clear();
        Some(length)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What opens the packs of a snapshot: the identities at hand, and to whom the packs are sealed, for messages.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    identities: Identities,
    sealed: Arc<BTreeMap<RecipientsId, Vec<String>>>,
}

impl Keys {
    /// The keys to this snapshot's packs.
    pub fn new(identities: &Identities, manifest: &Manifest) -> Self {
        Self { identities: identities.clone(), sealed: Arc::new(manifest.sealed.clone()) }
    }

    /// The keys to the packs of several snapshots.
    pub(super) fn of_sets(identities: &Identities, sealed: BTreeMap<RecipientsId, Vec<String>>) -> Self {
        Self { identities: identities.clone(), sealed: Arc::new(sealed) }
    }

    /// The keys to packs that are sealed to these sets of recipients.
    #[cfg(test)]
    pub(super) fn of(identities: &Identities, sealed: impl IntoIterator<Item = Vec<String>>) -> Self {
        let sealed = sealed.into_iter().map(|texts| (RecipientsId::of(&texts), texts)).collect();
        Self { identities: identities.clone(), sealed: Arc::new(sealed) }
    }

    /// Refuses a sealed pack when there is no identity at all: before it is fetched.
    pub(super) fn could_open(&self, info: &PackInfo) -> Result<(), RepositoryError> {
        match info.sealed {
            Some(sealed) if self.identities.is_empty() => {
                Err(RepositoryError::NoIdentity { pack: info.name, recipients: self.recipients(sealed) })
            }
            _ => Ok(()),
        }
    }

    fn recipients(&self, sealed: RecipientsId) -> String {
        self.sealed.get(&sealed).map_or_else(|| "recipients that the manifest doesn't name".to_owned(), |texts| texts.join(", "))
    }

    /// Why the age library could not open a pack.
    fn refusal(&self, part: &SealedPart, error: DecryptError) -> RepositoryError {
        if matches!(error, DecryptError::NoMatchingKeys) {
            let named = self.sealed.get(&part.sealed);
            let ours = self.identities.recipients();
            if !named.is_some_and(|named| named.iter().any(|recipient| ours.contains(recipient))) {
                return RepositoryError::WrongIdentity { pack: part.pack, recipients: self.recipients(part.sealed) };
            }
            return part.damaged("its header is not sealed to whom the manifest says");
        }
        part.damaged(error)
    }
}

/// How long the header of a sealed pack is, the nonce after it included; `None` when its end isn't in these bytes.
pub(super) fn header_length(start: &[u8]) -> Option<u64> {
    // The last line begins with three hyphens: `--- <MAC>`.
    let last = start.windows(5).position(|at| at == b"\n--- ")? + 1;
    let end = start.get(last..)?.iter().position(|byte| *byte == b'\n')?;
    Some((last + end + 1) as u64 + NONCE)
}

/// Where in a sealed pack of `size` bytes the segments are that hold this part of the plaintext: offset and length. `None` when
/// the plaintext has no such part.
pub(super) fn segments(header: u64, size: u64, offset: u64, length: u64) -> Option<(u64, u64)> {
    let plain = plain_length(header, size)?;
    let end = offset.checked_add(length).filter(|end| *end <= plain)?;
    let place = |segment: u64| header.checked_add(segment.checked_mul(SEGMENT + TAG)?);
    let start = place(offset / SEGMENT)?;
    let stop = place(end.div_ceil(SEGMENT).max(offset / SEGMENT + 1))?.min(size);
    Some((start, stop.checked_sub(start)?))
}

/// How long the plaintext of a sealed pack of `size` bytes is.
pub(super) fn plain_length(header: u64, size: u64) -> Option<u64> {
    let payload = size.checked_sub(header)?;
    payload.checked_sub(payload.div_ceil(SEGMENT + TAG) * TAG)
}

/// The whole plaintext of a sealed pack.
pub(super) fn unseal(keys: &Keys, info: &PackInfo, stored: &Bytes) -> Result<Vec<u8>, RepositoryError> {
    keys.could_open(info)?;
    let damaged = || RepositoryError::damaged(format!("pack {}", info.name), "it is no age file of its size");
    let start = stored.get(..HEADER_LIMIT as usize).unwrap_or(stored);
    let header = header_length(start).filter(|length| *length <= stored.len() as u64).ok_or_else(damaged)?;
    let length = plain_length(header, stored.len() as u64).ok_or_else(damaged)?;
    let at = usize::try_from(header).map_err(|_| damaged())?;
    let part = SealedPart {
        pack: info.name,
        sealed: info.sealed.ok_or_else(damaged)?,
        header: stored.slice(..at),
        at: header,
        segments: stored.slice(at..),
        offset: 0,
        length,
    };
    Opener::default().open(keys, &part)
}

/// Stored bytes of a sealed pack that hold a part of its plaintext.
#[derive(Debug, Clone)]
pub(super) struct SealedPart {
    pub(super) pack: PackName,
    pub(super) sealed: RecipientsId,
    /// The pack's header and nonce.
    pub(super) header: Bytes,
    /// Where in the pack the segments stand.
    pub(super) at: u64,
    pub(super) segments: Bytes,
    /// The part: in positions of the plaintext.
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl SealedPart {
    fn damaged(&self, detail: impl ToString) -> RepositoryError {
        RepositoryError::damaged(format!("pack {}", self.pack), detail)
    }
}

/// Decrypts parts of packs. The pack that it opened last stays open: finding the key of each part anew would cost a tenth.
#[derive(Default)]
pub(super) struct Opener {
    open: Option<(PackName, Window, StreamReader<Window>)>,
}

impl Opener {
    /// The part's plaintext.
    pub(super) fn open(&mut self, keys: &Keys, part: &SealedPart) -> Result<Vec<u8>, RepositoryError> {
        let (window, mut reader) = match self.open.take() {
            Some((pack, window, reader)) if pack == part.pack => (window, reader),
            _ => {
                let window = Window::of(part.header.clone());
                let decryptor = Decryptor::new(window.clone()).map_err(|error| keys.refusal(part, error))?;
                let identities = keys.identities.keys().iter().map(|key| key as &dyn age::Identity);
                let reader = decryptor.decrypt(identities).map_err(|error| keys.refusal(part, error))?;
                (window, reader)
            }
        };
        let length = usize::try_from(part.length).map_err(|error| part.damaged(error))?;
        let mut plain = Vec::new();
        plain.try_reserve_exact(length).map_err(|error| part.damaged(error))?;
        plain.resize(length, 0);
        window.show(part);
        let read = read_at(&mut reader, part.offset, &mut plain);
        window.hide();
        read.map_err(|error| part.damaged(error))?;
        self.open = Some((part.pack, window, reader));
        Ok(plain)
    }
}

/// Reads `plain` from this position on.
fn read_at(reader: &mut StreamReader<Window>, offset: u64, plain: &mut [u8]) -> io::Result<()> {
    if plain.is_empty() {
        return Ok(());
    }
    // Going to a segment's first byte at once would make the library read the file's last segment, which isn't at hand.
    if offset.is_multiple_of(SEGMENT) {
        reader.seek(SeekFrom::Start(offset + 1))?;
    }
    reader.seek(SeekFrom::Start(offset))?;
    reader.read_exact(plain)
}

/// A sealed pack of which only the header and some segments are at hand. What isn't can't be read.
#[derive(Clone)]
struct Window(Arc<Mutex<Shown>>);

struct Shown {
    header: Bytes,
    at: u64,
    segments: Bytes,
    position: u64,
}

impl Window {
    fn of(header: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Shown { header, at: 0, segments: Bytes::new(), position: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, part: &SealedPart) {
        let mut shown = self.lock();
        (shown.at, shown.segments) = (part.at, part.segments.clone());
    }

    fn hide(&self) {
        self.lock().segments = Bytes::new();
    }
}

impl Read for Window {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut shown = self.lock();
        let rest = |bytes: &Bytes, begin: u64| {
            let from = usize::try_from(shown.position.checked_sub(begin)?).ok()?;
            bytes.get(from..).filter(|rest| !rest.is_empty()).map(|rest| bytes.slice_ref(rest))
        };
        // Nothing is at hand here: as if the file ended, which the library says.
        let Some(mut rest) = rest(&shown.header, 0).or_else(|| rest(&shown.segments, shown.at)) else { return Ok(0) };
        let length = rest.len().min(to.len());
        rest.copy_to_slice(to.get_mut(..length).unwrap_or_default());
        shown.position += length as u64;
        Ok(length)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut shown = self.lock();
        shown.position = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => {
                shown.position.checked_add_signed(by).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
            }
            // Where the file ends isn't known here.
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(shown.position)
    }
}

#[cfg(test)]
mod tests;
