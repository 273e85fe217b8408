//! From one kind of server to another and back: the values stay, and what changes is told.

use std::collections::BTreeMap;

use wp_backup_agent::database::{Adapter, Uncarried, Vendor};
use wp_backup_agent::repository::entry::{TableEntry, TableItem};

use super::support::dump::{Collect, dump, load};
use super::support::fingerprint::{assert_same, fingerprint};
use super::support::flavour::Flavour;
use super::support::server::Server;
use super::support::wordpress::build_blog;

fn vendor(server: &Server) -> Vendor {
    Vendor::of(server.client("SELECT VERSION()").trim())
}

/// The dump as the other server takes it, and what changes, by the entry's name.
fn adapted(from: &Server, to: &Server, dump: &Collect) -> Result<(Collect, Vec<String>), (String, Uncarried)> {
    let adapter = Adapter::between(vendor(from), vendor(to)).unwrap();
    let (mut entries, mut changes) = (Vec::new(), Vec::new());
    for entry in &dump.entries {
        let name = entry.name.to_string();
        let one = adapter.chunk(&entry.chunk).map_err(|what| (name.clone(), what))?;
        changes.extend(one.changes.iter().map(|change| format!("{name}: {change}")));
        entries.push(TableEntry { chunk: one.sql.into_owned().into(), ..entry.clone() });
    }
    changes.dedup();
    Ok((Collect { entries, ..Collect::default() }, changes))
}

/// Dumps `schema` of one server and loads it into another; what was told.
async fn carry(from: &Server, to: &Server, schema: &str) -> Vec<String> {
    let dump = dump(from, schema).await;
    let (there, changes) = adapted(from, to, &dump).unwrap_or_else(|(name, what)| panic!("{name}: {what}"));
    load(&there, to, schema, true).await.unwrap_or_else(|error| panic!("{error}\n{changes:#?}"));
    changes
}

/// The values of all rows, and which objects there are.
fn values(server: &Server, schema: &str) -> BTreeMap<String, String> {
    let mut all = fingerprint(server, schema);
    for (name, value) in &mut all {
        if !name.starts_with("rows ") && !name.starts_with("trigger order") {
            value.clear();
        }
    }
    all
}

