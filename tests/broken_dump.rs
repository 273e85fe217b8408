//! A dump that is broken off: the run says so and commits nothing, what was committed stays as it was, and the next run commits. A store that
//! only stalls breaks nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::agent::{Agent, Store, signal, text};
use support::bare_site::{BareSite, is_committed, state};
use support::mariadb::MariaDb;
use support::respawned::Respawned;
use support::s3::{Action, S3Server};
use support::small_site;

/// So that a failure can be had again.
const SEED: u64 = 4711;

const KILLS: usize = 26;
const CRASHES: usize = 8;
const STALLS: usize = 6;

/// Numbers below 65,536, the same each time.
struct Random(std::vec::IntoIter<u8>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(small_site::noise(4096, seed).into_iter())
    }

    fn below(&mut self, limit: usize) -> usize {
        let number = usize::from(self.0.next().unwrap()) << 8 | usize::from(self.0.next().unwrap());
        number % limit
    }
}

/// A dump of a few hundred milliseconds, over a slow link.
fn site(arguments: &[&str]) -> BareSite {
    let site = BareSite::new(arguments);
    site.account("dumper", "");
    make(&site.server);
    site.configure("user = \"dumper\"\nconnections = 2");
    site
}

fn make(server: &MariaDb) {
    let mut sql =
        "USE blog; CREATE TABLE wp_change (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100)) ENGINE=InnoDB;\n".to_owned();
    for n in 0..6 {
        sql += &format!(
            "CREATE TABLE wp_{n} (id INT PRIMARY KEY, v VARCHAR(1000), KEY (v(10))) ENGINE=InnoDB; \
             INSERT INTO wp_{n} SELECT seq, CONCAT('{n} ', seq, REPEAT(' text', 60)) FROM seq_1_to_1000;\n"
        );
    }
    server.client(&sql);
}

/// Bytes a second of the server's answers.
const SLOW: u64 = 4 << 20;

/// A site whose runs are broken off.
struct Broken {
    site: BareSite,
    /// The newest snapshot's SQL.
    committed: String,
    /// Statements of an undisturbed run.
    statements: usize,
    /// Runs that were hit.
    failed: usize,
}

impl Broken {
    fn new(site: BareSite) -> Self {
        site.commits();
        let statements = site.link.statements().len();
        let mut broken = Self { site, committed: String::new(), statements, failed: 0 };
        broken.a_run_commits();
        broken
    }

    /// Does `harm` when a run comes to this statement, and afterwards `repair`; then the next run commits.
    fn case(&mut self, case: &str, at: usize, harm: impl Fn() + Send + Sync + 'static, repair: impl FnOnce()) {
        self.site.server.client(&format!("INSERT INTO blog.wp_change (v) VALUES ('{case}')"));
        let before = self.site.manifests().len();
        self.site.link.forget();
        let harm = Arc::new(harm);
        let (begin, begun) = std::sync::mpsc::channel();
        self.site.link.on_statement(move |statement| {
            if statement.n == at {
                let harm = harm.clone();
                let _ = begin.send(std::thread::spawn(move || harm()));
            }
        });
        self.site.link.slow(SLOW);
        let output = self.site.run();
        self.site.link.no_hook();
        self.site.link.slow(0);
        // A run that needs fewer statements than the first did was not harmed.
        for harm in begun.try_iter() {
            harm.join().unwrap();
        }
        repair();
        if is_committed(&output) {
            // Not hit: it was over, or the connection idle.
            assert_eq!(self.site.manifests().len(), before + 1, "{case}");
            self.committed = self.site.sql();
            assert_eq!(self.site.restored_state(), state(&self.site.server, "blog"), "{case}");
            return;
        }
        self.failed += 1;
        println!("{case}: {}", text(&output).lines().find(|line| line.contains("blog: ")).unwrap_or_default());
        named(&output, case);
        assert_eq!(self.site.manifests().len(), before, "{case}: failed, and committed");
        assert!(self.site.sql() == self.committed, "{case}: what was committed has changed");
        self.a_run_commits();
    }

    fn a_run_commits(&mut self) {
        self.site.commits();
        self.committed = self.site.sql();
        assert_eq!(self.site.restored_state(), state(&self.site.server, "blog"));
    }
}

/// A failed run has an exit code of its own and a message that says what broke.
#[track_caller]
fn named(output: &Output, case: &str) {
    let told = text(output);
    assert!(matches!(output.status.code(), Some(1 | 69)), "{case}: {:?}\n{told}", output.status);
    assert!(told.contains("database server"), "{case}: nothing of the database server in\n{told}");
    assert!(!told.contains("panicked"), "{case}:\n{told}");
}

/// The dump's connections that have work to do, or all.
fn connections(server: &MariaDb, working: bool) -> Vec<String> {
    let only = if working { "AND command = 'Query'" } else { "" };
    let sql = format!("SELECT id FROM information_schema.processlist WHERE user = 'dumper' {only} ORDER BY id");
    server.client(&sql).lines().map(str::to_owned).collect()
}

