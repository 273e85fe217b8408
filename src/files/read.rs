//! Reading one file: open, ask, read, ask again.

use std::fs::File;
use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fastcdc::v2020::StreamCDC;
use rustix::fs::{Stat, fstat};
use rustix::io::Errno;

use super::metadata::{ctime, entry, mtime, size};
use super::tree::Tree;
use crate::repository::entry::{FileEntry, FileFlag, FileKind};

/// Bytes of the largest piece. A file up to this size is one piece.
pub const LARGEST_PIECE: usize = 2 << 20;
/// Where larger files are cut. Part of the format in so far as other cuts would make every large file new.
const AVERAGE_PIECE: usize = 1 << 20;
const SMALLEST_PIECE: usize = 512 << 10;

/// How often a file that changes is read.
const READINGS: u32 = 3;
/// Between two readings.
const PAUSE: Duration = Duration::from_millis(50);
/// The kernel stamps files by a clock that ticks as seldom as every 10 ms: two changes within a tick have the same ctime.
const TICK: Duration = Duration::from_millis(20);

/// Takes a file's content, in order. Pieces are cut by content where a file is large, so that an edit changes few.
pub trait PieceSink {
    /// The next piece; never empty.
    ///
    /// # Errors
    /// [`Stopped`] ends the reading.
    fn piece(&mut self, content: Bytes) -> Result<(), Stopped>;

    /// The file changed while it was read and is read from its beginning again: its pieces so far are void.
    fn restart(&mut self);
}

/// The taker wants no more: the run was cancelled, or has failed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured<C> {
    /// Metadata of the file that was open, without chunks; `size` is what the pieces hold. Flagged when torn, and then the
    /// times are those from before the reading.
    pub entry: FileEntry<C>,
    /// The file changed during each of three readings. The pieces hold one of them.
    pub torn: bool,
    /// Bytes read from the file system, all readings taken together.
    pub bytes_read: u64,
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

/// Reads a file of the tree into `sink`. At most two of the largest pieces are in memory here.
///
/// A file that changes while it is read is read again, from its beginning, up to three readings; the last one is taken as
/// it is and flagged [`FileFlag::Torn`]. A file of one piece is handed over only when its reading is known.
///
/// # Errors
/// [`ReadError`]; what it means for the snapshot is the caller's to say.
pub fn read_file<C>(tree: &Tree, path: &[u8], sink: &mut dyn PieceSink) -> Result<Captured<C>, ReadError> {
    let mut bytes_read = 0;
    let mut readings = 0;
    loop {
        readings += 1;
        let last = readings == READINGS;
        match read_once(tree, path, sink, &mut bytes_read) {
            Ok(once) if once.settled || last => {
                if let Some(content) = once.whole {
                    sink.piece(content)?;
                }
                let mut entry = entry(path, FileKind::File, &once.before, &tree.owners);
                entry.size = once.size;
                if !once.settled {
                    entry.flags.push(FileFlag::Torn);
                }
                return Ok(Captured { entry, torn: !once.settled, bytes_read });
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
    /// Bytes it has.
    size: u64,
    /// Nothing changed from before it to after it.
    settled: bool,
    /// The content of a file of one piece, not yet handed over.
    whole: Option<Bytes>,
}

fn read_once(tree: &Tree, path: &[u8], sink: &mut dyn PieceSink, bytes_read: &mut u64) -> Result<Reading, ReadError> {
    let file = tree.open_file(path)?;
    let (before, is_fresh) = settle(&file)?;
    // No further than the size: a log that grows as fast as it is read would never end.
    let mut content = Counted { inner: (&file).take(size(&before)), count: 0 };
    let mut whole = None;
    let outcome = if size(&before) <= LARGEST_PIECE as u64 {
        read_whole(&mut content, size(&before)).map(|read| whole = read)
    } else {
        cut(&mut content, sink)
    };
    let size_read = content.count;
    *bytes_read += size_read;
    outcome?;
    let after = fstat(&file).map_err(io::Error::from)?;
    let settled = same(&before, &after) && size_read == size(&before) && !is_fresh;
    Ok(Reading { before, size: size_read, settled, whole })
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
    let changed = Duration::from_nanos(u64::try_from(ctime(stat)).unwrap_or(0));
    changed <= latest && changed + TICK > earliest
}

fn clock() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

fn same(before: &Stat, after: &Stat) -> bool {
    (size(before), mtime(before), ctime(before), before.st_ino) == (size(after), mtime(after), ctime(after), after.st_ino)
}

fn read_whole(content: &mut impl Read, size: u64) -> Result<Option<Bytes>, ReadError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(LARGEST_PIECE));
    content.read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then(|| Bytes::from(bytes)))
}

fn cut(content: &mut impl Read, sink: &mut dyn PieceSink) -> Result<(), ReadError> {
    for piece in StreamCDC::new(content, SMALLEST_PIECE, AVERAGE_PIECE, LARGEST_PIECE) {
        let piece = piece.map_err(io::Error::from)?;
        sink.piece(Bytes::from(piece.data))?;
    }
    Ok(())
}

/// Counts what is read, and goes on after a signal.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.count += read as u64;
                    return Ok(read);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
