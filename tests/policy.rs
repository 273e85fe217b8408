//! The policies that `policy` prints, evaluated as S3 would: what they are for goes through, what they are against doesn't, and no statement
//! is there for nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::policy::{Asked, Rights, statements};
use support::policy_store::{BUCKET, PREFIX, creation, listing, of_bucket, of_object};

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Writer,
    /// Writes with locks of 30 days.
    Locking,
    Reader,
    Pruner,
    Bucket,
}

use Of::{Bucket, Locking, Pruner, Reader, Writer};

const ALL: [Of; 5] = [Writer, Locking, Reader, Pruner, Bucket];

/// What the program prints, without any configuration.
pub fn printed(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wp-backup-agent"));
    command.args(["--config", "/nonexistent/config.toml", "policy"]).args(arguments);
    let output = command.args(["--bucket", BUCKET, "--prefix", PREFIX]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn policy(of: Of) -> Value {
    match of {
        Writer => printed(&["writer", "--site", "blog"]),
        Locking => printed(&["writer", "--site", "blog", "--object-lock", "30"]),
        Reader => printed(&["reader", "--site", "blog"]),
        Pruner => printed(&["pruner", "--site", "blog"]),
        Bucket => printed(&["bucket"]),
    }
}

/// One request, by whom, and what must become of it.
struct Case {
    name: &'static str,
    of: Vec<Of>,
    /// Whether another policy of theirs allows everything: a group's, say. What is denied is denied all the same.
    beside_full_access: bool,
    asked: Asked,
    allowed: bool,
}

/// Must be allowed, by this policy alone.
fn can(name: &'static str, of: &[Of], asked: Asked) -> Case {
    Case { name, of: of.to_vec(), beside_full_access: false, asked, allowed: true }
}

/// Must not be allowed by this policy, whatever others say or not.
fn cannot(name: &'static str, of: &[Of], asked: Asked) -> Case {
    Case { name, of: of.to_vec(), beside_full_access: false, asked, allowed: false }
}

/// Must be denied, whatever other policies allow.
fn never(name: &'static str, of: &[Of], asked: Asked) -> Case {
    Case { name, of: of.to_vec(), beside_full_access: true, asked, allowed: false }
}

const HOSTS: [Of; 2] = [Writer, Locking];
const PEOPLE: [Of; 4] = [Writer, Locking, Reader, Pruner];
const PACK: &str = "blog/packs/ab/x.tar.zst";
const MANIFEST: &str = "blog/snapshots/0000000001-x.json";
const CUSTOMER_KEY: &str = "s3:x-amz-server-side-encryption-customer-algorithm";
const DAYS: &str = "s3:object-lock-remaining-retention-days";
const MODE: &str = "s3:object-lock-mode";

/// A key that each of them may create.
fn own(of: Of) -> &'static str {
    match of {
        Writer | Locking | Bucket => PACK,
        Reader => "blog/standbys/east/20261120T021500Z-x.json",
        Pruner => "blog/pruned/20261120T021500Z-x.json",
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        can("its own lists", &PEOPLE, listing("s3:ListBucket", "blog/snapshots/")),
        can("packs listed", &PEOPLE, listing("s3:ListBucket", "blog/packs/")),
        can("reading its manifests", &PEOPLE, of_object("s3:GetObject", MANIFEST)),
        can("reading its packs", &PEOPLE, of_object("s3:GetObject", PACK)),
        can("creating packs", &HOSTS, creation(PACK)),
        can("creating manifests", &HOSTS, creation(MANIFEST)),
        can("creating checkpoints", &HOSTS, creation("blog/checkpoints/x.json")),
        can("asking for lifecycle rules", &HOSTS, of_bucket("s3:GetLifecycleConfiguration")),
        can("asking for the bucket's lock", &HOSTS, of_bucket("s3:GetBucketObjectLockConfiguration")),
        can("versions listed", &[Reader], listing("s3:ListBucketVersions", "blog/")),
        can("versions read", &[Reader], of_object("s3:GetObjectVersion", PACK)),
        can("receipts of standbys", &[Reader], creation("blog/standbys/east/x.json")),
        can("what was accepted", &[Reader], creation("blog/accepted/x.json")),
        can("notes of a prune", &[Pruner], creation("blog/pruned/x.json")),
        cannot("another site's lists", &PEOPLE, listing("s3:ListBucket", "shop/snapshots/")),
        cannot("all sites' lists", &PEOPLE, listing("s3:ListBucket", "")),
        cannot("lists without a prefix", &PEOPLE, of_bucket("s3:ListBucket")),
        cannot("another site's packs", &PEOPLE, of_object("s3:GetObject", "shop/packs/ab/x.tar.zst")),
        cannot("a site of a longer name", &PEOPLE, of_object("s3:GetObject", "blog2/packs/ab/x.tar.zst")),
        cannot("another prefix", &PEOPLE, Asked::new("s3:GetObject", format!("arn:aws:s3:::{BUCKET}/{PACK}"))),
        cannot("another bucket", &PEOPLE, Asked::new("s3:GetObject", format!("arn:aws:s3:::other/{PREFIX}/{PACK}"))),
        cannot("another site's manifests forged", &PEOPLE, creation("shop/snapshots/0000000001-x.json")),
        cannot("notes of a prune", &[Writer, Locking, Reader], creation("blog/pruned/x.json")),
        cannot("receipts of standbys", &[Writer, Locking, Pruner], creation("blog/standbys/east/x.json")),
        cannot("what was accepted", &[Writer, Locking, Pruner], creation("blog/accepted/x.json")),
        cannot("packs written", &[Reader, Pruner], creation(PACK)),
        cannot("manifests written", &[Reader, Pruner], creation(MANIFEST)),
        never("deleting", &[Writer, Locking, Reader], of_object("s3:DeleteObject", PACK)),
        never("deleting versions", &PEOPLE, of_object("s3:DeleteObjectVersion", PACK)),
        never("deleting tags of versions", &PEOPLE, of_object("s3:DeleteObjectVersionTagging", PACK)),
        cannot("deleting what was accepted", &[Pruner], of_object("s3:DeleteObject", "blog/accepted/x.json")),
        cannot("deleting of another site", &[Pruner], of_object("s3:DeleteObject", "shop/packs/ab/x.tar.zst")),
        can("locks of 30 days", &[Locking], of_object("s3:PutObjectRetention", PACK).with(DAYS, "30").with(MODE, "GOVERNANCE")),
        can(
            "locks of manifests",
            &[Locking],
            of_object("s3:PutObjectRetention", MANIFEST).with(DAYS, "30").with(MODE, "GOVERNANCE"),
        ),
        can("creating under a lock", &[Locking], creation(MANIFEST).with(DAYS, "30").with(MODE, "GOVERNANCE")),
        never("locks for years", &[Locking], of_object("s3:PutObjectRetention", PACK).with(DAYS, "32").with(MODE, "GOVERNANCE")),
        never("creating what stays for years", &[Locking], creation(PACK).with(DAYS, "3650").with(MODE, "GOVERNANCE")),
        never(
            "locks that nobody lifts",
            &[Locking],
            of_object("s3:PutObjectRetention", PACK).with(DAYS, "1").with(MODE, "COMPLIANCE"),
        ),
        never("creating what nobody lifts", &[Locking], creation(PACK).with(DAYS, "1").with(MODE, "COMPLIANCE")),
        never(
            "any lock",
            &[Writer, Reader, Pruner],
            of_object("s3:PutObjectRetention", PACK).with(DAYS, "1").with(MODE, "GOVERNANCE"),
        ),
        can("the bucket lets others be", &[Bucket], Asked::new("s3:PutObject", format!("arn:aws:s3:::{BUCKET}/elsewhere/x"))),
        can("the bucket lets create", &[Bucket], creation(PACK)),
        can("the bucket lets prune", &[Bucket], of_object("s3:DeleteObject", PACK)),
    ];
    for place in ["packs", "snapshots", "checkpoints", "pruned", "standbys/east"] {
        let name = "deleting what a prune does";
        cases.push(can(name, &[Pruner], of_object("s3:DeleteObject", &format!("blog/{place}/x"))));
    }
    for of in ALL {
        let key = own(of);
        cases.push(can("creating", &[of], creation(key)));
        cases.push(never("overwriting", &[of], creation(key).without("s3:if-none-match")));
        cases.push(never("a customer's key", &[of], creation(key).with(CUSTOMER_KEY, "AES256")));
        cases.push(never("creating over plain http", &[of], creation(key).with("aws:SecureTransport", "false")));
        let list = listing("s3:ListBucket", "blog/snapshots/").with("aws:SecureTransport", "false");
        cases.push(never("lists over plain http", &[of], list));
        cases.push(never("reading over plain http", &[of], of_object("s3:GetObject", PACK).with("aws:SecureTransport", "false")));
    }
    for action in [
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
        "s3:PutObjectLegalHold",
        "s3:BypassGovernanceRetention",
        "s3:UpdateObjectEncryption",
    ] {
        cases.push(never(action, &PEOPLE, of_object(action, PACK)));
    }
    for action in [
        "s3:PutLifecycleConfiguration",
        "s3:PutReplicationConfiguration",
        "s3:PutEncryptionConfiguration",
        "s3:PutBucketPolicy",
        "s3:PutBucketAcl",
        "s3:PutBucketVersioning",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketPublicAccessBlock",
        "s3:DeleteBucketPolicy",
        "s3:DeleteBucket",
    ] {
        cases.push(never(action, &PEOPLE, of_bucket(action)));
    }
    cases
}

/// The names of the cases that go wrong with this policy.
fn wrong(of: Of, policy: &Value) -> Vec<&'static str> {
    let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let goes_wrong = |case: &Case| {
        let mut rights = Rights::default();
        if of == Bucket {
            rights.bucket.push(policy.clone());
        } else {
            rights.identity.push(policy.clone());
        }
        if case.beside_full_access || of == Bucket {
            rights.identity.push(everything.clone());
        }
        rights.allow(&case.asked) != case.allowed
    };
    cases().iter().filter(|case| case.of.contains(&of) && goes_wrong(case)).map(|case| case.name).collect()
}

