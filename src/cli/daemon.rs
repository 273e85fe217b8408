//! `daemon`

use std::sync::Arc;

use super::args::Global;
use super::failure::Failure;
use super::signals::cancelled_by_signals;
use super::work;
use crate::config;
use crate::daemon::clock::WallClock;
use crate::daemon::service;
use crate::daemon::{Agent, StorePruner, StoreVerifier};
use crate::error::Exit;

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(global: &Global) -> Result<Exit, Failure> {
    let settings = config::load(&global.config)?;
    work(async {
        let runner = Arc::new(Agent::open(&settings).await?);
        let pruner = Arc::new(StorePruner::new(&settings));
        let verifier = Arc::new(StoreVerifier::new(settings.store.clone(), settings.daemon.state.clone()));
        service::serve(&settings, runner, pruner, verifier, Arc::new(WallClock), cancelled_by_signals()).await?;
        Ok(Exit::Success)
    })
}
