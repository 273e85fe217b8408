//! One loading connection: takes jobs from the board until there are none.

use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Chunk, Job, Next, TableId};
use super::inserts::{Inserts, fits};
use crate::database::connect::Session;
use crate::database::error::DatabaseError;
use crate::database::framing::statements;
use crate::database::literal::quoted;
use crate::repository::byte_text::ByteText;

/// Rows are committed in pieces of this many bytes of SQL: each commit waits for the disk, and what isn't committed is kept in memory to be
/// loaded again after a deadlock.
const COMMIT: usize = 4 << 20;
/// How often what lost a deadlock or waited too long for a lock is tried in all.
const TRIES: u32 = 8;
/// Before it is tried again, times the number of tries.
const PAUSE: Duration = Duration::from_millis(40);

/// What every connection of a restore knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The server's longest packet.
    pub(super) max_packet: u64,
    /// Whether the rows of each table are counted when it is complete.
    pub(super) count: bool,
}

/// A table's transaction that is open.
struct Open {
    table: TableId,
    name: ByteText,
    transactional: bool,
    /// What it loaded, to load it again.
    chunks: Vec<Chunk>,
    bytes: usize,
}

/// A connection and what it has under way.
struct Worker {
    inserts: Inserts,
    number: usize,
    board: Arc<Board>,
    limits: Limits,
    open: Option<Open>,
}

/// Loads until all is done or something failed, here or elsewhere; tells the board.
pub(super) async fn work(session: Session, number: usize, board: Arc<Board>, limits: Limits) {
    let mut worker = Worker { inserts: Inserts::new(session, limits.max_packet), number, board, limits, open: None };
    match worker.run().await {
        Ok(()) => worker.inserts.session.leave().await,
        Err(error) => {
            worker.board.fail(error);
            // A statement may still be running: nothing of ours does when the restore has failed.
            worker.inserts.session.abandon().await;
        }
    }
}

impl Worker {
    async fn run(&mut self) -> Result<(), DatabaseError> {
        let board = Arc::clone(&self.board);
        loop {
            let mut change = std::pin::pin!(board.change());
            change.as_mut().enable();
            match board.take(self.number, self.open.as_ref().map(|open| open.table)) {
                Next::Job(job) => self.job(job).await?,
                // Somebody may wait for just these rows.
                Next::Wait if self.open.is_some() => self.commit().await?,
                Next::Wait => tokio::select! {
                    () = change => {}
                    () = board.stopped() => return Err(DatabaseError::Cancelled),
                },
                Next::End => return Ok(()),
            }
        }
    }

    async fn job(&mut self, job: Job) -> Result<(), DatabaseError> {
        match job {
            Job::Rows { table, name, transactional, sql } => self.rows(table, name, transactional, sql).await,
            Job::Create { table, name, sql } => {
                self.commit().await?;
                self.chunk(&name, &sql).await?;
                self.board.created(table);
                Ok(())
            }
            Job::Complete { table, name, keys, after, rows } => {
                self.commit().await?;
                self.complete(&name, &keys, &after, rows).await?;
                self.board.completed(table);
                Ok(())
            }
        }
    }

