//! The list, entry by entry, against what the target has: directories and links are made at once, files that need content
//! are handed out.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::check::{Checker, split};
use super::node::DirNode;
use super::{Action, TWO_NAMES, Target, is_temporary};
use crate::files::error::FilesError;
use crate::files::metadata::{ctime, mtime, size};
use crate::files::names::Names;
use crate::files::read::LARGEST_PIECE;
use crate::files::tree::{open_child_dir, open_child_file};
use crate::files::write_file::{Attributes, put_in_place};
use crate::files::xattrs::At;
use crate::repository::entry::{FileEntry, FileKind};

/// How many descriptors are held. In deeper trees the outer directories are opened again on the way back.
const HELD: usize = 32;

/// A file whose content is to be looked at or written, by a [`super::Desk`].
pub struct FileTask<'t> {
    /// The list's entry.
    pub entry: FileEntry,
    pub(super) dir: Arc<DirNode<'t>>,
    pub(super) there: There,
}

/// What has a file's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum There {
    Nothing,
    /// Not a regular file, nor a directory.
    Other,
    File(Stat),
}

/// See the module. Entries come in the list's order, all of them, whether they are selected or not.
pub struct Survey<'t> {
    target: &'t Target,
    checker: Checker,
    /// Of the directory at hand.
    path: Vec<u8>,
    levels: Vec<Level<'t>>,
}

/// A directory that the list is in.
struct Level<'t> {
    /// Bytes of the path that are this directory's.
    end: usize,
    /// By the list; the target has none before its own entry came.
    attributes: Option<Attributes>,
    /// The directory itself or one that it is in is selected: so is all below it.
    selected: bool,
    /// `None` until something in it is selected.
    made: Option<Made<'t>>,
}

struct Made<'t> {
    node: Arc<DirNode<'t>>,
    /// Whether it exists: in a dry run a directory need not.
    exists: bool,
    /// It was made now: nothing is in it but what is restored.
    fresh: bool,
    held: Option<Arc<OwnedFd>>,
    /// The list may lack what is in it.
    spared: bool,
    /// The names in it that the list has not come to; only to delete what it doesn't have.
    names: Option<Peeked>,
}

impl<'t> Survey<'t> {
    /// A survey of the target, before the first entry.
    pub fn new(target: &'t Target) -> Self {
        let root = Level { end: 0, attributes: None, selected: false, made: None };
        Self { target, checker: Checker::default(), path: Vec::new(), levels: vec![root] }
    }

