//! Where things stand in the store: keys below the store's prefix (docs/FORMAT.md, "Objects").

use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ids::{PackName, RunId};
use super::manifest::PackInfo;
use crate::config::{SiteName, StandbyName};

/// The largest sequence number: keys have ten digits for it.
pub const LAST_SEQ: u64 = 9_999_999_999;

/// The keys of one site.
#[derive(Debug, Clone)]
pub struct Layout {
    site: SiteName,
}

impl Layout {
    /// The keys of this site.
    pub fn new(site: SiteName) -> Self {
        Self { site }
    }

    /// The site.
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// The prefix that all manifests share.
    pub fn snapshots(&self) -> String {
        format!("{}/snapshots/", self.site)
    }

    /// A manifest's key.
    pub fn snapshot(&self, key: &SnapshotKey) -> String {
        format!("{}/snapshots/{key}.json", self.site)
    }

    /// The prefix that all checkpoints share.
    pub fn checkpoints(&self) -> String {
        format!("{}/checkpoints/", self.site)
    }

    /// The key of a checkpoint that this run writes at this time.
    pub fn checkpoint(&self, at: Timestamp, run: &RunId) -> String {
        format!("{}/checkpoints/{}-{run}.json", self.site, compact(at))
    }

    /// The run that wrote a checkpoint; `None` for anything else that may lie there.
    pub fn parse_checkpoint(&self, key: &str) -> Option<RunId> {
        parse_timed(key.strip_prefix(&self.checkpoints())?).map(|(_, run)| run)
    }

    /// The prefix that all notes of retention share.
    pub fn pruned(&self) -> String {
        format!("{}/pruned/", self.site)
    }

    /// The key of the note that this prune writes at this time.
    pub fn note(&self, at: Timestamp, prune: &RunId) -> String {
        format!("{}/pruned/{}-{prune}.json", self.site, compact(at))
    }

    /// The prune that wrote a note; `None` for anything else that may lie there.
    pub fn parse_note(&self, key: &str) -> Option<RunId> {
        parse_timed(key.strip_prefix(&self.pruned())?).map(|(_, prune)| prune)
    }

    /// The prefix that all acceptances share.
    pub fn accepted(&self) -> String {
        format!("{}/accepted/", self.site)
    }

    /// The key of an acceptance: of the snapshot with this number, made at this time, with an id of its own.
    pub fn acceptance(&self, key: &SnapshotKey) -> String {
        format!("{}/accepted/{key}.json", self.site)
    }

    /// Reads an acceptance's key; `None` for anything else that may lie there.
    pub fn parse_acceptance(&self, key: &str) -> Option<SnapshotKey> {
        key.strip_prefix(&self.accepted())?.strip_suffix(".json")?.parse().ok()
    }

    /// The prefix that all receipts share.
    pub fn receipts(&self) -> String {
        format!("{}/standbys/", self.site)
    }

    /// A receipt's key.
    pub fn receipt(&self, key: &ReceiptKey) -> String {
        format!("{}/standbys/{}/{}-{}.json", self.site, key.standby, compact(key.time), key.id)
    }

    /// Reads a receipt's key; `None` for anything else that may lie there.
    pub fn parse_receipt(&self, key: &str) -> Option<ReceiptKey> {
        let (standby, name) = key.strip_prefix(&self.receipts())?.split_once('/')?;
        let (time, id) = parse_timed(name)?;
        Some(ReceiptKey { standby: StandbyName::new(standby)?, time, id })
    }

    /// The prefix that all packs share.
    pub fn packs(&self) -> String {
        format!("{}/packs/", self.site)
    }

    /// Reads a pack's key, encrypted or not; `None` for anything else that may lie there.
    pub fn parse_pack(&self, key: &str) -> Option<PackName> {
        let (directory, file) = key.strip_prefix(&self.packs())?.split_once('/')?;
        let name = file.strip_suffix(".age").unwrap_or(file).strip_suffix(".tar.zst")?;
        (name.get(..2) == Some(directory)).then(|| name.parse().ok()).flatten()
    }

