//! The cross-check of a snapshot: what its database names must be among its files.
//!
//! First the database is asked ([`ReferenceCheck`]), then each entry of the list of files is shown ([`FileLookup::see`]); what
//! nobody has seen at the end is a finding. Of a network of sites, the main one is checked.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::attachments::{Directories, Uploads, below};
use super::expected::{Collecting, Expected, Role};
use super::php_serialize::walk;
use crate::config::{SiteSettings, TreeName, WpConfig};
use crate::error::{Exit, Explain};
use crate::repository::entry::{FileKind, Finding, FindingCode};

/// So many missing attachments are named; the rest is counted.
pub const FINDING_LIMIT: usize = 10_000;

/// With a larger share of attachments missing, they are somewhere else altogether: one finding says so.
const SHARE_ELSEWHERE: f64 = 0.2;

/// … but so few are named in any case.
const ALWAYS_NAMED: u64 = 20;

/// More plugins than any site has active.
const PLUGIN_LIMIT: usize = 1000;

/// More symlinks are not remembered; they only make the reason of a finding clearer.
const LINK_LIMIT: usize = 1000;

/// The longest text that is kept of an option, in bytes.
const TEXT_LIMIT: usize = 4096;

const CORE_TABLES: [&str; 12] = [
    "commentmeta",
    "comments",
    "links",
    "options",
    "postmeta",
    "posts",
    "term_relationships",
    "term_taxonomy",
    "termmeta",
    "terms",
    "usermeta",
    "users",
];

/// The options that are read; of these, all but the last are there in every WordPress.
const OPTIONS: [&str; 8] =
    ["siteurl", "home", "blogname", "template", "stylesheet", "db_version", "active_plugins", "upload_path"];

/// Plugins that keep uploads in another place and may remove them from here.
const OFFLOADERS: [&str; 7] = [
    "amazon-s3-and-cloudfront",
    "amazon-s3-and-cloudfront-pro",
    "ilab-media-tools",
    "wp-stateless",
    "advanced-media-offloader",
    "leopard-wordpress-offload-media",
    "next3-offload",
];

/// A question to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// To give back with each row.
    pub id: QueryId,
    /// The statement.
    pub sql: String,
}

/// Which question a row answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryId {
    /// Name and value of the site's own settings.
    Options,
    /// Name and metadata of each attachment's file.
    Attachments,
}

/// What the site says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteFacts {
    /// WordPress's own address.
    pub siteurl: Option<String>,
    /// The front page's address.
    pub home: Option<String>,
    /// The site's title.
    pub blogname: Option<String>,
    /// The parent theme's directory, or the theme's own.
    pub template: Option<String>,
    /// The active theme's directory.
    pub stylesheet: Option<String>,
    /// The version of the database's layout.
    pub db_version: Option<String>,
    /// The active plugins' main files, relative to plugins/.
    pub active_plugins: Vec<String>,
    /// How much was checked.
    pub counts: Counts,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attachments that have a file here.
    pub attachments: u64,
    /// Files that attachments name, their sizes included, each once.
    pub files: u64,
    /// Attachments that are missing.
    pub missing_attachments: u64,
    /// Files that are missing, those attachments included.
    pub missing_files: u64,
}

/// The file of expected names can't be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the cross-check's temporary file in {} failed", directory.display())]
pub struct ReferenceError {
    directory: PathBuf,
    #[source]
    source: io::Error,
}

impl Explain for ReferenceError {
    fn exit(&self) -> Exit {
        Exit::Io
    }

    fn advice(&self) -> Option<String> {
        Some(format!("see that {} is writable and has space left", self.directory.display()))
    }
}

/// A quoted table name.
pub(super) fn table(prefix: &str, name: &str) -> String {
    format!("`{}`", format!("{prefix}{name}").replace('`', "``"))
}

