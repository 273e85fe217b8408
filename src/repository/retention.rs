//! Which snapshots stay: a pure function of what the store tells of them. Ages are the store's own; no manifest is believed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::config::Keep;

/// A snapshot as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its number; that of a fork is there twice.
    pub seq: u64,
    /// When the store says that it was written.
    pub modified: SystemTime,
    /// How far it is to be believed. Each kind is counted by itself: a snapshot takes no place of one that is believed more.
    pub standing: Standing,
}

/// How far a snapshot is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// As any.
    Good,
    /// It says itself that it is suspect, and no reader has accepted it.
    Suspect,
    /// It is signed by nobody that is trusted, or was put back: it may have any number.
    Untrusted,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No snapshot has a higher number.
    Newest,
    /// It is younger than `--keep-within`.
    Within,
    /// One of the newest so many.
    Last,
    /// The first of its hour, day, week, month or year.
    First(Period, Timestamp),
    /// A newer agent made it: what it needs isn't known.
    Unknown,
}

/// The periods of which one snapshot each is kept; all are UTC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Within => f.write_str("within"),
            Self::Last => f.write_str("last"),
            Self::Unknown => f.write_str("made by a newer agent"),
            Self::First(period, start) => {
                let (name, format) = match period {
                    Period::Hour => ("hourly", "%Y-%m-%d %Hh"),
                    Period::Day => ("daily", "%Y-%m-%d"),
                    Period::Week => ("weekly", "%G-W%V"),
                    Period::Month => ("monthly", "%Y-%m"),
                    Period::Year => ("yearly", "%Y"),
                };
                write!(f, "{name} {}", start.to_zoned(TimeZone::UTC).strftime(format))
            }
        }
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why each of these stays, in their order; one without a reason goes. `now` is the store's clock.
///
/// The newest always stays, and of a fork both; if it is suspect, so does the newest that isn't. Of each period the snapshot that was there first stays, so that none that comes later,
/// however many they are, takes its place; the periods counted are the latest that have any.
pub fn decide(keep: &Keep, snapshots: &[Candidate], now: SystemTime) -> Vec<BTreeSet<Reason>> {
    let mut reasons = vec![BTreeSet::new(); snapshots.len()];
    let newest_of = |standing| snapshots.iter().filter(|s| s.standing == standing).map(|s| s.seq).max();
    let (good, suspect) = (newest_of(Standing::Good), newest_of(Standing::Suspect));
    for (snapshot, reasons) in snapshots.iter().zip(&mut reasons) {
        let newest = match snapshot.standing {
            Standing::Good => good,
            // The host's next run compares with it.
            Standing::Suspect => suspect.filter(|_| suspect >= good),
            // It may have any number: it is the newest only where none is trusted.
            Standing::Untrusted => newest_of(Standing::Untrusted).filter(|_| good.is_none() && suspect.is_none()),
        };
        if Some(snapshot.seq) == newest {
            reasons.insert(Reason::Newest);
        }
        // One from the future is young.
        let age = now.duration_since(snapshot.modified).unwrap_or(Duration::ZERO);
        if keep.within.is_some_and(|within| age <= within) {
            reasons.insert(Reason::Within);
        }
    }
    for standing in [Standing::Good, Standing::Suspect, Standing::Untrusted] {
        let mut order: Vec<usize> =
            (0..snapshots.len()).filter(|&at| snapshots.get(at).is_some_and(|s| s.standing == standing)).collect();
        order.sort_by_key(|&at| snapshots.get(at).map(|s| (s.modified, s.seq)));
        for &at in order.iter().rev().take(keep.last as usize) {
            reasons.get_mut(at).map(|reasons| reasons.insert(Reason::Last));
        }
        for (count, period) in [
            (keep.hourly, Period::Hour),
            (keep.daily, Period::Day),
            (keep.weekly, Period::Week),
            (keep.monthly, Period::Month),
            (keep.yearly, Period::Year),
        ] {
            let mut firsts: Vec<(usize, Timestamp)> = Vec::new();
            for &at in &order {
                let Some(start) = snapshots.get(at).and_then(|s| start_of(period, s.modified)) else { continue };
                if firsts.last().is_none_or(|(_, last)| *last != start) {
                    firsts.push((at, start));
                }
            }
            for &(at, start) in firsts.iter().rev().take(count as usize) {
                reasons.get_mut(at).map(|reasons| reasons.insert(Reason::First(period, start)));
            }
        }
    }
    reasons
}

