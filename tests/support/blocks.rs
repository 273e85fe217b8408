//! Files whose content tells, in every block, which version of which file it is; and what each file has been, and when.

use std::ops::Range;
use std::time::Instant;

use super::random::mixed;

/// Bytes of a block.
pub const BLOCK: usize = 512;
const MARK: u32 = 0x5742_4131;

/// These blocks of a version of a file.
pub fn blocks(file: u32, version: u32, range: Range<u32>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(range.len() * BLOCK);
    for index in range {
        let word = word(file, version, index);
        for part in [MARK, file, version, index] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes.extend_from_slice(&word.repeat((BLOCK - 16) / word.len()));
    }
    bytes
}

fn word(file: u32, version: u32, index: u32) -> [u8; 8] {
    mixed(u64::from(file) << 52 ^ u64::from(version) << 24 ^ u64::from(index)).to_le_bytes()
}

fn is_block(block: &[u8], file: u32, version: u32, index: u32) -> bool {
    let Some((head, rest)) = block.split_at_checked(16) else { return false };
    let word = word(file, version, index);
    let head_is = head.chunks(4).zip([MARK, file, version, index]).all(|(a, b)| a == b.to_le_bytes());
    head_is && block.len() == BLOCK && rest.starts_with(&word) && rest[8..] == rest[..rest.len() - 8]
}

/// What a file's bytes are: the file, and its versions with how many blocks there are of each, in their order. `None` when they are not
/// whole blocks of one file, each in its place.
pub fn read(bytes: &[u8]) -> Option<(u32, Vec<(u32, u32)>)> {
    let (mut owner, mut runs) = (0, Vec::<(u32, u32)>::new());
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        let part = |at: usize| Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?));
        let (file, version) = (part(4)?, part(8)?);
        let index = u32::try_from(index).ok()?;
        if (index > 0 && file != owner) || !is_block(block, file, version, index) {
            return None;
        }
        owner = file;
        match runs.last_mut() {
            Some((last, count)) if *last == version => *count += 1,
            _ => runs.push((version, 1)),
        }
    }
    Some((owner, runs))
}

/// A whole version, and between which times the file was it.
#[derive(Debug)]
struct Whole {
    version: u32,
    blocks: u32,
    from: Instant,
    to: Option<Instant>,
}

/// A write of several calls.
#[derive(Debug)]
pub struct Write {
    version: u32,
    before: Before,
    /// The blocks of each call, in the order of the calls.
    calls: Vec<Range<u32>>,
    from: Instant,
    to: Instant,
}

/// What a write begins with.
#[derive(Debug, Clone, Copy)]
pub enum Before {
    /// So many blocks of the same version: the file only grows.
    Less(u32),
    /// As many blocks of this version, in the place of which the new ones are written, in any order.
    Older(u32),
}

impl Write {
    /// A write that is over, and began at this time.
    pub fn over(version: u32, before: Before, calls: Vec<Range<u32>>, from: Instant) -> Self {
        Self { version, before, calls, from, to: Instant::now() }
    }

    /// Whether this was the content at one moment of the write: some calls done, the rest not. Within a call, too, blocks come in order.
    fn was(&self, runs: &[(u32, u32)]) -> bool {
        match self.before {
            Before::Less(least) => {
                let most = self.calls.iter().map(|call| call.end).max().unwrap_or(least);
                let count = match *runs {
                    [] => 0,
                    [(version, count)] if version == self.version => count,
                    _ => return false,
                };
                (least..=most).contains(&count)
            }
            Before::Older(old) => {
                let is_new: Vec<bool> =
                    runs.iter().flat_map(|(version, n)| vec![*version == self.version; *n as usize]).collect();
                let known = runs.iter().all(|(version, _)| [old, self.version].contains(version));
                let all: usize = self.calls.iter().map(ExactSizeIterator::len).sum();
                let in_order = self.calls.iter().flat_map(|call| is_new.get(call.start as usize..call.end as usize)).flatten();
                // New as far as the calls went, then nothing but old ones.
                known && is_new.len() == all && in_order.skip_while(|new| **new).all(|new| !new)
            }
        }
    }
}

/// What one file has been.
#[derive(Debug, Default)]
pub struct History {
    wholes: Vec<Whole>,
    writes: Vec<Write>,
}

/// How content that was captured stands to what the file has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A whole version, which the file was at some time of the run.
    Whole,
    /// What the file was at one moment of a write. While the machine keeps the writer waiting there is no telling that from a whole version.
    HalfWritten,
    /// The file never was that, or not during the run.
    Never,
}

impl History {
    /// The file is this now. It became so no sooner than `since`: between a change and this call any time may pass, and the file may be read.
    pub fn is(&mut self, version: u32, blocks: u32, since: Instant) {
        self.was();
        self.wholes.push(Whole { version, blocks, from: since, to: None });
    }

    /// The file is by now no more what it was last.
    pub fn was(&mut self) {
        if let Some(last) = self.wholes.last_mut() {
            last.to.get_or_insert(Instant::now());
        }
    }

    /// A write is over.
    pub fn wrote(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// The version and blocks that the file has.
    pub fn now(&self) -> (u32, u32) {
        self.wholes.last().map_or((0, 0), |whole| (whole.version, whole.blocks))
    }

    /// What to say of content that a run between these times captured.
    pub fn judge(&self, runs: &[(u32, u32)], run: (Instant, Instant)) -> Verdict {
        let met = |from: Instant, to: Instant| from <= run.1 && to >= run.0;
        let is_whole = |whole: &Whole| {
            let same = match *runs {
                [] => whole.blocks == 0,
                [one] => one == (whole.version, whole.blocks),
                _ => false,
            };
            same && met(whole.from, whole.to.unwrap_or(run.1))
        };
        if self.wholes.iter().any(is_whole) {
            Verdict::Whole
        } else if self.writes.iter().any(|write| met(write.from, write.to) && write.was(runs)) {
            Verdict::HalfWritten
        } else {
            Verdict::Never
        }
    }
}
