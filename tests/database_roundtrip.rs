//! The database source and the loader against a real private MariaDB: every object and byte goes round.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::{Address, DatabaseSettings, Secret, Tls};
use wp_backup_agent::database::{DatabaseError, Dump, DumpSink, DumpStats, Loader, SinkStopped};
use wp_backup_agent::error::{Exit, Explain};
use wp_backup_agent::progress::{Progress, Silent, Tally};
use wp_backup_agent::repository::entry::{Finding, FindingCode, TableEntry, TableItem};

/// A private server, one for all tests of this file. It ends when this process does: then its standard input closes.
struct Server {
    socket: PathBuf,
    _keeper: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap().keep();
        let data = dir.join("data");
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let socket = dir.join("s");
        let script = format!(
            "mariadbd --no-defaults --user=root --datadir='{0}/data' --socket='{0}/s' --skip-networking --log-bin='{0}/binlog' \
             --innodb-flush-log-at-trx-commit=0 --event-scheduler=OFF >'{0}/log' 2>&1 & pid=$!; cat >/dev/null; kill $pid; wait $pid; rm -rf '{0}'",
            dir.display()
        );
        let keeper = Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).spawn().unwrap();
        let server = Server { socket, _keeper: keeper };
        let started = Instant::now();
        while !server.client("mysql").arg("-e").arg("SELECT 1").output().unwrap().status.success() {
            assert!(started.elapsed() < Duration::from_secs(60), "the server doesn't start: {}", dir.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    })
}

impl Server {
    fn client(&self, schema: &str) -> Command {
        let mut command = Command::new("mariadb");
        command
            .arg("--no-defaults")
            .arg("-uroot")
            .arg("--socket")
            .arg(&self.socket)
            .args(["--binary-mode", "--comments"])
            .arg(schema);
        command
    }

