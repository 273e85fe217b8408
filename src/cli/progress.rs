//! A run's progress: a bar on a terminal, plain lines elsewhere. Both go to standard error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{ended, left, sent, what};
use super::output::Output;
use crate::backup::RunReport;
use crate::daemon::control::types::RunStage;
use crate::daemon::control::{Client, ClientError};
use crate::progress::{Figures, Phase};
use crate::repository::ids::RunId;

/// How often a log file hears of a step that goes on.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows a run of the daemon's until it is over.
pub(super) async fn follow(client: &Client, run: RunId) -> Result<RunReport, ClientError> {
    let mut display = Display::new();
    let mut follow = client.follow(run).await?;
    while let Some(state) = follow.next().await? {
        match (state.state, state.figures, state.report) {
            (RunStage::Queued, ..) => display.queued(),
            (_, Some(figures), _) => display.show(&figures),
            (_, _, Some(report)) => {
                display.end();
                return Ok(report);
            }
            _ => {}
        }
    }
    display.end();
    Err(ClientError::Lost("the daemon ended before the run did".into()))
}

/// Shows figures as they come.
pub(super) enum Display {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere.
    Lines {
        /// The step under way, none while the run is queued; and when a line was last printed.
        step: Option<(Option<Phase>, Instant)>,
    },
}

impl Display {
    /// What fits standard error.
    pub(super) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { step: None };
        }
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        // Before the first figures come it would be drawn as it is by default.
        draw(&bar, None, what(&Figures::default()), String::new());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Waiting for its turn.
    pub(super) fn queued(&mut self) {
        const WAITING: &str = "waiting: another run is under way";
        match self {
            Self::Bar(bar) => draw(bar, None, WAITING.to_owned(), String::new()),
            Self::Lines { step: step @ None } => {
                Output::default().note(WAITING);
                *step = Some((None, Instant::now()));
            }
            Self::Lines { .. } => {}
        }
    }

    /// Under way.
    pub(super) fn show(&mut self, figures: &Figures) {
        match self {
            Self::Bar(bar) => draw(bar, figures.percent, what(figures), joined([left(figures), sent(figures)])),
            Self::Lines { step } => {
                for line in lines(step, figures, Instant::now()) {
                    Output::default().note(line);
                }
            }
        }
    }

    /// Makes room for the result.
    pub(super) fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Two lines, so that 80 columns are enough: one of them is short.
fn draw(bar: &ProgressBar, percent: Option<u8>, what: String, short: String) {
    let template = match (percent, short.as_str()) {
        (Some(_), _) => "{spinner} {bar:12} {pos:>3}% {prefix}\n  {wide_msg}",
        (None, "") => "{spinner} {wide_msg}",
        (None, _) => "{spinner} {wide_msg}\n  {prefix}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_position(u64::from(percent.unwrap_or(0)));
    bar.set_prefix(short);
    bar.set_message(what);
}

/// The lines that are due: what a step ended with, that waiting began, and every so often how far a step is.
fn lines(step: &mut Option<(Option<Phase>, Instant)>, figures: &Figures, now: Instant) -> Vec<String> {
    match *step {
        Some((Some(phase), shown)) if phase == figures.phase => {
            if now.saturating_duration_since(shown) < LINE_EVERY {
                return Vec::new();
            }
            *step = Some((Some(phase), now));
            vec![joined([Some(what(figures)), sent(figures), left(figures)])]
        }
        before => {
            *step = Some((Some(figures.phase), now));
            let before = before.and_then(|(phase, _)| ended(phase?, figures));
            let waits = (figures.phase == Phase::WaitingForUpdate).then(|| what(figures));
            before.into_iter().chain(waits).collect()
        }
    }
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_hears_how_steps_end_and_every_half_minute() {
        let (mut step, begun) = (None, Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut figures = Figures { phase: Phase::Preparing, ..Figures::default() };
        assert!(lines(&mut step, &figures, at(0)).is_empty());
        figures.phase = Phase::WaitingForUpdate;
        assert_eq!(lines(&mut step, &figures, at(1)), ["waiting: a WordPress update is under way"]);
        assert!(lines(&mut step, &figures, at(2)).is_empty());
        (figures.phase, figures.walked_entries, figures.walked_bytes) = (Phase::Files, 1000, 2048);
        assert!(lines(&mut step, &figures, at(3)).is_empty());
        assert!(lines(&mut step, &figures, at(32)).is_empty());
        (figures.per_second.read_bytes, figures.eta_seconds) = (30, Some(118));
        assert_eq!(lines(&mut step, &figures, at(33)), ["files: 1,000 seen (2.0 KiB), 0 B new (30 B/s), about 2 min left"]);
        assert!(lines(&mut step, &figures, at(34)).is_empty());
        // The step went on after it was last looked at; and the second look begins to count anew.
        figures = Figures {
            phase: Phase::SecondLook,
            expected_entries: 1200,
            expected_bytes: 4096,
            rows: 7,
            sql_bytes: 100,
            ..Figures::default()
        };
        assert_eq!(lines(&mut step, &figures, at(35)), ["files: 1,200 seen (4.0 KiB), 0 B new"]);
        figures.phase = Phase::Commit;
        figures.walked_entries = 1200;
        assert_eq!(lines(&mut step, &figures, at(36)), ["files, second look: 1,200 seen"]);
    }
}
