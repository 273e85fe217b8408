//! `run-now`

use std::sync::Arc;

use super::args::{Global, RunNowArgs};
use super::failure::Failure;
use super::output::Output;
use super::progress::{Display, follow};
use super::signals::cancelled_by_signals;
use super::{format, sites, suspect, work};
use crate::backup::{RunOptions, RunReport, Trigger};
use crate::config::{self, Identities};
use crate::daemon::control::Client;
use crate::daemon::queue::Disposition;
use crate::daemon::{Agent, run_in_foreground};
use crate::error::Exit;
use crate::repository::entry::FindingCode;

/// Of the code that makes a snapshot suspect, so many files are shown; its findings have more.
const CODE_SHOWN: usize = 10;

/// Asks the daemon for a run, and follows it when told to.
pub(super) async fn ask(client: &Client, args: &RunNowArgs, out: &mut Output) -> Result<Exit, Failure> {
    let status = client.status().await?;
    let site = sites::choose(&status.sites, |site| &site.site, args.site.as_deref())?;
    let accepted = client.run(&site.site).await?;
    let disposition = match accepted.disposition {
        Disposition::Started => "started",
        Disposition::Joined => "joined",
        Disposition::Queued => "queued",
    };
    if !args.wait {
        out.line(format_args!("{} {} {disposition}", accepted.run, accepted.site));
        return Ok(Exit::Success);
    }
    out.note(format_args!("run {} of {}: {disposition}", accepted.run, accepted.site));
    Ok(conclude(&follow(client, accepted.run).await?, out))
}

/// Runs in this process.
pub(super) fn foreground(global: &Global, args: &RunNowArgs, out: &mut Output) -> Result<Exit, Failure> {
    let settings = config::load(&global.config)?;
    let site = sites::choose_site(&settings, args.site.as_deref())?;
    let options = RunOptions { full: args.full, identities: Identities::read(&args.identities)? };
    work(async {
        let runner = Arc::new(Agent::open(&settings).await?.with_options(options));
        let mut display = Display::new();
        let report =
            run_in_foreground(&settings.daemon.state, site, Trigger::Command, runner, cancelled_by_signals(), |figures| {
                display.show(figures)
            })
            .await;
        display.end();
        Ok(conclude(&report?, out))
    })
}

/// Says how a run ended; its result is the exit code.
fn conclude(report: &RunReport, out: &mut Output) -> Exit {
    let seconds = report.finished.duration_since(report.started).as_secs();
    if let Some(snapshot) = &report.snapshot {
        let counts = &snapshot.counts;
        out.line(format_args!(
            "{} {} snapshot {}: {} entries of files ({}), {}, {}; uploaded {} in {}; took {}",
            report.run,
            report.site,
            snapshot.seq,
            format::count(counts.file_entries),
            format::bytes(counts.file_bytes),
            format::plural(counts.tables, "table"),
            format::plural(counts.rows, "row"),
            format::bytes(snapshot.uploaded.bytes),
            format::plural(snapshot.uploaded.packs, "pack"),
            format::duration(seconds),
        ));
        for finding in snapshot.first_findings.iter().filter(|finding| finding.code == FindingCode::SealedBefore) {
            out.note(format_args!("wp-backup-agent: {}: {}", finding.subject, finding.detail));
        }
        for line in suspect::told(snapshot.seq, &snapshot.suspect, snapshot.judged_against) {
            out.note(format_args!("wp-backup-agent: {line}"));
        }
        for finding in
            snapshot.first_findings.iter().filter(|finding| finding.code == FindingCode::PhpUnderUploads).take(CODE_SHOWN)
        {
            out.note(format_args!("wp-backup-agent: {}: {}: {}", format::name(&finding.code), finding.subject, finding.detail));
        }
        let mut shown = 0;
        for finding in snapshot.first_findings.iter().filter(|finding| finding.code.is_loss()) {
            shown += 1;
            out.note(format_args!("wp-backup-agent: {}: {}: {}", format::name(&finding.code), finding.subject, finding.detail));
        }
        let all: u64 = snapshot.findings.iter().filter(|(code, _)| code.is_loss()).map(|(_, count)| count).sum();
        if all > shown {
            out.note(format_args!("wp-backup-agent: and {} more", format::count(all - shown)));
        }
    }
    if report.result != Exit::Success && report.snapshot.is_none() {
        let error = report.error.as_deref().unwrap_or("the run ended without saying why");
        out.note(format_args!("wp-backup-agent: {}: {error}", report.site));
    }
    report.result
}
