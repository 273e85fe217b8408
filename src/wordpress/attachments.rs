//! From what the database says of an attachment to the paths of its files, as WordPress itself would come to them.

use std::path::{Path, PathBuf};

use super::expected::{PATH_LIMIT, Role};
use super::php_serialize::walk;
use crate::config::plain;

/// Where the site's uploads are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Uploads {
    /// Below wp-content: the path from there, without slashes at its ends; empty for wp-content itself.
    Inside(Vec<u8>),
    /// Elsewhere: no part of the snapshot.
    Outside(PathBuf),
}

/// The directories that attachments' paths are made of.
#[derive(Debug, Clone)]
pub(super) struct Directories {
    /// WordPress's root (`ABSPATH`), where it is known.
    pub(super) root: Option<PathBuf>,
    /// wp-content.
    pub(super) content: PathBuf,
    /// The constant `UPLOADS`, relative to the root.
    pub(super) uploads: Option<String>,
    /// Uploads that are captured as a tree of their own.
    pub(super) uploads_tree: Option<PathBuf>,
}

/// What stands before the paths of uploads that are a tree of their own: no directory of wp-content.
const UPLOADS_TREE: &[u8] = b"uploads:";

impl Directories {
    /// As `_wp_upload_dir()`: the constant, else the option, else `uploads` in wp-content.
    pub(super) fn uploads(&self, upload_path: &str) -> Uploads {
        let option = upload_path.trim();
        let from_root = |path: &str| self.root.as_ref().map(|root| root.join(path));
        let directory = match &self.uploads {
            Some(constant) => from_root(constant.trim_start_matches('/')),
            None if option.is_empty() || option == "wp-content/uploads" => None,
            None if option.starts_with('/') => Some(PathBuf::from(option)),
            None => from_root(option),
        };
        let directory = plain(&directory.unwrap_or_else(|| self.content.join("uploads")));
        // Also where wp-content has a link to them.
        if self.uploads_tree.as_deref().is_some_and(|tree| real(tree) == real(&directory)) {
            return Uploads::Inside(UPLOADS_TREE.to_vec());
        }
        match directory.strip_prefix(plain(&self.content)) {
            Ok(inside) => Uploads::Inside(inside.as_os_str().as_encoded_bytes().to_vec()),
            Err(_) => Uploads::Outside(directory),
        }
    }

    /// Where an attached file is, from wp-content; `None` when it isn't there: a URL, or a path of elsewhere.
    fn attached(&self, base: &[u8], file: &[u8]) -> Option<Vec<u8>> {
        if contains(file, b"://") {
            return None;
        }
        if file.first() == Some(&b'/') {
            let content = self.content.as_os_str().as_encoded_bytes();
            return below(b"", file.strip_prefix(content)?.strip_prefix(b"/")?);
        }
        below(base, file)
    }

    /// Tells the paths, from wp-content, of one attachment's files: `file` is its `_wp_attached_file`, `metadata` its
    /// `_wp_attachment_metadata`. Returns whether there are any. Metadata that can't be read tell nothing.
    pub(super) fn files_of<E>(
        &self,
        base: &[u8],
        file: &[u8],
        metadata: Option<&[u8]>,
        mut tell: impl FnMut(Role, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(own) = self.attached(base, file) else { return Ok(false) };
        tell(Role::Attachment, &own)?;
        // No file has such a path, and each of its sizes would be as long.
        if own.len() >= PATH_LIMIT {
            return Ok(true);
        }
        let directory = own.iter().rposition(|byte| *byte == b'/').and_then(|at| own.get(..at)).unwrap_or_default();
        // Read twice rather than collected: nothing of a value that breaks off in the middle counts.
        let Some(metadata) = metadata.filter(|metadata| walk(metadata, &mut |_, _| {}).is_ok()) else { return Ok(true) };
        let mut outcome = Ok(());
        let _ = walk(metadata, &mut |path, name| {
            let named = match path {
                [original] => original.is("original_image"),
                [sizes, _, file] => sizes.is("sizes") && file.is("file"),
                _ => false,
            };
            if named && outcome.is_ok() && !name.is_empty() && !contains(name, b"://") {
                outcome = below(directory, name).map_or(Ok(()), |path| tell(Role::Size, &path));
            }
        });
        outcome.map(|()| true)
    }
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| plain(path))
}

