//! The test harness itself: a comparison that can't fail, or a server that isn't strict, would prove nothing.

#![allow(clippy::unwrap_used)] // clippy knows tests by #[test], not helpers beside them

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use support::compare::{same_database, same_tree};
use support::flavour::Flavour;
use support::mariadb::{MariaDb, Options};
use support::s3::{self, Action, S3Server};
use support::server::Server;
use support::wordpress::{a_day, build_blog};

/// A file that needs every kind of care, a directory and a link, all with a fixed time.
fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("d")).unwrap();
    std::fs::write(root.join("d/f"), vec![7; 200_000]).unwrap();
    symlink("d/f", root.join("link")).unwrap();
    std::fs::set_permissions(root.join("d/f"), PermissionsExt::from_mode(0o640)).unwrap();
    let touch = ["-h", "-d", "2020-01-01 00:00:00.123456789", "link", "d/f", "d", "."];
    assert!(Command::new("touch").args(touch).current_dir(root).status().unwrap().success());
}

#[test]
fn trees_are_the_same_until_anything_differs() {
    let change = |what: &str, change: &dyn Fn(&Path)| {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(a.path());
        tree(b.path());
        let set = |path: &Path, time| std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        let (time, root) = (std::fs::metadata(b.path().join("d")).unwrap().modified().unwrap(), b.path().to_owned());
        assert_eq!(same_tree(a.path(), b.path()), Ok(()));
        change(&root);
        for directory in [root.join("d"), root.clone()] {
            set(&directory, time);
        }
        let differences = same_tree(a.path(), b.path()).expect_err(what);
        assert_eq!(differences.len(), 1, "{what}: {differences:?}");
    };
    let keeping_time = |root: &Path, change: &dyn Fn(&Path)| {
        let file = root.join("d/f");
        let time = std::fs::metadata(&file).unwrap().modified().unwrap();
        change(&file);
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    change("one byte", &|root| {
        keeping_time(root, &|file| {
            let mut content = std::fs::read(file).unwrap();
            content[150_000] = 8;
            std::fs::write(file, content).unwrap();
        });
    });
    change("one byte more", &|root| keeping_time(root, &|file| std::fs::write(file, vec![7; 200_001]).unwrap()));
    change("a nanosecond", &|root| {
        let file = std::fs::File::options().append(true).open(root.join("d/f")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_577_836_800, 123_456_788)).unwrap();
    });
    change("a permission", &|root| {
        std::fs::set_permissions(root.join("d/f"), PermissionsExt::from_mode(0o644)).unwrap();
    });
    change("a link's target", &|root| {
        std::fs::remove_file(root.join("link")).unwrap();
        symlink("d/g", root.join("link")).unwrap();
        let touch = Command::new("touch").args(["-h", "-r", "d/f", "link"]).current_dir(root).status();
        assert!(touch.unwrap().success());
    });
    change("a missing file", &|root| std::fs::remove_file(root.join("d/f")).unwrap());
    change("an extra file", &|root| std::fs::write(root.join("d/g"), "").unwrap());
    change("another kind", &|root| {
        std::fs::remove_file(root.join("link")).unwrap();
        std::fs::write(root.join("link"), "d/f").unwrap();
    });
}

#[test]
fn every_server_starts_and_ends() {
    for (flavour, version) in Flavour::ALL.into_iter().zip(["10.11", "11.8", "9.7"]) {
        let server = Server::of(flavour);
        assert!(server.client("SELECT VERSION()").starts_with(version), "{flavour:?}");
        let (pid, socket) = (server.pid(), server.socket());
        drop(server);
        assert!(!socket.exists() && !Path::new(&format!("/proc/{pid}")).exists(), "{flavour:?}");
    }
}

