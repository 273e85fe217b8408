//! The on-disk format, all of it: what the store holds and how it is read and written (docs/FORMAT.md).

pub mod byte_text;
pub mod entry;
pub mod ids;
pub mod manifest;
