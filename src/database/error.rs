//! What can go wrong between us and a database server.

use std::error::Error;

use super::grants;
use crate::error::{Exit, Explain};
use crate::repository::byte_text::ByteText;

/// A failure of the database source or of the loader. Never carries a password or a row's values of our own making.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// No connection could be made.
    #[error("the database server at {address} can't be reached")]
    Unreachable {
        /// Socket path or host and port.
        address: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server doesn't let the account in.
    #[error("the database server at {address} refuses the account {user:?}: {message}")]
    Denied {
        /// Socket path or host and port.
        address: String,
        /// The account's name.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The schema doesn't exist.
    #[error("there is no database {name:?} on the server at {address}")]
    UnknownDatabase {
        /// Socket path or host and port.
        address: String,
        /// The schema that was asked for.
        name: String,
    },
    /// The account lacks a right that a backup or a restore can't do without.
    #[error("{object}: the account lacks a right: {message}")]
    MissingRight {
        /// What it was about.
        object: ByteText,
        /// The GRANT that gives the right.
        grant: String,
        /// The server's words.
        message: String,
    },
    /// Definitions changed while the dump ran: what was read isn't one point in time. Open a new [`super::Dump`] and read again.
    #[error("{table} changed during the dump: {what}")]
    Changed {
        /// The table or object.
        table: ByteText,
        /// How it changed.
        what: String,
    },
    /// A statement waited for a table that the dump held, so the dump gave way to it. Open a new [`super::Dump`] and read again.
    #[error("the dump gave way to a statement that waited for one of its tables: {statement}")]
    GaveWay {
        /// The statement's beginning.
        statement: String,
    },
    /// The server answered a statement with an error.
    #[error("{}error {code} from the database server: {message} (statement: {statement})", said_of(object))]
    Server {
        /// What it was about: a table, or empty.
        object: ByteText,
        /// The statement's beginning, without values.
        statement: String,
        /// The server's error number.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The connection broke.
    #[error("{}the connection to the database server broke (statement: {statement})", said_of(object))]
    Lost {
        /// What it was about: a table, or empty.
        object: ByteText,
        /// The statement's beginning, without values.
        statement: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server didn't answer in time.
    #[error("no answer from the database server for {seconds} s: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// Stopped from outside.
    #[error("the work on the database was cancelled")]
    Cancelled,
    /// The sink took no more; it knows why.
    #[error("the dump was stopped by its reader")]
    SinkStopped,
    /// The target schema holds something.
    #[error("the database {name:?} is not empty: it holds {holds}")]
    NotEmpty {
        /// The target schema.
        name: String,
        /// What it holds, for a person.
        holds: String,
    },
    /// The target is one of the server's own schemas.
    #[error("{name:?} is the server's own: nothing is restored into it")]
    SystemSchema {
        /// The target schema.
        name: String,
    },
    /// A chunk isn't SQL in our framing.
    #[error("the chunk of {object} is not framed as a chunk of SQL should be")]
    BadChunk {
        /// The entry's name.
        object: ByteText,
    },
    /// The target server has nothing that it could become there.
    #[error("{object} can't be restored to this server: {what}")]
    Uncarried {
        /// The entry's name.
        object: ByteText,
        /// What it is.
        what: String,
    },
    /// A statement is longer than the target server takes.
    #[error("{object}: a statement of {bytes} bytes exceeds the server's max_allowed_packet of {limit} bytes")]
    PacketTooLarge {
        /// The entry's name.
        object: ByteText,
        /// The statement's length.
        bytes: u64,
        /// The server's limit.
        limit: u64,
    },
    /// A table doesn't hold the rows that the snapshot has of it.
    #[error("{table}: the server took {found} rows of {expected}")]
    RowsDiffer {
        /// The table.
        table: ByteText,
        /// By the snapshot.
        expected: u64,
        /// In the table, or taken from a chunk.
        found: u64,
    },
    /// The server doesn't let the account name another as the definer.
    #[error("{object}: the account may not make another the definer: {message}")]
    DefinerDenied {
        /// The view, routine, trigger or event.
        object: ByteText,
        /// The server's words.
        message: String,
    },
    /// Another restore into the same database is under way.
    #[error("another restore into the database {name:?} is under way")]
    Busy {
        /// The target schema.
        name: String,
    },
    /// A schema that a swap needs is there and isn't ours to use.
    #[error("the database {name:?} is in the way: {why}")]
    InTheWay {
        /// The schema.
        name: String,
        /// What it is.
        why: String,
        /// What to do about it.
        advice: String,
    },
    /// The tables can't be swapped. The live ones are as they were.
    #[error("{table}: can't be swapped: {why}")]
    NotSwappable {
        /// The table or object.
        table: ByteText,
        /// Why.
        why: String,
    },
    /// A swap that failed could not put an object of the live schema back: a trigger, mostly.
    #[error("{object} was dropped for a swap that then failed, and can't be made again; its statement is in {saved}")]
    ObjectAway {
        /// The object.
        object: ByteText,
        /// The table that keeps its statement.
        saved: String,
        /// Why.
        source: Box<DatabaseError>,
    },
    /// The server's answer isn't what its documentation promises.
    #[error("an answer of the database server makes no sense to us: {what}")]
    Unexpected {
        /// Which.
        what: String,
    },
}

/// The beginning of a message about a table or object, or about none.
fn said_of(object: &ByteText) -> String {
    if object.as_bytes().is_empty() { String::new() } else { format!("{object}: ") }
}

impl DatabaseError {
    /// The server's error number, when there is one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The same failure, said of this table or object.
    pub(super) fn of(self, name: &[u8]) -> Self {
        match self {
            Self::Server { statement, code, message, .. } => Self::Server { object: name.into(), statement, code, message },
            Self::Lost { statement, source, .. } => Self::Lost { object: name.into(), statement, source },
            other => other,
        }
    }
}

impl Explain for DatabaseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Timeout { .. } => Exit::Unavailable,
            // A function or trigger that only a privileged account may create; a definer.
            Self::Denied { .. } | Self::MissingRight { .. } | Self::DefinerDenied { .. } => Exit::Denied,
            Self::Server { code: 1227 | 1418 | 1419, .. } => Exit::Denied,
            Self::Busy { .. } => Exit::Busy,
            Self::ObjectAway { source, .. } => source.exit(),
            Self::RowsDiffer { .. } => Exit::Failure,
            Self::UnknownDatabase { .. } => Exit::Config,
            // Too many connections, shutdown in progress, lock wait timeout.
            Self::Server { code: 1040 | 1053 | 1203 | 1205 | 1226, .. } => Exit::Unavailable,
            Self::Changed { .. } | Self::GaveWay { .. } | Self::Server { .. } | Self::SinkStopped => Exit::Failure,
            Self::Cancelled => Exit::Cancelled,
            Self::NotEmpty { .. }
            | Self::PacketTooLarge { .. }
            | Self::InTheWay { .. }
            | Self::NotSwappable { .. }
            | Self::Uncarried { .. } => Exit::CannotCreate,
            Self::SystemSchema { .. } => Exit::Usage,
            Self::BadChunk { .. } => Exit::Data,
            Self::Unexpected { .. } => Exit::Internal,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } => {
                "check that the server runs and that the configured socket, or host and port, is where it listens".into()
            }
            Self::Denied { user, .. } => {
                format!("check the password of {user:?} and the host it may connect from, in the configuration or wp-config.php")
            }
            Self::UnknownDatabase { .. } => "check the database's name in the configuration or wp-config.php".into(),
            Self::MissingRight { grant, .. } => format!("let an administrator run: {grant}"),
            Self::GaveWay { .. } => {
                "run it again when that is over; a table whose rows need not be kept can be named in structure_only or exclude_tables".into()
            }
            Self::Changed { .. } => {
                "an update or an administrator is changing tables: run it again when that is over".into()
            }
            Self::Server { code: 1040 | 1203 | 1226, .. } => "the server has no connection to spare: try again later".into(),
            // Functions and triggers on a server with a binlog.
            Self::Server { code: 1418 | 1419, .. } => {
                "let an administrator run SET GLOBAL log_bin_trust_function_creators = 1 (a managed server: in its parameter group), \
                 or leave functions and triggers out with --tables"
                    .into()
            }
            Self::DefinerDenied { message, .. } if message.contains(grants::SYSTEM_USER) => {
                format!("give --definer drop, or let an administrator grant {} ON *.* to the account", grants::SYSTEM_USER)
            }
            Self::DefinerDenied { .. } => {
                "give --definer drop, or let an administrator grant SET USER (MariaDB), SET_ANY_DEFINER and \
                 ALLOW_NONEXISTENT_DEFINER (MySQL from 8.2) or SET_USER_ID (before) ON *.* to the account"
                    .into()
            }
            Self::RowsDiffer { .. } => "look at the server's log, and restore again".into(),
            Self::ObjectAway { source, .. } => return source.advice(),
            Self::Busy { .. } => "wait until it has ended".into(),
            Self::InTheWay { advice, .. } => advice.clone(),
            Self::NotSwappable { .. } => "restore with --overwrite, or into a new database".into(),
            Self::Server { code: 1205, .. } => "another session holds a lock on this table: look at SHOW PROCESSLIST".into(),
            Self::Lost { .. } => "look at the server's log for a restart or a killed connection, and run it again".into(),
            Self::Timeout { .. } => "look at SHOW PROCESSLIST on the server for what holds it up".into(),
            Self::NotEmpty { .. } => "name a new database, or give --overwrite to replace what it holds".into(),
            Self::SystemSchema { .. } => "name a database of your own".into(),
            Self::Uncarried { .. } => "restore to a server of the kind that it comes from".into(),
            Self::BadChunk { .. } => "restore from another snapshot: see `wp-backup-agent snapshots list`".into(),
            Self::PacketTooLarge { bytes, .. } => {
                // The setting is in multiples of 1024, at most 1 GiB.
                let megabytes = (bytes / (1 << 20) + 2).next_power_of_two().min(1024);
                format!("on the target server: SET GLOBAL max_allowed_packet = {megabytes} * 1024 * 1024")
            }
            Self::Server { .. } | Self::Cancelled | Self::SinkStopped | Self::Unexpected { .. } => return None,
        })
    }
}
