//! What can't be renamed from one schema into another: the live schema's triggers, views, routines and events. Their statements are kept as rows
//! beside the replaced tables, and what a switch took away in vain comes back from there.

use std::collections::BTreeSet;

use super::schemas::Schemas;
use super::{concerns, schema_collation};
use crate::database::connect::Session;
use crate::database::error::DatabaseError;
use crate::database::framing::statements;
use crate::database::literal::{Literal, quote, quoted};
use crate::database::load::Names;
use crate::database::object_sql::{Definer, with_definer};
use crate::database::objects::{self, Named, Object};
use crate::database::{catalog, grants, views};
use crate::repository::byte_text::ByteText;

const TRIGGER: &str = "TRIGGER";
/// What of the session's schema need not be put back, by kind and name.
const THERE: [&str; 3] = [
    "SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    "SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = DATABASE()",
    "SELECT 'VIEW', table_name FROM information_schema.views WHERE table_schema = DATABASE()",
];

/// What [`save`] kept.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// How many objects.
    pub(super) count: u64,
    /// One object of each account whose objects the server may not let this one drop, and the statement that drops it.
    pub(super) trials: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Saves the statements of what the switch and what follows it will drop in the session's schema, the live one: triggers of the tables that leave,
/// and of a whole restore all views, routines and events.
pub(super) async fn save(
    session: &mut Session,
    schemas: &Schemas,
    names: Option<&Names>,
    leaving: &[Vec<u8>],
) -> Result<Saved, DatabaseError> {
    let collation = schema_collation(session).await?;
    let mut saving = Saving { session, schemas, owners: BTreeSet::new(), saved: Saved::default() };
    let ours: BTreeSet<Vec<u8>> = triggers(saving.session, &schemas.live, leaving).await?.into_iter().collect();
    for named in objects::triggers(saving.session).await?.into_iter().filter(|named| ours.contains(&named.name)) {
        match objects::read(saving.session, &named, &collation).await? {
            Ok(object) => saving.keep(TRIGGER, &named.name, &object, true).await?,
            // It couldn't be put back.
            Err(why) => return Err(DatabaseError::NotSwappable { table: ByteText(named.name), why: why.0 }),
        }
    }
    // The account's own may always be dropped.
    let own = grants::cannot_drop_all(saving.session).await?;
    let protected = own.is_some();
    saving.owners.extend(own.map(Some));
    if names.is_none() {
        // First, as nobody notices that one is away for a moment.
        let events = objects::events(saving.session).await?;
        saving.keep_all("EVENT", events, &collation, protected).await?;
    }
    let list = catalog::list(saving.session).await?;
    let (views, lost) = views::read(saving.session, &list, schemas.live.as_bytes()).await?;
    for view in views.into_iter().filter(|view| concerns(names, &view.name)) {
        let object = Object { sql: view.sql, definer: view.definer };
        let trial = protected && saving.trial("VIEW", &view.name, &object);
        saving.keep("VIEW", &view.name, &object, trial).await?;
    }
    for (name, why) in lost.into_iter().filter(|(name, _)| concerns(names, name)) {
        saving.keep("VIEW", &name, &comment(&why.0), false).await?;
    }
    if names.is_none() {
        let routines = objects::routines(saving.session).await?;
        saving.keep_all("ROUTINE", routines, &collation, protected).await?;
    }
    Ok(saving.saved)
}

/// Statements on their way into the table of them.
struct Saving<'a> {
    session: &'a mut Session,
    schemas: &'a Schemas,
    /// Definers whose objects need not be tried (any more).
    owners: BTreeSet<Option<Vec<u8>>>,
    saved: Saved,
}

