//! The checks of how a site's database is dumped.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::check::Check;
use super::error::ConfigError;
use super::raw::RawDatabase;
use super::{DumpSettings, SiteName};

/// More connections than this only take them from the site.
const CONNECTIONS: RangeInclusive<usize> = 1..=16;
/// The server's own limits are in whole seconds.
const LOCK_WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// A snapshot that stays open longer makes the server keep too many old rows.
const STORE_WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Room for the packs that are in memory anyway; 1 TiB.
const SPOOL_MIB: RangeInclusive<u64> = 64..=1 << 20;

/// How the dump is taken.
pub(super) fn dump(check: &mut Check<'_>, site: &SiteName, raw: &RawDatabase) -> Result<DumpSettings, ConfigError> {
    let defaults = DumpSettings::default();
    Ok(DumpSettings {
        connections: number(check, site, "site.database.connections", raw.connections.as_ref(), &CONNECTIONS, |n| n)?
            .unwrap_or(defaults.connections),
        lock_wait: wait(check, site, "site.database.lock_wait", raw.lock_wait.as_ref(), &LOCK_WAIT)?
            .unwrap_or(defaults.lock_wait),
        store_wait: wait(check, site, "site.database.store_wait", raw.store_wait.as_ref(), &STORE_WAIT)?
            .unwrap_or(defaults.store_wait),
        spool: number(check, site, "site.database.spool_mib", raw.spool_mib.as_ref(), &SPOOL_MIB, |mib| mib << 20)?
            .unwrap_or(defaults.spool),
        exclude_tables: patterns(check, site, "site.database.exclude_tables", &raw.exclude_tables)?,
        structure_only: patterns(check, site, "site.database.structure_only", &raw.structure_only)?,
    })
}

fn number<T: Copy + PartialOrd + std::fmt::Display>(
    check: &mut Check<'_>,
    site: &SiteName,
    key: &'static str,
    value: Option<&Spanned<T>>,
    range: &RangeInclusive<T>,
    unit: impl Fn(T) -> T,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    check.given(Some(site), key, value);
    if !range.contains(value.get_ref()) {
        let what = format!("{} is out of range", value.get_ref());
        return Err(check.invalid(key, value, &what, &format!("give a number from {} to {}", range.start(), range.end())));
    }
    Ok(Some(unit(*value.get_ref())))
}

fn wait(
    check: &mut Check<'_>,
    site: &SiteName,
    key: &'static str,
    value: Option<&Spanned<String>>,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = value else { return Ok(None) };
    check.given(Some(site), key, text);
    let parsed = text.get_ref().parse::<jiff::SignedDuration>().ok().and_then(|wait| Duration::try_from(wait).ok());
    parsed.filter(|wait| range.contains(wait)).map(Some).ok_or_else(|| {
        let what = format!("{:?} is not a time to wait", text.get_ref());
        let advice = format!("write \"2s\" or \"1m\", from {} to {} seconds", range.start().as_secs(), range.end().as_secs());
        check.invalid(key, text, &what, &advice)
    })
}

fn patterns(
    check: &mut Check<'_>,
    site: &SiteName,
    key: &'static str,
    raw: &[Spanned<String>],
) -> Result<Vec<String>, ConfigError> {
    for pattern in raw {
        check.given(Some(site), key, pattern);
        let text = pattern.get_ref();
        let refused = if text.is_empty() {
            Some("is empty".to_owned())
        } else {
            globset::Glob::new(text).err().map(|error| format!("is not a pattern: {}", error.kind()))
        };
        if let Some(what) = refused {
            let advice = "write a table's name, with * for any characters, such as \"wp_*_log\"";
            return Err(check.invalid(key, pattern, &format!("{text:?} {what}"), advice));
        }
    }
    Ok(raw.iter().map(|pattern| pattern.get_ref().clone()).collect())
}
