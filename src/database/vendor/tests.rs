//! What each statement becomes. That servers take it is tests/database/vendors.rs.

use super::*;

fn between(from: &str, to: &str) -> Adapter {
    Adapter::between(Vendor::of(from), Vendor::of(to)).unwrap()
}

fn to_mysql() -> Adapter {
    between("10.11.19-MariaDB-log", "9.7.4")
}

fn to_mariadb() -> Adapter {
    between("8.0.36-28", "5.5.5-11.8.6-MariaDB")
}

/// The statement, and its changes.
fn adapt(adapter: &Adapter, sql: &str) -> (String, Vec<String>) {
    let adapted = adapter.statement(sql.as_bytes()).unwrap();
    (String::from_utf8(adapted.sql.into_owned()).unwrap(), adapted.changes)
}

fn refused(adapter: &Adapter, sql: &str) -> String {
    adapter.statement(sql.as_bytes()).unwrap_err().to_string()
}

#[test]
fn versions_are_read() {
    assert_eq!(Vendor::of("5.5.5-10.6.1-MariaDB-1:10.6").version, (10, 6, 1));
    assert_eq!(Vendor::of("8.4.0-commercial"), Vendor { maker: Maker::MySql, version: (8, 4, 0) });
    assert_eq!(Vendor::of("").version, (0, 0, 0));
    assert_eq!(Adapter::between(Vendor::of("8.0.1"), Vendor::of("8.4.0")), None);
    assert_eq!(Adapter::between(Vendor::of("10.11.1-MariaDB"), Vendor::of("10.11.0-MariaDB")), None);
    assert!(Adapter::between(Vendor::of("9.0.1"), Vendor::of("8.4.0")).is_some());
}

#[test]
fn collations_have_other_names() {
    for (mariadb, mysql) in [
        ("utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_0900_ai_ci"),
        ("utf8mb4_uca1400_german2_nopad_as_cs", "utf8mb4_de_pb_0900_as_cs"),
        ("utf8mb4_nopad_bin", "utf8mb4_0900_bin"),
    ] {
        let view = |collation: &str| format!("CREATE VIEW `v` AS select 'x' collate {collation}");
        assert_eq!(adapt(&to_mysql(), &view(mariadb)), (view(mysql), vec![format!("collation {mariadb} becomes {mysql}")]));
        assert_eq!(adapt(&to_mariadb(), &view(mysql)), (view(mariadb), vec![format!("collation {mysql} becomes {mariadb}")]));
    }
    let (sql, changes) = adapt(&to_mysql(), "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci");
    assert_eq!(sql, "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci");
    assert_eq!(changes, ["collation utf8mb4_uca1400_ai_ci becomes utf8mb4_0900_ai_ci: trailing spaces count in comparisons"]);
    let old = between("8.0.36", "10.6.1-MariaDB");
    assert_eq!(
        adapt(&old, "SET collation_connection='utf8mb4_0900_ai_ci'").0,
        "SET collation_connection='utf8mb4_unicode_520_nopad_ci'"
    );
    let older = between("11.8.1-MariaDB", "10.6.1-MariaDB");
    assert_eq!(adapt(&older, "ALTER DATABASE COLLATE utf8mb4_uca1400_ai_ci").0, "ALTER DATABASE COLLATE utf8mb4_unicode_520_ci");
    assert_eq!(
        adapt(&to_mysql(), "ALTER DATABASE COLLATE latin1_swedish_nopad_ci").0,
        "ALTER DATABASE COLLATE latin1_swedish_ci"
    );
    // Not in quotes, and not what both have.
    let view = "CREATE VIEW `utf8mb4_0900_ai_ci` AS select 'utf8mb4_0900_ai_ci' collate utf8mb4_unicode_520_ci";
    assert_eq!(adapt(&to_mariadb(), view), (view.into(), vec![]));
}

#[test]
fn settings_of_objects() {
    let (sql, changes) = adapt(&to_mysql(), "SET sql_mode='STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER'");
    assert_eq!(sql, "SET sql_mode='STRICT_TRANS_TABLES'");
    assert_eq!(changes, ["sql_mode NO_AUTO_CREATE_USER is left out: MySQL 9.7 does not know it"]);
    assert_eq!(adapt(&to_mariadb(), "SET sql_mode='TIME_TRUNCATE_FRACTIONAL'").0, "SET sql_mode=''");
    let same = "SET sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";
    assert_eq!(adapt(&to_mysql(), same), (same.into(), vec![]));
    assert!(refused(&to_mysql(), "SET sql_mode='PIPES_AS_CONCAT,ORACLE'").contains("Oracle"));
    assert!(refused(&to_mariadb(), "SET character_set_client='gb18030'").contains("gb18030"));
}

