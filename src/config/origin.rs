//! Where each value of the settings came from, for `check`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::SiteName;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file gives it.
    Given {
        /// On this line.
        line: usize,
    },
    /// A file of its own, which the configuration names.
    Secret {
        /// The file.
        path: PathBuf,
        /// The line that names it.
        line: usize,
    },
    /// The site's wp-config.php gives it.
    WpConfig {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// No one gives it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { line } => write!(f, "configuration, line {line}"),
            Self::Secret { path, line } => write!(f, "{}, named by the configuration, line {line}", path.display()),
            Self::WpConfig { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Where the values came from, by site (`None`: the store's and the daemon's) and key.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<(Option<SiteName>, &'static str), Origin>);

impl Origins {
    /// Where a value came from; the default, if it isn't known.
    pub fn of(&self, site: Option<&SiteName>, key: &'static str) -> Origin {
        self.0.get(&(site.cloned(), key)).cloned().unwrap_or(Origin::Default)
    }

    pub(super) fn note(&mut self, site: Option<&SiteName>, key: &'static str, origin: Origin) {
        self.0.insert((site.cloned(), key), origin);
    }
}
