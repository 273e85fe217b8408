//! The accounts of docs/CONFIGURATION.md, exactly as they stand there, on each server: the one sees everything, the other may load it.

use wp_backup_agent::config::{DatabaseSettings, Secret};
use wp_backup_agent::database::DatabaseError;
use wp_backup_agent::error::{Exit, Explain as _};
use wp_backup_agent::progress::Silent;
use wp_backup_agent::repository::entry::TableItem;

use super::support::dump::{Collect, dump, dump_into, load_as};
use super::support::fingerprint::{assert_same, fingerprint};
use super::support::flavour::Flavour;
use super::support::server::{Options, Server};

const PASSWORD: &str = "p4ss';word";

/// A server of its own: accounts and global settings are the whole server's.
fn server(flavour: Flavour) -> Server {
    let arguments = ["--log-bin=binlog", "--event-scheduler=OFF"].map(str::to_owned).into();
    Server::start_with(&Options { flavour, arguments, in_memory: true, ..Options::default() })
}

/// The SQL under this line of the documentation, for an account with a password: tests don't run as the service's user.
fn documented(line: &str, schema: &str) -> String {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md")).unwrap();
    let (_, after) = docs.split_once(line).unwrap_or_else(|| panic!("{line}"));
    let (_, block) = after.split_once("```sql\n").unwrap();
    let (sql, _) = block.split_once("```").unwrap();
    let by = format!("IDENTIFIED BY '{}'", PASSWORD.replace('\'', "''"));
    let sql = sql
        .replace("IDENTIFIED VIA unix_socket", &by)
        .replace("IDENTIFIED WITH auth_socket", &by)
        .replace("IDENTIFIED BY '…'", &by);
    assert_eq!(sql.matches("IDENTIFIED").count(), sql.matches(&by).count());
    sql.replace("ON wordpress.*", &format!("ON `{schema}`.*")).replace("ON wordpress_restored.*", &format!("ON `{schema}`.*"))
}

fn reader(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MariaDb1011 => "\nMariaDB before 11.3:",
        Flavour::MariaDb118 => "\nMariaDB 11.3 and later:",
        Flavour::MySql97 => "\nMySQL 8.0.20 and later",
    }
}

fn settings(server: &Server, schema: &str, user: &str) -> DatabaseSettings {
    DatabaseSettings { user: user.into(), password: Secret::new(PASSWORD.into()), ..server.settings(schema) }
}

/// One of each kind of object.
fn make(server: &Server) {
    server.create("every_kind");
    server.in_schema(
        "every_kind",
        "CREATE TABLE t (i INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'x'); CREATE VIEW v AS SELECT * FROM t;
        CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.i = NEW.i + 0; CREATE PROCEDURE p() SELECT 1;
        CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1; CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO SELECT 1",
    );
    if server.flavour().is_mariadb() {
        server.in_schema(
            "every_kind",
            "CREATE SEQUENCE s; CREATE TABLE h (i INT PRIMARY KEY) WITH SYSTEM VERSIONING; INSERT INTO h VALUES (1); UPDATE h SET i = 2",
        );
    }
}

async fn dump_as(settings: &DatabaseSettings) -> Result<Collect, DatabaseError> {
    let mut sink = Collect::default();
    dump_into(settings, &mut sink, &Silent).await.map(|_| sink)
}

