//! Rows into chunks.

use bytes::Bytes;

use super::boundary::{Boundary, key_hash};
use super::catalog::Layout;
use super::connect::RowValues;
use super::literal::{Literal, identifier};
use super::script;

/// What stands between two rows: `,` and a newline.
const BETWEEN: usize = 2;
/// Room for a chunk of the mean size, so that few have to grow.
const ROOM: usize = 256 << 10;

/// The statement that reads a table's rows in the order in which they are chunked.
pub(super) fn select(table: &[u8], layout: &Layout) -> Vec<u8> {
    let mut sql = b"SELECT /*!40001 SQL_NO_CACHE */ ".to_vec();
    separated(&mut sql, layout.columns.iter(), |sql, column| {
        identifier(&column.name, sql);
        if column.float {
            sql.extend_from_slice(b"+0e0");
        }
    });
    sql.extend_from_slice(b" FROM ");
    identifier(table, &mut sql);
    if let Some(index) = &layout.index {
        sql.extend_from_slice(b" FORCE INDEX (");
        identifier(index, &mut sql);
        sql.push(b')');
    }
    if layout.ordered {
        sql.extend_from_slice(b" ORDER BY ");
        let key = layout.key.iter().filter_map(|place| layout.columns.get(*place));
        separated(&mut sql, key, |sql, column| {
            // With the table's name it is the column, never an expression of the select list.
            identifier(table, sql);
            sql.push(b'.');
            identifier(&column.name, sql);
        });
    }
    sql
}

fn separated<T>(sql: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            sql.push(b',');
        }
        write(sql, item);
    }
}

/// A chunk of rows that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) sql: Bytes,
    pub(super) rows: u64,
}

/// The chunk that is being filled.
pub(super) struct Chunker {
    literals: Vec<Literal>,
    key: Vec<usize>,
    header: Vec<u8>,
    boundary: Boundary,
    text: Vec<u8>,
    rows: u64,
    lenient: bool,
}

impl Chunker {
    pub(super) fn new(table: &[u8], layout: &Layout) -> Self {
        let mut header = b"INSERT INTO ".to_vec();
        identifier(table, &mut header);
        header.extend_from_slice(b" (");
        separated(&mut header, layout.columns.iter(), |sql, column| identifier(&column.name, sql));
        header.extend_from_slice(b") VALUES\n");
        Self {
            literals: layout.columns.iter().map(|column| column.literal).collect(),
            key: layout.key.clone(),
            header,
            boundary: Boundary::default(),
            text: Vec::new(),
            rows: 0,
            lenient: false,
        }
    }

    /// Adds a row; hands each chunk that is complete to `done`. There are two when a row doesn't fit and fills one alone.
    pub(super) fn push(&mut self, row: RowValues) -> [Option<Finished>; 2] {
        let raw: usize = row.iter().flatten().map(Vec::len).sum();
        // No literal is longer than twice its value and its surroundings. So the exact size is reckoned beforehand only where it matters.
        let most = 2 * raw + row.len() * 32 + 4;
        let fits = self.boundary.fits(most as u64);
        let exact = if fits { None } else { Some(self.size(&row)) };
        let full = exact.filter(|exact| self.boundary.is_before(*exact as u64)).and_then(|_| self.finish());
        if self.text.is_empty() {
            self.text.reserve_exact(ROOM.max(self.header.len() + exact.unwrap_or(0) + BETWEEN));
            self.text.extend_from_slice(&self.header);
        } else {
            self.text.reserve(exact.unwrap_or(0));
            self.text.extend_from_slice(b",\n");
        }
        let hash = key_hash(self.key.iter().map(|place| row.get(*place).and_then(Option::as_deref)));
        let before = self.text.len();
        self.write(row);
        self.rows += 1;
        let size = self.text.len() - before + BETWEEN;
        let ended = self.boundary.is_after(hash, size as u64).then(|| self.finish()).flatten();
        [full, ended]
    }

