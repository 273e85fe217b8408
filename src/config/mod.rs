//! Configuration: TOML → raw (as written) → checked [`Settings`]. The rest of the program can't see an invalid one.
//!
//! A site's wp-config.php is read here, too: what the configuration leaves out is taken from there ([`WpConfig`]).

mod check;
mod check_database;
mod check_dump;
mod check_site;
mod check_store;
mod db_host;
mod definitions;
mod encryption;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod identity;
mod origin;
mod php;
mod prune;
mod raw;
pub mod schedule;
mod secret;
mod secret_file;
mod settings;
mod source;
mod suggest;
mod trees;
mod trusted;
mod verify;
mod wp_config;

use std::path::Path;

pub use check_store::{bucket_problem, prefix_problem};
pub use db_host::{DEFAULT_SOCKETS, DbHost, parse_db_host};
pub use encryption::Recipients;
pub use error::{ConfigError, Position};
pub use identity::{Identities, IdentityError, NewIdentity};
pub use origin::{Origin, Origins};
pub use prune::{Keep, parse_age};
pub use secret::Secret;
pub use settings::{
    Address, Credentials, DaemonSettings, DatabaseSettings, DumpSettings, LockMode, ObjectLock, PruneSettings, S3Settings,
    Settings, SiteName, SiteSettings, StandbyName, StoreSettings, Tls, TrialSettings, VerifySettings,
};
pub use trees::{ROOT_DIRECTORIES, TreeName, TreeSettings, captured_of_root, plain};
pub use trusted::{PublicKey, TrustedKeys};
pub use verify::Depth;
pub use wp_config::{Defined, Layout, WpConfig, WpConfigError};

/// Where the configuration is when no one says otherwise.
pub const DEFAULT_PATH: &str = "/etc/wp-backup-agent/config.toml";

/// Reads and checks a configuration file, the secrets it names, and what it leaves to the sites' wp-config.php.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    load_with_origins(path).map(|(settings, _)| settings)
}

/// The same, with where each value came from.
pub fn load_with_origins(path: &Path) -> Result<(Settings, Origins), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Read { path: path.to_owned(), source },
    })?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    parse_with_origins(&text, path, credentials.as_deref().map(Path::new))
}

/// Checks the text of a configuration; `path` is for messages.
pub fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    parse_with_origins(text, path, None).map(|(settings, _)| settings)
}

/// The same, with where each value came from. `credentials` is systemd's directory of credentials.
pub fn parse_with_origins(text: &str, path: &Path, credentials: Option<&Path>) -> Result<(Settings, Origins), ConfigError> {
    let source = source::Source { text, path };
    let raw = source.parse()?;
    let mut check = check::Check { source, credentials, origins: Origins::default() };
    let settings = check.settings(&raw)?;
    Ok((settings, check.origins))
}

#[cfg(test)]
mod tests;
