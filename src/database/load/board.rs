//! What is to be loaded, and in which order it may be: a table's rows after its CREATE, its late keys and counter after all its rows.
//! Connections take work from here; nothing here talks to a server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::database::error::DatabaseError;
use crate::repository::byte_text::ByteText;

/// A chunk of this many bytes is large: a row alone. The driver keeps buffers of its size for as long as the connection lasts that sent it, so one
/// connection sends them all.
pub(super) const LARGE: usize = 2 << 20;

/// A table under way, by number.
pub(super) type TableId = u64;

/// A chunk, and its share of the memory that chunks under way may take.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) sql: Bytes,
    /// How many rows it must add, when it holds rows.
    pub(super) rows: u64,
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

impl Chunk {
    fn is_large(&self) -> bool {
        self.sql.len() >= LARGE
    }
}

/// What a connection does next.
#[derive(Debug)]
pub(super) enum Job {
    /// Make the table.
    Create { table: TableId, name: ByteText, sql: Chunk },
    /// Load a chunk of its rows.
    Rows { table: TableId, name: ByteText, transactional: bool, sql: Chunk },
    /// All rows are in: build its late keys, set its counter, count its rows.
    Complete { table: TableId, name: ByteText, keys: Vec<Vec<u8>>, after: Vec<Chunk>, rows: u64 },
}

/// What [`Board::take`] answers.
#[derive(Debug)]
pub(super) enum Next {
    Job(Job),
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End,
}

/// A table as it comes.
#[derive(Debug)]
pub(super) struct NewTable {
    pub(super) name: ByteText,
    pub(super) create: Chunk,
    pub(super) keys: Vec<Vec<u8>>,
    /// Whether its rows can be rolled back.
    pub(super) transactional: bool,
}

#[derive(Debug)]
struct Table {
    name: ByteText,
    transactional: bool,
    created: bool,
    /// Chunks of rows that are queued or not committed.
    pending: usize,
    rows: u64,
    /// Connections that have a transaction on it.
    connections: usize,
    /// Whether one connection at a time loads it.
    alone: bool,
    /// Whether no more rows come.
    closed: bool,
    /// Whether its last job was handed out.
    completing: bool,
    keys: Vec<Vec<u8>>,
    after: Vec<Chunk>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: HashMap<TableId, Table>,
    queue: VecDeque<Job>,
    /// Tables whose rows are in.
    ready: VecDeque<TableId>,
    next: TableId,
    /// How many connections load.
    workers: usize,
    /// The connection that sends large chunks: the first that got one.
    large: Option<usize>,
    /// Whether no more tables come.
    closed: bool,
    failure: Option<DatabaseError>,
}

/// The board that the connections share.
#[derive(Debug)]
pub(super) struct Board {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Ends the statements under way, when one has failed.
    stop: CancellationToken,
}

impl Board {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { inner: Mutex::default(), changed: Notify::new(), stop }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many connections take jobs, numbered from 0.
    pub(super) fn connected(&self, workers: usize) {
        self.lock().workers = workers;
    }

    /// Adds a table whose rows follow.
    pub(super) fn table(&self, new: NewTable) -> TableId {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        inner.queue.push_back(Job::Create { table: id, name: new.name.clone(), sql: new.create });
        let table = Table {
            name: new.name,
            transactional: new.transactional,
            created: false,
            pending: 0,
            rows: 0,
            connections: 0,
            alone: false,
            closed: false,
            completing: false,
            keys: new.keys,
            after: Vec::new(),
        };
        inner.tables.insert(id, table);
        drop(inner);
        self.changed.notify_waiters();
        id
    }

