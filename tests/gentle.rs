//! The site never waits for the dump longer than the bound that is configured.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::agent::{Store, text};
use support::bare_site::{BareSite, is_committed, state};
use support::flavour::Flavour;
use support::mariadb::MariaDb;
use support::s3::{Action, S3Server};

/// `lock_wait`'s default.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// What a machine that is busy with other tests may add.
const MARGIN: Duration = Duration::from_secs(2);

/// Accounts of the dump, with their rights beside reading. The first may see what waits behind it, the other must find out otherwise.
const ACCOUNTS: [(&str, &str); 2] = [("watcher", "PROCESS, RELOAD"), ("reader", "")];

fn accounts(site: &BareSite) {
    for (account, more) in ACCOUNTS {
        site.account(account, more);
    }
}

/// Small tables, and one that takes long to read over a slow link.
fn make(server: &MariaDb) {
    server.client(
        "USE blog;
CREATE TABLE m_a (id INT PRIMARY KEY, v VARCHAR(100) NOT NULL) ENGINE=InnoDB; INSERT INTO m_a SELECT seq, CONCAT('a ', seq) FROM seq_1_to_200;
CREATE TABLE m_big (id INT PRIMARY KEY, v VARCHAR(2000) NOT NULL) ENGINE=InnoDB; INSERT INTO m_big SELECT seq, REPEAT('x', 2000) FROM seq_1_to_6000;
CREATE TABLE z_last (id INT PRIMARY KEY, v VARCHAR(100) NOT NULL) ENGINE=InnoDB; INSERT INTO z_last SELECT seq, 'last' FROM seq_1_to_200;",
    );
}

/// A run under way.
struct Run(Option<Child>);

impl Run {
    fn start(site: &BareSite) -> Self {
        let mut command = site.agent.command(&["run-now", "--foreground"]);
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn is_over(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    fn end(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A visitor: the same statement over and over, each timed.
struct Visitor {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Duration, u64)>,
}

impl Visitor {
    /// Runs what `statement` makes of the number of the turn.
    fn start(server: &Arc<MariaDb>, statement: impl Fn(u64) -> String + Send + 'static) -> Self {
        let (stop, server) = (Arc::<AtomicBool>::default(), server.clone());
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let (mut longest, mut turns) = (Duration::ZERO, 0);
                while !stop.load(Ordering::SeqCst) {
                    turns += 1;
                    let begun = Instant::now();
                    server.client(&statement(turns));
                    longest = longest.max(begun.elapsed());
                    std::thread::sleep(Duration::from_millis(20));
                }
                (longest, turns)
            }
        });
        Self { stop, thread }
    }

    /// The longest that a statement took.
    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        let (longest, turns) = self.thread.join().unwrap();
        assert!(turns > 0);
        longest
    }
}

fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a statement is under way in this state; empty is any.
fn is_under_way(server: &MariaDb, statement: &str, state: &str) -> bool {
    server.client("SHOW FULL PROCESSLIST").lines().any(|line| line.contains(statement) && line.contains(state))
}

/// Alters a table that the dump holds. A site's SELECT that comes behind is held no longer than the bound, the ALTER is made, and the run
/// commits. `hurry` ends what makes the dump long.
#[track_caller]
fn an_alter_gets_its_turn(site: &BareSite, table: &'static str, case: &str, hurry: impl Fn()) {
    let mut run = Run::start(site);
    poll("the big table is being read", || {
        assert!(!run.is_over(), "{case}: the run is over already");
        site.link.statements().iter().any(|statement| statement.reads("m_big"))
    });
    let visitor = Visitor::start(&site.server, move |turn| format!("SELECT v FROM blog.{table} WHERE id = 1 + {turn} % 100"));
    let altered = std::thread::spawn({
        let server = site.server.clone();
        move || drop(server.client(&format!("ALTER TABLE blog.{table} ADD COLUMN w INT NOT NULL DEFAULT 5")))
    });
    let mut waited = false;
    poll("the ALTER waits behind the dump, or is made", || {
        waited |= is_under_way(&site.server, "ALTER TABLE", "Waiting for table metadata lock");
        waited || altered.is_finished()
    });
    altered.join().unwrap();
    let longest = visitor.stop();
    hurry();
    let output = run.end();
    assert!(waited, "{case}: the ALTER never waited, nothing was shown");
    assert!(longest <= LOCK_WAIT + MARGIN, "{case}: a SELECT waited {longest:?}");
    assert!(is_committed(&output), "{case}: {}", text(&output));
    println!("{case}: the longest SELECT took {longest:?}");
}

