//! A database on its way to another kind of server: every definition is looked at before anything is loaded.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::tables::Tables;
use crate::config::DatabaseSettings;
use crate::database::{Adapter, DatabaseError, Vendor};
use crate::repository::entry::{TableEntry, TableItem};
use crate::repository::manifest::Manifest;

/// What a snapshot's definitions need on the server they go to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing(Option<Adapter>);

impl Crossing {
    /// Asks the server what it is.
    pub(super) async fn to(
        settings: &DatabaseSettings,
        manifest: &Manifest,
        cancel: CancellationToken,
    ) -> Result<Self, RestoreError> {
        let to = Vendor::ask(settings, cancel).await?;
        Ok(Self(Adapter::between(Vendor::of(&manifest.server.version), to)))
    }

    /// What changes, each with the object's name; or the first thing that can't be carried over. Reads every definition, and no rows.
    pub(super) async fn changes(&self, mut tables: Tables<'_>) -> Result<Vec<String>, RestoreError> {
        let mut changes = Vec::new();
        let Some(adapter) = &self.0 else { return Ok(changes) };
        while let Some(entry) = tables.next(is_definition).await? {
            let Some(entry) = tables.read(entry).await? else { continue };
            let adapted = adapter.chunk(&entry.chunk).map_err(|error| uncarried(&entry, error.what))?;
            changes.extend(adapted.changes.into_iter().map(|change| format!("{}: {change}", said(&entry))));
        }
        Ok(changes)
    }

    /// The entry as the server takes it.
    pub(super) fn adapt(&self, entry: TableEntry<Bytes>) -> Result<TableEntry<Bytes>, RestoreError> {
        let Some(adapter) = self.0.as_ref().filter(|_| is_definition(entry.item)) else { return Ok(entry) };
        let sql = adapter.chunk(&entry.chunk).map_err(|error| uncarried(&entry, error.what))?.sql.into_owned();
        Ok(entry.with_chunk(Bytes::from(sql)).0)
    }
}

fn is_definition(item: TableItem) -> bool {
    item != TableItem::Rows
}

fn said(entry: &TableEntry<Bytes>) -> String {
    if entry.name.as_bytes().is_empty() { "the database".to_owned() } else { entry.name.to_string() }
}

fn uncarried(entry: &TableEntry<Bytes>, what: String) -> RestoreError {
    DatabaseError::Uncarried { object: said(entry).as_str().into(), what }.into()
}
