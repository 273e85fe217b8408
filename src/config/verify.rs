//! `[site.verify]`.

use serde::Deserialize;

use super::SiteName;
use super::check::Check;
use super::error::ConfigError;
use super::raw::RawVerify;
use super::settings::VerifySettings;

/// Of so many packs one is read each time, unless told otherwise.
const DEFAULT_SHARE: u32 = 30;

/// How deep a verify goes (docs/VERIFY.md).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Manifests, their chain, lists; which packs are there.
    #[default]
    Structure,
    /// And the store's checksums.
    Checksums,
    /// And a share of the packs is read.
    Read,
}

/// `[site.verify]`, when it is there.
pub(super) fn verify(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: Option<&RawVerify>,
    time_zone: Option<&str>,
) -> Result<Option<VerifySettings>, ConfigError> {
    const SCHEDULE: &str = "site.verify.schedule";
    const SHARE: &str = "site.verify.share";
    let Some(raw) = raw else { return Ok(None) };
    let schedule =
        check.job_schedule(site, SCHEDULE, raw.schedule.as_ref(), time_zone, "say when to verify, such as \"45 4 * * *\"")?;
    let depth = raw.level.as_ref().map_or(Depth::default(), |level| *level.get_ref());
    let share = match &raw.share {
        None => DEFAULT_SHARE,
        Some(share) => {
            check.given(Some(site), SHARE, share);
            match *share.get_ref() {
                of @ 1..=10_000 => of,
                _ => {
                    return Err(check.invalid(
                        SHARE,
                        share,
                        "not from 1 to 10000",
                        "30 reads one of thirty packs each time, 1 reads all",
                    ));
                }
            }
        }
    };
    Ok(Some(VerifySettings { schedule, depth, share }))
}
