//! What a prune sees of the store, and what follows from it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;

use super::super::RepositoryError;
use super::super::accepted;
use super::super::checkpoint::{self, Checkpoint};
use super::super::ids::{PackName, RunId};
use super::super::layout::Layout;
use super::super::manifest::FORMAT;
use super::super::pruned::{Dropped, Note};
use super::super::receipt;
use super::super::retention::{self, Candidate, Reason, Standing};
use super::super::reuse::{Rules, Since};
use super::super::sign;
use super::super::snapshots::{self, Found, Stored};
use super::super::suspicion;
use super::{Amount, Judged, Plan, PruneError};
use crate::config::{Keep, TrustedKeys};
use crate::storage::{Listed, Pages, Store, StoreErrorKind};

/// Manifests read at a time.
const READING: usize = 4;

/// Reads a manifest; `None` when it isn't there any more.
pub(super) async fn read(store: &(impl Store + ?Sized), found: &Found) -> Result<Option<Stored>, RepositoryError> {
    let bytes = match get(store, &found.path, snapshots::MANIFEST_LIMIT).await? {
        Some(bytes) => bytes,
        None => return Ok(None),
    };
    snapshots::stored(found, bytes).map(Some)
}

async fn get(store: &(impl Store + ?Sized), key: &str, limit: u64) -> Result<Option<bytes::Bytes>, RepositoryError> {
    match store.get(key, limit).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) struct Look<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) layout: &'a Layout,
    pub(super) keep: &'a Keep,
    pub(super) trusted: &'a TrustedKeys,
    pub(super) rules: Rules,
    pub(super) listed: Since,
}

/// What is known so far.
struct Seen {
    /// The store's clock at the beginning.
    now: SystemTime,
    /// Packs that a snapshot needs.
    needed: HashSet<PackName>,
    /// Packs that a young note or checkpoint names.
    named: HashSet<PackName>,
    held: Vec<String>,
    old: Vec<String>,
    /// The keys of the manifests that those that are there follow.
    before: HashSet<String>,
}

impl Seen {
    fn age(&self, object: &Listed) -> Duration {
        // One from the future is young.
        self.now.duration_since(object.modified).unwrap_or(Duration::ZERO)
    }

    fn hold(&mut self, key: &str, why: &str) {
        self.held.push(format!("{key} {why}"));
    }
}

