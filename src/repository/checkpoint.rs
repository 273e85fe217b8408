//! Checkpoints (docs/FORMAT.md): what a run under way has sent, in the store. A run that follows a broken one goes on from the local journal;
//! where that is lost with all local state, from the newest checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::error::RepositoryError;
use super::ids::RunId;
use super::journal::Journal;
use super::layout::Layout;
use super::manifest::{FORMAT, PackInfo};
use super::reuse::{Rules, Since};
use super::seal::Opener;
use super::sign::{self, Kind, SigningKey};
use super::source::PackSource;
use super::writer::checksummed;
use crate::config::{PublicKey, TrustedKeys};
use crate::storage::{Listed, Pages, Put, Store, StoreErrorKind};

/// How long a run goes on before it writes a checkpoint, and until the next one.
pub const EVERY: Duration = Duration::from_secs(600);

/// One of a million packs is below this.
pub(super) const LIMIT: u64 = 256 << 20;
/// Of the newest checkpoints, how many are looked at for one that can be used.
const LOOKED_AT: usize = 20;

/// What a run under way has in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The format's version.
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// The run.
    pub id: RunId,
    /// When it was written, by the host's clock.
    pub at: Timestamp,
    /// The packs that were sent, and those of broken runs before that are used again.
    pub packs: Vec<PackInfo>,
    /// Whose signature follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<PublicKey>,
}

impl Checkpoint {
    /// Reads a checkpoint's bytes; `what` is its key, for messages.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, RepositoryError> {
        super::snapshots::newer(bytes, what)?;
        serde_json::from_slice(bytes).map_err(|e| RepositoryError::damaged(what, e))
    }
}

/// Writes a run's checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    layout: Layout,
    run: RunId,
    key: Arc<SigningKey>,
    every: Duration,
    last: Instant,
    /// Packs in the last one.
    packs: usize,
    /// When the last one was written; before the first: when the run began.
    written: Since,
}

impl Checkpoints {
    pub(super) fn new(layout: Layout, run: RunId, key: Arc<SigningKey>, every: Duration) -> Self {
        Self { layout, run, key, every, last: Instant::now(), packs: 0, written: Since::now() }
    }

    /// Writes one, if it is time and there is something new. One that can't be written is no reason to fail: the next may.
    pub(super) async fn write_if_due(&mut self, store: &dyn Store, sent: impl FnOnce() -> Vec<PackInfo>) {
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        if !Rules::default().may_checkpoint(self.written.elapsed()) {
            return;
        }
        let packs = sent();
        if packs.len() == self.packs {
            return;
        }
        let (count, written) = (packs.len(), Since::now());
        let at = Timestamp::now();
        let (site, signer) = (self.layout.site().to_string(), Some(self.key.public()));
        let checkpoint = Checkpoint { format: FORMAT, site, id: self.run, at, packs, signer };
        let Ok(bytes) = self.key.signed(Kind::Checkpoint, &checkpoint) else { return };
        let (body, sha256) = checksummed(bytes);
        match store.put_new(&self.layout.checkpoint(at, &self.run), body, sha256).await {
            Ok(Put::Created) => (self.packs, self.written) = (count, written),
            // Two within a second have one name: the next will have these packs, too.
            Ok(Put::Existed) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint was not written"),
        }
    }
}

/// What a checkpoint was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Packs that the run goes on from.
    pub packs: usize,
    /// Packs that are sealed: what is in them is sent again.
    pub sealed: usize,
}

/// Fills the journal from the newest checkpoint, for a host that has lost its local state: the tables of contents are read from the packs' ends.
/// Nothing is there, or it is too old to be trusted: nothing is done. Sealed packs are passed over.
pub async fn recover(
    store: &Arc<dyn Store>,
    layout: &Layout,
    journal: &std::path::Path,
    trusted: &TrustedKeys,
) -> Result<Recovered, RepositoryError> {
    let mut found = Recovered::default();
    let Some(checkpoint) = newest(store.as_ref(), layout, trusted).await?.1 else { return Ok(found) };
    let journal = Journal::open(journal, &store.url())?;
    let packs = PackSource::new(Arc::clone(store), layout.clone(), &checkpoint.packs);
    let (mut codec, mut opener) = (Codec::default(), Opener::default());
    for pack in &checkpoint.packs {
        if pack.sealed.is_some() {
            found.sealed += 1;
            continue;
        }
        let toc = match packs.contents(pack, &mut codec, &mut opener).await {
            Ok(toc) => toc,
            // Pruned, or damaged: what was in it is sent again.
            Err(error) if error.is_loss() => continue,
            Err(error) => return Err(error),
        };
        tokio::task::block_in_place(|| journal.note_of(checkpoint.at, pack, &toc))?;
        found.packs += 1;
    }
    Ok(found)
}

/// The store's clock, and the newest checkpoint if what it names may be reused: it is young, and signed by one of these keys.
pub async fn newest(
    store: &dyn Store,
    layout: &Layout,
    trusted: &TrustedKeys,
) -> Result<(SystemTime, Option<Checkpoint>), RepositoryError> {
    let (mut all, mut clock, mut pages) = (Vec::<Listed>::new(), None, Pages::of(store, layout.checkpoints(), None));
    while let Some(page) = pages.next().await? {
        clock = clock.or(page.clock);
        all.extend(page.objects.into_iter().filter(|object| layout.parse_checkpoint(&object.key).is_some()));
        // Only the newest matter, and whoever can write to the store may have put any number there.
        all.sort_by_key(|object| std::cmp::Reverse(object.modified));
        all.truncate(LOOKED_AT);
    }
    let now = clock.unwrap_or_else(SystemTime::now);
    let young = |object: &Listed| Rules::default().trusts_checkpoint(now.duration_since(object.modified).unwrap_or_default());
    for found in all.iter().filter(|object| young(object)) {
        match read(store, layout, &found.key, trusted).await {
            Ok(checkpoint) => return Ok((now, Some(checkpoint))),
            Err(RepositoryError::Store(error)) if matches!(error.kind, StoreErrorKind::Unreachable | StoreErrorKind::Denied) => {
                return Err(error.into());
            }
            // One that can't be used must not hide an older one that can.
            Err(error) => tracing::warn!(key = found.key, %error, "a checkpoint is not used"),
        }
    }
    Ok((now, None))
}

/// A checkpoint, if it is signed by one of these keys.
pub(super) async fn read(
    store: &dyn Store,
    layout: &Layout,
    key: &str,
    trusted: &TrustedKeys,
) -> Result<Checkpoint, RepositoryError> {
    let bytes = store.get(key, LIMIT).await?;
    let checkpoint = Checkpoint::parse(&bytes, key)?;
    sign::accept(trusted, sign::signer(Kind::Checkpoint, &bytes, key)?, key)?;
    let right = checkpoint.format == FORMAT && checkpoint.site == layout.site().as_str();
    if right && layout.parse_checkpoint(key) == Some(checkpoint.id) {
        Ok(checkpoint)
    } else {
        Err(RepositoryError::damaged(key, "it is not the checkpoint that its key names"))
    }
}