/// When the period began that this time is in. `None` beyond the calendar.
fn start_of(period: Period, time: SystemTime) -> Option<Timestamp> {
    let civil = Timestamp::try_from(time).ok()?.to_zoned(TimeZone::UTC).datetime();
    let date = civil.date();
    let day = |date: Date| date.at(0, 0, 0, 0);
    let start = match period {
        Period::Hour => date.at(civil.hour(), 0, 0, 0),
        Period::Day => day(date),
        Period::Week => day(date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok()?),
        Period::Month => day(date.first_of_month()),
        Period::Year => day(date.first_of_year()),
    };
    start.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3600;

    fn at(hours: u64) -> SystemTime {
        // A Thursday.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + hours * HOUR)
    }

    fn one(seq: u64, hours: u64) -> Candidate {
        Candidate { seq, modified: at(hours), standing: Standing::Good }
    }

    fn kept(keep: &Keep, snapshots: &[Candidate], now: SystemTime) -> Vec<u64> {
        let reasons = decide(keep, snapshots, now);
        snapshots.iter().zip(reasons).filter(|(_, reasons)| !reasons.is_empty()).map(|(s, _)| s.seq).collect()
    }

    #[test]
    fn one_for_each_period_and_the_reason_says_which() {
        let nightly: Vec<_> = (0..60).map(|n| one(n + 1, n * 24 + 2)).collect();
        let keep = Keep { daily: 3, weekly: 2, monthly: 2, ..Keep::default() };
        let now = at(60 * 24);
        assert_eq!(kept(&keep, &nightly, now), [32, 47, 54, 58, 59, 60]);
        let reasons = decide(&keep, &nightly, now);
        let said = |at: usize| reasons[at].iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said(59), ["newest", "daily 2026-03-01", "monthly 2026-03"]);
        assert_eq!(said(31), ["monthly 2026-02"]);
        assert_eq!(said(53), ["weekly 2026-W09"]);
        assert!(said(30).is_empty());
    }

    #[test]
    fn a_burst_takes_one_place_of_each_period_and_none_of_the_past() {
        let mut all: Vec<_> = (0..30).map(|n| one(n + 1, n * 24)).collect();
        let keep = Keep { daily: 7, weekly: 4, ..Keep::default() };
        let before = kept(&keep, &all, at(30 * 24));
        all.extend((0..500).map(|n| Candidate { modified: at(29 * 24) + Duration::from_secs(n + 60), ..one(31 + n, 0) }));
        let after = kept(&keep, &all, at(30 * 24));
        assert!(before.iter().all(|seq| after.contains(seq)), "{before:?} {after:?}");
        assert_eq!(after.len(), before.len() + 1, "the newest of the burst");
        // Of the newest so many the burst takes all places: what is younger than the floor stays.
        let last = Keep { last: 5, within: Some(Duration::from_secs(3 * 24 * HOUR)), ..Keep::default() };
        let after = kept(&last, &all, at(30 * 24));
        assert!([28, 29, 30].iter().all(|seq| after.contains(seq)) && !after.contains(&20));
    }

    #[test]
    fn both_of_a_fork_are_the_newest() {
        let forked = [one(1, 0), one(2, 1), one(3, 2), one(3, 50)];
        assert_eq!(kept(&Keep { last: 1, ..Keep::default() }, &forked, at(60)), [3, 3]);
    }

    #[test]
    fn a_suspect_takes_no_place_of_a_good_one() {
        let mut all: Vec<_> = (0..10).map(|n| one(n + 1, n * 24 + 5)).collect();
        let keep = Keep { last: 2, daily: 3, ..Keep::default() };
        let good = kept(&keep, &all, at(300));
        for standing in [Standing::Suspect, Standing::Untrusted] {
            let mut all = all.clone();
            all.extend((0..10).map(|n| Candidate { standing, ..one(11 + n, n * 24) }));
            let with = kept(&keep, &all, at(300));
            assert!(good.iter().all(|seq| with.contains(seq)), "{good:?} {with:?}");
            assert!(with.len() <= 2 * good.len() + 1);
        }
        // Untrusted ones take no place of suspect ones.
        all.extend((0..3).map(|n| Candidate { standing: Standing::Suspect, ..one(11 + n, (10 + n) * 24) }));
        let before = kept(&keep, &all, at(500));
        all.extend((0..9).map(|n| Candidate { standing: Standing::Untrusted, ..one(20 + n, (13 + n) * 24) }));
        let after = kept(&keep, &all, at(500));
        assert!(before.iter().all(|seq| after.contains(seq)), "{before:?} {after:?}");
    }

    #[test]
    fn the_newest_stays_if_it_is_suspect_and_so_does_the_newest_good_one() {
        let suspect = |seq, hours| Candidate { standing: Standing::Suspect, ..one(seq, hours) };
        let keep = Keep { yearly: 1, ..Keep::default() };
        // The first of the year stays, too, of each kind.
        let all = [one(1, 0), one(2, 24), one(3, 48), suspect(4, 72), suspect(5, 96), suspect(6, 120)];
        assert_eq!(kept(&keep, &all, at(300)), [1, 3, 4, 6]);
        // One that is older than a good one is nobody's parent any more.
        let all = [one(1, 0), suspect(2, 24), suspect(3, 48), one(4, 72)];
        assert_eq!(kept(&Keep { within: Some(Duration::from_secs(1)), ..Keep::default() }, &all, at(300)), [4]);
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        (0u32..4, 0u32..4, 0u32..4, 0u32..4, 0u32..4, 0u32..3, proptest::option::of(0u64..2000)).prop_map(
            |(last, hourly, daily, weekly, monthly, yearly, within)| Keep {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
                within: within.map(|hours| Duration::from_secs(hours * HOUR)),
            },
        )
    }

    #[test]
    fn one_that_is_not_trusted_takes_no_place_not_that_of_the_newest_either() {
        let all = [one(1, 0), one(2, 24), Candidate { standing: Standing::Untrusted, ..one(9_999, 30) }];
        let reasons = decide(&Keep { last: 1, ..Keep::default() }, &all, at(100));
        assert!(reasons[0].is_empty());
        assert!(reasons[1].contains(&Reason::Newest) && reasons[1].contains(&Reason::Last));
        assert!(!reasons[2].contains(&Reason::Newest));
    }

    fn histories() -> impl Strategy<Value = Vec<Candidate>> {
        let standing = prop_oneof![Just(Standing::Good), Just(Standing::Suspect), Just(Standing::Untrusted)];
        proptest::collection::vec((0u64..40, 0u64..20_000, standing), 0..40)
            .prop_map(|all| all.into_iter().map(|(seq, hours, standing)| Candidate { standing, ..one(seq, hours) }).collect())
    }

    proptest! {
        #[test]
        fn the_newest_and_the_young_stay_and_a_second_time_changes_nothing(keep in keeps(), all in histories(), now in 0u64..25_000) {
            let reasons = decide(&keep, &all, at(now));
            let trusted = all.iter().filter(|s| s.standing != Standing::Untrusted).map(|s| s.seq).max();
            let good = all.iter().filter(|s| s.standing == Standing::Good).map(|s| s.seq).max();
            let newest = trusted.or(all.iter().map(|s| s.seq).max());
            let stays = |s: &Candidate| match s.standing {
                Standing::Good => Some(s.seq) == good,
                Standing::Suspect => Some(s.seq) == newest,
                Standing::Untrusted => trusted.is_none() && Some(s.seq) == newest,
            };
            let mut left = Vec::new();
            for (snapshot, reasons) in all.iter().zip(&reasons) {
                let young = keep.within.is_some_and(|within| snapshot.modified + within >= at(now));
                prop_assert!(!reasons.is_empty() || (!stays(snapshot) && !young));
                if !reasons.is_empty() {
                    left.push(*snapshot);
                }
            }
            prop_assert!(decide(&keep, &left, at(now)).iter().all(|reasons| !reasons.is_empty()));
        }

        #[test]
        fn what_comes_later_pushes_out_no_more_than_its_own_periods(all in histories(), forged in 1usize..200) {
            let keep = Keep { daily: 5, weekly: 3, monthly: 2, yearly: 1, ..Keep::default() };
            let mut all: Vec<_> = all.into_iter().zip(0..).map(|(s, seq)| Candidate { standing: Standing::Good, seq, ..s }).collect();
            let last = all.iter().map(|s| s.modified).max().unwrap_or(at(0));
            let before = kept(&keep, &all, at(20_001));
            // All within a second: they can begin one day at most.
            all.extend((0..forged as u64).map(|n| Candidate { seq: 100 + n, modified: last + Duration::from_secs(1), standing: Standing::Good }));
            let after = kept(&keep, &all, at(20_001));
            let gone = before.iter().filter(|seq| !after.contains(seq)).count();
            prop_assert!(gone <= 5, "{} of {} went", gone, before.len());
        }
    }
}
