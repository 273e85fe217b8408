//! A directory of the target that is being filled, by several threads. The last of them to leave it gives it its attributes.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use rustix::fs::{Mode, OFlags, fstat, openat};

use super::Target;
use crate::files::metadata::mtime;
use crate::files::write_file::{Attributes, Unset};
use crate::files::xattrs::At;

/// A directory. The survey holds it while the list is in it, each file that is to be written in it, and each directory in it.
///
/// It holds no descriptor: any number of them may wait. Whoever opens it opens what has its path now, beneath the target and
/// without following a symlink.
pub(super) struct DirNode<'t> {
    target: &'t Target,
    parent: Option<Arc<DirNode<'t>>>,
    name: Vec<u8>,
    /// What it gets in the end; nothing when it is to be left as it is.
    attributes: Option<Attributes>,
}

impl<'t> DirNode<'t> {
    /// A directory in `parent`; the target itself has none.
    pub(super) fn new(
        target: &'t Target,
        parent: Option<Arc<DirNode<'t>>>,
        name: &[u8],
        attributes: Option<Attributes>,
    ) -> Arc<Self> {
        Arc::new(Self { target, parent, name: name.to_vec(), attributes })
    }

    /// Its path below the target.
    pub(super) fn path(&self) -> Vec<u8> {
        let (mut names, mut node) = (Vec::new(), Some(self));
        while let Some(at) = node.filter(|at| at.parent.is_some()) {
            names.push(at.name.as_slice());
            node = at.parent.as_deref();
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Sets its attributes, where they differ.
    fn close(&mut self) {
        let Some(attributes) = self.attributes.take() else { return };
        if self.target.is_stopped() || self.target.options.dry_run {
            return;
        }
        let path = self.path();
        match set(self.target, &path, &attributes) {
            Ok(unset) => self.target.unset(&path, &unset),
            Err(error) => {
                let mut failure = self.target.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(self.target.failed(&path, error));
                drop(failure);
                self.target.stop();
            }
        }
    }
}

fn set(target: &Target, path: &[u8], attributes: &Attributes) -> io::Result<Unset> {
    let place = target.tree()?.open_dir(path)?;
    let stat = fstat(&place)?;
    if (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, mtime(&stat))
        == (attributes.mode, attributes.ids.0, attributes.ids.1, attributes.mtime)
        && !attributes.extended_differ(&At::named(place.as_fd(), b"."))
    {
        return Ok(Unset::default());
    }
    let open = openat(&place, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(attributes.set_on_dir(&open)?)
}

impl Drop for DirNode<'_> {
    fn drop(&mut self) {
        self.close();
        // Not by the parents' own drops, one inside the other: a tree may be as deep as it likes.
        let mut parent = self.parent.take();
        while let Some(mut node) = parent.and_then(Arc::into_inner) {
            node.close();
            parent = node.parent.take();
        }
    }
}
