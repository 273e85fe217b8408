//! The control socket: JSON over HTTP/1.1 on a Unix socket (docs/CONTROL.md).

mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod guard;
mod peer;
mod routes;
mod server;
mod socket;
pub mod types;

/// Where the socket is when the configuration doesn't say.
pub const DEFAULT_SOCKET: &str = "/run/wp-backup-agent/control.sock";

pub use client::{Client, ClientError, Follow};
pub use routes::Api;
pub use server::{Limits, serve};
pub use socket::{Socket, SocketError};

#[cfg(test)]
mod tests;
