//! One consistent snapshot of a schema as a stream of chunks in loading order.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::catalog::{self, Kind, Listed, text};
use super::connect::{Session, prepare};
use super::error::DatabaseError;
use super::identity::{Fence, Scope};
use super::literal::quoted;
use super::readers::{Next, Part, Readers, Shared};
use super::rows::{Chunker, Finished, Rows};
use super::selection::Selection;
use super::snapshot::{self, Snapshot};
use super::table::{self, Table};
use super::watch::{self, Watch};
use super::{grants, objects, script, views};
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
    /// None of them once they can't be used any more.
    sessions: Vec<Session>,
    /// Holds every table as it is.
    holder: Option<Session>,
    server: Server,
    point_in_time: jiff::Timestamp,
    list: Vec<Listed>,
    /// Names of what the owner's patterns leave out.
    left_out: BTreeSet<Vec<u8>>,
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

impl Dump {
    /// Connects and opens the consistent snapshot: the point in time. Waits first while a table is being changed.
    pub async fn open(settings: &DatabaseSettings, cancel: CancellationToken) -> Result<Self, DatabaseError> {
        // The dump's own token: the watch cancels it, too.
        let own = cancel.child_token();
        let how = &settings.dump;
        let mut session = Session::connect(settings, Some(&settings.name), own.clone()).await?;
        let version =
            session.one("SELECT VERSION()").await?.and_then(|row| row.into_iter().next()?).map(text).unwrap_or_default();
        let mariadb = version.to_ascii_lowercase().contains("mariadb");
        prepare(&mut session, mariadb).await?;
        watch::until_unchanged(&mut session, &settings.name).await?;
        let side = watch::session(&session, mariadb, cancel).await?;
        let sees_all = Fence::sees_all(&mut session).await?;
        let watch = Watch::begin(side, &settings.name, how.lock_wait, sees_all, own.clone());
        let opened = open_under(&watch, session, settings, mariadb).await.map_err(|error| watch.explain(error))?;
        let Opened { list, left_out, structure_only, fence, transactional, holder, snapshot, point_in_time } = opened;
        let server = Server {
            flavour: if mariadb { "mariadb" } else { "mysql" }.into(),
            version,
            consistency: snapshot.consistency.name().into(),
            position: snapshot.position,
        };
        let (connections, tables) = (snapshot.sessions.len(), list.len());
        tracing::debug!(?server, connections, tables, "consistent snapshot opened");
        let shared = Shared {
            fence,
            watch,
            mariadb,
            schema: settings.name.clone(),
            user: settings.user.clone(),
            transactional,
            structure_only,
        };
        Ok(Self {
            sessions: snapshot.sessions,
            holder: Some(holder),
            server,
            point_in_time,
            list,
            left_out,
            shared: Arc::new(shared),
            cancel: own,
        })
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
        let mariadb = self.shared.mariadb;
        let done = match self.session() {
            Ok(session) => grants::findings(session, mariadb).await,
            Err(error) => Err(error),
        };
        self.kept(done).await
    }

    /// Streams everything to the sink in loading order.
    pub async fn run(&mut self, sink: &mut dyn DumpSink, progress: &dyn Progress) -> Result<DumpStats, DatabaseError> {
        let mut work = Work { dump: self, sink, progress, stats: DumpStats::default() };
        let done = work.everything().await;
        let stats = work.stats;
        self.kept(done).await.map(|()| stats)
    }

    /// The rows of a query at the same point in time, as raw bytes, one after the other; `None` is NULL.
    pub async fn rows(&mut self, sql: &str, each: &mut EachRow<'_>) -> Result<(), DatabaseError> {
        let done = async {
            let mut rows = self.session()?.stream(sql.as_bytes()).await?;
            while let Some(row) = rows.next().await? {
                each(&row);
            }
            Ok(())
        }
        .await;
        self.kept(done).await
    }

    /// The fence: every table's identity again. Ends the snapshot.
    pub async fn close(mut self) -> Result<(), DatabaseError> {
        let done = self.compare().await;
        self.kept(done).await?;
        let sessions = std::mem::take(&mut self.sessions).into_iter().chain(self.holder.take());
        futures::future::join_all(sessions.map(Session::leave)).await;
        self.shared.watch.end().await;
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), DatabaseError> {
        let mariadb = self.shared.mariadb;
        // While our metadata locks still keep the tables as they are. MySQL's information_schema may show the snapshot's state to the
        // session that holds it.
        let mut side = self.session()?.another().await?;
        prepare(&mut side, mariadb).await?;
        let scope = Scope { schema: &self.shared.schema, left_out: &self.left_out, structure_only: &self.shared.structure_only };
        let mut list = catalog::list(&mut side).await?;
        list.retain(|listed| !self.left_out.contains(&listed.name));
        let later = Fence::read(&mut side, &list, &scope).await?;
        side.leave().await;
        // It must have held them to the end.
        if let Some(holder) = &mut self.holder {
            holder.execute("ROLLBACK").await?;
        }
        self.shared.fence.compare(&later)
    }

