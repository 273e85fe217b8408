//! `restore --swap`: the live tables are what they were until one statement makes them what the snapshot holds, and no reader sees anything else.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use support::agent::{Agent, Store, signal, text};
use support::compare::same_database;
use support::mariadb::{MariaDb, Options};
use support::small_site;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::progress::{Event, Progress};
use wp_backup_agent::repository::layout::Layout;
use wp_backup_agent::restore::{DatabaseOptions, Restore};
use wp_backup_agent::storage;

const MORE: &str = "
CREATE TABLE wp_big (id INT PRIMARY KEY, t TEXT, n INT, KEY n (n)) ENGINE=InnoDB;
INSERT INTO wp_big SELECT seq, REPEAT(MD5(seq), 20), seq FROM seq_1_to_12000;
CREATE TABLE wp_child (id INT PRIMARY KEY, big INT, KEY big (big), CONSTRAINT c FOREIGN KEY (big) REFERENCES wp_big (id)) ENGINE=InnoDB;
INSERT INTO wp_child SELECT seq, seq FROM seq_1_to_50;
CREATE SEQUENCE wp_numbers START WITH 5;
CREATE TABLE wp_numbered (id BIGINT NOT NULL DEFAULT NEXTVAL(wp_numbers) PRIMARY KEY, v INT) ENGINE=InnoDB;
INSERT INTO wp_numbered (v) VALUES (1), (2);
CREATE FUNCTION wp_one() RETURNS INT DETERMINISTIC RETURN 1;
CREATE VIEW wp_ones AS SELECT wp_one() AS one, ID FROM wp_posts;
CREATE EVENT wp_nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM wp_links;
";

struct Site {
    server: MariaDb,
    agent: Agent,
    _dirs: [tempfile::TempDir; 2],
}

impl Site {
    /// A snapshot of `blog`, restored as `snapshot` to compare with; then the live schema lives on, and `before` is a copy of it.
    fn new() -> Self {
        let server = MariaDb::start_with(&Options { arguments: vec!["--event-scheduler=OFF".into()], ..Options::default() });
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        small_site::make(&server, "blog", dirs[0].path());
        server.client(&format!("USE blog;\n{MORE}"));
        let agent = Agent::new(&server, "blog", dirs[0].path(), &Store::Local(dirs[1].path()));
        agent.snapshot();
        agent.ok(&["restore", "1", "--database", "snapshot"]);
        server.client(
            "USE blog; UPDATE wp_posts SET post_title = 'live' WHERE ID < 200; INSERT INTO wp_options (option_name, option_value) VALUES ('extra', '');
             CREATE TABLE wp_newer (id INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO wp_newer VALUES (1);
             CREATE TRIGGER wp_live BEFORE UPDATE ON wp_links FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '?');
             CREATE VIEW wp_live_view AS SELECT id FROM wp_newer; DROP VIEW wp_titles; CREATE PROCEDURE wp_live_proc() SELECT 2;",
        );
        agent.snapshot();
        agent.ok(&["restore", "latest", "--database", "before"]);
        Self { server, agent, _dirs: dirs }
    }

    fn schemas(&self) -> Vec<String> {
        let sql = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'blog%' ORDER BY 1";
        self.server.client(sql).lines().map(str::to_owned).collect()
    }

