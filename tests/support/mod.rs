//! Real parts for the integration tests: private database servers, an S3 server, a WordPress blog, and comparisons that are
//! independent of the program under test.

#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod agent;
pub mod bare_site;
pub mod blocks;
pub mod compare;
pub mod dump;
pub mod files_site;
pub mod fingerprint;
pub mod flavour;
pub mod link;
pub mod mariadb;
pub mod mutator;
pub mod policy;
pub mod policy_store;
pub mod random;
pub mod respawned;
pub mod roomy;
pub mod s3;
pub mod server;
pub mod small_blog;
pub mod small_site;
pub mod wordpress;
