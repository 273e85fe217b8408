//! Receipts (docs/FORMAT.md, "Receipt"): a machine that follows a site has looked at its snapshots, and says what it found. One object each,
//! created where the site's host may not write. The host's runs send again what a receipt says is bad.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::ids::{PackName, RunId};
use super::layout::{Layout, ReceiptKey};
use super::manifest::{FORMAT, Parent, TOOL};
use super::sign::{self, Kind, SigningKey};
use super::verify::Report;
use super::writer::checksummed;
use crate::config::{PublicKey, StandbyName, TrustedKeys};
use crate::storage::{Listed, Pages, Store};

/// A receipt that names [`MOST_PACKS`] is shorter.
const LIMIT: u64 = 1 << 20;
/// Packs that one receipt names. Where more are bad, most of the store is, and a run that sends all again (`--full`) is called for.
const MOST_PACKS: usize = 10_000;
/// So many receipts are looked at, the newest first.
const MOST: usize = 1000;
/// How long a receipt counts, and stays: each run that looks does so within a week.
pub const KEPT: Duration = Duration::from_secs(35 * 24 * 3600);

/// How far a store's clocks may be apart.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

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
        tool: TOOL.to_owned(),
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

/// What believed receipts say.
#[derive(Debug, Default)]
pub struct Heard {
    /// Packs that are missing or bad, and who says so.
    pub bad_packs: BTreeMap<PackName, StandbyName>,
    /// There are more receipts than are read.
    pub more: bool,
}

/// What believed receipts say of these packs: the newest receipt of each standby that is believed, by the store's own clock, and no older than [`KEPT`]. One counts if it is signed by one of
/// `readers`, or where those name nobody by any; and never if it is signed by `host`, which knows what it found itself. One LIST for a thousand, and
/// a GET for each that is looked at.
pub async fn hear(
    (store, layout): (&dyn Store, &Layout),
    packs: &HashSet<PackName>,
    readers: &TrustedKeys,
    host: PublicKey,
) -> Result<Heard, RepositoryError> {
    let (mut heard, mut newest, mut now) = (Heard::default(), Vec::<(ReceiptKey, Listed)>::new(), None);
    let mut pages = Pages::of(store, layout.receipts(), None);
    while let Some(page) = pages.next().await? {
        now = now.or(page.clock);
        let now = now.unwrap_or_else(SystemTime::now);
        // A file of a time to come would be young for ever.
        let young = |object: &Listed| match now.duration_since(object.modified) {
            Ok(age) => age <= KEPT,
            Err(ahead) => ahead.duration() <= AHEAD,
        };
        let found = page.objects.into_iter().filter(young);
        newest.extend(found.filter_map(|object| Some((layout.parse_receipt(&object.key)?, object))));
        // Whoever can write there may have put any number.
        newest.sort_by_key(|(_, object)| Reverse(object.modified));
        heard.more |= newest.len() > MOST;
        newest.truncate(MOST);
    }
    let mut known = BTreeSet::new();
    for (ReceiptKey { standby, .. }, object) in newest {
        if known.contains(&standby) {
            continue;
        }
        match read(store, layout, &object.key).await {
            Ok(receipt) if receipt.signer != Some(host) && sign::accept(readers, receipt.signer, &object.key).is_ok() => {
                let bad = receipt.bad_packs.into_iter().filter(|pack| packs.contains(pack));
                heard.bad_packs.extend(bad.map(|pack| (pack, standby.clone())));
                known.insert(standby);
            }
            Ok(_) => {}
            // One that can't be read, or may not, says nothing and hides no other; `verify` tells it.
            Err(error) if error.is_of_the_object() || error.is_denied() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(heard)
}
