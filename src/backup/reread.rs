//! A share of the unchanged files is read again in each run: a file system that lies about its times, and a disk that forgets, are found while
//! an older snapshot still has the content.

use super::error::BackupError;
use super::look::{Draft, Look, Which};
use crate::files::{Captured, PieceSink, ReadError, Stopped, read_file};
use crate::progress::{Event, Progress};
use crate::repository::byte_text::ByteText;
use crate::repository::draft::DraftChunk;
use crate::repository::entry::{Finding, FindingCode, subject};
use crate::repository::ids::ChunkId;

/// Which of the unchanged files a run reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// One of how many; 0: none.
    parts: u64,
    /// The run's number: each takes the next share.
    turn: u64,
}

impl Share {
    pub(super) fn new(parts: u32, turn: u64) -> Self {
        Self { parts: u64::from(parts), turn }
    }

    fn has(&self, path: &[u8]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(path).as_bytes();
        let place = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        place.checked_rem(self.parts).is_some_and(|part| part == self.turn % self.parts)
    }
}

/// Compares a file's pieces with the chunks that an earlier reading made.
struct Comparison<'a> {
    progress: &'a dyn Progress,
    expected: &'a [DraftChunk],
    at: usize,
}

impl PieceSink for Comparison<'_> {
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped> {
        let same = self.expected.get(self.at).is_some_and(|chunk| chunk.id == ChunkId::of(content));
        self.at += 1;
        self.progress.event(Event::Read { bytes: content.len() as u64 });
        if same { Ok(()) } else { Err(Stopped) }
    }

    fn restart(&mut self) {
        self.at = 0;
    }
}

impl Look<'_> {
    /// Whether this unchanged file is to be read all the same.
    pub(super) fn is_due(&self, which: Which, path: &[u8]) -> bool {
        which == Which::First && self.share.has(path)
    }

    /// Reads a file that has not changed, by all that the system says of it. Its content counts.
    pub(super) fn read_again(&mut self, before: Draft, now: Draft) -> Result<(), BackupError> {
        let mut comparison = Comparison { progress: self.progress, expected: &before.chunks, at: 0 };
        let read: Result<Captured<DraftChunk>, _> =
            read_file(&self.site_tree.tree, now.path.as_bytes(), self.buffer, &mut comparison);
        let whole = comparison.at == before.chunks.len();
        match read {
            Ok(captured) if whole && !captured.torn && captured.entry.holes == before.holes => {
                // As the walk saw it: what has changed since is for the second look.
                return self.keep_content(before, now);
            }
            Err(ReadError::Unreadable(error)) => return self.keep_unreadable(before, now, &error),
            // Another content, or something else by now: as every changed file.
            Ok(_) | Err(_) => {}
        }
        self.read_anew(before, now)
    }

    /// Reads a file that has not changed, by all that the system says of it, as a changed one: what of it nothing is known of is sent. Says so if it
    /// did change all the same; one that can't be read stays as the snapshot before has it.
    pub(super) fn read_anew(&mut self, before: Draft, now: Draft) -> Result<(), BackupError> {
        let path = now.path.clone();
        let captured = match self.capture(&path)? {
            Err(ReadError::Unreadable(error)) => return self.keep_unreadable(before, now, &error),
            captured => captured,
        };
        let as_it_was = (now.size, now.mtime, now.ctime, now.inode);
        let (holes, content): (_, Vec<ChunkId>) = (before.holes.clone(), before.chunks.iter().map(|chunk| chunk.id).collect());
        let Some(entry) = self.take(Which::First, Some(before), path.clone(), captured)? else { return Ok(()) };
        // A file system gives room back, and finds zeros that need none, in its own time: other holes are other pieces, not another content.
        let other = entry.holes == holes && !entry.chunks.iter().map(|chunk| chunk.id).eq(content);
        if other && (entry.size, entry.mtime, entry.ctime, entry.inode) == as_it_was && entry.flags.is_empty() {
            let detail = "its content is another than before, though its size and times are not; the snapshots before this one have the old content";
            self.found_for_good(FindingCode::SilentChange, path, detail.to_owned());
        }
        Ok(())
    }

    fn keep_unreadable(&mut self, before: Draft, now: Draft, error: &std::io::Error) -> Result<(), BackupError> {
        let detail = format!("it can't be read any more ({error}); what the snapshot before has of it is kept");
        self.found_for_good(FindingCode::Unreadable, now.path.clone(), detail);
        self.keep_content(before, now)
    }

    fn found_for_good(&mut self, code: FindingCode, path: ByteText, detail: String) {
        self.reread.add(Finding { code, subject: subject(self.site_tree.name, path), detail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_turn_once() {
        for parts in [1, 7, 30] {
            for path in ["", "a", "uploads/2024/01/x.jpg"] {
                let turns = (100..100 + u64::from(parts)).filter(|turn| Share::new(parts, *turn).has(path.as_bytes()));
                assert_eq!(turns.count(), 1, "{path} of {parts}");
            }
        }
        assert!(!Share::new(0, 5).has(b"a"));
    }
}
