//! What `check` asks, against servers that know it and servers that don't.

use super::*;

fn says(body: &str) -> Play {
    object(&format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

fn rules(rules: &str) -> Play {
    says(&format!("<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</LifecycleConfiguration>"))
}

async fn expiring(play: Play) -> Result<Vec<String>, StoreErrorKind> {
    let script = Script::start(vec![play]).await;
    let found = script.store().await.expiring("blog").await;
    found.map(|found| found.iter().map(ToString::to_string).collect()).map_err(|error| error.kind)
}

#[tokio::test]
async fn a_store_that_overwrites_is_found_out_and_one_that_does_not() {
    let existed = || refuses(412, "PreconditionFailed");
    for (plays, overwrites, requests) in [
        (vec![ok(), existed()], false, 2),
        (vec![existed()], false, 1),
        (vec![ok()], true, 2),
        (vec![refuses(501, "NotImplemented"), ok()], true, 3),
    ] {
        let script = Script::start(plays).await;
        assert_eq!(script.store().await.overwrites("blog").await.unwrap(), overwrites);
        let seen = script.requests();
        assert_eq!(seen.len(), requests);
        assert!(seen.iter().all(|request| request.starts_with("put /bucket/some/prefix/blog/packs/probe")), "{seen:?}");
    }
    let script = Script::start(vec![refuses(403, "AccessDenied")]).await;
    assert_eq!(script.store().await.overwrites("blog").await.unwrap_err().kind, StoreErrorKind::Denied);
}

#[tokio::test]
async fn the_right_to_delete_is_found_out() {
    let gone = || Play::Says("HTTP/1.1 204 No Content\r\n\r\n".into());
    for (play, may) in [
        (gone(), Some(true)),
        (refuses(404, "NoSuchKey"), Some(true)),
        (refuses(403, "AccessDenied"), Some(false)),
        (refuses(501, "NotImplemented"), None),
    ] {
        let script = Script::start(vec![play]).await;
        assert_eq!(script.store().await.may_delete("blog/packs/00/probe-1").await.ok(), may);
        let seen = script.requests();
        assert!(seen[0].starts_with("delete /bucket/some/prefix/blog/packs/00/probe-1"), "{seen:?}");
    }
}

#[tokio::test]
async fn rules_that_take_backups_are_named() {
    let rule = |id: &str, rest: &str| format!("<Rule><ID>{id}</ID><Status>Enabled</Status>{rest}</Rule>");
    let after = "<Expiration><Days>30</Days></Expiration>";
    for (filter, covers) in [
        ("<Filter><Prefix></Prefix></Filter>", true),
        ("<Filter/>", true),
        ("<Prefix>some/</Prefix>", true),
        ("<Filter><Prefix>some/prefix/blog/packs/ab/</Prefix></Filter>", true),
        (
            "<Filter><And><Prefix>some/prefix/blog/snap</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>",
            true,
        ),
        ("<Filter><Prefix>some/prefix/shop/</Prefix></Filter>", false),
        ("<Filter><Prefix>some/prefix/blog/checkpoints/</Prefix></Filter>", false),
        ("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>", false),
        ("<Filter><And><Prefix>some/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>", false),
    ] {
        let found = expiring(rules(&rule("tidy", &format!("{filter}{after}")))).await.unwrap();
        assert_eq!(found.len(), usize::from(covers), "{filter}: {found:?}");
        assert!(found.iter().all(|told| told.contains("\"tidy\" deletes them")), "{found:?}");
    }
    let all = "<Filter><Prefix></Prefix></Filter>";
    let to = |class: &str| format!("{all}<Transition><Days>1</Days><StorageClass>{class}</StorageClass></Transition>");
    for (rest, told) in [
        (to("GLACIER"), Some("rule \"x\" moves them to GLACIER (all objects)")),
        (to("DEEP_ARCHIVE"), Some("rule \"x\" moves them to DEEP_ARCHIVE (all objects)")),
        (to("GLACIER_IR"), None),
        (format!("{all}<NoncurrentVersionExpiration><NoncurrentDays>9</NoncurrentDays></NoncurrentVersionExpiration>"), None),
        (format!("{all}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), None),
    ] {
        assert_eq!(expiring(rules(&rule("x", &rest))).await.unwrap().first().map(String::as_str), told, "{rest}");
    }
    let off = rule("x", &format!("{all}{after}")).replace("Enabled", "Disabled");
    assert!(expiring(rules(&off)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_server_does_not_tell_is_not_known() {
    assert_eq!(expiring(refuses(404, "NoSuchLifecycleConfiguration")).await, Ok(Vec::new()));
    assert_eq!(expiring(refuses(403, "AccessDenied")).await, Err(StoreErrorKind::Denied));
    assert!(
        matches!(expiring(refuses(501, "NotImplemented")).await, Err(StoreErrorKind::Other(words)) if words.contains("NotImplemented"))
    );
}

#[tokio::test]
async fn the_buckets_own_lock_is_told() {
    let lock = |rule: &str| {
        let name = "ObjectLockConfiguration";
        says(&format!("<{name}><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</{name}>"))
    };
    let rule = |time: &str| format!("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode>{time}</DefaultRetention></Rule>");
    let of = |time: &str| DefaultLock::For { mode: "GOVERNANCE".into(), time: time.into() };
    for (play, expected) in [
        (refuses(404, "ObjectLockConfigurationNotFoundError"), DefaultLock::Off),
        (lock(""), DefaultLock::None),
        (lock(&rule("<Days>30</Days>")), of("30 days")),
        (lock(&rule("<Years>1</Years>")), of("1 year")),
    ] {
        let script = Script::start(vec![play]).await;
        assert_eq!(script.store().await.default_lock().await.unwrap(), expected);
    }
    let script = Script::start(vec![refuses(403, "AccessDenied")]).await;
    assert_eq!(script.store().await.default_lock().await.unwrap_err().kind, StoreErrorKind::Denied);
}
