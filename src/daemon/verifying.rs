//! Verifying on a schedule: one site at a time, beside runs, as it only reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::due::Due;
use super::state::{StateError, make_private};
use crate::config::schedule::Schedule;
use crate::config::{Depth, Identities, SiteName, SiteSettings, StoreSettings, VerifySettings};
use crate::database::DEFAULT_CONNECTIONS;
use crate::error::{Explain as _, render};
use crate::progress::Silent;
use crate::repository::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::receipt;
use crate::repository::verify::{Level, Report, Share, Verify};
use crate::restore::{RestoreError, Scratch, TrialEnded, verify_by_trial};
use crate::storage;

/// How often due times are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// Verifies a site.
#[async_trait]
pub trait Verifier: Send + Sync + 'static {
    /// Verifies, and keeps what it found in the local state. May be dropped at any point, but for [`Level::Restore`], which watches `cancel`.
    async fn verify(&self, site: &SiteSettings, level: Level, cancel: &CancellationToken) -> Result<Report, RestoreError>;
}

/// Verifies what is in the store.
#[derive(Debug)]
pub struct StoreVerifier {
    store: StoreSettings,
    state: PathBuf,
}

impl StoreVerifier {
    /// For this store, and this directory of local state.
    pub fn new(store: StoreSettings, state: PathBuf) -> Self {
        Self { store, state }
    }
}

#[async_trait]
impl Verifier for StoreVerifier {
    async fn verify(&self, site: &SiteSettings, level: Level, cancel: &CancellationToken) -> Result<Report, RestoreError> {
        let trial = site.verify.as_ref().map(|verify| verify.trial.clone()).unwrap_or_default();
        let store = storage::open(&self.store).await.map_err(RepositoryError::from)?;
        let layout = Layout::new(site.name.clone());
        let verify = Verify {
            store: Arc::clone(&store),
            layout: layout.clone(),
            trusted: site.trusted.clone(),
            // A host that is backed up has none.
            identities: Identities::read(trial.identity_file.as_slice())?,
            level,
            own: None,
            seen: None,
            known_bad: Default::default(),
            cancel: cancel.clone(),
        };
        let ended = if level == Level::Restore {
            let database = site.database.clone();
            let database = match trial.account {
                Some((user, password)) => database.by(user, password),
                None => database,
            };
            let dir = trial.scratch.unwrap_or_else(|| self.state.clone());
            let scratch = Scratch { dir, database, connections: DEFAULT_CONNECTIONS };
            verify_by_trial(verify, &scratch, &self.state, Arc::new(Silent)).await?
        } else {
            let (report, kept) = verify.run_and_keep(&self.state).await?;
            TrialEnded { report, kept: kept.map_err(RestoreError::from), trial: Ok(()) }
        };
        if let Err(error) = &ended.kept {
            tracing::error!(site = %site.name, "what a verify found is not kept: {}", render(error));
        }
        if let Some(standby) = site.verify.as_ref().and_then(|verify| verify.receipt.as_ref())
            && ended.says_something()
            && let Err(error) = receipt::leave(store.as_ref(), &layout, standby, &ended.report, &self.state).await
        {
            tracing::error!(site = %site.name, "a receipt of what a verify found could not be left: {}", render(&error));
        }
        if let Err(error) = ended.trial {
            tell(&site.name, level, &ended.report);
            return Err(error);
        }
        Ok(ended.report)
    }
}

/// Logs what is wrong, if something is.
fn tell(site: &SiteName, level: Level, report: &Report) {
    if report.is_fine() {
        return;
    }
    for fault in report.faults.iter().take(20) {
        tracing::error!(site = %site, kind = %fault.kind, object = fault.object, "verify: {}", fault.detail);
    }
    tracing::error!(site = %site, level = level.name(), faults = report.fault_count, "verify ended: something is wrong");
}

struct Site {
    settings: SiteSettings,
    verify: VerifySettings,
    due: Due,
}

