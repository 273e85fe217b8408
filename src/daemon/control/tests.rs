use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::types::{RunStage, SiteState};
use super::*;
use crate::config::schedule::Schedule;
use crate::daemon::clock::WallClock;
use crate::daemon::fake::{Fake, site};
use crate::daemon::queue::{Dispatcher, Disposition};
use crate::error::{Exit, Explain as _};
use crate::progress::Event;
use crate::repository::ids::RunId;

struct Bench {
    fake: Fake,
    client: Client,
    socket: PathBuf,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let limits = Limits {
            own_connections: 4,
            read: Duration::from_millis(300),
            write: Duration::from_millis(300),
            ..Limits::default()
        };
        Self::with(limits).await
    }

    async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (fake, stop) = (Fake::default(), CancellationToken::new());
        let settings = Arc::new(site("blog"));
        let clock = Arc::new(WallClock);
        let sites = [(Arc::clone(&settings), dir.path().to_owned())];
        let (dispatcher, queue) = Dispatcher::new(sites, Arc::new(fake.clone()), clock.clone(), stop.clone());
        tokio::spawn(dispatcher.run());
        let schedule = Schedule::parse("0 3 * * *", Some("UTC")).unwrap();
        let api = Api::new([(&*settings, Some(schedule), dir.path().to_owned())], queue, clock, stop.clone());
        let path = dir.path().join("control.sock");
        let socket = Socket::bind(&path, None).await.unwrap();
        tokio::spawn(serve(socket, Arc::new(api), limits, CancellationToken::new()));
        Self { fake, client: Client::new(&path), socket: path, stop, _dir: dir }
    }

    /// Sends bytes as they are, and gives back all that comes until the server hangs up.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The server may hang up before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn status_answers_while_a_run_is_under_way() {
    let bench = Bench::new().await;
    let idle = bench.client.status().await.unwrap();
    assert_eq!(idle.sites[0].state, SiteState::Idle);
    assert!(idle.sites[0].next_run.is_some());

    let accepted = bench.client.run("blog").await.unwrap();
    assert_eq!(accepted.disposition, Disposition::Started);
    let control = bench.fake.next().await;
    control.progress.event(Event::Walked { entries: 7, bytes: 70 });
    let again = bench.client.run("blog").await.unwrap();
    assert_eq!((again.run, again.disposition), (accepted.run, Disposition::Joined));
    control.reach_database();
    assert_eq!(bench.client.run("blog").await.unwrap().disposition, Disposition::Queued);

    let busy = bench.client.status().await.unwrap();
    let blog = &busy.sites[0];
    assert_eq!(blog.state, SiteState::Running);
    let running = blog.running.as_ref().unwrap();
    assert_eq!((running.run, running.figures.as_ref().unwrap().walked_entries), (accepted.run, 7));
    assert!(blog.queued.is_some() && blog.last_run.is_none());

    control.finish();
    bench.fake.next().await.finish_with(Exit::Denied);
    while bench.client.status().await.unwrap().sites[0].state != SiteState::Idle {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = bench.client.status().await.unwrap();
    assert_eq!(after.sites[0].last_run.as_ref().unwrap().result, Exit::Denied);
    assert_eq!(after.sites[0].history.len(), 2);
}

#[tokio::test]
async fn the_progress_stream_ends_with_the_report() {
    let bench = Bench::new().await;
    let run = bench.client.run("blog").await.unwrap().run;
    let control = bench.fake.next().await;
    let mut follow = bench.client.follow(run).await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().state, RunStage::Running);
    control.progress.event(Event::Read { bytes: 5 });
    assert_eq!(follow.next().await.unwrap().unwrap().figures.unwrap().read_bytes, 5);
    control.finish_with(Exit::Findings);
    let mut last = None;
    while let Some(state) = follow.next().await.unwrap() {
        last = Some(state);
    }
    let last = last.unwrap();
    assert_eq!((last.state, last.report.unwrap().result), (RunStage::Finished, Exit::Findings));

    // It is told again to whoever comes late, from the history.
    let mut late = bench.client.follow(run).await.unwrap();
    assert_eq!(late.next().await.unwrap().unwrap().report.unwrap().run, run);
    assert_eq!(late.next().await.unwrap(), None);
    let text = bench.raw(format!("GET /v1/runs/{run} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    assert!(text.contains("\"state\":\"finished\""), "{text}");
}

