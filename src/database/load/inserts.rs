//! How a connection loads rows: as values in bulk where the server takes them so, the long values of a large row apart from its text, and
//! all else as the SQL that the chunk holds.

use mysql_async::Statement;

use super::board::LARGE;
use super::values::Insert;
use crate::database::apart::{Apart, apart};
use crate::database::connect::Session;
use crate::database::error::DatabaseError;
use crate::repository::byte_text::ByteText;

/// A smaller INSERT isn't worth a prepared statement.
const SMALL: usize = 16 << 10;
/// A server that takes no packets of this many bytes gets SQL: as values, a batch of short numbers is half as long again.
const LEAST_PACKET: u64 = 4 << 20;

/// "Only row based replication supported for bulk operations".
const ONLY_ROW_LOG: u16 = 4033;

/// A connection that loads rows.
pub(super) struct Inserts {
    pub(super) session: Session,
    /// The server's longest packet.
    pub(super) max_packet: u64,
    /// Whether the server takes rows in bulk; unknown until the first that could go so.
    bulk: Option<bool>,
    /// The last statement that was prepared, and its SQL.
    prepared: Option<(Vec<u8>, Statement)>,
}

impl Inserts {
    pub(super) fn new(session: Session, max_packet: u64) -> Self {
        let bulk = (max_packet < LEAST_PACKET).then_some(false);
        Self { session, max_packet, bulk, prepared: None }
    }

    /// Runs an INSERT, perhaps in several steps; answers how many rows it added.
    pub(super) async fn run(&mut self, statement: &[u8], name: &ByteText, transactional: bool) -> Result<u64, DatabaseError> {
        if statement.len() >= LARGE {
            // The driver copies a statement twice, and values that are sent in pieces aren't copied whole.
            if let Some(Apart { text, values }) = apart(statement) {
                fits(text.len() + values.iter().map(Vec::len).sum::<usize>(), name, self.max_packet)?;
                if let Some(added) = self.session.affected_apart(&text, values).await? {
                    return Ok(added);
                }
            }
        } else if transactional && statement.len() >= SMALL && self.bulk != Some(false) {
            // Without a transaction, what a batch fails at would leave those before it.
            if let Some(insert) = Insert::of(statement)
                && self.takes_bulk().await?
                && self.prepare(&insert).await?
            {
                match self.run_bulk(insert).await {
                    // The server logs statements, and says so before it takes the first row.
                    Err(error) if error.code() == Some(ONLY_ROW_LOG) => self.bulk = Some(false),
                    done => return done,
                }
            }
        }
        fits(statement.len(), name, self.max_packet)?;
        self.session.affected(statement).await
    }

    async fn takes_bulk(&mut self) -> Result<bool, DatabaseError> {
        let bulk = match self.bulk {
            Some(bulk) => bulk,
            None => self.session.takes_bulk().await?,
        };
        self.bulk = Some(bulk);
        Ok(bulk)
    }

    /// Prepares the statement for these rows, unless it is; tells whether the server has done so.
    async fn prepare(&mut self, insert: &Insert<'_>) -> Result<bool, DatabaseError> {
        let sql = insert.sql();
        if self.prepared.as_ref().is_some_and(|(prepared, _)| *prepared == sql) {
            return Ok(true);
        }
        if let Some((_, statement)) = self.prepared.take() {
            self.session.unprepare(statement).await?;
        }
        self.prepared = self.session.prepared(&sql).await?.map(|statement| (sql, statement));
        Ok(self.prepared.is_some())
    }

    async fn run_bulk(&mut self, insert: Insert<'_>) -> Result<u64, DatabaseError> {
        let Some((sql, statement)) = &self.prepared else { return Ok(0) };
        let mut added = 0;
        for batch in insert {
            added += self.session.bulk(statement, sql, batch).await?;
        }
        Ok(added)
    }
}

/// Refuses what the server would answer by closing the connection.
pub(super) fn fits(statement: usize, name: &ByteText, max_packet: u64) -> Result<(), DatabaseError> {
    // The packet has a byte for its command.
    let bytes = statement as u64 + 1;
    if bytes > max_packet {
        return Err(DatabaseError::PacketTooLarge { object: name.clone(), bytes, limit: max_packet });
    }
    Ok(())
}
