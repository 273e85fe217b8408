use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;

use super::raw::RawConfig;
use super::*;
use crate::error::{Exit, Explain as _, render};

const STORE: &str = "[store]\nurl = \"file:///srv/backups\"\n";
const DATABASE: &str = "[site.database]\nsocket = \"/run/x.sock\"\nuser = \"u\"\nname = \"n\"\n";

/// A configuration of one site that leaves nothing to wp-config.php.
fn one_site(lines: &str, database: &str) -> String {
    format!("{STORE}[[site]]\nname = \"blog\"\ncontent_dir = \"/srv/content\"\n{lines}\n{database}")
}

fn site_of(text: &str) -> SiteSettings {
    parse(text, Path::new("c.toml")).unwrap_or_else(|error| panic!("{}", render(&error))).sites.remove(0)
}

fn refused(text: &str) -> String {
    let error = parse(text, Path::new("c.toml")).map(|_| ()).unwrap_err();
    assert_eq!(error.exit(), Exit::Config);
    assert!(error.advice().is_some_and(|advice| !advice.is_empty()), "no advice: {error}");
    render(&error)
}

fn secret_file(mode: u32, content: &[u8]) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

#[test]
fn what_is_left_out_has_its_default() {
    let settings = parse(&one_site("", DATABASE), Path::new("c.toml")).unwrap();
    assert_eq!(settings.daemon.socket, Path::new("/run/wp-backup-agent/control.sock"));
    assert_eq!(settings.daemon.state, Path::new("/var/lib/wp-backup-agent"));
    let site = &settings.sites[0];
    assert_eq!((site.table_prefix.as_str(), &site.schedule, site.default_excludes), ("wp_", &None, true));
    assert_eq!(site.update_wait, Duration::from_secs(600));
    assert_eq!(site.database.address, Address::Socket("/run/x.sock".into()));
    assert_eq!((site.database.password.reveal(), &site.database.tls), ("", &Tls::Off));
}

#[test]
fn a_store_in_what_is_captured_is_refused() {
    let fine = one_site("uploads_dir = \"/srv/files\"", DATABASE);
    assert_eq!(site_of(&fine).trees.len(), 1);
    for (store, tree) in [("/srv/content", "wp-content"), ("/srv/content/x/y", "wp-content"), ("/srv/files/store", "uploads")] {
        let told = refused(&fine.replace("file:///srv/backups", &format!("file://{store}")));
        assert!(told.contains("the store") && told.contains(&format!("inside {tree}")), "{told}");
    }
    let root = one_site("path = \"/srv/www\"\ntable_prefix = \"wp_\"", DATABASE);
    assert!(refused(&root.replace("file:///srv/backups", "file:///srv/www/wp-admin/b")).contains("inside root"));
    assert_eq!(site_of(&root.replace("file:///srv/backups", "file:///srv/www/backups")).trees.len(), 1);
    let state = format!("[daemon]\nstate = \"/srv/files/state\"\n{fine}");
    assert!(refused(&state).contains("the local state"));
}

#[test]
fn what_is_given_holds() {
    let lines = "schedule = \"30 2 * * 1-5\"\ntime_zone = \"UTC\"\nexclude = [\"uploads/big/\", \"**/*.iso\"]\n\
                 default_excludes = false\nupdate_wait = \"1h 30m\"\ntable_prefix = \"x_\"";
    let site = site_of(&one_site(lines, DATABASE));
    assert_eq!((site.schedule.as_deref(), site.time_zone.as_deref()), (Some("30 2 * * 1-5"), Some("UTC")));
    assert_eq!((site.exclude.len(), site.default_excludes, site.update_wait), (2, false, Duration::from_secs(5400)));
    assert_eq!(site.table_prefix, "x_");
}

