//! A private database server in a temporary directory.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wp_backup_agent::config::{Address, DatabaseSettings, DumpSettings, Secret, Tls};

use super::flavour::{Flavour, run};

/// The running server; `root` needs no password. Dropping it kills it: nothing in it is meant to last.
pub struct Server {
    child: Child,
    /// Kills the server and removes its directory when this process ends without dropping it: its standard input closes then.
    guard: Child,
    directory: tempfile::TempDir,
    flavour: Flavour,
    port: Option<u16>,
}

/// What sets a server apart from the plain one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which server it is.
    pub flavour: Flavour,
    /// Whether it listens on a free loopback port too.
    pub tcp: bool,
    /// More arguments of the server.
    pub arguments: Vec<String>,
    /// Whether its files are in memory, where the machine has a file system for that: for many statements that wait for the disk.
    pub in_memory: bool,
}

impl Server {
    /// Starts Debian's own MariaDB, listening on a socket only.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a server of this flavour, listening on a socket only.
    pub fn of(flavour: Flavour) -> Self {
        Self::start_with(&Options { flavour, ..Options::default() })
    }

    /// Starts a server, and waits until it answers.
    pub fn start_with(options: &Options) -> Self {
        let memory = options.in_memory.then(|| tempfile::tempdir_in("/dev/shm").ok()).flatten();
        let directory = memory.unwrap_or_else(|| tempfile::tempdir().expect("a temporary directory"));
        let data = directory.path().join("data");
        let flavour = options.flavour;
        run(Command::new("cp").arg("-a").arg("--reflink=auto").arg(flavour.template()).arg(&data));

        let port = options.tcp.then(free_port);
        let log = File::create(directory.path().join("log")).expect("the server's log");
        let mut command = flavour.server(&data);
        command
            .arg(format!("--socket={}", directory.path().join("sock").display()))
            .arg(format!("--pid-file={}", directory.path().join("pid").display()))
            // A server that starts deletes the temporary tables that it finds, another's too.
            .arg(format!("--tmpdir={}", directory.path().display()))
            .args(["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-fast-shutdown=2"])
            .args(["--max-allowed-packet=1G", "--skip-name-resolve", "--character-set-server=utf8mb4"]);
        match flavour.is_mariadb() {
            true => command.args(["--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M"]),
            false => command.args(["--mysqlx=OFF", "--secure-file-priv="]),
        };
        match port {
            Some(port) => command.args(["--bind-address=127.0.0.1", &format!("--port={port}")]),
            None => command.arg("--skip-networking"),
        };
        command.args(&options.arguments);
        let output = log.try_clone().expect("the server's log");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().expect("the database server's program");
        let guard = Command::new("sh")
            .args(["-c", "cat >/dev/null; kill -9 \"$1\"; rm -rf \"$2\"", "guard", &child.id().to_string()])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");

        let mut server = Self { child, guard, directory, flavour, port };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = self.try_client("SELECT 1") {
            let ended = self.child.try_wait().expect("our own child").is_some();
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("{:?} does not answer: {error}\n{log}", self.flavour);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// A server of this flavour, with binlog, for all tests of a file: it ends with them.
    pub fn shared(flavour: Flavour) -> &'static Self {
        static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
        let at = Flavour::ALL.iter().position(|other| *other == flavour).expect("one of them");
        let arguments = ["--log-bin=binlog", "--event-scheduler=OFF"].map(str::to_owned).into();
        SERVERS[at].get_or_init(|| Self::start_with(&Options { flavour, arguments, in_memory: true, ..Options::default() }))
    }

    /// Which server it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
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

    /// As [`Server::client`], in a schema.
    pub fn in_schema(&self, schema: &str, sql: &str) {
        self.client(&format!("USE `{schema}`;\n{sql}"));
    }

    /// As [`Server::client`]; the client's message when it fails.
    pub fn try_client(&self, sql: &str) -> Result<String, String> {
        let output = self.client_output(&[], sql.as_bytes())?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Makes an empty schema whose character set is latin1, as the nasty one's is.
    pub fn create(&self, schema: &str) {
        self.client(&format!("DROP DATABASE IF EXISTS `{schema}`; CREATE DATABASE `{schema}` CHARACTER SET latin1"));
    }

    /// Feeds a script to the client as its documentation says: bytes as they are, comments too.
    pub fn feed(&self, schema: &str, sql: &[u8]) {
        let done = self.client_output(&["--binary-mode", "--comments", schema], sql);
        done.unwrap_or_else(|error| panic!("{schema}: {error}"));
    }

    /// The rows of a query in this schema as the client prints them, bytes unconverted; `arguments` are more of the client's.
    pub fn query(&self, schema: &str, arguments: &[&str], sql: &str) -> String {
        let arguments = [&["--default-character-set=binary", schema], arguments].concat();
        let output = self.client_output(&arguments, sql.as_bytes()).unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        String::from_utf8_lossy(&output).into_owned()
    }

    fn client_output(&self, arguments: &[&str], sql: &[u8]) -> Result<Vec<u8>, String> {
        let mut command = self.client_command();
        let pipes = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("mariadb (Debian: mariadb-client)");
        let mut input = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            // The client may end before it has read everything: its own message says why.
            scope.spawn(move || input.write_all(sql));
            let output = child.wait_with_output().map_err(|e| e.to_string())?;
            match output.status.success() {
                true => Ok(output.stdout),
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
            dump: DumpSettings::default(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The guard first: once the server is gone, its process id may be another's.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("its address").port()
}
