//! One sequence: a site, its agent's local state, its store, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::random::Random;
use super::store::{Counted, Memory, Moments, Objects};
use super::tree::{Image, Tree, differences, read};
use crate::backup::{RunContext, RunReport, Trigger, run};
use crate::config::{Address, DatabaseSettings, DumpSettings, Secret, SiteName, SiteSettings, Tls};
use crate::error::Exit;
use crate::progress::Silent;
use crate::repository::checkpoint;
use crate::repository::entry::FindingCode;
use crate::repository::ids::RunId;
use crate::repository::layout::Layout;
use crate::repository::manifest::Manifest;
use crate::restore::Restore;
use crate::storage::{Fault, Faulty, Store};

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    changes: u64,
    committed: u64,
    failed: u64,
    killed: u64,
    dropped: u64,
    cancelled: u64,
    committed_all_the_same: u64,
    state_lost: u64,
    state_put_back: u64,
    snapshots_removed: u64,
    restored: u64,
    entries_compared: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.changes += other.changes;
        self.committed += other.committed;
        self.failed += other.failed;
        self.killed += other.killed;
        self.dropped += other.dropped;
        self.cancelled += other.cancelled;
        self.committed_all_the_same += other.committed_all_the_same;
        self.state_lost += other.state_lost;
        self.state_put_back += other.state_put_back;
        self.snapshots_removed += other.snapshots_removed;
        self.restored += other.restored;
        self.entries_compared += other.entries_compared;
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    /// The store does this to its n-th request.
    Fault(u64, Fault),
    /// The process is gone at the n-th moment.
    Killed(u64),
    /// The run is dropped at the n-th moment, or as soon as it can be.
    Dropped(u64),
    Cancelled(u64),
}

/// The world of one sequence.
pub(super) struct World {
    pub(super) seed: u64,
    /// What has been done, for messages.
    pub(super) steps: Vec<String>,
    pub(super) counts: Counts,
    dir: PathBuf,
    /// How many directories of local state there have been. A thread of a run that counts as killed may still write to its own.
    states: u64,
    random: Random,
    tree: Tree,
    store: Arc<Memory>,
    /// What the tree was when a run began: what its snapshot must hold.
    images: BTreeMap<RunId, Image>,
}

impl World {
    pub(super) fn make(dir: &Path, seed: u64) -> io::Result<Self> {
        fs::create_dir(dir)?;
        let mut random = Random::new(seed);
        let tree = Tree::make(&dir.join("content"), &mut random)?;
        Ok(Self {
            seed,
            steps: Vec::new(),
            counts: Counts::default(),
            dir: dir.to_owned(),
            states: 0,
            random,
            tree,
            store: Arc::default(),
            images: BTreeMap::new(),
        })
    }

    /// Some steps; then what no snapshot names goes from the store, and each snapshot is restored.
    pub(super) async fn live(&mut self) -> Result<(), String> {
        for _ in 0..4 + self.random.below(6) {
            self.step().await?;
        }
        self.steps.push("the end".to_owned());
        self.snapshot(End::Well).await?;
        self.prune();
        for id in self.manifests().keys() {
            self.restore(id).await?;
        }
        fs::remove_dir_all(&self.dir).map_err(said)
    }

