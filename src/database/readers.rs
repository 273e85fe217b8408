//! Several connections read one list of tables; what they read comes back in the list's order.
//!
//! ```text
//!                 ┌─ reader 1 ── part 1 ─┐
//! plan of parts ──┤                      ├── parts in order ──▶ dump
//!                 └─ reader 2 ── part 2 ─┘
//! ```
//!
//! A part is a range of a table's rows. A reader takes the next one from the plan, and with it a place in the queue; so the parts are
//! in the queue in order, each filled by its own reader. Both the queue and each part are bounded: a slow taker makes the readers wait.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::catalog::{Layout, Listed};
use super::connect::Session;
use super::error::DatabaseError;
use super::identity::{Fence, as_change};
use super::query::{self, Range};
use super::rows::{RowWriter, Rows};
use super::table::{self, Table};
use super::watch::Watch;

/// Pieces of rows that a part holds before its reader waits. (Each of 128 KiB, or one large row.)
const PIECES: usize = 16;

/// What all readers share.
pub(super) struct Shared {
    pub(super) fence: Fence,
    pub(super) watch: Watch,
    pub(super) mariadb: bool,
    pub(super) schema: String,
    pub(super) user: String,
    pub(super) transactional: Vec<String>,
    /// Tables of which only the definition is read.
    pub(super) structure_only: BTreeSet<Vec<u8>>,
}

/// A range of a table's rows on its way.
pub(super) struct Part {
    /// The table, with its first part.
    pub(super) begins: Option<Table>,
    /// Whether it is the table's last part.
    pub(super) is_last: bool,
    pieces: mpsc::Receiver<Piece>,
}

enum Piece {
    Rows(Rows),
    /// Why the rest of the range can't be read.
    Damaged(String),
    End,
}

/// What comes next of a part.
pub(super) enum Next {
    Rows(Rows),
    /// The rest can't be read; why.
    Damaged(String),
    End,
    /// Its reader failed.
    Broken,
}

impl Part {
    /// The next rows.
    pub(super) async fn next(&mut self) -> Next {
        match self.pieces.recv().await {
            Some(Piece::Rows(rows)) => Next::Rows(rows),
            Some(Piece::Damaged(why)) => Next::Damaged(why),
            Some(Piece::End) => Next::End,
            None => Next::Broken,
        }
    }
}

/// Readers at work.
pub(super) struct Readers {
    parts: mpsc::Receiver<Part>,
    tasks: JoinSet<Result<Session, DatabaseError>>,
    stop: CancellationToken,
}

impl Readers {
    /// Begins to read these tables over these sessions.
    pub(super) fn begin(sessions: Vec<Session>, tables: Vec<Listed>, shared: &Arc<Shared>, cancel: &CancellationToken) -> Self {
        let (queue, parts) = mpsc::channel(sessions.len().max(1));
        let plan = Arc::new(Mutex::new(Plan { tables: tables.into(), open: None, queue }));
        let stop = cancel.child_token();
        let mut tasks = JoinSet::new();
        for session in sessions {
            tasks.spawn(read(session, Arc::clone(&plan), Arc::clone(shared), stop.clone()));
        }
        Self { parts, tasks, stop }
    }

    /// The next part; `None` after the last, and after a failure.
    pub(super) async fn next(&mut self) -> Option<Part> {
        self.parts.recv().await
    }

    /// Stops reading; what a reader holds is given up.
    pub(super) fn stop(&mut self) {
        self.stop.cancel();
        self.parts.close();
    }

    /// The sessions, once all have read everything; or the first failure, when all have ended.
    pub(super) async fn finish(mut self) -> Result<Vec<Session>, DatabaseError> {
        // Nobody takes parts any more.
        self.parts.close();
        let (mut sessions, mut failed) = (Vec::new(), None);
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(session)) => sessions.push(session),
                // One that failed stops the others, which then say that they were cancelled.
                Ok(Err(error)) if failed.is_none() || matches!(failed, Some(DatabaseError::Cancelled)) => failed = Some(error),
                Ok(Err(_)) => {}
                Err(_) => failed = Some(DatabaseError::Unexpected { what: "a reader of the dump ended unexpectedly".into() }),
            }
        }
        match failed {
            None => Ok(sessions),
            Some(error) => {
                for session in sessions {
                    session.abandon().await;
                }
                Err(error)
            }
        }
    }
}

