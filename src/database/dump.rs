//! One consistent snapshot of a schema as a stream of chunks in loading order.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::catalog::{self, Kind, Listed, text};
use super::connect::{RowValues, Session};
use super::error::DatabaseError;
use super::identity::{Fence, as_change};
use super::literal::quoted;
use super::rows::{Chunker, Finished, select};
use super::{ddl, grants, objects, script, views};
use crate::config::DatabaseSettings;
use crate::progress::{Event, Progress};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{Finding, FindingCode, TableEntry, TableItem};
use crate::repository::manifest::Server;

/// The taker of a dump stopped; it keeps its own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkStopped;

/// Where a dump goes.
#[async_trait]
pub trait DumpSink: Send {
    /// Takes the next chunk of the list of tables.
    async fn chunk(&mut self, entry: TableEntry<Bytes>) -> Result<(), SinkStopped>;

    /// Takes note of what the dump lacks, and why.
    fn finding(&mut self, finding: Finding);
}

/// What a dump held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpStats {
    /// Tables, not counting views and sequences.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of SQL.
    pub sql_bytes: u64,
}

/// Takes a row: its values as the server's text, `None` for NULL.
pub type EachRow<'a> = dyn FnMut(&[Option<Vec<u8>>]) + Send + 'a;

/// A schema at one point in time. Whatever its methods fail with, the snapshot is of no more use: open a new one.
pub struct Dump {
    /// Gone once it can't be used any more.
    session: Option<Session>,
    server: Server,
    mariadb: bool,
    point_in_time: jiff::Timestamp,
    list: Vec<Listed>,
    fence: Fence,
    user: String,
    schema: String,
}

impl Dump {
    /// Connects and opens the consistent snapshot: the point in time.
    pub async fn open(settings: &DatabaseSettings, cancel: CancellationToken) -> Result<Self, DatabaseError> {
        let mut session = Session::connect(settings, Some(&settings.name), cancel).await?;
        let version =
            session.one("SELECT VERSION()").await?.and_then(|row| row.into_iter().next()?).map(text).unwrap_or_default();
        let mariadb = version.to_ascii_lowercase().contains("mariadb");
        prepare(&mut session, mariadb).await?;
        // What the tables are, before the point in time: a change in between is found like any later one.
        let list = catalog::list(&mut session).await?;
        let fence = Fence::read(&mut session, &list).await?;
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let point_in_time = jiff::Timestamp::now();
        let position = if mariadb { position(&mut session).await? } else { None };
        let server = Server {
            flavour: if mariadb { "mariadb" } else { "mysql" }.into(),
            version,
            consistency: "single-connection".into(),
            position,
        };
        tracing::debug!(address = session.address(), ?server, tables = list.len(), "consistent snapshot opened");
        let (user, schema) = (settings.user.clone(), settings.name.clone());
        Ok(Self { session: Some(session), server, mariadb, point_in_time, list, fence, user, schema })
    }

    /// The server, and how the point in time was made.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The point in time, by the host's clock: the moment right after the snapshot was opened.
    pub fn point_in_time(&self) -> jiff::Timestamp {
        self.point_in_time
    }

    /// What the account can't see of the schema, each with the GRANT that shows it.
    pub async fn hidden(&mut self) -> Result<Vec<Finding>, DatabaseError> {
        let mut session = self.take()?;
        let done = grants::findings(&mut session, self.mariadb).await;
        self.put_back(session, &done).await;
        done
    }

    /// Streams everything to the sink in loading order.
    pub async fn run(&mut self, sink: &mut dyn DumpSink, progress: &dyn Progress) -> Result<DumpStats, DatabaseError> {
        let mut session = self.take()?;
        let mut work = Work { dump: self, session: &mut session, sink, progress, stats: DumpStats::default() };
        let done = work.everything().await;
        let stats = work.stats;
        self.put_back(session, &done).await;
        done.map(|()| stats)
    }

    /// The rows of a query at the same point in time, as raw bytes, one after the other; `None` is NULL.
    pub async fn rows(&mut self, sql: &str, each: &mut EachRow<'_>) -> Result<(), DatabaseError> {
        let mut session = self.take()?;
        let done = async {
            let mut rows = session.stream(sql.as_bytes()).await?;
            while let Some(row) = rows.next().await? {
                each(&row);
            }
            Ok(())
        }
        .await;
        self.put_back(session, &done).await;
        done
    }