/// Which of WordPress's own tables this is; without case, as some servers fold it.
fn core_table(prefix: &str, name: &[u8]) -> Option<&'static str> {
    let (begin, rest) = name.split_at_checked(prefix.len())?;
    let core = CORE_TABLES.into_iter().find(|core| rest.eq_ignore_ascii_case(core.as_bytes()));
    core.filter(|_| begin.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Whether this is one of WordPress's own tables, of the main site.
pub fn is_core_table(prefix: &str, name: &[u8]) -> bool {
    core_table(prefix, name).is_some()
}

/// The first half: what the database names.
pub struct ReferenceCheck {
    directories: Directories,
    prefix: String,
    spool: PathBuf,
    /// Which core tables are there; `None` when no one said.
    tables: Option<HashSet<&'static str>>,
    options: BTreeMap<&'static str, String>,
    plugins: Vec<String>,
    uploads: Uploads,
    attachments: u64,
    expected: Collecting,
}

impl ReferenceCheck {
    /// A check of a site. Names are kept in an unlinked file in `spool`. Reads the site's wp-config.php: blocking.
    pub fn new(site: &SiteSettings, spool: &Path) -> Result<Self, ReferenceError> {
        let wp_config = site.root.as_deref().and_then(|root| WpConfig::find(root).ok());
        let uploads =
            wp_config.and_then(|config| config.optional_constant("UPLOADS").ok().flatten()).map(|defined| defined.value);
        let uploads_tree = site.trees.iter().find(|tree| tree.name == TreeName::Uploads).map(|tree| tree.path.clone());
        let directories = Directories { root: site.root.clone(), content: site.content_dir.clone(), uploads, uploads_tree };
        let failed = |source| ReferenceError { directory: spool.to_owned(), source };
        Ok(Self {
            uploads: directories.uploads(""),
            directories,
            prefix: site.table_prefix.clone(),
            spool: spool.to_owned(),
            tables: None,
            options: BTreeMap::new(),
            plugins: Vec::new(),
            attachments: 0,
            expected: Collecting::new(spool).map_err(failed)?,
        })
    }

    /// Takes note of the tables of the schema: core tables that aren't among them are findings.
    pub fn tables<'n>(&mut self, names: impl IntoIterator<Item = &'n [u8]>) {
        let found = self.tables.get_or_insert_default();
        found.extend(names.into_iter().filter_map(|name| core_table(&self.prefix, name)));
    }

    /// The questions to ask in the snapshot's transaction, in this order; none to a table that isn't there.
    pub fn queries(&self) -> Vec<Query> {
        let there = |names: &[&str]| self.tables.as_ref().is_none_or(|tables| names.iter().all(|name| tables.contains(name)));
        let table = |name| table(&self.prefix, name);
        let mut queries = Vec::new();
        if there(&["options"]) {
            let names = OPTIONS.map(|name| format!("'{name}'")).join(", ");
            let sql = format!("SELECT option_name, option_value FROM {} WHERE option_name IN ({names})", table("options"));
            queries.push(Query { id: QueryId::Options, sql });
        }
        if there(&["posts", "postmeta"]) {
            // Metadata of a post that is gone names files that are gone with it: only attachments that exist count.
            let sql = format!(
                // In this order: MariaDB would begin with the posts, and read each one's metadata twice.
                "SELECT STRAIGHT_JOIN f.meta_value, m.meta_value FROM {meta} f JOIN {posts} p ON p.ID = f.post_id AND p.post_type = 'attachment' \
                 LEFT JOIN {meta} m ON m.post_id = f.post_id AND m.meta_key = '_wp_attachment_metadata' \
                 WHERE f.meta_key = '_wp_attached_file'",
                meta = table("postmeta"),
                posts = table("posts"),
            );
            queries.push(Query { id: QueryId::Attachments, sql });
        }
        queries
    }

    /// Takes one row of an answer. Writes to the spool file: blocking.
    pub fn row(&mut self, query: QueryId, row: &[Option<Vec<u8>>]) -> Result<(), ReferenceError> {
        let column = |index: usize| row.get(index).and_then(Option::as_deref);
        let Some(first) = column(0) else { return Ok(()) };
        match query {
            QueryId::Options => self.option(first, column(1).unwrap_or_default()),
            QueryId::Attachments => self.attachment(first, column(1))?,
        }
        Ok(())
    }

    fn option(&mut self, name: &[u8], value: &[u8]) {
        let Some(name) = OPTIONS.into_iter().find(|option| option.as_bytes() == name) else { return };
        let text = String::from_utf8_lossy(value.get(..TEXT_LIMIT).unwrap_or(value)).into_owned();
        if name == "upload_path" {
            self.uploads = self.directories.uploads(&text);
        }
        if name == "active_plugins" {
            let plugins = &mut self.plugins;
            plugins.clear();
            let _ = walk(value, &mut |path, plugin| {
                if path.len() == 1 && plugins.len() < PLUGIN_LIMIT && plugin.len() < TEXT_LIMIT {
                    plugins.push(String::from_utf8_lossy(plugin).into_owned());
                }
            });
        }
        self.options.insert(name, text);
    }

    fn attachment(&mut self, file: &[u8], metadata: Option<&[u8]>) -> Result<(), ReferenceError> {
        let Uploads::Inside(base) = &self.uploads else {
            self.attachments += 1;
            return Ok(());
        };
        let expected = &mut self.expected;
        let here = self
            .directories
            .files_of(base, file, metadata, |role, path| expected.add(role, path))
            .map_err(|source| ReferenceError { directory: self.spool.clone(), source })?;
        self.attachments += u64::from(here);
        Ok(())
    }

    /// All is asked: on to the files.
    pub fn look_up(self) -> Result<FileLookup, ReferenceError> {
        let expected = self.expected.finish().map_err(|source| ReferenceError { directory: self.spool.clone(), source })?;
        let text = |name| self.options.get(name).cloned().filter(|value: &String| !value.is_empty());
        let facts = SiteFacts {
            siteurl: text("siteurl"),
            home: text("home"),
            blogname: text("blogname"),
            template: text("template"),
            stylesheet: text("stylesheet"),
            db_version: text("db_version"),
            active_plugins: self.plugins,
            counts: Counts { attachments: self.attachments, files: expected.len() as u64, ..Counts::default() },
        };
        let mut findings = Vec::new();
        let lacks = |subject: String, detail: &str| Finding {
            code: FindingCode::CoreMissing,
            subject: subject.as_str().into(),
            detail: detail.to_owned(),
        };
        if let Some(tables) = &self.tables {
            let missing = CORE_TABLES.into_iter().filter(|name| !tables.contains(name));
            findings.extend(missing.map(|name| lacks(format!("{}{name}", self.prefix), "the database lacks this core table")));
        }
        if self.tables.as_ref().is_none_or(|tables| tables.contains("options")) {
            // An address that is empty is none.
            let lacking = |name: &&str| match *name {
                "upload_path" => false,
                "siteurl" | "home" => self.options.get(name).is_none_or(String::is_empty),
                name => !self.options.contains_key(name),
            };
            let needed = OPTIONS.into_iter().filter(lacking);
            findings
                .extend(needed.map(|name| lacks(format!("{}options: {name}", self.prefix), "the database lacks this option")));
        }
        Ok(FileLookup {
            code: code_of(&facts),
            facts,
            findings,
            expected,
            uploads: self.uploads,
            spool: self.spool,
            links: HashSet::new(),
        })
    }
}

