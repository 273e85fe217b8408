//! One table as it is opened: its lock, its identity, its definition, and how its rows are read.

use std::collections::VecDeque;

use super::catalog::{self, Kind, Layout, Listed, text};
use super::connect::Session;
use super::error::DatabaseError;
use super::identity::as_change;
use super::literal::{quote, quoted};
use super::query::{self, Range};
use super::readers::Shared;
use super::{ddl, grants};

/// A table without its rows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: Vec<u8>,
    pub(super) engine: String,
    /// Whether its rows are of the point in time.
    pub(super) consistent: bool,
    /// The CREATE statement, without the counter; `None` for a table that is damaged.
    pub(super) create: Option<Vec<u8>>,
    /// The AUTO_INCREMENT counter.
    pub(super) counter: Option<u64>,
    /// How a chunk of its rows begins; empty when none are read.
    pub(super) header: Vec<u8>,
    /// Rows with all their past versions, of a system-versioned table.
    pub(super) versions: Option<u64>,
    /// Why it is damaged.
    pub(super) damaged: Option<String>,
}

/// How its rows are read: the layout, and the ranges.
pub(super) type Reading = Option<(Layout, VecDeque<Range>)>;

/// Opens a table. What is damaged is named in it; what changed since the fence was read is an error.
pub(super) async fn open(session: &mut Session, listed: Listed, shared: &Shared) -> Result<(Table, Reading), DatabaseError> {
    match whole(session, &listed, shared).await {
        Err(error) => match damage(&error) {
            Some(why) => Ok((Table { damaged: Some(why), ..begun(&listed, shared) }, None)),
            None => Err(meaning(error, &listed.name, shared)),
        },
        done => done,
    }
}

/// What a failed statement about a table or sequence means.
pub(super) fn meaning(error: DatabaseError, name: &[u8], shared: &Shared) -> DatabaseError {
    match error {
        DatabaseError::Server { code: 1142 | 1143, message, .. } => {
            let grant = grants::statement("SELECT", &shared.schema, &grants::account_named(&shared.user));
            DatabaseError::MissingRight { object: name.into(), grant, message }
        }
        error => as_change(error, name),
    }
}

fn begun(listed: &Listed, shared: &Shared) -> Table {
    let engine = listed.engine.clone().unwrap_or_default();
    Table {
        name: listed.name.clone(),
        consistent: shared.transactional.iter().any(|e| e.eq_ignore_ascii_case(&engine)),
        engine,
        create: None,
        counter: None,
        header: Vec::new(),
        versions: None,
        damaged: None,
    }
}

async fn whole(session: &mut Session, listed: &Listed, shared: &Shared) -> Result<(Table, Reading), DatabaseError> {
    let name = listed.name.as_slice();
    let structure_only = shared.structure_only.contains(name);
    if !structure_only {
        // From this first read on a metadata lock keeps the table as it is, so that its identity need not be asked for again.
        session.execute([b"SELECT 1 FROM ", quoted(name).as_slice(), b" LIMIT 0"].concat()).await?;
        shared.fence.check(session, name).await?;
    }
    let row = session.one([b"SHOW CREATE TABLE ", quoted(name).as_slice()].concat()).await?;
    let shown = row.and_then(|row| row.into_iter().nth(1)?);
    let shown = shown.ok_or_else(|| DatabaseError::Unexpected { what: "SHOW CREATE shows nothing".into() })?;
    let (create, counter) = ddl::table(&shown, shared.schema.as_bytes(), shared.mariadb);
    let create = Some(create);
    let mut table = Table { create, ..begun(listed, shared) };
    if structure_only || has_no_rows_of_its_own(&table.engine) {
        return Ok((table, None));
    }
    table.counter = counter;
    let versioned = listed.kind == Kind::Versioned;
    let layout = catalog::layout(session, name, shared.mariadb, versioned).await?;
    if versioned && !layout.history {
        let sql = [b"SELECT COUNT(*) FROM ", quoted(name).as_slice(), b" FOR SYSTEM_TIME ALL"].concat();
        table.versions = Some(count(session, &[&sql]).await?);
    }
    table.header = super::rows::header(name, &layout);
    let ranges = ranges(session, name, &layout).await?;
    Ok((table, Some((layout, ranges))))
}

/// The ranges to read; one when the table is small, or its key doesn't begin with a whole number.
async fn ranges(session: &mut Session, name: &[u8], layout: &Layout) -> Result<VecDeque<Range>, DatabaseError> {
    let whole = || VecDeque::from([Range::default()]);
    let Some(extremes) = query::extremes(name, layout) else { return Ok(whole()) };
    let mut sql = b"SELECT data_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ".to_vec();
    quote(name, &mut sql);
    let bytes = count(session, &[&sql]).await?;
    if bytes < 2 * query::RANGE {
        return Ok(whole());
    }
    let row = session.one(extremes).await?.and_then(|row| <[_; 2]>::try_from(row).ok());
    let number = |value: Vec<u8>| text(value).parse::<i128>().ok();
    Ok(match row {
        Some([Some(least), Some(most)]) => match (number(least), number(most)) {
            (Some(least), Some(most)) => query::ranges(least, most, bytes),
            _ => whole(),
        },
        _ => whole(),
    })
}

/// The only number of a statement's only row; 0 when it is NULL.
async fn count(session: &mut Session, sql: &[&[u8]]) -> Result<u64, DatabaseError> {
    let row = session.one_long(sql.concat()).await?;
    Ok(row.and_then(|row| row.into_iter().next()?).map(text).and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// The rows are those of other tables or of another server; loading them would write there.
fn has_no_rows_of_its_own(engine: &str) -> bool {
    engine.eq_ignore_ascii_case("MRG_MyISAM") || is_remote(engine)
}

/// Whether the engine keeps its rows on another server, or nowhere.
pub(super) fn is_remote(engine: &str) -> bool {
    ["FEDERATED", "SPIDER", "BLACKHOLE"].iter().any(|e| e.eq_ignore_ascii_case(engine))
}

/// What a server's error says about a table whose files are damaged or missing; `None` for any other error.
pub(super) fn damage(error: &DatabaseError) -> Option<String> {
    match error {
        DatabaseError::Server {
            code:
                code @ (126 | 127 | 144 | 145 | 1016 | 1017 | 1033 | 1034 | 1035 | 1168 | 1194 | 1195 | 1286 | 1712 | 1812 | 1877
                | 1932),
            message,
            ..
        } => Some(format!("the table is damaged, error {code}: {message}")),
        _ => None,
    }
}
