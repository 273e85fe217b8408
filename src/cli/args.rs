//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::policy::PolicyCommand;
use crate::config::{Keep, StandbyName, TreeName};
use crate::daemon::logging::Level;
use crate::database::{DEFAULT_CONNECTIONS, Definer};
use crate::repository::verify::{Level as VerifyLevel, Share, ShareOf};

/// Consistent, incremental, verifiable backups of WordPress sites.
#[derive(Debug, Parser)]
#[command(name = "wp-backup-agent", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: docs/EXIT-CODES.md. The levels of the log: WP_BACKUP_LOG=info, or -v and -q.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "PATH", default_value = crate::config::DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// Log more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log failures only
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Global {
    /// Whether `-v` was given.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// The log's level for a command; the daemon's own is one step more talkative.
    pub(super) fn level(&self, daemon: bool) -> Level {
        match (self.quiet, self.verbose + u8::from(daemon)) {
            (true, _) => Level::Error,
            (false, 0) => Level::Command,
            (false, 1) => Level::Info,
            (false, 2) => Level::Debug,
            (false, _) => Level::Trace,
        }
    }
}

/// One subcommand each, one file each.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the schedule and take requests on the control socket
    Daemon,
    /// Back up a site now
    RunNow(RunNowArgs),
    /// Show what the daemon is doing, and each site's last snapshot
    Status(StatusArgs),
    /// Cancel a site's run: the one under way and the one that waits
    Cancel(CancelArgs),
    /// List a site's snapshots, or show one
    #[command(subcommand)]
    Snapshots(SnapshotsCommand),
    /// Tell what becomes of files
    #[command(subcommand)]
    Files(FilesCommand),
    /// Bring a snapshot back: into a directory, a database, or as SQL
    Restore(RestoreArgs),
    /// Make an identity, which opens encrypted backups: on another machine than the one that is backed up
    Keygen(KeygenArgs),
    /// Drop snapshots that no rule keeps, and what only they needed; needs the right to delete
    Prune(PruneArgs),
    /// Look for damage, forgery and gaps in the store
    Verify(VerifyArgs),
    /// Print the IAM policy for who writes, reads or prunes backups, or the bucket's own
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show what the configuration says and where each value came from; try the store, wp-content and the database
    Check,
}

/// `prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent prune --keep-within 7d --keep-daily 30 --keep-monthly 12 --dry-run    what would go, and why
  wp-backup-agent prune --keep-within 7d --keep-daily 30 --keep-monthly 12
A snapshot stays if any rule keeps it; the newest always does. What only dropped snapshots needed goes a week later (docs/RETENTION.md).")]
pub(super) struct PruneArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_last: Option<u32>,
    /// Keep the first of each of the latest N hours that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_hourly: Option<u32>,
    /// Of each of N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_daily: Option<u32>,
    /// Of each of N weeks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_weekly: Option<u32>,
    /// Of each of N months
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_monthly: Option<u32>,
    /// Of each of N years
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_yearly: Option<u32>,
    /// Keep all that are not older: 7d, 2w, 36h
    #[arg(long, value_name = "DURATION", value_parser = age)]
    keep_within: Option<std::time::Duration>,
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Say what would go, and why the rest stays, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl PruneArgs {
    /// What stays.
    pub(super) fn keep(&self) -> Keep {
        let count = |given: Option<u32>| given.unwrap_or(0);
        Keep {
            last: count(self.keep_last),
            hourly: count(self.keep_hourly),
            daily: count(self.keep_daily),
            weekly: count(self.keep_weekly),
            monthly: count(self.keep_monthly),
            yearly: count(self.keep_yearly),
            within: self.keep_within,
        }
    }
}

fn age(text: &str) -> Result<std::time::Duration, &'static str> {
    crate::config::parse_age(text).ok_or("give a length of time such as 7d, 2w or 36h")
}

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent verify                          manifests, signatures, their chain, lists, and which packs are there
  wp-backup-agent verify --checksums              and the checksum that the store keeps of each pack
  wp-backup-agent verify --read=1/30              and one of thirty packs is read, another thirtieth each time
  wp-backup-agent verify --read --identity FILE   and all packs, what is in encrypted ones, too
  wp-backup-agent verify --restore --user root    and the newest snapshot is restored, read back, compared and removed again
