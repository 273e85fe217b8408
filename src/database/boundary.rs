//! Where a chunk of rows ends. Part of the format: boundaries depend on the rows alone, so that an edit changes one chunk and an
//! insert or a delete the chunks up to the next boundary (docs/FORMAT.md, "Rows").

/// The mean size of a chunk, in bytes of rows.
const TARGET: u64 = 192 << 10;
/// No chunk of several rows is larger, in bytes of rows.
pub(super) const LIMIT: u64 = 1 << 20;

/// A row's key as 64 uniformly spread bits: the first eight bytes, little-endian, of BLAKE3 over its values; each value is a 1, its length
/// as eight bytes little-endian, and its text as the server gives it; NULL is a 0.
pub(super) fn key_hash<'a>(values: impl Iterator<Item = Option<&'a [u8]>> + Clone) -> u64 {
    // Nearly every key fits, and hashing it at once costs half of what hashing it piece by piece does.
    let mut short = [0; 128];
    let mut room = short.as_mut_slice();
    let fits = values.clone().all(|value| match value {
        None => put(&mut room, &[0]),
        Some(bytes) => put(&mut room, &[1]) && put(&mut room, &(bytes.len() as u64).to_le_bytes()) && put(&mut room, bytes),
    });
    let left = room.len();
    let hash = if fits {
        blake3::hash(short.get(..short.len() - left).unwrap_or_default())
    } else {
        let mut hasher = blake3::Hasher::new();
        for value in values {
            match value {
                None => hasher.update(&[0]),
                Some(bytes) => hasher.update(&[1]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes),
            };
        }
        hasher.finalize()
    };
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Moves bytes to the front of the room, if they fit.
fn put(room: &mut &mut [u8], bytes: &[u8]) -> bool {
    let Some((to, rest)) = std::mem::take(room).split_at_mut_checked(bytes.len()) else { return false };
    to.copy_from_slice(bytes);
    *room = rest;
    true
}

/// Whether a chunk ends after a row of this many bytes. It does after every row that is larger than [`LIMIT`].
pub(super) fn ends_after(key_hash: u64, row: u64) -> bool {
    u128::from(key_hash) * u128::from(TARGET) < u128::from(row) << 64
}

/// The size of the chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    bytes: u64,
}

impl Boundary {
    /// Whether a row of this many bytes would make the chunk too large: then it starts the next one.
    pub(super) fn is_before(&self, row: u64) -> bool {
        self.bytes > 0 && self.bytes + row > LIMIT
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, row: u64) {
        self.bytes += row;
    }

    /// A new chunk begins.
    pub(super) fn reset(&mut self) {
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type TestRow = (u32, u64);

    fn hash(key: u32) -> u64 {
        key_hash(std::iter::once(Some(key.to_string().as_bytes())))
    }

    fn chunks(rows: &[TestRow]) -> Vec<Vec<TestRow>> {
        let (mut all, mut chunk, mut boundary) = (Vec::new(), Vec::new(), Boundary::default());
        for (key, size) in rows {
            if boundary.is_before(*size) {
                all.push(std::mem::take(&mut chunk));
                boundary.reset();
            }
            chunk.push((*key, *size));
            boundary.add(*size);
            if ends_after(hash(*key), *size) {
                all.push(std::mem::take(&mut chunk));
                boundary.reset();
            }
        }
        if !chunk.is_empty() {
            all.push(chunk);
        }
        all
    }

    fn rows() -> impl Strategy<Value = Vec<TestRow>> {
        proptest::collection::btree_map(any::<u32>(), prop_oneof![9 => 1u64..60_000, 1 => 1u64..3_000_000], 1..200)
            .prop_map(|map| map.into_iter().collect())
    }

    #[test]
    fn the_hash_is_that_of_the_format_for_keys_of_any_length() {
        for length in 0..300 {
            let long = vec![b'x'; length];
            let values = [Some(b"7".as_slice()), None, Some(long.as_slice())];
            let mut bytes = [&[1], 1u64.to_le_bytes().as_slice(), b"7", &[0], &[1], &(length as u64).to_le_bytes()].concat();
            bytes.extend(&long);
            let expected = u64::from_le_bytes(blake3::hash(&bytes).as_bytes()[..8].try_into().unwrap());
            assert_eq!(key_hash(values.into_iter()), expected, "{length}");
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_rows_and_keep_the_limit(rows in rows()) {
            let chunks = chunks(&rows);
            prop_assert_eq!(chunks.concat(), rows);
            for chunk in &chunks {
                prop_assert!(!chunk.is_empty());
                prop_assert!(chunk.len() == 1 || chunk.iter().map(|r| r.1).sum::<u64>() <= LIMIT);
            }
        }

        /// Nothing changes before the natural boundary that precedes an edit, nor after the one that follows it.
        #[test]
        fn a_change_stays_between_two_boundaries(rows in rows(), at in any::<prop::sample::Index>(), size in 1u64..60_000, kind in 0..3) {
            let at = at.index(rows.len());
            let mut changed = rows.clone();
            match kind {
                0 => changed[at].1 = size,
                1 => { changed.remove(at); }
                _ => {
                    let Some(key) = rows[at].0.checked_add(1) else { return Ok(()) };
                    if rows.get(at + 1).is_some_and(|r| r.0 == key) { return Ok(()) }
                    changed.insert(at + 1, (key, size));
                }
            }
            let natural = |row: &TestRow| ends_after(hash(row.0), row.1);
            let low = rows[..at].iter().rposition(natural).map(|i| rows[i].0);
            let high = rows[at + 1..].iter().position(natural).map(|i| rows[at + 1 + i].0);
            let outside = |chunks: Vec<Vec<TestRow>>| -> Vec<Vec<TestRow>> {
                chunks.into_iter().filter(|c| {
                    let (first, last) = (c.first().unwrap().0, c.last().unwrap().0);
                    low.is_some_and(|low| last <= low) || high.is_some_and(|high| first > high)
                }).collect()
            };
            prop_assert_eq!(outside(chunks(&rows)), outside(chunks(&changed)));
        }
    }

    #[test]
    fn the_mean_is_near_the_target_for_small_and_large_rows() {
        for size in [50, 2_000, 100_000] {
            let rows: Vec<TestRow> = (0..(400 * TARGET / size) as u32).map(|key| (key, size)).collect();
            let mean = rows.len() as u64 * size / chunks(&rows).len() as u64;
            assert!((TARGET * 3 / 4..TARGET * 5 / 4).contains(&mean), "rows of {size}: {mean}");
        }
    }

    #[test]
    fn the_encoding_of_keys_is_unambiguous_and_fixed() {
        let of = |values: &[Option<&[u8]>]| key_hash(values.iter().copied());
        assert_ne!(of(&[Some(b"ab"), Some(b"c")]), of(&[Some(b"a"), Some(b"bc")]));
        assert_ne!(of(&[None]), of(&[Some(b"")]));
        let mut text = vec![1, 1, 0, 0, 0, 0, 0, 0, 0];
        text.push(b'7');
        assert_eq!(of(&[Some(b"7")]).to_le_bytes(), blake3::hash(&text).as_bytes()[..8]);
    }
}
