//! The checks of one `[[site]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::check::Check;
use super::check_database::database;
use super::error::ConfigError;
use super::origin::Origin;
use super::prune::prune;
use super::raw::RawSite;
use super::schedule::Schedule;
use super::settings::NAME_RULES;
use super::trees::trees;
use super::verify::verify;
use super::wp_config::{Defined, Layout, WpConfig, WpConfigError};
use super::{Recipients, SiteName, SiteSettings, TrustedKeys, plain};

/// In nights: how long content that changed without a trace stays unseen at most.
const DEFAULT_REREAD: u32 = 30;

const DEFAULT_UPDATE_WAIT: Duration = Duration::from_secs(600);

/// Longer waits would only hide a site that is stuck in maintenance.
const LONGEST_UPDATE_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The checked site. `others` are those before it, for the uniqueness of names; `recipients` are the store's.
pub(super) fn site(
    check: &mut Check<'_>,
    raw: &RawSite,
    others: &[SiteSettings],
    recipients: &Recipients,
    trusted: &TrustedKeys,
) -> Result<SiteSettings, ConfigError> {
    let name = site_name(check, raw, others)?;
    let root = check.path(Some(&name), "site.path", raw.path.as_ref())?;
    let wp_config = check.path(Some(&name), "site.wp_config", raw.wp_config.as_ref())?;
    if root.is_none() && raw.content_dir.is_none() {
        let advice = "give path, WordPress's root directory; or content_dir and all of [site.database]";
        return Err(check.absent("site.path", &format!("missing for site {name}"), advice));
    }
    let mut found = FromWordPress { root: root.as_deref(), file: wp_config.as_deref(), read: None };
    let content_dir = content_dir(check, &name, raw, &mut found)?;
    let table_prefix = table_prefix(check, &name, raw, &mut found)?;
    let database = database(check, &name, &raw.database, &mut found)?;
    let trees = trees(check, &name, raw, &mut found, root.as_deref(), &content_dir)?;
    if let Some(include) = &raw.include_wp_config {
        check.given(Some(&name), "site.include_wp_config", include);
    }
    schedule(check, &name, raw)?;
    let verify = verify(check, &name, raw.verify.as_ref(), raw.time_zone.as_ref().map(|zone| zone.get_ref().as_str()))?;
    let prune = prune(check, &name, raw.prune.as_ref(), raw.time_zone.as_ref().map(|zone| zone.get_ref().as_str()))?;
    if let Some(default_excludes) = &raw.default_excludes {
        check.given(Some(&name), "site.default_excludes", default_excludes);
    }
    Ok(SiteSettings {
        content_dir,
        table_prefix,
        database,
        schedule: raw.schedule.as_ref().map(|schedule| schedule.get_ref().clone()),
        time_zone: raw.time_zone.as_ref().map(|zone| zone.get_ref().clone()),
        exclude: exclude(check, &name, raw)?,
        default_excludes: raw.default_excludes.as_ref().is_none_or(|value| *value.get_ref()),
        update_wait: update_wait(check, &name, raw)?,
        reread: reread(check, &name, raw)?,
        trees,
        prune,
        verify,
        follow_links_into: follow_links_into(check, &name, raw)?,
        include_wp_config: raw.include_wp_config.as_ref().map_or(!recipients.is_empty(), |value| *value.get_ref()),
        recipients: recipients.clone(),
        trusted: trusted.clone(),
        root,
        name,
    })
}

/// Not the whole machine: whoever can write wp-content would choose what is read.
fn follow_links_into(check: &mut Check<'_>, site: &SiteName, raw: &RawSite) -> Result<Vec<PathBuf>, ConfigError> {
    const KEY: &str = "site.follow_links_into";
    let mut directories = Vec::with_capacity(raw.follow_links_into.len());
    for directory in &raw.follow_links_into {
        let Some(path) = check.path(Some(site), KEY, Some(directory))? else { continue };
        if plain(&path).parent().is_none() {
            let advice = "name the directories that the site's links lead to, such as /usr/share/wordpress";
            return Err(check.invalid(KEY, directory, "every file of this machine could be captured", advice));
        }
        directories.push(path);
    }
    Ok(directories)
}

