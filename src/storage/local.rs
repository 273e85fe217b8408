//! A directory as the store: one file per object, written once, never half.

mod direct;
mod listing;
mod writing;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use sha2::Digest as _;

use super::key::{check_key, check_prefix};
use super::{Deleter, Failure, Page, Put, Sha256, Store, StoreError, StoreErrorKind};
use writing::Writer;

/// Bodies smaller than this are summed again before they are written.
const CHECKED: usize = 1 << 20;

/// Where objects are kept until they are whole. A site's name can't begin with a dot, so no key of ours is in here.
const TEMPORARY: &str = ".tmp";

/// A store in a local directory. Its directories are made for the owner alone (0700), its files too (0600).
#[derive(Debug)]
pub struct LocalStore {
    root: Arc<PathBuf>,
    writer: Arc<Writer>,
}

impl LocalStore {
    /// A store in a directory. The directory itself is never created: one that is missing (a disk that isn't
    /// mounted) answers every request with [`StoreErrorKind::NoBucket`].
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root), writer: Arc::default() }
    }

    /// Runs blocking work on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        request: &'static str,
        key: &str,
        work: impl FnOnce(&Path) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = Arc::clone(&self.root);
        let result = tokio::task::spawn_blocking(move || {
            exists(&root)?;
            work(&root)
        });
        match result.await {
            Ok(result) => result,
            Err(stopped) => Err(Failure::because(StoreErrorKind::Other("the work was broken off".into()), stopped)),
        }
        .map_err(|failure| failure.of(request, key, self.url()))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let (wanted, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking("LIST", prefix, move |root| {
            check_prefix(&wanted)?;
            Ok(listing::page(root, &wanted, after.as_deref(), listing::PAGE)?)
        })
        .await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let name = key.to_owned();
        self.blocking("GET", key, move |root| {
            let (file, size) = open(root, &name)?;
            if size > limit {
                return Err(StoreErrorKind::TooLarge(limit).into());
            }
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > limit {
                return Err(StoreErrorKind::TooLarge(limit).into());
            }
            Ok(bytes.into())
        })
        .await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let name = key.to_owned();
        self.blocking("GET", key, move |root| {
            let (file, size) = open(root, &name)?;
            let short = || Failure::from(StoreErrorKind::Damaged(format!("{size} bytes, too short for {length} at {offset}")));
            if offset.checked_add(length).is_none_or(|end| end > size) {
                return Err(short());
            }
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| short())?];
            match file.read_exact_at(&mut bytes, offset) {
                Ok(()) => Ok(bytes.into()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(short()),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// A directory keeps no checksum: it is reckoned.
    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        let name = key.to_owned();
        self.blocking("HEAD", key, move |root| {
            let (mut file, _) = open(root, &name)?;
            let mut sum = sha2::Sha256::new();
            io::copy(&mut file, &mut sum)?;
            Ok(Some(sum.finalize().into()))
        })
        .await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        let (name, writer) = (key.to_owned(), Arc::clone(&self.writer));
        self.blocking("PUT", key, move |root| {
            check_object(&name)?;
            // As S3 does: a body that bad memory has changed since it was summed is not kept. A pack was read back a moment ago from the
            // same memory, and a tenth of a run's time would go into summing it again.
            if body.len() < CHECKED && Sha256::from(sha2::Sha256::digest(&body)) != sha256 {
                return Err(StoreErrorKind::Other("the body is not what its SHA-256 says".into()).into());
            }
            Ok(writer.put_new(root, &name, &body)?)
        })
        .await
    }

    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

#[async_trait]
impl Deleter for LocalStore {
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let (wanted, first) = (keys.to_vec(), keys.first().map_or("", |key| key));
        self.blocking("DELETE", first, move |root| {
            wanted.iter().try_for_each(|key| check_object(key))?;
            Ok(writing::delete(root, &wanted)?)
        })
        .await
    }
}

fn exists(root: &Path) -> Result<(), Failure> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StoreErrorKind::NoBucket.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreErrorKind::NoBucket.into()),
        Err(error) => Err(error.into()),
    }
}

fn check_object(key: &str) -> Result<(), Failure> {
    check_key(key)?;
    match key.split('/').next() {
        Some(TEMPORARY) => Err(StoreErrorKind::Other(format!("{TEMPORARY}/ is the store's own")).into()),
        _ => Ok(()),
    }
}

/// Opens an object's file and tells its size.
fn open(root: &Path, key: &str) -> Result<(File, u64), Failure> {
    check_object(key)?;
    // NONBLOCK: a fifo that somebody put here must not hold us.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(root.join(key), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(StoreErrorKind::NotFound.into()),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(StoreErrorKind::NotFound.into());
    }
    if !found.is_file() {
        return Err(StoreErrorKind::Damaged("not a regular file".into()).into());
    }
    Ok((file, found.len()))
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => StoreErrorKind::Full,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreErrorKind::Denied,
            _ => StoreErrorKind::Other(error.to_string()),
        };
        Self::because(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sum;
    use super::*;

    #[test]
    fn the_systems_refusals_get_their_kinds() {
        let kind = |errno: Errno| Failure::from(io::Error::from(errno)).kind;
        assert_eq!(kind(Errno::NOSPC), StoreErrorKind::Full);
        assert_eq!(kind(Errno::DQUOT), StoreErrorKind::Full);
        assert_eq!(kind(Errno::ACCESS), StoreErrorKind::Denied);
        assert_eq!(kind(Errno::PERM), StoreErrorKind::Denied);
        assert_eq!(kind(Errno::ROFS), StoreErrorKind::Denied);
        assert!(matches!(kind(Errno::IO), StoreErrorKind::Other(_)));
    }

    #[tokio::test]
    async fn what_is_not_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_owned());
        std::fs::create_dir(dir.path().join("a")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(store.get("a", 10).await.unwrap_err().kind, StoreErrorKind::NotFound);
        assert!(matches!(store.get("fifo", 10).await.unwrap_err().kind, StoreErrorKind::Damaged(_)));
    }

    #[tokio::test]
    async fn the_stores_own_directory_holds_no_objects() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_owned());
        assert!(store.put_new(".tmp/x", Bytes::new(), sum(b"")).await.is_err());
        store.put_new("x", Bytes::new(), sum(b"")).await.unwrap();
        std::fs::write(dir.path().join(".tmp/left"), b"").unwrap();
        assert!(store.get(".tmp/left", 10).await.is_err());
        let keys: Vec<_> = store.list("", None).await.unwrap().objects.into_iter().map(|o| o.key).collect();
        assert_eq!(keys, ["x"]);
    }
}