    fn session(&mut self) -> Result<&mut Session, DatabaseError> {
        let lost = || DatabaseError::Unexpected { what: "the snapshot was lost by an earlier failure".into() };
        self.sessions.first_mut().ok_or_else(lost)
    }

    /// After a failure the server may still be sending, and the site waiting for our locks: then the sessions are given up.
    async fn kept<T>(&mut self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        match done.map_err(|error| self.shared.watch.explain(error)) {
            Ok(done) => Ok(done),
            Err(error @ DatabaseError::Server { .. }) => Err(error),
            Err(error) => {
                let sessions = std::mem::take(&mut self.sessions).into_iter().chain(self.holder.take());
                futures::future::join_all(sessions.map(Session::abandon)).await;
                self.shared.watch.end().await;
                Err(error)
            }
        }
    }
}

/// What is open when a dump begins.
struct Opened {
    list: Vec<Listed>,
    left_out: BTreeSet<Vec<u8>>,
    structure_only: BTreeSet<Vec<u8>>,
    fence: Fence,
    transactional: Vec<String>,
    holder: Session,
    snapshot: Snapshot,
    point_in_time: jiff::Timestamp,
}

async fn open_under(
    watch: &Watch,
    mut session: Session,
    settings: &DatabaseSettings,
    mariadb: bool,
) -> Result<Opened, DatabaseError> {
    let how = &settings.dump;
    let selection = Selection::new(how)?;
    let (list, left_out) = listed(&mut session, &selection).await?;
    let structure_only = only_structure(&list, &selection);
    // From before the point in time to the end no table changes under us: what would change one waits, and the watch gives way to it.
    let mut holder = session.another().await?;
    prepare(&mut holder, mariadb).await?;
    watch.knows(std::slice::from_ref(&holder));
    hold(&mut holder, &list, &structure_only, watch).await?;
    // What the tables are. (Not all that changes needs a table's lock.)
    let scope = Scope { schema: &settings.name, left_out: &left_out, structure_only: &structure_only };
    let fence = Fence::read(&mut session, &list, &scope).await?;
    let transactional = catalog::transactional_engines(&mut session).await?;
    let snapshot = snapshot::open(session, mariadb, how.connections, how.lock_wait).await?;
    let point_in_time = jiff::Timestamp::now();
    watch.knows(&snapshot.sessions);
    Ok(Opened { list, left_out, structure_only, fence, transactional, holder, snapshot, point_in_time })
}

