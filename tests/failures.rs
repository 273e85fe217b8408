//! Each failure that a person can cause or meets: a message that says what to do, the documented exit code, and no
//! half-written snapshot.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::process::{Command, Output};

use support::agent::{Agent, Store, text};
use support::mariadb::MariaDb;
use support::s3::{BUCKET, S3Server};
use support::small_site;

struct Fixture {
    server: MariaDb,
    content: tempfile::TempDir,
    store: tempfile::TempDir,
    agent: Agent,
}

impl Fixture {
    fn new() -> Self {
        let server = MariaDb::start();
        let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        small_site::make(&server, "blog", content.path());
        let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
        Self { server, content, store, agent }
    }

    fn run(&self) -> Output {
        self.agent.run(&["run-now", "--foreground"])
    }

    /// The run must end so, and leave no snapshot.
    #[track_caller]
    fn fails(&self, code: i32, words: &[&str]) {
        let output = self.run();
        says(&output, code, words);
        let snapshots = walkdir::WalkDir::new(self.store.path()).into_iter().filter_map(Result::ok);
        let left: Vec<_> =
            snapshots.filter(|e| e.path().to_string_lossy().contains("/snapshots/") && e.file_type().is_file()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    let told = text(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is missing in:\n{told}");
    }
    assert!(told.contains("what to do"), "no advice in:\n{told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_wrong_database_password() {
    let fixture = Fixture::new();
    fixture.server.client("CREATE USER wrong@localhost IDENTIFIED BY 'right'; GRANT ALL ON blog.* TO wrong@localhost");
    let password = fixture.agent.path("password");
    std::fs::write(&password, "Geheim-4711").unwrap();
    support::agent::set_mode(&password, 0o600);
    let lines = format!("user = \"wrong\"\npassword_file = \"{}\"", password.display());
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(fixture.store.path()), "", &lines);
    fixture.fails(77, &["denied", "wrong"]);
    assert!(!text(&fixture.run()).contains("Geheim-4711"));
}

#[test]
fn an_unreachable_server() {
    let fixture = Fixture::new();
    fixture.agent.configure(&fixture.agent.path("no.sock"), &Store::Local(fixture.store.path()), "", "");
    fixture.fails(69, &["no.sock"]);
}

#[test]
fn an_unknown_database() {
    let fixture = Fixture::new();
    fixture.server.client("DROP DATABASE blog");
    fixture.fails(78, &["no database", "blog"]);
}

#[test]
fn a_missing_bucket_and_one_without_rights() {
    let fixture = Fixture::new();
    let s3 = S3Server::start();
    fixture.agent.configure(&fixture.server.socket(), &Store::S3(&s3), "", "");
    std::fs::write(fixture.agent.path("secret"), "not-the-secret").unwrap();
    says(&fixture.run(), 77, &["access denied", "s3://"]);
    std::fs::write(fixture.agent.path("secret"), support::s3::SECRET_KEY).unwrap();
    std::fs::remove_dir_all(s3.bucket_dir()).unwrap();
    says(&fixture.run(), 69, &["does not exist", BUCKET]);
}

#[test]
fn an_unreachable_store() {
    let fixture = Fixture::new();
    let s3 = S3Server::start();
    fixture.agent.configure(&fixture.server.socket(), &Store::S3(&s3), "", "");
    drop(s3);
    says(&fixture.run(), 69, &["can't be reached"]);
}

#[test]
fn a_missing_store_directory() {
    let fixture = Fixture::new();
    let gone = fixture.agent.path("no-such-store");
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(&gone), "", "");
    fixture.fails(69, &["no-such-store"]);
}

#[test]
fn a_missing_wp_content() {
    let fixture = Fixture::new();
    std::fs::remove_dir_all(fixture.content.path()).unwrap();
    let output = fixture.run();
    assert!(matches!(output.status.code(), Some(66 | 74 | 78)), "{}", text(&output));
    assert!(text(&output).contains(fixture.content.path().to_str().unwrap()), "{}", text(&output));
    std::fs::create_dir_all(fixture.content.path()).unwrap();
}

/// Root reads everything: the program runs as another user here.
#[test]
fn an_unreadable_file_is_named_and_the_rest_is_committed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let fixture = Fixture::new();
    let secret = fixture.content.path().join("uploads/unreadable.txt");
    std::fs::write(&secret, "x").unwrap();
    support::agent::set_mode(&secret, 0o000);
    support::agent::set_mode(fixture.content.path(), 0o755);
    support::agent::set_mode(&fixture.content.path().join("plugins/hello/h.php"), 0o644);
    fixture.server.client("CREATE USER nobody@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON *.* TO nobody@localhost");
    let lines = "user = \"nobody\"";
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(fixture.store.path()), "", lines);
    let run = fixture.agent.command(&["run-now", "--foreground"]);
    for dir in [fixture.store.path(), fixture.agent.path("").as_path()] {
        assert!(Command::new("chown").arg("-R").arg("nobody").arg(dir).status().unwrap().success());
    }
    let program = fixture.agent.path("wp-backup-agent");
    std::fs::copy(run.get_program(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"])
        .arg(&program)
        .args(run.get_args())
        .output()
        .unwrap();
    let told = text(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("uploads/unreadable.txt"), "{told}");
    let shown = fixture.agent.ok(&["snapshots", "show", "latest"]);
    assert!(shown.contains("unreadable"), "{shown}");
}

/// A small file system of its own, where the test may mount one.
#[test]
fn a_full_disk_of_a_local_store() {
    let fixture = Fixture::new();
    let small = fixture.agent.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not run: a tmpfs can't be mounted here");
        return;
    }
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(&small), "", "");
    let output = fixture.run();
    let left: Vec<_> =
        walkdir::WalkDir::new(&small).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file()).collect();
    let unmounted = Command::new("umount").arg(&small).status().unwrap();
    says(&output, 73, &["no space left"]);
    assert!(left.iter().all(|e| !e.path().to_string_lossy().contains("/tmp/")), "{left:?}");
    assert!(left.iter().all(|e| !e.path().to_string_lossy().contains("/snapshots/")), "{left:?}");
    assert!(unmounted.success());
}

