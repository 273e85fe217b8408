//! What runs and what waits. One task owns it all and does one thing at a time; everyone else asks it by message.
//!
//! One run is under way at a time, of whatever site. Per site at most one more waits: whoever asks gets the state of their
//! time of asking or later, so a request joins the run under way only while its point in time is still to come. What must not go along
//! with a run takes a [`Turn`].

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Runner;
use super::clock::Clock;
use super::execution::Execution;
use super::history::History;
use super::live::Live;
use crate::backup::Trigger;
use crate::config::{SiteName, SiteSettings};
use crate::error::{Exit, Explain};
use crate::repository::ids::RunId;
use crate::repository::random_run_id;

/// What a request led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// A run was begun for it.
    Started,
    /// A run that another asked for answers it: queued, or under way before its point in time.
    Joined,
    /// A run was queued for it.
    Queued,
}

/// The answer to a request: the run that will answer it.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// What the request led to.
    pub disposition: Disposition,
    /// The run.
    pub live: Arc<Live>,
}

/// Why a request isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The configuration has no such site.
    #[error("there is no site {0:?}")]
    UnknownSite(String),
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Explain for RequestError {
    fn exit(&self) -> Exit {
        match self {
            Self::UnknownSite(_) => Exit::Usage,
            Self::Stopping => Exit::Unavailable,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::UnknownSite(_) => "`wp-backup-agent status` lists the sites; a changed configuration needs a restart".into(),
            Self::Stopping => "ask again when it has started".into(),
        })
    }
}

/// What runs and waits for one site.
#[derive(Debug, Clone)]
pub struct SiteQueue {
    /// The run under way.
    pub running: Option<Arc<Live>>,
    /// The run that waits.
    pub queued: Option<Arc<Live>>,
}

/// As long as this is held, no run begins.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "dropping it tells")] oneshot::Sender<()>);

enum Command {
    Turn { answer: oneshot::Sender<Turn> },
    Request { site: String, trigger: Trigger, answer: oneshot::Sender<Result<Ticket, RequestError>> },
    Sites { answer: oneshot::Sender<Vec<SiteQueue>> },
    Find { run: RunId, answer: oneshot::Sender<Option<Arc<Live>>> },
    Cancel { run: RunId, answer: oneshot::Sender<Option<Arc<Live>>> },
}

/// How the rest of the daemon speaks to the queue.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Asks for a run of a site.
    pub async fn request(&self, site: &str, trigger: Trigger) -> Result<Ticket, RequestError> {
        let site = site.to_owned();
        self.ask(|answer| Command::Request { site, trigger, answer }).await.unwrap_or(Err(RequestError::Stopping))
    }

    /// Waits until no run is under way, and keeps any from beginning. `None` when the queue ends.
    pub async fn turn(&self) -> Option<Turn> {
        self.ask(|answer| Command::Turn { answer }).await
    }

    /// What runs and waits, for each site in the order of the configuration. `None` when the queue has ended.
    pub async fn sites(&self) -> Option<Vec<SiteQueue>> {
        self.ask(|answer| Command::Sites { answer }).await
    }

    /// A run that is queued or under way.
    pub async fn find(&self, run: RunId) -> Option<Arc<Live>> {
        self.ask(|answer| Command::Find { run, answer }).await.flatten()
    }

    /// Cancels a run that is queued or under way, and gives it back.
    pub async fn cancel(&self, run: RunId) -> Option<Arc<Live>> {
        self.ask(|answer| Command::Cancel { run, answer }).await.flatten()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// A handle of a queue that has ended, for the fuzz target.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn closed() -> Handle {
    Handle { commands: mpsc::channel(1).0 }
}

/// A site as the queue knows it.
struct Site {
    settings: Arc<SiteSettings>,
    history: History,
}

/// The queue's task.
pub struct Dispatcher {
    runner: Arc<dyn Runner>,
    clock: Arc<dyn Clock>,
    sites: Vec<Site>,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
    stopping: bool,
    /// The run under way.
    active: Option<Arc<Live>>,
    /// The runs that wait, in the order of asking; at most one per site.
    waiting: VecDeque<Arc<Live>>,
    /// Those who wait for a turn: before the runs that wait.
    turns: VecDeque<oneshot::Sender<Turn>>,
    /// The task that waits for the turn that is held to be given back.
    turn: Option<Id>,
    /// Everything under way, and queued runs whose cancellation is being recorded.
    tasks: JoinSet<()>,
    ending: HashMap<Id, Arc<Live>>,
}

