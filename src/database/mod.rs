//! The database as a source: one point in time, every object, as chunks of plain SQL; and the way back.
//!
//! [`Dump`] reads over one connection and yields [`crate::repository::entry::TableEntry`]s in loading order. The concatenation of their
//! chunks is what `mysql --binary-mode --comments` loads; [`Loader`] loads them one by one.

mod boundary;
mod catalog;
mod connect;
mod ddl;
mod dump;
mod error;
mod framing;
mod grants;
mod identity;
mod lex;
mod literal;
mod load;
mod objects;
mod rows;
mod script;
mod views;

pub use dump::{Dump, DumpSink, DumpStats, EachRow, SinkStopped};
pub use error::DatabaseError;
pub use framing::{Statements, statements};
pub use load::Loader;
