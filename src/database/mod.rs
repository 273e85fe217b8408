//! The database as a source: one point in time, every object, as chunks of plain SQL; and the way back.
//!
//! [`Dump`] reads over one connection and yields [`crate::repository::entry::TableEntry`]s in loading order. The concatenation of their
//! chunks is what `mysql --binary-mode --comments` loads; [`Loader`] loads them one by one.

mod apart;
mod boundary;
mod catalog;
mod connect;
mod ddl;
mod dump;
mod error;
mod fingerprint;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grants;
mod identity;
mod late_keys;
mod lex;
mod literal;
mod load;
mod object_sql;
mod objects;
mod query;
mod readers;
mod rows;
mod script;
mod selection;
mod snapshot;
mod swap;
mod table;
mod vendor;
mod views;
mod watch;

pub use dump::{Dump, DumpSink, DumpStats, EachRow, SinkStopped};
pub use error::DatabaseError;
pub use fingerprint::Fingerprint;
pub use framing::{Statements, statements};
pub use load::{DEFAULT_CONNECTIONS, Existing, LoadOptions, Loaded, Loader, Names, drop_schema};
pub use object_sql::{Definer, table_of_trigger, with_definer};
pub use script::{default_session, default_session_end};
pub use swap::{Swap, Swapped};
pub use vendor::{Adapted, Adapter, Maker, Uncarried, Vendor};
