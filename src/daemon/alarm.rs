//! Rings at an instant: tokio-cron-scheduler, armed one shot at a time.
//!
//! Only instants that we compute are given to it: its own cron evaluation keeps the UTC offset of a job's creation, keeps
//! nothing across restarts and lets runs overlap. A ring is no more than a reason to look at the clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// An alarm clock for one instant after the other.
pub(super) struct Alarm {
    scheduler: JobScheduler,
    rings: mpsc::Sender<()>,
    armed: Option<Timestamp>,
}

impl Alarm {
    /// An alarm that rings on this channel.
    pub(super) async fn new(rings: mpsc::Sender<()>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self { scheduler, rings, armed: None })
    }

    /// Arms it for `at`. One that was armed before may still ring: its listener looks at the clock anyway.
    pub(super) async fn arm(&mut self, at: Timestamp, now: Timestamp) -> Result<(), JobSchedulerError> {
        if self.armed == Some(at) {
            return Ok(());
        }
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
        // It cuts the wait and its own reading of the clock down to whole seconds: one more, or it rings too early.
        let Some(instant) = Instant::now().checked_add(wait + Duration::from_secs(1)) else { return Ok(()) };
        let rings = self.rings.clone();
        let job = Job::new_one_shot_at_instant_async(instant, move |_, _| {
            // A full channel already holds the reason to look.
            let _ = rings.try_send(());
            Box::pin(std::future::ready(()))
        })?;
        self.scheduler.add(job).await?;
        self.armed = Some(at);
        Ok(())
    }

    /// Stops it.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the alarm did not stop: {error}");
        }
    }
}
