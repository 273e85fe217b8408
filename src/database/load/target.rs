//! The schema that is loaded into: made, found empty, or cleared.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use crate::config::DatabaseSettings;
use crate::database::connect::Session;
use crate::database::error::DatabaseError;
use crate::database::grants;
use crate::database::literal::{quote, quoted};

/// What stands in a schema, and how it is dropped.
const KINDS: [(&str, &str); 4] = [
    (
        "tables, views or sequences",
        "SELECT CASE table_type WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END, table_name \
         FROM information_schema.tables WHERE table_schema = ",
    ),
    ("functions or procedures", "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = "),
    ("events", "SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = "),
    ("triggers", "SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = "),
];

/// To replace one of these is to lose the server, its accounts first.
const SYSTEM_SCHEMAS: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// What is done about what the target holds already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Existing {
    /// It is refused.
    #[default]
    Refuse,
    /// It is dropped.
    Replace,
}

/// The names that matter: those that are loaded, or all.
pub type Names = BTreeSet<Vec<u8>>;

/// Refuses the server's own schemas.
pub(in crate::database) fn refuse_system(target: &str) -> Result<(), DatabaseError> {
    if SYSTEM_SCHEMAS.iter().any(|system| target.eq_ignore_ascii_case(system)) {
        return Err(DatabaseError::SystemSchema { name: target.to_owned() });
    }
    Ok(())
}

/// The settings of every session that loads.
pub(in crate::database) async fn settle(session: &mut Session) -> Result<(), DatabaseError> {
    session.execute("SET NAMES utf8mb4").await?;
    session.execute("SET SESSION sql_mode='', net_read_timeout=3600, net_write_timeout=3600, wait_timeout=86400").await?;
    // The account's own limit would end a statement that builds an index. Unknown to MySQL.
    session.execute("SET SESSION /*M!100101 max_statement_time=0, */ sql_mode=''").await
}

/// Creates the schema if it is missing, and makes it the default. Tells whether it was there.
pub(in crate::database) async fn enter(
    session: &mut Session,
    settings: &DatabaseSettings,
    target: &str,
) -> Result<bool, DatabaseError> {
    let schema = quoted(target.as_bytes());
    let exists = exists(session, target).await?;
    if !exists {
        let create = [b"CREATE DATABASE IF NOT EXISTS ", schema.as_slice()].concat();
        session.execute(create).await.map_err(|error| denied(error, settings, target))?;
    }
    session.execute([b"USE ", schema.as_slice()].concat()).await.map_err(|error| denied(error, settings, target))?;
    Ok(exists)
}

/// Drops a schema that was made by the caller, with all that is in it; one that isn't there is no failure.
///
/// # Errors
/// As those of the server; [`DatabaseError::SystemSchema`].
pub async fn drop_schema(settings: &DatabaseSettings, schema: &str, cancel: CancellationToken) -> Result<(), DatabaseError> {
    refuse_system(schema)?;
    let mut session = Session::connect(settings, None, cancel).await?;
    let dropped = session.execute([b"DROP DATABASE IF EXISTS ", quoted(schema.as_bytes()).as_slice()].concat()).await;
    session.leave().await;
    dropped
}

/// Whether there is such a schema (that the account may see).
pub(in crate::database) async fn exists(session: &mut Session, schema: &str) -> Result<bool, DatabaseError> {
    let mut sql = b"SELECT 1 FROM information_schema.schemata WHERE schema_name = ".to_vec();
    quote(schema.as_bytes(), &mut sql);
    Ok(session.one(sql).await?.is_some())
}

