//! On which levels a slot stands, and where its upper rows lie.
//!
//! The level is a pure function of seed and slot, so it needs no storage, does not depend on the order of insertion and is the
//! same in every build. It refuses to hold links.

use std::ops::Range;

/// No slot stands higher, whatever the draw.
pub(crate) const LEVEL_MAX: u32 = 15;

/// Draws levels: a slot stands on level `l` or above with probability `m^-l`, as in the paper of Malkov and Yashunin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    seed: u64,
    /// A draw below `below[l]` stands above level `l`.
    below: [u64; LEVEL_MAX as usize],
}

impl Levels {
    pub(crate) fn new(m: u32, seed: u64) -> Levels {
        let mut left = u64::MAX;
        let below = std::array::from_fn(|_| {
            left /= u64::from(m);
            left
        });
        Levels { seed, below }
    }

    pub(crate) fn draw(&self, slot: u32) -> u32 {
        let draw = mix(self.seed ^ mix(u64::from(slot)));
        self.below.iter().take_while(|&&below| draw < below).count() as u32
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Finds the upper rows of a slot: those of level 1, 2, … of one slot lie one after another, slots in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpperRows {
    /// One bit per slot: it stands above level 0.
    bits: Vec<u64>,
    /// Ones before each word.
    before: Vec<u32>,
    /// The number of the first upper row of each such slot, and at the end the number of rows.
    first: Vec<u32>,
}

impl UpperRows {
    /// Of `slots` slots, those of `uppers`: (slot, level of at least 1), ascending.
    pub(crate) fn new(slots: u32, uppers: impl Iterator<Item = (u32, u32)>) -> UpperRows {
        let mut bits = vec![0u64; (slots as usize).div_ceil(64)];
        let mut first = vec![0];
        let mut rows = 0;
        for (slot, level) in uppers {
            bits[slot as usize / 64] |= 1 << (slot % 64);
            rows += level;
            first.push(rows);
        }
        let before = bits.iter().scan(0, |sum, word| {
            let before = *sum;
            *sum += word.count_ones();
            Some(before)
        });
        UpperRows { before: before.collect(), bits, first }
    }

    /// The numbers of the rows of `slot`, level 1 first; empty where it stands on level 0 alone or does not exist.
    #[inline]
    pub(crate) fn rows(&self, slot: u32) -> Range<u32> {
        let (word, bit) = (slot as usize / 64, 1u64 << (slot % 64));
        match self.bits.get(word) {
            Some(bits) if bits & bit != 0 => {
                let at = (self.before[word] + (bits & (bit - 1)).count_ones()) as usize;
                self.first[at]..self.first[at + 1]
            }
            _ => 0..0,
        }
    }

    /// The highest level of `slot`.
    pub(crate) fn level(&self, slot: u32) -> u32 {
        self.rows(slot).len() as u32
    }

    /// All upper rows.
    pub(crate) fn count(&self) -> u32 {
        self.first.last().copied().unwrap_or(0)
    }

    pub(crate) fn memory(&self) -> u64 {
        (self.bits.len() * 8 + self.before.len() * 4 + self.first.len() * 4) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_thin_out_by_m() {
        let levels = Levels::new(16, 7);
        let mut counts = [0u32; LEVEL_MAX as usize + 1];
        for slot in 0..160_000 {
            counts[levels.draw(slot) as usize] += 1;
        }
        assert!((149_500..150_500).contains(&counts[0]), "{counts:?}");
        assert!((9_000..9_800).contains(&counts[1]), "{counts:?}");
        assert!((450..750).contains(&counts[2]), "{counts:?}");
        assert_eq!(counts[8..], [0; 8], "{counts:?}");
    }

    #[test]
    fn a_level_depends_on_seed_and_slot_alone() {
        let (a, b) = (Levels::new(16, 1), Levels::new(16, 2));
        let of = |levels: Levels| (0..1_000).map(|slot| levels.draw(slot)).collect::<Vec<_>>();
        assert_eq!(of(a), of(a));
        assert_ne!(of(a), of(b));
    }

    #[test]
    fn upper_rows_are_found_by_rank() {
        let uppers = [(0, 1), (63, 2), (64, 1), (200, 3)];
        let rows = UpperRows::new(201, uppers.into_iter());
        assert_eq!(rows.count(), 7);
        assert_eq!(uppers.map(|(slot, _)| rows.rows(slot)), [0..1, 1..3, 3..4, 4..7]);
        for slot in [1, 62, 65, 199, 201, 9_999] {
            assert_eq!(rows.level(slot), 0, "{slot}");
        }
        assert_eq!(UpperRows::new(0, [].into_iter()).rows(0), 0..0);
    }
}