#[test]
fn a_table_for_mysql() {
    let (sql, changes) = adapt(
        &to_mysql(),
        "CREATE TABLE `t` (\n  `uuid` uuid NOT NULL DEFAULT uuid(),\n  `i` inet6 DEFAULT NULL COMMENT 'inet6, (x',\n  `c` varchar(9) /*M!100301 COMPRESSED*/ DEFAULT 'it''s',\n  \
         `t` text DEFAULT 'a' INVISIBLE,\n  `d` datetime(3) DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3),\n  `n` decimal(5,2) DEFAULT -1.50,\n  `b` bit(3) DEFAULT b'101',\n  \
         `e` varchar(9) DEFAULT concat('a',1) COMMENT 'e',\n  PRIMARY KEY (`uuid`),\n  UNIQUE KEY `l` (`t`) USING HASH,\n  KEY `k` (`n`) IGNORED,\n  \
         CONSTRAINT `CONSTRAINT_1` CHECK (`n` <> 1),\n  CONSTRAINT `own` CHECK (`n` <> 2)\n) ENGINE=Aria DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_nopad_ai_ci PAGE_CHECKSUM=1 `PAGE_COMPRESSED`=1 COMMENT='ENGINE=Aria'",
    );
    assert_eq!(
        sql,
        "CREATE TABLE `t` (\n  `uuid` char(36) CHARACTER SET ascii NOT NULL DEFAULT (uuid()),\n  `i` varchar(45) CHARACTER SET ascii DEFAULT NULL COMMENT 'inet6, (x',\n  `c` varchar(9) DEFAULT 'it''s',\n  \
         `t` text DEFAULT ('a') INVISIBLE,\n  `d` datetime(3) DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3),\n  `n` decimal(5,2) DEFAULT -1.50,\n  `b` bit(3) DEFAULT b'101',\n  \
         `e` varchar(9) DEFAULT (concat('a',1)) COMMENT 'e',\n  PRIMARY KEY (`uuid`),\n  KEY `k` (`n`) INVISIBLE,\n  \
         CHECK (`n` <> 1),\n  CONSTRAINT `own` CHECK (`n` <> 2)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ENGINE=Aria'"
    );
    assert_eq!(
        changes,
        [
            "column `uuid`: type uuid becomes char(36) CHARACTER SET ascii",
            "column `i`: type inet6 becomes varchar(45) CHARACTER SET ascii",
            "column `c`: no longer compressed by itself",
            "UNIQUE KEY `l`: left out, a unique key of such length is too long there",
            "KEY `k`: an ignored index is called invisible there",
            "CONSTRAINT `CONSTRAINT_1`: gets a name from the server",
            "the table: engine Aria becomes InnoDB",
            "the table: PAGE_CHECKSUM=1 is left out",
            "the table: PAGE_COMPRESSED=1 is left out",
            "collation utf8mb4_uca1400_nopad_ai_ci becomes utf8mb4_0900_ai_ci",
        ]
    );
}