    async fn step(&mut self) -> Result<(), String> {
        let n = 1 + self.random.below(9) as u64;
        let moment = 1 + self.random.below(24) as u64;
        match self.random.below(21) {
            0..=6 => {
                for _ in 0..1 + self.random.below(4) {
                    let what = self.tree.change(&mut self.random).map_err(said)?;
                    self.counts.changes += 1;
                    self.steps.push(what);
                }
                Ok(())
            }
            7..=10 => self.snapshot(End::Well).await,
            11 => self.snapshot(End::Fault(n, Fault::Before)).await,
            12 => self.snapshot(End::Fault(n, Fault::After)).await,
            13 => self.snapshot(End::Fault(n, Fault::Down)).await,
            14 | 15 => self.snapshot(End::Killed(moment)).await,
            16 => self.snapshot(End::Dropped(moment)).await,
            17 => self.snapshot(End::Cancelled(moment)).await,
            18 | 19 => self.lose(),
            _ => {
                let ids: Vec<String> = self.manifests().into_keys().collect();
                match self.random.of(&ids).cloned() {
                    Some(id) => self.restore(&id).await,
                    None => Ok(()),
                }
            }
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.join(format!("state-{}", self.states))
    }

    /// From now on local state is this, or nothing.
    fn put_state(&mut self, from: Option<&Path>) -> io::Result<()> {
        self.states += 1;
        from.map_or(Ok(()), |from| fs::rename(from, self.state()))
    }

    /// A run, which may end in any way. The process that it is in goes on.
    async fn snapshot(&mut self, end: End) -> Result<(), String> {
        self.steps.push(format!("a run: {end:?}"));
        let id = RunId(self.random.number().to_le_bytes());
        self.images.insert(id, self.tree.image().map_err(said)?);
        let (state, kept) = (self.state(), self.dir.join("kept"));
        let (cancel, drop) = (CancellationToken::new(), Arc::new(Notify::new()));
        let frozen = Arc::new(Mutex::new(None::<Objects>));
        let moments = match end {
            End::Killed(at) => {
                let (frozen, store, state, kept, cancel) =
                    (frozen.clone(), self.store.clone(), state.clone(), kept.clone(), cancel.clone());
                // What a killed process leaves behind, at this moment; the run itself only has to end.
                Moments::new(at, move || {
                    *frozen.lock().unwrap() = Some(store.objects().clone());
                    copy(&state, &kept).unwrap();
                    cancel.cancel();
                })
            }
            End::Dropped(at) => {
                let drop = drop.clone();
                Moments::new(at, move || drop.notify_one())
            }
            End::Cancelled(at) => {
                let cancel = cancel.clone();
                Moments::new(at, move || cancel.cancel())
            }
            End::Well | End::Fault(..) => Moments::new(0, || {}),
        };
        let inner: Arc<dyn Store> = match end {
            End::Fault(n, fault) => Arc::new(Faulty::new(self.store.clone(), [(n, fault)])),
            _ => self.store.clone(),
        };
        let context = RunContext {
            store: Arc::new(Counted { inner, moments: moments.clone() }),
            state: state.clone(),
            site: site(&self.dir),
            run: id,
            trigger: Trigger::Command,
            options: Default::default(),
            progress: moments,
            checkpoint_every: checkpoint::EVERY,
            cancel,
        };
        let report = tokio::select! {
            report = patient(context) => Some(report),
            () = drop.notified() => None,
        };
        let frozen = frozen.lock().unwrap().take();
        let was_killed = frozen.is_some();
        if let Some(objects) = frozen {
            *self.store.objects() = objects;
            self.put_state(Some(&kept)).map_err(said)?;
        }
        self.ended(end, id, report, was_killed)
    }

    fn ended(&mut self, end: End, id: RunId, report: Option<RunReport>, was_killed: bool) -> Result<(), String> {
        let is_there = self.manifests().contains_key(&id.to_string());
        if was_killed {
            self.counts.killed += 1;
            self.counts.committed_all_the_same += u64::from(is_there);
            return Ok(());
        }
        let Some(report) = report else {
            self.counts.dropped += 1;
            self.counts.committed_all_the_same += u64::from(is_there);
            return Ok(());
        };
        let Some(summary) = report.snapshot else {
            match report.result {
                Exit::Cancelled => self.counts.cancelled += 1,
                _ => self.counts.failed += 1,
            }
            self.counts.committed_all_the_same += u64::from(is_there);
            let excused = !matches!(end, End::Well) && [Exit::Cancelled, Exit::Unavailable].contains(&report.result);
            return if excused { Ok(()) } else { Err(format!("the run failed: {:?}", report.error)) };
        };
        self.counts.committed += 1;
        if !is_there {
            return Err("the run says that it committed, and the store has no such snapshot".to_owned());
        }
        let lost: Vec<_> = summary.findings.keys().filter(|code| code.is_loss()).collect();
        let expected = [FindingCode::CoreMissing, FindingCode::ParentLost];
        if lost.iter().all(|code| expected.contains(code)) { Ok(()) } else { Err(format!("{:?}", summary.first_findings)) }
    }

    /// Local state goes, or is what it was some time ago; or the newest snapshot goes from the store.
    fn lose(&mut self) -> Result<(), String> {
        let old = self.dir.join("old");
        match self.random.below(5) {
            0 => {
                self.steps.push("local state is lost".to_owned());
                self.counts.state_lost += 1;
                self.put_state(None).map_err(said)?;
            }
            1 | 2 if old.exists() => {
                self.steps.push("local state is put back to what it was".to_owned());
                self.counts.state_put_back += 1;
                self.put_state(Some(&old)).map_err(said)?;
            }
            1..=3 => {
                self.steps.push("local state is copied".to_owned());
                copy(&self.state(), &old).map_err(said)?;
            }
            _ => {
                self.steps.push("the newest snapshot is removed".to_owned());
                let mut objects = self.store.objects();
                let newest = objects.keys().rfind(|key| key.contains("/snapshots/")).cloned();
                self.counts.snapshots_removed += u64::from(newest.and_then(|key| objects.remove(&key)).is_some());
            }
        }
        Ok(())
    }

    /// The manifests in the store, by their runs' ids.
    fn manifests(&self) -> BTreeMap<String, Manifest> {
        let objects = self.store.objects();
        let found = objects.iter().filter(|(key, _)| key.contains("/snapshots/"));
        found.map(|(_, bytes)| serde_json::from_slice::<Manifest>(bytes).unwrap()).map(|m| (m.id.to_string(), m)).collect()
    }

    /// Takes all packs that no snapshot names.
    fn prune(&mut self) {
        let manifests = self.manifests();
        let packs = manifests.values().flat_map(|manifest| &manifest.packs);
        let named: BTreeSet<String> = packs.map(|pack| layout().pack(pack)).collect();
        self.store.objects().retain(|key, _| !key.contains("/packs/") || named.contains(key));
    }

    async fn restore(&mut self, id: &str) -> Result<(), String> {
        let target = self.dir.join("restored");
        let _ = fs::remove_dir_all(&target);
        let (store, quiet) = (self.store.clone(), Arc::new(Silent));
        let failed = |error: &dyn std::error::Error| format!("snapshot {id} does not restore: {error} {:?}", error.source());
        let opened = Restore::open(store, layout(), id, quiet, CancellationToken::new()).await;
        let mut restore = opened.map_err(|error| failed(&error))?;
        restore.files(&target, false).await.map_err(|error| failed(&error))?;
        let found = read(&target).map_err(said)?;
        let expected = id.parse().ok().and_then(|id: RunId| self.images.get(&id)).ok_or("a snapshot of no run")?;
        let different = differences(expected, &found);
        if !different.is_empty() {
            return Err(format!("snapshot {id} is not what the tree was: {different:#?}"));
        }
        self.counts.restored += 1;
        self.counts.entries_compared += found.len() as u64;
        Ok(())
    }
}

fn said(error: io::Error) -> String {
    error.to_string()
}

fn layout() -> Layout {
    Layout::new(SiteName::new("blog").unwrap())
}

/// A run; again while a thread of the one that was dropped before still has the site.
async fn patient(context: RunContext) -> RunReport {
    loop {
        let report = run(context.clone()).await;
        if report.result != Exit::Busy {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to)?;
    if !from.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let copied = if entry.file_type()?.is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), &to).map(|_| ()) };
        match copied {
            // It went meanwhile: the process isn't stopped, only looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn site(dir: &Path) -> SiteSettings {
    SiteSettings {
        name: SiteName::new("blog").unwrap(),
        root: None,
        content_dir: dir.join("content"),
        table_prefix: "wp_".into(),
        // Without a name: there is none.
        database: DatabaseSettings {
            address: Address::Socket(PathBuf::new()),
            user: String::new(),
            password: Secret::default(),
            name: String::new(),
            tls: Tls::Off,
            dump: DumpSettings::default(),
        },
        schedule: None,
        time_zone: None,
        exclude: Vec::new(),
        default_excludes: true,
        update_wait: Duration::from_secs(1),
        reread: 0,
        trees: Vec::new(),
        include_wp_config: false,
        follow_links_into: Vec::new(),
        recipients: Default::default(),
        trusted: Default::default(),
        prune: None,
        verify: None,
    }
}
