//! Exact search by looking at everything: over a range of slots, or over a list of them.
//!
//! It refuses to be clever. It is the yardstick of every other index, the plan for small segments and strict filters, and the
//! way new rows are found before a graph holds them.
//!
//! Invariant: every slot of the range or list is scored once, or the search ends with the reason why not.

use nearfield_types::{Score, Slot};

use crate::{Admit, Scratch, Search, Stats, Stopped, TopK, VectorIndex};

/// Slots scored by one call: large enough that the call, the budget and the threshold cost nothing visible per slot, small
/// enough that the threshold soon works.
const RUN: usize = 512;

/// Exact search over a range of slots, by contiguous runs.
///
/// # Complexity
///
/// One distance per slot, in slot order: it runs at memory bandwidth where the scorer's runs do. Admission is asked only for
/// slots that would be kept.
///
/// ```
/// use nearfield_ann::{Flat, VectorIndex};
/// use nearfield_types::Slot;
///
/// assert_eq!(Flat::new(10), Flat::range(Slot(0), Slot(10)));
/// assert_eq!(Flat::new(10).memory(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    first: u32,
    end: u32,
}

impl Flat {
    /// Over the slots `0..len`.
    pub fn new(len: u32) -> Self {
        Flat { first: 0, end: len }
    }

    /// Over the slots from `first` up to but without `end`; empty where `end` is not beyond `first`.
    pub fn range(first: Slot, end: Slot) -> Self {
        Flat { first: first.0, end: end.0 }
    }
}

impl VectorIndex for Flat {
    fn search(
        &self,
        search: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, Stopped> {
        search.budget.check()?;
        let mut stats = Stats::default();
        let cap = search.cap();
        let Search { scorer, admit, budget, .. } = search;
        let Buffers { slots, scores } = scratch.state();
        scores.resize(RUN, 0.0);
        let mut first = self.first;
        while first < self.end && out.k() > 0 {
            let count = (self.end - first).min(RUN as u32);
            let scores = &mut scores[..count as usize];
            budget.spend(u64::from(count))?;
            scorer.score_run(Slot(first), scores)?;
            stats.distances += u64::from(count);
            select(Slot(first), scores, cap.min(out.worst()), slots);
            if !slots.is_empty() {
                admit_counted(admit, slots, &mut stats);
                offer(Slot(first), scores, slots, out);
            }
            first += count;
        }
        Ok(stats)
    }

    fn memory(&self) -> u64 {
        0
    }
}

/// Exact search over a list of slots: the matches of a filter, or candidates to be scored again.
///
/// The list holds no slot twice. Ascending order is fastest.
///
/// # Complexity
///
/// One admission test per slot, one distance per admitted slot. Here admission comes first: a scattered row costs more than a
/// test.
#[derive(Clone, Copy, Debug)]
pub struct Among<'a> {
    slots: &'a [Slot],
}

impl<'a> Among<'a> {
    /// Over `slots`.
    pub fn new(slots: &'a [Slot]) -> Self {
        Among { slots }
    }
}

impl VectorIndex for Among<'_> {
    fn search(
        &self,
        search: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, Stopped> {
        search.budget.check()?;
        let mut stats = Stats::default();
        let cap = search.cap();
        let Search { scorer, admit, budget, .. } = search;
        let Buffers { slots, scores } = scratch.state();
        scores.resize(RUN, 0.0);
        for part in self.slots.chunks(RUN) {
            if out.k() == 0 {
                break;
            }
            slots.clear();
            slots.extend_from_slice(part);
            admit_counted(admit, slots, &mut stats);
            let scores = &mut scores[..slots.len()];
            budget.spend(slots.len() as u64)?;
            scorer.score(slots, scores)?;
            stats.distances += slots.len() as u64;
            for (&slot, &score) in slots.iter().zip(scores.iter()) {
                if score <= cap {
                    out.push(slot, score);
                }
            }
        }
        Ok(stats)
    }

    fn memory(&self) -> u64 {
        0
    }
}

/// What scans keep in the scratch.
#[derive(Default)]
struct Buffers {
    slots: Vec<Slot>,
    scores: Vec<Score>,
}

/// Leaves in `slots` those of the run whose score is at most `limit`.
fn select(first: Slot, scores: &[Score], limit: Score, slots: &mut Vec<Slot>) {
    slots.clear();
    for (&score, slot) in scores.iter().zip(first.0..) {
        if score <= limit {
            slots.push(Slot(slot));
        }
    }
}

