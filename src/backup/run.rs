//! A run: the five steps in their order (docs/ARCHITECTURE.md, "One snapshot's way"). The commit is in `commit`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::avoided::{self, Avoided, Told};
use super::commit::{Commit, Held};
use super::edits::{EditWriter, Edited};
use super::error::BackupError;
use super::findings::Findings;
use super::gone::GoneKeeper;
use super::look::{Draft, Look, Which};
use super::parent::{self, Chosen};
use super::report::{RunReport, SnapshotSummary, Trigger};
use super::reread::Share;
use super::sealed;
use super::tables::Tables;
use super::trees::{SiteTree, uploads_in};
use crate::config::{Identities, SiteSettings, TreeName, TrustedKeys};
use crate::error::{Exit, Explain, render};
use crate::files::{Measure, ReadBuffer};
use crate::progress::{Event, Phase, Progress};
use crate::repository::RepositoryError;
use crate::repository::checkpoint::{self, Recovered};
use crate::repository::entry::{ChunkRef, FileEntry, Finding, FindingCode, TableEntry};
use crate::repository::ids::{PackName, RunId};
use crate::repository::journal::Journal;
use crate::repository::known::Known;
use crate::repository::layout::Layout;
use crate::repository::list::ListReader;
use crate::repository::manifest::{Counts, PackInfo};
use crate::repository::outbox::Spool;
use crate::repository::reuse::{self, Rules};
use crate::repository::seal::recipients_id;
use crate::repository::sign::SigningKey;
use crate::repository::state::{LocalSnapshot, SiteState};
use crate::repository::suspicion::Changes;
use crate::repository::verify::Record;
use crate::repository::writer::{PackWriter, WriterContext};
use crate::storage::{Pages, Store, StoreErrorKind};
use crate::wordpress::UpdateGate;

/// How often a WordPress update under way is looked at again.
const UPDATE_POLL: Duration = Duration::from_secs(2);

/// What a run may be asked for beside a snapshot.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Everything is read and sent again: nothing of the snapshots before is used.
    pub full: bool,
    /// What opens the lists of sealed snapshots, when local state lacks them. A host has none of its own.
    pub identities: Identities,
}

/// All that a run needs.
#[derive(Clone)]
pub struct RunContext {
    /// Where snapshots go.
    pub store: Arc<dyn Store>,
    /// The directory of local state, all sites'.
    pub state: PathBuf,
    /// The site.
    pub site: SiteSettings,
    /// The run's id, which the snapshot will have.
    pub run: RunId,
    /// Who asked.
    pub trigger: Trigger,
    /// What was asked for beside a snapshot.
    pub options: RunOptions,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// How often a checkpoint goes into the store: [`checkpoint::EVERY`], but for tests.
    pub checkpoint_every: Duration,
    /// Ends the run at the next piece of work; nothing is committed then.
    pub cancel: CancellationToken,
}

/// Makes one snapshot, or says why not. Needs a multi-threaded runtime.
pub async fn run(context: RunContext) -> RunReport {
    let started = Timestamp::now();
    let result = Run { context: &context, layout: Layout::new(context.site.name.clone()), started }.work().await;
    context.progress.event(Event::Phase(Phase::Done));
    let (exit, error, snapshot) = match result {
        Ok(summary) => {
            let lost = summary.findings.keys().any(|code| code.is_loss());
            let exit = match (summary.suspect.is_empty(), lost) {
                (false, _) => Exit::Suspect,
                (true, true) => Exit::Findings,
                (true, false) => Exit::Success,
            };
            (exit, None, Some(summary))
        }
        // A step that notices the cancellation in its own words was cancelled all the same; but of the commit it isn't
        // known whether it took effect.
        Err(error) if context.cancel.is_cancelled() && !matches!(error, BackupError::Commit(_)) => {
            (Exit::Cancelled, Some(render(&BackupError::Cancelled)), None)
        }
        Err(error) => (error.exit(), Some(render(&error)), None),
    };
    RunReport {
        site: context.site.name.to_string(),
        run: context.run,
        trigger: context.trigger,
        started,
        finished: Timestamp::now(),
        result: exit,
        error,
        snapshot,
    }
}