    /// Appends `(…)`. Takes the row, so that a large value goes as soon as it is written.
    fn write(&mut self, row: RowValues) {
        let mut before = b'(';
        for (value, literal) in row.into_iter().zip(&self.literals) {
            self.text.push(before);
            before = b',';
            self.lenient |= *literal == Literal::Enum { has_empty: false } && value.as_ref().is_some_and(Vec::is_empty);
            literal.write(value.as_deref(), &mut self.text);
        }
        self.text.push(b')');
    }

    /// A row's size as [`Self::push`] counts it: its text and what separates it from the next.
    fn size(&self, row: &RowValues) -> usize {
        let values: usize = row.iter().zip(&self.literals).map(|(value, literal)| literal.size(value.as_deref()) + 1).sum();
        values + 1 + BETWEEN
    }

    /// Ends the chunk, if it holds anything.
    pub(super) fn finish(&mut self) -> Option<Finished> {
        if self.rows == 0 {
            return None;
        }
        self.boundary.reset();
        let mut text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.lenient) {
            text = script::lenient_rows(&text);
        } else {
            text.extend_from_slice(b";\n");
        }
        Some(Finished { sql: text.into(), rows: std::mem::take(&mut self.rows) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Column;
    use super::*;
    use proptest::prelude::*;

    fn layout() -> Layout {
        let column = |name: &str, literal| Column { name: name.into(), literal, float: false };
        Layout {
            columns: vec![
                column("i`d", Literal::Number),
                column("b", Literal::Text),
                column("c", Literal::Enum { has_empty: false }),
            ],
            key: vec![0],
            index: Some(b"PRIMARY".to_vec()),
            ordered: true,
        }
    }

    #[test]
    fn the_statements() {
        let layout = layout();
        assert_eq!(
            String::from_utf8(select(b"t", &layout)).unwrap(),
            "SELECT /*!40001 SQL_NO_CACHE */ `i``d`,`b`,`c` FROM `t` FORCE INDEX (`PRIMARY`) ORDER BY `t`.`i``d`"
        );
        let mut chunker = Chunker::new(b"t", &layout);
        for id in ["1", "2"] {
            let row = vec![Some(id.as_bytes().to_vec()), Some(b"x'".to_vec()), None];
            assert!(chunker.push(row).iter().all(Option::is_none));
        }
        let chunk = chunker.finish().unwrap();
        assert_eq!(chunk.rows, 2);
        assert_eq!(chunk.sql, "INSERT INTO `t` (`i``d`,`b`,`c`) VALUES\n(1,'x\\'',NULL),\n(2,'x\\'',NULL);\n");
        assert!(chunker.finish().is_none());
    }

    #[test]
    fn an_invalid_enum_value_makes_its_chunk_lenient() {
        let mut chunker = Chunker::new(b"t", &layout());
        chunker.push(vec![Some(b"1".to_vec()), None, Some(Vec::new())]);
        let chunk = chunker.finish().unwrap();
        let statements: Vec<_> = super::super::statements(&chunk.sql).unwrap().collect();
        assert_eq!(statements.len(), 3);
        assert!(statements[1].starts_with(b"INSERT"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Where chunks end doesn't depend on whether sizes were reckoned beforehand.
        #[test]
        fn the_limit_holds(sizes in proptest::collection::vec(prop_oneof![8 => 0usize..3000, 2 => 0usize..1_300_000], 1..20)) {
            let mut chunker = Chunker::new(b"t", &layout());
            let mut chunks = Vec::new();
            for (id, size) in sizes.iter().enumerate() {
                let row = vec![Some(id.to_string().into_bytes()), Some(vec![b'\''; *size]), None];
                chunks.extend(chunker.push(row).into_iter().flatten());
            }
            chunks.extend(chunker.finish());
            prop_assert_eq!(chunks.iter().map(|c| c.rows).sum::<u64>(), sizes.len() as u64);
            for chunk in chunks {
                prop_assert!(chunk.rows == 1 || chunk.sql.len() <= (1 << 20) + 64);
            }
        }
    }
}