async fn the_reader_sees_everything_and_each_right_counts(flavour: Flavour) {
    let server = server(flavour);
    make(&server);
    let all = dump(&server, "every_kind").await;
    assert_eq!(all.findings, []);
    server.client(&documented(reader(flavour), "every\\_kind"));
    let account = settings(&server, "every_kind", "wp-backup-agent");
    let seen = dump_as(&account).await.unwrap();
    assert_eq!(seen.findings, []);
    assert_eq!(seen.entries, all.entries, "nothing is lost");
    for refused in ["FLUSH TABLES WITH READ LOCK", "INSERT INTO every_kind.t VALUES (2, '')"] {
        assert!(as_account(&server, refused).is_err(), "{refused}: the account has rights beyond the documented ones");
    }

    let routines = match flavour {
        Flavour::MariaDb1011 => "SELECT ON mysql.proc",
        Flavour::MariaDb118 => "SHOW CREATE ROUTINE ON `every\\_kind`.*",
        Flavour::MySql97 => "SHOW_ROUTINE ON *.*",
    };
    for (revoked, named, objects) in [
        ("SHOW VIEW ON `every\\_kind`.*", "SELECT, SHOW VIEW ON `every\\_kind`.*", TableItem::View),
        ("TRIGGER ON `every\\_kind`.*", "TRIGGER ON `every\\_kind`.*", TableItem::Trigger),
        ("EVENT ON `every\\_kind`.*", "EVENT ON `every\\_kind`.*", TableItem::Event),
        (routines, routines, TableItem::Routine),
    ] {
        server.client(&format!("REVOKE {revoked} FROM 'wp-backup-agent'@'localhost'"));
        let less = dump_as(&account).await.unwrap();
        assert_eq!(less.of(objects).count(), 0, "{revoked}");
        let grant = format!("GRANT {named} TO 'wp-backup-agent'@'localhost'");
        assert_eq!(less.findings.len(), 1, "{revoked}: {:?}", less.findings);
        assert!(less.findings[0].detail.ends_with(&grant), "{revoked}: {:?}", less.findings);
        // It can be run as it is printed.
        server.client(&grant);
        let again = dump_as(&account).await.unwrap();
        assert_eq!((again.findings, again.entries == all.entries), (vec![], true), "{grant}");
    }
    server.client("REVOKE SELECT ON `every\\_kind`.* FROM 'wp-backup-agent'@'localhost'");
    let error = dump_as(&account).await.map(drop).unwrap_err();
    assert_eq!(error.exit(), Exit::Denied, "{error}");
    assert!(error.advice().unwrap().contains("GRANT SELECT"), "{:?}", error.advice());
}

fn as_account(server: &Server, sql: &str) -> Result<String, String> {
    let output = server
        .client_command()
        .args(["--user=wp-backup-agent", &format!("--password={PASSWORD}"), "--execute", sql])
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[tokio::test]
async fn the_reader_on_mariadb_10_11() {
    the_reader_sees_everything_and_each_right_counts(Flavour::MariaDb1011).await;
}

#[tokio::test]
async fn the_reader_on_mariadb_11_8() {
    the_reader_sees_everything_and_each_right_counts(Flavour::MariaDb118).await;
}

#[tokio::test]
async fn the_reader_on_mysql_9_7() {
    the_reader_sees_everything_and_each_right_counts(Flavour::MySql97).await;
}

/// SUPER is refused to it, as on a managed server.
#[tokio::test]
async fn the_restorer_may_load_everything_and_nothing_else() {
    for flavour in Flavour::ALL {
        let server = server(flavour);
        make(&server);
        let all = dump(&server, "every_kind").await;
        server.client(&documented("\n### An account that restores", "restored"));
        let account = settings(&server, "-", "wp-restore");
        // A binlog, and an account without SUPER: the server wants to be told that it may trust.
        let error = load_as(&account, &all, "restored", false).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Server { code: 1418 | 1419, .. }), "{error}");
        assert!(error.advice().unwrap().contains("log_bin_trust_function_creators = 1"), "{:?}", error.advice());
        server.client("SET GLOBAL log_bin_trust_function_creators = 1");
        load_as(&account, &all, "restored", true).await.unwrap_or_else(|error| panic!("{flavour:?}: {error}"));
        assert_same(&fingerprint(&server, "every_kind"), &fingerprint(&server, "restored"), "by the restoring account");
        let elsewhere = load_as(&account, &all, "elsewhere", false).await.unwrap_err();
        assert_eq!(elsewhere.exit(), Exit::Denied, "{elsewhere}");
        assert!(elsewhere.advice().unwrap().contains("GRANT ALL PRIVILEGES ON `elsewhere`.*"), "{:?}", elsewhere.advice());
    }
}