fn site_name(check: &mut Check<'_>, raw: &RawSite, others: &[SiteSettings]) -> Result<SiteName, ConfigError> {
    const KEY: &str = "site.name";
    let Some(name) = SiteName::new(raw.name.get_ref()) else {
        let what = format!("{:?} can't be a site's name", raw.name.get_ref());
        return Err(check.invalid(KEY, &raw.name, &what, NAME_RULES));
    };
    if others.iter().any(|other| other.name == name) {
        return Err(check.invalid(KEY, &raw.name, &format!("there are two sites named {name}"), "give each its own name"));
    }
    check.given(Some(&name), KEY, &raw.name);
    Ok(name)
}

/// The site's wp-config.php, read when the first value is asked of it.
pub(super) struct FromWordPress<'a> {
    root: Option<&'a Path>,
    file: Option<&'a Path>,
    read: Option<WpConfig>,
}

impl FromWordPress<'_> {
    /// The file; `None` when the configuration names neither a root nor a file.
    fn get(&mut self) -> Result<Option<&WpConfig>, WpConfigError> {
        if self.read.is_none() {
            self.read = match (self.file, self.root) {
                (Some(file), root) => Some(WpConfig::read(file, root)?),
                (None, Some(root)) => Some(WpConfig::find(root)?),
                (None, None) => None,
            };
        }
        Ok(self.read.as_ref())
    }

    /// The file, where another value has been asked of it.
    pub(super) fn get_if_read(&self) -> Option<&WpConfig> {
        self.read.as_ref()
    }

    /// The value that `ask` takes from the file; an error when there is no file to ask.
    pub(super) fn value<T>(
        &mut self,
        check: &mut Check<'_>,
        site: &SiteName,
        key: &'static str,
        ask: impl FnOnce(&WpConfig) -> Result<Defined<T>, WpConfigError>,
    ) -> Result<T, ConfigError> {
        let missing = |check: &Check<'_>| {
            let advice = "add it; or give the site's path, so that it is taken from wp-config.php";
            check.absent(key, &format!("missing for site {site}"), advice)
        };
        let asked = self.get().and_then(|config| config.map(|config| Ok((ask(config)?, config.path().to_owned()))).transpose());
        match asked {
            Ok(Some((defined, path))) => {
                check.origins.note(Some(site), key, Origin::WpConfig { path, line: defined.line });
                Ok(defined.value)
            }
            Ok(None) => Err(missing(check)),
            Err(source) => {
                Err(ConfigError::WpConfig { at: check.source.absent(&format!("{key} of site {site}")), source: Box::new(source) })
            }
        }
    }
}

fn content_dir(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawSite,
    found: &mut FromWordPress<'_>,
) -> Result<PathBuf, ConfigError> {
    const KEY: &str = "site.content_dir";
    if let Some(path) = check.path(Some(site), KEY, raw.content_dir.as_ref())? {
        return Ok(path);
    }
    let refuse =
        |source| ConfigError::WpConfig { at: check.source.absent(&format!("{KEY} of site {site}")), source: Box::new(source) };
    let root = found.root.unwrap_or(Path::new("/"));
    let Some(config) = found.get().map_err(refuse)? else { return Ok(root.join("wp-content")) };
    // Bedrock never uses the wp-content that comes with core.
    let bedrock = config.layout() == Layout::Bedrock;
    let asked = if bedrock { config.constant("WP_CONTENT_DIR").map(Some) } else { config.optional_constant("WP_CONTENT_DIR") };
    let Some(defined) = asked.map_err(refuse)? else { return Ok(root.join("wp-content")) };
    let path = PathBuf::from(&defined.value);
    if !path.is_absolute() {
        let what = format!("{}, line {}: WP_CONTENT_DIR is not an absolute path", config.path().display(), defined.line);
        return Err(check.absent(KEY, &what, "give content_dir in the configuration"));
    }
    let origin = Origin::WpConfig { path: config.path().to_owned(), line: defined.line };
    check.origins.note(Some(site), KEY, origin);
    Ok(path)
}

