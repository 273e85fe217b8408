//! `verify`

use std::sync::Arc;

use serde::Serialize;

use super::account::account;
use super::args::VerifyArgs;
use super::failure::Failure;
use super::format::{bytes, plural};
use super::output::Output;
use super::signals::cancelled_by_signals;
use super::sites::choose_site;
use crate::config::{Identities, Settings};
use crate::database::DEFAULT_CONNECTIONS;
use crate::error::{Exit, render};
use crate::progress::Silent;
use crate::repository::layout::Layout;
use crate::repository::receipt;
use crate::repository::verify::{Fault, Report, Verify};
use crate::restore::{RestoreError, Scratch, TrialEnded, verify_by_trial};
use crate::storage;

/// Looks at a site's part of the store and says what is wrong with it.
pub(super) async fn run(settings: &Settings, args: &VerifyArgs, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, args.site.as_deref())?;
    if args.account.user.is_some() && !args.restore {
        return Err(Failure::new(Exit::Usage, "--user is of a database that is loaded", "give --restore, too, or leave it out"));
    }
    let identities = Identities::read(&args.unlock.identities)?;
    let store = storage::open(&settings.store).await?;
    let url = store.url();
    let layout = Layout::new(site.name.clone());
    let verify = Verify {
        store: Arc::clone(&store),
        layout: layout.clone(),
        trusted: site.trusted.clone(),
        identities,
        level: args.level(),
        own: None,
        seen: None,
        known_bad: Default::default(),
        cancel: cancelled_by_signals(),
    };
    let state = &settings.daemon.state;
    let ended = if args.restore {
        let dir = args.scratch.clone().unwrap_or_else(|| state.clone());
        let scratch = Scratch { dir, database: account(site, &args.account)?, connections: DEFAULT_CONNECTIONS };
        verify_by_trial(verify, &scratch, state, Arc::new(Silent)).await?
    } else {
        let (report, kept) = verify.run_and_keep(state).await?;
        TrialEnded { report, kept: kept.map_err(RestoreError::from), trial: Ok(()) }
    };
    let says_something = ended.says_something();
    let TrialEnded { report, kept, trial } = ended;
    if let Err(error) = kept {
        // Another machine than the one that is backed up need not keep it; it only lacks what the next verify would compare with.
        out.note(format!("what was found is not kept here: {}", render(&error)));
    }
    if args.json {
        out.json(&Answer { api: 1, site: site.name.as_str(), report: &report });
    } else {
        tell(&report, out);
    }
    if let Some(standby) = &args.receipt
        && says_something
    {
        match receipt::leave(store.as_ref(), &layout, standby, &report, state).await {
            Ok(left) => out.note(format!("left a receipt: {left}")),
            Err(error) if report.is_fine() => return Err(error.into()),
            // What is wrong matters more.
            Err(error) => out.note(render(&error)),
        }
    }
    // What was found of the structure is told all the same.
    match trial {
        // What is wrong in the store matters more than what is left behind here.
        Err(error) if !report.is_fine() => {
            out.note(render(&error));
            return Ok(Exit::Data);
        }
        trial => trial?,
    }
    match (report.is_fine(), report.snapshots) {
        (true, 0) => Err(Failure::new(
            Exit::NoInput,
            format!("site {} has no snapshot in {url}, so there is nothing to verify", site.name),
            "see that `store.url` and the site's name are those of the machine that is backed up",
        )),
        (true, _) => Ok(Exit::Success),
        (false, _) => Ok(Exit::Data),
    }
}

/// As `--json` prints it (docs/VERIFY.md).
#[derive(Serialize)]
struct Answer<'a> {
    api: u32,
    site: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

fn tell(report: &Report, out: &mut Output) {
    let depth = match report.share {
        Some(1) => "every pack was read".to_owned(),
        Some(of) => format!("1 of {of} packs was read"),
        None if report.level != "checksums" => "no pack was read, and no checksum asked for".to_owned(),
        None => "no pack was read; the store was asked for its checksums".to_owned(),
    };
    let needed = format!("{} ({})", plural(report.needed.count, "pack"), bytes(report.needed.bytes));
    out.line(format!("{} need {needed}; {depth}", plural(report.snapshots, "snapshot")));
    if report.looked_at.count > 0 {
        out.line(format!("looked at: {} ({})", plural(report.looked_at.count, "pack"), bytes(report.looked_at.bytes)));
    }
    if let Some(tried) = &report.tried {
        out.line(format!(
            "snapshot {} was restored and compared: {} ({}), {} with {}",
            tried.seq,
            plural(tried.files, "file"),
            bytes(tried.bytes),
            plural(tried.tables, "table"),
            plural(tried.rows, "row"),
        ));
        for what in &tried.not_compared {
            out.line(format!("not compared: {what}"));
        }
    }
    for (signer, count) in &report.signers {
        out.line(format!("{} signed by {signer}", plural(*count, "snapshot")));
    }
    for what in &report.not_looked_at {
        out.line(format!("not looked at: {what}"));
    }
    for Fault { kind, object, detail, snapshots } in &report.faults {
        let touched = match snapshots {
            Some((first, last)) if first == last => format!(" (snapshot {first})"),
            Some((first, last)) => format!(" (snapshots {first} to {last})"),
            None => String::new(),
        };
        out.line(format!("FAULT: {kind}: {object}{touched}: {detail}"));
    }
    let told = report.faults.len() as u64;
    if report.fault_count > told {
        out.line(format!("and {} more", report.fault_count - told));
    }
    if report.is_fine() && report.snapshots > 0 && (report.level != "restore" || report.tried.is_some()) {
        out.line("nothing is wrong");
    } else if !report.is_fine() {
        out.line(format!("{} found; what to do: docs/VERIFY.md", plural(report.fault_count, "fault")));
    }
}
