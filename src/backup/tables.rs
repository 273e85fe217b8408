//! Step 2: the database, one point in time. A change of a table's definition repeats the step, never skips the table.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::error::BackupError;
use super::findings::{Findings, Found};
use crate::config::SiteSettings;
use crate::database::{DatabaseError, Dump, DumpSink, DumpStats, SinkStopped};
use crate::progress::{Event, Phase, Progress};
use crate::repository::RepositoryError;
use crate::repository::draft::DraftChunk;
use crate::repository::entry::{Finding, FindingCode, TableEntry, TableItem};
use crate::repository::known::Known;
use crate::repository::list::ListFile;
use crate::repository::manifest::Server;
use crate::repository::writer::PackWriter;
use crate::wordpress::{ReferenceCheck, UpdateGate, is_core_table};

/// The step is repeated after each of these, then the run fails. The statement that was in the way has to end first, and an account without
/// the PROCESS right can't see when that is.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(3)];

/// What step 2 leaves behind.
pub(super) struct Dumped {
    pub(super) server: Server,
    pub(super) point_in_time: jiff::Timestamp,
    pub(super) stats: DumpStats,
    /// Rows of WordPress's own tables.
    pub(super) core_rows: u64,
    pub(super) found: Found,
    pub(super) references: ReferenceCheck,
}

/// What the step needs.
pub(super) struct Tables<'a> {
    pub(super) site: &'a SiteSettings,
    pub(super) scratch: &'a Path,
    pub(super) progress: &'a Arc<dyn Progress>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) writer: &'a mut PackWriter,
    pub(super) known: [&'a mut Known; 2],
    /// Where the draft of the list of tables goes.
    pub(super) draft: &'a Path,
}

impl Tables<'_> {
    /// Dumps, again when the schema changed meanwhile.
    pub(super) async fn run(&mut self) -> Result<Dumped, BackupError> {
        for pause in PAUSES {
            match self.attempt().await {
                Err(BackupError::Database(error @ (DatabaseError::Changed { .. } | DatabaseError::GaveWay { .. }))) => {
                    self.progress.event(Event::Note(format!("{error}; the database is read again")));
                }
                other => return other,
            }
            // The next attempt's first step says that the run was cancelled.
            self.cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
            self.progress.event(Event::Phase(Phase::Database));
        }
        self.attempt().await
    }

    async fn attempt(&mut self) -> Result<Dumped, BackupError> {
        #[cfg(test)]
        if self.site.database.name.is_empty() {
            return self.no_database();
        }
        let mut dump = Dump::open(&self.site.database, self.cancel.clone()).await?;
        let mut sink = Sink {
            writer: self.writer,
            known: &mut self.known,
            draft: ListFile::create(self.draft)?,
            findings: Findings::new(self.scratch, "tables")?,
            tables: Vec::new(),
            error: None,
            prefix: &self.site.table_prefix,
            core_rows: 0,
        };
        match dump.run(&mut sink, self.progress.as_ref()).await {
            Err(DatabaseError::SinkStopped) => Err(sink.error.map_or(BackupError::Task, Into::into)),
            Err(error) => Err(error.into()),
            Ok(stats) => {
                let Sink { draft, mut findings, tables, core_rows, .. } = sink;
                draft.finish(false)?;
                let references = self.references(&mut dump, &tables, &mut findings).await?;
                let (server, point_in_time) = (dump.server().clone(), dump.point_in_time());
                dump.close().await?;
                Ok(Dumped { server, point_in_time, stats, core_rows, found: findings.finish()?, references })
            }
        }
    }

    /// What a database without anything in it would leave behind: for `model`, which is about all else.
    #[cfg(test)]
    fn no_database(&self) -> Result<Dumped, BackupError> {
        ListFile::<TableEntry<DraftChunk>>::create(self.draft)?.finish(false)?;
        let server = Server { flavour: "none".into(), version: "0".into(), consistency: "none".into(), position: None };
        Ok(Dumped {
            server,
            point_in_time: jiff::Timestamp::now(),
            stats: DumpStats::default(),
            core_rows: 0,
            found: Findings::new(self.scratch, "tables")?.finish()?,
            references: block_in_place(|| ReferenceCheck::new(self.site, self.scratch))?,
        })
    }

    /// Asks in the same point in time what the database says of the files, and whether it is being updated.
    async fn references(
        &mut self,
        dump: &mut Dump,
        tables: &[Vec<u8>],
        findings: &mut Findings,
    ) -> Result<ReferenceCheck, BackupError> {
        let mut check = block_in_place(|| ReferenceCheck::new(self.site, self.scratch))?;
        check.tables(tables.iter().map(Vec::as_slice));
        for query in check.queries() {
            let mut failed = None;
            let mut each = |row: &[Option<Vec<u8>>]| {
                if failed.is_none() {
                    failed = check.row(query.id, row).err();
                }
            };
            asked(dump.rows(&query.sql, &mut each).await, findings)?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        let options = format!("{}options", self.site.table_prefix);
        if tables.iter().any(|name| name.eq_ignore_ascii_case(options.as_bytes())) {
            let (now, mut signals) = (SystemTime::now(), Vec::new());
            let mut each = |row: &[Option<Vec<u8>>]| {
                if let [Some(name), Some(value), ..] = row {
                    signals.extend(UpdateGate::database_signal(name, value, now));
                }
            };
            let sql = UpdateGate::database_signal_sql(&self.site.table_prefix);
            asked(dump.rows(&sql, &mut each).await, findings)?;
            for detail in signals {
                findings.add(Finding { code: FindingCode::UpdateUnderWay, subject: options.as_str().into(), detail });
            }
        }
        Ok(check)
    }
}

