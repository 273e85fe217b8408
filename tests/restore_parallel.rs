//! A restore over several connections, its keys built late, gives the database that was captured: every row, every definition, whatever the
//! number of connections.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::agent::{Agent, Store, text};
use support::compare::same_database;
use support::mariadb::{MariaDb, Options};
use support::small_site;

/// Tables whose keys and foreign keys can't be made in just any order, some large enough for their keys to come late.
const KEYED: &str = "
SET foreign_key_checks=0;
CREATE TABLE a_child (id INT PRIMARY KEY, parent VARCHAR(40) NOT NULL, other INT, pad TEXT, KEY other (other), KEY parent (parent),
  CONSTRAINT `of;parent` FOREIGN KEY (parent) REFERENCES z_parent (code) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT itself FOREIGN KEY (other) REFERENCES a_child (id)) ENGINE=InnoDB;
CREATE TABLE z_parent (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(40) NOT NULL, child INT, pad TEXT, UNIQUE KEY code (code), KEY child (child),
  CONSTRAINT back FOREIGN KEY (child) REFERENCES a_child (id)) ENGINE=InnoDB;
INSERT INTO z_parent (code, child, pad) SELECT MD5(seq), seq, REPEAT(MD5(seq), 20) FROM seq_1_to_6000;
INSERT INTO a_child SELECT seq, MD5(seq), seq, REPEAT(MD5(seq + 1), 20) FROM seq_1_to_6000;
SET foreign_key_checks=1;
CREATE TABLE words (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, title TEXT, body LONGTEXT, slug VARCHAR(200) NOT NULL DEFAULT '', n INT NOT NULL, v INT AS (n * 2) VIRTUAL,
  PRIMARY KEY (id), UNIQUE KEY n (n), UNIQUE KEY slug_n (slug, n), KEY slug (slug(50)), KEY v (v), KEY `ti``tle` (title(20), n) COMMENT 'one, (two',
  FULLTEXT KEY f (title), FULLTEXT KEY g (title, body)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 AUTO_INCREMENT=90000;
INSERT INTO words (title, body, slug, n) SELECT CONCAT('Été ', MD5(seq)), REPEAT(CONCAT('word', seq, ' '), 80), CONCAT('s', seq % 100), seq FROM seq_1_to_8000;
CREATE TABLE counted (a INT NOT NULL, n INT NOT NULL AUTO_INCREMENT, pad TEXT, PRIMARY KEY (a, n), KEY j (a), KEY n (n), KEY k (a, n)) ENGINE=InnoDB;
INSERT INTO counted (a, pad) SELECT seq % 7, REPEAT('p', 600) FROM seq_1_to_6000;
CREATE TABLE no_primary (a INT NOT NULL, b INT, pad TEXT, UNIQUE KEY b (b), UNIQUE KEY a (a), KEY k (b)) ENGINE=InnoDB;
INSERT INTO no_primary SELECT seq, NULL, REPEAT('q', 600) FROM seq_1_to_6000;
CREATE TABLE no_key (a INT, pad TEXT, KEY k (a)) ENGINE=InnoDB;
INSERT INTO no_key SELECT seq % 10, REPEAT('r', 600) FROM seq_1_to_6000;
CREATE TABLE parted (id INT, y INT, pad TEXT, PRIMARY KEY (id, y), KEY y (y)) ENGINE=InnoDB PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (50), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parted SELECT seq, seq % 100, REPEAT('s', 600) FROM seq_1_to_6000;
CREATE TABLE long_unique (id INT PRIMARY KEY, t TEXT, UNIQUE KEY t (t), KEY k (id)) ENGINE=InnoDB;
INSERT INTO long_unique SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_6000;
CREATE TABLE versioned (id INT PRIMARY KEY, t TEXT, n INT, KEY n (n)) ENGINE=InnoDB WITH SYSTEM VERSIONING;
INSERT INTO versioned SELECT seq, REPEAT(MD5(seq), 20), seq FROM seq_1_to_6000;
CREATE TABLE myisam (id INT PRIMARY KEY, t TEXT, n INT, KEY n (n), FULLTEXT KEY t (t)) ENGINE=MyISAM;
INSERT INTO myisam SELECT seq, REPEAT(MD5(seq), 20), seq FROM seq_1_to_6000;
CREATE TABLE empty_keys (id INT AUTO_INCREMENT PRIMARY KEY, n INT, KEY n (n)) ENGINE=InnoDB AUTO_INCREMENT=77;
";

struct Site {
    server: MariaDb,
    agent: Agent,
    _dirs: [tempfile::TempDir; 2],
}

/// A small site with more tables, and a snapshot of it.
fn site(more: &str, options: &Options, database: &str) -> Site {
    let server = MariaDb::start_with(options);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    small_site::make(&server, "blog", dirs[0].path());
    server.client(&format!("USE blog;\n{more}"));
    let store = Store::Local(dirs[1].path());
    let agent = Agent::new(&server, "blog", dirs[0].path(), &store);
    agent.configure(&server.socket(), &store, "", database);
    // Tables without transactions and past versions of rows are findings.
    let code = agent.run(&["run-now", "--foreground"]).status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    Site { server, agent, _dirs: dirs }
}

#[test]
fn any_number_of_connections_gives_the_database_back() {
    let site = site(KEYED, &Options::default(), "");
    for connections in ["1", "4", "16"] {
        let target = format!("copy_{connections}");
        site.agent.ok(&["restore", "latest", "--database", &target, "--connections", connections]);
        same_database(&site.server, "blog", &target).unwrap_or_else(|found| panic!("{connections} connections: {found:?}"));
        // What the fingerprint of rows can't see: each key finds them.
        let checked = site
            .server
            .client(&format!("USE {target}; CHECK TABLE a_child, z_parent, words, counted, no_primary, no_key, parted"));
        assert!(checked.lines().all(|line| line.ends_with("\tOK")), "{checked}");
        let found =
            site.server.client(&format!("SELECT COUNT(*) FROM {target}.words WHERE MATCH (title, body) AGAINST ('word4711')"));
        assert_eq!(found.trim(), "1");
        let refused = site.server.try_client(&format!("DELETE FROM {target}.a_child WHERE id = 5"));
        assert!(refused.is_err(), "a foreign key must hold");
    }
    // Over what is there.
    site.agent.ok(&["restore", "latest", "--database", "copy_4", "--overwrite"]);
    same_database(&site.server, "blog", "copy_4").unwrap();
}

#[test]
fn ten_thousand_rows_apart_in_a_hundred_tables() {
    let many: String = (0..150).map(|n| format!("CREATE TABLE many_{n} (id INT PRIMARY KEY, v INT, KEY v (v)) ENGINE=InnoDB; INSERT INTO many_{n} SELECT seq, seq FROM seq_1_to_70;\n")).collect();
    let site = site(&many, &Options::default(), "");
    site.agent.ok(&["restore", "latest", "--database", "copy"]);
    same_database(&site.server, "blog", "copy").unwrap();
}

#[test]
fn fewer_connections_will_do() {
    let options = Options::default();
    let site = site(KEYED, &options, "");
    // The account has two: one for what isn't a table, one that loads.
    site.server.client(
        "CREATE USER few@localhost IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 2; GRANT ALL ON `copy%`.* TO few@localhost;",
    );
    let file = site.agent.path("few");
    std::fs::write(&file, "secret\n").unwrap();
    site.agent.ok(&["restore", "latest", "--database", "copy", "--user", "few", "--password-file", file.to_str().unwrap()]);
    same_database(&site.server, "blog", "copy").unwrap();
}

#[test]
fn the_table_that_fails_is_named_and_everything_stops() {
    let site = site(KEYED, &Options::default(), "");
    // A row of `words` is longer than what the server takes now.
    site.server.client(
        "USE blog; UPDATE words SET body = REPEAT('x', 3000000) WHERE n = 4000; SET GLOBAL max_allowed_packet=1073741824;",
    );
    site.agent.run(&["run-now", "--foreground"]);
    site.server.client("SET GLOBAL max_allowed_packet = 2097152");
    let output = site.agent.run(&["restore", "latest", "--database", "copy"]);
    assert_eq!(output.status.code(), Some(73), "{}", text(&output));
    assert!(text(&output).contains("words: a statement of"), "{}", text(&output));
    // What was open is rolled back, and no session stays.
    let begun = Instant::now();
    while site.server.client("SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'copy'").trim() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "a failed restore leaves no session behind");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Another session's locks on rows that are to come: a wait for it that ends in an error is no failure.
#[test]
fn a_lock_that_was_waited_for_in_vain_is_waited_for_again() {
    let server_options = Options { arguments: vec!["--innodb-lock-wait-timeout=1".into()], ..Options::default() };
    let site = site(
        "CREATE TABLE contended (id INT PRIMARY KEY, t TEXT) ENGINE=InnoDB; INSERT INTO contended SELECT seq, REPEAT('t', 200) FROM seq_1_to_2000;",
        &server_options,
        "",
    );
    let copy = "copy";
    // Nothing is in the target yet: the locker waits for the table to be there, locks the gap, and lets go when it has seen two waits end.
    let locker = std::thread::scope(|scope| {
        let server = &site.server;
        let locker = scope.spawn(move || {
            let until = |what: &str, sql: &str, done: &dyn Fn(&str) -> bool| {
                let begun = Instant::now();
                while !done(server.client(sql).trim()) {
                    assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
                    std::thread::sleep(Duration::from_millis(5));
                }
            };
            until(
                "the table",
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='copy' AND table_name='contended'",
                &|n| n == "1",
            );
            server.try_client(
                "USE copy; START TRANSACTION; SELECT * FROM contended WHERE id > 0 FOR UPDATE; SELECT SLEEP(2.5); ROLLBACK",
            )
        });
        site.agent.ok(&["restore", "latest", "--database", copy]);
        locker.join().unwrap()
    });
    locker.unwrap();
    same_database(&site.server, "blog", copy).unwrap();
}

/// A row far larger than what may be under way is loaded alone.
#[test]
fn a_row_larger_than_all_the_room() {
    let site = site(
        "CREATE TABLE large (id INT PRIMARY KEY, b LONGTEXT, n INT, KEY n (n)) ENGINE=InnoDB;
         INSERT INTO large SELECT seq, REPEAT('s', 900000), seq FROM seq_1_to_8;
         INSERT INTO large VALUES (100, REPEAT('0123456789abcdef', 2500000), 100);
         INSERT INTO large SELECT 200 + seq, REPEAT('t', 900000), seq FROM seq_1_to_8;",
        &Options { arguments: vec!["--innodb-log-file-size=512M".into()], ..Options::default() },
        "",
    );
    site.agent.ok(&["restore", "latest", "--database", "copy"]);
    let sums = |schema: &str| site.server.client(&format!("SELECT id, n, MD5(b) FROM {schema}.large"));
    assert_eq!(sums("blog"), sums("copy"));
    assert!(Path::new(&site.agent.config()).exists());
}
