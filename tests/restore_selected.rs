//! `restore --tables`: what is named comes back, and nothing else is touched; what was left out is told.

#![allow(clippy::unwrap_used)]

mod support;

use support::agent::{Agent, Store, text};
use support::compare::same_database;
use support::mariadb::MariaDb;
use support::small_site;

struct Site {
    server: MariaDb,
    agent: Agent,
    _dirs: [tempfile::TempDir; 2],
}

fn site() -> Site {
    let server = MariaDb::start();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    small_site::make(&server, "blog", dirs[0].path());
    server.client(
        "USE blog; CREATE TABLE shop_orders (id INT PRIMARY KEY, v INT) ENGINE=InnoDB; INSERT INTO shop_orders VALUES (1, 1);
        CREATE TRIGGER shop_trigger BEFORE INSERT ON shop_orders FOR EACH ROW SET NEW.v = 2;
        CREATE EVENT wp_event ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DISABLE DO DO 1;",
    );
    let agent = Agent::new(&server, "blog", dirs[0].path(), &Store::Local(dirs[1].path()));
    agent.snapshot();
    Site { server, agent, _dirs: dirs }
}

fn objects(site: &Site, schema: &str) -> Vec<String> {
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' UNION ALL
         SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '{schema}' UNION ALL
         SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{schema}' UNION ALL
         SELECT event_name FROM information_schema.events WHERE event_schema = '{schema}' ORDER BY CAST(table_name AS BINARY)"
    );
    site.server.client(&sql).lines().map(str::to_owned).collect()
}

#[test]
fn tables_come_with_their_triggers_and_the_rest_is_told() {
    let site = site();
    let output =
        site.agent.run(&["restore", "latest", "--database", "part", "--tables", "wp_links", "--tables", "{wp_term*,shop_*}"]);
    assert!(output.status.success(), "{}", text(&output));
    let expected = [
        "shop_orders",
        "shop_trigger",
        "wp_before",
        "wp_links",
        "wp_term_relationships",
        "wp_term_taxonomy",
        "wp_termmeta",
        "wp_terms",
    ];
    assert_eq!(objects(&site, "part"), expected);
    let said = text(&output);
    assert!(said.contains("database: 6 tables, 16 rows loaded into part"), "{said}");
    assert!(
        said.contains("left out: 7 tables with 421 rows; 3 views, sequences, triggers, functions, procedures or events"),
        "{said}"
    );
    let all = same_database(&site.server, "blog", "part").unwrap_err();
    assert!(all.iter().all(|difference| difference.what == "is missing"), "{all:?}");

    // More into the same database: what isn't in the way may be there.
    site.agent.ok(&["restore", "latest", "--database", "part", "--tables", "wp_posts", "--tables", "wp_titles"]);
    assert!(objects(&site, "part").contains(&"wp_titles".to_owned()));
    let refused = site.agent.run(&["restore", "latest", "--database", "part", "--tables", "wp_*"]);
    assert_eq!(refused.status.code(), Some(73), "{}", text(&refused));
}

#[test]
fn to_overwrite_replaces_what_is_named_only() {
    let site = site();
    site.server.client("USE blog; UPDATE wp_options SET option_value = 'live'; UPDATE wp_users SET v = 'live'; CREATE TABLE newer (i INT PRIMARY KEY);
        ALTER DATABASE CHARACTER SET latin1");
    let charset = "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'blog'";
    site.agent.ok(&["restore", "latest", "--database", "blog", "--overwrite", "--tables", "wp_options"]);
    let count = |sql: &str| site.server.client(sql).trim().to_owned();
    assert_eq!(count("SELECT COUNT(*) FROM blog.wp_options WHERE option_value = 'live'"), "0");
    assert_eq!(count("SELECT COUNT(*) FROM blog.wp_users WHERE v = 'live'"), "3");
    assert_eq!(count("SELECT COUNT(*) FROM blog.newer"), "0");
    assert!(objects(&site, "blog").contains(&"wp_nothing".to_owned()), "routines stay");
    assert_eq!(count(charset), "latin1", "the schema's own settings stay");
}

#[test]
fn a_name_that_nothing_has_is_refused_before_anything_is_touched() {
    let site = site();
    let output = site.agent.run(&["restore", "latest", "--database", "part", "--tables", "wp_posts", "--tables", "wp_nothing"]);
    assert_eq!(output.status.code(), Some(66), "{}", text(&output));
    assert!(text(&output).contains("\"wp_nothing\""), "{}", text(&output));
    assert_eq!(site.server.client("SHOW DATABASES LIKE 'part'"), "");
    assert_eq!(site.agent.run(&["restore", "latest", "--sql", "--tables", "[x"]).status.code(), Some(64));
}

#[test]
fn a_stream_of_some_tables() {
    let site = site();
    let sql = site.agent.ok(&["restore", "latest", "--sql", "--tables", "wp_links", "--definer", "keep"]);
    site.server.client(&format!("CREATE DATABASE streamed; USE streamed;\n{sql}"));
    assert_eq!(objects(&site, "streamed"), ["wp_before", "wp_links"]);
    assert!(sql.contains("DEFINER=`root`@`localhost`"));
    let whole = site.agent.ok(&["restore", "latest", "--sql"]);
    assert!(!whole.contains("DEFINER="), "the plain stream is what the store holds");
}
