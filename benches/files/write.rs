//! Writes what is planned, on all cores: each file's bytes follow from its own seed, so that the order doesn't matter.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::content;
use crate::text::Text;
use crate::tree::File;

/// Writes them below `root`, and says on standard output what they are altogether.
pub(crate) fn all(root: &Path, files: &[File]) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for file in files {
        if let Some((parent, _)) = file.path.rsplit_once('/') {
            directories.insert(parent);
        }
    }
    for directory in &directories {
        fs::create_dir_all(root.join(directory))?;
    }
    let text = Text::new();
    in_parallel(files.len() as u64, |numbers| {
        let mut buffer = Vec::new();
        while let Some(number) = numbers() {
            let file = &files[number as usize];
            content::fill(file.kind, &file.seed, file.size, &text, &mut buffer);
            let mut written = fs::File::create(root.join(&file.path))?;
            written.write_all(&buffer)?;
            written.set_modified(file.modified)?;
        }
        Ok(())
    })?;
    let media: u64 = files.iter().filter(|file| !file.kind.is_text()).map(|file| file.size).sum();
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    println!("{} files, {bytes} bytes, {media} of them media", files.len());
    Ok(())
}

/// Runs `work` on each core; it gets the numbers up to `count` one by one, in order.
pub(crate) fn in_parallel(count: u64, work: impl Fn(&dyn Fn() -> Option<u64>) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (next, work) = (&next, &work);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| scope.spawn(move || work(&|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&number| number < count))))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
    })
}