fn admit_counted(admit: &dyn Admit, slots: &mut Vec<Slot>, stats: &mut Stats) {
    let tested = slots.len();
    stats.tested += tested as u64;
    admit.retain(slots);
    // An admission that adds slots breaks its contract; then it loses the last of them instead of our buffers their size.
    slots.truncate(tested);
    stats.admitted += slots.len() as u64;
}

fn offer(first: Slot, scores: &[Score], slots: &[Slot], out: &mut TopK<'_>) {
    for &slot in slots {
        if let Some(&score) = scores.get(slot.0.wrapping_sub(first.0) as usize) {
            out.push(slot, score);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AdmitIf, Budget, BySlot, Estimate, Hit, Scorer};

    /// Scores by a table: any score can be had, the odd ones too.
    struct Table<'a>(&'a [Score]);

    impl Scorer for Table<'_> {
        fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
            for (slot, score) in slots.iter().zip(out) {
                *score = self.0.get(slot.index()).copied().unwrap_or(Score::INFINITY);
            }
            Ok(())
        }
    }

    fn scores() -> impl Strategy<Value = Vec<Score>> {
        let odd = prop::sample::select(vec![f32::INFINITY, f32::NAN, -0.0, 0.0, f32::MAX, -f32::MAX]);
        let score = prop_oneof![1 => odd, 5 => (-20i32..20).prop_map(|n| n as f32 / 4.0), 5 => -1e6f32..1e6];
        // Around one and two runs, where the loop ends and begins.
        let len = prop_oneof![0usize..20, RUN - 2..RUN + 3, 2 * RUN - 1..2 * RUN + 2];
        len.prop_flat_map(move |len| prop::collection::vec(score.clone(), len))
    }

    /// The answer by sorting everything that may be returned.
    fn naive(scores: &[Score], range: (u32, u32), k: usize, every: u32, cap: Score) -> Vec<(u32, u32)> {
        let range = (range.0..range.1).filter(|slot| slot % every == 0);
        let mut hits: Vec<Hit> = range
            .map(|slot| Hit {
                slot: Slot(slot),
                score: scores.get(slot as usize).map_or(f32::NAN, |s| s + 0.0),
            })
            .filter(|hit| hit.score.is_finite() && hit.score <= cap)
            .collect();
        hits.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.slot.cmp(&b.slot)));
        hits.truncate(k);
        bits(&hits)
    }

    fn bits(hits: &[Hit]) -> Vec<(u32, u32)> {
        hits.iter().map(|hit| (hit.slot.0, hit.score.to_bits())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn scans_equal_sorting(
            scores in scores(),
            (first, beyond) in (0u32..30, 0u32..3),
            k in prop_oneof![0usize..6, 100usize..2_000],
            every in 1u32..4,
            (bound, radius) in (prop::option::of(-3.0f32..3.0), prop::option::of(-3.0f32..1e6)),
        ) {
            let end = scores.len() as u32 + beyond;
            let admit = AdmitIf::new(Estimate::unknown(end.into()), |slot: Slot| slot.0.is_multiple_of(every));
            let listed: Vec<Slot> = (first..end).rev().map(Slot).collect();
            let wanted = naive(&scores, (first, end), k, every, bound.unwrap_or(f32::MAX).min(radius.unwrap_or(f32::MAX)));
            let mut scratch = Scratch::new();
            for index in [&Flat::range(Slot(first), Slot(end)) as &dyn VectorIndex, &Among::new(&listed)] {
                let (mut table, budget, mut best) = (Table(&scores), Budget::unlimited(), TopK::new(k, &BySlot));
                let search = Search { bound, radius, ..Search::new(&mut table, &admit, &budget) };
                let stats = index.search(search, &mut scratch, &mut best).unwrap();
                prop_assert_eq!(bits(&best.into_sorted()), wanted.clone());
                prop_assert_eq!(stats.distances, budget.spent());
            }
        }
    }

    #[test]
    fn hits_of_other_parts_raise_the_bar() {
        let scores = [5.0, 1.0, 3.0, 2.0];
        let budget = Budget::unlimited();
        let mut best = TopK::new(2, &BySlot);
        for range in
            [Flat::range(Slot(0), Slot(2)), Flat::range(Slot(2), Slot(4)), Flat::range(Slot(3), Slot(1))]
        {
            let mut table = Table(&scores);
            let search = Search::new(&mut table, &crate::AdmitAll, &budget);
            range.search(search, &mut Scratch::new(), &mut best).unwrap();
        }
        let slots: Vec<u32> = best.into_sorted().iter().map(|hit| hit.slot.0).collect();
        assert_eq!((slots, budget.spent()), (vec![1, 3], 4));
    }
}
