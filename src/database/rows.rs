//! Rows into chunks: each row's text by the connection that reads it, chunks from the rows of all in their order.

use bytes::Bytes;

use super::boundary::{Boundary, LIMIT, ends_after, key_hash};
use super::catalog::Layout;
use super::connect::RowValues;
use super::literal::{Literal, identifier};
use super::script;

/// What stands after a row, and counts as part of it.
const AFTER_ROW: &[u8] = b",\n";
/// What stands after the last row of a chunk.
const AFTER_CHUNK: &[u8] = b";\n";
/// Room for a chunk of the mean size, so that few have to grow.
const ROOM: usize = 256 << 10;
/// Rows are handed on in pieces of about this many bytes of text.
const PIECE: usize = 128 << 10;

/// `INSERT INTO … VALUES` and a newline: how a chunk of a table's rows begins.
pub(super) fn header(table: &[u8], layout: &Layout) -> Vec<u8> {
    let mut header = b"INSERT INTO ".to_vec();
    identifier(table, &mut header);
    header.extend_from_slice(b" (");
    separated(&mut header, layout.columns.iter(), |sql, column| identifier(&column.name, sql));
    header.extend_from_slice(b") VALUES\n");
    header
}

/// Rows as text, and what says where chunks end.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The rows, [`AFTER_ROW`] after each.
    text: Vec<u8>,
    ends: Vec<RowEnd>,
}

#[derive(Debug, Clone, Copy)]
struct RowEnd {
    /// Offset of the row's end in the text.
    at: usize,
    /// Whether a chunk ends here by the row's key.
    boundary: bool,
    /// Whether the row holds what a strict server refuses.
    lenient: bool,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Writes rows as text.
#[derive(Debug)]
pub(super) struct RowWriter {
    /// Bytes of what stands before the rows of a chunk.
    header: usize,
    literals: Vec<Literal>,
    key: Vec<usize>,
    rows: Rows,
}

impl RowWriter {
    /// `header`: how a chunk of these rows begins.
    pub(super) fn new(layout: &Layout, header: &[u8]) -> Self {
        let literals = layout.columns.iter().map(|column| column.literal).collect();
        Self { header: header.len(), literals, key: layout.key.clone(), rows: Rows::default() }
    }

    /// Adds a row; returns what should be handed on before it, and with it. A large row is handed on alone, so that it is never copied with others.
    pub(super) fn push(&mut self, row: RowValues) -> [Option<Rows>; 2] {
        let raw: usize = row.iter().flatten().map(Vec::len).sum();
        // No literal is longer than twice its value and its surroundings.
        let most = 2 * raw + row.len() * 32 + 4;
        let mut before = None;
        if most > PIECE {
            before = self.take();
            let exact = self.size(&row);
            // With room for what makes it a chunk, should it fill one alone.
            self.rows.text.reserve_exact(self.header + exact);
        } else if self.rows.text.capacity() == 0 {
            self.rows.text.reserve_exact(2 * PIECE);
        }
        let hash = key_hash(self.key.iter().map(|place| row.get(*place).and_then(Option::as_deref)));
        let start = self.rows.text.len();
        let lenient = self.write(row);
        let at = self.rows.text.len();
        self.rows.ends.push(RowEnd { at, boundary: ends_after(hash, (at - start) as u64), lenient });
        [before, if at >= PIECE { self.take() } else { None }]
    }

    /// The rows that haven't been handed on.
    pub(super) fn take(&mut self) -> Option<Rows> {
        (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows))
    }

    /// Appends `(…),`. Takes the row, so that a large value goes as soon as it is written. Tells whether strictness would refuse it.
    fn write(&mut self, row: RowValues) -> bool {
        let text = &mut self.rows.text;
        let (mut before, mut lenient) = (b'(', false);
        for (value, literal) in row.into_iter().zip(&self.literals) {
            text.push(before);
            before = b',';
            lenient |= *literal == Literal::Enum { has_empty: false } && value.as_ref().is_some_and(Vec::is_empty);
            literal.write(value.as_deref(), text);
        }
        text.push(b')');
        text.extend_from_slice(AFTER_ROW);
        lenient
    }

