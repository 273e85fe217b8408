//! Chunks into a schema, over several connections at a time.
//!
//! The chunks come in the list's order. Sequences and whatever isn't a table go over one connection; tables go to a [`board::Board`], from which
//! the loading connections take what can be done: chunks of one table on several of them at once, keys built while other tables load.

mod board;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod inserts;
pub(super) mod target;
mod values;
mod worker;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::board::{Board, Chunk, LARGE, NewTable, TableId};
pub use self::target::{Existing, Names, drop_schema};
use self::worker::Limits;
use super::connect::Session;
use super::error::DatabaseError;
use super::framing::{frame, statements};
use super::late_keys::{Parts, part};
use super::object_sql::{Definer, with_definer};
use crate::config::DatabaseSettings;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{TableEntry, TableItem};

/// Bytes of chunks that wait or are loaded but not committed.
const UNDER_WAY: usize = 32 << 20;
/// A share of those: shares are counted, and small chunks take one, too.
const SHARE: usize = 16 << 10;
/// A table with this many bytes of rows gets its secondary keys when they are in: for a smaller one another statement costs more.
const LATE_FROM: usize = 512 << 10;
/// What waits with its table must never take all the room.
const _: () = assert!(LATE_FROM < UNDER_WAY);

/// How a schema is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Connections that load at a time, beside the one that makes everything else.
    pub connections: usize,
    /// What is done about what the schema holds.
    pub existing: Existing,
    /// Only objects of these names are loaded, into a schema that may hold others.
    pub names: Option<Names>,
    /// Whose rights views, routines, triggers and events run with.
    pub definer: Definer,
}

/// The connections of a restore unless told otherwise.
pub const DEFAULT_CONNECTIONS: usize = 4;

impl Default for LoadOptions {
    fn default() -> Self {
        Self { connections: DEFAULT_CONNECTIONS, existing: Existing::Refuse, names: None, definer: Definer::Drop }
    }
}

/// What was loaded, and what there is to say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Objects that had a definer and run as another account now.
    pub definers_changed: u64,
}

/// For what the schema that is loaded is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is where everything belongs.
    Final,
    /// Its tables will be renamed into another: what belongs there only is left out.
    Shadow,
}

/// A schema that is being loaded.
pub struct Loader {
    settings: DatabaseSettings,
    target: String,
    options: LoadOptions,
    purpose: Purpose,
    /// Makes what isn't a table.
    session: Session,
    limits: Limits,
    /// Whether the schema's own character set is set.
    own_schema: bool,
    cancel: CancellationToken,
    stop: CancellationToken,
    /// A loader that is dropped takes its connections along.
    _guard: DropGuard,
    board: Arc<Board>,
    shares: Arc<Semaphore>,
    workers: JoinSet<()>,
    /// The statements of the session's chunk, for each connection.
    prelude: Vec<Vec<u8>>,
    table: Option<CurrentTable>,
    /// Foreign keys for when all tables are complete.
    foreign: Vec<(ByteText, Vec<u8>)>,
    /// Whether all tables are complete.
    tables_done: bool,
    loaded: Loaded,
}

/// The table whose entries come.
enum CurrentTable {
    /// Not begun: it depends on how many rows follow.
    Waiting { entry: TableEntry<Bytes>, share: OwnedSemaphorePermit, rows: Vec<Chunk>, bytes: usize },
    /// On the board.
    Begun { name: ByteText, id: TableId },
}

impl Loader {
    /// Connects and makes the schema `target` ready: creates it if it is missing; when it holds anything, refuses, or drops all that it holds.
    /// `settings.name` plays no part.
    pub async fn open(
        settings: &DatabaseSettings,
        target: &str,
        options: LoadOptions,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        target::refuse_system(target)?;
        let mut session = Session::connect(settings, None, cancel.clone()).await?;
        let ready = async {
            target::settle(&mut session).await?;
            let was_there = target::enter(&mut session, settings, target).await?;
            target::clear(&mut session, settings, target, &options.existing, options.names.as_ref()).await?;
            Ok((was_there, target::max_packet(&mut session).await?))
        };
        match ready.await {
            Ok((was_there, max_packet)) => {
                // A part of a snapshot doesn't decide about the schema that it comes into.
                let own_schema = options.names.is_none() || !was_there;
                let limits = Limits { max_packet, count: false };
                Ok(Self::new(settings, target, options, Purpose::Final, session, limits, own_schema, cancel))
            }
            Err(error) => {
                session.leave().await;
                Err(error)
            }
        }
    }

