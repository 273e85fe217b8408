//! Suspect snapshots (docs/SUSPECT.md): told wherever someone may rely on one, and `snapshots accept`.

use std::sync::Arc;

use super::args::SnapshotsAccept;
use super::failure::Failure;
use super::output::Output;
use super::sites::choose_site;
use crate::config::{Settings, TrustedKeys};
use crate::error::Exit;
use crate::repository::layout::Layout;
use crate::repository::manifest::Manifest;
use crate::repository::sign::{self, SigningKey};
use crate::repository::suspicion::{Standing, Suspicion};
use crate::repository::{RepositoryError, accepted, random_run_id, snapshots};
use crate::storage::{self, Store};

/// Why a snapshot is suspect, and what to do about it.
pub(super) fn told(seq: u64, suspect: &[Suspicion], judged_against: Option<u64>) -> Vec<String> {
    if suspect.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<_> = suspect.iter().map(|suspicion| format!("snapshot {seq} is SUSPECT: {suspicion}")).collect();
    let look = judged_against.map_or_else(String::new, |good| {
        format!(
            "the last one that isn't suspect is {good}: `wp-backup-agent snapshots diff {good} {seq}` shows what is another; "
        )
    });
    lines.push(format!(
        "  {look}if it is as it should be: `wp-backup-agent snapshots accept {seq}` on another machine than the site's own"
    ));
    lines
}

/// Whether a suspect snapshot was accepted by someone who is believed.
pub(super) async fn is_accepted(
    store: &dyn Store,
    layout: &Layout,
    trusted: &TrustedKeys,
    standing: &Standing,
) -> Result<bool, RepositoryError> {
    Ok(accepted::which(store, layout, &[standing], trusted).await?.contains(&true))
}

/// Warns of a snapshot that is suspect and wasn't accepted. Asks the store only if it says that it is suspect.
pub(super) async fn warn(
    (store, layout, trusted): (&Arc<dyn Store>, &Layout, &TrustedKeys),
    manifest: &Manifest,
    out: &mut Output,
) -> Result<(), Failure> {
    if manifest.suspect.is_empty() {
        return Ok(());
    }
    let found = snapshots::find(store, layout, &manifest.id.to_string()).await?;
    let stored = snapshots::read(store.as_ref(), &found).await?;
    let standing = Standing::of(&stored.manifest, stored.named());
    if is_accepted(store.as_ref(), layout, trusted, &standing).await? {
        out.note(format!("  snapshot {} was suspect, and was accepted", manifest.seq));
    } else {
        told(standing.seq, &standing.suspect, standing.judged_against()).into_iter().for_each(|line| out.note(line));
    }
    Ok(())
}

/// `snapshots accept`
pub(super) async fn accept(settings: &Settings, args: &SnapshotsAccept, out: &mut Output) -> Result<Exit, Failure> {
    let site = choose_site(settings, args.site.as_deref())?;
    let (store, layout) = (storage::open(&settings.store).await?, Layout::new(site.name.clone()));
    let found = snapshots::find(&store, &layout, &args.snapshot).await?;
    let stored = snapshots::read(store.as_ref(), &found).await?;
    sign::accept(&site.trusted, stored.signer, &found.path)?;
    let (standing, seq) = (Standing::of(&stored.manifest, stored.named()), found.key.seq);
    if standing.suspect.is_empty() {
        out.line(format!("snapshot {seq} is not suspect: there is nothing to accept"));
        return Ok(Exit::Success);
    }
    if is_accepted(store.as_ref(), &layout, &site.trusted, &standing).await? {
        out.line(format!("snapshot {seq} is accepted already"));
        return Ok(Exit::Success);
    }
    let (key, _) = SigningKey::load_or_make(args.state.as_deref().unwrap_or(&settings.daemon.state))?;
    let (id, at) = (random_run_id(), jiff::Timestamp::now());
    if !accepted::may_accept(Some(key.public()), standing.signer) {
        return Err(Failure::new(
            Exit::Denied,
            format!(
                "snapshot {seq} was signed by this machine's own key, which can't accept it: whoever breaks into the machine has that key"
            ),
            "run this on another machine that may read the store and write below accepted/; where there is none, `--state DIR` signs with a key of its own (docs/SUSPECT.md)",
        ));
    }
    accepted::write(store.as_ref(), &layout, &standing, &key, (id, at)).await?;
    for suspicion in &standing.suspect {
        out.line(format!("accepted in snapshot {seq}: {suspicion}"));
    }
    out.line(format!("snapshots from the next run on are judged against snapshot {seq}"));
    let public = key.public();
    if !site.trusted.is_empty() && !site.trusted.has(&public) {
        out.note(format!("this configuration's trust.keys doesn't name {public}, which signed it: name it here and wherever this site is pruned"));
    }
    out.note(format!("signed by {public}: the site's own machine believes it if its trust.keys names that key, or names none"));
    Ok(Exit::Success)
}
