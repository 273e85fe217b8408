//! The servers that the tests run against, and how each is made and started. Debian's own MariaDB is installed on the machine; the other two
//! lie in roots of their own (`make servers`) and run from there as ordinary processes, by the root's own loader.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kind of server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MariaDB 10.11, from the machine's packages.
    #[default]
    MariaDb1011,
    /// MariaDB 11.8.
    MariaDb118,
    /// MySQL 9.7.
    MySql97,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MariaDb1011, Self::MariaDb118, Self::MySql97];

    /// Whether it is MariaDB.
    pub fn is_mariadb(self) -> bool {
        self != Self::MySql97
    }

    /// Its root; `None` for the one that is installed on the machine.
    pub fn root(self) -> Option<PathBuf> {
        let name = match self {
            Self::MariaDb1011 => return None,
            Self::MariaDb118 => "mariadb-11.8",
            Self::MySql97 => "mysql-9.7",
        };
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache"))).expect("HOME");
        let root = cache.join("wp-backup-agent/servers").join(name);
        assert!(root.is_dir(), "{} is missing: run `make servers`", root.display());
        Some(root)
    }

    /// A program of its root, or of the machine: `usr/sbin/mysqld`, `usr/bin/mydumper`.
    pub fn program(self, path: &str) -> Command {
        let Some(root) = self.root() else { return Command::new(Path::new("/").join(path)) };
        let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(root.join("usr/lib/x86_64-linux-gnu")).arg(root.join(path));
        command
    }

    /// The server, with the arguments that it always needs.
    pub(super) fn server(self, data: &Path) -> Command {
        let mut command = self.program(if self.is_mariadb() { "usr/sbin/mariadbd" } else { "usr/sbin/mysqld" });
        command.arg("--no-defaults").arg(option("--datadir=", data));
        if let Some(usr) = self.root().map(|root| root.join("usr")) {
            let share = usr.join(if self.is_mariadb() { "share/mariadb" } else { "share/mysql" });
            command.arg(option("--basedir=", &usr)).arg(option("--plugin-dir=", &usr.join("lib/mysql/plugin")));
            command.arg(option("--lc-messages-dir=", &share)).arg(option("--character-sets-dir=", &share.join("charsets")));
        }
        command.arg("--innodb-buffer-pool-size=64M");
        command.arg(if self.is_mariadb() { "--innodb-log-file-size=16M" } else { "--innodb-redo-log-capacity=16M" });
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command
    }

    /// A data directory with the system tables, made once per server version and kept for all tests.
    pub(super) fn template(self) -> PathBuf {
        let version = run(self.server(Path::new("/nonexistent")).arg("--version"));
        // Without the program's path, which may come first.
        let version = version.split_once("Ver ").map_or(version.as_str(), |(_, version)| version);
        let version: String = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
        let cache = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&cache).expect("the directory of templates");
        let lock = File::create(cache.join("server-template.lock")).expect("the template's lock");
        lock.lock().expect("the template's lock");

        let template = cache.join(format!("server-{}", version.trim_matches('-')));
        if !template.exists() {
            let making = cache.join("server-being-made");
            let _ = std::fs::remove_dir_all(&making);
            std::fs::create_dir(&making).expect("the template's directory");
            self.install(&making);
            std::fs::rename(&making, &template).expect("the finished template");
        }
        template
    }

    fn install(self, data: &Path) {
        match self {
            Self::MariaDb1011 => {
                let mut command = Command::new("mariadb-install-db");
                command.arg("--no-defaults").arg(option("--datadir=", data)).args([
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--innodb-log-file-size=16M",
                ]);
                if rustix::process::geteuid().is_root() {
                    command.arg("--user=root");
                }
                run(&mut command);
            }
            Self::MariaDb118 => self.bootstrap(data),
            Self::MySql97 => drop(run(self.server(data).arg("--initialize-insecure"))),
        }
    }

    /// What `mariadb-install-db` does: that script runs the programs of the machine, not of the root.
    fn bootstrap(self, data: &Path) {
        let share = self.root().expect("a root").join("usr/share/mariadb");
        let mut sql = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_vec();
        for name in ["system_tables", "performance_tables", "system_tables_data", "sys_schema"] {
            sql.extend(std::fs::read(share.join(format!("mariadb_{name}.sql"))).expect("SQL of the server's package"));
        }
        let mut command = self.server(data);
        command.args(["--bootstrap", "--log-warnings=0", "--max-allowed-packet=8M"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mariadbd");
        let mut input = child.stdin.take().expect("a pipe");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(&sql));
            child.wait_with_output().expect("mariadbd")
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Runs a program that must succeed; what it prints.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