/// Takes a metadata lock on each table whose rows are captured: a transaction keeps it.
async fn hold(
    holder: &mut Session,
    list: &[Listed],
    structure_only: &BTreeSet<Vec<u8>>,
    watch: &Watch,
) -> Result<(), DatabaseError> {
    holder.execute("START TRANSACTION").await?;
    for listed in list.iter().filter(|listed| matches!(listed.kind, Kind::Table | Kind::Versioned)) {
        if structure_only.contains(&listed.name) {
            continue;
        }
        watch.holds(&listed.name);
        match holder.execute([b"SELECT 1 FROM ", quoted(&listed.name).as_slice(), b" LIMIT 0"].concat()).await {
            // Damaged, or not allowed: said when it is read.
            Ok(()) | Err(DatabaseError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is captured, and the names of what the owner's patterns leave out.
async fn listed(session: &mut Session, selection: &Selection) -> Result<(Vec<Listed>, BTreeSet<Vec<u8>>), DatabaseError> {
    let all = catalog::list(session).await?;
    let (left_out, list): (Vec<_>, Vec<_>) = all.into_iter().partition(|listed| selection.leaves_out(listed));
    Ok((list, left_out.into_iter().map(|listed| listed.name).collect()))
}

fn only_structure(list: &[Listed], selection: &Selection) -> BTreeSet<Vec<u8>> {
    list.iter().filter(|listed| selection.only_structure(listed)).map(|listed| listed.name.clone()).collect()
}

/// One run over the schema.
struct Work<'a> {
    dump: &'a mut Dump,
    sink: &'a mut dyn DumpSink,
    progress: &'a dyn Progress,
    stats: DumpStats,
}

impl Work<'_> {
    async fn everything(&mut self) -> Result<(), DatabaseError> {
        let mariadb = self.dump.shared.mariadb;
        for finding in grants::findings(self.dump.session()?, mariadb).await? {
            self.sink.finding(finding);
        }
        for name in &self.dump.left_out {
            self.sink.finding(Finding {
                code: FindingCode::Excluded,
                subject: name.as_slice().into(),
                detail: "a pattern of exclude_tables leaves it out".into(),
            });
        }
        let (charset, collation) = catalog::schema_charset(self.dump.session()?).await?;
        self.emit(TableItem::Session, b"", script::session(&charset, &collation)).await?;
        let sequences: Vec<_> = self.dump.list.iter().filter(|l| l.kind == Kind::Sequence).map(|l| l.name.clone()).collect();
        for name in sequences {
            self.sequence(&name).await.map_err(|error| table::meaning(error, &name, &self.dump.shared))?;
        }
        self.tables().await?;
        self.objects(&collation).await?;
        self.emit(TableItem::SessionEnd, b"", script::session_end()).await
    }

    async fn tables(&mut self) -> Result<(), DatabaseError> {
        let tables = self.dump.list.iter().filter(|listed| matches!(listed.kind, Kind::Table | Kind::Versioned)).cloned();
        let sessions = std::mem::take(&mut self.dump.sessions);
        let mut readers = Readers::begin(sessions, tables.collect(), &self.dump.shared, &self.dump.cancel);
        let taken = self.take_tables(&mut readers).await;
        if taken.is_err() {
            readers.stop();
        }
        let finished = readers.finish().await;
        taken?;
        self.dump.sessions = finished?;
        Ok(())
    }

    /// Takes the tables as the readers bring them. What ends it early, the readers know.
    async fn take_tables(&mut self, readers: &mut Readers) -> Result<(), DatabaseError> {
        let mut under_way = None;
        while let Some(mut part) = readers.next().await {
            if let Some(table) = part.begins.take() {
                under_way = Some(self.begin_table(table).await?);
            }
            let Some(table) = &mut under_way else { return Ok(()) };
            if !self.take_part(table, &mut part).await? {
                return Ok(());
            }
            if part.is_last
                && let Some(table) = under_way.take()
            {
                self.end_table(table).await?;
            }
        }
        Ok(())
    }

    async fn begin_table(&mut self, mut table: Table) -> Result<UnderWay, DatabaseError> {
        let name = table.name.as_slice();
        if let Some(create) = &table.create {
            let entry = entry(TableItem::Table, name, script::definition(&[create]));
            self.send(TableEntry { engine: Some(table.engine.clone()), consistent: table.consistent, ..entry }).await?;
            self.stats.tables += 1;
        }
        if let Some(why) = &table.damaged {
            self.finding(FindingCode::ObjectUnreadable, name, why.clone());
        }
        let engine = &table.engine;
        if table::is_remote(engine) {
            let why = format!("its rows are on another server (engine {engine}): not captured");
            self.finding(FindingCode::ObjectUnreadable, name, why);
        } else if self.dump.shared.structure_only.contains(name) {
            let why = "a pattern of structure_only leaves its rows out".to_owned();
            self.finding(FindingCode::Excluded, name, why);
        } else if !table.consistent && !table.header.is_empty() {
            let why = format!("engine {engine} has no transactions: its rows are of the time they were read");
            self.finding(FindingCode::NotConsistent, name, why);
        }
        let chunker = Chunker::new(std::mem::take(&mut table.header));
        Ok(UnderWay { table, chunker, rows: 0 })
    }

    /// Takes a part's rows; tells whether it was whole.
    async fn take_part(&mut self, under_way: &mut UnderWay, part: &mut Part) -> Result<bool, DatabaseError> {
        loop {
            match part.next().await {
                Next::Rows(rows) => self.take_rows(under_way, rows).await?,
                Next::Damaged(why) if under_way.table.damaged.is_none() => {
                    self.finding(FindingCode::ObjectUnreadable, &under_way.table.name, why.clone());
                    under_way.table.damaged = Some(why);
                }
                Next::Damaged(_) => {}
                Next::End => return Ok(true),
                Next::Broken => return Ok(false),
            }
        }
    }

    async fn take_rows(&mut self, under_way: &mut UnderWay, rows: Rows) -> Result<(), DatabaseError> {
        if Chunker::is_alone(&rows)
            && let Some(chunk) = under_way.chunker.finish()
        {
            self.rows(under_way, chunk).await?;
        }
        let rows = match under_way.chunker.alone(rows) {
            Ok(chunk) => return self.rows(under_way, chunk).await,
            Err(rows) => rows,
        };
        let mut from = 0;
        while let Some(chunk) = under_way.chunker.push(&rows, &mut from) {
            self.rows(under_way, chunk).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, under_way: &mut UnderWay, chunk: Finished) -> Result<(), DatabaseError> {
        let Finished { sql, rows } = chunk;
        under_way.rows += rows;
        self.stats.rows += rows;
        let (name, consistent) = (under_way.table.name.as_slice(), under_way.table.consistent);
        let table = String::from_utf8_lossy(name).into_owned();
        self.progress.event(Event::Rows { table, rows, bytes: sql.len() as u64 });
        self.send(TableEntry { rows: Some(rows), consistent, ..entry(TableItem::Rows, name, sql) }).await
    }

    async fn end_table(&mut self, mut under_way: UnderWay) -> Result<(), DatabaseError> {
        if let Some(chunk) = under_way.chunker.finish() {
            self.rows(&mut under_way, chunk).await?;
        }
        let UnderWay { table, rows, .. } = under_way;
        // Only the rows of the point in time are captured; that there were more is named.
        let past = table.versions.unwrap_or(0).saturating_sub(rows);
        if past > 0 {
            let why = format!("{past} past versions of its rows (system versioning) are not captured");
            self.finding(FindingCode::ObjectUnreadable, &table.name, why);
        }
        let (Some(counter), None) = (table.counter, &table.damaged) else { return Ok(()) };
        let alter = [b"ALTER TABLE ", quoted(&table.name).as_slice(), format!(" AUTO_INCREMENT={counter}").as_bytes()].concat();
        let entry = entry(TableItem::AfterRows, &table.name, script::definition(&[&alter]));
        self.send(TableEntry { rows: Some(rows), consistent: table.consistent, ..entry }).await
    }

    /// Routines before views, which may call them; triggers after the rows, events last.
    async fn objects(&mut self, collation: &[u8]) -> Result<(), DatabaseError> {
        for named in objects::routines(self.dump.session()?).await? {
            self.object(&named, collation).await?;
        }
        let (list, schema) = (self.dump.list.clone(), self.dump.shared.schema.clone());
        let (views, lost) = views::read(self.dump.session()?, &list, schema.as_bytes()).await?;
        for (name, why) in lost {
            self.finding(FindingCode::ObjectUnreadable, &name, why.0);
        }
        // A view of a table that is left out could not be made.
        let (lost, views): (Vec<_>, Vec<_>) =
            views.into_iter().partition(|view| self.dump.left_out.iter().any(|name| view.mentions(name)));
        for view in lost {
            let why = "it is made of a table that a pattern of exclude_tables leaves out".to_owned();
            self.finding(FindingCode::Excluded, &view.name, why);
        }
        for view in &views {
            self.emit(TableItem::ViewStub, &view.name, view.stub.clone()).await?;
        }
        for view in views {
            let entry = entry(TableItem::View, &view.name, view.sql);
            self.send(TableEntry { definer: view.definer.map(ByteText), ..entry }).await?;
        }
        let mut rest = objects::triggers(self.dump.session()?).await?;
        rest.retain(|trigger| trigger.table.as_ref().is_none_or(|table| !self.dump.left_out.contains(table)));
        rest.extend(objects::events(self.dump.session()?).await?);
        for named in rest {
            self.object(&named, collation).await?;
        }
        Ok(())
    }

    async fn object(&mut self, named: &objects::Named, collation: &[u8]) -> Result<(), DatabaseError> {
        match objects::read(self.dump.session()?, named, collation).await? {
            Ok(object) => {
                let entry = entry(named.item, &named.name, object.sql);
                self.send(TableEntry { definer: object.definer.map(ByteText), ..entry }).await
            }
            Err(why) => {
                self.finding(FindingCode::ObjectUnreadable, &named.name, why.0);
                Ok(())
            }
        }
    }

    async fn sequence(&mut self, name: &[u8]) -> Result<(), DatabaseError> {
        let session = self.dump.session()?;
        let row = session.one([b"SHOW CREATE SEQUENCE ", quoted(name).as_slice()].concat()).await?;
        let shown = row.and_then(|row| row.into_iter().nth(1)?);
        let create = shown.ok_or_else(|| DatabaseError::Unexpected { what: "SHOW CREATE shows nothing".into() })?;
        let sql = [b"SELECT next_not_cached_value, cycle_count FROM ", quoted(name).as_slice()].concat();
        let row = session.one(sql).await?.and_then(|row| <[_; 2]>::try_from(row).ok());
        let Some([Some(next), Some(round)]) = row else {
            return Err(DatabaseError::Unexpected { what: "a sequence without a state".into() });
        };
        let set = [b"DO SETVAL(", quoted(name).as_slice(), b", ", &next, b", 0, ", &round, b")"].concat();
        self.emit(TableItem::Sequence, name, script::definition(&[&create, &set])).await
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

/// A table whose rows are coming.
struct UnderWay {
    table: Table,
    chunker: Chunker,
    rows: u64,
}

fn entry(item: TableItem, name: &[u8], sql: impl Into<Bytes>) -> TableEntry<Bytes> {
    TableEntry { item, name: name.into(), rows: None, engine: None, consistent: true, definer: None, chunk: sql.into() }
}
