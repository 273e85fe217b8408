//! `snapshots`: what the store has. Their files: `browse`.

use serde::Serialize;

use super::args::{SnapshotsCommand, SnapshotsList, SnapshotsShow};
use super::failure::Failure;
use super::format::{bytes, local_time, plural};
use super::output::Output;
use super::sites::choose_site;
use super::{browse, suspect};
use crate::config::Settings;
use crate::error::Exit;
use crate::repository::layout::Layout;
use crate::repository::manifest::{Excluded, Manifest};
use crate::repository::snapshots::{self, Found};
use crate::repository::suspicion::Standing;
use crate::storage::{self, Store};

/// Runs the subcommand.
pub(super) async fn run(settings: &Settings, command: &SnapshotsCommand, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        SnapshotsCommand::List(list) => run_list(settings, list, out).await,
        SnapshotsCommand::Show(show) => run_show(settings, show, out).await,
        SnapshotsCommand::Accept(args) => suspect::accept(settings, args, out).await,
        SnapshotsCommand::Ls(ls) => browse::ls(settings, ls, out).await,
        SnapshotsCommand::Diff(diff) => browse::diff(settings, diff, out).await,
        SnapshotsCommand::Find(find) => browse::find(settings, find, out).await,
    }
}

#[derive(Serialize)]
struct Row {
    seq: u64,
    time: jiff::Timestamp,
    id: String,
    key: String,
    suspect: bool,
}

async fn run_list(settings: &Settings, list: &SnapshotsList, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, list.site.as_deref())?;
    let store = storage::open(&settings.store).await?;
    let layout = Layout::new(site.name.clone());
    let found = snapshots::list(store.as_ref(), &layout, None).await?;
    let newest = newest(store.as_ref(), found.last()).await;
    let since = newest.iter().flat_map(|newest| &newest.suspect).map(|suspicion| suspicion.since).min();
    let accepted = match &newest {
        Some(newest) if since.is_some() => suspect::is_accepted(store.as_ref(), &layout, &site.trusted, newest).await?,
        _ => false,
    };
    let is_suspect =
        |seq| since.is_some_and(|since| since <= seq) && !(accepted && newest.as_ref().is_some_and(|n| n.seq == seq));
    if list.json {
        let row = |f: Found| Row {
            seq: f.key.seq,
            time: f.key.time,
            id: f.key.id.to_string(),
            suspect: is_suspect(f.key.seq),
            key: f.path,
        };
        let rows: Vec<Row> = found.into_iter().map(row).collect();
        out.json(&serde_json::json!({ "api": 1, "site": site.name.as_str(), "snapshots": rows }));
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        out.line(format!("site {} has no snapshot in {}", site.name, store.url()));
        return Ok(Exit::Success);
    }
    out.line(format!("{:>6}  {:<17}  {}", "NUMBER", "ID", "STARTED"));
    for snapshot in found {
        let mark = if is_suspect(snapshot.key.seq) { "  suspect" } else { "" };
        out.line(format!("{:>6}  {:<17}  {}{mark}", snapshot.key.seq, snapshot.key.id, local_time(snapshot.key.time)));
    }
    if let Some(newest) = newest.filter(|_| !accepted) {
        suspect::told(newest.seq, &newest.suspect, newest.judged_against()).into_iter().for_each(|line| out.note(line));
    }
    Ok(Exit::Success)
}

/// What the newest snapshot says of itself and of those right before it. A list is shown in any case.
async fn newest(store: &dyn Store, found: Option<&Found>) -> Option<Standing> {
    let stored = snapshots::read(store, found?).await.ok()?;
    Some(Standing::of(&stored.manifest, stored.named()))
}