#[test]
fn databases_are_the_same_until_anything_differs() {
    let server = MariaDb::start_with(&Options { tcp: true, ..Options::default() });
    assert_ne!(server.port(), None);
    for schema in ["a", "b"] {
        server.client(&format!(
            "CREATE DATABASE {schema}; USE {schema};
             CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, f FLOAT, b BIT(9), blob_ LONGBLOB, s VARCHAR(50), d DATETIME(6));
             INSERT INTO t VALUES (1, 0.1, b'101', x'00ff0a', 'é\\t', '2020-01-01 00:00:00.000001'), (2, NULL, NULL, NULL, NULL, NULL);
             CREATE TABLE keyless (a TEXT) ENGINE=MyISAM; INSERT INTO keyless VALUES ('x'), ('x'), (NULL);
             CREATE DEFINER=nobody@localhost VIEW v AS SELECT s FROM {schema}.t;
             CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.s = 'g';
             CREATE FUNCTION fn() RETURNS INT DETERMINISTIC RETURN 1;
             CREATE SEQUENCE seq;
             CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO SELECT 1"
        ));
    }
    assert_eq!(same_database(&server, "a", "b"), Ok(()));
    let (change_and_back, table) = ("UPDATE b.t SET id = id", "table t");
    for (change, back, subject) in [
        ("UPDATE b.t SET f = 0.10000001 WHERE id = 1", "UPDATE b.t SET f = 0.1 WHERE id = 1", table),
        ("UPDATE b.t SET b = b'100' WHERE id = 1", "UPDATE b.t SET b = b'101' WHERE id = 1", table),
        ("UPDATE b.t SET blob_ = x'00ff0b' WHERE id = 1", "UPDATE b.t SET blob_ = x'00ff0a' WHERE id = 1", table),
        ("UPDATE b.t SET s = 'e\\t' WHERE id = 1", "UPDATE b.t SET s = 'é\\t' WHERE id = 1", table),
        ("UPDATE b.t SET s = '' WHERE id = 2", "UPDATE b.t SET s = NULL WHERE id = 2", table),
        ("ALTER TABLE b.t AUTO_INCREMENT = 9", "ALTER TABLE b.t AUTO_INCREMENT = 3", table),
        ("INSERT INTO b.keyless VALUES ('x')", "DELETE FROM b.keyless WHERE a = 'x' LIMIT 1", "table keyless"),
        ("DROP FUNCTION b.fn", "CREATE FUNCTION b.fn() RETURNS INT DETERMINISTIC RETURN 1", "function fn"),
        ("CREATE TABLE b.extra (a INT)", "DROP TABLE b.extra", "table extra"),
        ("DO NEXTVAL(b.seq)", change_and_back, "sequence seq, its state"),
    ] {
        server.client(change);
        let differences = same_database(&server, "a", "b").expect_err(change);
        assert_eq!(differences.len(), 1, "{change}: {differences:?}");
        assert_eq!(differences[0].subject, subject);
        server.client(back);
    }
}

#[test]
fn a_real_blog_lives_a_day() {
    let (server, directory) = (MariaDb::start(), tempfile::tempdir().unwrap());
    let site = directory.path().join("site");
    build_blog(&server, "blog", &site);
    let posts = || server.client("SELECT COUNT(*) FROM blog.wpb_posts WHERE post_type = 'post' AND post_status = 'publish'");
    assert_eq!(posts(), "60\n");
    a_day(&site, 1);
    assert_eq!(posts(), "64\n", "5 new, 1 deleted");
    assert!(site.join("wp-content/plugins/akismet/akismet.php").exists());
    let image = |n: u32| site.join(format!("wp-content/uploads/2024/03/day-1-{n}.jpg"));
    assert!((1..=6).all(|n| image(n).exists()));
}

