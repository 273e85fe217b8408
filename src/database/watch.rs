//! The watch: the dump gives way when a statement waits for a table that it holds.
//!
//! A snapshot keeps a metadata lock on each table that it has read. A change of such a table waits for the lock, and every later statement
//! on the table, a mere SELECT too, waits behind it: a visitor's page. The watch looks at the server's process list and ends the
//! dump's snapshot before they have waited too long. Where the account may not see other accounts' sessions (PROCESS), the watch stands in the
//! visitor's place: a SELECT of its own on each table shows whether one has to wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::catalog::text;
use super::connect::{RowValues, Session, prepare};
use super::error::DatabaseError;
use super::framing;
use super::lex;
use super::literal::quoted;
use crate::repository::byte_text::ByteText;

/// How often the watch looks. What comes on top of it (to notice, to end the snapshot) stays below half of the shortest bound.
const LOOK: Duration = Duration::from_millis(150);
/// Tables that are tried at a look, where the process list doesn't tell.
const TRIED: usize = 500;
/// How long a dump waits at its start for a change of a table that is under way.
const CHANGES_WAIT: Duration = Duration::from_secs(600);

/// Statements that change tables, by their first word.
const CHANGES: [&str; 7] = ["ALTER", "OPTIMIZE", "RENAME", "TRUNCATE", "DROP", "CREATE", "REPAIR"];

/// What is shared with the watch's task.
#[derive(Debug, Default)]
struct Shared {
    /// Tables that the dump holds.
    held: Vec<Vec<u8>>,
    /// Its sessions' numbers on the server.
    sessions: Vec<u32>,
    /// What the dump gave way to.
    gave_way: Option<String>,
}

/// The watch over one snapshot. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Mutex<Shared>>,
    ended: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Begins to watch through a session of its own. Once a statement has waited half of `lock_wait`, the dump's sessions are killed
    /// and `stop` is cancelled. `sees_all`: whether the account may see other accounts' sessions.
    pub(super) fn begin(session: Session, schema: &str, lock_wait: Duration, sees_all: bool, stop: CancellationToken) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ended = CancellationToken::new();
        let (end, to, schema) = (ended.clone(), Arc::clone(&shared), schema.to_owned());
        let task = tokio::spawn(async move {
            let mut session = session;
            let bounds = Bounds { schema: &schema, patience: lock_wait / 2, sees_all };
            tokio::select! {
                () = watch(&mut session, bounds, &stop, &to) => {}
                () = end.cancelled() => {}
            }
            session.leave().await;
        });
        Self { shared, ended, task: Mutex::new(Some(task)) }
    }

    /// Ends the watch and its session.
    pub(super) async fn end(&self) {
        self.ended.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// These sessions are the dump's.
    pub(super) fn knows(&self, sessions: &[Session]) {
        lock(&self.shared).sessions.extend(sessions.iter().map(Session::id));
    }

    /// The dump is about to hold this table.
    pub(super) fn holds(&self, table: &[u8]) {
        lock(&self.shared).held.push(table.to_vec());
    }

    /// What a failure of the dump means once it gave way.
    pub(super) fn explain(&self, error: DatabaseError) -> DatabaseError {
        match (error, &lock(&self.shared).gave_way) {
            (
                DatabaseError::Cancelled
                | DatabaseError::Lost { .. }
                | DatabaseError::Server { .. }
                | DatabaseError::Unreachable { .. },
                Some(statement),
            ) => DatabaseError::GaveWay { statement: statement.clone() },
            (error, _) => error,
        }
    }
}

/// How the watch watches.
#[derive(Debug, Clone, Copy)]
struct Bounds<'a> {
    /// The dump's schema.
    schema: &'a str,
    patience: Duration,
    sees_all: bool,
}

async fn watch(session: &mut Session, bounds: Bounds<'_>, stop: &CancellationToken, shared: &Mutex<Shared>) {
    let Bounds { schema, patience, sees_all } = bounds;
    let mut since: HashMap<Vec<u8>, Instant> = HashMap::new();
    // The server's limit is in whole seconds.
    let limit = format!("SET SESSION lock_wait_timeout={}", patience.as_secs().max(1));
    let mut next = 0;
    let mut limited = session.execute(&limit).await;
    let gave_way = loop {
        tokio::time::sleep(LOOK).await;
        // The dump never goes on unwatched: a session that was killed is made again, or the dump ends.
        if limited.is_err() {
            match session.another().await {
                Ok(again) => *session = again,
                Err(_) => break "none: the connection that watches over the site's statements was lost".to_owned(),
            }
            limited = session.execute(&limit).await;
        }
        let processes = match processes(session).await {
            Ok(processes) => processes,
            Err(error) => {
                limited = Err(error);
                continue;
            }
        };
        let waiting: Vec<Process> = processes.into_iter().filter(|process| process.waits_for_a_table()).collect();
        since.retain(|id, _| waiting.iter().any(|process| process.id == *id));
        let held = |process: &&Process| process.concerns(schema) && lock(shared).held.iter().any(|table| process.mentions(table));
        let late = |process: &&Process| since.entry(process.id.clone()).or_insert_with(Instant::now).elapsed() >= patience;
        match waiting.iter().filter(held).find(late) {
            Some(process) => break process.summary(),
            None if sees_all => {}
            None => match tried(session, shared, &mut next).await {
                Ok(None) => {}
                Ok(Some(table)) => break format!("one on {table}, by an account whose sessions this one may not see"),
                Err(error) => limited = Err(error),
            },
        }
    };
    lock(shared).gave_way = Some(gave_way);
    // The locks go with the sessions, whatever these are doing: reading, waiting for the store, or nothing.
    let ids = lock(shared).sessions.clone();
    for id in ids {
        let _ = session.execute(format!("KILL {id}")).await;
    }
    stop.cancel();
}

