//! Linking a node: find its neighbourhood, choose neighbours, let them know.
//!
//! It refuses to decide when: callers link slots as they come, one after another or from many threads.

use std::ops::RangeInclusive;

use nearfield_ann::{Budget, Stopped};
use nearfield_types::{Score, Slot};

use crate::graph::{Graph, Scorers};
use crate::links::Links;
use crate::params::Geometry;
use crate::pool::slot_of;
use crate::search::approach;
use crate::select::{Candidate, Selection, distance};
use crate::walk::{BATCH_MAX, Plan, Walk};

/// Candidates that are judged when neighbours are chosen: more find no better ones.
const CANDIDATES_MAX: usize = 128;
/// Nearest candidates that are looked at for an equal vector.
pub(crate) const TWINS_MAX: usize = 8;

/// Working memory of one linking thread, kept from one node to the next.
#[derive(Debug, Default)]
pub struct Linker {
    pub(crate) walk: Walk,
    pub(crate) selection: Selection,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) slots: Vec<Slot>,
    scores: Vec<Score>,
    pub(crate) row: Vec<u32>,
    /// The neighbours chosen on each level, level 0 first.
    chosen: Vec<Vec<u32>>,
}

impl Linker {
    /// Without memory yet.
    pub fn new() -> Linker {
        Linker::default()
    }

    /// The neighbours chosen on `level`.
    pub(crate) fn take_chosen(&mut self, level: u32) -> Vec<u32> {
        self.chosen.get_mut(level as usize).map(std::mem::take).unwrap_or_default()
    }
}