    /// Loads into a schema that is ready and will give its tables to another: the rows of each table are counted; there are no events, which
    /// would begin to run.
    pub(super) async fn shadow(
        settings: &DatabaseSettings,
        shadow: &str,
        options: LoadOptions,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        let mut session = Session::connect(settings, Some(shadow), cancel.clone()).await?;
        let ready = async {
            target::settle(&mut session).await?;
            target::max_packet(&mut session).await
        };
        match ready.await {
            Ok(max_packet) => {
                let limits = Limits { max_packet, count: true };
                Ok(Self::new(settings, shadow, options, Purpose::Shadow, session, limits, true, cancel))
            }
            Err(error) => {
                session.leave().await;
                Err(error)
            }
        }
    }

    /// Loads only what isn't a table, into a schema whose tables are complete.
    pub(super) async fn objects(
        settings: &DatabaseSettings,
        target: &str,
        options: LoadOptions,
        own_schema: bool,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        let mut loader = Self::shadow(settings, target, options, cancel).await?;
        (loader.purpose, loader.own_schema, loader.tables_done) = (Purpose::Final, own_schema, true);
        Ok(loader)
    }

    #[allow(clippy::too_many_arguments)]
    fn new(
        settings: &DatabaseSettings,
        target: &str,
        options: LoadOptions,
        purpose: Purpose,
        session: Session,
        limits: Limits,
        own_schema: bool,
        cancel: CancellationToken,
    ) -> Self {
        let stop = cancel.child_token();
        Self {
            settings: settings.clone(),
            target: target.to_owned(),
            options,
            purpose,
            session,
            limits,
            own_schema,
            cancel,
            board: Arc::new(Board::new(stop.clone())),
            _guard: stop.clone().drop_guard(),
            stop,
            shares: Arc::new(Semaphore::new(UNDER_WAY / SHARE)),
            workers: JoinSet::new(),
            prelude: Vec::new(),
            table: None,
            foreign: Vec::new(),
            tables_done: false,
            loaded: Loaded::default(),
        }
    }

