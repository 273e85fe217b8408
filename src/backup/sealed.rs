//! What encryption means for a run: what of the parent it may use, and what must be said about packs that were sealed before.

use std::collections::{BTreeMap, BTreeSet};

use super::run::RunOptions;
use crate::config::Recipients;
use crate::repository::RepositoryError;
use crate::repository::entry::{Finding, FindingCode};
use crate::repository::ids::{PackName, RecipientsId};
use crate::repository::manifest::{Manifest, PackInfo};
use crate::repository::seal::recipients_id;
use crate::repository::snapshots::Found;
use crate::repository::state::LocalSnapshot;

/// Why nothing of the parent may be used, if that is so.
pub(super) fn makes_full(options: &RunOptions, parent: Option<&LocalSnapshot>, recipients: &Recipients) -> Option<&'static str> {
    let parent = parent?;
    if options.full {
        return Some("a full snapshot, as it was asked for");
    }
    let plain = parent.manifest.packs.iter().any(|pack| pack.sealed.is_none());
    (plain && !recipients.is_empty())
        .then_some("packs of the snapshots before are not encrypted: this snapshot uses nothing of them and is a full one")
}

/// Told when a snapshot's lists could not be opened.
pub(super) fn lists_unread(found: &Found, error: &RepositoryError) -> Finding {
    let detail = format!(
        "its lists can't be read here ({error}), and local state lacks them: without another to compare with, this snapshot is a full \
         one; `run-now --foreground --identity FILE` rebuilds local state instead"
    );
    Finding { code: FindingCode::SealedBefore, subject: found.path.as_str().into(), detail }
}

/// Told when packs that the snapshot takes over from its parent are not sealed to the recipients of now: one finding for each
/// recipient that is concerned.
pub(super) fn differently(parent: &Manifest, recipients: &Recipients, uses: impl Fn(&PackName) -> bool) -> Vec<Finding> {
    let now = recipients_id(recipients);
    let mut packs: BTreeMap<RecipientsId, u64> = BTreeMap::new();
    for pack in parent.packs.iter().filter(|pack| uses(&pack.name)) {
        if let Some(sealed) = pack.sealed.filter(|sealed| Some(*sealed) != now) {
            *packs.entry(sealed).or_default() += 1;
        }
    }
    let current: BTreeSet<String> = recipients.texts().into_iter().collect();
    let (mut unreadable, mut readable) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    for (sealed, count) in &packs {
        let before: BTreeSet<&str> = parent.sealed.get(sealed).into_iter().flatten().map(String::as_str).collect();
        for added in current.iter().filter(|recipient| !before.contains(recipient.as_str())) {
            *unreadable.entry(added).or_default() += count;
        }
        for withdrawn in before.into_iter().filter(|recipient| !current.contains(*recipient)) {
            *readable.entry(withdrawn).or_default() += count;
        }
    }
    let advice = "`run-now --foreground --full` makes a snapshot that takes over nothing";
    let finding = |recipient: &str, detail| Finding { code: FindingCode::SealedBefore, subject: recipient.into(), detail };
    let cannot = unreadable.into_iter().map(|(recipient, count)| {
        let detail = format!("can't open {count} of the packs that this snapshot uses, sealed before it was added; {advice}");
        finding(recipient, detail)
    });
    let still = readable.into_iter().map(|(recipient, count)| {
        let detail = format!("opens {count} of the packs that this snapshot uses, sealed before it was withdrawn; {advice}");
        finding(recipient, detail)
    });
    cannot.chain(still).collect()
}

/// The recipients of all sealed packs among these.
pub(super) fn recipients_of(
    packs: &[PackInfo],
    recipients: &Recipients,
    parent: Option<&Manifest>,
) -> BTreeMap<RecipientsId, Vec<String>> {
    let ids: BTreeSet<RecipientsId> = packs.iter().filter_map(|pack| pack.sealed).collect();
    let now = recipients_id(recipients);
    let texts = |id: RecipientsId| if Some(id) == now { Some(recipients.texts()) } else { parent?.sealed.get(&id).cloned() };
    ids.into_iter().filter_map(|id| Some((id, texts(id)?))).collect()
}
