//! When a site runs: a five-field cron expression in a time zone, as a pure function of an instant.

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, CronPattern};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Exit, Explain};

/// A schedule that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Not five fields.
    #[error("schedule {expression:?} has {found} fields, not 5")]
    Fields {
        /// As written.
        expression: String,
        /// How many there are.
        found: usize,
    },
    /// A field that can't be read.
    #[error("schedule {expression:?} can't be read")]
    Syntax {
        /// As written.
        expression: String,
        /// What the parser says.
        source: croner::errors::CronError,
    },
    /// A date that no calendar has, such as the 31st of February.
    #[error("schedule {expression:?} names a time that never comes")]
    Never {
        /// As written.
        expression: String,
    },
    /// A time zone that the zone database lacks.
    #[error("time zone {name:?} is unknown")]
    Zone {
        /// As written.
        name: String,
        /// What the database says.
        source: jiff::Error,
    },
}

impl Explain for ScheduleError {
    fn exit(&self) -> Exit {
        Exit::Config
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Zone { .. } => "write a name of the IANA database, such as Europe/Paris or UTC".into(),
            Self::Fields { .. } | Self::Syntax { .. } | Self::Never { .. } => {
                "write minute, hour, day of month, month, day of week: \"30 2 * * *\" is every night at 02:30".into()
            }
        })
    }
}

/// The years that are searched. Left to itself the library goes through each day up to the year 5000, which takes seconds, before it says
/// that no date fits; what fits at all does within 40 years, as the 29th of February falls on each day of the week by then.
const YEARS: &str = "1970-2200";

/// A checked schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    /// `None` is the system's zone, asked for each time: it may change while the daemon runs.
    zone: Option<TimeZone>,
}

impl Schedule {
    /// Checks a five-field cron expression and the name of its time zone (`None`: the system's).
    pub fn parse(cron: &str, tz: Option<&str>) -> Result<Self, ScheduleError> {
        let expression = || cron.to_owned();
        let found = cron.split_whitespace().count();
        if found != 5 {
            return Err(ScheduleError::Fields { expression: expression(), found });
        }
        let zone = tz
            .map(|name| TimeZone::get(name).map_err(|source| ScheduleError::Zone { name: name.to_owned(), source }))
            .transpose()?;
        let cron = CronParser::builder()
            // It takes years only where it takes seconds, too.
            .seconds(Seconds::Required)
            .year(Year::Required)
            .build()
            .parse(&format!("0 {} {YEARS}", cron.trim()))
            .map_err(|source| ScheduleError::Syntax { expression: expression(), source })?;
        if has_empty_field(&cron) {
            return Err(ScheduleError::Never { expression: expression() });
        }
        let schedule = Self { cron, zone };
        // Whether a date exists at all doesn't depend on where the search begins.
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { expression: expression() }),
        }
    }

    /// The first time after `instant`, or `None` at the end of the calendar.
    ///
    /// A local time that the clocks skip falls on the first moment after the gap; one that they repeat counts once,
    /// unless the hour is a wildcard.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let zone = self.zone.clone().unwrap_or_else(TimeZone::system);
        let second = Timestamp::from_second(instant.as_duration().as_secs()).ok()?;
        // Whole seconds only; before 1970 the division rounds up.
        let second = if second > instant { second.checked_sub(SignedDuration::from_secs(1)).ok()? } else { second };
        let next = self.cron.find_next_occurrence(&second.to_zoned(zone), false).ok()?;
        Some(next.timestamp())
    }
}