#[test]
fn each_policy_allows_what_it_is_for_and_nothing_else() {
    for of in ALL {
        assert_eq!(wrong(of, &policy(of)), Vec::<&str>::new(), "{of:?}");
    }
}

#[test]
fn no_statement_can_be_taken_out_unnoticed() {
    for of in ALL {
        let whole = policy(of);
        for at in 0..statements(&whole).len() {
            let mut less = whole.clone();
            let taken = less["Statement"].as_array_mut().unwrap().remove(at);
            let red = wrong(of, &less);
            println!("{of:?} without {}: {red:?}", taken["Sid"]);
            assert!(!red.is_empty(), "{of:?}: nothing shows that {} is missing", taken["Sid"]);
        }
    }
}

/// Nor can an action, a resource or a condition.
#[test]
fn no_part_of_a_statement_can_be_taken_out_unnoticed() {
    let mut unnoticed = Vec::new();
    for of in ALL {
        let whole = policy(of);
        for (at, statement) in statements(&whole).iter().enumerate() {
            let mut less = Vec::new();
            for part in ["Action", "Resource"] {
                let parts = statement[part].as_array().unwrap();
                for index in (0..parts.len()).filter(|_| parts.len() > 1) {
                    let mut policy = whole.clone();
                    policy["Statement"][at][part].as_array_mut().unwrap().remove(index);
                    less.push((policy, parts[index].to_string()));
                }
            }
            if statement.get("Condition").is_some() {
                let mut policy = whole.clone();
                policy["Statement"][at].as_object_mut().unwrap().remove("Condition");
                less.push((policy, "its condition".into()));
            }
            let survives = |(policy, what): (Value, String)| wrong(of, &policy).is_empty().then_some(what);
            unnoticed
                .extend(less.into_iter().filter_map(survives).map(|what| format!("{of:?}: {} without {what}", statement["Sid"])));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

#[test]
fn what_the_evaluator_does_not_know_is_an_error() {
    let with = |statement: Value| {
        let rights = Rights { identity: vec![json!({"Version": "2012-10-17", "Statement": [statement]})], bucket: Vec::new() };
        std::panic::catch_unwind(move || rights.allow(&creation(PACK))).is_err()
    };
    let statement = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    assert!(!with(statement.clone()));
    for (element, value) in [
        ("NotAction", json!("s3:*")),
        ("Effect", json!("Maybe")),
        ("Principal", json!("*")),
        ("Condition", json!({"IpAddress": {"s3:prefix": "x"}})),
        ("Condition", json!({"Null": {"s3:if-nonematch": "true"}})),
    ] {
        let mut unknown = statement.clone();
        unknown[element] = value;
        assert!(with(unknown), "{element}");
    }
}

#[test]
fn without_a_store_in_s3_a_bucket_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let text = |store: &str| {
        format!(
            "[store]\n{store}\n[[site]]\nname = \"shop\"\ncontent_dir = \"{}\"\ntable_prefix = \"wp_\"\n[site.database]\nsocket = \"/nonexistent\"\nuser = \"wp\"\nname = \"wp\"\n",
            dir.path().display()
        )
    };
    let run = |store: &str, arguments: &[&str]| {
        std::fs::write(&config, text(store)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wp-backup-agent"));
        let output = command.arg("--config").arg(&config).arg("policy").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, told) = run("url = \"file:///srv/backups\"", &["writer"]);
    assert!(code == Some(64) && told.contains("--bucket"), "{told}");
    let s3 = "url = \"s3://my-backups/a\"\nregion = \"cn-north-1\"\nobject_lock_days = 7";
    let (code, shown, told) = run(s3, &["writer"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    for part in ["\"arn:aws-cn:s3:::my-backups/a/shop/packs/*\"", "\"LockBackups\"", "\"8\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // What Object Lock needs is said beside the policy, which stays one.
    let (code, shown, told) = run(s3, &["bucket", "--object-lock"]);
    assert_eq!(code, Some(0));
    assert!(serde_json::from_str::<Value>(&shown).is_ok() && told.contains("object_lock_days = 7"), "{told}");
    assert!(run(s3, &["bucket", "--object-lock", "9"]).2.contains("object_lock_days = 9"));
    assert!(run(s3, &["bucket", "--bucket", "backups", "--object-lock"]).2.contains("object_lock_days = 30"));
    assert!(!run(s3, &["bucket", "--bucket", "backups"]).2.contains("object_lock_days"));
    assert_eq!(run(s3, &["bucket", "--bucket", "NO"]).0, Some(64));
    assert_eq!(run(s3, &["reader", "--site", "No"]).0, Some(64));
}
