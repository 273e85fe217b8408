//! No secret shows: not in what commands print or log at their most talkative, not in arguments, not in what they leave on disk or in the store, and
//! no core of the process is written.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use support::agent::{Agent, Store, set_mode, text};
use support::mariadb::MariaDb;
use support::s3::{S3Server, SECRET_KEY};
use support::small_site;

const PASSWORD: &str = "Geheim-4711-of-the-database";
const WRONG: &str = "Geheim-4712-that-is-wrong";

/// A secret, and its forms.
struct Secret {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn new(what: &'static str, text: &str) -> Self {
        let base64 = base64::engine::general_purpose::STANDARD.encode(text);
        // The end depends on what follows.
        let base64 = base64.trim_end_matches('=');
        let forms = [text.to_owned(), hex::encode(text), base64[..base64.len() - 1].to_owned()];
        Self { what, forms: forms.into_iter().map(String::into_bytes).collect() }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memchr::memmem::find(bytes, form).is_some())
    }
}

/// All that was said and left, with where.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn directory(&mut self, dir: &Path, but_for: &[&Path]) {
        for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
            if !but_for.contains(&entry.path()) {
                let mut bytes = fs::read(entry.path()).unwrap();
                // Lists and packs are compressed.
                for at in memchr::memmem::find_iter(&bytes.clone(), b"\x28\xb5\x2f\xfd") {
                    let mut plain = Vec::new();
                    if let Ok(mut decoder) = zstd::Decoder::new(&bytes[at..]).map(|decoder| decoder.single_frame()) {
                        let _ = std::io::copy(&mut decoder, &mut plain);
                    }
                    bytes.extend(plain);
                }
                self.0.push((entry.path().display().to_string(), bytes));
            }
        }
    }
}

/// Runs a command; its arguments and environment are looked at while it runs.
fn run(seen: &mut Seen, agent: &Agent, args: &[&str]) -> Option<i32> {
    let child = agent
        .command(args)
        .env("WP_BACKUP_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = Path::new("/proc").join(child.id().to_string());
    for file in ["cmdline", "environ"] {
        seen.0.push((format!("{args:?}: {file}"), fs::read(process.join(file)).unwrap_or_default()));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output).contains("panicked"), "{}", text(&output));
    seen.0.push((format!("{args:?}"), [output.stdout, output.stderr].concat()));
    output.status.code()
}

#[test]
fn no_secret_is_said_or_left_anywhere() {
    let (server, s3, content) = (MariaDb::start(), S3Server::start(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    server.client(&format!("CREATE USER agent@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO agent@localhost"));
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    let mut seen = Seen::default();
    let password = |name: &str, value: &str| {
        fs::write(agent.path(name), value).unwrap();
        set_mode(&agent.path(name), 0o600);
        format!("user = \"agent\"\npassword_file = \"{}\"", agent.path(name).display())
    };
    let (right, wrong) = (password("right", PASSWORD), password("wrong", WRONG));
    agent.configure(&server.socket(), &Store::S3(&s3), "", &right);
    let identity = agent.path("identity");
    let identity_text = identity.to_str().unwrap().to_owned();
    assert_eq!(run(&mut seen, &agent, &["keygen", "--output", &identity_text]), Some(0));
    let key = fs::read_to_string(&identity).unwrap();
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    agent.seal_to(&[recipient]);

    let target = agent.path("target").display().to_string();
    let right_file = agent.path("right").display().to_string();
    let wrong_file = agent.path("wrong").display().to_string();
    for (args, code) in [
        (&["check", "-vv"][..], Some(0)),
        (&["run-now", "--foreground", "-vv"], Some(0)),
        (&["run-now", "--foreground", "-vv"], Some(0)),
        (&["snapshots", "show", "latest", "--json", "-vv"], Some(0)),
        (&["snapshots", "ls", "latest", "-R", "--identity", &identity_text, "-vv"], Some(0)),
        (&["verify", "--read", "--identity", &identity_text, "-vv"], Some(0)),
        (&["restore", "latest", "--files", &target, "--database", "other", "--identity", &identity_text, "-vv"], Some(0)),
        (
            &[
                "restore",
                "latest",
                "--database",
                "third",
                "--user",
                "agent",
                "--password-file",
                &wrong_file,
                "--identity",
                &identity_text,
                "-vv",
            ],
            Some(77),
        ),
        (&["restore", "latest", "--database", "third", "--user", "agent", "--password-file", &right_file, "-vv"], Some(77)),
        (&["restore", "latest", "--files", &target, "--identity", &right_file, "-vv"], Some(64)),
        (&["prune", "--keep-last", "1", "-vv"], Some(0)),
        (&["policy", "writer"], Some(0)),
    ] {
        assert_eq!(run(&mut seen, &agent, args), code, "{args:?}: {}", String::from_utf8_lossy(&seen.0.last().unwrap().1));
    }
    // A daemon, its log, what it answers, and its limits.
    let daemon = agent.daemon();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().rev().nth(2), Some("0"), "{core}");
    for args in [&["run-now", "--wait", "-vv"][..], &["status", "--json", "-vv"], &["status", "-vv"]] {
        assert_eq!(run(&mut seen, &agent, args), Some(0));
    }
    let (log, _) = daemon.stop();
    seen.0.push(("the daemon's log".into(), log.join("\n").into_bytes()));
    // What is wrong, and in the configuration itself.
    agent.configure(&server.socket(), &Store::S3(&s3), "", &wrong);
    assert_eq!(run(&mut seen, &agent, &["run-now", "--foreground", "-vv"]), Some(77));
    assert_eq!(run(&mut seen, &agent, &["check", "-vv"]), Some(77));
    let secret = agent.path("secret");
    let config = fs::read_to_string(agent.config()).unwrap();
    fs::write(agent.config(), format!("{config}\n[encryption]\nrecipients = [\"{}\"]\n", key.lines().last().unwrap())).unwrap();
    assert_eq!(run(&mut seen, &agent, &["check", "-vv"]), Some(78));
    agent.configure(&server.socket(), &Store::S3(&s3), "", &right);
    fs::write(&secret, WRONG).unwrap();
    assert_eq!(run(&mut seen, &agent, &["run-now", "--foreground", "-vv"]), Some(77));
    let signing_key = agent.path("state/signing-key");
    let signing = fs::read_to_string(&signing_key).unwrap();

    seen.directory(&agent.path("state"), &[&signing_key]);
    seen.directory(&s3.bucket_dir(), &[]);
    let total: usize = seen.0.iter().map(|(_, bytes)| bytes.len()).sum();
    let secrets = [
        Secret::new("the database's password", PASSWORD),
        Secret::new("a wrong password", WRONG),
        Secret::new("the store's secret key", SECRET_KEY),
        Secret::new("the identity", key.lines().last().unwrap()),
        Secret::new("the signing key", signing.lines().last().unwrap()),
    ];
    // What is looked for is found where it is.
    assert!(secrets[4].is_in(signing.as_bytes()) && secrets[0].is_in(&fs::read(agent.path("right")).unwrap()));
    let found: Vec<_> = secrets
        .iter()
        .flat_map(|secret| {
            seen.0.iter().filter(|(_, bytes)| secret.is_in(bytes)).map(move |(place, _)| format!("{} in {place}", secret.what))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    println!("{} places, {total} bytes, no secret in them", seen.0.len());
}

/// The unit writes no core either.
#[test]
fn the_unit_lets_no_core_be_written() {
    let unit = include_str!("../systemd/wp-backup-agent.service");
    assert!(unit.lines().any(|line| line == "LimitCORE=0"));
}
