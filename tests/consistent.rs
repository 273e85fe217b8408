//! One point in time: whatever writers do during the dump, what they keep constant is constant in the snapshot, with one connection and with
//! several, with and without a binlog, with few rights and with many.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use support::bare_site::BareSite;
use support::dump::Collect;
use support::flavour::Flavour;
use support::mariadb::{MariaDb, Options};
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::DatabaseSettings;
use wp_backup_agent::database::Dump;
use wp_backup_agent::progress::Silent;

/// Tables `account_0` …: money moves from each to the one that is as far from the end.
const ACCOUNTS: usize = 8;
const ROWS: usize = 400;
const SLOTS: i64 = 500;
/// Each way.
const DUMPS: usize = 50;
/// What the writers must commit while a dump makes its point in time, and while it reads, or it doesn't count.
const MOVING: [u64; 2] = [1, 10];

/// A site on a server that never has to wait for the disk, or its writers would stand still for as long.
fn site(arguments: &[&str]) -> BareSite {
    let arguments = [&["--innodb-log-file-size=256M"], arguments].concat().into_iter().map(str::to_owned).collect();
    BareSite::with(&Options { arguments, in_memory: true, ..Options::default() })
}

#[test]
fn with_a_binlog() {
    let site = site(&["--log-bin=binlog", "--sync-binlog=0"]);
    // No right beyond reading is needed.
    holds(&site, &[("reader", 1, "single-connection"), ("reader", 4, "binlog-positions")]);
}

#[test]
fn without_a_binlog() {
    let site = site(&[]);
    site.account("locker", "RELOAD");
    holds(&site, &[("locker", 1, "single-connection"), ("locker", 4, "backup-stage"), ("reader", 4, "single-connection")]);
}

/// What an administrator may set for all sessions, so that nobody's SELECT becomes too much, must not make a dump smaller.
#[test]
fn limits_of_the_server() {
    for flavour in [Flavour::MariaDb1011, Flavour::MySql97] {
        let site = BareSite::of(flavour, &[]);
        site.account("reader", "");
        site.configure("user = \"reader\"");
        for n in 0..8 {
            site.server.client(&format!(
                "USE blog; CREATE TABLE t_{n} (id INT PRIMARY KEY); INSERT INTO t_{n} VALUES (1),(2),(3),(4),(5),(6)"
            ));
        }
        site.server.client("SET GLOBAL sql_select_limit=4, sql_big_selects=0, max_join_size=3");
        let manifest = site.commits();
        assert_eq!((&manifest["counts"]["tables"], &manifest["counts"]["rows"]), (&8.into(), &48.into()), "{flavour:?}");
    }
}

