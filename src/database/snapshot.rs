//! The point in time: one snapshot, shared by as many connections as the server lets.
//!
//! | rung | how | what it needs |
//! |---|---|---|
//! | `binlog-positions` | MariaDB with a binlog: snapshots are opened at once, again until all name the same position | no right, no lock |
//! | `backup-stage` | MariaDB without: opened while BACKUP STAGE holds commits back for milliseconds | RELOAD |
//! | `read-lock` | MySQL: opened under FLUSH TABLES WITH READ LOCK, given up before a statement of the site waits too long | RELOAD or FLUSH_TABLES |
//! | `single-connection` | one snapshot, one connection | nothing |

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::catalog::text;
use super::connect::{Session, prepare};
use super::error::DatabaseError;

/// How long MariaDB's snapshots are opened again until they are one: a try takes a millisecond or two, and makes nobody wait. (Under thousands of
/// commits a second, 15 tries were the most seen where the processor was free, hundreds where it wasn't.)
const TRYING: Duration = Duration::from_secs(10);

/// How the connections came to share one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    BinlogPositions,
    BackupStage,
    ReadLock,
    SingleConnection,
}

impl Consistency {
    /// Its name in the manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BinlogPositions => "binlog-positions",
            Self::BackupStage => "backup-stage",
            Self::ReadLock => "read-lock",
            Self::SingleConnection => "single-connection",
        }
    }
}

/// An open snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The connections that see it; at least one.
    pub(super) sessions: Vec<Session>,
    pub(super) consistency: Consistency,
    /// The server's position that belongs to it: binlog file, offset and GTID.
    pub(super) position: Option<String>,
}

/// Opens a snapshot on `first` and up to `connections` − 1 more. No statement of the site waits longer than `lock_wait`.
pub(super) async fn open(
    first: Session,
    mariadb: bool,
    connections: usize,
    lock_wait: Duration,
) -> Result<Snapshot, DatabaseError> {
    let mut sessions = vec![first];
    while sessions.len() < connections {
        let Some(session) = sessions.first() else { break };
        // A server that has none to spare is served by fewer.
        let Ok(mut more) = session.another().await else { break };
        prepare(&mut more, mariadb).await?;
        sessions.push(more);
    }
    for session in &mut sessions {
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    }
    if sessions.len() > 1 {
        let shared = if !mariadb {
            under_lock(&mut sessions, &READ_LOCK, lock_wait).await?
        } else if let Some(position) = equal_positions(&mut sessions).await? {
            Some((Consistency::BinlogPositions, Some(position)))
        } else {
            under_lock(&mut sessions, &BACKUP_STAGE, lock_wait).await?
        };
        if let Some((consistency, position)) = shared {
            return Ok(Snapshot { sessions, consistency, position });
        }
        for session in sessions.drain(1..) {
            session.leave().await;
        }
    }
    start(&mut sessions).await?;
    let position = match sessions.first_mut() {
        Some(session) if mariadb => position(session).await?,
        // MySQL tells the position of now, not of the snapshot.
        _ => None,
    };
    Ok(Snapshot { sessions, consistency: Consistency::SingleConnection, position })
}

