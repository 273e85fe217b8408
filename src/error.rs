//! How an error reaches a person: what failed, why, what to do next, and the exit code.
//!
//! Every module has its own `thiserror` type; each implements [`Explain`]. `Display` says what failed,
//! `source` says why, [`Explain::advice`] says what to do, [`Explain::exit`] is the process's answer.

use std::error::Error;
use std::fmt::Write as _;

/// The exit codes of every subcommand: a documented contract (docs/EXIT-CODES.md), sysexits where one fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// Done, with nothing to say.
    Success = 0,
    /// Failed for a reason that has no code of its own.
    Failure = 1,
    /// The snapshot is committed, but something could not be captured; it is named.
    Findings = 3,
    /// The snapshot is committed, but it is suspect: someone should look at it. Something may not have been captured, too.
    Suspect = 4,
    /// Wrong arguments: an unknown option, site or snapshot name form.
    Usage = 64,
    /// Stored data is damaged, forged, or made by a newer agent.
    Data = 65,
    /// What was asked for does not exist: a snapshot, a path in it.
    NoInput = 66,
    /// The database server, the store or the daemon can't be reached.
    Unavailable = 69,
    /// A bug of ours.
    Internal = 70,
    /// The target can't be written: not empty, or the disk is full.
    CannotCreate = 73,
    /// Reading or writing local files failed.
    Io = 74,
    /// Another run or process holds the site; try again later.
    Busy = 75,
    /// Credentials or rights are missing: database password, bucket policy, file mode.
    Denied = 77,
    /// The configuration is wrong.
    Config = 78,
    /// Stopped by a signal or by `cancel`, nothing committed.
    Cancelled = 130,
}

impl Exit {
    /// The number given to the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// An error that can be shown to a person.
pub trait Explain: Error + Send + Sync + 'static {
    /// The exit code that this error ends the process with.
    fn exit(&self) -> Exit;

    /// What the person can do next, as a sentence without a trailing full stop.
    fn advice(&self) -> Option<String> {
        None
    }
}

/// The message for a person: what failed, the chain of reasons, and the advice on a line of its own.
pub fn render(error: &dyn Explain) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut source = error.source();
    while let Some(reason) = source {
        let words = reason.to_string();
        // Some libraries repeat their source in their own words.
        if !last.contains(&words) {
            let _ = write!(text, ": {words}");
            last = words;
        }
        source = reason.source();
    }
    if let Some(advice) = error.advice() {
        let _ = write!(text, "\n  what to do: {advice}");
    }
    text
}
