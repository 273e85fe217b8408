//! A run's progress: a bar on a terminal, plain lines elsewhere. Both go to standard error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::format;
use super::output::Output;
use crate::progress::{Figures, Phase};

/// How often a log file hears of a step that goes on.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows figures as they come.
pub(super) enum Display {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere.
    Lines {
        /// The step under way, what was last heard of it, and when a line was last printed.
        step: Option<(String, String, Instant)>,
    },
}

impl Display {
    /// What fits standard error.
    pub(super) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { step: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Waiting for its turn.
    pub(super) fn queued(&mut self) {
        if matches!(self, Self::Lines { step: None }) {
            Output::default().note("waiting: another run is under way");
        }
        self.show_text("queued", "queued", None);
    }

    /// Under way.
    pub(super) fn show(&mut self, figures: &Figures) {
        let step = format::name(&figures.phase);
        let expected = matches!(figures.phase, Phase::Files | Phase::SecondLook).then_some(figures.expected_entries);
        if figures.phase == Phase::WaitingForUpdate && matches!(self, Self::Lines { step: Some((last, ..)) } if *last != step) {
            Output::default().note(describe(figures));
        }
        let share = expected.filter(|&entries| entries > 0).map(|entries| (figures.walked_entries.min(entries), entries));
        self.show_text(&step, &describe(figures), share);
    }

    fn show_text(&mut self, step: &str, text: &str, share: Option<(u64, u64)>) {
        match self {
            Self::Bar(bar) => {
                let template =
                    if share.is_some() { "{spinner} {bar:24} {percent:>3}% {wide_msg}" } else { "{spinner} {wide_msg}" };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                let (position, length) = share.unwrap_or((0, 1));
                bar.set_length(length);
                bar.set_position(position);
                bar.set_message(text.to_owned());
            }
            Self::Lines { step: under_way } => {
                let mut out = Output::default();
                match under_way {
                    Some((name, heard, shown)) if name == step => {
                        text.clone_into(heard);
                        if shown.elapsed() >= LINE_EVERY {
                            out.note(text);
                            *shown = Instant::now();
                        }
                    }
                    // A step's line is what it ended with; of one that only waits, that it began.
                    _ => {
                        if let Some((_, heard, _)) = under_way.take() {
                            out.note(heard);
                        }
                        *under_way = Some((step.to_owned(), text.to_owned(), Instant::now()));
                    }
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

fn describe(figures: &Figures) -> String {
    let Figures { walked_entries, walked_bytes, read_bytes, rows, sql_bytes, uploaded_bytes, written_bytes, .. } = figures;
    let uploaded = if *uploaded_bytes > 0 { format!(", {} uploaded", format::bytes(*uploaded_bytes)) } else { String::new() };
    match figures.phase {
        Phase::Preparing => "preparing".into(),
        Phase::WaitingForUpdate => "waiting: a WordPress update is under way".into(),
        Phase::Files => {
            let (entries, size, read) =
                (format::count(*walked_entries), format::bytes(*walked_bytes), format::bytes(*read_bytes));
            format!("files: {entries} seen ({size}), {read} new{uploaded}")
        }
        Phase::Database => {
            let table = figures.table.as_deref().unwrap_or("opening");
            format!("database: {table}, {} rows ({}){uploaded}", format::count(*rows), format::bytes(*sql_bytes))
        }
        Phase::SecondLook => format!("files, second look: {} seen{uploaded}", format::count(*walked_entries)),
        Phase::CrossCheck => "cross-check".into(),
        Phase::Commit => format!("commit{uploaded}"),
        Phase::Restoring => format!("restoring: {} written", format::bytes(*written_bytes)),
        Phase::Done => "done".into(),
    }
}
