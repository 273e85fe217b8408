//! A private MariaDB server in a temporary directory.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wp_backup_agent::config::{Address, DatabaseSettings, Secret, Tls};

/// The running server; `root` needs no password. Dropping it kills it: nothing in it is meant to last.
pub struct MariaDb {
    child: Child,
    directory: tempfile::TempDir,
    port: Option<u16>,
}

/// What sets a server apart from the plain one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether it listens on a free loopback port too.
    pub tcp: bool,
    /// More arguments of mariadbd.
    pub arguments: Vec<String>,
}

impl MariaDb {
    /// Starts a server that listens on a socket only.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a server, and waits until it answers.
    pub fn start_with(options: &Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        run(Command::new("cp").arg("-a").arg("--reflink=auto").arg(template()).arg(&data));

        let port = options.tcp.then(free_port);
        let log = File::create(directory.path().join("log")).expect("the server's log");
        let mut command = Command::new("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", directory.path().join("sock").display()))
            .arg(format!("--pid-file={}", directory.path().join("pid").display()))
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"])
            .args(["--innodb-fast-shutdown=2", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M"])
            .args(["--max-allowed-packet=1G", "--skip-name-resolve", "--character-set-server=utf8mb4"]);
        match port {
            Some(port) => command.args(["--bind-address=127.0.0.1", &format!("--port={port}")]),
            None => command.arg("--skip-networking"),
        };
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command.args(&options.arguments);
        let output = log.try_clone().expect("the server's log");
        let child =
            command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().expect("mariadbd (Debian: mariadb-server-core)");

        let mut server = Self { child, directory, port };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = self.try_client("SELECT 1") {
            let ended = self.child.try_wait().expect("our own child").is_some();
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("mariadbd does not answer: {error}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// Its port, when it was started with one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// The client program, as root, ready for more arguments.
    pub fn client_command(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.arg("--no-defaults").arg("--user=root").arg(format!("--socket={}", self.socket().display()));
        command.args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G", "--batch", "--skip-column-names"]);
        command
    }

    /// Runs SQL (several statements, DELIMITER too) by the client program: rows as lines, columns apart by tabs.
    pub fn client(&self, sql: &str) -> String {
        self.try_client(sql).unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
    }

    /// As [`MariaDb::client`]; the client's message when it fails.
    pub fn try_client(&self, sql: &str) -> Result<String, String> {
        let mut child = self
            .client_command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mariadb (Debian: mariadb-client)");
        let mut input = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            // The client may end before it has read everything: its own message says why.
            scope.spawn(move || input.write_all(sql.as_bytes()));
            let output = child.wait_with_output().map_err(|e| e.to_string())?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
                false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        })
    }

    /// How the program under test reaches this schema: as root over the socket.
    pub fn settings(&self, schema: &str) -> DatabaseSettings {
        DatabaseSettings {
            address: Address::Socket(self.socket()),
            user: "root".to_owned(),
            password: Secret::default(),
            name: schema.to_owned(),
            tls: Tls::Off,
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory with the system tables, made once per server version and kept for all tests.
fn template() -> PathBuf {
    let version = run(Command::new("mariadbd").arg("--version"));
    let version: String = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let cache = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&cache).expect("the directory of templates");
    let lock = File::create(cache.join("mariadb-template.lock")).expect("the template's lock");
    lock.lock().expect("the template's lock");

    let template = cache.join(format!("mariadb-{}", version.trim_matches('-')));
    if !template.exists() {
        let making = cache.join("mariadb-being-made");
        let _ = std::fs::remove_dir_all(&making);
        install(&making);
        std::fs::rename(&making, &template).expect("the finished template");
    }
    template
}

fn install(data: &Path) {
    let mut command = Command::new("mariadb-install-db");
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).args([
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-log-file-size=16M",
    ]);
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    run(&mut command);
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("its address").port()
}
