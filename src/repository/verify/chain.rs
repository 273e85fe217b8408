//! The chain: each manifest names the one before it by key and hash, and notes of retention name what was dropped. A pure function of both.

use std::collections::{HashMap, HashSet};

use super::{Fault, FaultKind};
use crate::repository::manifest::Parent;

/// A manifest's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Its key.
    pub(super) key: String,
    /// Its number.
    pub(super) seq: u64,
    /// BLAKE3 of its stored bytes, in hexadecimal.
    pub(super) blake3: String,
    /// The manifests before that it names: its parent, and the newest then, if that was another.
    pub(super) before: Vec<Parent>,
}

/// What is wrong between manifests. `links` are those that are there; `dropped` is what believed notes name: key and hash; `unread` are the keys of
/// manifests that are there but can't be read, which is told elsewhere; `number` reads a key's.
pub(super) fn faults(
    links: &[Link],
    dropped: &HashSet<(String, String)>,
    unread: &HashSet<String>,
    number: impl Fn(&str) -> Option<u64>,
) -> Vec<Fault> {
    let there: HashMap<&str, &Link> = links.iter().map(|link| (link.key.as_str(), link)).collect();
    let mut faults = Vec::new();
    for (link, before) in links.iter().flat_map(|link| link.before.iter().map(move |before| (link, before))) {
        let fault = |kind, object: &str, detail: String| Fault {
            kind,
            object: object.to_owned(),
            detail,
            snapshots: Some((link.seq, link.seq)),
        };
        if number(&before.key).is_none_or(|seq| seq >= link.seq) {
            let detail = format!("its number is {}, but it says that it follows {}", link.seq, before.key);
            faults.push(fault(FaultKind::OutOfOrder, &link.key, detail));
        }
        match there.get(before.key.as_str()) {
            Some(parent) if parent.blake3 == before.blake3 => {}
            Some(_) => {
                let detail = format!("it is not what it was when {} was made after it: it was replaced", link.key);
                faults.push(fault(FaultKind::Replaced, &before.key, detail));
            }
            None if unread.contains(&before.key) => {}
            None if dropped.contains(&(before.key.clone(), before.blake3.clone())) => {}
            None => {
                let detail = format!(
                    "{} follows it, it is not in the store, and no note that is believed says that it was dropped",
                    link.key
                );
                faults.push(fault(FaultKind::Missing, &before.key, detail));
            }
        }
    }
    // Two children of one parent name the same one.
    faults.sort_by(|a, b| (&a.object, a.kind).cmp(&(&b.object, b.kind)));
    faults.dedup_by(|a, b| a.kind == b.kind && a.object == b.object);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seq: u64) -> String {
        format!("m{seq}")
    }

    fn number(key: &str) -> Option<u64> {
        key.strip_prefix('m')?.parse().ok()
    }

    fn chain(length: u64) -> Vec<Link> {
        let link = |seq: u64| Link {
            key: key(seq),
            seq,
            blake3: format!("hash {seq}"),
            before: (seq > 1).then(|| Parent { key: key(seq - 1), blake3: format!("hash {}", seq - 1) }).into_iter().collect(),
        };
        (1..=length).map(link).collect()
    }

    fn kinds(links: &[Link], dropped: &[u64]) -> Vec<(FaultKind, String)> {
        let dropped = dropped.iter().map(|&seq| (key(seq), format!("hash {seq}"))).collect();
        faults(links, &dropped, &HashSet::new(), number).into_iter().map(|fault| (fault.kind, fault.object)).collect()
    }

    #[test]
    fn a_whole_chain_is_fine_and_so_is_what_retention_dropped() {
        let mut links = chain(5);
        assert_eq!(kinds(&links, &[]), []);
        links.remove(2);
        assert_eq!(kinds(&links, &[3]), []);
        assert_eq!(kinds(&links, &[]), [(FaultKind::Missing, key(3))]);
        assert_eq!(kinds(&links, &[2]), [(FaultKind::Missing, key(3))], "a note of another");
    }

    #[test]
    fn a_note_of_another_hash_explains_nothing() {
        let mut links = chain(3);
        links.remove(1);
        let dropped = [(key(2), "another hash".to_owned())].into();
        assert_eq!(faults(&links, &dropped, &HashSet::new(), number).len(), 1);
    }

    #[test]
    fn what_was_replaced_or_put_elsewhere_shows() {
        let mut links = chain(4);
        links[1].blake3 = "another".into();
        assert_eq!(kinds(&links, &[]), [(FaultKind::Replaced, key(2))]);
        let mut links = chain(4);
        links[3].seq = 3;
        assert_eq!(kinds(&links, &[]), [(FaultKind::OutOfOrder, key(4))]);
    }

    #[test]
    fn forks_are_no_fault() {
        let mut links = chain(3);
        links.push(Link { key: "m3".into(), blake3: "of the other".into(), ..links[2].clone() });
        assert_eq!(kinds(&links, &[]), []);
    }

    proptest::proptest! {
        #[test]
        fn any_gap_that_no_note_explains_is_found(length in 2u64..40, gone in proptest::collection::btree_set(1u64..40, 0..10), noted in proptest::collection::btree_set(1u64..40, 0..10)) {
            let mut links = chain(length);
            links.retain(|link| !gone.contains(&link.seq));
            let noted: Vec<u64> = noted.into_iter().collect();
            // What is gone and followed by what is there; the last of a gap stands for all of it.
            let expected: Vec<_> = gone.iter()
                .filter(|&&seq| seq < length && !gone.contains(&(seq + 1)) && !noted.contains(&seq))
                .map(|&seq| (FaultKind::Missing, key(seq)))
                .collect();
            let mut found = kinds(&links, &noted);
            found.sort_by_key(|(_, key)| number(key));
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
