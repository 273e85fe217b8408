//! Where a tree's paths are, for the exclude rules: the rules are written for wp-content.

use std::borrow::Cow;

use crate::config::{ROOT_DIRECTORIES, SiteSettings, TreeName};

/// What a tree is to the exclude rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// wp-content.
    Content,
    /// A directory that is in wp-content on other sites: patterns see its paths below this name.
    Elsewhere(&'static str),
    /// WordPress's root: its own files, core, and nothing else that happens to lie there.
    Root {
        /// Whether files that hold secrets are captured.
        secrets: bool,
    },
}

/// The rules of the root.
pub(super) const ANOTHER_DIRECTORY: &str = "root:another directory";
pub(super) const MAY_HOLD_SECRETS: &str = "root:it may hold secrets";

impl Scope {
    /// What this tree of the site is.
    pub fn of(site: &SiteSettings, tree: TreeName) -> Self {
        match tree {
            TreeName::Root => Self::Root { secrets: site.include_wp_config },
            name => Self::Elsewhere(name.as_str()),
        }
    }

    /// Where this path of the tree is in wp-content.
    pub(super) fn in_content(self, rel: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Elsewhere(name) => Cow::Owned([name.as_bytes(), b"/", rel].concat()),
            Self::Content | Self::Root { .. } => Cow::Borrowed(rel),
        }
    }

    /// The rule of the root by which this path of it is left out.
    pub(super) fn leaves_out(self, rel: &[u8], is_dir: bool) -> Option<&'static str> {
        let Self::Root { secrets } = self else { return None };
        if rel.contains(&b'/') {
            return None;
        }
        if is_dir {
            return (!ROOT_DIRECTORIES.iter().any(|name| name.as_bytes() == rel)).then_some(ANOTHER_DIRECTORY);
        }
        (!secrets && may_hold_secrets(rel)).then_some(MAY_HOLD_SECRETS)
    }
}

/// wp-config.php and its copies, environments, keys, and dumps that someone left there.
fn may_hold_secrets(name: &[u8]) -> bool {
    let wp_config = name.starts_with(b"wp-config") && name != b"wp-config-sample.php";
    let endings: [&[u8]; 6] = [b".sql", b".sql.gz", b".sql.zip", b".sql.zst", b".pem", b".key"];
    wp_config || name.starts_with(b".env") || name == b".my.cnf" || endings.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_root_core_and_its_own_files_are_captured() {
        let root = Scope::Root { secrets: false };
        for (path, is_dir) in [("wp-admin", true), (".well-known", true), ("wp-includes/fonts", true), (".htaccess", false)] {
            assert_eq!(root.leaves_out(path.as_bytes(), is_dir), None, "{path}");
        }
        for path in ["wp-config-sample.php", "wp-load.php", "robots.txt", "wp-admin/x.sql", "google1234.html"] {
            assert_eq!(root.leaves_out(path.as_bytes(), false), None, "{path}");
        }
        assert!(root.leaves_out(b"wp-content", true).is_some() && root.leaves_out(b"other-site", true).is_some());
        for path in ["wp-config.php", "wp-config.php.bak", ".env", ".env.local", "dump.sql.gz", "server.key"] {
            assert!(root.leaves_out(path.as_bytes(), false).is_some(), "{path}");
            assert_eq!(Scope::Root { secrets: true }.leaves_out(path.as_bytes(), false), None, "{path}");
        }
        assert_eq!(Scope::Content.leaves_out(b"other", true), None);
    }
}
