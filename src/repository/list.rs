//! Lists (docs/FORMAT.md, "Lists"): sorted entries, one JSON object a line, cut into pieces that are chunks themselves.
//!
//! A piece ends after an entry whose key hashes low enough for the entry's length: boundaries depend on the entries
//! alone, so an unchanged stretch of a list is the same piece again and is not sent again.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::RepositoryError;

/// Pieces are this long on average, in bytes of JSON.
const PIECE_TARGET: u64 = 64 << 10;
/// No piece grows longer, but for one entry that is longer by itself.
const PIECE_LIMIT: usize = 1 << 20;
/// A line is never longer: a file of 128 GiB in pieces of 512 KiB has one of 70 MiB. This bounds what a reader allocates.
const LINE_LIMIT: u64 = 128 << 20;

/// No piece is larger: what comes before the last line of it is less than the limit of a piece. This bounds what a reader fetches and decompresses.
pub(super) const LARGEST_PIECE: u64 = PIECE_LIMIT as u64 + LINE_LIMIT;

/// Cuts a list into pieces.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    piece: Vec<u8>,
}

impl Cutter {
    /// Appends a line (with its newline); answers a piece when it ends here.
    pub(crate) fn push(&mut self, line: &[u8], key: &[u8]) -> Option<Vec<u8>> {
        self.piece.extend_from_slice(line);
        let ends = low(key) < (u64::MAX / PIECE_TARGET).saturating_mul(line.len() as u64);
        (ends || self.piece.len() >= PIECE_LIMIT).then(|| std::mem::take(&mut self.piece))
    }

    /// The last piece, when there is one.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.piece.is_empty()).then_some(self.piece)
    }
}

fn low(key: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(key).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A list on local disk: one zstd stream of JSON lines.
pub struct ListFile<T> {
    path: PathBuf,
    encoder: zstd::stream::write::Encoder<'static, BufWriter<File>>,
    line: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: Serialize> ListFile<T> {
    /// Makes a new file.
    pub fn create(path: &Path) -> Result<Self, RepositoryError> {
        let file = File::create(path).map_err(RepositoryError::state("writing a list", path))?;
        let mut encoder =
            zstd::stream::write::Encoder::new(BufWriter::with_capacity(128 << 10, file), 1).map_err(RepositoryError::Compress)?;
        // What is read from here goes into the next snapshot: a flipped bit must show.
        encoder.include_checksum(true).map_err(RepositoryError::Compress)?;
        Ok(Self { path: path.to_owned(), encoder, line: Vec::new(), of: PhantomData })
    }

    /// Appends an entry; answers its line.
    pub fn push(&mut self, entry: &T) -> Result<&[u8], RepositoryError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, entry).map_err(|e| RepositoryError::damaged("an entry of a list", e))?;
        self.line.push(b'\n');
        self.encoder.write_all(&self.line).map_err(RepositoryError::state("writing a list", &self.path))?;
        Ok(&self.line)
    }

    /// Ends the file; durable when `sync`.
    pub fn finish(self, sync: bool) -> Result<(), RepositoryError> {
        let path = self.path;
        self.encoder
            .finish()
            .and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error))
            .and_then(|file| if sync { file.sync_all() } else { Ok(()) })
            .map_err(RepositoryError::state("writing a list", path))
    }
}

/// Reads a list of local disk, entry by entry.
pub struct ListReader<T> {
    path: PathBuf,
    lines: Lines<Box<dyn std::io::BufRead + Send>>,
    of: PhantomData<T>,
}

/// Binary logarithm of the largest window in bytes that a list may ask for, and so of the memory to read it: ours has an eighth of that.
const WINDOW_LOG: u32 = 22;

impl<T: DeserializeOwned> ListReader<T> {
    /// Opens a list that [`ListFile`] wrote.
    pub fn open(path: &Path) -> Result<Self, RepositoryError> {
        let file = File::open(path).map_err(RepositoryError::state("reading a list", path))?;
        let mut decoder = zstd::stream::read::Decoder::new(file).map_err(RepositoryError::state("reading a list", path))?;
        decoder.window_log_max(WINDOW_LOG).map_err(RepositoryError::state("reading a list", path))?;
        let lines = Lines { reader: Box::new(BufReader::with_capacity(128 << 10, decoder)) as _, line: Vec::new() };
        Ok(Self { path: path.to_owned(), lines, of: PhantomData })
    }

