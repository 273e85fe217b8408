//! A site whose database is an empty schema, backed up by this process itself: what the tests of the files need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::backup::{RunContext, RunReport, SnapshotSummary, Trigger, run};
use wp_backup_agent::config::{SiteName, SiteSettings};
use wp_backup_agent::progress::{Event, Progress, Tally};
use wp_backup_agent::repository::checkpoint::{self, Checkpoint};
use wp_backup_agent::repository::entry::{ChunkRef, FileEntry, Finding};
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::repository::list::LineBuffer;
use wp_backup_agent::repository::manifest::Manifest;
use wp_backup_agent::repository::reader::ChunkReader;
use wp_backup_agent::repository::{random_run_id, snapshots};
use wp_backup_agent::restore::{FilesRestored, Restore};
use wp_backup_agent::storage::{LocalStore, Recorder, Store};

use super::mariadb::MariaDb;
use super::roomy;

/// Longer than the two seconds in which an entry's times aren't trusted.
pub const SETTLED: Duration = Duration::from_millis(2200);

/// The site, its server, and its store in a directory. A test says where its wp-content is.
pub struct FilesSite {
    server: MariaDb,
    pub state: tempfile::TempDir,
    /// What a test changes of the settings.
    pub adjust: Box<dyn Fn(&mut SiteSettings)>,
    pub kept: tempfile::TempDir,
    pub recorder: Arc<Recorder>,
    runtime: Runtime,
}

impl FilesSite {
    /// A site whose store will hold about so many bytes.
    pub fn of(bytes: u64) -> Self {
        let kept = roomy::directory(bytes);
        let store = Arc::new(LocalStore::new(kept.path().to_owned()));
        Self::over(kept, store)
    }

    /// A site whose store keeps what it has in this directory.
    pub fn over(kept: tempfile::TempDir, store: Arc<dyn Store>) -> Self {
        let server = MariaDb::start();
        server.client("CREATE DATABASE blog CHARACTER SET utf8mb4");
        let state = roomy::directory(1 << 28);
        let recorder = Arc::new(Recorder::new(store));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Self { server, state, adjust: Box::new(|_| {}), kept, recorder, runtime }
    }

    /// A run over this directory, which must commit.
    #[track_caller]
    pub fn commits(&self, content: &Path) -> Committed {
        self.commits_watched(content, |_| {})
    }

    /// The same; `watch` is called with each event of the run, by the thread that it happens in.
    #[track_caller]
    pub fn commits_watched(&self, content: &Path, watch: impl Fn(&Event) + Send + Sync + 'static) -> Committed {
        let watched = Arc::new(Watched { tally: Tally::default(), watch });
        let report = self.run(content, watched.clone(), checkpoint::EVERY, CancellationToken::new());
        let Some(summary) = report.snapshot else { panic!("the run failed: {:?}", report.error) };
        Committed { summary, read: watched.tally.figures().read_bytes }
    }

    /// A run that is cancelled once so many bytes are in the store; it writes checkpoints all the time.
    pub fn is_broken_off(&self, content: &Path, after: u64) {
        let sent = AtomicU64::new(0);
        self.is_broken_off_when(content, move |bytes| sent.fetch_add(bytes, Ordering::SeqCst) + bytes >= after);
    }

    /// A run that is cancelled once the newest checkpoint in the store names packs of so many bytes.
    pub fn is_broken_off_with_a_checkpoint(&self, content: &Path, of: u64) {
        let checkpoints = self.checkpoints();
        self.is_broken_off_when(content, move |_| {
            newest_checkpoint(&checkpoints).is_some_and(|newest| named_bytes(&newest) >= of)
        });
    }

