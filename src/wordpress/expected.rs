//! The paths that the database expects among the files: 8 bytes each in memory, and their names on disk for those that are missing.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// More than this many are not checked: 32 MiB of memory, and four times the files that the memory budget is made for.
pub(super) const EXPECTED_LIMIT: usize = 4_000_000;

/// The longest path that a file can have (Linux's `PATH_MAX`); a longer one can't be among the files.
pub(super) const PATH_LIMIT: usize = 4096;

/// Why a path is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    /// An attachment's own file.
    Attachment = 0,
    /// One of an attachment's smaller sizes, or the original of a scaled image.
    Size = 1,
}

/// The set under construction: paths come in any order.
pub(super) struct Collecting {
    hashes: Vec<u64>,
    names: BufWriter<File>,
    hasher: RandomState,
    beyond_limit: u64,
}

/// The set in use: files are looked up in it.
pub(super) struct Expected {
    /// Sorted, each once.
    hashes: Vec<u64>,
    /// One bit for each hash.
    seen: Vec<u64>,
    names: File,
    hasher: RandomState,
    beyond_limit: u64,
}

impl Collecting {
    /// Keeps the names in a file of its own in `directory`, which vanishes with it.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            hashes: Vec::new(),
            names: BufWriter::new(unlinked_file(directory)?),
            // Keyed at random: no one can make names that collide.
            hasher: RandomState::new(),
            beyond_limit: 0,
        })
    }

    /// Expects a path. A path that no file can have is left out.
    pub(super) fn add(&mut self, role: Role, path: &[u8]) -> io::Result<()> {
        let Some(length) = u16::try_from(path.len()).ok().filter(|length| usize::from(*length) < PATH_LIMIT) else {
            return Ok(());
        };
        if self.hashes.len() >= EXPECTED_LIMIT {
            self.beyond_limit += 1;
            return Ok(());
        }
        self.hashes.push(hash(&self.hasher, path));
        self.names.write_all(&[role as u8])?;
        self.names.write_all(&length.to_le_bytes())?;
        self.names.write_all(path)
    }

    pub(super) fn finish(self) -> io::Result<Expected> {
        let Self { mut hashes, names, hasher, beyond_limit } = self;
        let mut names = names.into_inner().map_err(io::IntoInnerError::into_error)?;
        names.rewind()?;
        hashes.sort_unstable();
        hashes.dedup();
        let seen = vec![0; hashes.len().div_ceil(64)];
        Ok(Expected { hashes, seen, names, hasher, beyond_limit })
    }
}

impl Expected {
    /// Takes note that a file is there.
    pub(super) fn see(&mut self, path: &[u8]) {
        if let Ok(index) = self.hashes.binary_search(&hash(&self.hasher, path)) {
            mark(&mut self.seen, index);
        }
    }

    /// How many paths were left unchecked because there are too many.
    pub(super) fn beyond_limit(&self) -> u64 {
        self.beyond_limit
    }

    /// How many paths are expected, each counted once.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Tells every path that wasn't seen, once, in the order in which they were added.
    pub(super) fn missing(mut self, mut tell: impl FnMut(Role, &[u8])) -> io::Result<()> {
        let seen: u64 = self.seen.iter().map(|word| u64::from(word.count_ones())).sum();
        if seen == self.hashes.len() as u64 {
            return Ok(());
        }
        let mut names = BufReader::new(&self.names);
        let mut path = Vec::with_capacity(PATH_LIMIT);
        while let Some(role) = next_name(&mut names, &mut path)? {
            let Ok(index) = self.hashes.binary_search(&hash(&self.hasher, &path)) else { continue };
            if !mark(&mut self.seen, index) {
                tell(role, &path);
            }
        }
        Ok(())
    }
}

/// Sets a bit; returns whether it was set before.
fn mark(bits: &mut [u64], index: usize) -> bool {
    let bit = 1 << (index % 64);
    let Some(word) = bits.get_mut(index / 64) else { return true };
    let before = *word & bit != 0;
    *word |= bit;
    before
}

fn hash(hasher: &RandomState, path: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(path);
    hasher.finish()
}

fn next_name(names: &mut impl Read, path: &mut Vec<u8>) -> io::Result<Option<Role>> {
    let mut role = [0];
    match names.read_exact(&mut role) {
        Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut length = [0; 2];
    names.read_exact(&mut length)?;
    path.resize(usize::from(u16::from_le_bytes(length)), 0);
    names.read_exact(path)?;
    Ok(Some(if role == [Role::Attachment as u8] { Role::Attachment } else { Role::Size }))
}

/// A file that has no name any more: it is gone when it is closed, however that comes about.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!(".expected-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = directory.join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(expected: Expected) -> Vec<(Role, String)> {
        let mut found = Vec::new();
        expected.missing(|role, path| found.push((role, String::from_utf8_lossy(path).into_owned()))).unwrap();
        found
    }

    #[test]
    fn only_what_is_not_seen_is_missing_and_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = Collecting::new(directory.path()).unwrap();
        for number in 0..1000 {
            expected.add(Role::Attachment, format!("uploads/{number}.jpg").as_bytes()).unwrap();
        }
        expected.add(Role::Size, b"uploads/7.jpg").unwrap();
        expected.add(Role::Size, &[b'x'; 5000]).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut expected = expected.finish().unwrap();
        assert_eq!(expected.len(), 1000);
        for number in (0..1000).filter(|number| ![7, 64, 999].contains(number)) {
            expected.see(format!("uploads/{number}.jpg").as_bytes());
        }
        expected.see(b"uploads/other.jpg");
        let attachment = |number| (Role::Attachment, format!("uploads/{number}.jpg"));
        assert_eq!(missing_of(expected), [attachment(7), attachment(64), attachment(999)]);
    }

    #[test]
    fn nothing_expected_is_nothing_missing() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = Collecting::new(directory.path()).unwrap().finish().unwrap();
        expected.see(b"a");
        assert_eq!(missing_of(expected), []);
    }
}
