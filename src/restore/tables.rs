//! The list of tables as it is read back: entry by entry, each chunk verified, everything counted against the manifest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::selection::{Chosen, Selection};
use super::{RestoreError, expect};
use crate::database::{Names, default_session, default_session_end, table_of_trigger};
use crate::progress::{Event, Progress};
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{ChunkRef, TableEntry, TableItem};
use crate::repository::list::LineBuffer;
use crate::repository::manifest::Manifest;
use crate::repository::reader::ChunkReader;

/// What a restored database holds, and what of the snapshot it doesn't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablesRestored {
    /// Tables.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of SQL.
    pub sql_bytes: u64,
    /// Tables that weren't selected.
    pub tables_left_out: u64,
    /// Rows of those.
    pub rows_left_out: u64,
    /// Views, sequences, triggers, functions, procedures and events that weren't selected.
    pub objects_left_out: u64,
    /// Bytes of SQL that were not selected.
    pub sql_bytes_left_out: u64,
    /// What is in no pack any more: see there.
    pub lost: TablesLost,
}

/// What of a database can't be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablesLost {
    /// Rows.
    pub rows: u64,
    /// The tables that lack rows or are not there at all, and other objects that are not.
    pub names: BTreeSet<ByteText>,
    /// Those of the tables that are not there: their definition is lost.
    pub(super) undefined: BTreeSet<ByteText>,
    /// Views, sequences, functions and procedures that are not there.
    pub(super) objects: BTreeSet<ByteText>,
    tables: u64,
    sql_bytes: u64,
}

impl TablesLost {
    /// Whether all can be had.
    pub fn is_nothing(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this trigger or view is of a table that is not there.
    fn has_what(&self, entry: &TableEntry, sql: &[u8]) -> bool {
        match entry.item {
            TableItem::Trigger => table_of_trigger(sql).is_some_and(|table| self.undefined.contains(&table)),
            TableItem::View => self.undefined.iter().chain(&self.objects).any(|name| {
                let quoted = [b"`", name.as_bytes(), b"`"].concat();
                memchr::memmem::find(sql, &quoted).is_some()
            }),
            _ => false,
        }
    }

    fn add(&mut self, entry: &TableEntry) {
        match entry.item {
            TableItem::Session => self.names.insert("the database's own character set: it is utf8mb4 now".into()),
            TableItem::SessionEnd => false,
            _ => self.names.insert(entry.name.clone()),
        };
        self.sql_bytes = self.sql_bytes.saturating_add(entry.chunk.size);
        match entry.item {
            TableItem::Rows => self.rows = self.rows.saturating_add(entry.rows.unwrap_or(0)),
            TableItem::Table => {
                self.undefined.insert(entry.name.clone());
                self.tables += 1;
            }
            TableItem::ViewStub | TableItem::View | TableItem::Sequence | TableItem::Routine => {
                self.objects.insert(entry.name.clone());
            }
            _ => {}
        }
    }
}

impl TablesRestored {
    fn count(&mut self, entry: &TableEntry, chosen: bool) {
        let (tables, rows, bytes) = match chosen {
            true => (&mut self.tables, &mut self.rows, &mut self.sql_bytes),
            false => (&mut self.tables_left_out, &mut self.rows_left_out, &mut self.sql_bytes_left_out),
        };
        *bytes = bytes.saturating_add(entry.chunk.size);
        match entry.item {
            TableItem::Table => *tables += 1,
            TableItem::Rows => *rows = rows.saturating_add(entry.rows.unwrap_or(0)),
            TableItem::Sequence | TableItem::Routine | TableItem::View | TableItem::Trigger | TableItem::Event if !chosen => {
                self.objects_left_out += 1;
            }
            _ => {}
        }
    }

    /// Whether the lists held what the manifest counts.
    fn account(&self, manifest: &Manifest) -> Result<(), RestoreError> {
        let counts = &manifest.counts;
        let sum = |of: [u64; 3]| of.into_iter().fold(0, u64::saturating_add);
        let lost = &self.lost;
        expect("tables", counts.tables, sum([self.tables, self.tables_left_out, lost.tables]))?;
        expect("rows", counts.rows, sum([self.rows, self.rows_left_out, lost.rows]))?;
        expect("bytes of SQL", counts.sql_bytes, sum([self.sql_bytes, self.sql_bytes_left_out, lost.sql_bytes]))
    }
}

/// The list of tables of one snapshot, from its beginning.
pub(super) struct Tables<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) chunks: &'a mut ChunkReader,
    pub(super) lists: &'a mut ChunkReader,
    pub(super) progress: &'a Arc<dyn Progress>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) selection: &'a Selection,
    /// What can't be found is left out.
    salvaging: bool,
    pieces: VecDeque<ChunkRef>,
    lines: LineBuffer,
    seen: TablesRestored,
}

