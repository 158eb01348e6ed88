//! The arrays of a field index as they are put together: keys, their slots, the way back, and the marks between.
//!
//! It refuses to know what a key means. Everything here is a pure function of (key, slot) pairs.

use super::bits;
use super::format::{INDEX_MARKED_ENTRIES_MIN, INDEX_MARKS_MAX};

/// The distinct keys, ascending.
#[derive(Debug)]
pub(crate) enum Keys {
    /// Numbers in an order-preserving code.
    Narrow(Vec<u64>),
    /// UUIDs, the upper half first.
    Wide(Vec<[u64; 2]>),
    /// Text.
    Terms {
        /// Where each one ends.
        ends: Vec<u64>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// The arrays of one file.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rows: u32,
    pub(crate) keys: Keys,
    pub(crate) starts: Vec<u32>,
    pub(crate) slots: Vec<u32>,
    pub(crate) many: bool,
    pub(crate) forward: Vec<u32>,
    pub(crate) forward_starts: Vec<u32>,
    pub(crate) marks: Vec<u64>,
    pub(crate) mark_count: u32,
    pub(crate) block: u32,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        match self {
            Keys::Narrow(keys) => keys.len(),
            Keys::Wide(keys) => keys.len(),
            Keys::Terms { ends, .. } => ends.len(),
        }
    }
}

/// Groups pairs that are in order: the distinct keys, where their slots begin, the slots.
pub(crate) fn group<K: Copy + PartialEq>(
    pairs: impl ExactSizeIterator<Item = (K, u32)>,
) -> (Vec<K>, Vec<u32>, Vec<u32>) {
    let mut keys: Vec<K> = Vec::new();
    let (mut starts, mut slots) = (Vec::new(), Vec::with_capacity(pairs.len()));
    for (key, slot) in pairs {
        if keys.last() != Some(&key) {
            keys.push(key);
            starts.push(slots.len() as u32);
        }
        slots.push(slot);
    }
    starts.push(slots.len() as u32);
    (keys, starts, slots)
}

/// The order of entries by the rank of their id, entries of one id in the order they came in. Returns where each rank begins
/// and the places of the entries.
pub(crate) fn by_rank(ids: &[u32], rank: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; rank.len() + 1];
    for &id in ids {
        starts[rank[id as usize] as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![0; ids.len()];
    for (place, &id) in ids.iter().enumerate() {
        let at = &mut next[rank[id as usize] as usize];
        order[*at as usize] = place as u32;
        *at += 1;
    }
    (starts, order)
}

impl Table {
    /// The arrays for keys and their slots; slots ascend within a key.
    pub(crate) fn new(rows: u32, keys: Keys, starts: Vec<u32>, slots: Vec<u32>) -> Table {
        Table {
            rows,
            keys,
            starts,
            slots,
            many: false,
            forward: Vec::new(),
            forward_starts: Vec::new(),
            marks: Vec::new(),
            mark_count: 0,
            block: 0,
        }
    }

    /// Adds the way back from a slot to its keys.
    pub(crate) fn with_forward(mut self) -> Table {
        self.forward = vec![0; self.rows as usize];
        for key in 0..self.keys.len() {
            for at in self.starts[key]..self.starts[key + 1] {
                let place = &mut self.forward[self.slots[at as usize] as usize];
                self.many |= *place != 0;
                *place = key as u32 + 1;
            }
        }
        if self.many {
            self.forward_of_many();
        }
        self
    }

    /// How many rows have a key.
    pub(crate) fn keyed_rows(&self) -> u32 {
        match self.many {
            true => self.forward_starts.windows(2).filter(|ends| ends[0] < ends[1]).count() as u32,
            false => self.slots.len() as u32,
        }
    }

    fn forward_of_many(&mut self) {
        let mut starts = vec![0u32; self.rows as usize + 1];
        for &slot in &self.slots {
            starts[slot as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        self.forward = vec![0; self.slots.len()];
        for key in 0..self.keys.len() {
            for at in self.starts[key]..self.starts[key + 1] {
                let place = &mut next[self.slots[at as usize] as usize];
                self.forward[*place as usize] = key as u32 + 1;
                *place += 1;
            }
        }
        self.forward_starts = starts;
    }

    /// Adds marks: bitsets at equal distances, so that a long range of entries costs a few of them and its two ends. Together
    /// they are at most as large as the slots.
    pub(crate) fn with_marks(mut self) -> Table {
        let (entries, rows) = (self.slots.len() as u64, u64::from(self.rows).max(1));
        let count = (u64::from(INDEX_MARKS_MAX) * entries / rows).min(INDEX_MARKS_MAX.into());
        if count < 2 || entries < INDEX_MARKED_ENTRIES_MIN.into() {
            return self;
        }
        let block = entries.div_ceil(count);
        let count = entries.div_ceil(block);
        let words = bits::words(self.rows);
        self.marks = Vec::with_capacity(words * count as usize);
        let mut current = vec![0; words];
        for block in self.slots.chunks(block as usize) {
            block.iter().for_each(|&slot| bits::set(&mut current, slot));
            self.marks.extend_from_slice(&current);
            if self.many {
                current.fill(0);
            }
        }
        (self.mark_count, self.block) = (count as u32, block as u32);
        self
    }
}
