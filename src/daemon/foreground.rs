//! A run in the foreground, without a daemon: the same execution, the same history.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Runner;
use super::clock::{Clock, WallClock};
use super::execution::Execution;
use super::history::History;
use super::live::Live;
use super::state::{StateError, prepare_site};
use crate::backup::{RunReport, Trigger};
use crate::config::SiteSettings;
use crate::progress::Figures;
use crate::repository::random_run_id;

/// How often the observer hears of the run.
const BEAT: Duration = Duration::from_millis(200);

/// Runs a site in this process and shows its figures as it goes, until it is over or cancelled.
///
/// That no other process runs the site is the runner's business: it holds the site's lock.
pub async fn run_in_foreground(
    state: &Path,
    site: &SiteSettings,
    trigger: Trigger,
    runner: Arc<dyn Runner>,
    cancel: CancellationToken,
    mut show: impl FnMut(&Figures),
) -> Result<RunReport, StateError> {
    let dir = prepare_site(state, &site.name)?;
    let live = Arc::new(Live::new(random_run_id(), site.name.clone(), trigger, WallClock.now()));
    let execution = Execution {
        runner,
        site: Arc::new(site.clone()),
        history: History::in_dir(&dir),
        clock: Arc::new(WallClock),
        live: Arc::clone(&live),
    };
    let execution = execution.execute();
    tokio::pin!(execution);
    loop {
        tokio::select! {
            report = &mut execution => return Ok(report),
            () = tokio::time::sleep(BEAT) => show(&live.figures()),
            () = cancel.cancelled(), if !live.cancel_token().is_cancelled() => live.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fake::{Fake, site};
    use crate::error::Exit;

    #[tokio::test]
    async fn a_foreground_run_is_in_the_history() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        fake.finish_at_once();
        let report =
            run_in_foreground(dir.path(), &site("blog"), Trigger::Command, Arc::new(fake), CancellationToken::new(), |_| {})
                .await
                .unwrap();
        assert_eq!((report.result, report.trigger), (Exit::Success, Trigger::Command));
        let history = History::in_dir(&dir.path().join("blog"));
        assert_eq!(history.find(report.run).unwrap().map(|report| report.run), Some(report.run));
    }
}
