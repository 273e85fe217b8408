//! The directories from a tree's root down to the one at hand.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::tree::Tree;

/// How many descriptors are held. Deeper trees are rare; there the outer directories are opened again on the way back.
const HELD: usize = 32;

/// A stack of directories, each with what its user keeps about it. A tree may be as deep as it likes.
#[derive(Debug)]
pub(super) struct DirStack<T> {
    path: Vec<u8>,
    levels: Vec<Level<T>>,
}

#[derive(Debug)]
struct Level<T> {
    dir: Option<Arc<OwnedFd>>,
    /// Bytes of `path` that are this directory's.
    end: usize,
    data: T,
}

impl<T> DirStack<T> {
    /// The stack before anything is entered.
    pub(super) fn new() -> Self {
        Self { path: Vec::new(), levels: Vec::new() }
    }

    /// The path of the directory at hand.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of a child of the directory at hand.
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Enters a child of the directory at hand, or the root by its empty name.
    pub(super) fn push(&mut self, dir: Arc<OwnedFd>, name: &[u8], data: T) {
        self.path = self.child(name);
        self.levels.push(Level { dir: Some(dir), end: self.path.len(), data });
        if let Some(outer) = self.levels.len().checked_sub(HELD + 1).and_then(|at| self.levels.get_mut(at)) {
            outer.dir = None;
        }
    }

    /// What is kept about the directory at hand.
    pub(super) fn data(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.data)
    }

    /// The directory at hand, as a place. Whoever opens it again opens what has its path now: still beneath the root.
    pub(super) fn dir(&mut self, tree: &Tree) -> io::Result<Arc<OwnedFd>> {
        let Some(level) = self.levels.last_mut() else { return tree.open_dir(b"") };
        let dir = match level.dir.take() {
            Some(dir) => dir,
            None => tree.open_dir(&self.path)?,
        };
        level.dir = Some(Arc::clone(&dir));
        Ok(dir)
    }

    /// Leaves the directory at hand.
    pub(super) fn pop(&mut self) -> Option<T> {
        let left = self.levels.pop()?;
        self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        Some(left.data)
    }
}
