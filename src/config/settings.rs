//! The checked settings.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Depth, Keep, Recipients, Secret, TreeSettings, TrustedKeys};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where this was read from.
    pub path: PathBuf,
    /// Where snapshots go.
    pub store: StoreSettings,
    /// The daemon's own.
    pub daemon: DaemonSettings,
    /// The sites, in the order of the file; names are unique.
    pub sites: Vec<SiteSettings>,
}

/// Where snapshots go.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// `file:///path`
    Local {
        /// The directory; must exist.
        path: PathBuf,
    },
    /// `s3://bucket/prefix`
    S3(S3Settings),
}

/// An S3 bucket and how to reach it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The keys' prefix, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region; `None` takes the AWS chain's.
    pub region: Option<String>,
    /// The endpoint's URL for servers that aren't AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path instead of the host name.
    pub path_style: bool,
    /// Who we are to the store.
    pub credentials: Credentials,
    /// The lock that packs and manifests are written with; `None`: none but the bucket's own default.
    pub object_lock: Option<ObjectLock>,
}

/// S3 Object Lock: until when a version of an object can't be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Days from the write on, 1 to 3650.
    pub days: u32,
    /// Who may lift it.
    pub mode: LockMode,
}

/// Who may lift a lock before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    /// As S3 calls it: `GOVERNANCE` or `COMPLIANCE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// Who we are to the store.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The AWS chain: environment, profile, web identity, ECS, instance role.
    Chain,
    /// A key pair.
    Keys {
        /// The access key's id.
        id: String,
        /// The secret, read from a file or a systemd credential.
        secret: Secret,
    },
}

/// The daemon's own settings.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// The control socket. Default `/run/wp-backup-agent/control.sock`.
    pub socket: PathBuf,
    /// The directory of local state. Default `/var/lib/wp-backup-agent`.
    pub state: PathBuf,
    /// Groups and users that may use the socket beside root and the daemon's own user: the socket file's group.
    pub socket_group: Option<String>,
}

/// What a name must be, for a person.
pub(super) const NAME_RULES: &str = "use 1 to 64 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first";

/// A site's name: 1 to 64 of `[a-z0-9._-]`, starting with a letter or digit. Part of object keys and file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(String);

/// The name of a machine that follows sites, by the same rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StandbyName(String);

fn is_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (mut bytes, any) = (name.bytes(), |b: u8| fine(b) || matches!(b, b'.' | b'_' | b'-'));
    name.len() <= 64 && bytes.next().is_some_and(fine) && bytes.all(any)
}

impl StandbyName {
    /// Takes a name that follows the rules.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }
}

impl FromStr for StandbyName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::new(name).ok_or_else(|| format!("{name:?} can't be a standby's name: {NAME_RULES}"))
    }
}

impl TryFrom<String> for StandbyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<StandbyName> for String {
    fn from(name: StandbyName) -> Self {
        name.0
    }
}

