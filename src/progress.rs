//! What a run tells while it is under way. The library never prints: it reports events to a
//! [`Progress`] observer; the command line, the daemon and the tests each bring their own.

mod pace;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use pace::Pace;
pub use pace::PerSecond;

/// The steps of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading the parent, opening the store.
    #[default]
    Preparing,
    /// Waiting until a WordPress update that is under way is over.
    WaitingForUpdate,
    /// Step 1: the walk that hashes and uploads what is new.
    Files,
    /// Step 2: the database, one point in time.
    Database,
    /// Step 3: the second look at the files.
    SecondLook,
    /// Step 4: what the database names exists among the files.
    CrossCheck,
    /// Step 5: the manifest.
    Commit,
    /// Reading a snapshot back.
    Restoring,
    /// Over.
    Done,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A step began.
    Phase(Phase),
    /// What the parent snapshot held, as an estimate of what is to come.
    Expected {
        /// Entries in the list of files.
        entries: u64,
        /// Bytes of file content.
        bytes: u64,
        /// Rows of all tables.
        rows: u64,
        /// Bytes of SQL.
        sql_bytes: u64,
    },
    /// Directory entries met by the walk.
    Walked {
        /// How many since the last such event.
        entries: u64,
        /// Their bytes of content, whether read or known to be unchanged.
        bytes: u64,
    },
    /// Content read and hashed because it is new or changed.
    Read {
        /// Bytes since the last such event.
        bytes: u64,
    },
    /// Rows of a table read.
    Rows {
        /// The table's name, lossily decoded.
        table: String,
        /// Rows since the last such event.
        rows: u64,
        /// Bytes of SQL since the last such event.
        bytes: u64,
    },
    /// A pack reached the store.
    Uploaded {
        /// Stored bytes of the pack.
        bytes: u64,
    },
    /// Bytes written by a restore.
    Written {
        /// Bytes since the last such event.
        bytes: u64,
    },
    /// Something worth a line in the log, for a person.
    Note(String),
}

/// An observer of a run. Called from several threads; must not block.
pub trait Progress: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: Event);
}

/// An observer that doesn't look.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event) {}
}

/// A run's figures so far: what `status` and the progress stream show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The step under way.
    pub phase: Phase,
    /// Entries the parent had: the estimate for `walked_entries`. 0: unknown, this is a first run. In the second look, those
    /// of the first.
    pub expected_entries: u64,
    /// Bytes of content the parent had: the estimate for `walked_bytes`; 0 and the second look as above.
    pub expected_bytes: u64,
    /// Rows the parent had: the estimate for `rows`.
    #[serde(default)]
    pub expected_rows: u64,
    /// Bytes of SQL the parent had: the estimate for `sql_bytes`.
    #[serde(default)]
    pub expected_sql_bytes: u64,
    /// Entries met by the walk.
    pub walked_entries: u64,
    /// Their bytes of content.
    pub walked_bytes: u64,
    /// Bytes of content read because they are new or changed.
    pub read_bytes: u64,
    /// The table being read.
    pub table: Option<String>,
    /// Rows read from all tables.
    pub rows: u64,
    /// Bytes of SQL made from them.
    pub sql_bytes: u64,
    /// Packs that reached the store.
    pub uploaded_packs: u64,
    /// Their stored bytes.
    pub uploaded_bytes: u64,
    /// Bytes written by a restore.
    pub written_bytes: u64,
    /// The last note.
    pub note: Option<String>,
    /// Seconds since the run began.
    #[serde(default)]
    pub elapsed_seconds: u64,
    /// Seconds since its step began.
    #[serde(default)]
    pub step_seconds: u64,
    /// What is done per second, of late.
    #[serde(default)]
    pub per_second: PerSecond,
    /// How much of the step is done, where the parent tells how much is to be expected.
    #[serde(default)]
    pub percent: Option<u8>,
    /// An estimate of the seconds until the step is over, where one can be made.
    #[serde(default)]
    pub eta_seconds: Option<u64>,
}

/// An observer that adds events up.
#[derive(Debug)]
pub struct Tally {
    begun: Instant,
    state: Mutex<(Figures, Pace)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { begun: Instant::now(), state: Mutex::default() }
    }
}

impl Tally {
    /// The figures as they stand.
    pub fn figures(&self) -> Figures {
        let at = self.begun.elapsed();
        let state = self.lock();
        let (mut figures, pace) = (state.0.clone(), &state.1);
        pace.tell(at, &mut figures);
        figures
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Figures, Pace)> {
        // A poisoned tally only means that another observer panicked between two additions.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Tally {
    fn event(&self, event: Event) {
        let at = self.begun.elapsed();
        let (figures, pace) = &mut *self.lock();
        add(figures, pace, at, event);
    }
}

fn add(figures: &mut Figures, pace: &mut Pace, at: Duration, event: Event) {
    match event {
        Event::Phase(phase) => {
            if phase == Phase::SecondLook {
                figures.expected_entries = std::mem::take(&mut figures.walked_entries);
                figures.expected_bytes = std::mem::take(&mut figures.walked_bytes);
            }
            if phase == Phase::Database {
                // Also when the database is read again.
                (figures.table, figures.rows, figures.sql_bytes) = (None, 0, 0);
            }
            figures.phase = phase;
            return pace.step(at, figures);
        }
        Event::Expected { entries, bytes, rows, sql_bytes } => {
            (figures.expected_entries, figures.expected_bytes) = (entries, bytes);
            (figures.expected_rows, figures.expected_sql_bytes) = (rows, sql_bytes);
        }
        Event::Walked { entries, bytes } => {
            figures.walked_entries += entries;
            figures.walked_bytes = figures.walked_bytes.saturating_add(bytes);
            pace.in_file = 0;
        }
        Event::Read { bytes } => {
            figures.read_bytes += bytes;
            pace.in_file += bytes;
        }
        Event::Rows { table, rows, bytes } => {
            figures.table = Some(table);
            figures.rows += rows;
            figures.sql_bytes += bytes;
        }
        Event::Uploaded { bytes } => {
            figures.uploaded_packs += 1;
            figures.uploaded_bytes += bytes;
        }
        Event::Written { bytes } => figures.written_bytes += bytes,
        Event::Note(text) => figures.note = Some(text),
    }
    pace.moved(at, figures);
}
