//! `snapshots ls`, `snapshots diff` and `snapshots find`: the files of snapshots, from their lists alone.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::args::{OfSite, SnapshotsDiff, SnapshotsFind, SnapshotsLs};
use super::failure::Failure;
use super::format::{bytes, count, name, plural};
use super::output::Output;
use super::signals::cancelled_by_signals;
use super::sites::choose_site;
use super::suspect;
use crate::config::{Identities, Settings, TrustedKeys};
use crate::error::{Exit, render};
use crate::files::{PathSelection, below_root};
use crate::progress::Silent;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileEntry, FileKind};
use crate::repository::layout::Layout;
use crate::repository::snapshots;
use crate::restore::{Changed, Difference, Finder, Restore, Version};
use crate::storage::{self, Store};

/// A site in its store, and what opens its snapshots.
type Place = (Arc<dyn Store>, Layout, Identities, TrustedKeys);

async fn place(settings: &Settings, of: &OfSite) -> Result<Place, Failure> {
    let site = choose_site(settings, of.site.as_deref())?;
    let identities = Identities::read(&of.unlock.identities)?;
    Ok((storage::open(&settings.store).await?, Layout::new(site.name.clone()), identities, site.trusted.clone()))
}

async fn open(
    (store, layout, identities, trusted): &Place,
    snapshot: &str,
    cancel: &CancellationToken,
) -> Result<Restore, Failure> {
    let (store, layout) = (Arc::clone(store), layout.clone());
    Ok(Restore::open(store, layout, snapshot, Arc::new(Silent), cancel.clone()).await?.trusting(trusted)?.unlock(identities))
}

/// `snapshots ls`
pub(super) async fn ls(settings: &Settings, args: &SnapshotsLs, out: &mut Output) -> Result<Exit, Failure> {
    let cancel = cancelled_by_signals();
    let place = place(settings, &args.of).await?;
    let mut snapshot = open(&place, &args.snapshot, &cancel).await?;
    suspect::warn((&place.0, &place.1, &place.3), snapshot.manifest(), out).await?;
    let wanted = wanted(args);
    let mut shown = 0u64;
    let mut line = |entry: &FileEntry| {
        let Some(below) = below(entry.path.as_bytes(), &wanted) else {
            // What is below follows directly.
            return if shown > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        };
        shown += 1;
        let itself = below.is_empty();
        if (itself && entry.kind == FileKind::Dir) || (!args.recursive && below.contains(&b'/')) {
            return ControlFlow::Continue(());
        }
        let relative = if itself { ByteText::from(entry.path.as_bytes()) } else { ByteText::from(below) };
        match args.of.json {
            true => out.json(&as_json(entry)),
            false => out.line(listed(entry, &relative)),
        }
        ControlFlow::Continue(())
    };
    snapshot.entries(args.of.tree, &mut line).await?;
    if shown == 0 {
        let what = format!("snapshot {} has no path {}", snapshot.manifest().seq, ByteText(wanted));
        return Err(Failure::new(
            Exit::NoInput,
            what,
            "`snapshots ls` without a path shows what there is; `snapshots find` looks in all snapshots",
        ));
    }
    Ok(Exit::Success)
}

/// The path that is asked for; as it was given, or with `%XX` turned back.
fn wanted(args: &SnapshotsLs) -> Vec<u8> {
    let path = args.path.as_deref().map(below_root).unwrap_or_default();
    match std::str::from_utf8(&path).ok().and_then(ByteText::unescape) {
        Some(plain) if path.contains(&b'%') => plain.0,
        _ => path,
    }
}

/// What is left of a path below this one; nothing of the path itself.
fn below<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    if dir.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(dir)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// As `ls -l` shows it.
fn listed(entry: &FileEntry, path: &ByteText) -> String {
    let owner = |name: &Option<String>, id: u32| name.clone().unwrap_or_else(|| id.to_string());
    let target = entry.target.as_ref().map_or_else(String::new, |target| format!(" -> {target}"));
    format!(
        "{} {:<8} {:<8} {:>12} {} {path}{target}",
        mode(entry),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        entry.size,
        time(entry.mtime),
    )
}

