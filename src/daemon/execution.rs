//! One run's execution: from its start to the moment its report is on disk and told.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::history::History;
use super::live::Live;
use super::{Runner, logging};
use crate::backup::{RunReport, Trigger};
use crate::config::SiteSettings;
use crate::error::Exit;

/// How long a run that was told to stop may take to do so.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What every execution needs.
pub(super) struct Execution {
    pub(super) runner: Arc<dyn Runner>,
    pub(super) site: Arc<SiteSettings>,
    pub(super) history: History,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) live: Arc<Live>,
}

impl Execution {
    /// Runs, records the report, and tells those who wait: in this order, so that an answer is never lost by a crash.
    pub(super) async fn execute(self) -> RunReport {
        self.live.start(self.clock.now());
        logging::run_started(self.live.site().as_str(), self.live.run(), self.live.trigger());
        let report = self.attempt().await;
        self.conclude(report).await
    }

    /// Ends a run that never began.
    pub(super) async fn drop_queued(self, why: &str) {
        let report = self.failed(Exit::Cancelled, why.to_owned());
        self.conclude(report).await;
    }

    async fn attempt(&self) -> RunReport {
        let (runner, site, live) = (Arc::clone(&self.runner), Arc::clone(&self.site), Arc::clone(&self.live));
        let cancel = live.cancel_token().clone();
        // A task of its own, so that a panic or an abort ends the run and not the daemon.
        let mut task = tokio::spawn({
            let cancel = cancel.clone();
            async move { runner.run(&site, live.run(), live.trigger(), Arc::clone(&live) as _, cancel).await }
        });
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = overdue(&cancel) => {
                task.abort();
                let limit = STOP_LIMIT.as_secs();
                return self.failed(Exit::Cancelled, format!("the run was given up: it did not stop within {limit} seconds"));
            }
        };
        match ended {
            Ok(report) => RunReport { run: self.live.run(), site: self.live.site().to_string(), ..report },
            Err(_) => self.failed(Exit::Internal, "the run ended by a bug in wp-backup-agent; the log has the details".into()),
        }
    }

    async fn conclude(&self, report: RunReport) -> RunReport {
        logging::run_finished(&report);
        let report = Arc::new(report);
        // A foreground run that found another one under way is no part of the site's history.
        if report.result == Exit::Busy && report.trigger == Trigger::Command {
            self.live.finish(Arc::clone(&report));
            return RunReport::clone(&report);
        }
        let (history, line) = (self.history.clone(), Arc::clone(&report));
        match tokio::task::spawn_blocking(move || history.append(&line)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(site = %report.site, run = %report.run, "{}", crate::error::render(&error)),
            Err(error) => tracing::error!(site = %report.site, run = %report.run, "run history: {error}"),
        }
        self.live.finish(Arc::clone(&report));
        RunReport::clone(&report)
    }

    fn failed(&self, result: Exit, error: String) -> RunReport {
        let finished = self.clock.now();
        RunReport {
            site: self.live.site().to_string(),
            run: self.live.run(),
            trigger: self.live.trigger(),
            started: self.live.started().unwrap_or(finished),
            finished,
            result,
            error: Some(error),
            snapshot: None,
        }
    }
}

async fn overdue(cancel: &tokio_util::sync::CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(STOP_LIMIT).await;
}
