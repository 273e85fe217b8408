//! What each path answers.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use super::types::{API, Accepted, LastSnapshot, PruneStatus, Refusal, RunStage, RunState, SiteState, SiteStatus, Status};
use crate::backup::{RunReport, Trigger};
use crate::config::schedule::Schedule;
use crate::config::{PruneSettings, SiteSettings};
use crate::daemon::PruneReport;
use crate::daemon::clock::Clock;
use crate::daemon::history::{History, HistoryError};
use crate::daemon::live::{Live, Stage};
use crate::daemon::queue::{Handle, RequestError, SiteQueue};
use crate::error::{Explain, render};
use crate::repository::ids::RunId;
use crate::repository::verify::Record;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How often the progress stream says something.
const BEAT: Duration = Duration::from_millis(500);
/// How many runs `status` shows per site.
const SHOWN: usize = 5;

/// A site as the API knows it.
#[derive(Debug, Clone)]
struct Site {
    name: String,
    cron: Option<String>,
    time_zone: Option<String>,
    recipients: Vec<String>,
    schedule: Option<Schedule>,
    history: History,
    prune: Option<PruneSettings>,
    dir: PathBuf,
}

/// What the control socket answers from.
pub struct Api {
    queue: Handle,
    sites: Vec<Site>,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    stop: CancellationToken,
}

impl Api {
    /// An API over the queue, for the same sites in the same order.
    pub fn new<'a>(
        sites: impl IntoIterator<Item = (&'a SiteSettings, Option<Schedule>, PathBuf)>,
        queue: Handle,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        let sites = sites
            .into_iter()
            .map(|(settings, schedule, dir)| Site {
                name: settings.name.to_string(),
                cron: settings.schedule.clone(),
                time_zone: settings.time_zone.clone(),
                recipients: settings.recipients.texts(),
                schedule,
                history: History::in_dir(&dir),
                prune: settings.prune.clone(),
                dir,
            })
            .collect();
        let started = clock.now();
        Self { queue, sites, clock, started, stop }
    }

    pub(super) async fn answer(&self, method: &Method, path: &str, peer: Peer) -> Answer {
        let parts: Vec<&str> = path.trim_start_matches('/').splitn(6, '/').collect();
        match (method, parts.as_slice()) {
            (&Method::GET, ["v1", "status"]) => self.status().await,
            (&Method::POST, ["v1", "sites", site, "runs"]) => self.start(site, Trigger::Request, peer).await,
            (&Method::POST, ["v1", "sites", site, "runs", "safety"]) => self.start(site, Trigger::Safety, peer).await,
            (&Method::GET, ["v1", "runs", run]) => self.with_run(run, async |run| self.run(run).await).await,
            (&Method::DELETE, ["v1", "runs", run]) => self.with_run(run, async |run| self.cancel(run, peer).await).await,
            (&Method::GET, ["v1", "runs", run, "progress"]) => self.with_run(run, async |run| self.progress(run).await).await,
            (_, ["v1", "status"] | ["v1", "runs", _, "progress"]) => not_allowed("GET"),
            (_, ["v1", "sites", _, "runs"] | ["v1", "sites", _, "runs", "safety"]) => not_allowed("POST"),
            (_, ["v1", "runs", _]) => not_allowed("GET, DELETE"),
            _ => refuse(StatusCode::NOT_FOUND, "there is nothing here".into(), Some("docs/CONTROL.md lists the paths".into())),
        }
    }

    async fn with_run(&self, text: &str, then: impl AsyncFnOnce(RunId) -> Answer) -> Answer {
        match text.parse::<RunId>() {
            Ok(run) => then(run).await,
            Err(error) => refuse(StatusCode::BAD_REQUEST, format!("not a run's id: {error}"), None),
        }
    }

    async fn status(&self) -> Answer {
        let Some(queues) = self.queue.sites().await else { return stopped() };
        let sites: Vec<_> = self.sites.iter().cloned().zip(queues).collect();
        let now = self.clock.now();
        // Histories are files.
        let described = tokio::task::spawn_blocking(move || sites.iter().map(|(site, queue)| site.status(queue, now)).collect());
        let Ok(sites) = described.await else { return stopped() };
        let status = Status {
            api: API,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started,
            now,
            stopping: self.stop.is_cancelled(),
            sites,
        };
        json(StatusCode::OK, &status)
    }

    async fn start(&self, site: &str, trigger: Trigger, peer: Peer) -> Answer {
        match self.queue.request(site, trigger).await {
            Ok(ticket) => {
                let run = ticket.live.run();
                tracing::info!(site, %run, uid = peer.uid, pid = peer.pid, "run requested: {:?}", ticket.disposition);
                let accepted = Accepted { api: API, run, site: site.to_owned(), disposition: ticket.disposition };
                json(StatusCode::ACCEPTED, &accepted)
            }
            Err(error) => {
                let status = match error {
                    RequestError::UnknownSite(_) => StatusCode::NOT_FOUND,
                    RequestError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                };
                refuse(status, error.to_string(), error.advice())
            }
        }
    }

    async fn run(&self, run: RunId) -> Answer {
        if let Some(live) = self.queue.find(run).await {
            return json(StatusCode::OK, &state_of(&live));
        }
        match self.past(run).await {
            Ok(Some(report)) => json(StatusCode::OK, &past_state(report)),
            Ok(None) => no_such_run(run),
            Err(refusal) => refusal,
        }
    }

