//! From the configuration as it is written to the checked settings: the daemon, and what all checks share.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::ConfigError;
use super::origin::{Origin, Origins};
use super::raw::{RawConfig, RawDaemon, RawSite};
use super::schedule::Schedule;
use super::source::Source;
use super::trees::{TreeName, captured_of_root};
use super::{DaemonSettings, Settings, SiteName, SiteSettings, StoreSettings, check_site, check_store, encryption, trusted};

const DEFAULT_SOCKET: &str = "/run/wp-backup-agent/control.sock";
const DEFAULT_STATE: &str = "/var/lib/wp-backup-agent";

/// A check under way: the text that messages point into, and the origins noted so far.
pub(super) struct Check<'a> {
    pub(super) source: Source<'a>,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub(super) credentials: Option<&'a Path>,
    pub(super) origins: Origins,
}

impl Check<'_> {
    /// The settings, or the first thing that is wrong.
    pub(super) fn settings(&mut self, raw: &RawConfig) -> Result<Settings, ConfigError> {
        let store = check_store::store(self, &raw.store)?;
        let daemon = self.daemon(&raw.daemon)?;
        let recipients = encryption::recipients(self, &raw.encryption)?;
        let trusted = trusted::trusted(self, &raw.trust)?;
        if raw.site.is_empty() {
            return Err(self.absent("", "there is no [[site]]", "add one, as config.example.toml shows"));
        }
        let mut sites = Vec::with_capacity(raw.site.len());
        for site in &raw.site {
            let checked = check_site::site(self, site, &sites, &recipients, &trusted)?;
            self.apart(site, &checked, &store, &daemon)?;
            sites.push(checked);
        }
        Ok(Settings { path: self.source.path.to_owned(), store, daemon, sites })
    }

    /// A store or state below a tree that is captured would be part of each snapshot.
    fn apart(
        &self,
        raw: &RawSite,
        site: &SiteSettings,
        store: &StoreSettings,
        daemon: &DaemonSettings,
    ) -> Result<(), ConfigError> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut ours = vec![("the local state", daemon.state.as_path())];
        if let StoreSettings::Local { path } = store {
            ours.push(("the store", path));
        }
        let trees = site.trees.iter().map(|tree| (tree.name.as_str(), tree.path.as_path(), tree.name == TreeName::Root));
        for (tree, directory, is_root) in std::iter::once(("wp-content", site.content_dir.as_path(), false)).chain(trees) {
            let directory = real(directory);
            for (what, path) in &ours {
                let Ok(inside) = real(path).strip_prefix(&directory).map(Path::to_owned) else { continue };
                // Of the root only some directories are captured.
                if is_root && !captured_of_root(&inside) {
                    continue;
                }
                let problem = format!(
                    "{what} {} is inside {tree} ({}): each snapshot would hold the ones before",
                    path.display(),
                    directory.display()
                );
                let advice = "keep it elsewhere, outside of the web server's reach";
                return Err(self.invalid("site.name", &raw.name, &problem, advice));
            }
        }
        Ok(())
    }

    fn daemon(&mut self, raw: &RawDaemon) -> Result<DaemonSettings, ConfigError> {
        let socket = self.path(None, "daemon.socket", raw.socket.as_ref())?;
        let state = self.path(None, "daemon.state", raw.state.as_ref())?;
        if let Some(group) = &raw.socket_group {
            self.given(None, "daemon.socket_group", group);
            if group.get_ref().is_empty() {
                return Err(self.invalid("daemon.socket_group", group, "empty", "name a group, or remove it"));
            }
        }
        Ok(DaemonSettings {
            socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            state: state.unwrap_or_else(|| DEFAULT_STATE.into()),
            socket_group: raw.socket_group.as_ref().map(|group| group.get_ref().clone()),
        })
    }

    /// An absolute path, if it is given.
    pub(super) fn path(
        &mut self,
        site: Option<&SiteName>,
        key: &'static str,
        value: Option<&Spanned<String>>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(value) = value else { return Ok(None) };
        self.given(site, key, value);
        let path = PathBuf::from(value.get_ref());
        if path.is_absolute() {
            return Ok(Some(path));
        }
        let what = format!("{:?} is not an absolute path", value.get_ref());
        Err(self.invalid(key, value, &what, "begin it with a slash: the daemon has no directory of its own to start from"))
    }

    /// Notes that the file gives a value.
    pub(super) fn given<T>(&mut self, site: Option<&SiteName>, key: &'static str, value: &Spanned<T>) {
        self.origins.note(site, key, Origin::Given { line: self.source.line(&value.span()) });
    }

    /// The schedule of a job beside backups, which must have one. `advice` says what it could be.
    pub(super) fn job_schedule(
        &mut self,
        site: &SiteName,
        key: &'static str,
        given: Option<&Spanned<String>>,
        time_zone: Option<&str>,
        advice: &str,
    ) -> Result<String, ConfigError> {
        let Some(schedule) = given else {
            return Err(self.absent(key, &format!("missing for site {site}"), advice));
        };
        self.given(Some(site), key, schedule);
        match Schedule::parse(schedule.get_ref(), time_zone) {
            Ok(_) => Ok(schedule.get_ref().clone()),
            Err(source) => Err(ConfigError::Schedule { at: self.source.at(key, &schedule.span()), source: Box::new(source) }),
        }
    }

    /// An error about a value that is written.
    pub(super) fn invalid<T>(&self, key: &str, value: &Spanned<T>, what: &str, advice: &str) -> ConfigError {
        let at = self.source.at(key, &value.span());
        ConfigError::Invalid { at, what: what.to_owned(), advice: Some(advice.to_owned()) }
    }

    /// An error about something that isn't.
    pub(super) fn absent(&self, key: &str, what: &str, advice: &str) -> ConfigError {
        ConfigError::Invalid { at: self.source.absent(key), what: what.to_owned(), advice: Some(advice.to_owned()) }
    }
}
