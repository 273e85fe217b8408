//! One thread's part of the work: files that need content.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::check::split;
use super::node::DirNode;
use super::survey::{FileTask, There};
use super::{Action, TWO_NAMES, Target};
use crate::files::error::FilesError;
use crate::files::metadata::size;
use crate::files::read::{LARGEST_PIECE, PieceSink, ReadBuffer, Stopped, read_file};
use crate::files::write_file::FileWriter;
use crate::repository::entry::ChunkRef;
use crate::repository::ids::ChunkId;

/// Where one thread writes files. It keeps the directory of the last one open.
pub struct Desk<'t> {
    target: &'t Target,
    buffer: Option<ReadBuffer>,
    dir: Option<(Arc<DirNode<'t>>, Arc<OwnedFd>)>,
}

/// What there is of a file's content in the target.
#[derive(Debug)]
pub enum Found {
    /// All of it, and nothing is left to do.
    Done,
    /// Nothing.
    Nothing,
    /// Some of its pieces, in the file that has its name.
    Pieces(Pieces),
}

/// Pieces of a file that is there.
#[derive(Debug)]
pub struct Pieces {
    file: File,
    at: HashMap<ChunkId, u64>,
    content: Vec<u8>,
}

impl Pieces {
    /// A chunk's content, if the file has it still.
    pub fn read(&mut self, chunk: &ChunkRef) -> Option<&[u8]> {
        let at = *self.at.get(&chunk.id)?;
        let size = usize::try_from(chunk.size).ok().filter(|size| *size <= LARGEST_PIECE)?;
        self.content.resize(size, 0);
        self.file.read_exact_at(&mut self.content, at).ok()?;
        (ChunkId::of(&self.content) == chunk.id).then_some(&self.content)
    }
}

impl<'t> Desk<'t> {
    /// A desk for one thread.
    pub fn new(target: &'t Target) -> Self {
        Self { target, buffer: None, dir: None }
    }

    /// Looks at what has the file's name. A file that holds the entry's content gets its metadata, and that is all.
    ///
    /// # Errors
    /// [`FilesError::Write`].
    pub fn look(&mut self, task: &FileTask<'t>) -> Result<Found, FilesError> {
        let entry = &task.entry;
        let There::File(stat) = task.there else { return Ok(Found::Nothing) };
        // A file of one piece is all the same or not at all.
        if size(&stat) == 0 && entry.size > 0 || entry.chunks.len() < 2 && size(&stat) != entry.size {
            return Ok(Found::Nothing);
        }
        let tree = self.target.tree().map_err(|source| self.target.failed(entry.path.as_bytes(), source))?;
        let mut search = Search::of(&entry.chunks);
        // One that can't be read is replaced.
        let read = read_file::<ChunkRef>(tree, entry.path.as_bytes(), self.buffer.get_or_insert_default(), &mut search);
        let Some(captured) = read.ok().filter(|captured| !captured.torn) else { return Ok(Found::Nothing) };
        let same_holes = captured.entry.size == entry.size && captured.entry.holes == entry.holes;
        if !captured.entry.holes.is_empty() {
            // Where its pieces are can't be told by what is before them.
            search.at.clear();
        }
        let same = same_holes && search.in_order && search.next == entry.chunks.len();
        let at: HashMap<_, _> = search.at.into_iter().filter_map(|(id, at)| Some((id, at?))).collect();
        if same {
            let (_, name) = split(entry.path.as_bytes());
            let dir = self.dir(&task.dir)?;
            if self.target.settle(&dir, name, entry.path.as_bytes(), &self.target.attributes(entry), &stat)? {
                return Ok(Found::Done);
            }
        }
        if at.is_empty() {
            return Ok(Found::Nothing);
        }
        let file = tree.open_file(entry.path.as_bytes());
        Ok(file.map_or(Found::Nothing, |file| Found::Pieces(Pieces { file, at, content: Vec::new() })))
    }

