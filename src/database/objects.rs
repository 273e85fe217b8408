//! Routines, triggers and events: what has a body, and settings of its own.

use super::catalog::text;
use super::connect::{RowValues, Session};
use super::ddl;
use super::error::DatabaseError;
use super::grants;
use super::literal::quoted;
use super::script::{self, Creation};
use crate::repository::entry::TableItem;

/// An object that is there.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) item: TableItem,
    /// What SHOW CREATE and DROP call its kind.
    pub(super) kind: String,
    pub(super) name: Vec<u8>,
    /// The table that a trigger is on.
    pub(super) table: Option<Vec<u8>>,
}

/// An object's chunk.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) sql: Vec<u8>,
    pub(super) definer: Option<Vec<u8>>,
}

/// Why an object isn't in the dump.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

/// Functions, procedures and packages, by kind and name. (Kinds in alphabetical order: packages come before their bodies.)
pub(super) async fn routines(session: &mut Session) -> Result<Vec<Named>, DatabaseError> {
    let sql = "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()";
    let mut list: Vec<Named> = session.all(sql).await?.into_iter().filter_map(|row| named(TableItem::Routine, row)).collect();
    list.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    Ok(list)
}

/// Triggers by table, and there in the order in which they fire.
pub(super) async fn triggers(session: &mut Session) -> Result<Vec<Named>, DatabaseError> {
    let sql = "SELECT 'TRIGGER', trigger_name, event_object_table, action_timing, event_manipulation, action_order \
               FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
    let mut rows = session.all(sql).await?;
    rows.sort_by_cached_key(|row| {
        let field = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let order = text(field(5)).parse::<u64>().unwrap_or(0);
        (field(2), field(3), field(4), order, field(1))
    });
    Ok(rows.into_iter().filter_map(|row| named(TableItem::Trigger, row)).collect())
}

/// Events by name.
pub(super) async fn events(session: &mut Session) -> Result<Vec<Named>, DatabaseError> {
    let sql = "SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = DATABASE()";
    let mut list: Vec<Named> = session.all(sql).await?.into_iter().filter_map(|row| named(TableItem::Event, row)).collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn named(item: TableItem, row: RowValues) -> Option<Named> {
    let mut fields = row.into_iter();
    let (kind, name) = (fields.next()??, fields.next()??);
    let table = if item == TableItem::Trigger { fields.next()? } else { None };
    Some(Named { item, kind: text(kind), name, table })
}

/// Reads one object. `schema_collation` is the schema's own of today.
pub(super) async fn read(
    session: &mut Session,
    named: &Named,
    schema_collation: &[u8],
) -> Result<Result<Object, Unreadable>, DatabaseError> {
    let show = [b"SHOW CREATE ", named.kind.as_bytes(), b" ", quoted(&named.name).as_slice()].concat();
    let row = match session.one(show).await {
        Ok(row) => row.unwrap_or_default(),
        // No such trigger, routine, event.
        Err(DatabaseError::Server { code: 1360 | 1305 | 1539, .. }) => {
            let what = format!("the {} was dropped", named.kind.to_lowercase());
            return Err(DatabaseError::Changed { table: named.name.as_slice().into(), what });
        }
        // Interrupted, a lock not had in time, out of memory: passing, and no reason to go on without it.
        Err(error @ DatabaseError::Server { code: 1317 | 1205 | 1213 | 3024 | 1969 | 1037 | 1038 | 1041, .. }) => {
            return Err(error.of(&named.name));
        }
        Err(DatabaseError::Server { code, message, .. }) => return Ok(Err(Unreadable(format!("error {code}: {message}")))),
        Err(error) => return Err(error),
    };
    let mut fields = row.into_iter().skip(1);
    let mut field = || fields.next().flatten();
    let sql_mode = field();
    let time_zone = if named.item == TableItem::Event { field() } else { None };
    let (create, client_charset, connection_collation, collation) = (field(), field(), field(), field());
    let Some(create) = create else {
        let (kind, grant) = (named.kind.to_lowercase(), grants::to_see_routines(session).await?);
        return Ok(Err(Unreadable(format!("the account may not see the {kind}'s body; to let it: {grant}"))));
    };
    let creation = Creation {
        sql_mode,
        client_charset: client_charset.unwrap_or_else(|| b"utf8mb4".to_vec()),
        connection_collation: connection_collation.unwrap_or_else(|| b"utf8mb4_general_ci".to_vec()),
        time_zone,
        schema_collation: collation.filter(|c| c != schema_collation).map(|c| (c, schema_collation.to_vec())),
    };
    let (create, definer) = ddl::take_definer(&create);
    let create = if named.item == TableItem::Trigger { ddl::unqualified_trigger(&create) } else { create };
    Ok(Ok(Object { sql: script::object(&creation, &create), definer }))
}
