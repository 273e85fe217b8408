//! Where log lines go: to journald under systemd, as readable lines to standard error otherwise.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::backup::{RunReport, Trigger};
use crate::error::Exit;
use crate::repository::entry::FindingCode;
use crate::repository::ids::RunId;

/// The variable that sets the levels, in tracing's own syntax: `debug`, or `info,wp_backup_agent::files=trace`.
pub const LEVEL_VARIABLE: &str = "WP_BACKUP_LOG";

/// The level of our own lines; libraries are heard from warnings on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Failures only.
    Error,
    /// What a person should look at, without what a command says itself of its run.
    Command,
    /// One line per run's start and end.
    Info,
    /// What happens inside a run.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    fn directives(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Command => "warn,wp_backup_agent::daemon::logging=off",
            Self::Info => "warn,wp_backup_agent=info",
            Self::Debug => "warn,wp_backup_agent=debug",
            Self::Trace => "info,wp_backup_agent=trace",
        }
    }
}

/// Sends the process's log lines to where they belong. A second call changes nothing.
pub fn init(level: Level) {
    let filter = EnvFilter::try_from_env(LEVEL_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level.directives()));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = standard_error_is_the_journal().then(|| tracing_journald::layer().ok()).flatten();
    let _ = match journal {
        Some(journal) => registry
            .with(
                journal
                    .with_syslog_identifier("wp-backup-agent".into())
                    .with_field_prefix(Some("WPBACKUP".into()))
                    // The crate's defaults show every INFO line in bold and DEBUG lines as information.
                    .with_priority_mappings(PriorityMappings {
                        info: Priority::Informational,
                        debug: Priority::Debug,
                        ..PriorityMappings::new()
                    }),
            )
            .try_init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
    };
}

/// Whether systemd connected our standard error to the journal: the variable names the stream's device and inode.
fn standard_error_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(here) = std::fs::metadata("/dev/stderr") else { return false };
    stream == format!("{}:{}", here.dev(), here.ino())
}

/// The one line at a run's start.
pub fn run_started(site: &str, run: RunId, trigger: Trigger) {
    tracing::info!(site, %run, trigger = trigger.as_str(), "run started");
}

/// The one line at a run's end, and one per finding that a person should look at.
pub fn run_finished(report: &RunReport) {
    let RunReport { site, run, .. } = report;
    let seconds = report.finished.duration_since(report.started).as_secs();
    let result = report.result.code();
    if let Some(snapshot) = &report.snapshot {
        let grave = |code: FindingCode| code.is_loss() || code == FindingCode::PhpUnderUploads;
        for finding in snapshot.first_findings.iter().filter(|finding| grave(finding.code)) {
            let code = serde_json::to_string(&finding.code).unwrap_or_default();
            let code = code.trim_matches('"');
            tracing::warn!(site, %run, code, "{code}: {}: {}", finding.subject, finding.detail);
        }
        for suspicion in &snapshot.suspect {
            let seq = snapshot.seq;
            tracing::warn!(site, %run, seq, "snapshot {seq} is suspect: {suspicion}; look at it, then `wp-backup-agent snapshots accept {seq}`");
        }
        tracing::info!(
            site, %run, result, seconds,
            seq = snapshot.seq,
            entries = snapshot.counts.file_entries,
            tables = snapshot.counts.tables,
            uploaded_packs = snapshot.uploaded.packs,
            uploaded_bytes = snapshot.uploaded.bytes,
            findings = snapshot.findings.values().sum::<u64>(),
            "snapshot {} committed", snapshot.seq,
        );
    }
    match (report.result, &report.error) {
        (Exit::Success | Exit::Findings | Exit::Suspect, None) => {}
        (Exit::Cancelled, error) => {
            tracing::info!(site, %run, result, seconds, "run cancelled: {}", error.as_deref().unwrap_or("stopped"));
        }
        (_, error) => {
            tracing::error!(site, %run, result, seconds, "run failed: {}", error.as_deref().unwrap_or("no reason given"));
        }
    }
}
