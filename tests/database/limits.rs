//! Sizes and numbers at their ends: large rows, many tables, none.

use bytes::Bytes;
use wp_backup_agent::database::DatabaseError;
use wp_backup_agent::error::{Exit, Explain as _};
use wp_backup_agent::repository::entry::{TableEntry, TableItem};

use super::support::agent::{Agent, Store};
use super::support::dump::{Collect, dump, load};
use super::support::fingerprint::{assert_same, fingerprint};
use super::support::flavour::Flavour;
use super::support::server::{Options, Server};
use super::support::small_site;

#[tokio::test]
async fn an_edit_changes_one_chunk() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("edit");
    server.in_schema(
        "edit",
        "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, body TEXT) DEFAULT CHARSET utf8mb4;
        INSERT INTO t (body) SELECT REPEAT(MD5(seq), 30) FROM seq_1_to_5000",
    );
    let rows = |c: &Collect| c.entries.iter().filter(|e| e.item == TableItem::Rows).map(|e| e.chunk.clone()).collect::<Vec<_>>();
    let before = rows(&dump(server, "edit").await);
    assert!(before.len() > 10, "{}", before.len());
    let differing = |after: &[Bytes]| before.iter().filter(|chunk| !after.contains(chunk)).count();
    server.in_schema("edit", "UPDATE t SET body = REPEAT('x', 950) WHERE id = 2500");
    assert_eq!(differing(&rows(&dump(server, "edit").await)), 1);
    server.in_schema("edit", "DELETE FROM t WHERE id = 2501");
    assert!(differing(&rows(&dump(server, "edit").await)) <= 2);
}