/// A table that takes twelve seconds to read; the table that is altered is that one, or one that has been read before.
#[track_caller]
fn an_alter_behind_a_long_dump(arguments: &[&str], account: &str, connections: usize, table: &'static str) {
    let site = BareSite::new(arguments);
    accounts(&site);
    site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
    make(&site.server);
    let before = state(&site.server, "blog");
    site.link.slow(1 << 20);
    let case = format!("{arguments:?}, {account}, {connections} connections, {table}");
    an_alter_gets_its_turn(&site, table, &case, || site.link.slow(0));
    let restored = site.restored_state();
    assert!([before, state(&site.server, "blog")].contains(&restored), "{case}: what was committed never was:\n{restored:.2000}");
}

#[test]
fn an_alter_behind_a_dump_that_sees_it() {
    an_alter_behind_a_long_dump(&["--log-bin=binlog"], "watcher", 1, "m_big");
    an_alter_behind_a_long_dump(&["--log-bin=binlog"], "watcher", 4, "m_a");
    an_alter_behind_a_long_dump(&[], "watcher", 4, "m_big");
}

#[test]
fn an_alter_behind_a_dump_that_may_not_see_it() {
    an_alter_behind_a_long_dump(&["--log-bin=binlog"], "reader", 1, "m_a");
    an_alter_behind_a_long_dump(&["--log-bin=binlog"], "reader", 4, "m_big");
    an_alter_behind_a_long_dump(&[], "reader", 1, "m_big");
}

/// The store takes nothing, so that the dump stands still with a table in its hands.
#[test]
fn an_alter_behind_a_dump_that_waits_for_its_store() {
    let site = BareSite::new(&["--log-bin=binlog"]);
    accounts(&site);
    let s3 = Arc::new(S3Server::start());
    let lines = "user = \"watcher\"\nspool_mib = 64";
    site.agent.configure(&site.link.socket(), &Store::S3(&s3), "", lines);
    make(&site.server);
    site.server.client("USE blog; CREATE TABLE m_more (id INT PRIMARY KEY, v LONGBLOB NOT NULL) ENGINE=InnoDB; INSERT INTO m_more SELECT seq, RANDOM_BYTES(1024) FROM seq_1_to_1000");
    // About 128 MiB that no compression makes less.
    for turn in 1..=4 {
        site.server.client(&format!("USE blog; INSERT INTO m_more SELECT seq + {turn} * 100000, (SELECT GROUP_CONCAT(RANDOM_BYTES(1024) SEPARATOR '') FROM seq_1_to_32) FROM seq_1_to_1000"));
    }
    let stalls = Arc::new(AtomicBool::new(true));
    s3.on_request({
        let stalls = stalls.clone();
        Box::new(move |_, info| {
            let stalled = stalls.load(Ordering::SeqCst) && info.key.contains("/packs/");
            if stalled { Action::Stall(Duration::from_secs(12)) } else { Action::Pass }
        })
    });
    an_alter_gets_its_turn(&site, "m_big", "a stalled store", || stalls.store(false, Ordering::SeqCst));
}

