//! What a snapshot knows of WordPress: whether an update is under way, and what the database says that the files must hold.

mod attachments;
mod expected;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod php_serialize;
mod references;
mod stray_code;
mod update_gate;

pub use php_serialize::{Malformed, Step, walk};
pub use references::{
    Counts, FINDING_LIMIT, FileLookup, Query, QueryId, ReferenceCheck, ReferenceError, SiteFacts, is_core_table,
};
pub use stray_code::is_stray_code;
pub use update_gate::UpdateGate;
