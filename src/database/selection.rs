//! Which tables a dump holds, and which of them with their rows: the owner's patterns.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::catalog::{Kind, Listed};
use super::error::DatabaseError;
use crate::config::DumpSettings;

/// The owner's choice.
#[derive(Debug)]
pub(super) struct Selection {
    exclude: GlobSet,
    structure_only: GlobSet,
}

impl Selection {
    /// From the settings' patterns. The configuration has checked them already.
    pub(super) fn new(settings: &DumpSettings) -> Result<Self, DatabaseError> {
        Ok(Self { exclude: set(&settings.exclude_tables)?, structure_only: set(&settings.structure_only)? })
    }

    /// Whether the table, view or sequence is left out.
    pub(super) fn leaves_out(&self, listed: &Listed) -> bool {
        is_match(&self.exclude, &listed.name)
    }

    /// Whether only the table's definition is captured.
    pub(super) fn only_structure(&self, listed: &Listed) -> bool {
        matches!(listed.kind, Kind::Table | Kind::Versioned) && is_match(&self.structure_only, &listed.name)
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, DatabaseError> {
    let mut set = GlobSetBuilder::new();
    let invalid = |error: globset::Error| DatabaseError::Unexpected { what: format!("a pattern of tables: {error}") };
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(invalid)?);
    }
    set.build().map_err(invalid)
}

fn is_match(set: &GlobSet, name: &[u8]) -> bool {
    set.is_match(String::from_utf8_lossy(name).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_by_name() {
        let settings = DumpSettings {
            exclude_tables: vec!["wp_*_log".into(), "tmp?".into()],
            structure_only: vec!["{a,b}_cache".into()],
            ..DumpSettings::default()
        };
        let selection = Selection::new(&settings).unwrap();
        let listed = |name: &str, kind| Listed { name: name.into(), kind, engine: None, created: None };
        assert!(selection.leaves_out(&listed("wp_mail_log", Kind::Table)));
        assert!(selection.leaves_out(&listed("tmp1", Kind::View)));
        assert!(!selection.leaves_out(&listed("wp_logs", Kind::Table)));
        assert!(selection.only_structure(&listed("a_cache", Kind::Table)));
        assert!(!selection.only_structure(&listed("a_cache", Kind::View)));
    }
}
