//! The suite of [`VectorIndex`].

use std::cmp::Ordering;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use nearfield_types::{Score, Slot};

use super::{Law, Points, Violation, require};
use crate::topk::order;
use crate::{
    Admit, AdmitAll, AdmitIf, Budget, BySlot, DISTANCES_PER_CHECK, Estimate, Hit, Scratch, Search, Stats,
    Stopped, Ties, TopK, VectorIndex, recall,
};

/// The largest batch between two payments, by the contract of [`VectorIndex`].
const BATCH_MAX: u64 = 512;

/// How much of the truth an index finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Promise {
    /// All of it.
    Exact,
    /// At least this share of the ten nearest, averaged over the queries of one data set.
    Recall(f64),
}

/// Checks an index against brute force: order, ties, k of 0 and beyond the end, admission of none, one and many, bound, radius,
/// cancellation, deadline, budget, damage, determinism and the reuse of scratch, on sets of 0 to 3,000 points.
///
/// `build` makes the index over all points of a set; it must not depend on chance.
///
/// # Errors
///
/// The first law that is broken.
///
/// # Complexity
///
/// Less than a second for an exact index in an unoptimised build.
pub fn check_index(
    build: &dyn for<'p> Fn(&'p Points) -> Box<dyn VectorIndex + 'p>,
    promise: Promise,
) -> Result<(), Violation> {
    let sets = [
        Points::clustered(0, 4, 1),
        Points::clustered(1, 4, 2),
        Points::clustered(2, 1, 3),
        Points::equal(700, 3),
        Points::clustered(511, 5, 4),
        Points::clustered(3_000, 8, 5),
    ];
    for points in &sets {
        let index = build(points);
        let suite = Suite { points, index: &*index, promise };
        suite.answers()?;
        suite.interruptions()?;
        suite.failures()?;
    }
    Ok(())
}

/// Later slots first, so that an index which forgets the tie-breaker is seen.
struct Backwards;

impl Ties for Backwards {
    fn compare(&self, a: Slot, b: Slot) -> Ordering {
        b.cmp(&a)
    }
}

/// One question, apart from the machinery to ask it.
struct Ask<'a> {
    query: &'a [f32],
    k: usize,
    admit: &'a dyn Admit,
    ties: &'a dyn Ties,
    bound: Option<Score>,
    radius: Option<Score>,
}

impl Ask<'_> {
    fn describe(&self, points: &Points) -> String {
        let Ask { query, k, bound, radius, .. } = self;
        let (len, admitted) = (points.len(), self.admit.estimate().likely);
        format!(
            "{len} points, query {query:?}, k {k}, {admitted} admitted, bound {bound:?}, radius {radius:?}"
        )
    }
}

struct Answer {
    result: Result<Stats, Stopped>,
    hits: Vec<Hit>,
    scored: u64,
}

struct Suite<'a> {
    points: &'a Points,
    index: &'a dyn VectorIndex,
    promise: Promise,
}