    /// A pack's key: a sealed one has an ending of its own.
    pub fn pack(&self, pack: &PackInfo) -> String {
        let name = pack.name.to_string();
        let age = if pack.sealed.is_some() { ".age" } else { "" };
        format!("{}/packs/{}/{name}.tar.zst{age}", self.site, &name[..2])
    }

    /// Reads a manifest's key; `None` for anything else that may lie there.
    pub fn parse_snapshot(&self, key: &str) -> Option<SnapshotKey> {
        key.strip_prefix(&self.snapshots())?.strip_suffix(".json")?.parse().ok()
    }
}

/// What a manifest's key tells: `<seq>-<time>-<id>`, which sorts by sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotKey {
    /// The parent's plus one.
    pub seq: u64,
    /// When the run began, in whole seconds, by the host's clock.
    pub time: Timestamp,
    /// The run.
    pub id: RunId,
}

impl std::fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:010}-{}-{}", self.seq, compact(self.time), self.id)
    }
}

/// What a receipt's key tells: `<standby>/<time>-<id>`, which sorts by time among those of a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptKey {
    /// Who left it.
    pub standby: StandbyName,
    /// When, in whole seconds, by the standby's clock.
    pub time: Timestamp,
    /// Its own id.
    pub id: RunId,
}

/// The parts of `<time>-<id>.json`.
fn parse_timed(name: &str) -> Option<(Timestamp, RunId)> {
    let (time, id) = name.strip_suffix(".json")?.split_once('-')?;
    Some((parse_compact(time)?, id.parse().ok()?))
}

fn parse_compact(time: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A time as keys have it.
fn compact(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

impl FromStr for SnapshotKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let (seq, time, id) = (parts.next().ok_or(())?, parts.next().ok_or(())?, parts.next().ok_or(())?);
        if parts.next().is_some() || seq.len() != 10 || !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        let time = parse_compact(time).ok_or(())?;
        Ok(Self { seq: seq.parse().map_err(|_| ())?, time, id: id.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_in_the_directory_of_its_name() {
        let layout = Layout::new(SiteName::new("blog").unwrap());
        let name = "ab".repeat(32);
        for end in ["tar.zst", "tar.zst.age"] {
            assert_eq!(layout.parse_pack(&format!("blog/packs/ab/{name}.{end}")), Some(PackName([0xab; 32])));
            for directory in ["", "a", "ba", "abab", "ab/"] {
                assert_eq!(layout.parse_pack(&format!("blog/packs/{directory}/{name}.{end}")), None, "{directory}");
            }
        }
    }

    #[test]
    fn a_receipts_key_goes_round() {
        let layout = Layout::new(SiteName::new("blog").unwrap());
        let (standby, time) = (StandbyName::new("aws-1").unwrap(), "2026-11-21T02:30:05Z".parse().unwrap());
        let key = ReceiptKey { standby, time, id: RunId([7; 8]) };
        let text = layout.receipt(&key);
        assert_eq!(text, "blog/standbys/aws-1/20261121T023005Z-0707070707070707.json");
        assert_eq!(layout.parse_receipt(&text), Some(key));
        for other in ["", "aws-1", "/20261121T023005Z-0707070707070707.json", "A/20261121T023005Z-0707070707070707.json"] {
            assert_eq!(layout.parse_receipt(&format!("blog/standbys/{other}")), None, "{other}");
        }
    }

    #[test]
    fn a_manifests_key_goes_round() {
        let layout = Layout::new(SiteName::new("blog").unwrap());
        let key = SnapshotKey { seq: 12, time: "2026-11-21T02:30:05Z".parse().unwrap(), id: RunId([7; 8]) };
        let text = layout.snapshot(&key);
        assert_eq!(text, "blog/snapshots/0000000012-20261121T023005Z-0707070707070707.json");
        assert_eq!(layout.parse_snapshot(&text), Some(key));
        for other in [
            "blog/snapshots/x.json",
            "blog/snapshots/1-20261121T023005Z-0707070707070707.json",
            "shop/snapshots/a",
            "blog/snapshots/0000000012-20261121T023005Z-07.json",
        ] {
            assert_eq!(layout.parse_snapshot(other), None, "{other}");
        }
    }
}