#[test]
fn killed_statements_and_connections() {
    println!("seed {SEED}");
    let mut random = Random::new(SEED);
    let mut broken = Broken::new(site(&["--log-bin=binlog", "--sync-binlog=0"]));
    for n in 1..=KILLS {
        let what = if n % 2 == 0 { "QUERY" } else { "CONNECTION" };
        let (at, later, which) = (1 + random.below(broken.statements), random.below(40) as u64, random.below(16));
        let case = format!("case {n}: KILL {what} at statement {at} and {later} ms");
        let server = broken.site.server.clone();
        let kill = move || {
            std::thread::sleep(Duration::from_millis(later));
            // KILL QUERY means nothing to a connection without a statement. The run may be faster than we are.
            let deadline = Instant::now() + Duration::from_secs(1);
            while Instant::now() < deadline {
                let connections = connections(&server, what == "QUERY");
                if let Some(id) = connections.get(which % connections.len().max(1)) {
                    let _ = server.try_client(&format!("KILL {what} {id}"));
                    return;
                }
            }
        };
        broken.case(&case, at, kill, || {});
    }
    println!("{} of {KILLS} runs failed", broken.failed);
    assert!(broken.failed * 4 >= KILLS, "only {} of {KILLS} runs were hit", broken.failed);
}

#[test]
fn a_server_that_crashes() {
    println!("seed {SEED}");
    let mut random = Random::new(SEED + 1);
    // Each commit of the site is durable: the crash takes nothing away.
    let mut broken = Broken::new(site(&["--innodb-flush-log-at-trx-commit=1"]));
    let server = broken.site.server.clone();
    let mut again: Option<Respawned> = None;
    for n in 1..=CRASHES {
        let (at, later) = (1 + random.below(broken.statements), random.below(40) as u64);
        let case = format!("case {n}: SIGKILL of the server at statement {at} and {later} ms");
        let pid = again.as_ref().map_or(server.pid(), Respawned::pid);
        let arguments = Respawned::arguments_of(pid);
        let kill = move || {
            std::thread::sleep(Duration::from_millis(later));
            signal(pid, rustix::process::Signal::KILL);
        };
        broken.case(&case, at, kill, || {
            drop(again.take());
            again = Some(Respawned::start(&arguments, &server));
        });
    }
    println!("{} of {CRASHES} runs failed", broken.failed);
    assert!(broken.failed * 2 >= CRASHES, "only {} of {CRASHES} runs were hit", broken.failed);
}

/// All at once, since each waits for ten seconds.
#[test]
fn a_store_that_stalls() {
    const STALL: Duration = Duration::from_secs(10);
    println!("seed {SEED}");
    let mut random = Random::new(SEED + 2);
    let site = site(&["--log-bin=binlog", "--sync-binlog=0"]);
    // Two packs, so that one stalls while the dump goes on.
    site.server.client("USE blog; CREATE TABLE wp_large (id INT PRIMARY KEY, v LONGBLOB) ENGINE=InnoDB; INSERT INTO wp_large SELECT seq, (SELECT GROUP_CONCAT(RANDOM_BYTES(1024) SEPARATOR '') FROM seq_1_to_512) FROM seq_1_to_36");
    let agents: Vec<(Agent, S3Server, tempfile::TempDir)> = (0..STALLS)
        .map(|_| {
            let (s3, content) = (S3Server::start(), tempfile::tempdir().unwrap());
            std::fs::write(content.path().join("index.php"), "<?php\n").unwrap();
            let agent = Agent::new(&site.server, "blog", content.path(), &Store::S3(&s3));
            agent.configure(&site.server.socket(), &Store::S3(&s3), "", "user = \"dumper\"\nconnections = 2");
            (agent, s3, content)
        })
        .collect();
    let runs: Vec<_> = agents
        .iter()
        .map(|(agent, s3, _)| {
            let at = 1 + random.below(4) as u64;
            s3.on_request(Box::new(move |n, _| if n == at { Action::Stall(STALL) } else { Action::Pass }));
            let begun = Instant::now();
            let run = agent.command(&["run-now", "--foreground"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            (at, begun, run)
        })
        .collect();
    let mut committed = Vec::new();
    for ((agent, s3, _), (at, begun, run)) in agents.iter().zip(runs) {
        let output = run.wait_with_output().unwrap();
        assert!(is_committed(&output), "a stall of request {at}: {}\n{:#?}", text(&output), s3.requests());
        assert!(begun.elapsed() >= STALL, "request {at} never was: {:#?}", s3.requests());
        s3.no_hook();
        assert_eq!(agent.snapshots(), 1, "a stall of request {at}");
        committed.push(blake3::hash(agent.ok(&["restore", "latest", "--sql"]).as_bytes()));
    }
    // The database stood still: all are the same, so that one tells of all whether it is right.
    assert!(committed.iter().all(|sql| *sql == committed[0]), "{committed:?}");
    agents[0].0.ok(&["restore", "latest", "--database", "restored", "--user", "root"]);
    assert!(state(&site.server, "restored") == state(&site.server, "blog"));
}