#[test]
fn how_the_database_is_dumped() {
    let dump = |lines: &str| site_of(&one_site("", &format!("{DATABASE}\n{lines}"))).database.dump;
    assert_eq!(dump(""), DumpSettings::default());
    let lines = "connections = 4\nlock_wait = \"5s\"\nstore_wait = \"10m\"\nspool_mib = 100\nexclude_tables = [\"wp_*_log\"]\nstructure_only = [\"wp_sessions\"]";
    let expected = DumpSettings {
        connections: 4,
        lock_wait: Duration::from_secs(5),
        store_wait: Duration::from_secs(600),
        spool: 100 << 20,
        exclude_tables: vec!["wp_*_log".into()],
        structure_only: vec!["wp_sessions".into()],
    };
    assert_eq!(dump(lines), expected);
    for (line, part) in [
        ("connections = 0", "from 1 to 16"),
        ("lock_wait = \"10ms\"", "from 1 to 60 seconds"),
        ("spool_mib = 1", "from 64"),
        ("exclude_tables = [\"a[\"]", "not a pattern"),
    ] {
        let error = refused(&one_site("", &format!("{DATABASE}\n{line}")));
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn stores() {
    let store = |lines: &str| {
        let text = one_site("", DATABASE).replace("url = \"file:///srv/backups\"", lines);
        parse(&text, Path::new("c.toml")).map(|settings| settings.store).map_err(|error| render(&error))
    };
    let Ok(StoreSettings::S3(s3)) = store("url = \"s3://my-bucket/a/b/\"\nregion = \"eu-central-1\"") else { panic!() };
    assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), s3.region.as_deref()), ("my-bucket", "a/b", Some("eu-central-1")));
    assert!(matches!(s3.credentials, Credentials::Chain));
    let (_directory, path) = secret_file(0o600, b"s3cr3t\n");
    let keys = format!("url = \"s3://my-bucket\"\naccess_key_id = \"id\"\nsecret_access_key_file = \"{path}\"");
    let Ok(StoreSettings::S3(s3)) = store(&keys) else { panic!() };
    assert!(matches!(s3.credentials, Credentials::Keys { secret, .. } if secret.reveal() == "s3cr3t"));
    for (lines, mode) in [("", LockMode::Governance), ("object_lock_mode = \"compliance\"", LockMode::Compliance)] {
        let locked = store(&format!("url = \"s3://bucket\"\nobject_lock_days = 30\n{lines}")).unwrap();
        assert!(matches!(locked, StoreSettings::S3(s3) if s3.object_lock == Some(ObjectLock { days: 30, mode })));
    }
    for (lines, part) in [
        ("url = \"https://x/y\"", "neither s3:// nor file://"),
        ("url = \"s3://UPPER\"", "bucket's name"),
        ("url = \"s3://bucket/a/../b\"", "prefix"),
        ("url = \"file://srv\"", "three slashes"),
        ("url = \"file:///srv\"\nregion = \"x\"", "store.region: has no meaning"),
        ("url = \"s3://bucket\"\nendpoint = \"host:9000\"", "store.endpoint: not a URL"),
        ("url = \"s3://bucket\"\naccess_key_id = \"id\"", "without a secret"),
        ("url = 5", "store.url: invalid type"),
        ("url = \"s3://bucket\"\nobject_lock_days = 0", "store.object_lock_days: 0 is not"),
        ("url = \"s3://bucket\"\nobject_lock_days = 3651", "from 1 to 3650"),
        ("url = \"s3://bucket\"\nobject_lock_mode = \"compliance\"", "without a number of days"),
        ("url = \"s3://bucket\"\nobject_lock_days = 1\nobject_lock_mode = \"hard\"", "store.object_lock_mode"),
        ("url = \"file:///srv\"\nobject_lock_days = 30", "store.object_lock_days: has no meaning"),
        ("url = \"file:///srv\"\nobject_lock_mode = \"governance\"", "store.object_lock_mode: has no meaning"),
    ] {
        let error = store(lines).unwrap_err();
        assert!(error.contains(part), "{lines}: {error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_a_suggestion() {
    let error = refused(&one_site("shedule = \"30 2 * * *\"", DATABASE));
    assert!(error.starts_with("c.toml, line 6: site.shedule: there is no such key"), "{error}");
    assert!(error.contains("did you mean `schedule`?"), "{error}");
    assert!(refused("[stor]\nurl = \"\"").contains("did you mean `store`?"));
    assert!(refused(&one_site("", "[site.database]\nhots = \"x\"")).contains("did you mean `host`?"));
    assert!(refused(&one_site("colour = 1", DATABASE)).contains("docs/CONFIGURATION.md"));
}

#[test]
fn a_secret_in_the_configuration_is_refused_and_not_repeated() {
    let error = refused(&one_site("", "[site.database]\npassword = \"hunter2\""));
    assert!(error.contains("password_file") && !error.contains("hunter2"), "{error}");
    let error = refused(&format!("{STORE}secret_access_key = \"hunter2\""));
    assert!(error.contains("secret_access_key_file") && !error.contains("hunter2"), "{error}");
}

#[test]
fn wrong_values_are_named_with_line_and_reason() {
    for (lines, part) in [
        ("schedule = \"61 2 * * *\"", "line 6: site.schedule"),
        ("schedule = \"30 2 * *\"", "has 4 fields"),
        ("schedule = \"30 2 * * *\"\ntime_zone = \"Mars/Olympus\"", "line 7: site.time_zone"),
        ("time_zone = \"UTC\"", "without a schedule"),
        ("update_wait = \"soon\"", "not a time to wait"),
        ("update_wait = \"-5m\"", "not a time to wait"),
        ("exclude = [\"/etc\"]", "names nothing below wp-content"),
        ("exclude = [\"a/../../b\"]", "names nothing below wp-content"),
        ("exclude = [\"a[\"]", "not a pattern"),
        ("table_prefix = \"a`b\"", "table prefix"),
        ("path = \"var/www\"", "site.path: \"var/www\" is not an absolute path"),
        ("default_excludes = 1", "site.default_excludes: invalid type"),
    ] {
        let error = refused_even_without_advice(&one_site(lines, DATABASE));
        assert!(error.contains(part), "{lines}: {error}");
    }
}

fn refused_even_without_advice(text: &str) -> String {
    render(&parse(text, Path::new("c.toml")).map(|_| ()).unwrap_err())
}

#[test]
fn database_connections() {
    let database = |lines: &str| {
        let text = one_site("", &format!("[site.database]\nname = \"n\"\nuser = \"u\"\n{lines}"));
        parse(&text, Path::new("c.toml")).map(|mut settings| settings.sites.remove(0).database).map_err(|error| render(&error))
    };
    let remote = database("host = \"db.example.com\"").unwrap();
    assert_eq!(remote.address, Address::Tcp { host: "db.example.com".into(), port: 3306 });
    assert_eq!(remote.tls, Tls::Required { ca_file: None });
    assert_eq!(database("host = \"[::1]\"\nport = 3307").unwrap().tls, Tls::Off);
    assert_eq!(database("host = \"db\"\ntls = \"off\"").unwrap().tls, Tls::Off);
    let checked = database("host = \"127.0.0.1\"\ntls = \"required\"\nca_file = \"/ca.pem\"").unwrap();
    assert_eq!(checked.tls, Tls::Required { ca_file: Some("/ca.pem".into()) });
    for (lines, part) in [
        ("socket = \"/a\"\nhost = \"b\"", "site.database.host: given, and so is site.database.socket"),
        ("port = 3306", "without a host"),
        ("host = \"db:3306\"", "not a host"),
        ("host = \"db\"\nport = 70000", "site.database.port: "),
        ("socket = \"/a\"\ntls = \"required\"", "a socket has no TLS"),
        ("host = \"db\"\ntls = \"off\"\nca_file = \"/ca.pem\"", "TLS is off"),
        ("host = \"db\"\ntls = \"maybe\"", "site.database.tls: "),
        ("", "site.database.address: missing for site blog"),
    ] {
        let error = database(lines).unwrap_err();
        assert!(error.contains(part), "{lines}: {error}");
    }
}

#[test]
fn secrets_come_from_files_that_others_cannot_read() {
    let password = |mode, content: &[u8]| {
        let (_directory, path) = secret_file(mode, content);
        let text = one_site("", &format!("{DATABASE}password_file = \"{path}\""));
        parse(&text, Path::new("c.toml"))
            .map(|mut settings| settings.sites.remove(0).database.password.reveal().to_owned())
            .map_err(|error| render(&error))
    };
    assert_eq!(password(0o600, b"hunter2\n"), Ok("hunter2".to_owned()));
    assert_eq!(password(0o640, b" hunter2 \r\n"), Ok(" hunter2 ".to_owned()));
    assert_eq!(password(0o600, b"two\nlines\n\n"), Ok("two\nlines\n".to_owned()));
    for (mode, content, part) in [
        (0o644, b"hunter2" as &[u8], "every user of this machine"),
        (0o602, b"hunter2", "every user of this machine"),
        (0o600, b"\n", "is empty"),
        (0o600, b"\xff", "is not UTF-8"),
    ] {
        let error = password(mode, content).unwrap_err();
        assert!(error.contains(part) && error.contains("site.database.password_file") && !error.contains("hunter2"), "{error}");
    }
    assert!(refused(&one_site("", &format!("{DATABASE}password_file = \"/nowhere/x\""))).contains("/nowhere/x can't be read"));
    assert!(refused(&one_site("", &format!("{DATABASE}password_file = \"x\""))).contains("not an absolute path"));
    assert!(refused(&one_site("", &format!("{DATABASE}password_file = \"/tmp\""))).contains("is not a regular file"));
}

#[test]
fn secrets_come_from_systemd() {
    let (directory, _) = secret_file(0o400, b"hunter2\n");
    let text = one_site("", &format!("{DATABASE}password_credential = \"secret\""));
    let (settings, _) = parse_with_origins(&text, Path::new("c.toml"), Some(directory.path())).unwrap();
    assert_eq!(settings.sites[0].database.password.reveal(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(refused(&text).contains("LoadCredential"));
    let text = one_site("", &format!("{DATABASE}password_credential = \"../secret\""));
    assert!(refused(&text).contains("not the name of a systemd credential"));
    let text = one_site("", &format!("{DATABASE}password_credential = \"a\"\npassword_file = \"/b\""));
    assert!(refused(&text).contains("give one of them"));
}

#[test]
fn sites_have_their_own_names() {
    let twice = one_site("", DATABASE) + &one_site("", DATABASE).replace(STORE, "");
    assert!(refused(&twice).contains("there are two sites named blog"));
    assert!(refused(&one_site("", DATABASE).replace("\"blog\"", "\"My Blog\"")).contains("can't be a site's name"));
    assert!(refused(STORE).contains("there is no [[site]]"));
    assert!(refused(&format!("{STORE}[[site]]\npath = \"/x\"")).contains("`name` is missing"));
}

/// A WordPress root with a wp-config.php, and a configuration that names it.
fn wordpress(wp_config: &str, lines: &str) -> (TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("wp-config.php"), wp_config).unwrap();
    let text = format!("{STORE}[[site]]\nname = \"blog\"\npath = {:?}\n{lines}", root.path().display().to_string());
    (root, text)
}

const WP_CONFIG: &str = "<?php\ndefine('DB_NAME', 'blog');\ndefine('DB_USER', 'wp');\ndefine('DB_PASSWORD', 'hunter2');\n\
                         define('DB_HOST', '127.0.0.1:3307');\n$table_prefix = 'wpx_';\n";

#[test]
fn the_rest_is_taken_from_wp_config() {
    let (root, text) = wordpress(WP_CONFIG, "");
    let (settings, origins) = parse_with_origins(&text, Path::new("c.toml"), None).unwrap();
    let site = &settings.sites[0];
    assert_eq!(site.content_dir, root.path().join("wp-content"));
    assert_eq!(site.table_prefix, "wpx_");
    let database = &site.database;
    assert_eq!(database.address, Address::Tcp { host: "127.0.0.1".into(), port: 3307 });
    assert_eq!((database.name.as_str(), database.user.as_str(), database.password.reveal()), ("blog", "wp", "hunter2"));
    let of = |key| origins.of(Some(&site.name), key);
    assert_eq!(of("site.database.user"), Origin::WpConfig { path: root.path().join("wp-config.php"), line: 3 });
    assert_eq!(of("site.path"), Origin::Given { line: 5 });
    assert_eq!(of("site.content_dir"), Origin::Default);
}

#[test]
fn a_user_of_the_configuration_does_not_get_the_password_of_wp_config() {
    let (_root, text) = wordpress(WP_CONFIG, "[site.database]\nuser = \"wp_backup\"");
    let database = site_of(&text).database;
    assert_eq!((database.user.as_str(), database.password.reveal(), database.name.as_str()), ("wp_backup", "", "blog"));
}

#[test]
fn what_wp_config_does_not_tell_is_asked_for() {
    let (_root, text) = wordpress(&WP_CONFIG.replace("'wp'", "getenv('WP_USER')"), "");
    let error = refused(&text);
    assert!(error.contains("site.database.user of site blog") && error.contains("getenv('WP_USER')"), "{error}");
    assert!(error.contains("user and password_file in [site.database]"), "{error}");
    let (_root, text) = wordpress(&WP_CONFIG.replace("'wpx_'", "'a`b'"), "");
    assert!(refused(&text).contains("table prefix"));
    let (_root, text) = wordpress(&format!("{WP_CONFIG} define('WP_CONTENT_DIR', 'relative');"), "");
    assert!(refused(&text).contains("WP_CONTENT_DIR is not an absolute path"));
    let (root, text) = wordpress(WP_CONFIG, "");
    fs::remove_file(root.path().join("wp-config.php")).unwrap();
    assert!(refused(&text).contains("there is no wp-config.php"));
    assert!(refused(&format!("{STORE}[[site]]\nname = \"x\"")).contains("site.path: missing for site x"));
}

#[test]
fn wp_config_is_not_read_when_nothing_is_left_to_it() {
    let (root, text) = wordpress(WP_CONFIG, &format!("content_dir = \"/c\"\ntable_prefix = \"p_\"\n{DATABASE}"));
    fs::remove_file(root.path().join("wp-config.php")).unwrap();
    assert_eq!(site_of(&text).table_prefix, "p_");
}

#[test]
fn bedrocks_content_is_not_cores() {
    let source = "<?php require_once dirname(__DIR__) . '/config/application.php';";
    let (_root, text) = wordpress(source, &format!("table_prefix = \"wp_\"\n{DATABASE}"));
    let error = refused(&text);
    assert!(error.contains("WP_CONTENT_DIR") && error.contains("Bedrock"), "{error}");
}

#[test]
fn wp_config_may_be_elsewhere() {
    let (root, text) = wordpress("", "");
    let elsewhere = root.path().join("config-blog.php");
    fs::write(&elsewhere, WP_CONFIG).unwrap();
    let site = site_of(&format!("{text}wp_config = {:?}", elsewhere.display().to_string()));
    assert_eq!(site.database.name, "blog");
}

#[test]
fn a_file_that_is_not_there_says_where_the_example_is() {
    let error = load(Path::new("/nowhere/config.toml")).map(|_| ()).unwrap_err();
    assert_eq!(error.exit(), Exit::Config);
    assert!(render(&error).contains("config.example.toml"));
    assert!(refused_even_without_advice("[store\n").starts_with("c.toml, line 1"));
}

/// The example with every commented setting in effect.
fn whole_example() -> String {
    let setting =
        |line: &str| line.split(" = ").next().is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let lines = include_str!("../../config.example.toml").lines();
    let uncommented = lines.map(|line| {
        line.strip_prefix('#').filter(|rest| (rest.contains(" = ") && setting(rest)) || rest.starts_with('[')).unwrap_or(line)
    });
    uncommented.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_complete_and_so_are_the_docs() {
    let raw: RawConfig = toml::from_str(&whole_example()).unwrap();
    // Every field shows in the derived `Debug`; one that the example leaves out would be `None`.
    let shown = format!("{raw:?}");
    assert!(!shown.contains("None"), "{shown}");
    let docs = include_str!("../../docs/CONFIGURATION.md");
    for line in whole_example().lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, _)) = line.split_once(" = ") {
            assert!(docs.contains(&format!("`{key}`")), "docs/CONFIGURATION.md lacks `{key}`");
        }
    }
}

