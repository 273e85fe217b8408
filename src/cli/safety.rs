//! The snapshot that is made before a restore replaces what the site lives on.

use std::sync::Arc;

use super::args::{Global, RestoreArgs};
use super::client;
use super::failure::Failure;
use super::format;
use super::output::Output;
use super::progress::{Display, follow};
use super::replaced::{Part, Replaced};
use super::signals::cancelled_by_signals;
use crate::backup::{RunReport, Trigger};
use crate::config::{Settings, SiteSettings};
use crate::daemon::control::{Client, ClientError};
use crate::daemon::{Agent, run_in_foreground};
use crate::error::Exit;
use crate::restore::Place;

/// Makes a snapshot of each site that the restore replaces something of, and names it. What of the site is replaced, and the snapshot's key.
pub(super) async fn before<'s>(
    settings: &Settings,
    global: &Global,
    replaced: &Replaced<'s>,
    args: &RestoreArgs,
    out: &mut Output,
) -> Result<Vec<(&'s SiteSettings, Vec<Place>, String)>, Failure> {
    let mut made = Vec::new();
    if args.of_files.no_safety_snapshot || args.of_files.dry_run {
        return Ok(made);
    }
    for Part { site, what, places } in &replaced.parts {
        out.note(format!("{what}: a snapshot is made first (--no-safety-snapshot: without)"));
        let report = match by_daemon(&client(global), site).await {
            Err(ClientError::NoDaemon { .. }) => in_foreground(settings, site).await?,
            answer => answer.map_err(|error| refused(crate::error::Explain::exit(&error), &crate::error::render(&error)))?,
        };
        let Some(snapshot) = &report.snapshot else {
            return Err(refused(report.result, report.error.as_deref().unwrap_or("the run ended without saying why")));
        };
        let findings: u64 = snapshot.findings.iter().filter(|(code, _)| code.is_loss()).map(|(_, count)| count).sum();
        let lacks = match findings {
            0 => String::new(),
            _ => format!("; {} not captured, `snapshots show {}` says what", format::plural(findings, "thing"), snapshot.seq),
        };
        out.note(format!("safety snapshot: {}{lacks}", snapshot.seq));
        made.push((*site, places.clone(), snapshot.key.clone()));
    }
    Ok(made)
}

fn refused(exit: Exit, why: &str) -> Failure {
    let exit = if exit == Exit::Success { Exit::Failure } else { exit };
    Failure::new(
        exit,
        format!("the snapshot before the restore failed, and nothing was restored: {why}"),
        "mend that, or give --no-safety-snapshot to restore without one",
    )
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
