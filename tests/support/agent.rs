//! The program under test, as a person runs it: a configuration file, a state directory, commands.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::mariadb::MariaDb;
use super::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

/// One site's agent.
pub struct Agent {
    dir: tempfile::TempDir,
    pub content: PathBuf,
    pub schema: String,
}

/// Where snapshots go.
pub enum Store<'a> {
    S3(&'a S3Server),
    Local(&'a Path),
}

impl Agent {
    /// An agent for a site named `blog`: wp-content in `content`, the schema `schema` of `server`.
    pub fn new(server: &MariaDb, schema: &str, content: &Path, store: &Store<'_>) -> Self {
        let agent = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            content: content.to_owned(),
            schema: schema.to_owned(),
        };
        agent.configure(&server.socket(), store, "", "");
        agent
    }

    /// Writes the configuration: `site` and `database` are more lines of [[site]] and [site.database].
    pub fn configure(&self, socket: &Path, store: &Store<'_>, site: &str, database: &str) {
        let store = match store {
            Store::Local(path) => format!("url = \"file://{}\"", path.display()),
            Store::S3(server) => {
                std::fs::write(self.path("secret"), SECRET_KEY).expect("the secret's file");
                set_mode(&self.path("secret"), 0o600);
                format!(
                    "url = \"s3://{BUCKET}/backups\"\nendpoint = \"{}\"\npath_style = true\nregion = \"us-east-1\"\naccess_key_id = \"{ACCESS_KEY}\"\nsecret_access_key_file = \"{}\"",
                    server.endpoint(),
                    self.path("secret").display()
                )
            }
        };
        let user = if database.contains("user =") { "" } else { "user = \"root\"" };
        let config = format!(
            "[store]\n{store}\n[daemon]\nsocket = \"{}\"\nstate = \"{}\"\n[[site]]\nname = \"blog\"\ncontent_dir = \"{}\"\ntable_prefix = \"wp_\"\n{site}\n[site.database]\nsocket = \"{}\"\nname = \"{}\"\n{user}\n{database}\n",
            self.socket().display(),
            self.path("state").display(),
            self.content.display(),
            socket.display(),
            self.schema,
        );
        std::fs::write(self.config(), config).expect("the configuration");
    }

    /// From now on packs are sealed to these recipients.
    pub fn seal_to(&self, recipients: &[&str]) {
        let config = std::fs::read_to_string(self.config()).expect("the configuration");
        let before = config.split("\n[encryption]").next().unwrap_or_default();
        let section =
            if recipients.is_empty() { String::new() } else { format!("\n[encryption]\nrecipients = {recipients:?}\n") };
        std::fs::write(self.config(), format!("{before}{section}")).expect("the configuration");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// The program with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wp-backup-agent"));
        command.arg("--config").arg(self.config()).args(args).stdin(Stdio::null());
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().expect("the program starts");
        // What it is there to print.
        if args.first() != Some(&"keygen") {
            holds_no_secret(&text(&output));
        }
        output
    }

    /// Runs a command that must exit with 0; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {:?}\n{}", output.status, text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command that must exit with 0; its peak resident memory in bytes, as the kernel accounted it.
    pub fn peak(&self, args: &[&str]) -> u64 {
        let (report, run) = (self.path("time"), self.command(args));
        let mut command = Command::new("/usr/bin/time");
        command.args(["--format=%M", "--output"]).arg(&report).arg(run.get_program()).args(run.get_args());
        let output = command.stdin(Stdio::null()).output().expect("GNU time");
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        let kib: u64 = std::fs::read_to_string(report).expect("the report").trim().parse().expect("KiB");
        kib * 1024
    }

    /// One snapshot in the foreground; must succeed.
    pub fn snapshot(&self) {
        self.ok(&["run-now", "--foreground"]);
    }

    /// How many snapshots the store has.
    pub fn snapshots(&self) -> usize {
        let json: serde_json::Value = serde_json::from_str(&self.ok(&["snapshots", "list", "--json"])).expect("JSON");
        json["snapshots"].as_array().expect("a list").len()
    }

    /// Starts the daemon and waits until it answers.
    pub fn daemon(&self) -> Daemon {
        let mut child =
            self.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let log = child.stderr.take().expect("standard error");
        let lines = std::thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>());
        let daemon = Daemon { child, lines: Some(lines) };
        let begun = Instant::now();
        while !self.run(&["status", "--json"]).status.success() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// `GET` over the control socket by curl, as a person would.
    pub fn curl(&self, args: &[&str], path: &str) -> serde_json::Value {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--unix-socket"])
            .arg(self.socket())
            .args(args)
            .arg(format!("http://localhost{path}"))
            .output()
            .expect("curl");
        assert!(output.status.success(), "curl: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)))
    }
}

/// A running daemon; ended by SIGTERM when dropped.
pub struct Daemon {
    child: Child,
    lines: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Daemon {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// SIGTERM, the log, and the exit code.
    pub fn stop(mut self) -> (Vec<String>, Option<i32>) {
        signal(self.pid(), rustix::process::Signal::TERM);
        let status = self.child.wait().expect("the daemon ends");
        let log = self.lines.take().expect("taken once").join().expect("the log");
        log.iter().for_each(|line| holds_no_secret(line));
        (log, status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            signal(self.pid(), rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Whatever a test is about: no command and no daemon prints what opens a store or its packs.
fn holds_no_secret(text: &str) {
    for secret in [SECRET_KEY, "AGE-SECRET-KEY-1"] {
        assert!(!text.contains(secret), "a secret is printed");
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Both streams of a finished command.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