    /// Takes the next entry: makes it, keeps what is there, or hands out a file that needs content.
    ///
    /// # Errors
    /// [`FilesError::BadEntry`] for an entry that no walk makes, or not in this order; [`FilesError::InTheWay`];
    /// [`FilesError::Write`].
    pub fn entry(&mut self, entry: FileEntry) -> Result<Option<FileTask<'t>>, FilesError> {
        self.checker.check(&entry, &self.path)?;
        if entry.chunks.iter().any(|chunk| chunk.size > LARGEST_PIECE as u64) {
            return Err(FilesError::BadEntry { path: entry.path, why: "it has a chunk larger than any that a file is cut into" });
        }
        let path = entry.path.as_bytes();
        let (parent, name) = split(path);
        let attributes = self.target.attributes(&entry);
        let fits = self.target.options.paths.fits(path, entry.kind == FileKind::Dir);
        if path.is_empty() {
            if let Some(root) = self.levels.first_mut() {
                (root.attributes, root.selected) = (Some(attributes), fits);
            }
            if fits {
                self.make_parents()?;
            }
            return Ok(None);
        }
        while self.path != parent {
            self.leave()?;
        }
        let selected = fits || self.levels.last().is_some_and(|level| level.selected);
        if !selected {
            if entry.kind == FileKind::Dir {
                self.push(name, attributes, false, None);
            }
            return Ok(None);
        }
        self.make_parents()?;
        self.remove_before(Some(name))?;
        let there = self.there(name, path)?;
        match entry.kind {
            FileKind::Dir => self.dir(name, attributes, there).map(|()| None),
            FileKind::Symlink => self.symlink(&entry, name, attributes, there).map(|()| None),
            FileKind::File => self.file(entry, attributes, there),
        }
    }

    /// Ends the list.
    ///
    /// # Errors
    /// [`FilesError::Write`], when what the list doesn't have can't be deleted.
    pub fn finish(mut self) -> Result<(), FilesError> {
        while !self.levels.is_empty() {
            self.leave()?;
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], attributes: Attributes, selected: bool, made: Option<Made<'t>>) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.levels.push(Level { end: self.path.len(), attributes: Some(attributes), selected, made });
        let outer = self.levels.len().checked_sub(HELD + 1).and_then(|at| self.levels.get_mut(at));
        if let Some(made) = outer.and_then(|level| level.made.as_mut()) {
            made.held = None;
        }
    }

    /// Leaves the directory at hand; its attributes are set when the last file in it is written.
    fn leave(&mut self) -> Result<(), FilesError> {
        self.remove_before(None)?;
        self.levels.pop();
        self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        Ok(())
    }

    /// Makes sure that the directory at hand is there, with those that it is in.
    fn make_parents(&mut self) -> Result<(), FilesError> {
        let mut at = self.levels.iter().rposition(|level| level.made.is_some()).map_or(0, |at| at + 1);
        while at < self.levels.len() {
            let made = if at == 0 { self.make_root()? } else { self.make_parent(at)? };
            if let Some(level) = self.levels.get_mut(at) {
                level.made = Some(made);
            }
            at += 1;
        }
        Ok(())
    }

    fn make_root(&mut self) -> Result<Made<'t>, FilesError> {
        let target = self.target;
        let (attributes, selected) =
            self.levels.first().map_or((None, false), |level| (level.attributes.clone(), level.selected));
        let failed = |source| target.failed(b"", source);
        let Some(tree) = &target.tree else {
            target.told(Action::Create, b"");
            target.count(|stats| stats.dirs += 1);
            let node = DirNode::new(target, None, b"", None);
            return Ok(Made { node, exists: false, fresh: true, held: None, spared: false, names: None });
        };
        let dir = tree.open_dir(b"").map_err(failed)?;
        let stat = fstat(&dir).map_err(|e| failed(e.into()))?;
        let wanted = attributes.filter(|_| selected || target.made_now);
        if let Some(attributes) = &wanted {
            let action = if target.made_now { Action::Create } else { changed(&stat, attributes) };
            target.told(action, b"");
            target.count(|stats| stats.dirs += 1);
        }
        self.enter(None, b"", wanted, dir, &stat, target.made_now, selected)
    }

    /// A directory that isn't selected itself, but something in it is: one that is there is left as it is.
    fn make_parent(&mut self, at: usize) -> Result<Made<'t>, FilesError> {
        let target = self.target;
        let start = at.checked_sub(1).and_then(|at| self.levels.get(at)).map_or(0, |level| level.end);
        let (end, attributes) = self.levels.get(at).map_or((0, None), |level| (level.end, level.attributes.clone()));
        let path = self.path.get(..end).unwrap_or_default().to_vec();
        let name = self.path.get(start..end).unwrap_or_default();
        let name = name.strip_prefix(b"/").unwrap_or(name).to_vec();
        let Some(parent) = self.held(at - 1)? else {
            return Ok(self.planned(at - 1, &name, &path, attributes, Action::Create));
        };
        match statat(&parent, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let dir = open_child_dir(parent.as_fd(), &name).map_err(|e| target.failed(&path, e.into()))?;
                self.enter(Some(at - 1), &name, None, dir, &stat, false, false)
            }
            Ok(_) => Err(FilesError::InTheWay { path: target.shown(&path), what: "something that is not a directory" }),
            Err(Errno::NOENT) => self.make(at - 1, &parent, &name, &path, attributes, Action::Create),
            Err(error) => Err(target.failed(&path, error.into())),
        }
    }

    /// A directory that only a dry run enters.
    fn planned(&self, parent: usize, name: &[u8], path: &[u8], attributes: Option<Attributes>, action: Action) -> Made<'t> {
        self.target.told(action, path);
        self.target.count(|stats| stats.dirs += 1);
        let parent = self.levels.get(parent).and_then(|level| level.made.as_ref()).map(|made| Arc::clone(&made.node));
        let node = DirNode::new(self.target, parent, name, attributes);
        Made { node, exists: false, fresh: true, held: None, spared: false, names: None }
    }

    /// Makes a directory where nothing is.
    fn make(
        &mut self,
        parent_at: usize,
        parent: &Arc<OwnedFd>,
        name: &[u8],
        path: &[u8],
        attributes: Option<Attributes>,
        action: Action,
    ) -> Result<Made<'t>, FilesError> {
        let target = self.target;
        if target.options.dry_run {
            return Ok(self.planned(parent_at, name, path, attributes, action));
        }
        let failed = |error: Errno| target.failed(path, error.into());
        match mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => return Err(FilesError::InTheWay { path: target.shown(path), what: TWO_NAMES }),
            made => made.map_err(failed)?,
        }
        target.told(action, path);
        target.count(|stats| stats.dirs += 1);
        let dir = open_child_dir(parent.as_fd(), name).map_err(failed)?;
        let stat = fstat(&dir).map_err(failed)?;
        self.enter(Some(parent_at), name, attributes, dir, &stat, true, true)
    }

    #[expect(clippy::too_many_arguments, reason = "what there is to know of a directory, in one place")]
    fn enter(
        &self,
        parent: Option<usize>,
        name: &[u8],
        attributes: Option<Attributes>,
        dir: Arc<OwnedFd>,
        stat: &Stat,
        fresh: bool,
        selected: bool,
    ) -> Result<Made<'t>, FilesError> {
        let target = self.target;
        let parent = parent.and_then(|at| self.levels.get(at)).and_then(|level| level.made.as_ref());
        let is_ours = attributes.is_some();
        let node = DirNode::new(target, parent.map(|made| Arc::clone(&made.node)), name, attributes);
        let failed = |source| target.failed(&node.path(), source);
        target.saw_device(stat.st_dev, &node);
        let names = match target.options.delete {
            Some(_) if selected && !fresh => Some(Peeked::new(Names::list(dir.as_fd()).map_err(failed)?)),
            _ => None,
        };
        if is_ours && !target.options.dry_run && !fresh && stat.st_mode & 0o700 != 0o700 {
            // One that its owner may not write. Where this fails, writing in it says so.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = openat(&dir, ".", flags, Mode::empty());
            let _ = open.and_then(|open| fchmod(&open, Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU));
        }
        let spared = match &target.options.delete {
            Some(delete) => parent.is_some_and(|parent| parent.spared) || target.spares(delete, &node.path(), false)?,
            None => false,
        };
        Ok(Made { node, exists: true, fresh, held: Some(dir), spared, names })
    }

    /// A directory's descriptor; `None` when it doesn't exist.
    fn held(&mut self, at: usize) -> Result<Option<Arc<OwnedFd>>, FilesError> {
        let target = self.target;
        let Some(made) = self.levels.get_mut(at).and_then(|level| level.made.as_mut()) else { return Ok(None) };
        if !made.exists {
            return Ok(None);
        }
        if made.held.is_none() {
            let path = made.node.path();
            let opened = target.tree().and_then(|tree| tree.open_dir(&path));
            made.held = Some(opened.map_err(|source| target.failed(&path, source))?);
        }
        Ok(made.held.clone())
    }

    /// The directory at hand: its number, and its descriptor when it exists.
    fn here(&mut self) -> Result<(usize, Option<Arc<OwnedFd>>), FilesError> {
        let at = self.levels.len().saturating_sub(1);
        Ok((at, self.held(at)?))
    }

    /// What has this name in the directory at hand.
    fn there(&mut self, name: &[u8], path: &[u8]) -> Result<Option<Stat>, FilesError> {
        let fresh = self.levels.last().and_then(|level| level.made.as_ref()).is_none_or(|made| made.fresh);
        let (_, dir) = self.here()?;
        let Some(dir) = dir.filter(|_| !fresh) else { return Ok(None) };
        match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.target.failed(path, error.into())),
            Ok(_) if !self.target.options.overwrite => {
                Err(FilesError::InTheWay { path: self.target.shown(path), what: TWO_NAMES })
            }
            Ok(stat) => Ok(Some(stat)),
        }
    }

    fn dir(&mut self, name: &[u8], attributes: Attributes, there: Option<Stat>) -> Result<(), FilesError> {
        let target = self.target;
        let (at, here) = self.here()?;
        let path = join(&self.path, name);
        let failed = |error: Errno| target.failed(&path, error.into());
        let made = match (here, there) {
            (None, _) => self.planned(at, name, &path, Some(attributes.clone()), Action::Create),
            (Some(here), None) => self.make(at, &here, name, &path, Some(attributes.clone()), Action::Create)?,
            (Some(here), Some(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let dir = open_child_dir(here.as_fd(), name).map_err(failed)?;
                let stat = fstat(&dir).map_err(failed)?;
                target.told(changed(&stat, &attributes), &path);
                target.count(|stats| stats.dirs += 1);
                self.enter(Some(at), name, Some(attributes.clone()), dir, &stat, false, true)?
            }
            (Some(here), Some(_)) => {
                if !target.options.dry_run {
                    unlinkat(&here, name, AtFlags::empty()).map_err(failed)?;
                }
                self.make(at, &here, name, &path, Some(attributes.clone()), Action::Replace)?
            }
        };
        self.push(name, attributes, true, Some(made));
        Ok(())
    }

    fn symlink(&mut self, entry: &FileEntry, name: &[u8], attributes: Attributes, there: Option<Stat>) -> Result<(), FilesError> {
        let (target, path) = (self.target, entry.path.as_bytes());
        let Some(link) = &entry.target else { return Ok(()) };
        target.count(|stats| stats.symlinks += 1);
        let (_, here) = self.here()?;
        let there = self.clear_dir(there, here.as_ref(), name, path)?;
        let action = if there.is_some() { Action::Replace } else { Action::Create };
        let (Some(dir), false) = (&here, target.options.dry_run) else {
            let same = here.as_ref().zip(there).is_some_and(|(dir, stat)| is_link_to(dir, name, &stat, link.as_bytes()));
            target.told(if same { there.map_or(action, |stat| changed_owner(&stat, &attributes)) } else { action }, path);
            return Ok(());
        };
        let failed = |error: Errno| target.failed(path, error.into());
        if let Some(stat) = there.filter(|stat| is_link_to(dir, name, stat, link.as_bytes())) {
            let action = match changed_owner(&stat, &attributes) {
                Action::Keep if attributes.extended_differ(&At::named(dir.as_fd(), name)) => Action::Metadata,
                action => action,
            };
            if action == Action::Metadata {
                let unset = attributes.set_on_link(dir, name).map_err(failed)?;
                target.unset(path, &unset);
            }
            target.told(action, path);
            return Ok(());
        }
        let temporary = loop {
            let temporary = target.temporary_name();
            match symlinkat(link.as_bytes(), dir, temporary.as_slice()) {
                Err(Errno::EXIST | Errno::INTR) => {}
                made => break made.map(|()| temporary).map_err(failed)?,
            }
        };
        let put = attributes.set_on_link(dir, &temporary).and_then(|unset| put_in_place(dir, &temporary, name).map(|()| unset));
        let unset = put.map_err(|error| {
            let _ = unlinkat(dir, temporary.as_slice(), AtFlags::empty());
            failed(error)
        })?;
        target.unset(path, &unset);
        target.told(action, path);
        Ok(())
    }

    fn file(
        &mut self,
        entry: FileEntry,
        attributes: Attributes,
        there: Option<Stat>,
    ) -> Result<Option<FileTask<'t>>, FilesError> {
        let (target, path) = (self.target, entry.path.as_bytes());
        let (_, name) = split(path);
        target.count(|stats| stats.files += 1);
        let (at, here) = self.here()?;
        let there = match self.clear_dir(there, here.as_ref(), name, path)? {
            None => There::Nothing,
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => There::File(stat),
            Some(_) => There::Other,
        };
        if target.is_later_name(&entry, here.as_deref(), there)? {
            return Ok(None);
        }
        if let (There::File(stat), Some(dir), false) = (there, &here, target.options.checksum)
            && (size(&stat), mtime(&stat)) == (entry.size, entry.mtime)
            && target.settle(dir, name, path, &attributes, &stat)?
        {
            return Ok(None);
        }
        let Some(made) = self.levels.get(at).and_then(|level| level.made.as_ref()) else { return Ok(None) };
        Ok(Some(FileTask { dir: Arc::clone(&made.node), entry, there }))
    }

    /// A directory where something else belongs goes, if that may be, with all in it.
    fn clear_dir(
        &self,
        there: Option<Stat>,
        here: Option<&Arc<OwnedFd>>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Stat>, FilesError> {
        let (Some(stat), Some(here)) = (there, here) else { return Ok(there) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(there);
        }
        if let Some(delete) = &self.target.options.delete
            && !self.in_spared()
            && self.target.remove(delete, here, name, path)?
        {
            return Ok(None);
        }
        Err(FilesError::InTheWay { path: self.target.shown(path), what: "a directory" })
    }

    /// Whether the list may lack what is in the directory at hand.
    fn in_spared(&self) -> bool {
        self.levels.last().and_then(|level| level.made.as_ref()).is_some_and(|made| made.spared)
    }

    /// Deletes what is in the directory at hand before this name, or to its end, and is not in the list.
    fn remove_before(&mut self, name: Option<&[u8]>) -> Result<(), FilesError> {
        let target = self.target;
        let Some(delete) = &target.options.delete else { return Ok(()) };
        loop {
            let names = self.levels.last_mut().and_then(|level| level.made.as_mut()).and_then(|made| made.names.as_mut());
            let Some(extra) = names.and_then(|names| names.before(name)) else { return Ok(()) };
            target.go_on()?;
            let path = join(&self.path, &extra);
            if self.in_spared() && !is_temporary(&extra) {
                target.leave_spared(&path);
            } else if let (_, Some(dir)) = self.here()? {
                target.remove(delete, &dir, &extra, &path)?;
            }
        }
    }
}

