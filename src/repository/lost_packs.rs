//! Which packs the store hasn't as they were sent: by its listing alone.

use std::collections::HashMap;

use super::layout::Layout;
use super::manifest::PackInfo;
use crate::storage::{Pages, Store, StoreError};

/// How a pack is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It is not there.
    Gone,
    /// It is there, with so many bytes, which aren't those that were sent.
    Size(u64),
}

/// Those of these packs that are lost, sorted by name. One LIST for each thousand packs there are.
pub async fn lost<'p>(
    store: &dyn Store,
    layout: &Layout,
    packs: impl IntoIterator<Item = &'p PackInfo>,
) -> Result<Vec<(&'p PackInfo, Lost)>, StoreError> {
    let mut wanted: HashMap<String, &PackInfo> = packs.into_iter().map(|pack| (layout.pack(pack), pack)).collect();
    let (mut lost, mut pages) = (Vec::new(), Pages::of(store, layout.packs(), None));
    while !wanted.is_empty() {
        let Some(page) = pages.next().await? else { break };
        for object in &page.objects {
            if let Some(pack) = wanted.remove(&object.key)
                && pack.size != object.size
            {
                lost.push((pack, Lost::Size(object.size)));
            }
        }
    }
    lost.extend(wanted.into_values().map(|pack| (pack, Lost::Gone)));
    lost.sort_by_key(|(pack, _)| pack.name);
    Ok(lost)
}
