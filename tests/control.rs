//! The daemon as its users meet it: asked over its socket while it works, joined, queued, cancelled, stopped.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::time::{Duration, Instant};

use support::agent::{Agent, Store};
use support::mariadb::MariaDb;
use support::s3::{Action, S3Server};
use support::small_site;

struct Fixture {
    server: MariaDb,
    s3: S3Server,
    _content: tempfile::TempDir,
    agent: Agent,
}

impl Fixture {
    fn new() -> Self {
        let (server, s3) = (MariaDb::start(), S3Server::start());
        let content = tempfile::tempdir().unwrap();
        small_site::make(&server, "blog", content.path());
        let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
        Self { server, s3, _content: content, agent }
    }

    /// Every request that `slow` names takes this long.
    fn slow(&self, slow: fn(&support::s3::RequestInfo) -> bool, delay: Duration) {
        self.s3.on_request(Box::new(move |_, info| if slow(info) { Action::Stall(delay) } else { Action::Pass }));
    }

    fn phase(&self) -> String {
        let status = self.agent.curl(&[], "/v1/status");
        status["sites"][0]["running"]["figures"]["phase"].as_str().unwrap_or("none").to_owned()
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {}", self.agent.curl(&[], "/v1/status"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn idle(&self) -> bool {
        self.agent.curl(&[], "/v1/status")["sites"][0]["state"] == "idle"
    }
}

#[test]
fn status_answers_while_a_run_is_under_way_and_requests_before_the_database_join_it() {
    let fixture = Fixture::new();
    let daemon = fixture.agent.daemon();
    // The LIST is the run's first request: it holds the run before its step 1.
    fixture.slow(|info| info.is_list(), Duration::from_secs(6));
    let first = fixture.agent.curl(&["-X", "POST"], "/v1/sites/blog/runs");
    let second = fixture.agent.curl(&["-X", "POST"], "/v1/sites/blog/runs");
    assert_eq!(first["disposition"], "started", "{first}");
    assert_eq!(second["disposition"], "joined", "{second}");
    assert_eq!(first["run"], second["run"]);
    let begun = Instant::now();
    assert_eq!(fixture.agent.curl(&[], "/v1/status")["sites"][0]["state"], "running");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(fixture.agent.ok(&["status"]).contains("running"));
    fixture.wait_for("the run ends", || fixture.idle());
    fixture.s3.no_hook();
    assert_eq!(fixture.agent.snapshots(), 1);
    let (_, code) = daemon.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn requests_after_the_database_began_queue_exactly_one_more() {
    let fixture = Fixture::new();
    let daemon = fixture.agent.daemon();
    // The first pack is sent at the end of step 3 in so small a site: the database has been read.
    fixture.slow(|info| info.method == "PUT" && info.key.contains("/packs/"), Duration::from_secs(4));
    fixture.agent.ok(&["run-now"]);
    fixture.wait_for("step 3", || matches!(fixture.phase().as_str(), "second-look" | "cross-check" | "commit"));
    let queued = fixture.agent.curl(&["-X", "POST"], "/v1/sites/blog/runs");
    assert_eq!(queued["disposition"], "queued", "{queued}");
    for _ in 0..3 {
        let again = fixture.agent.curl(&["-X", "POST"], "/v1/sites/blog/runs");
        assert_eq!(again["run"], queued["run"], "{again}");
    }
    fixture.s3.no_hook();
    fixture.wait_for("both runs end", || fixture.idle());
    assert_eq!(fixture.agent.snapshots(), 2);
    drop(daemon);
}

#[test]
fn run_now_waits_and_ends_as_the_run_does() {
    let fixture = Fixture::new();
    let _daemon = fixture.agent.daemon();
    let told = fixture.agent.ok(&["run-now", "--wait"]);
    assert!(told.contains("snapshot 1"), "{told}");
    fixture.server.client("RENAME TABLE blog.wp_users TO blog.other_users");
    let output = fixture.agent.run(&["run-now", "--wait"]);
    assert_eq!(output.status.code(), Some(3), "{}", support::agent::text(&output));
    fixture.server.client("DROP DATABASE blog");
    let output = fixture.agent.run(&["run-now", "--wait"]);
    assert_eq!(output.status.code(), Some(78), "{}", support::agent::text(&output));
    let status = fixture.agent.ok(&["status"]);
    assert!(status.contains("blog"), "{status}");
}

#[test]
fn cancel_and_sigterm_commit_nothing_and_the_next_run_goes_on() {
    let fixture = Fixture::new();
    let daemon = fixture.agent.daemon();
    fixture.slow(|info| info.method == "PUT" && info.key.contains("/snapshots/"), Duration::from_millis(10));
    fixture.slow(|info| info.method == "PUT" && info.key.contains("/packs/"), Duration::from_secs(5));
    fixture.agent.ok(&["run-now"]);
    fixture.wait_for("step 3", || matches!(fixture.phase().as_str(), "second-look" | "cross-check" | "commit"));
    fixture.agent.ok(&["cancel"]);
    fixture.wait_for("the run ends", || fixture.idle());
    let status = fixture.agent.curl(&[], "/v1/status");
    assert_eq!(status["sites"][0]["last_run"]["result"], "cancelled", "{status}");
    assert_eq!(fixture.agent.snapshots(), 0);

    // The data pack passes, what comes after it is slow: SIGTERM finds something uploaded.
    let packs = std::sync::atomic::AtomicU32::new(0);
    fixture.s3.on_request(Box::new(move |_, info| {
        if info.method == "PUT" && packs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            Action::Stall(Duration::from_secs(20))
        } else {
            Action::Pass
        }
    }));
    fixture.s3.forget_requests();
    fixture.agent.ok(&["run-now"]);
    fixture.wait_for("the commit", || fixture.phase() == "commit");
    let begun = Instant::now();
    let (_, code) = daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(code, Some(0));
    fixture.s3.no_hook();
    assert_eq!(fixture.agent.snapshots(), 0);

    fixture.s3.forget_requests();
    fixture.agent.snapshot();
    let sent: u64 = fixture.s3.requests().iter().filter(|r| r.method == "PUT").map(|r| r.bytes_in).sum();
    assert!(sent < 200_000, "{sent} bytes sent again");
    assert_eq!(fixture.agent.snapshots(), 1);
    let target = fixture.agent.path("restored");
    fixture.agent.ok(&["restore", "latest", "--files", target.to_str().unwrap(), "--database", "restored"]);
    support::compare::same_tree(&fixture.agent.content, &target).unwrap();
    support::compare::same_database(&fixture.server, "blog", "restored").unwrap();
}