impl Target {
    /// Sets a file's metadata where they differ. False when that can't be done in place: a file with other names is left to those.
    pub(super) fn settle(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        path: &[u8],
        attributes: &Attributes,
        stat: &Stat,
    ) -> Result<bool, FilesError> {
        let extended = || attributes.extended_differ(&At::named(dir.as_fd(), name));
        let action = match changed(stat, attributes) {
            Action::Keep if extended() => Action::Metadata,
            action => action,
        };
        if action == Action::Metadata {
            let failed = |error: Errno| self.failed(path, error.into());
            let file = match open_child_file(dir.as_fd(), name) {
                Ok(file) => std::fs::File::from(file),
                Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
                Err(error) => return Err(failed(error)),
            };
            let now = fstat(&file).map_err(failed)?;
            // A writer that came between: its content is not what the list has.
            let same = (size(&now), mtime(&now), ctime(&now)) == (size(stat), mtime(stat), ctime(stat));
            if (now.st_ino, now.st_dev, now.st_nlink) != (stat.st_ino, stat.st_dev, 1)
                || !same
                || FileType::from_raw_mode(now.st_mode) != FileType::RegularFile
            {
                return Ok(false);
            }
            if !self.options.dry_run {
                let unset = attributes.set_on_file(&file).map_err(failed)?;
                self.unset(path, &unset);
            }
        }
        self.told(action, path);
        Ok(true)
    }
}

