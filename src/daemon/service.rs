//! The daemon from start to end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::control::{Api, Limits, Socket, SocketError, serve as serve_control};
use super::pruning::{Pruner, Pruning};
use super::queue::Dispatcher;
use super::schedule::Scheduler;
use super::state::{StateDir, StateError};
use super::verifying::{Verifier, Verifying};
use super::{Runner, notify};
use crate::config::schedule::{Schedule, ScheduleError};
use crate::config::{Settings, SiteSettings};
use crate::error::{Exit, Explain};

/// The daemon can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its local state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A site's schedule.
    #[error("site {site}")]
    Schedule {
        /// The site.
        site: String,
        /// What is wrong.
        source: ScheduleError,
    },
}

impl Explain for ServiceError {
    fn exit(&self) -> Exit {
        match self {
            Self::State(error) => error.exit(),
            Self::Socket(error) => error.exit(),
            Self::Schedule { source, .. } => source.exit(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::State(error) => error.advice(),
            Self::Socket(error) => error.advice(),
            Self::Schedule { source, .. } => source.advice(),
        }
    }
}

/// A schedule of a site, in its time zone.
fn schedule(site: &SiteSettings, cron: &str) -> Result<Schedule, ServiceError> {
    Schedule::parse(cron, site.time_zone.as_deref())
        .map_err(|source| ServiceError::Schedule { site: site.name.to_string(), source })
}

/// Serves until `stop`. A run under way is then cancelled and waited for.
pub async fn serve(
    settings: &Settings,
    runner: Arc<dyn Runner>,
    pruner: Arc<dyn Pruner>,
    verifier: Arc<dyn Verifier>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let state = StateDir::open(&settings.daemon.state)?;
    let mut sites = Vec::new();
    for site in &settings.sites {
        let schedule = site.schedule.as_ref().map(|cron| schedule(site, cron)).transpose()?;
        sites.push((Arc::new(site.clone()), schedule, state.site(&site.name)?));
    }
    let socket = Socket::bind(&settings.daemon.socket, settings.daemon.socket_group.as_deref()).await?;

    let queue_sites = sites.iter().map(|(site, _, dir)| (Arc::clone(site), dir.clone()));
    let (dispatcher, queue) = Dispatcher::new(queue_sites, runner, Arc::clone(&clock), stop.clone());
    let mut scheduler = Scheduler::new(queue.clone(), Arc::clone(&clock), stop.clone());
    for (site, schedule, dir) in &sites {
        if let Some(schedule) = schedule {
            scheduler.add(site.name.clone(), dir, schedule.clone())?;
        }
    }
    let mut pruning = Pruning::new(queue.clone(), pruner, Arc::clone(&clock), stop.clone());
    for (site, _, dir) in &sites {
        if let Some(prune) = &site.prune {
            let schedule = schedule(site, &prune.schedule)?;
            pruning.add(site.name.clone(), dir, schedule, prune.keep)?;
        }
    }
    let mut verifying = Verifying::new(verifier, Arc::clone(&clock), stop.clone());
    for (site, _, dir) in &sites {
        if let Some(verify) = &site.verify {
            let schedule = schedule(site, &verify.schedule)?;
            verifying.add(site, verify, dir, schedule)?;
        }
    }
    let api_sites = sites.iter().map(|(site, schedule, dir)| (&**site, schedule.clone(), dir.clone()));
    let api = Api::new(api_sites, queue.clone(), clock, stop.clone());
    let schedules = sites.iter().map(|(site, schedule, _)| (site.name.clone(), schedule.clone())).collect();

    // The control socket outlives the queue: those who wait for a run hear how it ended.
    let quiet = CancellationToken::new();
    let control = tokio::spawn(serve_control(socket, Arc::new(api), Limits::default(), quiet.clone()));
    let informing = tokio::spawn(notify::keep_informed(queue, schedules, quiet.clone()));
    let scheduling = tokio::spawn(scheduler.run());
    let pruning = tokio::spawn(pruning.run());
    let verifying = tokio::spawn(verifying.run());
    let dispatching = tokio::spawn(dispatcher.run());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        sites = settings.sites.len(),
        socket = %settings.daemon.socket.display(),
        "wp-backup-agent started",
    );
    notify::ready();

    stop.cancelled().await;
    notify::stopping();
    // A panic in one of these has been reported by its own thread; there is nothing more to say about it.
    let _ = dispatching.await;
    let _ = scheduling.await;
    let _ = pruning.await;
    let _ = verifying.await;
    quiet.cancel();
    let _ = control.await;
    let _ = informing.await;
    tracing::info!("wp-backup-agent stopped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{DaemonSettings, StoreSettings};
    use crate::daemon::clock::WallClock;
    use crate::daemon::control::Client;
    use crate::daemon::fake::{Fake, site};

    fn settings(dir: &Path) -> Settings {
        Settings {
            path: dir.join("config.toml"),
            store: StoreSettings::Local { path: dir.to_owned() },
            daemon: DaemonSettings { socket: dir.join("control.sock"), state: dir.join("state"), socket_group: None },
            sites: vec![site("blog")],
        }
    }

    fn no_verifier() -> Arc<dyn Verifier> {
        let store = StoreSettings::Local { path: "/nonexistent".into() };
        Arc::new(crate::daemon::StoreVerifier::new(store, "/nonexistent".into()))
    }

    fn no_pruner() -> Arc<dyn Pruner> {
        let store = StoreSettings::Local { path: "/nonexistent".into() };
        Arc::new(crate::daemon::StorePruner::new(&Settings { store, ..settings(Path::new("/nonexistent")) }))
    }

    async fn answering(client: &Client) {
        while client.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_stop_in_the_middle_of_a_run_cancels_it_and_frees_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (fake, stop) = (Fake::default(), CancellationToken::new());
        let service = tokio::spawn({
            let (settings, fake, stop) = (settings.clone(), fake.clone(), stop.clone());
            async move { serve(&settings, Arc::new(fake), no_pruner(), no_verifier(), Arc::new(WallClock), stop).await }
        });
        let client = Client::new(&settings.daemon.socket);
        answering(&client).await;

        // A second daemon is refused while this one lives.
        let second = serve(&settings, Arc::new(fake.clone()), no_pruner(), no_verifier(), Arc::new(WallClock), stop.clone())
            .await
            .unwrap_err();
        assert_eq!(second.exit(), Exit::Busy);

        let run = client.run("blog").await.unwrap().run;
        let _control = fake.next().await;
        let mut follow = client.follow(run).await.unwrap();
        follow.next().await.unwrap().unwrap();
        stop.cancel();
        let mut report = None;
        while let Some(state) = follow.next().await.unwrap() {
            report = state.report;
        }
        assert_eq!(report.unwrap().result, Exit::Cancelled);
        tokio::time::timeout(Duration::from_secs(10), service).await.unwrap().unwrap().unwrap();
        assert!(!settings.daemon.socket.exists());

        let stop = CancellationToken::new();
        let next = tokio::spawn({
            let (settings, stop) = (settings.clone(), stop.clone());
            async move { serve(&settings, Arc::new(fake), no_pruner(), no_verifier(), Arc::new(WallClock), stop).await }
        });
        answering(&client).await;
        let status = client.status().await.unwrap();
        assert_eq!(status.sites[0].last_run.as_ref().unwrap().run, run);
        stop.cancel();
        next.await.unwrap().unwrap();
    }
}
