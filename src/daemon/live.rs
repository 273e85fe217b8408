//! One run from the request to its report: what others may see of it, and whether they may still join it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backup::{RunReport, Trigger};
use crate::config::SiteName;
use crate::progress::{Event, Figures, Phase, Progress, Tally};
use crate::repository::ids::RunId;

/// Where a run stands.
#[derive(Debug, Clone)]
pub enum Stage {
    /// It waits for its turn.
    Queued,
    /// It is under way, in this step.
    Running(Phase),
    /// It is over. Nothing follows.
    Finished(Arc<RunReport>),
}

/// A run, queued or under way: the observer that the runner reports to.
#[derive(Debug)]
pub struct Live {
    run: RunId,
    site: SiteName,
    trigger: Trigger,
    requested: Timestamp,
    started: OnceLock<Timestamp>,
    tally: Tally,
    door: AtomicBool,
    stage: watch::Sender<Stage>,
    cancel: CancellationToken,
    born: Instant,
    /// Milliseconds from `born` to the last event.
    last_event: AtomicU64,
}

impl Live {
    pub(super) fn new(run: RunId, site: SiteName, trigger: Trigger, requested: Timestamp) -> Self {
        Self {
            run,
            site,
            trigger,
            requested,
            started: OnceLock::new(),
            tally: Tally::default(),
            door: AtomicBool::new(true),
            stage: watch::Sender::new(Stage::Queued),
            cancel: CancellationToken::new(),
            born: Instant::now(),
            last_event: AtomicU64::new(0),
        }
    }

    /// The run's id.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Its site.
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Who asked for it first.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// When it was asked for.
    pub fn requested(&self) -> Timestamp {
        self.requested
    }

    /// When it began; `None` while it is queued.
    pub fn started(&self) -> Option<Timestamp> {
        self.started.get().copied()
    }

    /// Its figures so far.
    pub fn figures(&self) -> Figures {
        self.tally.figures()
    }

    /// Where it stands, and a way to wait for the next stage.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Waits for the report.
    pub async fn report(&self) -> Option<Arc<RunReport>> {
        let mut stage = self.stage();
        let last = stage.wait_for(|stage| matches!(stage, Stage::Finished(_))).await.ok()?;
        match &*last {
            Stage::Finished(report) => Some(Arc::clone(report)),
            Stage::Queued | Stage::Running(_) => None,
        }
    }

    /// How long ago the run gave a sign of life.
    pub fn silence(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.last_event.load(Ordering::Relaxed)))
    }

    /// Whether a request made now is answered by this run: its point in time is still to come.
    ///
    /// The runner's call of [`Progress::event`] with the database step returns only after the door is closed, and the point
    /// in time is taken after that call: a request that found the door open came before it.
    pub(super) fn joinable(&self) -> bool {
        self.door.load(Ordering::SeqCst)
    }

    /// Asks the run to stop. Nobody joins it any more.
    pub(super) fn cancel(&self) {
        self.door.store(false, Ordering::SeqCst);
        self.cancel.cancel();
    }

    pub(super) fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    pub(super) fn start(&self, now: Timestamp) {
        let _ = self.started.set(now);
        self.alive();
        self.move_to(Stage::Running(Phase::Preparing));
    }

    pub(super) fn finish(&self, report: Arc<RunReport>) {
        self.door.store(false, Ordering::SeqCst);
        self.move_to(Stage::Finished(report));
    }

    fn alive(&self) {
        self.last_event.store(u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn move_to(&self, next: Stage) {
        self.stage.send_if_modified(|stage| {
            // An event may come late, from a thread that the run left behind.
            let over = matches!(stage, Stage::Finished(_));
            if !over {
                *stage = next;
            }
            !over
        });
    }
}

impl Progress for Live {
    fn event(&self, event: Event) {
        self.alive();
        if let Event::Phase(phase) = event {
            if phase >= Phase::Database {
                self.door.store(false, Ordering::SeqCst);
            }
            self.tally.event(event);
            self.move_to(Stage::Running(phase));
        } else {
            if let Event::Note(note) = &event {
                tracing::warn!(site = %self.site(), run = %self.run(), "{note}");
            }
            self.tally.event(event);
        }
    }
}
