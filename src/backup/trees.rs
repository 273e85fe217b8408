//! The trees of a site: wp-content, and those around it.

use std::path::{Path, PathBuf};

use super::edits::Edited;
use super::error::BackupError;
use super::look::{Draft, Which};
use crate::config::{SiteSettings, TreeName, plain};
use crate::files::{Rules, Scope, Tree};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, subject};
use crate::repository::list::ListReader;
use crate::repository::read_ahead::ReadAhead;
use crate::repository::state::LocalSnapshot;

/// The list of a tree that the parent has.
pub(super) type Before = ReadAhead<Draft>;

/// A tree after both looks.
pub(super) struct After {
    /// `None`: wp-content.
    pub(super) name: Option<TreeName>,
    /// Its list.
    pub(super) entries: Edited<Edited<Before>>,
    /// The list is the parent's.
    pub(super) unchanged: bool,
}

/// A tree that is walked.
pub(super) struct SiteTree {
    /// `None`: wp-content.
    pub(super) name: Option<TreeName>,
    pub(super) tree: Tree,
    pub(super) rules: Rules,
    /// Directories directly below this one that are trees of their own: not left out, though this tree's walk passes them by.
    apart: Vec<Vec<u8>>,
}

impl SiteTree {
    /// Opens them: wp-content first.
    pub(super) fn open_all(site: &SiteSettings) -> Result<Vec<Self>, BackupError> {
        let rules = |scope| Rules::within(site.default_excludes, &site.exclude, scope);
        let open = |path: &Path| Tree::open(path).map(|tree| tree.following(&site.follow_links_into));
        let content = Self { name: None, tree: open(&site.content_dir)?, rules: rules(Scope::Content)?, apart: Vec::new() };
        let mut trees = vec![content];
        for tree in &site.trees {
            let rules = rules(Scope::of(site, tree.name))?;
            trees.push(Self { name: Some(tree.name), tree: open(&tree.path)?, rules, apart: apart(site, &tree.path) });
        }
        Ok(trees)
    }

    /// Whether this path is captured as, or with, another tree.
    pub(super) fn is_apart(&self, path: &[u8]) -> bool {
        self.apart.iter().any(|apart| apart == path)
    }

    /// Where a look at this tree writes its edits.
    pub(super) fn edits(&self, scratch: &Path, which: Which) -> PathBuf {
        let look = match which {
            Which::First => 1,
            Which::Second => 2,
        };
        scratch.join(format!("{}-{look}.zst", self.name.map_or("content", TreeName::as_str)))
    }

    /// The parent's list, as the first look compares with it.
    pub(super) fn before(&self, parent: Option<&LocalSnapshot>) -> Result<Before, BackupError> {
        let list = parent.and_then(|parent| self.name.map_or_else(|| Some(parent.files()), |name| parent.tree(name)));
        let list = list.map_or_else(|| Ok(ListReader::<FileEntry>::empty()), |list| ListReader::open(&list))?;
        let drafts = list.map(|entry| Ok(entry?.map_chunks(Into::into)));
        Ok(ReadAhead::start(drafts, |entry: &Draft| 1 + entry.chunks.len() + entry.holes.len() / 4 + entry.xattrs.bytes() / 128)?)
    }

    /// The list after both looks.
    pub(super) fn after(&self, parent: Option<&LocalSnapshot>, scratch: &Path, unchanged: bool) -> Result<After, BackupError> {
        let first = Edited::open(self.before(parent)?, &self.edits(scratch, Which::First))?;
        let entries = Edited::open(first, &self.edits(scratch, Which::Second))?;
        Ok(After { name: self.name, entries, unchanged })
    }
}

/// Where in this tree uploads are.
pub(super) fn uploads_in(tree: Option<TreeName>) -> Option<&'static [u8]> {
    match tree {
        None => Some(b"uploads"),
        Some(TreeName::Uploads) => Some(b""),
        Some(_) => None,
    }
}

/// The site's trees that are directly below this directory, by their names.
fn apart(site: &SiteSettings, directory: &Path) -> Vec<Vec<u8>> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| plain(path));
    let directory = real(directory);
    let trees = std::iter::once(&site.content_dir).chain(site.trees.iter().map(|tree| &tree.path)).map(|path| real(path));
    let below = trees.filter(|path| path.parent() == Some(&directory));
    below.filter_map(|path| Some(path.file_name()?.as_encoded_bytes().to_vec())).collect()
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
