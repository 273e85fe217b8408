//! `daemon`

use std::sync::Arc;

use super::args::Global;
use super::failure::Failure;
use super::signals::cancelled_by_signals;
use super::work;
use crate::config::{self, Settings};
use crate::daemon::Runner;
use crate::daemon::clock::WallClock;
use crate::daemon::service;
use crate::error::Exit;

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(global: &Global) -> Result<Exit, Failure> {
    let settings = config::load(&global.config)?;
    let runner = runner(&settings)?;
    work(async {
        service::serve(&settings, runner, Arc::new(WallClock), cancelled_by_signals()).await?;
        Ok(Exit::Success)
    })
}

/// What executes the runs, of the daemon and of `run-now --foreground` alike.
pub(super) fn runner(_settings: &Settings) -> Result<Arc<dyn Runner>, Failure> {
    Ok(Arc::new(unplugged::Unplugged))
}

/// Stands where `backup`'s runner is to be plugged in.
mod unplugged {
    use std::sync::Arc;

    use async_trait::async_trait;
    use jiff::Timestamp;
    use tokio_util::sync::CancellationToken;

    use crate::backup::{RunReport, Trigger};
    use crate::config::SiteSettings;
    use crate::daemon::Runner;
    use crate::error::Exit;
    use crate::progress::Progress;
    use crate::repository::ids::RunId;

    pub(super) struct Unplugged;

    #[async_trait]
    impl Runner for Unplugged {
        async fn run(
            &self,
            site: &SiteSettings,
            run: RunId,
            trigger: Trigger,
            _progress: Arc<dyn Progress>,
            _cancel: CancellationToken,
        ) -> RunReport {
            let now = Timestamp::now();
            RunReport {
                site: site.name.to_string(),
                run,
                trigger,
                started: now,
                finished: now,
                result: Exit::Internal,
                error: Some("this build has no runner".into()),
                snapshot: None,
            }
        }
    }
}
