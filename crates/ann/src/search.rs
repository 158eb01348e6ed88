//! What an index is asked and what it answers.
//!
//! It refuses to hold a query: the scorer has it.

use std::fmt;
use std::ops::AddAssign;

use nearfield_types::{Score, Slot};

use crate::{Admit, Budget, Scorer, Scratch, Stopped, TopK};

/// Finds the closest slots by asking a scorer.
///
/// # Contract
///
/// * `out` receives admitted slots of this index, each at most once, with the score the scorer gave it. An exact index
///   offers every one that could be among the best; an approximate one as many as its effort allows.
/// * Nothing with a score above `bound` or `radius` is offered; what is equal stays. Neither limits what a walk explores.
/// * `out` may already hold hits of other parts: they only raise the bar.
/// * The budget is checked at the start and paid before every batch of distances. After an error `out` holds some of the
///   candidates and is no answer; the index and the scratch are as good as before.
/// * The same index, query, admission and limits give the same answer, whatever the scratch was used for before.
/// * With `k = 0`, or without slots, the answer is empty and no distance is computed.
///
/// # Complexity
///
/// The index says so. One virtual call to the scorer per batch of 16 to 512 slots; nothing is allocated per call once the
/// scratch is warm.
///
/// # Concurrency
///
/// Any number of threads may search one index, each with its own scorer, scratch and top-k.
///
/// The conformance suite is [`conformance::check_index`](crate::conformance::check_index).
pub trait VectorIndex: Send + Sync {
    /// Offers the closest slots to `out` and counts the work.
    ///
    /// # Errors
    ///
    /// Why the search stopped without an answer.
    fn search(&self, search: Search<'_>, scratch: &mut Scratch, out: &mut TopK<'_>)
    -> Result<Stats, Stopped>;

    /// Bytes of memory this index holds.
    fn memory(&self) -> u64;
}

/// One question to an index.
pub struct Search<'a> {
    /// Scores slots against the query.
    pub scorer: &'a mut dyn Scorer,
    /// Which slots may be returned.
    pub admit: &'a dyn Admit,
    /// How hard to look. Exact indexes always look at everything.
    pub effort: Effort,
    /// How much work is allowed.
    pub budget: &'a Budget<'a>,
    /// Slots known to be near, where a walk may start. Exact indexes need none.
    pub seeds: &'a [Slot],
    /// The k-th exact score found elsewhere: nothing above it is a result, and a converged walk may end there.
    pub bound: Option<Score>,
    /// The farthest score the caller asked for.
    pub radius: Option<Score>,
}

impl<'a> Search<'a> {
    /// A question with default effort and without seeds, bound and radius; set the fields for those.
    pub fn new(scorer: &'a mut dyn Scorer, admit: &'a dyn Admit, budget: &'a Budget<'a>) -> Self {
        Search { scorer, admit, effort: Effort::default(), budget, seeds: &[], bound: None, radius: None }
    }

    /// The largest score that may be a result: the smaller of bound and radius. NaN limits nothing.
    pub fn cap(&self) -> Score {
        [self.bound, self.radius].into_iter().flatten().fold(Score::MAX, Score::min)
    }
}

impl fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("admit", &self.admit.estimate())
            .field("effort", &self.effort)
            .field("budget", &self.budget)
            .field("seeds", &self.seeds)
            .field("bound", &self.bound)
            .field("radius", &self.radius)
            .finish_non_exhaustive()
    }
}

/// How hard an approximate index looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Effort {
    /// What the index thinks right for the number of results.
    #[default]
    Auto,
    /// How many of the best candidates a walk keeps open, known as `ef`. More finds more and takes longer.
    Breadth(u32),
    /// How far beyond the results found so far a walk looks.
    Margin(Margin),
}

/// A walk that ends by distance rather than by a count: once `rank` results are known, a candidate is expanded only while its score
/// is at most
///
/// ```text
/// worst + max(share * (worst - floor), slack)        worst: the score of the result at `rank`
/// ```
///
/// An easy query ends early and a hard one goes on, so the same mean recall costs fewer distances than a fixed breadth does: the rule
/// of *Distance Adaptive Beam Search* (2505.15636).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// Which result the margin is measured from, counted from 1; normally the number of results wanted.
    pub rank: u32,
    /// The width of the margin, as a share of the way from `floor` to that result. Not negative.
    pub share: f32,
    /// The lowest score there can be: 0 for distances.
    pub floor: Score,
    /// The least width: how far scores may be off, where they are estimates. Not negative.
    pub slack: Score,
    /// The most candidates a walk keeps, whatever the margin.
    pub breadth: u32,
}

impl Margin {
    /// The highest score that is still looked at, where the result at `rank` has the score `worst`.
    pub fn limit(&self, worst: Score) -> Score {
        worst + (self.share * (worst - self.floor)).max(self.slack)
    }

    /// The margin of a walk of whose candidates only this part is admitted.
    #[must_use]
    pub fn admitting(self, part: f32) -> Margin {
        Margin { share: self.share * part.sqrt(), ..self }
    }
}

/// The work of one search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Scores computed.
    pub distances: u64,
    /// Nodes expanded by a walk; 0 for a scan.
    pub hops: u64,
    /// Slots whose admission was asked for.
    pub tested: u64,
    /// Slots of these that were admitted.
    pub admitted: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.distances += other.distances;
        self.hops += other.hops;
        self.tested += other.tested;
        self.admitted += other.admitted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_reaches_beyond_the_result_and_never_before_it() {
        let margin = |floor| Margin { rank: 10, share: 0.5, floor, slack: 0.125, breadth: 64 };
        assert_eq!((margin(0.0).limit(2.0), margin(-4.0).limit(-2.0)), (3.0, -1.0));
        // Estimates of distances near 0, and of products beyond the longest row.
        assert_eq!((margin(0.0).limit(-0.25), margin(-4.0).limit(-6.0)), (-0.125, -5.875));
    }
}
