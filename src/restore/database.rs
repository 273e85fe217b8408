//! A snapshot's database back into a server, or as a stream of SQL.

use std::io::Write;

use bytes::Bytes;
use tokio::task::block_in_place;

use super::crossing::Crossing;
use super::selection::Selection;
use super::tables::Tables;
use super::{Restore, RestoreError, TablesRestored};
use crate::config::DatabaseSettings;
use crate::database::{Definer, Existing, LoadOptions, Loaded, Loader, Swap, Swapped, with_definer};
use crate::repository::entry::{TableEntry, TableItem};

/// How a database is restored.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// What is done about what the database holds.
    pub existing: Existing,
    /// Connections that load at a time.
    pub connections: usize,
    /// Whose rights views, routines, triggers and events run with.
    pub definer: Definer,
    /// Which tables.
    pub selection: Selection,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        let LoadOptions { connections, existing, definer, .. } = LoadOptions::default();
        Self { existing, connections, definer, selection: Selection::default() }
    }
}

/// A restored database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRestored {
    /// What it holds.
    pub tables: TablesRestored,
    /// What there is to say about the loading.
    pub loaded: Loaded,
    /// What differs from the snapshot because the server is of another kind, in words.
    pub changes: Vec<String>,
    /// What became of the tables that stood there, after a swap.
    pub swapped: Option<Swapped>,
}

fn everything(_: TableItem) -> bool {
    true
}

/// What is made after the tables of a swap are in their place.
fn not_tables(item: TableItem) -> bool {
    !matches!(item, TableItem::Sequence | TableItem::Table | TableItem::Rows | TableItem::AfterRows)
}

impl Restore {
    fn tables<'a>(&'a mut self, selection: &'a Selection) -> Tables<'a> {
        let readers = (&mut self.chunks, &mut self.lists);
        Tables::new(&self.manifest, readers, &self.progress, &self.cancel, selection, &self.gone)
    }

    /// Whether the snapshot has what is selected, and this account's server can be reached: before anything is touched.
    pub async fn check_database(
        &mut self,
        settings: Option<&DatabaseSettings>,
        selection: &Selection,
    ) -> Result<(), RestoreError> {
        self.tables(selection).names().await?;
        if let Some(settings) = settings {
            Crossing::to(settings, &self.manifest, self.cancel.clone()).await?;
        }
        Ok(())
    }

    /// Loads the database into the schema `name`. When what is there is to be replaced, all that takes its place is read and verified before
    /// anything is dropped.
    pub async fn database(
        &mut self,
        settings: &DatabaseSettings,
        name: &str,
        options: &DatabaseOptions,
    ) -> Result<DatabaseRestored, RestoreError> {
        let names = self.tables(&options.selection).names().await?;
        let crossing = Crossing::to(settings, &self.manifest, self.cancel.clone()).await?;
        let changes = crossing.changes(self.tables(&options.selection)).await?;
        if options.existing == Existing::Replace {
            let mut tables = self.tables(&options.selection);
            while let Some(entry) = tables.next(everything).await? {
                tables.read(entry).await?;
            }
            let lost = tables.account()?.lost;
            if !lost.is_nothing() {
                return Err(RestoreError::WouldBeLost { name: name.to_owned(), lost: lost.names.into_iter().collect() });
            }
        }
        let load = LoadOptions {
            connections: options.connections,
            existing: options.existing.clone(),
            names,
            definer: options.definer.clone(),
        };
        let mut loader = Loader::open(settings, name, load, self.cancel.clone()).await?;
        match self.feed(&mut loader, crossing, &options.selection, everything, &mut |_| ()).await {
            Ok(tables) => Ok(DatabaseRestored { tables, loaded: loader.finish().await?, changes, swapped: None }),
            Err(error) => {
                loader.abandon().await;
                Err(error)
            }
        }
    }

    /// Loads the database into a schema beside `name`, and then swaps the tables in one statement. Until then what `name` holds is as it was.
    pub async fn swap(
        &mut self,
        settings: &DatabaseSettings,
        name: &str,
        options: &DatabaseOptions,
    ) -> Result<DatabaseRestored, RestoreError> {
        let names = self.tables(&options.selection).names().await?;
        let crossing = Crossing::to(settings, &self.manifest, self.cancel.clone()).await?;
        let changes = crossing.changes(self.tables(&options.selection)).await?;
        let load =
            LoadOptions { connections: options.connections, existing: Existing::Refuse, names, definer: options.definer.clone() };
        let mut swap = Swap::begin(settings, name, load, self.cancel.clone()).await?;
        let done = self.swap_steps(&mut swap, crossing, &options.selection).await;
        match done {
            Ok((tables, loaded)) => Ok(DatabaseRestored { tables, loaded, changes, swapped: Some(swap.finish().await?) }),
            Err(error) => Err(if swap.abandon().await {
                RestoreError::AfterSwap { name: name.to_owned(), source: Box::new(error) }
            } else {
                error
            }),
        }
    }

    async fn swap_steps(
        &mut self,
        swap: &mut Swap,
        crossing: Crossing,
        selection: &Selection,
    ) -> Result<(TablesRestored, Loaded), RestoreError> {
        let mut loader = swap.loader().await?;
        let mut tables = match self.feed(&mut loader, crossing, selection, everything, &mut |_| ()).await {
            Ok(tables) => tables,
            Err(error) => {
                loader.abandon().await;
                return Err(error);
            }
        };
        swap.switch(loader).await?;
        // Read again rather than kept: there may be any number of them.
        let mut loader = swap.objects_loader().await?;
        match self.feed(&mut loader, crossing, selection, not_tables, &mut |_| ()).await {
            Ok(again) => {
                tables.lost.names.extend(again.lost.names);
                Ok((tables, loader.finish().await?))
            }
            Err(error) => {
                loader.abandon().await;
                Err(error)
            }
        }
    }

    /// Loads what is selected and `wanted`; `seen` is shown each entry as the snapshot has it.
    pub(super) async fn feed(
        &mut self,
        loader: &mut Loader,
        crossing: Crossing,
        selection: &Selection,
        wanted: fn(TableItem) -> bool,
        seen: &mut (dyn FnMut(&TableEntry<Bytes>) + Send),
    ) -> Result<TablesRestored, RestoreError> {
        let mut tables = self.tables(selection);
        while let Some(entry) = tables.next(wanted).await? {
            loader.room(entry.item, entry.chunk.size).await?;
            if let Some(entry) = tables.read(entry).await? {
                seen(&entry);
                loader.load(crossing.adapt(entry)?).await?;
            }
        }
        let tables = tables.account()?;
        // What is made of them later isn't, either.
        self.gone.undefined.extend(tables.lost.undefined.iter().cloned());
        self.gone.objects.extend(tables.lost.objects.iter().cloned());
        Ok(tables)
    }

    /// Writes the database as one stream of SQL, for `mysql --binary-mode --comments`.
    pub async fn sql(
        &mut self,
        to: &mut (dyn Write + Send),
        selection: &Selection,
        definer: &Definer,
    ) -> Result<TablesRestored, RestoreError> {
        self.tables(selection).names().await?;
        let mut tables = self.tables(selection);
        while let Some(entry) = tables.next(everything).await? {
            let Some(entry) = tables.read(entry).await? else { continue };
            let defined = entry.definer.as_ref().and_then(|had| with_definer(&entry.chunk, had, definer));
            let sql = defined.as_deref().unwrap_or(&entry.chunk);
            block_in_place(|| to.write_all(sql)).map_err(RestoreError::Output)?;
        }
        block_in_place(|| to.flush()).map_err(RestoreError::Output)?;
        tables.account()
    }
}
