//! A restore that the live tables don't notice before it is complete.
//!
//! Everything is loaded into a *shadow* schema beside the live one and counted there. Then one RENAME TABLE moves the live tables into a third
//! schema, where they are kept, and the shadow's into their place. Views, routines, triggers and events, which can't be renamed from one schema
//! into another, are made after that. Before the RENAME the live schema is as it was, whatever happens.
//!
//! The names of both schemas derive from the live one's, and a table in each says that it is ours: what a killed restore left is found by the
//! next and cleared, and nothing else is ever touched.

mod objects;
mod schemas;

use tokio_util::sync::CancellationToken;

use self::schemas::{Schemas, tables};
use super::catalog;
use super::connect::Session;
use super::error::DatabaseError;
use super::late_keys;
use super::lex::tokens;
use super::literal::{quote, quoted};
use super::load::{LoadOptions, Loader, Names, add_foreign, target};
use crate::config::DatabaseSettings;
use crate::repository::byte_text::ByteText;

/// How long the RENAME waits for statements of the site that hold a table: others queue behind it. In seconds.
const LOCK_WAIT: u32 = 2;
/// How often it is tried.
const TRIES: u32 = 15;
/// Between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// A restore by swap, from its beginning on.
pub struct Swap {
    settings: DatabaseSettings,
    schemas: Schemas,
    options: LoadOptions,
    /// Holds the lock that keeps other restores away.
    session: Session,
    cancel: CancellationToken,
    swapped: Option<Swapped>,
    /// Objects of the live schema whose statements are kept with the replaced tables.
    saved: u64,
}

/// What became of what stood in the live schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// The schema that holds the tables that were replaced; `None` when there were none.
    pub replaced: Option<String>,
    /// How many there are.
    pub tables: u64,
}

impl Swapped {
    /// The statement that drops what was replaced.
    pub fn drop_statement(&self) -> Option<String> {
        let schema = self.replaced.as_ref()?;
        Some(format!("DROP DATABASE {}", String::from_utf8_lossy(&quoted(schema.as_bytes()))))
    }
}

impl Swap {
    /// Takes the lock, clears what a restore that was killed left behind, and makes the shadow schema.
    pub async fn begin(
        settings: &DatabaseSettings,
        live: &str,
        options: LoadOptions,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        target::refuse_system(live)?;
        let schemas = Schemas::of(live)?;
        let session = Session::connect(settings, None, cancel.clone()).await?;
        let mut swap = Self { settings: settings.clone(), schemas, options, session, cancel, swapped: None, saved: 0 };
        match swap.prepare().await {
            Ok(()) => Ok(swap),
            Err(error) => {
                swap.session.leave().await;
                Err(error)
            }
        }
    }

    async fn prepare(&mut self) -> Result<(), DatabaseError> {
        target::settle(&mut self.session).await?;
        // Names and definitions as bytes, as the dump reads them.
        self.session.execute("SET NAMES binary").await?;
        self.schemas.lock(&mut self.session).await?;
        if self.schemas.replaced_is_unfinished(&mut self.session).await? {
            // It was killed while the live triggers were away.
            objects::put_back(&mut self.session, &self.schemas).await?;
            objects::forget(&mut self.session, &self.schemas).await?;
        }
        self.schemas.make_shadow(&mut self.session, &self.settings).await
    }

    /// Loads into the shadow schema.
    pub async fn loader(&self) -> Result<Loader, DatabaseError> {
        Loader::shadow(&self.settings, &self.schemas.shadow, self.options.clone(), self.cancel.clone()).await
    }

    /// Loads what isn't a table into the live schema, after the switch.
    pub async fn objects_loader(&self) -> Result<Loader, DatabaseError> {
        let own_schema = self.options.names.is_none();
        Loader::objects(&self.settings, &self.schemas.live, self.options.clone(), own_schema, self.cancel.clone()).await
    }