fn client_with(server: &S3Server, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(server.endpoint())
        .region(Region::new(s3::REGION))
        .credentials_provider(Credentials::new(s3::ACCESS_KEY, secret, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

fn client(server: &S3Server) -> Client {
    client_with(server, s3::SECRET_KEY)
}

async fn put(client: &Client, key: &str, body: &[u8], sha256_of: &[u8]) -> Result<(), Option<u16>> {
    let sha256 = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(sha256_of));
    let request = client.put_object().bucket(s3::BUCKET).key(key).body(ByteStream::from(body.to_vec()));
    let reply = request.checksum_sha256(sha256).if_none_match("*").send().await;
    reply.map(drop).map_err(|error| error.raw_response().map(|reply| reply.status().as_u16()))
}

#[tokio::test]
async fn the_s3_server_is_as_strict_as_s3() {
    let server = S3Server::start();
    let client = client(&server);
    assert_eq!(put(&client, "p/1", b"one", b"one").await, Ok(()));
    assert_eq!(put(&client, "p/1", b"two", b"two").await, Err(Some(412)));
    assert_eq!(std::fs::read(server.bucket_dir().join("p/1")).unwrap(), b"one");
    assert_eq!(put(&client, "p/2", b"one", b"another").await, Err(Some(400)));
    assert!(!server.bucket_dir().join("p/2").exists(), "a refused PUT leaves nothing behind");
    assert_eq!(put(&client_with(&server, "wrong"), "p/3", b"one", b"one").await, Err(Some(403)));
    let nowhere = client.put_object().bucket("nowhere").key("k").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(nowhere.unwrap_err().raw_response().unwrap().status().as_u16(), 404);

    for key in ["p/0", "p/3", "p/4", "q/1"] {
        put(&client, key, b"x", b"x").await.unwrap();
    }
    let page = client.list_objects_v2().bucket(s3::BUCKET).prefix("p/").start_after("p/0").max_keys(2).send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!((keys, page.is_truncated()), (vec!["p/1", "p/3"], Some(true)));
    let range = client.get_object().bucket(s3::BUCKET).key("p/1").range("bytes=1-2").send().await.unwrap();
    assert_eq!(range.body.collect().await.unwrap().into_bytes(), "ne");

    let requests = server.requests();
    let seen: Vec<_> = requests.iter().map(|r| (r.n, r.method.as_str(), r.key.as_str(), r.status)).collect();
    assert_eq!(seen[0], (1, "PUT", "p/1", Some(200)));
    assert_eq!(seen[1], (2, "PUT", "p/1", Some(412)));
    assert_eq!((requests[0].bytes_in, requests[0].bucket.as_str()), (3, s3::BUCKET));
    let list = &requests[requests.len() - 2];
    assert!(list.is_list() && list.query.contains("start-after="), "{list}");
    assert_eq!(requests.last().unwrap().bytes_out, 2);
}

#[tokio::test]
async fn hooks_fail_before_and_after() {
    let server = S3Server::start();
    let client = client(&server);
    let made = |key: &str| server.bucket_dir().join(key).exists();
    for (key, action, answer, takes_effect) in [
        ("before", Action::FailBefore(503), Err(Some(503)), false),
        ("after", Action::FailAfter(500), Err(Some(500)), true),
        ("dropped", Action::DropReply, Err(None), true),
        ("stalled", Action::Stall(Duration::from_millis(50)), Ok(()), true),
        ("passed", Action::Pass, Ok(()), true),
    ] {
        server.on_request(Box::new(move |_, _| action));
        assert_eq!(put(&client, key, b"x", b"x").await, answer, "{key}");
        assert_eq!(made(key), takes_effect, "{key}");
    }
}

#[tokio::test]
async fn hooks_kill_before_and_after() {
    let server = S3Server::start();
    let client = client(&server);
    for (key, takes_effect) in [("before", false), ("after", true)] {
        let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
        server.forget_requests();
        let kill = if takes_effect { Action::KillAfter } else { Action::KillBefore };
        server.on_request(s3::at_request(2, kill, server.victim()));
        server.victim().store(i32::try_from(victim.id()).unwrap(), Ordering::SeqCst);
        assert_eq!(put(&client, "first", key.as_bytes(), key.as_bytes()).await.is_ok(), !takes_effect);
        assert!(victim.try_wait().unwrap().is_none());
        assert_eq!(put(&client, key, b"x", b"x").await, Err(None));
        let ended = victim.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
        assert_eq!(server.bucket_dir().join(key).exists(), takes_effect);
    }
}
