//! The suites of [`Scorer`] and [`BuildScorer`].

use nearfield_types::{Score, Slot};

use super::points::Mix;
use super::{Law, Violation, require};
use crate::{BuildScorer, Scorer, Stopped};

/// Lengths of runs and batches: around the sizes at which implementations switch loops.
const LENGTHS: [usize; 10] = [0, 1, 2, 3, 4, 5, 8, 63, 64, 200];

/// Checks that scores depend on the slot alone: in any order, batch, repetition and call form, and infinity where there is no
/// vector. `scorer` was made for one query over the slots `0..len`, and `expected` says what some slots must score (`None`
/// accepts anything that keeps the contract).
///
/// # Errors
///
/// The first law that is broken.
pub fn check_scorer(
    scorer: &mut dyn Scorer,
    len: u32,
    expected: &dyn Fn(Slot) -> Option<Score>,
) -> Result<(), Violation> {
    let slots: Vec<Slot> = (0..len).map(Slot).collect();
    let mut alone = vec![Score::NAN; slots.len()];
    for (slot, out) in slots.iter().zip(alone.chunks_mut(1)) {
        reported(scorer.score(std::slice::from_ref(slot), out))?;
    }
    for (&slot, &found) in slots.iter().zip(&alone) {
        require(Law::Scores, found.is_finite() || found == Score::INFINITY, || {
            format!("{slot:?} scores {found}")
        })?;
        if let Some(wanted) = expected(slot) {
            require(Law::Scores, same(found, wanted), || format!("{slot:?} scores {found}, not {wanted}"))?;
        }
    }
    let known = Known { alone };
    known.batches(scorer)?;
    known.runs(scorer)
}

/// Checks [`BuildScorer::aim`] over the slots `0..len`: aimed at a slot, `scorer` agrees bit for bit with `fresh(slot)`, the
/// scorer made for the vector of that slot (`None` where it has none), whatever it was aimed at before.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_build_scorer<'s>(
    scorer: &mut dyn BuildScorer,
    len: u32,
    fresh: &dyn Fn(Slot) -> Option<Box<dyn Scorer + 's>>,
) -> Result<(), Violation> {
    let mut mix = Mix(u64::from(len));
    for _ in 0..20.min(len) {
        let target = Slot(mix.below(len));
        scorer.aim(target);
        let mut wanted = vec![Score::INFINITY; len as usize];
        if let Some(mut fresh) = fresh(target) {
            reported(fresh.score_run(Slot(0), &mut wanted))?;
        }
        check_scorer(scorer, len, &|slot| wanted.get(slot.index()).copied())?;
    }
    scorer.aim(Slot(len));
    check_scorer(scorer, len, &|_| Some(Score::INFINITY))
}

/// Scores learnt one by one: the truth for every other way of asking.
struct Known {
    alone: Vec<Score>,
}

impl Known {
    fn of(&self, slot: Slot) -> Score {
        self.alone.get(slot.index()).copied().unwrap_or(Score::INFINITY)
    }

    /// Random slots, repeated ones and some beyond the end among them.
    fn batches(&self, scorer: &mut dyn Scorer) -> Result<(), Violation> {
        let mut mix = Mix(7);
        for length in LENGTHS {
            for _ in 0..4 {
                let end = self.alone.len() as u32 + 2;
                let mut slots: Vec<Slot> = (0..length).map(|_| Slot(mix.below(end))).collect();
                if let [first, .., last] = slots.as_mut_slice() {
                    *last = *first;
                }
                let mut found = vec![Score::NAN; length];
                reported(scorer.score(&slots, &mut found))?;
                self.compare(&slots, &found, "a batch")?;
            }
        }
        let beyond = [Slot(self.alone.len() as u32), Slot(u32::MAX - 1), Slot(u32::MAX)];
        let mut found = [0.0; 3];
        reported(scorer.score(&beyond, &mut found))?;
        self.compare(&beyond, &found, "slots beyond the end")
    }

