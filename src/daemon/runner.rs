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

/// A new run's random id.
pub fn fresh_run_id() -> RunId {
    let mut id = [0u8; 8];
    let mut filled = 0;
    // The kernel gives so few bytes whole once its pool is ready; before that the call waits.
    while let Some(rest) = id.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // A kernel without getrandom: ids only need to differ.
            Err(_) => {
                let seed = format!("{:?} {:?} {}", std::time::SystemTime::now(), std::time::Instant::now(), std::process::id());
                for (to, from) in id.iter_mut().zip(blake3::hash(seed.as_bytes()).as_bytes()) {
                    *to = *from;
                }
                break;
            }
        }
    }
    RunId(id)
}
