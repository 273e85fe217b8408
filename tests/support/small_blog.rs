//! A small blog whose snapshots go into a directory, and machines that know both.

use std::fs;
use std::path::PathBuf;

use super::agent::{Agent, Store};
use super::mariadb::MariaDb;
use super::small_site::{make_tables, make_tree};

/// The blog and the store.
pub struct SmallBlog {
    pub dir: tempfile::TempDir,
    pub server: MariaDb,
}

impl SmallBlog {
    pub fn new() -> Self {
        let (dir, server) = (tempfile::tempdir().expect("a temporary directory"), MariaDb::start());
        let blog = Self { dir, server };
        for made in [blog.content(), blog.store()] {
            fs::create_dir(made).expect("a directory");
        }
        make_tree(&blog.content());
        make_tables(&blog.server, "blog");
        blog
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn content(&self) -> PathBuf {
        self.path("content")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file of wp-content.
    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.content().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// Another machine: its own configuration and local state.
    pub fn machine(&self) -> Agent {
        Agent::new(&self.server, "blog", &self.content(), &Store::Local(&self.store()))
    }

    /// A machine's configuration is anew, and names these keys.
    pub fn trust(&self, machine: &Agent, keys: &[&str]) {
        machine.configure(&self.server.socket(), &Store::Local(&self.store()), "", "");
        let text = fs::read_to_string(machine.config()).expect("the configuration");
        fs::write(machine.config(), format!("[trust]\nkeys = {keys:?}\n{text}")).expect("the configuration");
    }
}

/// The key that a machine signs with.
pub fn public_key(machine: &Agent) -> String {
    let key = fs::read_to_string(machine.path("state/signing-key")).expect("the key");
    key.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("its public half").to_owned()
}
