//! Which rule decides about a path: asked from the top down, as a walk asks.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;

use super::error::FilesError;
use super::exclude::{KERNEL, Rules};
use super::names::Names;
use super::tree::{FileSystem, Tree, check_path, open_child_dir};
use super::walk::marker;
use crate::repository::byte_text::ByteText;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is in the snapshot.
    Captured,
    /// A rule leaves it out, or a directory that it is in.
    LeftOut {
        /// What the rule leaves out: the path or a directory above it.
        at: ByteText,
        /// The rule, as findings name it: `default:cache/`, `own:*.mp4`, `marker:.donotbackup`, `kernel`.
        rule: String,
    },
    /// A socket, FIFO or device: named in the snapshot, not captured.
    Special,
    /// It is reached through this symlink, which is captured as a link. The snapshot has no such path.
    BehindLink(ByteText),
    /// This can't be read by whoever asks, so that it isn't captured, or can't be told.
    Unreadable {
        /// The path or a directory above it.
        at: ByteText,
        /// The system's reason.
        error: String,
    },
}

/// What becomes of a path, and whether there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it; would become of it, when it isn't there.
    pub why: Why,
    /// Whether it is there.
    pub exists: bool,
    /// Whether it is, or is taken for, a directory.
    pub is_dir: bool,
}

/// A path as a person gives it, absolute or relative to the tree, as one below the tree: `None` when it is outside.
pub fn below(tree: &Tree, root: &Path, given: &Path) -> Option<Vec<u8>> {
    let plain = lexical(given)?;
    if plain.is_relative() {
        return Some(plain.into_os_string().as_bytes().to_vec());
    }
    let inside = plain.strip_prefix(lexical(root)?).ok().or_else(|| plain.strip_prefix(tree.path()).ok());
    if let Some(rel) = inside {
        return Some(rel.as_os_str().as_bytes().to_vec());
    }
    // By another name: as far up as the path exists, but for its last component, which may itself be a link.
    let mut rest = vec![plain.file_name()?];
    let mut above = plain.parent()?;
    let real = loop {
        match above.canonicalize() {
            Ok(real) => break real,
            Err(_) => {
                rest.push(above.file_name()?);
                above = above.parent()?;
            }
        }
    };
    let whole: PathBuf = std::iter::once(real.as_os_str()).chain(rest.into_iter().rev()).collect();
    Some(whole.strip_prefix(tree.path()).ok()?.as_os_str().as_bytes().to_vec())
}

/// A path without `.` and `..`, by its words; `None` when a relative one leads upwards.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // At the root, up is the root; at the beginning of a relative path, up is outside.
            Component::ParentDir => {
                if !plain.pop() && !plain.has_root() {
                    return None;
                }
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

impl Tree {
    /// What a walk by these rules does with a path. One that isn't there is taken for a file, or for a directory with
    /// `dir_if_missing`.
    ///
    /// # Errors
    /// [`FilesError::BadPath`] for what is no path below a root; [`FilesError::Walk`] when the root can't be read.
    pub fn why(&self, rules: &Rules, rel: &[u8], dir_if_missing: bool) -> Result<Answer, FilesError> {
        check_path(rel).map_err(|why| FilesError::BadPath { path: rel.into(), why })?;
        let failed = |source: std::io::Error| FilesError::Walk { path: super::error::shown(self.path()), source };
        let root = self.open_dir(b"").map_err(failed)?;
        let mut device = fstat(&root).map_err(|e| failed(e.into()))?.st_dev;
        let mut answer = Answer { why: Why::Captured, exists: true, is_dir: true };
        // The directory at hand, while there is one.
        let mut dir = Some(root);
        let mut end = 0;
        for name in rel.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            end += name.len() + usize::from(end > 0);
            let path = rel.get(..end).unwrap_or_default();
            let last = end == rel.len();
            let at = || ByteText::from(path);
            let found = match &dir {
                None => None,
                // Rules come before questions, as in a walk: what is left out may be a mount that doesn't answer.
                Some(_) if !last && rules.decide(path, true).is_some() => None,
                Some(dir) => match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
                    Err(Errno::NOENT | Errno::NOTDIR) => None,
                    Err(error) => return Ok(unreadable(answer, at(), error)),
                },
            };
            answer.is_dir = found.map_or(!last || dir_if_missing, |kind| kind == FileType::Directory);
            answer.exists = found.is_some();
            if let Some(rule) = rules.decide(path, answer.is_dir) {
                return Ok(self.left_out(at(), rule, rel, dir_if_missing));
            }
            let above = dir.take();
            match (found, above) {
                (Some(FileType::Directory), Some(above)) => {
                    let entered = open_child_dir(above.as_fd(), name).and_then(|dir| Ok((fstat(&dir)?.st_dev, dir)));
                    let (its, opened) = match entered {
                        Ok(entered) => entered,
                        Err(error) => return Ok(unreadable(answer, at(), error)),
                    };
                    if its != device && FileSystem::of(opened.as_fd()) == FileSystem::Kernel {
                        return Ok(self.left_out(at(), KERNEL, rel, dir_if_missing));
                    }
                    match Names::list(opened.as_fd()) {
                        Err(error) => {
                            return Ok(Answer { why: Why::Unreadable { at: at(), error: error.to_string() }, ..answer });
                        }
                        Ok(names) => {
                            if let Some(marker) = marker(opened.as_fd(), &names).filter(|_| rules.markers()) {
                                return Ok(self.left_out(at(), &format!("marker:{marker}"), rel, dir_if_missing));
                            }
                        }
                    }
                    device = its;
                    dir = Some(opened);
                }
                (Some(FileType::Symlink), _) if !last => {
                    return Ok(Answer { why: Why::BehindLink(at()), exists: false, is_dir: dir_if_missing });
                }
                (Some(FileType::RegularFile), _) if last => {
                    if let Err(error) = self.open_file(path) {
                        answer.why = Why::Unreadable { at: at(), error: error.to_string() };
                    }
                }
                (Some(FileType::Symlink), _) | (None, _) => {}
                (Some(_), _) if last => answer.why = Why::Special,
                // A file: nothing is beneath it.
                (Some(_), _) => answer.exists = false,
            }
        }
        Ok(answer)
    }

    /// A rule decides, whether the path is there or not.
    fn left_out(&self, at: ByteText, rule: &str, rel: &[u8], dir_if_missing: bool) -> Answer {
        let (parent, name) = match rel.iter().rposition(|b| *b == b'/') {
            Some(slash) => (rel.get(..slash).unwrap_or_default(), rel.get(slash + 1..).unwrap_or_default()),
            None => (&b""[..], rel),
        };
        let stat =
            self.open_dir(parent).ok().and_then(|dir| statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok());
        let is_dir = stat.map_or(dir_if_missing, |stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        Answer { why: Why::LeftOut { at, rule: rule.to_owned() }, exists: stat.is_some(), is_dir }
    }
}

fn unreadable(answer: Answer, at: ByteText, error: Errno) -> Answer {
    Answer { why: Why::Unreadable { at, error: std::io::Error::from(error).to_string() }, ..answer }
}

#[cfg(test)]
mod tests;
