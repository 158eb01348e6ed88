//! The choice of neighbours: of many candidates, those few that lead everywhere.
//!
//! The rule is the occlusion rule of HNSW (algorithm 4 of Malkov and Yashunin) with the slack of Vamana (Subramanya et al. 2019):
//! walking from near to far, a candidate is left out if one already chosen is nearer to it than the point itself is, `alpha`
//! times over. A first round uses no slack, later ones allow up to `alpha`, so that short rows are filled by the next best.
//!
//! It refuses to know the graph: it is a function of candidates and a judge of distances. Distances between vectors whose scores
//! are negative inner products follow from these and the squared lengths: `|a - b|^2 = |a|^2 + |b|^2 - 2 <a, b>`. A distance that
//! is not positive leaves no room for slack: then the plain rule is used.

use nearfield_ann::{BuildScorer, Stopped};
use nearfield_types::{Score, Slot};

use crate::params::{Geometry, Params};

/// A candidate and its distance to the point whose row is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) slot: u32,
    pub(crate) score: Score,
    /// Its squared length, where scores are products; else 0.
    pub(crate) square: f32,
}

/// The distance of two vectors from their score and squared lengths; the score itself where they are 0.
#[inline]
pub(crate) fn distance(geometry: Geometry, score: Score, a: f32, b: f32) -> Score {
    match geometry {
        Geometry::Distance => score,
        Geometry::Product => (a + b + 2.0 * score).max(0.0),
    }
}

/// Working memory of choices.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// How strongly each candidate is occluded: below 1 not at all, `TAKEN` once it is chosen.
    occlusion: Vec<f32>,
    open: Vec<Slot>,
    at: Vec<u32>,
    scores: Vec<Score>,
    /// The chosen ones, nearest first within a round.
    pub(crate) chosen: Vec<u32>,
}

const TAKEN: f32 = f32::INFINITY;
/// Occluded beyond any slack.
const HIDDEN: f32 = f32::MAX;

impl Selection {
    /// Chooses at most `count` of `candidates`, which ascend by (score, slot) and do not repeat, into `chosen`.
    pub(crate) fn choose(
        &mut self,
        candidates: &[Candidate],
        count: usize,
        params: Params,
        judge: &mut dyn BuildScorer,
    ) -> Result<(), Stopped> {
        let alpha = params.alpha();
        self.chosen.clear();
        self.occlusion.clear();
        self.occlusion.resize(candidates.len(), 0.0);
        for slack in [1.0, alpha] {
            for at in 0..candidates.len() {
                if self.chosen.len() == count {
                    return Ok(());
                }
                if self.occlusion[at] > slack || self.occlusion[at] == TAKEN {
                    continue;
                }
                self.occlusion[at] = TAKEN;
                self.chosen.push(candidates[at].slot);
                if self.chosen.len() < count {
                    self.occlude(candidates, at, params, judge)?;
                }
            }
            if alpha <= slack {
                break;
            }
        }
        Ok(())
    }

    /// Notes what the candidate at `by` occludes among those behind it.
    fn occlude(
        &mut self,
        candidates: &[Candidate],
        by: usize,
        params: Params,
        judge: &mut dyn BuildScorer,
    ) -> Result<(), Stopped> {
        self.open.clear();
        self.at.clear();
        for (at, candidate) in candidates.iter().enumerate().skip(by + 1) {
            if self.occlusion[at] <= params.alpha() {
                self.open.push(Slot(candidate.slot));
                self.at.push(at as u32);
            }
        }
        if self.open.is_empty() {
            return Ok(());
        }
        self.scores.resize(self.open.len(), 0.0);
        judge.aim(Slot(candidates[by].slot));
        for (open, scores) in self.open.chunks(512).zip(self.scores.chunks_mut(512)) {
            judge.score(open, scores)?;
        }
        for (&at, &between) in self.at.iter().zip(&self.scores) {
            let (occlusion, candidate) = (&mut self.occlusion[at as usize], &candidates[at as usize]);
            let between = distance(params.geometry(), between, candidates[by].square, candidate.square);
            *occlusion = occlusion.max(occluded(candidate.score, between));
        }
        Ok(())
    }
}

/// How many times farther the point is than the chosen one; more than 1 occludes.
fn occluded(point: Score, between: Score) -> f32 {
    if between > 0.0 {
        return (point / between).min(HIDDEN);
    }
    // Equal, or not a distance: no slack.
    if between <= point { HIDDEN } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use nearfield_ann::conformance::Points;

    use super::*;

    /// Points on a line, the first being the one whose row is chosen.
    fn choose(places: &[f32], count: usize, alpha: f32) -> Vec<u32> {
        let points = Points::from_rows(1, places.to_vec());
        let mut judge = points.scorer(&[0.0]);
        let mut candidates: Vec<Candidate> = (1..places.len() as u32)
            .map(|slot| Candidate { slot, score: (places[slot as usize] - places[0]).powi(2), square: 0.0 })
            .collect();
        candidates.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.slot.cmp(&b.slot)));
        let mut selection = Selection::default();
        let params = Params::new(8, 10).unwrap().with_alpha(alpha).unwrap();
        selection.choose(&candidates, count, params, &mut judge).unwrap();
        selection.chosen
    }

    #[test]
    fn on_a_line_one_neighbour_on_each_side_remains() {
        assert_eq!(choose(&[0.0, 1.0, 2.0, 3.0, -1.5, -2.0], 8, 1.0), [1, 4]);
    }

    #[test]
    fn the_count_is_kept() {
        assert_eq!(choose(&[0.0, 1.0, -1.5, 2.0], 1, 1.2), [1]);
        assert_eq!(choose(&[0.0, 1.0], 0, 1.2), []);
    }

    #[test]
    fn slack_fills_the_row_with_the_next_best() {
        // 4 lies 16 from the point and 9 from the one chosen (1): occluded 1.78 times.
        assert_eq!(choose(&[0.0, 1.0, 4.0], 8, 1.0), [1]);
        assert_eq!(choose(&[0.0, 1.0, 4.0], 8, 2.0), [1, 2]);
    }

    #[test]
    fn what_equals_a_chosen_one_is_occluded() {
        assert_eq!(choose(&[0.0, 1.0, 1.0, 1.0, -2.0], 8, 2.0), [1, 4]);
    }

    #[test]
    fn scores_below_zero_follow_the_plain_rule() {
        assert_eq!((occluded(-1.0, -2.0), occluded(-2.0, -1.0)), (HIDDEN, 0.0));
        assert_eq!((occluded(0.0, 0.0), occluded(3.0, 1.5)), (HIDDEN, 2.0));
    }
}
