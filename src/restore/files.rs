//! A snapshot's files into a directory: one thread reads the list and compares, others fetch what differs and write it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::list::{FileList, Listed, listed};
use super::{Restore, RestoreError, expect};
use crate::config::TreeName;
use crate::files::{Desk, FileTask, Found, NotSet, Survey, Target, TargetOptions, TargetStats};
use crate::progress::{Event, Progress};
use crate::repository::RepositoryError;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::{FileFlag, FileKind};
use crate::repository::ids::PackName;
use crate::repository::shelf::{PackShelf, ShelfReader};

/// What a restored directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRestored {
    /// What became of it.
    pub stats: TargetStats,
    /// Entries that the run flagged as torn: their content is one reading of a file that was being written.
    pub torn: u64,
    /// What could not be restored of an entry; the first of them.
    pub not_set: Vec<NotSet>,
    /// What was not deleted because a snapshot could not capture it, or left it out; the first of it.
    pub spared: Vec<ByteText>,
    /// Files whose content is in no pack any more: they were left as they are in the target. How many, and the first of them.
    pub lost: (u64, Vec<ByteText>),
}

/// Files that are looked at together, to tell which packs are worth fetching whole.
const WINDOW_FILES: usize = 4096;
/// The same in chunks: a reference has a hundred bytes.
const WINDOW_CHUNKS: usize = 32 << 10;
/// Files of one job, unless the next has its content in the same frame.
const JOB_FILES: usize = 64;
/// Bytes of content of one job, with the same exception.
const JOB_BYTES: u64 = 4 << 20;
/// Files of one job at most.
const JOB_LIMIT: usize = 1024;
/// Each thread that writes needs a pack, and memory is bounded.
const MOST_WRITERS: usize = 3;

/// What a writing thread takes at a time.
struct Job<'t> {
    tasks: Vec<FileTask<'t>>,
    /// Packs to be fetched whole.
    whole: Arc<HashSet<PackName>>,
}

impl Restore {
    /// Writes all of wp-content below `target`, which must be empty or missing unless `overwrite`.
    pub async fn files(&mut self, target: &Path, overwrite: bool) -> Result<FilesRestored, RestoreError> {
        self.files_into(target, None, TargetOptions { overwrite, ..TargetOptions::default() }).await
    }

    /// Restores wp-content, or a tree beside it, into `target`: what is there already and as it should be is kept.
    /// Needs a multi-threaded runtime.
    pub async fn files_into(
        &mut self,
        target: &Path,
        tree: Option<TreeName>,
        options: TargetOptions,
    ) -> Result<FilesRestored, RestoreError> {
        block_in_place(|| self.files_blocking(target, tree, options))
    }

    fn files_blocking(
        &mut self,
        target: &Path,
        tree: Option<TreeName>,
        options: TargetOptions,
    ) -> Result<FilesRestored, RestoreError> {
        let runtime = Handle::current();
        // Before anything is touched: this may fail.
        let spares = options.delete.is_some().then(|| self.spares(tree, &runtime)).transpose()?;
        let listed = listed(&self.manifest, tree)?;
        if !options.paths.is_all() {
            // Before anything is written.
            let mut unmatched = options.paths.unmatched();
            let mut list = FileList::new(&mut self.lists, listed.pieces);
            while let Some(entry) = runtime.block_on(list.next())? {
                if unmatched.see(entry.path.as_bytes(), entry.kind == FileKind::Dir) {
                    break;
                }
            }
            if let Some(pattern) = unmatched.first() {
                return Err(RestoreError::NoSuchPath { pattern: pattern.clone() });
            }
        }
        let target = Target::open(target, options)?.cancelled_by(self.cancel.clone());
        spares.into_iter().for_each(|spares| target.spare(spares));
        let writers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, MOST_WRITERS));
        let shelf = PackShelf::new(Arc::clone(&self.store), self.layout.clone(), &self.manifest.packs, writers + 1);
        let shelf = shelf.with_keys(self.keys.clone()).salvaging(self.salvage.clone());
        let salvaging = self.salvage.is_some();
        let list = FileList::new(&mut self.lists, listed.pieces);
        let (cancel, progress) = (&self.cancel, self.progress.as_ref());
        let (jobs, waiting) = sync_channel(2 * writers);
        let waiting = &Mutex::new(waiting);
        let torn = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..writers)
                .map(|_| {
                    let reader = ShelfReader::new(&shelf, runtime.clone());
                    let mut writer = Writer { target: &target, desk: Desk::new(&target), reader, progress, cancel, salvaging };
                    scope.spawn(move || writer.work(waiting))
                })
                .collect();
            let surveyed = survey(&target, list, listed, &runtime, cancel, Dispatcher::new(&shelf, jobs));
            // A thread's failure comes first: the survey only ends because of it.
            let written = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(RepositoryError::Task.into())));
            written.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
            surveyed
        })?;
        let stats = target.finish()?;
        Ok(FilesRestored { stats, torn, not_set: target.not_set(), spared: target.spared(), lost: target.lost() })
    }
}

/// Goes through the list; how many torn files are in it.
fn survey<'t>(
    target: &'t Target,
    list: FileList<'_>,
    listed: Listed<'_>,
    runtime: &Handle,
    cancel: &CancellationToken,
    dispatcher: Dispatcher<'_, 't>,
) -> Result<u64, RestoreError> {
    let mut survey = Survey::new(target);
    let gone_through = go_through(&mut survey, target, list, listed, runtime, cancel, dispatcher);
    let gone_through = gone_through.inspect_err(|_| target.stop())?;
    // One that was stopped has not seen all: what it hasn't seen is not to be deleted.
    let Some(torn) = gone_through else { return Ok(0) };
    survey.finish().inspect_err(|_| target.stop())?;
    Ok(torn)
}

