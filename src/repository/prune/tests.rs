//! A prune on a directory, as its owner sees it: what goes, what stays, what stops it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::checkpoint::Checkpoint;
use super::super::ids::{PackName, RunId};
use super::super::layout::{Layout, SnapshotKey};
use super::super::manifest::{Counts, FORMAT, Manifest, PackInfo, Server, Status, Times, Uploaded};
use super::super::pruned::Note;
use super::super::reuse::{Rules, Since};
use super::super::sign::test_key;
use super::{Plan, PruneError, Pruned};
use crate::config::{Keep, SiteName, TrustedKeys};
use crate::error::{Exit, Explain as _};
use crate::storage::{Deleter, Fault, Faulty, LocalStore};

/// A manifest of which only the packs matter.
pub(in crate::repository) fn manifest(id: RunId, seq: u64, at: Timestamp, packs: Vec<PackInfo>) -> Manifest {
    Manifest {
        format: FORMAT,
        site: "blog".into(),
        id,
        seq,
        parent: None,
        previous: None,
        times: Times { started: at, point_in_time: at, finished: at },
        tool: String::new(),
        trigger: "schedule".into(),
        server: Server::default(),
        recipients: Vec::new(),
        sealed: BTreeMap::new(),
        status: Status::Complete,
        findings: BTreeMap::new(),
        excluded: Vec::new(),
        counts: Counts::default(),
        watched: None,
        baseline: None,
        suspect: Vec::new(),
        uploaded: Uploaded::default(),
        files: Vec::new(),
        trees: Vec::new(),
        tables: Vec::new(),
        notes: Vec::new(),
        packs,
        signer: None,
    }
}

const DAY: u64 = 24 * 3600;

struct Bench {
    dir: tempfile::TempDir,
    layout: Layout,
}

