//! Reading one file: open, ask, read, ask again.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use fastcdc::v2020::FastCDC;
use rustix::fs::{Stat, fstat};
use rustix::io::Errno;

use super::holes::{Content, Hole, holes_of};
use super::metadata::{ctime, entry, mtime, size};
use super::tree::Tree;
use super::xattrs;
use crate::repository::entry::{FileEntry, FileFlag, FileKind};
use crate::repository::xattrs::Xattrs;

/// Bytes of the largest piece. A file up to this size is one piece.
pub const LARGEST_PIECE: usize = 2 << 20;
/// Where larger files are cut. Part of the format in so far as other cuts would make every large file new.
const AVERAGE_PIECE: usize = 1 << 20;
const SMALLEST_PIECE: usize = 512 << 10;

/// A file with more content than this is not read: its list of chunks would not fit into the run's memory.
const LARGEST_FILE: u64 = 128 << 30;

/// How often a file that changes is read.
const READINGS: u32 = 3;
/// Between two readings.
const PAUSE: Duration = Duration::from_millis(50);
/// The kernel stamps files by a clock that ticks as seldom as every 10 ms: two changes within a tick have the same ctime.
const TICK: Duration = Duration::from_millis(20);

/// A write sets the ctime when it begins, and may take this long: a file that changed within it is read twice, and the readings must agree. Then it
/// was that, as a whole, at the moment between them.
const WRITING: Duration = Duration::from_secs(1);

/// Takes a file's content, in order. Pieces are cut by content where a file is large, so that an edit changes few.
pub trait PieceSink {
    /// The next piece; never empty.
    ///
    /// # Errors
    /// [`Stopped`] ends the reading.
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped>;

    /// Asked while nothing is handed over for long.
    ///
    /// # Errors
    /// [`Stopped`] ends the reading.
    fn go_on(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    /// The file changed while it was read and is read from its beginning again: its pieces so far are void.
    fn restart(&mut self);
}

/// Where files are read into, used again for each: memory that is new to the process costs as much as reading.
pub struct ReadBuffer(Vec<u8>);

/// Bytes of a [`ReadBuffer`]: what is left of a piece when more is read has to be moved, so it holds several.
const WINDOW: usize = 3 * LARGEST_PIECE;

impl ReadBuffer {
    /// A buffer for one file at a time.
    pub fn new() -> Self {
        Self(vec![0; WINDOW])
    }
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadBuffer")
    }
}

/// The taker wants no more: the run was cancelled, or has failed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured<C> {
    /// Metadata of the file that was open, without chunks; `size` is what the pieces and the holes hold. Flagged when torn, and then
    /// the times are those from before the reading.
    pub entry: FileEntry<C>,
    /// The file changed during each of three readings. The pieces hold one of them.
    pub torn: bool,
    /// Bytes read from the file system, all readings taken together.
    pub bytes_read: u64,
    /// Why the entry lacks extended attributes, if it does; it is flagged then.
    pub lacking: Option<String>,
}

/// Why a file was not read. Pieces that the taker has got of it are void.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is nothing of that name any more.
    #[error("gone")]
    Gone,
    /// What has the name now, or is on the way to it, isn't what the walk saw: a symlink, a FIFO, a directory.
    #[error("no longer a regular file")]
    NotRegular,
    /// It has too much content.
    #[error("it is larger than {} GiB, which is the most that is read", LARGEST_FILE >> 30)]
    TooLarge,
    /// The system refuses.
    #[error("{0}")]
    Unreadable(io::Error),
    /// [`PieceSink::piece`] said so.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for ReadError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Self::Gone,
            // A symlink; a socket or a device without its driver; a directory, if anything ever says so.
            Some(Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::ISDIR) => Self::NotRegular,
            None if error.kind() == io::ErrorKind::InvalidInput => Self::NotRegular,
            _ => Self::Unreadable(error),
        }
    }
}

impl ReadError {
    /// Replaced on a network file system while it was open; or a lease (of a Samba server, say) that the kernel is taking back.
    fn is_passing(&self) -> bool {
        let Self::Unreadable(error) = self else { return false };
        matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::STALE | Errno::AGAIN))
    }
}

/// Reads a file of the tree into `sink`.
///
/// A file that changes while it is read is read again, from its beginning, up to three readings; the last one is taken as
/// it is and flagged [`FileFlag::Torn`]. A file of one piece is handed over only when its reading is known.
///
/// # Errors
/// [`ReadError`]; what it means for the snapshot is the caller's to say.
pub fn read_file<C>(
    tree: &Tree,
    path: &[u8],
    buffer: &mut ReadBuffer,
    sink: &mut dyn PieceSink,
) -> Result<Captured<C>, ReadError> {
    let mut bytes_read = 0;
    let mut readings = 0;
    loop {
        readings += 1;
        let last = readings == READINGS;
        match read_once(tree, path, &mut buffer.0, sink, &mut bytes_read) {
            Ok(once) if once.settled || last => {
                if let Some(content) = buffer.0.get(..once.whole).filter(|content| !content.is_empty()) {
                    sink.piece(content)?;
                }
                let mut entry = entry(path, FileKind::File, &once.before, &tree.owners);
                entry.size = once.size;
                entry.holes = once.holes;
                // Of a file that became shorter.
                entry.holes.retain(|hole| hole.0 + hole.1 <= once.size);
                entry.xattrs = once.xattrs;
                if !once.settled {
                    entry.flags.push(FileFlag::Torn);
                }
                if once.lacking.is_some() {
                    entry.flags.push(FileFlag::AttributesUnread);
                }
                return Ok(Captured { entry, torn: !once.settled, bytes_read, lacking: once.lacking });
            }
            Ok(_) => sink.restart(),
            Err(error) if error.is_passing() && !last => sink.restart(),
            Err(error) => return Err(error),
        }
        sleep(PAUSE);
    }
}

