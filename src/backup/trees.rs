//! The trees of a site: wp-content, and those around it.

use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::look::Which;
use crate::config::{SiteSettings, TreeName};
use crate::files::{Rules, Scope, Tree};
use crate::repository::byte_text::ByteText;

/// A tree that is walked.
pub(super) struct SiteTree {
    /// `None`: wp-content.
    pub(super) name: Option<TreeName>,
    pub(super) tree: Tree,
    pub(super) rules: Rules,
}

impl SiteTree {
    /// Opens them: wp-content first.
    pub(super) fn open_all(site: &SiteSettings) -> Result<Vec<Self>, BackupError> {
        let rules = |scope| Rules::within(site.default_excludes, &site.exclude, scope);
        let content = Self { name: None, tree: Tree::open(&site.content_dir)?, rules: rules(Scope::Content)? };
        let mut trees = vec![content];
        for tree in &site.trees {
            let scope = match tree.name {
                TreeName::Root => Scope::Root { secrets: site.include_wp_config },
                name => Scope::Elsewhere(name.as_str()),
            };
            trees.push(Self { name: Some(tree.name), tree: Tree::open(&tree.path)?, rules: rules(scope)? });
        }
        Ok(trees)
    }

    /// The draft that a look at this tree makes.
    pub(super) fn draft(&self, scratch: &Path, which: Which) -> PathBuf {
        let look = match which {
            Which::First => 1,
            Which::Second => 2,
        };
        scratch.join(format!("{}-{look}.zst", self.name.map_or("content", TreeName::as_str)))
    }

    /// What in this tree is kept though it has gone since the first look: the database may name it.
    pub(super) fn keeps(&self) -> Option<&'static [u8]> {
        match self.name {
            None => Some(b"uploads"),
            Some(TreeName::Uploads) => Some(b""),
            Some(_) => None,
        }
    }
}

/// A path of a tree, as findings name it: of wp-content plainly, of another behind the tree's name.
pub(super) fn subject(tree: Option<TreeName>, path: ByteText) -> ByteText {
    match tree {
        None => path,
        Some(tree) => ByteText([tree.as_str().as_bytes(), b":/", path.as_bytes()].concat()),
    }
}

/// A path of a tree, as the cross-check looks for it: from wp-content, or as [`subject`] has it.
pub(super) fn looked_up(tree: Option<TreeName>, path: &[u8]) -> Vec<u8> {
    match tree {
        None => path.to_vec(),
        // The code of plugins is asked for below wp-content, wherever it is.
        Some(tree @ TreeName::Plugins) => [tree.as_str().as_bytes(), b"/", path].concat(),
        Some(tree) => subject(Some(tree), ByteText::from(path)).0,
    }
}
