//! Rows as INSERT statements of about a megabyte.

use std::io::{self, Write};

/// A value in a row.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Text(&'a str),
    Null,
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

/// A row's values, whatever each one's type.
#[macro_export]
macro_rules! row {
    ($($value:expr),* $(,)?) => { &[$($crate::insert::Value::from($value)),*] };
}

const STATEMENT: usize = 1_000_000;

/// The statements of one table.
pub(crate) struct Insert<'a> {
    out: &'a mut dyn Write,
    /// `wp_posts`, or `wp_posts (ID, …)`.
    into: &'static str,
    statement: Vec<u8>,
}

impl<'a> Insert<'a> {
    pub(crate) fn into(into: &'static str, out: &'a mut dyn Write) -> Self {
        Self { out, into, statement: Vec::new() }
    }

    pub(crate) fn row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        let sql = &mut self.statement;
        match sql.is_empty() {
            true => write!(sql, "INSERT INTO {} VALUES\n(", self.into)?,
            false => sql.extend_from_slice(b",\n("),
        }
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                sql.push(b',');
            }
            match value {
                Value::Number(number) => write!(sql, "{number}")?,
                Value::Text(text) => quote(text, sql),
                Value::Null => sql.extend_from_slice(b"NULL"),
            }
        }
        sql.push(b')');
        if sql.len() >= STATEMENT { self.finish() } else { Ok(()) }
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if !self.statement.is_empty() {
            self.statement.extend_from_slice(b";\n");
            self.out.write_all(&self.statement)?;
            self.statement.clear();
        }
        Ok(())
    }
}

fn quote(text: &str, sql: &mut Vec<u8>) {
    sql.push(b'\'');
    for byte in text.bytes() {
        match byte {
            b'\'' => sql.extend_from_slice(b"''"),
            b'\\' => sql.extend_from_slice(b"\\\\"),
            b'\n' => sql.extend_from_slice(b"\\n"),
            _ => sql.push(byte),
        }
    }
    sql.push(b'\'');
}
