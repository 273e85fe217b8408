//! Files of several names: the first one in the list is restored as any file is, the others become links to it when all files are written.
//!
//! Entries are names of one file if they are the same in everything but the path, and were on one inode with one ctime: so no list makes
//! one file of two that differ. What is kept of them is on the disk, in files without names, and a few bytes each in memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, PoisonError};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, futimens, linkat, openat, statat,
    unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::check::split;
use super::survey::There;
use super::{Action, TWO_NAMES, Target};
use crate::files::error::FilesError;
use crate::files::holes::Content;
use crate::files::metadata::{mtime, size};
use crate::files::read::LARGEST_PIECE;
use crate::files::tree::open_child_file;
use crate::files::write_file::{FileWriter, put_in_place, put_where_nothing_is};
use crate::repository::byte_text::ByteText;
use crate::repository::chunk_table::{ChunkTable, Record, tempfile_in};
use crate::repository::entry::FileEntry;
use crate::repository::ids::ChunkId;

/// What is known of them so far; nothing until the first one comes.
#[derive(Debug, Default)]
pub(super) struct HardLinks(Option<Table>);

#[derive(Debug)]
struct Table {
    /// Where the first path of each file stands.
    firsts: ChunkTable<Path>,
    paths: File,
    end: u64,
    later: BufWriter<File>,
}

/// Offset and length of a path.
#[derive(Debug, Clone, Copy)]
struct Path(u64, u32);

impl Record for Path {
    const BYTES: usize = 12;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.to_le_bytes());
        to.extend_from_slice(&self.1.to_le_bytes());
    }

    fn decode(from: &[u8]) -> Option<Self> {
        let (at, length) = from.split_at_checked(8)?;
        Some(Self(u64::from_le_bytes(at.try_into().ok()?), u32::from_le_bytes(length.try_into().ok()?)))
    }
}

/// A name that becomes a link.
#[derive(Debug, Serialize, Deserialize)]
struct Later {
    first: ByteText,
    entry: FileEntry,
}

/// Says which file an entry is a name of.
fn file_of(entry: &FileEntry) -> io::Result<ChunkId> {
    let same = entry.clone().map_chunks(|chunk| chunk.id).with_flags(Vec::new());
    let same = FileEntry { path: ByteText::default(), ..same };
    Ok(ChunkId::of(&serde_json::to_vec(&same)?))
}

impl Table {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir();
        let temporary = || tempfile_in(&dir).map_err(io::Error::other);
        let firsts = ChunkTable::new(&dir).map_err(io::Error::other)?;
        Ok(Self { firsts, paths: temporary()?, end: 0, later: BufWriter::new(temporary()?) })
    }

    /// The path of the file's first name; or this one is it.
    fn first(&mut self, entry: &FileEntry) -> io::Result<Option<Vec<u8>>> {
        let file = file_of(entry)?;
        if let Some(Path(at, length)) = self.firsts.get(&file).map_err(io::Error::other)? {
            let mut path = vec![0; usize::try_from(length).unwrap_or_default()];
            self.paths.read_exact_at(&mut path, at)?;
            return Ok(Some(path));
        }
        let path = entry.path.as_bytes();
        let length = u32::try_from(path.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.paths.write_all_at(path, self.end)?;
        self.firsts.insert(&file, &Path(self.end, length)).map_err(io::Error::other)?;
        self.end += u64::from(length);
        Ok(None)
    }

    fn put_off(&mut self, later: &Later) -> io::Result<()> {
        serde_json::to_writer(&mut self.later, later)?;
        self.later.write_all(b"\n")
    }
}

impl Target {
    /// Whether the entry is a further name of a file that came before; then it is made in the end.
    pub(super) fn is_later_name(&self, entry: &FileEntry, dir: Option<&OwnedFd>, there: There) -> Result<bool, FilesError> {
        if entry.links < 2 {
            return Ok(false);
        }
        let path = entry.path.as_bytes();
        let failed = |source| self.failed(path, source);
        let mut links = self.hard_links.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match &mut links.0 {
            Some(table) => table,
            none => none.insert(Table::new().map_err(failed)?),
        };
        let Some(first) = table.first(entry).map_err(failed)? else { return Ok(false) };
        if self.options.dry_run {
            let action = match there {
                There::Nothing => Action::Create,
                There::File(stat) if dir.is_some() && self.is_name_of(&first, &stat) => Action::Keep,
                There::Other | There::File(_) => Action::Replace,
            };
            self.told(action, path);
        } else {
            table.put_off(&Later { first: ByteText(first), entry: entry.clone() }).map_err(failed)?;
        }
        Ok(true)
    }