/// Dumps by each account over so many connections, which must be consistent in that way.
fn holds(site: &BareSite, ways: &[(&str, usize, &str)]) {
    site.account("reader", "");
    make(&site.server);
    let mut writers = Writers::start(&site.server);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for way @ (account, connections, consistency) in ways {
        let mut settings = site.server.settings("blog");
        settings.user = (*account).to_owned();
        settings.dump.connections = *connections;
        let begun = Instant::now();
        let (taken, least) = runtime.block_on(async {
            let mut counter = counter(&site.server).await;
            let under_way = commits(&mut counter).await + 1000;
            while commits(&mut counter).await < under_way {
                assert!(begun.elapsed() < Duration::from_secs(60), "the writers don't begin");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (mut counted, mut taken, mut least) = (0, 0, [u64::MAX; 2]);
            while counted < DUMPS {
                let (sql, moved) = dump(&settings, consistency, &mut counter).await;
                taken += 1;
                if let Err(wrong) = invariants(&sql) {
                    panic!("dump {taken}, {way:?}: {wrong}");
                }
                // The writers may have got no turn for once: such a dump says nothing, and another is taken in its place.
                if moved.iter().zip(MOVING).all(|(moved, least)| *moved >= least) {
                    counted += 1;
                    least = [least[0].min(moved[0]), least[1].min(moved[1])];
                }
                assert!(taken - counted < 10, "{way:?}: the writers stand still: {moved:?}");
            }
            (taken, least)
        });
        println!(
            "{way:?}: {taken} dumps hold in {:.1} s, {DUMPS} of them with at least {least:?} commits meanwhile",
            begun.elapsed().as_secs_f64()
        );
        // And once as the program does it.
        site.configure(&format!("user = \"{account}\"\nconnections = {connections}"));
        assert_eq!(site.commits()["server"]["consistency"], *consistency, "{way:?}");
        invariants(&site.sql()).unwrap_or_else(|wrong| panic!("the program's dump, {way:?}: {wrong}"));
        writers.assert_all_write();
    }
}

/// A session that asks how much is committed, at once.
async fn counter(server: &MariaDb) -> Conn {
    let options = OptsBuilder::default().socket(Some(server.socket().to_string_lossy())).user(Some("root"));
    Conn::new(options).await.unwrap()
}

async fn commits(counter: &mut Conn) -> u64 {
    let row: Option<(String, u64)> = counter.query_first("SHOW GLOBAL STATUS LIKE 'Com_commit'").await.unwrap();
    row.unwrap().1
}

/// One dump, and what was committed until it had its point in time, and from then until it had read everything.
async fn dump(settings: &DatabaseSettings, consistency: &str, counter: &mut Conn) -> (String, [u64; 2]) {
    let mut sink = Collect::default();
    let before = commits(counter).await;
    let mut dump = Dump::open(settings, CancellationToken::new()).await.unwrap();
    let opened = commits(counter).await;
    assert_eq!(dump.server().consistency, consistency);
    dump.run(&mut sink, &Silent).await.unwrap();
    let read = commits(counter).await;
    dump.close().await.unwrap();
    assert_eq!(sink.findings, []);
    (String::from_utf8(sink.script()).unwrap(), [opened - before, read - opened])
}

fn make(server: &MariaDb) {
    let mut sql = "USE blog;\n".to_owned();
    for n in 0..ACCOUNTS {
        sql += &format!(
            "CREATE TABLE account_{n} (id INT PRIMARY KEY, balance BIGINT NOT NULL, filler CHAR(250) NOT NULL) ENGINE=InnoDB;\n\
             INSERT INTO account_{n} SELECT seq, 1000, REPEAT('x', 250) FROM seq_1_to_{ROWS};\n"
        );
    }
    for name in ["row_first", "row_last"] {
        sql += &format!(
            "CREATE TABLE {name} (id INT PRIMARY KEY, worth BIGINT NOT NULL, filler CHAR(250) NOT NULL) ENGINE=InnoDB;\n"
        );
    }
    sql += &format!("INSERT INTO row_first SELECT seq, seq, REPEAT('y', 250) FROM seq_1_to_{ROWS};\n");
    // A row's primary key moves while its secondary key stays; and a table whose only key is one whose rows move through it.
    sql += &format!(
        "CREATE TABLE slot (id BIGINT AUTO_INCREMENT PRIMARY KEY, slot INT NOT NULL, filler CHAR(250) NOT NULL, UNIQUE KEY (slot)) ENGINE=InnoDB;
INSERT INTO slot (slot, filler) SELECT seq, REPEAT('z', 250) FROM seq_1_to_{SLOTS};
CREATE TABLE ring (place BIGINT NOT NULL, worth BIGINT NOT NULL, filler CHAR(250) NOT NULL, UNIQUE KEY (place)) ENGINE=InnoDB;
INSERT INTO ring SELECT seq * 1000, seq, REPEAT('r', 250) FROM seq_1_to_{SLOTS};\n"
    );
    server.client(&sql);
}

/// Sessions that write thousands of times a second, and leave the processor to others in between. Each has tables of its own, so that none waits for another.
struct Writers(Vec<Child>);

impl Writers {
    fn start(server: &MariaDb) -> Self {
        let mut sql = "CREATE DATABASE writers; USE writers;\nDELIMITER //\n".to_owned();
        let mut names = Vec::new();
        let mut procedure = |name: String, body: String| {
            sql += &format!(
                "CREATE PROCEDURE {name}() BEGIN DECLARE a, b, m BIGINT; LOOP {body} DO SLEEP(0.001); END LOOP; END //\n"
            );
            names.push(name);
        };
        for n in 0..ACCOUNTS / 2 {
            let to = ACCOUNTS - 1 - n;
            procedure(
                format!("money_{n}"),
                format!(
                    "SET a = 1 + FLOOR(RAND() * {ROWS}), b = 1 + FLOOR(RAND() * {ROWS}), m = FLOOR(RAND() * 200) - 100; START TRANSACTION; \
                     UPDATE blog.account_{n} SET balance = balance - m WHERE id = a; \
                     UPDATE blog.account_{to} SET balance = balance + m WHERE id = b; COMMIT;"
                ),
            );
        }
        let moved = |from: &str, to: &str| {
            format!("INSERT INTO blog.{to} SELECT * FROM blog.{from} WHERE id = a; DELETE FROM blog.{from} WHERE id = a;")
        };
        procedure(
            "moves".into(),
            format!(
                "SET a = 1 + FLOOR(RAND() * {ROWS}); START TRANSACTION; IF EXISTS (SELECT 1 FROM blog.row_first WHERE id = a FOR UPDATE) \
                 THEN {} ELSE {} END IF; COMMIT;",
                moved("row_first", "row_last"),
                moved("row_last", "row_first")
            ),
        );
        procedure(
            "slots".into(),
            format!(
                "SET a = 1 + FLOOR(RAND() * {SLOTS}); START TRANSACTION; DELETE FROM blog.slot WHERE slot = a; \
                 INSERT INTO blog.slot (slot, filler) VALUES (a, REPEAT('z', 250)); COMMIT;"
            ),
        );
        procedure(
            "ring".into(),
            "START TRANSACTION; SELECT MIN(place), MAX(place) INTO a, b FROM blog.ring; \
             IF RAND() < 0.5 THEN UPDATE blog.ring SET place = b + 1 WHERE place = a; \
             ELSE UPDATE blog.ring SET place = a - 1 WHERE place = b; END IF; COMMIT;"
                .into(),
        );
        // What a monitor does, too: it shares the server's variables for these figures with everybody.
        procedure(
            "monitor".into(),
            "SELECT COUNT(*) INTO a FROM information_schema.global_status WHERE variable_name LIKE 'binlog_snapshot%';".into(),
        );
        server.client(&sql);
        let call = |name: &String| {
            let mut client = server.client_command();
            client.arg("--execute").arg(format!("CALL writers.{name}()")).stdin(Stdio::null()).stderr(Stdio::null());
            client.spawn().unwrap()
        };
        Self(names.iter().map(call).collect())
    }
}

impl Writers {
    fn assert_all_write(&mut self) {
        for client in &mut self.0 {
            assert_eq!(client.try_wait().unwrap(), None, "a writer has ended");
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for client in &mut self.0 {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// What every committed transaction leaves as it is.
fn invariants(sql: &str) -> Result<(), String> {
    let tables = numbers(sql);
    let rows = |name: &str| tables.get(name).map(Vec::as_slice).unwrap_or_default();
    let (mut total, mut count) = (0, 0);
    for n in 0..ACCOUNTS {
        let rows = rows(&format!("account_{n}"));
        total += rows.iter().map(|row| row[1]).sum::<i64>();
        count += rows.len();
    }
    if (total, count) != ((ACCOUNTS * ROWS * 1000) as i64, ACCOUNTS * ROWS) {
        return Err(format!("{total} in {count} accounts"));
    }
    let ids: Vec<i64> = [rows("row_first"), rows("row_last")].concat().iter().map(|row| row[0]).collect();
    if ids.len() != ROWS || ids.iter().collect::<BTreeSet<_>>().len() != ROWS {
        return Err(format!("{} rows of {ROWS}, {} different", ids.len(), ids.iter().collect::<BTreeSet<_>>().len()));
    }
    for (table, column) in [("slot", 1), ("ring", 1)] {
        let mut values: Vec<i64> = rows(table).iter().map(|row| row[column]).collect();
        values.sort_unstable();
        if !values.iter().copied().eq(1..=SLOTS) {
            return Err(format!("{table}: {} values, not each of 1 to {SLOTS} once", values.len()));
        }
    }
    Ok(())
}

/// The numbers that each row begins with, read from the INSERT statements: one row is one line.
fn numbers(sql: &str) -> BTreeMap<String, Vec<Vec<i64>>> {
    let mut tables: BTreeMap<String, Vec<Vec<i64>>> = BTreeMap::new();
    let mut table = None;
    for line in sql.lines() {
        if let Some(rest) = line.strip_prefix("INSERT INTO `") {
            table = rest.split_once('`').map(|(name, _)| name.to_owned());
        } else if let (Some(table), Some(values)) = (&table, line.strip_prefix('(')) {
            let row = values.split(',').map_while(|value| value.parse().ok()).collect();
            tables.entry(table.clone()).or_default().push(row);
        }
    }
    tables
}
