//! What `check` asks of a bucket: whether it takes overwriting, deletions, and time to what it keeps. Each question stands for itself; one that
//! is refused, or that a server doesn't know, leaves the others.

use std::fmt;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{DefaultRetention, ExpirationStatus, LifecycleRule, LifecycleRuleFilter, TransitionStorageClass};
use bytes::Bytes;
use sha2::Digest as _;

use super::refusal::failure;
use super::{S3Store, Sha256};
use crate::storage::{Put, Store as _, StoreError, StoreErrorKind};

/// The same in each probe: where a server overwrites, nothing changes.
const PROBE: &[u8] = b"wp-backup-agent check: does this store refuse to overwrite?\n";

/// A rule of the bucket that takes backups away, or out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The rule's id.
    pub rule: String,
    /// What it does to them: `deletes them`, or `moves them to GLACIER`.
    pub does: String,
    /// The keys that it is about; empty: all.
    pub prefix: String,
}

/// The lock that the bucket puts on what is written without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultLock {
    /// The bucket has no Object Lock.
    Off,
    /// It has, and no default.
    None,
    /// It has a default.
    For {
        /// `GOVERNANCE` or `COMPLIANCE`.
        mode: String,
        /// `30 days`, `2 years`.
        time: String,
    },
}

impl S3Store {
    /// Whether the store lets an object be overwritten: a small one is created, and created again. It stays at `<site>/packs/probe`, which
    /// nothing reads, and which the policy of a host that is backed up allows.
    pub async fn overwrites(&self, site: &str) -> Result<bool, StoreError> {
        let (key, sha256) = (format!("{site}/packs/probe"), Sha256::from(sha2::Sha256::digest(PROBE)));
        for _ in 0..2 {
            if self.put_new(&key, Bytes::from_static(PROBE), sha256).await? == Put::Existed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the credentials may delete this object, which must not exist. In a bucket with versions it then has a delete marker.
    pub async fn may_delete(&self, key: &str) -> Result<bool, StoreError> {
        match self.bounded("DELETE", key, 0, self.remove(key)).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == StoreErrorKind::Denied => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The rules of the bucket's lifecycle that concern a site's packs or manifests.
    pub async fn expiring(&self, site: &str) -> Result<Vec<Expiry>, StoreError> {
        let kept = ["packs/", "snapshots/"].map(|directory| self.full_key(&format!("{site}/{directory}")));
        let asked = async {
            match self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await {
                Ok(found) => Ok(found.rules.unwrap_or_default()),
                Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
                Err(error) => Err(failure(error, &StoreErrorKind::NoBucket)),
            }
        };
        let rules = self.bounded("GET", "?lifecycle", 0, asked).await?;
        Ok(rules.into_iter().filter_map(|rule| expiry(rule, &kept)).collect())
    }

    /// The lock that the bucket puts on what is written without one.
    pub async fn default_lock(&self) -> Result<DefaultLock, StoreError> {
        let asked = async {
            match self.client.get_object_lock_configuration().bucket(&self.bucket).send().await {
                Ok(found) => Ok(found.object_lock_configuration),
                Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => Ok(None),
                Err(error) => Err(failure(error, &StoreErrorKind::NoBucket)),
            }
        };
        let Some(found) = self.bounded("GET", "?object-lock", 0, asked).await? else { return Ok(DefaultLock::Off) };
        let Some(retention) = found.rule.and_then(|rule| rule.default_retention) else { return Ok(DefaultLock::None) };
        let DefaultRetention { mode, days, years, .. } = retention;
        let time = match (days, years) {
            (Some(1), _) => "1 day".to_owned(),
            (Some(days), _) => format!("{days} days"),
            (None, Some(1)) => "1 year".to_owned(),
            (None, Some(years)) => format!("{years} years"),
            (None, None) => return Ok(DefaultLock::None),
        };
        Ok(DefaultLock::For { mode: mode.map(|mode| mode.as_str().to_owned()).unwrap_or_default(), time })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, does, prefix } = self;
        write!(f, "rule {rule:?} {does} (")?;
        if prefix.is_empty() { f.write_str("all objects)") } else { write!(f, "objects below {prefix})") }
    }
}

/// What a rule that is in effect does to objects below one of these keys.
fn expiry(rule: LifecycleRule, kept: &[String]) -> Option<Expiry> {
    if rule.status != ExpirationStatus::Enabled {
        return None;
    }
    let filter = rule.filter.unwrap_or_else(|| LifecycleRuleFilter::builder().build());
    let (and, mut tagged) = (filter.and, filter.tag.is_some());
    #[allow(deprecated, reason = "rules made long ago have their prefix there")]
    let mut prefix = filter.prefix.or(rule.prefix);
    if let Some(and) = and {
        tagged |= and.tags.is_some_and(|tags| !tags.is_empty());
        prefix = prefix.or(and.prefix);
    }
    let prefix = prefix.unwrap_or_default();
    // Nothing that the agent writes has tags.
    if tagged || !kept.iter().any(|kept| kept.starts_with(&prefix) || prefix.starts_with(kept)) {
        return None;
    }
    let expires = rule.expiration.is_some_and(|expiration| expiration.days.is_some() || expiration.date.is_some());
    let cold = rule.transitions.unwrap_or_default().into_iter().find_map(|transition| {
        // From these an object has to be fetched back for hours first; the others answer at once.
        transition
            .storage_class
            .filter(|class| matches!(class, TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive))
    });
    let does = match (expires, cold) {
        (true, _) => "deletes them".to_owned(),
        (false, Some(class)) => format!("moves them to {}", class.as_str()),
        (false, None) => return None,
    };
    Some(Expiry { rule: rule.id.unwrap_or_default(), does, prefix })
}