    fn assert_live_is_as_before(&self, how: &str) {
        same_database(&self.server, "before", "blog").unwrap_or_else(|found| panic!("{how}: {found:?}"));
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn count(&self, sql: &str) -> u64 {
        self.server.client(sql).trim().parse().unwrap()
    }
}

const SWAP: [&str; 5] = ["restore", "1", "--database", "blog", "--swap"];

#[test]
fn a_reader_sees_the_old_tables_and_then_the_new_ones() {
    let site = Site::new();
    let (done, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (socket, done, begun) = (site.server.socket(), Arc::clone(&done), Arc::clone(&begun));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let options = mysql_async::OptsBuilder::default().socket(Some(socket.to_string_lossy())).user(Some("root")).db_name(Some("blog"));
                let mut conn = mysql_async::Conn::new(options).await.unwrap();
                let (mut seen, mut reads) = (Vec::new(), 0u64);
                loop {
                    // However slow it is, it reads once more after the switch.
                    let is_last = done.load(Ordering::SeqCst);
                    // Two tables in one statement: both old or both new.
                    let row: (u64, u64) = conn
                        .query_first("SELECT (SELECT COUNT(*) FROM wp_posts WHERE post_title = 'live'), (SELECT COUNT(*) FROM wp_options WHERE option_name = 'extra')")
                        .await
                        .expect("no reader sees an error")
                        .unwrap();
                    reads += 1;
                    if seen.last() != Some(&row) {
                        seen.push(row);
                    }
                    begun.store(true, Ordering::SeqCst);
                    if is_last {
                        return (seen, reads);
                    }
                }
            })
        })
    };
    site.until("the reader", || begun.load(Ordering::SeqCst));
    let output = site.agent.run(&SWAP);
    done.store(true, Ordering::SeqCst);
    let (seen, reads) = reader.join().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(seen, [(199, 1), (0, 0)], "{reads} reads");

    same_database(&site.server, "snapshot", "blog").unwrap();
    site.server.client("INSERT INTO blog.wp_numbered (v) VALUES (3)");
    assert_eq!(site.schemas(), ["blog", "blog_replaced"], "the shadow is gone");
    // What stood there is kept, the statements of what can't be moved as rows.
    assert_eq!(site.count("SELECT COUNT(*) FROM blog_replaced.wp_posts WHERE post_title = 'live'"), 199);
    assert_eq!(site.count("SELECT COUNT(*) FROM blog_replaced.wp_newer"), 1);
    let kept = site.server.client("SELECT kind, name FROM blog_replaced.wp_backup_agent_replaced ORDER BY 1, 2");
    let expected = "EVENT wp_nightly|ROUTINE wp_live_proc|ROUTINE wp_nothing|ROUTINE wp_one|TRIGGER wp_before|TRIGGER wp_live|VIEW wp_live_view|VIEW wp_ones";
    assert_eq!(kept.replace('\t', " ").trim().replace('\n', "|"), expected);
    assert!(text(&output).contains("kept in blog_replaced; to drop them: DROP DATABASE `blog_replaced`"), "{}", text(&output));

    // The next swap doesn't drop it by itself.
    let refused = site.agent.run(&SWAP);
    assert_eq!(refused.status.code(), Some(73), "{}", text(&refused));
    assert!(text(&refused).contains("DROP DATABASE `blog_replaced`"), "{}", text(&refused));
    site.server.client("DROP DATABASE blog_replaced");
    site.agent.ok(&["restore", "latest", "--database", "blog", "--swap"]);
    same_database(&site.server, "before", "blog").unwrap();
}

#[test]
fn killed_at_any_moment_it_leaves_the_live_tables_as_they_were() {
    let site = Site::new();
    let shadow_tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'blog_restoring'";
    for tables in [1, 3, 8, 16] {
        let mut child = site.agent.command(&SWAP).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        site.until("the shadow", || site.count(shadow_tables) >= tables || child_ended(&mut child));
        signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::KILL);
        child.wait().unwrap();
        if site.schemas().contains(&"blog_replaced".to_owned()) {
            // It was through already.
            same_database(&site.server, "snapshot", "blog").unwrap();
            return;
        }
        site.assert_live_is_as_before(&format!("killed at {tables} tables"));
        // The server may still be at work for the dead.
        site.until("its sessions", || {
            site.count("SELECT COUNT(*) FROM information_schema.processlist WHERE db LIKE 'blog_%'") == 0
        });
        assert_eq!(site.schemas(), ["blog", "blog_restoring"]);
    }
    site.agent.ok(&SWAP);
    same_database(&site.server, "snapshot", "blog").unwrap();
    assert_eq!(site.schemas(), ["blog", "blog_replaced"]);
}

fn child_ended(child: &mut std::process::Child) -> bool {
    child.try_wait().unwrap().is_some()
}

#[test]
fn a_connection_that_is_killed_fails_it_and_leaves_nothing() {
    let mut site = Site::new();
    for at in [2, 6, 12] {
        let mut tries = 0;
        while !is_broken_at(&site, at) {
            // It was faster than we are.
            tries += 1;
            assert!(tries < 10, "no kill at {at} tables fell into it");
            site = Site::new();
        }
        site.assert_live_is_as_before("a connection was killed");
        assert_eq!(site.schemas(), ["blog"]);
    }
}