    /// Feeds SQL to the command line client.
    fn feed(&self, schema: &str, sql: &[u8]) {
        let mut child = self
            .client(schema)
            .arg("--default-character-set=utf8mb4")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(sql).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn sql(&self, schema: &str, sql: &str) {
        self.feed(schema, sql.as_bytes());
    }

    /// A query's rows as the client prints them, bytes as they are.
    fn query(&self, schema: &str, sql: &str) -> Vec<u8> {
        let done = self.client(schema).args(["--default-character-set=binary", "-N", "-B", "-e", sql]).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    fn lines(&self, schema: &str, sql: &str) -> Vec<String> {
        String::from_utf8_lossy(&self.query(schema, sql)).lines().map(str::to_owned).collect()
    }

    fn create(&self, schema: &str) {
        self.sql("mysql", &format!("DROP DATABASE IF EXISTS `{schema}`; CREATE DATABASE `{schema}` CHARACTER SET latin1"));
    }

    fn settings(&self, schema: &str) -> DatabaseSettings {
        DatabaseSettings {
            address: Address::Socket(self.socket.clone()),
            user: "root".into(),
            password: Secret::default(),
            name: schema.into(),
            tls: Tls::Off,
        }
    }
}

type Hook = dyn FnMut(&TableEntry<Bytes>) -> Result<(), SinkStopped> + Send;

#[derive(Default)]
struct Collect {
    entries: Vec<TableEntry<Bytes>>,
    findings: Vec<Finding>,
    /// Called before an entry is taken.
    hook: Option<Box<Hook>>,
}

#[async_trait]
impl DumpSink for Collect {
    async fn chunk(&mut self, entry: TableEntry<Bytes>) -> Result<(), SinkStopped> {
        if let Some(hook) = &mut self.hook {
            hook(&entry)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

impl Collect {
    fn script(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.chunk.to_vec()).collect()
    }

    fn find(&self, code: FindingCode, subject: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.code == code && f.subject.as_bytes() == subject.as_bytes())
    }
}

async fn dump_into(settings: &DatabaseSettings, sink: &mut Collect, progress: &dyn Progress) -> Result<DumpStats, DatabaseError> {
    let mut dump = Dump::open(settings, CancellationToken::new()).await?;
    let stats = dump.run(sink, progress).await?;
    dump.close().await?;
    Ok(stats)
}

async fn dump(schema: &str) -> Collect {
    let mut sink = Collect::default();
    dump_into(&server().settings(schema), &mut sink, &Silent).await.unwrap();
    sink
}

async fn load(collected: &Collect, target: &str, replace: bool) -> Result<(), DatabaseError> {
    let mut loader = Loader::open(&server().settings("-"), target, replace, CancellationToken::new()).await?;
    for entry in &collected.entries {
        loader.load(entry.item, &entry.name, &entry.chunk).await?;
    }
    loader.finish().await
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Every definition and every value of a schema, by name. Counters, definers and the schema's own name are no part of it.
fn fingerprint(schema: &str) -> BTreeMap<String, Vec<u8>> {
    let server = server();
    let mut all = BTreeMap::new();
    let show = |kind: &str, name: &str| {
        let sql = format!("SET sql_mode='', time_zone='+00:00'; SHOW CREATE {kind} {}", quoted(name));
        let done = server.client(schema).args(["--default-character-set=binary", "--vertical", "-e", &sql]).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("Created: "))
            .map(|line| line.replace(&format!("`{schema}`."), ""));
        let text = lines.collect::<Vec<_>>().join("\n").replace(" DEFINER=`root`@`localhost`", "");
        // A trigger's schema, as it was typed: not part of what is loaded elsewhere.
        text.replace(" nasty.", " ").replace(" nasty . ", "  ").into_bytes()
    };
    // Rows of information_schema about this schema.
    let about = |select: &str, table: &str, column: &str, rest: &str| {
        server.lines("information_schema", &format!("SELECT {select} FROM {table} WHERE {column} = '{schema}' {rest}"))
    };
    let charset = about("default_character_set_name, default_collation_name", "schemata", "schema_name", "");
    all.insert("schema".into(), charset.join("\n").into_bytes());
    for line in about("table_name, table_type", "tables", "table_schema", "") {
        let (name, kind) = line.split_once('\t').unwrap();
        let cast = "CONCAT('COALESCE(HEX(', IF(data_type = 'float', CONCAT(q, '+0e0'), CONCAT('CAST(', q, ' AS BINARY)')), '), \"NULL\")')";
        let columns = "(SELECT *, CONCAT('`', REPLACE(column_name, '`', '``'), '`') AS q FROM columns) AS c";
        let columns = about(cast, columns, "table_schema", &format!("AND table_name = '{name}' ORDER BY ordinal_position"));
        if columns.is_empty() {
            // A broken view: a finding, not part of the dump.
            continue;
        }
        all.insert(format!("definition {name}"), show(if kind == "SEQUENCE" { "SEQUENCE" } else { "TABLE" }, name));
        let rows = format!("SELECT CONCAT_WS(',', {}) AS r FROM {} ORDER BY r", columns.join(","), quoted(name));
        all.insert(format!("rows {name}"), server.query(schema, &format!("SET time_zone='+00:00'; {rows}")));
    }
    for line in about("routine_type, routine_name", "routines", "routine_schema", "") {
        let (kind, name) = line.split_once('\t').unwrap();
        all.insert(format!("{kind} {name}"), show(kind, name));
    }
    for name in about("trigger_name", "triggers", "trigger_schema", "") {
        all.insert(format!("trigger {name}"), show("TRIGGER", &name));
    }
    let order = "event_object_table, action_timing, event_manipulation, action_order, trigger_name";
    let order = about(order, "triggers", "trigger_schema", "ORDER BY 1, 2, 3, 4");
    all.insert("trigger order".into(), order.join("\n").into_bytes());
    for name in about("event_name", "events", "event_schema", "") {
        all.insert(format!("event {name}"), show("EVENT", &name));
    }
    all
}

fn assert_same(expected: &BTreeMap<String, Vec<u8>>, actual: &BTreeMap<String, Vec<u8>>, how: &str) {
    assert_eq!(expected.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>(), "{how}");
    for (name, value) in expected {
        let (a, b) = (String::from_utf8_lossy(value), String::from_utf8_lossy(&actual[name]));
        assert_eq!(a, b, "{how}: {name}");
    }
}

fn nasty() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/nasty.sql")).unwrap()
}

#[tokio::test]
async fn every_object_and_byte_goes_round() {
    let server = server();
    server.create("nasty");
    server.sql("nasty", &nasty());
    let before = fingerprint("nasty");

    let tally = Tally::default();
    let mut first = Collect::default();
    let stats = dump_into(&server.settings("nasty"), &mut first, &tally).await.unwrap();
    assert_eq!(stats.rows, tally.figures().rows);
    assert_eq!(stats.sql_bytes, first.script().len() as u64);
    assert_eq!(stats.tables, first.entries.iter().filter(|e| e.item == TableItem::Table).count() as u64);
    assert_eq!(first.entries.first().unwrap().item, TableItem::Session);
    assert_eq!(first.entries.last().unwrap().item, TableItem::SessionEnd);

    load(&first, "by_loader", false).await.unwrap();
    assert_same(&before, &fingerprint("by_loader"), "by the loader");

    server.create("by_client");
    server.feed("by_client", &first.script());
    assert_same(&before, &fingerprint("by_client"), "by the client");

    // The comparison sees a changed byte.
    server.sql("by_client", "UPDATE types SET bl = UNHEX('01') WHERE id = 100");
    assert_ne!(before, fingerprint("by_client"));
    // The row with the invalid ENUM value was among them.
    assert!(first.entries.iter().any(|e| e.item == TableItem::Rows && e.chunk.starts_with(b"DELIMITER")));

    let again = dump("nasty").await;
    assert_eq!(first.entries, again.entries, "an unchanged schema gives the same chunks");
    assert_eq!(dump("by_loader").await.script(), first.script(), "and so does its copy");

    assert!(
        first.findings.iter().all(|f| matches!(f.code, FindingCode::NotConsistent | FindingCode::ObjectUnreadable)),
        "{:?}",
        first.findings
    );
    assert!(first.find(FindingCode::NotConsistent, "myisam").is_some());
    assert!(first.find(FindingCode::ObjectUnreadable, "v_broken").unwrap().detail.contains("select"));
    assert!(first.find(FindingCode::ObjectUnreadable, "versioned").unwrap().detail.starts_with("1 past"));
    assert_eq!(first.findings.len(), 3, "{:?}", first.findings);
    assert!(
        first
            .entries
            .iter()
            .any(|e| e.item == TableItem::View && e.definer.as_ref().is_some_and(|d| d.as_bytes() == b"`root`@`localhost`"))
    );
    assert!(!String::from_utf8_lossy(&first.script()).contains("DEFINER=`root`"), "no definer in the SQL");

    // A target that holds something is refused, and replaced when that is asked for.
    let refused = load(&first, "by_loader", false).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::NotEmpty { .. }), "{refused}");
    assert_eq!(refused.exit(), Exit::CannotCreate);
    load(&first, "by_loader", true).await.unwrap();
    assert_same(&before, &fingerprint("by_loader"), "by the loader, replacing");
}

