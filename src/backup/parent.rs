//! Choosing the parent: the first of a run's requests is one LIST of snapshots/, from the local parent on.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::run::RunContext;
use super::sealed;
use crate::config::{TreeName, TrustedKeys};
use crate::progress::Event;
use crate::repository::RepositoryError;
use crate::repository::entry::{ChunkRef, FileEntry, Finding, FindingCode, TableEntry};
use crate::repository::layout::{LAST_SEQ, Layout};
use crate::repository::list::{LineBuffer, ListFile};
use crate::repository::manifest::Parent;
use crate::repository::reader::ChunkReader;
use crate::repository::reuse::{Known, Rules, Since};
use crate::repository::seal::Keys;
use crate::repository::sign;
use crate::repository::snapshots::{self, Found};
use crate::repository::state::{LocalSnapshot, SiteState, tree_list};
use crate::storage::StoreErrorKind;

/// What a run compares with, and where its own snapshot goes.
pub(super) struct Chosen {
    /// Nothing: the run makes a full snapshot.
    pub(super) parent: Option<LocalSnapshot>,
    /// The newest snapshot, when it can be read but is not what the run compares with.
    pub(super) previous: Option<Parent>,
    /// The new snapshot's number.
    pub(super) seq: u64,
    /// What is wrong with the snapshots before.
    pub(super) findings: Vec<Finding>,
    /// When the store was asked: a commit must not be much later.
    pub(super) listed: Since,
}

impl Chosen {
    fn with(mut self, before: Vec<Finding>) -> Self {
        self.findings.splice(..0, before);
        self
    }
}

/// Chooses. A parent is the newest snapshot in the store, if its lists can be had: from local state, else from the store.
pub(super) async fn choose(
    context: &RunContext,
    layout: &Layout,
    state: &Arc<SiteState>,
    trusted: &TrustedKeys,
) -> Result<Chosen, RepositoryError> {
    let store = &context.store;
    let local = state.parent();
    let listed = Since::now();
    let found = snapshots::list(store.as_ref(), layout, local.as_ref().map(|l| l.path.as_str())).await?;
    let mut findings = Vec::new();
    let mut lost = |local: &LocalSnapshot| {
        let detail = "the snapshot before this one is not in the store any more".to_owned();
        findings.push(Finding { code: FindingCode::ParentLost, subject: local.path.as_str().into(), detail });
    };
    let Some(newest) = found.last().cloned() else {
        if let Some(local) = &local {
            // Nothing from the parent on: is the store another one, or was it emptied?
            lost(local);
            let all = snapshots::list(store.as_ref(), layout, None).await?;
            let chosen = from_store_or_full(context, layout, state, trusted, all.last(), listed).await?;
            return Ok(chosen.with(findings));
        }
        return Ok(Chosen { parent: None, previous: None, seq: 1, findings, listed });
    };
    if let Some(local) = &local {
        if local.path == newest.path {
            return Ok(Chosen { parent: Some(local.clone()), previous: None, seq: after(&newest)?, findings, listed });
        }
        if !found.iter().any(|f| f.path == local.path) {
            lost(local);
        }
    }
    // A commit whose reply was lost, or a crash right after it: its lists are staged.
    if let Some(staged) = state.snapshot(&newest.key.id).filter(|staged| staged.path == newest.path) {
        state.promote(&newest.key.id)?;
        return Ok(Chosen { parent: Some(staged), previous: None, seq: after(&newest)?, findings, listed });
    }
    let mut chosen = from_store_or_full(context, layout, state, trusted, Some(&newest), listed).await?.with(findings);
    if chosen.parent.is_none() {
        // The newest can't be read, but ours is in the store, so its packs are, too.
        chosen.parent = local
            .filter(|local| Rules::default().may_reuse(Known::Parent { listed: found.iter().any(|f| f.path == local.path) }));
    }
    Ok(chosen)
}

/// The number after this snapshot's.
fn after(newest: &Found) -> Result<u64, RepositoryError> {
    // The largest number that keys have room for.
    let next = newest.key.seq + 1;
    if next > LAST_SEQ { Err(RepositoryError::damaged(&newest.path, "its number is the last there is")) } else { Ok(next) }
}

