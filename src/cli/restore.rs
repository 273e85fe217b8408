//! `restore`: a snapshot back into a directory, a database, or a stream of SQL.

use std::sync::Arc;

use super::account::account;
use super::args::{Global, RestoreArgs};
use super::failure::Failure;
use super::format::{local_time, plural};
use super::output::Output;
use super::replaced::{Replaced, UnderWay};
use super::sites::choose_site;
use super::{restore_files, safety, suspect};
use crate::config::{Identities, Settings, TrustedKeys};
use crate::database::{Definer, Existing};
use crate::error::Exit;
use crate::progress::{Progress, Silent};
use crate::repository::layout::Layout;
use crate::repository::sign::SigningKey;
use crate::restore::{DatabaseOptions, Restore, Selection, TablesRestored};
use crate::storage;

/// Runs the subcommand.
pub(super) async fn run(settings: &Settings, global: &Global, args: &RestoreArgs, out: &mut Output) -> Result<Exit, Failure> {
    if args.files.is_none() && args.database.is_none() && !args.sql {
        return Err(Failure::new(Exit::Usage, "nothing to restore to", "give --files DIR, --database NAME, or --sql"));
    }
    if args.account.user.is_some() && args.database.is_none() {
        return Err(Failure::new(
            Exit::Usage,
            "--user is of a database that is loaded",
            "give --database NAME, too, or leave it out",
        ));
    }
    let site = choose_site(settings, args.site.as_deref())?;
    let identities = Identities::read(&args.unlock.identities)?;
    let store = storage::open(&settings.store).await?;
    let cancel = super::signals::cancelled_by_signals();
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let layout = Layout::new(site.name.clone());
    let mut restore = Restore::open(Arc::clone(&store), layout.clone(), &args.snapshot, Arc::clone(&progress), cancel.clone())
        .await?
        .trusting(&site.trusted)?
        .unlock(&identities);
    if args.salvage {
        restore = restore.salvaging(&identities, &site.trusted).await?;
    }
    let manifest = restore.manifest();
    // With --sql standard output is the stream; what is told goes to standard error.
    let told = format!(
        "snapshot {} of site {}, point in time {}",
        manifest.seq,
        manifest.site,
        local_time(manifest.times.point_in_time)
    );
    out.note(&told);
    suspect::warn((&store, &layout, &site.trusted), manifest, out).await?;
    if site.trusted.is_empty() {
        let signer = restore.signer().map_or_else(|| "signed by nobody".to_owned(), |key| format!("signed by {key}"));
        out.note(format!("  {signer}; trust.keys of the configuration names no key, so anyone is believed"));
    }
    if !restore.passed_over().is_empty() {
        let numbers = restore.passed_over().iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        out.note(format!("  newer, and not meant by latest, as a restore made it before it replaced the site: {numbers}"));
    }
    // All that can be refused is, before anything is touched.
    let selection = Selection::new(&args.tables)?;
    let account = args.database.as_ref().map(|_| account(site, &args.account)).transpose()?;
    if args.database.is_some() || args.sql {
        restore.check_database(account.as_ref(), &selection).await?;
    }
    let replaced = Replaced::by(settings, args)?;
    // After `latest` was looked up: it is not to mean the one that is made now.
    let made = safety::before(settings, global, &replaced, args, out).await?;
    let under_way = replaced.hold(&settings.daemon.state, args)?;
    if args.of_files.delete {
        for (site, places, key) in made {
            let layout = Layout::new(site.name.clone());
            let safety = Restore::open(Arc::clone(&store), layout, &key, Arc::clone(&progress), cancel.clone()).await?;
            // Made a moment ago, by this machine.
            let own = SigningKey::load(&settings.daemon.state)?.map(|own| own.public());
            let safety = safety.trusting(&TrustedKeys::new(own))?;
            restore.also_spare(safety.unlock(&identities), places);
        }
    }
    let mut lost = false;
    if let Some(target) = &args.files {
        lost |= restore_files::run(&mut restore, site, args, target, global.is_verbose(), out).await?;
    }
    if let (Some(name), Some(account)) = (&args.database, account) {
        let options = DatabaseOptions {
            existing: if args.overwrite { Existing::Replace } else { Existing::Refuse },
            connections: args.connections,
            definer: args.definer.clone(),
            selection: selection.clone(),
        };
        let restored = match args.swap {
            true => restore.swap(&account, name, &options).await?,
            false => restore.database(&account, name, &options).await?,
        };
        let tables = restored.tables;
        out.note(format!("database: {} tables, {} rows loaded into {name}", tables.tables, tables.rows));
        tell_left_out(&tables, out);
        lost |= tell_lost(&tables, out);
        for change in &restored.changes {
            out.note(format!("  changed, as this server is of another kind: {change}"));
        }
        match (&args.definer, restored.loaded.definers_changed) {
            (_, 0) => {}
            (Definer::Drop, changed) => out.note(format!(
                "  {changed} views, functions, procedures, triggers or events that had a definer run as {:?} now (--definer)",
                account.user
            )),
            (_, changed) => {
                out.note(format!("  {changed} views, functions, procedures, triggers or events got the definer that was named"))
            }
        }
        if let Some(swapped) = restored.swapped {
            match (&swapped.replaced, swapped.drop_statement()) {
                (Some(schema), Some(drop)) => {
                    out.note(format!(
                        "  the {} tables that stood there are kept in {schema}; to drop them: {drop}",
                        swapped.tables
                    ));
                }
                _ => out.note("  nothing stood there"),
            }
        }
    }
    if args.sql {
        let restored = restore.sql(&mut std::io::stdout(), &selection, &args.definer).await?;
        out.note(format!("database: {} tables, {} rows written as SQL", restored.tables, restored.rows));
        tell_left_out(&restored, out);
        lost |= tell_lost(&restored, out);
    }
    if lost {
        // What says that a restore onto the site was begun stays: it is a mixture.
        let what = "not all of the snapshot could be had: what is named above as lost is in no pack of the store";
        return Err(Failure::new(Exit::Data, what, "look for it in other snapshots (`wp-backup-agent snapshots find`)"));
    }
    under_way.into_iter().try_for_each(UnderWay::end)?;
    Ok(Exit::Success)
}

/// Whether something is lost.
fn tell_lost(restored: &TablesRestored, out: &mut Output) -> bool {
    let lost = &restored.lost;
    if lost.is_nothing() {
        return false;
    }
    out.note(format!("  LOST: {}; these are not whole, or not there:", plural(lost.rows, "row")));
    for name in &lost.names {
        out.note(format!("    {name}"));
    }
    true
}

fn tell_left_out(restored: &TablesRestored, out: &mut Output) {
    if restored.tables_left_out > 0 || restored.objects_left_out > 0 {
        out.note(format!(
            "  left out: {} tables with {} rows; {} views, sequences, triggers, functions, procedures or events",
            restored.tables_left_out, restored.rows_left_out, restored.objects_left_out
        ));
    }
}
