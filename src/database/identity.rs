//! The fence: what every table is, before the first read and after the last.
//!
//! A table that is renamed, swapped or rebuilt while the snapshot is open gives no error and wrong or no rows. Nothing single tells all of
//! that: InnoDB's table id misses instant ALTERs, the time of creation misses TRUNCATE, neither sees triggers.

use std::collections::{BTreeMap, BTreeSet};

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

/// What a fence is about.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) schema: &'a str,
    /// What isn't captured at all.
    pub(super) left_out: &'a BTreeSet<Vec<u8>>,
    /// Tables whose rows aren't captured: they may be emptied or rebuilt as they like.
    pub(super) structure_only: &'a BTreeSet<Vec<u8>>,
}

/// The schema, as far as it is captured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence {
    tables: BTreeMap<Vec<u8>, Identity>,
    /// InnoDB's name → table id, where the account may see them (PROCESS).
    ids: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Triggers, routines and events: kind and name → what tells of a change.
    objects: BTreeMap<(&'static str, Vec<u8>), RowValues>,
}

const TRIGGERS: &str = "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_order, created, \
                        SHA2(action_statement, 256) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
const ROUTINES: &str = "SELECT CONCAT(routine_type, ' ', routine_name), last_altered, SHA2(routine_definition, 256) FROM information_schema.routines \
                        WHERE routine_schema = DATABASE()";
const EVENTS: &str =
    "SELECT event_name, last_altered, SHA2(event_definition, 256) FROM information_schema.events WHERE event_schema = DATABASE()";

impl Fence {
    /// What the schema is now.
    pub(super) async fn read(session: &mut Session, list: &[Listed], scope: &Scope<'_>) -> Result<Self, DatabaseError> {
        let mut tables = BTreeMap::new();
        for listed in list {
            let mut identity = identity(session, listed).await?;
            if scope.structure_only.contains(&listed.name) {
                identity.created = None;
            }
            tables.insert(listed.name.clone(), identity);
        }
        let mut objects = BTreeMap::new();
        for (kind, sql) in [("trigger", TRIGGERS), ("routine", ROUTINES), ("event", EVENTS)] {
            for mut row in session.all(sql).await? {
                let name = row.first_mut().and_then(Option::take).unwrap_or_default();
                objects.insert((kind, name), row);
            }
        }
        Ok(Self { tables, ids: table_ids(session, scope).await?, objects })
    }

    /// Whether the account has the PROCESS right: then it sees InnoDB's table ids, and other accounts' sessions.
    pub(super) async fn sees_all(session: &mut Session) -> Result<bool, DatabaseError> {
        for view in ["INNODB_SYS_TABLES", "INNODB_TABLES"] {
            match session.all(format!("SELECT 1 FROM information_schema.{view} LIMIT 1")).await {
                Ok(_) => return Ok(true),
                Err(DatabaseError::Server { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
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
async fn table_ids(session: &mut Session, scope: &Scope<'_>) -> Result<Option<BTreeMap<Vec<u8>, Vec<u8>>>, DatabaseError> {
    let Some(schema) = file_name(scope.schema.as_bytes()) else { return Ok(None) };
    let loose: Vec<_> = scope.left_out.iter().chain(scope.structure_only).filter_map(|name| file_name(name)).collect();
    for view in ["INNODB_SYS_TABLES", "INNODB_TABLES"] {
        let sql = format!(
            "SELECT name, table_id FROM information_schema.{view} WHERE SUBSTRING_INDEX(CAST(name AS BINARY), '/', 1) = '{schema}'"
        );
        match session.all(sql).await {
            Ok(rows) => {
                let pair = |row: RowValues| {
                    let [name, id] = <[_; 2]>::try_from(row).ok()?;
                    let name = name?;
                    // A partition's name follows its table's after a #.
                    let table = name.split(|b| *b == b'/').nth(1)?.split(|b| *b == b'#').next()?;
                    // Full-text indexes have tables of their own, which come and go; so have changes of tables under way.
                    let own = table.is_empty() || table.to_ascii_uppercase().starts_with(b"FTS_");
                    let loose = loose.iter().any(|loose| loose.as_bytes() == table);
                    (!own && !loose).then_some((name, id?))
                };
                return Ok(Some(rows.into_iter().filter_map(pair).collect()));
            }
            Err(DatabaseError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A name as the server writes it in file names, where that is simple: ASCII.
fn file_name(name: &[u8]) -> Option<String> {
    let encoded = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => Some(char::from(*byte).to_string()),
        0..0x80 => Some(format!("@{byte:04x}")),
        _ => None,
    };
    name.iter().map(encoded).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_file_names() {
        assert_eq!(file_name(b"wp_Blog1").as_deref(), Some("wp_Blog1"));
        assert_eq!(file_name(b"my-blog #2").as_deref(), Some("my@002dblog@0020@00232"));
        assert_eq!(file_name("bl\u{f6}g".as_bytes()), None);
    }
}
