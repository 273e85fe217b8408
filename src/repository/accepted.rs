//! Acceptances (docs/FORMAT.md, "Acceptance"): a reader has looked at a suspect snapshot and says that it is as it should be. One object
//! each, created where the site's host may not write, and signed by another key than the snapshot.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::ids::RunId;
use super::layout::{Layout, SnapshotKey};
use super::manifest::{FORMAT, Parent, TOOL};
use super::sign::{self, Kind, SigningKey};
use super::snapshots::{self, Found};
use super::suspicion::Standing;
use super::writer::checksummed;
use crate::config::{PublicKey, TrustedKeys};
use crate::storage::{Pages, Store};

/// An acceptance is much shorter.
const LIMIT: u64 = 64 << 10;
/// So many are read for one question: whoever can write there may have put any number.
const MOST: usize = 1000;

/// What a reader says of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The format's version.
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// Its own id.
    pub id: RunId,
    /// When, by the reader's clock.
    pub at: Timestamp,
    /// The reader's version.
    pub tool: String,
    /// The snapshot that was looked at.
    pub snapshot: Parent,
    /// Whose signature follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<PublicKey>,
}

/// Whether a key may accept a snapshot: never the one that signed it. Whoever breaks into a host has that.
pub fn may_accept(key: Option<PublicKey>, snapshot: Option<PublicKey>) -> bool {
    key.is_some() && key != snapshot
}

/// Says that this snapshot was looked at, and is as it should be.
pub async fn write(
    store: &dyn Store,
    layout: &Layout,
    snapshot: &Standing,
    key: &SigningKey,
    (id, at): (RunId, Timestamp),
) -> Result<(), RepositoryError> {
    let acceptance = Acceptance {
        format: FORMAT,
        site: layout.site().to_string(),
        id,
        at,
        tool: TOOL.to_owned(),
        snapshot: snapshot.named.clone(),
        signer: Some(key.public()),
    };
    let (body, sha256) = checksummed(key.signed(Kind::Acceptance, &acceptance)?);
    // The key holds a random id: an object that is there already is this one, its reply lost.
    store.put_new(&layout.acceptance(&SnapshotKey { seq: snapshot.seq, time: at, id }), body, sha256).await?;
    Ok(())
}

/// The acceptances of snapshots from this number on, the newest snapshot's first: their keys, and what those tell. One LIST for a thousand.
pub async fn list(store: &dyn Store, layout: &Layout, from: u64) -> Result<Vec<(String, SnapshotKey)>, RepositoryError> {
    let (prefix, mut found) = (layout.accepted(), Vec::new());
    let after = format!("{prefix}{from:010}");
    let mut pages = Pages::of(store, prefix, Some(after));
    while let Some(page) = pages.next().await? {
        found.extend(page.objects.into_iter().filter_map(|object| Some((layout.parse_acceptance(&object.key)?, object.key))));
    }
    found.reverse();
    Ok(found.into_iter().map(|(parsed, key)| (key, parsed)).collect())
}

/// Reads one, which must be what its key says and be signed; who is believed is the caller's to say.
pub(super) async fn read(store: &dyn Store, layout: &Layout, key: &str) -> Result<Acceptance, RepositoryError> {
    let acceptance: Acceptance = sign::read_signed(Kind::Acceptance, &store.get(key, LIMIT).await?, key)?;
    let seq = layout.parse_snapshot(&acceptance.snapshot.key).map(|snapshot| snapshot.seq);
    let named = layout.parse_acceptance(key).is_some_and(|named| named.id == acceptance.id && Some(named.seq) == seq);
    if named && acceptance.format == FORMAT && acceptance.site == layout.site().as_str() {
        Ok(acceptance)
    } else {
        Err(RepositoryError::damaged(key, "it is not the acceptance that its key names"))
    }
}

