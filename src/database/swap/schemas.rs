//! The schemas beside the live one: their names, and how they are known to be ours.

use crate::config::DatabaseSettings;
use crate::database::connect::Session;
use crate::database::error::DatabaseError;
use crate::database::literal::{quote, quoted};
use crate::database::load::target;

/// The table that says that a schema is a shadow.
const SHADOW_MARK: &str = "wp_backup_agent_shadow";
/// The table that says that a schema holds what was replaced; its rows are the statements of objects that can't be moved.
pub(super) const REPLACED_MARK: &str = "wp_backup_agent_replaced";
/// The longest name of a schema, in characters.
const NAME_LIMIT: usize = 64;

/// The schemas of a swap.
#[derive(Debug, Clone)]
pub(super) struct Schemas {
    pub(super) live: String,
    pub(super) shadow: String,
    pub(super) replaced: String,
}

impl Schemas {
    /// Those that belong to this live schema.
    pub(super) fn of(live: &str) -> Result<Self, DatabaseError> {
        let schemas = Self { live: live.to_owned(), shadow: format!("{live}_restoring"), replaced: format!("{live}_replaced") };
        if schemas.shadow.chars().count() > NAME_LIMIT {
            let why = format!("{} is longer than a database's name may be", schemas.shadow);
            return Err(DatabaseError::NotSwappable { table: live.into(), why });
        }
        Ok(schemas)
    }

    /// Keeps other restores away for as long as the session lasts.
    pub(super) async fn lock(&self, session: &mut Session) -> Result<(), DatabaseError> {
        let hash = blake3::hash(self.live.as_bytes()).to_hex();
        let lock = format!("SELECT GET_LOCK('wp-backup-agent restore {}', 0)", hash.get(..16).unwrap_or_default());
        match session.one(lock).await?.and_then(|row| row.into_iter().next()?).as_deref() {
            Some(b"1") => Ok(()),
            _ => Err(DatabaseError::Busy { name: self.live.clone() }),
        }
    }

    fn shadow_comment(&self) -> String {
        format!("wp-backup-agent: a restore of {} under way", self.live)
    }

    fn replaced_comment(&self) -> String {
        format!("wp-backup-agent: what a restore replaced in {}", self.live)
    }

    /// Makes the shadow schema, or clears the one that a killed restore left.
    pub(super) async fn make_shadow(&self, session: &mut Session, settings: &DatabaseSettings) -> Result<(), DatabaseError> {
        let found = look(session, &self.shadow, SHADOW_MARK, &self.shadow_comment()).await?;
        if matches!(found, Found::Foreign) {
            return Err(self.foreign(&self.shadow));
        }
        target::enter(session, settings, &self.shadow).await?;
        if let Found::Ours { others } = found {
            if others > 0 {
                tracing::info!(schema = self.shadow, "clearing what a restore that was killed left");
            }
            target::drop_objects(session, settings, &self.shadow, None).await?;
            return drop_tables(session, &self.shadow).await;
        }
        let columns = "id INT NOT NULL PRIMARY KEY";
        session
            .execute(mark(SHADOW_MARK, columns, &self.shadow_comment()))
            .await
            .map_err(|e| target::denied(e, settings, &self.shadow))
    }

    /// Drops the shadow schema, its mark last. A schema without the mark is let be.
    pub(super) async fn drop_shadow(&self, session: &mut Session) -> Result<(), DatabaseError> {
        let found = look(session, &self.shadow, SHADOW_MARK, &self.shadow_comment()).await?;
        if !matches!(found, Found::Ours { .. }) {
            return Ok(());
        }
        session.execute("SET foreign_key_checks=0").await?;
        drop_tables(session, &self.shadow).await?;
        session.execute_long([b"DROP DATABASE ", quoted(self.shadow.as_bytes()).as_slice()].concat()).await
    }

    /// Whether a schema for replaced tables stands there that got none: its restore was killed or failed before the switch. Fails when one
    /// stands there that holds anything else.
    pub(super) async fn replaced_is_unfinished(&self, session: &mut Session) -> Result<bool, DatabaseError> {
        match look(session, &self.replaced, REPLACED_MARK, &self.replaced_comment()).await? {
            Found::Nothing => Ok(false),
            Found::Ours { others: 0 } => Ok(true),
            Found::Ours { others } => Err(DatabaseError::InTheWay {
                name: self.replaced.clone(),
                why: format!("it holds the {others} tables that an earlier restore replaced in {}", self.live),
                advice: format!(
                    "when they are not needed any more: DROP DATABASE {}",
                    String::from_utf8_lossy(&quoted(self.replaced.as_bytes()))
                ),
            }),
            Found::Foreign => Err(self.foreign(&self.replaced)),
        }
    }