fn same_lines(mut lines: Vec<String>, mut expected: Vec<String>) {
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

fn make(server: &Server, schema: &str) {
    server.create(schema);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{}.sql", schema.replace('_', "-")));
    server.feed(schema, &std::fs::read(path).unwrap());
}

#[tokio::test]
async fn a_blog_goes_from_mariadb_to_mysql_and_to_mariadb() {
    let [old, mysql, new] = [Flavour::MariaDb1011, Flavour::MySql97, Flavour::MariaDb118].map(Server::shared);
    let directory = tempfile::tempdir().unwrap();
    build_blog(old, "carried_blog", &directory.path().join("site"));
    let before = values(old, "carried_blog");
    assert!(before.keys().filter(|name| name.starts_with("rows ")).count() >= 12);

    // Both have all that WordPress uses; a function has its server's default sql_mode.
    let function = "wpb_count: sql_mode NO_AUTO_CREATE_USER is left out: MySQL 9.7 does not know it";
    assert_eq!(carry(old, mysql, "carried_blog").await, [function]);
    assert_same(&before, &values(mysql, "carried_blog"), "in MySQL");
    assert_eq!(carry(mysql, new, "carried_blog").await, Vec::<String>::new());
    assert_same(&before, &values(new, "carried_blog"), "in MariaDB again");
}

#[tokio::test]
async fn what_mariadb_has_goes_to_mysql() {
    let (from, to) = (Server::shared(Flavour::MariaDb118), Server::shared(Flavour::MySql97));
    make(from, "to_mysql");
    let changes = carry(from, to, "to_mysql").await;
    assert_same(&values(from, "to_mysql"), &values(to, "to_mysql"), "in MySQL");
    let nopad = "collation utf8mb4_uca1400_ai_ci becomes utf8mb4_0900_ai_ci: trailing spaces count in comparisons";
    let mode = "sql_mode NO_AUTO_CREATE_USER is left out: MySQL 9.7 does not know it";
    let mut expected: Vec<String> = [
        "addresses: column `u`: type uuid becomes char(36) CHARACTER SET ascii",
        "addresses: column `i6`: type inet6 becomes varchar(45) CHARACTER SET ascii",
        "addresses: column `i4`: type inet4 becomes varchar(15) CHARACTER SET ascii",
        "aria: the table: engine Aria becomes InnoDB",
        "aria: the table: PAGE_CHECKSUM=1 is left out",
        "aria: the table: TRANSACTIONAL=1 is left out",
        "bin: collation utf8mb4_nopad_bin becomes utf8mb4_0900_bin",
        "checks: CONSTRAINT `CONSTRAINT_1`: gets a name from the server",
        "checks: the table: PAGE_COMPRESSED=1 is left out",
        "checks: collation latin1_swedish_nopad_ci becomes latin1_swedish_ci: trailing spaces no longer count in comparisons",
        "keys_and_options: column `c`: no longer compressed by itself",
        "keys_and_options: UNIQUE KEY `t`: left out, a unique key of such length is too long there",
        "keys_and_options: KEY `ign`: an ignored index is called invisible there",
        "keys_and_options: CONSTRAINT `CONSTRAINT_1`: gets a name from the server",
        "keys_and_options: collation utf8mb4_uca1400_german2_nopad_as_cs becomes utf8mb4_de_pb_0900_as_cs",
        "types: collation utf8mb3_uca1400_ai_ci becomes utf8mb3_unicode_520_ci: Unicode 5.2.0, without accents and case",
        "types: collation ucs2_uca1400_ai_ci becomes ucs2_unicode_520_ci: Unicode 5.2.0, without accents and case",
        "v_types: collation utf8mb4_uca1400_nopad_ai_ci becomes utf8mb4_0900_ai_ci",
        "vectors: VECTOR KEY `v`: left out, MySQL 9.7 has no such index",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(["bin", "types", "f_plain", "p", "v_types", "a_view", "tr", "ev"].map(|name| format!("{name}: {nopad}")));
    expected.extend(["f_plain", "p", "tr", "ev"].map(|name| format!("{name}: {mode}")));
    same_lines(changes, expected);
}

#[tokio::test]
async fn what_mysql_has_goes_to_mariadb() {
    for flavour in [Flavour::MariaDb118, Flavour::MariaDb1011] {
        let (from, to) = (Server::shared(Flavour::MySql97), Server::shared(flavour));
        make(from, "to_mariadb");
        let changes = carry(from, to, "to_mariadb").await;
        assert_same(&values(from, "to_mariadb"), &values(to, "to_mariadb"), "in MariaDB");
        let mut expected: Vec<String> = [
            "functional: column `j`: json is text there, checked to be valid",
            "functional: UNIQUE KEY `u`: left out, an index of an expression has no place there",
            "functional: KEY `hidden`: an invisible index is called ignored there",
            "functional: KEY `up`: left out, an index of an expression has no place there",
            "functional: KEY `mv`: left out, an index of an expression has no place there",
            "functional: CONSTRAINT `soft`: left out, a check that isn't enforced has no place there",
            "functional: the table: COMPRESSION=zlib is left out",
            "functional: the table: AUTOEXTEND_SIZE=4194304 is left out",
            "names: collation utf8mb4_0900_as_cs becomes utf8mb4_uca1400_nopad_as_cs",
            "names: collation utf8mb4_de_pb_0900_ai_ci becomes utf8mb4_uca1400_german2_nopad_ai_ci",
            "names: collation utf8mb4_0900_bin becomes utf8mb4_nopad_bin",
            "names: collation utf8mb4_ja_0900_as_cs_ks becomes utf8mb4_uca1400_nopad_as_cs: without the language's own order",
            "places: column `p`: SRID 4326 is left out",
            "places: column `i`: STORAGE DISK is left out",
            "places: column `i`: COLUMN_FORMAT DYNAMIC is left out",
            "types: column `j`: json is text there, checked to be valid",
            "types: column `gv`: NOT NULL is left out, a generated column has no such thing there",
            "types: column `jd`: json is text there, checked to be valid",
        ]
        .map(str::to_owned)
        .into();
        if flavour == Flavour::MariaDb1011 {
            expected.push("places: column `v`: vector(3) becomes varbinary(12)".into());
        }
        let uca = "collation utf8mb4_0900_ai_ci becomes utf8mb4_uca1400_nopad_ai_ci";
        let mode = format!("sql_mode TIME_TRUNCATE_FRACTIONAL is left out: {} does not know it", vendor(to));
        expected.extend(["types", "f_plain", "p", "v_types", "a_view", "tr", "ev"].map(|name| format!("{name}: {uca}")));
        expected.extend(["f_plain", "p", "tr", "ev"].map(|name| format!("{name}: {mode}")));
        same_lines(changes, expected);
    }
}

#[tokio::test]
async fn what_has_no_counterpart_is_refused_before_anything_is_loaded() {
    let (from, to) = (Server::shared(Flavour::MariaDb1011), Server::shared(Flavour::MySql97));
    for (object, sql) in [
        ("s", "CREATE SEQUENCE s"),
        ("v", "CREATE TABLE v (i INT) WITH SYSTEM VERSIONING"),
        ("p", "SET sql_mode=ORACLE;\nDELIMITER //\nCREATE PROCEDURE p AS BEGIN SELECT 1; END//\n"),
    ] {
        from.create("refused");
        from.in_schema("refused", sql);
        let list = dump(from, "refused").await;
        assert!(list.entries.iter().any(|e| e.item != TableItem::Session && e.name.as_bytes() == object.as_bytes()));
        let (name, what) = adapted(from, to, &list).map(drop).unwrap_err();
        assert_eq!(name, object);
        assert!(what.to_string().contains("MySQL 9.7 has no such thing"), "{what}");
    }
}
