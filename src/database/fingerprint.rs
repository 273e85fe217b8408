//! What a schema holds, in a few bytes an object: two schemas of one content have one fingerprint, in whatever order their rows come and however they are cut into chunks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::dump::{Dump, DumpSink, SinkStopped};
use super::error::DatabaseError;
use crate::config::{DatabaseSettings, DumpSettings};
use crate::progress::Progress;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{Finding, TableEntry, TableItem};

/// The sum of the hashes of all rows of a table, and how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rows {
    count: u64,
    sum: [u64; 4],
}

impl Rows {
    /// Each row is a line of its own: literals escape line breaks.
    fn add(&mut self, chunk: &[u8]) {
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"(")) {
            // What follows the row says only whether it is the chunk's last.
            let row = line.iter().rposition(|byte| *byte == b')').and_then(|end| line.get(..=end)).unwrap_or(line);
            let hash = blake3::hash(row);
            let (parts, _) = hash.as_bytes().as_chunks::<8>();
            for (sum, part) in self.sum.iter_mut().zip(parts) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*part));
            }
            self.count += 1;
        }
    }
}

/// A schema's fingerprint. Its size goes with the number of objects, not with that of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    rows: BTreeMap<ByteText, Rows>,
    definitions: BTreeMap<(&'static str, ByteText), blake3::Hash>,
}

impl Fingerprint {
    /// Takes an entry of the list of tables in.
    pub fn add(&mut self, entry: &TableEntry<Bytes>) {
        let kind = match entry.item {
            TableItem::Rows => return self.rows.entry(entry.name.clone()).or_default().add(&entry.chunk),
            // Of the connection; of the loading.
            TableItem::Session | TableItem::SessionEnd | TableItem::ViewStub => return,
            TableItem::Sequence => "sequence",
            TableItem::Table => "table",
            TableItem::AfterRows => "counter of table",
            TableItem::View => "view",
            TableItem::Routine => "function or procedure",
            TableItem::Trigger => "trigger",
            TableItem::Event => "event",
        };
        self.definitions.insert((kind, entry.name.clone()), blake3::hash(&entry.chunk));
    }

    /// That of a schema as it is.
    ///
    /// # Errors
    /// As those of [`Dump`].
    pub async fn of(
        settings: &DatabaseSettings,
        schema: &str,
        progress: &dyn Progress,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        // Nothing of it is left out, whatever is left out of the site's own.
        let connections = settings.dump.connections;
        let dump = DumpSettings { connections, ..DumpSettings::default() };
        let settings = DatabaseSettings { name: schema.to_owned(), dump, ..settings.clone() };
        let mut dump = Dump::open(&settings, cancel).await?;
        let mut sink = Sink(Self::default());
        dump.run(&mut sink, progress).await?;
        dump.close().await?;
        Ok(sink.0)
    }

    /// In what another differs from this one, in words. `definitions`: whether their texts can be compared; else only which there are.
    pub fn differences(&self, other: &Self, definitions: bool) -> Vec<String> {
        let mut all = Vec::new();
        for ((kind, name), hash) in &self.definitions {
            match other.definitions.get(&(*kind, name.clone())) {
                None => all.push(format!("{kind} {name} is not there")),
                Some(found) if definitions && found != hash => all.push(format!("{kind} {name} is defined in another way")),
                Some(_) => {}
            }
        }
        for (kind, name) in other.definitions.keys().filter(|key| !self.definitions.contains_key(key)) {
            all.push(format!("{kind} {name} is there, and not in the snapshot"));
        }
        let tables = self.rows.keys().chain(other.rows.keys().filter(|name| !self.rows.contains_key(name)));
        for name in tables {
            let of = |fingerprint: &Self| fingerprint.rows.get(name).copied().unwrap_or_default();
            match (of(self), of(other)) {
                (ours, found) if ours.count != found.count => {
                    all.push(format!("table {name} has {} rows, and {} in the snapshot", found.count, ours.count));
                }
                (ours, found) if ours != found => all.push(format!("table {name} holds other rows")),
                _ => {}
            }
        }
        all
    }
}

struct Sink(Fingerprint);

#[async_trait]
impl DumpSink for Sink {
    async fn chunk(&mut self, entry: TableEntry<Bytes>) -> Result<(), SinkStopped> {
        self.0.add(&entry);
        Ok(())
    }

    // What the account can't see shows as a difference.
    fn finding(&mut self, _: Finding) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(item: TableItem, name: &str, chunk: &'static str) -> TableEntry<Bytes> {
        TableEntry {
            item,
            name: name.into(),
            rows: None,
            engine: None,
            consistent: true,
            definer: None,
            chunk: Bytes::from_static(chunk.as_bytes()),
        }
    }

    fn of(entries: &[TableEntry<Bytes>]) -> Fingerprint {
        let mut all = Fingerprint::default();
        entries.iter().for_each(|entry| all.add(entry));
        all
    }

    #[test]
    fn the_order_of_rows_and_where_chunks_end_do_not_count() {
        let one = of(&[entry(TableItem::Rows, "t", "INSERT INTO `t` (`a`) VALUES\n(1),\n(2),\n('x;\\n),');\n")]);
        let other = of(&[
            entry(TableItem::Rows, "t", "INSERT INTO `t` (`a`) VALUES\n('x;\\n),'),\n(1);\n"),
            entry(TableItem::Rows, "t", "INSERT INTO `t` (`a`) VALUES\n(2);\n"),
        ]);
        assert_eq!(one, other);
        assert!(one.differences(&other, true).is_empty());
    }

    #[test]
    fn every_difference_is_told() {
        let table = |sql| entry(TableItem::Table, "t", sql);
        let rows = |sql| entry(TableItem::Rows, "t", sql);
        let one = of(&[table("CREATE 1"), rows("INSERT\n(1),\n(2);\n"), entry(TableItem::View, "v", "1")]);
        for (other, told) in [
            (
                vec![table("CREATE 2"), rows("INSERT\n(1),\n(2);\n"), entry(TableItem::View, "v", "1")],
                "table t is defined in another way",
            ),
            (vec![table("CREATE 1"), rows("INSERT\n(1),\n(3);\n"), entry(TableItem::View, "v", "1")], "table t holds other rows"),
            (
                vec![table("CREATE 1"), rows("INSERT\n(1);\n"), entry(TableItem::View, "v", "1")],
                "table t has 1 rows, and 2 in the snapshot",
            ),
            (vec![table("CREATE 1"), entry(TableItem::View, "v", "1")], "table t has 0 rows, and 2 in the snapshot"),
            (vec![table("CREATE 1"), rows("INSERT\n(1),\n(2);\n")], "view v is not there"),
        ] {
            assert_eq!(one.differences(&of(&other), true), [told]);
        }
        // Two equal rows are not one, nor none.
        assert_ne!(of(&[rows("INSERT\n(1),\n(1);\n")]), of(&[rows("INSERT\n(1);\n")]));
        let more = of(&[
            table("CREATE 2"),
            rows("INSERT\n(1),\n(2);\n"),
            entry(TableItem::View, "v", "1"),
            entry(TableItem::Trigger, "x", ""),
        ]);
        assert_eq!(one.differences(&more, false), ["trigger x is there, and not in the snapshot"]);
    }
}
