//! A chunk's rows as values: what a server takes without reading SQL.
//!
//! Most of a server's work on an INSERT of long texts is to read them: with MariaDB's bulk execution it takes values instead of SQL, for
//! half of the server's time or less. What this module doesn't know to the last byte stays SQL.

use mysql_async::Value;

use crate::database::literal::{unescaped, unquote};

/// Values are sent in batches of at most about this many bytes …
const BATCH_BYTES: usize = 256 << 10;
/// … and this many values, each of which takes some 40 bytes of memory beside its own.
const BATCH_VALUES: usize = 16 << 10;
/// A statement takes no more parameters than this.
const MOST_COLUMNS: usize = u16::MAX as usize;

/// Rows of one INSERT of literals.
#[derive(Debug, Clone)]
pub(super) struct Insert<'a> {
    /// `INSERT INTO … VALUES`, up to the rows.
    head: &'a [u8],
    rest: &'a [u8],
    /// Of each column, whether its numbers are sent as text, which is exact for a number of any size; else they are whole numbers, as in the
    /// statement. A batch has one type a column.
    text: Vec<bool>,
}

/// Part of an insert's rows.
pub(super) type Batch = Vec<Vec<Value>>;

impl<'a> Insert<'a> {
    /// Takes an INSERT apart, if all of its rows are numbers, quoted strings and NULLs. Looks at all of it: what it then yields is whole.
    pub(super) fn of(statement: &'a [u8]) -> Option<Self> {
        const BEFORE_ROWS: &[u8] = b") VALUES\n";
        let line = statement.iter().position(|byte| *byte == b'\n')?;
        let (head, rest) = statement.split_at_checked(line + 1)?;
        // A name with such a sign might be taken for a parameter.
        if !head.starts_with(b"INSERT INTO `") || !head.ends_with(BEFORE_ROWS) || head.iter().any(|b| matches!(b, b'?' | b':')) {
            return None;
        }
        let mut columns = 0;
        let mut left = rest;
        while !left.is_empty() {
            let mut count = 0;
            left = row(left, |_| count += 1)?;
            if columns != 0 && count != columns {
                return None;
            }
            columns = count;
        }
        (1..=MOST_COLUMNS).contains(&columns).then(|| Self { head, rest, text: vec![false; columns] })
    }

    /// The statement that takes one row's values.
    pub(super) fn sql(&self) -> Vec<u8> {
        [self.head, b"(", vec![b"?".as_slice(); self.text.len()].join(b",".as_slice()).as_slice(), b")"].concat()
    }
}

impl Iterator for Insert<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            let (mut rows, mut values, mut left) = (Vec::new(), 0, self.rest);
            // Whether a column that was taken for one of whole numbers isn't.
            let mut mistaken = false;
            while !left.is_empty() && values < BATCH_VALUES && self.rest.len() - left.len() < BATCH_BYTES {
                let mut row_values = Vec::with_capacity(self.text.len());
                left = row(left, |literal| {
                    let text = self.text.get_mut(row_values.len());
                    row_values.push(match literal {
                        Raw::Null => Value::NULL,
                        // It was read before: it is whole.
                        Raw::Text(text) => Value::Bytes(unquote(text).unwrap_or_default()),
                        Raw::Number(digits) => match (text, parsed(digits)) {
                            (Some(false), Some(number)) => Value::Int(number),
                            (Some(text), _) => {
                                mistaken |= !std::mem::replace(text, true);
                                Value::Bytes(digits.to_vec())
                            }
                            (None, _) => Value::NULL,
                        },
                    });
                })?;
                values += row_values.len();
                rows.push(row_values);
            }
            // Once more then, with what is known now; for each column once at most.
            if !mistaken {
                self.rest = left;
                return (!rows.is_empty()).then_some(rows);
            }
        }
    }
}

/// A literal in the statement.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Null,
    Number(&'a [u8]),
    /// Quotes, escapes and all.
    Text(&'a [u8]),
}

/// Reads `(…)` and what stands between it and the next row; returns what follows.
fn row<'a>(text: &'a [u8], mut each: impl FnMut(Raw<'a>)) -> Option<&'a [u8]> {
    let mut text = text.strip_prefix(b"(")?;
    loop {
        let literal;
        (literal, text) = one(text)?;
        each(literal);
        let (next, after) = text.split_first()?;
        text = after;
        match next {
            b',' => {}
            b')' if text.is_empty() => return Some(text),
            b')' => return text.strip_prefix(b",\n").filter(|text| !text.is_empty()),
            _ => return None,
        }
    }
}

/// Reads one literal.
fn one(text: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    if text.starts_with(b"'") {
        let mut at = 1;
        loop {
            at += memchr::memchr2(b'\'', b'\\', text.get(at..)?)?;
            if text.get(at) == Some(&b'\'') {
                let (value, after) = text.split_at_checked(at + 1)?;
                return Some((Raw::Text(value), after));
            }
            unescaped(*text.get(at + 1)?)?;
            at += 2;
        }
    }
    if let Some(after) = text.strip_prefix(b"NULL") {
        return Some((Raw::Null, after));
    }
    let end = text.iter().position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))?;
    let (digits, after) = text.split_at_checked(end)?;
    // Not `0x…`, nor an expression.
    let whole = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let plain = whole(digits.strip_prefix(b"-").unwrap_or(digits))
        || digits.iter().any(u8::is_ascii_digit) && parsed::<f64>(digits).is_some();
    plain.then_some((Raw::Number(digits), after))
}