fn table_prefix(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawSite,
    found: &mut FromWordPress<'_>,
) -> Result<String, ConfigError> {
    const KEY: &str = "site.table_prefix";
    // WordPress itself refuses any other.
    let fine = |prefix: &str| prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let advice = "use letters, digits and underscores, as WordPress does";
    if let Some(prefix) = &raw.table_prefix {
        check.given(Some(site), KEY, prefix);
        if !fine(prefix.get_ref()) {
            return Err(check.invalid(KEY, prefix, &format!("{:?} can't be a table prefix", prefix.get_ref()), advice));
        }
        return Ok(prefix.get_ref().clone());
    }
    if found.root.is_none() && found.file.is_none() {
        return Ok("wp_".to_owned());
    }
    let prefix = found.value(check, site, KEY, WpConfig::table_prefix)?;
    if !fine(&prefix) {
        return Err(check.absent(KEY, &format!("{prefix:?}, from wp-config.php, can't be a table prefix"), advice));
    }
    Ok(prefix)
}

fn schedule(check: &mut Check<'_>, site: &SiteName, raw: &RawSite) -> Result<(), ConfigError> {
    if let Some(zone) = &raw.time_zone {
        check.given(Some(site), "site.time_zone", zone);
    }
    let Some(cron) = &raw.schedule else {
        // It may be of the schedule of pruning.
        return raw.time_zone.as_ref().filter(|_| raw.prune.is_none() && raw.verify.is_none()).map_or(Ok(()), |zone| {
            Err(check.invalid("site.time_zone", zone, "given without a schedule", "add a schedule, or remove it"))
        });
    };
    check.given(Some(site), "site.schedule", cron);
    let refuse = |key: &str, value: &Spanned<String>, source| ConfigError::Schedule {
        at: check.source.at(key, &value.span()),
        source: Box::new(source),
    };
    // First without the zone, so that the message points to the line that is wrong.
    Schedule::parse(cron.get_ref(), None).map_err(|error| refuse("site.schedule", cron, error))?;
    if let Some(zone) = &raw.time_zone {
        Schedule::parse(cron.get_ref(), Some(zone.get_ref())).map_err(|error| refuse("site.time_zone", zone, error))?;
    }
    Ok(())
}

fn exclude(check: &mut Check<'_>, site: &SiteName, raw: &RawSite) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "site.exclude";
    for pattern in &raw.exclude {
        check.given(Some(site), KEY, pattern);
        let text = pattern.get_ref();
        let advice = "write it relative to wp-content, such as \"uploads/big/\" or \"**/*.iso\"";
        if text.trim_matches('/').is_empty() || text.starts_with('/') || text.split('/').any(|part| part == "..") {
            return Err(check.invalid(KEY, pattern, &format!("{text:?} names nothing below wp-content"), advice));
        }
        if let Err(error) = globset::Glob::new(text.trim_end_matches('/')) {
            return Err(check.invalid(KEY, pattern, &format!("{text:?} is not a pattern: {}", error.kind()), advice));
        }
    }
    Ok(raw.exclude.iter().map(|pattern| pattern.get_ref().clone()).collect())
}

fn update_wait(check: &mut Check<'_>, site: &SiteName, raw: &RawSite) -> Result<Duration, ConfigError> {
    const KEY: &str = "site.update_wait";
    let Some(text) = &raw.update_wait else { return Ok(DEFAULT_UPDATE_WAIT) };
    check.given(Some(site), KEY, text);
    let parsed = text.get_ref().parse::<jiff::SignedDuration>().ok().and_then(|wait| Duration::try_from(wait).ok());
    parsed.filter(|wait| *wait <= LONGEST_UPDATE_WAIT).ok_or_else(|| {
        let what = format!("{:?} is not a time to wait", text.get_ref());
        check.invalid(KEY, text, &what, "write \"10m\" or \"1h 30m\", at most 24 hours; \"0s\" doesn't wait")
    })
}

fn reread(check: &mut Check<'_>, site: &SiteName, raw: &RawSite) -> Result<u32, ConfigError> {
    const KEY: &str = "site.reread";
    let Some(parts) = &raw.reread else { return Ok(DEFAULT_REREAD) };
    check.given(Some(site), KEY, parts);
    if *parts.get_ref() > 10_000 {
        let what = format!("{} is more than 10000 runs", parts.get_ref());
        return Err(check.invalid(
            KEY,
            parts,
            &what,
            "give the number of runs in which all files are read again, or 0 for never",
        ));
    }
    Ok(*parts.get_ref())
}
