//! Steps 4 and 5: the cross-check, the lists, and the manifest whose one PUT makes the snapshot visible.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::block_in_place;

use super::avoided::Avoided;
use super::error::BackupError;
use super::findings::{self, Findings, Found};
use super::publish::{FileCounts, Publisher, Usage};
use super::report::SnapshotSummary;
use super::run::Run;
use super::sealed;
use super::suspect::{self, Checks, JudgedBy};
use super::tables::Dumped;
use super::trees::After;
use crate::config::TreeName;
use crate::error::render;
use crate::progress::{Event, Phase};
use crate::repository::draft::DraftChunk;
use crate::repository::entry::ChunkRef;
use crate::repository::journal::Journal;
use crate::repository::known::Known;
use crate::repository::layout::SnapshotKey;
use crate::repository::manifest::{Counts, FORMAT, Manifest, PackInfo, Parent, Server, Status, TOOL, Times, TreeList};
use crate::repository::reuse::{Rules, Since};
use crate::repository::sign::{Kind, SigningKey};
use crate::repository::state::{LocalSnapshot, SiteState, tree_list};
use crate::repository::suspicion::{self, Baseline, Changes, Suspicion, Watched};
use crate::repository::writer::PackWriter;
use crate::repository::{RepositoryError, checksummed};

/// A snapshot about to be committed.
pub(super) struct Commit<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) state: &'a Arc<SiteState>,
    pub(super) parent: Option<&'a LocalSnapshot>,
    pub(super) previous: Option<Parent>,
    pub(super) seq: u64,
    pub(super) key: &'a SigningKey,
    /// When the store was listed.
    pub(super) listed: Since,
    pub(super) writer: PackWriter,
    pub(super) scratch: &'a Path,
}

/// What the steps before have left.
pub(super) struct Held {
    pub(super) found: Vec<Found>,
    pub(super) trees: Vec<After>,
    pub(super) drafted_tables: PathBuf,
    /// Packs of the broken run before.
    pub(super) resumed: Vec<PackInfo>,
    pub(super) dumped: Dumped,
    /// Packs of the parent that nothing is taken from.
    pub(super) avoided: Avoided,
    /// What the snapshot is judged by.
    pub(super) judged_by: JudgedBy,
    /// What changed below uploads; `None` without a parent.
    pub(super) changes: Option<Changes>,
}

/// The parent's list of a tree: its pieces, and where it is on local disk.
fn parent_list(parent: &LocalSnapshot, name: Option<TreeName>) -> Option<(&[ChunkRef], PathBuf)> {
    let Some(name) = name else { return Some((&parent.manifest.files, parent.files())) };
    let tree = parent.manifest.trees.iter().find(|tree| tree.name == name)?;
    Some((&tree.files, parent.tree(name)?))
}

/// How the snapshot compares with those before.
struct Judged {
    watched: Watched,
    baseline: Option<Baseline>,
    suspect: Vec<Suspicion>,
}

/// The lists, in the store.
struct Published {
    files: Vec<ChunkRef>,
    trees: Vec<TreeList>,
    tables: Vec<ChunkRef>,
    notes: Vec<ChunkRef>,
    packs: Vec<PackInfo>,
    counts: Counts,
}