/// The code that the site needs to answer at all, by path from wp-content, with the reason.
fn code_of(facts: &SiteFacts) -> BTreeMap<Vec<u8>, Needed> {
    let mut code = BTreeMap::new();
    let mut need = |path: Option<Vec<u8>>, why: String| path.map(|path| code.insert(path, Needed { why, seen: false }));
    for plugin in &facts.active_plugins {
        need(below(b"plugins", plugin.as_bytes()), format!("the main file of the active plugin {plugin}"));
    }
    let themes = [("the active theme", &facts.stylesheet), ("the active theme's parent", &facts.template)];
    for (which, theme) in themes.into_iter().rev().filter_map(|(which, theme)| Some((which, theme.as_ref()?))) {
        need(below(b"themes", format!("{theme}/style.css").as_bytes()), format!("the stylesheet of {which}, {theme}"));
    }
    code
}

struct Needed {
    why: String,
    seen: bool,
}

/// The second half: what is among the files.
pub struct FileLookup {
    facts: SiteFacts,
    findings: Vec<Finding>,
    code: BTreeMap<Vec<u8>, Needed>,
    expected: Expected,
    uploads: Uploads,
    spool: PathBuf,
    links: HashSet<Vec<u8>>,
}

impl FileLookup {
    /// Shows one entry of the list of files: its path from wp-content, and what it is.
    pub fn see(&mut self, path: &[u8], kind: FileKind) {
        if kind == FileKind::Dir {
            return;
        }
        if kind == FileKind::Symlink && self.links.len() < LINK_LIMIT {
            self.links.insert(path.to_vec());
        }
        self.expected.see(path);
        if let Some(needed) = self.code.get_mut(path) {
            needed.seen = true;
        }
    }