impl Dispatcher {
    /// A queue for these sites, each with its directory of local state; `stop` ends it gracefully.
    pub fn new(
        sites: impl IntoIterator<Item = (Arc<SiteSettings>, PathBuf)>,
        runner: Arc<dyn Runner>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(64);
        let sites = sites.into_iter().map(|(settings, dir)| Site { settings, history: History::in_dir(&dir) }).collect();
        let dispatcher = Self {
            runner,
            clock,
            sites,
            commands,
            stop,
            stopping: false,
            active: None,
            waiting: VecDeque::new(),
            turns: VecDeque::new(),
            turn: None,
            tasks: JoinSet::new(),
            ending: HashMap::new(),
        };
        (dispatcher, Handle { commands: sender })
    }

    /// Serves until it is stopped. Then the run under way is cancelled, what waits is dropped, and all reports are told.
    pub async fn run(mut self) {
        while !(self.stopping && self.tasks.is_empty()) {
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command),
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.ended(match ended {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    });
                }
                () = self.stop.cancelled(), if !self.stopping => self.begin_stop(),
            }
        }
    }

    fn command(&mut self, command: Command) {
        // An answer that nobody waits for any more is no loss.
        match command {
            Command::Turn { answer } => {
                if !self.stopping {
                    self.turns.push_back(answer);
                    self.start_next();
                }
            }
            Command::Request { site, trigger, answer } => drop(answer.send(self.request(site, trigger))),
            Command::Sites { answer } => drop(answer.send(self.site_queues())),
            Command::Find { run, answer } => drop(answer.send(self.find(run))),
            Command::Cancel { run, answer } => drop(answer.send(self.cancel(run))),
        }
    }

    fn request(&mut self, site: String, trigger: Trigger) -> Result<Ticket, RequestError> {
        if self.stopping {
            return Err(RequestError::Stopping);
        }
        let name = SiteName::new(&site).filter(|name| self.site(name).is_some()).ok_or(RequestError::UnknownSite(site))?;
        let under_way = self.active.iter().find(|live| *live.site() == name && live.joinable());
        if let Some(live) = under_way.or_else(|| self.waiting.iter().find(|live| *live.site() == name)) {
            return Ok(Ticket { disposition: Disposition::Joined, live: Arc::clone(live) });
        }
        let live = Arc::new(Live::new(random_run_id(), name, trigger, self.clock.now()));
        self.waiting.push_back(Arc::clone(&live));
        self.start_next();
        let disposition = if self.waiting.is_empty() { Disposition::Started } else { Disposition::Queued };
        Ok(Ticket { disposition, live })
    }

    fn start_next(&mut self) {
        if self.active.is_some() || self.turn.is_some() || self.stopping {
            return;
        }
        while let Some(answer) = self.turns.pop_front() {
            let (held, given_back) = oneshot::channel();
            if answer.send(Turn(held)).is_ok() {
                let task = self.tasks.spawn(async { drop(given_back.await) });
                self.turn = Some(task.id());
                return;
            }
        }
        let Some(live) = self.waiting.pop_front() else { return };
        if let Some(execution) = self.execution(&live) {
            self.active = Some(Arc::clone(&live));
            let task = self.tasks.spawn(async { drop(execution.execute().await) });
            self.ending.insert(task.id(), live);
        }
    }

    fn ended(&mut self, task: Id) {
        if self.turn == Some(task) {
            self.turn = None;
            self.start_next();
        }
        let Some(live) = self.ending.remove(&task) else { return };
        if self.active.as_ref().is_some_and(|active| active.run() == live.run()) {
            self.active = None;
            self.start_next();
        }
    }

    fn cancel(&mut self, run: RunId) -> Option<Arc<Live>> {
        let live = self.find(run)?;
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.run() == run) {
            self.waiting.remove(at);
            self.drop_queued(&live, "cancelled before it began");
        } else {
            live.cancel();
        }
        Some(live)
    }

    fn begin_stop(&mut self) {
        self.stopping = true;
        self.turns.clear();
        if let Some(active) = &self.active {
            active.cancel();
        }
        for live in std::mem::take(&mut self.waiting) {
            self.drop_queued(&live, "the daemon stopped before it began");
        }
    }

    fn drop_queued(&mut self, live: &Arc<Live>, why: &'static str) {
        live.cancel();
        if let Some(execution) = self.execution(live) {
            let task = self.tasks.spawn(execution.drop_queued(why));
            self.ending.insert(task.id(), Arc::clone(live));
        }
    }

    fn execution(&self, live: &Arc<Live>) -> Option<Execution> {
        let site = self.site(live.site())?;
        Some(Execution {
            runner: Arc::clone(&self.runner),
            site: Arc::clone(&site.settings),
            history: site.history.clone(),
            clock: Arc::clone(&self.clock),
            live: Arc::clone(live),
        })
    }

    fn site(&self, name: &SiteName) -> Option<&Site> {
        self.sites.iter().find(|site| site.settings.name == *name)
    }

    fn find(&self, run: RunId) -> Option<Arc<Live>> {
        self.waiting.iter().chain(self.ending.values()).find(|live| live.run() == run).cloned()
    }

    fn site_queues(&self) -> Vec<SiteQueue> {
        let of = |live: &&Arc<Live>, site: &Site| *live.site() == site.settings.name;
        self.sites
            .iter()
            .map(|site| SiteQueue {
                running: self.active.iter().find(|live| of(live, site)).cloned(),
                queued: self.waiting.iter().find(|live| of(live, site)).cloned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Stage;
    use crate::daemon::clock::WallClock;
    use crate::daemon::fake::{Fake, site};
    use crate::progress::{Event, Phase};

    struct Bench {
        fake: Fake,
        queue: Handle,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let (fake, stop) = (Fake::default(), CancellationToken::new());
            let dir = tempfile::tempdir().unwrap();
            let sites = ["blog", "shop"].map(|name| {
                let path = dir.path().join(name);
                std::fs::create_dir(&path).unwrap();
                (Arc::new(site(name)), path)
            });
            let (dispatcher, queue) = Dispatcher::new(sites, Arc::new(fake.clone()), Arc::new(WallClock), stop.clone());
            Self { fake, queue, stop, task: tokio::spawn(dispatcher.run()), dir }
        }

        async fn ask(&self, site: &str) -> (Disposition, RunId) {
            let ticket = self.queue.request(site, Trigger::Request).await.unwrap();
            (ticket.disposition, ticket.live.run())
        }

        fn history(&self, site: &str) -> Vec<Exit> {
            let history = History::in_dir(&self.dir.path().join(site));
            history.recent(100).unwrap().into_iter().map(|report| report.result).collect()
        }
    }

    #[tokio::test]
    async fn twice_before_the_database_step_makes_one_run() {
        let bench = Bench::new();
        let (first, run) = bench.ask("blog").await;
        assert_eq!(first, Disposition::Started);
        let control = bench.fake.next().await;
        assert_eq!(bench.ask("blog").await, (Disposition::Joined, run));
        let live = bench.queue.find(run).await.unwrap();
        control.finish();
        assert_eq!(live.report().await.unwrap().run, run);
        assert_eq!(bench.fake.runs(), 1);
        assert_eq!(bench.history("blog"), [Exit::Success]);
    }

    #[tokio::test]
    async fn after_the_database_step_exactly_one_more_is_queued() {
        let bench = Bench::new();
        let (_, first) = bench.ask("blog").await;
        let control = bench.fake.next().await;
        control.reach_database();
        let (disposition, second) = bench.ask("blog").await;
        assert_eq!(disposition, Disposition::Queued);
        assert_ne!(first, second);
        for _ in 0..5 {
            assert_eq!(bench.ask("blog").await, (Disposition::Joined, second));
        }
        // A snapshot that is repeated because of DDL begins again: its point in time may still be the old one to others.
        control.progress.event(Event::Phase(Phase::Files));
        assert_eq!(bench.ask("blog").await, (Disposition::Joined, second));
        control.finish();
        let next = bench.fake.next().await;
        assert_eq!(next.run, second);
        assert_eq!(bench.ask("blog").await, (Disposition::Joined, second));
        let live = bench.queue.find(second).await.unwrap();
        next.finish();
        live.report().await.unwrap();
        assert_eq!(bench.fake.runs(), 2);
    }

    #[tokio::test]
    async fn joining_and_the_database_step_never_cross() {
        // Whoever joined must have done so before the call that closes the door returned.
        let live = Arc::new(Live::new(random_run_id(), site("blog").name, Trigger::Request, jiff::Timestamp::now()));
        for _ in 0..200 {
            let live = Arc::new(Live::new(random_run_id(), live.site().clone(), Trigger::Request, jiff::Timestamp::now()));
            let closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let asker = std::thread::spawn({
                let (live, closed) = (Arc::clone(&live), Arc::clone(&closed));
                move || {
                    loop {
                        let was_closed = closed.load(std::sync::atomic::Ordering::SeqCst);
                        match live.joinable() {
                            true => assert!(!was_closed, "joined after the point in time"),
                            false => return,
                        }
                    }
                }
            });
            crate::progress::Progress::event(&*live, Event::Phase(Phase::Database));
            closed.store(true, std::sync::atomic::Ordering::SeqCst);
            asker.join().unwrap();
        }
    }

    #[tokio::test]
    async fn sites_take_turns_in_the_order_of_asking() {
        let bench = Bench::new();
        bench.ask("blog").await;
        let control = bench.fake.next().await;
        assert_eq!(bench.ask("shop").await.0, Disposition::Queued);
        control.reach_database();
        assert_eq!(bench.ask("blog").await.0, Disposition::Queued);
        let sites = bench.queue.sites().await.unwrap();
        assert!(sites[0].running.is_some() && sites[0].queued.is_some());
        assert!(sites[1].running.is_none() && sites[1].queued.is_some());
        control.finish();
        let shop = bench.fake.next().await;
        assert_eq!(shop.site, "shop");
        shop.finish();
        assert_eq!(bench.fake.next().await.site, "blog");
    }

    #[tokio::test]
    async fn cancelling_ends_the_run_and_lets_the_next_begin() {
        let bench = Bench::new();
        let (_, first) = bench.ask("blog").await;
        let control = bench.fake.next().await;
        let live = bench.queue.cancel(first).await.unwrap();
        assert!(control.cancel.is_cancelled());
        // Nobody joins a run that is being cancelled.
        assert_ne!(bench.ask("blog").await.1, first);
        assert_eq!(live.report().await.unwrap().result, Exit::Cancelled);
        bench.fake.next().await.finish();
        assert!(bench.queue.cancel(RunId([0; 8])).await.is_none());
    }

    #[tokio::test]
    async fn cancelling_what_waits_leaves_the_run_under_way_alone() {
        let bench = Bench::new();
        bench.ask("blog").await;
        let control = bench.fake.next().await;
        control.reach_database();
        let (_, second) = bench.ask("blog").await;
        let live = bench.queue.cancel(second).await.unwrap();
        assert_eq!(live.report().await.unwrap().result, Exit::Cancelled);
        assert!(!control.cancel.is_cancelled());
        let third = bench.ask("blog").await;
        assert_eq!(third.0, Disposition::Queued);
        assert_eq!(bench.history("blog"), [Exit::Cancelled]);
    }

    #[tokio::test]
    async fn stopping_cancels_and_tells_everyone_the_truth() {
        let bench = Bench::new();
        let (_, run) = bench.ask("blog").await;
        let _control = bench.fake.next().await;
        let (_, waiting) = bench.ask("shop").await;
        let under_way = bench.queue.find(run).await.unwrap();
        let waiting = bench.queue.find(waiting).await.unwrap();
        bench.stop.cancel();
        assert_eq!(under_way.report().await.unwrap().result, Exit::Cancelled);
        assert_eq!(waiting.report().await.unwrap().result, Exit::Cancelled);
        bench.task.await.unwrap();
        assert_eq!(bench.queue.request("blog", Trigger::Request).await.unwrap_err(), RequestError::Stopping);
        assert_eq!(bench.fake.runs(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_the_answer_and_the_queue_goes_on() {
        let bench = Bench::new();
        let (_, run) = bench.ask("blog").await;
        let live = bench.queue.find(run).await.unwrap();
        let control = bench.fake.next().await;
        control.finish_with(Exit::Denied);
        let report = live.report().await.unwrap();
        assert_eq!(report.result, Exit::Denied);
        // A straggler's event doesn't bring it back.
        control.progress.event(Event::Phase(Phase::Commit));
        assert!(matches!(&*live.stage().borrow(), Stage::Finished(_)));
        let error = bench.queue.request("nope", Trigger::Request).await.unwrap_err();
        assert_eq!(error, RequestError::UnknownSite("nope".into()));
        assert_eq!(bench.ask("blog").await.0, Disposition::Started);
    }
}
