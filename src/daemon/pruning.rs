//! Pruning on a schedule, where the owner gives this host the right to delete: one site at a time, and never during a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::due::Due;
use super::queue::Handle;
use super::state::{StateError, make_private, replace};
use crate::config::schedule::Schedule;
use crate::config::{Keep, SiteName};
use crate::error::{Exit, Explain, render};
use crate::repository::prune::{PruneError, Pruned};

/// How often due times are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// Prunes a site.
#[async_trait]
pub trait Pruner: Send + Sync + 'static {
    /// Prunes. May be dropped at any point; after `cancel` it ends with the request under way.
    async fn prune(&self, site: &SiteName, keep: &Keep, cancel: &CancellationToken) -> Result<Pruned, PruneError>;
}

/// How a prune ended. As stored in `prune/last.json` and told by `status`. Add, never rename.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneReport {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub result: Exit,
    /// The message, when it failed.
    pub error: Option<String>,
    /// What it did; nothing is told of one that failed.
    pub pruned: Option<Pruned>,
}

impl PruneReport {
    /// The last one of the site with this directory of local state; `None` when there is none, or it can't be read.
    pub(super) fn last(site_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(site_dir)).ok()?).ok()
    }

    fn path(site_dir: &Path) -> PathBuf {
        site_dir.join("prune/last.json")
    }
}

struct Site {
    name: SiteName,
    keep: Keep,
    due: Due,
    dir: PathBuf,
}

/// The task that prunes.
pub(super) struct Pruning {
    sites: Vec<Site>,
    queue: Handle,
    pruner: Arc<dyn Pruner>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Pruning {
    pub(super) fn new(queue: Handle, pruner: Arc<dyn Pruner>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { sites: Vec::new(), queue, pruner, clock, stop }
    }

    /// Adds a site that is to be pruned.
    pub(super) fn add(&mut self, name: SiteName, dir: &Path, schedule: Schedule, keep: Keep) -> Result<(), StateError> {
        make_private(&dir.join("prune"))?;
        let due = Due::open(&dir.join("prune"), schedule, self.clock.now())?;
        self.sites.push(Site { name, keep, due, dir: dir.to_owned() });
        Ok(())
    }

    /// Serves until it is stopped.
    pub(super) async fn run(mut self) {
        while !self.sites.is_empty() && !self.stop.is_cancelled() {
            self.prune_what_is_due().await;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn prune_what_is_due(&mut self) {
        for site in &mut self.sites {
            let asked = self.clock.now();
            if site.due.take(asked).is_none() {
                continue;
            }
            // No run begins while this is held.
            let Some(_turn) = self.queue.turn().await else { return };
            let started = self.clock.now();
            tracing::info!(site = %site.name, "prune started");
            let ended = tokio::select! {
                ended = self.pruner.prune(&site.name, &site.keep, &self.stop) => ended,
                // What is half done, the next does the rest of.
                () = self.stop.cancelled() => return,
            };
            let finished = self.clock.now();
            let report = match ended {
                Ok(pruned) => {
                    let (snapshots, packs, bytes) = (pruned.snapshots, pruned.packs.count, pruned.packs.bytes);
                    tracing::info!(site = %site.name, snapshots, packs, bytes, "prune ended");
                    PruneReport { started, finished, result: Exit::Success, error: None, pruned: Some(pruned) }
                }
                Err(error) => {
                    tracing::error!(site = %site.name, "prune failed: {}", render(&error));
                    PruneReport { started, finished, result: error.exit(), error: Some(render(&error)), pruned: None }
                }
            };
            let written = serde_json::to_vec(&report).map_err(std::io::Error::from);
            let path = PruneReport::path(&site.dir);
            if let Err(error) = written.and_then(|bytes| replace(&path, &bytes)) {
                tracing::error!(site = %site.name, "{} can't be written: {error}", path.display());
            }
            if let Err(error) = site.due.serve(asked) {
                tracing::error!(site = %site.name, "{}", render(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Trigger;
    use crate::daemon::clock::ManualClock;
    use crate::daemon::fake::{Fake, at, site};
    use crate::daemon::queue::{Dispatcher, Disposition};
    use crate::repository::RepositoryError;

    struct Told(tokio::sync::mpsc::UnboundedSender<()>, tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<bool>>);

    #[async_trait]
    impl Pruner for Told {
        async fn prune(&self, _: &SiteName, _: &Keep, _: &CancellationToken) -> Result<Pruned, PruneError> {
            self.0.send(()).unwrap();
            let well = self.1.lock().await.recv().await.unwrap();
            if well { Ok(Pruned { snapshots: 3, ..Pruned::default() }) } else { Err(RepositoryError::Task.into()) }
        }
    }

    #[tokio::test]
    async fn it_prunes_when_it_is_due_between_runs_and_remembers_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(at("2026-05-01T12:00:00Z")));
        let (fake, stop) = (Fake::default(), CancellationToken::new());
        let sites = [(Arc::new(site("blog")), dir.path().to_owned())];
        let (dispatcher, queue) = Dispatcher::new(sites, Arc::new(fake.clone()), clock.clone(), stop.clone());
        tokio::spawn(dispatcher.run());
        let ((begun, mut begins), (end, ends)) = (tokio::sync::mpsc::unbounded_channel(), tokio::sync::mpsc::unbounded_channel());
        let pruner = Arc::new(Told(begun, tokio::sync::Mutex::new(ends)));
        let mut pruning = Pruning::new(queue.clone(), pruner, clock.clone(), stop.clone());
        let schedule = Schedule::parse("15 5 * * *", Some("UTC")).unwrap();
        pruning.add(site("blog").name, dir.path(), schedule, Keep { last: 1, ..Keep::default() }).unwrap();
        pruning.prune_what_is_due().await;
        assert!(PruneReport::last(dir.path()).is_none());

        // A run is under way: pruning waits for it, and a run that is asked for meanwhile waits for the pruning.
        queue.request("blog", Trigger::Request).await.unwrap();
        let run = fake.next().await;
        run.reach_database();
        clock.set(at("2026-05-02T05:15:00Z"));
        let task = tokio::spawn(async move {
            pruning.prune_what_is_due().await;
            pruning
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begins.try_recv().is_err());
        run.finish();
        begins.recv().await.unwrap();
        assert_eq!(queue.request("blog", Trigger::Request).await.unwrap().disposition, Disposition::Queued);
        end.send(true).unwrap();
        let mut pruning = task.await.unwrap();
        let report = PruneReport::last(dir.path()).unwrap();
        assert_eq!((report.result, report.pruned.unwrap().snapshots), (Exit::Success, 3));
        fake.next().await.finish();

        end.send(false).unwrap();
        pruning.prune_what_is_due().await;
        assert!(begins.try_recv().is_err(), "once for each due time");
        clock.set(at("2026-05-03T05:15:00Z"));
        pruning.prune_what_is_due().await;
        let report = PruneReport::last(dir.path()).unwrap();
        assert_eq!(report.result, Exit::Internal);
        assert!(report.error.is_some() && report.pruned.is_none());
    }
}
