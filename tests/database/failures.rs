//! What goes wrong between the dump and its server is said so.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::{Address, DatabaseSettings, Secret};
use wp_backup_agent::database::{DatabaseError, Dump, Existing, LoadOptions, Loader, SinkStopped};
use wp_backup_agent::error::{Exit, Explain as _};
use wp_backup_agent::progress::Silent;
use wp_backup_agent::repository::entry::{FindingCode, TableEntry, TableItem};

use super::support::dump::{Collect, dump_into};
use super::support::flavour::Flavour;
use super::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn changes_under_the_dump_are_found() {
    let server = Server::shared(Flavour::MariaDb1011);
    let changes: [(&str, &str); 7] = [
        ("rename swap", "RENAME TABLE z TO tmp, y TO z, tmp TO y"),
        ("alter", "ALTER TABLE z ADD COLUMN c INT DEFAULT 3"),
        ("truncate", "TRUNCATE TABLE z"),
        ("drop", "DROP TABLE z"),
        ("create", "CREATE TABLE `new` (i INT)"),
        ("trigger", "CREATE TRIGGER tr BEFORE INSERT ON z FOR EACH ROW SET NEW.i = 1"),
        ("routine", "CREATE PROCEDURE p() SELECT 1"),
    ];
    for (what, sql) in changes {
        server.create("changes");
        server.in_schema(
            "changes",
            "CREATE TABLE a (i INT PRIMARY KEY); CREATE TABLE y (i INT PRIMARY KEY); CREATE TABLE z (i INT PRIMARY KEY);
            INSERT INTO a VALUES (1); INSERT INTO y VALUES (1); INSERT INTO z VALUES (2)",
        );
        let mut done = false;
        let hook = move |entry: &TableEntry<Bytes>| {
            if entry.item == TableItem::Table && !std::mem::replace(&mut done, true) {
                // y and z have been read or haven't: then the change waits until the dump gives way.
                server.in_schema("changes", sql);
            }
            Ok(())
        };
        let mut sink = Collect { hook: Some(Box::new(hook)), ..Collect::default() };
        match dump_into(&server.settings("changes"), &mut sink, &Silent).await {
            Err(error @ (DatabaseError::Changed { .. } | DatabaseError::GaveWay { .. })) => assert!(error.advice().is_some()),
            other => panic!("{what}: {other:?}"),
        }
    }
    // A row that is added meanwhile isn't in the snapshot, and is no change of it.
    server.create("changes");
    server.in_schema("changes", "CREATE TABLE a (i INT AUTO_INCREMENT PRIMARY KEY); CREATE TABLE z (i INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO z VALUES (1)");
    let hook = |entry: &TableEntry<Bytes>| {
        if entry.item == TableItem::Session {
            server.in_schema("changes", "INSERT INTO z VALUES (77)");
        }
        Ok(())
    };
    let mut sink = Collect { hook: Some(Box::new(hook)), ..Collect::default() };
    assert_eq!(dump_into(&server.settings("changes"), &mut sink, &Silent).await.unwrap().rows, 1);
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_so() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("reach");
    server.in_schema(
        "mysql",
        "CREATE OR REPLACE USER reach@localhost IDENTIFIED BY 'right'; GRANT SELECT ON reach.* TO reach@localhost",
    );
    let settings = server.settings("reach");
    let open = |settings: DatabaseSettings| async move {
        match Dump::open(&settings, CancellationToken::new()).await {
            Ok(_) => panic!("it opened"),
            Err(error) => error,
        }
    };
    let wrong = DatabaseSettings { user: "reach".into(), password: Secret::new("wr0ng".into()), ..settings.clone() };
    let error = open(wrong).await;
    assert!(matches!(error, DatabaseError::Denied { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Denied);
    assert!(error.advice().unwrap().contains("password"));
    assert!(!wp_backup_agent::error::render(&error).contains("wr0ng"));

    let error = open(DatabaseSettings { address: Address::Socket("/nonexistent/socket".into()), ..settings.clone() }).await;
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Unavailable);

    let error = open(DatabaseSettings { name: "no_such_schema".into(), ..settings.clone() }).await;
    assert!(matches!(error, DatabaseError::UnknownDatabase { .. }), "{error}");

    let right = Secret::new("right".into());
    let error = open(DatabaseSettings { user: "reach".into(), password: right, name: "mysql".into(), ..settings }).await;
    assert!(matches!(error, DatabaseError::MissingRight { .. }), "{error}");
    assert!(error.advice().unwrap().contains("GRANT"));
}

#[tokio::test]
async fn what_the_account_may_not_see_is_named() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("few_rights");
    server.in_schema(
        "few_rights",
        "CREATE TABLE t (i INT PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t;
        CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.i = 1; CREATE PROCEDURE p() SELECT 1;
        CREATE OR REPLACE USER few@localhost; GRANT SELECT ON `few\\_rights`.* TO few@localhost",
    );
    let settings = DatabaseSettings { user: "few".into(), ..server.settings("few_rights") };
    let mut sink = Collect::default();
    dump_into(&settings, &mut sink, &Silent).await.unwrap();
    let on_schema = "ON `few\\_rights`.* TO 'few'@'localhost'";
    let on_proc = "GRANT SELECT ON mysql.proc TO 'few'@'localhost'";
    for (subject, grant) in [("triggers", on_schema), ("events", on_schema), ("functions and procedures", on_proc)] {
        let finding = sink.find(FindingCode::NotVisible, subject).unwrap();
        assert!(finding.detail.contains(grant), "{}", finding.detail);
    }
    assert!(sink.find(FindingCode::ObjectUnreadable, "v").is_some());
    // With the rights that the findings name, and those to see views and bodies, nothing is left to say.
    server.in_schema(
        "mysql",
        "GRANT TRIGGER, EVENT, SHOW VIEW ON `few\\_rights`.* TO few@localhost; GRANT SELECT ON mysql.proc TO few@localhost",
    );
    let mut sink = Collect::default();
    dump_into(&settings, &mut sink, &Silent).await.unwrap();
    assert_eq!(sink.findings, []);
    assert!(sink.entries.iter().any(|e| e.item == TableItem::Trigger));
    assert!(sink.entries.iter().any(|e| e.item == TableItem::Routine));
}

