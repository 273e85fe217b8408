//! What `check` asks of an S3 store beside whether it can be read: whether it guards what is kept there.

use super::output::Output;
use super::reach::fails;
use crate::config::{S3Settings, SiteSettings};
use crate::error::Exit;
use crate::repository::random_run_id;
use crate::storage::{DefaultLock, S3Store, StoreError, StoreErrorKind};

/// Asks for one site. Only a store that can't be written to is a failure: what else there is to say is said.
pub(super) async fn try_guards(
    store: &S3Store,
    settings: &S3Settings,
    site: &SiteSettings,
    out: &mut Output,
    worst: Exit,
) -> Exit {
    let name = site.name.as_str();
    let (writing, exit) = match store.overwrites(name).await {
        Ok(false) => ("allowed; what is there is not overwritten".to_owned(), worst),
        Ok(true) => (OVERWRITES.to_owned(), worst),
        Err(error) => return fails(out, &format!("{name}: writing"), &error, worst),
    };
    out.line(format_args!("  {name}: writing: {writing}"));
    // Random: nothing can be there.
    let deleting = match store.may_delete(&format!("{name}/packs/00/probe-{}", random_run_id())).await {
        Ok(false) => "denied, as it should be".to_owned(),
        Ok(true) => {
            let why = if site.prune.is_some() { ", as [site.prune] needs it" } else { "" };
            format!("WARNING: allowed{why}: {DELETES}")
        }
        Err(error) => not_known(&error),
    };
    out.line(format_args!("  {name}: deleting: {deleting}"));
    match store.expiring(name).await {
        Ok(rules) if rules.is_empty() => out.line(format_args!("  {name}: lifecycle: no rule takes backups away")),
        Ok(rules) => rules.iter().for_each(|rule| out.line(format_args!("  {name}: lifecycle: WARNING: {rule}: {EXPIRES}"))),
        Err(error) => out.line(format_args!("  {name}: lifecycle: {}", not_known(&error))),
    }
    let lock = match store.default_lock().await {
        Ok(DefaultLock::Off) if settings.object_lock.is_some() => {
            "WARNING: the bucket has none, and `store.object_lock_days` asks for it: nothing can be written".to_owned()
        }
        Ok(DefaultLock::Off) => "the bucket has none".to_owned(),
        Ok(DefaultLock::None) => "the bucket has it, and no default".to_owned(),
        Ok(DefaultLock::For { mode, time }) => format!("by the bucket's default, {} for {time}", mode.to_lowercase()),
        Err(error) => not_known(&error),
    };
    out.line(format_args!("  {name}: object lock: {lock}"));
    exit
}

const OVERWRITES: &str = "WARNING: allowed, and the store overwrites what is there, for it doesn't know If-None-Match: whoever has these credentials \
                          can destroy backups; keep versions in the bucket (docs/POLICY.md)";
const DELETES: &str = "whoever breaks into this host can delete its backups; `wp-backup-agent policy writer` prints a policy that doesn't allow it \
                       (docs/POLICY.md)";
const EXPIRES: &str = "a snapshot needs packs of any age; leave it to `prune` to delete them";

fn not_known(error: &StoreError) -> String {
    match &error.kind {
        StoreErrorKind::Denied => "not known: the credentials may not ask".into(),
        StoreErrorKind::Other(words) => format!("not known: {words}"),
        kind => format!("not known: {kind}"),
    }
}
