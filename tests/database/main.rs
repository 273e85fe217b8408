//! The database source and the loader against real private servers: MariaDB 10.11, MariaDB 11.8 and MySQL 9.7.

// Helpers of a test: clippy's allowance covers only what stands in a #[test] itself.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod failures;
mod limits;
mod roundtrip;
mod vendors;
