//! What the daemon needs of a backup.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::backup::{RunReport, Trigger};
use crate::config::SiteSettings;
use crate::progress::Progress;
use crate::repository::ids::RunId;

/// Executes one run of a site, from its first step to its report.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Runs. Every failure is a report with its exit code and message, never a panic.
    ///
    /// `progress` hears [`crate::progress::Phase::Database`] before the database's point in time is taken: from then on a
    /// request for a run can't be answered by this one. After `cancel` the run ends within seconds, with nothing committed.
    async fn run(
        &self,
        site: &SiteSettings,
        run: RunId,
        trigger: Trigger,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> RunReport;
}
