//! The plain model: a tree as a map, changed together with the real one.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::random::Random;

/// What one path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    File(Arc<Vec<u8>>),
    Dir,
    Symlink(String),
}

/// The tree, by path; the root is the empty one.
pub(super) struct Tree {
    root: PathBuf,
    nodes: BTreeMap<String, Node>,
    /// Number of the next name.
    next: u64,
}

/// All that a snapshot should hold of each path: what it is, its mode (not of a symlink) and mtime.
pub(super) type Image = BTreeMap<String, (Node, u32, (i64, i64))>;

impl Tree {
    /// A small tree.
    pub(super) fn make(root: &Path, random: &mut Random) -> io::Result<Self> {
        fs::create_dir(root)?;
        let mut tree = Self { root: root.to_owned(), nodes: BTreeMap::from([(String::new(), Node::Dir)]), next: 0 };
        for dir in ["uploads", "uploads/2026", "plugins", "plugins/a"] {
            fs::create_dir(tree.full(dir))?;
            tree.nodes.insert(dir.to_owned(), Node::Dir);
        }
        for _ in 0..8 {
            tree.add(random)?;
        }
        Ok(tree)
    }

    fn full(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn paths(&self, fits: impl Fn(&str, &Node) -> bool) -> Vec<String> {
        self.nodes.iter().filter(|(path, node)| fits(path, node)).map(|(path, _)| path.clone()).collect()
    }

    fn files(&self) -> Vec<String> {
        self.paths(|_, node| matches!(node, Node::File(_)))
    }

    /// A path that isn't taken, in one of the directories; sometimes in an order of its own, and odd.
    fn name(&mut self, random: &mut Random) -> String {
        let dirs = self.paths(|_, node| *node == Node::Dir);
        let dir = random.of(&dirs).cloned().unwrap_or_default();
        self.next += 1;
        let odd = random.of(&["f", "a b", "ü", "-", "%41", "f."]).copied().unwrap_or_default();
        let name = format!("{odd}{}", self.next);
        if dir.is_empty() { name } else { format!("{dir}/{name}") }
    }

    /// New content: of any size, some large enough to be cut; or what another file has.
    fn content(&self, random: &mut Random) -> Arc<Vec<u8>> {
        let files = self.files();
        let copied = random.of(&files).cloned();
        match (random.below(60), copied.and_then(|path| self.nodes.get(&path).cloned())) {
            (0, _) => Arc::new(random.bytes(2_500_000)),
            (1..=4, _) => Arc::default(),
            (5..=12, Some(Node::File(content))) => content,
            (13..=16, _) => Arc::new(b"<?php // the same again\n".repeat(random.below(3000))),
            _ => {
                let length = 1 + random.below(9000);
                Arc::new(random.bytes(length))
            }
        }
    }

    fn add(&mut self, random: &mut Random) -> io::Result<()> {
        let (path, content) = (self.name(random), self.content(random));
        fs::write(self.full(&path), &*content)?;
        self.nodes.insert(path, Node::File(content));
        Ok(())
    }

    /// One change of any kind, on disk and here. Says what it was.
    pub(super) fn change(&mut self, random: &mut Random) -> io::Result<String> {
        let (files, kind) = (self.files(), random.below(12));
        let any = self.paths(|path, _| !path.is_empty());
        let (Some(file), Some(one)) = (random.of(&files).cloned(), random.of(&any).cloned()) else {
            self.add(random)?;
            return Ok("a first file".to_owned());
        };
        match kind {
            0 | 1 => self.add(random)?,
            2 => self.overwrite(&file, random)?,
            3 => self.set(&file, self.content(random))?,
            4 => {
                let mut content = self.bytes(&file);
                content.truncate(random.below(content.len() + 1));
                self.set(&file, Arc::new(content))?;
            }
            5 => {
                let mut content = self.bytes(&file);
                content.extend(random.bytes(500));
                self.set(&file, Arc::new(content))?;
            }
            6 => self.remove(&one)?,
            7 => {
                let path = self.name(random);
                fs::create_dir(self.full(&path))?;
                self.nodes.insert(path, Node::Dir);
            }
            8 => {
                let path = self.name(random);
                symlink("../elsewhere", self.full(&path))?;
                self.nodes.insert(path, Node::Symlink("../elsewhere".to_owned()));
            }
            9 => {
                let to = self.name(random);
                if !to.starts_with(&format!("{one}/")) {
                    self.rename(&one, &to)?;
                }
            }
            10 if self.nodes.get(&one) != Some(&Node::Dir) || self.is_leaf(&one) => {
                // Another kind of thing of the same name.
                let other = if self.nodes.get(&one) == Some(&Node::Dir) { Node::Symlink("x".to_owned()) } else { Node::Dir };
                self.remove(&one)?;
                match other {
                    Node::Dir => fs::create_dir(self.full(&one))?,
                    _ => symlink("x", self.full(&one))?,
                }
                self.nodes.insert(one.clone(), other);
            }
            _ if !matches!(self.nodes.get(&one), Some(Node::Symlink(_))) => {
                let mode = random.of(&[0o700, 0o755, 0o750]).copied().unwrap_or(0o755);
                fs::set_permissions(self.full(&one), Permissions::from_mode(mode))?;
            }
            _ => {}
        }
        Ok(format!("change {kind} of {file} or {one}"))
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        match self.nodes.get(path) {
            Some(Node::File(content)) => content.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Other bytes of the same number, and nothing to be seen of it but the ctime.
    fn overwrite(&mut self, path: &str, random: &mut Random) -> io::Result<()> {
        let content = random.bytes(self.bytes(path).len());
        let file = File::options().write(true).open(self.full(path))?;
        let modified = file.metadata()?.modified()?;
        file.write_all_at(&content, 0)?;
        file.set_times(FileTimes::new().set_modified(modified))?;
        self.nodes.insert(path.to_owned(), Node::File(Arc::new(content)));
        Ok(())
    }

    fn set(&mut self, path: &str, content: Arc<Vec<u8>>) -> io::Result<()> {
        fs::write(self.full(path), &*content)?;
        // Some of them have odd times.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(content.len() as u64 * 1_000_000_007);
        if content.len().is_multiple_of(3) {
            File::options().write(true).open(self.full(path))?.set_times(FileTimes::new().set_modified(modified))?;
        }
        self.nodes.insert(path.to_owned(), Node::File(content));
        Ok(())
    }

    fn is_leaf(&self, path: &str) -> bool {
        self.below(path).len() == 1
    }

    /// A path, and all that is in it.
    fn below(&self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        self.paths(|other, _| other == path || other.starts_with(&inside))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        match self.nodes.get(path) {
            Some(Node::Dir) => fs::remove_dir_all(self.full(path))?,
            _ => fs::remove_file(self.full(path))?,
        }
        for gone in self.below(path) {
            self.nodes.remove(&gone);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.full(from), self.full(to))?;
        for old in self.below(from) {
            if let (Some(node), Some(rest)) = (self.nodes.remove(&old), old.strip_prefix(from)) {
                self.nodes.insert(format!("{to}{rest}"), node);
            }
        }
        Ok(())
    }

    /// What a snapshot of the tree as it is now should hold.
    pub(super) fn image(&self) -> io::Result<Image> {
        self.nodes.iter().map(|(path, node)| Ok((path.clone(), seen(&self.full(path), node.clone())?))).collect()
    }
}

fn seen(path: &Path, node: Node) -> io::Result<(Node, u32, (i64, i64))> {
    let found = path.symlink_metadata()?;
    let mode = if matches!(node, Node::Symlink(_)) { 0 } else { found.mode() & 0o7777 };
    Ok((node, mode, (found.mtime(), found.mtime_nsec())))
}

/// What a directory holds.
pub(super) fn read(root: &Path) -> io::Result<Image> {
    let mut image = Image::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.map_err(io::Error::other)?;
        let path = entry.path().strip_prefix(root).map_err(io::Error::other)?.to_string_lossy().into_owned();
        let kind = entry.file_type();
        let node = if kind.is_dir() {
            Node::Dir
        } else if kind.is_symlink() {
            Node::Symlink(fs::read_link(entry.path())?.to_string_lossy().into_owned())
        } else {
            Node::File(Arc::new(fs::read(entry.path())?))
        };
        image.insert(path, seen(entry.path(), node)?);
    }
    Ok(image)
}

/// In which paths two images differ, and how.
pub(super) fn differences(expected: &Image, found: &Image) -> Vec<String> {
    let short = |image: &Image, path: &str| match image.get(path) {
        Some((Node::File(content), mode, time)) => format!("{} bytes, {mode:o}, {time:?}", content.len()),
        other => format!("{other:?}"),
    };
    let paths = expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let different = paths.into_iter().filter(|path| expected.get(*path) != found.get(*path));
    different.map(|path| format!("{path}: {} became {}", short(expected, path), short(found, path))).collect()
}