/// Reads one. `None`: it is damaged, is signed by nobody of `trusted`, or went away; it says nothing then.
async fn believed(
    store: &dyn Store,
    layout: &Layout,
    key: &str,
    trusted: &TrustedKeys,
) -> Result<Option<Acceptance>, RepositoryError> {
    match read(store, layout, key).await {
        Ok(acceptance) => Ok(sign::accept(trusted, acceptance.signer, key).is_ok().then_some(acceptance)),
        Err(error) if error.is_of_the_object() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which of these snapshots are accepted, in their order. Makes no request when there are none.
pub async fn which(
    store: &dyn Store,
    layout: &Layout,
    snapshots: &[&Standing],
    trusted: &TrustedKeys,
) -> Result<Vec<bool>, RepositoryError> {
    let mut accepted = vec![false; snapshots.len()];
    let Some(from) = snapshots.iter().map(|snapshot| snapshot.seq).min() else { return Ok(accepted) };
    let asked = |key: &SnapshotKey| snapshots.iter().any(|snapshot| snapshot.seq == key.seq);
    for object in list(store, layout, from).await?.iter().filter(|(_, key)| asked(key)).take(MOST) {
        let open =
            |(at, snapshot): &(usize, &&Standing)| snapshot.seq == object.1.seq && !accepted.get(*at).is_some_and(|is| *is);
        let concerned: Vec<_> = snapshots.iter().enumerate().filter(open).collect();
        if concerned.is_empty() {
            continue;
        }
        let Some(acceptance) = believed(store, layout, &object.0, trusted).await? else { continue };
        for (at, snapshot) in concerned {
            if acceptance.snapshot == snapshot.named && may_accept(acceptance.signer, snapshot.signer) {
                accepted.get_mut(at).into_iter().for_each(|is| *is = true);
            }
        }
    }
    Ok(accepted)
}

/// The newest that is accepted of a suspect snapshot and those between it and its baseline. A snapshot counts only if it is signed by one of `hosts`.
pub async fn newest(
    store: &dyn Store,
    layout: &Layout,
    suspect: &Standing,
    readers: &TrustedKeys,
    hosts: &TrustedKeys,
) -> Result<Option<Standing>, RepositoryError> {
    let from = suspect.judged_against().map_or(0, |seq| seq.saturating_add(1));
    for object in list(store, layout, from).await?.iter().filter(|(_, key)| key.seq <= suspect.seq).take(MOST) {
        let Some(acceptance) = believed(store, layout, &object.0, readers).await? else { continue };
        let snapshot = if acceptance.snapshot == suspect.named {
            suspect.clone()
        } else {
            match older(store, layout, &acceptance.snapshot, hosts).await? {
                Some(snapshot) => snapshot,
                None => continue,
            }
        };
        if may_accept(acceptance.signer, snapshot.signer) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

/// A snapshot by its name, if it is there, and what it was when it was looked at.
async fn older(
    store: &dyn Store,
    layout: &Layout,
    named: &Parent,
    hosts: &TrustedKeys,
) -> Result<Option<Standing>, RepositoryError> {
    let Some(key) = layout.parse_snapshot(&named.key) else { return Ok(None) };
    let found = Found { key, path: named.key.clone(), modified: std::time::SystemTime::UNIX_EPOCH };
    let stored = match snapshots::read(store, &found).await {
        Ok(stored) => stored,
        Err(error) if error.is_of_the_object() => return Ok(None),
        Err(error) => return Err(error),
    };
    let right = stored.named() == *named && sign::accept(hosts, stored.signer, &found.path).is_ok();
    Ok(right.then(|| Standing::of(&stored.manifest, stored.named())))
}

#[cfg(test)]
mod tests {
    use super::super::prune::tests::manifest;
    use super::super::suspicion::{Suspicion, SuspicionKind};
    use super::*;
    use crate::config::SiteName;
    use crate::storage::LocalStore;

    struct Bench {
        dir: tempfile::TempDir,
        store: LocalStore,
        layout: Layout,
        host: SigningKey,
        reader: SigningKey,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("store")).unwrap();
            let key = |name: &str| SigningKey::load_or_make(&dir.path().join(name)).unwrap().0;
            let (host, reader, store) = (key("host"), key("reader"), LocalStore::new(dir.path().join("store")));
            Self { store, layout: Layout::new(SiteName::new("blog").unwrap()), host, reader, dir }
        }

        /// Commits suspect snapshots with the numbers 2 and 3, judged against 1.
        async fn snapshot(&self, seq: u64) -> Standing {
            let id = RunId([u8::try_from(seq).unwrap(); 8]);
            let mut manifest = manifest(id, seq, Timestamp::UNIX_EPOCH, Vec::new());
            manifest.signer = Some(self.host.public());
            manifest.suspect = vec![Suspicion { kind: SuspicionKind::FilesFell, was: 9, is: 1, since: 2 }];
            let path = self.layout.snapshot(&SnapshotKey { seq, time: manifest.times.started, id });
            let bytes = self.host.signed(Kind::Manifest, &manifest).unwrap();
            let blake3 = blake3::hash(&bytes).to_hex().to_string();
            let (body, sha256) = checksummed(bytes);
            self.store.put_new(&path, body, sha256).await.unwrap();
            Standing::of(&manifest, Parent { key: path, blake3 })
        }

        async fn accept(&self, snapshot: &Standing, key: &SigningKey) {
            let id = super::super::random_run_id();
            write(&self.store, &self.layout, snapshot, key, (id, Timestamp::now())).await.unwrap();
        }

        /// The number of the newest that counts, and whether this one does, asked in both ways.
        async fn counts(&self, snapshot: &Standing, readers: &TrustedKeys) -> (Option<u64>, bool) {
            let hosts = TrustedKeys::new([self.host.public()]);
            let newest = newest(&self.store, &self.layout, snapshot, readers, &hosts).await.unwrap();
            let which = which(&self.store, &self.layout, &[snapshot], readers).await.unwrap();
            (newest.map(|standing| standing.seq), which[0])
        }
    }

    #[tokio::test]
    async fn it_counts_by_another_key_that_is_named_or_where_none_is() {
        let bench = Bench::new();
        let (second, third) = (bench.snapshot(2).await, bench.snapshot(3).await);
        let (any, readers) = (TrustedKeys::default(), TrustedKeys::new([bench.reader.public()]));
        let hosts = TrustedKeys::new([bench.host.public()]);
        assert_eq!(bench.counts(&third, &any).await, (None, false));
        // Its own key is no one else's, whoever is named.
        bench.accept(&third, &bench.host).await;
        for trusted in [&any, &readers, &hosts] {
            assert_eq!(bench.counts(&third, trusted).await, (None, false));
        }
        bench.accept(&second, &bench.reader).await;
        assert_eq!(bench.counts(&third, &any).await, (Some(2), false));
        assert_eq!(bench.counts(&second, &readers).await, (Some(2), true));
        assert_eq!(bench.counts(&third, &hosts).await, (None, false));
        bench.accept(&third, &bench.reader).await;
        assert_eq!(bench.counts(&third, &readers).await, (Some(3), true));
        assert_eq!(bench.counts(&second, &any).await, (Some(2), true), "a newer one is none of this one");
    }

    #[tokio::test]
    async fn what_is_forged_or_of_something_else_counts_for_nothing() {
        let bench = Bench::new();
        let third = bench.snapshot(3).await;
        let mut other = third.clone();
        other.named.blake3 = "0".repeat(64);
        bench.accept(&other, &bench.reader).await;
        assert_eq!(bench.counts(&third, &TrustedKeys::default()).await, (None, false));
        bench.accept(&third, &bench.reader).await;
        let directory = bench.dir.path().join("store/blog/accepted");
        let real = list(&bench.store, &bench.layout, 3).await.unwrap();
        assert_eq!(real.len(), 2);
        assert!(list(&bench.store, &bench.layout, 4).await.unwrap().is_empty());
        let objects: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        for object in objects {
            let whole = std::fs::read_to_string(&object).unwrap();
            // As of another site, and cut off; under another's name.
            std::fs::remove_file(&object).unwrap();
            std::fs::write(&object, whole.replace("\"blog\"", "\"shop\"")).unwrap();
            let name = object.file_name().unwrap().to_str().unwrap();
            std::fs::write(directory.join(name.replacen('3', "4", 1)), &whole).unwrap();
            std::fs::write(directory.join("x.json"), "{}").unwrap();
        }
        assert_eq!(bench.counts(&third, &TrustedKeys::default()).await, (None, false));
    }
}
