//! The daemon: schedule, run queue, control socket, systemd.
//!
//! One [`queue`] task owns what runs and what waits; the [`schedule`] and the [`control`] server ask it for runs.

mod agent;
mod alarm;
pub mod clock;
pub mod control;
mod due;
mod execution;
#[cfg(test)]
mod fake;
mod foreground;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod history;
mod live;
pub mod logging;
pub mod notify;
mod pruning;
pub mod queue;
mod runner;
mod schedule;
pub mod service;
mod state;
mod verifying;

pub use agent::{Agent, StorePruner};
pub use foreground::run_in_foreground;
pub use history::{History, HistoryError};
pub use live::{Live, Stage};
pub use pruning::{PruneReport, Pruner};
pub use runner::Runner;
pub use state::{StateDir, StateError, prepare_site};
pub use verifying::{StoreVerifier, Verifier};