impl fmt::Display for StandbyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SiteName {
    /// Takes a name that follows the rules.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One WordPress site.
#[derive(Debug, Clone)]
pub struct SiteSettings {
    /// Its name in keys, commands and messages.
    pub name: SiteName,
    /// WordPress's root directory (where wp-load.php is); `None` when only `content_dir` is given.
    pub root: Option<PathBuf>,
    /// wp-content.
    pub content_dir: PathBuf,
    /// The table prefix, for labels and for the cross-check. Default from wp-config.php, else `wp_`.
    pub table_prefix: String,
    /// The database.
    pub database: DatabaseSettings,
    /// When to run: 5-field cron; `None` runs on request only.
    pub schedule: Option<String>,
    /// The schedule's time zone; `None` is the system's.
    pub time_zone: Option<String>,
    /// The owner's own exclude patterns, relative to wp-content, globs.
    pub exclude: Vec<String>,
    /// Whether the vetted default excludes apply. Default true.
    pub default_excludes: bool,
    /// How long a WordPress update that is under way is waited for. Default 10 minutes.
    pub update_wait: Duration,
    /// Each run reads one of this many unchanged files again; 0: none.
    pub reread: u32,
    /// What is captured beside wp-content.
    pub trees: Vec<TreeSettings>,
    /// Whether wp-config.php and other files of the root that hold secrets are captured. Default: when packs are sealed.
    pub include_wp_config: bool,
    /// Directories: a link that leads into one of them is captured as what it leads to.
    pub follow_links_into: Vec<PathBuf>,
    /// Whom packs are sealed to.
    pub recipients: Recipients,
    /// Whose snapshots are believed.
    pub trusted: TrustedKeys,
    /// Pruning by the daemon; `None`: this host prunes nothing.
    pub prune: Option<PruneSettings>,
    /// Verifying by the daemon; `None`: on request only.
    pub verify: Option<VerifySettings>,
}

/// When the daemon verifies a site, and how deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifySettings {
    /// 5-field cron, in the site's time zone.
    pub schedule: String,
    /// How deep.
    pub depth: Depth,
    /// One of so many packs is read each time.
    pub share: u32,
    /// The name under which this machine leaves a receipt of it in the store; absent: it leaves none.
    pub receipt: Option<StandbyName>,
    /// What restoring needs beside; of [`Depth::Restore`] alone.
    pub trial: TrialSettings,
}

/// How a snapshot is restored for a trial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialSettings {
    /// Where its files go; default: the local state's directory.
    pub scratch: Option<PathBuf>,
    /// Who loads its database, and by which password; default: the site's own account.
    pub account: Option<(String, Secret)>,
    /// What opens its packs, if they are sealed.
    pub identity_file: Option<PathBuf>,
}

/// When the daemon prunes a site, and what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneSettings {
    /// 5-field cron, in the site's time zone.
    pub schedule: String,
    /// What stays.
    pub keep: Keep,
}

/// A database and how to reach it.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where the server listens.
    pub address: Address,
    /// The account.
    pub user: String,
    /// Its password; empty for socket authentication.
    pub password: Secret,
    /// The schema.
    pub name: String,
    /// Transport security for TCP.
    pub tls: Tls,
    /// How its dump is taken.
    pub dump: DumpSettings,
}

/// How a dump is taken: how gently, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpSettings {
    /// Connections that read at a time, 1 to 16, where the server lets several share one point in time. Default 2.
    pub connections: usize,
    /// The longest that the dump may make a statement of the site wait. Default 2 s.
    pub lock_wait: Duration,
    /// How long the dump waits for a store that takes nothing, once the spool is full. Default 60 s.
    pub store_wait: Duration,
    /// The most disk that packs on their way to the store may take, in bytes. Default 1 GiB.
    pub spool: u64,
    /// Tables that are left out: patterns of names (`*`, `?`, `[…]`, `{a,b}`).
    pub exclude_tables: Vec<String>,
    /// Tables of which only the definition is captured.
    pub structure_only: Vec<String>,
}

impl Default for DumpSettings {
    fn default() -> Self {
        Self {
            connections: 2,
            lock_wait: Duration::from_secs(2),
            store_wait: Duration::from_secs(60),
            spool: 1 << 30,
            exclude_tables: Vec::new(),
            structure_only: Vec::new(),
        }
    }
}

impl DatabaseSettings {
    /// The same server by another account.
    pub fn by(self, user: String, password: Secret) -> Self {
        Self { user, password, ..self }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// A host and port.
    Tcp {
        /// Name or address.
        host: String,
        /// Default 3306.
        port: u16,
    },
}

/// Transport security for TCP connections to the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// None. The default for loopback.
    #[default]
    Off,
    /// Required, with the server's certificate checked against the bundled roots or this CA file.
    Required {
        /// A PEM file of the authority that signed the server's certificate.
        ca_file: Option<PathBuf>,
    },
}
