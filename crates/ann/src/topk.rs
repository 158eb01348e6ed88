//! The k best hits, in an order that depends on nothing but the hits.
//!
//! It refuses scores that are not finite, and to look at a vector, an id or a payload: equal scores are ordered by whoever
//! knows ids, through [`Ties`].

use std::cmp::Ordering;
use std::fmt;

use nearfield_types::{Score, Slot};

/// Orders slots whose scores are equal.
///
/// # Contract
///
/// A total order that does not change during a search: by external id, so that an answer does not depend on how points are
/// spread over segments. Slots it calls equal are ordered by number.
///
/// # Complexity
///
/// Called once per comparison of equal scores, O(log k) times for a hit that ties.
///
/// # Concurrency
///
/// Shared by all threads of a search.
///
/// The conformance suite is [`conformance::check_ties`](crate::conformance::check_ties).
pub trait Ties: Sync {
    /// `Less` where `a` comes first.
    fn compare(&self, a: Slot, b: Slot) -> Ordering;
}

/// Breaks ties by slot number, for callers that have no ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct BySlot;

impl Ties for BySlot {
    fn compare(&self, a: Slot, b: Slot) -> Ordering {
        a.cmp(&b)
    }
}

/// One result: a slot and its score, lower is closer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The slot.
    pub slot: Slot,
    /// Its score: finite, never `-0.0`.
    pub score: Score,
}

/// Hits that room is made for at once.
const ROOM: usize = 64;

/// Collects the k best of the hits offered, in any order, by (score, then [`Ties`]).
///
/// What it holds depends on the set of hits offered alone. Each slot may be offered once.
///
/// # Complexity
///
/// [`push`](TopK::push) is O(1) for a hit that is no better than the worst kept, else O(log k). Memory grows with the hits
/// kept, never with `k` alone.
///
/// ```
/// use nearfield_ann::{BySlot, TopK};
/// use nearfield_types::Slot;
///
/// let mut best = TopK::new(2, &BySlot);
/// for (slot, score) in [(0, 0.5), (1, f32::NAN), (2, 0.25), (3, 0.5)] {
///     best.push(Slot(slot), score);
/// }
/// assert_eq!(best.worst(), 0.5);
/// let slots: Vec<_> = best.into_sorted().iter().map(|hit| hit.slot.0).collect();
/// assert_eq!(slots, [2, 0]);
/// ```
pub struct TopK<'a> {
    k: usize,
    ties: &'a dyn Ties,
    /// While `is_sorted`, best first: what a walk offers comes in that order. Then a binary heap with the worst hit at its root,
    /// written here because the order needs `ties`.
    heap: Vec<Hit>,
    is_sorted: bool,
}

impl<'a> TopK<'a> {
    /// Collects the `k` best; `k` may be 0 or larger than all there is.
    pub fn new(k: usize, ties: &'a dyn Ties) -> Self {
        TopK { k, ties, heap: Vec::new(), is_sorted: true }
    }

    /// How many are collected at most.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What orders equal scores.
    pub fn ties(&self) -> &'a dyn Ties {
        self.ties
    }

    /// How many there are now.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True while nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// True once `k` are kept: from now on each newcomer replaces one.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// The threshold: what scores above it cannot get in; what is equal may, by [`Ties`].
    ///
    /// `f32::MAX` while there is room, negative infinity for `k = 0`.
    #[inline]
    pub fn worst(&self) -> Score {
        let worst = if self.is_sorted { self.heap.last() } else { self.heap.first() };
        match worst {
            Some(worst) if self.is_full() => worst.score,
            _ if self.k == 0 => Score::NEG_INFINITY,
            _ => Score::MAX,
        }
    }

    /// Offers a hit; true if it is now among the best. A score that is not finite is refused, `-0.0` is taken as `0.0`.
    #[inline]
    pub fn push(&mut self, slot: Slot, score: Score) -> bool {
        // False for NaN too, which is not at most anything.
        let may_enter = score <= self.worst();
        may_enter && score.is_finite() && self.insert(Hit { slot, score: score + 0.0 })
    }

    /// The hits, best first.
    pub fn into_sorted(mut self) -> Vec<Hit> {
        if !self.is_sorted {
            let ties = self.ties;
            self.heap.sort_unstable_by(|a, b| order(ties, a, b));
        }
        self.heap
    }

    fn insert(&mut self, hit: Hit) -> bool {
        if self.is_sorted {
            let comes_last = self.heap.last().is_none_or(|last| self.before(last, &hit));
            if comes_last && self.heap.len() < self.k {
                self.heap.reserve(if self.heap.is_empty() { self.k.min(ROOM) } else { 1 });
                self.heap.push(hit);
                return true;
            }
            // Worst first is a heap.
            self.heap.reverse();
            self.is_sorted = false;
        }
        if self.heap.len() < self.k {
            self.heap.push(hit);
            self.sift_up(self.heap.len() - 1);
            return true;
        }
        match self.heap.first() {
            Some(worst) if self.before(&hit, worst) => {
                self.heap[0] = hit;
                self.sift_down(0);
                true
            }
            _ => false,
        }
    }

    fn before(&self, a: &Hit, b: &Hit) -> bool {
        order(self.ties, a, b).is_lt()
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.before(&self.heap[parent], &self.heap[at]) {
                return;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let right_is_worse = right < self.heap.len() && self.before(&self.heap[left], &self.heap[right]);
            let worse = if right_is_worse { right } else { left };
            if !self.before(&self.heap[at], &self.heap[worse]) {
                return;
            }
            self.heap.swap(at, worse);
            at = worse;
        }
    }
}

