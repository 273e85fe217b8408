//! `restore --files`: the options, and what is said about it.

use std::path::Path;

use super::args::RestoreArgs;
use super::failure::Failure;
use super::format::{bytes, plural};
use super::output::Output;
use crate::config::{SiteSettings, TreeName};
use crate::files::{Action, Delete, NotSet, OwnerMap, PathSelection, Rules, Scope, TargetOptions, Tell};
use crate::repository::byte_text::ByteText;
use crate::restore::{FilesRestored, Restore};

/// Restores the files that were asked for; whether some are lost.
pub(super) async fn run(
    restore: &mut Restore,
    site: &SiteSettings,
    args: &RestoreArgs,
    target: &Path,
    verbose: bool,
    out: &mut Output,
) -> Result<bool, Failure> {
    let of_files = &args.of_files;
    let delete = match of_files.delete {
        true => Some(Delete { rules: rules(site, of_files.tree)?, excluded: of_files.delete_excluded }),
        false => None,
    };
    let options = TargetOptions {
        overwrite: args.overwrite,
        dry_run: of_files.dry_run,
        checksum: of_files.checksum,
        delete,
        paths: PathSelection::new(&of_files.paths)?,
        owners: OwnerMap::new(of_files.owner.as_deref(), of_files.numeric_owner)?,
        tell: verbose.then(|| -> Tell { Box::new(tell) }),
    };
    let restored = restore.files_into(target, of_files.tree, options).await?;
    say(&restored, target, of_files.dry_run, out);
    Ok(restored.lost.0 > 0)
}

/// By which rules the tree is captured; of the root what may hold secrets always stays, whether the snapshot was to have it or not.
fn rules(site: &SiteSettings, tree: Option<TreeName>) -> Result<Rules, Failure> {
    let scope = match tree {
        None => Scope::Content,
        Some(TreeName::Root) => Scope::Root { secrets: false },
        Some(name) => Scope::Elsewhere(name.as_str()),
    };
    Ok(Rules::within(site.default_excludes, &site.exclude, scope)?)
}

/// A path on a line of its own, on standard output. Called from several threads: a line is written as one.
fn tell(action: Action, path: &ByteText) {
    let what = match action {
        Action::Create => "create",
        Action::Replace => "replace",
        Action::Metadata => "metadata",
        Action::Keep => "keep",
        Action::Delete => "delete",
        Action::Leave => "leave",
    };
    let path = if path.as_bytes().is_empty() { ".".to_owned() } else { path.to_string() };
    Output::default().line(format_args!("{what:<9}{path}"));
}

fn say(restored: &FilesRestored, target: &Path, dry_run: bool, out: &mut Output) {
    let stats = &restored.stats;
    out.note(format!(
        "files: {}, {}, {} in {}",
        plural(stats.files, "file"),
        plural(stats.dirs, "directory").replace("directorys", "directories"),
        plural(stats.symlinks, "link"),
        target.display()
    ));
    out.note(format!(
        "  {}{} created, {} replaced, {} changed in mode, owner or time, {} kept; {} written{}",
        if dry_run { "dry run, nothing is written; would be: " } else { "" },
        stats.created,
        stats.replaced,
        stats.metadata,
        stats.kept,
        bytes(stats.bytes),
        match stats.reused_bytes {
            0 => String::new(),
            reused => format!(", {} of it taken from the files that were there", bytes(reused)),
        }
    ));
    if stats.deleted > 0 || stats.left > 0 {
        let left = "left, as snapshots leave them out or something is mounted there";
        out.note(format!("  {} deleted, {} {left}", stats.deleted, stats.left));
    }
    if stats.spared > 0 {
        let what = "a snapshot could not capture it, or left it out when it was made";
        out.note(format!("    {} of what was left: {what}; --delete spares", stats.spared));
        for path in &restored.spared {
            out.note(format!("      {}", if path.as_bytes().is_empty() { ".".to_owned() } else { path.to_string() }));
        }
    }
    if stats.owners_not_set > 0 {
        out.note(format!("  owners of {} entries could not be set: run as root to set them", stats.owners_not_set));
    }
    if stats.xattrs_not_set > 0 {
        let why = "without root, or on this file system";
        out.note(format!("  extended attributes or ACLs of {} entries could not be set {why}", stats.xattrs_not_set));
    }
    if stats.hard_links_not_made > 0 {
        out.note(format!("  {} hard links became files of their own", stats.hard_links_not_made));
    }
    for NotSet { path, what } in &restored.not_set {
        let path = if path.as_bytes().is_empty() { ".".to_owned() } else { path.to_string() };
        out.note(format!("    not restored: {path}: {what}"));
    }
    let (lost, first) = &restored.lost;
    if *lost > 0 {
        out.note(format!(
            "  LOST: {}, whose content is in no pack; what had its name in the directory is as it was",
            plural(*lost, "file")
        ));
        for path in first {
            out.note(format!("    {path}"));
        }
        if *lost > first.len() as u64 {
            out.note(format!("    and {} more", lost - first.len() as u64));
        }
    }
    if restored.torn > 0 {
        out.note(format!("  {} files were being written when they were captured", restored.torn));
    }
}
