//! What a snapshot's findings say that it lacks: a restore that deletes leaves it.

use std::io;

use tokio::runtime::Handle;

use super::list::NoteList;
use super::{Restore, RestoreError, expect};
use crate::config::TreeName;
use crate::files::{FilesError, Lacks, Rules, Spares};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FindingCode, Note, path_in};

/// Where the directory that is restored into is in a site: this path of this tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `None`: wp-content.
    pub tree: Option<TreeName>,
    /// Empty for the tree itself.
    pub path: ByteText,
}

impl Place {
    /// The directory of a tree itself.
    pub fn root_of(tree: Option<TreeName>) -> Self {
        Self { tree, path: ByteText::default() }
    }

    /// Where a finding's subject is, seen from here. Above is the same as here: all that is here is in it.
    fn sees<'s>(&self, subject: &'s [u8]) -> Option<&'s [u8]> {
        let (path, here) = (path_in(self.tree, subject)?, self.path.as_bytes());
        if here.is_empty() {
            return Some(path);
        }
        match path.strip_prefix(here) {
            Some([]) => Some(b""),
            Some([b'/', below @ ..]) => Some(below),
            _ if path.is_empty() => Some(path),
            _ => here.strip_prefix(path).filter(|rest| rest.starts_with(b"/")).map(|_| [].as_slice()),
        }
    }
}

/// Why the list of files lacks the subject of a finding, if that is what it says.
fn lacks(note: &Note) -> Option<Lacks> {
    if note.finding.code.lacks_files() {
        return Some(Lacks::Uncaptured);
    }
    if note.finding.code != FindingCode::Excluded {
        return None;
    }
    let rule = note.left_out.as_ref().map_or(note.finding.detail.as_str(), |left_out| left_out.rule.as_str());
    Some(if Rules::is_of_the_tree(rule) { Lacks::Uncaptured } else { Lacks::Excluded })
}

impl Restore {
    /// With `delete`, what this other snapshot could not capture is left, too: one of what is there now, made just before. `places`: what
    /// of its site the target is.
    pub fn also_spare(&mut self, other: Restore, places: Vec<Place>) {
        self.also_spared.push((other, places));
    }

    /// All that is not to be deleted in a directory where `tree` is restored into.
    pub(super) fn spares(&mut self, tree: Option<TreeName>, runtime: &Handle) -> Result<Spares, RestoreError> {
        let mut spares = Spares::new().map_err(failed)?;
        let mut also = std::mem::take(&mut self.also_spared);
        self.add_spares(&[Place::root_of(tree)], &mut spares, runtime)?;
        for (other, places) in &mut also {
            other.add_spares(places, &mut spares, runtime)?;
        }
        Ok(spares)
    }

    fn add_spares(&mut self, places: &[Place], spares: &mut Spares, runtime: &Handle) -> Result<(), RestoreError> {
        let mut notes = NoteList::new(&mut self.lists, &self.manifest.notes);
        let mut found = 0u64;
        while let Some(note) = runtime.block_on(notes.next())? {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            found += 1;
            let Some(lacks) = lacks(&note) else { continue };
            for path in places.iter().filter_map(|place| place.sees(note.finding.subject.as_bytes())) {
                spares.add(path, lacks).map_err(failed)?;
            }
        }
        // Kinds that this agent doesn't know stand under one name in the manifest as it was read.
        if self.manifest.findings.contains_key(&FindingCode::Unknown) {
            return Ok(());
        }
        let counted = self.manifest.findings.values().fold(0u64, |sum, count| sum.saturating_add(*count));
        expect("findings", counted, found)
    }
}

fn failed(source: io::Error) -> RestoreError {
    FilesError::Temporary { path: std::env::temp_dir(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::entry::{Finding, LeftOut};

    #[test]
    fn subjects_as_a_directory_of_a_tree_sees_them() {
        let place = |tree, path: &str| Place { tree, path: path.into() };
        for (place, subject, seen) in [
            (place(None, ""), "a/b", Some("a/b")),
            (place(None, ""), "", Some("")),
            (place(None, "uploads"), "uploads/a/b", Some("a/b")),
            (place(None, "uploads"), "uploads", Some("")),
            (place(None, "uploads/2026"), "uploads", Some("")),
            (place(None, "uploads"), "", Some("")),
            (place(None, "uploads"), "uploads-old/a", None),
            (place(None, "uploads-old"), "uploads", None),
            (place(None, "uploads"), "plugins/a", None),
            (place(Some(TreeName::Root), "wp-admin"), "root:/wp-admin/x", Some("x")),
            (place(Some(TreeName::Root), ""), "wp-admin/x", None),
        ] {
            assert_eq!(place.sees(subject.as_bytes()), seen.map(str::as_bytes), "{place:?} {subject}");
        }
    }

    #[test]
    fn what_a_finding_says_of_the_list() {
        let note = |code, rule: Option<&str>| Note {
            finding: Finding { code, subject: "a".into(), detail: rule.unwrap_or_default().to_owned() },
            left_out: rule.map(|rule| LeftOut { rule: rule.to_owned(), files: 0, bytes: 0, at_least: false }),
        };
        assert_eq!(lacks(&note(FindingCode::Unreadable, None)), Some(Lacks::Uncaptured));
        assert_eq!(lacks(&note(FindingCode::Unknown, None)), Some(Lacks::Uncaptured));
        assert_eq!(lacks(&note(FindingCode::Torn, None)), None, "it is in the list");
        assert_eq!(lacks(&note(FindingCode::NotConsistent, None)), None, "of a table");
        for rule in ["default:cache/", "own:*.mp4", "marker:.donotbackup"] {
            assert_eq!(lacks(&note(FindingCode::Excluded, Some(rule))), Some(Lacks::Excluded), "{rule}");
        }
        for rule in ["root:it may hold secrets", "root:another directory", "kernel"] {
            assert_eq!(lacks(&note(FindingCode::Excluded, Some(rule))), Some(Lacks::Uncaptured), "{rule}");
        }
    }
}
