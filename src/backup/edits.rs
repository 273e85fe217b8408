//! What a look finds, as edits of the list that it compares with: an unchanged entry is a number to count up, not a line to write again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::look::Draft;
use crate::repository::RepositoryError;
use crate::repository::list::{ListFile, ListReader};

/// One edit. Applied in order, they turn the list before into the list after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Edit {
    /// So many entries as they are.
    Keep(u64),
    /// So many entries left out.
    Drop(u64),
    /// Another entry, here.
    Put(Box<Draft>),
}

/// Edits being written, in the order of the list.
pub(super) struct EditWriter {
    file: ListFile<Edit>,
    /// What isn't written yet: only its number grows.
    run: Edit,
    changes: bool,
}

impl EditWriter {
    pub(super) fn create(path: &Path) -> Result<Self, RepositoryError> {
        Ok(Self { file: ListFile::create(path)?, run: Edit::Keep(0), changes: false })
    }

    /// The next entry of the list before stays.
    pub(super) fn keep(&mut self) -> Result<(), RepositoryError> {
        if let Edit::Keep(count) = &mut self.run {
            *count += 1;
            return Ok(());
        }
        self.write(Edit::Keep(1))
    }

    /// The next entry of the list before goes.
    pub(super) fn drop(&mut self) -> Result<(), RepositoryError> {
        self.changes = true;
        if let Edit::Drop(count) = &mut self.run {
            *count += 1;
            return Ok(());
        }
        self.write(Edit::Drop(1))
    }

    /// An entry that the list before doesn't have.
    pub(super) fn put(&mut self, entry: &Draft) -> Result<(), RepositoryError> {
        self.changes = true;
        self.write(Edit::Keep(0))?;
        self.file.push(&Edit::Put(Box::new(entry.clone())))?;
        Ok(())
    }

    fn write(&mut self, next: Edit) -> Result<(), RepositoryError> {
        let run = std::mem::replace(&mut self.run, next);
        if !matches!(run, Edit::Keep(0)) {
            self.file.push(&run)?;
        }
        Ok(())
    }

    /// Ends the file; whether the list after is another than the list before.
    pub(super) fn finish(mut self) -> Result<bool, RepositoryError> {
        self.write(Edit::Keep(0))?;
        self.file.finish(false)?;
        Ok(self.changes)
    }
}

/// The list after: a list and edits of it.
pub(super) struct Edited<I> {
    before: I,
    edits: ListReader<Edit>,
    /// What is left of the edit under way.
    keep: u64,
    drop: u64,
    ended: bool,
}

impl<I: Iterator<Item = Result<Draft, RepositoryError>>> Edited<I> {
    pub(super) fn open(before: I, edits: &Path) -> Result<Self, RepositoryError> {
        Ok(Self { before, edits: ListReader::open(edits)?, keep: 0, drop: 0, ended: false })
    }

    fn step(&mut self) -> Result<Option<Draft>, RepositoryError> {
        loop {
            if self.keep > 0 || self.drop > 0 {
                // Shorter than when the edits were made: it isn't the same list.
                let entry = self.before.next().transpose()?.ok_or(RepositoryError::Task)?;
                if self.keep > 0 {
                    self.keep -= 1;
                    return Ok(Some(entry));
                }
                self.drop -= 1;
                continue;
            }
            match self.edits.next().transpose()? {
                Some(Edit::Keep(count)) => self.keep = count,
                Some(Edit::Drop(count)) => self.drop = count,
                Some(Edit::Put(entry)) => return Ok(Some(*entry)),
                None => {
                    let rest = self.before.next().transpose()?;
                    return if rest.is_none() { Ok(None) } else { Err(RepositoryError::Task) };
                }
            }
        }
    }
}

impl<I: Iterator<Item = Result<Draft, RepositoryError>>> Iterator for Edited<I> {
    type Item = Result<Draft, RepositoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repository::entry::FileKind;

    fn entry(name: u32) -> Draft {
        FileEntryOf(name).into()
    }

    struct FileEntryOf(u32);

    impl From<FileEntryOf> for Draft {
        fn from(of: FileEntryOf) -> Self {
            let json = format!(
                r#"{{"path":"{}","kind":"file","size":0,"mode":0,"uid":0,"gid":0,"mtime":0,"ctime":0,"inode":{}}}"#,
                of.0, of.0
            );
            let entry: Draft = serde_json::from_str(&json).unwrap();
            assert_eq!(entry.kind, FileKind::File);
            entry
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn edits_make_the_list_after(before in prop::collection::vec(0u32..1000, 0..40), choices in prop::collection::vec(0u8..4, 0..80)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("edits");
            let (mut writer, mut after, mut left) = (EditWriter::create(&path).unwrap(), Vec::new(), before.iter());
            let mut changed = false;
            for choice in choices {
                match choice {
                    0 => { writer.put(&entry(7777)).unwrap(); after.push(7777); changed = true; }
                    1 => if left.next().is_some() { writer.drop().unwrap(); changed = true; },
                    _ => if let Some(kept) = left.next() { writer.keep().unwrap(); after.push(*kept); },
                }
            }
            for kept in left { writer.keep().unwrap(); after.push(*kept); }
            prop_assert_eq!(writer.finish().unwrap(), changed);
            let list = before.iter().map(|name| Ok(entry(*name)));
            let edited: Vec<Draft> = Edited::open(list, &path).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(edited, after.into_iter().map(entry).collect::<Vec<_>>());
        }
    }

    #[test]
    fn another_list_than_the_edits_are_of_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits");
        let mut writer = EditWriter::create(&path).unwrap();
        writer.keep().unwrap();
        writer.finish().unwrap();
        for names in [vec![], vec![1, 2]] {
            let list = names.iter().map(|name| Ok(entry(*name)));
            assert!(Edited::open(list, &path).unwrap().any(|entry| entry.is_err()));
        }
    }
}
