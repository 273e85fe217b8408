//! What was committed restores: SIGKILL at any moment leaves the store restorable to the last committed snapshot, and
//! the next run commits.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use support::agent::{Agent, Store, signal};
use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::s3::{Action, S3Server, at_request};
use support::small_site;

struct Fixture {
    server: MariaDb,
    s3: S3Server,
    content: tempfile::TempDir,
    agent: Agent,
    /// What the last committed snapshot must restore to.
    frozen: tempfile::TempDir,
    changes: u64,
}

impl Fixture {
    fn new() -> Self {
        let (server, s3) = (MariaDb::start(), S3Server::start());
        let content = tempfile::tempdir().unwrap();
        small_site::make(&server, "blog", content.path());
        let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
        Self { server, s3, content, agent, frozen: tempfile::tempdir().unwrap(), changes: 0 }
    }

    /// Changes a few files and rows, so that a run sends packs.
    fn change(&mut self) {
        self.changes += 1;
        let n = self.changes;
        std::fs::write(self.content.path().join(format!("uploads/change-{n}.bin")), small_site::noise(200_000, 1000 + n))
            .unwrap();
        std::fs::write(self.content.path().join("uploads/always.bin"), small_site::noise(100_000, 2000 + n)).unwrap();
        self.server
            .client(&format!("INSERT INTO blog.wp_posts (post_title, post_content) VALUES ('Change {n}', REPEAT('x{n}', 5000))"));
    }

    /// Keeps a copy of the source as it is now.
    fn freeze(&self) {
        let target = self.frozen.path().join("content");
        let _ = std::fs::remove_dir_all(&target);
        assert!(std::process::Command::new("cp").arg("-a").arg(self.content.path()).arg(&target).status().unwrap().success());
        self.server.client("DROP DATABASE IF EXISTS frozen; CREATE DATABASE frozen CHARACTER SET utf8mb4");
        let dump = std::process::Command::new("sh")
            .args(["-c", "mariadb-dump --no-defaults -uroot -S \"$0\" --routines --triggers --events blog | sed 1d | mariadb --no-defaults -uroot -S \"$0\" frozen"])
            .arg(self.server.socket())
            .status()
            .unwrap();
        assert!(dump.success());
    }

    fn latest_restores_to_frozen(&self) {
        let target = self.agent.path("restored");
        let _ = std::fs::remove_dir_all(&target);
        self.server.client("DROP DATABASE IF EXISTS restored");
        self.agent.ok(&["restore", "latest", "--files", target.to_str().unwrap(), "--database", "restored"]);
        same_tree(&self.frozen.path().join("content"), &target).unwrap();
        same_database(&self.server, "frozen", "restored").unwrap();
    }

    fn start_run(&self) -> Child {
        let child = self.agent.command(&["run-now", "--foreground"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.s3.victim().store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
        child
    }
}

#[test]
fn sigkill_before_and_after_each_request() {
    let mut fixture = Fixture::new();
    fixture.agent.snapshot();
    fixture.freeze();
    let mut cases = 0;
    for after in [false, true] {
        for n in 1.. {
            fixture.change();
            let before = fixture.agent.snapshots();
            fixture.s3.forget_requests();
            let victim = fixture.s3.victim();
            fixture.s3.on_request(at_request(
                n,
                move |pid| if after { Action::KillAfter(pid) } else { Action::KillBefore(pid) },
                victim,
            ));
            let status = fixture.start_run().wait().unwrap();
            fixture.s3.no_hook();
            if status.success() {
                // The run has fewer requests than that: all of them have been cases.
                assert!(n > 3, "only {n} requests");
                fixture.freeze();
                fixture.latest_restores_to_frozen();
                break;
            }
            cases += 1;
            let now = fixture.agent.snapshots();
            if now > before {
                // Killed after the manifest's PUT took effect: that is a commit.
                fixture.freeze();
            }
            fixture.latest_restores_to_frozen();
            fixture.agent.snapshot();
            assert_eq!(fixture.agent.snapshots(), now + 1, "case {n}, after: {after}");
            fixture.freeze();
            fixture.latest_restores_to_frozen();
        }
    }
    println!("{cases} cases of SIGKILL at a request");
}

/// A run, a prune, a restore: killed at a random moment. `KILLS` says how many.
#[test]
fn sigkill_at_random_moments() {
    let kills: usize = std::env::var("KILLS").map_or(24, |text| text.parse().unwrap());
    let mut fixture = Fixture::new();
    fixture.agent.snapshot();
    fixture.freeze();
    // Seeded, so that a failure can be had again, as far as the machine is as fast.
    let moments = small_site::noise(2 * kills, 4711);
    let mut killed = 0;
    // How long each takes when it isn't killed.
    let mut lasts = [Duration::ZERO; 3];
    for (n, moment) in moments.chunks(2).map(|b| u64::from(b[0]) + u64::from(b[1])).enumerate() {
        let target = fixture.agent.path("killed");
        let _ = std::fs::remove_dir_all(&target);
        let restore = ["restore", "latest", "--files", target.to_str().unwrap()];
        let (arguments, run): (&[&str], bool) = match n % 3 {
            0 => (&["run-now", "--foreground"], true),
            1 => (&["prune", "--keep-last", "3"], false),
            _ => (&restore, false),
        };
        if run {
            fixture.change();
        }
        if lasts[n % 3].is_zero() {
            let begun = Instant::now();
            fixture.agent.ok(arguments);
            lasts[n % 3] = begun.elapsed();
            let _ = std::fs::remove_dir_all(&target);
            if run {
                fixture.freeze();
                fixture.change();
            }
        }
        let before = fixture.agent.snapshots();
        let mut child = fixture.agent.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Most are before its end.
        std::thread::sleep(lasts[n % 3].mul_f64(moment as f64 / 400.0));
        signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::KILL);
        killed += u64::from(!child.wait().unwrap().success());
        if run && fixture.agent.snapshots() > before {
            fixture.freeze();
        }
        fixture.latest_restores_to_frozen();
        fixture.agent.ok(&["verify"]);
    }
    println!("{kills} random moments, at {killed} of which something was killed");
    assert!(killed >= kills as u64 / 4, "{killed} of {kills}");
    fixture.change();
    fixture.agent.snapshot();
    fixture.freeze();
    fixture.latest_restores_to_frozen();
    fixture.agent.ok(&["verify", "--read"]);
}