fn mode(entry: &FileEntry) -> String {
    let mut text = String::with_capacity(10);
    text.push(match entry.kind {
        FileKind::File => '-',
        FileKind::Dir => 'd',
        FileKind::Symlink => 'l',
    });
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// To the second, in the time zone of whoever reads it.
fn time(nanoseconds: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => nanoseconds.to_string(),
    }
}

fn as_json(entry: &FileEntry) -> serde_json::Value {
    let version = Version::of(entry);
    serde_json::json!({
        "path": entry.path, "kind": entry.kind, "size": entry.size, "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "user": entry.user, "group": entry.group, "mtime": entry.mtime, "target": entry.target, "content": version.content,
        "flags": entry.flags,
    })
}

/// `snapshots diff`
pub(super) async fn diff(settings: &Settings, args: &SnapshotsDiff, out: &mut Output) -> Result<Exit, Failure> {
    let cancel = cancelled_by_signals();
    let place = place(settings, &args.of).await?;
    let (mut before, mut after) = (open(&place, &args.before, &cancel).await?, open(&place, &args.after, &cancel).await?);
    let json = args.of.json;
    let mut line = |difference: &Difference| match json {
        true => out.json(difference),
        false => out.line(differs(difference)),
    };
    let totals = before.diff(&mut after, args.of.tree, &mut line).await?;
    if json {
        out.json(&serde_json::json!({ "totals": totals }));
    } else {
        out.line(format_args!(
            "{} added, {} removed, {} with another content, {} with another mode, owner or time; {} before, {} after",
            count(totals.added),
            count(totals.removed),
            count(totals.content),
            count(totals.metadata),
            bytes(totals.bytes_before),
            bytes(totals.bytes),
        ));
    }
    Ok(Exit::Success)
}

fn differs(difference: &Difference) -> String {
    let sign = match difference.change {
        Changed::Added => '+',
        Changed::Removed => '-',
        Changed::Content => 'c',
        Changed::Metadata => 'm',
    };
    let slash = if difference.kind == FileKind::Dir && !difference.path.as_bytes().is_empty() { "/" } else { "" };
    let path = if difference.path.as_bytes().is_empty() { ".".to_owned() } else { difference.path.to_string() };
    let sizes = match (difference.change, difference.size_before, difference.size) {
        (Changed::Added, _, Some(size)) | (Changed::Removed, Some(size), _) => format!("  ({})", bytes(size)),
        (Changed::Content, Some(before), Some(after)) => format!("  ({} -> {})", bytes(before), bytes(after)),
        _ => String::new(),
    };
    format!("{sign} {path}{slash}{sizes}")
}

/// `snapshots find`
pub(super) async fn find(settings: &Settings, args: &SnapshotsFind, out: &mut Output) -> Result<Exit, Failure> {
    let (store, layout, identities, trusted) = place(settings, &args.of).await?;
    let found = match &args.snapshot {
        Some(snapshot) => vec![snapshots::find(&store, &layout, snapshot).await?],
        None => snapshots::list(store.as_ref(), &layout, None).await?,
    };
    let pattern = ByteText::from(args.pattern.as_bytes());
    let finder = Finder {
        store,
        layout,
        paths: PathSelection::new(std::slice::from_ref(&args.pattern))?,
        pattern: pattern.clone(),
        tree: args.of.tree,
        identities,
        trusted,
        cancel: cancelled_by_signals(),
    };
    let json = args.of.json;
    let mut line = |hit: &crate::restore::Hit| {
        if json {
            return out.json(hit);
        }
        let which = if hit.first == hit.last { hit.last.to_string() } else { format!("{}-{}", hit.first, hit.last) };
        let content = hit.version.content.map_or_else(|| name(&hit.version.kind), |id| id.to_string().chars().take(8).collect());
        out.line(format_args!("{which:<11} {:>12} {} {content:<8} {}", hit.version.size, time(hit.version.mtime), hit.path));
    };
    let searched = finder.search(&found, &mut line).await?;
    for (seq, error) in &searched.passed_over {
        out.note(format!("snapshot {seq} was passed over: {}", render(error)));
    }
    if searched.hits == 0 {
        let what = format!("nothing fits {pattern} in {}", plural(found.len() as u64, "snapshot"));
        return Err(Failure::new(
            Exit::NoInput,
            what,
            "a glob without a slash fits at any depth: '*.php'; a plain path is one below wp-content",
        ));
    }
    Ok(Exit::Success)
}