#[test]
fn a_due_time_during_downtime_is_made_up_for_once() {
    let fixture = Fixture::new();
    let configure = |cron: &str| {
        fixture.agent.configure(
            &fixture.server.socket(),
            &Store::S3(&fixture.s3),
            &format!("schedule = \"{cron}\"\ntime_zone = \"UTC\""),
            "",
        );
    };
    configure("0 3 * * *");
    drop(fixture.agent.daemon());
    assert_eq!(fixture.agent.snapshots(), 0, "a fresh install waits for its first due time");
    // The daemon was last up two days ago.
    let schedule = fixture.agent.path("state").join("blog/schedule.json");
    let written = std::fs::read_to_string(&schedule).unwrap();
    let two_days_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
    let mut json: serde_json::Value = serde_json::from_str(&written).unwrap();
    for value in
        json.as_object_mut().unwrap().values_mut().filter(|v| v.as_str().is_some_and(|s| s.parse::<jiff::Timestamp>().is_ok()))
    {
        *value = two_days_ago.to_string().into();
    }
    std::fs::write(&schedule, json.to_string()).unwrap();
    let daemon = fixture.agent.daemon();
    fixture.wait_for("the catch-up", || fixture.agent.snapshots() == 1 && fixture.idle());
    drop(daemon);
    let _daemon = fixture.agent.daemon();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fixture.agent.snapshots(), 1, "only once");
}
