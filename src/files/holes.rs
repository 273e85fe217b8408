//! Sparse files: where they have content, and reading that alone.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::Errno;

use super::metadata::size;

/// Offset and length.
pub(super) type Hole = (u64, u64);

/// A smaller hole is read as the zeros that it stands for.
const SMALLEST: u64 = 64 << 10;
/// Of more holes the smaller ones are read as zeros.
const MOST: usize = 4096;

/// A file's holes, in order. What the file system can't tell is no hole.
pub(super) fn holes_of(file: &File, stat: &Stat) -> Vec<Hole> {
    let size = size(stat);
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
    if size < SMALLEST || allocated >= size {
        return Vec::new();
    }
    let (mut holes, mut smallest, mut at) = (Vec::new(), SMALLEST, 0);
    while at < size {
        let Ok(start) = seek(file, SeekFrom::Hole(at)) else { break };
        let end = match seek(file, SeekFrom::Data(start)) {
            Ok(end) => end.min(size),
            // There is no content behind it.
            Err(Errno::NXIO) => size,
            // Not known: then all is read, and a disk that can't be read says so.
            Err(_) => return Vec::new(),
        };
        if end <= start {
            break;
        }
        if end - start >= smallest {
            holes.push((start, end - start));
        }
        while holes.len() > MOST {
            smallest *= 2;
            holes.retain(|hole| hole.1 >= smallest);
        }
        at = end;
    }
    holes
}

/// Reads a file without its holes, no further than a size: a log that grows as fast as it is read would never end.
pub(super) struct Content<'f> {
    file: &'f File,
    holes: &'f [Hole],
    size: u64,
    /// Offset in the file of what is read next.
    pub(super) at: u64,
    /// Bytes read.
    pub(super) count: u64,
    /// The hash of them, where it is wanted.
    pub(super) sum: Option<blake3::Hasher>,
}

impl<'f> Content<'f> {
    pub(super) fn new(file: &'f File, size: u64, holes: &'f [Hole]) -> Self {
        Self { file, holes, size, at: 0, count: 0, sum: None }
    }

    /// The same, hashing what is read.
    pub(super) fn summed(file: &'f File, size: u64, holes: &'f [Hole]) -> Self {
        Self { sum: Some(blake3::Hasher::new()), ..Self::new(file, size, holes) }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut end = self.size;
        while let Some((hole, rest)) = self.holes.split_first() {
            if self.at < hole.0 {
                end = end.min(hole.0);
                break;
            }
            self.at = hole.0.saturating_add(hole.1);
            self.holes = rest;
        }
        let room = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..room).filter(|into| !into.is_empty()) else { return Ok(0) };
        loop {
            match self.file.read_at(into, self.at) {
                // A signal.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.at += read as u64;
                    self.count += read as u64;
                    if let Some(sum) = &mut self.sum {
                        sum.update(into.get(..read).unwrap_or_default());
                    }
                    return Ok(read);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout)] // why a test was skipped
mod tests {
    use rustix::fs::fstat;

    use super::*;

    #[test]
    fn content_is_read_around_the_holes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        for at in [3 << 20, (3 << 20) + 70_000, 1 << 39] {
            file.write_all_at(b"content", at).unwrap();
        }
        let holes = holes_of(&file, &fstat(&file).unwrap());
        if holes.is_empty() {
            println!("skipped: this file system has no holes");
            return;
        }
        let mut bytes = Vec::new();
        let mut content = Content::new(&file, 1 << 40, &holes);
        content.read_to_end(&mut bytes).unwrap();
        assert_eq!(content.at, 1 << 40, "{holes:?}");
        assert_eq!(bytes.len() as u64 + holes.iter().map(|hole| hole.1).sum::<u64>(), 1 << 40);
        assert!(bytes.len() < 1 << 20, "{holes:?}");
        assert_eq!(bytes.windows(7).filter(|window| *window == b"content").count(), 3);
    }

    #[test]
    fn of_many_holes_the_largest_are_kept() {
        let file = tempfile::tempfile().unwrap();
        let (step, count) = (192 << 10, 6000u64);
        for n in 0..count {
            file.write_all_at(b"x", n * step).unwrap();
        }
        file.write_all_at(b"x", count * step + (64 << 20)).unwrap();
        let stat = fstat(&file).unwrap();
        let holes = holes_of(&file, &stat);
        if holes.is_empty() {
            println!("skipped: this file system has no holes");
            return;
        }
        assert!(holes.len() <= MOST && holes.iter().any(|hole| hole.1 > 60 << 20), "{}", holes.len());
        let mut bytes = Vec::new();
        Content::new(&file, size(&stat), &holes).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64 + holes.iter().map(|hole| hole.1).sum::<u64>(), size(&stat));
    }

    #[test]
    fn a_file_that_is_shorter_by_now_ends_where_it_ends() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 100], 0).unwrap();
        let mut content = Content::new(&file, 1000, &[]);
        assert_eq!(content.read_to_end(&mut Vec::new()).unwrap(), 100);
        assert_eq!((content.at, content.count), (100, 100));
    }
}
