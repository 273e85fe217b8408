//! Create-only, durable, never half: a file gets its name when all of it is on the disk.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::direct::Direct;
use super::{Put, TEMPORARY};

/// A temporary file older than this was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is remembered between writes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    swept: AtomicBool,
    direct: Direct,
    /// Directories whose own entries are known to be on the disk: at most 256 and a few per site.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Writer {
    /// Writes `body` as the object `key`, a checked one.
    pub(super) fn put_new(&self, root: &Path, key: &str, body: &[u8]) -> io::Result<Put> {
        let target = root.join(key);
        let existed = fs::symlink_metadata(&target).is_ok();
        let temporary = if existed { None } else { Some(self.write_temporary(root, body)?) };
        // Also for one that existed: whoever wrote it may have been killed before its directories were synced.
        self.make_directories(root, key)?;
        let put = match temporary {
            Some(temporary) => give_name(&temporary.0, &target)?,
            None => Put::Existed,
        };
        sync_directory(target.parent().unwrap_or(root))?;
        Ok(put)
    }

    fn write_temporary(&self, root: &Path, body: &[u8]) -> io::Result<Temporary> {
        let directory = root.join(TEMPORARY);
        make_directory(&directory)?;
        if !self.swept.swap(true, Ordering::Relaxed) {
            sweep(&directory);
        }
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let path = directory.join(format!("{}-{}", std::process::id(), hex::encode(random)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Temporary(path);
        if !self.direct.write(&file, body)? {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(body)?;
        }
        file.sync_all()?;
        Ok(temporary)
    }

    /// Makes the directories above an object, each of them durable.
    fn make_directories(&self, root: &Path, key: &str) -> io::Result<()> {
        let mut directory = root.to_owned();
        let parts = key.rsplit_once('/').map_or("", |(parts, _)| parts);
        for part in parts.split('/').filter(|part| !part.is_empty()) {
            let parent = directory.clone();
            directory.push(part);
            let created = make_directory(&directory)?;
            // One that was there may be younger than its parent's last sync, if another thread has only just made it.
            if created || !self.durable().contains(&directory) {
                sync_directory(&parent)?;
                self.durable().insert(directory.clone());
            }
        }
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A temporary file: gone when this goes.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It has no name here any more where it was renamed; where it can't be removed, the sweep will.
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the directory had to be made.
fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes objects, of checked keys; their directories stay, for whoever is writing into them.
pub(super) fn delete(root: &Path, keys: &[String]) -> io::Result<()> {
    let mut directories = HashSet::new();
    for key in keys {
        let path = root.join(key);
        match fs::remove_file(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            other => {
                other?;
                directories.extend(path.parent().map(Path::to_owned));
            }
        }
    }
    directories.iter().try_for_each(|directory| sync_directory(directory))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems can't sync a directory; they do at once what they are told.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(()),
        result => result,
    }
}

fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|found| found.modified()).map(|time| SystemTime::now().duration_since(time));
        if matches!(age, Ok(Ok(age)) if age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a whole file its final name, unless that is taken.
fn give_name(temporary: &Path, target: &Path) -> io::Result<Put> {
    let ways: [fn(&Path, &Path) -> io::Result<()>; 3] = [by_link, by_exclusive_rename, by_checked_rename];
    let mut refusal = None;
    for way in ways {
        match way(temporary, target) {
            Ok(()) => return Ok(Put::Created),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Existed),
            Err(error) if not_supported(&error) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.unwrap_or_else(|| ErrorKind::Unsupported.into()))
}

fn not_supported(error: &io::Error) -> bool {
    // PERM is how Linux says that a file system has no hard links.
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL))
}

fn by_link(temporary: &Path, target: &Path) -> io::Result<()> {
    fs::hard_link(temporary, target)
}

fn by_exclusive_rename(temporary: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, temporary, CWD, target, RenameFlags::NOREPLACE)?)
}

/// For file systems that have neither. Two writers of one name at the same moment could both succeed, with equal
/// content; writing in place instead would leave half an object under its final name when the process is killed.
fn by_checked_rename(temporary: &Path, target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(temporary, target),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::super::super::tests::sum;
    use super::super::{LocalStore, Store, StoreErrorKind};
    use super::*;

    #[test]
    fn each_way_of_naming_creates_and_never_replaces() {
        for way in [by_link, by_exclusive_rename, by_checked_rename] {
            let dir = tempfile::tempdir().unwrap();
            let path = |name| dir.path().join(name);
            fs::write(path("one"), b"one").unwrap();
            fs::write(path("two"), b"two").unwrap();
            way(&path("one"), &path("object")).unwrap();
            assert_eq!(way(&path("two"), &path("object")).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read(path("object")).unwrap(), b"one");
        }
    }

    #[test]
    fn only_the_owner_can_read_what_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        Writer::default().put_new(dir.path(), "blog/packs/x", b"x").unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("blog/packs/x"), 0o600);
        assert_eq!(mode("blog/packs"), 0o700);
        assert_eq!(mode("blog"), 0o700);
        assert_eq!(mode(TEMPORARY), 0o700);
    }

    #[test]
    fn temporary_files_of_killed_processes_are_swept_by_the_first_write() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = dir.path().join(TEMPORARY);
        fs::create_dir(&temporary).unwrap();
        for (name, age) in [("old", ABANDONED + Duration::from_secs(60)), ("young", Duration::from_secs(60))] {
            let file = File::create(temporary.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        let writer = Writer::default();
        assert_eq!(writer.put_new(dir.path(), "a/b", b"x").unwrap(), Put::Created);
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["young"]);
    }

    #[test]
    fn writers_of_one_name_agree_on_one_content() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::default();
        let created: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8u8)
                .map(|n| {
                    let (writer, root) = (&writer, dir.path());
                    scope.spawn(move || writer.put_new(root, "a/b/c", &[n; 4096]).unwrap() == Put::Created)
                })
                .collect();
            writers.into_iter().map(|writer| usize::from(writer.join().unwrap())).sum()
        });
        assert_eq!(created, 1);
        let content = fs::read(dir.path().join("a/b/c")).unwrap();
        assert!(content.len() == 4096 && content.iter().all(|byte| byte == &content[0]));
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    }

    /// A file system of 256 KiB in memory; only root can mount one.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(dir.path()).stderr(std::process::Stdio::null());
            mount.status().is_ok_and(|status| status.success()).then(|| Self(dir))
        }

        fn make_read_only(&self) {
            assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).status().unwrap().success());
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_nothing_stays_behind() {
        let Some(disk) = SmallDisk::mount() else { return };
        let store = LocalStore::new(disk.0.path().to_owned());
        let put = |key: &'static str, body: Vec<u8>| {
            let sha256 = sum(&body);
            store.put_new(key, body.into(), sha256)
        };
        put("a/small", vec![1; 4096]).await.unwrap();
        let error = put("a/large", vec![2; 1 << 20]).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Full);
        assert_eq!(fs::read_dir(disk.0.path().join(TEMPORARY)).unwrap().count(), 0);
        assert_eq!(store.list("", None).await.unwrap().objects.len(), 1);
        put("a/second", vec![3; 4096]).await.unwrap();
    }

    #[tokio::test]
    async fn a_read_only_disk_is_named() {
        let Some(disk) = SmallDisk::mount() else { return };
        disk.make_read_only();
        let store = LocalStore::new(disk.0.path().to_owned());
        let error = store.put_new("a", vec![1].into(), sum(&[1])).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Denied);
    }
}