    /// Whether replaced tables stand there: the switch was made.
    pub(super) async fn replaced_holds_tables(&self, session: &mut Session) -> Result<bool, DatabaseError> {
        let found = look(session, &self.replaced, REPLACED_MARK, &self.replaced_comment()).await?;
        Ok(matches!(found, Found::Ours { others: 1.. }))
    }

    /// Makes the schema for what is replaced; its session must be in the live schema, and stays there.
    pub(super) async fn make_replaced(&self, session: &mut Session, settings: &DatabaseSettings) -> Result<(), DatabaseError> {
        if self.replaced_is_unfinished(session).await? {
            return Ok(());
        }
        target::enter(session, settings, &self.replaced).await?;
        let columns = "place INT NOT NULL AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(20) NOT NULL, name VARBINARY(256) NOT NULL, \
                       statements LONGBLOB NOT NULL, without_definer LONGBLOB NOT NULL, put_back BOOLEAN NOT NULL";
        session
            .execute(mark(REPLACED_MARK, columns, &self.replaced_comment()))
            .await
            .map_err(|error| target::denied(error, settings, &self.replaced))?;
        target::enter(session, settings, &self.live).await.map(|_| ())
    }

    /// Drops the schema for what is replaced, when it has nothing but its mark.
    pub(super) async fn drop_replaced(&self, session: &mut Session) -> Result<(), DatabaseError> {
        if self.replaced_is_unfinished(session).await? {
            session.execute_long([b"DROP DATABASE ", quoted(self.replaced.as_bytes()).as_slice()].concat()).await?;
        }
        Ok(())
    }

    /// The table of saved statements.
    pub(super) fn saved(&self) -> Vec<u8> {
        [quoted(self.replaced.as_bytes()), quoted(REPLACED_MARK.as_bytes())].join(b".".as_slice())
    }

    fn foreign(&self, schema: &str) -> DatabaseError {
        DatabaseError::InTheWay {
            name: schema.to_owned(),
            why: format!("a restore into {} needs a database of this name, and it was not made by one", self.live),
            advice: "rename it, or restore with --overwrite instead of --swap".into(),
        }
    }
}

/// What stands under a schema's name.
enum Found {
    /// No such schema, or an empty one.
    Nothing,
    /// One that has our mark, and this many other tables.
    Ours { others: usize },
    /// Something else.
    Foreign,
}

async fn look(session: &mut Session, schema: &str, mark: &str, comment: &str) -> Result<Found, DatabaseError> {
    let mut sql = b"SELECT table_name, table_comment FROM information_schema.tables WHERE table_schema = ".to_vec();
    quote(schema.as_bytes(), &mut sql);
    let rows = session.all(sql).await?;
    let is_mark = |row: &[Option<Vec<u8>>]| matches!(row, [Some(name), Some(said)] if name == mark.as_bytes() && said == comment.as_bytes());
    Ok(match rows.len() {
        0 => Found::Nothing,
        tables if rows.iter().any(|row| is_mark(row)) => Found::Ours { others: tables - 1 },
        _ => Found::Foreign,
    })
}

/// The base tables and sequences of a schema, our own apart, by name.
pub(super) async fn tables(session: &mut Session, schema: &str) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let mut sql =
        b"SELECT table_name FROM information_schema.tables WHERE table_type NOT LIKE '%VIEW%' AND table_schema = ".to_vec();
    quote(schema.as_bytes(), &mut sql);
    let names = session.all(sql).await?.into_iter().filter_map(|row| row.into_iter().next()?);
    let mut names: Vec<Vec<u8>> =
        names.filter(|name| name != SHADOW_MARK.as_bytes() && name != REPLACED_MARK.as_bytes()).collect();
    names.sort();
    Ok(names)
}

async fn drop_tables(session: &mut Session, schema: &str) -> Result<(), DatabaseError> {
    session.execute("SET foreign_key_checks=0").await?;
    for name in tables(session, schema).await? {
        let table = [quoted(schema.as_bytes()), quoted(&name)].join(b".".as_slice());
        session.execute_long([b"DROP TABLE IF EXISTS ", table.as_slice()].concat()).await.map_err(|error| error.of(&name))?;
    }
    Ok(())
}

fn mark(name: &str, columns: &str, comment: &str) -> Vec<u8> {
    let mut sql = format!("CREATE TABLE {name} ({columns}) ENGINE=InnoDB COMMENT=").into_bytes();
    quote(comment.as_bytes(), &mut sql);
    sql
}
