//! Receipts (docs/FORMAT.md, "Receipt"): a machine that follows a site has looked at its snapshots, and says what it found. One object each,
//! created where the site's host may not write. The host's runs send again what a receipt says is bad.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::ids::{PackName, RunId};
use super::layout::{Layout, ReceiptKey};
use super::manifest::{FORMAT, Parent};
use super::sign::{self, Kind, SigningKey};
use super::verify::Report;
use super::writer::checksummed;
use crate::config::{PublicKey, StandbyName, TrustedKeys};
use crate::storage::{Pages, Store};

/// A receipt that names [`MOST_PACKS`] is shorter.
const LIMIT: u64 = 1 << 20;
/// Packs that one receipt names: where more are bad, the next names others.
const MOST_PACKS: usize = 10_000;
/// Of so many standbys the newest receipt is read: whoever can write there may have made up any number.
const MOST_STANDBYS: usize = 100;

/// What a standby says of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The format's version.
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// The standby's name.
    pub standby: StandbyName,
    /// Its own id.
    pub id: RunId,
    /// When, by the standby's clock.
    pub at: Timestamp,
    /// The standby's version.
    pub tool: String,
    /// The newest snapshot that it believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Parent>,
    /// How deep it looked, as `verify` calls it.
    pub level: String,
    /// How much was wrong.
    pub faults: u64,
    /// Packs that are missing or bad.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bad_packs: BTreeSet<PackName>,
    /// Whose signature follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<PublicKey>,
}

/// Leaves a receipt of what a verify found, signed by this machine's key, which is made if it has none; the receipt's key in the store.
pub async fn leave(
    store: &dyn Store,
    layout: &Layout,
    standby: &StandbyName,
    report: &Report,
    state: &Path,
) -> Result<String, RepositoryError> {
    let (key, _) = SigningKey::load_or_make(state)?;
    let (id, at) = (super::random_run_id(), Timestamp::now());
    let receipt = Receipt {
        format: FORMAT,
        site: layout.site().to_string(),
        standby: standby.clone(),
        id,
        at,
        tool: concat!("wp-backup-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
        newest: report.newest.clone(),
        level: report.level.clone(),
        faults: report.fault_count,
        bad_packs: report.bad_packs.iter().take(MOST_PACKS).copied().collect(),
        signer: Some(key.public()),
    };
    let (body, sha256) = checksummed(key.signed(Kind::Receipt, &receipt)?);
    let object = layout.receipt(&ReceiptKey { standby: standby.clone(), time: at, id });
    // The key holds a random id: an object that is there already is this one, its reply lost.
    store.put_new(&object, body, sha256).await?;
    Ok(object)
}

/// Reads one, which must be what its key says and be signed; who is believed is the caller's to say.
pub(super) async fn read(store: &dyn Store, layout: &Layout, key: &str) -> Result<Receipt, RepositoryError> {
    let receipt: Receipt = sign::read_signed(Kind::Receipt, &store.get(key, LIMIT).await?, key)?;
    let named = layout.parse_receipt(key).is_some_and(|named| named.standby == receipt.standby && named.id == receipt.id);
    if named && receipt.format == FORMAT && receipt.site == layout.site().as_str() {
        Ok(receipt)
    } else {
        Err(RepositoryError::damaged(key, "it is not the receipt that its key names"))
    }
}

/// The bad packs that the newest receipt of each standby names, and who names them. A receipt counts if it is signed by one of `readers`, or where
/// those name nobody by any; and never if it is signed by `host`, which knows what it found itself. One LIST for a thousand, one GET for each standby.
pub async fn bad_packs(
    store: &dyn Store,
    layout: &Layout,
    readers: &TrustedKeys,
    host: PublicKey,
) -> Result<BTreeMap<PackName, StandbyName>, RepositoryError> {
    let (mut newest, mut pages) = (BTreeMap::new(), Pages::of(store, layout.receipts(), None));
    while let Some(page) = pages.next().await? {
        for object in page.objects {
            if let Some(ReceiptKey { standby, .. }) = layout.parse_receipt(&object.key)
                && (newest.len() < MOST_STANDBYS || newest.contains_key(&standby))
            {
                // They come in the order of their times.
                newest.insert(standby, object.key);
            }
        }
    }
    let mut bad = BTreeMap::new();
    for (standby, key) in newest {
        match read(store, layout, &key).await {
            Ok(receipt) if receipt.signer != Some(host) && sign::accept(readers, receipt.signer, &key).is_ok() => {
                bad.extend(receipt.bad_packs.into_iter().map(|pack| (pack, standby.clone())));
            }
            Ok(_) => {}
            // It says nothing then; `verify` tells it.
            Err(error) if error.is_of_the_object() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bad)
}
