//! Pseudo-random numbers that are the same on every machine (SplitMix64).

pub(crate) struct Random(u64);

impl Random {
    /// Another stream for each name: a table's rows don't depend on how many rows others have.
    pub(crate) fn of(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform, less than `end` (which isn't 0).
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// As likely to lie between 1 and 2 as between 2 and 4 or 4 and 8…: nearly Zipf's law, and the sizes of texts. Less than 2^`bits`.
    pub(crate) fn skewed(&mut self, bits: u64) -> u64 {
        self.skewed_above(0, bits)
    }

    /// The same, but everything less than 2^`even` is equally likely.
    pub(crate) fn skewed_above(&mut self, even: u64, bits: u64) -> u64 {
        let bits = even + self.below(bits - even + 1);
        self.below(1 << bits)
    }

    /// Whether something happens that does so `percent` times of a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}