#[tokio::test]
async fn an_edit_changes_one_chunk() {
    let server = server();
    server.create("edit");
    server.sql(
        "edit",
        "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, body TEXT) DEFAULT CHARSET utf8mb4;
        INSERT INTO t (body) SELECT REPEAT(MD5(seq), 30) FROM seq_1_to_5000",
    );
    let rows = |c: &Collect| c.entries.iter().filter(|e| e.item == TableItem::Rows).map(|e| e.chunk.clone()).collect::<Vec<_>>();
    let before = rows(&dump("edit").await);
    assert!(before.len() > 10, "{}", before.len());
    let differing = |after: &[Bytes]| before.iter().filter(|chunk| !after.contains(chunk)).count();
    server.sql("edit", "UPDATE t SET body = REPEAT('x', 950) WHERE id = 2500");
    assert_eq!(differing(&rows(&dump("edit").await)), 1);
    server.sql("edit", "DELETE FROM t WHERE id = 2501");
    assert!(differing(&rows(&dump("edit").await)) <= 2);
}

#[tokio::test]
async fn large_rows_are_chunks_of_their_own() {
    let server = server();
    server.create("large");
    server.sql("large", "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT);
        INSERT INTO t VALUES (1, 'small', ''), (2, REPEAT(UNHEX('00FF27'), 900000), REPEAT('\\'', 2000000)), (3, NULL, NULL), (4, REPEAT('y', 600000), NULL), (5, REPEAT('z', 600000), NULL)");
    let collected = dump("large").await;
    for entry in collected.entries.iter().filter(|e| e.item == TableItem::Rows) {
        assert!(entry.rows == Some(1) || entry.chunk.len() <= (1 << 20) + 200);
    }
    load(&collected, "large_copy", false).await.unwrap();
    assert_same(&fingerprint("large"), &fingerprint("large_copy"), "large rows");

    // A chunk that the target's max_allowed_packet doesn't let through says what to set.
    server.sql("mysql", "SET GLOBAL max_allowed_packet = 1048576");
    let error = load(&collected, "large_refused", true).await.unwrap_err();
    server.sql("mysql", "SET GLOBAL max_allowed_packet = 16777216");
    assert!(matches!(error, DatabaseError::PacketTooLarge { .. }), "{error}");
    assert!(error.advice().unwrap().contains("max_allowed_packet = 16 *"), "{:?}", error.advice());
}

#[tokio::test]
async fn changes_under_the_dump_are_found() {
    let server = server();
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
        server.sql(
            "changes",
            "CREATE TABLE a (i INT PRIMARY KEY); CREATE TABLE y (i INT PRIMARY KEY); CREATE TABLE z (i INT PRIMARY KEY);
            INSERT INTO a VALUES (1); INSERT INTO y VALUES (1); INSERT INTO z VALUES (2)",
        );
        let mut done = false;
        let hook = move |entry: &TableEntry<Bytes>| {
            if entry.item == TableItem::Table && !std::mem::replace(&mut done, true) {
                // y and z haven't been read yet.
                server.sql("changes", sql);
            }
            Ok(())
        };
        let mut sink = Collect { hook: Some(Box::new(hook)), ..Collect::default() };
        match dump_into(&server.settings("changes"), &mut sink, &Silent).await {
            Err(error @ DatabaseError::Changed { .. }) => assert!(error.advice().is_some()),
            other => panic!("{what}: {other:?}"),
        }
    }
    // A row that is added meanwhile isn't in the snapshot, and is no change of it.
    server.create("changes");
    server.sql("changes", "CREATE TABLE a (i INT AUTO_INCREMENT PRIMARY KEY); CREATE TABLE z (i INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO z VALUES (1)");
    let hook = |entry: &TableEntry<Bytes>| {
        if entry.item == TableItem::Session {
            server.sql("changes", "INSERT INTO z VALUES (77)");
        }
        Ok(())
    };
    let mut sink = Collect { hook: Some(Box::new(hook)), ..Collect::default() };
    assert_eq!(dump_into(&server.settings("changes"), &mut sink, &Silent).await.unwrap().rows, 1);
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_so() {
    let server = server();
    server.create("reach");
    server
        .sql("mysql", "CREATE OR REPLACE USER reach@localhost IDENTIFIED BY 'right'; GRANT SELECT ON reach.* TO reach@localhost");
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
    let server = server();
    server.create("few_rights");
    server.sql(
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
    server.sql(
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
    let server = server();
    server.create("cancel");
    server.sql(
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
        let busy = server.lines("mysql", "SELECT info FROM information_schema.processlist WHERE db = 'cancel'");
        assert!(busy.is_empty(), "{busy:?}");
    }
}

#[tokio::test]
async fn queries_see_the_same_point_in_time() {
    let server = server();
    server.create("point");
    server.sql("point", "CREATE TABLE t (id INT PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, UNHEX('FF00')), (2, NULL)");
    let mut dump = Dump::open(&server.settings("point"), CancellationToken::new()).await.unwrap();
    server.sql("point", "INSERT INTO t VALUES (3, 'later')");
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
    let server = server();
    let mut loader = Loader::open(&server.settings("-"), "bad_chunks", true, CancellationToken::new()).await.unwrap();
    let error = loader.load(TableItem::Rows, &"t".into(), b"INSERT INTO t VALUES (1").await.unwrap_err();
    assert!(matches!(error, DatabaseError::BadChunk { .. }), "{error}");
    let error = loader.load(TableItem::Rows, &"t".into(), b"INSERT INTO t (a) VALUES\n('secret');\n").await.unwrap_err();
    assert!(error.to_string().starts_with("t: error 1146"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
