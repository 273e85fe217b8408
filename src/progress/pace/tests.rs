use super::*;
use crate::progress::{Event, add};

/// A run whose clock the test turns.
#[derive(Default)]
struct Run {
    figures: Figures,
    pace: Pace,
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Run {
    fn event(&mut self, at: f64, event: Event) {
        add(&mut self.figures, &mut self.pace, seconds(at), event);
    }

    fn at(&self, at: f64) -> Figures {
        let mut figures = self.figures.clone();
        self.pace.tell(seconds(at), &mut figures);
        figures
    }

    /// Step 1 of a run whose parent had 1000 entries of 1 MB.
    fn with_parent() -> Self {
        let mut run = Self::default();
        run.event(0.0, Event::Phase(Phase::Preparing));
        run.event(1.0, Event::Expected { entries: 1000, bytes: 1_000_000_000, rows: 10_000, sql_bytes: 5_000_000 });
        run.event(2.0, Event::Phase(Phase::Files));
        run
    }
}

const WALKED: Event = Event::Walked { entries: 10, bytes: 10_000_000 };

#[test]
fn totals_are_there_at_once_and_estimates_after_some_seconds() {
    let mut run = Run::with_parent();
    let first = run.at(2.0);
    assert_eq!((first.expected_entries, first.expected_rows, first.percent), (1000, 10_000, Some(0)));
    assert_eq!((first.eta_seconds, first.per_second), (None, PerSecond::default()));
    for second in 0..10 {
        run.event(3.0 + f64::from(second), WALKED);
    }
    assert_eq!(run.at(4.5).eta_seconds, None, "too early");
    let later = run.at(12.0);
    assert_eq!((later.percent, later.per_second.entries), (Some(10), 10));
    assert_eq!((later.elapsed_seconds, later.step_seconds), (12, 10));
    assert_eq!(later.eta_seconds, Some(90));
}

#[test]
fn a_first_run_has_no_total_and_so_no_end() {
    let mut run = Run::default();
    run.event(0.0, Event::Phase(Phase::Files));
    for second in 1..20 {
        run.event(f64::from(second), WALKED);
        run.event(f64::from(second), Event::Uploaded { bytes: 2_000_000 });
    }
    let figures = run.at(19.0);
    assert_eq!((figures.percent, figures.eta_seconds), (None, None));
    assert_eq!((figures.walked_entries, figures.per_second.entries), (190, 10));
    // A sample falls between the two events of a second.
    assert!((1_900_000..2_200_000).contains(&figures.per_second.uploaded_bytes), "{figures:?}");
}

#[test]
fn the_pace_is_that_of_late() {
    let mut run = Run::with_parent();
    for second in 3..13 {
        run.event(f64::from(second), WALKED);
    }
    for second in 13..43 {
        run.event(f64::from(second), Event::Walked { entries: 1, bytes: 1_000_000 });
    }
    let figures = run.at(42.0);
    assert_eq!((figures.walked_entries, figures.per_second.entries), (130, 1));
    assert_eq!(figures.eta_seconds, Some(870));
    // Nothing moves any more: the rate sinks, and there is no end in sight.
    assert_eq!(run.at(200.0).per_second.entries, 0);
    assert_eq!(run.at(200.0).eta_seconds, None);
}

#[test]
fn files_are_as_far_as_the_lesser_of_entries_and_bytes() {
    let mut run = Run::with_parent();
    run.event(3.0, Event::Walked { entries: 900, bytes: 100_000_000 });
    assert_eq!(run.at(10.0).percent, Some(10));
    // Within a large file.
    run.event(11.0, Event::Read { bytes: 400_000_000 });
    assert_eq!(run.at(11.0).percent, Some(50));
    run.event(12.0, Event::Walked { entries: 1, bytes: 500_000_000 });
    assert_eq!(run.at(12.0).percent, Some(60));
}

#[test]
fn more_than_was_expected_is_no_negative_time() {
    let mut run = Run::with_parent();
    run.event(3.0, Event::Walked { entries: 500, bytes: 500_000_000 });
    run.event(20.0, Event::Walked { entries: 5000, bytes: 5_000_000_000 });
    let figures = run.at(20.0);
    assert_eq!((figures.percent, figures.eta_seconds), (Some(100), None));
}

#[test]
fn the_second_look_expects_what_the_first_met() {
    let mut run = Run::default();
    run.event(0.0, Event::Phase(Phase::Files));
    run.event(1.0, Event::Walked { entries: 200, bytes: 1000 });
    run.event(2.0, Event::Phase(Phase::Database));
    run.event(3.0, Event::Phase(Phase::SecondLook));
    let begun = run.at(3.0);
    assert_eq!((begun.walked_entries, begun.expected_entries, begun.percent), (0, 200, Some(0)));
    run.event(8.0, Event::Walked { entries: 100, bytes: 500 });
    assert_eq!((run.at(8.0).percent, run.at(8.0).eta_seconds), (Some(50), Some(5)));
}

#[test]
fn a_database_that_is_read_again_begins_again() {
    let mut run = Run::with_parent();
    run.event(3.0, Event::Phase(Phase::Database));
    run.event(8.0, Event::Rows { table: "wp_posts".to_owned(), rows: 5000, bytes: 2_500_000 });
    assert_eq!((run.at(8.0).percent, run.at(8.0).eta_seconds), (Some(50), Some(5)));
    assert_eq!(run.at(8.0).per_second.rows, 1000);
    run.event(9.0, Event::Phase(Phase::Database));
    assert_eq!((run.at(9.0).rows, run.at(9.0).percent, run.at(9.0).table), (0, Some(0), None));
}

#[test]
fn an_end_beyond_a_month_is_not_told() {
    assert_eq!(eta(0, 1, Duration::from_secs(15)), None);
    assert_eq!(eta(0, 10, Duration::from_secs(15)), Some(1_499_985));
    assert_eq!(eta(5, 5, Duration::from_secs(15)), None);
    assert_eq!(eta(6, 5, Duration::from_secs(15)), None);
    assert_eq!(eta(0, WHOLE, Duration::from_secs(15)), None);
    assert_eq!(eta(0, 1, Duration::MAX), None);
}

#[test]
fn time_in_the_queue_is_not_the_runs() {
    let mut run = Run::default();
    assert_eq!(run.at(100.0).elapsed_seconds, 0);
    run.event(100.0, Event::Phase(Phase::Preparing));
    assert_eq!((run.at(107.0).elapsed_seconds, run.at(107.0).step_seconds), (7, 7));
}

#[test]
fn a_window_holds_few_samples() {
    let mut run = Run::with_parent();
    for tick in 0..100_000 {
        run.event(3.0 + f64::from(tick) / 1000.0, Event::Walked { entries: 1, bytes: 1 });
    }
    assert!(run.pace.samples.len() <= 33, "{}", run.pace.samples.len());
}
