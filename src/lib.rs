//! Consistent, incremental, verifiable backups of WordPress sites.
//!
//! The modules are floors; each imports only from those below it (`tests/floors.rs` keeps it so):
//!
//! ```text
//! cli                              one file per subcommand: parse, call, print
//! daemon                           schedule, run queue, control socket
//! backup, restore                  one snapshot end to end, and back
//! database, files, wordpress       the three sources; they know nothing of each other
//! repository                       the on-disk format, all of it
//! storage                          the `Store` trait: s3, local
//! config, progress, error          the ground
//! ```

pub mod backup;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod database;
pub mod error;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod model;
pub mod progress;
pub mod repository;
pub mod restore;
pub mod storage;
pub mod wordpress;
