//! The names in one directory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use walkdir::WalkDir;

/// The names in one directory, taken in bytewise order. With a million names in it, they are what fills the memory:
/// a name costs its bytes and eight more.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Last name first, so that the next one is at the end.
    slots: Vec<Slot>,
    /// Why the directory could not be listed to its end.
    pub(super) incomplete: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    start: u32,
    len: u16,
    is_dir: bool,
}

impl Names {
    /// Lists an open directory (a place will do).
    ///
    /// walkdir supplies the names, of one directory at a time and through its descriptor. Left to descend by itself it
    /// opens each directory by its path, which ends at 4096 bytes, and where a directory that was swapped for a symlink
    /// leads out of the tree.
    pub(super) fn list(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let mut names = Self::default();
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        for entry in WalkDir::new(path).min_depth(1).max_depth(1) {
            match entry {
                Ok(entry) => names.push(entry.file_name().as_bytes(), entry.file_type().is_dir())?,
                Err(error) if error.depth() == 0 => return Err(error.into()),
                // Gone between its name and its type, where the directory doesn't say the types.
                Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => names.incomplete = Some(error.into_io_error().unwrap_or_else(|| io::Error::other("a loop"))),
            }
        }
        let Self { bytes, slots, .. } = &mut names;
        bytes.shrink_to_fit();
        slots.shrink_to_fit();
        slots.sort_unstable_by(|a, b| name_of(bytes, b).cmp(name_of(bytes, a)));
        Ok(names)
    }

    fn push(&mut self, name: &[u8], is_dir: bool) -> io::Result<()> {
        let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u16::try_from(name.len())) else {
            return Err(io::Error::other("its names fill more than 4 GiB"));
        };
        self.bytes.extend_from_slice(name);
        self.slots.push(Slot { start, len, is_dir });
        Ok(())
    }

    /// Takes the next name, and whether the directory says that it is a directory.
    pub(super) fn next(&mut self) -> Option<(&[u8], bool)> {
        let slot = self.slots.pop()?;
        Some((name_of(&self.bytes, &slot), slot.is_dir))
    }

    /// Whether this name is still to be taken.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.slots.binary_search_by(|slot| name.cmp(name_of(&self.bytes, slot))).is_ok()
    }
}

fn name_of<'b>(bytes: &'b [u8], slot: &Slot) -> &'b [u8] {
    let start = slot.start as usize;
    bytes.get(start..start + usize::from(slot.len)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn names_come_in_bytewise_order_with_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a-", "a", "a.b"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("a!")).unwrap();
        let open = std::fs::File::open(dir.path()).unwrap();
        let mut names = Names::list(open.as_fd()).unwrap();
        assert!(names.contains(b"a.b") && names.contains(b"a") && !names.contains(b"a.") && !names.contains(b"c"));
        let mut seen = Vec::new();
        while let Some((name, is_dir)) = names.next() {
            seen.push((String::from_utf8(name.to_vec()).unwrap(), is_dir));
        }
        let expected = [("a", false), ("a!", true), ("a-", false), ("a.b", false), ("b", false)];
        assert_eq!(seen, expected.map(|(name, is_dir)| (name.to_owned(), is_dir)));
    }

    #[test]
    fn an_empty_directory_and_a_deleted_one() {
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(dir.path()).unwrap();
        assert!(Names::list(open.as_fd()).unwrap().next().is_none());
        let gone = dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let open = std::fs::File::open(&gone).unwrap();
        std::fs::remove_dir(&gone).unwrap();
        assert!(Names::list(open.as_fd()).map_or(true, |mut names| names.next().is_none()));
    }
}
