//! `[store]`, checked.

use std::path::PathBuf;

use super::check::Check;
use super::error::ConfigError;
use super::raw::{RawLockMode, RawStore};
use super::secret_file::{self, SecretPlace};
use super::{Credentials, LockMode, ObjectLock, S3Settings, StoreSettings};

const KEYS_ADVICE: &str = "give access_key_id, and secret_access_key_file";

/// Ten years: a longer lock is a slip of the hand, and can't be taken back.
const LONGEST_LOCK: u32 = 3650;

/// Where snapshots go.
pub(super) fn store(check: &mut Check<'_>, raw: &RawStore) -> Result<StoreSettings, ConfigError> {
    check.store(raw)
}

/// What is wrong with a bucket's name, if anything.
pub fn bucket_problem(bucket: &str) -> Option<String> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    (!(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fine)).then(|| format!("{bucket:?} can't be a bucket's name"))
}

/// What is wrong with a prefix, which has no slashes at its ends, if anything.
pub fn prefix_problem(prefix: &str) -> Option<String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let bad = |part: &str| part.is_empty() || part.starts_with("..") || !part.bytes().all(fine);
    (!prefix.is_empty() && prefix.split('/').any(bad)).then(|| format!("{prefix:?} can't be a prefix"))
}

impl Check<'_> {
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
        if let Some(what) = bucket_problem(bucket) {
            return Err(self.invalid(KEY, &raw.url, &what, "names have 3 to 63 of a-z, 0-9, dot and hyphen"));
        }
        let prefix = prefix.trim_matches('/');
        if let Some(what) = prefix_problem(prefix) {
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
            object_lock: self.object_lock(raw)?,
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
        if let Some(value) = &raw.object_lock_days {
            return Err(self.invalid("store.object_lock_days", value, what, advice));
        }
        if let Some(value) = &raw.object_lock_mode {
            return Err(self.invalid("store.object_lock_mode", value, what, advice));
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

    /// How long what is written is locked, and how firmly.
    fn object_lock(&mut self, raw: &RawStore) -> Result<Option<ObjectLock>, ConfigError> {
        const KEY: &str = "store.object_lock_days";
        if let Some(mode) = &raw.object_lock_mode {
            self.given(None, "store.object_lock_mode", mode);
            if raw.object_lock_days.is_none() {
                let advice = "add object_lock_days, or remove it";
                return Err(self.invalid("store.object_lock_mode", mode, "given without a number of days", advice));
            }
        }
        let Some(days) = &raw.object_lock_days else { return Ok(None) };
        self.given(None, KEY, days);
        if !(1..=LONGEST_LOCK).contains(days.get_ref()) {
            let what = format!("{} is not a number of days from 1 to {LONGEST_LOCK}", days.get_ref());
            return Err(self.invalid(KEY, days, &what, "what is locked can't be deleted before: begin with few days"));
        }
        let mode = match raw.object_lock_mode.as_ref().map(|mode| *mode.get_ref()) {
            Some(RawLockMode::Compliance) => LockMode::Compliance,
            Some(RawLockMode::Governance) | None => LockMode::Governance,
        };
        Ok(Some(ObjectLock { days: *days.get_ref(), mode }))
    }
}
