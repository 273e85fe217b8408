//! wp-content as a source: walking a tree, reading its files, and writing a tree back.
//!
//! The agent may read everything (CAP_DAC_READ_SEARCH) in a tree that a hacked WordPress may write. So a path is never
//! given to the kernel as a whole to follow as it likes: everything is opened beneath a root descriptor ([`Tree`]), and
//! no symlink is ever followed, on the way in or on the way back.
//!
//! All of it blocks; callers run it on threads of their own.

mod change;
mod error;
mod exclude;
mod followed;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod holes;
mod left_out;
mod metadata;
mod names;
mod owners;
mod paths;
mod read;
mod scope;
mod stack;
mod target;
mod tree;
mod walk;
mod why;
mod write_file;
mod xattrs;

#[cfg(test)]
mod testing;

pub use change::{Change, compare};
pub use error::FilesError;
pub use exclude::{DEFAULTS, DefaultRule, Rules, reason};
pub use left_out::Measure;
pub use owners::OwnerMap;
pub use paths::{PathSelection, Unmatched, below_root};
pub use read::{Captured, LARGEST_PIECE, PieceSink, ReadBuffer, ReadError, Stopped, read_file};
pub use scope::Scope;
pub use target::{
    Action, Delete, Desk, FileTask, Found, Lacks, NotSet, Pieces, Spares, Survey, Target, TargetOptions, TargetStats, Tell,
};
pub use tree::Tree;
pub use walk::{Walk, Walked};
pub use why::{Answer, Why, below};
pub use write_file::FileWriter;
pub use xattrs::xattrs_of;
