//! What of wp-content is left out, by name.
//!
//! One language for the defaults and the owner's own patterns: globs on bytes, relative to wp-content, where `*` and `?`
//! stop at a slash and `**` doesn't. A pattern with a slash anywhere is anchored at wp-content; one without matches the
//! name at any depth. A slash at its end restricts it to directories. So `cache/` is wp-content/cache alone, and never a
//! plugin's vendor/symfony/cache.

use globset::{Candidate, GlobBuilder, GlobSet};

use super::error::FilesError;
use super::scope::{ANOTHER_DIRECTORY, MAY_HOLD_SECRETS, Scope};

/// An exclude rule that applies unless the site's configuration turns the defaults off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRule {
    /// The pattern. One without a slash at its end is for files only.
    pub pattern: &'static str,
    /// Why nobody misses it.
    pub reason: &'static str,
}

const fn rule(pattern: &'static str, reason: &'static str) -> DefaultRule {
    DefaultRule { pattern, reason }
}

const PAGES: &str = "a page or asset cache, made again on demand";
const UPDATES: &str = "where an update unpacks and keeps the old version while it runs";
const ARCHIVES: &str = "another tool's archives: a backup of backups";
const WAF: &str = "a firewall's state, rewritten all the time and made again; holds attack data";
const LOGS: &str = "a log without bound, which may hold secrets";
const JUNK: &str = "transient, or an operating system's litter";

/// The default rules. Not among them, though on popular lists: `w3tc-config/`, `wp-rocket-config/` and `breeze-config/`
/// (the drop-ins need them), `cache` or `vendor` at any depth (code), `node_modules` (some plugins serve it), thumbnails
/// (pages refer to them).
pub const DEFAULTS: &[DefaultRule] = &[
    rule("cache/", PAGES),
    rule("litespeed/", PAGES),
    rule("et-cache/", PAGES),
    rule("w3tc/", PAGES),
    rule("endurance-page-cache/", PAGES),
    rule("swift-performance/", PAGES),
    rule("uploads/cache/", PAGES),
    rule("upgrade/", UPDATES),
    rule("upgrade-temp-backup/", UPDATES),
    rule("updraft/", ARCHIVES),
    rule("ai1wm-backups/", ARCHIVES),
    rule("backups-dup-lite/", ARCHIVES),
    rule("backups-dup-pro/", ARCHIVES),
    rule("wpvividbackups/", ARCHIVES),
    rule("backup-db/", ARCHIVES),
    rule("backups/", ARCHIVES),
    rule("managewp/backups/", ARCHIVES),
    rule("uploads/backwpup*/", ARCHIVES),
    rule("uploads/backupbuddy_*/", ARCHIVES),
    rule("uploads/snapshots/", ARCHIVES),
    rule("wp-clone/", ARCHIVES),
    rule("backwpup-restore/", ARCHIVES),
    rule("uploads/wp-migrate-db/", ARCHIVES),
    rule("/mysql.sql", "a stray dump of the database"),
    rule("wflogs/", WAF),
    rule("/debug.log", LOGS),
    rule("error_log", LOGS),
    rule("uploads/wc-logs/", LOGS),
    rule("uploads/ithemes-security/logs/", LOGS),
    rule("uploads/ithemes-security/backups/", ARCHIVES),
    rule("*.tmp", JUNK),
    rule("*.part", JUNK),
    rule(".nfs*", JUNK),
    rule(".DS_Store", JUNK),
    rule("Thumbs.db", JUNK),
];

/// A file of this name in a directory asks every backup to leave the directory out.
pub(super) const DO_NOT_BACK_UP: &[u8] = b".donotbackup";
/// A file of this name, beginning with the signature, marks a cache (bford.info/cachedir).
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// The rule by which a file system of the kernel's own (/proc, /sys) is left out. It can't be turned off.
pub(super) const KERNEL: &str = "kernel";
/// How a valid `CACHEDIR.TAG` begins.
pub(super) const CACHE_TAG_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The rules of one site.
#[derive(Debug)]
pub struct Rules {
    globs: GlobSet,
    /// In the order of the globs.
    rules: Vec<Rule>,
    markers: bool,
    scope: Scope,
}

