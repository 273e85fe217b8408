//! Statements of one kind of server for another: what differs between MariaDB and MySQL is rewritten, and each change told; what the other
//! kind has nothing for is refused by name. Rows need none of this: their literals are read alike by both.

mod collations;
mod edit;
mod table;

use std::borrow::Cow;
use std::fmt;

use tokio_util::sync::CancellationToken;

use super::catalog::text;
use super::connect::Session;
use super::error::DatabaseError;
use super::framing::{frame, statements};
use super::lex::{Kind, tokens};
use super::literal::quote;
use crate::config::DatabaseSettings;

/// Who made a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// MariaDB.
    MariaDb,
    /// Oracle, or one of those who build on it, such as Percona.
    MySql,
}

/// A server, as far as definitions depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    /// Who made it.
    pub maker: Maker,
    /// Its version.
    pub version: (u32, u32, u32),
}

impl Vendor {
    /// From what `SELECT VERSION()` says, and a manifest repeats.
    pub fn of(version: &str) -> Self {
        let maker = if version.to_ascii_lowercase().contains("mariadb") { Maker::MariaDb } else { Maker::MySql };
        // Old MariaDB servers put MySQL 5.5.5 before themselves.
        let plain = version.strip_prefix("5.5.5-").unwrap_or(version);
        let mut numbers = plain.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { maker, version: (next(), next(), next()) }
    }

    /// Asks a server what it is.
    pub async fn ask(settings: &DatabaseSettings, cancel: CancellationToken) -> Result<Self, DatabaseError> {
        let mut session = Session::connect(settings, None, cancel).await?;
        let row = session.one("SELECT VERSION()").await;
        session.leave().await;
        let version = row?.and_then(|row| row.into_iter().next()?).map(text).unwrap_or_default();
        Ok(Self::of(&version))
    }

    fn is_mariadb(self) -> bool {
        self.maker == Maker::MariaDb
    }

    fn has_vectors(self) -> bool {
        self.version >= if self.is_mariadb() { (11, 7, 0) } else { (9, 0, 0) }
    }

    fn has_uca1400(self) -> bool {
        self.is_mariadb() && self.version >= (10, 10, 1)
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, _) = self.version;
        let name = if self.is_mariadb() { "MariaDB" } else { "MySQL" };
        write!(f, "{name} {major}.{minor}")
    }
}

/// A statement as the other server takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Adapted<'a> {
    /// The statement.
    pub sql: Cow<'a, [u8]>,
    /// What is no longer as it was, each in words.
    pub changes: Vec<String>,
}

/// The other kind of server has nothing for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Uncarried {
    /// What it is, in words.
    pub what: String,
}

impl Uncarried {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// From one server to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapter {
    from: Vendor,
    to: Vendor,
}

impl Adapter {
    /// `None` when the one takes what the other prints: it is of the same maker and not older.
    pub fn between(from: Vendor, to: Vendor) -> Option<Self> {
        let same = from.maker == to.maker && (to.version.0, to.version.1) >= (from.version.0, from.version.1);
        (!same).then_some(Self { from, to })
    }

