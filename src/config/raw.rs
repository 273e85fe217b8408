//! The configuration as it is written. Every value carries its place, for the messages of `check`.

use serde::Deserialize;
use toml::Spanned;

use super::verify::Depth;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) daemon: RawDaemon,
    #[serde(default)]
    pub(super) encryption: RawEncryption,
    #[serde(default)]
    pub(super) trust: RawTrust,
    #[serde(default)]
    pub(super) site: Vec<RawSite>,
}

/// `[store]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) url: Spanned<String>,
    pub(super) region: Option<Spanned<String>>,
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) path_style: Option<Spanned<bool>>,
    pub(super) access_key_id: Option<Spanned<String>>,
    pub(super) secret_access_key_file: Option<Spanned<String>>,
    pub(super) secret_access_key_credential: Option<Spanned<String>>,
    pub(super) object_lock_days: Option<Spanned<u32>>,
    pub(super) object_lock_mode: Option<Spanned<RawLockMode>>,
}

/// `object_lock_mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLockMode {
    Governance,
    Compliance,
}

/// `[daemon]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDaemon {
    pub(super) socket: Option<Spanned<String>>,
    pub(super) state: Option<Spanned<String>>,
    pub(super) socket_group: Option<Spanned<String>>,
}

/// `[encryption]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEncryption {
    pub(super) recipients: Option<Vec<Spanned<String>>>,
    pub(super) recipients_file: Option<Spanned<String>>,
}

/// `[trust]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    pub(super) keys: Option<Vec<Spanned<String>>>,
}

/// `[[site]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSite {
    pub(super) name: Spanned<String>,
    pub(super) path: Option<Spanned<String>>,
    pub(super) wp_config: Option<Spanned<String>>,
    pub(super) content_dir: Option<Spanned<String>>,
    pub(super) table_prefix: Option<Spanned<String>>,
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) time_zone: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) exclude: Vec<Spanned<String>>,
    pub(super) default_excludes: Option<Spanned<bool>>,
    pub(super) update_wait: Option<Spanned<String>>,
    pub(super) reread: Option<Spanned<u32>>,
    pub(super) root_files: Option<Spanned<bool>>,
    pub(super) include_wp_config: Option<Spanned<bool>>,
    pub(super) plugins_dir: Option<Spanned<String>>,
    pub(super) mu_plugins_dir: Option<Spanned<String>>,
    pub(super) uploads_dir: Option<Spanned<String>>,
    pub(super) prune: Option<RawPrune>,
    pub(super) verify: Option<RawVerify>,
    #[serde(default)]
    pub(super) follow_links_into: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) database: RawDatabase,
}

/// `[site.prune]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrune {
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) keep_last: Option<Spanned<u32>>,
    pub(super) keep_hourly: Option<Spanned<u32>>,
    pub(super) keep_daily: Option<Spanned<u32>>,
    pub(super) keep_weekly: Option<Spanned<u32>>,
    pub(super) keep_monthly: Option<Spanned<u32>>,
    pub(super) keep_yearly: Option<Spanned<u32>>,
    pub(super) keep_within: Option<Spanned<String>>,
}

/// `[site.verify]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVerify {
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) level: Option<Spanned<Depth>>,
    pub(super) share: Option<Spanned<u32>>,
    pub(super) receipt: Option<Spanned<String>>,
    pub(super) scratch: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<String>>,
    pub(super) identity_file: Option<Spanned<String>>,
}

/// `[site.database]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    pub(super) socket: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<String>>,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<String>>,
    pub(super) password_credential: Option<Spanned<String>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) tls: Option<Spanned<RawTls>>,
    pub(super) ca_file: Option<Spanned<String>>,
    pub(super) connections: Option<Spanned<usize>>,
    pub(super) lock_wait: Option<Spanned<String>>,
    pub(super) store_wait: Option<Spanned<String>>,
    pub(super) spool_mib: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) exclude_tables: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) structure_only: Vec<Spanned<String>>,
}

/// `tls`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTls {
    Off,
    Required,
}
