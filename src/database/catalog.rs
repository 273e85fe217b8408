//! What the schema holds, by information_schema and SHOW.

use super::connect::{RowValues, Session};
use super::error::DatabaseError;
use super::lex::tokens;
use super::literal::{Literal, quote, quoted};

/// What an entry of the schema's list of tables is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    /// A table that keeps its history (MariaDB).
    Versioned,
    View,
    Sequence,
}

/// One of the schema's tables, views and sequences.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Absent for views and for tables that the server can't open.
    pub(super) engine: Option<String>,
    pub(super) created: Option<Vec<u8>>,
}

/// The schema's tables, views and sequences, sorted by name, bytewise.
pub(super) async fn list(session: &mut Session) -> Result<Vec<Listed>, DatabaseError> {
    let rows = session
        .all("SELECT table_name, table_type, engine, create_time FROM information_schema.tables WHERE table_schema = DATABASE()")
        .await?;
    let mut list: Vec<Listed> = rows.into_iter().filter_map(listed).collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

/// One of them again; `None` when it is gone.
pub(super) async fn listed_again(session: &mut Session, name: &[u8]) -> Result<Option<Listed>, DatabaseError> {
    let mut sql = b"SELECT table_name, table_type, engine, create_time FROM information_schema.tables \
                    WHERE table_schema = DATABASE() AND table_name = "
        .to_vec();
    quote(name, &mut sql);
    Ok(session.one(sql).await?.and_then(listed))
}

fn listed(row: RowValues) -> Option<Listed> {
    let [name, kind, engine, created] = <[_; 4]>::try_from(row).ok()?;
    let kind = match kind?.as_slice() {
        b"VIEW" | b"SYSTEM VIEW" => Kind::View,
        b"SEQUENCE" => Kind::Sequence,
        b"SYSTEM VERSIONED" => Kind::Versioned,
        b"TEMPORARY" | b"LOCAL TEMPORARY" => return None,
        _ => Kind::Table,
    };
    Some(Listed { name: name?, kind, engine: engine.map(text), created })
}

/// The engines whose tables a snapshot covers.
pub(super) async fn transactional_engines(session: &mut Session) -> Result<Vec<String>, DatabaseError> {
    let rows = session.all("SELECT engine FROM information_schema.engines WHERE transactions = 'YES'").await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()?.map(text)).collect())
}

/// The schema's character set and collation.
pub(super) async fn schema_charset(session: &mut Session) -> Result<(Vec<u8>, Vec<u8>), DatabaseError> {
    let row = session
        .one("SELECT default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name = DATABASE()")
        .await?;
    match row.and_then(|row| <[_; 2]>::try_from(row).ok()) {
        Some([Some(charset), Some(collation)]) => Ok((charset, collation)),
        _ => Err(DatabaseError::Unexpected { what: "information_schema.schemata lacks the database".into() }),
    }
}

/// How a table's rows are read and written.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    /// The places of the key's columns among them; all when there is no key.
    pub(super) key: Vec<usize>,
    /// The index that holds the key.
    pub(super) index: Option<Vec<u8>>,
    /// Whether the rows must be asked for in the key's order. Not where the key holds prefixes of columns: sorting would compare
    /// more than the index does; reading by the index gives its order.
    pub(super) ordered: bool,
}

/// One column that an INSERT names: generated ones aren't among them, invisible ones are.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Vec<u8>,
    pub(super) literal: Literal,
    /// The column is FLOAT: as it is, the server would print six digits.
    pub(super) float: bool,
}

/// A table's layout.
pub(super) async fn layout(session: &mut Session, table: &[u8], mariadb: bool) -> Result<Layout, DatabaseError> {
    let mut sql = b"SELECT column_name, data_type, column_type, extra FROM information_schema.columns \
                    WHERE table_schema = DATABASE() AND table_name = "
        .to_vec();
    quote(table, &mut sql);
    sql.extend_from_slice(b" ORDER BY ordinal_position");
    let columns: Vec<Column> = session.all(sql).await?.into_iter().filter_map(|row| column(row, mariadb)).collect();
    let (index, key, ordered) = key(session, table, &columns).await?;
    Ok(Layout { columns, key, index, ordered })
}

fn column(row: RowValues, mariadb: bool) -> Option<Column> {
    let [name, data_type, column_type, extra] = <[_; 4]>::try_from(row).ok()?;
    let extra = extra.map(text).unwrap_or_default().to_ascii_uppercase();
    // MySQL's DEFAULT_GENERATED only means that the default is an expression.
    if extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED") || extra.contains("PERSISTENT") {
        return None;
    }
    let data_type = data_type.map(text).unwrap_or_default().to_ascii_lowercase();
    let literal = match data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => Literal::Number,
        "float" | "double" => Literal::Double,
        "enum" => Literal::Enum { has_empty: has_empty_member(&column_type.unwrap_or_default()) },
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point"
        | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" | "vector" => Literal::Hex,
        "json" if !mariadb => Literal::Json,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "set" | "date" | "datetime" | "timestamp"
        | "time" | "json" => Literal::Text,
        // UUID, INET4, INET6, XMLTYPE and what is to come.
        _ => Literal::Ascii,
    };
    Some(Column { name: name?, literal, float: data_type == "float" })
}

fn has_empty_member(column_type: &[u8]) -> bool {
    tokens(column_type).any(|token| token.text == b"''")
}

/// The primary key, else the first unique key that holds no NULL: what InnoDB stores the rows by.
async fn key(
    session: &mut Session,
    table: &[u8],
    columns: &[Column],
) -> Result<(Option<Vec<u8>>, Vec<usize>, bool), DatabaseError> {
    // SHOW INDEX lists keys as the server ranks them; information_schema.statistics has no order.
    let rows = session.all([b"SHOW INDEX FROM ", quoted(table).as_slice()].concat()).await?;
    let mut keys: Vec<(Vec<u8>, Option<Vec<usize>>, bool)> = Vec::new();
    for mut row in rows {
        let mut field = |at: usize| row.get_mut(at).and_then(Option::take);
        let (unique, name, column) = (field(1).as_deref() == Some(b"0"), field(2).unwrap_or_default(), field(4));
        let (prefix, nullable, tree) =
            (field(7).is_some(), field(9).as_deref() == Some(b"YES"), field(10).as_deref() == Some(b"BTREE"));
        if !unique {
            continue;
        }
        if keys.last().is_none_or(|last| last.0 != name) {
            keys.push((name, Some(Vec::new()), true));
        }
        let Some((name, places, ordered)) = keys.last_mut() else { continue };
        let primary = name == b"PRIMARY";
        let place = column.and_then(|column| columns.iter().position(|c| c.name == column));
        // A unique key on prefixes or hashes isn't one that InnoDB stores the rows by.
        match place {
            Some(place) if !nullable && (primary || (tree && !prefix)) => {
                if let Some(places) = places {
                    places.push(place);
                }
            }
            _ => *places = None,
        }
        *ordered &= tree && !prefix;
    }
    Ok(keys
        .into_iter()
        .find_map(|(name, places, ordered)| Some((Some(name), places?, ordered)))
        .unwrap_or_else(|| (None, (0..columns.len()).collect(), false)))
}

/// Names of the server are UTF-8 as it sends them; what isn't shows as such.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enum_with_an_empty_member_is_known() {
        assert!(has_empty_member(b"enum('a','')"));
        assert!(has_empty_member(b"enum('')"));
        assert!(!has_empty_member(b"enum('a','b')"));
        assert!(!has_empty_member(b"enum('a'',''b','''')"));
    }
}
