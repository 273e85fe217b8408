//! One session with the server: every await has a time limit and ends on cancellation.

use std::future::Future;
use std::time::Duration;

use futures::TryStreamExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row, SslOpts, Value};
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

/// The values of a row as the server's text; `None` is NULL.
pub(super) type RowValues = Vec<Option<Vec<u8>>>;

/// A connection with its manners.
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
        Self::connect(&self.settings, Some(&self.settings.name), self.cancel.clone()).await
    }

    /// Runs a statement that yields no rows.
    pub(super) async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<(), DatabaseError> {
        self.run(sql.as_ref(), STATEMENT).await
    }

    /// Runs a statement that may take as long as building an index does.
    pub(super) async fn execute_long(&mut self, sql: impl AsRef<[u8]>) -> Result<(), DatabaseError> {
        self.run(sql.as_ref(), LOAD).await
    }

    async fn run(&mut self, sql: &[u8], limit: Duration) -> Result<(), DatabaseError> {
        guarded(&self.cancel, limit, || framing::summary(sql), self.conn.query_drop(sql))
            .await?
            .map_err(|error| failed(error, sql))
    }

    /// All rows of a statement whose result is small by nature.
    pub(super) async fn all(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<RowValues>, DatabaseError> {
        let sql = sql.as_ref();
        let rows: Vec<Row> = guarded(&self.cancel, STATEMENT, || framing::summary(sql), self.conn.query(sql))
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

    /// Where the server is, for messages.
    pub(super) fn address(&self) -> String {
        address(&self.settings)
    }
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
        let row = guarded(self.cancel, ROW, || framing::summary(self.sql), rows.try_next())
            .await?
            .map_err(|error| failed(error, self.sql))?;
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
