//! The fence: what every table is, before the first read and after the last.
//!
//! A table that is renamed, swapped or rebuilt while the snapshot is open gives no error and wrong or no rows. Nothing single tells all of
//! that: InnoDB's table id misses instant ALTERs, the time of creation misses TRUNCATE, neither sees triggers.

use std::collections::BTreeMap;

use super::catalog::{self, Listed, text};
use super::connect::{RowValues, Session};
use super::ddl;
use super::error::DatabaseError;
use super::literal::quoted;
use crate::repository::byte_text::ByteText;

/// What a table, view or sequence is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    engine: Option<String>,
    created: Option<Vec<u8>>,
    /// BLAKE3 of SHOW CREATE without its counter, or the error in its place.
    definition: Result<[u8; 32], u16>,
}

/// The whole schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence {
    tables: BTreeMap<Vec<u8>, Identity>,
    /// InnoDB's name → table id, where the account may see them (PROCESS).
    ids: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Triggers, routines and events: kind and name → what tells of a change.
    objects: BTreeMap<(&'static str, Vec<u8>), RowValues>,
}

const TRIGGERS: &str = "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_order, created, \
                        MD5(action_statement) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
const ROUTINES: &str = "SELECT CONCAT(routine_type, ' ', routine_name), last_altered FROM information_schema.routines \
                        WHERE routine_schema = DATABASE()";
const EVENTS: &str = "SELECT event_name, last_altered FROM information_schema.events WHERE event_schema = DATABASE()";

impl Fence {
    /// What the schema is now.
    pub(super) async fn read(session: &mut Session, list: &[Listed]) -> Result<Self, DatabaseError> {
        let mut tables = BTreeMap::new();
        for listed in list {
            tables.insert(listed.name.clone(), identity(session, listed).await?);
        }
        let mut objects = BTreeMap::new();
        for (kind, sql) in [("trigger", TRIGGERS), ("routine", ROUTINES), ("event", EVENTS)] {
            for mut row in session.all(sql).await? {
                let name = row.first_mut().and_then(Option::take).unwrap_or_default();
                objects.insert((kind, name), row);
            }
        }
        Ok(Self { tables, ids: table_ids(session).await?, objects })
    }

    /// Whether a table is still what it was; to be asked while our metadata lock holds it.
    pub(super) async fn check(&self, session: &mut Session, name: &[u8]) -> Result<(), DatabaseError> {
        let now = match catalog::listed_again(session, name).await? {
            Some(listed) => Some(identity(session, &listed).await?),
            None => None,
        };
        match changed(self.tables.get(name), now.as_ref()) {
            Some(what) => Err(DatabaseError::Changed { table: name.into(), what: what.into() }),
            None => Ok(()),
        }
    }

    /// Compares with what the schema is later.
    pub(super) fn compare(&self, later: &Self) -> Result<(), DatabaseError> {
        let fail = |table: &[u8], what: &str| Err(DatabaseError::Changed { table: table.into(), what: what.into() });
        for name in self.tables.keys().chain(later.tables.keys()) {
            if let Some(what) = changed(self.tables.get(name), later.tables.get(name)) {
                return fail(name, what);
            }
        }
        if let (Some(ids), Some(later)) = (&self.ids, &later.ids) {
            for name in ids.keys().chain(later.keys()) {
                if ids.get(name) != later.get(name) {
                    return fail(name, "it was rebuilt, truncated or replaced");
                }
            }
        }
        for name in self.objects.keys().chain(later.objects.keys()) {
            if self.objects.get(name) != later.objects.get(name) {
                return fail(&name.1, &format!("the {} was created, altered or dropped", name.0));
            }
        }
        Ok(())
    }
}

fn changed(before: Option<&Identity>, now: Option<&Identity>) -> Option<&'static str> {
    match (before, now) {
        (None, None) => None,
        (Some(_), None) => Some("it was dropped or renamed"),
        (None, Some(_)) => Some("it was created"),
        (Some(before), Some(now)) if before.definition != now.definition || before.engine != now.engine => {
            Some("its definition changed")
        }
        (Some(before), Some(now)) if before.created != now.created => Some("it was rebuilt or replaced"),
        _ => None,
    }
}

async fn identity(session: &mut Session, listed: &Listed) -> Result<Identity, DatabaseError> {
    let definition = match session.one([b"SHOW CREATE TABLE ", quoted(&listed.name).as_slice()].concat()).await {
        Ok(row) => {
            let create = row.and_then(|row| row.into_iter().nth(1).flatten()).unwrap_or_default();
            Ok(*blake3::hash(&ddl::take_counter(&create).0).as_bytes())
        }
        Err(DatabaseError::Server { code, .. }) => Err(code),
        Err(error) => return Err(error),
    };
    Ok(Identity { engine: listed.engine.clone(), created: listed.created.clone(), definition })
}

/// InnoDB's ids, under either name of its dictionary; `None` without the PROCESS right.
async fn table_ids(session: &mut Session) -> Result<Option<BTreeMap<Vec<u8>, Vec<u8>>>, DatabaseError> {
    for view in ["INNODB_SYS_TABLES", "INNODB_TABLES"] {
        // InnoDB's names are in the file system's encoding.
        let sql = format!(
            "SELECT name, table_id FROM information_schema.{view} \
             WHERE SUBSTRING_INDEX(CAST(name AS BINARY), '/', 1) = CAST(CONVERT(DATABASE() USING filename) AS BINARY)"
        );
        match session.all(sql).await {
            Ok(rows) => {
                let pair = |row: RowValues| {
                    let [name, id] = <[_; 2]>::try_from(row).ok()?;
                    // Full-text indexes have tables of their own, which come and go.
                    let name = name.filter(|name| !name.windows(5).any(|w| w == b"/FTS_" || w == b"/fts_"))?;
                    Some((name, id?))
                };
                return Ok(Some(rows.into_iter().filter_map(pair).collect()));
            }
            Err(DatabaseError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The server's errors that mean that a definition changed under the snapshot.
pub(super) fn as_change(error: DatabaseError, table: &[u8]) -> DatabaseError {
    let what = match error.code() {
        Some(1412) => "its definition changed after the point in time",
        Some(1146 | 1051) if !table.is_empty() => "it was dropped or renamed",
        Some(1054) => "a column was dropped or renamed",
        _ => return error.of(table),
    };
    let what = match &error {
        DatabaseError::Server { message, .. } => format!("{what} ({})", text(message.as_bytes().to_vec())),
        _ => what.to_owned(),
    };
    DatabaseError::Changed { table: ByteText::from(table), what }
}
