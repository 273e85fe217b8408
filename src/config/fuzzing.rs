//! What the fuzz targets hold against the parsers of configurations (see `crate::fuzzing`).

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;
use super::wp_config::WpConfig;
use super::{SiteName, WpConfigError, parse_db_host, parse_with_origins};
use crate::error::{Explain, render};

/// The names that are asked of a wp-config.php.
const CONSTANTS: [&str; 8] =
    ["DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "WP_CONTENT_DIR", "WP_PLUGIN_DIR", "WPMU_PLUGIN_DIR", "UPLOADS"];

/// A configuration: accepted, what it says is within its bounds; refused, the message is one.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_with_origins(text, Path::new("/fuzzed.toml"), None) {
        Ok((settings, _)) => {
            for site in &settings.sites {
                assert_eq!(SiteName::new(site.name.as_str()).as_ref(), Some(&site.name));
                assert!(site.content_dir.is_absolute() && site.trees.iter().all(|tree| tree.path.is_absolute()));
                let zone = site.time_zone.as_deref();
                assert!(site.schedule.as_deref().is_none_or(|cron| Schedule::parse(cron, zone).is_ok()));
            }
        }
        Err(error) => assert!(!render(&error).is_empty()),
    }
}

/// A wp-config.php: what it is said to define is bounded, and where it is certain it is so again.
pub fn wp_config(data: &[u8]) {
    let of = || WpConfig::of(data, Path::new("/srv/www/wp-config.php"), Path::new("/srv/www"), Some(Path::new("/srv/www")));
    let (config, again) = (of(), of());
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    for name in CONSTANTS {
        match config.optional_constant(name) {
            Ok(found) => {
                assert_eq!(again.optional_constant(name).ok(), Some(found.clone()));
                let Some(found) = found else { continue };
                assert!((1..=lines).contains(&found.line));
                if name == "DB_HOST" {
                    let _ = parse_db_host(&found.value).map(|host| host.address());
                }
            }
            Err(error) => refused(&error),
        }
    }
    match config.table_prefix() {
        Ok(found) => assert!((1..=lines).contains(&found.line)),
        Err(error) => refused(&error),
    }
    config.layout();
}

/// What may be a secret is never shown; what is, is bounded.
fn refused(error: &WpConfigError) {
    assert!(!render(error).is_empty() && error.advice().is_some());
}

/// A schedule: the times that it comes to are ever later, and of whole minutes. The zone stands behind a `|`.
pub fn schedule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (cron, zone) = text.split_once('|').map_or((text, "UTC"), |(cron, zone)| (cron, zone));
    let schedule = match Schedule::parse(cron, Some(zone)) {
        Ok(schedule) => schedule,
        Err(error) => return assert!(!render(&error).is_empty()),
    };
    let mut at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
    for _ in 0..5 {
        let Some(next) = schedule.next_after(at) else { return };
        assert!(next > at && next.as_nanosecond() % 1_000_000_000 == 0, "{next} after {at}");
        at = next;
    }
}
