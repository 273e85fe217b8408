//! Snapshots as the store has them: finding one, reading its manifest.

use std::sync::Arc;

use bytes::Bytes;

use super::error::RepositoryError;
use super::layout::{Layout, SnapshotKey};
use super::manifest::{FORMAT, Manifest, Parent, SAFETY};
use super::sign::{self, Kind};
use crate::config::PublicKey;
use crate::storage::{Listed, Pages, Store, StoreErrorKind};

/// A manifest of a site that needs a million packs is below this.
pub(super) const MANIFEST_LIMIT: u64 = 256 << 20;

/// One manifest's place in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What its key tells.
    pub key: SnapshotKey,
    /// The key below the store's prefix.
    pub path: String,
    /// When the store says that it was written.
    pub modified: std::time::SystemTime,
}

/// A manifest with its stored bytes.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The key below the store's prefix.
    pub path: String,
    /// The bytes, as signed and hashed.
    pub bytes: Bytes,
    /// What they say.
    pub manifest: Manifest,
    /// Who signed them; whether that is someone to be believed, [`sign::accept`] says.
    pub signer: Option<PublicKey>,
}

impl Stored {
    /// As the next manifest names it.
    pub fn named(&self) -> Parent {
        Parent { key: self.path.clone(), blake3: blake3::hash(&self.bytes).to_hex().to_string() }
    }
}

/// The snapshots in ascending order, from the manifest key `from` on (itself included), or all.
pub async fn list(store: &dyn Store, layout: &Layout, from: Option<&str>) -> Result<Vec<Found>, RepositoryError> {
    // The key without its ending sorts directly before the key.
    let after = from.and_then(|key| key.strip_suffix(".json")).map(str::to_owned);
    let (mut pages, mut found) = (Pages::of(store, layout.snapshots(), after), Vec::new());
    while let Some(page) = pages.next().await? {
        found.extend(
            page.objects.into_iter().filter_map(|Listed { key, modified, .. }| {
                Some(Found { key: layout.parse_snapshot(&key)?, path: key, modified })
            }),
        );
    }
    Ok(found)
}

/// Whether the object isn't there.
pub(super) fn is_gone(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(error) if error.kind == StoreErrorKind::NotFound)
}

/// Reads the manifest of a snapshot that was found; one that lies under another's key, or whose signature doesn't fit, is damaged.
pub async fn read(store: &dyn Store, found: &Found) -> Result<Stored, RepositoryError> {
    stored(found, store.get(&found.path, MANIFEST_LIMIT).await?)
}

fn site_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

/// The same from its stored bytes.
pub(super) fn stored(found: &Found, bytes: Bytes) -> Result<Stored, RepositoryError> {
    let manifest = parse(&bytes, &found.path)?;
    if manifest.id != found.key.id || manifest.seq != found.key.seq || manifest.site != site_of(&found.path) {
        return Err(RepositoryError::damaged(&found.path, "it is not the manifest that its key names"));
    }
    let signer = sign::signer(Kind::Manifest, &bytes, &found.path)?;
    Ok(Stored { path: found.path.clone(), bytes, manifest, signer })
}

/// Reads a manifest's bytes; one of a newer format is told apart from a damaged one.
pub fn parse(bytes: &[u8], what: &str) -> Result<Manifest, RepositoryError> {
    newer(bytes, what)?;
    serde_json::from_slice(bytes).map_err(|e| RepositoryError::damaged(what, e))
}

/// Refuses what has a greater number of format than is known, whatever else it has.
pub(super) fn newer(bytes: &[u8], what: &str) -> Result<(), RepositoryError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u64,
    }
    let version: Version = serde_json::from_slice(bytes).map_err(|e| RepositoryError::damaged(what, e))?;
    if version.format > u64::from(FORMAT) {
        return Err(RepositoryError::Newer { what: what.to_owned(), found: version.format, known: FORMAT });
    }
    Ok(())
}

/// The newest snapshot that was not made by a restore, just before it replaced the site; when there is none, the newest. And the numbers of those
/// that were passed over: a restore that is tried again must not bring back what it was to replace.
pub async fn latest(store: &Arc<dyn Store>, layout: &Layout) -> Result<(Stored, Vec<u64>), RepositoryError> {
    let mut all = list(store.as_ref(), layout, None).await?;
    let newest = all.last().cloned();
    let mut passed_over = Vec::new();
    while let Some(found) = all.pop() {
        let stored = read(store.as_ref(), &found).await?;
        if stored.manifest.trigger != SAFETY {
            return Ok((stored, passed_over));
        }
        passed_over.push(found.key.seq);
    }
    let none = RepositoryError::NoSnapshot { site: layout.site().to_string(), wanted: "latest".to_owned(), store: store.url() };
    Ok((read(store.as_ref(), &newest.ok_or(none)?).await?, Vec::new()))
}

/// Finds a snapshot as a person names it: `latest`, a sequence number, or the beginning of its id.
pub async fn find(store: &Arc<dyn Store>, layout: &Layout, wanted: &str) -> Result<Found, RepositoryError> {
    let mut all = list(store.as_ref(), layout, None).await?;
    let none = || RepositoryError::NoSnapshot { site: layout.site().to_string(), wanted: wanted.to_owned(), store: store.url() };
    if wanted == "latest" {
        return all.pop().ok_or_else(none);
    }
    let number: Option<u64> = wanted.parse().ok();
    let mut fitting: Vec<Found> = all
        .into_iter()
        .filter(|found| {
            number == Some(found.key.seq)
                || (wanted.len() >= 4 && found.key.id.to_string().starts_with(wanted))
                || found.key.to_string() == wanted
                || found.path == wanted
        })
        .collect();
    match fitting.len() {
        0 => Err(none()),
        1 => fitting.pop().ok_or_else(none),
        _ => Err(RepositoryError::Ambiguous {
            site: layout.site().to_string(),
            wanted: wanted.to_owned(),
            found: fitting.iter().map(|f| f.key.to_string()).collect::<Vec<_>>().join(", "),
        }),
    }
}
