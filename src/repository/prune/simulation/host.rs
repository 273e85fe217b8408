//! A host that makes snapshots: its local state, and a run as the store sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::super::super::checkpoint::{self, Checkpoint};
use super::super::super::ids::{PackName, RunId};
use super::super::super::layout::{Layout, SnapshotKey};
use super::super::super::manifest::{FORMAT, PackInfo};
use super::super::super::reuse::{Known, Rules};
use super::super::super::snapshots::{self, Found};
use super::super::super::{RepositoryError, checksummed};
use super::super::tests::manifest;
use super::clockwork::{Random, Shared};
use crate::config::{SiteName, TrustedKeys};
use crate::storage::{Pages, Put, Store as _};

pub(super) fn layout() -> Layout {
    Layout::new(SiteName::new("blog").unwrap())
}

/// Local state.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    parent: Option<(String, Vec<PackName>)>,
    journal: Vec<PackName>,
    /// Every pack that it has ever known.
    remembered: BTreeSet<PackName>,
    resumed: u64,
}

/// A host; clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Host(Arc<Mutex<State>>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Committed,
    TooOld,
    Failed,
}

impl Host {
    pub(super) fn image(&self) -> State {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn put_back(&self, image: &State) {
        let mut state = self.0.lock().unwrap();
        *state = State { resumed: state.resumed, ..image.clone() };
    }

    pub(super) fn resumed(&self) -> u64 {
        self.0.lock().unwrap().resumed
    }

    pub(super) async fn run(self, store: &Shared, rules: Rules, random: Random, packs: usize) -> Ended {
        self.steps(store, rules, random, packs).await.unwrap_or(Ended::Failed)
    }

    async fn steps(&self, store: &Shared, rules: Rules, mut random: Random, many: usize) -> Result<Ended, RepositoryError> {
        let (layout, id, started, before) = (layout(), RunId(random.next().to_le_bytes()), store.time(), self.image());
        let listed = store.since();
        let found = snapshots::list(store, &layout, before.parent.as_ref().map(|(path, _)| path.as_str())).await?;
        let is_listed = |path: &str| found.iter().any(|found| found.path == path);
        let mine = before.parent.clone().filter(|(path, _)| rules.may_reuse(Known::Parent { listed: is_listed(path) }));
        let newest = match found.last().cloned() {
            None if before.parent.is_some() => snapshots::list(store, &layout, None).await?.pop(),
            newest => newest,
        };
        let parent = match (&mine, &newest) {
            (Some((path, _)), newest) if !is_listed(path) || newest.as_ref().is_some_and(|newest| newest.path == *path) => {
                mine.clone()
            }
            (_, Some(newest)) => self.fetch(store, newest, &mut random).await.or(mine),
            (_, None) => None,
        };
        let broken = self.broken(store, rules, &before).await?;
        let chain = |name: &PackName| info(*name);
        let mut names: BTreeSet<PackName> = BTreeSet::new();
        let mut uses = |random: &mut Random, known: &mut dyn Iterator<Item = PackName>| {
            names.extend(known.filter(|_| random.below(5) > 0));
        };
        uses(&mut random, &mut parent.iter().flat_map(|(_, packs)| packs.iter().copied()));
        uses(&mut random, &mut broken.iter().copied());
        if rules.may_reuse(Known::Remembered) {
            uses(&mut random, &mut before.remembered.iter().copied());
        }
        let (mut sent, mut written) = (broken, store.since());
        for _ in 0..random.below(many + 1) {
            let name = PackName::of(&random.next().to_le_bytes());
            let (body, sha256) = checksummed(name.0.to_vec());
            store.put_new(&layout.pack(&info(name)), body, sha256).await?;
            names.insert(name);
            sent.push(name);
            {
                let mut state = self.0.lock().unwrap();
                state.journal.push(name);
                state.remembered.insert(name);
            }
            if random.below(3) > 0 && rules.may_checkpoint(written.elapsed()) {
                let (at, since) = (store.time(), store.since());
                let packs = sent.iter().map(chain).collect();
                let checkpoint = Checkpoint { format: FORMAT, site: "blog".into(), id, at, packs, signer: None };
                let (body, sha256) = checksummed(serde_json::to_vec(&checkpoint).unwrap());
                if store.put_new(&layout.checkpoint(at, &id), body, sha256).await? == Put::Created {
                    written = since;
                }
            }
        }
        if !rules.may_commit(listed.elapsed()) {
            return Ok(Ended::TooOld);
        }
        let seq = newest.map_or(1, |newest| newest.key.seq + 1);
        let path = layout.snapshot(&SnapshotKey { seq, time: started, id });
        let packs: Vec<PackName> = names.into_iter().collect();
        let manifest = manifest(id, seq, started, packs.iter().map(chain).collect());
        let (body, sha256) = checksummed(serde_json::to_vec(&manifest).unwrap());
        store.put_new(&path, body, sha256).await?;
        let mut state = self.0.lock().unwrap();
        state.remembered.extend(&packs);
        state.parent = Some((path, packs));
        state.journal.clear();
        Ok(Ended::Committed)
    }

    /// The newest snapshot's lists, which can't always be read.
    async fn fetch(&self, store: &Shared, newest: &Found, random: &mut Random) -> Option<(String, Vec<PackName>)> {
        let stored = snapshots::read(store, newest).await.ok()?;
        let packs = stored.manifest.packs.iter().map(|pack| pack.name).collect();
        (random.below(4) > 0).then_some((stored.path, packs))
    }

    /// What a broken run sent, as far as it may be reused.
    async fn broken(&self, store: &Shared, rules: Rules, before: &State) -> Result<Vec<PackName>, RepositoryError> {
        let lost = before.parent.is_none() && before.journal.is_empty();
        if before.journal.is_empty() && !lost {
            return Ok(Vec::new());
        }
        let (now, checkpoint) = checkpoint::newest(store, &layout(), &TrustedKeys::default()).await?;
        let named: BTreeSet<PackName> = checkpoint.into_iter().flat_map(|found| found.packs).map(|pack| pack.name).collect();
        let noted: Vec<PackName> = if lost { named.iter().copied().collect() } else { before.journal.clone() };
        let there = ages(store, now).await?;
        let reusable = |name: &PackName| {
            there.get(name).is_some_and(|&age| rules.may_reuse(Known::Broken { age, named: named.contains(name) }))
        };
        let broken: Vec<PackName> = noted.into_iter().filter(reusable).collect();
        let mut state = self.0.lock().unwrap();
        state.resumed += u64::from(!broken.is_empty());
        // Beside them, the journal gets what this run sends.
        state.journal.clone_from(&broken);
        Ok(broken)
    }
}

async fn ages(store: &Shared, now: SystemTime) -> Result<BTreeMap<PackName, std::time::Duration>, RepositoryError> {
    let (mut there, mut pages) = (BTreeMap::new(), Pages::of(store, layout().packs(), None));
    while let Some(page) = pages.next().await? {
        let age = |modified| now.duration_since(modified).unwrap_or_default();
        there.extend(page.objects.iter().filter_map(|object| Some((layout().parse_pack(&object.key)?, age(object.modified)))));
    }
    Ok(there)
}

fn info(name: PackName) -> PackInfo {
    PackInfo { name, size: 32, sha256: String::new(), live: 1, content: 1, sealed: None }
}