/// `relative` below `base`, without empty and `.` parts; `None` with a `..` part, or when nothing remains.
pub(super) fn below(base: &[u8], relative: &[u8]) -> Option<Vec<u8>> {
    let mut path = base.to_vec();
    let mut any = false;
    for part in relative.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." || part.contains(&0) {
            return None;
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        any = true;
    }
    any.then_some(path)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(uploads: Option<&str>) -> Directories {
        let uploads = uploads.map(str::to_owned);
        Directories { root: Some("/srv/www".into()), content: "/srv/www/wp-content".into(), uploads, uploads_tree: None }
    }

    fn files(file: &str, metadata: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        let tell = |_: Role, path: &[u8]| {
            found.push(String::from_utf8_lossy(path).into_owned());
            Ok::<(), ()>(())
        };
        directories(None).files_of(b"uploads", file.as_bytes(), metadata.map(str::as_bytes), tell).unwrap();
        found
    }

    #[test]
    fn uploads_are_where_wordpress_puts_them() {
        let inside = |text: &str| Uploads::Inside(text.as_bytes().to_vec());
        assert_eq!(directories(None).uploads(""), inside("uploads"));
        assert_eq!(directories(None).uploads(" wp-content/uploads "), inside("uploads"));
        assert_eq!(directories(None).uploads("wp-content/media/"), inside("media"));
        assert_eq!(directories(None).uploads("/srv/www/wp-content/./x/../media"), inside("media"));
        assert_eq!(directories(None).uploads("files"), Uploads::Outside("/srv/www/files".into()));
        let captured = Directories { uploads_tree: Some("/srv/www/x/../files".into()), ..directories(None) };
        assert_eq!(captured.uploads("files"), Uploads::Inside(b"uploads:".to_vec()));
        let dir = tempfile::tempdir().unwrap();
        let (content, elsewhere) = (dir.path().join("wp-content"), dir.path().join("files"));
        std::fs::create_dir(&content).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink("../files", content.join("uploads")).unwrap();
        let linked = Directories { content, ..directories(None) };
        assert_eq!(linked.uploads(""), inside("uploads"));
        assert_eq!(Directories { uploads_tree: Some(elsewhere), ..linked }.uploads(""), inside("uploads:"));
        assert_eq!(directories(Some("wp-content/pics")).uploads("ignored"), inside("pics"));
        assert_eq!(directories(Some("../pics")).uploads(""), Uploads::Outside("/srv/pics".into()));
    }

    #[test]
    fn an_attachment_has_its_file_its_sizes_and_its_original() {
        let metadata = "a:3:{s:4:\"file\";s:11:\"2026/01/a.x\";s:5:\"sizes\";a:2:{s:5:\"thumb\";a:1:{s:4:\"file\";s:5:\"a-1.x\";}\
                        s:5:\"large\";a:1:{s:4:\"file\";s:5:\"a-2.x\";}}s:14:\"original_image\";s:3:\"o.x\";}";
        assert_eq!(
            files("2026/01/a.x", Some(metadata)),
            ["uploads/2026/01/a.x", "uploads/2026/01/a-1.x", "uploads/2026/01/a-2.x", "uploads/2026/01/o.x"]
        );
        assert_eq!(files("a.x", Some("a:1:{s:14:\"original_image\";s:3:\"o.x\";}")), ["uploads/a.x", "uploads/o.x"]);
    }

    #[test]
    fn what_is_longer_than_any_path_has_no_sizes() {
        let metadata = "a:1:{s:14:\"original_image\";s:3:\"o.x\";}";
        assert_eq!(files(&format!("{}a.x", "d/".repeat(2000)), Some(metadata)).len(), 2);
        assert_eq!(files(&format!("{}a.x", "d/".repeat(2100)), Some(metadata)).len(), 1);
    }

    #[test]
    fn broken_metadata_tell_nothing() {
        assert_eq!(files("a.x", Some("a:2:{s:14:\"original_image\";s:3:\"o.x\";")), ["uploads/a.x"]);
        assert_eq!(files("a.x", Some("")), ["uploads/a.x"]);
        assert_eq!(files("a.x", None), ["uploads/a.x"]);
    }

    #[test]
    fn what_is_not_a_path_below_the_uploads_is_ignored() {
        assert_eq!(files("https://cdn.example.com/a.x", None), Vec::<String>::new());
        assert_eq!(files("../../../etc/passwd", None), Vec::<String>::new());
        assert_eq!(files("/etc/passwd", None), Vec::<String>::new());
        assert_eq!(files("", None), Vec::<String>::new());
        assert_eq!(files("/srv/www/wp-content/uploads/a.x", None), ["uploads/a.x"]);
        assert_eq!(files(".//a//b.x", None), ["uploads/a/b.x"]);
        assert_eq!(files("a.x", Some("a:1:{s:14:\"original_image\";s:6:\"../o.x\";}")), ["uploads/a.x"]);
    }
}
