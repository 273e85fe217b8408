//! Whether a WordPress update is under way. While one is, plugin and theme directories come and go, so a snapshot waits.
//!
//! A single plugin's update doesn't put the site into maintenance mode; but what it unpacks is in wp-content/upgrade all the while.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

/// As `wp_is_maintenance_mode()`: an older `.maintenance` is ignored.
const MAINTENANCE: Duration = Duration::from_secs(10 * 60);

/// What lies longer than this in wp-content/upgrade was left by an update that failed: core removes it only before the next one.
const UNPACKED: Duration = Duration::from_secs(60 * 60);

/// How long core itself respects its locks: `Core_Upgrader` asks for 15 minutes, `WP_Automatic_Updater` for the default hour.
const LOCKS: [(&str, Duration); 2] =
    [("core_updater.lock", Duration::from_secs(15 * 60)), ("auto_updater.lock", Duration::from_secs(60 * 60))];

/// How many entries of wp-content/upgrade are looked at; each package has one.
const ENTRY_LIMIT: usize = 1000;

/// The signs of an update, for one site.
#[derive(Debug, Clone)]
pub struct UpdateGate {
    maintenance: Option<PathBuf>,
    upgrade: PathBuf,
}

impl UpdateGate {
    /// `root` is WordPress's root, where it is known.
    pub fn new(root: Option<&Path>, content_dir: &Path) -> Self {
        Self { maintenance: root.map(|root| root.join(".maintenance")), upgrade: content_dir.join("upgrade") }
    }

    /// What among the files tells that an update is under way at this moment, in words. Reads the file system: blocking.
    pub fn files_signal(&self) -> Option<String> {
        self.files_signal_at(SystemTime::now())
    }

    /// The same at a given time.
    pub fn files_signal_at(&self, now: SystemTime) -> Option<String> {
        self.maintenance_signal(now).or_else(|| self.upgrade_signal(now))
    }

    fn maintenance_signal(&self, now: SystemTime) -> Option<String> {
        let path = self.maintenance.as_deref()?;
        // Not followed, and a regular file only: the tree belongs to WordPress, which may be hacked.
        let metadata = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
        let mut start = String::new();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
        let read = opened.and_then(|file| file.take(4096).read_to_string(&mut start));
        // Without a number in it (`$upgrading = time();` keeps a site closed for good), the file's own age counts.
        let since = read.ok().and_then(|_| upgrading_since(&start)).or_else(|| metadata.modified().ok())?;
        younger(since, MAINTENANCE, now).then(|| format!("{} is there: the site is in maintenance mode", path.display()))
    }

    fn upgrade_signal(&self, now: SystemTime) -> Option<String> {
        let entries = fs::read_dir(&self.upgrade).ok()?.take(ENTRY_LIMIT).filter_map(Result::ok);
        let unpacked = entries.filter(|entry| entry.file_name() != "index.php" && entry.file_name() != ".htaccess");
        let fresh = unpacked.into_iter().find(|entry| {
            let changed = entry.metadata().ok().and_then(|metadata| newest_change(&metadata));
            changed.is_some_and(|changed| younger(changed, UNPACKED, now))
        })?;
        Some(format!("{} was unpacked: a plugin, theme or core update is being installed", fresh.path().display()))
    }

    /// The query for [`UpdateGate::database_signal`]: two columns, name and value.
    pub fn database_signal_sql(prefix: &str) -> String {
        let names = LOCKS.map(|(name, _)| format!("'{name}'")).join(", ");
        format!(
            "SELECT option_name, option_value FROM {} WHERE option_name IN ({names})",
            super::references::table(prefix, "options")
        )
    }

    /// What one row of that query tells, in words. A lock's value is the Unix time at which it was taken.
    pub fn database_signal(name: &[u8], value: &[u8], now: SystemTime) -> Option<String> {
        let (name, lifetime) = LOCKS.into_iter().find(|(lock, _)| lock.as_bytes() == name)?;
        let taken = time(std::str::from_utf8(value).ok()?.trim())?;
        younger(taken, lifetime, now).then(|| format!("WordPress holds its lock {name}: an update is being installed"))
    }
}

/// The number in `<?php $upgrading = 1234567890; ?>`.
fn upgrading_since(source: &str) -> Option<SystemTime> {
    let (_, assigned) = source.split_once("$upgrading")?;
    let number = assigned.trim_start().strip_prefix('=')?.trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    time(number.get(..end)?)
}

fn time(seconds: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))
}

/// The modification time may be an archive's; the change time is always this machine's.
fn newest_change(metadata: &fs::Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt as _;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(metadata.ctime()).ok()?))
}

/// What lies in the future counts as young, as it does for core.
fn younger(since: SystemTime, limit: Duration, now: SystemTime) -> bool {
    now.duration_since(since).map_or(true, |age| age < limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn gate() -> (tempfile::TempDir, UpdateGate) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("wp-content/upgrade")).unwrap();
        let gate = UpdateGate::new(Some(root.path()), &root.path().join("wp-content"));
        (root, gate)
    }

    #[test]
    fn maintenance_mode_lasts_ten_minutes() {
        let (root, gate) = gate();
        assert_eq!(gate.files_signal_at(at(NOW)), None);
        fs::write(root.path().join(".maintenance"), format!("<?php $upgrading = {NOW}; ?>")).unwrap();
        assert!(gate.files_signal_at(at(NOW + 599)).unwrap().contains(".maintenance"));
        assert!(gate.files_signal_at(at(NOW - 5)).is_some());
        assert_eq!(gate.files_signal_at(at(NOW + 600)), None);
    }

    #[test]
    fn a_maintenance_file_without_a_number_counts_by_its_age() {
        let (root, gate) = gate();
        fs::write(root.path().join(".maintenance"), "<?php $upgrading = time(); ?>").unwrap();
        assert!(gate.files_signal().is_some());
        assert_eq!(gate.files_signal_at(SystemTime::now() + Duration::from_secs(601)), None);
    }

    #[test]
    fn what_is_unpacked_tells_unless_it_was_left_behind() {
        let (root, gate) = gate();
        let upgrade = root.path().join("wp-content/upgrade");
        fs::write(upgrade.join("index.php"), "").unwrap();
        assert_eq!(gate.files_signal(), None);
        fs::create_dir(upgrade.join("akismet.5.3-AbCdEf")).unwrap();
        assert!(gate.files_signal().unwrap().contains("akismet.5.3-AbCdEf"));
        assert_eq!(gate.files_signal_at(SystemTime::now() + Duration::from_secs(3601)), None);
        fs::remove_dir_all(&upgrade).unwrap();
        assert_eq!(gate.files_signal(), None);
    }

    #[test]
    fn locks_hold_as_long_as_for_core() {
        let signal =
            |name: &str, value: &str, now| UpdateGate::database_signal(name.as_bytes(), value.as_bytes(), at(now)).is_some();
        let taken = NOW.to_string();
        assert!(signal("core_updater.lock", &taken, NOW + 899));
        assert!(!signal("core_updater.lock", &taken, NOW + 900));
        assert!(signal("auto_updater.lock", &taken, NOW + 3599));
        assert!(!signal("auto_updater.lock", &taken, NOW + 3600));
        assert!(!signal("another.lock", &taken, NOW));
        assert!(!signal("auto_updater.lock", "not a time", NOW));
        assert!(!signal("auto_updater.lock", "99999999999999999999", NOW));
        assert_eq!(
            UpdateGate::database_signal_sql("wp_"),
            "SELECT option_name, option_value FROM `wp_options` WHERE option_name IN ('core_updater.lock', 'auto_updater.lock')"
        );
    }
}