#[tokio::test]
async fn a_cancelled_or_stopped_dump_ends_at_once() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("cancel");
    server.in_schema(
        "cancel",
        "CREATE TABLE t (id INT PRIMARY KEY, b TEXT); INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_100000",
    );
    for stop in [false, true] {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let hook = move |entry: &TableEntry<Bytes>| match entry.item {
            TableItem::Rows if stop => Err(SinkStopped),
            TableItem::Rows => {
                token.cancel();
                Ok(())
            }
            _ => Ok(()),
        };
        let mut sink = Collect { hook: Some(Box::new(hook)), ..Collect::default() };
        let mut dump = Dump::open(&server.settings("cancel"), cancel).await.unwrap();
        let error = dump.run(&mut sink, &Silent).await.unwrap_err();
        match stop {
            true => assert!(matches!(error, DatabaseError::SinkStopped), "{error}"),
            false => assert!(matches!(error, DatabaseError::Cancelled), "{error}"),
        }
        assert!(dump.run(&mut Collect::default(), &Silent).await.is_err());
        let busy = server.client("SELECT info FROM information_schema.processlist WHERE db = 'cancel'");
        assert!(busy.is_empty(), "{busy:?}");
    }
}

#[tokio::test]
async fn queries_see_the_same_point_in_time() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("point");
    server.in_schema("point", "CREATE TABLE t (id INT PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, UNHEX('FF00')), (2, NULL)");
    let mut dump = Dump::open(&server.settings("point"), CancellationToken::new()).await.unwrap();
    server.in_schema("point", "INSERT INTO t VALUES (3, 'later')");
    let mut seen = Vec::new();
    dump.rows("SELECT id, b FROM t ORDER BY id", &mut |row| seen.push(row.to_vec())).await.unwrap();
    assert_eq!(seen, [[Some(b"1".to_vec()), Some(vec![0xff, 0])], [Some(b"2".to_vec()), None]]);
    let error = dump.rows("SELECT no_such_column FROM t", &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Server { code: 1054, .. }), "{error}");
    dump.rows("SELECT COUNT(*) FROM t", &mut |row| assert_eq!(row, [Some(b"2".to_vec())])).await.unwrap();
    assert_eq!(dump.server().flavour, "mariadb");
    assert!(dump.server().position.as_ref().unwrap().contains(':'));
    dump.close().await.unwrap();
}

#[tokio::test]
async fn chunks_that_are_no_chunks_are_refused() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("bad_chunks");
    let entry = |item, sql: &'static str| TableEntry {
        item,
        name: "t".into(),
        rows: Some(1),
        engine: Some("InnoDB".into()),
        consistent: true,
        definer: None,
        chunk: Bytes::from_static(sql.as_bytes()),
    };
    let table = entry(TableItem::Table, "CREATE TABLE `t` (`a` int) ENGINE=InnoDB;\n");
    let loaded = async |entries: &[TableEntry<Bytes>]| {
        let options = LoadOptions { existing: Existing::Replace, ..LoadOptions::default() };
        let mut loader = Loader::open(&server.settings("-"), "bad_chunks", options, CancellationToken::new()).await.unwrap();
        for entry in entries {
            loader.load(entry.clone()).await?;
        }
        loader.finish().await
    };
    let bad = |error: &DatabaseError| matches!(error, DatabaseError::BadChunk { .. });
    let error = loaded(&[table.clone(), entry(TableItem::Rows, "INSERT INTO t VALUES (1")]).await.unwrap_err();
    assert!(bad(&error), "{error}");
    let error = loaded(&[entry(TableItem::Rows, "INSERT INTO t VALUES (1);\n")]).await.unwrap_err();
    assert!(bad(&error), "rows without their table: {error}");
    let error = loaded(&[table.clone(), entry(TableItem::Rows, "INSERT INTO t (b) VALUES\n('secret');\n")]).await.unwrap_err();
    assert!(error.to_string().starts_with("t: error 1054"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let error = loaded(&[table, entry(TableItem::Rows, "INSERT INTO t VALUES (1),(2);\n")]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::RowsDiffer { expected: 1, found: 2, .. }), "{error}");
}
