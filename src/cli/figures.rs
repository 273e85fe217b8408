//! A run's figures in words.

use super::format::{bytes, count, duration};
use crate::progress::{Figures, PerSecond, Phase};

/// What the step under way has done, of how much, and how fast.
pub(super) fn what(figures: &Figures) -> String {
    describe(figures, figures.phase, true)
}

/// What a step had done when it ended, told from the figures of a later one; nothing of a step that only waited.
pub(super) fn ended(phase: Phase, figures: &Figures) -> Option<String> {
    let mut figures = Figures { per_second: PerSecond::default(), ..figures.clone() };
    match phase {
        Phase::Files if figures.phase >= Phase::SecondLook => {
            // Those of the second look are counted anew.
            (figures.walked_entries, figures.walked_bytes) = (figures.expected_entries, figures.expected_bytes);
        }
        Phase::Files | Phase::Database | Phase::SecondLook | Phase::Restoring => {}
        _ => return None,
    }
    Some([Some(describe(&figures, phase, false)), sent(&figures)].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn describe(figures: &Figures, phase: Phase, under_way: bool) -> String {
    let Figures { walked_entries, walked_bytes, read_bytes, rows, sql_bytes, written_bytes, .. } = *figures;
    let rates = if under_way { figures.per_second } else { PerSecond::default() };
    // What the parent had, while there is less: beyond that it tells nothing.
    let of = |done: u64, expected: u64, show: fn(u64) -> String, about: &str| {
        let expected = (under_way && expected > 0 && done <= expected).then(|| format!(" of {about}{}", show(expected)));
        format!("{}{}", show(done), expected.unwrap_or_default())
    };
    match phase {
        Phase::Preparing => "preparing".into(),
        Phase::WaitingForUpdate => "waiting: a WordPress update is under way".into(),
        Phase::Files => {
            let entries = of(walked_entries, figures.expected_entries, count, "about ");
            let size = of(walked_bytes, figures.expected_bytes, bytes, "");
            let new = format!("{} new{}", bytes(read_bytes), per_second(rates.read_bytes));
            format!("files: {entries} seen ({size}), {new}")
        }
        Phase::Database => {
            let table = figures.table.as_deref().filter(|_| under_way).map(|table| format!("{table}, ")).unwrap_or_default();
            let rows = of(rows, figures.expected_rows, count, "about ");
            let size = of(sql_bytes, figures.expected_sql_bytes, bytes, "");
            let rate = if rates.sql_bytes > 0 { format!(", {}/s", bytes(rates.sql_bytes)) } else { String::new() };
            format!("database: {table}{rows} rows ({size}{rate})")
        }
        Phase::SecondLook => {
            format!("files, second look: {} seen", of(walked_entries, figures.expected_entries, count, "about "))
        }
        Phase::CrossCheck => "cross-check".into(),
        Phase::Commit => "commit".into(),
        Phase::Restoring => format!("restoring: {} written{}", bytes(written_bytes), per_second(rates.written_bytes)),
        Phase::Done => "done".into(),
    }
}

/// What has reached the store, and how fast.
pub(super) fn sent(figures: &Figures) -> Option<String> {
    let Figures { uploaded_bytes, per_second: rates, .. } = *figures;
    (uploaded_bytes > 0).then(|| format!("{} uploaded{}", bytes(uploaded_bytes), per_second(rates.uploaded_bytes)))
}

fn per_second(rate: u64) -> String {
    if rate > 0 { format!(" ({}/s)", bytes(rate)) } else { String::new() }
}

/// How long the step will take. An estimate: told as roughly as it is known.
pub(super) fn left(figures: &Figures) -> Option<String> {
    let seconds = i64::try_from(figures.eta_seconds?).ok()?;
    let rough = match seconds {
        0..60 => (seconds / 5 + 1) * 5,
        60..3600 => (seconds + 30) / 60 * 60,
        3600..86_400 => (seconds + 300) / 600 * 600,
        _ => (seconds + 1800) / 3600 * 3600,
    };
    let text = duration(rough);
    let whole = [" 0 s", " 0 min", " 0 h"].iter().find_map(|none| text.strip_suffix(none));
    Some(format!("about {} left", whole.unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_parent_there_is_a_total_and_without_one_none() {
        let mut figures = Figures { phase: Phase::Files, walked_entries: 1200, walked_bytes: 3 << 20, ..Figures::default() };
        assert_eq!(what(&figures), "files: 1,200 seen (3.0 MiB), 0 B new");
        (figures.expected_entries, figures.expected_bytes, figures.read_bytes) = (46_000, 4 << 30, 2048);
        assert_eq!(what(&figures), "files: 1,200 of about 46,000 seen (3.0 MiB of 4.0 GiB), 2.0 KiB new");
        figures.walked_entries = 46_001;
        assert_eq!(what(&figures), "files: 46,001 seen (3.0 MiB of 4.0 GiB), 2.0 KiB new");
        figures =
            Figures { phase: Phase::Database, table: Some("wp_posts".into()), rows: 7, expected_rows: 90, ..Figures::default() };
        assert_eq!(what(&figures), "database: wp_posts, 7 of about 90 rows (0 B)");
        assert_eq!(ended(Phase::Database, &figures).unwrap(), "database: 7 rows (0 B)");
        assert_eq!(ended(Phase::Preparing, &figures), None);
    }

    #[test]
    fn rates_stand_with_what_they_are_of() {
        let per_second =
            PerSecond { entries: 900, read_bytes: 3 << 20, uploaded_bytes: 1024, sql_bytes: 9, ..PerSecond::default() };
        let mut figures = Figures { phase: Phase::Files, uploaded_bytes: 4096, per_second, ..Figures::default() };
        assert_eq!(what(&figures), "files: 0 seen (0 B), 0 B new (3.0 MiB/s)");
        assert_eq!(ended(Phase::Files, &figures).unwrap(), "files: 0 seen (0 B), 0 B new, 4.0 KiB uploaded");
        figures.phase = Phase::Database;
        assert_eq!(what(&figures), "database: 0 rows (0 B, 9 B/s)");
        assert_eq!(sent(&figures).unwrap(), "4.0 KiB uploaded (1.0 KiB/s)");
        assert_eq!(sent(&Figures::default()), None);
    }

    #[test]
    fn what_is_left_is_told_roughly() {
        let told = |seconds| left(&Figures { eta_seconds: Some(seconds), ..Figures::default() }).unwrap();
        assert_eq!(left(&Figures::default()), None);
        assert_eq!(told(0), "about 5 s left");
        assert_eq!(told(59), "about 1 min left");
        assert_eq!(told(89), "about 1 min left");
        assert_eq!(told(3599), "about 1 h left");
        assert_eq!(told(5400), "about 1 h 30 min left");
        assert_eq!(told(86_399), "about 1 d left");
        assert_eq!(told(100_000), "about 1 d 4 h left");
    }
}
