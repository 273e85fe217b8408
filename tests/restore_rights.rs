//! A restore by an account with the documented rights only, on a server that refuses SUPER; and who is the definer afterwards.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Output;

use support::agent::{Agent, Store, text};
use support::compare::same_database;
use support::mariadb::{MariaDb, Options};
use support::small_site;

struct Site {
    server: MariaDb,
    agent: Agent,
    _dirs: [tempfile::TempDir; 2],
}

impl Site {
    /// A site with objects of two definers, on a server with a binlog, and an account that has all rights on what a restore needs, and none beyond.
    fn new() -> Self {
        let options = Options { arguments: vec!["--log-bin".into(), "--event-scheduler=OFF".into()], ..Options::default() };
        let server = MariaDb::start_with(&options);
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        small_site::make(&server, "blog", dirs[0].path());
        server.client(
            "CREATE USER author@localhost; GRANT SELECT ON blog.* TO author@localhost; USE blog;
             CREATE DEFINER=author@localhost FUNCTION wp_f() RETURNS INT DETERMINISTIC READS SQL DATA RETURN 1;
             CREATE DEFINER=author@localhost SQL SECURITY DEFINER VIEW wp_authored AS SELECT id FROM wp_users;
             CREATE DEFINER=author@localhost EVENT wp_e ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM wp_links;
             CREATE USER restorer@localhost IDENTIFIED BY 'secret';
             GRANT ALL ON `blog`.* TO restorer@localhost; GRANT ALL ON `blog\\_restoring`.* TO restorer@localhost;
             GRANT ALL ON `blog\\_replaced`.* TO restorer@localhost; GRANT ALL ON `copy`.* TO restorer@localhost;",
        );
        let agent = Agent::new(&server, "blog", dirs[0].path(), &Store::Local(dirs[1].path()));
        agent.snapshot();
        std::fs::write(agent.path("password"), "secret\n").unwrap();
        Self { server, agent, _dirs: dirs }
    }

    fn restore(&self, args: &[&str]) -> Output {
        let password = self.agent.path("password");
        let mut all = vec!["restore", "latest", "--user", "restorer", "--password-file", password.to_str().unwrap()];
        all.extend_from_slice(args);
        self.agent.run(&all)
    }

    fn trust(&self, trust: bool) {
        self.server.client(&format!("SET GLOBAL log_bin_trust_function_creators = {}", u8::from(trust)));
    }

    fn definers(&self, schema: &str) -> Vec<String> {
        let sql = format!(
            "SELECT definer FROM information_schema.views WHERE table_schema = '{schema}' UNION
             SELECT definer FROM information_schema.triggers WHERE trigger_schema = '{schema}' UNION
             SELECT definer FROM information_schema.events WHERE event_schema = '{schema}' UNION
             SELECT definer FROM information_schema.routines WHERE routine_schema = '{schema}' ORDER BY 1"
        );
        self.server.client(&sql).lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_documented_rights_are_enough() {
    let site = Site::new();
    site.trust(true);
    let output = site.restore(&["--database", "copy"]);
    assert!(output.status.success(), "{}", text(&output));
    same_database(&site.server, "blog", "copy").unwrap();
    assert_eq!(site.definers("copy"), ["restorer@localhost"]);
    assert!(
        text(&output).contains("6 views, functions, procedures, triggers or events that had a definer run as \"restorer\" now"),
        "{}",
        text(&output)
    );

    let output = site.restore(&["--database", "copy", "--overwrite"]);
    assert!(output.status.success(), "{}", text(&output));
    site.server.client("DELETE FROM blog.wp_posts");
    let output = site.restore(&["--database", "blog", "--swap"]);
    assert!(output.status.success(), "{}", text(&output));
    same_database(&site.server, "copy", "blog").unwrap();
}

#[test]
fn a_server_that_trusts_no_creators_says_what_to_do_and_live_stays() {
    let site = Site::new();
    site.server.client("CREATE DATABASE before_it");
    site.agent.ok(&["restore", "latest", "--database", "before_it", "--overwrite", "--definer", "keep"]);
    let definers = site.definers("blog");
    site.trust(false);
    for how in [["--database", "copy", "--overwrite"].as_slice(), &["--database", "blog", "--swap"]] {
        let output = site.restore(how);
        assert_eq!(output.status.code(), Some(77), "{how:?} {}", text(&output));
        assert!(text(&output).contains("SET GLOBAL log_bin_trust_function_creators = 1"), "{}", text(&output));
        // The swap finds out in the shadow.
        same_database(&site.server, "before_it", "blog").unwrap();
        assert_eq!(site.definers("blog"), definers);
    }
    let left = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'blog\\\\_%'";
    assert_eq!(site.server.client(left).trim(), "0");
    // Tables without what is refused come back.
    let output = site.restore(&["--database", "copy", "--overwrite", "--tables", "wp_posts"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn another_definer_needs_a_right() {
    let site = Site::new();
    site.trust(true);
    let output = site.restore(&["--database", "copy", "--definer", "keep"]);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    assert!(text(&output).contains("grant SET USER (MariaDB)"), "{}", text(&output));

    site.server.client("GRANT SET USER ON *.* TO restorer@localhost");
    let output = site.restore(&["--database", "copy", "--overwrite", "--definer", "keep"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.definers("copy"), ["author@localhost", "root@localhost"]);
    same_database(&site.server, "blog", "copy").unwrap();

    let output = site.restore(&["--database", "copy", "--overwrite", "--definer", "author@localhost"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.definers("copy"), ["author@localhost"]);
    assert!(text(&output).contains("6 views, functions, procedures, triggers or events got the definer"), "{}", text(&output));
    assert_eq!(site.restore(&["--database", "copy", "--definer", "nobody"]).status.code(), Some(64));
}

#[test]
fn a_right_that_lacks_is_named_with_its_grant() {
    let site = Site::new();
    site.server.client("REVOKE ALL ON `blog\\_restoring`.* FROM restorer@localhost");
    let output = site.restore(&["--database", "blog", "--swap"]);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    assert!(
        text(&output).contains("GRANT ALL PRIVILEGES ON `blog\\_restoring`.* TO 'restorer'@'localhost'"),
        "{}",
        text(&output)
    );
}