/// Best first: by score, then by ties, then by slot, so that different hits are never equal.
pub(crate) fn order(ties: &dyn Ties, a: &Hit, b: &Hit) -> Ordering {
    let by_score = a.score.total_cmp(&b.score);
    by_score.then_with(|| ties.compare(a.slot, b.slot)).then_with(|| a.slot.cmp(&b.slot))
}

impl fmt::Debug for TopK<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopK({} of {}, worst {})", self.len(), self.k, self.worst())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Later slots first: what a by-slot order would get wrong.
    struct Backwards;

    impl Ties for Backwards {
        fn compare(&self, a: Slot, b: Slot) -> Ordering {
            b.cmp(&a)
        }
    }

    /// Knows no order: the slot number must decide.
    struct Indifferent;

    impl Ties for Indifferent {
        fn compare(&self, _: Slot, _: Slot) -> Ordering {
            Ordering::Equal
        }
    }

    fn score() -> impl Strategy<Value = f32> {
        let few = prop::sample::select(vec![-1.5, -0.0, 0.0, 0.25, 1.0, 1.0e30, f32::MAX, -f32::MAX]);
        let odd = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        prop_oneof![4 => few, 1 => odd, 4 => -4.0f32..4.0]
    }

    /// What must come out, by sorting everything.
    fn naive(scores: &[f32], k: usize, ties: &dyn Ties) -> Vec<Hit> {
        let all = scores.iter().enumerate().filter(|(_, score)| score.is_finite());
        let mut hits: Vec<_> =
            all.map(|(slot, score)| Hit { slot: Slot(slot as u32), score: score + 0.0 }).collect();
        hits.sort_by(|a, b| {
            a.score
                .partial_cmp(&b.score)
                .unwrap()
                .then(ties.compare(a.slot, b.slot))
                .then(a.slot.cmp(&b.slot))
        });
        hits.truncate(k);
        hits
    }

    fn check(scores: &[f32], order: &[usize], k: usize, ties: &dyn Ties) {
        let mut best = TopK::new(k, ties);
        for &slot in order {
            let (threshold, held) = (best.worst(), best.len());
            let entered = best.push(Slot(slot as u32), scores[slot]);
            assert!(!entered || scores[slot] <= threshold, "{} entered above {threshold}", scores[slot]);
            assert!(best.len() - held <= usize::from(entered) && best.len() <= k);
        }
        let bits = |hits: Vec<Hit>| -> Vec<(u32, u32)> {
            hits.into_iter().map(|hit| (hit.slot.0, hit.score.to_bits())).collect()
        };
        assert_eq!(bits(best.into_sorted()), bits(naive(scores, k, ties)));
    }

    proptest! {
        #[test]
        fn equals_sorting_whatever_the_order_of_offers(
            (scores, order) in prop::collection::vec(score(), 0..60).prop_flat_map(|scores| {
                let order: Vec<usize> = (0..scores.len()).collect();
                (Just(scores), Just(order).prop_shuffle())
            }),
            k in prop_oneof![0usize..12, Just(59), Just(60), Just(usize::MAX)],
        ) {
            for ties in [&BySlot as &dyn Ties, &Backwards, &Indifferent] {
                check(&scores, &order, k, ties);
            }
        }
    }

    #[test]
    fn nothing_is_allocated_from_k() {
        let mut best = TopK::new(usize::MAX, &BySlot);
        assert_eq!(best.heap.capacity(), 0);
        assert!(best.push(Slot(1), 1.0) && best.heap.capacity() < 100);
        assert!(!best.is_full());
    }

    #[test]
    fn k_zero_keeps_nothing() {
        let mut best = TopK::new(0, &BySlot);
        for score in [0.0, -f32::MAX, f32::NEG_INFINITY, f32::NAN] {
            assert!(!best.push(Slot(0), score));
        }
        assert_eq!((best.worst(), best.len()), (f32::NEG_INFINITY, 0));
    }
}