    /// Adds a chunk of a table's rows.
    pub(super) fn rows(&self, id: TableId, sql: Chunk) {
        let mut inner = self.lock();
        let Some(table) = inner.tables.get_mut(&id) else { return };
        table.pending += 1;
        table.rows = table.rows.saturating_add(sql.rows);
        let job = Job::Rows { table: id, name: table.name.clone(), transactional: table.transactional, sql };
        inner.queue.push_back(job);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Adds what is set when the table's rows are in.
    pub(super) fn after_rows(&self, id: TableId, sql: Chunk) {
        if let Some(table) = self.lock().tables.get_mut(&id) {
            table.after.push(sql);
        }
    }

    /// No more rows of this table come.
    pub(super) fn close_table(&self, id: TableId) {
        let mut inner = self.lock();
        if let Some(table) = inner.tables.get_mut(&id) {
            table.closed = true;
        }
        inner.settle(id);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// No more tables come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// The next job for a connection: the end of a table first, then rows of the table that it has a transaction on (`preferred`), then whatever
    /// came first.
    pub(super) fn take(&self, worker: usize, preferred: Option<TableId>) -> Next {
        let mut inner = self.lock();
        // Keys may be built for hours, and everything would wait for the next large chunk to be loaded.
        let stays_free = inner.large == Some(worker) && inner.workers > 1 && !inner.closed;
        while let Some(id) = if stays_free { None } else { inner.ready.pop_front() } {
            if let Some(table) = inner.tables.get_mut(&id) {
                table.completing = true;
                let (keys, after) = (std::mem::take(&mut table.keys), std::mem::take(&mut table.after));
                return Next::Job(Job::Complete { table: id, name: table.name.clone(), keys, after, rows: table.rows });
            }
        }
        let Inner { tables, queue, large, .. } = &mut *inner;
        let is_mine = large.is_none_or(|other| other == worker);
        let can_begin = |job: &Job| match job {
            Job::Rows { sql, .. } if sql.is_large() && !is_mine => false,
            Job::Rows { table: id, .. } => tables.get(id).is_some_and(|table| {
                let others = table.connections - usize::from(preferred == Some(*id)).min(table.connections);
                table.created && (!table.alone || others == 0)
            }),
            _ => true,
        };
        let of_preferred = |job: &Job| matches!(job, Job::Rows { table, .. } if Some(*table) == preferred);
        let place = queue.iter().position(|job| of_preferred(job) && can_begin(job)).or_else(|| queue.iter().position(can_begin));
        match place.and_then(|place| queue.remove(place)) {
            Some(job) => {
                if matches!(&job, Job::Rows { sql, .. } if sql.is_large()) {
                    *large = Some(worker);
                }
                if let Job::Rows { table: id, .. } = &job
                    && preferred != Some(*id)
                    && let Some(table) = tables.get_mut(id)
                {
                    table.connections += 1;
                }
                Next::Job(job)
            }
            None if inner.closed && inner.tables.is_empty() => Next::End,
            None => Next::Wait,
        }
    }

    /// Its chunks stand in each other's way: from now on one connection at a time loads this table.
    pub(super) fn alone(&self, id: TableId) {
        if let Some(table) = self.lock().tables.get_mut(&id) {
            table.alone = true;
        }
    }

    /// A table was made.
    pub(super) fn created(&self, id: TableId) {
        let mut inner = self.lock();
        if let Some(table) = inner.tables.get_mut(&id) {
            table.created = true;
        }
        inner.settle(id);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// A connection's transaction on a table, with this many chunks of its rows, is committed.
    pub(super) fn committed(&self, id: TableId, chunks: usize) {
        let mut inner = self.lock();
        if let Some(table) = inner.tables.get_mut(&id) {
            table.pending = table.pending.saturating_sub(chunks);
            table.connections = table.connections.saturating_sub(1);
        }
        inner.settle(id);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// A table is as it should be.
    pub(super) fn completed(&self, id: TableId) {
        self.lock().tables.remove(&id);
        self.changed.notify_waiters();
    }

    /// The first failure stops all; those that follow from it say nothing.
    pub(super) fn fail(&self, error: DatabaseError) {
        let mut inner = self.lock();
        if inner.failure.is_none() {
            inner.failure = Some(error);
        }
        drop(inner);
        self.stop.cancel();
        self.changed.notify_waiters();
    }

    /// Why everything stopped. Told once; later on it's a cancellation.
    pub(super) fn failure(&self) -> DatabaseError {
        self.lock().failure.take().unwrap_or(DatabaseError::Cancelled)
    }

    /// Ends when everything stops.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until there may be more to do than when `take` was last asked: made before asking, awaited after.
    pub(super) fn change(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl Inner {
    /// Puts a table among those that are ready, when it is.
    fn settle(&mut self, id: TableId) {
        if let Some(table) = self.tables.get(&id)
            && table.closed
            && table.created
            && table.pending == 0
            && !table.completing
            && !self.ready.contains(&id)
        {
            self.ready.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(rows: u64) -> Chunk {
        Chunk { sql: Bytes::new(), rows, _share: None }
    }

    fn new(name: &str) -> NewTable {
        NewTable { name: name.into(), create: chunk(0), keys: Vec::new(), transactional: true }
    }

    fn board() -> Board {
        Board::new(CancellationToken::new())
    }

    fn said(next: &Next) -> String {
        match next {
            Next::Wait => "wait".into(),
            Next::End => "end".into(),
            Next::Job(Job::Create { name, .. }) => format!("create {name}"),
            Next::Job(Job::Rows { name, .. }) => format!("rows {name}"),
            Next::Job(Job::Complete { name, rows, .. }) => format!("complete {name} {rows}"),
        }
    }

    #[test]
    fn a_tables_work_comes_in_its_order() {
        let board = board();
        let a = board.table(new("a"));
        board.rows(a, chunk(2));
        board.rows(a, chunk(3));
        board.close_table(a);
        let b = board.table(new("b"));
        board.rows(b, chunk(1));
        board.close();

        let take = |preferred| said(&board.take(0, preferred));
        assert_eq!(take(None), "create a");
        // While it is made, others can be.
        assert_eq!(take(None), "create b");
        assert_eq!(take(None), "wait");
        board.created(b);
        assert_eq!(take(None), "rows b");
        board.created(a);
        assert_eq!([take(None), take(Some(a))], ["rows a", "rows a"]);
        board.committed(a, 1);
        assert_eq!(take(None), "wait", "a chunk of it isn't committed");
        board.committed(b, 1);
        assert_eq!(take(None), "wait", "more of its rows may come");
        board.committed(a, 1);
        assert_eq!(take(None), "complete a 5");
        assert_eq!(take(None), "wait");
        board.close_table(b);
        assert_eq!(take(None), "complete b 1");
        board.completed(a);
        assert_eq!(take(None), "wait");
        board.completed(b);
        assert_eq!(take(None), "end");
    }

    #[test]
    fn a_connection_stays_with_its_table() {
        let board = board();
        let (a, b) = (board.table(new("a")), board.table(new("b")));
        board.rows(a, chunk(1));
        board.rows(b, chunk(1));
        board.take(0, None);
        board.take(0, None);
        board.created(a);
        board.created(b);
        assert_eq!(said(&board.take(0, Some(b))), "rows b");
        assert_eq!(said(&board.take(0, Some(b))), "rows a");
    }

    #[test]
    fn a_table_that_must_be_alone_is_loaded_by_one() {
        let board = board();
        let a = board.table(new("a"));
        (0..4).for_each(|_| board.rows(a, chunk(1)));
        board.take(0, None);
        board.created(a);
        let take = |preferred| said(&board.take(0, preferred));
        assert_eq!([take(None), take(None)], ["rows a", "rows a"]);
        board.alone(a);
        assert_eq!([take(None), take(Some(a))], ["wait", "wait"], "the other has a transaction on it");
        board.committed(a, 1);
        assert_eq!([take(None), take(Some(a))], ["wait", "rows a"]);
        board.committed(a, 2);
        assert_eq!([take(None), take(None)], ["rows a", "wait"]);
    }

    #[test]
    fn large_chunks_are_one_connections() {
        let board = board();
        board.connected(2);
        let large = || Chunk { sql: Bytes::from(vec![0; LARGE]), ..chunk(1) };
        let (a, b) = (board.table(new("a")), board.table(new("b")));
        board.close_table(b);
        let take = |worker, preferred| said(&board.take(worker, preferred));
        assert_eq!([take(0, None), take(1, None)], ["create a", "create b"]);
        board.created(a);
        board.rows(a, large());
        board.rows(a, large());
        assert_eq!(take(1, None), "rows a");
        assert_eq!(take(0, None), "wait", "the other's");
        board.created(b);
        assert_eq!(take(1, Some(a)), "rows a");
        assert_eq!(take(1, Some(a)), "wait", "more may come");
        assert_eq!(take(0, None), "complete b 0");
        board.committed(a, 2);
        board.close_table(a);
        assert_eq!(take(1, None), "wait");
        board.close();
        assert_eq!(take(1, None), "complete a 2");
    }

    #[test]
    fn a_connection_that_is_alone_does_all() {
        let board = board();
        board.connected(1);
        let a = board.table(new("a"));
        board.rows(a, Chunk { sql: Bytes::from(vec![0; LARGE]), ..chunk(1) });
        board.close_table(a);
        let take = |preferred| said(&board.take(0, preferred));
        assert_eq!(take(None), "create a");
        board.created(a);
        assert_eq!(take(None), "rows a");
        board.committed(a, 1);
        assert_eq!(take(None), "complete a 1");
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_told() {
        let board = board();
        board.fail(DatabaseError::SinkStopped);
        board.fail(DatabaseError::Cancelled);
        assert!(matches!(board.failure(), DatabaseError::SinkStopped));
        assert!(board.stop.is_cancelled());
    }

    proptest! {
        /// Whatever the order in which connections take and finish jobs, all is done, in the order that each table needs.
        #[test]
        fn all_is_done_in_order(tables in proptest::collection::vec(0usize..6, 1..8), choices in proptest::collection::vec(any::<usize>(), 200)) {
            let board = board();
            let mut ids = Vec::new();
            for (at, chunks) in tables.iter().enumerate() {
                let id = board.table(new(&at.to_string()));
                (0..*chunks).for_each(|_| board.rows(id, chunk(1)));
                board.close_table(id);
                ids.push(id);
            }
            board.close();
            let (mut under_way, mut created, mut loaded, mut complete) = (Vec::new(), vec![false; ids.len()], vec![0; ids.len()], 0);
            let mut choices = choices.into_iter().cycle();
            loop {
                let next = board.take(0, None);
                match next {
                    Next::Job(job) => under_way.push(job),
                    Next::End => break,
                    Next::Wait => {
                        prop_assert!(!under_way.is_empty(), "nobody works and nothing can be done");
                    }
                }
                if !under_way.is_empty() && choices.next().unwrap_or(0) % 2 == 0 {
                    let at = choices.next().unwrap_or(0) % under_way.len();
                    match under_way.swap_remove(at) {
                        Job::Create { table, .. } => {
                            created[usize::try_from(table).unwrap()] = true;
                            board.created(table);
                        }
                        Job::Rows { table, .. } => {
                            prop_assert!(created[usize::try_from(table).unwrap()]);
                            loaded[usize::try_from(table).unwrap()] += 1;
                            board.committed(table, 1);
                        }
                        Job::Complete { table, rows, .. } => {
                            prop_assert_eq!(loaded[usize::try_from(table).unwrap()], tables[usize::try_from(table).unwrap()]);
                            prop_assert_eq!(rows as usize, tables[usize::try_from(table).unwrap()]);
                            complete += 1;
                            board.completed(table);
                        }
                    }
                }
            }
            prop_assert_eq!(complete, tables.len());
        }
    }
}
