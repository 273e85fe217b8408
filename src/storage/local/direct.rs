//! Large objects go to the disk past the page cache: half the CPU time of a write through it, and the site's own files stay in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Smaller objects aren't worth it.
const SMALLEST: usize = 1 << 20;
/// Bytes written at a time, from memory that begins where the disk wants it.
const PART: usize = 2 << 20;
/// What any disk's blocks divide.
const ALIGNMENT: usize = 4096;

/// Memory for writing, used again.
#[derive(Debug, Default)]
pub(super) struct Direct {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Direct {
    /// Writes the body into a new, empty file. Whether that was possible: where it wasn't, the file is empty, or what it holds is the
    /// body's beginning.
    pub(super) fn write(&self, file: &File, body: &[u8]) -> io::Result<bool> {
        if body.len() < SMALLEST {
            return Ok(false);
        }
        let Ok(flags) = fcntl_getfl(file) else { return Ok(false) };
        // File systems in memory and some network file systems refuse.
        if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
            return Ok(false);
        }
        let mut buffer = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.resize(PART + ALIGNMENT, 0);
        let written = write_parts(file, body, &mut buffer);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        fcntl_setfl(file, flags)?;
        match written {
            Ok(()) => Ok(true),
            // The disk's blocks are larger, or this file system says so only now.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn write_parts(file: &File, body: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    let Some(part) = buffer.get_mut(start..start.saturating_add(PART)) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut at = 0;
    for content in body.chunks(PART) {
        // The last block is written whole, and cut off below.
        let whole = content.len().next_multiple_of(ALIGNMENT);
        let Some(block) = part.get_mut(..whole) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (filled, rest) = block.split_at_mut(content.len());
        filled.copy_from_slice(content);
        rest.fill(0);
        file.write_all_at(block, at)?;
        at += content.len() as u64;
    }
    file.set_len(body.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_there() {
        let direct = Direct::default();
        // A disk, most of the time, and memory.
        for dir in ["/var/tmp", "/dev/shm"] {
            let Ok(dir) = tempfile::tempdir_in(dir) else { continue };
            for length in [0, 1000, SMALLEST, SMALLEST + 1, PART, PART + 4096, 3 * PART - 1] {
                let body: Vec<u8> = (0..length).map(|n| (n * 7 / 3) as u8).collect();
                let path = dir.path().join("object");
                let file = File::create(&path).unwrap();
                if direct.write(&file, &body).unwrap() {
                    assert!(std::fs::read(&path).unwrap() == body, "{length}");
                }
            }
        }
        assert!(direct.free.lock().unwrap().len() <= 1);
    }
}
