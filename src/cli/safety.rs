//! The snapshot that is made before a restore replaces what the site lives on.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{Global, RestoreArgs};
use super::client;
use super::failure::Failure;
use super::format;
use super::output::Output;
use super::progress::{Display, follow};
use super::signals::cancelled_by_signals;
use crate::backup::{RunReport, Trigger};
use crate::config::{Settings, SiteSettings, TreeName};
use crate::daemon::control::{Client, ClientError};
use crate::daemon::{Agent, run_in_foreground};
use crate::error::Exit;

/// Makes a snapshot, if what is to be restored replaces the site's own files or database, and names it.
pub(super) async fn before(
    settings: &Settings,
    global: &Global,
    site: &SiteSettings,
    args: &RestoreArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    if args.of_files.no_safety_snapshot || args.of_files.dry_run {
        return Ok(());
    }
    let Some(what) = replaced(site, args) else { return Ok(()) };
    out.note(format!("{what}: a snapshot is made first (--no-safety-snapshot: without)"));
    let report = match by_daemon(&client(global), site).await {
        Err(ClientError::NoDaemon { .. }) => in_foreground(settings, site).await?,
        answer => answer.map_err(|error| refused(crate::error::Explain::exit(&error), &crate::error::render(&error)))?,
    };
    match &report.snapshot {
        Some(snapshot) => {
            let findings: u64 = snapshot.findings.iter().filter(|(code, _)| code.is_loss()).map(|(_, count)| count).sum();
            let lacks = match findings {
                0 => String::new(),
                _ => format!("; {} not captured, `snapshots show {}` says what", format::plural(findings, "thing"), snapshot.seq),
            };
            out.note(format!("safety snapshot: {}{lacks}", snapshot.seq));
            Ok(())
        }
        None => Err(refused(report.result, report.error.as_deref().unwrap_or("the run ended without saying why"))),
    }
}

fn refused(exit: Exit, why: &str) -> Failure {
    let exit = if exit == Exit::Success { Exit::Failure } else { exit };
    Failure::new(
        exit,
        format!("the snapshot before the restore failed, and nothing was restored: {why}"),
        "mend that, or give --no-safety-snapshot to restore without one",
    )
}

/// What of the site would be replaced, in words.
fn replaced(site: &SiteSettings, args: &RestoreArgs) -> Option<String> {
    if let Some(name) = &args.database
        && *name == site.database.name
        && (args.overwrite || args.swap)
    {
        return Some(format!("{name} is the database of site {}", site.name));
    }
    // Else the directory has to be empty.
    let target = args.files.as_ref().filter(|_| args.overwrite)?;
    let own = std::iter::once((None, &site.content_dir)).chain(site.trees.iter().map(|tree| (Some(tree.name), &tree.path)));
    for (tree, path) in own {
        // Much that isn't the site's may lie inside the root.
        let inside_counts = tree != Some(TreeName::Root);
        if is_at_or_above(target, path) || (inside_counts && is_at_or_above(path, target)) {
            return Some(format!("{} is where site {} lives", target.display(), site.name));
        }
    }
    None
}

/// Whether `path` is the directory `above` or inside it, by device and inode. Of a path that doesn't exist, what exists of it counts.
fn is_at_or_above(above: &Path, path: &Path) -> bool {
    let Some(above) = identity(above) else { return false };
    existing(path).ancestors().any(|ancestor| identity(ancestor) == Some(above))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The path with its symlinks resolved, or the innermost directory on the way to it that exists.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok()).unwrap_or(path)
}

/// Asks the daemon for a run and waits for it.
async fn by_daemon(client: &Client, site: &SiteSettings) -> Result<RunReport, ClientError> {
    let accepted = client.run_for_safety(site.name.as_str()).await?;
    follow(client, accepted.run).await
}

async fn in_foreground(settings: &Settings, site: &SiteSettings) -> Result<RunReport, Failure> {
    let runner = Arc::new(Agent::open(settings).await?);
    let mut display = Display::new();
    let cancel = cancelled_by_signals();
    let report =
        run_in_foreground(&settings.daemon.state, site, Trigger::Safety, runner, cancel, |figures| display.show(figures)).await;
    display.end();
    report.map_err(|error| refused(crate::error::Explain::exit(&error), &crate::error::render(&error)))
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
        for (path, inside) in [
            ("site/wp-content", true),
            ("link", true),
            ("link/uploads", true),
            ("link/none/yet", true),
            ("site/wp-content/uploads", true),
            ("site", false),
            ("elsewhere", false),
            ("none", false),
        ] {
            assert_eq!(is_at_or_above(&content, &root.join(path)), inside, "{path}");
        }
        assert!(is_at_or_above(&root.join("site"), &content));
        assert!(!is_at_or_above(&root.join("none"), &content));
    }
}