#[tokio::test]
async fn large_rows_are_chunks_of_their_own() {
    let server = Server::shared(Flavour::MariaDb1011);
    server.create("large");
    server.in_schema("large", "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT);
        INSERT INTO t VALUES (1, 'small', ''), (2, REPEAT(UNHEX('00FF27'), 900000), REPEAT('\\'', 2000000)), (3, NULL, NULL), (4, REPEAT('y', 600000), NULL), (5, REPEAT('z', 600000), NULL)");
    let collected = dump(server, "large").await;
    for entry in collected.entries.iter().filter(|e| e.item == TableItem::Rows) {
        assert!(entry.rows == Some(1) || entry.chunk.len() <= (1 << 20) + 200);
    }
    load(&collected, server, "large_copy", false).await.unwrap();
    assert_same(&fingerprint(server, "large"), &fingerprint(server, "large_copy"), "large rows");

    // A chunk that the target's max_allowed_packet doesn't let through says what to set.
    server.in_schema("mysql", "SET GLOBAL max_allowed_packet = 1048576");
    let error = load(&collected, server, "large_refused", true).await.unwrap_err();
    server.in_schema("mysql", "SET GLOBAL max_allowed_packet = 16777216");
    assert!(matches!(error, DatabaseError::PacketTooLarge { .. }), "{error}");
    assert!(error.advice().unwrap().contains("SET GLOBAL max_allowed_packet = "), "{:?}", error.advice());
}

/// MariaDB takes rows as values in bulk, MySQL as SQL: of each type that is written as a number or a string, what arrives is what was there.
#[tokio::test]
async fn values_of_every_kind_go_in_bulk() {
    const ROWS: u32 = 900;
    for flavour in Flavour::ALL {
        let server = Server::start_with(&Options { flavour, in_memory: true, ..Options::default() });
        server.create("bulk");
        server.in_schema(
            "bulk",
            &format!(
                r#"SET NAMES utf8mb4; SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'; SET time_zone='+00:00';
                CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, y YEAR, de DECIMAL(65,30), big DECIMAL(40,0), f FLOAT, d DOUBLE, tiny TINYINT,
                  u BIGINT UNSIGNED, z INT(8) ZEROFILL, e ENUM('a','b','1',''), s SET('x','y','z'), da DATE, dt DATETIME(6), ti TIME(6), ts TIMESTAMP(6) NULL,
                  c CHAR(10), v VARCHAR(40), l VARCHAR(40) CHARACTER SET latin1, w VARCHAR(40) CHARACTER SET ucs2, x LONGTEXT CHARACTER SET utf16,
                  g INT AS (tiny + 1) STORED, KEY (v), UNIQUE KEY (u)) DEFAULT CHARSET=utf8mb4;
                INSERT INTO t (id, y, de, big, f, d, tiny, u, z, e, s, da, dt, ti, ts, c, v, l, w, x)
                WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
                SELECT IF(i = 1, -7, i), ELT(i % 5 + 1, '0000', 1901, 2155, NULL, '2000'),
                  ELT(i % 4 + 1, '-99999999999999999999999999999999999.999999999999999999999999999999', '0.000000000000000000000000000001', NULL, '12.5'),
                  ELT(i % 3 + 1, '9999999999999999999999999999999999999999', '-18446744073709551616', '7'),
                  ELT(i % 5 + 1, 3.4028234e38, -0e0, 1.17549435e-38, 0.1e0, NULL) + 0e0,
                  ELT(i % 6 + 1, 1.7976931348623157e308, -0e0, 2.2250738585072014e-308, 0.1e0, 1e15, 123456789012345680e0) + 0e0,
                  ELT(i % 4 + 1, -128, 127, 0, NULL), 18446744073709551615 - i, i * 7, ELT(i % 4 + 1, 'a', '1', '', NULL), ELT(i % 4 + 1, 'x,z', '', NULL, 'y'),
                  ELT(i % 4 + 1, '0000-00-00', '2024-02-31', '9999-12-31', NULL), ELT(i % 3 + 1, '0000-00-00 00:00:00', '2024-00-00 23:59:59.999999', NULL),
                  ELT(i % 3 + 1, '-838:59:59', '00:00:00.000001', NULL), ELT(i % 3 + 1, '0000-00-00 00:00:00', '1970-01-01 00:00:01.5', NULL),
                  ELT(i % 4 + 1, 'a  ', '', ' b', NULL), ELT(i % 6 + 1, 'it''s', '"\\', 'a\nb\r\0\Z', '007', '-0', '?:x,),('),
                  ELT(i % 3 + 1, 'Ã©é', _latin1 X'80C0FF', ''), ELT(i % 3 + 1, 'ű ', 'a', NULL), ELT(i % 3 + 1, '😀é', '', REPEAT('ő', 99)) FROM n;"#
            ),
        );
        let dump = dump(&server, "bulk").await;
        assert!(dump.of(TableItem::Rows).any(|entry| entry.chunk.len() > 32 << 10), "{flavour:?}");
        server.client("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1");
        load(&dump, &server, "bulk_copy", false).await.unwrap();
        server.client("SET GLOBAL general_log = 0");
        assert_same(&fingerprint(&server, "bulk"), &fingerprint(&server, "bulk_copy"), &format!("{flavour:?}"));
        let prepared = server.client(
            "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Prepare' AND CAST(argument AS CHAR) LIKE 'INSERT INTO `t`%'",
        );
        let prepared: u32 = prepared.trim().parse().unwrap();
        assert_eq!(prepared > 0, flavour != Flavour::MySql97, "{flavour:?}: {prepared}");
    }
}

/// Such a server refuses rows in bulk.
#[tokio::test]
async fn a_server_with_a_log_of_statements_gets_sql() {
    let arguments = ["--log-bin=binlog", "--binlog-format=STATEMENT"].map(str::to_owned).into();
    let server = Server::start_with(&Options { flavour: Flavour::MariaDb1011, arguments, in_memory: true, ..Options::default() });
    server.create("logged");
    server.in_schema(
        "logged",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(99)); INSERT INTO t SELECT seq, REPEAT(MD5(seq), 3) FROM seq_1_to_20000",
    );
    load(&dump(&server, "logged").await, &server, "logged_copy", false).await.unwrap();
    assert_same(&fingerprint(&server, "logged"), &fingerprint(&server, "logged_copy"), "a log of statements");
}

/// Long values are sent apart from their statement: below 16 MiB in one packet, above in pieces. Whatever their type, they arrive as they were.
#[tokio::test]
async fn long_values_of_every_kind_go_round() {
    for flavour in Flavour::ALL {
        // Others change the packet limit of the shared ones.
        let server = Server::start_with(&Options { flavour, in_memory: true, ..Options::default() });
        server.create("long");
        let row = |id: u32, bytes: u32| {
            format!(
                r#"INSERT INTO t (id, d, small, b, l, u, j, g) VALUES ({id}, -1.5e0, '?:a\'\\', REPEAT(UNHEX('00FF275C3F'), {bytes} / 5),
                REPEAT('é?', {bytes} / 2), REPEAT('\'\n\\é\0"', {bytes} / 7), JSON_OBJECT('a', REPEAT('\'\\é"', {bytes} / 5)),
                ST_GeomFromText(CONCAT('LINESTRING(', REPEAT('1 2,', {bytes} / 16), '3 4)')));"#
            )
        };
        let [short, single, pieces] = [row(1, 500), row(2, 1_000_000), row(3, 4_000_000)];
        server.in_schema(
            "long",
            &format!(
                "SET NAMES utf8mb4; CREATE TABLE t (id INT PRIMARY KEY, d DOUBLE, small TEXT, b LONGBLOB, l LONGTEXT CHARACTER SET latin1,
                 u LONGTEXT CHARACTER SET utf8mb4, n BIGINT AS (LENGTH(u)) STORED, j JSON, g GEOMETRY); {short} {single} {pieces}"
            ),
        );
        let long = dump(&server, "long").await;
        assert!(long.of(TableItem::Rows).any(|entry| entry.chunk.len() > 24_000_000), "{flavour:?}");
        load(&long, &server, "long_copy", false).await.unwrap();
        let pieces = server.client("SHOW GLOBAL STATUS LIKE 'Com_stmt_send_long_data'");
        assert_eq!(pieces.trim(), "Com_stmt_send_long_data\t5", "{flavour:?}: as many as the largest row has long values");
        let sums = |schema: &str| {
            let hashes = ["b", "l", "u", "j", "g"].map(|column| format!("LENGTH({column}), SHA2({column}, 256)")).join(", ");
            server.client(&format!("SELECT id, d, small, n, {hashes} FROM `{schema}`.t ORDER BY id"))
        };
        assert_eq!(sums("long"), sums("long_copy"), "{flavour:?}");
        assert_eq!(sums("long").matches('\n').count(), 3);
    }
}