/// The parts that nobody has taken yet.
struct Plan {
    tables: VecDeque<Listed>,
    open: Option<(Arc<Shape>, VecDeque<Range>)>,
    queue: mpsc::Sender<Part>,
}

/// How a table's rows are read.
struct Shape {
    name: Vec<u8>,
    layout: Layout,
}

/// A part to read: what, and where to.
type Taken = (Arc<Shape>, Range, mpsc::Sender<Piece>);

impl Plan {
    /// The next part; opens the next table when there is no part left of the one before. `None` at the end, or when nobody takes parts.
    async fn take(&mut self, session: &mut Session, shared: &Shared) -> Result<Option<Taken>, DatabaseError> {
        loop {
            let mut begins = None;
            if self.open.is_none() {
                let Some(listed) = self.tables.pop_front() else { return Ok(None) };
                let name = listed.name.clone();
                match table::open(session, listed, shared).await {
                    Ok((table, rows)) => {
                        if let Some((layout, ranges)) = rows {
                            self.open = Some((Arc::new(Shape { name, layout }), ranges));
                        }
                        begins = Some(table);
                    }
                    Err(error) => return Err(as_change(error, &name)),
                }
            }
            let next = match &mut self.open {
                Some((shape, ranges)) => ranges.pop_front().map(|range| (Arc::clone(shape), range, ranges.is_empty())),
                None => None,
            };
            let is_last = next.as_ref().is_none_or(|(_, _, is_last)| *is_last);
            if is_last {
                self.open = None;
            }
            let (fill, pieces) = mpsc::channel(PIECES);
            if next.is_none() {
                // A table without rows to read is a part that is at its end.
                let _ = fill.try_send(Piece::End);
            }
            if self.queue.send(Part { begins, is_last, pieces }).await.is_err() {
                return Ok(None);
            }
            if let Some((shape, range, _)) = next {
                return Ok(Some((shape, range, fill)));
            }
        }
    }
}

/// One reader.
async fn read(
    mut session: Session,
    plan: Arc<Mutex<Plan>>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> Result<Session, DatabaseError> {
    let parts = async {
        loop {
            let taken = plan.lock().await.take(&mut session, &shared).await?;
            let Some((shape, range, fill)) = taken else { return Ok(()) };
            part(&mut session, &shape, range, &fill).await?;
        }
    };
    let done = tokio::select! {
        done = parts => done,
        // While it waits for room. The session's own waits end with the dump's token.
        () = stop.cancelled() => Err(DatabaseError::Cancelled),
    };
    match done {
        Ok(()) => Ok(session),
        Err(error) => {
            stop.cancel();
            session.abandon().await;
            Err(error)
        }
    }
}

async fn part(session: &mut Session, shape: &Shape, range: Range, fill: &mpsc::Sender<Piece>) -> Result<(), DatabaseError> {
    // When nobody takes them, the part's end is of no interest either.
    match rows(session, shape, range, fill).await {
        Ok(()) => {
            let _ = fill.send(Piece::End).await;
            Ok(())
        }
        Err(error) => match table::damage(&error) {
            Some(why) => {
                let _ = fill.send(Piece::Damaged(why)).await;
                let _ = fill.send(Piece::End).await;
                Ok(())
            }
            None => Err(as_change(error, &shape.name)),
        },
    }
}

async fn rows(session: &mut Session, shape: &Shape, range: Range, fill: &mpsc::Sender<Piece>) -> Result<(), DatabaseError> {
    let mut writer = RowWriter::new(&shape.layout, &super::rows::header(&shape.name, &shape.layout));
    let sql = query::select(&shape.name, &shape.layout, range);
    let mut rows = session.stream(&sql).await?;
    while let Some(row) = rows.next().await? {
        for rows in writer.push(row).into_iter().flatten() {
            if fill.send(Piece::Rows(rows)).await.is_err() {
                return Err(DatabaseError::Cancelled);
            }
        }
    }
    if let Some(rows) = writer.take() {
        let _ = fill.send(Piece::Rows(rows)).await;
    }
    Ok(())
}
