//! The trees that are captured beside wp-content: the site's root, and plugins and uploads that are kept elsewhere.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SiteName;
use super::check::Check;
use super::check_site::FromWordPress;
use super::error::ConfigError;
use super::origin::Origin;
use super::raw::RawSite;

/// Which tree. Part of the format: add, never rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeName {
    /// WordPress's root, around wp-content.
    Root,
    /// Plugins, where they aren't in wp-content.
    Plugins,
    /// Must-use plugins, where they aren't in wp-content.
    MuPlugins,
    /// Uploads, where they aren't in wp-content.
    Uploads,
    /// One of a newer agent.
    #[serde(other)]
    Unknown,
}

impl TreeName {
    /// As the manifest and commands write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Plugins => "plugins",
            Self::MuPlugins => "mu-plugins",
            Self::Uploads => "uploads",
            Self::Unknown => "unknown",
        }
    }

    /// The tree of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Root, Self::Plugins, Self::MuPlugins, Self::Uploads].into_iter().find(|name| name.as_str() == text)
    }
}

/// A tree that is captured beside wp-content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSettings {
    /// Which.
    pub name: TreeName,
    /// Where it is.
    pub path: PathBuf,
}

/// The directories of the root that are captured: core, and what proves to whom the site belongs.
pub const ROOT_DIRECTORIES: [&str; 3] = ["wp-admin", "wp-includes", ".well-known"];

/// Whether this path below the root is, or is in, what is captured of it.
pub fn captured_of_root(inside: &Path) -> bool {
    inside.components().next().is_none_or(|first| ROOT_DIRECTORIES.iter().any(|name| first.as_os_str() == *name))
}

/// The trees of a site: what the configuration says, else wp-config.php.
pub(super) fn trees(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawSite,
    found: &mut FromWordPress<'_>,
    root: Option<&Path>,
    content: &Path,
) -> Result<Vec<TreeSettings>, ConfigError> {
    let mut trees = Vec::new();
    if let Some(root_files) = &raw.root_files {
        check.given(Some(site), "site.root_files", root_files);
        if *root_files.get_ref() && root.is_none() {
            let advice = "give path, WordPress's root directory";
            return Err(check.invalid("site.root_files", root_files, "there is no root without path", advice));
        }
    }
    let wanted = raw.root_files.as_ref().is_none_or(|value| *value.get_ref());
    if let Some(root) = root.filter(|root| wanted && plain(root) != plain(content)) {
        trees.push(TreeSettings { name: TreeName::Root, path: root.to_owned() });
    }
    let elsewhere = [
        (TreeName::Plugins, "site.plugins_dir", raw.plugins_dir.as_ref(), "WP_PLUGIN_DIR"),
        (TreeName::MuPlugins, "site.mu_plugins_dir", raw.mu_plugins_dir.as_ref(), "WPMU_PLUGIN_DIR"),
        (TreeName::Uploads, "site.uploads_dir", raw.uploads_dir.as_ref(), "UPLOADS"),
    ];
    for (name, key, given, constant) in elsewhere {
        let path = match check.path(Some(site), key, given)? {
            Some(path) => Some(path),
            None => from_wordpress(check, site, key, found, root, constant)?,
        };
        // Where it usually is, the walk of wp-content comes to it.
        if let Some(path) = path.filter(|path| !plain(path).starts_with(plain(content))) {
            trees.push(TreeSettings { name, path });
        }
    }
    Ok(trees)
}

fn from_wordpress(
    check: &mut Check<'_>,
    site: &SiteName,
    key: &'static str,
    found: &mut FromWordPress<'_>,
    root: Option<&Path>,
    constant: &'static str,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(root) = root else { return Ok(None) };
    let refuse =
        |source| ConfigError::WpConfig { at: check.source.absent(&format!("{key} of site {site}")), source: Box::new(source) };
    // Whoever gives all else in the configuration needs no wp-config.php.
    let Some(config) = found.get_if_read() else { return Ok(None) };
    let Some(defined) = config.optional_constant(constant).map_err(refuse)? else { return Ok(None) };
    let origin = Origin::WpConfig { path: config.path().to_owned(), line: defined.line };
    check.origins.note(Some(site), key, origin);
    // UPLOADS is relative to the root; the others are absolute.
    Ok(Some(if constant == "UPLOADS" { root.join(defined.value.trim_start_matches('/')) } else { PathBuf::from(defined.value) }))
}

/// The path without `.` and with each `..` taken back, the file system unasked.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
