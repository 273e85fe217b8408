//! One session with the server: every await has a time limit and ends on cancellation.

use std::future::Future;
use std::time::Duration;

use futures::{FutureExt as _, TryStreamExt as _};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, SslOpts, Statement, Value};
use tokio_util::sync::CancellationToken;

use super::error::DatabaseError;
use super::framing;
use crate::config::{Address, DatabaseSettings, Tls};
use crate::repository::byte_text::ByteText;

/// For a connection, its login included.
const CONNECT: Duration = Duration::from_secs(10);
/// For a statement that reads metadata or sets a variable.
const STATEMENT: Duration = Duration::from_secs(60);
/// For the next row of a table.
const ROW: Duration = Duration::from_secs(300);
/// For a statement that loads data or builds indexes.
const LOAD: Duration = Duration::from_secs(3600);
/// For good-byes, which nothing depends on.
const PARTING: Duration = Duration::from_secs(5);

/// The largest packet of the protocol: rows are read and written whole.
const MAX_PACKET: usize = 1 << 30;

/// The server's answer to a bulk execution of what can't be executed so.
const UNSUPPORTED_IN_BULK: u16 = 1295;

/// Lock wait timeout, too many locks, deadlock: what the transaction did so far may be gone.
const ENDS_TRANSACTION: [u16; 3] = [1205, 1206, 1213];

/// The values of a row as the server's text; `None` is NULL.
pub(super) type RowValues = Vec<Option<Vec<u8>>>;

/// A connection with its manners.
#[derive(Debug)]
pub(super) struct Session {
    conn: Conn,
    settings: DatabaseSettings,
    cancel: CancellationToken,
}

impl Session {
    /// Connects; with `schema` as the default database when given.
    pub(super) async fn connect(
        settings: &DatabaseSettings,
        schema: Option<&str>,
        cancel: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        // Fails when the process has a provider already, which then is the one to use.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let conn = guarded(&cancel, CONNECT, || "connecting".into(), Conn::new(options(settings, schema)))
            .await
            .map_err(|error| match error {
                DatabaseError::Timeout { seconds, .. } => DatabaseError::Unreachable {
                    address: address(settings),
                    source: format!("no answer within {seconds} s").into(),
                },
                other => other,
            })?
            .map_err(|error| refused(error, settings, schema))?;
        Ok(Self { conn, settings: settings.clone(), cancel })
    }

    /// A second session of the same account and schema.
    pub(super) async fn another(&self) -> Result<Self, DatabaseError> {
        self.another_under(self.cancel.clone()).await
    }

    /// The same, ended by another token.
    pub(super) async fn another_under(&self, cancel: CancellationToken) -> Result<Self, DatabaseError> {
        Self::connect(&self.settings, Some(&self.settings.name), cancel).await
    }