#[derive(Debug)]
struct Rule {
    /// Where it is from and its pattern, for findings.
    name: String,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Anything,
    Directories,
    Files,
}

impl Rules {
    /// The owner's own patterns, and with `defaults` the vetted ones ([`DEFAULTS`]) and the markers that a directory can
    /// hold: `.donotbackup`, and a `CACHEDIR.TAG` with the right signature.
    ///
    /// # Errors
    /// [`FilesError::Exclude`] and [`FilesError::EmptyExclude`] for an owner's pattern that can't be used.
    pub fn new(defaults: bool, own: &[String]) -> Result<Self, FilesError> {
        Self::within(defaults, own, Scope::Content)
    }

    /// The same for another tree than wp-content.
    ///
    /// # Errors
    /// As [`Rules::new`].
    pub fn within(defaults: bool, own: &[String], scope: Scope) -> Result<Self, FilesError> {
        // The owner's patterns are relative to wp-content.
        let own = if matches!(scope, Scope::Root { .. }) { &[] } else { own };
        let mut set = GlobSet::builder();
        let mut rules = Vec::new();
        let vetted = if defaults { DEFAULTS } else { &[] };
        let vetted = vetted.iter().map(|rule| ("default", rule.pattern, Of::Files));
        for (origin, pattern, of) in own.iter().map(|pattern| ("own", pattern.as_str(), Of::Anything)).chain(vetted) {
            let bad = |source| FilesError::Exclude { pattern: pattern.to_owned(), source };
            let anchored = pattern.contains('/');
            let (path, of) = match pattern.strip_suffix('/') {
                Some(path) => (path, Of::Directories),
                None => (pattern, of),
            };
            let path = path.trim_start_matches('/');
            if path.is_empty() {
                return Err(FilesError::EmptyExclude { pattern: pattern.to_owned() });
            }
            let glob = if anchored { path.to_owned() } else { format!("**/{path}") };
            set.add(GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build().map_err(bad)?);
            rules.push(Rule { name: format!("{origin}:{pattern}"), of });
        }
        let globs = set.build().map_err(|source| FilesError::Exclude { pattern: own.join(" "), source })?;
        Ok(Self { globs, rules, markers: defaults, scope })
    }

    /// The rule that leaves this path out, the owner's before the defaults: `own:*.mp4`, `default:cache/`. What is below
    /// a directory that is left out isn't asked for. The root (the empty path) is never left out.
    pub fn decide(&self, rel: &[u8], is_dir: bool) -> Option<&str> {
        if rel.is_empty() {
            return None;
        }
        if let Some(rule) = self.scope.leaves_out(rel, is_dir) {
            return Some(rule);
        }
        let within = self.scope.in_content(rel);
        self.globs
            .matches_candidate(&Candidate::from_bytes(&within))
            .into_iter()
            .filter_map(|at| self.rules.get(at))
            .find(|rule| match rule.of {
                Of::Anything => true,
                Of::Directories => is_dir,
                Of::Files => !is_dir,
            })
            .map(|rule| rule.name.as_str())
    }

    /// Whether this path is no part of the tree, whatever the patterns say.
    pub(super) fn leaves_out(&self, rel: &[u8], is_dir: bool) -> bool {
        self.scope.leaves_out(rel, is_dir).is_some()
    }

    /// Whether the rule says what belongs to a tree at all, rather than what of it nobody misses.
    pub fn is_of_the_tree(rule: &str) -> bool {
        matches!(rule, ANOTHER_DIRECTORY | MAY_HOLD_SECRETS | KERNEL)
    }

