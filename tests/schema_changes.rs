//! A schema that changes while the dump runs: the database is read again, or the run fails and names the table; never is a mixture committed.
//!
//! The agent's statements come through a link, so that a change is made at a moment of the test's choice, not at one of luck: the statement waits
//! until the change is made, or waits itself behind the dump.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::agent::text;
use support::bare_site::{BareSite, is_committed, state};
use support::flavour::Flavour;
use support::link::Statement;
use support::mariadb::MariaDb;

/// Tables in the order in which they are read: the one that changes has others before and after it.
const TABLES: &str = "
CREATE TABLE a_first (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=InnoDB; INSERT INTO a_first VALUES (1, 'first');
CREATE TABLE m_a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100) NOT NULL, n INT NOT NULL DEFAULT 7) ENGINE=InnoDB;
INSERT INTO m_a (v) SELECT CONCAT('a ', seq) FROM seq_1_to_200;
CREATE TABLE m_b (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100) NOT NULL, n INT NOT NULL DEFAULT 7) ENGINE=InnoDB;
INSERT INTO m_b (v) SELECT CONCAT('b ', seq) FROM seq_1_to_300;
CREATE TABLE z_last (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=InnoDB; INSERT INTO z_last VALUES (1, 'last');
";

/// Accounts with their connections. Only one of them may see InnoDB's own dictionary and the processes of others.
const WAYS: [(&str, usize); 2] = [("reader", 1), ("watcher", 4)];

/// When a change is made: before the server gets the first statement for which this holds.
type Moment = fn(&Statement) -> bool;

/// What the tables are has been read; their rows not yet.
fn before_the_snapshot(statement: &Statement) -> bool {
    statement.opens_snapshot()
}

/// The snapshot is open; the table has not been read.
fn before_its_rows(statement: &Statement) -> bool {
    statement.reads("m_a")
}

/// The table has been read, another not yet.
fn after_its_rows(statement: &Statement) -> bool {
    statement.reads("z_last")
}

const MOMENTS: [Moment; 3] = [before_the_snapshot, before_its_rows, after_its_rows];

fn site() -> BareSite {
    let site = BareSite::new(&["--log-bin=binlog", "--event-scheduler=OFF"]);
    site.account("reader", "");
    site.account("watcher", "PROCESS, RELOAD");
    site
}

/// New tables, and what `more` makes.
fn make(site: &BareSite, more: &str) {
    site.server.client(&format!("DROP DATABASE blog; CREATE DATABASE blog CHARACTER SET utf8mb4; USE blog; {TABLES} {more}"));
}

/// Makes this change in a fresh schema at each moment, in each way; the run must commit what was there before, or is there now.
#[track_caller]
fn at_each_moment(site: &BareSite, more: &str, change: &'static str) {
    for (account, connections) in WAYS {
        for moment in MOMENTS {
            commits_a_state(site, account, connections, more, &[(moment, change)]);
        }
    }
}

/// The same for changes that are much like others: in one way only.
#[track_caller]
fn also(site: &BareSite, more: &str, change: &'static str) {
    let (account, connections) = WAYS[0];
    for moment in MOMENTS {
        commits_a_state(site, account, connections, more, &[(moment, change)]);
    }
}

/// Makes the changes at their moments, one after another.
#[track_caller]
fn commits_a_state(site: &BareSite, account: &str, connections: usize, more: &str, changes: &[(Moment, &'static str)]) {
    site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
    make(site, more);
    let (changes, made) = (Arc::new(changes.to_vec()), Arc::new(AtomicUsize::new(0)));
    let (states, waiting) = (Arc::new(Mutex::new(vec![state(&site.server, "blog")])), Arc::new(Mutex::new(Vec::new())));
    site.link.on_statement({
        let (server, changes, made) = (site.server.clone(), changes.clone(), made.clone());
        let (states, waiting) = (states.clone(), waiting.clone());
        move |statement| {
            let next = made.load(Ordering::SeqCst);
            let Some((moment, sql)) = changes.get(next) else { return };
            // One connection makes the change; another that comes to the same moment has missed it.
            let mut waiting = waiting.lock().unwrap();
            if moment(statement) && made.compare_exchange(next, next + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                match begin(&server, sql) {
                    None => states.lock().unwrap().push(state(&server, "blog")),
                    Some(change) => waiting.push(change),
                }
            }
        }
    });
    let before = site.manifests().len();
    let output = site.run();
    site.link.no_hook();
    let waited = std::mem::take(&mut *waiting.lock().unwrap());
    let late = !waited.is_empty();
    waited.into_iter().for_each(|change| change.join().unwrap());
    states.lock().unwrap().push(state(&site.server, "blog"));

    let case = format!("{changes:?} by {account} over {connections} connections (waited behind the dump: {late})");
    assert_eq!(made.load(Ordering::SeqCst), changes.len(), "not all changes were made: {case}\n{}", text(&output));
    assert!(is_committed(&output), "a single change is healed by reading again: {case}\n{}", text(&output));
    assert_eq!(site.manifests().len(), before + 1);
    let restored = site.restored_state();
    if !states.lock().unwrap().contains(&restored) {
        panic!("what was committed never was: {case}\n{}", differences(&states.lock().unwrap(), &restored));
    }
}

/// Runs SQL of which the last statement may have to wait behind the dump: then it goes on beside.
fn begin(server: &Arc<MariaDb>, sql: &'static str) -> Option<JoinHandle<()>> {
    let change = std::thread::spawn({
        let server = server.clone();
        // Rows change first: old rows with new definitions never were.
        move || drop(server.client(&format!("USE blog; UPDATE z_last SET v = CONCAT(v, '+'); {sql}")))
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while !change.is_finished() && Instant::now() < deadline {
        let waits = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root' AND state LIKE 'Waiting for % lock'";
        if server.client(waits).trim() != "0" {
            return Some(change);
        }
    }
    change.join().unwrap();
    None
}

fn differences(states: &[String], restored: &str) -> String {
    let mut text = String::new();
    for (n, state) in states.iter().enumerate() {
        text += &format!("--- against state {n}\n");
        let only = |a: &str, b: &str, mark: &str| {
            let lines: std::collections::BTreeSet<_> = b.lines().collect();
            a.lines().filter(|line| !lines.contains(line)).take(5).map(|line| format!("{mark} {line}\n")).collect::<String>()
        };
        text += &(only(state, restored, "-") + &only(restored, state, "+"));
    }
    text
}

const SWAP: &str = "RENAME TABLE m_a TO m_t, m_b TO m_a, m_t TO m_b";

#[test]
fn a_rename_swap() {
    let site = site();
    at_each_moment(&site, "", SWAP);
}

#[test]
fn a_swap_and_a_swap_back() {
    let site = site();
    for (account, connections) in WAYS {
        for moments in [
            [before_the_snapshot, before_its_rows],
            [before_the_snapshot, after_its_rows],
            [before_its_rows, after_its_rows],
            [before_its_rows, before_its_rows],
        ] {
            commits_a_state(&site, account, connections, "", &[(moments[0], SWAP), (moments[1], SWAP)]);
        }
    }
}

#[test]
fn a_ghost_style_cut_over() {
    let site = site();
    at_each_moment(
        &site,
        "",
        "CREATE TABLE m_new LIKE m_a; INSERT INTO m_new SELECT id, CONCAT('new ', v), n FROM m_a; RENAME TABLE m_a TO m_old, m_new TO m_a",
    );
    also(&site, "CREATE TABLE m_new LIKE m_a; INSERT INTO m_new SELECT * FROM m_a", "RENAME TABLE m_a TO m_old, m_new TO m_a");
}

/// Both tables are as old as each other, to the second, and alike: without PROCESS nothing else tells them apart.
#[test]
fn a_cut_over_to_a_table_of_the_same_second() {
    for flavour in Flavour::ALL {
        let site = BareSite::of(flavour, &["--log-bin=binlog"]);
        site.account("reader", "");
        site.account("watcher", "PROCESS, RELOAD");
        for (account, connections) in WAYS {
            site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
            site.server.client(
                "DROP DATABASE blog; CREATE DATABASE blog; USE blog; DO SLEEP(1.05 - MICROSECOND(SYSDATE(6)) / 1000000);
                 CREATE TABLE m_a (id INT PRIMARY KEY, v VARCHAR(20)); CREATE TABLE m_b LIKE m_a; INSERT INTO m_a VALUES (1, 'old')",
            );
            let made = AtomicBool::new(false);
            let server = site.server.clone();
            site.link.on_statement(move |statement| {
                if before_its_rows(statement) && !made.swap(true, Ordering::SeqCst) {
                    server.client(&format!("USE blog; INSERT INTO m_b VALUES (1, 'new'); {SWAP}"));
                }
            });
            site.commits();
            site.link.no_hook();
            // At no moment was the table empty.
            let sql = site.sql();
            let whole = ["old", "new"].map(|v| format!("INSERT INTO `m_a` (`id`,`v`) VALUES\n(1,'{v}');"));
            assert!(whole.iter().any(|rows| sql.contains(rows)), "{flavour:?}, {account}:\n{sql}");
        }
    }
}

#[test]
fn truncate_table() {
    let site = site();
    at_each_moment(&site, "", "TRUNCATE TABLE m_a");
    also(&site, "", "TRUNCATE TABLE m_a; INSERT INTO m_a (v) SELECT CONCAT('again ', seq) FROM seq_1_to_100");
}

#[test]
fn alter_that_copies() {
    let site = site();
    at_each_moment(&site, "", "ALTER TABLE m_a MODIFY v VARCHAR(120) NOT NULL, ALGORITHM=COPY");
    also(&site, "", "ALTER TABLE m_a CONVERT TO CHARACTER SET latin1");
    also(&site, "", "ALTER TABLE m_a DROP PRIMARY KEY, MODIFY id INT NOT NULL, ADD PRIMARY KEY (v)");
}

#[test]
fn alter_that_adds_a_column_at_once() {
    let site = site();
    at_each_moment(&site, "", "ALTER TABLE m_a ADD COLUMN w INT NOT NULL DEFAULT 5, ALGORITHM=INSTANT");
    also(&site, "", "ALTER TABLE m_a ADD COLUMN w VARCHAR(20) DEFAULT 'x' FIRST, ALGORITHM=INSTANT; UPDATE m_a SET w = v");
}

#[test]
fn alter_that_drops_a_column_at_once() {
    let site = site();
    at_each_moment(&site, "", "ALTER TABLE m_a DROP COLUMN n, ALGORITHM=INSTANT");
    // In one statement: between two, the table would be in a state that may be committed, too.
    also(&site, "", "ALTER TABLE m_a DROP COLUMN n, ADD COLUMN n INT NOT NULL DEFAULT 7, ALGORITHM=INSTANT");
}

#[test]
fn alter_that_modifies() {
    let site = site();
    at_each_moment(&site, "", "ALTER TABLE m_a MODIFY v VARCHAR(200) NOT NULL");
    also(&site, "", "ALTER TABLE m_a RENAME COLUMN v TO value");
    also(&site, "", "ALTER TABLE m_a RENAME COLUMN v TO x, ADD KEY (n)");
    also(&site, "", "ALTER TABLE m_a COMMENT 'other'");
}

#[test]
fn drop_table() {
    let site = site();
    at_each_moment(&site, "", "DROP TABLE m_a");
    also(
        &site,
        "",
        "CREATE TABLE m_t LIKE m_a; DROP TABLE m_a; CREATE TABLE m_a LIKE m_t; DROP TABLE m_t; INSERT INTO m_a (v) VALUES ('other')",
    );
    also(&site, "", "CREATE TABLE m_c LIKE m_a; INSERT INTO m_c SELECT * FROM m_a");
}

#[test]
fn optimize_table() {
    let site = site();
    at_each_moment(&site, "", "OPTIMIZE TABLE m_a");
    also(&site, "", "ALTER TABLE m_a FORCE");
    also(&site, "", "ANALYZE TABLE m_a");
}

#[test]
fn triggers() {
    let site = site();
    at_each_moment(&site, "", "CREATE TRIGGER m_new BEFORE INSERT ON m_a FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!')");
    let old = "CREATE TRIGGER m_old BEFORE INSERT ON m_a FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '?')";
    also(&site, old, "DROP TRIGGER m_old");
    also(&site, old, "CREATE OR REPLACE TRIGGER m_old BEFORE INSERT ON m_a FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!')");
}

#[test]
fn views_routines_and_events() {
    let site = site();
    let view = "CREATE VIEW m_view AS SELECT id FROM m_a";
    at_each_moment(&site, view, "CREATE OR REPLACE VIEW m_view AS SELECT n FROM m_a");
    also(&site, view, "DROP VIEW m_view; CREATE TABLE m_view (id INT PRIMARY KEY); INSERT INTO m_view VALUES (1)");
    let routine = "CREATE PROCEDURE m_routine() SELECT 1";
    also(&site, routine, "CREATE OR REPLACE PROCEDURE m_routine() SELECT 2");
    also(&site, routine, "DROP PROCEDURE m_routine; CREATE FUNCTION m_routine() RETURNS INT DETERMINISTIC RETURN 2");
    let event = "CREATE EVENT m_event ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DO SELECT 1";
    also(&site, event, "CREATE OR REPLACE EVENT m_event ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DO SELECT 2");
}

#[test]
fn partitions() {
    let site = site();
    let parted = "CREATE TABLE m_part (id INT PRIMARY KEY, v VARCHAR(100) NOT NULL, n INT NOT NULL DEFAULT 7) ENGINE=InnoDB \
                  PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1000), PARTITION p1 VALUES LESS THAN MAXVALUE); \
                  INSERT INTO m_part (id, v) SELECT seq, CONCAT('part ', seq) FROM seq_1_to_50; \
                  CREATE TABLE m_ex (id INT PRIMARY KEY, v VARCHAR(100) NOT NULL, n INT NOT NULL DEFAULT 7) ENGINE=InnoDB; \
                  INSERT INTO m_ex (id, v) SELECT seq, CONCAT('ex ', seq) FROM seq_1_to_60";
    at_each_moment(&site, parted, "ALTER TABLE m_part EXCHANGE PARTITION p0 WITH TABLE m_ex");
    also(&site, parted, "ALTER TABLE m_part TRUNCATE PARTITION p0");
}

/// A schema that never holds still: the run fails, says which table it was, and commits nothing.
#[test]
fn changes_without_end() {
    let site = site();
    for (account, connections) in WAYS {
        site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
        for changes in [
            ["ALTER TABLE m_a COMMENT 'one'", "ALTER TABLE m_a COMMENT 'two'"],
            ["ALTER TABLE m_a ADD COLUMN w INT, ALGORITHM=INSTANT", "ALTER TABLE m_a DROP COLUMN w, ALGORITHM=INSTANT"],
            ["RENAME TABLE m_a TO m_c", "RENAME TABLE m_c TO m_a"],
            ["CREATE TRIGGER m_a BEFORE INSERT ON m_a FOR EACH ROW SET NEW.n = 1", "DROP TRIGGER m_a"],
        ] {
            make(&site, "");
            let before = site.manifests().len();
            let (made, fence) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
            site.link.on_statement({
                let (server, made) = (site.server.clone(), made.clone());
                move |statement| {
                    // Once in each attempt: what the tables are has been read, and the first connection opens its snapshot.
                    if statement.sql.starts_with("SHOW CREATE TABLE") {
                        fence.store(true, Ordering::SeqCst);
                    } else if statement.opens_snapshot() && fence.swap(false, Ordering::SeqCst) {
                        let turn = made.fetch_add(1, Ordering::SeqCst);
                        server.client(&format!("USE blog; {}", changes[turn % changes.len()]));
                    }
                }
            });
            let output = site.run();
            site.link.no_hook();
            let told = text(&output);
            assert_eq!(output.status.code(), Some(1), "{changes:?} by {account}:\n{told}");
            let named = told.contains("changed during the dump") || told.contains("the dump gave way to a statement");
            assert!(told.contains("m_a") && named, "{changes:?} by {account}:\n{told}");
            assert!(told.contains("what to do"), "{told}");
            assert_eq!(site.manifests().len(), before, "{changes:?} by {account}");
            assert_eq!(made.load(Ordering::SeqCst), 4, "{changes:?} by {account}: once, and three repeats");
        }
    }
}