    /// The switch, once all of the list was given to this loader.
    pub async fn switch(&mut self, mut loader: Loader) -> Result<(), DatabaseError> {
        let foreign = loader.take_foreign();
        loader.finish().await?;
        let (live, shadow) = (self.schemas.live.clone(), self.schemas.shadow.clone());
        let names = self.options.names.clone();

        let coming = tables(&mut self.session, &shadow).await?;
        let leaving = tables(&mut self.session, &live).await?;
        let leaving: Vec<Vec<u8>> =
            leaving.into_iter().filter(|name| names.as_ref().is_none_or(|names| names.contains(name))).collect();
        self.refuse_references_from_outside(&leaving).await?;

        target::enter(&mut self.session, &self.settings, &live).await?;
        self.schemas.make_replaced(&mut self.session, &self.settings).await?;
        let saved = objects::save(&mut self.session, &self.schemas, names.as_ref(), &leaving).await?;
        self.saved = saved.count;
        self.use_schema(&shadow).await?;
        // They were made to see that they can be; triggers would hinder the RENAME.
        target::drop_objects(&mut self.session, &self.settings, &shadow, None).await?;
        self.use_schema(&live).await?;
        self.rename(&leaving, &coming, &saved.trials).await?;

        let tables = leaving.len() as u64;
        let replaced = (tables > 0 || self.saved > 0).then(|| self.schemas.replaced.clone());
        self.swapped = Some(Swapped { replaced, tables });
        self.mend_sequence_defaults().await?;
        self.session.execute("SET foreign_key_checks=0").await?;
        add_foreign(&mut self.session, &foreign).await?;
        target::drop_objects(&mut self.session, &self.settings, &live, names.as_ref()).await
    }

    /// Drops the shadow schema.
    pub async fn finish(mut self) -> Result<Swapped, DatabaseError> {
        let swapped = self.swapped.clone().unwrap_or(Swapped { replaced: None, tables: 0 });
        let done = async {
            self.schemas.drop_shadow(&mut self.session).await?;
            if swapped.replaced.is_none() {
                self.schemas.drop_replaced(&mut self.session).await?;
            }
            Ok(())
        };
        let done = done.await;
        self.session.leave().await;
        done.map(|()| swapped)
    }

    /// Ends a swap that failed, and tells whether the tables were switched all the same. If not, the live schema is as it was. What stands in the
    /// shadow schema goes, if the server still answers; else the next restore clears it.
    pub async fn abandon(self) -> bool {
        let Self { settings, schemas, session, swapped, .. } = self;
        session.abandon().await;
        let switched = swapped.is_some();
        // A token of its own: cancellation may be what brought us here.
        let Ok(mut session) = Session::connect(&settings, None, CancellationToken::new()).await else { return switched };
        let cleared = async {
            session.execute("SET NAMES binary").await?;
            // The answer to the RENAME may have been lost.
            let switched = switched || schemas.replaced_holds_tables(&mut session).await?;
            if !switched && schemas.replaced_is_unfinished(&mut session).await? {
                objects::put_back(&mut session, &schemas).await?;
                schemas.drop_replaced(&mut session).await?;
            }
            schemas.drop_shadow(&mut session).await?;
            Ok::<_, DatabaseError>(switched)
        };
        let cleared = cleared.await;
        session.leave().await;
        cleared.unwrap_or_else(|error| {
            tracing::warn!(schema = schemas.shadow, "what the swap made is left to the next restore: {error}");
            switched
        })
    }

    async fn use_schema(&mut self, schema: &str) -> Result<(), DatabaseError> {
        self.session.execute([b"USE ", quoted(schema.as_bytes()).as_slice()].concat()).await
    }

    /// A foreign key follows the table that it refers to: one of a table that stays would refer to the replaced one.
    async fn refuse_references_from_outside(&mut self, leaving: &[Vec<u8>]) -> Result<(), DatabaseError> {
        let mut sql =
            b"SELECT constraint_schema, table_name, referenced_table_name FROM information_schema.referential_constraints \
                        WHERE unique_constraint_schema = "
                .to_vec();
        quote(self.schemas.live.as_bytes(), &mut sql);
        for row in self.session.all(sql).await? {
            let Ok([Some(schema), Some(table), Some(referenced)]) = <[_; 3]>::try_from(row) else { continue };
            let stays = schema != self.schemas.live.as_bytes() || !leaving.contains(&table);
            if stays && leaving.contains(&referenced) {
                let why = format!("a foreign key of {}.{}, which stays, refers to it", ByteText(schema), ByteText(table));
                return Err(DatabaseError::NotSwappable { table: ByteText(referenced), why });
            }
        }
        Ok(())
    }

