//! Gentle: peak resident memory stays below 128 MiB plus four times the largest row, at any size.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::io::Write as _;

use support::agent::{Agent, Store};
use support::mariadb::MariaDb;
use support::small_site;

const MIB: u64 = 1 << 20;

#[test]
fn a_first_run_over_two_gigabytes_of_files() {
    let server = MariaDb::start();
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make_tables(&server, "blog");
    small_site::make_tree(content.path());
    let mut made = 0u64;
    for n in 0u64.. {
        if made >= 2048 * MIB {
            break;
        }
        // Media of all sizes, some larger than any buffer; a third of it compresses.
        let size = [40_000, 700_000, 3 * MIB, 5 * MIB, 40 * MIB, 200][n as usize % 6];
        let dir = content.path().join(format!("uploads/{}", n % 50));
        std::fs::create_dir_all(&dir).unwrap();
        let mut file = std::fs::File::create(dir.join(format!("{n}.bin"))).unwrap();
        let mut left = size as usize;
        let mut piece = 0u64;
        while left > 0 {
            let mut block = small_site::noise(left.min(MIB as usize), n * 1000 + piece);
            if n % 3 == 0 {
                block.iter_mut().for_each(|b| *b &= 7);
            }
            file.write_all(&block).unwrap();
            left -= block.len();
            piece += 1;
        }
        made += size;
    }
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    let first = agent.peak(&["run-now", "--foreground"]);
    println!("first run over {} MiB: {} MiB", made / MIB, first / MIB);
    assert!(first <= 128 * MIB, "{} MiB", first / MIB);
    let target = agent.path("restored");
    let restore = agent.peak(&["restore", "latest", "--files", target.to_str().unwrap()]);
    println!("restore: {} MiB", restore / MIB);
    assert!(restore <= 128 * MIB, "{} MiB", restore / MIB);
    support::compare::same_tree(content.path(), &target).unwrap();
    drop((agent, store));

    // The same, sealed.
    let store = tempfile::tempdir().unwrap();
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    let identity = agent.path("identity");
    let identity = identity.to_str().unwrap();
    let recipient = agent.ok(&["keygen", "--output", identity]);
    agent.seal_to(&[recipient.trim()]);
    let first = agent.peak(&["run-now", "--foreground"]);
    println!("sealed: first run {} MiB", first / MIB);
    assert!(first <= 128 * MIB, "{} MiB", first / MIB);
    let target = agent.path("restored");
    let restore = agent.peak(&["restore", "latest", "--files", target.to_str().unwrap(), "--identity", identity]);
    println!("sealed: restore {} MiB", restore / MIB);
    assert!(restore <= 128 * MIB, "{} MiB", restore / MIB);
    support::compare::same_tree(content.path(), &target).unwrap();
}

#[test]
fn a_dump_of_a_table_of_one_gigabyte() {
    let server = MariaDb::start();
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    // 1 GiB of rows of 100 to 20,000 bytes, and one of 8 MiB.
    server.client(
        "SET SESSION max_statement_time=0; USE blog;
         CREATE TABLE wp_big (id BIGINT UNSIGNED PRIMARY KEY, a VARCHAR(64), b LONGTEXT) ENGINE=InnoDB;
         INSERT INTO wp_big SELECT seq, MD5(seq), REPEAT(MD5(seq * 7), 3 + (seq * 7919) % 600) FROM seq_1_to_110000;
         INSERT INTO wp_big VALUES (500000, 'large', REPEAT('0123456789abcdef', 524288));",
    );
    let bytes: u64 = server.client("SELECT SUM(LENGTH(b)) FROM blog.wp_big").trim().parse().unwrap();
    assert!(bytes >= 1000 * MIB, "{bytes}");
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    let largest_row = 8 * MIB;
    let limit = 128 * MIB + 4 * largest_row;
    let first = agent.peak(&["run-now", "--foreground"]);
    println!("dump of {} MiB: {} MiB", bytes / MIB, first / MIB);
    assert!(first <= limit, "{} MiB", first / MIB);
}