    /// Its number on the server.
    pub(super) fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Waits.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), DatabaseError> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancel.cancelled() => Err(DatabaseError::Cancelled),
        }
    }

    /// Runs a statement that yields no rows.
    pub(super) async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<(), DatabaseError> {
        self.run(sql.as_ref(), STATEMENT).await
    }

    /// Runs a statement that may take as long as building an index does.
    pub(super) async fn execute_long(&mut self, sql: impl AsRef<[u8]>) -> Result<(), DatabaseError> {
        self.run(sql.as_ref(), LOAD).await
    }

    /// As [`Self::execute_long`]; answers how many rows the statement added or changed.
    pub(super) async fn affected(&mut self, sql: &[u8]) -> Result<u64, DatabaseError> {
        self.run(sql, LOAD).await?;
        Ok(self.conn.affected_rows())
    }

    /// Whether the server takes many rows of values in one execution of a prepared statement (MariaDB). Without that, the driver would execute
    /// it for each row.
    pub(super) async fn takes_bulk(&mut self) -> Result<bool, DatabaseError> {
        let Some(statement) = self.prepared(b"SELECT ?").await? else { return Ok(false) };
        // In bulk it is refused: the statement yields rows.
        let tried =
            guarded(&self.cancel, STATEMENT, || "SELECT ?".into(), self.conn.exec_batch(&statement, [(1,), (2,)])).await?;
        self.unprepare(statement).await?;
        match tried {
            Ok(()) => Ok(false),
            Err(mysql_async::Error::Server(error)) => Ok(error.code == UNSUPPORTED_IN_BULK),
            Err(error) => Err(failed(error, b"SELECT ?")),
        }
    }

    /// Prepares a statement; `None` when the server refuses to.
    pub(super) async fn prepared(&mut self, sql: &[u8]) -> Result<Option<Statement>, DatabaseError> {
        // It waits for whoever changes the table, as the statement itself would.
        match guarded(&self.cancel, LOAD, || framing::summary(sql), self.conn.prep(sql)).await? {
            Ok(statement) => Ok(Some(statement)),
            // Too many parameters, too many statements, a proxy without them: SQL does it, too. But not a transaction that was rolled back.
            Err(mysql_async::Error::Server(error)) if !ENDS_TRANSACTION.contains(&error.code) => Ok(None),
            Err(error) => Err(failed(error, sql)),
        }
    }

    /// Lets the server forget a prepared statement.
    pub(super) async fn unprepare(&mut self, statement: Statement) -> Result<(), DatabaseError> {
        guarded(&self.cancel, STATEMENT, || "closing a statement".into(), self.conn.close(statement))
            .await?
            .map_err(|error| failed(error, b""))
    }

    /// Executes a prepared statement for these rows at once; answers how many rows it added. Only where [`Self::takes_bulk`].
    pub(super) async fn bulk(&mut self, statement: &Statement, sql: &[u8], rows: Vec<Vec<Value>>) -> Result<u64, DatabaseError> {
        guarded(&self.cancel, LOAD, || framing::summary(sql), self.conn.exec_batch(statement, rows))
            .await?
            .map_err(|error| failed(error, sql))?;
        Ok(self.conn.affected_rows())
    }

    /// As [`Self::affected`], with values in place of the statement's `?`, which the driver sends in pieces if they are long. `None` when the server
    /// prepares no such statement.
    pub(super) async fn affected_apart(&mut self, sql: &[u8], values: Vec<Vec<u8>>) -> Result<Option<u64>, DatabaseError> {
        let Some(statement) = self.prepared(sql).await? else { return Ok(None) };
        // Else the driver or the server reads the text in another way than we do.
        let understood = usize::from(statement.num_params()) == values.len();
        let mut done = Ok(());
        if understood {
            let values = Params::Positional(values.into_iter().map(Value::Bytes).collect());
            done = guarded(&self.cancel, LOAD, || framing::summary(sql), self.conn.exec_drop(&statement, values)).await?;
        }
        done.map_err(|error| failed(error, sql))?;
        let added = self.conn.affected_rows();
        self.unprepare(statement).await?;
        Ok(understood.then_some(added))
    }

    async fn run(&mut self, sql: &[u8], limit: Duration) -> Result<(), DatabaseError> {
        guarded(&self.cancel, limit, || framing::summary(sql), self.conn.query_drop(sql))
            .await?
            .map_err(|error| failed(error, sql))
    }

    /// All rows of a statement whose result is small by nature.
    pub(super) async fn all(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<RowValues>, DatabaseError> {
        self.rows_within(sql.as_ref(), STATEMENT).await
    }

    /// The only row of a statement that may read a whole table.
    pub(super) async fn one_long(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<RowValues>, DatabaseError> {
        Ok(self.rows_within(sql.as_ref(), LOAD).await?.into_iter().next())
    }

    async fn rows_within(&mut self, sql: &[u8], limit: Duration) -> Result<Vec<RowValues>, DatabaseError> {
        let rows: Vec<Row> = guarded(&self.cancel, limit, || framing::summary(sql), self.conn.query(sql))
            .await?
            .map_err(|error| failed(error, sql))?;
        rows.into_iter().map(values).collect()
    }

    /// The only row of a statement, if it has one.
    pub(super) async fn one(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<RowValues>, DatabaseError> {
        Ok(self.all(sql).await?.into_iter().next())
    }

    /// Streams a statement's rows, one in memory at a time.
    pub(super) async fn stream<'a>(&'a mut self, sql: &'a [u8]) -> Result<Rows<'a>, DatabaseError> {
        let started = guarded(&self.cancel, ROW, || framing::summary(sql), self.conn.query_iter(sql)).await?;
        let result = started.map_err(|error| failed(error, sql))?;
        // A statement without a result set has an empty stream.
        let stream = guarded(&self.cancel, ROW, || framing::summary(sql), async move {
            let rows = result.stream_and_drop::<Row>().await;
            rows.map(|rows| rows.map(|rows| Box::pin(rows) as BoxedRows<'a>))
        });
        let rows = stream.await?.map_err(|error| failed(error, sql))?;
        Ok(Rows { rows, sql, cancel: &self.cancel })
    }

    /// Ends the session while a statement may still be sending rows. Closing alone would read them all to the end first.
    pub(super) async fn abandon(self) {
        let kill = format!("KILL QUERY {}", self.conn.id());
        let killing = async {
            // A token of its own: the one at hand may be what brought us here.
            if let Ok(mut side) = Self::connect(&self.settings, None, CancellationToken::new()).await {
                let _ = side.execute(&kill).await;
                side.leave().await;
            }
        };
        let _ = tokio::time::timeout(PARTING, killing).await;
        let _ = tokio::time::timeout(PARTING, self.conn.disconnect()).await;
    }

    /// Ends the session when nothing is under way.
    pub(super) async fn leave(self) {
        // The server forgets us either way.
        let _ = tokio::time::timeout(PARTING, self.conn.disconnect()).await;
    }
}

/// Makes a session read bytes as they are, without the server's time limits.
pub(super) async fn prepare(session: &mut Session, mariadb: bool) -> Result<(), DatabaseError> {
    session.execute("SET NAMES binary").await?;
    session
        .execute(
            "SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1, net_read_timeout=3600, \
             net_write_timeout=3600, wait_timeout=86400, lock_wait_timeout=50, \
             sql_select_limit=18446744073709551615, max_join_size=18446744073709551615, sql_big_selects=1",
        )
        .await?;
    session.execute(if mariadb { "SET SESSION max_statement_time=0" } else { "SET SESSION max_execution_time=0" }).await
}

type BoxedRows<'a> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<Row, mysql_async::Error>> + Send + 'a>>;

/// A result that is being read.
pub(super) struct Rows<'a> {
    rows: Option<BoxedRows<'a>>,
    sql: &'a [u8],
    cancel: &'a CancellationToken,
}

impl Rows<'_> {
    /// The next row.
    pub(super) async fn next(&mut self) -> Result<Option<RowValues>, DatabaseError> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        // Most rows are there already: no time limit is set up for them.
        let row = match rows.try_next().now_or_never() {
            Some(row) => row,
            None => guarded(self.cancel, ROW, || framing::summary(self.sql), rows.try_next()).await?,
        };
        let row = row.map_err(|error| failed(error, self.sql))?;
        row.map(values).transpose()
    }
}

/// Waits with a limit; cancellation ends the wait too.
async fn guarded<T>(
    cancel: &CancellationToken,
    limit: Duration,
    what: impl FnOnce() -> String,
    work: impl Future<Output = T>,
) -> Result<T, DatabaseError> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = cancel.cancelled() => Err(DatabaseError::Cancelled),
        () = tokio::time::sleep(limit) => Err(DatabaseError::Timeout { what: what(), seconds: limit.as_secs() }),
    }
}

