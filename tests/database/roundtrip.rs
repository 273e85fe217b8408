//! Every object and byte of a schema that has broken other tools goes round, on each server.

use std::path::Path;

use wp_backup_agent::database::DatabaseError;
use wp_backup_agent::error::{Exit, Explain as _};
use wp_backup_agent::progress::Tally;
use wp_backup_agent::repository::entry::{FindingCode, TableItem};

use super::support::dump::{Collect, dump, dump_into, load};
use super::support::fingerprint::{assert_same, fingerprint};
use super::support::flavour::Flavour;
use super::support::server::Server;

/// Makes the schema `nasty` with all that this server takes.
fn nasty(server: &Server) {
    server.create("nasty");
    let files: &[&str] = match server.flavour() {
        Flavour::MariaDb1011 => &["nasty.sql", "nasty-mariadb.sql"],
        Flavour::MariaDb118 => &["nasty.sql", "nasty-mariadb.sql", "nasty-mariadb-11.8.sql"],
        Flavour::MySql97 => &["nasty.sql", "nasty-mysql.sql"],
    };
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        server.feed("nasty", &std::fs::read(path).unwrap());
    }
}

async fn goes_round(flavour: Flavour) {
    let server = Server::shared(flavour);
    nasty(server);
    let before = fingerprint(server, "nasty");

    let tally = Tally::default();
    let mut first = Collect::default();
    let stats = dump_into(&server.settings("nasty"), &mut first, &tally).await.unwrap();
    assert_eq!(stats.rows, tally.figures().rows);
    assert_eq!(stats.sql_bytes, first.script().len() as u64);
    assert_eq!(stats.tables, first.of(TableItem::Table).count() as u64);
    assert_eq!(first.entries.first().unwrap().item, TableItem::Session);
    assert_eq!(first.entries.last().unwrap().item, TableItem::SessionEnd);

    load(&first, server, "by_loader", false).await.unwrap();
    assert_same(&before, &fingerprint(server, "by_loader"), "by the loader");

    server.create("by_client");
    server.feed("by_client", &first.script());
    assert_same(&before, &fingerprint(server, "by_client"), "by the client");

    // The comparison sees a changed byte.
    server.client("UPDATE by_client.types SET bl = UNHEX('01') WHERE id = 100");
    assert_ne!(before, fingerprint(server, "by_client"));
    // The row with the invalid ENUM value was among them.
    assert!(first.of(TableItem::Rows).any(|entry| entry.chunk.starts_with(b"DELIMITER")));

    let again = dump(server, "nasty").await;
    assert_eq!(first.entries, again.entries, "an unchanged schema gives the same chunks");
    assert_eq!(dump(server, "by_loader").await.script(), first.script(), "and so does its copy");

    named(&first, flavour);
    let definer = |entry: &&wp_backup_agent::repository::entry::TableEntry<bytes::Bytes>| {
        entry.definer.as_ref().is_some_and(|definer| definer.as_bytes() == b"`nobody`@`nowhere`")
    };
    assert_eq!(first.entries.iter().filter(definer).count(), 4, "definers are kept as data");
    assert!(!String::from_utf8_lossy(&first.script()).contains("DEFINER=`root`"), "no definer in the SQL");

    // A target that holds something is refused, and replaced when that is asked for.
    let refused = load(&first, server, "by_loader", false).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::NotEmpty { .. }), "{refused}");
    assert_eq!(refused.exit(), Exit::CannotCreate);
    load(&first, server, "by_loader", true).await.unwrap();
    assert_same(&before, &fingerprint(server, "by_loader"), "by the loader, replacing");
}

/// What a dump can't hold is named, and nothing else is.
fn named(dump: &Collect, flavour: Flavour) {
    let mut expected = vec![(FindingCode::NotConsistent, "myisam"), (FindingCode::ObjectUnreadable, "v_broken")];
    if flavour.is_mariadb() {
        expected.push((FindingCode::NotConsistent, "aria"));
    }
    for (code, subject) in &expected {
        assert!(dump.find(*code, subject).is_some(), "{subject}: {:?}", dump.findings);
    }
    assert_eq!(dump.findings.len(), expected.len(), "{:?}", dump.findings);
    assert!(dump.find(FindingCode::ObjectUnreadable, "v_broken").unwrap().detail.contains("select"));
}

#[tokio::test]
async fn every_object_and_byte_goes_round_on_mariadb_10_11() {
    goes_round(Flavour::MariaDb1011).await;
}

#[tokio::test]
async fn every_object_and_byte_goes_round_on_mariadb_11_8() {
    goes_round(Flavour::MariaDb118).await;
}

#[tokio::test]
async fn every_object_and_byte_goes_round_on_mysql_9_7() {
    goes_round(Flavour::MySql97).await;
}
