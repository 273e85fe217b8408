//! `restore`: a snapshot back into a directory, a database, or a stream of SQL.

use std::sync::Arc;

use super::args::RestoreArgs;
use super::failure::Failure;
use super::format::{bytes, local_time};
use super::output::Output;
use super::sites::choose_site;
use crate::config::{DatabaseSettings, Secret, Settings, SiteSettings};
use crate::error::Exit;
use crate::progress::{Progress, Silent};
use crate::repository::layout::Layout;
use crate::restore::Restore;
use crate::storage;

/// The site's server, by the account that was named or the site's own.
fn account(site: &SiteSettings, args: &RestoreArgs) -> Result<DatabaseSettings, Failure> {
    let mut settings = site.database.clone();
    if let Some(user) = &args.user {
        settings.user = user.clone();
        settings.password = match &args.password_file {
            None => Secret::default(),
            Some(file) => {
                let password = std::fs::read_to_string(file).map_err(|error| {
                    let what = format!("the password's file {} can't be read: {error}", file.display());
                    Failure::new(Exit::Denied, what, "name a file that this user may read")
                })?;
                Secret::new(password.strip_suffix('\n').unwrap_or(&password).to_owned())
            }
        };
    }
    Ok(settings)
}

/// Runs the subcommand.
pub(super) async fn run(settings: &Settings, args: &RestoreArgs, out: &mut Output) -> Result<Exit, Failure> {
    if args.files.is_none() && args.database.is_none() && !args.sql {
        return Err(Failure::new(Exit::Usage, "nothing to restore to", "give --files DIR, --database NAME, or --sql"));
    }
    let site = choose_site(settings, args.site.as_deref())?;
    let store = storage::open(&settings.store).await?;
    let cancel = super::signals::cancelled_by_signals();
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let layout = Layout::new(site.name.clone());
    let mut restore = Restore::open(store, layout, &args.snapshot, progress, cancel).await?;
    let manifest = restore.manifest();
    // With --sql standard output is the stream; what is told goes to standard error.
    let told = format!(
        "snapshot {} of site {}, point in time {}",
        manifest.seq,
        manifest.site,
        local_time(manifest.times.point_in_time)
    );
    out.note(&told);
    if let Some(target) = &args.files {
        let restored = restore.files(target, args.overwrite).await?;
        let written = restored.written;
        out.note(format!(
            "files: {} files, {} directories, {} links, {} written to {}",
            written.files,
            written.dirs,
            written.symlinks,
            bytes(written.bytes),
            target.display()
        ));
        if written.owners_not_set > 0 {
            out.note(format!("  owners of {} entries could not be set: run as root to set them", written.owners_not_set));
        }
        if restored.torn > 0 {
            out.note(format!("  {} files were being written when they were captured", restored.torn));
        }
    }
    if let Some(name) = &args.database {
        let restored = restore.database(&account(site, args)?, name, args.overwrite).await?;
        out.note(format!("database: {} tables, {} rows loaded into {name}", restored.tables, restored.rows));
    }
    if args.sql {
        let restored = restore.sql(&mut std::io::stdout()).await?;
        out.note(format!("database: {} tables, {} rows written as SQL", restored.tables, restored.rows));
    }
    Ok(Exit::Success)
}