/// The task that verifies.
pub(super) struct Verifying {
    sites: Vec<Site>,
    verifier: Arc<dyn Verifier>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Verifying {
    pub(super) fn new(verifier: Arc<dyn Verifier>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { sites: Vec::new(), verifier, clock, stop }
    }

    /// Adds a site that is to be verified.
    pub(super) fn add(
        &mut self,
        settings: &SiteSettings,
        verify: &VerifySettings,
        dir: &Path,
        schedule: Schedule,
    ) -> Result<(), StateError> {
        make_private(&dir.join("verify"))?;
        let due = Due::open(&dir.join("verify"), schedule, self.clock.now())?;
        self.sites.push(Site { settings: settings.clone(), verify: verify.clone(), due });
        Ok(())
    }

    /// Serves until it is stopped.
    pub(super) async fn run(mut self) {
        while !self.sites.is_empty() && !self.stop.is_cancelled() {
            self.verify_what_is_due().await;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn verify_what_is_due(&mut self) {
        for Site { settings, verify, due } in &mut self.sites {
            let asked = self.clock.now();
            if due.take(asked).is_none() {
                continue;
            }
            let level = match verify.depth {
                Depth::Structure => Level::Structure,
                Depth::Checksums => Level::Checksums,
                // Which share is kept with what was found.
                Depth::Read => Level::Read(Share::new(verify.share, 0)),
                Depth::Restore => Level::Restore,
            };
            let site = &settings.name;
            tracing::info!(site = %site, level = level.name(), "verify started");
            let verified = self.verifier.verify(settings, level, &self.stop);
            let ended = if level == Level::Restore {
                // It removes what it made, also when it is cancelled.
                verified.await
            } else {
                tokio::select! {
                    ended = verified => ended,
                    () = self.stop.cancelled() => return,
                }
            };
            match ended {
                Ok(report) if report.is_fine() => {
                    tracing::info!(site = %site, level = level.name(), snapshots = report.snapshots, "verify ended: nothing is wrong");
                }
                Ok(report) => tell(site, level, &report),
                Err(error) => tracing::error!(site = %site, exit = ?error.exit(), "verify failed: {}", render(&error)),
            }
            if let Err(error) = due.serve(asked) {
                tracing::error!(site = %site, "{}", render(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::daemon::clock::ManualClock;
    use crate::daemon::fake::{at, site};

    #[derive(Default)]
    struct Told(Mutex<Vec<Level>>);

    #[async_trait]
    impl Verifier for Told {
        async fn verify(&self, _: &SiteSettings, level: Level, _: &CancellationToken) -> Result<Report, RestoreError> {
            let mut all = self.0.lock().unwrap();
            all.push(level);
            // What fails is tried again at the next time, not before.
            if all.len() == 1 { Err(RestoreError::Cancelled) } else { Ok(Report::default()) }
        }
    }

    #[tokio::test]
    async fn it_verifies_once_for_each_due_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(at("2026-05-01T12:00:00Z")));
        let told = Arc::new(Told::default());
        let mut verifying = Verifying::new(told.clone(), clock.clone(), CancellationToken::new());
        let settings = VerifySettings {
            schedule: "45 4 * * *".into(),
            depth: Depth::Read,
            share: 30,
            receipt: None,
            trial: Default::default(),
        };
        let schedule = Schedule::parse(&settings.schedule, Some("UTC")).unwrap();
        verifying.add(&site("blog"), &settings, dir.path(), schedule).unwrap();
        verifying.verify_what_is_due().await;
        assert!(told.0.lock().unwrap().is_empty());
        for day in ["2026-05-02T04:45:00Z", "2026-05-03T04:45:10Z"] {
            clock.set(at(day));
            verifying.verify_what_is_due().await;
            verifying.verify_what_is_due().await;
        }
        let all = told.0.lock().unwrap();
        assert_eq!(*all, [Level::Read(Share::new(30, 0)); 2]);
    }
}