    /// An empty list.
    pub fn empty() -> Self {
        Self { path: PathBuf::new(), lines: Lines { reader: Box::new(std::io::empty()), line: Vec::new() }, of: PhantomData }
    }
}

impl<T: DeserializeOwned> Iterator for ListReader<T> {
    type Item = Result<T, RepositoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.next_line() {
            Ok(None) => None,
            Ok(Some(line)) => {
                let damaged =
                    |e: serde_json::Error| RepositoryError::LocalList { path: self.path.clone(), detail: e.to_string() };
                Some(serde_json::from_slice(line).map_err(damaged))
            }
            Err(source) => Some(Err(RepositoryError::LocalList { path: self.path.clone(), detail: source.to_string() })),
        }
    }
}

struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: std::io::BufRead> Lines<R> {
    fn next_line(&mut self) -> std::io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut self.line)?;
        Ok((read > 0).then_some(&self.line))
    }
}

/// Takes the pieces of a list one after the other and hands out entries. (A piece ends at the end of a line.)
#[derive(Debug)]
pub struct LineBuffer {
    what: &'static str,
    bytes: bytes::Bytes,
}

impl LineBuffer {
    /// An empty buffer; `what` names the list in errors.
    pub fn new(what: &'static str) -> Self {
        Self { what, bytes: bytes::Bytes::new() }
    }

    /// Takes the next piece; the one before must have been read to its end.
    pub fn fill(&mut self, piece: &bytes::Bytes) {
        self.bytes = piece.clone();
    }

    /// Whether the piece has been read to its end.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next entry of the piece.
    pub fn next_entry<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RepositoryError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let Some(end) = self.bytes.iter().position(|b| *b == b'\n') else {
            return Err(RepositoryError::damaged(self.what, "a piece does not end at the end of a line"));
        };
        parse(&self.bytes.split_to(end + 1), self.what).map(Some)
    }
}

/// Reads one line of a list.
pub(crate) fn parse<T: DeserializeOwned>(line: &[u8], what: &str) -> Result<T, RepositoryError> {
    serde_json::from_slice(line).map_err(|error| RepositoryError::damaged(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(keys: &[u32]) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::default();
        let mut pieces: Vec<_> =
            keys.iter().filter_map(|k| cutter.push(format!("{{\"key\":\"{k:0200}\"}}\n").as_bytes(), &k.to_le_bytes())).collect();
        pieces.extend(cutter.finish());
        pieces
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn an_insert_changes_few_pieces(at in 0u32..20_000) {
            let keys: Vec<u32> = (0..20_000).map(|k| k * 2).collect();
            let before = pieces(&keys);
            prop_assert_eq!(before.concat().len(), 20_000 * 211);
            let mut keys = keys;
            keys.insert(at as usize, at * 2 + 1);
            let after = pieces(&keys);
            let new = after.iter().filter(|piece| !before.contains(piece)).count();
            prop_assert!(new <= 2, "{} new pieces", new);
        }
    }

    #[test]
    fn a_list_that_asks_for_much_memory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (window, fits) in [(19, true), (WINDOW_LOG, true), (WINDOW_LOG + 1, false), (27, false)] {
            let path = dir.path().join(window.to_string());
            let mut list = zstd::stream::write::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
            list.window_log(window).unwrap();
            list.write_all(b"{\"v\":1}\n").unwrap();
            list.finish().unwrap();
            let read: Vec<Result<serde_json::Value, _>> = ListReader::open(&path).unwrap().take(2).collect();
            assert_eq!(read[0].is_ok(), fits, "{window}: {read:?}");
        }
    }

    #[test]
    fn pieces_have_about_the_target_length() {
        let keys: Vec<u32> = (0..50_000).collect();
        let count = pieces(&keys).len() as u64;
        let ideal = 50_000 * 211 / PIECE_TARGET;
        assert!((ideal / 2..ideal * 2).contains(&count), "{count} pieces, {ideal} expected");
    }
}