async fn from_store_or_full(
    context: &RunContext,
    layout: &Layout,
    state: &Arc<SiteState>,
    trusted: &TrustedKeys,
    newest: Option<&Found>,
    listed: Since,
) -> Result<Chosen, RepositoryError> {
    let Some(newest) = newest else { return Ok(Chosen { parent: None, previous: None, seq: 1, findings: Vec::new(), listed }) };
    let seq = after(newest)?;
    let mut previous = None;
    let fetched = fetch(context, layout, state, trusted, newest, &mut previous).await;
    let full = |finding, listed| Chosen { parent: None, previous, seq, findings: vec![finding], listed };
    match fetched {
        Ok(parent) => {
            context.progress.event(Event::Note(format!(
                "local state lacked snapshot {}; its lists were read from the store",
                newest.key.seq
            )));
            Ok(Chosen { parent: Some(parent), previous: None, seq, findings: Vec::new(), listed })
        }
        // What passes must not cost a full snapshot: the next run tries again.
        Err(error @ (RepositoryError::State { .. } | RepositoryError::Cancelled | RepositoryError::Task)) => Err(error),
        Err(RepositoryError::Store(error)) if error.kind == StoreErrorKind::Unreachable => Err(error.into()),
        // As it should be: nothing on this host opens them.
        Err(error @ (RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. })) => {
            let finding = sealed::lists_unread(newest, &error);
            context.progress.event(Event::Note(format!("{}: {}", finding.subject, finding.detail)));
            Ok(full(finding, listed))
        }
        Err(RepositoryError::Untrusted { signer, .. }) => {
            let by = signer.unwrap_or_else(|| "nobody".to_owned());
            let detail =
                format!("signed by {by}, which is neither this machine's key nor one of trust.keys: nothing is taken from it");
            context.progress.event(Event::Note(format!("{}: {detail}", newest.path)));
            Ok(full(Finding { code: FindingCode::ParentLost, subject: newest.path.as_str().into(), detail }, listed))
        }
        Err(error) => {
            let detail = format!("its manifest or lists can't be read ({}): it is not what this run compares with", error);
            let finding = Finding { code: FindingCode::ParentLost, subject: newest.path.as_str().into(), detail };
            Ok(full(finding, listed))
        }
    }
}

/// Brings a snapshot's manifest and lists into local state, if they are believed; `previous` becomes the manifest's name either way.
async fn fetch(
    context: &RunContext,
    layout: &Layout,
    state: &Arc<SiteState>,
    trusted: &TrustedKeys,
    found: &Found,
    previous: &mut Option<Parent>,
) -> Result<LocalSnapshot, RepositoryError> {
    let store = &context.store;
    let stored = snapshots::read(store.as_ref(), found).await?;
    // Whoever made it: the chain says what was there.
    *previous = Some(stored.named());
    // What is taken from a snapshot goes into the next one, signed by this host.
    sign::accept(trusted, stored.signer, &found.path)?;
    let keys = Keys::new(&context.options.identities, &stored.manifest);
    let reader = ChunkReader::new(Arc::clone(store), layout.clone(), &stored.manifest.packs).with_keys(keys);
    let (state, id, runtime, cancel) = (Arc::clone(state), found.key.id, Handle::current(), context.cancel.clone());
    let work = move || {
        let mut reader = reader;
        let dir = state.snapshot_dir(&id)?;
        copy::<FileEntry>(&runtime, &cancel, &mut reader, &stored.manifest.files, ListFile::create(&dir.join("files.zst"))?)?;
        for tree in stored.manifest.trees.iter().filter(|tree| tree.name != TreeName::Unknown) {
            copy::<FileEntry>(&runtime, &cancel, &mut reader, &tree.files, ListFile::create(&tree_list(&dir, tree.name))?)?;
        }
        copy::<TableEntry>(&runtime, &cancel, &mut reader, &stored.manifest.tables, ListFile::create(&dir.join("tables.zst"))?)?;
        state.stage(&id, &stored.path, &stored.bytes)?;
        state.promote(&id)?;
        state.parent().ok_or(RepositoryError::Task)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| RepositoryError::Task)?
}

fn copy<T: serde::Serialize + serde::de::DeserializeOwned>(
    runtime: &Handle,
    cancel: &CancellationToken,
    reader: &mut ChunkReader,
    pieces: &[ChunkRef],
    mut file: ListFile<T>,
) -> Result<(), RepositoryError> {
    let mut lines = LineBuffer::new("a list");
    for piece in pieces {
        let read = async {
            tokio::select! {
                read = reader.read_piece(piece) => read,
                () = cancel.cancelled() => Err(RepositoryError::Cancelled),
            }
        };
        lines.fill(&runtime.block_on(read)?);
        while let Some(entry) = lines.next_entry::<T>()? {
            file.push(&entry)?;
        }
    }
    file.finish(true)
}
