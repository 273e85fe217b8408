//! `[site.verify]`.

use serde::Deserialize;

use super::SiteName;
use super::check::Check;
use super::error::ConfigError;
use super::raw::RawVerify;
use super::secret_file::{self, SecretPlace};
use super::settings::{NAME_RULES, StandbyName, TrialSettings, VerifySettings};

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
    /// The structure, and the newest snapshot is restored and compared.
    Restore,
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
    const RECEIPT: &str = "site.verify.receipt";
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
    let receipt = match &raw.receipt {
        None => None,
        Some(name) => {
            check.given(Some(site), RECEIPT, name);
            let what = || format!("{:?} can't be a standby's name", name.get_ref());
            Some(StandbyName::new(name.get_ref()).ok_or_else(|| check.invalid(RECEIPT, name, &what(), NAME_RULES))?)
        }
    };
    let trial = trial(check, site, raw, depth)?;
    Ok(Some(VerifySettings { schedule, depth, share, receipt, trial }))
}

fn trial(check: &mut Check<'_>, site: &SiteName, raw: &RawVerify, depth: Depth) -> Result<TrialSettings, ConfigError> {
    const USER: &str = "site.verify.user";
    const PASSWORD: &str = "site.verify.password_file";
    let of_trials = [
        ("site.verify.scratch", &raw.scratch),
        (USER, &raw.user),
        (PASSWORD, &raw.password_file),
        ("site.verify.identity_file", &raw.identity_file),
    ];
    if let Some((key, given)) = of_trials.iter().find_map(|(key, given)| Some((*key, given.as_ref()?)))
        && depth != Depth::Restore
    {
        return Err(check.invalid(key, given, "given, and site.verify.level isn't \"restore\"", "set the level, or remove it"));
    }
    let scratch = check.path(Some(site), "site.verify.scratch", raw.scratch.as_ref())?;
    let identity_file = check.path(Some(site), "site.verify.identity_file", raw.identity_file.as_ref())?;
    let place = SecretPlace { file_key: PASSWORD, file: raw.password_file.as_ref(), credential_key: PASSWORD, credential: None };
    let password = secret_file::read(check.source, &place, None)?;
    let account = match (&raw.user, &raw.password_file, password) {
        (None, Some(file), _) => {
            return Err(check.invalid(PASSWORD, file, "given without site.verify.user", "say whose password it is"));
        }
        (None, None, _) => None,
        (Some(user), _, password) => {
            check.given(Some(site), USER, user);
            Some((user.get_ref().clone(), password.map(|(secret, _)| secret).unwrap_or_default()))
        }
    };
    Ok(TrialSettings { scratch, account, identity_file })
}
