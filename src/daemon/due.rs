//! Which due times have been served, kept across restarts.

use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::{StateError, replace};
use crate::config::schedule::Schedule;

/// How far behind its own past the clock may fall before that past is disbelieved.
const FUTURE: SignedDuration = SignedDuration::from_hours(1);

/// As stored in `schedule.json`. Add, never rename.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    served: Timestamp,
}

/// A site's due times: all up to one instant are served.
#[derive(Debug)]
pub(super) struct Due {
    path: PathBuf,
    schedule: Schedule,
    /// Due times up to here have been answered by a run that ended.
    served: Timestamp,
    /// Due times up to here have been asked for in this process.
    asked: Timestamp,
}

impl Due {
    /// Reads a site's due times. A site seen for the first time has nothing to catch up with: it waits for its next due time.
    pub(super) fn open(site_dir: &Path, schedule: Schedule, now: Timestamp) -> Result<Self, StateError> {
        let path = site_dir.join("schedule.json");
        let stored = match std::fs::read(&path) {
            // A damaged file is as good as none: due times may be lost.
            Ok(content) => serde_json::from_slice::<Stored>(&content).ok().map(|stored| stored.served),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let served = stored.unwrap_or(now);
        let mut due = Self { path, schedule, served, asked: served };
        if stored.is_none() {
            due.store()?;
        }
        due.distrust_the_future(now);
        Ok(due)
    }

    /// Takes the oldest due time not yet asked for, and with it all others up to `now`: one run answers them all.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.distrust_the_future(now);
        let due = self.schedule.next_after(self.asked).filter(|due| *due <= now)?;
        self.asked = now;
        Some(due)
    }

    /// The next due time that is still to be asked for.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.schedule.next_after(self.asked)
    }

    /// Notes that a run answered everything asked for up to `asked`.
    pub(super) fn serve(&mut self, asked: Timestamp) -> Result<(), StateError> {
        if asked <= self.served {
            return Ok(());
        }
        self.served = asked;
        self.store()
    }

    /// A clock that stood wrong in the future must not silence the schedule until it gets there again.
    fn distrust_the_future(&mut self, now: Timestamp) {
        let limit = now.saturating_add(FUTURE).unwrap_or(now);
        if self.served > limit || self.asked > limit {
            self.served = self.served.min(now);
            self.asked = self.asked.min(now);
        }
    }

    fn store(&self) -> Result<(), StateError> {
        let content = serde_json::to_vec(&Stored { served: self.served }).map_err(io::Error::from);
        content.and_then(|content| replace(&self.path, &content)).map_err(StateError::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn open(dir: &Path, now: &str) -> Due {
        let schedule = Schedule::parse("30 2 * * *", Some("Europe/Paris")).unwrap();
        Due::open(dir, schedule, at(now)).unwrap()
    }

    #[test]
    fn a_fresh_site_waits_for_its_next_due_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut due = open(dir.path(), "2026-05-01T12:00:00Z");
        assert_eq!(due.take(at("2026-05-01T12:00:00Z")), None);
        assert_eq!(due.next(), Some(at("2026-05-02T00:30:00Z")));
        assert_eq!(due.take(at("2026-05-02T00:29:59Z")), None);
        assert_eq!(due.take(at("2026-05-02T00:30:00Z")), Some(at("2026-05-02T00:30:00Z")));
        assert_eq!(due.take(at("2026-05-02T00:30:00Z")), None);
    }

    #[test]
    fn days_of_downtime_are_caught_up_with_once() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "2026-05-01T12:00:00Z");
        let now = at("2026-05-05T09:00:00Z");
        let mut due = open(dir.path(), "2026-05-05T09:00:00Z");
        assert_eq!(due.take(now), Some(at("2026-05-02T00:30:00Z")));
        assert_eq!(due.take(now), None);
        due.serve(now).unwrap();

        let mut again = open(dir.path(), "2026-05-05T09:01:00Z");
        assert_eq!(again.take(at("2026-05-05T09:01:00Z")), None);
        assert_eq!(again.next(), Some(at("2026-05-06T00:30:00Z")));
    }

    #[test]
    fn a_run_that_was_cut_short_by_a_restart_is_due_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut due = open(dir.path(), "2026-05-01T12:00:00Z");
        let due_time = at("2026-05-02T00:30:00Z");
        assert_eq!(due.take(due_time), Some(due_time));
        // Not served: the daemon was stopped.
        let mut again = open(dir.path(), "2026-05-02T00:40:00Z");
        assert_eq!(again.take(at("2026-05-02T00:40:00Z")), Some(due_time));
    }

    #[test]
    fn the_change_of_the_clocks_neither_repeats_nor_skips_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let mut due = open(dir.path(), "2026-03-28T12:00:00Z");
        let mut now = at("2026-03-28T12:00:00Z");
        let mut fired = Vec::new();
        for _ in 0..(3 * 24 * 4) {
            now = now.checked_add(SignedDuration::from_mins(15)).unwrap();
            fired.extend(due.take(now).map(|time| time.to_string()));
        }
        assert_eq!(fired, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
    }

    #[test]
    fn a_clock_that_went_back_far_does_not_silence_the_schedule() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "2036-01-01T00:00:00Z");
        let mut due = open(dir.path(), "2026-05-01T12:00:00Z");
        assert_eq!(due.next(), Some(at("2026-05-02T00:30:00Z")));
        let due_time = at("2026-05-02T00:30:00Z");
        assert_eq!(due.take(due_time), Some(due_time));
        // A small step back doesn't repeat it.
        assert_eq!(due.take(at("2026-05-02T00:29:50Z")), None);
        assert_eq!(due.take(due_time), None);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("schedule.json"), "{\"serv").unwrap();
        let mut due = open(dir.path(), "2026-05-01T12:00:00Z");
        assert_eq!(due.take(at("2026-05-01T12:00:00Z")), None);
    }
}
