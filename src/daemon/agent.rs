//! The real [`Runner`]: each run is a backup.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::backup::{self, RunContext, RunReport, Trigger};
use crate::config::{Settings, SiteSettings};
use crate::progress::Progress;
use crate::repository::checkpoint;
use crate::repository::ids::RunId;
use crate::storage::{self, Store, StoreError};

/// Runs backups into one store.
#[derive(Debug)]
pub struct Agent {
    store: Arc<dyn Store>,
    state: PathBuf,
}

impl Agent {
    /// Opens the store. Makes no request to it.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self { store: storage::open(&settings.store).await?, state: settings.daemon.state.clone() })
    }
}

#[async_trait]
impl Runner for Agent {
    async fn run(
        &self,
        site: &SiteSettings,
        run: RunId,
        trigger: Trigger,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> RunReport {
        let (store, state, site) = (Arc::clone(&self.store), self.state.clone(), site.clone());
        let checkpoint_every = checkpoint::EVERY;
        backup::run(RunContext { store, state, site, run, trigger, progress, checkpoint_every, cancel }).await
    }
}
