//! A runner whose runs do what a test tells them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::backup::{RunReport, Trigger};
use crate::config::{Address, DatabaseSettings, DumpSettings, Secret, SiteName, SiteSettings, Tls};
use crate::error::Exit;
use crate::progress::{Event, Phase, Progress};
use crate::repository::ids::RunId;

pub(super) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub(super) fn site(name: &str) -> SiteSettings {
    SiteSettings {
        name: SiteName::new(name).unwrap(),
        root: None,
        content_dir: PathBuf::from("/nonexistent"),
        table_prefix: "wp_".into(),
        database: DatabaseSettings {
            address: Address::Socket("/nonexistent".into()),
            user: "wp".into(),
            password: Secret::default(),
            name: "wp".into(),
            tls: Tls::Off,
            dump: DumpSettings::default(),
        },
        schedule: None,
        time_zone: None,
        exclude: Vec::new(),
        default_excludes: true,
        update_wait: Duration::ZERO,
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

/// A run under way.
pub(super) struct Control {
    pub(super) run: RunId,
    pub(super) site: String,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) cancel: CancellationToken,
    finish: Mutex<Option<oneshot::Sender<Exit>>>,
}

impl Control {
    pub(super) fn reach_database(&self) {
        self.progress.event(Event::Phase(Phase::Database));
    }

    pub(super) fn finish(&self) {
        self.finish_with(Exit::Success);
    }

    pub(super) fn finish_with(&self, result: Exit) {
        let sender = self.finish.lock().unwrap().take().unwrap();
        sender.send(result).unwrap();
    }
}

/// The runner. Clones are one.
#[derive(Clone)]
pub(super) struct Fake {
    begun: mpsc::UnboundedSender<Control>,
    controls: Arc<AsyncMutex<mpsc::UnboundedReceiver<Control>>>,
    runs: Arc<AtomicUsize>,
    overlap: Arc<AtomicUsize>,
    at_once: Arc<AtomicBool>,
}

impl Default for Fake {
    fn default() -> Self {
        let (begun, controls) = mpsc::unbounded_channel();
        let controls = Arc::new(AsyncMutex::new(controls));
        Self { begun, controls, runs: Arc::default(), overlap: Arc::default(), at_once: Arc::default() }
    }
}

impl Fake {
    /// The next run that began.
    pub(super) async fn next(&self) -> Control {
        let mut controls = self.controls.lock().await;
        tokio::time::timeout(Duration::from_secs(10), controls.recv()).await.expect("a run begins").unwrap()
    }

    /// How many runs have begun.
    pub(super) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Makes runs end as soon as they begin.
    pub(super) fn finish_at_once(&self) {
        self.at_once.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Runner for Fake {
    async fn run(
        &self,
        site: &SiteSettings,
        run: RunId,
        trigger: Trigger,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> RunReport {
        assert_eq!(self.overlap.fetch_add(1, Ordering::SeqCst), 0, "two runs at a time");
        self.runs.fetch_add(1, Ordering::SeqCst);
        progress.event(Event::Phase(Phase::Files));
        let (finish, finished) = oneshot::channel();
        let result = if self.at_once.load(Ordering::SeqCst) {
            Exit::Success
        } else {
            let control = Control {
                run,
                site: site.name.to_string(),
                progress: Arc::clone(&progress),
                cancel: cancel.clone(),
                finish: Mutex::new(Some(finish)),
            };
            self.begun.send(control).map_err(|_| "the test is over").unwrap();
            tokio::select! {
                result = finished => result.unwrap_or(Exit::Internal),
                () = cancel.cancelled() => Exit::Cancelled,
            }
        };
        self.overlap.fetch_sub(1, Ordering::SeqCst);
        let now = Timestamp::now();
        RunReport { site: site.name.to_string(), run, trigger, started: now, finished: now, result, error: None, snapshot: None }
    }
}
