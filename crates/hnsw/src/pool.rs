//! The candidates of one walk, best first, in one sorted array.
//!
//! It refuses to know slots' links and to compute scores.
//!
//! # Invariants
//!
//! 1. Keys ascend strictly, `keys.len() <= cap`.
//! 2. No key before `cursor` is open.

use nearfield_types::Score;

/// A candidate in one word: `ordered score (32) | slot (31) | closed (1)`, so that comparing words compares (score, slot).
pub(crate) type Key = u64;

/// The largest slot that a key can name.
pub(crate) const SLOT_MAX: u32 = u32::MAX >> 1;

const CLOSED: Key = 1;

/// Above every finite score: what is at or beyond it is no candidate.
const NO_SCORE: Key = (order_of(Score::INFINITY) as Key) << 32;

/// A number whose unsigned order is the order of scores.
const fn order_of(score: Score) -> u32 {
    let bits = score.to_bits();
    bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000)
}

#[inline]
pub(crate) fn key(score: Score, slot: u32) -> Key {
    Key::from(order_of(score)) << 32 | Key::from(slot) << 1
}

#[inline]
pub(crate) fn slot_of(key: Key) -> u32 {
    key as u32 >> 1
}

#[inline]
pub(crate) fn score_of(key: Key) -> Score {
    let order = (key >> 32) as u32;
    Score::from_bits(if order & 0x8000_0000 != 0 { order ^ 0x8000_0000 } else { !order })
}

/// The best candidates met so far, at most `cap`.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    keys: Vec<Key>,
    cap: usize,
    cursor: usize,
}

impl Pool {
    /// Empties it; from now on it keeps `cap`.
    pub(crate) fn reset(&mut self, cap: usize) {
        self.keys.clear();
        self.cap = cap;
        self.cursor = 0;
    }

    /// Opens every candidate again and keeps at most `cap` of them.
    pub(crate) fn reopen(&mut self, cap: usize) {
        self.cap = cap;
        self.keys.truncate(cap);
        self.keys.iter_mut().for_each(|key| *key &= !CLOSED);
        self.cursor = 0;
    }

    /// Only keys below this may enter.
    #[inline]
    pub(crate) fn limit(&self) -> Key {
        if self.keys.len() < self.cap { NO_SCORE } else { self.keys.last().copied().unwrap_or(0) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() >= self.cap
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The best open candidate.
    #[inline]
    pub(crate) fn best_open(&mut self) -> Option<Key> {
        while let Some(&key) = self.keys.get(self.cursor) {
            if key & CLOSED == 0 {
                return Some(key);
            }
            self.cursor += 1;
        }
        None
    }

    /// The slots of the best open candidates, at most `count`.
    #[inline]
    pub(crate) fn next_open(&self, count: usize) -> impl Iterator<Item = u32> {
        let open = self.keys[self.cursor.min(self.keys.len())..].iter().filter(|&&key| key & CLOSED == 0);
        open.take(count).map(|&key| slot_of(key))
    }

    /// Closes the best open candidate and returns its slot.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<u32> {
        let key = self.best_open()?;
        self.keys[self.cursor] |= CLOSED;
        self.cursor += 1;
        Some(slot_of(key))
    }

    /// Closes a candidate that was expanded before, if it is here.
    pub(crate) fn close(&mut self, slot: u32) {
        if let Some(key) = self.keys.iter_mut().find(|key| slot_of(**key) == slot) {
            *key |= CLOSED;
        }
    }

    /// Takes in `fresh`, which it sorts: one pass from the back moves every key once at most.
    #[inline]
    pub(crate) fn merge(&mut self, fresh: &mut [Key]) {
        sort_few(fresh);
        let Some(&first) = fresh.first() else { return };
        let mut old = self.keys.len();
        let mut new = fresh.len();
        self.keys.resize(old + new, 0);
        let mut at = old + new;
        while new > 0 {
            at -= 1;
            if old > 0 && self.keys[old - 1] > fresh[new - 1] {
                old -= 1;
                self.keys[at] = self.keys[old];
            } else {
                new -= 1;
                self.keys[at] = fresh[new];
            }
        }
        debug_assert_eq!(self.keys[at], first);
        self.cursor = self.cursor.min(at);
        self.keys.truncate(self.cap);
    }
}

/// Insertion sort: the survivors of one round are few.
#[inline]
fn sort_few(keys: &mut [Key]) {
    if keys.len() > 48 {
        return keys.sort_unstable();
    }
    for end in 1..keys.len() {
        let key = keys[end];
        let mut at = end;
        while at > 0 && keys[at - 1] > key {
            keys[at] = keys[at - 1];
            at -= 1;
        }
        keys[at] = key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_order_as_scores_and_give_them_back() {
        let scores = [-f32::MAX, -2.5, -1e-30, 0.0, 1e-30, 0.5, 2.0, f32::MAX];
        for pair in scores.windows(2) {
            assert!(key(pair[0], 9) < key(pair[1], 0), "{pair:?}");
        }
        for score in scores {
            let made = key(score, 0x7fff_fffe);
            assert_eq!((score_of(made), slot_of(made)), (score, 0x7fff_fffe));
            assert!(made < NO_SCORE);
        }
        assert!(key(f32::INFINITY, 0) >= NO_SCORE);
    }

    proptest! {
        /// Against a list that is sorted and cut after every batch.
        #[test]
        fn equals_a_sorted_list(
            batches in prop::collection::vec(prop::collection::vec((0u8..40, 0u32..1000), 0..70), 1..12),
            cap in 1usize..60,
        ) {
            let mut pool = Pool::default();
            pool.reset(cap);
            let mut model: Vec<(Key, bool)> = Vec::new();
            let mut seen = std::collections::HashSet::new();
            for batch in batches {
                let limit = pool.limit();
                let mut fresh: Vec<Key> = batch
                    .into_iter()
                    .filter(|&(_, slot)| seen.insert(slot))
                    .map(|(score, slot)| key(f32::from(score) - 20.0, slot))
                    .filter(|&key| key < limit)
                    .collect();
                model.extend(fresh.iter().map(|&key| (key, false)));
                model.sort_unstable();
                model.truncate(cap);
                pool.merge(&mut fresh);
                for _ in 0..2 {
                    let open = model.iter_mut().find(|(_, closed)| !closed);
                    let expected = open.map(|(key, closed)| { *closed = true; slot_of(*key) });
                    prop_assert_eq!(pool.take(), expected);
                }
                let keys: Vec<Key> = pool.keys().iter().map(|key| key & !CLOSED).collect();
                prop_assert_eq!(keys, model.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            }
        }
    }
}
