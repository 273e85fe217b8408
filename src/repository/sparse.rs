//! Packs of which a snapshot needs little: what it needs is sent again, so that once the older snapshots are pruned the rest needn't be kept (docs/FORMAT.md, "Packs").

use super::manifest::PackInfo;

/// A pack is sparse when less than one in so many of its bytes of content is needed.
const SHARE: u64 = 4;
/// Of content, what one run sends again of sparse packs at most: bytes. The rest waits for the next run.
const MOST: u64 = 256 << 20;

/// Those of a snapshot's packs whose content a run sends again, the sparsest first. Of a pack whose content isn't known, nothing is said.
pub fn sparse(packs: &[PackInfo]) -> Vec<&PackInfo> {
    // A chunk that several entries name counts as often, so that this may take a sparse pack for one that isn't, and not the other way round.
    let is_sparse = |pack: &&PackInfo| pack.live.checked_mul(SHARE).is_some_and(|live| live < pack.content);
    let mut all: Vec<&PackInfo> = packs.iter().filter(is_sparse).collect();
    all.sort_by_key(|pack| (pack.live, pack.name));
    let mut sum = 0u64;
    all.retain(|pack| {
        sum = sum.saturating_add(pack.live);
        sum <= MOST
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::ids::PackName;

    fn pack(name: u8, live: u64, content: u64) -> PackInfo {
        PackInfo { name: PackName([name; 32]), size: content, sha256: String::new(), live, content, sealed: None }
    }

    fn names(packs: &[PackInfo]) -> Vec<u8> {
        sparse(packs).iter().map(|pack| pack.name.0[0]).collect()
    }

    #[test]
    fn less_than_a_quarter_is_sparse() {
        assert_eq!(names(&[pack(1, 25, 100), pack(2, 24, 100), pack(3, 1, 100), pack(4, 300, 100), pack(5, 1, 0)]), [3, 2]);
        assert_eq!(names(&[pack(1, u64::MAX, u64::MAX)]), [0u8; 0]);
    }

    #[test]
    fn a_run_sends_so_much_again_and_no_more() {
        let many: Vec<_> = (0..40).map(|n| pack(n, 10 << 20, 100 << 20)).collect();
        assert_eq!(names(&many), (0..25).collect::<Vec<_>>());
    }
}