fn pack(number: u8) -> PackInfo {
    PackInfo { name: PackName([number; 32]), size: 10, sha256: String::new(), live: 1, content: 1, sealed: None }
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), layout: Layout::new(SiteName::new("blog").unwrap()) }
    }

    /// Snapshots 1 to 3 of packs 1 and 2, 2 and 3, 3 and 4; pack 9 is nobody's. All are old.
    fn of_three() -> Self {
        let bench = Self::new();
        for seq in 1..=3 {
            bench.snapshot(seq, &[seq as u8, seq as u8 + 1], 30 - seq);
        }
        bench.write(&bench.layout.pack(&pack(9)), b"0123456789", 30);
        bench
    }

    fn write(&self, key: &str, bytes: &[u8], days: u64) {
        let path = self.dir.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.age(key, days);
    }

    fn age(&self, key: &str, days: u64) {
        let file = File::options().write(true).open(self.dir.path().join(key)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * DAY + 60)).unwrap();
    }

    fn snapshot(&self, seq: u64, packs: &[u8], days: u64) -> String {
        let (id, time) = (RunId([seq as u8; 8]), "2026-11-01T02:00:00Z".parse().unwrap());
        let key = self.layout.snapshot(&SnapshotKey { seq, time, id });
        let packs: Vec<_> = packs.iter().copied().map(pack).collect();
        for pack in &packs {
            self.write(&self.layout.pack(pack), b"0123456789", days);
        }
        self.write(&key, &serde_json::to_vec(&manifest(id, seq, time, packs)).unwrap(), days);
        key
    }

    fn store(&self) -> Arc<dyn Deleter> {
        Arc::new(LocalStore::new(self.dir.path().to_owned()))
    }

    async fn plan(&self, store: &dyn Deleter, keep: Keep) -> Result<Plan, PruneError> {
        Plan::make(store, &self.layout, &keep, &TrustedKeys::default(), Rules::default(), Since::now()).await
    }

    async fn prune_with(&self, store: &dyn Deleter, keep: Keep, id: u8) -> Result<Pruned, PruneError> {
        let plan = self.plan(store, keep).await?;
        plan.carry_out(store, RunId([id; 8]), Timestamp::now(), &test_key(), &CancellationToken::new()).await
    }

    async fn prune(&self, keep: Keep, id: u8) -> Result<Pruned, PruneError> {
        self.prune_with(&*self.store(), keep, id).await
    }

    fn keys(&self, of: &str) -> Vec<String> {
        let files = walkdir::WalkDir::new(self.dir.path().join("blog").join(of)).sort_by_file_name().into_iter();
        let files = files.filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        files.map(|entry| entry.path().strip_prefix(self.dir.path()).unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn packs(&self) -> Vec<u8> {
        self.keys("packs").iter().map(|key| self.layout.parse_pack(key).unwrap().0[0]).collect()
    }

    fn note(&self) -> Note {
        let keys = self.keys("pruned");
        let key = keys.last().unwrap();
        Note::parse(&fs::read(self.dir.path().join(key)).unwrap(), key).unwrap()
    }
}

const LAST: Keep = Keep { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within: None };

#[tokio::test]
async fn what_snapshots_needed_goes_a_grace_period_after_them() {
    let bench = Bench::of_three();
    let plan = bench.plan(&*bench.store(), LAST).await.unwrap();
    assert_eq!(plan.dropped().map(|found| found.key.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(plan.packs, [(bench.layout.pack(&pack(9)), 10)]);
    assert_eq!(bench.keys("snapshots").len(), 3, "a plan only reads");

    let done = bench.prune(LAST, 1).await.unwrap();
    assert_eq!((done.snapshots, done.packs.count), (2, 1));
    assert_eq!(bench.packs(), [1, 2, 3, 4]);
    let note = bench.note();
    assert_eq!(note.packs, [1, 2, 3].map(|n| pack(n).name));
    assert_eq!(note.dropped.len(), 2);
    assert_eq!(bench.prune(LAST, 2).await.unwrap(), Pruned::default());

    bench.age(&bench.keys("pruned")[0], 8);
    let done = bench.prune(LAST, 3).await.unwrap();
    assert_eq!((done.snapshots, done.packs.count, done.tidied), (0, 2, 1));
    assert_eq!(bench.packs(), [3, 4]);
}

#[tokio::test]
async fn a_note_says_on_what_older_ones_said_of_gaps() {
    let bench = Bench::of_three();
    bench.snapshot(4, &[4], 20);
    bench.snapshot(5, &[4], 19);
    let gap = super::super::pruned::Dropped { key: bench.keys("snapshots")[3].clone(), blake3: "x".into() };
    let below = super::super::pruned::Dropped { key: bench.keys("snapshots")[0].clone(), blake3: "y".into() };
    let at = "2026-11-01T02:00:00Z".parse().unwrap();
    let id = RunId([7; 8]);
    let note = Note {
        format: FORMAT,
        site: "blog".into(),
        id,
        at,
        tool: String::new(),
        dropped: vec![below, gap.clone()],
        earlier: Vec::new(),
        packs: Vec::new(),
        signer: None,
    };
    bench.write(&bench.layout.note(at, &id), &serde_json::to_vec(&note).unwrap(), 20);
    // Snapshot 3 is the oldest then: what was dropped below it leaves no gap.
    bench.prune(Keep { last: 3, ..LAST }, 8).await.unwrap();
    assert_eq!(bench.keys("pruned").len(), 1);
    assert_eq!(bench.note().earlier, [gap]);
}

#[tokio::test]
async fn checkpoints_keep_what_they_name_until_they_are_old() {
    let bench = Bench::of_three();
    let (at, id) = ("2026-11-01T02:00:00Z".parse().unwrap(), RunId([5; 8]));
    let checkpoint = Checkpoint { format: FORMAT, site: "blog".into(), id, at, packs: vec![pack(9)], signer: None };
    let key = bench.layout.checkpoint(at, &id);
    bench.write(&key, &serde_json::to_vec(&checkpoint).unwrap(), 6);
    assert_eq!(bench.prune(LAST, 1).await.unwrap().packs.count, 0);
    bench.age(&key, 8);
    let done = bench.prune(LAST, 2).await.unwrap();
    assert_eq!((done.packs.count, done.tidied), (1, 1));
    assert!(bench.keys("checkpoints").is_empty());
}

#[tokio::test]
async fn what_a_newer_agent_made_holds_all_packs_and_stays() {
    let bench = Bench::of_three();
    let key = bench.snapshot(1, &[1], 30);
    bench.write(&key, b"{\"format\":2,\"new\":true}", 30);
    let plan = bench.plan(&*bench.store(), LAST).await.unwrap();
    assert_eq!(plan.dropped().map(|found| found.key.seq).collect::<Vec<_>>(), [2]);
    assert!(plan.packs.is_empty() && plan.held[0].contains(&key), "{:?}", plan.held);
    bench.prune(LAST, 1).await.unwrap();
    assert_eq!(bench.packs(), [1, 2, 3, 4, 9]);
    assert!(bench.keys("snapshots").contains(&key));
}

#[tokio::test]
async fn what_lies_there_unknown_or_damaged_holds_all_packs() {
    for (key, bytes) in [
        ("blog/snapshots/0000000007-new.cbor", "x"),
        ("blog/pruned/20261101T020000Z-0101010101010101.json", "{\"format\":1"),
        ("blog/checkpoints/20261101T020000Z-0101010101010101.json", "{\"format\":7}"),
    ] {
        let bench = Bench::of_three();
        bench.write(key, bytes.as_bytes(), 1);
        let plan = bench.plan(&*bench.store(), LAST).await.unwrap();
        assert!(plan.packs.is_empty() && plan.held[0].contains(key), "{:?}", plan.held);
    }
}

#[tokio::test]
async fn a_damaged_manifest_stops_all_and_is_named() {
    let bench = Bench::of_three();
    let key = bench.snapshot(1, &[1], 30);
    bench.write(&key, b"{\"format\":1,", 30);
    let error = bench.prune(LAST, 1).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Data);
    assert!(error.to_string().contains(&key) && error.advice().unwrap().contains(&key), "{error}");
    assert_eq!((bench.keys("snapshots").len(), bench.packs()), (3, vec![1, 2, 3, 4, 9]));
}

#[tokio::test]
async fn a_prune_that_is_late_deletes_nothing_more() {
    let bench = Bench::of_three();
    let store = bench.store();
    let late = Since::by(|| Duration::from_secs(2 * DAY));
    let plan = Plan::make(&*store, &bench.layout, &LAST, &TrustedKeys::default(), Rules::default(), late).await.unwrap();
    let error =
        plan.carry_out(&*store, RunId([1; 8]), Timestamp::now(), &test_key(), &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, PruneError::TooLong));
    assert_eq!((bench.keys("snapshots").len(), bench.keys("pruned").len()), (3, 0));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let plan = bench.plan(&*store, LAST).await.unwrap();
    assert_eq!(
        plan.carry_out(&*store, RunId([1; 8]), Timestamp::now(), &test_key(), &cancel).await.unwrap_err().exit(),
        Exit::Cancelled
    );
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_what_the_next_prune_does_the_rest_of() {
    let mut cases = 0;
    for fault in [Fault::Before, Fault::After, Fault::Down] {
        for call in 1.. {
            let bench = Bench::of_three();
            let store = Faulty::deleting(bench.store(), [(call, fault)]);
            let failed = bench.prune_with(&store, LAST, 1).await.is_err();
            if store.calls() < call {
                break;
            }
            assert!(failed);
            cases += 1;
            assert!([3, 4].iter().all(|n| bench.packs().contains(n)) && !bench.keys("snapshots").is_empty());
            // A snapshot that is gone is in a note.
            assert!(bench.keys("snapshots").len() == 3 || bench.note().dropped.len() == 2);
            bench.prune(LAST, 2).await.unwrap();
            assert_eq!((bench.keys("snapshots").len(), bench.packs()), (1, vec![1, 2, 3, 4]));
        }
    }
    assert!(cases > 25, "{cases} cases");
}
