//! Asks the queue for a run when a site's time has come, once for each due time, also for those that passed while the
//! daemon was down, the machine slept or the clock was set.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::clock::Clock;
use super::due::Due;
use super::execution::STOP_LIMIT;
use super::queue::{Handle, RequestError};
use super::state::StateError;
use crate::backup::{RunReport, Trigger};
use crate::config::SiteName;
use crate::config::schedule::Schedule;
use crate::error::{Exit, render};

/// How often the clock is looked at whatever the alarm says: it may have been set, or have slept.
const LOOK: Duration = Duration::from_secs(30);

/// A request of the schedule that the queue took: when its run has ended, due times up to `asked` are served.
struct Asked {
    site: usize,
    asked: Timestamp,
    report: Option<Arc<RunReport>>,
}

/// The schedule's task.
pub(super) struct Scheduler {
    sites: Vec<(SiteName, Due)>,
    queue: Handle,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    asked: FuturesUnordered<BoxFuture<'static, Asked>>,
}

impl Scheduler {
    pub(super) fn new(queue: Handle, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { sites: Vec::new(), queue, clock, stop, asked: FuturesUnordered::new() }
    }

    /// Adds a site that has a schedule; its due times are kept in its directory of local state.
    pub(super) fn add(&mut self, site: SiteName, dir: &Path, schedule: Schedule) -> Result<(), StateError> {
        let due = Due::open(dir, schedule, self.clock.now())?;
        self.sites.push((site, due));
        Ok(())
    }

