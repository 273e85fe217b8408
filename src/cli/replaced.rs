//! What a restore replaces of the sites that live on this machine, and what must not be under way meanwhile.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::args::RestoreArgs;
use super::failure::Failure;
use crate::config::{Settings, SiteSettings, StoreSettings, TreeName, captured_of_root};
use crate::error::Exit;
use crate::repository::RepositoryError;
use crate::repository::state;
use crate::restore::Place;

/// What of a site is replaced.
pub(super) struct Part<'s> {
    pub(super) site: &'s SiteSettings,
    /// In words.
    pub(super) what: String,
    /// Where the directory that is restored into is in it.
    pub(super) places: Vec<Place>,
}

/// What of all sites is replaced.
pub(super) struct Replaced<'s> {
    pub(super) parts: Vec<Part<'s>>,
}

impl<'s> Replaced<'s> {
    /// Looks; refuses a deletion that would go further than what snapshots have.
    pub(super) fn by(settings: &'s Settings, args: &RestoreArgs) -> Result<Self, Failure> {
        if let Some(target) = args.files.as_ref().filter(|_| args.of_files.delete) {
            for site in &settings.sites {
                too_high(site, args.of_files.tree, target)?;
            }
            ours(settings, target)?;
        }
        Ok(Self { parts: settings.sites.iter().filter_map(|site| of_site(site, args)).collect() })
    }

    /// Keeps runs of these sites from beginning until the restore is over; while one is under way the restore is refused.
    pub(super) fn hold(&self, state: &Path, args: &RestoreArgs) -> Result<Vec<UnderWay>, Failure> {
        if args.of_files.dry_run {
            return Ok(Vec::new());
        }
        let hold = |part: &Part<'_>| {
            let Some(lock) = state::hold(state, &part.site.name)? else { return Ok(None) };
            let marker = state::mark_restore(state, &part.site.name, &part.what)?;
            Ok::<_, RepositoryError>(Some(UnderWay { _lock: lock, marker }))
        };
        Ok(self.parts.iter().map(hold).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

/// A restore onto a site: no run begins meanwhile, and one that begins after it was broken off says so.
pub(super) struct UnderWay {
    _lock: File,
    marker: PathBuf,
}

impl UnderWay {
    /// It has come to its end.
    pub(super) fn end(self) -> Result<(), Failure> {
        Ok(state::unmark_restore(&self.marker)?)
    }
}

fn trees(site: &SiteSettings) -> impl Iterator<Item = (Option<TreeName>, &Path)> {
    let others = site.trees.iter().map(|tree| (Some(tree.name), tree.path.as_path()));
    std::iter::once((None, site.content_dir.as_path())).chain(others)
}

/// `--delete` one directory too high would delete what no snapshot has.
fn too_high(site: &SiteSettings, tree: Option<TreeName>, target: &Path) -> Result<(), Failure> {
    // What is restored into the root leaves the root's other directories alone.
    let is_the_root = tree == Some(TreeName::Root)
        && trees(site)
            .any(|(name, path)| name == Some(TreeName::Root) && is_at_or_above(path, target) && is_at_or_above(target, path));
    if is_the_root {
        return Ok(());
    }
    let above = trees(site).find(|(_, path)| is_at_or_above(target, path) && !is_at_or_above(path, target));
    let Some((name, path)) = above else { return Ok(()) };
    let tree = name.map_or("wp-content", TreeName::as_str);
    Err(Failure::new(
        Exit::Usage,
        format!(
            "{} holds {tree} of site {} and more: --delete would delete all of it that the snapshot lacks",
            target.display(),
            site.name
        ),
        format!("name the directory itself: --files {}", path.display()),
    ))
}

/// The store and the local state are in no snapshot.
fn ours(settings: &Settings, target: &Path) -> Result<(), Failure> {
    let mut ours = vec![("the local state", settings.daemon.state.as_path())];
    if let StoreSettings::Local { path } = &settings.store {
        ours.push(("the store", path));
    }
    match ours.into_iter().find(|(_, path)| is_at_or_above(target, path) || is_at_or_above(path, target)) {
        Some((what, path)) => Err(Failure::new(
            Exit::Usage,
            format!("{} holds or is in {what} ({}), which --delete would delete", target.display(), path.display()),
            "restore into another directory, or without --delete",
        )),
        None => Ok(()),
    }
}

fn of_site<'s>(site: &'s SiteSettings, args: &RestoreArgs) -> Option<Part<'s>> {
    let (mut what, mut places) = (None, Vec::new());
    if let Some(name) = &args.database
        && *name == site.database.name
        && (args.overwrite || args.swap)
    {
        what = Some(format!("{name} is the database of site {}", site.name));
    }
    // Else the directory has to be empty.
    for target in args.files.iter().filter(|_| args.overwrite) {
        for (tree, path) in trees(site) {
            let inside = inside(path, target).filter(|inside| tree != Some(TreeName::Root) || captured_of_root(inside));
            if let Some(inside) = &inside {
                places.push(Place { tree, path: inside.as_os_str().as_encoded_bytes().into() });
            }
            if inside.is_some() || is_at_or_above(target, path) {
                what.get_or_insert_with(|| format!("{} is where site {} lives", target.display(), site.name));
            }
        }
    }
    what.map(|what| Part { site, what, places })
}

/// Where `path` is below the directory `above`, both without links; empty for the directory itself.
fn inside(above: &Path, path: &Path) -> Option<PathBuf> {
    let id = identity(above)?;
    let (real, rest) = existing(path);
    let found = real.ancestors().find(|ancestor| identity(ancestor) == Some(id))?;
    Some(real.strip_prefix(found).ok()?.join(rest))
}

/// Whether `path` is the directory `above` or inside it, by device and inode. Of a path that doesn't exist, what exists of it counts.
fn is_at_or_above(above: &Path, path: &Path) -> bool {
    inside(above, path).is_some()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The path with its symlinks resolved, as far as it exists; and the rest of it.
fn existing(path: &Path) -> (PathBuf, PathBuf) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found =
        path.ancestors().find_map(|ancestor| Some((ancestor.canonicalize().ok()?, path.strip_prefix(ancestor).ok()?.to_owned())));
    found.unwrap_or((path.clone(), PathBuf::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_what() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("site/wp-content/uploads")).unwrap();
        std::fs::create_dir(root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.join("site/wp-content"), root.join("link")).unwrap();
        let content = root.join("site/wp-content");
        for (path, expected) in [
            ("site/wp-content", Some("")),
            ("link", Some("")),
            ("link/uploads", Some("uploads")),
            ("link/none/yet", Some("none/yet")),
            ("site/wp-content/uploads", Some("uploads")),
            ("site", None),
            ("elsewhere", None),
            ("none", None),
        ] {
            assert_eq!(inside(&content, &root.join(path)), expected.map(PathBuf::from), "{path}");
        }
        assert!(is_at_or_above(&root.join("site"), &content));
        assert!(!is_at_or_above(&root.join("none"), &content));
    }
}
