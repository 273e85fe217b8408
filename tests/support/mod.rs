//! Real parts for the integration tests: a private MariaDB, an S3 server, a WordPress blog, and comparisons that are
//! independent of the program under test.

#![allow(dead_code, unreachable_pub)]

pub mod agent;
pub mod compare;
pub mod mariadb;
pub mod s3;
pub mod small_site;
pub mod wordpress;