/// Whether a field, such as `,`, has no value: the search would go through each hour of all years.
fn has_empty_field(cron: &Cron) -> bool {
    let CronPattern { minutes, hours, months, days_of_week, .. } = &cron.pattern;
    let weekdays = cron.pattern.matches_dom_and_dow().then_some(days_of_week);
    [minutes, hours, months].into_iter().chain(weekdays).any(|field| field.values().is_empty() && !field.has_modifiers())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paris(cron: &str) -> Schedule {
        Schedule::parse(cron, Some("Europe/Paris")).unwrap()
    }

    fn times(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut at: Timestamp = from.parse().unwrap();
        (0..count)
            .map(|_| {
                at = schedule.next_after(at).unwrap();
                at.to_zoned(TimeZone::get("Europe/Paris").unwrap()).strftime("%m-%d %H:%M%z").to_string()
            })
            .collect()
    }

    #[test]
    fn a_local_time_stays_the_same_across_both_changes_of_the_clocks() {
        // 2026: forward on 29 March, back on 25 October.
        let schedule = paris("30 4 * * *");
        assert_eq!(times(&schedule, "2026-03-28T00:00:00Z", 3), ["03-28 04:30+0100", "03-29 04:30+0200", "03-30 04:30+0200"]);
        assert_eq!(times(&schedule, "2026-10-24T00:00:00Z", 3), ["10-24 04:30+0200", "10-25 04:30+0100", "10-26 04:30+0100"]);
    }

    #[test]
    fn a_time_in_the_gap_falls_on_its_end_and_once() {
        let schedule = paris("30 2 * * *");
        assert_eq!(times(&schedule, "2026-03-28T12:00:00Z", 2), ["03-29 03:00+0200", "03-30 02:30+0200"]);
    }

    #[test]
    fn a_time_in_the_overlap_comes_once_and_an_hourly_one_each_hour() {
        let daily = paris("30 2 * * *");
        assert_eq!(times(&daily, "2026-10-24T12:00:00Z", 2), ["10-25 02:30+0200", "10-26 02:30+0100"]);
        let hourly = paris("30 * * * *");
        assert_eq!(times(&hourly, "2026-10-25T00:00:00Z", 3), ["10-25 02:30+0200", "10-25 02:30+0100", "10-25 03:30+0100"]);
    }

    #[test]
    fn the_rarest_dates_are_found_and_what_is_none_is_refused() {
        // From 2072 to 2112 no 29th of February is a Monday: 2100 is no leap year.
        let rare = Schedule::parse("0 0 29 2 +MON", Some("UTC")).unwrap();
        let next = rare.next_after("2072-03-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(next.to_string(), "2112-02-29T00:00:00Z");
        for none in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 01 5 * +", ", * * * *", "0 , * * *", "0 0 * , *"] {
            assert!(matches!(Schedule::parse(none, Some("UTC")), Err(ScheduleError::Never { .. })), "{none}");
        }
    }

    #[test]
    fn next_is_strictly_later_within_the_second_too() {
        let schedule = Schedule::parse("0 * * * *", Some("UTC")).unwrap();
        let next = |at: &str| schedule.next_after(at.parse().unwrap()).unwrap().to_string();
        assert_eq!(next("2026-05-01T10:59:59.999Z"), "2026-05-01T11:00:00Z");
        assert_eq!(next("2026-05-01T11:00:00Z"), "2026-05-01T12:00:00Z");
        assert_eq!(next("2026-05-01T11:00:00.5Z"), "2026-05-01T12:00:00Z");
        assert_eq!(next("1969-12-31T23:59:59.5Z"), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn exactly_five_fields() {
        for bad in ["", "@daily", "0 2 * *", "0 30 2 * * *", "0 30 2 * * * 2027"] {
            assert!(matches!(Schedule::parse(bad, None), Err(ScheduleError::Fields { .. })), "{bad:?}");
        }
        assert!(matches!(Schedule::parse("61 2 * * *", None), Err(ScheduleError::Syntax { .. })));
        assert!(matches!(Schedule::parse("x y z a b", None), Err(ScheduleError::Syntax { .. })));
        assert!(matches!(Schedule::parse("0 2 31 2 *", None), Err(ScheduleError::Never { .. })));
        assert!(matches!(Schedule::parse("0 2 * * *", Some("Europe/Pariss")), Err(ScheduleError::Zone { .. })));
        assert!(Schedule::parse("0 2 29 2 *", None).is_ok());
        assert!(Schedule::parse(" */15  1-5 * jan,mar mon-fri ", None).is_ok());
    }
}
