//! The restore on MySQL: parallel, late keys, the swap, and an account with the documented rights only.

#![allow(clippy::unwrap_used)]

mod support;

use support::agent::{Agent, Store, text};
use support::compare::same_database;
use support::flavour::Flavour;
use support::mariadb::{MariaDb, Options};

const SCHEMA: &str = "
SET foreign_key_checks=0, cte_max_recursion_depth=100000;
CREATE TABLE a_child (id INT PRIMARY KEY, parent VARCHAR(40) NOT NULL, other INT, pad TEXT, KEY other (other), KEY parent (parent),
  CONSTRAINT `of;parent` FOREIGN KEY (parent) REFERENCES z_parent (code) ON DELETE CASCADE,
  CONSTRAINT itself FOREIGN KEY (other) REFERENCES a_child (id));
CREATE TABLE z_parent (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(40) NOT NULL, child INT, pad TEXT, UNIQUE KEY code (code), KEY child (child DESC), KEY half ((child DIV 2)),
  CONSTRAINT back FOREIGN KEY (child) REFERENCES a_child (id));
INSERT INTO z_parent (code, child, pad) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 4000) SELECT LEFT(SHA2(n, 256), 32), n, REPEAT(LEFT(SHA2(n, 256), 32), 20) FROM s;
INSERT INTO a_child SELECT id, code, id, pad FROM z_parent;
CREATE TABLE words (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, title TEXT, body LONGTEXT, pad TEXT, n INT NOT NULL, v INT AS (n * 2) VIRTUAL, g POINT NOT NULL SRID 4326,
  PRIMARY KEY (id), UNIQUE KEY n (n), KEY hidden (n, id) INVISIBLE, KEY v (v), KEY `ti``tle` (title(20), n) COMMENT 'one, (two', SPATIAL KEY g (g),
  FULLTEXT KEY f (title), FULLTEXT KEY h (title, body) WITH PARSER ngram) AUTO_INCREMENT=90000;
