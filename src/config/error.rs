//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::WpConfigError;
use super::schedule::ScheduleError;
use crate::error::{Exit, Explain};

/// Where in the configuration something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The configuration file.
    pub path: PathBuf,
    /// The line, counted from 1; `None` for what isn't there.
    pub line: Option<usize>,
    /// The key with its tables: `site.database.port`. Empty when the file as a whole is meant.
    pub key: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// A configuration that can't be used. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file.
    #[error("there is no configuration file {}", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The file is there, but can't be read.
    #[error("the configuration file {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{at}: {what}")]
    Invalid {
        /// Where.
        at: Position,
        /// What is wrong.
        what: String,
        /// What to do about it.
        advice: Option<String>,
    },
    /// A file that holds a secret can't be read.
    #[error("{at}: the file {} can't be read", file.display())]
    Secret {
        /// Where the file is named.
        at: Position,
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A schedule or time zone that can't be used.
    #[error("{at}")]
    Schedule {
        /// Where.
        at: Position,
        /// Why not.
        #[source]
        source: ScheduleError,
    },
    /// A value that the configuration leaves to wp-config.php isn't to be had from there.
    #[error("{at}: not given, and not to be found in the site's wp-config.php")]
    WpConfig {
        /// Which value.
        at: Position,
        /// Why not.
        #[source]
        source: WpConfigError,
    },
}

impl Explain for ConfigError {
    fn exit(&self) -> Exit {
        Exit::Config
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Missing { path } => Some(format!(
                "copy the commented example, /usr/share/doc/wp-backup-agent/config.example.toml, to {} and change it; or name \
                 another file with --config",
                path.display()
            )),
            Self::Read { .. } => Some("let the agent's user read it; it holds no secret".to_owned()),
            Self::Invalid { advice, .. } => advice.clone(),
            Self::Secret { .. } => Some(
                "write the secret into this file and let the agent's user, and no one else, read it (mode 0600 or 0640)"
                    .to_owned(),
            ),
            Self::Schedule { source, .. } => source.advice(),
            Self::WpConfig { source, .. } => source.advice(),
        }
    }
}