/// The objects of a schema as kind and name, by what KINDS calls them.
async fn objects(session: &mut Session, sql: &str, schema: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, DatabaseError> {
    let mut sql = sql.as_bytes().to_vec();
    quote(schema.as_bytes(), &mut sql);
    let rows = session.all(sql).await?;
    Ok(rows.into_iter().filter_map(|row| <[_; 2]>::try_from(row).ok()).filter_map(|[kind, name]| Some((kind?, name?))).collect())
}

/// Sees to it that the session's schema holds nothing, or nothing by these names.
pub(in crate::database) async fn clear(
    session: &mut Session,
    settings: &DatabaseSettings,
    target: &str,
    existing: &Existing,
    names: Option<&Names>,
) -> Result<(), DatabaseError> {
    let mut standing = Vec::new();
    for (what, sql) in KINDS {
        let mut objects = objects(session, sql, target).await?;
        if let Some(names) = names {
            // Routines and events aren't among what is restored by name; triggers go with their tables.
            objects.retain(|(kind, name)| names.contains(name) && matches!(kind.as_slice(), b"TABLE" | b"VIEW" | b"SEQUENCE"));
        }
        if objects.is_empty() {
            continue;
        }
        if *existing == Existing::Refuse {
            return Err(DatabaseError::NotEmpty { name: target.into(), holds: format!("{} {what}", objects.len()) });
        }
        standing.extend(objects);
    }
    // Tables last: dropping anything else may be refused.
    standing.sort_by_key(|(kind, _)| matches!(kind.as_slice(), b"TABLE" | b"SEQUENCE"));
    drop_all(session, settings, target, &standing).await
}

/// Drops what stands in the session's schema beside tables and sequences: views, routines, events, triggers.
pub(in crate::database) async fn drop_objects(
    session: &mut Session,
    settings: &DatabaseSettings,
    schema: &str,
    names: Option<&Names>,
) -> Result<(), DatabaseError> {
    for (_, sql) in KINDS {
        let mut objects = objects(session, sql, schema).await?;
        objects.retain(|(kind, name)| {
            !matches!(kind.as_slice(), b"TABLE" | b"SEQUENCE")
                && names.is_none_or(|names| kind == b"VIEW" && names.contains(name))
        });
        drop_all(session, settings, schema, &objects).await?;
    }
    Ok(())
}

async fn drop_all(
    session: &mut Session,
    settings: &DatabaseSettings,
    target: &str,
    objects: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), DatabaseError> {
    if objects.is_empty() {
        return Ok(());
    }
    session.execute("SET foreign_key_checks=0").await?;
    for (kind, name) in objects {
        // Until 11.4 the word is known in this mode only.
        let mode: &str = if kind.starts_with(b"PACKAGE") { "SET sql_mode='ORACLE'" } else { "SET sql_mode=''" };
        session.execute(mode).await?;
        let drop = [b"DROP ", kind.as_slice(), b" IF EXISTS ", quoted(name).as_slice()].concat();
        session.execute_long(drop).await.map_err(|error| denied(error.of(name), settings, target))?;
    }
    session.execute("SET foreign_key_checks=1, sql_mode=''").await
}

/// The server's longest packet.
pub(in crate::database) async fn max_packet(session: &mut Session) -> Result<u64, DatabaseError> {
    let row = session.one("SELECT @@max_allowed_packet").await?;
    let limit = row.and_then(|row| row.into_iter().next()?).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    limit.ok_or_else(|| DatabaseError::Unexpected { what: "@@max_allowed_packet isn't a number".into() })
}

/// A refusal that a right would lift: on the schema, or to touch what an administrator defined.
pub(in crate::database) fn denied(error: DatabaseError, settings: &DatabaseSettings, target: &str) -> DatabaseError {
    let account = grants::account_named(&settings.user);
    match error {
        DatabaseError::Server { object, code: 1227, message, .. } if message.contains(grants::SYSTEM_USER) => {
            let grant = format!("GRANT {} ON *.* TO {account}", grants::SYSTEM_USER);
            DatabaseError::MissingRight { object, grant, message }
        }
        DatabaseError::Server { code: 1044 | 1142 | 1227 | 1370, message, .. } => DatabaseError::MissingRight {
            object: target.into(),
            grant: grants::statement("ALL PRIVILEGES", target, &account),
            message,
        },
        other => other,
    }
}
