//! What each program may do in the store, as IAM policies: who is broken into can't take the backups along (docs/POLICY.md).
//!
//! Plain data: nothing here asks a store. `tests/policy.rs` evaluates what is printed against what runs, restores and prunes ask for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{LockMode, ObjectLock, SiteName};

/// Where a site's runs write: packs, then manifests, and checkpoints between.
const WRITTEN: [&str; 3] = ["packs", "snapshots", "checkpoints"];
/// What is written with a lock, where one is configured: what a restore needs.
const LOCKED: [&str; 2] = ["packs", "snapshots"];
/// Where a prune writes.
const NOTES: &str = "pruned";
/// Where standbys say what they found.
const RECEIPTS: &str = "standbys";
/// Where readers say what they have accepted.
const ACCEPTED: &str = "accepted";

const OVER_TLS: &str = "aws:SecureTransport";
const IF_NONE_MATCH: &str = "s3:if-none-match";
const CUSTOMER_KEY: &str = "s3:x-amz-server-side-encryption-customer-algorithm";
const LISTED: &str = "s3:prefix";
const LOCK_DAYS: &str = "s3:object-lock-remaining-retention-days";
const LOCK_MODE: &str = "s3:object-lock-mode";

/// Whether an object is one that is written with a lock, by its key below the store's prefix.
pub(super) fn is_locked(key: &str) -> bool {
    key.split('/').nth(1).is_some_and(|part| LOCKED.contains(&part))
}

/// The store that a policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The keys' prefix, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The bucket's region, where it is known: names in China and of the US government have another beginning.
    pub region: Option<String>,
}

impl Place {
    fn bucket(&self) -> String {
        let partition = match self.region.as_deref() {
            Some(region) if region.starts_with("cn-") => "aws-cn",
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:s3:::{}", self.bucket)
    }

    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// The objects below a key.
    fn objects(&self, key: &str) -> String {
        format!("{}/{}", self.bucket(), self.key(key))
    }

    /// All objects of the bucket, whatever their prefix.
    fn all_objects(&self) -> String {
        format!("{}/*", self.bucket())
    }

    fn of_site(&self, site: &SiteName, directories: &[&str]) -> Vec<String> {
        directories.iter().map(|directory| self.objects(&format!("{site}/{directory}/*"))).collect()
    }
}

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'static str>,
    action: Vec<&'static str>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

impl Statement {
    fn when(mut self, operator: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.condition.entry(operator).or_default().insert(key, value.into());
        self
    }

    fn of_everyone(self) -> Self {
        Self { principal: Some("*"), ..self }
    }
}

fn statement(sid: &'static str, effect: &'static str, action: &[&'static str], resource: impl Into<Vec<String>>) -> Statement {
    let (action, resource) = (action.to_vec(), resource.into());
    Statement { sid, effect, principal: None, action, resource, condition: BTreeMap::new() }
}

fn allow(sid: &'static str, action: &[&'static str], resource: impl Into<Vec<String>>) -> Statement {
    statement(sid, "Allow", action, resource)
}

fn deny(sid: &'static str, action: &[&'static str], resource: impl Into<Vec<String>>) -> Statement {
    statement(sid, "Deny", action, resource)
}

/// The policy of the host that is backed up: it creates, and can take nothing back.
pub fn writer(place: &Place, site: &SiteName, lock: Option<ObjectLock>) -> Policy {
    let mut statement = vec![
        list(place, site, &["s3:ListBucket"]),
        allow("ReadSite", &["s3:GetObject"], [place.objects(&format!("{site}/*"))]),
        allow("CreateBackups", &["s3:PutObject"], place.of_site(site, &WRITTEN)),
        allow("SeeSettings", &["s3:GetLifecycleConfiguration", "s3:GetBucketObjectLockConfiguration"], [place.bucket()]),
        deny("NeverDelete", &["s3:DeleteObject*"], [place.all_objects()]),
    ];
    statement.extend(create_only(place, place.all_objects()));
    statement.extend(settings_stay(place));
    statement.extend(locks(place, site, lock));
    document(statement)
}

/// The policy of who restores, and of a standby: it reads, and says what it has.
pub fn reader(place: &Place, site: &SiteName) -> Policy {
    let mut statement = vec![
        list(place, site, &["s3:ListBucket", "s3:ListBucketVersions"]),
        allow("ReadSite", &["s3:GetObject", "s3:GetObjectVersion"], [place.objects(&format!("{site}/*"))]),
        allow("CreateReceipts", &["s3:PutObject"], place.of_site(site, &[RECEIPTS, ACCEPTED])),
        deny("NeverDelete", &["s3:DeleteObject*"], [place.all_objects()]),
    ];
    statement.extend(create_only(place, place.all_objects()));
    statement.extend(settings_stay(place));
    statement.extend(locks(place, site, None));
    document(statement)
}

/// The policy of who prunes: it deletes, and can neither write backups nor, in a bucket with versions, delete for good.
pub fn pruner(place: &Place, site: &SiteName) -> Policy {
    let deleted: Vec<_> = WRITTEN.into_iter().chain([NOTES, RECEIPTS]).collect();
    let mut statement = vec![
        list(place, site, &["s3:ListBucket"]),
        allow("ReadSite", &["s3:GetObject"], [place.objects(&format!("{site}/*"))]),
        allow("CreateNotes", &["s3:PutObject"], place.of_site(site, &[NOTES])),
        allow("DeletePruned", &["s3:DeleteObject"], place.of_site(site, &deleted)),
        deny("NeverDeleteVersions", &["s3:DeleteObjectVersion*"], [place.all_objects()]),
    ];
    statement.extend(create_only(place, place.all_objects()));
    statement.extend(settings_stay(place));
    statement.extend(locks(place, site, None));
    document(statement)
}