INSERT INTO words (title, body, pad, n, g) SELECT CONCAT('Été ', LEFT(code, 4)), code, pad, id, ST_PointFromText(CONCAT('POINT(', id % 80, ' ', id % 170, ')'), 4326) FROM z_parent;
CREATE TABLE parted (id INT, y INT, pad TEXT, PRIMARY KEY (id, y), KEY y (y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (50), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parted SELECT id, id % 100, pad FROM z_parent;
CREATE TABLE myisam (id INT PRIMARY KEY, t TEXT, KEY t (t(10))) ENGINE=MyISAM;
INSERT INTO myisam SELECT id, pad FROM z_parent;
SET foreign_key_checks=1;
CREATE VIEW titles AS SELECT id, title FROM words;
CREATE TRIGGER live BEFORE INSERT ON myisam FOR EACH ROW SET NEW.t = 'x';
CREATE FUNCTION one() RETURNS INT DETERMINISTIC RETURN 1;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM myisam;
";

struct Site {
    server: MariaDb,
    agent: Agent,
    _dirs: [tempfile::TempDir; 2],
}

fn site() -> Site {
    let arguments = vec!["--event-scheduler=OFF".into(), "--mysqlx=OFF".into(), "--innodb-redo-log-capacity=256M".into()];
    let server = MariaDb::start_with(&Options { flavour: Flavour::MySql97, arguments, in_memory: true, ..Options::default() });
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    server.client(&format!("CREATE DATABASE blog; USE blog;\n{SCHEMA}"));
    let agent = Agent::new(&server, "blog", dirs[0].path(), &Store::Local(dirs[1].path()));
    let output = agent.run(&["run-now", "--foreground"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    Site { server, agent, _dirs: dirs }
}

#[test]
fn over_several_connections() {
    let site = site();
    for connections in ["1", "4"] {
        let target = format!("copy_{connections}");
        site.agent.ok(&["restore", "latest", "--database", &target, "--connections", connections]);
        same_database(&site.server, "blog", &target).unwrap_or_else(|found| panic!("{connections} connections: {found:?}"));
    }
    assert!(site.server.try_client("DELETE FROM copy_4.a_child WHERE id = 5").is_err(), "a foreign key must hold");
}

#[test]
fn a_swap_by_an_account_with_the_documented_rights() {
    let site = site();
    site.agent.ok(&["restore", "latest", "--database", "snapshot"]);
    site.server.client(
        "CREATE USER restorer@localhost IDENTIFIED BY 'secret'; GRANT ALL ON `blog`.* TO restorer@localhost;
         GRANT ALL ON `blog\\_restoring`.* TO restorer@localhost; GRANT ALL ON `blog\\_replaced`.* TO restorer@localhost;
         CREATE USER author@localhost; GRANT ALL ON blog.* TO author@localhost;
         USE blog; UPDATE words SET title = 'live' WHERE n < 100; CREATE TABLE newer (id INT PRIMARY KEY); DROP VIEW titles;
         CREATE DEFINER=author@localhost EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM myisam;",
    );
    std::fs::write(site.agent.path("password"), "secret\n").unwrap();
    let password = site.agent.path("password");
    let swap = [
        "restore",
        "latest",
        "--database",
        "blog",
        "--swap",
        "--user",
        "restorer",
        "--password-file",
        password.to_str().unwrap(),
    ];

    // The binlog is on, and creators of functions aren't trusted.
    let refused = site.agent.run(&swap);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("log_bin_trust_function_creators"), "{}", text(&refused));
    assert_eq!(site.server.client("SELECT COUNT(*) FROM blog.words WHERE title = 'live'").trim(), "99");
    assert_eq!(site.server.client("SHOW DATABASES LIKE 'blog_%'"), "");

    // What root defined in the live schema only accounts like root may drop: that is found out before the tables are swapped, and what was
    // dropped by then (the author's event) is there again.
    site.server.client("SET GLOBAL log_bin_trust_function_creators = 1");
    let refused = site.agent.run(&swap);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("GRANT SYSTEM_USER ON *.* TO 'restorer'@'localhost'"), "{}", text(&refused));
    assert_eq!(site.server.client("SELECT COUNT(*) FROM blog.words WHERE title = 'live'").trim(), "99");
    assert_eq!(site.server.client("SHOW DATABASES LIKE 'blog_%'"), "");
    let objects = site.server.client(
        "SELECT event_name FROM information_schema.events WHERE event_schema = 'blog' UNION
         SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = 'blog' UNION
         SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'blog' ORDER BY 1",
    );
    assert_eq!(objects.split_whitespace().collect::<Vec<_>>(), ["daily", "live", "nightly", "one"]);
    // Nor is a table dropped before that is found out.
    let overwrite = site.agent.run(&[&swap[..4], &["--overwrite"], &swap[5..]].concat());
    assert_eq!(overwrite.status.code(), Some(77), "{}", text(&overwrite));
    assert!(text(&overwrite).contains("GRANT SYSTEM_USER ON *.*"), "{}", text(&overwrite));
    assert_eq!(site.server.client("SELECT COUNT(*) FROM blog.words WHERE title = 'live'").trim(), "99");

    site.server.client("GRANT SYSTEM_USER ON *.* TO restorer@localhost");
    site.agent.ok(&swap);
    same_database(&site.server, "snapshot", "blog").unwrap();
    assert_eq!(site.server.client("SELECT COUNT(*) FROM blog_replaced.words WHERE title = 'live'").trim(), "99");
    assert_eq!(site.server.client("SHOW DATABASES LIKE 'blog_%'").trim(), "blog_replaced");
}

#[test]
fn keeping_a_definer_needs_a_right() {
    let site = site();
    site.server.client("CREATE USER restorer@localhost IDENTIFIED BY 'secret'; GRANT ALL ON `copy`.* TO restorer@localhost; SET GLOBAL log_bin_trust_function_creators = 1");
    std::fs::write(site.agent.path("password"), "secret\n").unwrap();
    let password = site.agent.path("password");
    let keep = [
        "restore",
        "latest",
        "--database",
        "copy",
        "--overwrite",
        "--definer",
        "keep",
        "--user",
        "restorer",
        "--password-file",
        password.to_str().unwrap(),
    ];
    let refused = site.agent.run(&keep);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("SET_ANY_DEFINER"), "{}", text(&refused));
    site.server.client("GRANT SET_ANY_DEFINER ON *.* TO restorer@localhost");
    // The definer of these, root, may do everything: only who may, too, makes something in its name.
    let refused = site.agent.run(&keep);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("SYSTEM_USER ON *.*"), "{}", text(&refused));
    site.server.client("GRANT SYSTEM_USER ON *.* TO restorer@localhost");
    site.agent.ok(&keep);
    same_database(&site.server, "blog", "copy").unwrap();
}
