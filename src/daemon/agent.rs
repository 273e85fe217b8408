//! The real [`Runner`]: each run is a backup.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Pruner, Runner};
use crate::backup::{self, RunContext, RunOptions, RunReport, Trigger};
use crate::config::{Keep, Settings, SiteName, SiteSettings, StoreSettings, TrustedKeys};
use crate::progress::Progress;
use crate::repository::ids::RunId;
use crate::repository::layout::Layout;
use crate::repository::prune::{Plan, PruneError, Pruned};
use crate::repository::reuse::{Rules, Since};
use crate::repository::sign::SigningKey;
use crate::repository::{RepositoryError, checkpoint, random_run_id};
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

/// Prunes a store. Opens it for deleting when it does, and not before.
#[derive(Debug)]
pub struct StorePruner {
    store: StoreSettings,
    state: PathBuf,
    trusted: TrustedKeys,
}

impl StorePruner {
    /// For the store of these settings.
    pub fn new(settings: &Settings) -> Self {
        // All sites have the same.
        let trusted = settings.sites.first().map(|site| site.trusted.clone()).unwrap_or_default();
        Self { store: settings.store.clone(), state: settings.daemon.state.clone(), trusted }
    }
}

#[async_trait]
impl Pruner for StorePruner {
    async fn prune(&self, site: &SiteName, keep: &Keep, cancel: &CancellationToken) -> Result<Pruned, PruneError> {
        let store = storage::open_deleter(&self.store).await.map_err(RepositoryError::from)?;
        let (key, _) = SigningKey::load_or_make(&self.state)?;
        let trusted = if self.trusted.is_empty() { TrustedKeys::default() } else { self.trusted.and(key.public()) };
        let layout = Layout::new(site.clone());
        let plan = Plan::make(store.as_ref(), &layout, keep, &trusted, Rules::default(), Since::now()).await?;
        for why in &plan.held {
            tracing::warn!(site = %site, "no pack is deleted, because what it needs can't be known: {why}");
        }
        plan.carry_out(store.as_ref(), random_run_id(), jiff::Timestamp::now(), &key, cancel).await
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
