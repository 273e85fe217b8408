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
use crate::repository::suspicion::Standing;
use crate::storage::StoreErrorKind;

/// What a run compares with, and where its own snapshot goes.
pub(super) struct Chosen {
    /// Nothing: the run makes a full snapshot.
    pub(super) parent: Option<LocalSnapshot>,
    /// The newest snapshot, when it can be read but is not what the run compares with.
    pub(super) previous: Option<Parent>,
    /// The newest snapshot that is believed and whose manifest can be read: what the new one is judged by.
    pub(super) before: Option<Standing>,
    /// The new snapshot's number.
    pub(super) seq: u64,
    /// What is wrong with the snapshots before.
    pub(super) findings: Vec<Finding>,
    /// When the store was asked: a commit must not be much later.
    pub(super) listed: Since,
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
    let Some(newest) = found.last() else {
        let Some(local) = &local else {
            return Ok(Chosen { parent: None, previous: None, before: None, seq: 1, findings, listed });
        };
        // Nothing from the parent on: is the store another one, or was it emptied?
        lost(local);
        let all = snapshots::list(store.as_ref(), layout, None).await?;
        let search = Search { context, layout, state, trusted, local: None };
        return search.among(&all).await?.into_chosen(layout, &all, listed, findings);
    };
    let listed_local = local.filter(|local| {
        let there = found.iter().any(|f| f.path == local.path);
        if !there && local.path != newest.path {
            lost(local);
        }
        Rules::default().may_reuse(Known::Parent { listed: there })
    });
    let search = Search { context, layout, state, trusted, local: listed_local };
    search.among(&found).await?.into_chosen(layout, &found, listed, findings)
}

/// The number after this one; that of keys that nobody comes to honestly is none.
fn after(seq: u64) -> Option<u64> {
    seq.checked_add(1).filter(|next| *next <= LAST_SEQ)
}

/// Manifests of others that are looked at in one run: whoever can write to the store may have put any number there.
const OTHERS: usize = 20;

/// Numbers that one run may skip, because of snapshots that aren't believed.
const ROOM: u64 = 1000;

/// Looks for what to compare with.
struct Search<'a> {
    context: &'a RunContext,
    layout: &'a Layout,
    state: &'a Arc<SiteState>,
    trusted: &'a TrustedKeys,
    /// The parent in local state, if the store has it.
    local: Option<LocalSnapshot>,
}

/// What was found.
#[derive(Default)]
struct Best {
    parent: Option<LocalSnapshot>,
    /// The newest that is believed, when it is not the parent.
    newest: Option<Standing>,
    /// The newest that can be read and isn't believed.
    other: Option<Standing>,
    findings: Vec<Finding>,
}

impl Best {
    fn into_chosen(self, layout: &Layout, found: &[Found], listed: Since, lost: Vec<Finding>) -> Result<Chosen, RepositoryError> {
        let Self { parent, newest, other, findings } = self;
        let own = parent.as_ref().map(|parent| parent.manifest.seq);
        let believed = own.max(newest.as_ref().map(|newest| newest.seq));
        // What isn't believed counts, too, so that no number is there twice, as after the loss of the key; but not where it leaves no room.
        let room = believed.map_or(LAST_SEQ / 2, |seq| seq.saturating_add(ROOM));
        let there = found.iter().map(|found| found.key.seq).filter(|seq| *seq <= room).max();
        let seq = believed.max(there).map_or(Some(1), after).ok_or_else(|| {
            RepositoryError::damaged(layout.snapshots(), "the number of its newest snapshot is the last there is")
        })?;
        let before = newest.clone().or_else(|| parent.as_ref().map(|parent| Standing::of(&parent.manifest, parent.named())));
        let previous = newest.or_else(|| other.filter(|_| parent.is_none())).map(|standing| standing.named);
        Ok(Chosen { parent, previous, before, seq, findings: lost.into_iter().chain(findings).collect(), listed })
    }
}

impl Search<'_> {
    /// The newest that is believed and whose lists can be had; what is newer and isn't is passed over, and told.
    async fn among(self, found: &[Found]) -> Result<Best, RepositoryError> {
        let mut best = Best::default();
        let mut others = 0;
        for found in found.iter().rev() {
            if let Some(local) = self.local.as_ref().filter(|local| local.path == found.path) {
                best.parent = Some(local.clone());
                break;
            }
            // A commit whose reply was lost, or a crash right after it: its lists are staged.
            if let Some(staged) = self.state.snapshot(&found.key.id).filter(|staged| staged.path == found.path) {
                self.state.promote(&found.key.id)?;
                best.parent = Some(staged);
                break;
            }
            // After one that is believed, what is older serves only if it is here.
            if best.newest.is_some() || others >= OTHERS || after(found.key.seq).is_none() {
                continue;
            }
            others += 1;
            let mut name = None;
            match fetch(self.context, self.layout, self.state, self.trusted, found, &mut name).await {
                Ok(parent) => {
                    let seq = found.key.seq;
                    let note = format!("local state lacked snapshot {seq}; its lists were read from the store");
                    self.context.progress.event(Event::Note(note));
                    best.parent = Some(parent);
                    break;
                }
                Err(error) => self.pass_over(&mut best, found, name, error)?,
            }
        }
        Ok(best)
    }

    /// Why a snapshot is not what the run compares with. What passes must not cost a full snapshot: the next run tries again.
    fn pass_over(
        &self,
        best: &mut Best,
        found: &Found,
        named: Option<Standing>,
        error: RepositoryError,
    ) -> Result<(), RepositoryError> {
        let detail = match error {
            error @ (RepositoryError::State { .. } | RepositoryError::Cancelled | RepositoryError::Task) => return Err(error),
            RepositoryError::Store(error) if error.kind == StoreErrorKind::Unreachable => return Err(error.into()),
            // As it should be: nothing on this host opens them.
            error @ (RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. }) => {
                let finding = sealed::lists_unread(found, &error);
                self.context.progress.event(Event::Note(format!("{}: {}", finding.subject, finding.detail)));
                best.newest = named;
                best.findings.push(finding);
                return Ok(());
            }
            RepositoryError::Untrusted { signer, .. } => {
                best.other = best.other.take().or(named);
                let by = signer.unwrap_or_else(|| "nobody".to_owned());
                format!("signed by {by}, which is neither this machine's key nor one of trust.keys: nothing is taken from it")
            }
            error => {
                best.newest = named;
                format!("its manifest or lists can't be read ({error}): it is not what this run compares with")
            }
        };
        self.context.progress.event(Event::Note(format!("{}: {detail}", found.path)));
        best.findings.push(Finding { code: FindingCode::ParentLost, subject: found.path.as_str().into(), detail });
        Ok(())
    }
}

/// Brings a snapshot's manifest and lists into local state, if they are believed; `previous` becomes what its manifest says of it either way.
async fn fetch(
    context: &RunContext,
    layout: &Layout,
    state: &Arc<SiteState>,
    trusted: &TrustedKeys,
    found: &Found,
    previous: &mut Option<Standing>,
) -> Result<LocalSnapshot, RepositoryError> {
    let store = &context.store;
    let stored = snapshots::read(store.as_ref(), found).await?;
    // Whoever made it: the chain says what was there.
    *previous = Some(Standing::of(&stored.manifest, stored.named()));
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