impl Saving<'_> {
    async fn keep_all(&mut self, kind: &str, list: Vec<Named>, collation: &[u8], protected: bool) -> Result<(), DatabaseError> {
        for named in list {
            let (object, readable) = match objects::read(self.session, &named, collation).await? {
                Ok(object) => (object, true),
                Err(why) => (comment(&why.0), false),
            };
            let trial = protected && readable && self.trial(&named.kind, &named.name, &object);
            self.keep(kind, &named.name, &object, trial).await?;
        }
        Ok(())
    }

    /// Whether this object is to be tried: the first of its definer.
    fn trial(&mut self, kind: &str, name: &[u8], object: &Object) -> bool {
        let first = self.owners.insert(object.definer.clone());
        if first {
            let full = [quoted(self.schemas.live.as_bytes()), quoted(name)].join(b".".as_slice());
            self.saved.trials.push((name.to_vec(), [b"DROP ", kind.as_bytes(), b" IF EXISTS ", full.as_slice()].concat()));
        }
        first
    }

    async fn keep(&mut self, kind: &str, name: &[u8], object: &Object, put_back: bool) -> Result<(), DatabaseError> {
        let definer = object.definer.as_ref().map(|definer| ByteText(definer.clone()));
        let defined = definer.and_then(|definer| with_definer(&object.sql, &definer, &Definer::Keep));
        let table = self.schemas.saved();
        let mut sql =
            [b"INSERT INTO ", table.as_slice(), b" (kind, name, statements, without_definer, put_back) VALUES ("].concat();
        quote(kind.as_bytes(), &mut sql);
        for value in [name, defined.as_deref().unwrap_or(&object.sql), &object.sql] {
            sql.push(b',');
            Literal::Hex.write(Some(value), &mut sql);
        }
        sql.extend_from_slice(if put_back { b",1)" } else { b",0)" });
        self.session.execute(sql).await.map_err(|error| error.of(name))?;
        self.saved.count += 1;
        Ok(())
    }
}

/// What stands for an object that can't be read: why.
fn comment(why: &str) -> Object {
    Object { sql: format!("-- {}\n", why.replace('\n', " ")).into_bytes(), definer: None }
}

/// The triggers of these tables, in the order in which they fire.
async fn triggers(session: &mut Session, live: &str, of: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let mut sql = b"SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = ".to_vec();
    quote(live.as_bytes(), &mut sql);
    let rows = session.all(sql).await?.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
        Ok([Some(name), Some(table)]) if of.contains(&table) => Some(name),
        _ => None,
    });
    Ok(rows.collect())
}

/// Drops the triggers of the tables that leave: with one, a table can't be renamed into another schema.
pub(super) async fn drop_triggers(session: &mut Session, live: &str, leaving: &[Vec<u8>]) -> Result<(), DatabaseError> {
    for name in triggers(session, live, leaving).await? {
        let trigger = [quoted(live.as_bytes()), quoted(&name)].join(b".".as_slice());
        let drop = [b"DROP TRIGGER IF EXISTS ", trigger.as_slice()].concat();
        session.execute_long(drop).await.map_err(|error| error.of(&name))?;
    }
    Ok(())
}

/// Makes those objects again that were taken away for the switch and that the live schema lacks.
pub(super) async fn put_back(session: &mut Session, schemas: &Schemas) -> Result<(), DatabaseError> {
    session.execute([b"USE ", quoted(schemas.live.as_bytes()).as_slice()].concat()).await?;
    let table = schemas.saved();
    let select = [b"SELECT kind, name, statements, without_definer FROM ".as_slice(), &table, b" WHERE put_back ORDER BY place"];
    let saved = session.all(select.concat()).await?;
    if saved.is_empty() {
        return Ok(());
    }
    let mut there = BTreeSet::new();
    for sql in THERE {
        there.extend(session.all(sql).await?);
    }
    for row in saved {
        let Ok([kind, Some(name), Some(defined), Some(plain)]) = <[_; 4]>::try_from(row) else { continue };
        if there.contains(&vec![kind, Some(name.clone())]) {
            continue;
        }
        let made = match run(session, &defined).await {
            // Another's object, which this account could drop and may not make in the other's name.
            Err(error) if error.code() == Some(1227) => run(session, &plain).await,
            done => done,
        };
        match made {
            // A function and a procedure may have one name: it is there.
            Err(error) if error.code() == Some(1304) => {}
            made => made.map_err(|error| DatabaseError::ObjectAway {
                object: ByteText(name),
                saved: String::from_utf8_lossy(&schemas.saved()).into_owned(),
                source: Box::new(error),
            })?,
        }
    }
    session.execute("SET NAMES binary").await?;
    session.execute("SET SESSION sql_mode=''").await
}

async fn run(session: &mut Session, sql: &[u8]) -> Result<(), DatabaseError> {
    for statement in statements(sql).into_iter().flatten() {
        session.execute_long(statement).await?;
    }
    Ok(())
}

/// Forgets what was saved by a restore that came to nothing.
pub(super) async fn forget(session: &mut Session, schemas: &Schemas) -> Result<(), DatabaseError> {
    session.execute([b"DELETE FROM ", schemas.saved().as_slice()].concat()).await
}