    /// Opens a temporary file for the content. `None` in a dry run, which only tells.
    ///
    /// # Errors
    /// [`FilesError::Write`].
    pub fn begin(&mut self, task: &FileTask<'t>) -> Result<Option<FileWriter>, FilesError> {
        let (target, entry) = (self.target, &task.entry);
        if target.options.dry_run {
            target.told(task.action(), entry.path.as_bytes());
            target.count(|stats| stats.bytes = stats.bytes.saturating_add(entry.size));
            return Ok(None);
        }
        let dir = self.dir(&task.dir)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (temporary, file) = loop {
            let temporary = target.temporary_name();
            match openat(&dir, temporary.as_slice(), flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST | Errno::INTR) => {}
                Err(error) => return Err(target.failed(entry.path.as_bytes(), error.into())),
                Ok(file) => break (temporary, file),
            }
        };
        let (_, name) = split(entry.path.as_bytes());
        let shown = target.shown(entry.path.as_bytes());
        let attributes = target.attributes(entry);
        let layout = (entry.size, entry.holes.clone());
        Ok(Some(FileWriter::new(file.into(), dir, temporary, name.to_vec(), shown, attributes, layout)))
    }

    /// Puts a file in its place, with its mode, owner and mtime. `reused`: bytes of it that came from the file that was there.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] when fewer bytes were written than the entry says; [`FilesError::InTheWay`]; [`FilesError::Write`].
    pub fn finish(&mut self, task: FileTask<'t>, file: FileWriter, reused: u64) -> Result<(), FilesError> {
        let path = task.entry.path.as_bytes();
        let (bytes, unset) = match task.there {
            There::Nothing => match file.finish_new()? {
                Some(written) => written,
                None => return Err(FilesError::InTheWay { path: self.target.shown(path), what: TWO_NAMES }),
            },
            There::Other | There::File(_) => file.finish()?,
        };
        self.target.told(task.action(), path);
        self.target.count(|stats| {
            stats.bytes = stats.bytes.saturating_add(bytes);
            stats.reused_bytes += reused;
        });
        self.target.unset(path, &unset);
        Ok(())
    }

    fn dir(&mut self, node: &Arc<DirNode<'t>>) -> Result<Arc<OwnedFd>, FilesError> {
        if let Some((_, dir)) = self.dir.as_ref().filter(|(held, _)| Arc::ptr_eq(held, node)) {
            return Ok(Arc::clone(dir));
        }
        self.dir = None;
        let path = node.path();
        let dir = self.target.tree().and_then(|tree| tree.open_dir(&path)).map_err(|source| self.target.failed(&path, source))?;
        self.dir = Some((Arc::clone(node), Arc::clone(&dir)));
        Ok(dir)
    }
}

impl FileTask<'_> {
    /// Whether all of the content will be wanted, as far as can be told without reading what is there.
    pub fn needs_all(&self) -> bool {
        match self.there {
            There::Nothing | There::Other => true,
            There::File(stat) => self.entry.chunks.len() < 2 && size(&stat) != self.entry.size,
        }
    }

    fn action(&self) -> Action {
        if matches!(self.there, There::Nothing) { Action::Create } else { Action::Replace }
    }
}

/// Looks for an entry's chunks in a file, which is cut as files are.
struct Search<'a> {
    chunks: &'a [ChunkRef],
    at: HashMap<ChunkId, Option<u64>>,
    next: usize,
    offset: u64,
    in_order: bool,
}

impl<'a> Search<'a> {
    fn of(chunks: &'a [ChunkRef]) -> Self {
        let at = chunks.iter().map(|chunk| (chunk.id, None)).collect();
        Self { chunks, at, next: 0, offset: 0, in_order: true }
    }
}

impl PieceSink for Search<'_> {
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped> {
        let id = ChunkId::of(content);
        if let Some(at) = self.at.get_mut(&id) {
            at.get_or_insert(self.offset);
        }
        self.in_order &= self.chunks.get(self.next).is_some_and(|chunk| chunk.id == id);
        self.next += 1;
        self.offset += content.len() as u64;
        Ok(())
    }

    fn restart(&mut self) {
        *self = Self::of(self.chunks);
    }
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