impl Suite<'_> {
    /// Every law about answers that were not interrupted.
    fn answers(&self) -> Result<(), Violation> {
        let mut scratch = Scratch::new();
        let mut recalls = Vec::new();
        for query in self.queries() {
            let ask = self.ask(&query);
            for k in [0, 1, 2, 10, 100, self.points.len() as usize + 1, usize::MAX] {
                for ties in [&BySlot as &dyn Ties, &Backwards] {
                    self.check(&Ask { k, ties, ..ask }, &mut scratch)?;
                }
            }
            recalls.push(self.check(&ask, &mut scratch)?);
            self.admissions(&ask, &mut scratch)?;
            self.caps(&ask, &mut scratch)?;
        }
        let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
        let Promise::Recall(floor) = self.promise else { return Ok(()) };
        require(Law::Completeness, mean >= floor, || {
            format!("recall@10 {mean:.3} over {} points is below {floor}", self.points.len())
        })
    }

    fn queries(&self) -> Vec<Vec<f32>> {
        let stored = [0, 1, self.points.len() / 2].into_iter().filter_map(|slot| self.points.row(Slot(slot)));
        let strangers = (0..5).map(|seed| self.points.stranger(seed));
        stored.map(<[f32]>::to_vec).chain(strangers).collect()
    }

    fn ask<'q>(&self, query: &'q [f32]) -> Ask<'q> {
        Ask { query, k: 10, admit: &AdmitAll, ties: &BySlot, bound: None, radius: None }
    }

    fn admissions(&self, ask: &Ask<'_>, scratch: &mut Scratch) -> Result<(), Violation> {
        let len = u64::from(self.points.len());
        let some = |slot: Slot| slot.0 % 7 == 3;
        let one = Slot(self.points.len() / 3);
        let none = AdmitIf::new(Estimate::exactly(0), |_| false);
        let single = AdmitIf::new(Estimate::exactly(1.min(len)), |slot| slot == one);
        let seventh = AdmitIf::new(Estimate::unknown(len / 7), some);
        let most = AdmitIf::new(Estimate::unknown(len), |slot| !some(slot));
        for admit in [&none as &dyn Admit, &single, &seventh, &most] {
            for k in [1, 10, usize::MAX] {
                self.check(&Ask { k, admit, ..*ask }, scratch)?;
            }
        }
        Ok(())
    }

    fn caps(&self, ask: &Ask<'_>, scratch: &mut Scratch) -> Result<(), Violation> {
        let all = self.truth(&Ask { k: usize::MAX, ..*ask });
        let places = [0, 4, all.len() / 2, all.len().saturating_sub(1)];
        let at: Vec<Score> = places.iter().filter_map(|&place| all.get(place)).map(|hit| hit.score).collect();
        for limit in at.into_iter().chain([-1.0, 0.0]).map(Some) {
            for k in [3, usize::MAX] {
                self.check(&Ask { k, bound: limit, ..*ask }, scratch)?;
                self.check(&Ask { k, radius: limit, ..*ask }, scratch)?;
                self.check(&Ask { k, bound: limit, radius: Some(1.0), ..*ask }, scratch)?;
            }
        }
        Ok(())
    }

    /// Asks twice, with the scratch given and with a fresh one, and checks every law. Returns the recall.
    fn check(&self, ask: &Ask<'_>, scratch: &mut Scratch) -> Result<f64, Violation> {
        let budget = Budget::unlimited();
        let answer = self.run(ask, &budget, scratch);
        let describe = || ask.describe(self.points);
        let stats = match answer.result {
            Ok(stats) => stats,
            Err(stopped) => {
                let detail = format!("{stopped:?} without a reason, {}", describe());
                return Err(Violation { law: Law::Interruption, detail });
            }
        };
        self.sound(ask, &answer.hits)?;
        require(Law::Stats, stats.distances == answer.scored && budget.spent() >= answer.scored, || {
            let spent = budget.spent();
            format!("{stats:?} and {spent} paid for {} scores, {}", answer.scored, describe())
        })?;
        require(Law::Stats, stats.admitted <= stats.tested, || format!("{stats:?}, {}", describe()))?;
        let fresh = self.run(ask, &Budget::unlimited(), &mut Scratch::new());
        require(Law::Determinism, fresh.hits == answer.hits && fresh.result == answer.result, || {
            format!("{:?} with used scratch, {:?} with fresh, {}", answer.hits, fresh.hits, describe())
        })?;
        let truth = self.truth(ask);
        require(Law::Completeness, self.promise != Promise::Exact || answer.hits == truth, || {
            format!("{:?} instead of {truth:?}, {}", answer.hits, describe())
        })?;
        let scores = |hits: &[Hit]| -> Vec<Score> { hits.iter().map(|hit| hit.score).collect() };
        Ok(recall::by_score(&scores(&answer.hits), &scores(&truth), 0.0))
    }

    /// What even an approximate answer must be.
    fn sound(&self, ask: &Ask<'_>, hits: &[Hit]) -> Result<(), Violation> {
        let describe = || format!("{hits:?}, {}", ask.describe(self.points));
        let mut slots: Vec<Slot> = hits.iter().map(|hit| hit.slot).collect();
        require(Law::Order, hits.is_sorted_by(|a, b| order(ask.ties, a, b).is_lt()), describe)?;
        let mut admitted = slots.clone();
        ask.admit.retain(&mut admitted);
        require(Law::Admission, admitted == slots, describe)?;
        slots.sort_unstable();
        let known = slots.iter().all(|&slot| self.points.row(slot).is_some());
        let once = slots.is_sorted_by(|a, b| a < b);
        require(Law::Slots, known && once && slots.len() <= ask.k, describe)?;
        let scorer = self.points.scorer(ask.query);
        require(Law::Scores, hits.iter().all(|hit| scorer.score_one(hit.slot) == hit.score), describe)?;
        let cap = ask.bound.unwrap_or(Score::MAX).min(ask.radius.unwrap_or(Score::MAX));
        require(Law::Cap, hits.iter().all(|hit| hit.score <= cap), describe)
    }

    /// The answer by brute force.
    fn truth(&self, ask: &Ask<'_>) -> Vec<Hit> {
        let scorer = self.points.scorer(ask.query);
        let mut slots: Vec<Slot> = (0..self.points.len()).map(Slot).collect();
        ask.admit.retain(&mut slots);
        let cap = ask.bound.unwrap_or(Score::MAX).min(ask.radius.unwrap_or(Score::MAX));
        let mut hits: Vec<Hit> =
            slots.into_iter().map(|slot| Hit { slot, score: scorer.score_one(slot) }).collect();
        hits.retain(|hit| hit.score <= cap);
        hits.sort_by(|a, b| order(ask.ties, a, b));
        hits.truncate(ask.k);
        hits
    }

    fn run(&self, ask: &Ask<'_>, budget: &Budget<'_>, scratch: &mut Scratch) -> Answer {
        self.run_failing(ask, budget, scratch, u64::MAX)
    }

    /// Runs with a scorer that reports damage after `calls` calls.
    fn run_failing(&self, ask: &Ask<'_>, budget: &Budget<'_>, scratch: &mut Scratch, calls: u64) -> Answer {
        let mut scorer = self.points.scorer(ask.query);
        scorer.calls_left = calls;
        let mut best = TopK::new(ask.k, ask.ties);
        let mut search = Search::new(&mut scorer, ask.admit, budget);
        search.bound = ask.bound;
        search.radius = ask.radius;
        let result = self.index.search(search, scratch, &mut best);
        Answer { result, hits: best.into_sorted(), scored: scorer.scored() }
    }

    /// Cancelled before, cancelled in the middle, and limited to any number of distances.
    fn interruptions(&self) -> Result<(), Violation> {
        let query = self.points.stranger(9);
        let ask = self.ask(&query);
        let mut scratch = Scratch::new();
        let raised = AtomicBool::new(true);
        let budget = Budget::unlimited().with_cancel(&raised);
        let answer = self.run(&ask, &budget, &mut scratch);
        require(Law::Interruption, answer.result == Err(Stopped::Cancelled) && answer.scored == 0, || {
            format!("cancelled before it began, it returned {:?} after {}", answer.result, answer.scored)
        })?;

        let full = self.run(&ask, &Budget::unlimited(), &mut scratch);
        let looks_expected = full.scored / DISTANCES_PER_CHECK;
        for allowed in 0..=looks_expected {
            self.deadline_after(allowed, &ask, &mut scratch)?;
        }
        for max in [0, 1, 100, full.scored / 2, full.scored.saturating_sub(1), full.scored] {
            let budget = Budget::unlimited().with_distances_max(max);
            let answer = self.run(&ask, &budget, &mut scratch);
            let enough = max >= full.scored;
            let right = match answer.result {
                Ok(_) => enough && answer.hits == full.hits,
                Err(stopped) => !enough && stopped == Stopped::Budget,
            };
            require(Law::Budget, right && answer.scored <= max, || {
                let (result, scored) = (answer.result, answer.scored);
                format!("{result:?} after {scored} distances of {max} allowed and {} needed", full.scored)
            })?;
        }
        self.unharmed(&ask, &full, &mut scratch)
    }

    /// The check lets `allowed` looks pass and then refuses.
    fn deadline_after(&self, allowed: u64, ask: &Ask<'_>, scratch: &mut Scratch) -> Result<(), Violation> {
        let looks = AtomicU64::new(0);
        let check = || (looks.fetch_add(1, Relaxed) >= allowed).then_some(Stopped::Deadline);
        let answer = self.run(ask, &Budget::unlimited().with_check(&check), scratch);
        let scored_max = allowed * (DISTANCES_PER_CHECK + BATCH_MAX);
        let stopped = answer.result == Err(Stopped::Deadline);
        require(Law::Interruption, stopped && answer.scored <= scored_max, || {
            let (result, scored) = (answer.result, answer.scored);
            format!("{result:?} after {scored} distances, with a deadline at look {allowed}")
        })
    }

    /// Damage met at any call must be reported, and leave index and scratch usable.
    fn failures(&self) -> Result<(), Violation> {
        let query = self.points.stranger(11);
        let ask = self.ask(&query);
        let mut scratch = Scratch::new();
        let full = self.run(&ask, &Budget::unlimited(), &mut scratch);
        for calls in 0..200 {
            let answer = self.run_failing(&ask, &Budget::unlimited(), &mut scratch, calls);
            match answer.result {
                Err(Stopped::Damaged) => {}
                // As many calls as it takes: then there is no damage, and no more to try.
                Ok(_) if answer.hits == full.hits && answer.scored == full.scored => break,
                result => {
                    let detail = format!("{result:?} where the scorer failed after {calls} calls");
                    return Err(Violation { law: Law::Failure, detail });
                }
            }
        }
        self.unharmed(&ask, &full, &mut scratch)
    }

    fn unharmed(&self, ask: &Ask<'_>, full: &Answer, scratch: &mut Scratch) -> Result<(), Violation> {
        let again = self.run(ask, &Budget::unlimited(), scratch);
        require(Law::Determinism, again.hits == full.hits, || {
            format!("{:?} before, {:?} after an interrupted search", full.hits, again.hits)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Among, Flat, Scorer};

    #[test]
    fn flat_conforms() {
        check_index(&|points| Box::new(Flat::new(points.len())), Promise::Exact).unwrap();
    }

    /// A list of all slots, in an order that is not theirs.
    struct Listed(Vec<Slot>);

    impl VectorIndex for Listed {
        fn search(
            &self,
            search: Search<'_>,
            scratch: &mut Scratch,
            out: &mut TopK<'_>,
        ) -> Result<Stats, Stopped> {
            Among::new(&self.0).search(search, scratch, out)
        }

        fn memory(&self) -> u64 {
            4 * self.0.len() as u64
        }
    }

    #[test]
    fn among_conforms_in_any_order() {
        check_index(&|points| Box::new(Listed((0..points.len()).rev().map(Slot).collect())), Promise::Exact)
            .unwrap();
    }

    /// Where the suite itself is tested: an exact index with one fault.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        MissesTheLast,
        IgnoresAdmission,
        IgnoresBound,
        IgnoresRadius,
        DropsWhatEqualsTheBound,
        ForgetsToCheckAtTheStart,
        PaysForAllAtOnce,
        PaysAfterwards,
        NeverPays,
        HidesDamage,
        OffersTwice,
        OwnScores,
        MiscountsDistances,
        LeavesCandidatesInTheScratch,
    }

    struct Faulty {
        fault: Fault,
        len: u32,
    }

    impl VectorIndex for Faulty {
        fn search(
            &self,
            search: Search<'_>,
            scratch: &mut Scratch,
            out: &mut TopK<'_>,
        ) -> Result<Stats, Stopped> {
            let is = |fault| self.fault == fault;
            if !is(Fault::ForgetsToCheckAtTheStart) {
                search.budget.check()?;
            }
            let bound = if is(Fault::IgnoresBound) { None } else { search.bound };
            let radius = if is(Fault::IgnoresRadius) { None } else { search.radius };
            let cap = bound.unwrap_or(f32::MAX).min(radius.unwrap_or(f32::MAX));
            let end = self.len.saturating_sub(u32::from(is(Fault::MissesTheLast)));
            let mut stats = Stats::default();
            let old: &mut Vec<Hit> = scratch.state();
            if out.k() == 0 {
                return Ok(stats);
            }
            if is(Fault::LeavesCandidatesInTheScratch) {
                old.drain(..).for_each(|hit| {
                    out.push(hit.slot, hit.score);
                });
            }
            if is(Fault::PaysForAllAtOnce) {
                search.budget.spend(u64::from(end))?;
            }
            for slot in (0..end).map(Slot) {
                if !is(Fault::PaysForAllAtOnce) && !is(Fault::PaysAfterwards) && !is(Fault::NeverPays) {
                    search.budget.spend(1)?;
                }
                let mut score = [0.0];
                match search.scorer.score(&[slot], &mut score) {
                    Err(_) if is(Fault::HidesDamage) => {}
                    scored => scored?,
                }
                stats.distances += 1 + u64::from(is(Fault::MiscountsDistances));
                let mut one = vec![slot];
                search.admit.retain(&mut one);
                if one.is_empty() && !is(Fault::IgnoresAdmission) {
                    continue;
                }
                let score = score[0] + if is(Fault::OwnScores) { 0.25 } else { 0.0 };
                if score < cap || (score == cap && !is(Fault::DropsWhatEqualsTheBound)) {
                    out.push(slot, score);
                    old.push(Hit { slot, score });
                    if is(Fault::OffersTwice) {
                        out.push(slot, score);
                    }
                }
            }
            if is(Fault::PaysAfterwards) {
                search.budget.spend(u64::from(end))?;
            }
            Ok(stats)
        }

        fn memory(&self) -> u64 {
            0
        }
    }

    #[test]
    fn every_fault_is_found_under_its_law() {
        for (fault, law) in [
            (Fault::MissesTheLast, Law::Completeness),
            (Fault::IgnoresAdmission, Law::Admission),
            (Fault::IgnoresBound, Law::Cap),
            (Fault::IgnoresRadius, Law::Cap),
            (Fault::DropsWhatEqualsTheBound, Law::Completeness),
            (Fault::ForgetsToCheckAtTheStart, Law::Interruption),
            (Fault::PaysForAllAtOnce, Law::Interruption),
            (Fault::PaysAfterwards, Law::Budget),
            (Fault::NeverPays, Law::Stats),
            (Fault::HidesDamage, Law::Failure),
            (Fault::OffersTwice, Law::Order),
            (Fault::OwnScores, Law::Scores),
            (Fault::MiscountsDistances, Law::Stats),
            (Fault::LeavesCandidatesInTheScratch, Law::Order),
        ] {
            let found = check_index(&|points| Box::new(Faulty { fault, len: points.len() }), Promise::Exact);
            assert_eq!(found.map_err(|violation| violation.law), Err(law), "{fault:?}");
        }
    }

    #[test]
    fn an_approximate_index_is_held_to_its_recall() {
        fn half(points: &Points) -> Box<dyn VectorIndex + '_> {
            Box::new(Flat::new(points.len() / 2))
        }
        assert_eq!(check_index(&half, Promise::Recall(0.1)).map_err(|v| v.law), Err(Law::Completeness));
        assert_eq!(check_index(&half, Promise::Recall(0.0)), Ok(()));
    }

    #[test]
    fn points_answer_beyond_their_end() {
        let points = Points::clustered(3, 2, 0);
        let mut out = [0.0; 2];
        points.scorer(&[0.0, 0.0]).score(&[Slot(3), Slot(u32::MAX)], &mut out).unwrap();
        assert_eq!(out, [f32::INFINITY; 2]);
    }
}
