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
    /// Whether the past versions of its rows are read too (`FOR SYSTEM_TIME ALL`).
    pub(super) history: bool,
}

/// One column that an INSERT names: generated ones aren't among them, invisible ones are.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Vec<u8>,
    pub(super) literal: Literal,
    /// The column is FLOAT: as it is, the server would print six digits.
    pub(super) float: bool,
    /// The column holds whole numbers.
    pub(super) integer: bool,
}

/// The layout of a table, which keeps its history or doesn't.
pub(super) async fn layout(session: &mut Session, table: &[u8], mariadb: bool, versioned: bool) -> Result<Layout, DatabaseError> {
    let mut sql = b"SELECT column_name, data_type, column_type, extra, generation_expression FROM information_schema.columns \
                    WHERE table_schema = DATABASE() AND table_name = "
        .to_vec();
    quote(table, &mut sql);
    sql.extend_from_slice(b" ORDER BY ordinal_position");
    let rows = session.all(sql).await?;
    let periods = if versioned && loads_history(session).await? { system_time(&rows) } else { None };
    let mut columns: Vec<Column> = rows.into_iter().filter_map(|row| column(row, mariadb)).collect();
    let (index, mut key, ordered) = key(session, table, &columns).await?;
    let history = periods.is_some();
    if let Some([start, end]) = periods {
        columns.push(Column { name: start, literal: Literal::Text, float: false, integer: false });
        // The versions of a row have its key; the server adds the end of each to the index.
        key.push(columns.len());
        columns.push(Column { name: end, literal: Literal::RowEnd, float: false, integer: false });
    }
    Ok(Layout { columns, key, index, ordered, history })
}

/// Whether this server loads rows with their times (MariaDB 10.11 and later).
async fn loads_history(session: &mut Session) -> Result<bool, DatabaseError> {
    match session.one("SELECT @@system_versioning_insert_history").await {
        Ok(_) => Ok(true),
        Err(DatabaseError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names of the columns that hold a row's times; `None` when transactions are kept in their place, which can't be loaded.
fn system_time(columns: &[RowValues]) -> Option<[Vec<u8>; 2]> {
    let named = |role: &[u8]| {
        let column = columns.iter().find(|row| row.get(4).and_then(Option::as_deref) == Some(role))?;
        Some((column.first()?.clone()?, column.get(1)?.as_deref()? == b"timestamp"))
    };
    match (named(b"ROW START"), named(b"ROW END")) {
        (Some((start, true)), Some((end, true))) => Some([start, end]),
        (None, None) => Some([b"row_start".to_vec(), b"row_end".to_vec()]),
        _ => None,
    }
}

fn column(row: RowValues, mariadb: bool) -> Option<Column> {
    let [name, data_type, column_type, extra, _] = <[_; 5]>::try_from(row).ok()?;
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
    let integer = matches!(data_type.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint");
    Some(Column { name: name?, literal, float: data_type == "float", integer })
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