#[test]
fn the_example_as_it_stands_is_a_configuration() {
    let (root, _) = wordpress(WP_CONFIG, "");
    let text = include_str!("../../config.example.toml").replace("/var/www/html", &root.path().display().to_string());
    let settings = parse(&text, Path::new("config.example.toml")).unwrap_or_else(|error| panic!("{}", render(&error)));
    assert_eq!(settings.sites[0].schedule.as_deref(), Some("30 2 * * *"));
}

const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

#[test]
fn recipients_are_taken_from_the_configuration_and_from_a_file() {
    let plain = one_site("", DATABASE);
    let made = NewIdentity::generate();
    let (_directory, file) = secret_file(0o644, format!("# the office\n\n{}\n", made.recipient()).as_bytes());
    let text = format!("[encryption]\nrecipients = [\"{RECIPIENT}\", \"{RECIPIENT}\"]\nrecipients_file = {file:?}\n{plain}");
    let site = site_of(&text);
    let mut both = [RECIPIENT.to_owned(), made.recipient().to_owned()];
    both.sort();
    assert_eq!(site.recipients.texts(), both);
    // What holds secrets is captured where it is sealed, unless the owner says otherwise.
    assert!(site.include_wp_config && !site_of(&plain).include_wp_config);
    assert!(!site_of(&text.replace("name = \"blog\"", "name = \"blog\"\ninclude_wp_config = false")).include_wp_config);
}

