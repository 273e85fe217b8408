//! The on-disk format, all of it: what the store holds and how it is read and written (docs/FORMAT.md).

pub mod accepted;
mod buffers;
pub mod byte_text;
pub mod checkpoint;
pub(crate) mod chunk_table;
mod codec;
pub mod draft;
pub mod entry;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod ids;
pub mod journal;
pub mod known;
pub mod layout;
pub mod list;
pub mod lost_packs;
pub mod manifest;
pub mod outbox;
pub mod pack;
pub mod prune;
pub mod pruned;
pub mod read_ahead;
pub mod reader;
pub mod receipt;
pub mod retention;
pub mod reuse;
pub mod salvage;
pub mod seal;
pub mod shelf;
pub mod sign;
pub mod snapshots;
mod source;
pub mod sparse;
pub mod state;
pub mod suspicion;
pub mod verify;
pub mod writer;
pub mod xattrs;

#[cfg(test)]
mod tests;

pub use error::RepositoryError;
pub(crate) use list::Cutter;
pub(crate) use writer::checksummed;

/// A new run's id.
pub fn random_run_id() -> ids::RunId {
    ids::RunId(random())
}

pub(crate) fn random_hex() -> String {
    hex::encode(random())
}

fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    bytes
}

fn fill_random(bytes: &mut [u8]) {
    // The kernel's generator only fails before it is seeded, at boot; then the call waits.
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
}
