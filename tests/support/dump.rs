//! The database source and the loader as the tests call them.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wp_backup_agent::config::DatabaseSettings;
use wp_backup_agent::database::{DatabaseError, Dump, DumpSink, DumpStats, Existing, LoadOptions, Loader, SinkStopped};
use wp_backup_agent::progress::{Progress, Silent};
use wp_backup_agent::repository::entry::{Finding, FindingCode, TableEntry, TableItem};

use super::server::Server;

pub type Hook = dyn FnMut(&TableEntry<Bytes>) -> Result<(), SinkStopped> + Send;

/// A dump that is kept in memory.
#[derive(Default)]
pub struct Collect {
    pub entries: Vec<TableEntry<Bytes>>,
    pub findings: Vec<Finding>,
    /// Called before an entry is taken.
    pub hook: Option<Box<Hook>>,
}

#[async_trait]
impl DumpSink for Collect {
    async fn chunk(&mut self, entry: TableEntry<Bytes>) -> Result<(), SinkStopped> {
        if let Some(hook) = &mut self.hook {
            hook(&entry)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

impl Collect {
    /// All chunks, one after the other.
    pub fn script(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.chunk.to_vec()).collect()
    }

    pub fn find(&self, code: FindingCode, subject: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.code == code && f.subject.as_bytes() == subject.as_bytes())
    }

    pub fn of(&self, item: TableItem) -> impl Iterator<Item = &TableEntry<Bytes>> {
        self.entries.iter().filter(move |entry| entry.item == item)
    }
}

/// Dumps the schema of these settings.
pub async fn dump_into(
    settings: &DatabaseSettings,
    sink: &mut Collect,
    progress: &dyn Progress,
) -> Result<DumpStats, DatabaseError> {
    let mut dump = Dump::open(settings, CancellationToken::new()).await?;
    let stats = dump.run(sink, progress).await?;
    dump.close().await?;
    Ok(stats)
}

/// Dumps a schema as root; must succeed.
pub async fn dump(server: &Server, schema: &str) -> Collect {
    let mut sink = Collect::default();
    dump_into(&server.settings(schema), &mut sink, &Silent).await.unwrap_or_else(|error| panic!("{schema}: {error}"));
    sink
}

/// Loads a dump into the schema `target` as root.
pub async fn load(collected: &Collect, server: &Server, target: &str, replace: bool) -> Result<(), DatabaseError> {
    load_as(&server.settings("-"), collected, target, replace).await
}

/// Loads a dump into the schema `target` by these settings' account.
pub async fn load_as(settings: &DatabaseSettings, collected: &Collect, target: &str, replace: bool) -> Result<(), DatabaseError> {
    let options = LoadOptions { existing: if replace { Existing::Replace } else { Existing::Refuse }, ..LoadOptions::default() };
    let mut loader = Loader::open(settings, target, options, CancellationToken::new()).await?;
    for entry in &collected.entries {
        if let Err(error) = loader.load(entry.clone()).await {
            loader.abandon().await;
            return Err(error);
        }
    }
    loader.finish().await.map(drop)
}