Ends with 65 when something is wrong (docs/VERIFY.md).")]
pub(super) struct VerifyArgs {
    /// The site; may be left out when there is only one
    pub(super) site: Option<String>,
    /// Read manifests, notes and lists, and ask for the packs: the default
    #[arg(long, conflicts_with_all = ["checksums", "read", "restore"])]
    structure: bool,
    /// Also compare the checksum that the store keeps of each pack; nothing is fetched
    #[arg(long, conflicts_with_all = ["read", "restore"])]
    checksums: bool,
    /// Also read packs and hash every chunk in them: all, or a share such as 1/30, another each time
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    read: Option<ShareOf>,
    /// Beside the structure: restore the newest snapshot into a directory and a schema of its own, read both back, and compare
    #[arg(long, conflicts_with = "read")]
    pub(super) restore: bool,
    /// Leave a receipt of what was found in the store, under this machine's name: the site's next runs send again what is bad
    #[arg(long, value_name = "NAME")]
    pub(super) receipt: Option<StandbyName>,
    /// Where that directory is made; it needs room for all of the site's files. Default: the local state's directory
    #[arg(long, value_name = "DIR", requires = "restore")]
    pub(super) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(super) account: Account,
    #[command(flatten)]
    pub(super) unlock: Unlock,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl VerifyArgs {
    /// How deep.
    pub(super) fn level(&self) -> VerifyLevel {
        match (self.read, self.checksums) {
            _ if self.restore => VerifyLevel::Restore,
            (Some(ShareOf(of)), _) => VerifyLevel::Read(Share::new(of, 0)),
            (None, true) => VerifyLevel::Checksums,
            (None, false) => VerifyLevel::Structure,
        }
    }
}

/// `run-now`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent run-now                 ask the daemon, print the run's id
  wp-backup-agent run-now blog --wait     watch it, end with its exit code
  wp-backup-agent run-now --foreground    without a daemon")]
pub(super) struct RunNowArgs {
    /// The site; may be left out when there is only one
    pub(super) site: Option<String>,
    /// Wait until the run is over and end with its exit code; leaving with Ctrl-C doesn't stop the run
    #[arg(long)]
    pub(super) wait: bool,
    /// Run in this process, without a daemon; Ctrl-C cancels
    #[arg(long, conflicts_with = "wait")]
    pub(super) foreground: bool,
    /// Read and send everything, and use nothing of the snapshots before: for one that is sealed to the recipients of now alone
    #[arg(long, requires = "foreground")]
    pub(super) full: bool,
    /// Rebuild lost local state from encrypted snapshots with this identity, of which nothing is kept; may be repeated
    #[arg(long = "identity", value_name = "FILE", requires = "foreground")]
    pub(super) identities: Vec<PathBuf>,
}

/// What opens encrypted snapshots.
#[derive(Debug, Args)]
pub(super) struct Unlock {
    /// The file of an identity that opens an encrypted snapshot; may be repeated
    #[arg(long = "identity", value_name = "FILE")]
    pub(super) identities: Vec<PathBuf>,
}

/// `keygen`
#[derive(Debug, Args)]
#[command(after_help = "\
Make it where backups are restored, not on the machine that is backed up, and keep a copy elsewhere: without it nobody reads the backups.

Examples:
  wp-backup-agent keygen --output identity.txt    prints the recipient, which goes into the configuration
  wp-backup-agent restore latest --files /srv/restored --identity identity.txt")]
pub(super) struct KeygenArgs {
    /// Write the identity into this new file, which only its owner may read, and print the recipient; without it the identity itself is printed
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

/// `status`
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// This site only
    pub(super) site: Option<String>,
    /// Print the daemon's answer as JSON (docs/CONTROL.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// `cancel`
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// The site; may be left out when there is only one
    pub(super) site: Option<String>,
}

/// `snapshots`
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotsCommand {
    /// List a site's snapshots, the oldest first
    List(SnapshotsList),
    /// Show what a snapshot holds
    Show(SnapshotsShow),
    /// Say that a suspect snapshot is as it should be: on another machine than the site's own
    Accept(SnapshotsAccept),
    /// List a directory of a snapshot
    Ls(SnapshotsLs),
    /// Show which files differ between two snapshots
    Diff(SnapshotsDiff),
    /// Find a path in all snapshots
    Find(SnapshotsFind),
}

/// `snapshots list`
#[derive(Debug, Args)]
pub(super) struct SnapshotsList {
    /// The site; may be left out when there is only one
    pub(super) site: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `snapshots show`
#[derive(Debug, Args)]
pub(super) struct SnapshotsShow {
    /// `latest`, a number, or the beginning of an id
    pub(super) snapshot: String,
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Print the manifest (docs/FORMAT.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// `snapshots accept`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent snapshots show latest      why it is suspect, and what it was judged against
  wp-backup-agent snapshots diff 11 14       what is another since
  wp-backup-agent snapshots accept 14        the snapshots after it are judged against it
It writes one small object below accepted/, where the site's own machine should have no right to write (docs/SUSPECT.md).")]
pub(super) struct SnapshotsAccept {
    /// `latest`, a number, or the beginning of an id
    pub(super) snapshot: String,
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Sign with the key in this directory, made there if need be, instead of the machine's own: where there is no other machine, which is weaker
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
}

/// `files`
#[derive(Debug, Subcommand)]
pub(super) enum FilesCommand {
    /// Tell whether a path is captured, or which rule leaves it out
    Why(FilesWhy),
}

/// `files why`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent files why uploads/2026/11/film.mp4
  wp-backup-agent files why /var/www/html/wp-content/updraft/    with a slash at its end: a directory, there or not")]
pub(super) struct FilesWhy {
    /// The path: relative to wp-content, or absolute. It need not exist
    pub(super) path: PathBuf,
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `snapshots ls`
#[derive(Debug, Args)]
pub(super) struct SnapshotsLs {
    /// `latest`, a number, or the beginning of an id
    pub(super) snapshot: String,
    /// A path below wp-content; without it: wp-content itself
    pub(super) path: Option<OsString>,
    /// With all that is below
    #[arg(short = 'R', long)]
    pub(super) recursive: bool,
    #[command(flatten)]
    pub(super) of: OfSite,
}

/// `snapshots diff`
#[derive(Debug, Args)]
pub(super) struct SnapshotsDiff {
    /// The older one: `latest`, a number, or the beginning of an id
    pub(super) before: String,
    /// The newer one
    pub(super) after: String,
    #[command(flatten)]
    pub(super) of: OfSite,
}

/// `snapshots find`
#[derive(Debug, Args)]
pub(super) struct SnapshotsFind {
    /// A path below wp-content, or a glob such as '*.php' or 'uploads/**/*.jpg'
    #[arg(value_name = "GLOB")]
    pub(super) pattern: OsString,
    /// In this snapshot only
    #[arg(long)]
    pub(super) snapshot: Option<String>,
    #[command(flatten)]
    pub(super) of: OfSite,
}

/// What the commands that show files have in common.
#[derive(Debug, Args)]
pub(super) struct OfSite {
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Of this tree beside wp-content: root, plugins, mu-plugins or uploads
    #[arg(long, value_parser = tree)]
    pub(super) tree: Option<TreeName>,
    #[command(flatten)]
    pub(super) unlock: Unlock,
    /// Print JSON, an object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// `restore`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wp-backup-agent restore latest --files /srv/restored/wp-content --database restored
  wp-backup-agent restore 12 --files /var/www/html/wp-content --overwrite --path uploads/2026 --path '*.php' --dry-run -v
  wp-backup-agent restore latest --database wordpress --swap --user root
  wp-backup-agent restore 12 --database wordpress --tables wp_options --overwrite --user root
  wp-backup-agent restore 12 --sql | mysql --binary-mode --comments restored")]
pub(super) struct RestoreArgs {
    /// `latest`, a number, or the beginning of an id
    pub(super) snapshot: String,
    /// The site; may be left out when there is only one
    #[arg(long)]
    pub(super) site: Option<String>,
    /// Write wp-content into this directory, which must be empty or not exist; with --overwrite what is there and as it should be is kept
    #[arg(long, value_name = "DIR")]
    pub(super) files: Option<PathBuf>,
    #[command(flatten)]
    pub(super) unlock: Unlock,
    #[command(flatten)]
    pub(super) of_files: RestoreFiles,
    /// Load the database into this schema of the site's server, which must be empty or not exist
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) database: Option<String>,
    #[command(flatten)]
    pub(super) account: Account,
    /// Write the database to standard output, as SQL for `mysql --binary-mode --comments`
    #[arg(long)]
    pub(super) sql: bool,
    /// Write into a directory that is not empty, and replace what the database holds
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Load beside the database, then swap all tables in one statement; what stood there is kept in NAME_replaced
    #[arg(long, requires = "database", conflicts_with = "overwrite")]
    pub(super) swap: bool,
    /// Look for what is lost or damaged in the packs of the site's other snapshots, and go on without what isn't there either; each is named, and it ends with 65
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) salvage: bool,
    /// Restore only tables, views and sequences of these names, triggers with their tables; * for any characters; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(super) tables: Vec<String>,
    /// The definer of views, functions, procedures, triggers and events: `drop` (the account that restores), `keep`, or USER@HOST
    #[arg(long, value_name = "DEFINER", default_value = "drop", hide_default_value = true, value_parser = definer)]
    pub(super) definer: Definer,
    /// Connections that load at a time
    #[arg(long, value_name = "N", requires = "database", default_value_t = DEFAULT_CONNECTIONS, value_parser = connections)]
    pub(super) connections: usize,
}

/// Who loads.
#[derive(Debug, Args)]
pub(super) struct Account {
    /// Load the database by this account instead of the site's, which may only read
    #[arg(long)]
    pub(super) user: Option<String>,
    /// The file that holds that account's password; without it: socket authentication
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) password_file: Option<PathBuf>,
}

/// How `restore --files` goes about it.
#[derive(Debug, Args)]
pub(super) struct RestoreFiles {
    /// Restore only this path, this directory with all below, or what fits this glob; may be repeated
    #[arg(long = "path", value_name = "PATTERN", requires = "files")]
    pub(super) paths: Vec<OsString>,
    /// Restore this tree beside wp-content instead: root, plugins, mu-plugins or uploads
    #[arg(long, requires = "files", value_parser = tree)]
    pub(super) tree: Option<TreeName>,
    /// Delete what the snapshot doesn't have, but for what the site's exclude rules leave out of snapshots
    #[arg(long, requires_all = ["files", "overwrite"])]
    pub(super) delete: bool,
    /// Delete that, too
    #[arg(long, requires = "delete")]
    pub(super) delete_excluded: bool,
    /// Read files of the same size and time, too, before they are kept
    #[arg(long, requires = "files")]
    pub(super) checksum: bool,
    /// Give everything to this user, and to this group if one is named
    #[arg(long, value_name = "USER[:GROUP]", requires = "files")]
    pub(super) owner: Option<String>,
    /// Owners by their numbers in the snapshot, not by their names
    #[arg(long, requires = "files")]
    pub(super) numeric_owner: bool,
    /// Say what would be done to the files, each with -v, and do nothing
    #[arg(long, requires = "files", conflicts_with_all = ["database", "sql"])]
    pub(super) dry_run: bool,
    /// Don't make a snapshot before the site's own files or database are replaced
    #[arg(long)]
    pub(super) no_safety_snapshot: bool,
}

fn tree(text: &str) -> Result<TreeName, &'static str> {
    TreeName::parse(text).ok_or("give root, plugins, mu-plugins or uploads")
}

fn definer(text: &str) -> Result<Definer, &'static str> {
    Definer::parse(text).ok_or("give drop, keep, or an account as USER@HOST")
}

fn connections(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or("give a number from 1 to 64")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_follow_the_subcommand() {
        let arguments = Arguments::try_parse_from(["x", "run-now", "blog", "--config", "/c", "--wait", "-v"]).unwrap();
        assert_eq!(arguments.global.config, PathBuf::from("/c"));
        assert_eq!(arguments.global.level(false), Level::Info);
        assert_eq!(arguments.global.level(true), Level::Debug);
        assert!(Arguments::try_parse_from(["x", "run-now", "--wait", "--foreground"]).is_err());
        assert!(Arguments::try_parse_from(["x", "status", "-v", "-q"]).is_err());
    }
}