impl Look<'_> {
    pub(super) async fn plan(self) -> Result<Plan, PruneError> {
        let (objects, now) = self.all(&self.layout.snapshots()).await?;
        let now = now.ok_or_else(|| PruneError::NoClock { store: self.store.url() })?;
        let mut seen = Seen {
            now,
            needed: HashSet::new(),
            named: HashSet::new(),
            held: Vec::new(),
            old: Vec::new(),
            before: HashSet::new(),
        };
        let snapshots = self.snapshots(objects, &mut seen).await?;
        let oldest = snapshots.iter().filter(|judged| !judged.reasons.is_empty()).map(|judged| judged.found.key.seq).min();
        let (old_notes, mut earlier) = self.notes(&mut seen).await?;
        // A gap below the oldest snapshot is no gap, but for what that says that it follows.
        earlier.retain(|dropped| {
            let named = seen.before.contains(&dropped.key);
            named || self.layout.parse_snapshot(&dropped.key).is_some_and(|key| oldest.is_some_and(|oldest| key.seq > oldest))
        });
        self.checkpoints(&mut seen).await?;
        self.receipts(&mut seen).await?;
        let (packs, needed, waiting) = self.packs(&seen).await?;
        let Seen { held, mut old, .. } = seen;
        let old_notes = if earlier.is_empty() {
            old.extend(old_notes);
            Vec::new()
        } else {
            old_notes
        };
        let packs = if held.is_empty() { packs } else { Vec::new() };
        let (layout, rules, listed) = (self.layout.clone(), self.rules, self.listed);
        Ok(Plan { layout, rules, listed, snapshots, packs, needed, waiting, held, earlier, old, old_notes })
    }

    /// All objects of a prefix, and the store's clock before.
    async fn all(&self, prefix: &str) -> Result<(Vec<Listed>, Option<SystemTime>), RepositoryError> {
        let (mut all, mut clock, mut pages) = (Vec::new(), None, Pages::of(self.store, prefix, None));
        while let Some(page) = pages.next().await? {
            clock = clock.or(page.clock);
            all.extend(page.objects);
        }
        Ok((all, clock))
    }

    async fn snapshots(&self, objects: Vec<Listed>, seen: &mut Seen) -> Result<Vec<Judged>, RepositoryError> {
        let mut found = Vec::new();
        for Listed { key, modified, .. } in objects {
            match self.layout.parse_snapshot(&key) {
                Some(parsed) => found.push(Found { key: parsed, path: key, modified }),
                None => seen.hold(&key, "is no manifest that this agent knows"),
            }
        }
        let reads = found.into_iter().map(|found| async move { (read(self.store, &found).await, found) });
        let mut reads = futures::stream::iter(reads).buffered(READING);
        let (mut there, mut unknown, mut standings) = (Vec::new(), Vec::new(), Vec::new());
        let mut suspect = Vec::new();
        while let Some((stored, found)) = reads.next().await {
            match stored {
                // Another prune was faster: its note is read next.
                Ok(None) => continue,
                Ok(Some(stored)) => {
                    seen.needed.extend(stored.manifest.packs.iter().map(|pack| pack.name));
                    unknown.push(false);
                    seen.before
                        .extend(stored.manifest.parent.iter().chain(&stored.manifest.previous).map(|before| before.key.clone()));
                    let standing = self.standing(&stored, &found);
                    if standing == Standing::Suspect {
                        suspect.push((standings.len(), suspicion::Standing::of(&stored.manifest, stored.named())));
                    }
                    standings.push(standing);
                }
                Err(RepositoryError::Newer { .. }) => {
                    seen.hold(&found.path, "was made by a newer agent");
                    unknown.push(true);
                    standings.push(Standing::Untrusted);
                }
                Err(error) => return Err(error),
            }
            there.push(found);
        }
        let asked: Vec<_> = suspect.iter().map(|(_, standing)| standing).collect();
        let accepted = accepted::which(self.store, self.layout, &asked, self.trusted).await?;
        for ((at, _), _) in suspect.iter().zip(accepted).filter(|(_, accepted)| *accepted) {
            standings.get_mut(*at).into_iter().for_each(|standing| *standing = Standing::Good);
        }
        let candidate = |(found, standing): (&Found, &Standing)| Candidate {
            seq: found.key.seq,
            modified: found.modified,
            standing: *standing,
        };
        let candidates: Vec<_> = there.iter().zip(&standings).map(candidate).collect();
        let reasons = retention::decide(self.keep, &candidates, seen.now);
        let judge = |(((found, mut reasons), unknown), standing): (((Found, BTreeSet<Reason>), bool), Standing)| {
            if unknown {
                reasons.insert(Reason::Unknown);
            }
            Judged { found, reasons, suspect: standing == Standing::Suspect }
        };
        Ok(there.into_iter().zip(reasons).zip(unknown).zip(standings).map(judge).collect())
    }

    /// Untrusted is what is signed by nobody that is trusted; or signed well, but put there long after it was made: one that was dropped, put back by
    /// whoever has kept it. Of what is suspect, it isn't asked yet whether it was accepted.
    fn standing(&self, stored: &Stored, found: &Found) -> Standing {
        let made = SystemTime::from(stored.manifest.times.finished);
        let put_back = stored.signer.is_some() && made.checked_add(self.rules.list).is_some_and(|latest| found.modified > latest);
        if put_back || sign::accept(self.trusted, stored.signer, &found.path).is_err() {
            Standing::Untrusted
        } else if stored.manifest.suspect.is_empty() {
            Standing::Good
        } else {
            Standing::Suspect
        }
    }

    /// The keys of old notes, and what they say was dropped. One that isn't believed keeps packs while it is young, and says nothing else.
    async fn notes(&self, seen: &mut Seen) -> Result<(Vec<String>, Vec<Dropped>), RepositoryError> {
        let (mut old, mut earlier) = (Vec::new(), Vec::new());
        for object in self.all(&self.layout.pruned()).await?.0 {
            let young = seen.age(&object) <= self.rules.grace;
            if self.layout.parse_note(&object.key).is_none() {
                if young {
                    seen.hold(&object.key, "is no note that this agent knows");
                }
                continue;
            }
            let Some(bytes) = get(self.store, &object.key, checkpoint::LIMIT).await? else { continue };
            match Note::parse(&bytes, &object.key) {
                Ok(note) if young => {
                    if self.rules.note_keeps(seen.age(&object)) {
                        seen.named.extend(note.packs);
                    }
                }
                // It stays where it is: carried on in a note of this prune, it would be believed.
                Ok(note) if note.believed(&bytes, &object.key, self.layout, self.trusted).is_err() => {}
                Ok(note) => {
                    old.push(object.key);
                    earlier.extend(note.dropped.into_iter().chain(note.earlier));
                }
                Err(error) if young => seen.hold(&object.key, &format!("can't be read: {error}")),
                Err(_) => {}
            }
        }
        earlier.sort_by(|a, b| a.key.cmp(&b.key));
        earlier.dedup();
        Ok((old, earlier))
    }

    async fn checkpoints(&self, seen: &mut Seen) -> Result<(), RepositoryError> {
        // A newer one of a run stands for those before.
        let mut newest: HashMap<RunId, Listed> = HashMap::new();
        for object in self.all(&self.layout.checkpoints()).await?.0 {
            let young = seen.age(&object) <= self.rules.grace;
            match self.layout.parse_checkpoint(&object.key) {
                None if young => seen.hold(&object.key, "is no checkpoint that this agent knows"),
                None => {}
                Some(_) if !young => seen.old.push(object.key),
                Some(run) => {
                    let later = newest.get(&run).is_none_or(|n| (n.modified, &n.key) < (object.modified, &object.key));
                    if later {
                        newest.insert(run, object);
                    }
                }
            }
        }
        for object in newest.into_values().filter(|object| self.rules.checkpoint_keeps(seen.age(object))).collect::<Vec<_>>() {
            let Some(bytes) = get(self.store, &object.key, checkpoint::LIMIT).await? else { continue };
            let read = snapshots::newer(&bytes, &object.key).and_then(|()| {
                serde_json::from_slice::<Checkpoint>(&bytes).map_err(|e| RepositoryError::damaged(&object.key, e))
            });
            match read {
                Ok(checkpoint) if checkpoint.format == FORMAT => seen.named.extend(checkpoint.packs.iter().map(|pack| pack.name)),
                Ok(_) => seen.hold(&object.key, "has a format that no agent writes"),
                Err(error) => seen.hold(&object.key, &format!("can't be read: {error}")),
            }
        }
        Ok(())
    }

    /// Receipts go when they no longer count.
    async fn receipts(&self, seen: &mut Seen) -> Result<(), RepositoryError> {
        let mut pages = Pages::of(self.store, self.layout.receipts(), None);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(()),
                // Another machine's, which has made it so that this one can't look: no reason to keep everything else.
                Err(error) if error.kind == StoreErrorKind::Denied => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for object in page.objects {
                if self.layout.parse_receipt(&object.key).is_some() && seen.age(&object) > receipt::KEPT {
                    seen.old.push(object.key);
                }
            }
        }
    }

    async fn packs(&self, seen: &Seen) -> Result<(Vec<(String, u64)>, Amount, Amount), RepositoryError> {
        let (mut go, mut needed, mut waiting) = (Vec::new(), Amount::default(), Amount::default());
        let mut pages = Pages::of(self.store, self.layout.packs(), None);
        while let Some(page) = pages.next().await? {
            for object in page.objects {
                let Some(name) = self.layout.parse_pack(&object.key) else { continue };
                if seen.needed.contains(&name) {
                    needed.add(object.size);
                } else if seen.named.contains(&name) || self.rules.age_keeps(seen.age(&object)) {
                    waiting.add(object.size);
                } else {
                    go.push((object.key, object.size));
                }
            }
        }
        Ok((go, needed, waiting))
    }
}
