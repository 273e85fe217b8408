//! The server of the tests that need one only: Debian's own MariaDB.

pub use super::server::{Options, Server as MariaDb};
