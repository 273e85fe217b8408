//! Which of a snapshot's tables are restored.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{Glob, GlobMatcher};

use super::RestoreError;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{TableEntry, TableItem};

/// Patterns of names. They select tables, views and sequences: what can stand after FROM. A trigger goes with its table; functions,
/// procedures and events belong to the whole database only.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    patterns: Vec<GlobMatcher>,
}

/// Whether an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Yes,
    No,
    /// As its table is, which its SQL names.
    WithItsTable,
}

impl Selection {
    /// These patterns; none selects everything.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, RestoreError> {
        let matcher = |pattern: &S| match Glob::new(pattern.as_ref()) {
            Ok(glob) if !pattern.as_ref().is_empty() => Ok(glob.compile_matcher()),
            Ok(_) => Err(RestoreError::Pattern { pattern: String::new(), detail: "it is empty".into() }),
            Err(error) => Err(RestoreError::Pattern { pattern: pattern.as_ref().to_owned(), detail: error.kind().to_string() }),
        };
        Ok(Self { patterns: patterns.iter().map(matcher).collect::<Result<_, _>>()? })
    }

    /// Whether everything is restored.
    pub fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(super) fn matches(&self, name: &ByteText) -> bool {
        let path = Path::new(OsStr::from_bytes(name.as_bytes()));
        self.is_all() || self.patterns.iter().any(|pattern| pattern.is_match(path))
    }

    pub(super) fn choose<C>(&self, entry: &TableEntry<C>) -> Chosen {
        let by = |yes| if yes { Chosen::Yes } else { Chosen::No };
        match entry.item {
            _ if self.is_all() => Chosen::Yes,
            TableItem::Session | TableItem::SessionEnd => Chosen::Yes,
            TableItem::Routine | TableItem::Event => Chosen::No,
            TableItem::Trigger => Chosen::WithItsTable,
            TableItem::Sequence
            | TableItem::Table
            | TableItem::Rows
            | TableItem::AfterRows
            | TableItem::ViewStub
            | TableItem::View => by(self.matches(&entry.name)),
        }
    }

    /// Fails when one of the patterns matches none of the names.
    pub(super) fn all_match(&self, names: &BTreeSet<Vec<u8>>) -> Result<(), RestoreError> {
        let matches = |pattern: &GlobMatcher| names.iter().any(|name| pattern.is_match(Path::new(OsStr::from_bytes(name))));
        match self.patterns.iter().find(|pattern| !matches(pattern)) {
            Some(pattern) => Err(RestoreError::NoSuchTable { pattern: pattern.glob().to_string() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(item: TableItem, name: &str) -> TableEntry<()> {
        TableEntry { item, name: name.into(), rows: None, engine: None, consistent: true, definer: None, chunk: () }
    }

    #[test]
    fn patterns_choose_by_name() {
        let selection = Selection::new(&["wp_post*", "wp_{users,terms}"]).unwrap();
        for (item, name, chosen) in [
            (TableItem::Session, "", Chosen::Yes),
            (TableItem::Table, "wp_posts", Chosen::Yes),
            (TableItem::Rows, "wp_postmeta", Chosen::Yes),
            (TableItem::AfterRows, "wp_users", Chosen::Yes),
            (TableItem::View, "wp_terms", Chosen::Yes),
            (TableItem::Sequence, "wp_usermeta", Chosen::No),
            (TableItem::Table, "x_wp_posts", Chosen::No),
            (TableItem::Routine, "wp_posts", Chosen::No),
            (TableItem::Event, "wp_posts", Chosen::No),
            (TableItem::Trigger, "any", Chosen::WithItsTable),
        ] {
            assert_eq!(selection.choose(&entry(item, name)), chosen, "{item:?} {name}");
        }
        assert_eq!(Selection::default().choose(&entry(TableItem::Event, "e")), Chosen::Yes);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named() {
        let selection = Selection::new(&["a*", "b"]).unwrap();
        let names = |list: &[&str]| list.iter().map(|name| name.as_bytes().to_vec()).collect();
        selection.all_match(&names(&["ab", "b"])).unwrap();
        let error = selection.all_match(&names(&["ab", "c"])).unwrap_err();
        assert!(error.to_string().contains("\"b\""), "{error}");
        assert!(Selection::new(&["[a"]).is_err());
        assert!(Selection::new(&[""]).is_err());
    }
}
