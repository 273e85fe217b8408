//! Manifests, notes and smaller records: what is read of each, and what follows for the packs.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::chain::{self, Link};
use super::lists::Lists;
use super::{Fault, FaultKind, Report, Verify};
use crate::repository::checkpoint;
use crate::repository::ids::{PackName, RecipientsId};
use crate::repository::manifest::{Manifest, PackInfo, Parent};
use crate::repository::pruned::Note;
use crate::repository::sign;
use crate::repository::snapshots::{self, Found, Stored};
use crate::repository::{RepositoryError, accepted, receipt};
use crate::storage::{Listed, Pages};

/// A pack that snapshots need.
pub(super) struct Needed {
    pub(super) info: PackInfo,
    /// The numbers of the first and the last snapshot.
    pub(super) snapshots: (u64, u64),
}

/// What is known of the site once its manifests are read.
#[derive(Default)]
pub(super) struct Site {
    pub(super) packs: HashMap<PackName, Needed>,
    pub(super) sealed: BTreeMap<RecipientsId, Vec<String>>,
}

pub(super) struct Look<'a> {
    pub(super) verify: &'a Verify,
    pub(super) report: &'a mut Report,
}

impl Look<'_> {
    pub(super) async fn site(mut self) -> Result<Site, RepositoryError> {
        let (store, layout) = (self.verify.store.as_ref(), &self.verify.layout);
        let listed = self.all(&layout.snapshots()).await?;
        let mut unread = HashSet::new();
        let mut found = Vec::new();
        for Listed { key, modified, .. } in listed {
            match layout.parse_snapshot(&key) {
                Some(parsed) => found.push(Found { key: parsed, path: key, modified }),
                None => self.fault(FaultKind::Manifest, &key, "its name is not that of a manifest".into(), None),
            }
        }
        let (mut links, mut site, mut lists) = (Vec::new(), Site::default(), Lists::default());
        let (mut gone, mut denied) = (Vec::new(), Vec::new());
        // Of others, where this machine has made snapshots itself.
        let (mut passed_over, mut has_own) = (Vec::new(), false);
        for found in &found {
            self.verify.go_on()?;
            self.report.snapshots += 1;
            let stored = match snapshots::read(store, found).await {
                Ok(stored) => stored,
                Err(error) if snapshots::is_gone(&error) => {
                    // A prune may be under way: then its note, which is read below, says so.
                    self.report.snapshots -= 1;
                    gone.push(found.path.clone());
                    continue;
                }
                Err(error) if error.is_of_the_object() => {
                    self.fault(FaultKind::Manifest, &found.path, reason(&error), Some(found.key.seq));
                    unread.insert(found.path.clone());
                    continue;
                }
                Err(error) if error.is_denied() => {
                    denied.push((found, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.report.signed_by(stored.signer);
            if let Err(error) = sign::accept(&self.verify.trusted, stored.signer, &found.path) {
                // What it says of packs and lists is nobody's.
                self.fault(FaultKind::Untrusted, &found.path, reason(&error), Some(found.key.seq));
                unread.insert(found.path.clone());
                continue;
            }
            links.push(link(&stored));
            if !self.verify.is_counted(stored.signer) {
                passed_over.push(found);
                continue;
            }
            has_own = true;
            self.take(&mut site, &found.path, &stored.manifest);
            lists.check(self.verify, &found.path, &stored.manifest, self.report).await?;
        }
        if has_own && !passed_over.is_empty() {
            let what =
                "the packs and lists of snapshots that are signed by others than this machine: name their keys in trust.keys";
            self.report.not_looked_at(what.to_owned());
        } else {
            // This machine has a key, but none of this site's snapshots: it only reads them.
            for found in passed_over {
                self.verify.go_on()?;
                match snapshots::read(store, found).await {
                    Ok(stored) => {
                        self.take(&mut site, &found.path, &stored.manifest);
                        lists.check(self.verify, &found.path, &stored.manifest, self.report).await?;
                    }
                    // It could be read a moment ago; the next verify tells.
                    Err(error) if error.is_of_the_object() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // All of them: these credentials may not read. One of many: it was put there so that nobody can, under a key of someone else's.
        for (found, error) in denied {
            if links.is_empty() {
                return Err(error);
            }
            self.fault(FaultKind::Manifest, &found.path, reason(&error), Some(found.key.seq));
            unread.insert(found.path.clone());
        }
        let may_read = !links.is_empty();
        let dropped = self.notes(may_read).await?;
        self.records(may_read).await?;
        for fault in chain::faults(&links, &dropped, &unread, |key| layout.parse_snapshot(key).map(|key| key.seq)) {
            self.report.fault(fault);
        }
        for key in gone.into_iter().filter(|key| !dropped.iter().any(|(dropped, _)| dropped == key)) {
            self.fault(
                FaultKind::Missing,
                &key,
                "it went away while this was under way, and no note says that it was dropped".into(),
                None,
            );
        }
        self.report.newest = self.newest(&links, &dropped);
        Ok(site)
    }

    /// The newest that is believed. What the verify before saw must be there, or in a note: who can delete the newest snapshots leaves no gap. Where it
    /// isn't, it is what the next verify looks for, too: until someone has looked.
    fn newest(&mut self, links: &[Link], dropped: &HashSet<(String, String)>) -> Option<Parent> {
        let newest = links.last().map(|link| Parent { key: link.key.clone(), blake3: link.blake3.clone() });
        let Some(seen) = self.verify.seen.clone() else { return newest };
        let seq = self.verify.layout.parse_snapshot(&seen.key).map(|key| key.seq);
        // Retention has come past it, and needs no note any more.
        let below = links.first().is_some_and(|oldest| seq.is_some_and(|seq| seq < oldest.seq));
        let detail = match links.iter().find(|link| link.key == seen.key) {
            Some(link) if link.blake3 == seen.blake3 => return newest,
            Some(_) => "it is another than the verify before saw",
            None if below || dropped.contains(&(seen.key.clone(), seen.blake3.clone())) => return newest,
            None => "it was the newest when the verify before looked, and it is gone, or can't be read",
        };
        self.fault(FaultKind::RolledBack, &seen.key, detail.to_owned(), seq);
        Some(seen)
    }

    /// Counts a manifest's packs in.
    fn take(&mut self, site: &mut Site, key: &str, manifest: &Manifest) {
        site.sealed.extend(manifest.sealed.iter().map(|(id, texts)| (*id, texts.clone())));
        for info in &manifest.packs {
            let seq = manifest.seq;
            let needed = site.packs.entry(info.name).or_insert_with(|| {
                self.report.needed.add(info.size);
                Needed { info: info.clone(), snapshots: (seq, seq) }
            });
            needed.snapshots = (needed.snapshots.0.min(seq), needed.snapshots.1.max(seq));
            let same = |a: &PackInfo, b: &PackInfo| (a.size, &a.sha256, a.sealed) == (b.size, &b.sha256, b.sealed);
            if !same(&needed.info, info) {
                let detail = format!("it says of pack {} something else than another manifest does", info.name);
                self.report.fault(Fault {
                    kind: FaultKind::Manifest,
                    object: key.to_owned(),
                    detail,
                    snapshots: Some((seq, seq)),
                });
            }
        }
    }

    /// What believed notes say was dropped.
    async fn notes(&mut self, may_read: bool) -> Result<HashSet<(String, String)>, RepositoryError> {
        let (store, layout) = (self.verify.store.as_ref(), &self.verify.layout);
        let mut dropped = HashSet::new();
        for object in self.all(&layout.pruned()).await? {
            self.verify.go_on()?;
            if layout.parse_note(&object.key).is_none() {
                self.fault(FaultKind::Note, &object.key, "its name is not that of a note".into(), None);
                continue;
            }
            let read = async {
                let bytes = store.get(&object.key, checkpoint::LIMIT).await?;
                let note = Note::parse(&bytes, &object.key)?;
                note.believed(&bytes, &object.key, layout, &self.verify.trusted)?;
                Ok(note)
            };
            match read.await {
                Ok(note) => {
                    dropped.extend(note.dropped.into_iter().chain(note.earlier).map(|dropped| (dropped.key, dropped.blake3)))
                }
                // Another prune has tidied it away.
                Err(error) if snapshots::is_gone(&error) => {}
                Err(error) if error.is_of_the_object() || may_read && error.is_denied() => {
                    self.fault(FaultKind::Note, &object.key, reason(&error), None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }

    /// What no restore needs: checkpoints, and what standbys and readers have said.
    async fn records(&mut self, may_read: bool) -> Result<(), RepositoryError> {
        let verify = self.verify;
        let (store, layout) = (verify.store.as_ref(), &verify.layout);
        for Listed { key, .. } in self.all(&layout.checkpoints()).await? {
            self.record(&key, may_read, checkpoint::read(store, layout, &key, &verify.trusted).await.map(drop))?;
        }
        for Listed { key, .. } in self.all_of_others(layout.receipts()).await? {
            self.record(&key, may_read, receipt::read(store, layout, &key).await.map(drop))?;
        }
        for Listed { key, .. } in self.all_of_others(layout.accepted()).await? {
            self.record(&key, may_read, accepted::read(store, layout, &key).await.map(drop))?;
        }
        Ok(())
    }

    /// What other machines have put there: they may have made it so that this one can't look.
    async fn all_of_others(&mut self, prefix: String) -> Result<Vec<Listed>, RepositoryError> {
        match self.all(&prefix).await {
            Err(error) if error.is_denied() => {
                self.report.not_looked_at(format!("{prefix}, which this account may not list"));
                Ok(Vec::new())
            }
            found => found,
        }
    }

    fn record(&mut self, key: &str, may_read: bool, read: Result<(), RepositoryError>) -> Result<(), RepositoryError> {
        self.verify.go_on()?;
        match read {
            Ok(()) => Ok(()),
            // A prune has tidied it away.
            Err(error) if snapshots::is_gone(&error) => Ok(()),
            Err(error) if error.is_of_the_object() || may_read && error.is_denied() => {
                self.fault(FaultKind::Record, key, reason(&error), None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn fault(&mut self, kind: FaultKind, object: &str, detail: String, seq: Option<u64>) {
        self.report.fault(Fault { kind, object: object.to_owned(), detail, snapshots: seq.map(|seq| (seq, seq)) });
    }

    async fn all(&self, prefix: &str) -> Result<Vec<Listed>, RepositoryError> {
        let (mut all, mut pages) = (Vec::new(), Pages::of(self.verify.store.as_ref(), prefix, None));
        while let Some(page) = pages.next().await? {
            self.verify.go_on()?;
            all.extend(page.objects);
        }
        Ok(all)
    }
}

fn link(stored: &Stored) -> Link {
    let manifest = &stored.manifest;
    Link {
        key: stored.path.clone(),
        seq: manifest.seq,
        blake3: blake3::hash(&stored.bytes).to_hex().to_string(),
        before: manifest.parent.iter().chain(&manifest.previous).cloned().collect(),
    }
}

/// An error's words without the object's name, which stands beside.
pub(super) fn reason(error: &RepositoryError) -> String {
    match error {
        RepositoryError::Damaged { detail, .. } => detail.clone(),
        RepositoryError::Store(error) => error.kind.to_string(),
        other => other.to_string(),
    }
}
