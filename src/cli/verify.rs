//! `verify`

use super::args::VerifyArgs;
use super::failure::Failure;
use super::format::{bytes, plural};
use super::output::Output;
use super::signals::cancelled_by_signals;
use super::sites::choose_site;
use crate::config::{Identities, Settings};
use crate::error::{Exit, render};
use crate::repository::layout::Layout;
use crate::repository::verify::{Fault, Report, Verify};
use crate::storage;

/// Looks at a site's part of the store and says what is wrong with it.
pub(super) async fn run(settings: &Settings, args: &VerifyArgs, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, args.site.as_deref())?;
    let identities = Identities::read(&args.unlock.identities)?;
    let verify = Verify {
        store: storage::open(&settings.store).await?,
        layout: Layout::new(site.name.clone()),
        trusted: site.trusted.clone(),
        identities,
        level: args.level(jiff::Timestamp::now()),
        seen: None,
        known_bad: Default::default(),
        cancel: cancelled_by_signals(),
    };
    let (report, kept) = verify.run_and_keep(&settings.daemon.state).await?;
    if let Err(error) = kept {
        // Another machine than the one that is backed up need not keep it; it only lacks what the next verify would compare with.
        out.note(format!("what was found is not kept here: {}", render(&error)));
    }
    if args.json {
        out.json(&report);
    } else {
        tell(&report, out);
    }
    Ok(if report.is_fine() { Exit::Success } else { Exit::Data })
}

fn tell(report: &Report, out: &mut Output) {
    let depth = match report.share {
        Some(1) => "every pack was read".to_owned(),
        Some(of) => format!("1 of {of} packs was read"),
        None => report.level.clone(),
    };
    let needed = format!("{} ({})", plural(report.needed.count, "pack"), bytes(report.needed.bytes));
    out.line(format!("{} need {needed}; {depth}", plural(report.snapshots, "snapshot")));
    if report.looked_at.count > 0 {
        out.line(format!("looked at: {} ({})", plural(report.looked_at.count, "pack"), bytes(report.looked_at.bytes)));
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
    if report.is_fine() {
        out.line("nothing is wrong");
    } else {
        out.line(format!("{} found; what to do: docs/VERIFY.md", plural(report.fault_count, "fault")));
    }
}