/// The bucket's own policy, which holds for everyone, whatever else they may: nothing below the prefix is overwritten.
pub fn bucket(place: &Place) -> Policy {
    document(create_only(place, place.objects("*")).into_iter().map(Statement::of_everyone).collect())
}

fn document(statement: Vec<Statement>) -> Policy {
    Policy { version: "2012-10-17", statement }
}

fn list(place: &Place, site: &SiteName, actions: &[&'static str]) -> Statement {
    allow("ListSite", actions, [place.bucket()]).when("StringLike", LISTED, place.key(&format!("{site}/*")))
}

/// Over TLS only; a write creates, under no key of the customer's own.
fn create_only(place: &Place, objects: String) -> [Statement; 3] {
    [
        deny("NeverInPlainText", &["s3:*"], [place.bucket(), objects.clone()]).when("Bool", OVER_TLS, "false"),
        // Of an upload in parts the first request has no such header: none can begin.
        deny("NeverOverwrite", &["s3:PutObject"], [objects.clone()]).when("Null", IF_NONE_MATCH, "true"),
        // Who encrypts with a key that the store doesn't keep holds the backups to ransom.
        deny("NeverUnderAForeignKey", &["s3:PutObject"], [objects]).when("Null", CUSTOMER_KEY, "false"),
    ]
}

/// What would undo the rest: rights on objects, tags that lifecycle rules go by, and the bucket's settings.
fn settings_stay(place: &Place) -> [Statement; 2] {
    let of_objects = [
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
        "s3:PutObjectLegalHold",
        "s3:BypassGovernanceRetention",
        // Gives objects that are there another key of KMS, which may be a thief's.
        "s3:UpdateObjectEncryption",
    ];
    let of_bucket = [
        "s3:PutBucket*",
        "s3:DeleteBucket*",
        "s3:PutLifecycleConfiguration",
        "s3:PutReplicationConfiguration",
        "s3:PutEncryptionConfiguration",
    ];
    [
        deny("ObjectsStayAsTheyAre", &of_objects, [place.all_objects()]),
        deny("SettingsStayAsTheyAre", &of_bucket, [place.bucket()]),
    ]
}

/// Locks: none, or those that the agent writes with, no longer and no other.
fn locks(place: &Place, site: &SiteName, lock: Option<ObjectLock>) -> Vec<Statement> {
    let objects = place.all_objects();
    let actions = ["s3:PutObject", "s3:PutObjectRetention"];
    let Some(ObjectLock { days, mode }) = lock else {
        return vec![deny("NeverLock", &["s3:PutObjectRetention"], [objects])];
    };
    let other = match mode {
        LockMode::Governance => LockMode::Compliance,
        LockMode::Compliance => LockMode::Governance,
    };
    vec![
        allow("LockBackups", &["s3:PutObjectRetention"], place.of_site(site, &LOCKED)),
        // A day for clocks and for rounding. Locks that nobody can lift would be a bill that nobody can stop.
        deny("NeverLockLonger", &actions, [objects.clone()]).when("NumericGreaterThan", LOCK_DAYS, (days + 1).to_string()),
        deny("NeverLockOtherwise", &actions, [objects]).when("StringEquals", LOCK_MODE, other.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(prefix: &str, region: Option<&str>) -> Place {
        Place { bucket: "b".repeat(63), prefix: prefix.into(), region: region.map(Into::into) }
    }

    /// IAM takes 6,144 characters of a managed policy, spaces not counted.
    #[test]
    fn policies_are_no_longer_than_iam_takes() {
        let (place, site) = (place(&"p".repeat(40), Some("us-gov-west-1")), SiteName::new(&"s".repeat(64)).unwrap());
        let lock = Some(ObjectLock { days: 3650, mode: LockMode::Compliance });
        for policy in [writer(&place, &site, lock), reader(&place, &site), pruner(&place, &site), bucket(&place)] {
            let text = serde_json::to_string(&policy).unwrap();
            assert!(text.len() <= 6144, "{}", text.len());
        }
    }

    #[test]
    fn names_follow_the_prefix_and_the_region() {
        let site = SiteName::new("blog").unwrap();
        let text = |prefix, region| serde_json::to_string(&writer(&place(prefix, region), &site, None)).unwrap();
        let bucket = "b".repeat(63);
        assert!(text("", None).contains(&format!("\"arn:aws:s3:::{bucket}/blog/packs/*\"")));
        assert!(text("a/b", Some("eu-west-1")).contains(&format!("\"arn:aws:s3:::{bucket}/a/b/blog/packs/*\"")));
        assert!(text("a", Some("cn-north-1")).contains("\"arn:aws-cn:s3:::"));
        assert!(text("a", None).contains("{\"StringLike\":{\"s3:prefix\":\"a/blog/*\"}}"));
    }

    #[test]
    fn what_a_restore_needs_is_locked() {
        for (key, locked) in
            [("blog/packs/ab/x", true), ("blog/snapshots/x", true), ("blog/checkpoints/x", false), ("packs", false)]
        {
            assert_eq!(is_locked(key), locked, "{key}");
        }
    }
}