impl<'a> Tables<'a> {
    pub(super) fn new(
        manifest: &'a Manifest,
        (chunks, lists): (&'a mut ChunkReader, &'a mut ChunkReader),
        progress: &'a Arc<dyn Progress>,
        cancel: &'a CancellationToken,
        selection: &'a Selection,
        gone: &TablesLost,
    ) -> Self {
        let pieces = manifest.tables.iter().cloned().collect();
        let lost = TablesLost { undefined: gone.undefined.clone(), objects: gone.objects.clone(), ..TablesLost::default() };
        let (lines, seen) = (LineBuffer::new("the list of tables"), TablesRestored { lost, ..TablesRestored::default() });
        let salvaging = chunks.is_salvaging();
        Self { manifest, chunks, lists, progress, cancel, selection, salvaging, pieces, lines, seen }
    }

    /// The next entry of the list, whether it is selected or not.
    async fn entry(&mut self) -> Result<Option<TableEntry>, RestoreError> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            if let Some(entry) = self.lines.next_entry::<TableEntry>()? {
                return Ok(Some(entry));
            }
            let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
            self.lines.fill(&self.lists.read_piece(&piece).await?);
        }
    }

    /// The next entry that may be selected and is `wanted`: its chunk is to be read.
    pub(super) async fn next(&mut self, wanted: fn(TableItem) -> bool) -> Result<Option<TableEntry>, RestoreError> {
        while let Some(entry) = self.entry().await? {
            match self.selection.choose(&entry) {
                Chosen::No => self.seen.count(&entry, false),
                Chosen::Yes | Chosen::WithItsTable if wanted(entry.item) => return Ok(Some(entry)),
                Chosen::Yes | Chosen::WithItsTable => self.seen.count(&entry, true),
            }
        }
        Ok(None)
    }

    /// The entry with its chunk; `None` when the chunk says that it isn't selected, and when it can't be had.
    pub(super) async fn read(&mut self, entry: TableEntry) -> Result<Option<TableEntry<Bytes>>, RestoreError> {
        let of_a_lost_table =
            matches!(entry.item, TableItem::Rows | TableItem::AfterRows) && self.seen.lost.undefined.contains(&entry.name);
        if of_a_lost_table {
            self.seen.lost.add(&entry);
            return Ok(None);
        }
        let sql = match self.chunks.read(&entry.chunk).await {
            Err(error) if self.salvaging && error.is_loss() => {
                let session = matches!(entry.item, TableItem::Session | TableItem::SessionEnd);
                // A selection leaves the database's own settings as they are.
                if !session || self.selection.is_all() {
                    self.seen.lost.add(&entry);
                } else {
                    self.seen.lost.sql_bytes = self.seen.lost.sql_bytes.saturating_add(entry.chunk.size);
                }
                // Nothing could be loaded without the settings, which are always the same but for the database's character set.
                match entry.item {
                    TableItem::Session => return Ok(Some(entry.with_chunk(default_session().into()).0)),
                    TableItem::SessionEnd => return Ok(Some(entry.with_chunk(default_session_end().into()).0)),
                    _ => return Ok(None),
                }
            }
            read => read?,
        };
        // The server would refuse what is made of a table that isn't there.
        if self.seen.lost.has_what(&entry, &sql) {
            self.seen.lost.add(&entry);
            return Ok(None);
        }
        let chosen = self.selection.choose(&entry) != Chosen::WithItsTable
            || table_of_trigger(&sql).is_some_and(|table| self.selection.matches(&table));
        self.seen.count(&entry, chosen);
        if !chosen {
            return Ok(None);
        }
        self.progress.event(Event::Written { bytes: entry.chunk.size });
        Ok(Some(entry.with_chunk(sql).0))
    }

    /// At the list's end: what was restored of it.
    pub(super) fn account(&self) -> Result<TablesRestored, RestoreError> {
        self.seen.account(self.manifest).map(|()| self.seen.clone())
    }

    /// The names that are selected; `None` when all are. Reads the list, and no chunk.
    pub(super) async fn names(mut self) -> Result<Option<Names>, RestoreError> {
        if self.selection.is_all() {
            return Ok(None);
        }
        let mut names = Names::new();
        while let Some(entry) = self.entry().await? {
            if matches!(entry.item, TableItem::Table | TableItem::View | TableItem::Sequence)
                && self.selection.choose(&entry) == Chosen::Yes
            {
                names.insert(entry.name.0);
            }
        }
        self.selection.all_match(&names)?;
        Ok(Some(names))
    }
}
