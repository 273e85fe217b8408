//! `status`

use super::args::StatusArgs;
use super::failure::Failure;
use super::output::Output;
use super::{figures, format, sites, suspect};
use crate::daemon::control::Client;
use crate::daemon::control::types::{PruneStatus, RunState, SiteState, SiteStatus, Status};
use crate::error::Exit;
use crate::repository::verify::Verified;

/// Asks the daemon and prints what it says.
pub(super) async fn show(client: &Client, args: &StatusArgs, out: &mut Output) -> Result<Exit, Failure> {
    let mut status = client.status().await?;
    if let Some(name) = &args.site {
        let site = sites::choose(&status.sites, |site| &site.site, Some(name))?.clone();
        status.sites = vec![site];
    }
    if args.json {
        out.json(&status);
    } else {
        print(&status, out);
    }
    Ok(Exit::Success)
}

fn print(status: &Status, out: &mut Output) {
    let up = format::duration(status.now.duration_since(status.started).as_secs());
    let stopping = if status.stopping { ", stopping" } else { "" };
    out.line(format_args!("wp-backup-agent {}, pid {}, up {up}{stopping}", status.version, status.pid));
    let head = ["SITE", "STATE", "SNAPSHOT", "SIZE", "UPLOADED", "LAST RUN", "WARNINGS", "NEXT RUN"].map(String::from);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(status.sites.iter().map(row)).collect();
    for line in table(&rows) {
        out.line(line);
    }
    for site in &status.sites {
        for line in details(site) {
            out.line(line);
        }
    }
}

fn row(site: &SiteStatus) -> [String; 8] {
    let none = || "-".to_owned();
    let snapshot = site.last_snapshot.as_ref();
    let size = |counts: &crate::repository::manifest::Counts| format::bytes(counts.file_bytes.saturating_add(counts.sql_bytes));
    let warnings = |last: &crate::daemon::control::types::LastSnapshot| -> u64 {
        let losses: u64 = last.snapshot.findings.iter().filter(|(code, _)| code.is_loss()).map(|(_, count)| count).sum();
        losses + last.snapshot.suspect.len() as u64
    };
    [
        site.site.clone(),
        format::name(&site.state),
        snapshot.map_or_else(|| "none yet".into(), |last| format!("{} ago", format::duration(last.age_seconds))),
        snapshot.map_or_else(none, |last| size(&last.snapshot.counts)),
        snapshot.map_or_else(none, |last| format::bytes(last.snapshot.uploaded.bytes)),
        site.last_run.as_ref().map_or_else(none, |report| format::name(&report.result)),
        snapshot.map_or_else(none, |last| format::count(warnings(last))),
        site.next_run.map_or_else(|| "on request".into(), format::local_time),
    ]
}

fn details(site: &SiteStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let run = |what: &str, run: &RunState| {
        let step = run.figures.as_ref().map(|figures| {
            let parts = [Some(figures::what(figures)), figures::sent(figures), figures::left(figures)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            let since = format::duration(i64::try_from(figures.elapsed_seconds).unwrap_or(0));
            format!(" for {since}: {}", parts.join(", "))
        });
        format!("{}: run {} {what}{}", site.site, run.run, step.unwrap_or_default())
    };
    lines.extend(site.running.as_ref().map(|running| run("is under way", running)));
    lines.extend(site.queued.as_ref().map(|queued| run("is queued", queued)));
    if let Some(last) = site.last_run.as_ref().filter(|last| last.snapshot.is_none()) {
        let error = last.error.as_deref().unwrap_or("no reason given").replace('\n', "\n  ");
        lines.push(format!("{}: the last run, {}, committed nothing: {error}", site.site, format::local_time(last.finished)));
    }
    if let Some(snapshot) = site.last_snapshot.as_ref().map(|last| &last.snapshot) {
        let told = suspect::told(snapshot.seq, &snapshot.suspect, snapshot.judged_against);
        lines.extend(told.into_iter().map(|line| format!("{}: {line}", site.site)));
    }
    lines.extend(site.prune.as_ref().map(|prune| pruning(&site.site, prune)));
    lines.extend(site.verified.iter().map(|(level, verified)| verifying(&site.site, level, verified)));
    if site.state == SiteState::Idle && site.last_snapshot.is_none() && site.last_run.is_none() {
        lines.push(format!("{}: no run yet; `wp-backup-agent run-now {}` starts one", site.site, site.site));
    }
    if site.recipients.as_ref().is_some_and(Vec::is_empty) {
        lines.push(format!("{}: backups are not encrypted: `wp-backup-agent check` says what to do", site.site));
    }
    lines.extend(site.error.as_ref().map(|error| format!("{}: {error}", site.site)));
    lines
}

fn verifying(site: &str, level: &str, verified: &Verified) -> String {
    let when = format::local_time(verified.finished);
    match verified.faults {
        0 => format!("{site}: verified {when} ({level}): nothing is wrong"),
        faults => format!(
            "{site}: verified {when} ({level}): {} FOUND: `wp-backup-agent verify` tells",
            format::plural(faults, "fault")
        ),
    }
}

fn pruning(site: &str, prune: &PruneStatus) -> String {
    let next = prune.next.map_or_else(|| "never".into(), format::local_time);
    let Some(last) = &prune.last else { return format!("{site}: pruning for the first time {next}") };
    let when = format::local_time(last.finished);
    match (&last.pruned, &last.error) {
        (Some(pruned), _) => format!(
            "{site}: pruned {when}: {} dropped, {} deleted ({}); next {next}",
            format::plural(pruned.snapshots, "snapshot"),
            format::plural(pruned.packs.count, "pack"),
            format::bytes(pruned.packs.bytes),
        ),
        (None, error) => {
            let why = error.as_deref().unwrap_or("no reason given").replace('\n', "\n  ");
            format!("{site}: the last pruning, {when}, failed: {why}")
        }
    }
}

/// Columns as wide as their widest cell, two spaces apart, nothing after the last.
fn table(rows: &[[String; 8]]) -> Vec<String> {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    rows.iter()
        .map(|row| {
            let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            line.trim_end().to_owned()
        })
        .collect()
}
