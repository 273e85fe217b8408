//! Chunks into a schema, one statement at a time.

use tokio_util::sync::CancellationToken;

use super::connect::Session;
use super::error::DatabaseError;
use super::framing::statements;
use super::literal::{quote, quoted};
use crate::config::DatabaseSettings;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::TableItem;

/// Rows are committed in pieces of this many bytes of SQL: each commit waits for the disk.
const COMMIT: u64 = 16 << 20;

/// A schema that is being loaded.
pub struct Loader {
    session: Session,
    max_packet: u64,
    /// Bytes of rows not committed yet; `None` outside a transaction.
    open: Option<u64>,
}

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

impl Loader {
    /// Connects and makes the schema `target` ready: creates it if it is missing; when it holds anything, refuses, or with `replace` drops
    /// all that it holds. `settings.name` plays no part.
    pub async fn open(
        settings: &DatabaseSettings,
        target: &str,
        replace: bool,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        if SYSTEM_SCHEMAS.iter().any(|system| target.eq_ignore_ascii_case(system)) {
            return Err(DatabaseError::SystemSchema { name: target.to_owned() });
        }
        let mut session = Session::connect(settings, None, cancel).await?;
        let done = prepare(&mut session, settings, target, replace).await;
        match done {
            Ok(max_packet) => Ok(Self { session, max_packet, open: None }),
            Err(error) => {
                session.leave().await;
                Err(error)
            }
        }
    }

    /// Loads one chunk of the list of tables; the chunks must come in the list's order, the session's first.
    pub async fn load(&mut self, item: TableItem, name: &ByteText, sql: &[u8]) -> Result<(), DatabaseError> {
        let bad = || DatabaseError::BadChunk { object: name.clone() };
        let rows = item == TableItem::Rows;
        if rows && self.open.is_none() {
            self.session.execute("START TRANSACTION").await?;
            self.open = Some(0);
        }
        if !rows {
            self.commit().await?;
        }
        for statement in statements(sql).ok_or_else(bad)? {
            // The packet has a byte for its command.
            let bytes = statement.len() as u64 + 1;
            if bytes > self.max_packet {
                return Err(DatabaseError::PacketTooLarge { object: name.clone(), bytes, limit: self.max_packet });
            }
            self.session.execute_long(statement).await.map_err(|error| error.of(name.as_bytes()))?;
        }
        if let Some(open) = &mut self.open {
            *open += sql.len() as u64;
            if *open >= COMMIT {
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// Commits what is open and ends the session.
    pub async fn finish(mut self) -> Result<(), DatabaseError> {
        self.commit().await?;
        self.session.leave().await;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DatabaseError> {
        if self.open.take().is_some() {
            self.session.execute_long("COMMIT").await?;
        }
        Ok(())
    }
}

async fn prepare(session: &mut Session, settings: &DatabaseSettings, target: &str, replace: bool) -> Result<u64, DatabaseError> {
    session.execute("SET NAMES utf8mb4").await?;
    session.execute("SET SESSION sql_mode='', net_read_timeout=3600, net_write_timeout=3600, wait_timeout=86400").await?;
    let schema = quoted(target.as_bytes());
    let mut exists = b"SELECT 1 FROM information_schema.schemata WHERE schema_name = ".to_vec();
    quote(target.as_bytes(), &mut exists);
    if session.one(exists).await?.is_none() {
        let create = [b"CREATE DATABASE IF NOT EXISTS ", schema.as_slice()].concat();
        session.execute(create).await.map_err(|error| denied(error, settings, target))?;
    }
    session.execute([b"USE ", schema.as_slice()].concat()).await.map_err(|error| denied(error, settings, target))?;
    for (what, sql) in KINDS {
        let mut sql = sql.as_bytes().to_vec();
        quote(target.as_bytes(), &mut sql);
        let objects = session.all(sql).await?;
        if objects.is_empty() {
            continue;
        }
        if !replace {
            return Err(DatabaseError::NotEmpty { name: target.into(), holds: format!("{} {what}", objects.len()) });
        }
        session.execute("SET foreign_key_checks=0").await?;
        for object in objects {
            let Ok([Some(kind), Some(name)]) = <[_; 2]>::try_from(object) else { continue };
            // Until 11.4 the word is known in this mode only.
            let mode: &str = if kind.starts_with(b"PACKAGE") { "SET sql_mode='ORACLE'" } else { "SET sql_mode=''" };
            session.execute(mode).await?;
            let drop = [b"DROP ", kind.as_slice(), b" IF EXISTS ", quoted(&name).as_slice()].concat();
            session.execute_long(drop).await.map_err(|error| denied(error.of(&name), settings, target))?;
        }
        session.execute("SET foreign_key_checks=1, sql_mode=''").await?;
    }
    let row = session.one("SELECT @@max_allowed_packet").await?;
    let limit = row.and_then(|row| row.into_iter().next()?).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    limit.ok_or_else(|| DatabaseError::Unexpected { what: "@@max_allowed_packet isn't a number".into() })
}

fn denied(error: DatabaseError, settings: &DatabaseSettings, target: &str) -> DatabaseError {
    match error {
        DatabaseError::Server { code: 1044 | 1142 | 1227 | 1370, message, .. } => DatabaseError::MissingRight {
            object: target.into(),
            grant: super::grants::statement("ALL PRIVILEGES", target, &super::grants::account_named(&settings.user)),
            message,
        },
        other => other,
    }
}
