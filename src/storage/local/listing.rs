//! A page of a directory tree's files in the order of their whole keys, in memory that depends on the page alone.

use std::collections::BinaryHeap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use super::super::key::{is_part, split_prefix};
use super::super::{Listed, Page};
use super::TEMPORARY;

/// Objects in a page, as S3 has it.
pub(super) const PAGE: usize = 1000;

/// The first `size` objects below `root` whose keys start with `prefix`, a checked one, and are greater than `after`.
/// Symbolic links, and names that no key can have, are not objects.
pub(super) fn page(root: &Path, prefix: &str, after: Option<&str>, size: usize) -> io::Result<Page> {
    let (directory, _) = split_prefix(prefix);
    if directory.split('/').next() == Some(TEMPORARY) {
        return Ok(Page { clock: Some(SystemTime::now()), ..Page::default() });
    }
    let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    // One more than asked for tells whether more follow.
    let mut walk = Walk { root, prefix, after, wanted: size + 1, found: Vec::new() };
    let clock = SystemTime::now();
    walk.enter(&start)?;
    let more = walk.found.len() > size;
    walk.found.truncate(size);
    Ok(Page { objects: walk.found, more, clock: Some(clock) })
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: Option<&'a str>,
    wanted: usize,
    found: Vec<Listed>,
}

impl Walk<'_> {
    /// Collects from the directory `base`, which is empty or ends with `/`.
    ///
    /// Names are sorted with a `/` after those of directories: so files and subtrees come in the order of whole keys
    /// (`a-b`, `a/x`, `a0`). Of a directory's names only as many are held as the page still wants; should too many of
    /// them turn out to be empty directories, the directory is read again from there on.
    fn enter(&mut self, base: &str) -> io::Result<()> {
        let mut passed: Option<String> = None;
        while self.found.len() < self.wanted {
            let (names, more) = self.smallest_names(base, passed.as_deref())?;
            for key in &names {
                if self.found.len() >= self.wanted {
                    return Ok(());
                }
                if key.ends_with('/') { self.enter(key)? } else { self.take(key)? }
            }
            if !more {
                return Ok(());
            }
            passed = names.into_iter().next_back();
        }
        Ok(())
    }

    /// The smallest names of a directory greater than `passed`, as keys, and whether there are more.
    fn smallest_names(&self, base: &str, passed: Option<&str>) -> io::Result<(Vec<String>, bool)> {
        let room = self.wanted - self.found.len();
        let mut smallest = BinaryHeap::new();
        let mut more = false;
        let entries = match fs::read_dir(self.root.join(base)) {
            Ok(entries) => entries,
            // Gone since its parent was read, or never there: nothing to list.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok((Vec::new(), false));
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_part(name)) else { continue };
            if base.is_empty() && name == TEMPORARY {
                continue;
            }
            let kind = entry.file_type()?;
            let key = match (kind.is_dir(), kind.is_file()) {
                (true, _) => format!("{base}{name}/"),
                (_, true) => format!("{base}{name}"),
                _ => continue,
            };
            if passed.is_some_and(|passed| key.as_str() <= passed) || !self.may_hold(&key) {
                continue;
            }
            smallest.push(key);
            if smallest.len() > room {
                smallest.pop();
                more = true;
            }
        }
        Ok((smallest.into_sorted_vec(), more))
    }

    /// Whether a file (or with `/` at the end, something in a directory) can be in this page.
    fn may_hold(&self, key: &str) -> bool {
        let directory = key.ends_with('/');
        let of_prefix = key.starts_with(self.prefix) || (directory && self.prefix.starts_with(key));
        of_prefix && self.after.is_none_or(|after| key > after || (directory && after.starts_with(key)))
    }

    fn take(&mut self, key: &str) -> io::Result<()> {
        let found = match fs::symlink_metadata(self.root.join(key)) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.found.push(Listed { key: key.to_owned(), size: found.len(), modified: found.modified()? });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn make(root: &Path, keys: impl IntoIterator<Item = impl AsRef<str>>) {
        for key in keys {
            let path = root.join(key.as_ref());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
    }

    fn keys(page: &Page) -> Vec<&str> {
        page.objects.iter().map(|object| object.key.as_str()).collect()
    }

    #[test]
    fn whole_keys_are_sorted_not_names() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), ["a/x", "a-b", "a.b", "a0", "a/b/c", "a/b-c"]);
        let all = page(dir.path(), "", None, 10).unwrap();
        assert_eq!(keys(&all), ["a-b", "a.b", "a/b-c", "a/b/c", "a/x", "a0"]);
        assert!(!all.more);
    }

    #[test]
    fn directories_without_objects_do_not_end_a_listing() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..20 {
            fs::create_dir(dir.path().join(format!("a{n:02}"))).unwrap();
        }
        make(dir.path(), ["b", "c", "d"]);
        let first = page(dir.path(), "", None, 2).unwrap();
        assert_eq!(keys(&first), ["b", "c"]);
        assert!(first.more);
        assert_eq!(keys(&page(dir.path(), "", Some("c"), 2).unwrap()), ["d"]);
    }

    #[test]
    fn foreign_things_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), ["a", "has space", "lost+found/x", ".tmp/half", "b/.tmp/whole"]);
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
        assert_eq!(keys(&page(dir.path(), "", None, 10).unwrap()), ["a", "b/.tmp/whole"]);
    }

    #[test]
    fn a_prefix_that_leads_nowhere_is_an_empty_page() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), ["a"]);
        assert!(page(dir.path(), "no/such/", None, 10).unwrap().objects.is_empty());
        assert!(page(dir.path(), "a/", None, 10).unwrap().objects.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_together_are_the_sorted_keys(
            keys in prop::collection::btree_set("[ab][-.0]?(/[ab][-.0]?){0,2}", 0..24),
            prefix in "([ab][-.0]?/?)?", size in 1usize..5,
        ) {
            // No key can be a directory of another.
            let kept: BTreeSet<_> = keys.iter().filter(|k| !keys.iter().any(|o| o.starts_with(&format!("{k}/")))).cloned().collect();
            let dir = tempfile::tempdir().unwrap();
            make(dir.path(), &kept);
            let (mut got, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = page(dir.path(), &prefix, after.as_deref(), size).unwrap();
                prop_assert!(page.objects.len() <= size);
                got.extend(page.objects.iter().map(|object| object.key.clone()));
                if !page.more { break }
                prop_assert_eq!(page.objects.len(), size);
                after = got.last().cloned();
            }
            let expected: Vec<_> = kept.iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(got, expected);
        }
    }
}