fn parsed<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::literal::Literal as Written;
    use super::*;
    use proptest::prelude::*;

    fn all(rows: &str) -> Option<Vec<Vec<Value>>> {
        let statement = format!("INSERT INTO `t` (`a`,`b`) VALUES\n{rows}");
        Some(Insert::of(statement.as_bytes())?.flatten().collect())
    }

    fn text(value: &str) -> Value {
        Value::Bytes(value.as_bytes().to_vec())
    }

    #[test]
    fn rows_of_literals_become_values() {
        assert_eq!(
            all("(1,'it\\'s\\n'),\n(-7,NULL),\n(3,'),\\n(')").unwrap(),
            [vec![Value::Int(1), text("it's\n")], vec![Value::Int(-7), Value::NULL], vec![Value::Int(3), text("),\n(")]]
        );
        // Beyond i64; of both signs; with fractions.
        assert_eq!(all("(18446744073709551615,1.5e0)").unwrap(), [vec![text("18446744073709551615"), text("1.5e0")]]);
        assert_eq!(
            all("(1,18446744073709551615),\n(-1,2.50)").unwrap(),
            [vec![Value::Int(1), text("18446744073709551615")], vec![Value::Int(-1), text("2.50")]]
        );
        assert_eq!(all("(1,007),\n(2,2.5)").unwrap(), [vec![Value::Int(1), text("007")], vec![Value::Int(2), text("2.5")]]);
        let insert = Insert::of(b"INSERT INTO `t` (`a`) VALUES\n(1)").unwrap();
        assert_eq!(insert.sql(), b"INSERT INTO `t` (`a`) VALUES\n(?)");
    }

    #[test]
    fn what_is_not_such_an_insert_stays_sql() {
        for rows in [
            "",
            "()",
            "(1",
            "(1)",
            "(1,2)x",
            "(1,2),\n",
            "(1,2),(3,4)",
            "(1,2),\n(3)",
            "(1,0x00)",
            "(1,CONVERT('{}' USING utf8mb4))",
            "(1,DEFAULT)",
            "(1,_latin1'x')",
            "(1,'a''b')",
            "(1,'\\q')",
            "(1,'a)",
            "(1,'a\\",
            "(1,NULLX)",
            "(1,--1)",
            "(1,e)",
            "(1,1+1)",
            "(1,inf)",
            "(1,2) ",
            "(1,2);(3,4)",
        ] {
            assert!(all(rows).is_none() || rows == "(1)", "{rows}");
        }
        for statement in [
            "INSERT INTO `t?` (`a`) VALUES\n(1)",
            "INSERT INTO `t` (`:a`) VALUES\n(1)",
            "REPLACE INTO `t` (`a`) VALUES\n(1)",
            "INSERT",
        ] {
            assert!(Insert::of(statement.as_bytes()).is_none(), "{statement}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Every text comes back byte for byte, whatever the batches are.
        #[test]
        fn what_the_dump_writes_is_read(
            rows in proptest::collection::vec((any::<i64>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60))), 1..60),
            long in 0usize..600_000,
        ) {
            let mut rows = rows;
            rows.push((0, Some(vec![b'\''; long])));
            let mut statement = b"INSERT INTO `t` (`a`,`b`) VALUES\n".to_vec();
            for (at, (number, value)) in rows.iter().enumerate() {
                statement.extend_from_slice(if at > 0 { b",\n(" } else { b"(" });
                Written::Number.write(Some(number.to_string().as_bytes()), &mut statement);
                statement.push(b',');
                Written::Text.write(value.as_deref(), &mut statement);
                statement.push(b')');
            }
            let read: Vec<_> = Insert::of(&statement).unwrap().flatten().collect();
            let expected: Vec<_> = rows.into_iter().map(|(number, value)| vec![Value::Int(number), value.map_or(Value::NULL, Value::Bytes)]).collect();
            prop_assert_eq!(read, expected);
        }

    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(rows in proptest::collection::vec(prop_oneof![Just(b'('), Just(b')'), Just(b','), Just(b'\n'), Just(b'\''), Just(b'\\'), Just(b'1'), any::<u8>()], 0..40)) {
            let statement = [b"INSERT INTO `t` (`a`) VALUES\n".as_slice(), &rows].concat();
            if let Some(insert) = Insert::of(&statement) {
                prop_assert!(insert.flatten().count() > 0);
            }
        }
    }
}