impl Graph {
    /// Links `slot`, which has a vector and is not linked yet. It can be found as soon as this returns.
    ///
    /// # Errors
    ///
    /// What a scorer returned; then the slot may be linked in part, and linking it again is allowed.
    ///
    /// # Complexity
    ///
    /// About `ef_construction * m` scores of `walk`, and a few hundred of `judge`.
    ///
    /// ```
    /// use nearfield_ann::conformance::Points;
    /// use nearfield_ann::{AdmitAll, Budget, BySlot, Scratch, Search, TopK, VectorIndex};
    /// use nearfield_hnsw::{Graph, Linker, Params, Scorers};
    /// use nearfield_types::Slot;
    ///
    /// let points = Points::clustered(500, 8, 1);
    /// let graph = Graph::new(Params::new(8, 60)?);
    /// let (mut walk, mut judge) = (points.scorer(&[0.0; 8]), points.scorer(&[0.0; 8]));
    /// let same = |a, b| points.row(a) == points.row(b);
    /// let mut linker = Linker::new();
    /// for slot in (0..500).map(Slot) {
    ///     graph.link(slot, &mut Scorers { walk: &mut walk, judge: &mut judge, same: &same }, &mut linker)?;
    /// }
    /// let mut query = points.scorer(points.row(Slot(77)).unwrap());
    /// let (budget, mut best) = (Budget::unlimited(), TopK::new(5, &BySlot));
    /// graph.search(Search::new(&mut query, &AdmitAll, &budget), &mut Scratch::new(), &mut best)?;
    /// assert_eq!(best.into_sorted()[0].score, 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn link(&self, slot: Slot, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<(), Stopped> {
        let level = self.rows.level(slot.0);
        self.publish(slot.0);
        self.measure(slot.0, scorers)?;
        if self.entry(0).is_none() && self.found(slot.0, level) {
            self.count_linked();
            return Ok(());
        }
        if let Some(head) = self.gather_between(slot.0, 0..=level, true, scorers, linker)? {
            self.chain(head, slot.0);
            self.count_linked();
            return Ok(());
        }
        for level in 0..linker.chosen.len() as u32 {
            let chosen = linker.take_chosen(level);
            self.connect(slot.0, level, &chosen, scorers, linker)?;
            linker.chosen[level as usize] = chosen;
        }
        self.raise(slot.0, level);
        self.count_linked();
        Ok(())
    }

    /// Chooses neighbours for `slot` on level 0; what they were chosen from is in `linker.candidates`.
    pub(crate) fn gather(
        &self,
        slot: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        self.gather_between(slot, 0..=0, false, scorers, linker).map(|_| ())
    }

    /// Chooses neighbours for `slot` on the levels 1 to `level`, into `linker.chosen`.
    pub(crate) fn gather_above(
        &self,
        slot: u32,
        level: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        self.gather_between(slot, 1..=level, false, scorers, linker).map(|_| ())
    }

    /// Chooses neighbours for `slot` on `levels`, into `linker.chosen`; or returns the node with the same vector, where one is
    /// looked for and found.
    fn gather_between(
        &self,
        slot: u32,
        levels: RangeInclusive<u32>,
        looks_for_twin: bool,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<Option<u32>, Stopped> {
        let budget = Budget::unlimited();
        let params = self.params();
        let ef = params.ef_construction() as usize;
        let highest = (*levels.end()).min(self.top());
        linker.chosen.resize(highest as usize + 1, Vec::new());
        scorers.walk.aim(Slot(slot));
        linker.walk.begin(Links::len(self));
        linker.walk.hide(slot);
        let plan = |level| Plan {
            level,
            ef,
            frontier: ef,
            margin: None,
            admit: None,
            budget: &budget,
            cap: Score::MAX,
        };
        approach(&mut linker.walk, self, scorers.walk, highest, &budget)?;
        for level in (*levels.start()..=highest).rev() {
            if level < highest {
                linker.walk.descend(ef);
                linker.walk.hide(slot);
            }
            linker.walk.enter(self, [].into_iter(), scorers.walk, &plan(level))?;
            linker.walk.run(self, scorers.walk, &plan(level))?;
            if level == 0 && looks_for_twin {
                let nearest = linker.walk.frontier.keys().iter().take(TWINS_MAX).map(|&key| slot_of(key));
                let twin =
                    nearest.filter(|&twin| twin != slot).find(|&twin| (scorers.same)(Slot(slot), Slot(twin)));
                if twin.is_some() {
                    return Ok(twin);
                }
            }
            linker.slots.clear();
            let found = linker.walk.frontier.keys().iter().map(|&key| Slot(slot_of(key)));
            linker.slots.extend(found.filter(|found| found.0 != slot).take(CANDIDATES_MAX));
            self.judge(slot, scorers, linker)?;
            let Linker { selection, candidates, .. } = linker;
            selection.choose(candidates, params.m() as usize, params, scorers.judge)?;
            linker.chosen[level as usize].clone_from(&linker.selection.chosen);
        }
        Ok(None)
    }

    /// Notes the squared length of `slot`, where scores are products.
    pub(crate) fn measure(&self, slot: u32, scorers: &mut Scorers<'_>) -> Result<(), Stopped> {
        if self.params().geometry() == Geometry::Product {
            let mut product = [0.0];
            scorers.judge.aim(Slot(slot));
            scorers.judge.score(&[Slot(slot)], &mut product)?;
            self.rows.set_square(slot, -product[0]);
        }
        Ok(())
    }

    /// Turns `linker.slots` into candidates for `slot`, nearest first.
    pub(crate) fn judge(
        &self,
        slot: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        let Linker { slots, scores, candidates, .. } = linker;
        scores.resize(slots.len(), 0.0);
        scorers.judge.aim(Slot(slot));
        for (slots, scores) in slots.chunks(BATCH_MAX).zip(scores.chunks_mut(BATCH_MAX)) {
            scorers.judge.score(slots, scores)?;
        }
        candidates.clear();
        let scored = slots.iter().zip(scores.iter());
        let scored = scored.filter(|(_, score)| score.is_finite());
        let (geometry, own) = (self.params().geometry(), self.rows.square(slot));
        candidates.extend(scored.map(|(slot, &score)| {
            let square = self.rows.square(slot.0);
            Candidate { slot: slot.0, score: distance(geometry, score, own, square), square }
        }));
        candidates.sort_unstable_by(|a, b| a.score.total_cmp(&b.score).then(a.slot.cmp(&b.slot)));
        Ok(())
    }

    /// Writes the row of `slot` and adds `slot` to the rows of those in it.
    pub(crate) fn connect(
        &self,
        slot: u32,
        level: u32,
        chosen: &[u32],
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        {
            let _guard = self.stripe(slot);
            self.rows.write(slot, level, chosen);
        }
        for &neighbour in chosen {
            self.add(neighbour, level, slot, scorers, linker)?;
        }
        Ok(())
    }

    /// Adds `slot` to the row of `to`; where that is full, chooses anew among its neighbours and `slot`.
    ///
    /// A row that overflows is cut to three quarters, so that the next few additions only append.
    fn add(
        &self,
        to: u32,
        level: u32,
        slot: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        let _guard = self.stripe(to);
        self.rows.read(to, level, &mut linker.row);
        if linker.row.contains(&slot) {
            return Ok(());
        }
        linker.row.push(slot);
        let width = self.rows.width(level);
        if linker.row.len() <= width {
            self.rows.write(to, level, &linker.row);
            return Ok(());
        }
        linker.slots.clear();
        linker.slots.extend(linker.row.iter().map(|&slot| Slot(slot)));
        self.judge(to, scorers, linker)?;
        let Linker { selection, candidates, .. } = linker;
        selection.choose(candidates, width * 3 / 4, self.params(), scorers.judge)?;
        self.rows.write(to, level, &selection.chosen);
        Ok(())
    }
}