    /// Whether this is the file that has that path now.
    fn is_name_of(&self, first: &[u8], stat: &Stat) -> bool {
        let (parent, name) = split(first);
        let dir = self.tree().and_then(|tree| tree.open_dir(parent));
        let of_first = dir.ok().and_then(|dir| statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok());
        of_first.is_some_and(|first| is_same(&first, stat))
    }

    /// Makes the further names of all files. All of them are written, and the directories are complete.
    pub(super) fn make_hard_links(&self) -> Result<(), FilesError> {
        let table = self.hard_links.lock().unwrap_or_else(PoisonError::into_inner).0.take();
        let Some(table) = table else { return Ok(()) };
        let failed = |source| self.failed(b"", source);
        let mut later = table.later.into_inner().map_err(|error| failed(error.into_error()))?;
        later.rewind().map_err(failed)?;
        let mut lines = BufReader::new(later);
        let (mut line, mut dir) = (Vec::new(), None::<Filled>);
        loop {
            line.clear();
            self.go_on()?;
            if self.is_stopped() || lines.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return dir.map_or(Ok(()), |dir| dir.leave(self));
            }
            let Later { first, entry } = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
            let (parent, _) = split(entry.path.as_bytes());
            let filled = match dir.take() {
                Some(filled) if filled.path == parent => filled,
                other => {
                    other.map_or(Ok(()), |dir| dir.leave(self))?;
                    Filled::enter(self, parent)?
                }
            };
            let made = self.make_hard_link(&filled.dir, first.as_bytes(), &entry);
            dir = Some(filled);
            made?;
        }
    }

    fn make_hard_link(&self, dir: &Arc<OwnedFd>, first: &[u8], entry: &FileEntry) -> Result<(), FilesError> {
        let path = entry.path.as_bytes();
        if self.has_lost(first) {
            self.lose(entry);
            return Ok(());
        }
        let (_, name) = split(path);
        let failed = |error: Errno| self.failed(path, error.into());
        let there = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(error)),
        };
        let action = if there.is_some() { Action::Replace } else { Action::Create };
        if there.is_some() && !self.options.overwrite {
            return Err(FilesError::InTheWay { path: self.shown(path), what: TWO_NAMES });
        }
        let (parent, first_name) = split(first);
        let first_dir = self.tree().and_then(|tree| tree.open_dir(parent)).map_err(|source| self.failed(path, source))?;
        let stat = statat(&first_dir, first_name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if there.is_some_and(|there| is_same(&there, &stat)) {
            self.told(Action::Keep, path);
            return Ok(());
        }
        let temporary = match self.link(&first_dir, first_name, &stat, dir, entry) {
            Ok(temporary) => temporary,
            Err(error) => {
                self.copy(&first_dir, first_name, dir, entry, there.is_none())?;
                self.count(|stats| stats.hard_links_not_made += 1);
                self.tell_not_set(path, format!("that it is the same file as {}: {error}", ByteText::from(first)));
                self.told(action, path);
                return Ok(());
            }
        };
        let put = if there.is_some() { put_in_place(dir, &temporary, name) } else { put_where_nothing_is(dir, &temporary, name) };
        if let Err(error) = put {
            let _ = unlinkat(dir, temporary.as_slice(), AtFlags::empty());
            return Err(match error {
                Errno::EXIST => FilesError::InTheWay { path: self.shown(path), what: TWO_NAMES },
                error => failed(error),
            });
        }
        self.count(|stats| stats.hard_links += 1);
        self.told(action, path);
        Ok(())
    }

    /// Links the file under a temporary name, if it is what was restored.
    fn link(
        &self,
        first_dir: &OwnedFd,
        first: &[u8],
        stat: &Stat,
        dir: &OwnedFd,
        entry: &FileEntry,
    ) -> rustix::io::Result<Vec<u8>> {
        let is_restored = |stat: &Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && (size(stat), mtime(stat)) == (entry.size, entry.mtime)
        };
        if !is_restored(stat) {
            return Err(Errno::STALE);
        }
        let temporary = loop {
            let temporary = self.temporary_name();
            match linkat(first_dir, first, dir, temporary.as_slice(), AtFlags::empty()) {
                Err(Errno::EXIST | Errno::INTR) => {}
                linked => break linked.map(|()| temporary)?,
            }
        };
        // What was linked need not be what was looked at.
        match statat(dir, temporary.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(linked) if is_same(&linked, stat) && is_restored(&linked) => Ok(temporary),
            _ => {
                let _ = unlinkat(dir, temporary.as_slice(), AtFlags::empty());
                Err(Errno::STALE)
            }
        }
    }

    /// Makes a file of its own, of the same content.
    fn copy(
        &self,
        first_dir: &OwnedFd,
        first: &[u8],
        dir: &Arc<OwnedFd>,
        entry: &FileEntry,
        is_new: bool,
    ) -> Result<(), FilesError> {
        let path = entry.path.as_bytes();
        let failed = |source| self.failed(path, source);
        let changed = || failed(io::Error::other("what was restored before it is no longer as it was"));
        let from = File::from(open_child_file(first_dir.as_fd(), first).map_err(|e| failed(e.into()))?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (temporary, file) = loop {
            let temporary = self.temporary_name();
            match openat(dir, temporary.as_slice(), flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST | Errno::INTR) => {}
                file => break (temporary, file.map_err(|e| failed(e.into()))?),
            }
        };
        let (_, name) = split(path);
        let layout = (entry.size, entry.holes.clone());
        let (shown, attributes) = (self.shown(path), self.attributes(entry));
        let mut to = FileWriter::new(file.into(), Arc::clone(dir), temporary, name.to_vec(), shown, attributes, layout);
        let mut content = Content::new(&from, entry.size, &entry.holes);
        let mut piece = Vec::new();
        for chunk in &entry.chunks {
            let length = usize::try_from(chunk.size).ok().filter(|size| *size <= LARGEST_PIECE).ok_or_else(changed)?;
            piece.resize(length, 0);
            content.read_exact(&mut piece).map_err(failed)?;
            if ChunkId::of(&piece) != chunk.id {
                return Err(changed());
            }
            to.write(&piece)?;
        }
        let (bytes, unset) = match is_new {
            true => to.finish_new()?.ok_or_else(|| FilesError::InTheWay { path: self.shown(path), what: TWO_NAMES })?,
            false => to.finish()?,
        };
        self.count(|stats| stats.bytes = stats.bytes.saturating_add(bytes));
        self.unset(path, &unset);
        Ok(())
    }
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// A directory that is complete, and in which something is made all the same: it keeps its mode and time.
struct Filled {
    path: Vec<u8>,
    dir: Arc<OwnedFd>,
    open: OwnedFd,
    stat: Stat,
}