    /// The fence: every table's identity again. Ends the snapshot.
    pub async fn close(mut self) -> Result<(), DatabaseError> {
        let mut session = self.take()?;
        let done = async {
            // While our metadata locks still keep the tables as they are. MySQL's information_schema may show the snapshot's state to the
            // session that holds it.
            let later = if self.mariadb {
                again(&mut session).await?
            } else {
                let mut side = session.another().await?;
                prepare(&mut side, self.mariadb).await?;
                let later = again(&mut side).await?;
                side.leave().await;
                later
            };
            self.fence.compare(&later)?;
            session.execute("ROLLBACK").await
        }
        .await;
        self.put_back(session, &done).await;
        if let Some(session) = self.session {
            session.leave().await;
        }
        done
    }

    fn take(&mut self) -> Result<Session, DatabaseError> {
        self.session
            .take()
            .ok_or_else(|| DatabaseError::Unexpected { what: "the snapshot was lost by an earlier failure".into() })
    }

    /// After a failure the server may still be sending: then the session is given up.
    async fn put_back<T>(&mut self, session: Session, done: &Result<T, DatabaseError>) {
        match done {
            Ok(_) | Err(DatabaseError::Server { .. }) => self.session = Some(session),
            Err(_) => session.abandon().await,
        }
    }
}

/// Makes the session read bytes as they are, without the server's time limits.
async fn prepare(session: &mut Session, mariadb: bool) -> Result<(), DatabaseError> {
    session.execute("SET NAMES binary").await?;
    session
        .execute(
            "SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1, net_read_timeout=3600, \
             net_write_timeout=3600, wait_timeout=86400, lock_wait_timeout=50",
        )
        .await?;
    session.execute(if mariadb { "SET SESSION max_statement_time=0" } else { "SET SESSION max_execution_time=0" }).await
}

async fn again(session: &mut Session) -> Result<Fence, DatabaseError> {
    let list = catalog::list(session).await?;
    Fence::read(session, &list).await
}

