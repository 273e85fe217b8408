//! The benchmark's database, as SQL on standard output: the same bytes for the same scale, on every machine.
//!
//! ```text
//! bench-db-data load SCALE    the tables of a blog with a shop; SCALE 1 is 1.6 million rows, 650 MB of values
//! bench-db-data day SCALE     what a day changes in them
//! ```

#![allow(missing_docs, clippy::print_stderr)]

mod day;
mod insert;
mod meta;
mod posts;
mod random;
mod shop;
mod text;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use text::Text;

/// How many rows.
pub(crate) struct Counts {
    pub(crate) posts: u64,
    pub(crate) comments: u64,
    pub(crate) users: u64,
    pub(crate) terms: u64,
    /// Options that stay; transients come on top.
    pub(crate) options: u64,
    pub(crate) transients: u64,
    pub(crate) actions: u64,
    pub(crate) orders: u64,
    scale: f64,
}

impl Counts {
    fn new(scale: f64) -> Self {
        let of = |at_one: u64| scaled(at_one, scale);
        Self {
            posts: of(96_000),
            comments: of(200_000),
            users: of(16_000),
            terms: of(3_000),
            options: of(1_200).max(20),
            transients: of(1_000),
            actions: of(30_000),
            orders: of(15_000),
            scale,
        }
    }

    /// So many of a day's changes at scale 1, in scale.
    pub(crate) fn changes(&self, at_one: u64) -> u64 {
        scaled(at_one, self.scale)
    }
}

fn scaled(at_one: u64, scale: f64) -> u64 {
    ((at_one as f64 * scale).round() as u64).max(1)
}

/// A moment of the blog's fourteen years, as DATETIME: `at` of `of` equal parts.
pub(crate) fn moment(at: u64, of: u64) -> String {
    const BEGIN: u64 = 1_325_376_000; // 2012-01-01
    const YEARS: u64 = 14 * 31_557_600;
    let seconds = BEGIN + (u128::from(at) * u128::from(YEARS) / u128::from(of.max(1))) as u64;
    // Days since 1 March 2000, in a calendar whose years end with February: leap days come last.
    let days = seconds / 86_400 - 11_017;
    let four_years = days % 1_461;
    let day = (four_years % 365) + if four_years == 1_460 { 365 } else { 0 };
    let year = 2000 + days / 1_461 * 4 + (four_years / 365).min(3);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = year + u64::from(month < 3);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn load(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    let text = Text::new();
    out.write_all(include_bytes!("schema.sql"))?;
    meta::users(counts, &text, out)?;
    meta::usermeta(counts, &text, out)?;
    meta::terms(counts, &text, out)?;
    meta::options(counts, &text, out)?;
    posts::posts(counts, &text, out)?;
    posts::postmeta(counts, &text, out)?;
    posts::comments(counts, &text, out)?;
    posts::commentmeta(counts, out)?;
    shop::actions(counts, &text, out)?;
    shop::orders(counts, &text, out)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, scale) = (arguments.next(), arguments.next().and_then(|scale| scale.parse().ok()));
    let Some(scale) = scale.filter(|scale| (0.001..=100.0).contains(scale)) else {
        eprintln!("usage: bench-db-data load|day SCALE");
        return ExitCode::FAILURE;
    };
    let counts = Counts::new(scale);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    // The same modes and character set on any server: WordPress's zero dates are among the values.
    let session = b"SET NAMES utf8mb4; SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00';\n";
    let written = out.write_all(session).and_then(|()| match what.as_deref() {
        Some("load") => load(&counts, &mut out),
        Some("day") => day::day(&counts, &mut out),
        _ => Err(io::Error::other("usage: bench-db-data load|day SCALE")),
    });
    match written.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-db-data: {error}");
            ExitCode::FAILURE
        }
    }
}