/// What takes a lock at the start of the dump must not make others queue behind a statement that runs for long.
#[track_caller]
fn a_long_update_delays_nobody(site: &BareSite, case: &str) {
    accounts(site);
    site.server.client(
        "USE blog; CREATE TABLE busy (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL); CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL);
INSERT INTO busy (v) VALUES (1), (1), (1), (1), (1), (1), (1), (1), (1), (1)",
    );
    site.server.client("USE blog; INSERT INTO busy (v) SELECT 1 FROM busy a JOIN busy b");
    for (account, _) in ACCOUNTS {
        for connections in [1, 4] {
            site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
            site.link.forget();
            let update = std::thread::spawn({
                let server = site.server.clone();
                move || drop(server.client("UPDATE blog.busy SET v = v + 1 + SLEEP(0.1) WHERE id <= 50"))
            });
            poll("the UPDATE is under way", || is_under_way(&site.server, "UPDATE blog.busy", ""));
            let visitors = ["busy", "other"]
                .map(|table| Visitor::start(&site.server, move |turn| format!("INSERT INTO blog.{table} (v) VALUES ({turn})")));
            let mut run = Run::start(site);
            poll("the dump begins", || {
                run.is_over() || site.link.statements().iter().any(|s| s.sql.starts_with("START TRANSACTION"))
            });
            assert!(!update.is_finished(), "{case}: the UPDATE was over before the dump began");
            let output = run.end();
            update.join().unwrap();
            let longest = visitors.map(Visitor::stop).into_iter().max().unwrap_or_default();
            assert!(is_committed(&output), "{case}, {account}, {connections} connections: {}", text(&output));
            assert!(longest <= LOCK_WAIT + MARGIN, "{case}, {account}, {connections} connections: an INSERT waited {longest:?}");
            println!("{case}, {account}, {connections} connections: the longest INSERT took {longest:?}");
        }
    }
}

#[test]
fn a_long_update_on_mariadb_with_a_binlog() {
    a_long_update_delays_nobody(&BareSite::new(&["--log-bin=binlog"]), "MariaDB with a binlog");
}

#[test]
fn a_long_update_on_mariadb_without_a_binlog() {
    a_long_update_delays_nobody(&BareSite::new(&[]), "MariaDB without a binlog");
}

#[test]
fn a_long_update_on_mysql() {
    a_long_update_delays_nobody(&BareSite::of(Flavour::MySql97, &[]), "MySQL");
}

/// A server that is slow while the dump holds its lock: the lock is given up, and the dump goes on in another way, with answers that belong to
/// its questions.
#[test]
fn a_lock_that_is_given_up() {
    for (case, flavour) in [("MariaDB without a binlog", Flavour::MariaDb1011), ("MySQL", Flavour::MySql97)] {
        let site = BareSite::of(flavour, &[]);
        accounts(&site);
        site.configure("user = \"watcher\"\nconnections = 4");
        for n in 0..8 {
            site.server.client(&format!(
                "USE blog; CREATE TABLE t_{n} (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t_{n} VALUES (1, 'of table {n}')"
            ));
        }
        let slow = AtomicBool::new(true);
        site.link.on_statement(move |statement| {
            // The dump's first connection, which it goes on with.
            if statement.connection == 1 && statement.opens_snapshot() && slow.swap(false, Ordering::SeqCst) {
                std::thread::sleep(LOCK_WAIT + MARGIN);
            }
        });
        let visitor = Visitor::start(&site.server, |turn| format!("REPLACE INTO blog.t_0 VALUES (2, 'turn {turn}')"));
        let output = site.run();
        let longest = visitor.stop();
        assert!(longest <= LOCK_WAIT + MARGIN, "{case}: a REPLACE waited {longest:?}");
        assert!(is_committed(&output), "{case}: {}", text(&output));
        let sql = site.sql();
        for n in 0..8 {
            assert!(
                sql.contains(&format!("INSERT INTO `t_{n}` (`id`,`v`) VALUES\n(1,'of table {n}')")),
                "{case}, table {n}:\n{sql}"
            );
        }
    }
}