    /// A rule as it may be told in public: an owner's pattern is a name, so it is told by its number in the configuration,
    /// `own:1`. All others are told as [`Rules::decide`] tells them.
    pub fn public_name(&self, rule: &str) -> String {
        let own = self.rules.iter().filter(|r| r.name.starts_with("own:")).position(|r| r.name == rule);
        own.map_or_else(|| rule.to_owned(), |at| format!("own:{}", at + 1))
    }

    /// Whether directories may mark themselves as left out.
    pub(super) fn markers(&self) -> bool {
        self.markers
    }
}

/// Why a rule leaves things out, for a person.
pub fn reason(rule: &str) -> &'static str {
    if let Some(pattern) = rule.strip_prefix("default:") {
        return DEFAULTS.iter().find(|rule| rule.pattern == pattern).map_or("", |rule| rule.reason);
    }
    match rule {
        ANOTHER_DIRECTORY => "of the root's directories only wp-admin, wp-includes and .well-known are captured",
        MAY_HOLD_SECRETS => "it may hold secrets: `include_wp_config` in the site's configuration captures it",
        KERNEL => "a file system of the kernel's own, which holds no data of anyone's",
        "marker:.donotbackup" => "a .donotbackup in a directory asks every backup to leave it out",
        "marker:CACHEDIR.TAG" => "a CACHEDIR.TAG marks a directory as a cache",
        _ => "`exclude` in the site's configuration",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(patterns: &[&str]) -> Rules {
        Rules::new(false, &patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_defaults_take_what_nobody_misses() {
        let rules = Rules::new(true, &[]).unwrap();
        let dirs = [
            ("cache", "default:cache/"),
            ("upgrade-temp-backup", "default:upgrade-temp-backup/"),
            ("updraft", "default:updraft/"),
            ("managewp/backups", "default:managewp/backups/"),
            ("uploads/backwpup-8c1f-backups", "default:uploads/backwpup*/"),
            ("uploads/wc-logs", "default:uploads/wc-logs/"),
        ];
        for (path, rule) in dirs {
            assert_eq!(rules.decide(path.as_bytes(), true), Some(rule), "{path}");
            assert_eq!(rules.decide(path.as_bytes(), false), None, "a file {path}");
        }
        let files = [
            ("debug.log", "default:/debug.log"),
            ("plugins/a/error_log", "default:error_log"),
            ("uploads/2024/01/a.jpg.part", "default:*.part"),
            ("uploads/.nfs0000001", "default:.nfs*"),
        ];
        for (path, rule) in files {
            assert_eq!(rules.decide(path.as_bytes(), false), Some(rule), "{path}");
            assert_eq!(rules.decide(path.as_bytes(), true), None, "a directory {path}");
        }
        assert_eq!(rules.decide(b"uploads/\xff\xfe.tmp", false), Some("default:*.tmp"));
    }

    #[test]
    fn the_defaults_leave_what_a_site_needs() {
        let rules = Rules::new(true, &[]).unwrap();
        for dir in [
            "",
            "w3tc-config",
            "wp-rocket-config",
            "breeze-config",
            "uploads",
            "plugins/a/cache",
            "plugins/a/vendor",
            "plugins/a/vendor/symfony/cache",
            "themes/b/backups",
            "plugins/a/node_modules",
            "uploads/2024/01",
            "plugins/updraft",
        ] {
            assert_eq!(rules.decide(dir.as_bytes(), true), None, "{dir}");
        }
        for file in ["object-cache.php", "plugins/a/debug.log", "uploads/a-150x150.jpg", "plugins/a/mysql.sql"] {
            assert_eq!(rules.decide(file.as_bytes(), false), None, "{file}");
        }
    }

    /// One example of each row of the vetted table, so that none goes lost.
    #[test]
    fn every_default_takes_what_it_is_for() {
        let rules = Rules::new(true, &[]).unwrap();
        let dirs = "cache litespeed et-cache w3tc endurance-page-cache swift-performance uploads/cache upgrade \
            upgrade-temp-backup updraft ai1wm-backups backups-dup-lite backups-dup-pro wpvividbackups backup-db backups \
            managewp/backups uploads/backwpup-1a2b-backups uploads/backupbuddy_temp uploads/snapshots wp-clone \
            backwpup-restore uploads/wp-migrate-db wflogs uploads/wc-logs uploads/ithemes-security/logs \
            uploads/ithemes-security/backups";
        let files = "mysql.sql debug.log error_log plugins/a/error_log a.tmp x/.nfs01 x/a.part x/.DS_Store x/Thumbs.db";
        let mut used = std::collections::BTreeSet::new();
        let all = dirs.split_whitespace().map(|path| (path, true)).chain(files.split_whitespace().map(|path| (path, false)));
        for (path, is_dir) in all {
            let rule = rules.decide(path.as_bytes(), is_dir).unwrap_or_else(|| panic!("{path} is not left out"));
            assert!(!reason(rule).is_empty(), "{rule}");
            used.insert(rule);
        }
        assert_eq!(used.len(), DEFAULTS.len());
    }

    #[test]
    fn an_own_pattern_is_no_ones_business() {
        let rules = Rules::new(true, &["/secret-project/".to_owned(), "*.mp4".to_owned()]).unwrap();
        assert_eq!(rules.public_name("own:/secret-project/"), "own:1");
        assert_eq!(rules.public_name("own:*.mp4"), "own:2");
        assert_eq!(rules.public_name("default:cache/"), "default:cache/");
        assert_eq!(rules.public_name("marker:.donotbackup"), "marker:.donotbackup");
    }

    #[test]
    fn the_owners_patterns() {
        let rules = own(&["*.mp4", "/top.txt", "uploads/raw/", "node_modules", "a/**/z", "b?c"]);
        assert_eq!(rules.decide(b"uploads/2024/film.mp4", false), Some("own:*.mp4"));
        assert_eq!(rules.decide(b"\xff/\xfe.mp4", false), Some("own:*.mp4"));
        assert_eq!(rules.decide(b"top.txt", false), Some("own:/top.txt"));
        assert_eq!(rules.decide(b"x/top.txt", false), None);
        assert_eq!(rules.decide(b"uploads/raw", true), Some("own:uploads/raw/"));
        assert_eq!(rules.decide(b"uploads/raw", false), None);
        assert_eq!(rules.decide(b"x/uploads/raw", true), None);
        assert_eq!(rules.decide(b"plugins/a/node_modules", true), Some("own:node_modules"));
        assert_eq!(rules.decide(b"a/b/c/z", false), Some("own:a/**/z"));
        assert_eq!(rules.decide(b"b/c", false), None);
        assert_eq!(rules.decide(b"cache", true), None, "defaults are off");
    }

    #[test]
    fn an_own_rule_is_named_before_a_default() {
        let rules = Rules::new(true, &["cache".to_owned()]).unwrap();
        assert_eq!(rules.decide(b"cache", true), Some("own:cache"));
    }

    #[test]
    fn in_a_tree_of_elsewhere_the_patterns_of_wp_content_hold() {
        let rules = Rules::within(true, &["uploads/big/".to_owned()], Scope::Elsewhere("uploads")).unwrap();
        assert_eq!(rules.decide(b"big", true), Some("own:uploads/big/"));
        assert_eq!(rules.decide(b"cache", true), Some("default:uploads/cache/"));
        assert_eq!(rules.decide(b"2024", true), None);
        let root = Rules::within(true, &["*.php".to_owned()], Scope::Root { secrets: false }).unwrap();
        assert_eq!(root.decide(b"index.php", false), None);
        assert_eq!(root.decide(b"wp-config.php", false), Some("root:it may hold secrets"));
        assert_eq!(root.decide(b"error_log", false), Some("default:error_log"));
    }

    #[test]
    fn patterns_that_cannot_be_used() {
        use crate::error::{Exit, Explain};
        for pattern in ["[", "", "/", "//"] {
            let error = Rules::new(true, &[pattern.to_owned()]).unwrap_err();
            assert_eq!(error.exit(), Exit::Config, "{pattern:?}");
        }
    }
}
