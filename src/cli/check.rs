//! `check`: what the agent makes of its configuration, and where each value came from.

use std::fmt::{Display, Write as _};

use super::args::Global;
use super::failure::Failure;
use super::format::plural;
use super::output::Output;
use super::signals::cancelled_by_signals;
use super::{reach, work};
use crate::config::{
    self, Address, Credentials, DumpSettings, Origins, Settings, SiteName, SiteSettings, StoreSettings, Tls, TreeName,
    TrustedKeys,
};
use crate::error::{Exit, render};
use crate::repository::sign::SigningKey;
use crate::wordpress::UpdateGate;

/// Prints the settings, and tries what they name.
pub(super) fn run(global: &Global, out: &mut Output) -> Result<Exit, Failure> {
    let (settings, origins) = config::load_with_origins(&global.config)?;
    out.line(describe(&settings, &origins).trim_end());
    work(async { Ok(reach::all(&settings, &cancelled_by_signals(), out).await) })
}

/// The settings for a person: one value a line, with its origin. No secret is among them.
fn describe(settings: &Settings, origins: &Origins) -> String {
    let mut page = Page { text: format!("configuration {}\n", settings.path.display()), origins, site: None };
    page.text.push_str("\nstore\n");
    store(&mut page, &settings.store);
    page.text.push_str("\ndaemon\n");
    page.line("socket", "daemon.socket", settings.daemon.socket.display());
    page.line("state", "daemon.state", settings.daemon.state.display());
    page.line("socket_group", "daemon.socket_group", settings.daemon.socket_group.as_deref().unwrap_or("none"));
    page.text.push_str("\nencryption\n");
    encryption(&mut page, settings);
    page.text.push_str("\ntrust\n");
    trust(&mut page, settings);
    for site in &settings.sites {
        page.site = Some(&site.name);
        let _ = write!(page.text, "\nsite {}\n", site.name);
        describe_site(&mut page, site);
    }
    page.text
}

/// The text under construction.
struct Page<'a> {
    text: String,
    origins: &'a Origins,
    site: Option<&'a SiteName>,
}

impl Page<'_> {
    fn line(&mut self, label: &str, key: &'static str, value: impl Display) {
        let origin = self.origins.of(self.site, key);
        let _ = writeln!(self.text, "  {label:<18} {value}  ({origin})");
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.text, "  note: {text}");
    }
}

/// All sites have the same recipients.
fn encryption(page: &mut Page<'_>, settings: &Settings) {
    let recipients = settings.sites.first().map(|site| site.recipients.texts()).unwrap_or_default();
    for recipient in &recipients {
        page.line("recipient", "encryption.recipients", recipient);
    }
    if recipients.is_empty() {
        page.line("recipients", "encryption.recipients", "none");
        page.text.push_str(UNENCRYPTED);
    }
}

/// Whom this machine signs as, and whom it believes.
fn trust(page: &mut Page<'_>, settings: &Settings) {
    let state = &settings.daemon.state;
    match SigningKey::load(state) {
        Ok(Some(key)) => {
            let _ = writeln!(page.text, "  {:<18} {}  ({})", "signing key", key.public(), SigningKey::path(state).display());
        }
        Ok(None) => page.note("this machine has no signing key yet: its first run makes one"),
        Err(error) => page.note(&render(&error)),
    }
    let trusted = settings.sites.first().map(|site| &site.trusted);
    for key in trusted.into_iter().flat_map(TrustedKeys::iter) {
        page.line("believed", "trust.keys", key);
    }
    if trusted.is_none_or(TrustedKeys::is_empty) {
        page.line("believed", "trust.keys", "whoever signed");
    }
}

/// Said of a store that anyone who can read it can read.
const UNENCRYPTED: &str = "  ********************************************************************************
  WARNING: backups are NOT ENCRYPTED. Whoever can read the store reads the whole
  database and all files, with this machine's own credentials for the store, too.
  what to do: `wp-backup-agent keygen` on another machine, and the recipient that
  it prints into [encryption] of this configuration (docs/ENCRYPTION.md)
  ********************************************************************************
";

fn store(page: &mut Page<'_>, store: &StoreSettings) {
    match store {
        StoreSettings::Local { path } => page.line("url", "store.url", format_args!("file://{}", path.display())),
        StoreSettings::S3(s3) => {
            let slash = if s3.prefix.is_empty() { "" } else { "/" };
            page.line("url", "store.url", format_args!("s3://{}{slash}{}", s3.bucket, s3.prefix));
            page.line("region", "store.region", s3.region.as_deref().unwrap_or("the AWS environment's"));
            page.line("endpoint", "store.endpoint", s3.endpoint.as_deref().unwrap_or("AWS"));
            page.line("path_style", "store.path_style", s3.path_style);
            match s3.object_lock {
                None => page.line("object_lock", "store.object_lock_days", "none"),
                Some(lock) => {
                    let days = format_args!("{} for {}", lock.mode.as_str().to_lowercase(), plural(lock.days.into(), "day"));
                    page.line("object_lock", "store.object_lock_days", days);
                }
            }
            match &s3.credentials {
                Credentials::Chain => page.line("credentials", "store.access_key_id", "the AWS chain"),
                Credentials::Keys { id, .. } => {
                    page.line("access_key_id", "store.access_key_id", id);
                    page.line("secret_access_key", "store.secret_access_key", "read");
                }
            }
        }
    }
}