#[tokio::test]
async fn cancel_and_stop_are_told_to_those_who_wait() {
    let bench = Bench::new().await;
    let run = bench.client.run("blog").await.unwrap().run;
    let _control = bench.fake.next().await;
    let mut follow = bench.client.follow(run).await.unwrap();
    bench.client.cancel(run).await.unwrap();
    let mut last = None;
    while let Some(state) = follow.next().await.unwrap() {
        last = state.report;
    }
    assert_eq!(last.unwrap().result, Exit::Cancelled);
    let error = bench.client.cancel(run).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 409, .. }), "{error:?}");

    bench.stop.cancel();
    let error = loop {
        match bench.client.run("blog").await {
            Err(error) => break error,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert!(matches!(error, ClientError::Refused { status: 503, .. }), "{error:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_said_to() {
    let bench = Bench::new().await;
    for name in ["nope", "../etc", "a b"] {
        let error = bench.client.run(name).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{error:?}");
        assert!(error.advice().is_some());
    }
    let error = bench.client.cancel(RunId([7; 8])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 404, .. }));
    assert!(bench.client.follow(RunId([7; 8])).await.is_err());
    let first = |text: String| text.lines().next().unwrap().to_owned();
    assert_eq!(first(bench.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await), "HTTP/1.1 404 Not Found");
    assert_eq!(first(bench.raw(b"GET /v1/runs/zz HTTP/1.1\r\nhost: x\r\n\r\n").await), "HTTP/1.1 400 Bad Request");
    assert_eq!(first(bench.raw(b"PUT /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await), "HTTP/1.1 405 Method Not Allowed");

    let nobody = Client::new(&bench.socket.with_file_name("none.sock"));
    let error = nobody.status().await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable);
}

#[tokio::test]
async fn slow_and_greedy_clients_are_cut_off_and_hold_up_nobody() {
    let bench = Bench::new().await;
    let head = b"GET /v1/status HTTP/1.1\r\nhost: x\r\nx: ";
    // Three that never finish their request take three of the four places.
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&bench.socket).await.unwrap();
        stream.write_all(head).await.unwrap();
        slow.push(stream);
    }
    bench.client.status().await.unwrap();
    // The fourth and fifth: one more than there are places.
    let mut fourth = UnixStream::connect(&bench.socket).await.unwrap();
    fourth.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = bench.client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 503, .. } | ClientError::Lost(_)), "{error:?}");
    // All of them are hung up on within the time for reading; then there is room again.
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.expect("hung up");
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    bench.client.status().await.unwrap();

    let mut long = head.to_vec();
    long.extend(std::iter::repeat_n(b'x', 1 << 20));
    let answer = bench.raw(&long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut body = b"POST /v1/sites/blog/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n".to_vec();
    body.extend(std::iter::repeat_n(b'x', 100_000));
    let answer = bench.raw(&body).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = bench.raw(b"POST /v1/sites/blog/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(bench.fake.runs(), 0);
    bench.client.status().await.unwrap();
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_cut_off_and_the_run_goes_on() {
    let limits = Limits { own_connections: 1, write: Duration::from_millis(200), ..Limits::default() };
    let bench = Bench::with(limits).await;
    let run = bench.client.run("blog").await.unwrap().run;
    let control = bench.fake.next().await;
    let mut stalled = UnixStream::connect(&bench.socket).await.unwrap();
    stalled.write_all(format!("GET /v1/runs/{run}/progress HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    // Each change of step is a line: many fill the socket's buffer.
    let steps = tokio::spawn({
        let progress = Arc::clone(&control.progress);
        async move {
            for _ in 0..100_000 {
                progress.event(Event::Note("x".repeat(10_000)));
                progress.event(Event::Phase(crate::progress::Phase::Files));
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    });
    // The only place becomes free.
    let freed = async {
        while bench.client.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("cut off");
    steps.abort();
    control.finish();
}