    /// Waits until there is room for an entry's chunk, before it is read: two large ones are never in memory at a time.
    pub async fn room(&mut self, item: TableItem, size: u64) -> Result<(), DatabaseError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < LARGE {
            return Ok(());
        }
        if item == TableItem::Rows {
            // What waits with its table holds its share for as long as it waits.
            self.put_on_board(true);
        }
        self.share(size).await.map(drop)
    }

    /// Loads one entry of the list of tables; they must come in the list's order, the session's first. Returns before a table's chunk is loaded:
    /// a failure comes with a later call. After a failure only [`Loader::abandon`] makes sense.
    pub async fn load(&mut self, entry: TableEntry<Bytes>) -> Result<(), DatabaseError> {
        if entry.name.as_bytes().iter().any(|byte| *byte >= 0xf0) {
            // MySQL would say nothing and call it `?`.
            let what = "no server has names beyond Unicode's first plane".into();
            return Err(DatabaseError::Uncarried { object: entry.name, what });
        }
        match entry.item {
            TableItem::Session => self.session_chunk(&entry).await,
            TableItem::Sequence => self.run(&entry.name, &entry.chunk).await,
            TableItem::Table | TableItem::Rows | TableItem::AfterRows if self.tables_done => {
                Err(DatabaseError::BadChunk { object: entry.name })
            }
            TableItem::Table => self.begin_table(entry).await,
            TableItem::Rows => self.rows(entry).await,
            TableItem::AfterRows => self.after_rows(entry).await,
            TableItem::Event if self.purpose == Purpose::Shadow => self.complete_tables().await,
            // What they are made of may be among what isn't restored.
            TableItem::ViewStub | TableItem::View if self.purpose == Purpose::Shadow && self.options.names.is_some() => {
                self.complete_tables().await
            }
            TableItem::ViewStub | TableItem::SessionEnd => {
                self.complete_tables().await?;
                self.run(&entry.name, &entry.chunk).await
            }
            TableItem::Routine | TableItem::View | TableItem::Trigger | TableItem::Event => {
                self.complete_tables().await?;
                self.object(&entry).await
            }
        }
    }

    /// Waits until everything is loaded, and ends the sessions.
    pub async fn finish(mut self) -> Result<Loaded, DatabaseError> {
        match self.complete_tables().await {
            Ok(()) => {
                self.session.leave().await;
                Ok(self.loaded)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Ends everything as it is. When this returns, no statement of this restore runs any more.
    pub async fn abandon(mut self) {
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
        self.session.abandon().await;
    }

    async fn session_chunk(&mut self, entry: &TableEntry<Bytes>) -> Result<(), DatabaseError> {
        let all = statements(&entry.chunk).ok_or_else(|| DatabaseError::BadChunk { object: "session".into() })?;
        let of_schema = |statement: &[u8]| statement.starts_with(b"ALTER DATABASE ");
        for statement in all {
            if !of_schema(statement) {
                self.prelude.push(statement.to_vec());
            }
            if !of_schema(statement) || self.own_schema {
                self.session.execute_long(statement).await?;
            }
        }
        Ok(())
    }

    /// The loading connections: as many as there may be.
    async fn connect_workers(&mut self) -> Result<(), DatabaseError> {
        while self.workers.len() < self.options.connections.max(1) {
            match self.connect_worker().await {
                Ok(session) => {
                    let number = self.workers.len();
                    self.workers.spawn(worker::work(session, number, Arc::clone(&self.board), self.limits));
                    self.board.connected(number + 1);
                }
                // The account or the server has no more to give: fewer will do.
                Err(error) if !self.workers.is_empty() && matches!(error.code(), Some(1040 | 1203 | 1226)) => {
                    tracing::info!(connections = self.workers.len(), "the server gives no more connections: {error}");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn connect_worker(&self) -> Result<Session, DatabaseError> {
        let mut session = Session::connect(&self.settings, Some(&self.target), self.stop.clone()).await?;
        let ready = async {
            target::settle(&mut session).await?;
            for statement in &self.prelude {
                session.execute(statement).await?;
            }
            Ok(())
        };
        match ready.await {
            Ok(()) => Ok(session),
            Err(error) => {
                session.leave().await;
                Err(error)
            }
        }
    }

    async fn begin_table(&mut self, entry: TableEntry<Bytes>) -> Result<(), DatabaseError> {
        self.end_table();
        if self.workers.is_empty() {
            self.connect_workers().await?;
        }
        let share = self.share(entry.chunk.len()).await?;
        self.table = Some(CurrentTable::Waiting { entry, share, rows: Vec::new(), bytes: 0 });
        Ok(())
    }

    async fn rows(&mut self, entry: TableEntry<Bytes>) -> Result<(), DatabaseError> {
        let size = entry.chunk.len();
        // Before its share is waited for: a large chunk needs what those that wait here hold.
        if let Some(CurrentTable::Waiting { bytes, .. }) = &mut self.table {
            *bytes += size;
            if *bytes >= LATE_FROM {
                self.put_on_board(true);
            }
        }
        let share = self.share(size).await?;
        let chunk = Chunk { sql: entry.chunk, rows: entry.rows.unwrap_or_default(), _share: Some(share) };
        match &mut self.table {
            Some(CurrentTable::Waiting { entry: table, rows, .. }) if table.name == entry.name => rows.push(chunk),
            Some(CurrentTable::Begun { name, id }) if *name == entry.name => self.board.rows(*id, chunk),
            _ => return Err(DatabaseError::BadChunk { object: entry.name }),
        }
        Ok(())
    }

    async fn after_rows(&mut self, entry: TableEntry<Bytes>) -> Result<(), DatabaseError> {
        self.put_on_board(false);
        let share = self.share(entry.chunk.len()).await?;
        match &self.table {
            Some(CurrentTable::Begun { name, id }) if *name == entry.name => {
                self.board.after_rows(*id, Chunk { sql: entry.chunk, rows: 0, _share: Some(share) });
                Ok(())
            }
            _ => Err(DatabaseError::BadChunk { object: entry.name }),
        }
    }

    /// The table that waits, with the rows that came so far, onto the board; with its secondary keys late or not.
    fn put_on_board(&mut self, late: bool) {
        let (entry, share, rows) = match self.table.take() {
            Some(CurrentTable::Waiting { entry, share, rows, .. }) => (entry, share, rows),
            begun => {
                self.table = begun;
                return;
            }
        };
        let parted = parted(&entry.chunk, late);
        let (sql, keys) = match parted {
            Some((sql, parts)) => {
                self.foreign.extend(parts.foreign.map(|sql| (entry.name.clone(), sql)));
                (sql, parts.keys)
            }
            None => (entry.chunk, Vec::new()),
        };
        let id = self.board.table(NewTable {
            name: entry.name.clone(),
            create: Chunk { sql, rows: 0, _share: Some(share) },
            keys,
            transactional: entry.engine.as_deref().is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")),
        });
        rows.into_iter().for_each(|chunk| self.board.rows(id, chunk));
        self.table = Some(CurrentTable::Begun { name: entry.name, id });
    }

    fn end_table(&mut self) {
        self.put_on_board(false);
        if let Some(CurrentTable::Begun { id, .. }) = self.table.take() {
            self.board.close_table(id);
        }
    }

    /// Waits for room. What is larger than all of it waits until it is alone.
    async fn share(&self, size: usize) -> Result<OwnedSemaphorePermit, DatabaseError> {
        let shares = size.div_ceil(SHARE).clamp(1, UNDER_WAY / SHARE);
        let shares = u32::try_from(shares).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = self.board.stopped() => Err(self.failure()),
            share = Arc::clone(&self.shares).acquire_many_owned(shares) => share.map_err(|_| DatabaseError::Cancelled),
        }
    }

    fn failure(&self) -> DatabaseError {
        if self.cancel.is_cancelled() { DatabaseError::Cancelled } else { self.board.failure() }
    }

    /// Waits until each table is complete, then adds the foreign keys.
    async fn complete_tables(&mut self) -> Result<(), DatabaseError> {
        if self.tables_done {
            return Ok(());
        }
        self.end_table();
        self.board.close();
        while let Some(ended) = self.workers.join_next().await {
            if ended.is_err() {
                self.board.fail(DatabaseError::Unexpected { what: "a loading task ended early".into() });
            }
        }
        if self.stop.is_cancelled() {
            return Err(self.failure());
        }
        self.tables_done = true;
        if self.purpose == Purpose::Final || self.options.names.is_none() {
            let foreign = std::mem::take(&mut self.foreign);
            add_foreign(&mut self.session, &foreign).await?;
        }
        Ok(())
    }

    /// What [`Purpose::Shadow`] of a part leaves to be done where the tables that they refer to are.
    pub(super) fn take_foreign(&mut self) -> Vec<(ByteText, Vec<u8>)> {
        std::mem::take(&mut self.foreign)
    }

    async fn object(&mut self, entry: &TableEntry<Bytes>) -> Result<(), DatabaseError> {
        let Some(had) = &entry.definer else { return self.run(&entry.name, &entry.chunk).await };
        let done = match with_definer(&entry.chunk, had, &self.options.definer) {
            Some(sql) => self.run(&entry.name, &sql).await,
            None => self.run(&entry.name, &entry.chunk).await,
        };
        self.loaded.definers_changed += u64::from(self.options.definer != Definer::Keep);
        done.map_err(|error| match error {
            DatabaseError::Server { code: 1227, message, .. } if self.options.definer != Definer::Drop => {
                DatabaseError::DefinerDenied { object: entry.name.clone(), message }
            }
            other => other,
        })
    }

    /// A chunk of what isn't a table.
    async fn run(&mut self, name: &ByteText, sql: &[u8]) -> Result<(), DatabaseError> {
        for statement in statements(sql).ok_or_else(|| DatabaseError::BadChunk { object: name.clone() })? {
            inserts::fits(statement.len(), name, self.limits.max_packet)?;
            self.session.execute_long(statement).await.map_err(|error| error.of(name.as_bytes()))?;
        }
        Ok(())
    }
}

/// Adds foreign keys: a matter of the definition only, as nothing is checked.
pub(super) async fn add_foreign(session: &mut Session, foreign: &[(ByteText, Vec<u8>)]) -> Result<(), DatabaseError> {
    if foreign.is_empty() {
        return Ok(());
    }
    session.execute("SET NAMES utf8mb4").await?;
    for (table, sql) in foreign {
        session.execute_long(sql).await.map_err(|error| error.of(table.as_bytes()))?;
    }
    session.execute("SET NAMES binary").await
}

/// A table's chunk without what comes later, and that; `None` when nothing does.
fn parted(sql: &[u8], late: bool) -> Option<(Bytes, Parts)> {
    let (mut rest, mut found) = (Vec::new(), None);
    for statement in statements(sql)? {
        match part(statement, late) {
            Some(parts) if found.is_none() => {
                rest.push(parts.create.clone());
                found = Some(parts);
            }
            _ => rest.push(statement.to_vec()),
        }
    }
    found.map(|parts| (frame(&rest).into(), parts))
}