/// Opens a snapshot on each; one that was open ends.
async fn start(sessions: &mut [Session]) -> Result<(), DatabaseError> {
    // All are waited for, whatever one of them says: none is dropped half-way.
    join_all(sessions.iter_mut().map(|session| session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")))
        .await
        .into_iter()
        .collect()
}

/// MariaDB names the binlog position that belongs to a snapshot exactly: equal positions are one point in time.
async fn equal_positions(sessions: &mut [Session]) -> Result<Option<String>, DatabaseError> {
    let begun = Instant::now();
    while begun.elapsed() < TRYING {
        start(sessions).await?;
        let found = positions(sessions).await?;
        match found.first() {
            // Without a binlog there is nothing to compare.
            None | Some(None) => return Ok(None),
            Some(first) if found.iter().all(|other| other == first) && positions(sessions).await? == found => {
                return match sessions.first_mut() {
                    Some(session) => position(session).await,
                    None => Ok(None),
                };
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

/// The snapshots' positions, asked for one after the other, and by the caller twice: the server puts what one session asks for where another's answer
/// is read from, so that of two at once both may be told the same.
async fn positions(sessions: &mut [Session]) -> Result<Vec<Option<(String, String)>>, DatabaseError> {
    let mut found = Vec::with_capacity(sessions.len());
    for session in sessions {
        found.push(snapshot_position(session).await?);
    }
    Ok(found)
}

/// A lock under which snapshots are opened.
struct Lock {
    consistency: Consistency,
    take: &'static [&'static str],
    release: &'static str,
}

const READ_LOCK: Lock =
    Lock { consistency: Consistency::ReadLock, take: &["FLUSH TABLES WITH READ LOCK"], release: "UNLOCK TABLES" };
const BACKUP_STAGE: Lock = Lock {
    consistency: Consistency::BackupStage,
    take: &["BACKUP STAGE START", "BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT"],
    release: "BACKUP STAGE END",
};

/// Opens the snapshots while a session of its own holds the lock; `None` when the lock isn't to be had: not allowed, or not in time.
async fn under_lock(
    sessions: &mut [Session],
    lock: &Lock,
    lock_wait: Duration,
) -> Result<Option<(Consistency, Option<String>)>, DatabaseError> {
    let Some(Ok(mut locker)) = (match sessions.first() {
        Some(session) => Some(session.another().await),
        None => None,
    }) else {
        return Ok(None);
    };
    // Statements of the site queue up behind a lock that waits. What is left of the bound is for giving it up.
    let patience = lock_wait * 3 / 4;
    let until = tokio::time::Instant::now() + patience;
    let taken = tokio::time::timeout_at(until, async {
        locker.execute(format!("SET SESSION lock_wait_timeout={}", patience.as_secs().max(1))).await?;
        for statement in lock.take {
            locker.execute(statement).await?;
        }
        Ok(())
    });
    match taken.await {
        Ok(Ok(())) => {}
        // Denied, timed out, another backup under way: the next rung.
        Ok(Err(DatabaseError::Server { .. })) | Err(_) => {
            tracing::debug!(lock = lock.consistency.name(), "the lock is not to be had");
            locker.abandon().await;
            return Ok(None);
        }
        Ok(Err(error)) => {
            locker.abandon().await;
            return Err(error);
        }
    }
    // Never dropped half-way: the sessions are used again, and an answer must not be taken for that of the next statement.
    let mut started = pin!(start(sessions));
    let in_time = tokio::time::timeout_at(until, &mut started).await;
    let position = match in_time {
        Ok(Ok(())) if lock.consistency == Consistency::ReadLock => {
            // Without it the snapshot is as good.
            tokio::time::timeout_at(until, server_position(&mut locker)).await.ok()
        }
        _ => Some(Ok(None)),
    };
    match position {
        Some(_) if locker.execute(lock.release).await.is_ok() => locker.leave().await,
        _ => locker.abandon().await,
    }
    match in_time {
        Ok(done) => done?,
        Err(_) => {
            started.await?;
            return Ok(None);
        }
    }
    Ok(Some((lock.consistency, position.unwrap_or(Ok(None))?)))
}

/// The position under a read lock. Without the right to see it, or without a binlog: none.
async fn server_position(session: &mut Session) -> Result<Option<String>, DatabaseError> {
    let mut at = None;
    for statement in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        match session.one(statement).await {
            Ok(row) => {
                at = row.and_then(|row| {
                    let mut fields = row.into_iter();
                    let (file, offset) = (fields.next()??, fields.next()??);
                    Some(format!("{}:{}", text(file), text(offset)))
                });
                break;
            }
            Err(DatabaseError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let gtid = match session.one("SELECT @@GLOBAL.gtid_executed").await {
        Ok(row) => row.and_then(|row| row.into_iter().next()?).map(text).filter(|gtid| !gtid.is_empty()),
        Err(DatabaseError::Server { .. }) => None,
        Err(error) => return Err(error),
    };
    let gtid = gtid.map(|gtid| gtid.split_whitespace().collect());
    let known: Vec<String> = [at, gtid].into_iter().flatten().collect();
    Ok((!known.is_empty()).then(|| known.join(" ")))
}

/// The binlog file and offset that belong to MariaDB's snapshot; `None` without a binlog.
async fn snapshot_position(session: &mut Session) -> Result<Option<(String, String)>, DatabaseError> {
    let (mut file, mut at) = (String::new(), String::new());
    for row in session.all("SHOW STATUS LIKE 'binlog_snapshot_%'").await? {
        if let Ok([Some(name), Some(value)]) = <[_; 2]>::try_from(row) {
            match name.to_ascii_lowercase().as_slice() {
                b"binlog_snapshot_file" => file = text(value),
                b"binlog_snapshot_position" => at = text(value),
                _ => {}
            }
        }
    }
    let known = !file.is_empty() && !file.contains(['\'', '\\']) && at.bytes().all(|b| b.is_ascii_digit());
    Ok(known.then_some((file, at)))
}

/// The same with its GTID, for the manifest.
async fn position(session: &mut Session) -> Result<Option<String>, DatabaseError> {
    let Some((file, at)) = snapshot_position(session).await? else { return Ok(None) };
    // Needs no right, but an old file may be gone already.
    let gtid = match session.one(format!("SELECT BINLOG_GTID_POS('{file}', {at})")).await {
        Ok(row) => row.and_then(|row| row.into_iter().next()?).map(text).filter(|gtid| !gtid.is_empty()),
        Err(DatabaseError::Server { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Some([Some(format!("{file}:{at}")), gtid].into_iter().flatten().collect::<Vec<_>>().join(" ")))
}