    /// How many bytes [`Self::write`] appends.
    fn size(&self, row: &RowValues) -> usize {
        let values: usize = row.iter().zip(&self.literals).map(|(value, literal)| literal.size(value.as_deref()) + 1).sum();
        values + 1 + AFTER_ROW.len()
    }
}

/// A chunk of rows that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) sql: Bytes,
    pub(super) rows: u64,
}

/// Cuts the rows of a table, in their order, into chunks.
#[derive(Debug)]
pub(super) struct Chunker {
    header: Vec<u8>,
    boundary: Boundary,
    text: Vec<u8>,
    rows: u64,
    lenient: bool,
}

impl Chunker {
    /// For the chunks that begin with this header.
    pub(super) fn new(header: Vec<u8>) -> Self {
        Self { header, boundary: Boundary::default(), text: Vec::new(), rows: 0, lenient: false }
    }

    /// Adds rows from the place `from` on, until a chunk is complete: then it returns the chunk and the place to go on from.
    pub(super) fn push(&mut self, rows: &Rows, from: &mut usize) -> Option<Finished> {
        let begin = |at: usize| at.checked_sub(1).and_then(|before| rows.ends.get(before)).map_or(0, |end| end.at);
        let first = begin(*from);
        let mut to = first;
        while let Some(end) = rows.ends.get(*from) {
            let size = (end.at - to) as u64;
            if self.boundary.is_before(size) {
                self.append(rows.text.get(first..to).unwrap_or_default());
                return self.finish();
            }
            self.boundary.add(size);
            self.rows += 1;
            self.lenient |= end.lenient;
            to = end.at;
            *from += 1;
            if end.boundary {
                self.append(rows.text.get(first..to).unwrap_or_default());
                return self.finish();
            }
        }
        self.append(rows.text.get(first..to).unwrap_or_default());
        None
    }

    /// Makes a row that fills a chunk alone into one, without copying it elsewhere; any other rows come back. The chunk before must be finished.
    pub(super) fn alone(&mut self, rows: Rows) -> Result<Finished, Rows> {
        match rows.ends.as_slice() {
            [row] if self.rows == 0 && !row.lenient && rows.text.len() as u64 > LIMIT => {
                let mut text = rows.text;
                text.truncate(text.len().saturating_sub(AFTER_ROW.len()));
                text.splice(0..0, self.header.iter().copied());
                text.extend_from_slice(AFTER_CHUNK);
                Ok(Finished { sql: text.into(), rows: 1 })
            }
            _ => Err(rows),
        }
    }

    /// Whether these rows are one that fills a chunk alone.
    pub(super) fn is_alone(rows: &Rows) -> bool {
        rows.ends.len() == 1 && rows.text.len() as u64 > LIMIT
    }

    fn append(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.text.is_empty() {
            let large = text.len() as u64 > LIMIT;
            self.text.reserve_exact(self.header.len() + if large { text.len() } else { text.len().max(ROOM) });
            self.text.extend_from_slice(&self.header);
        }
        self.text.extend_from_slice(text);
    }

    /// Ends the chunk, if it holds anything.
    pub(super) fn finish(&mut self) -> Option<Finished> {
        if self.rows == 0 {
            return None;
        }
        self.boundary.reset();
        let mut text = std::mem::take(&mut self.text);
        text.truncate(text.len().saturating_sub(AFTER_ROW.len()));
        if std::mem::take(&mut self.lenient) {
            text = script::lenient_rows(&text);
        } else {
            text.extend_from_slice(AFTER_CHUNK);
        }
        Some(Finished { sql: text.into(), rows: std::mem::take(&mut self.rows) })
    }
}