/// One reading of a file.
struct Reading {
    before: Stat,
    /// Bytes it has, holes among them.
    size: u64,
    holes: Vec<Hole>,
    xattrs: Xattrs,
    lacking: Option<String>,
    /// Nothing changed from before it to after it.
    settled: bool,
    /// Bytes in the buffer of a file of one piece, which is not yet handed over.
    whole: usize,
}

fn read_once(
    tree: &Tree,
    path: &[u8],
    window: &mut [u8],
    sink: &mut dyn PieceSink,
    bytes_read: &mut u64,
) -> Result<Reading, ReadError> {
    let file = tree.open_file(path)?;
    let (before, is_fresh) = settle(&file)?;
    let holes = holes_of(&file, &before);
    let data_size = size(&before).saturating_sub(holes.iter().map(|hole| hole.1).sum());
    if data_size > LARGEST_FILE {
        return Err(ReadError::TooLarge);
    }
    let may_be_written = changed_within(WRITING, &before, clock());
    let content = if may_be_written { Content::summed } else { Content::new };
    let mut content = content(&file, size(&before), &holes);
    let mut whole = 0;
    let outcome = if data_size <= LARGEST_PIECE as u64 {
        fill(&mut content, window, &mut whole).map(|_| ()).map_err(ReadError::from)
    } else {
        cut(&mut content, window, sink)
    };
    let (size_read, count, sum) = (content.at, content.count, content.sum);
    *bytes_read += count;
    outcome?;
    let (xattrs, lacking) = xattrs::read(&xattrs::At::Open(file.as_fd()));
    let unchanged = || fstat(&file).map(|after| same(&before, &after)).map_err(io::Error::from);
    let mut settled = unchanged()? && size_read == size(&before) && !is_fresh;
    if let Some(sum) = sum.filter(|_| settled) {
        let mut again = Content::summed(&file, size(&before), &holes);
        // What is handed over later stays.
        let scratch = window.get_mut(LARGEST_PIECE..).unwrap_or_default();
        while again.read(scratch)? > 0 {
            sink.go_on()?;
        }
        *bytes_read += again.count;
        let agrees = again.sum.is_some_and(|again| again.finalize() == sum.finalize());
        settled = agrees && holes_of(&file, &before) == holes && unchanged()?;
    }
    Ok(Reading { before, size: size_read, holes, xattrs, lacking, settled, whole })
}

/// What is known of the file before it is read, at a time when its next change can't have the ctime of its last; and whether
/// that could not be had.
fn settle(file: &File) -> io::Result<(Stat, bool)> {
    let asked = ask(file)?;
    if asked.1 {
        sleep(TICK);
        return ask(file);
    }
    Ok(asked)
}

/// What is known of the file, and whether its last change may be of the clock's present tick.
fn ask(file: &File) -> io::Result<(Stat, bool)> {
    // On both sides: this thread may be kept from running in between.
    let earliest = clock();
    let stat = fstat(file)?;
    Ok((stat, is_fresh(&stat, earliest, clock())))
}

/// A time in the future is another clock's and says nothing.
fn is_fresh(stat: &Stat, earliest: Duration, latest: Duration) -> bool {
    changed(stat) <= latest && changed_within(TICK, stat, earliest)
}

/// Whether its last change may be as young as that.
fn changed_within(age: Duration, stat: &Stat, now: Duration) -> bool {
    changed(stat) + age > now
}

fn changed(stat: &Stat) -> Duration {
    Duration::from_nanos(u64::try_from(ctime(stat)).unwrap_or(0))
}

fn clock() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

fn same(before: &Stat, after: &Stat) -> bool {
    (size(before), mtime(before), ctime(before), before.st_ino) == (size(after), mtime(after), ctime(after), after.st_ino)
}

/// Reads until the window is full or the content ends; whether it has ended.
fn fill(content: &mut impl Read, window: &mut [u8], filled: &mut usize) -> io::Result<bool> {
    while let Some(room) = window.get_mut(*filled..).filter(|room| !room.is_empty()) {
        match content.read(room)? {
            0 => return Ok(true),
            read => *filled += read,
        }
    }
    Ok(false)
}

fn cut(content: &mut impl Read, window: &mut [u8], sink: &mut dyn PieceSink) -> Result<(), ReadError> {
    let (mut start, mut end, mut ended) = (0, 0, false);
    loop {
        if end - start < LARGEST_PIECE && !ended {
            window.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            ended = fill(content, window, &mut end)?;
        }
        let rest = window.get(start..end).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let (_, length) = FastCDC::new(rest, SMALLEST_PIECE, AVERAGE_PIECE, LARGEST_PIECE).cut(0, rest.len());
        sink.piece(rest.get(..length).unwrap_or_default())?;
        start += length;
    }
}

#[cfg(test)]
mod tests;