/// Kills its connections once the shadow has so many tables; `false`: it was through first.
fn is_broken_at(site: &Site, at: u32) -> bool {
    let mut child = site.agent.command(&SWAP).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let tables =
        format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'blog_restoring' HAVING COUNT(*) >= {at}");
    site.until("the shadow", || !site.server.client(&tables).trim().is_empty() || child_ended(&mut child));
    let sessions = "SELECT id FROM information_schema.processlist WHERE db = 'blog_restoring'";
    let killed: Vec<bool> =
        site.server.client(sessions).lines().map(|id| site.server.try_client(&format!("KILL {id}")).is_ok()).collect();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.code(), Some(69), "{killed:?} {}", text(&output));
    assert!(text(&output).contains("broke"), "{}", text(&output));
    true
}

/// Cancels when so many bytes have been restored.
struct CancelAt {
    left: AtomicU64,
    cancel: CancellationToken,
}

impl Progress for CancelAt {
    fn event(&self, event: Event) {
        if let Event::Written { .. } = event
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.cancel.cancel();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_at_any_chunk_it_leaves_nothing() {
    let site = Site::new();
    let settings = wp_backup_agent::config::load(&site.agent.config()).unwrap();
    let mut outcomes = Vec::new();
    for at in (1..120).step_by(9) {
        let cancel = CancellationToken::new();
        let progress = Arc::new(CancelAt { left: AtomicU64::new(at), cancel: cancel.clone() });
        let store = storage::open(&settings.store).await.unwrap();
        let layout = Layout::new(settings.sites[0].name.clone());
        let mut restore = Restore::open(store, layout, "1", progress, cancel).await.unwrap();
        let done = restore.swap(&site.server.settings("blog"), "blog", &DatabaseOptions::default()).await;
        if site.schemas().contains(&"blog_replaced".to_owned()) {
            // Past the switch: then the tables are new, and a failure says so.
            if let Err(error) = &done {
                assert!(error.to_string().contains("the tables in blog are the snapshot's"), "{error}");
            }
            outcomes.push("switched");
            break;
        }
        assert!(done.is_err(), "cancelled at chunk {at}");
        site.assert_live_is_as_before(&format!("cancelled at chunk {at}"));
        assert_eq!(site.schemas(), ["blog"]);
        outcomes.push("cancelled");
    }
    assert!(outcomes.len() > 3 && outcomes.last() == Some(&"switched"), "{outcomes:?}");
}

#[test]
fn a_chunk_that_is_damaged_is_found_before_the_switch() {
    let site = Site::new();
    let dir = site._dirs[1].path().join("blog/packs");
    for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        let at = bytes.len() * 2 / 3;
        bytes[at] ^= 1;
        support::agent::set_mode(entry.path(), 0o644);
        std::fs::write(entry.path(), bytes).unwrap();
    }
    let output = site.agent.run(&SWAP);
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    site.assert_live_is_as_before("damaged");
    assert_eq!(site.schemas(), ["blog"]);
}

#[test]
fn schemas_that_are_not_ours_are_let_be() {
    let site = Site::new();
    for schema in ["blog_restoring", "blog_replaced"] {
        site.server.client(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.precious (id INT PRIMARY KEY)"));
        let output = site.agent.run(&SWAP);
        assert_eq!(output.status.code(), Some(73), "{}", text(&output));
        assert!(text(&output).contains(schema), "{}", text(&output));
        assert_eq!(site.count(&format!("SELECT COUNT(*) FROM {schema}.precious")), 0, "it is still there");
        site.assert_live_is_as_before(schema);
        site.server.client(&format!("DROP DATABASE {schema}"));
        assert_eq!(site.schemas(), ["blog"]);
    }
}

/// The state that a kill between the triggers' going and the RENAME leaves.
#[test]
fn what_was_away_comes_back() {
    let site = Site::new();
    let statement = site.server.client("SELECT HEX('DELIMITER ;;\\nCREATE TRIGGER wp_live BEFORE UPDATE ON wp_links FOR EACH ROW SET NEW.v = CONCAT(NEW.v, ''?'')\\n;;\\nDELIMITER ;\\n')");
    let statement = statement.trim();
    let view = site.server.client("SELECT HEX('DELIMITER ;;\\nCREATE VIEW wp_away AS SELECT 1 AS one\\n;;\\nDELIMITER ;\\n')");
    let view = view.trim();
    site.server.client(&format!(
        "DROP TRIGGER blog.wp_live; CREATE DATABASE blog_replaced; USE blog_replaced;
         CREATE TABLE wp_backup_agent_replaced (place INT NOT NULL AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(20) NOT NULL, name VARBINARY(256) NOT NULL, statements LONGBLOB NOT NULL, without_definer LONGBLOB NOT NULL, put_back BOOLEAN NOT NULL) COMMENT='wp-backup-agent: what a restore replaced in blog';
         INSERT INTO wp_backup_agent_replaced (kind, name, statements, without_definer, put_back)
         VALUES ('TRIGGER', 'wp_live', 0x{statement}, 0x{statement}, 1), ('VIEW', 'wp_gone', 0x{view}, 0x{view}, 0), ('VIEW', 'wp_away', 0x{view}, 0x{view}, 1);"
    ));
    // A swap that is about something else.
    site.agent.ok(&["restore", "1", "--database", "blog", "--swap", "--tables", "wp_users"]);
    let definition = |schema: &str| {
        site.server.client(&format!("SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = '{schema}' AND trigger_name = 'wp_live'"))
    };
    assert_eq!(definition("blog"), definition("before"));
    // What was kept only to be kept stays away.
    let views =
        "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = 'blog' AND table_name IN ('wp_away', 'wp_gone')";
    assert_eq!(site.count(views), 1);
}

/// A statement of the site holds a table while the switch is due: it waits its turn, in short waits, and the triggers are there in between.
#[test]
fn the_switch_waits_for_the_site() {
    let site = Site::new();
    let mut holder = site.server.client_command();
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"START TRANSACTION; SELECT COUNT(*) FROM blog.wp_terms;\n").unwrap();
    let mut child = site.agent.command(&SWAP).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'RENAME TABLE%' AND state LIKE 'Waiting for%'";
    for round in 0..2 {
        site.until("the RENAME", || site.count(waiting) == 1);
        site.until("the RENAME's end", || site.count(waiting) == 0);
        site.until("the triggers", || {
            site.count("SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'blog'") == 2
        });
        assert!(!child_ended(&mut child), "round {round}");
    }
    drop(input);
    holder.wait().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    same_database(&site.server, "snapshot", "blog").unwrap();
}

#[test]
fn a_swap_of_some_tables() {
    let site = Site::new();
    // One that a table which stays refers to can't go.
    let refused = site.agent.run(&["restore", "1", "--database", "blog", "--swap", "--tables", "wp_big"]);
    assert_eq!(refused.status.code(), Some(73), "{}", text(&refused));
    assert!(text(&refused).contains("wp_big: can't be swapped: a foreign key of blog.wp_child"), "{}", text(&refused));
    site.assert_live_is_as_before("refused");

    let output = site.agent.run(&[
        "restore",
        "1",
        "--database",
        "blog",
        "--swap",
        "--tables",
        "wp_child",
        "--tables",
        "wp_{options,titles,links}",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let all = same_database(&site.server, "before", "blog").unwrap_err();
    let differing: Vec<&str> = all.iter().map(|difference| difference.subject.as_str()).collect();
    assert_eq!(differing, ["table wp_options", "trigger wp_live", "view wp_titles"], "{all:?}");
    let wrong: Vec<_> = same_database(&site.server, "snapshot", "blog").unwrap_err();
    assert!(
        wrong.iter().all(|d| !["wp_options", "wp_titles", "wp_child", "wp_before"].iter().any(|name| d.subject.ends_with(name))),
        "{wrong:?}"
    );
    // Its foreign key refers to the table that stayed.
    assert!(site.server.try_client("DELETE FROM blog.wp_big WHERE id = 7").is_err());
    assert_eq!(site.count("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'blog_replaced'"), 4);
}

#[test]
fn into_a_database_that_is_not_there() {
    let site = Site::new();
    site.agent.ok(&["restore", "1", "--database", "fresh", "--swap"]);
    same_database(&site.server, "snapshot", "fresh").unwrap();
    assert_eq!(
        site.server.client("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'fresh_%'").trim(),
        "0"
    );
}
