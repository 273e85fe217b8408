//! Configuration: TOML → raw (as written) → checked [`Settings`]. The rest of the program can't see an invalid one.

pub mod schedule;
mod secret;
mod settings;

pub use secret::Secret;
pub use settings::{
    Address, Credentials, DaemonSettings, DatabaseSettings, S3Settings, Settings, SiteName, SiteSettings, StoreSettings, Tls,
};
