//! The real [`Runner`]: each run is a backup.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::backup::{self, RunContext, RunOptions, RunReport, Trigger};
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
    options: RunOptions,
}

impl Agent {
    /// Opens the store. Makes no request to it.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let (store, state) = (storage::open(&settings.store).await?, settings.daemon.state.clone());
        Ok(Self { store, state, options: RunOptions::default() })
    }

    /// Its runs are made in this way.
    pub fn with_options(self, options: RunOptions) -> Self {
        Self { options, ..self }
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
        let (options, checkpoint_every) = (self.options.clone(), checkpoint::EVERY);
        backup::run(RunContext { store, state, site, run, trigger, options, progress, checkpoint_every, cancel }).await
    }
}