fn options(settings: &DatabaseSettings, schema: Option<&str>) -> Opts {
    let mut builder = OptsBuilder::default()
        .user(Some(&settings.user))
        .pass((!settings.password.reveal().is_empty()).then(|| settings.password.reveal()))
        .db_name(schema)
        // Or the driver would leave a TCP connection for a socket that the server names.
        .prefer_socket(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(60)))
        .stmt_cache_size(0)
        .max_allowed_packet(Some(MAX_PACKET))
        .wait_timeout(Some(86_400));
    match &settings.address {
        Address::Socket(path) => builder = builder.socket(Some(path.to_string_lossy())),
        Address::Tcp { host, port } => {
            builder = builder.ip_or_hostname(host).tcp_port(*port);
            if let Tls::Required { ca_file } = &settings.tls {
                let mut tls = SslOpts::default();
                if let Some(path) = ca_file {
                    // The owner's authority alone then: a certificate of a public one would be somebody else's.
                    tls = tls.with_root_certs(vec![path.clone().into()]).with_disable_built_in_roots(true);
                }
                builder = builder.ssl_opts(tls);
            }
        }
    }
    builder.into()
}

fn address(settings: &DatabaseSettings) -> String {
    match &settings.address {
        Address::Socket(path) => path.display().to_string(),
        Address::Tcp { host, port } => format!("{host}:{port}"),
    }
}

/// What a failed connection means.
fn refused(error: mysql_async::Error, settings: &DatabaseSettings, schema: Option<&str>) -> DatabaseError {
    let address = address(settings);
    match error {
        mysql_async::Error::Server(error) => match error.code {
            // Wrong password, wrong socket user, host not allowed, password expired, account locked.
            1045 | 1698 | 1130 | 1862 | 1820 | 3118 | 4151 => {
                DatabaseError::Denied { address, user: settings.user.clone(), message: error.message }
            }
            1049 => DatabaseError::UnknownDatabase { address, name: schema.unwrap_or_default().into() },
            1044 => {
                let name = schema.unwrap_or_default();
                DatabaseError::MissingRight {
                    object: name.into(),
                    grant: super::grants::statement(
                        "SELECT, SHOW VIEW, TRIGGER, EVENT",
                        name,
                        &super::grants::account_named(&settings.user),
                    ),
                    message: error.message,
                }
            }
            code => {
                DatabaseError::Server { object: ByteText::default(), statement: "connect".into(), code, message: error.message }
            }
        },
        other => DatabaseError::Unreachable { address, source: Box::new(other) },
    }
}

/// What a failed statement means.
fn failed(error: mysql_async::Error, sql: &[u8]) -> DatabaseError {
    let object = ByteText::default();
    let statement = framing::summary(sql);
    match error {
        mysql_async::Error::Server(error) => {
            DatabaseError::Server { object, statement, code: error.code, message: error.message }
        }
        other => DatabaseError::Lost { object, statement, source: Box::new(other) },
    }
}

/// The text protocol sends bytes or NULL, nothing else.
fn values(row: Row) -> Result<RowValues, DatabaseError> {
    let value = |value| match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        _ => Err(DatabaseError::Unexpected { what: "a value in binary form in a text result".into() }),
    };
    row.unwrap().into_iter().map(value).collect()
}