    /// The directory of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.kept.path().join("blog/checkpoints")
    }

    fn is_broken_off_when(&self, content: &Path, is_enough: impl Fn(u64) -> bool + Send + Sync + 'static) {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let watch = move |event: &Event| {
            if let Event::Uploaded { bytes } = event {
                if is_enough(*bytes) {
                    token.cancel();
                }
                // There is at most one checkpoint a second.
                std::thread::sleep(Duration::from_millis(700));
            }
        };
        let watched = Arc::new(Watched { tally: Tally::default(), watch });
        let report = self.run(content, watched, Duration::ZERO, cancel);
        assert!(report.snapshot.is_none(), "the run was over before it was broken off");
    }

    fn run(
        &self,
        content: &Path,
        progress: Arc<dyn Progress>,
        checkpoint_every: Duration,
        cancel: CancellationToken,
    ) -> RunReport {
        self.run_on(self.store(), content, progress, checkpoint_every, cancel)
    }

    /// A run over this directory into another store than the site's own.
    pub fn tries(&self, content: &Path, store: Arc<dyn Store>) -> RunReport {
        self.run_on(store, content, Arc::new(Tally::default()), checkpoint::EVERY, CancellationToken::new())
    }

    fn run_on(
        &self,
        store: Arc<dyn Store>,
        content: &Path,
        progress: Arc<dyn Progress>,
        checkpoint_every: Duration,
        cancel: CancellationToken,
    ) -> RunReport {
        let context = RunContext {
            store,
            state: self.state.path().to_owned(),
            site: self.settings(content),
            run: random_run_id(),
            trigger: Trigger::Command,
            options: Default::default(),
            progress,
            checkpoint_every,
            cancel,
        };
        self.runtime.block_on(run(context))
    }

    /// What is in the directory of local state goes, but for the signing key.
    pub fn lose_state(&self) {
        std::fs::remove_dir_all(self.state.path().join("blog")).expect("the state removed");
    }

    /// The signing key goes.
    pub fn lose_key(&self) {
        std::fs::remove_file(self.state.path().join("signing-key")).expect("the key removed");
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.recorder.clone()
    }

    /// Restores a snapshot's files, by its number.
    pub fn restore(&self, seq: u64, target: &Path) -> FilesRestored {
        let progress = Arc::new(Tally::default());
        self.runtime.block_on(async {
            let opened = Restore::open(self.store(), layout(), &seq.to_string(), progress, CancellationToken::new()).await;
            opened.expect("the snapshot").files(target, false).await.expect("a restore")
        })
    }

    /// The numbers of the snapshots in the store.
    pub fn snapshots(&self) -> Vec<u64> {
        let found = self.runtime.block_on(snapshots::list(self.recorder.as_ref(), &layout(), None)).expect("a listing");
        found.into_iter().map(|found| found.key.seq).collect()
    }

    /// Runs this to its end.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A snapshot's manifest.
    pub fn manifest(&self, seq: u64) -> Manifest {
        self.runtime.block_on(async {
            let found = snapshots::find(&self.store(), &layout(), &seq.to_string()).await.expect("the snapshot");
            snapshots::read(self.recorder.as_ref(), &found).await.expect("a manifest").manifest
        })
    }

    /// A snapshot's manifest, its list of files, and its findings.
    pub fn lists(&self, seq: u64) -> (Manifest, Vec<FileEntry>, Vec<Finding>) {
        self.runtime.block_on(async {
            let found = snapshots::find(&self.store(), &layout(), &seq.to_string()).await.expect("the snapshot");
            let manifest = snapshots::read(self.recorder.as_ref(), &found).await.expect("a manifest").manifest;
            let mut reader = ChunkReader::new(self.store(), layout(), &manifest.packs);
            let files = list(&mut reader, &manifest.files).await;
            let notes = list(&mut reader, &manifest.notes).await;
            (manifest, files, notes)
        })
    }

    fn settings(&self, content: &Path) -> SiteSettings {
        let mut settings = settings(&self.server, content);
        (self.adjust)(&mut settings);
        settings
    }
}

/// The settings of a site whose database is the schema `blog`.
pub fn settings(server: &MariaDb, content: &Path) -> SiteSettings {
    SiteSettings {
        name: SiteName::new("blog").expect("a name"),
        root: None,
        content_dir: content.to_owned(),
        table_prefix: "wp_".into(),
        database: server.settings("blog"),
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

/// The newest checkpoint in this directory that is written to its end.
pub fn newest_checkpoint(dir: &Path) -> Option<Checkpoint> {
    let newest = std::fs::read_dir(dir).ok()?.map(|file| file.expect("an entry").path()).max()?;
    Checkpoint::parse(&std::fs::read(newest).ok()?, "a checkpoint").ok()
}

/// Bytes of the packs that it names.
pub fn named_bytes(checkpoint: &Checkpoint) -> u64 {
    checkpoint.packs.iter().map(|pack| pack.size).sum()
}

/// A committed run.
#[derive(Debug)]
pub struct Committed {
    pub summary: SnapshotSummary,
    /// Bytes of content that had to be read.
    pub read: u64,
}

struct Watched<F> {
    tally: Tally,
    watch: F,
}

impl<F: Fn(&Event) + Send + Sync> Progress for Watched<F> {
    fn event(&self, event: Event) {
        (self.watch)(&event);
        self.tally.event(event);
    }
}

pub fn layout() -> Layout {
    Layout::new(SiteName::new("blog").expect("a name"))
}

async fn list<T: DeserializeOwned>(reader: &mut ChunkReader, pieces: &[ChunkRef]) -> Vec<T> {
    let (mut lines, mut all) = (LineBuffer::new("a list"), Vec::new());
    for piece in pieces {
        lines.fill(&reader.read(piece).await.expect("a piece of a list"));
        while let Some(entry) = lines.next_entry().expect("an entry") {
            all.push(entry);
        }
    }
    all
}
