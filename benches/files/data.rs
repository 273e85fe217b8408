//! The benchmark's trees: the same files for the same scale, on every machine. It stands on the standard library alone:
//!
//! ```text
//! rustc --edition 2024 -C opt-level=2 -o bench-files-data benches/files/data.rs
//! bench-files-data tree DIRECTORY SCALE       a wp-content; SCALE 1 is 46,000 files, 4.4 GB
//! bench-files-data many DIRECTORY SCALE       small files; SCALE 1 is 1,000,000 of them in 4,000 directories
//! bench-files-data day DIRECTORY SCALE DAY    what a blog's day changes in a wp-content, after day DAY - 1
//! ```

#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod code;
mod content;
mod day;
mod many;
#[allow(dead_code)] // shared with the database's generator
#[path = "../db/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../db/text.rs"]
mod text;
mod tree;
mod write;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: bench-files-data tree|many DIRECTORY SCALE, or day DIRECTORY SCALE DAY";

/// So many at scale 1, in scale.
pub(crate) fn scaled(at_one: u64, scale: f64) -> u64 {
    ((at_one as f64 * scale).round() as u64).max(1)
}

fn run(arguments: &[String]) -> io::Result<()> {
    let usage = || io::Error::other(USAGE);
    let [what, directory, scale, rest @ ..] = arguments else { return Err(usage()) };
    let scale = scale.parse().ok().filter(|scale| (0.001..=100.0).contains(scale)).ok_or_else(usage)?;
    let root = PathBuf::from(directory);
    match (what.as_str(), rest) {
        ("tree", []) => write::all(&root, &tree::plan(scale)),
        ("many", []) => many::make(&root, scale),
        ("day", [number]) => day::day(&root, scale, number.parse().map_err(|_| usage())?),
        _ => Err(usage()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-files-data: {error}");
            ExitCode::FAILURE
        }
    }
}