fn separated<T>(sql: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            sql.push(b',');
        }
        write(sql, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Column;
    use super::*;
    use proptest::prelude::*;

    fn layout() -> Layout {
        let column = |name: &str, literal| Column { name: name.into(), literal, float: false, integer: false };
        Layout {
            columns: vec![
                column("i`d", Literal::Number),
                column("b", Literal::Text),
                column("c", Literal::Enum { has_empty: false }),
            ],
            key: vec![0],
            index: Some(b"PRIMARY".to_vec()),
            ordered: true,
            history: false,
        }
    }

    /// The chunks of rows that are read by several connections: a new writer begins after each `cut` of them.
    fn chunks(rows: &[RowValues], cut: usize) -> Vec<Finished> {
        let mut chunker = Chunker::new(header(b"t", &layout()));
        let mut done = Vec::new();
        let mut take = |rows: Rows| {
            if Chunker::is_alone(&rows) {
                done.extend(chunker.finish());
            }
            let rows = match chunker.alone(rows) {
                Ok(chunk) => return done.push(chunk),
                Err(rows) => rows,
            };
            let mut from = 0;
            while let Some(chunk) = chunker.push(&rows, &mut from) {
                done.push(chunk);
            }
        };
        for part in rows.chunks(cut) {
            let mut writer = RowWriter::new(&layout(), &header(b"t", &layout()));
            for row in part {
                writer.push(row.clone()).into_iter().flatten().for_each(&mut take);
            }
            writer.take().into_iter().for_each(&mut take);
        }
        done.extend(chunker.finish());
        done
    }

    fn row(id: usize, text: &[u8]) -> RowValues {
        vec![Some(id.to_string().into_bytes()), Some(text.to_vec()), None]
    }

    #[test]
    fn the_statements() {
        let rows = [row(1, b"x'"), row(2, b"x'")];
        let [chunk] = <[Finished; 1]>::try_from(chunks(&rows, 1)).unwrap();
        assert_eq!(chunk.rows, 2);
        assert_eq!(chunk.sql, "INSERT INTO `t` (`i``d`,`b`,`c`) VALUES\n(1,'x\\'',NULL),\n(2,'x\\'',NULL);\n");
        assert!(chunks(&[], 1).is_empty());
    }

    #[test]
    fn an_invalid_enum_value_makes_its_chunk_lenient() {
        let rows = [row(1, b""), vec![Some(b"2".to_vec()), None, Some(Vec::new())]];
        let [chunk] = <[Finished; 1]>::try_from(chunks(&rows, 9)).unwrap();
        let statements: Vec<_> = super::super::statements(&chunk.sql).unwrap().collect();
        assert_eq!(statements.len(), 3);
        assert!(statements[1].starts_with(b"INSERT") && statements[1].ends_with(b")"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Chunks depend on the rows alone: not on who read them, nor on the pieces in which they were handed on.
        #[test]
        fn chunks_keep_the_limit_whoever_reads(
            sizes in proptest::collection::vec(prop_oneof![8 => 0usize..3000, 2 => 0usize..1_300_000], 1..20), cut in 1usize..20,
        ) {
            let rows: Vec<RowValues> = sizes.iter().enumerate().map(|(id, size)| row(id, &vec![b'\''; *size])).collect();
            let (whole, parts) = (chunks(&rows, rows.len()), chunks(&rows, cut));
            prop_assert_eq!(whole.iter().map(|c| c.rows).sum::<u64>(), sizes.len() as u64);
            for chunk in &whole {
                prop_assert!(chunk.rows == 1 || chunk.sql.len() <= (1 << 20) + 64);
            }
            let texts = |chunks: Vec<Finished>| chunks.into_iter().map(|chunk| chunk.sql).collect::<Vec<_>>();
            prop_assert_eq!(texts(whole), texts(parts));
        }
    }
}