impl Commit<'_> {
    pub(super) async fn make(mut self, held: Held) -> Result<SnapshotSummary, BackupError> {
        let Held { mut found, trees: looked_at, drafted_tables, resumed, dumped, avoided, judged_by, changes } = held;
        let Dumped { server, point_in_time, stats, core_rows, found: found_in_tables, references } = dumped;
        found.push(found_in_tables);
        let dir = self.state.snapshot_dir(&self.run.context.run)?;
        let scratch = self.scratch;

        // Step 4 goes along with the list of files: the checks see every entry of it.
        let mut checks = Checks::new(block_in_place(|| references.look_up())?, judged_by.baseline.as_ref());
        let (mut usage, mut lists) = (Usage::default(), self.known_lists(&avoided));
        let (mut files, mut counted, mut trees) = (Vec::new(), FileCounts::default(), Vec::new());
        for tree in looked_at {
            let name = tree.name;
            let local = name.map_or_else(|| dir.join("files.zst"), |name| tree_list(&dir, name));
            let parent = self.parent.filter(|_| tree.unchanged).and_then(|parent| parent_list(parent, name));
            let parent = parent.filter(|(pieces, _)| !pieces.iter().any(|piece| avoided.has(piece)));
            let mut publisher = self.publisher(&mut lists, &mut usage);
            let (pieces, counts) = block_in_place(|| match parent {
                Some((pieces, list)) => publisher.same_files(tree, pieces, &list, &local, &mut checks),
                None => publisher.files(tree, &local, &mut checks),
            })?;
            match name {
                None => (files, counted) = (pieces, counts),
                Some(name) => trees.push((name, counts, pieces)),
            }
        }
        let mut missing = Findings::new(scratch, "cross-check")?;
        let (lookup, watched, code) = checks.finish();
        let (lacks, _) = block_in_place(|| lookup.finish())?;
        let watched = Watched { rows: stats.rows, core_rows, ..watched };
        let (baseline, suspect) = suspicion::conclude(judged_by.baseline, &judged_by.before, &watched, changes, self.seq);
        lacks.into_iter().chain(suspect::named(&suspect, code)).for_each(|finding| missing.add(finding));
        let tables = block_in_place(|| self.publisher(&mut lists, &mut usage).tables(&drafted_tables, &dir.join("tables.zst")))?;
        if let Some(parent) = self.parent {
            let others = sealed::differently(&parent.manifest, &self.run.context.site.recipients, |pack| usage.uses(pack));
            others.into_iter().for_each(|finding| missing.add(finding));
        }
        found.push(missing.finish()?);
        let notes = block_in_place(|| self.publisher(&mut lists, &mut usage).notes(&found, scratch))?;
        self.run.phase(Phase::Commit);
        self.run.uncancelled(self.writer.flush()).await?;

        let counts = Counts {
            file_entries: counted.entries,
            file_bytes: counted.bytes,
            tables: stats.tables,
            rows: stats.rows,
            sql_bytes: stats.sql_bytes,
        };
        let published = self.place([files, tables, notes], trees, usage, &resumed, counts)?;
        let judged = Judged { watched, baseline, suspect };
        let manifest = self.manifest(published, judged, (server, point_in_time), &found);
        let (state, run) = (self.state, self.run);
        let summary = self.commit(manifest, findings::first(&found)).await?;
        if let Err(error) = avoided.done(state) {
            // They are asked again by the next run.
            run.context.progress.event(Event::Note(format!("after the commit: {}", render(&error))));
        }
        Ok(summary)
    }

    fn publisher<'b>(&'b mut self, lists: &'b mut Known, usage: &'b mut Usage) -> Publisher<'b> {
        Publisher { writer: &mut self.writer, known: lists, usage }
    }

    /// The parent's list pieces that can be named again.
    fn known_lists(&self, avoided: &Avoided) -> Known {
        let Some(Manifest { files, trees, tables, notes, .. }) = self.parent.map(|p| &p.manifest) else {
            return Known::nothing();
        };
        let trees = trees.iter().map(|tree| &tree.files);
        let all = [files, tables, notes].into_iter().chain(trees).flatten().copied();
        let pieces: Vec<ChunkRef> = all.filter(|piece| !avoided.has(piece)).collect();
        Known::lazy(self.scratch, Box::new(move |each| pieces.iter().try_for_each(each)))
    }

    fn place(
        &self,
        lists: [Vec<DraftChunk>; 3],
        trees: Vec<(TreeName, FileCounts, Vec<DraftChunk>)>,
        mut usage: Usage,
        resumed: &[PackInfo],
        counts: Counts,
    ) -> Result<Published, BackupError> {
        let mut resolve = |pieces: Vec<DraftChunk>| {
            let resolved = pieces.iter().map(|piece| self.writer.resolve(piece)).collect::<Result<Vec<_>, _>>()?;
            resolved.iter().for_each(|piece| usage.count(piece));
            Ok::<_, RepositoryError>(resolved)
        };
        let [files, tables, notes] = lists;
        let (files, tables, notes) = (resolve(files)?, resolve(tables)?, resolve(notes)?);
        let tree =
            |(name, FileCounts { entries, bytes }, pieces)| resolve(pieces).map(|files| TreeList { name, entries, bytes, files });
        let trees = trees.into_iter().map(tree).collect::<Result<_, _>>()?;
        let parents = self.parent.map(|p| p.manifest.packs.as_slice()).unwrap_or_default();
        let packs = usage.packs(&[parents, resumed, &self.writer.packs()])?;
        Ok(Published { files, trees, tables, notes, packs, counts })
    }

    fn manifest(
        &self,
        published: Published,
        judged: Judged,
        (server, point_in_time): (Server, Timestamp),
        found: &[Found],
    ) -> Manifest {
        let Published { files, trees, tables, notes, packs, counts } = published;
        let findings = findings::sum(found);
        let context = self.run.context;
        Manifest {
            format: FORMAT,
            site: context.site.name.to_string(),
            id: context.run,
            seq: self.seq,
            parent: self.parent.map(LocalSnapshot::named),
            previous: self.previous.clone(),
            times: Times { started: self.run.started, point_in_time, finished: Timestamp::now() },
            tool: TOOL.to_owned(),
            trigger: context.trigger.as_str().to_owned(),
            server,
            recipients: context.site.recipients.texts(),
            sealed: sealed::recipients_of(&packs, &context.site.recipients, self.parent.map(|p| &p.manifest)),
            status: if findings.keys().any(|code| code.is_loss()) { Status::Findings } else { Status::Complete },
            findings,
            excluded: findings::excluded(found),
            counts,
            watched: Some(judged.watched),
            baseline: judged.baseline,
            suspect: judged.suspect,
            uploaded: self.writer.uploaded(),
            files,
            trees,
            tables,
            notes,
            packs,
            signer: Some(self.key.public()),
        }
    }

    /// The one PUT. It isn't cancelled: whoever asked would not know whether it took effect.
    async fn commit(
        &self,
        manifest: Manifest,
        first_findings: Vec<crate::repository::entry::Finding>,
    ) -> Result<SnapshotSummary, BackupError> {
        let context = self.run.context;
        if context.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        if !Rules::default().may_commit(self.listed.elapsed()) {
            return Err(RepositoryError::TooOld.into());
        }
        let key = SnapshotKey { seq: self.seq, time: self.run.started, id: context.run };
        let path = self.run.layout.snapshot(&key);
        let bytes = self.key.signed(Kind::Manifest, &manifest)?;
        // Local state first: a crash right after the PUT must find the lists.
        self.state.stage(&context.run, &path, &bytes)?;
        let (body, sha256) = checksummed(bytes);
        // The key holds the run's id: an object that is there already is this one, its reply lost.
        context.store.put_new(&path, body, sha256).await.map_err(BackupError::Commit)?;
        let kept = self
            .state
            .promote(&context.run)
            .and_then(|()| Journal::clear(&self.state.journal()))
            .and_then(|()| self.state.clear_scratch());
        if let Err(error) = kept {
            // The snapshot is there all the same; the next run finds it by its LIST.
            context.progress.event(Event::Note(format!("after the commit: {}", render(&error))));
        }
        Ok(SnapshotSummary {
            seq: self.seq,
            key: path,
            point_in_time: manifest.times.point_in_time,
            full: manifest.parent.is_none(),
            counts: manifest.counts,
            uploaded: manifest.uploaded,
            findings: manifest.findings,
            first_findings,
            suspect: manifest.suspect,
            judged_against: manifest.baseline.map(|baseline| baseline.seq),
        })
    }
}
