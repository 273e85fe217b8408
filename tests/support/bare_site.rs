//! A site of next to no files whose database is reached through a [`Link`]: what the tests of the dump need.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use super::agent::{Agent, Store, text};
use super::flavour::Flavour;
use super::link::Link;
use super::mariadb::{MariaDb, Options};

/// A server, the link to it, an agent and its store in a local directory. The schema is `blog`.
pub struct BareSite {
    pub agent: Agent,
    pub link: Link,
    pub server: Arc<MariaDb>,
    content: tempfile::TempDir,
    store: tempfile::TempDir,
}

impl BareSite {
    /// With an empty schema, on a server with these arguments.
    pub fn new(arguments: &[&str]) -> Self {
        Self::of(Flavour::default(), arguments)
    }

    /// The same on a server of this flavour.
    pub fn of(flavour: Flavour, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self::with(&Options { flavour, arguments, ..Options::default() })
    }

    /// The same on a server with these options.
    pub fn with(options: &Options) -> Self {
        let server = MariaDb::start_with(options);
        server.client("CREATE DATABASE blog CHARACTER SET utf8mb4");
        let link = Link::to(&server.socket());
        let (content, store) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        std::fs::write(content.path().join("index.php"), "<?php\n").expect("a file");
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
        let site = Self { agent, link, server: Arc::new(server), content, store };
        site.configure("");
        site
    }

    /// An account that may read all of the schema and no more, but for what this says beside.
    pub fn account(&self, name: &str, more: &str) {
        let routines = if self.server.flavour().is_mariadb() { "SELECT ON mysql.proc" } else { "SHOW_ROUTINE ON *.*" };
        self.server.client(&format!(
            "CREATE USER {name}@localhost; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON blog.* TO {name}@localhost; GRANT {routines} TO {name}@localhost"
        ));
        if !more.is_empty() {
            self.server.client(&format!("GRANT {more} ON *.* TO {name}@localhost"));
        }
    }

    /// These lines are in [site.database] from now on.
    pub fn configure(&self, database: &str) {
        self.agent.configure(&self.link.socket(), &Store::Local(self.store.path()), "", database);
    }

    /// One run.
    pub fn run(&self) -> Output {
        self.agent.run(&["run-now", "--foreground"])
    }

    /// One run, which must commit; its manifest.
    #[track_caller]
    pub fn commits(&self) -> serde_json::Value {
        let before = self.manifests().len();
        let output = self.run();
        assert!(is_committed(&output), "{:?}\n{}", output.status, text(&output));
        let manifests = self.manifests();
        assert_eq!(manifests.len(), before + 1);
        let newest = std::fs::read(manifests.last().expect("a manifest")).expect("the manifest");
        serde_json::from_slice(&newest).expect("JSON")
    }

    /// What has been committed, the newest last.
    pub fn manifests(&self) -> Vec<PathBuf> {
        manifests_in(self.store.path())
    }

    /// The newest snapshot's SQL.
    pub fn sql(&self) -> String {
        self.agent.ok(&["restore", "latest", "--sql"])
    }

    /// The newest snapshot as [`state`] shows it, once it has been restored.
    pub fn restored_state(&self) -> String {
        self.server.client("DROP DATABASE IF EXISTS restored");
        self.agent.ok(&["restore", "latest", "--database", "restored", "--user", "root"]);
        state(&self.server, "restored")
    }
}

/// Whether a run committed, and missed nothing but WordPress' own tables, which these sites don't have.
pub fn is_committed(output: &Output) -> bool {
    let misses =
        |line: &str| line.starts_with("wp-backup-agent: ") && !line.contains(": core-missing: ") && !line.ends_with(" more");
    matches!(output.status.code(), Some(0 | 3)) && !text(output).lines().any(misses)
}

/// The manifests in a store's directory, the newest last.
pub fn manifests_in(store: &std::path::Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(store).sort_by_file_name().into_iter().filter_map(Result::ok);
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.is_file() && path.to_string_lossy().contains("/snapshots/"))
        .collect()
}

/// What is in a directory, by name; nothing where there is none.
pub fn files_in(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir).map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect());
    files.sort();
    files
}

/// All of a schema as text, by the server's own program.
pub fn state(server: &MariaDb, schema: &str) -> String {
    let mut command = Command::new("mariadb-dump");
    command.args([
        "--no-defaults",
        "--user=root",
        "--skip-comments",
        "--order-by-primary",
        "--skip-extended-insert",
        "--hex-blob",
    ]);
    command.args(["--routines", "--triggers", "--events", "--single-transaction"]);
    let output = command.arg(format!("--socket={}", server.socket().display())).arg(schema).output().expect("mariadb-dump");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}
