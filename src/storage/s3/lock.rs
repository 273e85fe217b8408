//! The lock that packs and manifests are written with.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::ObjectLockMode;

use super::super::policy;
use crate::config::ObjectLock;

/// The lock that is configured, and the clock by which it ends.
pub(super) struct Lock {
    lock: Option<ObjectLock>,
    /// The host's clock.
    pub(super) now: fn() -> SystemTime,
}

impl Lock {
    pub(super) fn new(lock: Option<ObjectLock>) -> Self {
        Self { lock, now: SystemTime::now }
    }

    /// The lock that an object is written with, and its end; nothing but packs and manifests has one.
    pub(super) fn of(&self, key: &str) -> Option<(ObjectLockMode, DateTime)> {
        let lock = self.lock.filter(|_| policy::is_locked(key))?;
        let until = (self.now)() + Duration::from_secs(u64::from(lock.days) * 86_400);
        Some((lock.mode.as_str().into(), until.into()))
    }
}