    /// One statement of a chunk that doesn't hold rows.
    pub fn statement<'a>(&self, sql: &'a [u8]) -> Result<Adapted<'a>, Uncarried> {
        let mut changes = Vec::new();
        let crossing = self.from.maker != self.to.maker;
        let words: Vec<_> = tokens(sql).filter(|token| token.kind == Kind::Word).take(12).collect();
        let is = |at: usize, word: &str| words.get(at).is_some_and(|t| t.is(word));
        let creates = |kind: &str| is(0, "CREATE") && (is(1, kind) || is(1, "OR") && is(2, "REPLACE") && is(3, kind));
        if is(0, "INSERT") {
            return Ok(Adapted { sql: sql.into(), changes });
        }
        if crossing {
            if creates("SEQUENCE") || (is(0, "DO") && is(1, "SETVAL")) {
                return Err(self.lacks("a sequence"));
            }
            if creates("PACKAGE") {
                return Err(self.lacks("a package"));
            }
            if creates("AGGREGATE") {
                return Err(self.lacks("a stored aggregate function"));
            }
        }
        let mut text = Cow::Borrowed(sql);
        if is(0, "SET") {
            text = self.setting(text, &mut changes)?;
        } else if creates("TABLE") {
            text = table::adapt(self, &text, &mut changes)?.into();
        }
        let sql = match collations::adapt(self, &text, &mut changes)? {
            Some(mapped) => mapped.into(),
            None => text,
        };
        Ok(Adapted { sql, changes })
    }

    /// A whole chunk; one of rows stays as it is.
    pub fn chunk<'a>(&self, sql: &'a [u8]) -> Result<Adapted<'a>, Uncarried> {
        let as_it_is = || Adapted { sql: sql.into(), changes: Vec::new() };
        if !sql.starts_with(b"DELIMITER ") {
            return Ok(as_it_is());
        }
        let Some(list) = statements(sql) else { return Ok(as_it_is()) };
        let (mut changed, mut changes, mut all) = (false, Vec::new(), Vec::new());
        for statement in list {
            let adapted = self.statement(statement)?;
            changed |= adapted.sql != statement;
            changes.extend(adapted.changes);
            all.push(adapted.sql);
        }
        Ok(if changed { Adapted { sql: frame(&all).into(), changes } } else { as_it_is() })
    }

    fn lacks(&self, what: &str) -> Uncarried {
        Uncarried::new(format!("{what}: {} has no such thing", self.to))
    }

    /// `SET variable='value'` as it stands before an object with settings of its own.
    fn setting<'a>(&self, sql: Cow<'a, [u8]>, changes: &mut Vec<String>) -> Result<Cow<'a, [u8]>, Uncarried> {
        let Some((variable, value)) = assignment(&sql) else { return Ok(sql) };
        let new = match variable.as_str() {
            "sql_mode" => self.mode(&value, changes)?,
            "collation_connection" => collations::name(self, &value, changes)?.unwrap_or_else(|| value.clone()),
            "character_set_client" if collations::is_unknown_charset(self, &value) => {
                return Err(self.lacks(&format!("the character set {value}")));
            }
            _ => return Ok(sql),
        };
        if new == value {
            return Ok(sql);
        }
        let mut text = format!("SET {variable}=").into_bytes();
        quote(new.as_bytes(), &mut text);
        Ok(text.into())
    }

    /// An object's sql_mode without what the other server doesn't know.
    fn mode(&self, value: &str, changes: &mut Vec<String>) -> Result<String, Uncarried> {
        // ANSI and the like stand beside the modes that they stand for.
        const MARIADB_ONLY: [&str; 13] = [
            "MSSQL",
            "DB2",
            "MAXDB",
            "POSTGRESQL",
            "MYSQL323",
            "MYSQL40",
            "NO_KEY_OPTIONS",
            "NO_TABLE_OPTIONS",
            "NO_FIELD_OPTIONS",
            "NO_AUTO_CREATE_USER",
            "SIMULTANEOUS_ASSIGNMENT",
            "EMPTY_STRING_IS_NULL",
            "TIME_ROUND_FRACTIONAL",
        ];
        const MYSQL_ONLY: [&str; 1] = ["TIME_TRUNCATE_FRACTIONAL"];
        if self.from.maker == self.to.maker {
            return Ok(value.to_owned());
        }
        let unknown: &[&str] = if self.to.is_mariadb() { &MYSQL_ONLY } else { &MARIADB_ONLY };
        let mut kept = Vec::new();
        for mode in value.split(',') {
            if mode == "ORACLE" && !self.to.is_mariadb() {
                return Err(self.lacks("a body in Oracle's language (sql_mode ORACLE)"));
            }
            if unknown.contains(&mode) {
                changes.push(format!("sql_mode {mode} is left out: {} does not know it", self.to));
            } else {
                kept.push(mode);
            }
        }
        Ok(kept.join(","))
    }
}

/// The variable and the text of `SET variable='text'`; `None` for any other SET.
fn assignment(sql: &[u8]) -> Option<(String, String)> {
    let mut list = tokens(sql).filter(|token| token.kind != Kind::Blank).skip(1);
    let (variable, equals, value) = (list.next()?, list.next()?, list.next()?);
    if variable.kind != Kind::Word || !equals.is_symbol(b'=') || value.kind != Kind::Quoted || list.next().is_some() {
        return None;
    }
    let text = value.text.get(1..value.text.len().checked_sub(1)?)?;
    let plain = !text.contains(&b'\\');
    Some((String::from_utf8(variable.text.to_vec()).ok()?, String::from_utf8(text.to_vec()).ok().filter(|_| plain)?))
}

#[cfg(test)]
mod tests;
