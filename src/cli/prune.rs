//! `prune`

use serde::Serialize;

use super::args::PruneArgs;
use super::failure::Failure;
use super::format::{bytes, duration, local_time, plural};
use super::output::Output;
use super::signals::cancelled_by_signals;
use super::sites::choose_site;
use crate::config::{Keep, Settings};
use crate::error::Exit;
use crate::repository::layout::Layout;
use crate::repository::prune::{Amount, Judged, Plan, Pruned};
use crate::repository::random_run_id;
use crate::repository::retention::Reason;
use crate::repository::reuse::{Rules, Since};
use crate::repository::sign::SigningKey;
use crate::storage;

/// Says what goes and what stays, and does it unless told otherwise.
pub(super) async fn run(settings: &Settings, args: &PruneArgs, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, args.site.as_deref())?;
    let keep = args.keep();
    if keep.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing says what to keep",
            "give at least one of --keep-within, --keep-last, --keep-hourly, --keep-daily, --keep-weekly, --keep-monthly, --keep-yearly",
        ));
    }
    let (store, layout) = (storage::open_deleter(&settings.store).await?, Layout::new(site.name.clone()));
    let plan = Plan::make(store.as_ref(), &layout, &keep, &site.trusted, Rules::default(), Since::now()).await?;
    if !args.json {
        tell(&plan, args.dry_run, out);
    }
    let done = if args.dry_run {
        None
    } else {
        let (id, at, cancel) = (random_run_id(), jiff::Timestamp::now(), cancelled_by_signals());
        let (key, _) = SigningKey::load_or_make(&settings.daemon.state)?;
        Some(plan.carry_out(store.as_ref(), id, at, &key, &cancel).await?)
    };
    match &done {
        _ if args.json => out.json(&Answer::of(site.name.as_str(), &keep, &plan, args.dry_run, done)),
        Some(done) => {
            let (packs, size) = (plural(done.packs.count, "pack"), bytes(done.packs.bytes));
            out.line(format_args!("dropped {}, deleted {packs} ({size})", plural(done.snapshots, "snapshot")));
        }
        None => {}
    }
    Ok(Exit::Success)
}

fn tell(plan: &Plan, dry_run: bool, out: &mut Output) {
    let now = jiff::Timestamp::now();
    out.line(format_args!("{:>6}  {:<21}  {:<10}  {:<5}  {}", "NUMBER", "WRITTEN", "AGE", "", "WHY"));
    for Judged { found, reasons, suspect } in &plan.snapshots {
        let written = jiff::Timestamp::try_from(found.modified).unwrap_or_default();
        let why: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        let (what, why) = if why.is_empty() { ("goes", "no rule keeps it".into()) } else { ("stays", why.join(", ")) };
        let why = if *suspect { format!("{why} (suspect)") } else { why };
        let age = duration(now.duration_since(written).as_secs());
        out.line(format_args!("{:>6}  {:<21}  {age:<10}  {what:<5}  {why}", found.key.seq, local_time(written)));
    }
    let amount = |amount: &Amount| format!("{} ({})", plural(amount.count, "pack"), bytes(amount.bytes));
    let go = Amount { count: plan.packs.len() as u64, bytes: plan.bytes() };
    out.line(format_args!("needed: {}", amount(&plan.needed)));
    out.line(format_args!("no longer needed, kept for the grace period: {}", amount(&plan.waiting)));
    out.line(format_args!("{}: {}", if dry_run { "would go now" } else { "go now" }, amount(&go)));
    if dry_run {
        for (key, size) in &plan.packs {
            out.line(format_args!("  {key}  {}", bytes(*size)));
        }
    }
    if !plan.held.is_empty() {
        out.line("no pack goes, because what these need can't be known:");
        for why in &plan.held {
            out.line(format_args!("  {why}"));
        }
    }
}

/// As `--json` prints it (docs/RETENTION.md).
#[derive(Serialize)]
struct Answer<'a> {
    api: u32,
    site: &'a str,
    dry_run: bool,
    keep: &'a Keep,
    snapshots: Vec<Row<'a>>,
    packs: Vec<Pack<'a>>,
    needed: Amount,
    waiting: Amount,
    held: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Pruned>,
}

#[derive(Serialize)]
struct Row<'a> {
    seq: u64,
    key: &'a str,
    written: jiff::Timestamp,
    stays: bool,
    suspect: bool,
    why: Vec<String>,
}

#[derive(Serialize)]
struct Pack<'a> {
    key: &'a str,
    bytes: u64,
}

impl<'a> Answer<'a> {
    fn of(site: &'a str, keep: &'a Keep, plan: &'a Plan, dry_run: bool, done: Option<Pruned>) -> Self {
        let row = |judged: &'a Judged| Row {
            seq: judged.found.key.seq,
            key: &judged.found.path,
            written: jiff::Timestamp::try_from(judged.found.modified).unwrap_or_default(),
            stays: !judged.reasons.is_empty(),
            suspect: judged.suspect,
            why: judged.reasons.iter().map(Reason::to_string).collect(),
        };
        Self {
            api: 1,
            site,
            dry_run,
            keep,
            snapshots: plan.snapshots.iter().map(row).collect(),
            packs: plan.packs.iter().map(|(key, bytes)| Pack { key, bytes: *bytes }).collect(),
            needed: plan.needed,
            waiting: plan.waiting,
            held: &plan.held,
            done,
        }
    }
}
