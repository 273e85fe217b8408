//! A run costs what changed: a night without change sends three requests at most, none of them a DELETE or a pack.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use support::agent::{Agent, Store};
use support::compare::{same_database, same_tree};
use support::mariadb::MariaDb;
use support::s3::S3Server;
use support::small_site;

#[test]
fn nothing_changed_is_two_requests_and_no_pack() {
    let (server, s3) = (MariaDb::start(), S3Server::start());
    let content = tempfile::tempdir().unwrap();
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    agent.snapshot();
    // Past the two seconds in which a change of the same tick could hide, the entries are trusted.
    s3.forget_requests();
    agent.snapshot();
    let requests = s3.requests();
    let shown: Vec<String> = requests.iter().map(|r| format!("{} {}", r.method, r.key)).collect();
    assert!(requests.len() <= 3, "{shown:?}");
    assert!(requests.iter().all(|r| r.method != "DELETE"), "{shown:?}");
    assert!(requests.iter().all(|r| !r.key.contains("/packs/")), "{shown:?}");
    assert_eq!(agent.snapshots(), 2);
}

#[test]
fn a_days_changes_upload_about_what_changed() {
    let (server, s3) = (MariaDb::start(), S3Server::start());
    let content = tempfile::tempdir().unwrap();
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    agent.snapshot();
    let new = small_site::noise(500_000, 77);
    std::fs::write(content.path().join("uploads/2026/11/new.jpg"), &new).unwrap();
    std::fs::rename(content.path().join("uploads/large.bin"), content.path().join("uploads/moved.bin")).unwrap();
    server.client("UPDATE blog.wp_posts SET post_title='Edited' WHERE ID=7; INSERT INTO blog.wp_posts (post_title, post_content) VALUES ('New', 'post')");
    s3.forget_requests();
    agent.snapshot();
    let sent: u64 = s3.requests().iter().filter(|r| r.method == "PUT").map(|r| r.bytes_in).sum();
    assert!(sent < new.len() as u64 + 300_000, "{sent} bytes were sent");
    // LIST, manifest, a pack of data and one of lists.
    assert!(s3.requests().len() <= 4, "{:?}", s3.requests());
    restored_equals_source(&agent, &server);
}

#[test]
fn a_lost_state_goes_on_from_the_store() {
    let (server, s3) = (MariaDb::start(), S3Server::start());
    let content = tempfile::tempdir().unwrap();
    small_site::make(&server, "blog", content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    agent.snapshot();
    std::fs::remove_dir_all(agent.path("state/blog")).unwrap();
    s3.forget_requests();
    agent.snapshot();
    assert!(s3.requests().iter().all(|r| r.method != "PUT" || !r.key.contains("/packs/")), "{:?}", s3.requests());
    restored_equals_source(&agent, &server);
}

fn restored_equals_source(agent: &Agent, server: &MariaDb) {
    let target = agent.path("restored");
    agent.ok(&["restore", "latest", "--files", target.to_str().unwrap(), "--database", "restored"]);
    same_tree(&agent.content, &target).unwrap();
    same_database(server, &agent.schema, "restored").unwrap();
}