/// The binlog position that belongs to the snapshot; `None` without a binlog.
async fn position(session: &mut Session) -> Result<Option<String>, DatabaseError> {
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
    if file.is_empty() || file.contains(['\'', '\\']) || !at.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    // Its GTID needs no right, but an old file may be gone already.
    let gtid = match session.one(format!("SELECT BINLOG_GTID_POS('{file}', {at})")).await {
        Ok(row) => row.and_then(|row| row.into_iter().next()?).map(text).filter(|gtid| !gtid.is_empty()),
        Err(DatabaseError::Server { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Some([Some(format!("{file}:{at}")), gtid].into_iter().flatten().collect::<Vec<_>>().join(" ")))
}

/// One run over the schema.
struct Work<'a> {
    dump: &'a Dump,
    session: &'a mut Session,
    sink: &'a mut dyn DumpSink,
    progress: &'a dyn Progress,
    stats: DumpStats,
}

impl Work<'_> {
    async fn everything(&mut self) -> Result<(), DatabaseError> {
        for finding in grants::findings(self.session, self.dump.mariadb).await? {
            self.sink.finding(finding);
        }
        let (charset, collation) = catalog::schema_charset(self.session).await?;
        let engines = catalog::transactional_engines(self.session).await?;
        let list = &self.dump.list;
        self.emit(TableItem::Session, b"", script::session(&charset, &collation)).await?;
        for listed in list.iter().filter(|listed| listed.kind == Kind::Sequence) {
            self.sequence(&listed.name).await.map_err(|error| as_change(error, &listed.name))?;
        }
        for listed in list.iter().filter(|listed| matches!(listed.kind, Kind::Table | Kind::Versioned)) {
            self.table(listed, &engines).await?;
        }
        self.objects(&collation).await?;
        self.emit(TableItem::SessionEnd, b"", script::session_end()).await
    }

    /// Routines before views, which may call them; triggers after the rows, events last.
    async fn objects(&mut self, collation: &[u8]) -> Result<(), DatabaseError> {
        for named in objects::routines(self.session).await? {
            self.object(&named, collation).await?;
        }
        let (views, lost) = views::read(self.session, &self.dump.list, self.dump.schema.as_bytes()).await?;
        for (name, why) in lost {
            self.lost(&name, why.0);
        }
        for view in &views {
            self.emit(TableItem::ViewStub, &view.name, view.stub.clone()).await?;
        }
        for view in views {
            let entry = entry(TableItem::View, &view.name, view.sql);
            self.send(TableEntry { definer: view.definer.map(ByteText), ..entry }).await?;
        }
        let mut rest = objects::triggers(self.session).await?;
        rest.extend(objects::events(self.session).await?);
        for named in rest {
            self.object(&named, collation).await?;
        }
        Ok(())
    }

    async fn object(&mut self, named: &objects::Named, collation: &[u8]) -> Result<(), DatabaseError> {
        match objects::read(self.session, named, collation).await? {
            Ok(object) => {
                let entry = entry(named.item, &named.name, object.sql);
                self.send(TableEntry { definer: object.definer.map(ByteText), ..entry }).await
            }
            Err(why) => {
                self.lost(&named.name, why.0);
                Ok(())
            }
        }
    }

    async fn sequence(&mut self, name: &[u8]) -> Result<(), DatabaseError> {
        let create = self.show_create("SEQUENCE", name).await?;
        let sql = [b"SELECT next_not_cached_value, cycle_count FROM ", quoted(name).as_slice()].concat();
        let row = self.session.one(sql).await?.and_then(|row| <[_; 2]>::try_from(row).ok());
        let Some([Some(next), Some(round)]) = row else {
            return Err(DatabaseError::Unexpected { what: "a sequence without a state".into() });
        };
        let set = [b"DO SETVAL(", quoted(name).as_slice(), b", ", &next, b", 0, ", &round, b")"].concat();
        self.emit(TableItem::Sequence, name, script::definition(&[&create, &set])).await
    }

    /// A table, whole. What is damaged in it is named and left; what changed under us ends the dump.
    async fn table(&mut self, listed: &Listed, engines: &[String]) -> Result<(), DatabaseError> {
        match self.whole_table(listed, engines).await {
            Err(DatabaseError::Server { code, message, .. }) if is_damage(code) => {
                self.lost(&listed.name, format!("the table is damaged, error {code}: {message}"));
                Ok(())
            }
            Err(DatabaseError::Server { code: 1142 | 1143, message, .. }) => {
                let grant = grants::statement("SELECT", &self.dump.schema, &grants::account_named(&self.dump.user));
                Err(DatabaseError::MissingRight { object: listed.name.as_slice().into(), grant, message })
            }
            Err(error) => Err(as_change(error, &listed.name)),
            Ok(()) => Ok(()),
        }
    }

    async fn whole_table(&mut self, listed: &Listed, engines: &[String]) -> Result<(), DatabaseError> {
        let name = listed.name.as_slice();
        // From this first read on a metadata lock keeps the table as it is, so that its identity need not be asked for again.
        self.session.execute([b"SELECT 1 FROM ", quoted(name).as_slice(), b" LIMIT 0"].concat()).await?;
        self.dump.fence.check(self.session, name).await?;
        let (create, counter) = ddl::take_counter(&self.show_create("TABLE", name).await?);
        let create = ddl::without_schema(&create, self.dump.schema.as_bytes());
        let engine = listed.engine.clone().unwrap_or_default();
        let consistent = engines.iter().any(|e| e.eq_ignore_ascii_case(&engine));
        let about = |item, sql: Vec<u8>| TableEntry { consistent, ..entry(item, name, sql) };
        self.send(TableEntry { engine: Some(engine.clone()), ..about(TableItem::Table, script::definition(&[&create])) }).await?;
        self.stats.tables += 1;
        if has_no_rows_of_its_own(&engine) {
            if !engine.eq_ignore_ascii_case("MRG_MyISAM") {
                self.finding(
                    FindingCode::ObjectUnreadable,
                    name,
                    format!("its rows are on another server (engine {engine}): not captured"),
                );
            }
            return Ok(());
        }
        if !consistent {
            self.finding(
                FindingCode::NotConsistent,
                name,
                format!("engine {engine} has no transactions: its rows are of the time they were read"),
            );
        }
        let rows = self.table_rows(name, consistent).await?;
        if listed.kind == Kind::Versioned {
            self.history(name, rows).await?;
        }
        if let Some(counter) = counter {
            let alter = [b"ALTER TABLE ", quoted(name).as_slice(), format!(" AUTO_INCREMENT={counter}").as_bytes()].concat();
            self.send(TableEntry { rows: Some(rows), ..about(TableItem::AfterRows, script::definition(&[&alter])) }).await?;
        }
        Ok(())
    }

    async fn table_rows(&mut self, name: &[u8], consistent: bool) -> Result<u64, DatabaseError> {
        let layout = catalog::layout(self.session, name, self.dump.mariadb).await?;
        let mut chunker = Chunker::new(name, &layout);
        let sql = select(name, &layout);
        let mut total = 0;
        // Apart from the session, which the open result borrows.
        let (sink, progress, stats) = (&mut *self.sink, self.progress, &mut self.stats);
        let mut rows = self.session.stream(&sql).await?;
        loop {
            let row: Option<RowValues> = rows.next().await?;
            let last = row.is_none();
            let done = match row {
                Some(row) => chunker.push(row),
                None => [chunker.finish(), None],
            };
            for Finished { sql, rows } in done.into_iter().flatten() {
                total += rows;
                stats.rows += rows;
                stats.sql_bytes += sql.len() as u64;
                let table = String::from_utf8_lossy(name).into_owned();
                progress.event(Event::Rows { table, rows, bytes: sql.len() as u64 });
                let entry = TableEntry { rows: Some(rows), consistent, ..entry(TableItem::Rows, name, sql) };
                sink.chunk(entry).await.map_err(|SinkStopped| DatabaseError::SinkStopped)?;
            }
            if last {
                return Ok(total);
            }
        }
    }

    /// Only the rows of the point in time are captured; that there were more is named.
    async fn history(&mut self, name: &[u8], rows: u64) -> Result<(), DatabaseError> {
        let sql = [b"SELECT COUNT(*) FROM ", quoted(name).as_slice(), b" FOR SYSTEM_TIME ALL"].concat();
        let count = self.session.stream(&sql).await?.next().await?.and_then(|row| row.into_iter().next()?).map(text);
        let past = count.and_then(|count| count.parse::<u64>().ok()).unwrap_or(u64::MAX).saturating_sub(rows);
        if past > 0 {
            self.finding(
                FindingCode::ObjectUnreadable,
                name,
                format!("{past} past versions of its rows (system versioning) are not captured"),
            );
        }
        Ok(())
    }

    async fn show_create(&mut self, kind: &str, name: &[u8]) -> Result<Vec<u8>, DatabaseError> {
        let row = self.session.one([b"SHOW CREATE ", kind.as_bytes(), b" ", quoted(name).as_slice()].concat()).await?;
        row.and_then(|row| row.into_iter().nth(1)?)
            .ok_or_else(|| DatabaseError::Unexpected { what: "SHOW CREATE shows nothing".into() })
    }

    fn lost(&mut self, name: &[u8], why: String) {
        self.finding(FindingCode::ObjectUnreadable, name, why);
    }

    fn finding(&mut self, code: FindingCode, name: &[u8], detail: String) {
        self.sink.finding(Finding { code, subject: name.into(), detail });
    }

    async fn emit(&mut self, item: TableItem, name: &[u8], sql: Vec<u8>) -> Result<(), DatabaseError> {
        self.send(entry(item, name, sql)).await
    }

    async fn send(&mut self, entry: TableEntry<Bytes>) -> Result<(), DatabaseError> {
        self.stats.sql_bytes += entry.chunk.len() as u64;
        self.sink.chunk(entry).await.map_err(|SinkStopped| DatabaseError::SinkStopped)
    }
}

fn entry(item: TableItem, name: &[u8], sql: impl Into<Bytes>) -> TableEntry<Bytes> {
    TableEntry { item, name: name.into(), rows: None, engine: None, consistent: true, definer: None, chunk: sql.into() }
}

/// The rows are those of other tables or of another server; loading them would write there.
fn has_no_rows_of_its_own(engine: &str) -> bool {
    ["MRG_MyISAM", "FEDERATED", "SPIDER", "BLACKHOLE"].iter().any(|e| e.eq_ignore_ascii_case(engine))
}

/// Errors that mean that a table's files are damaged or missing.
fn is_damage(code: u16) -> bool {
    matches!(
        code,
        126 | 127 | 144 | 145 | 1016 | 1017 | 1033 | 1034 | 1035 | 1168 | 1194 | 1195 | 1286 | 1712 | 1812 | 1877 | 1932
    )
}