    /// What is missing, and what the site says of itself. Reads the spool file: blocking.
    pub fn finish(self) -> Result<(Vec<Finding>, SiteFacts), ReferenceError> {
        let Self { mut facts, mut findings, code, expected, uploads, spool, links } = self;
        for (path, needed) in code.into_iter().filter(|(_, needed)| !needed.seen) {
            let detail = format!("{}{}", needed.why, below_link(&links, &path));
            findings.push(Finding { code: FindingCode::CodeMissing, subject: path.as_slice().into(), detail });
        }
        let missing =
            |subject: &[u8], detail: String| Finding { code: FindingCode::AttachmentMissing, subject: subject.into(), detail };
        let base = match &uploads {
            Uploads::Outside(directory) if facts.counts.attachments > 0 => {
                facts.counts.missing_attachments = facts.counts.attachments;
                let detail =
                    format!("the site's uploads are here, outside of wp-content: {} attachments", facts.counts.attachments);
                findings.push(missing(directory.as_os_str().as_encoded_bytes(), detail));
                return Ok((findings, facts));
            }
            Uploads::Outside(_) => return Ok((findings, facts)),
            Uploads::Inside(base) => base.clone(),
        };
        let unchecked = expected.beyond_limit();
        let mut named = Vec::new();
        let (mut attachments, mut files) = (0_u64, 0_u64);
        let tell = |role, path: &[u8]| {
            files += 1;
            attachments += u64::from(role == Role::Attachment);
            if named.len() < FINDING_LIMIT {
                let which =
                    if role == Role::Attachment { "an attachment's file" } else { "a size or the original of an attachment" };
                named.push(missing(path, format!("{which}, not among the files{}", below_link(&links, path))));
            }
        };
        expected.missing(tell).map_err(|source| ReferenceError { directory: spool, source })?;
        facts.counts.missing_attachments = attachments;
        facts.counts.missing_files = files;
        if attachments > ALWAYS_NAMED && attachments as f64 > facts.counts.attachments as f64 * SHARE_ELSEWHERE {
            findings.push(missing(&base, elsewhere(&facts, &named)));
        } else {
            let rest = files - named.len() as u64;
            findings.append(&mut named);
            if rest > 0 {
                findings.push(missing(&base, format!("{rest} more files of attachments are not among the files")));
            }
        }
        if unchecked > 0 {
            findings.push(missing(&base, format!("{unchecked} files of attachments were not checked: there are too many")));
        }
        Ok((findings, facts))
    }
}

/// Why something is missing that the live site may well have.
fn below_link(links: &HashSet<Vec<u8>>, path: &[u8]) -> String {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let link = ends.filter_map(|at| path.get(..at)).find(|above| links.contains(*above));
    link.map_or_else(String::new, |link| {
        format!("; {} is a symlink, kept as a link: what it points to is not followed", String::from_utf8_lossy(link))
    })
}

fn elsewhere(facts: &SiteFacts, named: &[Finding]) -> String {
    let Counts { attachments, missing_attachments, .. } = facts.counts;
    let active = facts.active_plugins.iter().filter_map(|plugin| plugin.split('/').next()).find(|name| OFFLOADERS.contains(name));
    let reason = match active {
        Some(plugin) => format!("the active plugin {plugin} keeps uploads elsewhere"),
        None => "a plugin may keep uploads elsewhere, or content_dir is not this site's".to_owned(),
    };
    let examples = named.iter().take(3).map(|finding| finding.subject.to_string()).collect::<Vec<_>>().join(", ");
    let link =
        named.first().and_then(|finding| finding.detail.split_once("; ")).map_or(String::new(), |(_, link)| format!("; {link}"));
    format!("{missing_attachments} of {attachments} attachments are not among the files, such as {examples}: {reason}{link}")
}

#[cfg(test)]
#[path = "references_tests.rs"]
mod tests;