/// Reads nothing from some of the tables, from the place `next` on; returns one for which that had to wait too long.
async fn tried(session: &mut Session, shared: &Mutex<Shared>, next: &mut usize) -> Result<Option<ByteText>, DatabaseError> {
    let tables: Vec<Vec<u8>> = {
        let held = &lock(shared).held;
        *next = if *next < held.len() { *next } else { 0 };
        held.iter().skip(*next).take(TRIED).cloned().collect()
    };
    *next += TRIED;
    for table in tables {
        match session.execute([b"SELECT 1 FROM ", quoted(&table).as_slice(), b" LIMIT 0"].concat()).await {
            Err(DatabaseError::Server { code: 1205, .. }) => return Ok(Some(ByteText(table))),
            // Gone, or not allowed: the dump finds that itself.
            Ok(()) | Err(DatabaseError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Waits while a table of the session's schema is being changed: a dump that begins now would have to be repeated.
pub(super) async fn until_unchanged(session: &mut Session, schema: &str) -> Result<(), DatabaseError> {
    let begun = Instant::now();
    let mut told = false;
    while begun.elapsed() < CHANGES_WAIT {
        let found = processes(session).await?.into_iter().find(|process| process.changes_tables_of(schema));
        let Some(process) = found else { return Ok(()) };
        if !told {
            tracing::info!(statement = process.summary(), "a table is being changed: the dump waits");
            told = true;
        }
        session.pause(LOOK).await?;
    }
    Ok(())
}

/// A side session for the watch.
pub(super) async fn session(of: &Session, mariadb: bool, cancel: CancellationToken) -> Result<Session, DatabaseError> {
    let mut session = of.another_under(cancel).await?;
    prepare(&mut session, mariadb).await?;
    Ok(session)
}

/// A line of the process list: with the PROCESS right all sessions', else those of our own account.
struct Process {
    id: Vec<u8>,
    schema: Vec<u8>,
    state: String,
    statement: Vec<u8>,
}

async fn processes(session: &mut Session) -> Result<Vec<Process>, DatabaseError> {
    Ok(session.all("SHOW FULL PROCESSLIST").await?.into_iter().filter_map(process).collect())
}

fn process(row: RowValues) -> Option<Process> {
    // Id, User, Host, db, Command, Time, State, Info
    let mut fields = row.into_iter();
    let id = fields.next()??;
    let schema = fields.nth(2)?.unwrap_or_default();
    let state = fields.nth(2)?.map(text).unwrap_or_default();
    let statement = fields.next()??;
    Some(Process { id, schema, state, statement })
}

impl Process {
    fn waits_for_a_table(&self) -> bool {
        // The second: what FLUSH TABLES, and every statement behind it, waits for while we read.
        ["Waiting for table metadata lock", "Waiting for table flush"].iter().any(|state| self.state.eq_ignore_ascii_case(state))
    }

    /// Whether it is about this schema: by default, or by name.
    fn concerns(&self, schema: &str) -> bool {
        self.schema.eq_ignore_ascii_case(schema.as_bytes()) || self.mentions(schema.as_bytes())
    }

    /// Whether its statement has this name in it, quoted or not.
    fn mentions(&self, name: &[u8]) -> bool {
        let quoted = quoted(name);
        lex::tokens(&self.statement).any(|t| t.text.eq_ignore_ascii_case(name) || t.text.eq_ignore_ascii_case(&quoted))
    }

    fn changes_tables_of(&self, schema: &str) -> bool {
        let first = lex::tokens(&self.statement).find(|token| token.kind == lex::Kind::Word);
        let changes = first.is_some_and(|word| CHANGES.iter().any(|change| word.is(change)));
        changes && self.schema.eq_ignore_ascii_case(schema.as_bytes())
    }

    fn summary(&self) -> String {
        framing::summary(&self.statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: &str, statement: &str) -> Process {
        let row = ["7", "u", "localhost", "blog", "Query", "1", state, statement];
        process(row.iter().map(|field| Some(field.as_bytes().to_vec())).collect()).unwrap()
    }

    #[test]
    fn who_waits_for_what() {
        let alter = shown("Waiting for table metadata lock", "alter table `WP_posts` add x int");
        assert!(alter.waits_for_a_table() && alter.mentions(b"wp_posts") && !alter.mentions(b"wp_users"));
        assert!(alter.changes_tables_of("blog") && !alter.changes_tables_of("shop"));
        let select = shown("Sending data", "/* a */ SELECT 'ALTER'");
        assert!(!select.waits_for_a_table() && !select.changes_tables_of("blog"));
        assert!(shown("copy to tmp table", " /* x */ OPTIMIZE TABLE a").changes_tables_of("blog"));
    }

    #[test]
    fn a_session_without_a_statement_is_none() {
        let row = vec![Some(b"7".to_vec()), Some(b"u".to_vec()), None, None, Some(b"Sleep".to_vec()), None, None, None];
        assert!(process(row).is_none());
    }
}
