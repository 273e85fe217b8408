//! A restore of a database keeps within 128 MiB plus four times the largest row, whatever the number of connections.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use support::agent::{Agent, Store};
use support::mariadb::{MariaDb, Options};
use support::small_site;

const MIB: u64 = 1 << 20;

/// Restores of a table `wp_big` as this SQL makes it, over so many connections each: what they hold, and whether it is all there.
fn restores(table: &str, largest_row: u64, connections: &[&str]) {
    let arguments = vec!["--innodb-log-file-size=512M".into()];
    let server = MariaDb::start_with(&Options { arguments, in_memory: true, ..Options::default() });
    let (content, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_site::make(&server, "blog", content.path());
    server.client(&format!("USE blog; {table}"));
    let agent = Agent::new(&server, "blog", content.path(), &Store::Local(store.path()));
    agent.snapshot();
    let limit = 128 * MIB + 4 * largest_row;
    for connections in connections {
        server.client("DROP DATABASE IF EXISTS copy");
        let peak = agent.peak(&["restore", "latest", "--database", "copy", "--connections", connections]);
        println!("{connections} connections: {} MiB of {}", peak / MIB, limit / MIB);
        assert!(peak <= limit, "{connections} connections: {} MiB of {}", peak / MIB, limit / MIB);
    }
    let sums = |schema: &str| {
        server.client(&format!(
            "SELECT COUNT(*), SUM(CRC32(b)), SUM(LENGTH(b)), SUM(CRC32(t)), SUM(LENGTH(t)) FROM {schema}.wp_big"
        ))
    };
    assert_eq!(sums("blog"), sums("copy"));
}

#[test]
fn large_rows_and_many() {
    // 150 MB of ordinary rows, and twelve of 24 MiB one after the other.
    let table = "CREATE TABLE wp_big (id INT PRIMARY KEY, t VARCHAR(64), b LONGTEXT, KEY t (t)) ENGINE=InnoDB;
         INSERT INTO wp_big SELECT seq, MD5(seq), REPEAT(MD5(seq * 7), 3 + (seq * 7919) % 600) FROM seq_1_to_15000;
         INSERT INTO wp_big SELECT 1000000 + seq, 'large', REPEAT(MD5(seq), 786432) FROM seq_1_to_12;";
    restores(table, 24 * MIB, &["1", "4", "8"]);
}

/// One row of bytes, of which a statement has each as two digits, and one of text, of which it has each character as two.
#[test]
fn rows_of_100_mib() {
    let table = "SET SESSION group_concat_max_len=2097152;
         CREATE TABLE wp_big (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT) ENGINE=InnoDB;
         INSERT INTO wp_big SELECT 1, REPEAT((SELECT GROUP_CONCAT(UNHEX(SHA2(seq, 512)) SEPARATOR '') FROM seq_1_to_16384), 100), NULL;
         INSERT INTO wp_big SELECT 2, NULL, REPEAT('\\'\\n\\\\\"', 26214400);";
    restores(table, 100 * MIB, &["4"]);
}
