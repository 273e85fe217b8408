//! `cancel`

use super::args::CancelArgs;
use super::failure::Failure;
use super::output::Output;
use super::sites;
use crate::daemon::control::{Client, ClientError};
use crate::error::Exit;

/// Cancels what waits first: else it would begin when the run under way ends.
pub(super) async fn ask(client: &Client, args: &CancelArgs, out: &mut Output) -> Result<Exit, Failure> {
    let status = client.status().await?;
    let site = sites::choose(&status.sites, |site| &site.site, args.site.as_deref())?;
    let runs: Vec<_> = site.queued.iter().chain(&site.running).collect();
    if runs.is_empty() {
        let what = format!("site {}: no run is under way or queued", site.site);
        return Err(Failure::new(Exit::NoInput, what, "`wp-backup-agent status` shows what runs"));
    }
    for run in runs {
        match client.cancel(run.run).await {
            Ok(_) => out.line(format_args!("{} {} is being cancelled", run.run, run.site)),
            // It ended meanwhile.
            Err(ClientError::Refused { status: 404 | 409, .. }) => out.line(format_args!("{} {} is over", run.run, run.site)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Success)
}
