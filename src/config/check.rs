//! From the configuration as it is written to the checked settings: the store, the daemon, and what all checks share.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::ConfigError;
use super::origin::{Origin, Origins};
use super::raw::{RawConfig, RawDaemon, RawSite, RawStore};
use super::secret_file::{self, SecretPlace};
use super::source::Source;
use super::trees::{TreeName, captured_of_root};
use super::{
    Credentials, DaemonSettings, S3Settings, Settings, SiteName, SiteSettings, StoreSettings, check_site, encryption, trusted,
};

const DEFAULT_SOCKET: &str = "/run/wp-backup-agent/control.sock";
const DEFAULT_STATE: &str = "/var/lib/wp-backup-agent";

const KEYS_ADVICE: &str = "give access_key_id, and secret_access_key_file";

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
        let store = self.store(&raw.store)?;
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

    fn store(&mut self, raw: &RawStore) -> Result<StoreSettings, ConfigError> {
        const KEY: &str = "store.url";
        self.given(None, "store.url", &raw.url);
        let advice = "write s3://bucket/prefix or file:///directory";
        if let Some(path) = raw.url.get_ref().strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(self.invalid(KEY, &raw.url, "a file:// URL has three slashes and an absolute path", advice));
            }
            self.nothing_of_s3(raw)?;
            return Ok(StoreSettings::Local { path: PathBuf::from(path) });
        }
        let Some(rest) = raw.url.get_ref().strip_prefix("s3://") else {
            return Err(self.invalid(KEY, &raw.url, "neither s3:// nor file://", advice));
        };
        if rest.contains('@') {
            return Err(self.invalid(KEY, &raw.url, "credentials don't belong into the URL", KEYS_ADVICE));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fine) {
            let what = format!("{bucket:?} can't be a bucket's name");
            return Err(self.invalid(KEY, &raw.url, &what, "names have 3 to 63 of a-z, 0-9, dot and hyphen"));
        }
        let prefix = prefix.trim_matches('/');
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !prefix.is_empty()
            && prefix.split('/').any(|part| part.is_empty() || part.starts_with("..") || !part.bytes().all(fine))
        {
            let what = format!("{prefix:?} can't be a prefix");
            return Err(self.invalid(KEY, &raw.url, &what, "use parts of A-Z, a-z, 0-9, dot, underscore and hyphen"));
        }
        if let Some(endpoint) = &raw.endpoint {
            self.given(None, "store.endpoint", endpoint);
            if endpoint.get_ref().contains('@') {
                return Err(self.invalid("store.endpoint", endpoint, "credentials don't belong into the URL", KEYS_ADVICE));
            }
            if !["https://", "http://"]
                .iter()
                .any(|scheme| endpoint.get_ref().strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
            {
                return Err(self.invalid("store.endpoint", endpoint, "not a URL", "write https://host, or https://host:port"));
            }
        }
        if let Some(region) = &raw.region {
            self.given(None, "store.region", region);
        }
        if let Some(path_style) = &raw.path_style {
            self.given(None, "store.path_style", path_style);
        }
        Ok(StoreSettings::S3(S3Settings {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: raw.region.as_ref().map(|region| region.get_ref().clone()),
            endpoint: raw.endpoint.as_ref().map(|endpoint| endpoint.get_ref().clone()),
            path_style: raw.path_style.as_ref().is_some_and(|path_style| *path_style.get_ref()),
            credentials: self.store_credentials(raw)?,
        }))
    }

    /// A local store with settings of S3 was half changed from one to the other.
    fn nothing_of_s3(&self, raw: &RawStore) -> Result<(), ConfigError> {
        let strings = [
            ("store.region", &raw.region),
            ("store.endpoint", &raw.endpoint),
            ("store.access_key_id", &raw.access_key_id),
            ("store.secret_access_key_file", &raw.secret_access_key_file),
            ("store.secret_access_key_credential", &raw.secret_access_key_credential),
        ];
        let (what, advice) = ("has no meaning for a file:// store", "remove it");
        if let Some((key, value)) = strings.into_iter().find_map(|(key, value)| Some((key, value.as_ref()?))) {
            return Err(self.invalid(key, value, what, advice));
        }
        raw.path_style.as_ref().map_or(Ok(()), |value| Err(self.invalid("store.path_style", value, what, advice)))
    }

    fn store_credentials(&mut self, raw: &RawStore) -> Result<Credentials, ConfigError> {
        let place = SecretPlace {
            file_key: "store.secret_access_key_file",
            file: raw.secret_access_key_file.as_ref(),
            credential_key: "store.secret_access_key_credential",
            credential: raw.secret_access_key_credential.as_ref(),
        };
        let secret = secret_file::read(self.source, &place, self.credentials)?;
        match (&raw.access_key_id, secret) {
            (None, None) => Ok(Credentials::Chain),
            (Some(id), Some((secret, origin))) => {
                self.given(None, "store.access_key_id", id);
                self.origins.note(None, "store.secret_access_key", origin);
                Ok(Credentials::Keys { id: id.get_ref().clone(), secret })
            }
            (Some(id), None) => {
                Err(self.invalid("store.access_key_id", id, "given without a secret", "add secret_access_key_file, or remove it"))
            }
            (None, Some(_)) => {
                Err(self.absent("store.access_key_id", "missing: a secret is given", "add it, or remove the secret"))
            }
        }
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