    async fn rows(&mut self, table: TableId, name: ByteText, transactional: bool, sql: Chunk) -> Result<(), DatabaseError> {
        if self.open.as_ref().is_some_and(|open| open.table != table) {
            self.commit().await?;
        }
        if self.open.is_none() {
            self.inserts.session.execute("START TRANSACTION").await?;
        }
        let open = self.open.get_or_insert_with(|| Open { table, name, transactional, chunks: Vec::new(), bytes: 0 });
        open.bytes += sql.sql.len();
        let at = open.chunks.len();
        open.chunks.push(sql);
        let loaded = insert(&mut self.inserts, open, at).await;
        if let Err(error) = loaded {
            self.again(error).await?;
        }
        if self.open.as_ref().is_some_and(|open| open.bytes >= COMMIT || !open.transactional) {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DatabaseError> {
        let Some(open) = &self.open else { return Ok(()) };
        if let Err(error) = self.inserts.session.execute_long("COMMIT").await.map_err(|error| error.of(open.name.as_bytes())) {
            self.again(error).await?;
            let name = self.open.as_ref().map(|open| open.name.clone()).unwrap_or_default();
            self.inserts.session.execute_long("COMMIT").await.map_err(|error| error.of(name.as_bytes()))?;
        }
        if let Some(open) = self.open.take() {
            self.board.committed(open.table, open.chunks.len());
        }
        Ok(())
    }

    /// After a deadlock: all of the transaction again.
    async fn again(&mut self, mut error: DatabaseError) -> Result<(), DatabaseError> {
        let Some(open) = &self.open else { return Err(error) };
        for tried in 1..TRIES {
            // Without a transaction, part of the chunk may be there.
            if !passes(&error) || !open.transactional {
                return Err(error);
            }
            tracing::debug!(table = %open.name, tried, "loading a transaction again: {error}");
            // Chunks of a table with a unique key in no order lock each other's gaps, again and again.
            self.board.alone(open.table);
            tokio::time::sleep(PAUSE * tried).await;
            // A lock that was waited for too long leaves the transaction open.
            self.inserts.session.execute_long("ROLLBACK").await?;
            self.inserts.session.execute("START TRANSACTION").await?;
            let mut done = Ok(());
            for at in 0..open.chunks.len() {
                done = insert(&mut self.inserts, open, at).await;
                if done.is_err() {
                    break;
                }
            }
            match done {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
        Err(error)
    }

    async fn complete(&mut self, name: &ByteText, keys: &[Vec<u8>], after: &[Chunk], rows: u64) -> Result<(), DatabaseError> {
        if !keys.is_empty() {
            self.inserts.session.execute("SET NAMES utf8mb4").await?;
            for key in keys {
                self.definition(key).await.map_err(|error| error.of(name.as_bytes()))?;
            }
            self.inserts.session.execute("SET NAMES binary").await?;
        }
        for chunk in after {
            self.chunk(name, chunk).await?;
        }
        if self.limits.count && rows > 0 {
            let sql = [b"SELECT COUNT(*) FROM ", quoted(name.as_bytes()).as_slice()].concat();
            let counted = self.inserts.session.one_long(sql).await.map_err(|error| error.of(name.as_bytes()))?;
            let counted = counted.and_then(|row| String::from_utf8(row.into_iter().next()??).ok()?.parse::<u64>().ok());
            if counted != Some(rows) {
                let found = counted.unwrap_or_default();
                return Err(DatabaseError::RowsDiffer { table: name.clone(), expected: rows, found });
            }
        }
        Ok(())
    }

    /// The statements of a definition.
    async fn chunk(&mut self, name: &ByteText, chunk: &Chunk) -> Result<(), DatabaseError> {
        let list = statements(&chunk.sql).ok_or_else(|| DatabaseError::BadChunk { object: name.clone() })?;
        for statement in list {
            fits(statement.len(), name, self.limits.max_packet)?;
            self.definition(statement).await.map_err(|error| error.of(name.as_bytes()))?;
        }
        Ok(())
    }

    /// A statement that is committed by itself, as definitions are.
    async fn definition(&mut self, sql: &[u8]) -> Result<(), DatabaseError> {
        let mut tried = 1;
        loop {
            match self.inserts.session.execute_long(sql).await {
                Err(error) if passes(&error) && tried < TRIES => {
                    tokio::time::sleep(PAUSE * tried).await;
                    tried += 1;
                }
                done => return done,
            }
        }
    }
}

/// Loads one chunk of the open transaction, and sees to it that each of its rows was taken.
async fn insert(inserts: &mut Inserts, open: &Open, at: usize) -> Result<(), DatabaseError> {
    let Some(chunk) = open.chunks.get(at) else { return Ok(()) };
    let mut added = 0;
    for statement in statements(&chunk.sql).ok_or_else(|| DatabaseError::BadChunk { object: open.name.clone() })? {
        let run = inserts.run(statement, &open.name, open.transactional).await;
        added += run.map_err(|error| error.of(open.name.as_bytes()))?;
    }
    if added != chunk.rows {
        return Err(DatabaseError::RowsDiffer { table: open.name.clone(), expected: chunk.rows, found: added });
    }
    Ok(())
}

/// Whether trying again can help: a deadlock, or a lock that was waited for too long.
fn passes(error: &DatabaseError) -> bool {
    matches!(error.code(), Some(1213 | 1205))
}