#[test]
fn a_bad_config_key() {
    let fixture = Fixture::new();
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(fixture.store.path()), "schedle = \"30 2 * * *\"", "");
    fixture.fails(78, &["schedle", "schedule", "line"]);
}

#[test]
fn a_missing_config() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.agent.config()).unwrap();
    says(&fixture.run(), 78, &["config.toml"]);
}

#[test]
fn an_unknown_site_and_an_unknown_snapshot() {
    let fixture = Fixture::new();
    says(&fixture.agent.run(&["run-now", "shop", "--foreground"]), 64, &["shop", "blog"]);
    says(&fixture.agent.run(&["restore", "latest", "--files", "/nonexistent/x"]), 66, &["blog"]);
    fixture.agent.snapshot();
    says(&fixture.agent.run(&["restore", "99", "--files", "/nonexistent/x"]), 66, &["99"]);
}

#[test]
fn no_daemon() {
    let fixture = Fixture::new();
    says(&fixture.agent.run(&["status"]), 69, &["control.sock"]);
    says(&fixture.agent.run(&["run-now"]), 69, &["control.sock"]);
}

/// The account of docs/CONFIGURATION.md may only read: a restore is told another.
#[test]
fn a_restore_by_an_account_that_may_only_read() {
    let fixture = Fixture::new();
    fixture.server.client("CREATE USER reader@localhost; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON blog.* TO reader@localhost; GRANT SELECT ON mysql.proc TO reader@localhost");
    fixture.agent.configure(&fixture.server.socket(), &Store::Local(fixture.store.path()), "", "user = \"reader\"");
    fixture.agent.snapshot();
    says(
        &fixture.agent.run(&["restore", "latest", "--database", "again"]),
        77,
        &["GRANT ALL PRIVILEGES ON `again`.* TO 'reader'@'localhost'"],
    );
    fixture.agent.ok(&["restore", "latest", "--database", "again", "--user", "root"]);
    support::compare::same_database(&fixture.server, "blog", "again").unwrap();
    says(
        &fixture.agent.run(&["restore", "latest", "--database", "b", "--user", "root", "--password-file", "/nonexistent/x"]),
        77,
        &["/nonexistent/x"],
    );
}

#[test]
fn two_runs_at_once() {
    let fixture = Fixture::new();
    let state = fixture.agent.path("state").join("blog");
    std::fs::create_dir_all(&state).unwrap();
    let lock = std::fs::File::create(state.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    fixture.fails(75, &["another run"]);
}

#[test]
fn a_restore_onto_what_is_there() {
    let fixture = Fixture::new();
    fixture.agent.snapshot();
    let target = fixture.agent.path("target");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), "mine").unwrap();
    says(&fixture.agent.run(&["restore", "latest", "--files", target.to_str().unwrap()]), 73, &["not empty", "--overwrite"]);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
    says(&fixture.agent.run(&["restore", "latest", "--database", "blog"]), 73, &["not empty", "--overwrite"]);
    fixture.agent.ok(&["restore", "latest", "--files", target.to_str().unwrap(), "--overwrite"]);
    assert_eq!(std::fs::read_to_string(target.join("mine")).unwrap(), "mine");
}