/// `None` when it was stopped, for a reason that another thread tells.
fn go_through<'t>(
    survey: &mut Survey<'t>,
    target: &'t Target,
    mut list: FileList<'_>,
    listed: Listed<'_>,
    runtime: &Handle,
    cancel: &CancellationToken,
    mut dispatcher: Dispatcher<'_, 't>,
) -> Result<Option<u64>, RestoreError> {
    let (mut entries, mut bytes, mut torn) = (0u64, 0u64, 0);
    while let Some(entry) = runtime.block_on(list.next())? {
        if cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        if target.is_stopped() {
            return Ok(None);
        }
        entries += 1;
        if entry.kind == FileKind::File {
            bytes = bytes.saturating_add(entry.size);
        }
        torn += u64::from(entry.flags.contains(&FileFlag::Torn));
        if let Some(task) = survey.entry(entry)? {
            dispatcher.push(task);
        }
    }
    dispatcher.flush();
    expect("entries of files", listed.entries, entries)?;
    expect("bytes of files", listed.bytes, bytes)?;
    Ok(Some(torn))
}

/// Makes jobs of files.
struct Dispatcher<'s, 't> {
    shelf: &'s PackShelf,
    jobs: SyncSender<Job<'t>>,
    window: Vec<FileTask<'t>>,
    chunks: usize,
}

impl<'s, 't> Dispatcher<'s, 't> {
    fn new(shelf: &'s PackShelf, jobs: SyncSender<Job<'t>>) -> Self {
        Self { shelf, jobs, window: Vec::new(), chunks: 0 }
    }

    fn push(&mut self, task: FileTask<'t>) {
        // What else may be large is weighed as a chunk's reference is.
        self.chunks += task.entry.chunks.len() + task.entry.holes.len() / 4 + task.entry.xattrs.bytes() / 128;
        self.window.push(task);
        if self.window.len() >= WINDOW_FILES || self.chunks >= WINDOW_CHUNKS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let window = std::mem::take(&mut self.window);
        self.chunks = 0;
        let whole = Arc::new(self.worth_it(&window));
        let (mut tasks, mut bytes, mut frame) = (Vec::new(), 0, None);
        for task in window {
            let next = task.entry.chunks.first().map(|chunk| (chunk.pack, chunk.frame.0));
            let full = tasks.len() >= JOB_FILES || bytes >= JOB_BYTES;
            if full && (next.is_none() || next != frame) || tasks.len() >= JOB_LIMIT {
                self.send(std::mem::take(&mut tasks), &whole);
                bytes = 0;
            }
            bytes = task.entry.size.saturating_add(bytes);
            frame = task.entry.chunks.last().map(|chunk| (chunk.pack, chunk.frame.0));
            tasks.push(task);
        }
        self.send(tasks, &whole);
    }

    fn send(&self, tasks: Vec<FileTask<'t>>, whole: &Arc<HashSet<PackName>>) {
        if !tasks.is_empty() {
            // Fails only when all threads are gone, which they say themselves.
            let _ = self.jobs.send(Job { tasks, whole: Arc::clone(whole) });
        }
    }

    /// The packs of which these files need much.
    fn worth_it(&self, window: &[FileTask<'t>]) -> HashSet<PackName> {
        let mut frames = HashSet::new();
        let mut needed: HashMap<PackName, u64> = HashMap::new();
        for chunk in window.iter().filter(|task| task.needs_all()).flat_map(|task| &task.entry.chunks) {
            if frames.insert((chunk.pack, chunk.frame.0)) {
                let needed = needed.entry(chunk.pack).or_default();
                *needed = needed.saturating_add(chunk.frame.1);
            }
        }
        needed.into_iter().filter(|(pack, needed)| self.shelf.is_worth_it(pack, *needed)).map(|(pack, _)| pack).collect()
    }
}

/// One thread that writes.
struct Writer<'a, 't> {
    target: &'t Target,
    desk: Desk<'t>,
    reader: ShelfReader<'a>,
    progress: &'a dyn Progress,
    cancel: &'a CancellationToken,
    /// What can't be found is left out.
    salvaging: bool,
}

impl<'t> Writer<'_, 't> {
    /// Does what waits until nothing more comes. After a failure it only empties the queue.
    fn work(&mut self, waiting: &Mutex<Receiver<Job<'t>>>) -> Result<(), RestoreError> {
        let mut result = Ok(());
        loop {
            let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return result };
            for task in job.tasks {
                if self.target.is_stopped() {
                    break;
                }
                if let Err(error) = self.file(task, &job.whole) {
                    self.target.stop();
                    result = Err(error);
                }
            }
        }
    }

    fn file(&mut self, task: FileTask<'t>, whole: &HashSet<PackName>) -> Result<(), RestoreError> {
        let mut pieces = match self.desk.look(&task)? {
            Found::Done => return Ok(()),
            Found::Nothing => None,
            Found::Pieces(pieces) => Some(pieces),
        };
        let Some(mut file) = self.desk.begin(&task)? else { return Ok(()) };
        let mut reused = 0;
        for chunk in &task.entry.chunks {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            match pieces.as_mut().and_then(|pieces| pieces.read(chunk)) {
                Some(content) => {
                    file.write(content)?;
                    reused += content.len() as u64;
                }
                None => match self.reader.read(chunk, whole.contains(&chunk.pack)) {
                    Ok(content) => file.write(content)?,
                    Err(error) if self.salvaging && error.is_loss() => {
                        self.target.lose(&task.entry);
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                },
            }
            self.progress.event(Event::Written { bytes: chunk.size });
        }
        Ok(self.desk.finish(task, file, reused)?)
    }
}