#[test]
fn what_is_no_recipient_is_refused() {
    let refused_with = |lines: &str| refused(&format!("[encryption]\n{lines}\n{}", one_site("", DATABASE)));
    for (lines, told) in [
        ("recipients = []".to_owned(), "nothing would be encrypted"),
        ("recipients = [\"ssh-ed25519 AAAA\"]".to_owned(), "not an age recipient"),
        (format!("recipients = [\"{}\"]", RECIPIENT.replace("t7", "t8")), "not an age recipient"),
        ("recipients_file = \"/nonexistent/file\"".to_owned(), "can't be read"),
        ("recipients_file = \"relative\"".to_owned(), "absolute"),
        ("recipient = [\"x\"]".to_owned(), "did you mean `recipients`"),
    ] {
        assert!(refused_with(&lines).contains(told), "{lines}: {}", refused_with(&lines));
    }
    let (_directory, empty) = secret_file(0o644, b"# none\n");
    assert!(refused_with(&format!("recipients_file = {empty:?}")).contains("nothing would be encrypted"));
    let (_directory, open) = secret_file(0o666, RECIPIENT.as_bytes());
    assert!(refused_with(&format!("recipients_file = {open:?}")).contains("could add a recipient"));
    // An identity in the wrong place is not shown.
    let identity = NewIdentity::generate();
    let secret = identity.text().reveal().lines().last().unwrap().to_owned();
    let (_directory, file) = secret_file(0o600, secret.as_bytes());
    for lines in [format!("recipients = [\"{secret}\"]"), format!("recipients_file = {file:?}")] {
        let told = refused_with(&lines);
        assert!(told.contains("an identity stands here") && !told.contains(&secret), "{told}");
    }
}
