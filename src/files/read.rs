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
pub const LARGEST_PIECE: usize = 4 << 20;
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
    let before = settle(&file)?;
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
    let settled = same(&before, &after) && size_read == size(&before) && !is_fresh(&before);
    Ok(Reading { before, size: size_read, settled, whole })
}

/// What is known of the file before it is read, at a time when its next change can't have the ctime of its last.
fn settle(file: &File) -> io::Result<Stat> {
    let stat = fstat(file)?;
    if is_fresh(&stat) {
        sleep(TICK);
        return Ok(fstat(file)?);
    }
    Ok(stat)
}

/// Whether the last change may be of the clock's present tick. A time in the future is another clock's and says nothing.
fn is_fresh(stat: &Stat) -> bool {
    let changed = Duration::from_nanos(u64::try_from(ctime(stat)).unwrap_or(0));
    SystemTime::UNIX_EPOCH.elapsed().is_ok_and(|now| now.checked_sub(changed).is_some_and(|age| age < TICK))
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
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{FileExt, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{FileType, Mode, mknodat};

    use super::*;
    use crate::repository::entry::ChunkRef;

    #[derive(Default)]
    struct Kept {
        pieces: Vec<Bytes>,
        restarts: u32,
        /// Pieces after which it wants no more.
        stop_after: Option<usize>,
    }

    impl PieceSink for Kept {
        fn piece(&mut self, content: Bytes) -> Result<(), Stopped> {
            assert!(!content.is_empty() && content.len() <= LARGEST_PIECE);
            self.pieces.push(content);
            if self.stop_after.is_some_and(|most| self.pieces.len() >= most) { Err(Stopped) } else { Ok(()) }
        }

        fn restart(&mut self) {
            self.pieces.clear();
            self.restarts += 1;
        }
    }

    fn read(root: &Path, path: &str) -> Result<(Captured<ChunkRef>, Kept), ReadError> {
        let mut kept = Kept::default();
        let captured = read_file(&Tree::open(root).unwrap(), path.as_bytes(), &mut kept)?;
        Ok((captured, kept))
    }

    /// Bytes without pattern, the same each time.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn small_files_are_one_piece_and_empty_ones_none() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("empty", vec![]), ("small", b"text".to_vec()), ("limit", noise(LARGEST_PIECE))] {
            fs::write(dir.path().join(name), &content).unwrap();
            let (captured, kept) = read(dir.path(), name).unwrap();
            assert_eq!(kept.pieces.concat(), content);
            assert_eq!(kept.pieces.len(), usize::from(!content.is_empty()), "{name}");
            assert_eq!((captured.torn, captured.bytes_read), (false, content.len() as u64));
            assert_eq!((captured.entry.size, captured.entry.flags.len()), (content.len() as u64, 0));
            assert_eq!(captured.entry.path.to_string(), name);
        }
    }

    #[test]
    fn large_files_are_cut_where_their_content_says() {
        let dir = tempfile::tempdir().unwrap();
        let content = noise(12 << 20);
        fs::write(dir.path().join("large"), &content).unwrap();
        let (captured, kept) = read(dir.path(), "large").unwrap();
        assert!(kept.pieces.concat() == content && !captured.torn);
        // The cuts are part of the format: other numbers here make every large file of every site new.
        let cuts: Vec<usize> = kept.pieces.iter().map(Bytes::len).collect();
        assert_eq!(cuts, GOLDEN_CUTS);
        // A byte in front moves the cuts with the content.
        fs::write(dir.path().join("large"), [&b"x"[..], &content].concat()).unwrap();
        let (_, moved) = read(dir.path(), "large").unwrap();
        assert_eq!(moved.pieces.iter().filter(|piece| !kept.pieces.contains(piece)).count(), 1);
    }

    const GOLDEN_CUTS: [usize; 10] = [532150, 2088921, 1361465, 604807, 1071987, 2119792, 1188501, 1871958, 1205351, 537980];

    #[test]
    fn holes_are_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("holes")).unwrap();
        file.set_len(9 << 20).unwrap();
        file.write_all_at(b"data", 5 << 20).unwrap();
        let (captured, kept) = read(dir.path(), "holes").unwrap();
        let content = kept.pieces.concat();
        assert_eq!((content.len(), captured.entry.size), (9 << 20, 9 << 20));
        assert_eq!(&content[5 << 20..(5 << 20) + 4], b"data");
        assert!(content[..5 << 20].iter().all(|b| *b == 0));
    }

    #[test]
    fn what_is_no_regular_file_says_so_and_never_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        mknodat(fs::File::open(dir.path()).unwrap(), "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        symlink("/etc", dir.path().join("etc")).unwrap();
        for name in ["socket", "fifo", "dir", "link", "etc/passwd"] {
            assert!(matches!(read(dir.path(), name), Err(ReadError::NotRegular)), "{name}");
        }
        for name in ["none", "dir/none", "none/none"] {
            assert!(matches!(read(dir.path(), name), Err(ReadError::Gone)), "{name}");
        }
    }

    #[test]
    fn what_the_system_refuses_says_why() {
        // Write-only for everyone, root included: sysfs answers EINVAL to root, EACCES to others.
        if !Path::new("/sys/bus/platform/drivers_probe").exists() {
            return;
        }
        let Err(ReadError::Unreadable(error)) = read(Path::new("/sys/bus/platform"), "drivers_probe") else { panic!() };
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn the_taker_can_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("large"), noise(12 << 20)).unwrap();
        let mut kept = Kept { stop_after: Some(2), ..Kept::default() };
        let read: Result<Captured<ChunkRef>, _> = read_file(&Tree::open(dir.path()).unwrap(), b"large", &mut kept);
        assert!(matches!(read, Err(ReadError::Stopped)));
        assert_eq!(kept.pieces.len(), 2);
    }

    #[test]
    fn a_file_written_all_the_time_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for size in [1000, 5 << 20] {
            fs::write(&path, vec![b'l'; size]).unwrap();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
                    while !done.load(Ordering::Relaxed) {
                        log.write_all(b"line\n").unwrap();
                        sleep(Duration::from_millis(1));
                    }
                });
                sleep(Duration::from_millis(10));
                let (captured, kept) = read(dir.path(), "log").unwrap();
                done.store(true, Ordering::Relaxed);
                assert!(captured.torn);
                assert_eq!(captured.entry.flags, [FileFlag::Torn]);
                assert_eq!(kept.restarts, READINGS - 1);
                assert_eq!(kept.pieces.concat().len() as u64, captured.entry.size);
                assert!(captured.bytes_read > captured.entry.size * 2);
            });
        }
    }

    #[test]
    fn no_mixture_passes_for_a_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                let mut version = 0_u8;
                while !done.load(Ordering::Relaxed) {
                    version = version.wrapping_add(1);
                    for at in 0..16 {
                        file.write_all_at(&[version; 1 << 16], at << 16).unwrap();
                    }
                    sleep(Duration::from_millis(u64::from(version % 5) * 20));
                }
            });
            let (mut whole, tree) = (0, Tree::open(dir.path()).unwrap());
            for _ in 0..20 {
                let mut kept = Kept::default();
                let captured: Captured<ChunkRef> = read_file(&tree, b"file", &mut kept).unwrap();
                let content = kept.pieces.concat();
                assert_eq!(content.len(), 1 << 20);
                if !captured.torn {
                    whole += 1;
                    assert!(content.iter().all(|b| *b == content[0]), "a mixture that isn't flagged");
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(whole > 0);
        });
    }

    #[test]
    fn a_file_replaced_by_rename_is_the_old_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), vec![0; 1 << 16]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut version = 0_u8;
                while !done.load(Ordering::Relaxed) {
                    version = version.wrapping_add(1);
                    fs::write(dir.path().join("new"), vec![version; 1 << 16]).unwrap();
                    fs::rename(dir.path().join("new"), dir.path().join("file")).unwrap();
                    sleep(Duration::from_millis(7));
                }
            });
            for _ in 0..10 {
                let (_, kept) = read(dir.path(), "file").unwrap();
                let content = kept.pieces.concat();
                assert!(content.len() == 1 << 16 && content.iter().all(|b| *b == content[0]));
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_directory_swapped_for_a_link_gives_nothing_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for (at, content) in [(root.join("dir"), "inside"), (outside.clone(), "secret")] {
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("file"), content).unwrap();
        }
        symlink(&outside, root.join("swap")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let open = fs::File::open(&root).unwrap();
                while !done.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(&open, "dir", &open, "swap", rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut seen = 0;
            for _ in 0..2000 {
                match read(&root, "dir/file") {
                    Ok((_, kept)) => {
                        assert_eq!(kept.pieces.concat(), b"inside");
                        seen += 1;
                    }
                    Err(error) => assert!(matches!(error, ReadError::NotRegular | ReadError::Gone), "{error:?}"),
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(seen > 0);
        });
    }
}