fn describe_site(page: &mut Page<'_>, site: &SiteSettings) {
    match &site.root {
        Some(root) => page.line("path", "site.path", root.display()),
        None => page.line("path", "site.path", "not given"),
    }
    page.line("content_dir", "site.content_dir", site.content_dir.display());
    for tree in &site.trees {
        let key = match tree.name {
            TreeName::Plugins => "site.plugins_dir",
            TreeName::MuPlugins => "site.mu_plugins_dir",
            TreeName::Uploads => "site.uploads_dir",
            TreeName::Root | TreeName::Unknown => "site.root_files",
        };
        page.line(tree.name.as_str(), key, tree.path.display());
    }
    if site.trees.iter().any(|tree| tree.name == TreeName::Root) {
        page.line("include_wp_config", "site.include_wp_config", site.include_wp_config);
    }
    page.line("table_prefix", "site.table_prefix", &site.table_prefix);
    page.line("schedule", "site.schedule", site.schedule.as_deref().unwrap_or("on request only"));
    page.line("time_zone", "site.time_zone", site.time_zone.as_deref().unwrap_or("the system's"));
    let exclude = if site.exclude.is_empty() { "none".to_owned() } else { site.exclude.join(", ") };
    page.line("exclude", "site.exclude", exclude);
    page.line("default_excludes", "site.default_excludes", site.default_excludes);
    page.line("update_wait", "site.update_wait", format_args!("{} s", site.update_wait.as_secs()));
    if !site.follow_links_into.is_empty() {
        let directories: Vec<_> = site.follow_links_into.iter().map(|path| path.display().to_string()).collect();
        page.line("follow_links_into", "site.follow_links_into", directories.join(", "));
    }
    let reread = if site.reread == 0 { "never".to_owned() } else { format!("one of {} unchanged files a run", site.reread) };
    page.line("reread", "site.reread", reread);
    let database = &site.database;
    let address = match &database.address {
        Address::Socket(path) => path.display().to_string(),
        Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp { host, port } => format!("{host}:{port}"),
    };
    page.line("database", "site.database.address", address);
    page.line("  name", "site.database.name", &database.name);
    page.line("  user", "site.database.user", &database.user);
    let password = if database.password.reveal().is_empty() { "none: socket authentication" } else { "read" };
    page.line("  password", "site.database.password", password);
    match &database.tls {
        Tls::Off => page.line("  tls", "site.database.tls", "off"),
        Tls::Required { ca_file: None } => page.line("  tls", "site.database.tls", "required"),
        Tls::Required { ca_file: Some(file) } => {
            page.line("  tls", "site.database.tls", "required");
            page.line("  ca_file", "site.database.ca_file", file.display());
        }
    }
    describe_dump(page, &database.dump);
    if !site.content_dir.is_dir() {
        page.note(&format!("{} is not a directory that can be read", site.content_dir.display()));
    }
    if let Some(signal) = UpdateGate::new(site.root.as_deref(), &site.content_dir).files_signal() {
        page.note(&format!("a WordPress update seems to be under way: {signal}"));
    }
}

fn describe_dump(page: &mut Page<'_>, dump: &DumpSettings) {
    page.line("  connections", "site.database.connections", dump.connections);
    page.line("  lock_wait", "site.database.lock_wait", format_args!("{} s", dump.lock_wait.as_secs()));
    page.line("  store_wait", "site.database.store_wait", format_args!("{} s", dump.store_wait.as_secs()));
    page.line("  spool", "site.database.spool_mib", format_args!("{} MiB", dump.spool >> 20));
    if !dump.exclude_tables.is_empty() {
        page.line("  exclude_tables", "site.database.exclude_tables", dump.exclude_tables.join(", "));
    }
    if !dump.structure_only.is_empty() {
        page.line("  structure_only", "site.database.structure_only", dump.structure_only.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::parse_with_origins;

    #[test]
    fn every_value_stands_with_its_origin_and_no_secret_does() {
        let root = tempfile::tempdir().unwrap();
        let wp_config = root.path().join("wp-config.php");
        let source = "<?php\ndefine('DB_NAME', 'blog');\ndefine('DB_USER', 'wp');\ndefine('DB_PASSWORD', 'hunter2');\n\
                      define('DB_HOST', '::1');\n$table_prefix = 'wpx_';";
        fs::write(&wp_config, source).unwrap();
        fs::create_dir_all(root.path().join("wp-content/upgrade/akismet")).unwrap();
        let text = format!(
            "[store]\nurl = \"s3://bucket/a\"\n[[site]]\nname = \"blog\"\npath = {:?}",
            root.path().display().to_string()
        );
        let (settings, origins) = parse_with_origins(&text, Path::new("/etc/c.toml"), None).unwrap();
        let shown = describe(&settings, &origins);
        for line in [
            "configuration /etc/c.toml".to_owned(),
            "  url                s3://bucket/a  (configuration, line 2)".to_owned(),
            "  state              /var/lib/wp-backup-agent  (default)".to_owned(),
            "site blog".to_owned(),
            format!("  content_dir        {}  (default)", root.path().join("wp-content").display()),
            format!("  database           [::1]:3306  ({}, line 5)", wp_config.display()),
            format!("    password         read  ({}, line 4)", wp_config.display()),
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\nnot in\n{shown}");
        }
        assert!(shown.contains("update seems to be under way"), "{shown}");
        assert!(!shown.contains("hunter2"));
    }
}