#[test]
fn a_table_for_mariadb() {
    let (sql, changes) = adapt(
        &to_mariadb(),
        "CREATE TABLE `t` (\n  `my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */,\n  `srid` point NOT NULL /*!80003 SRID 4326 */,\n  `g` geomcollection DEFAULT NULL,\n  \
         `j` json DEFAULT (json_array(_utf8mb4'é')),\n  `v` vector(3) DEFAULT NULL,\n  `n` int GENERATED ALWAYS AS ((`a` + 1)) STORED NOT NULL,\n  PRIMARY KEY (`my_row_id`),\n  \
         KEY `up` ((upper(`t`))),\n  UNIQUE KEY `u` (`n`,((`n` + 1)) DESC),\n  KEY `h` (`n` DESC) /*!80000 INVISIBLE */,\n  FULLTEXT KEY `f` (`t`) /*!50100 WITH PARSER `ngram` */ ,\n  \
         CONSTRAINT `soft` CHECK ((`n` < 5)) /*!80016 NOT ENFORCED */,\n  CONSTRAINT `hard` CHECK (((`n` + 1) < 5))\n) /*!50100 TABLESPACE `x` */ ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMPRESSION='zlib' /*!80016 ENCRYPTION='Y' */\n/*!50100 PARTITION BY HASH (`i`)\nPARTITIONS 3 */",
    );
    assert_eq!(
        sql,
        "CREATE TABLE `t` (\n  `my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT INVISIBLE,\n  `srid` point NOT NULL,\n  `g` geometrycollection DEFAULT NULL,\n  \
         `j` json DEFAULT (json_array('é')),\n  `v` vector(3) DEFAULT NULL,\n  `n` int GENERATED ALWAYS AS ((`a` + 1)) STORED,\n  PRIMARY KEY (`my_row_id`),\n  \
         KEY `h` (`n` DESC) IGNORED,\n  FULLTEXT KEY `f` (`t`) ,\n  CONSTRAINT `hard` CHECK (((`n` + 1) < 5))\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_nopad_ai_ci\nPARTITION BY HASH (`i`)\nPARTITIONS 3"
    );
    assert_eq!(
        changes,
        [
            "column `srid`: SRID 4326 is left out",
            "column `j`: json is text there, checked to be valid",
            "column `n`: NOT NULL is left out, a generated column has no such thing there",
            "KEY `up`: left out, an index of an expression has no place there",
            "UNIQUE KEY `u`: left out, an index of an expression has no place there",
            "KEY `h`: an invisible index is called ignored there",
            "FULLTEXT KEY `f`: WITH PARSER `ngram` is left out",
            "CONSTRAINT `soft`: left out, a check that isn't enforced has no place there",
            "the table: COMPRESSION=zlib is left out",
            "the table: ENCRYPTION=Y is left out",
            "the table: TABLESPACE x is left out",
            "collation utf8mb4_0900_ai_ci becomes utf8mb4_uca1400_nopad_ai_ci",
        ]
    );
    let strings = "CREATE TABLE `t` (\n  `a` text DEFAULT (concat(_latin1 0xE9,_latin1'x',_utf8mb4'it\\'s'))\n) ENGINE=InnoDB";
    let (sql, changes) = adapt(&to_mariadb(), strings);
    assert!(sql.contains("(concat(convert(0xE9 using latin1),_latin1'x','it\\'s'))"), "{sql}");
    assert_eq!(changes, Vec::<String>::new());
    let vectors = "CREATE TABLE `t` (\n  `vector` vector(3) DEFAULT NULL\n) ENGINE=InnoDB";
    let (sql, changes) = adapt(&between("9.7.0", "10.11.6-MariaDB"), vectors);
    assert_eq!(sql, vectors.replace("vector(3)", "varbinary(12)"));
    assert_eq!(changes, ["column `vector`: vector(3) becomes varbinary(12)"]);
    assert_eq!(adapt(&between("9.7.0", "8.4.0"), vectors).0, sql);
}

#[test]
fn what_has_no_counterpart_is_refused() {
    for (sql, what) in [
        ("CREATE SEQUENCE `s` start with 1", "a sequence: MySQL 9.7 has no such thing"),
        ("CREATE PACKAGE `p` AS END", "a package"),
        ("CREATE AGGREGATE FUNCTION `f`() RETURNS int RETURN 1", "aggregate"),
        ("CREATE TABLE `t` (\n  `i` int\n) ENGINE=InnoDB WITH SYSTEM VERSIONING", "keeps its history"),
        ("CREATE TABLE `t` (\n  `i` int DEFAULT nextval(`s`)\n) ENGINE=InnoDB", "column `i`: a default from a sequence"),
        ("CREATE TABLE `t` (\n  `s` date,\n  PERIOD FOR `p` (`s`, `e`)\n) ENGINE=InnoDB", "a period"),
    ] {
        assert!(refused(&to_mysql(), sql).contains(what), "{sql}");
    }
    let charset = "CREATE TABLE `t` (\n  `g` char(3) CHARACTER SET gb18030 COLLATE gb18030_chinese_ci\n) ENGINE=InnoDB";
    assert!(refused(&to_mariadb(), charset).contains("gb18030"));
}

#[test]
fn chunks_of_rows_stay_as_they_are() {
    for sql in [
        "INSERT INTO `t` VALUES\n('utf8mb4_0900_ai_ci');\n",
        "DELIMITER ;;\nSET NAMES binary\n;;\nINSERT INTO t VALUES ('CREATE TABLE')\n;;\nDELIMITER ;\n",
    ] {
        let adapted = to_mariadb().chunk(sql.as_bytes()).unwrap();
        assert!(matches!(adapted.sql, Cow::Borrowed(_)) && adapted.changes.is_empty());
    }
    let adapted = to_mysql();
    let adapted = adapted
        .chunk(b"DELIMITER ;;\nSET collation_connection='utf8mb4_uca1400_nopad_ai_ci'\n;;\nSET NAMES binary\n;;\nDELIMITER ;\n")
        .unwrap();
    assert_eq!(
        adapted.sql,
        b"DELIMITER ;;\nSET collation_connection='utf8mb4_0900_ai_ci'\n;;\nSET NAMES binary\n;;\nDELIMITER ;\n".as_slice()
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_adapted_or_refused(text in "CREATE TABLE [`a'()/*!, 0-9MDEFAULTCK=;-]{0,60}") {
        for adapter in [to_mysql(), to_mariadb()] {
            let _ = adapter.statement(text.as_bytes());
        }
    }
}