#[test]
fn a_row_of_100_mib_passes_in_bounded_memory() {
    const MIB: u64 = 1 << 20;
    let server = Server::start();
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    // Half of it bytes that are written in hex, half of it text of which half has to be escaped: its statement has 180 MiB.
    server.client(
        "SET SESSION max_statement_time=0; USE blog; CREATE TABLE wp_big (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT);
        INSERT INTO wp_big VALUES (1, 'small', ''), (2, REPEAT(UNHEX('00FF27E9'), 13107200), REPEAT('\\'\n\\\\é', 10485760)), (3, NULL, NULL)",
    );
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    let limit = 128 * MIB + 4 * 100 * MIB;
    let dumped = agent.peak(&["run-now", "--foreground"]);
    assert!(dumped <= limit, "the dump: {} MiB", dumped / MIB);
    let restored = agent.peak(&["restore", "latest", "--database", "copy"]);
    assert!(restored <= limit, "the restore: {} MiB", restored / MIB);
    let sums = |schema: &str| server.client(&format!("SELECT id, SHA2(b, 256), SHA2(t, 256), LENGTH(b) FROM {schema}.wp_big"));
    assert!(sums("blog").contains("\t52428800\n"));
    assert_eq!(sums("blog"), sums("copy"));
}

#[tokio::test]
async fn ten_thousand_tables_go_round() {
    const TABLES: usize = 10_000;
    // Or the server opens and closes each table many times.
    let arguments = vec!["--table-open-cache=21000".to_owned()];
    let server = Server::start_with(&Options { in_memory: true, arguments, ..Options::default() });
    let make = |n: usize| {
        format!(
            "CREATE TABLE t{n} (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(50), v TEXT, KEY (k)); INSERT INTO t{n} VALUES ({n} + 1, 'k', 'v');"
        )
    };
    let made: String = (0..TABLES).map(make).collect();
    server.client(&format!("SET GLOBAL innodb_file_per_table=0; CREATE DATABASE many; USE many; {made}"));
    let first = dump(&server, "many").await;
    assert_eq!(first.of(TableItem::Table).count(), TABLES);
    assert_eq!(first.of(TableItem::Rows).count(), TABLES);
    load(&first, &server, "many_copy", false).await.unwrap();
    assert_same(&fingerprint(&server, "many"), &fingerprint(&server, "many_copy"), "ten thousand tables");
}

#[tokio::test]
async fn a_schema_without_anything_goes_round() {
    for flavour in Flavour::ALL {
        let server = Server::shared(flavour);
        server.create("nothing");
        let empty = dump(server, "nothing").await;
        assert_eq!(empty.findings, []);
        load(&empty, server, "nothing_copy", false).await.unwrap();
        assert_same(&fingerprint(server, "nothing"), &fingerprint(server, "nothing_copy"), "an empty schema");
    }
}

#[tokio::test]
async fn rows_without_a_key_keep_their_number() {
    for flavour in Flavour::ALL {
        let server = Server::shared(flavour);
        server.create("keyless");
        let double = "INSERT INTO t SELECT * FROM t;".repeat(10);
        server.in_schema(
            "keyless",
            &format!("CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'same'), (NULL, NULL); {double}"),
        );
        let keyless = dump(server, "keyless").await;
        load(&keyless, server, "keyless_copy", false).await.unwrap();
        assert_same(&fingerprint(server, "keyless"), &fingerprint(server, "keyless_copy"), "duplicate rows");
        assert_eq!(server.client("SELECT COUNT(*) FROM keyless_copy.t WHERE a = 1").trim(), "1024");
    }
}

/// Servers know names of Unicode's first plane only. MySQL would say nothing and put `?` in their place.
#[tokio::test]
async fn names_beyond_the_first_plane_are_refused_by_name() {
    for flavour in Flavour::ALL {
        let server = Server::shared(flavour);
        server.create("plane");
        let made = server.try_client("CREATE TABLE plane.`😀` (i INT)");
        assert_eq!(made.is_err(), flavour.is_mariadb(), "{made:?}");
        server.create("plane");
        let mut list = dump(server, "plane").await;
        let table = "DELIMITER ;;\nSET NAMES utf8mb4\n;;\nCREATE TABLE `😀` (i INT)\n;;\nDELIMITER ;\n";
        let entry = TableEntry { item: TableItem::Table, name: "😀".into(), chunk: table.into(), ..list.entries[0].clone() };
        list.entries.insert(1, entry);
        let error = load(&list, server, "plane_copy", true).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Uncarried { .. }), "{error}");
        assert_eq!(error.exit(), Exit::CannotCreate);
        assert!(error.to_string().starts_with("😀 can't be restored"), "{error}");
        server.client("DROP DATABASE plane");
    }
}