    /// Serves until it is stopped.
    pub(super) async fn run(mut self) {
        let (sender, mut rings) = mpsc::channel(1);
        let mut alarm = match Alarm::new(sender).await {
            Ok(alarm) => Some(alarm),
            Err(error) => {
                tracing::warn!("no alarm: due times are looked for every {} seconds: {error}", LOOK.as_secs());
                None
            }
        };
        loop {
            self.ask_for_what_is_due().await;
            if let (Some(alarm), Some(next)) = (&mut alarm, self.next())
                && let Err(error) = alarm.arm(next, self.clock.now()).await
            {
                tracing::warn!("the alarm can't be armed: {error}");
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(()) = rings.recv() => {}
                Some(ended) = self.asked.next(), if !self.asked.is_empty() => self.ended(ended),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if let Some(alarm) = alarm {
            alarm.stop().await;
        }
        // The queue, which is stopping too, ends what was asked for.
        let _ = tokio::time::timeout(STOP_LIMIT + Duration::from_secs(5), self.settle()).await;
    }

    /// Asks for a run of every site whose time has come.
    pub(super) async fn ask_for_what_is_due(&mut self) {
        let now = self.clock.now();
        for at in 0..self.sites.len() {
            let Some((site, due)) = self.sites.get_mut(at) else { continue };
            let Some(time) = due.take(now) else { continue };
            if now.duration_since(time) > jiff::SignedDuration::from_secs(90) {
                tracing::info!(site = %site, "the run due at {time} was missed: catching up");
            }
            match self.queue.request(site.as_str(), Trigger::Schedule).await {
                Ok(ticket) => {
                    let live = ticket.live;
                    self.asked.push(Box::pin(async move { Asked { site: at, asked: now, report: live.report().await } }));
                }
                Err(RequestError::Stopping) => return,
                Err(error) => tracing::error!(site = %site, "{}", render(&error)),
            }
        }
    }

    /// Notes that due times were served, unless it was our own stopping that ended the run: then the next start catches up.
    fn ended(&mut self, ended: Asked) {
        let cut_short = ended.report.is_none_or(|report| report.result == Exit::Cancelled);
        if cut_short && self.stop.is_cancelled() {
            return;
        }
        let Some((site, due)) = self.sites.get_mut(ended.site) else { return };
        if let Err(error) = due.serve(ended.asked) {
            tracing::error!(site = %site, "{}", render(&error));
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.sites.iter().filter_map(|(_, due)| due.next()).min()
    }

    /// Waits for all that was asked for.
    async fn settle(&mut self) {
        while let Some(ended) = self.asked.next().await {
            self.ended(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::clock::ManualClock;
    use crate::daemon::fake::{Fake, at, site};
    use crate::daemon::queue::Dispatcher;

    struct Bench {
        dir: tempfile::TempDir,
        clock: Arc<ManualClock>,
        fake: Fake,
    }

    impl Bench {
        fn new(now: &str) -> Self {
            Self { dir: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::at(at(now))), fake: Fake::default() }
        }

        fn start(&self) -> (Scheduler, CancellationToken) {
            let stop = CancellationToken::new();
            let settings = Arc::new(site("blog"));
            let runner = Arc::new(self.fake.clone());
            let sites = [(Arc::clone(&settings), self.dir.path().to_owned())];
            let (dispatcher, handle) = Dispatcher::new(sites, runner, self.clock.clone(), stop.clone());
            tokio::spawn(dispatcher.run());
            let mut scheduler = Scheduler::new(handle, self.clock.clone(), stop.clone());
            let schedule = Schedule::parse("30 2 * * *", Some("Europe/Paris")).unwrap();
            scheduler.add(settings.name.clone(), self.dir.path(), schedule).unwrap();
            (scheduler, stop)
        }

        async fn look(&self, scheduler: &mut Scheduler, now: &str) -> usize {
            self.clock.set(at(now));
            scheduler.ask_for_what_is_due().await;
            scheduler.asked.len()
        }
    }

    #[tokio::test]
    async fn a_daemon_that_was_down_over_due_times_runs_once_at_start() {
        let bench = Bench::new("2026-05-01T12:00:00Z");
        bench.fake.finish_at_once();
        let (mut scheduler, stop) = bench.start();
        assert_eq!(bench.look(&mut scheduler, "2026-05-01T12:00:00Z").await, 0);
        stop.cancel();

        let (mut scheduler, _stop) = {
            bench.clock.set(at("2026-05-04T08:00:00Z"));
            bench.start()
        };
        assert_eq!(bench.look(&mut scheduler, "2026-05-04T08:00:00Z").await, 1);
        scheduler.settle().await;
        assert_eq!(bench.look(&mut scheduler, "2026-05-04T08:00:30Z").await, 0);
        assert_eq!(bench.look(&mut scheduler, "2026-05-05T00:30:00Z").await, 1);
        scheduler.settle().await;
        assert_eq!(bench.fake.runs(), 2);
    }

    #[tokio::test]
    async fn due_times_during_a_long_run_neither_overlap_nor_pile_up() {
        let bench = Bench::new("2026-05-01T12:00:00Z");
        let (mut scheduler, _stop) = bench.start();
        bench.look(&mut scheduler, "2026-05-02T00:30:00Z").await;
        let first = bench.fake.next().await;
        first.reach_database();
        for day in 3..6 {
            bench.look(&mut scheduler, &format!("2026-05-0{day}T00:30:00Z")).await;
        }
        assert_eq!(bench.fake.runs(), 1);
        first.finish();
        bench.fake.next().await.finish();
        scheduler.settle().await;
        assert_eq!(bench.fake.runs(), 2);
    }

    #[tokio::test]
    async fn a_run_cut_short_by_a_stop_is_caught_up_with_at_the_next_start() {
        let bench = Bench::new("2026-05-01T12:00:00Z");
        let (mut scheduler, stop) = bench.start();
        bench.look(&mut scheduler, "2026-05-02T00:30:00Z").await;
        let _cut = bench.fake.next().await;
        stop.cancel();
        scheduler.settle().await;

        let (mut scheduler, _stop) = bench.start();
        assert_eq!(bench.look(&mut scheduler, "2026-05-02T00:40:00Z").await, 1);
    }

    #[tokio::test]
    async fn the_alarm_rings_at_its_time_and_not_before() {
        let (sender, mut rings) = mpsc::channel(1);
        let mut alarm = Alarm::new(sender).await.unwrap();
        for _ in 0..2 {
            let now = Timestamp::now();
            let at = Timestamp::from_second(now.as_second() + 2).unwrap();
            alarm.arm(at, now).await.unwrap();
            alarm.arm(at, now).await.unwrap();
            tokio::time::timeout(Duration::from_secs(10), rings.recv()).await.unwrap().unwrap();
            assert!(Timestamp::now() >= at);
        }
        alarm.stop().await;
    }
}
