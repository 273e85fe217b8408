//! The SQL around the data: the loading session's settings, and how CREATE statements are set among them.

use super::framing::frame;
use super::literal;

/// The sql_mode that rows are loaded under. Strict, so that what can't be stored as it was fails instead of becoming `?`, 0 or NULL; with
/// every date that a column can hold; with ids 0 as ids.
const MODE: &str = "SET sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";
/// The same for rows that hold invalid ENUM values, which only a lenient server takes.
const LENIENT_MODE: &str = "SET sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";
/// Bytes as they are, for rows.
const ROWS_CHARSET: &str = "SET NAMES binary";
/// What SHOW CREATE prints.
const DDL_CHARSET: &str = "SET NAMES utf8mb4";

/// The settings under which an object with a body was created. Names and modes as the server gives them.
#[derive(Debug, Default)]
pub(super) struct Creation {
    pub(super) sql_mode: Option<Vec<u8>>,
    pub(super) client_charset: Vec<u8>,
    pub(super) connection_collation: Vec<u8>,
    pub(super) time_zone: Option<Vec<u8>>,
    /// The schema's collation at that time, where it isn't today's; and today's.
    pub(super) schema_collation: Option<(Vec<u8>, Vec<u8>)>,
}

/// The first chunk: remembers the session's settings and makes ours.
pub(super) fn session(schema_charset: &[u8], schema_collation: &[u8]) -> Vec<u8> {
    // Without a name it alters the default database, whatever its name is where this is loaded.
    let alter = [b"ALTER DATABASE CHARACTER SET ", schema_charset, b" COLLATE ", schema_collation].concat();
    let save = "SET @saved_client=@@character_set_client, @saved_results=@@character_set_results, \
                @saved_collation=@@collation_connection, @saved_mode=@@sql_mode, @saved_zone=@@time_zone, \
                @saved_foreign=@@foreign_key_checks, @saved_unique=@@unique_checks \
                /*M!100201 , @saved_checks=@@check_constraint_checks, @saved_strict=@@innodb_strict_mode*/ \
                /*M!101100 , @saved_history=@@system_versioning_insert_history*/";
    // Constraints held when the rows were stored; CHECKs that depend on the time need not hold again. MariaDB's bulk insert, which
    // unchecked unique keys bring with them, has lost rows: there they stay checked.
    let checks = "SET time_zone='+00:00', foreign_key_checks=0, unique_checks=0 \
                  /*M!100201 , unique_checks=1, check_constraint_checks=0, innodb_strict_mode=0*/ \
                  /*M!101100 , system_versioning_insert_history=1*/";
    frame(&[save.as_bytes(), ROWS_CHARSET.as_bytes(), MODE.as_bytes(), checks.as_bytes(), &alter])
}

/// The first chunk of a database whose own is lost.
pub fn default_session() -> Vec<u8> {
    session(b"utf8mb4", b"utf8mb4_unicode_520_ci")
}

/// Its last chunk.
pub fn default_session_end() -> Vec<u8> {
    session_end()
}

/// The last chunk: gives the session its settings back.
pub(super) fn session_end() -> Vec<u8> {
    frame(&[
        "SET time_zone=@saved_zone, foreign_key_checks=@saved_foreign, unique_checks=@saved_unique, sql_mode=@saved_mode \
             /*M!100201 , check_constraint_checks=@saved_checks, innodb_strict_mode=@saved_strict*/ \
             /*M!101100 , system_versioning_insert_history=@saved_history*/",
        "SET character_set_client=@saved_client, character_set_results=@saved_results, collation_connection=@saved_collation",
    ])
}

/// A table's or sequence's statements.
pub(super) fn definition(statements: &[&[u8]]) -> Vec<u8> {
    let mut all = vec![DDL_CHARSET.as_bytes()];
    all.extend_from_slice(statements);
    all.push(ROWS_CHARSET.as_bytes());
    frame(&all)
}

/// An INSERT of rows that strictness would refuse.
pub(super) fn lenient_rows(insert: &[u8]) -> Vec<u8> {
    frame(&[LENIENT_MODE.as_bytes(), insert, MODE.as_bytes()])
}

/// The CREATE statement of a view, routine, trigger or event under its own settings.
pub(super) fn object(creation: &Creation, create: &[u8]) -> Vec<u8> {
    let set = |variable: &str, value: &[u8]| {
        let mut text = [b"SET ", variable.as_bytes(), b"="].concat();
        literal::quote(value, &mut text);
        text
    };
    let mut all = Vec::new();
    if let Some((then, _)) = &creation.schema_collation {
        all.push([b"ALTER DATABASE COLLATE ", then.as_slice()].concat());
    }
    if let Some(zone) = &creation.time_zone {
        all.push(set("time_zone", zone));
    }
    if let Some(mode) = &creation.sql_mode {
        all.push(set("sql_mode", mode));
    }
    all.push(set("character_set_client", &creation.client_charset));
    all.push(set("collation_connection", &creation.connection_collation));
    all.push(create.to_vec());
    all.push(ROWS_CHARSET.into());
    if creation.sql_mode.is_some() {
        all.push(MODE.into());
    }
    if creation.time_zone.is_some() {
        all.push(b"SET time_zone='+00:00'".to_vec());
    }
    if let Some((_, now)) = &creation.schema_collation {
        all.push([b"ALTER DATABASE COLLATE ", now.as_slice()].concat());
    }
    frame(&all)
}
