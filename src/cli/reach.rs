//! The second half of `check`: tries what the configuration names, and changes nothing but the probe of [`probes`].

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::{format, probes};
use crate::config::{Settings, SiteSettings, StoreSettings};
use crate::database::{DatabaseError, Dump};
use crate::error::{Exit, Explain, render};
use crate::files::{FilesError, Tree};
use crate::repository::layout::Layout;
use crate::repository::snapshots;
use crate::storage::{self, S3Store, Store};

/// Tries the store and each site; the first failure is the exit code, else whether an account can't see everything.
pub(super) async fn all(settings: &Settings, cancel: &CancellationToken, out: &mut Output) -> Exit {
    let mut worst = Exit::Success;
    out.line("\ntried");
    let (mut store, mut bucket) = (None, None);
    let opened = match &settings.store {
        StoreSettings::Local { .. } => storage::open(&settings.store).await.map(|opened| store = Some(opened)),
        StoreSettings::S3(s3) => S3Store::new(s3).await.map(Arc::new).map(|opened| {
            store = Some(Arc::clone(&opened) as _);
            bucket = Some((opened, s3));
        }),
    };
    if let Err(error) = opened {
        worst = fails(out, "store", &error, worst);
    }
    for site in &settings.sites {
        if let Some(store) = &store {
            let (listed, exit) = try_store(store.as_ref(), site, out, worst).await;
            worst = exit;
            // A store that can't be reached answers nothing else.
            if let (true, Some((bucket, s3))) = (listed, &bucket) {
                worst = probes::try_guards(bucket, s3, site, out, worst).await;
            }
        }
        worst = match tokio::task::block_in_place(|| try_files(site)) {
            Ok(()) => holds(out, &format!("{}: wp-content", site.name), "can be read", worst),
            Err(error) => fails(out, &format!("{}: wp-content", site.name), &error, worst),
        };
        worst = try_database(site, cancel, out, worst).await;
    }
    worst
}

/// Whether it could be listed, beside the exit code.
async fn try_store(store: &dyn Store, site: &SiteSettings, out: &mut Output, worst: Exit) -> (bool, Exit) {
    let what = format!("{}: store", site.name);
    match snapshots::list(store, &Layout::new(site.name.clone()), None).await {
        Ok(found) => {
            let newest = found.last().map_or_else(String::new, |f| format!(", the newest of {}", format::local_time(f.key.time)));
            (true, holds(out, &what, &format!("{}{newest}", format::plural(found.len() as u64, "snapshot")), worst))
        }
        Err(error) => (false, fails(out, &what, &error, worst)),
    }
}

fn try_files(site: &SiteSettings) -> Result<(), FilesError> {
    let trees = site.trees.iter().map(|tree| &tree.path);
    std::iter::once(&site.content_dir).chain(trees).try_for_each(|path| Tree::open(path).map(|_| ()))
}

async fn try_database(site: &SiteSettings, cancel: &CancellationToken, out: &mut Output, worst: Exit) -> Exit {
    let what = format!("{}: database", site.name);
    match ask(site, cancel).await {
        Ok((server, hidden)) if hidden.is_empty() => holds(out, &what, &format!("{server}; the account sees everything"), worst),
        Ok((server, hidden)) => {
            out.line(format_args!("  {what}: {server}; the account can't see everything:"));
            for finding in hidden {
                out.line(format_args!("    {}: {}", finding.subject, finding.detail));
            }
            first(worst, Exit::Findings)
        }
        Err(error) => fails(out, &what, &error, worst),
    }
}

async fn ask(
    site: &SiteSettings,
    cancel: &CancellationToken,
) -> Result<(String, Vec<crate::repository::entry::Finding>), DatabaseError> {
    let mut dump = Dump::open(&site.database, cancel.clone()).await?;
    let hidden = dump.hidden().await?;
    let server = format!("{} {}", dump.server().flavour, dump.server().version);
    dump.close().await?;
    Ok((server, hidden))
}

fn holds(out: &mut Output, what: &str, how: &str, worst: Exit) -> Exit {
    out.line(format_args!("  {what}: {how}"));
    worst
}

pub(super) fn fails(out: &mut Output, what: &str, error: &dyn Explain, worst: Exit) -> Exit {
    out.line(format_args!("  {what}: FAILED: {}", render(error).replace('\n', "\n  ")));
    first(worst, error.exit())
}

/// The first failure stays; one outranks what an account can't see.
fn first(worst: Exit, next: Exit) -> Exit {
    if matches!(worst, Exit::Success | Exit::Findings) { next } else { worst }
}
