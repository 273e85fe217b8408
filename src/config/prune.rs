//! What retention keeps, and `[site.prune]`.

use std::time::Duration;

use toml::Spanned;

use super::check::Check;
use super::error::ConfigError;
use super::raw::RawPrune;
use super::{PruneSettings, SiteName};

/// How many snapshots retention keeps. A count of 0 is a rule that isn't given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// One for each of so many hours that have one.
    pub hourly: u32,
    /// One for each of so many days, which are UTC's.
    pub daily: u32,
    /// One for each of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// One for each of so many months.
    pub monthly: u32,
    /// One for each of so many years.
    pub yearly: u32,
    /// All that are not older than this: a floor under the counts.
    pub within: Option<Duration>,
}

impl Keep {
    /// Whether no rule is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads a length of time in units up to weeks: `30d`, `2w 3d`, `36h`. More than nothing, at most 100 years.
pub fn parse_age(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let whole = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    let longest = Duration::from_secs(36_525 * 24 * 3600);
    Duration::try_from(whole).ok().filter(|age| !age.is_zero() && *age <= longest)
}

/// `[site.prune]`, when it is there.
pub(super) fn prune(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: Option<&RawPrune>,
    time_zone: Option<&str>,
) -> Result<Option<PruneSettings>, ConfigError> {
    const SCHEDULE: &str = "site.prune.schedule";
    const WITHIN: &str = "site.prune.keep_within";
    let Some(raw) = raw else { return Ok(None) };
    let schedule =
        check.job_schedule(site, SCHEDULE, raw.schedule.as_ref(), time_zone, "say when to prune, such as \"15 5 * * *\"")?;
    let mut count = |key: &'static str, value: &Option<Spanned<u32>>| {
        if let Some(value) = value {
            check.given(Some(site), key, value);
        }
        value.as_ref().map_or(0, |value| *value.get_ref())
    };
    let mut keep = Keep {
        last: count("site.prune.keep_last", &raw.keep_last),
        hourly: count("site.prune.keep_hourly", &raw.keep_hourly),
        daily: count("site.prune.keep_daily", &raw.keep_daily),
        weekly: count("site.prune.keep_weekly", &raw.keep_weekly),
        monthly: count("site.prune.keep_monthly", &raw.keep_monthly),
        yearly: count("site.prune.keep_yearly", &raw.keep_yearly),
        within: None,
    };
    if let Some(text) = &raw.keep_within {
        check.given(Some(site), WITHIN, text);
        let what = || format!("{:?} is not a length of time", text.get_ref());
        let within = parse_age(text.get_ref());
        keep.within = Some(within.ok_or_else(|| check.invalid(WITHIN, text, &what(), "write \"30d\", \"2w\" or \"36h\""))?);
    }
    if keep.is_empty() {
        let advice = "give one of keep_within, keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly";
        return Err(check.absent("site.prune", &format!("nothing of site {site} would be kept but the newest"), advice));
    }
    Ok(Some(PruneSettings { schedule, keep }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_in_units_up_to_weeks() {
        let hours = |text| parse_age(text).map(|age| age.as_secs() / 3600);
        assert_eq!(hours("36h"), Some(36));
        assert_eq!(hours("30d"), Some(720));
        assert_eq!(hours("2w 3d"), Some(17 * 24));
        assert_eq!(hours("P30D"), Some(720));
        for bad in ["", "30", "0d", "-3d", "1 month", "2y", "200000w"] {
            assert_eq!(hours(bad), None, "{bad:?}");
        }
    }
}