/// Whether mode, owner and time are as they should be.
fn changed(stat: &Stat, attributes: &Attributes) -> Action {
    match changed_owner(stat, attributes) {
        Action::Keep if stat.st_mode & 0o7777 == attributes.mode => Action::Keep,
        _ => Action::Metadata,
    }
}

/// The same without the mode, which a symlink doesn't have.
fn changed_owner(stat: &Stat, attributes: &Attributes) -> Action {
    if ((stat.st_uid, stat.st_gid), mtime(stat)) == (attributes.ids, attributes.mtime) { Action::Keep } else { Action::Metadata }
}

fn is_link_to(dir: &OwnedFd, name: &[u8], stat: &Stat, target: &[u8]) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
        && readlinkat(dir, name, Vec::new()).is_ok_and(|link| link.as_bytes() == target)
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Names of which the next one can be looked at.
struct Peeked {
    names: Names,
    next: Option<Vec<u8>>,
}

impl Peeked {
    fn new(mut names: Names) -> Self {
        let next = names.next().map(|(name, _)| name.to_vec());
        Self { names, next }
    }

    /// Takes the next name before `name`, or before the end; `name` itself is passed over.
    fn before(&mut self, name: Option<&[u8]>) -> Option<Vec<u8>> {
        if name.is_some() && self.next.as_deref() == name {
            self.next = self.names.next().map(|(name, _)| name.to_vec());
            return None;
        }
        if self.next.as_deref()? >= name.unwrap_or_default() && name.is_some() {
            return None;
        }
        let following = self.names.next().map(|(name, _)| name.to_vec());
        std::mem::replace(&mut self.next, following)
    }
}

impl std::fmt::Debug for FileTask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileTask").field("path", &self.entry.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Survey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survey").field("path", &self.path).finish_non_exhaustive()
    }
}
