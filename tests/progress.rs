//! A run's figures over the socket: totals from the parent at once, none on a first run, and how long it has been going.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::agent::{Agent, Store};
use support::mariadb::MariaDb;
use support::s3::{Action, S3Server};
use support::small_site;

/// Asks for a run and waits for these figures of it, while its first pack is on its way for three seconds.
fn figures_while(agent: &Agent, s3: &S3Server, holds: impl Fn(&Value) -> bool) -> Value {
    s3.on_request(Box::new(|_, info| {
        let pack = info.method == "PUT" && info.key.contains("/packs/");
        if pack { Action::Stall(Duration::from_secs(3)) } else { Action::Pass }
    }));
    agent.ok(&["run-now"]);
    let begun = Instant::now();
    let figures = loop {
        let figures = agent.curl(&[], "/v1/status")["sites"][0]["running"]["figures"].clone();
        if holds(&figures) {
            break figures;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{figures}");
        std::thread::sleep(Duration::from_millis(50));
    };
    while agent.curl(&[], "/v1/status")["sites"][0]["state"] != "idle" {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    s3.no_hook();
    figures
}

#[test]
fn totals_come_from_the_parent() {
    let (server, s3) = (MariaDb::start(), S3Server::start());
    let content = tempfile::tempdir().unwrap();
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    let daemon = agent.daemon();
    let waits = |figures: &Value| {
        let late = matches!(figures["phase"].as_str(), Some("second-look" | "cross-check" | "commit"));
        late && figures["elapsed_seconds"].as_u64() >= Some(1)
    };
    let first = figures_while(&agent, &s3, waits);
    assert_eq!((&first["expected_rows"], &first["expected_sql_bytes"]), (&0.into(), &0.into()), "{first}");
    assert!(first["eta_seconds"].is_null() && first["per_second"].is_object(), "{first}");
    let manifest: Value = serde_json::from_str(&agent.ok(&["snapshots", "show", "latest", "--json"])).unwrap();
    let counts = &manifest["counts"];
    // What the second look is to find is what the first has found.
    assert_eq!(first["expected_entries"], counts["file_entries"], "{first}");
    assert!(first["elapsed_seconds"].as_u64() >= first["step_seconds"].as_u64(), "{first}");

    std::fs::write(content.path().join("uploads/new.bin"), small_site::noise(3 << 20, 5)).unwrap();
    let second = figures_while(&agent, &s3, waits);
    assert_eq!((&second["expected_rows"], &second["expected_sql_bytes"]), (&counts["rows"], &counts["sql_bytes"]), "{second}");
    assert_eq!(second["rows"], counts["rows"], "{second}");
    let (_, code) = daemon.stop();
    assert_eq!(code, Some(0));
}