    async fn cancel(&self, run: RunId, peer: Peer) -> Answer {
        if let Some(live) = self.queue.cancel(run).await {
            tracing::info!(site = %live.site(), %run, uid = peer.uid, pid = peer.pid, "cancel requested");
            return json(StatusCode::ACCEPTED, &state_of(&live));
        }
        match self.past(run).await {
            Ok(Some(_)) => refuse(StatusCode::CONFLICT, format!("run {run} is over"), None),
            Ok(None) => no_such_run(run),
            Err(refusal) => refusal,
        }
    }

    async fn progress(&self, run: RunId) -> Answer {
        if let Some(live) = self.queue.find(run).await {
            return ndjson(StreamBody::new(lines(live)).boxed_unsync());
        }
        match self.past(run).await {
            Ok(Some(report)) => ndjson(Full::new(line(&past_state(report))).boxed_unsync()),
            Ok(None) => no_such_run(run),
            Err(refusal) => refusal,
        }
    }

    async fn past(&self, run: RunId) -> Result<Option<RunReport>, Answer> {
        let histories: Vec<_> = self.sites.iter().map(|site| site.history.clone()).collect();
        let search = move || -> Result<Option<RunReport>, HistoryError> {
            for history in histories {
                if let Some(report) = history.find(run)? {
                    return Ok(Some(report));
                }
            }
            Ok(None)
        };
        match tokio::task::spawn_blocking(search).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, render(&error), None)),
            Err(_) => Err(stopped()),
        }
    }
}

impl Site {
    fn status(&self, queue: &SiteQueue, now: Timestamp) -> SiteStatus {
        let (history, last_snapshot, error) =
            match self.history.recent(SHOWN).and_then(|h| Ok((h, self.history.last_snapshot()?))) {
                Ok((history, last_snapshot)) => (history, last_snapshot, None),
                Err(error) => (Vec::new(), None, Some(render(&error))),
            };
        SiteStatus {
            site: self.name.clone(),
            state: match (&queue.running, &queue.queued) {
                (Some(_), _) => SiteState::Running,
                (None, Some(_)) => SiteState::Queued,
                (None, None) => SiteState::Idle,
            },
            running: queue.running.as_deref().map(state_of),
            queued: queue.queued.as_deref().map(state_of),
            last_snapshot: last_snapshot.and_then(|report| {
                let snapshot = report.snapshot?;
                let age_seconds = now.duration_since(snapshot.point_in_time).as_secs();
                Some(LastSnapshot { run: report.run, age_seconds, result: report.result, snapshot })
            }),
            last_run: history.first().cloned(),
            history,
            schedule: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            next_run: self.schedule.as_ref().and_then(|schedule| schedule.next_after(now)),
            recipients: Some(self.recipients.clone()),
            prune: self.prune.as_ref().map(|prune| PruneStatus {
                schedule: prune.schedule.clone(),
                next: Schedule::parse(&prune.schedule, self.time_zone.as_deref()).ok().and_then(|s| s.next_after(now)),
                last: PruneReport::last(&self.dir),
            }),
            verified: Record::read(&self.dir).levels,
            error,
        }
    }
}

fn state_of(live: &Live) -> RunState {
    let (state, report) = match &*live.stage().borrow() {
        Stage::Queued => (RunStage::Queued, None),
        Stage::Running(_) => (RunStage::Running, None),
        Stage::Finished(report) => (RunStage::Finished, Some(RunReport::clone(report))),
    };
    RunState {
        api: API,
        run: live.run(),
        site: live.site().to_string(),
        trigger: live.trigger(),
        state,
        requested: Some(live.requested()),
        started: live.started(),
        figures: (state == RunStage::Running).then(|| live.figures()),
        report,
    }
}

fn past_state(report: RunReport) -> RunState {
    RunState {
        api: API,
        run: report.run,
        site: report.site.clone(),
        trigger: report.trigger,
        state: RunStage::Finished,
        requested: None,
        started: Some(report.started),
        figures: None,
        report: Some(report),
    }
}

/// The states of a run until it is over: at once, with every new step, and twice a second.
fn lines(live: Arc<Live>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let stage = live.stage();
    futures::stream::unfold(Some((live, stage, true)), |next| async move {
        let (live, mut stage, first) = next?;
        if !first {
            // The sender lives in `live`: a change or the time, there is no third.
            let _ = tokio::time::timeout(BEAT, stage.changed()).await;
        }
        stage.mark_unchanged();
        let state = state_of(&live);
        let over = state.state == RunStage::Finished;
        Some((Ok(Frame::data(line(&state))), (!over).then_some((live, stage, false))))
    })
}

fn line(state: &RunState) -> Bytes {
    let mut text = encode(state);
    text.push(b'\n');
    text.into()
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Our types have no map with keys that aren't strings and nothing else that JSON can't say.
    serde_json::to_vec(value).unwrap_or_else(|error| format!("{{\"api\":{API},\"error\":\"{error}\"}}").into_bytes())
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut text = encode(value);
    text.push(b'\n');
    answer(status, "application/json", Full::new(Bytes::from(text)).boxed_unsync())
}

fn ndjson(body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    answer(StatusCode::OK, "application/x-ndjson", body)
}

fn answer(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn refuse(status: StatusCode, error: String, advice: Option<String>) -> Answer {
    json(status, &Refusal { api: API, error, advice })
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} here"), None);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn no_such_run(run: RunId) -> Answer {
    refuse(StatusCode::NOT_FOUND, format!("there is no run {run}"), Some("the history keeps the last 200 runs of a site".into()))
}

fn stopped() -> Answer {
    let error = RequestError::Stopping;
    refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), error.advice())
}
