//! `policy`: what to attach to whom, printed as JSON.

use clap::{Args, Subcommand, ValueEnum};

use super::args::Global;
use super::failure::Failure;
use super::output::Output;
use super::sites::choose_site;
use crate::config::{self, LockMode, ObjectLock, S3Settings, Settings, SiteName, StoreSettings, bucket_problem, prefix_problem};
use crate::error::Exit;
use crate::storage::policy::{self, Place, Policy};

/// Where nobody says how long a lock is.
const DEFAULT_DAYS: u32 = 30;

/// `policy`
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// For the host that is backed up: it creates, and can delete, overwrite or lock out nothing
    Writer(LockArgs),
    /// For who restores, and for a standby: it reads
    Reader(PolicyArgs),
    /// For who prunes, on another machine: it deletes, and can't write backups
    Pruner(PolicyArgs),
    /// The bucket's own policy, which holds for everyone: nothing is overwritten
    Bucket(LockArgs),
}

/// What each of them takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent policy writer > writer.json                                      of the configuration's store and only site
  wp-backup-agent policy pruner --bucket backups --prefix wordpress --site blog    of any store, without a configuration
How to attach it, and which servers know how much of it: docs/POLICY.md.")]
pub(super) struct PolicyArgs {
    /// The bucket; without it, the configuration's store
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// The keys' prefix; with --bucket none unless it is given
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The bucket's region, if it is in China or of the US government
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The site; may be left out when the configuration has only one
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
}

/// What those that may concern locks take.
#[derive(Debug, Args)]
pub(super) struct LockArgs {
    #[command(flatten)]
    of: PolicyArgs,
    /// For a bucket with Object Lock: backups are written with a lock of so many days. Without a number, or without the option, what the
    /// configuration says; 30 if it says nothing
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    object_lock: Option<Option<u32>>,
    /// Who may lift such a lock: whoever may bypass it, or nobody
    #[arg(long, value_name = "MODE", requires = "object_lock")]
    object_lock_mode: Option<Mode>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Governance,
    Compliance,
}

/// Prints a policy.
pub(super) fn run(global: &Global, command: &PolicyCommand, out: &mut Output) -> Result<Exit, Failure> {
    let args = match command {
        PolicyCommand::Writer(args) | PolicyCommand::Bucket(args) => &args.of,
        PolicyCommand::Reader(args) | PolicyCommand::Pruner(args) => args,
    };
    let of_bucket = matches!(command, PolicyCommand::Bucket(_));
    // Policies are mostly made elsewhere than on the host: what the command line tells is not looked for in a configuration.
    let needed = args.bucket.is_none() || (args.site.is_none() && !of_bucket);
    let settings = if needed { Some(load(global, args)?) } else { None };
    let store = settings.as_ref().and_then(|settings| match &settings.store {
        StoreSettings::S3(s3) if args.bucket.is_none() => Some(s3),
        _ => None,
    });
    let place = place(args, store)?;
    match command {
        PolicyCommand::Writer(lock) => print(&policy::writer(&place, &site(args, settings.as_ref())?, lock.lock(store)), out),
        PolicyCommand::Reader(_) => print(&policy::reader(&place, &site(args, settings.as_ref())?), out),
        PolicyCommand::Pruner(_) => print(&policy::pruner(&place, &site(args, settings.as_ref())?), out),
        PolicyCommand::Bucket(lock) => {
            print(&policy::bucket(&place), out);
            if let Some(lock) = lock.lock(store) {
                advise(&place, lock, out);
            }
        }
    }
    Ok(Exit::Success)
}

impl LockArgs {
    fn lock(&self, store: Option<&S3Settings>) -> Option<ObjectLock> {
        let configured = store.and_then(|store| store.object_lock);
        let Some(days) = self.object_lock else { return configured };
        let mode = match self.object_lock_mode {
            Some(Mode::Governance) => LockMode::Governance,
            Some(Mode::Compliance) => LockMode::Compliance,
            None => configured.map_or(LockMode::Governance, |lock| lock.mode),
        };
        Some(ObjectLock { days: days.or(configured.map(|lock| lock.days)).unwrap_or(DEFAULT_DAYS), mode })
    }
}

fn print(policy: &Policy, out: &mut Output) {
    out.line(serde_json::to_string_pretty(policy).unwrap_or_default());
}

/// Locks are of the bucket's settings, not of its policy: said beside it.
fn advise(place: &Place, lock: ObjectLock, out: &mut Output) {
    let (bucket, mode, days) = (&place.bucket, lock.mode.as_str(), lock.days);
    out.note("Object Lock is no part of a policy. To turn it on, and versions with it:");
    out.note(format_args!("  aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"));
    out.note(format_args!(
        "  aws s3api put-object-lock-configuration --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled"
    ));
    out.note(format_args!(
        "and in [store] of the host's configuration: object_lock_days = {days}, object_lock_mode = \"{}\" (each pack and manifest is written \
         with the mode {mode}; a default retention of the bucket would lock checkpoints, too)",
        mode.to_lowercase()
    ));
}

fn load(global: &Global, args: &PolicyArgs) -> Result<Settings, Failure> {
    let settings = config::load(&global.config)?;
    if args.bucket.is_none() && !matches!(settings.store, StoreSettings::S3(_)) {
        return Err(usage("the configuration's store is not in S3", "name a bucket: --bucket NAME --prefix PREFIX --site NAME"));
    }
    Ok(settings)
}

fn place(args: &PolicyArgs, store: Option<&S3Settings>) -> Result<Place, Failure> {
    let bucket = args.bucket.clone().or_else(|| store.map(|store| store.bucket.clone())).unwrap_or_default();
    let prefix = args.prefix.as_ref().map(|prefix| prefix.trim_matches('/').to_owned());
    let prefix = prefix.or_else(|| store.map(|store| store.prefix.clone())).unwrap_or_default();
    let region = args.region.clone().or_else(|| store.and_then(|store| store.region.clone()));
    if let Some(what) = bucket_problem(&bucket) {
        return Err(usage(&what, "names have 3 to 63 of a-z, 0-9, dot and hyphen"));
    }
    if let Some(what) = prefix_problem(&prefix) {
        return Err(usage(&what, "use parts of A-Z, a-z, 0-9, dot, underscore and hyphen"));
    }
    Ok(Place { bucket, prefix, region })
}

/// A site that is named need not be of a configuration.
fn site(args: &PolicyArgs, settings: Option<&Settings>) -> Result<SiteName, Failure> {
    if let Some(name) = &args.site {
        let advice = "names have 1 to 64 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first";
        return SiteName::new(name).ok_or_else(|| usage(&format!("{name:?} can't be a site's name"), advice));
    }
    match settings {
        Some(settings) => Ok(choose_site(settings, None)?.name.clone()),
        None => Err(usage("no site is named", "name it: --site NAME")),
    }
}

fn usage(what: &str, advice: &str) -> Failure {
    Failure::new(Exit::Usage, what, advice)
}
