//! What a run asks of the store: three requests when nothing changed; else that, and packs for what is new, in 16 MiB each, and two more.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::path::Path;

use support::agent::{Agent, Store};
use support::mariadb::MariaDb;
use support::random::Random;
use support::roomy;
use support::s3::S3Server;
use support::small_site::{self, noise};

const PACK: u64 = 16 << 20;

/// A blog of many small files that compress and of media that don't.
fn make(content: &Path) -> u64 {
    let (mut bytes, mut random) = (0, Random::new(7));
    let mut write = |path: String, content_of: Vec<u8>| {
        let path = content.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        bytes += content_of.len() as u64;
        std::fs::write(path, content_of).unwrap();
    };
    for n in 0..3000 {
        let text = format!("<?php function f{n}() {{ return {}; }}\n", random.next());
        write(format!("plugins/p{}/inc/c{n}.php", n % 40), text.repeat(random.below(300) as usize).into_bytes());
    }
    for n in 0..120 {
        write(format!("uploads/2026/{:02}/{n}.jpg", n % 12), noise(random.below(2_000_000) as usize, n));
    }
    write("uploads/2026/01/film.mp4".into(), noise(40 << 20, 1000));
    bytes
}

/// What a run asked for since the last time.
#[track_caller]
fn at_most(s3: &S3Server, limit: u64, what: &str) {
    let requests = s3.requests();
    let shown: Vec<String> = requests.iter().map(ToString::to_string).collect();
    let packs = requests.iter().filter(|request| request.key.contains("/packs/")).count();
    let sent: u64 = requests.iter().map(|request| request.bytes_in).sum();
    println!("{what}: {} requests of at most {limit}, {packs} of them packs, {sent} bytes sent", requests.len());
    assert!(requests.len() as u64 <= limit, "{what}: more than {limit}: {shown:#?}");
    assert!(requests.iter().all(|request| request.method != "DELETE"), "{what}: {shown:#?}");
    s3.forget_requests();
}

#[test]
fn a_first_run_a_night_and_a_day() {
    let (content, kept) = (roomy::directory(1 << 30), roomy::directory(1 << 30));
    let (server, s3) = (MariaDb::start(), S3Server::start_in(kept.path(), 0, None).unwrap());
    small_site::make_tables(&server, "blog");
    small_site::make_tree(content.path());
    let bytes = make(content.path());
    let agent = Agent::new(&server, "blog", content.path(), &Store::S3(&s3));
    agent.snapshot();
    at_most(&s3, 3 + bytes.div_ceil(PACK) + 2, &format!("a first run of {bytes} bytes"));

    agent.snapshot();
    at_most(&s3, 3, "nothing changed");

    let mut new = 0;
    let mut random = Random::new(8);
    for n in 0..60 {
        let photo = noise(200_000 + random.below(2_000_000) as usize, 2000 + n);
        new += photo.len() as u64;
        std::fs::write(content.path().join(format!("uploads/2026/11/new-{n}.jpg")), photo).unwrap();
        server.client(&format!("INSERT INTO blog.wp_posts (post_title, post_content) VALUES ('New {n}', 'A photo of today')"));
    }
    for n in 0..40 {
        // All over the tree, so that many pieces of the list change.
        let (path, text) = (format!("plugins/p{n}/inc/c{}.php", n + 40 * n), format!("<?php // edited {n}\n").repeat(50));
        new += text.len() as u64;
        let path = content.path().join(path);
        assert!(path.exists());
        std::fs::write(path, text).unwrap();
        server.client(&format!(
            "UPDATE blog.wp_posts SET post_content = CONCAT(post_content, ' Edited.') WHERE ID = {}",
            n * 9 + 1
        ));
    }
    agent.snapshot();
    at_most(&s3, 3 + new.div_ceil(PACK) + 2, &format!("a day of 60 uploads and 40 edits, {new} bytes"));

    agent.snapshot();
    at_most(&s3, 3, "nothing changed since");
    let target = roomy::directory(1 << 30);
    agent.ok(&["restore", "latest", "--files", target.path().to_str().unwrap()]);
    support::compare::same_tree(content.path(), target.path()).unwrap();
}