async fn run_show(settings: &Settings, show: &SnapshotsShow, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, show.site.as_deref())?;
    let store = storage::open(&settings.store).await?;
    let layout = Layout::new(site.name.clone());
    let found = snapshots::find(&store, &layout, &show.snapshot).await?;
    let stored = snapshots::read(store.as_ref(), &found).await?;
    let manifest = &stored.manifest;
    if show.json {
        out.json(&serde_json::to_value(manifest).unwrap_or_default());
    } else {
        let mut lines = described(manifest);
        let standing = Standing::of(manifest, stored.named());
        if !manifest.suspect.is_empty() && suspect::is_accepted(store.as_ref(), &layout, &site.trusted, &standing).await? {
            lines.push(("accepted", "by a reader: later snapshots are judged against it".to_owned()));
        }
        for (name, value) in lines {
            out.line(format!("{name:<16}{value}"));
        }
    }
    Ok(Exit::Success)
}

/// Whom the packs are sealed to.
fn encryption(manifest: &Manifest) -> String {
    let plain = manifest.packs.iter().filter(|pack| pack.sealed.is_none()).count();
    let sets: Vec<String> = manifest
        .sealed
        .iter()
        .map(|(id, recipients)| {
            let packs = manifest.packs.iter().filter(|pack| pack.sealed == Some(*id)).count();
            format!("{} sealed to {}", plural(packs as u64, "pack"), recipients.join(", "))
        })
        .collect();
    match (plain, sets.is_empty()) {
        (_, true) => "none: whoever reads the store reads the backup".to_owned(),
        (0, false) => sets.join("; "),
        (plain, false) => format!("{}; {} not encrypted", sets.join("; "), plural(plain as u64, "pack")),
    }
}

fn described(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let counts = manifest.counts;
    let mut lines = vec![
        ("snapshot", format!("{} of site {} ({})", manifest.seq, manifest.site, manifest.id)),
        ("point in time", local_time(manifest.times.point_in_time)),
        (
            "run",
            format!("{} to {}, by {}", local_time(manifest.times.started), local_time(manifest.times.finished), manifest.trigger),
        ),
        ("files", format!("{} entries, {}", counts.file_entries, bytes(counts.file_bytes))),
        ("database", format!("{} tables, {} rows, {} of SQL", counts.tables, counts.rows, bytes(counts.sql_bytes))),
        ("server", format!("{} {} ({})", manifest.server.flavour, manifest.server.version, manifest.server.consistency)),
        ("uploaded", format!("{} in {} packs", bytes(manifest.uploaded.bytes), manifest.uploaded.packs)),
        (
            "needs",
            format!(
                "{} packs, {} stored",
                manifest.packs.len(),
                bytes(manifest.packs.iter().fold(0, |sum: u64, pack| sum.saturating_add(pack.size)))
            ),
        ),
        ("encryption", encryption(manifest)),
        ("parent", manifest.parent.as_ref().map_or_else(|| "none: a full snapshot".to_owned(), |p| p.key.clone())),
        ("made by", manifest.tool.clone()),
        ("signed by", manifest.signer.map_or_else(|| "nobody".to_owned(), |key| key.to_string())),
    ];
    for tree in &manifest.trees {
        lines.push(("tree", format!("{}: {} entries, {}", tree.name.as_str(), tree.entries, bytes(tree.bytes))));
    }
    lines.extend(manifest.suspect.iter().map(|suspicion| ("suspect", suspicion.to_string())));
    lines.extend(manifest.baseline.as_ref().map(|baseline| ("judged against", format!("snapshot {}", baseline.seq))));
    for (code, count) in &manifest.findings {
        let name = serde_json::to_value(code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let weight = if code.is_loss() { "not captured or missing" } else { "told only" };
        lines.push(("finding", format!("{count} × {name} ({weight})")));
    }
    for Excluded { rule, subjects, files, bytes: size, at_least } in &manifest.excluded {
        let (least, files, size) = (if *at_least { "at least " } else { "" }, plural(*files, "file"), bytes(*size));
        lines.push(("left out", format!("{rule}: {least}{files}, {size}, in {}", plural(*subjects, "place"))));
    }
    lines
}