/// A damaged table is named by the dump; that it can't be asked either must not fail every run.
fn asked(answer: Result<(), DatabaseError>, findings: &mut Findings) -> Result<(), DatabaseError> {
    match answer {
        Err(error @ DatabaseError::Server { .. }) => {
            let detail = format!("the cross-check could not ask the database: {error}");
            findings.add(Finding { code: FindingCode::ObjectUnreadable, subject: "cross-check".into(), detail });
            Ok(())
        }
        other => other,
    }
}

/// The longest statement that any server takes: max_allowed_packet can't be set higher.
const LONGEST_STATEMENT: usize = 1 << 30;

/// Takes what the dump yields.
struct Sink<'a, 'b> {
    writer: &'a mut PackWriter,
    known: &'a mut [&'b mut Known; 2],
    draft: ListFile<TableEntry<DraftChunk>>,
    findings: Findings,
    error: Option<RepositoryError>,
    /// Names of the tables: DESIGN allows what grows with the number of tables.
    tables: Vec<Vec<u8>>,
    prefix: &'a str,
    core_rows: u64,
}

#[async_trait]
impl DumpSink for Sink<'_, '_> {
    async fn chunk(&mut self, entry: TableEntry<Bytes>) -> Result<(), SinkStopped> {
        match entry.item {
            TableItem::Table => self.tables.push(entry.name.as_bytes().to_vec()),
            TableItem::Rows if is_core_table(self.prefix, entry.name.as_bytes()) => self.core_rows += entry.rows.unwrap_or(0),
            _ => {}
        }
        if entry.chunk.len() >= LONGEST_STATEMENT {
            let detail = "a row of it makes a statement of more than 1 GiB: `restore` sends it in pieces, but no server takes it from the \
                          mysql client"
                .to_owned();
            self.findings.add(Finding { code: FindingCode::ObjectUnreadable, subject: entry.name.clone(), detail });
        }
        let added = self.writer.add(&entry.chunk, self.known).await;
        let pushed = added.and_then(|chunk| self.draft.push(&entry.with_chunk(chunk).0).map(|_| ()));
        pushed.map_err(|error| {
            self.error = Some(error);
            SinkStopped
        })
    }

    fn finding(&mut self, finding: Finding) {
        self.findings.add(finding);
    }
}