/// A statement that waits in another database for a table of the same name doesn't wait for us: nothing is given up for it.
#[test]
fn a_neighbour_with_a_table_of_the_same_name() {
    let site = BareSite::new(&["--log-bin=binlog"]);
    accounts(&site);
    site.configure("user = \"watcher\"");
    make(&site.server);
    site.server.client("CREATE DATABASE shop; CREATE TABLE shop.m_big (id INT PRIMARY KEY) ENGINE=InnoDB");
    let (holds, alters) = ("BEGIN; SELECT * FROM shop.m_big; DO SLEEP(60)", "ALTER TABLE shop.m_big ADD COLUMN w INT");
    let neighbours: Vec<_> = [(holds, "SLEEP(60)", ""), (alters, alters, "Waiting for table metadata lock")]
        .into_iter()
        .map(|(sql, shown, state)| {
            let mut client = site.server.client_command();
            let child = client.arg("--execute").arg(sql).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            poll("the neighbour is at work", || is_under_way(&site.server, shown, state));
            Run(Some(child))
        })
        .collect();
    // Long enough for the watch to look.
    site.link.slow(3 << 20);
    let output = site.run();
    assert!(is_committed(&output), "{}", text(&output));
    assert!(!text(&output).contains("gave way"), "{}", text(&output));
    drop(neighbours);
}

/// A dump that can't watch any more doesn't go on unwatched.
#[test]
fn a_watch_that_is_killed() {
    let site = BareSite::new(&["--log-bin=binlog"]);
    accounts(&site);
    site.configure("user = \"watcher\"\nconnections = 1");
    make(&site.server);
    site.link.slow(1 << 20);
    let mut run = Run::start(&site);
    let reads = || site.link.statements().iter().any(|statement| statement.reads("m_big"));
    poll("the big table is being read", || run.is_over() || reads());
    // The reader is at work; what else there is of this account is the watch.
    poll("the watch is killed", || {
        let sql = "SELECT id FROM information_schema.processlist WHERE user = 'watcher' AND IFNULL(info, '') NOT LIKE '%m_big%'";
        let ids = site.server.client(sql);
        ids.lines().for_each(|id| drop(site.server.try_client(&format!("KILL {id}"))));
        !ids.is_empty()
    });
    let begun = Instant::now();
    site.server.client("ALTER TABLE blog.m_big ADD COLUMN w INT");
    let waited = begun.elapsed();
    site.link.slow(0);
    let output = run.end();
    assert!(waited <= LOCK_WAIT + MARGIN, "the ALTER waited {waited:?}");
    assert!(is_committed(&output) || text(&output).contains("database server"), "{}", text(&output));
}

/// FLUSH TABLES waits for statements under way, and all others on their tables behind it. A table without a number for a key is read by one
/// long statement.
#[test]
fn flush_tables_behind_a_long_statement() {
    for flavour in [Flavour::MariaDb1011, Flavour::MySql97] {
        for flush in ["FLUSH TABLES", "FLUSH TABLES WITH READ LOCK; UNLOCK TABLES"] {
            let site = BareSite::of(flavour, &[]);
            accounts(&site);
            site.configure("user = \"watcher\"");
            site.server.client("USE blog; CREATE TABLE m_big (id VARCHAR(40) PRIMARY KEY, v VARCHAR(2000) NOT NULL) ENGINE=InnoDB; INSERT INTO m_big VALUES ('1', REPEAT('x', 2000))");
            for turn in 0..13 {
                site.server.client(&format!("USE blog; INSERT INTO m_big SELECT CONCAT(id, '-{turn}'), v FROM m_big"));
            }
            site.link.slow(1 << 20);
            let mut run = Run::start(&site);
            let reads = || site.link.statements().iter().any(|statement| statement.sql.contains("FROM `m_big` FORCE INDEX"));
            poll("the big table is being read", || run.is_over() || reads());
            let server = site.server.clone();
            let flushed = std::thread::spawn(move || drop(server.client(flush)));
            let visitor = Visitor::start(&site.server, |_| "SELECT v FROM blog.m_big WHERE id = '1'".to_owned());
            flushed.join().unwrap();
            let longest = visitor.stop();
            site.link.slow(0);
            let output = run.end();
            assert!(longest <= LOCK_WAIT + MARGIN, "{flavour:?}, {flush}: a SELECT waited {longest:?}");
            assert!(is_committed(&output), "{flavour:?}, {flush}: {}", text(&output));
        }
    }
}
