//! Sets of slots while an answer is put together: a plain bitset where many slots match, a sorted list where few do.
//!
//! It refuses to be an answer: answers are roaring bitmaps. A range of half a million slots comes about ten times faster by a
//! bitset that is turned into one at the end.

use roaring::RoaringBitmap;

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// Words of a bitset for `rows` slots.
pub(crate) fn words(rows: u32) -> usize {
    (rows as usize).div_ceil(WORD)
}

/// Sets the bit of `slot`; nothing happens past the end.
#[inline]
pub(crate) fn set(bits: &mut [u64], slot: u32) {
    if let Some(word) = bits.get_mut(slot as usize / WORD) {
        *word |= 1 << (slot as usize % WORD);
    }
}

/// Clears the bit of `slot`; nothing happens past the end.
#[inline]
pub(crate) fn clear(bits: &mut [u64], slot: u32) {
    if let Some(word) = bits.get_mut(slot as usize / WORD) {
        *word &= !(1 << (slot as usize % WORD));
    }
}

/// Adds the slots of a bitset, moved up by `base`, a multiple of eight.
pub(crate) fn add_to(out: &mut RoaringBitmap, bits: &[u64], base: u32) {
    let found = RoaringBitmap::from_lsb0_bytes(base, bytemuck::cast_slice(bits));
    merge(out, found);
}

/// Adds a list of slots in any order, moved up by `base`.
pub(crate) fn add_list(out: &mut RoaringBitmap, mut slots: Vec<u32>, base: u32) {
    if !slots.is_sorted_by(|a, b| a < b) {
        slots.sort_unstable();
        slots.dedup();
    }
    let sorted = slots.iter().map(|slot| base + slot);
    merge(
        out,
        RoaringBitmap::from_sorted_iter(sorted)
            .unwrap_or_else(|_| slots.iter().map(|slot| base + slot).collect()),
    );
}

/// Adds the slots of another set, moved up by `base`.
pub(crate) fn add_set(out: &mut RoaringBitmap, set: &RoaringBitmap, base: u32) {
    match base {
        0 => *out |= set,
        _ => out.extend(set.iter().map(|slot| base + slot)),
    }
}

fn merge(out: &mut RoaringBitmap, found: RoaringBitmap) {
    match out.is_empty() {
        true => *out = found,
        false => *out |= found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitsets_and_lists_are_the_same_slots() {
        let slots = [3u32, 64, 65, 70_000, 1, 199];
        let mut bits = vec![0; words(70_001)];
        slots.iter().for_each(|&slot| set(&mut bits, slot));
        set(&mut bits, 5);
        clear(&mut bits, 5);
        set(&mut bits, u32::MAX);
        clear(&mut bits, u32::MAX);
        let (mut dense, mut list) = (RoaringBitmap::new(), RoaringBitmap::new());
        add_to(&mut dense, &bits, 256);
        add_list(&mut list, slots.to_vec(), 256);
        assert_eq!(dense, list);
        assert_eq!(dense.iter().collect::<Vec<_>>(), [257, 259, 320, 321, 455, 70_256]);
        let mut moved = RoaringBitmap::from_iter([7u32]);
        add_set(&mut moved, &RoaringBitmap::from_iter([1u32]), 8);
        assert_eq!(moved.iter().collect::<Vec<_>>(), [7, 9]);
    }
}
