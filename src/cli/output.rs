//! Standard output and standard error, for people and for pipes.

use std::fmt::Display;
use std::io::Write as _;

use crate::error::{Explain, render};

/// Where a subcommand prints. What can't be written is dropped: `status | head -1` has what it wants, and a reader that has
/// gone is no failure.
#[derive(Debug, Default)]
pub(super) struct Output(());

impl Output {
    /// A line of the result, to standard output.
    pub(super) fn line(&mut self, text: impl Display) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// The result as JSON, on one line.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) {
        self.line(serde_json::to_string(value).unwrap_or_default());
    }

    /// What is told beside the result, to standard error.
    pub(super) fn note(&mut self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// An error's message, to standard error.
    pub(super) fn error(&mut self, error: &dyn Explain) {
        self.note(format_args!("wp-backup-agent: {}", render(error)));
    }
}