/// A run under way: what stays the same.
pub(super) struct Run<'a> {
    pub(super) context: &'a RunContext,
    pub(super) layout: Layout,
    pub(super) started: Timestamp,
}

/// What the steps hand on to each other.
struct Work {
    writer: PackWriter,
    /// How much is left out of each tree: what step 1 counts, step 3 knows.
    measures: HashMap<Option<TreeName>, Measure>,
    /// The parent's chunks of files.
    files: Known,
    /// The parent's chunks of tables.
    tables: Known,
    /// The chunks of the run before, if it was broken off.
    broken: Known,
    /// Where files are read into.
    buffer: ReadBuffer,
    /// The unchanged files that are read all the same.
    share: Share,
    /// What reading them found.
    reread: Findings,
    /// Packs of the parent that nothing is taken from.
    avoided: Avoided,
    /// What changed below uploads.
    changes: Changes,
}

impl Run<'_> {
    async fn work(&self) -> Result<SnapshotSummary, BackupError> {
        let context = self.context;
        self.phase(Phase::Preparing);
        let trees = SiteTree::open_all(&context.site)?;
        let state = Arc::new(SiteState::open(&context.state, &context.site.name)?);
        let result = self.steps(&trees, &state).await;
        match &result {
            // The next run reads the parent's lists from the store. (What is in scratch goes by itself.)
            Err(BackupError::Repository(RepositoryError::LocalList { path, .. })) if !path.starts_with(state.scratch()) => {
                if let Err(error) = state.forget_parent() {
                    context.progress.event(Event::Note(render(&error)));
                }
            }
            _ => {}
        }
        result
    }

    async fn steps(&self, trees: &[SiteTree], state: &Arc<SiteState>) -> Result<SnapshotSummary, BackupError> {
        let context = self.context;
        let lost = state.is_new();
        let (key, made) = SigningKey::load_or_make(&context.state)?;
        if made {
            let note = format!("made this machine's signing key; those who restore pin it as trust.keys: {}", key.public());
            context.progress.event(Event::Note(note));
        }
        let key = Arc::new(key);
        let trusted = context.site.trusted.and(key.public());
        let mut chosen = self.uncancelled(parent::choose(context, &self.layout, state, &trusted)).await?;
        state.keep_only(chosen.parent.as_ref().map(|p| &p.manifest.id))?;
        // Its lists stay on disk until the commit: a run that is broken off must not lose them.
        if let Some(why) = sealed::makes_full(&context.options, chosen.parent.as_ref(), &context.site.recipients) {
            chosen.previous = chosen.parent.take().map(|parent| parent.named());
            context.progress.event(Event::Note(why.to_owned()));
        }
        let Chosen { parent, previous, before, seq, findings, listed } = chosen;
        let judged_by = self.judged_by(before.as_ref(), &trusted).await?;
        if let Some(parent) = &parent {
            let Counts { file_entries: entries, file_bytes: bytes, rows, sql_bytes, .. } = parent.manifest.counts;
            context.progress.event(Event::Expected { entries, bytes, rows, sql_bytes });
        }
        if lost {
            self.uncancelled(self.recover(state, &trusted)).await?;
        }
        let bad = Record::load(&context.state, &context.site.name).bad_packs;
        let told = Told { known_bad: &bad, readers: &context.site.trusted, host: key.public() };
        let place = (context.store.as_ref(), &self.layout);
        let looked = avoided::look(place, state, parent.as_ref(), told, context.progress.as_ref());
        let (avoided, packs_missing) = self.uncancelled(looked).await?;
        let (broken, resumed) = self.uncancelled(self.resume(state, &trusted)).await?;
        let scratch = state.scratch();
        let writer = PackWriter::new(WriterContext {
            store: Arc::clone(&context.store),
            layout: self.layout.clone(),
            run: context.run,
            key: Arc::clone(&key),
            scratch: scratch.clone(),
            progress: Arc::clone(&context.progress),
            journal: Journal::open(&state.journal(), &context.store.url())?,
            checkpoint_every: context.checkpoint_every,
            resumed: resumed.clone(),
            recipients: context.site.recipients.clone(),
            cancel: context.cancel.clone(),
        })?;
        let (files, tables) = known(parent.as_ref(), &avoided, &scratch);
        let (buffer, share) = (ReadBuffer::new(), Share::new(context.site.reread, seq));
        let mut work = Work {
            writer,
            measures: HashMap::new(),
            files,
            tables,
            broken,
            buffer,
            share,
            reread: Findings::new(&scratch, "reread")?,
            avoided,
            changes: Changes::default(),
        };
        let mut gate = Findings::new(&scratch, "gate")?;
        findings.into_iter().chain(packs_missing).for_each(|finding| gate.add(finding));
        // No restore is under way: it would hold the lock.
        if let Some(marker) = state.broken_restore() {
            let detail = format!(
                "a restore onto the site was begun and didn't come to its end, so this may be a mixture of two times: restore again, or remove {} \
                 once the site is as it should be",
                marker.display()
            );
            gate.add(Finding { code: FindingCode::RestoreUnfinished, subject: "wp-content".into(), detail });
        }

        self.wait_for_update(&mut gate).await?;
        self.phase(Phase::Files);
        let walk_started = nanoseconds(Timestamp::now());
        let previous_started = parent.as_ref().map_or(i64::MIN, |p| nanoseconds(p.manifest.times.started));
        // What step 1 could not capture, step 3 says again if it still holds.
        let mut passing = Findings::new(&scratch, "first-look")?;
        let mut unchanged = Vec::new();
        for tree in trees {
            let previous = tree.before(parent.as_ref())?;
            let how = (tree, Which::First);
            let changes = block_in_place(|| self.look(&mut work, how, previous, previous_started, &scratch, &mut passing))?;
            unchanged.push(!changes);
        }

        self.phase(Phase::Database);
        let drafted_tables = scratch.join("tables.zst");
        // The snapshot of the database should be open for as long as it takes to read, not as it takes to send.
        let how = &context.site.database.dump;
        work.writer.spool(Spool { limit: how.spool, wait: how.store_wait }).await?;
        let dumped = Tables {
            site: &context.site,
            scratch: &scratch,
            progress: &context.progress,
            cancel: &context.cancel,
            writer: &mut work.writer,
            known: [&mut work.tables, &mut work.broken],
            draft: &drafted_tables,
        }
        .run()
        .await?;

        work.writer.spool(Spool::default()).await?;
        self.wait_for_update(&mut gate).await?;
        self.phase(Phase::SecondLook);
        let mut lasting = Findings::new(&scratch, "second-look")?;
        for (tree, unchanged) in trees.iter().zip(&mut unchanged) {
            let previous = Edited::open(tree.before(parent.as_ref())?, &tree.edits(&scratch, Which::First))?;
            let how = (tree, Which::Second);
            let changes = block_in_place(|| self.look(&mut work, how, previous, walk_started, &scratch, &mut lasting))?;
            *unchanged &= !changes;
        }
        if let Some(signal) = self.gate().files_signal() {
            gate.add(Finding { code: FindingCode::UpdateUnderWay, subject: "wp-content".into(), detail: signal });
        }
        self.uncancelled(work.writer.flush()).await?;

        self.phase(Phase::CrossCheck);
        let after = |(tree, unchanged): (&SiteTree, bool)| tree.after(parent.as_ref(), &scratch, unchanged);
        let trees = trees.iter().zip(unchanged).map(after).collect::<Result<_, _>>()?;
        let found = vec![gate.finish()?, work.reread.finish()?, lasting.finish()?];
        let changes = parent.is_some().then_some(work.changes);
        let held = Held { found, trees, drafted_tables, resumed, dumped, avoided: work.avoided, judged_by, changes };
        let commit = Commit {
            run: self,
            state,
            parent: parent.as_ref(),
            previous,
            seq,
            key: &key,
            listed,
            writer: work.writer,
            scratch: &scratch,
        };
        commit.make(held).await
    }

    /// Without local state: what a run before may have sent before it was broken off.
    async fn recover(&self, state: &SiteState, trusted: &TrustedKeys) -> Result<(), BackupError> {
        match checkpoint::recover(&self.context.store, &self.layout, &state.journal(), trusted).await {
            Ok(Recovered { packs, sealed }) => {
                if packs > 0 {
                    let note = format!("local state is lost; this run goes on from a checkpoint of {packs} packs in the store");
                    self.context.progress.event(Event::Note(note));
                }
                if sealed > 0 {
                    let note =
                        format!("local state is lost; {sealed} packs of a broken run are sealed, so their content is sent again");
                    self.context.progress.event(Event::Note(note));
                }
                Ok(())
            }
            // The account may lack the right to look: then all is sent again.
            Err(RepositoryError::Store(error)) if error.kind == StoreErrorKind::Denied => {
                self.context.progress.event(Event::Note(format!("checkpoints can't be looked for: {}", render(&error))));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the run before has in the store, if it was broken off: its chunks, and its packs.
    async fn resume(&self, state: &SiteState, trusted: &TrustedKeys) -> Result<(Known, Vec<PackInfo>), BackupError> {
        let (path, store) = (state.journal(), Arc::clone(&self.context.store));
        let noted = block_in_place(|| Journal::read(&path, &store.url(), &mut |_| Ok(())))?;
        // No manifest names them: whether they are still there, and will be, must be asked.
        let there = if noted.is_empty() { HashSet::new() } else { self.reusable(store.as_ref(), &noted, trusted).await? };
        // Those that were sealed to others, or not at all, are no part of a snapshot that is sealed to these.
        let sealed = recipients_id(&self.context.site.recipients);
        let packs: Vec<_> = noted.into_iter().filter(|pack| pack.sealed == sealed && there.contains(&pack.name)).collect();
        if packs.is_empty() {
            Journal::clear(&path)?;
            return Ok((Known::nothing(), packs));
        }
        // This run appends its own packs to the same file: only those of before may be reused as stored.
        let before: HashSet<_> = packs.iter().map(|pack| pack.name).collect();
        let load = move |each: &mut dyn FnMut(&ChunkRef) -> Result<(), RepositoryError>| {
            let mut each_before = |chunk: &ChunkRef| if before.contains(&chunk.pack) { each(chunk) } else { Ok(()) };
            Journal::read(&path, &store.url(), &mut each_before).map(|_| ())
        };
        Ok((Known::lazy(&state.scratch(), Box::new(load)), packs))
    }

    /// Which of these packs the store has, as they were sent, and no pruning will take meanwhile. A LIST of the checkpoints, and one for
    /// each directory of packs that they are in.
    async fn reusable(
        &self,
        store: &dyn Store,
        packs: &[PackInfo],
        trusted: &TrustedKeys,
    ) -> Result<HashSet<PackName>, BackupError> {
        let denied = |error: &dyn Explain| {
            let note = format!("what the run before sent can't be looked for, so it is sent again: {}", render(error));
            self.context.progress.event(Event::Note(note));
            HashSet::new()
        };
        let (now, checkpoint) = match checkpoint::newest(store, &self.layout, trusted).await {
            Err(RepositoryError::Store(error)) if error.kind == StoreErrorKind::Denied => return Ok(denied(&error)),
            found => found?,
        };
        let named: HashSet<_> = checkpoint.into_iter().flat_map(|found| found.packs).map(|pack| pack.name).collect();
        let may_reuse = |name: &PackName, modified: SystemTime| {
            let age = now.duration_since(modified).unwrap_or_default();
            Rules::default().may_reuse(reuse::Known::Broken { age, named: named.contains(name) })
        };
        let mut wanted: BTreeMap<String, Vec<&PackInfo>> = BTreeMap::new();
        for pack in packs {
            let key = self.layout.pack(pack);
            let directory = key.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
            wanted.entry(directory).or_default().push(pack);
        }
        let mut there = HashSet::new();
        for (directory, packs) in wanted {
            let mut pages = Pages::of(store, directory, None);
            loop {
                let page = match pages.next().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    Err(error) if error.kind == StoreErrorKind::Denied => return Ok(denied(&error)),
                    Err(error) => return Err(error.into()),
                };
                for object in &page.objects {
                    let known = packs.iter().find(|pack| self.layout.pack(pack) == object.key && pack.size == object.size);
                    there.extend(known.map(|pack| pack.name).filter(|name| may_reuse(name, object.modified)));
                }
            }
        }
        Ok(there)
    }

    /// One walk, merged with an earlier list; whether that is another now. Blocking.
    fn look(
        &self,
        work: &mut Work,
        (site_tree, which): (&SiteTree, Which),
        previous: impl Iterator<Item = Result<Draft, RepositoryError>>,
        previous_started: i64,
        scratch: &std::path::Path,
        findings: &mut Findings,
    ) -> Result<bool, BackupError> {
        let mut edits = EditWriter::create(&site_tree.edits(scratch, which))?;
        Look {
            site_tree,
            progress: self.context.progress.as_ref(),
            cancel: &self.context.cancel,
            writer: &mut work.writer,
            known: [&mut work.files, &mut work.broken],
            findings,
            measure: work.measures.entry(site_tree.name).or_default(),
            reread: &mut work.reread,
            avoided: &work.avoided,
            edits: &mut edits,
            buffer: &mut work.buffer,
            gone: GoneKeeper::new(uploads_in(site_tree.name)),
            changes: &mut work.changes,
            share: work.share,
        }
        .run(which, previous, previous_started)?;
        Ok(edits.finish()?)
    }

    fn gate(&self) -> UpdateGate {
        UpdateGate::new(self.context.site.root.as_deref(), &self.context.site.content_dir)
    }

    /// Waits while WordPress updates itself; after the limit the run goes on and names it.
    async fn wait_for_update(&self, findings: &mut Findings) -> Result<(), BackupError> {
        let begun = Instant::now();
        while let Some(signal) = block_in_place(|| self.gate().files_signal()) {
            if begun.elapsed() >= self.context.site.update_wait {
                findings.add(Finding { code: FindingCode::UpdateUnderWay, subject: "wp-content".into(), detail: signal });
                return Ok(());
            }
            self.phase(Phase::WaitingForUpdate);
            tokio::select! {
                () = tokio::time::sleep(UPDATE_POLL) => {}
                () = self.context.cancel.cancelled() => return Err(BackupError::Cancelled),
            }
        }
        Ok(())
    }

    /// Waits for work that doesn't watch the cancellation itself; it may be dropped at any point.
    pub(super) async fn uncancelled<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, BackupError>
    where
        BackupError: From<E>,
    {
        tokio::select! {
            result = work => Ok(result?),
            () = self.context.cancel.cancelled() => Err(BackupError::Cancelled),
        }
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.context.progress.event(Event::Phase(phase));
    }
}

/// The parent's chunks that can be named again, read when first asked for.
fn known(parent: Option<&LocalSnapshot>, avoided: &Avoided, scratch: &std::path::Path) -> (Known, Known) {
    let Some(parent) = parent else { return (Known::nothing(), Known::nothing()) };
    let (in_files, in_tables) = (avoided.clone(), avoided.clone());
    let (lists, tables) = (parent.file_lists(), parent.tables());
    let files = Known::lazy(
        scratch,
        Box::new(move |each| {
            for list in lists {
                for entry in ListReader::<FileEntry>::open(&list)? {
                    entry?.chunks.iter().filter(|chunk| !in_files.has(chunk)).try_for_each(&mut *each)?;
                }
            }
            Ok(())
        }),
    );
    let tables = Known::lazy(
        scratch,
        Box::new(move |each| {
            for entry in ListReader::<TableEntry>::open(&tables)? {
                let chunk = entry?.chunk;
                if !in_tables.has(&chunk) {
                    each(&chunk)?;
                }
            }
            Ok(())
        }),
    );
    (files, tables)
}

/// Nanoseconds since 1970, as file times are told.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