impl Filled {
    fn enter(target: &Target, path: &[u8]) -> Result<Self, FilesError> {
        let failed = |source| target.failed(path, source);
        let dir = target.tree().and_then(|tree| tree.open_dir(path)).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = openat(&dir, ".", flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let stat = fstat(&open).map_err(|e| failed(e.into()))?;
        if !is_writable(&stat) {
            // Where this fails, linking says so.
            let _ = fchmod(&open, Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU);
        }
        Ok(Self { path: path.to_vec(), dir, open, stat })
    }

    fn leave(self, target: &Target) -> Result<(), FilesError> {
        let failed = |error: Errno| target.failed(&self.path, error.into());
        if !is_writable(&self.stat) {
            fchmod(&self.open, Mode::from_raw_mode(self.stat.st_mode & 0o7777)).map_err(failed)?;
        }
        let last_modification =
            Timespec { tv_sec: self.stat.st_mtime, tv_nsec: i64::try_from(self.stat.st_mtime_nsec).unwrap_or(0) };
        let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification };
        match futimens(&self.open, &times) {
            // Another's directory, which was left as it is.
            Err(Errno::PERM | Errno::ACCESS) => Ok(()),
            set => set.map_err(failed),
        }
    }
}

fn is_writable(stat: &Stat) -> bool {
    stat.st_mode & 0o700 == 0o700
}