    /// Runs from everywhere, also across the end.
    fn runs(&self, scorer: &mut dyn Scorer) -> Result<(), Violation> {
        let mut mix = Mix(8);
        let len = self.alone.len() as u32;
        for length in LENGTHS.into_iter().chain([self.alone.len(), self.alone.len() + 3]) {
            for first in [0, 1, mix.below(len + 1), len.saturating_sub(length as u32), len, len + 1] {
                self.run(scorer, first, length)?;
            }
        }
        self.run(scorer, u32::MAX - 2, 2)
    }

    fn run(&self, scorer: &mut dyn Scorer, first: u32, length: usize) -> Result<(), Violation> {
        let slots: Vec<Slot> = (first..).take(length).map(Slot).collect();
        let mut found = vec![Score::NAN; length];
        reported(scorer.score_run(Slot(first), &mut found))?;
        self.compare(&slots, &found, "a run")
    }

    fn compare(&self, slots: &[Slot], found: &[Score], how: &str) -> Result<(), Violation> {
        for (&slot, &score) in slots.iter().zip(found) {
            let law = if slot.index() < self.alone.len() { Law::Scores } else { Law::Absence };
            let wanted = self.of(slot);
            require(law, same(score, wanted), || {
                format!("{slot:?} scores {score} in {how} of {}, {wanted} alone", slots.len())
            })?;
        }
        Ok(())
    }
}

fn same(a: Score, b: Score) -> bool {
    a.to_bits() == b.to_bits()
}

fn reported(result: Result<(), Stopped>) -> Result<(), Violation> {
    result.map_err(|stopped| Violation { law: Law::Failure, detail: format!("{stopped:?} over sound rows") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Points;

    #[test]
    fn the_reference_conforms() {
        let points = Points::clustered(300, 6, 1);
        let query = points.stranger(3);
        let plain = points.scorer(&query);
        check_scorer(&mut points.scorer(&query), 300, &|slot| Some(plain.score_one(slot))).unwrap();
        check_scorer(&mut Points::clustered(0, 6, 1).scorer(&query), 0, &|_| None).unwrap();
        let fresh = |slot| points.row(slot).map(|row| Box::new(points.scorer(row)) as Box<dyn Scorer>);
        check_build_scorer(&mut points.scorer(&query), 300, &fresh).unwrap();
    }

    /// Scores its own slot number, with one fault.
    struct Faulty(&'static str);

    impl Scorer for Faulty {
        fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
            for (at, (slot, score)) in slots.iter().zip(out).enumerate() {
                *score = match (self.0, slot.0) {
                    ("beyond", _) => slot.0 as Score,
                    (_, 100..) => Score::INFINITY,
                    ("tail", _) if at == 4 => 0.5 + slot.0 as Score,
                    ("nan", 7) => Score::NAN,
                    _ => slot.0 as Score,
                };
            }
            Ok(())
        }

        fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
            let slots: Vec<Slot> = (first.0..).take(out.len()).map(Slot).collect();
            let skip = u32::from(self.0 == "shifted");
            let slots: Vec<Slot> = slots.iter().map(|slot| Slot(slot.0 + skip)).collect();
            self.score(&slots, out)
        }
    }

    impl BuildScorer for Faulty {
        fn aim(&mut self, _: Slot) {}
    }

    #[test]
    fn every_fault_is_found_under_its_law() {
        let check = |fault| {
            let expected = |slot: Slot| (slot != Slot(7)).then_some(slot.0 as Score);
            check_scorer(&mut Faulty(fault), 100, &expected).map_err(|violation| violation.law)
        };
        assert_eq!(check("none"), Ok(()));
        assert_eq!(check("beyond"), Err(Law::Absence));
        for fault in ["tail", "nan", "shifted"] {
            assert_eq!(check(fault), Err(Law::Scores), "{fault}");
        }
        let unaimed = check_build_scorer(&mut Faulty("none"), 100, &|_| None);
        assert_eq!(unaimed.map_err(|violation| violation.law), Err(Law::Scores));
    }
}