    /// The swap itself: all tables in one statement, or none. What dropping could be refused later, when the tables are swapped, is tried before.
    async fn rename(
        &mut self,
        leaving: &[Vec<u8>],
        coming: &[Vec<u8>],
        trials: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), DatabaseError> {
        let Schemas { live, shadow, replaced, .. } = &self.schemas;
        let name = |schema: &str, table: &[u8]| [quoted(schema.as_bytes()), quoted(table)].join(b".".as_slice());
        let step = |from: &str, to: &str, table: &[u8]| [name(from, table), name(to, table)].join(b" TO ".as_slice());
        let away = leaving.iter().map(|table| step(live, replaced, table));
        let steps: Vec<Vec<u8>> = away.chain(coming.iter().map(|table| step(shadow, live, table))).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let rename = [b"RENAME TABLE ".as_slice(), &steps.join(b",\n".as_slice())].concat();
        self.session.execute(format!("SET SESSION lock_wait_timeout={LOCK_WAIT}")).await?;
        let mut tried = 1;
        loop {
            let trials = if tried == 1 { trials } else { &[] };
            let done = async {
                for (name, drop) in trials {
                    self.session.execute_long(drop).await.map_err(|error| error.of(name))?;
                }
                // Each time anew: while the RENAME waited in vain, the triggers were back.
                objects::drop_triggers(&mut self.session, &self.schemas.live, leaving).await?;
                self.session.execute_long(&rename).await
            };
            let done = done.await;
            let Err(error) = done else { break };
            objects::put_back(&mut self.session, &self.schemas).await?;
            if error.code() != Some(1205) || tried == TRIES {
                return Err(target::denied(error, &self.settings, &self.schemas.replaced));
            }
            tried += 1;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.cancel.cancelled() => return Err(DatabaseError::Cancelled),
            }
        }
        self.session.execute("SET SESSION lock_wait_timeout=3600").await
    }

    /// A column's default names its sequence with the schema in which it was made.
    async fn mend_sequence_defaults(&mut self) -> Result<(), DatabaseError> {
        let mut sql = b"SELECT table_name, column_name FROM information_schema.columns WHERE column_default LIKE '%val(%' AND table_schema = ".to_vec();
        quote(self.schemas.live.as_bytes(), &mut sql);
        let shadow = quoted(self.schemas.shadow.as_bytes());
        for row in self.session.all(sql).await? {
            let Ok([Some(table), Some(column)]) = <[_; 2]>::try_from(row) else { continue };
            let create = self.session.one([b"SHOW CREATE TABLE ", quoted(&table).as_slice()].concat()).await?;
            let create = create.and_then(|row| row.into_iter().nth(1)?).unwrap_or_default();
            let Some(definition) =
                late_keys::column(&create, &column).filter(|text| tokens(text).any(|token| token.text == shadow))
            else {
                continue;
            };
            let live = quoted(self.schemas.live.as_bytes());
            let definition = tokens(definition).flat_map(|token| if token.text == shadow { &live } else { token.text }).copied();
            let alter = [b"ALTER TABLE ", quoted(&table).as_slice(), b" MODIFY "].concat().into_iter().chain(definition);
            self.session.execute_long(alter.collect::<Vec<u8>>()).await.map_err(|error| error.of(&table))?;
        }
        Ok(())
    }
}

/// The names that a restore of a part is about, of those that stand in the schema.
fn concerns(names: Option<&Names>, name: &[u8]) -> bool {
    names.is_none_or(|names| names.contains(name))
}

/// The collation of the session's schema.
async fn schema_collation(session: &mut Session) -> Result<Vec<u8>, DatabaseError> {
    catalog::schema_charset(session).await.map(|(_, collation)| collation)
}
