//! The walk: best-first search over links and a scorer, the loop everything else in this crate calls.
//!
//! # The loop
//!
//! ```text
//! pool = entry points, scored
//! while the pool has open candidates:
//!     close the best one and take its neighbours that were not visited
//!     score them; those better than the worst of a full pool enter it
//! the pool is the answer
//! ```
//!
//! The real loop adds, in this order:
//!
//! 1. **Rounds.** The two best open candidates are expanded at once, so that one call scores 20 to 60 slots and the memory system
//!    always has something to fetch.
//! 2. **No unpredictable branch per neighbour.** A slot is appended to the batch whether it is new or not, and the length grows by
//!    one bit. Empty places and slots beyond the captured length fall onto a bit that is always set.
//! 3. **One list for two purposes.** Visited slots are appended to one list; its tail is the batch, and at the next search the whole
//!    of it says which bits to clear.
//! 4. **Merging.** What survives the threshold is sorted and merged into the pool in one pass, and the rows of the best survivors
//!    are prefetched, for they are likely next.
//! 5. **Margin.** Where the plan has one, candidates too far beyond the results found so far neither enter the pool nor are expanded.
//! 6. **Admission.** Where not everything is admitted, the pool is only the frontier; admitted slots are collected in a pool of
//!    their own, whose worst ends the walk. What is not admitted is walked through.
//!
//! It refuses to know vectors, how rows are stored and what becomes of the results.

use nearfield_ann::{Admit, Budget, Margin, Scorer, Stats, Stopped};
use nearfield_types::{Score, Slot};

use crate::links::Links;
use crate::pool::{Key, Pool, SLOT_MAX, key, score_of, slot_of};

/// Candidates expanded in one round.
const NODES_PER_ROUND: usize = 2;
/// Open candidates whose rows are asked for after a round: the next round expands two of them unless it is given better ones.
const ROWS_AHEAD: usize = 4;
/// Largest batch handed to a scorer.
pub(crate) const BATCH_MAX: usize = 512;

/// What one walk over one level is told.
pub(crate) struct Plan<'a> {
    pub(crate) level: u32,
    /// Admitted candidates to keep.
    pub(crate) ef: usize,
    /// Candidates the frontier keeps; the same as `ef` where everything is admitted.
    pub(crate) frontier: usize,
    /// How far beyond the results found so far it looks; `None` as far as `ef` goes.
    pub(crate) margin: Option<Margin>,
    /// Which slots may be results; `None` admits all.
    pub(crate) admit: Option<&'a dyn Admit>,
    pub(crate) budget: &'a Budget<'a>,
    /// A full pool whose best open candidate is farther has converged.
    pub(crate) cap: Score,
}

/// Working memory of walks, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// One bit per slot below `len`, and the bit `len`, which is always set.
    visited: Vec<u64>,
    len: u32,
    /// Every slot whose bit was set, in the order of meeting: the first `met` of it; the rest is room.
    seen: Vec<Slot>,
    met: usize,
    scores: Vec<Score>,
    fresh: Vec<Key>,
    /// What admission is asked for: as keys and as slots.
    offered: Vec<Key>,
    asked: Vec<Slot>,
    pub(crate) frontier: Pool,
    /// The admitted candidates, where not everything is admitted.
    admitted: Pool,
    is_filtered: bool,
    /// Candidates expanded on level 0, for a walk that goes on later.
    expanded: Vec<u32>,
    pub(crate) stats: Stats,
}

impl Walk {
    /// The length of the graph that was captured when the walk began.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Forgets the last walk. `len` is the captured length of the graph.
    pub(crate) fn begin(&mut self, len: u32) {
        self.unsee();
        let words = len as usize / 64 + 1;
        if self.len != len || self.visited.len() < words {
            self.visited.resize(words.max(self.visited.len()), 0);
            self.set_end(false);
            self.len = len;
            self.set_end(true);
        }
        self.stats = Stats::default();
        self.is_filtered = false;
        self.frontier.reset(0);
        self.admitted.reset(0);
    }

    fn set_end(&mut self, set: bool) {
        let (word, bit) = (self.len as usize / 64, 1u64 << (self.len % 64));
        if let Some(word) = self.visited.get_mut(word) {
            *word = if set { *word | bit } else { *word & !bit };
        }
    }

    /// Clears every bit that a walk has set.
    fn unsee(&mut self) {
        for slot in &self.seen[..self.met] {
            // Whole words: whatever else is set in one was set by the same walk, the end bit excepted.
            self.visited[slot.index() / 64] = 0;
        }
        self.met = 0;
        self.set_end(true);
        self.expanded.clear();
    }

    /// Marks a slot as visited without scoring it.
    pub(crate) fn hide(&mut self, slot: u32) {
        self.make_room(1);
        self.meet(slot);
    }

    /// Makes room for meeting `count` more slots.
    #[inline]
    fn make_room(&mut self, count: usize) {
        let needed = self.met + count;
        if self.seen.len() < needed {
            self.seen.resize(needed.next_power_of_two(), Slot(0));
        }
    }

    /// Appends `slot` to the seen list, if it was not met before and lies below the length. There is room for it.
    #[inline(always)]
    fn meet(&mut self, slot: u32) {
        let at = slot.min(self.len);
        let word = &mut self.visited[at as usize / 64];
        let old = *word >> (at % 64) & 1;
        *word |= 1 << (at % 64);
        self.seen[self.met] = Slot(at);
        self.met += 1 - old as usize;
    }

    /// Meets every neighbour of `slot`.
    #[inline]
    fn meet_neighbours<L: Links>(&mut self, links: &L, slot: u32, level: u32) {
        self.make_room(links.width(level) + 1);
        // As `meet`, with everything that stays the same in registers.
        let (len, visited) = (self.len, &mut self.visited[..]);
        let (list, mut count) = (&mut self.seen[self.met..], 0);
        links.neighbours(slot, level, |neighbour| {
            let at = neighbour.min(len);
            let word = &mut visited[at as usize / 64];
            let bit = 1 << (at % 64);
            list[count] = Slot(at);
            count += usize::from(*word & bit == 0);
            *word |= bit;
        });
        self.met += count;
    }

    /// Begins a level: the best candidates of the level above, at most `cap`, are where it starts.
    pub(crate) fn descend(&mut self, cap: usize) {
        self.unsee();
        self.frontier.reopen(cap);
        self.make_room(self.frontier.keys().len() + 1);
        for at in 0..self.frontier.keys().len() {
            self.meet(slot_of(self.frontier.keys()[at]));
        }
    }

    /// Sets the caps of `plan` and takes in `slots`, scored, beside the candidates already there.
    pub(crate) fn enter<L: Links>(
        &mut self,
        links: &L,
        slots: impl Iterator<Item = u32>,
        scorer: &mut dyn Scorer,
        plan: &Plan<'_>,
    ) -> Result<(), Stopped> {
        self.frontier.reopen(plan.frontier);
        self.is_filtered = plan.admit.is_some();
        self.admitted.reset(if self.is_filtered { plan.ef } else { 0 });
        if let Some(admit) = plan.admit {
            self.fresh.clear();
            self.fresh.extend_from_slice(self.frontier.keys());
            self.admit(links, admit);
        }
        let from = self.met;
        for slot in slots {
            self.make_room(1);
            self.meet(slot);
        }
        self.take_in(links, from, scorer, plan)
    }

    /// Walks until no open candidate is left, or none that could still matter.
    pub(crate) fn run<L: Links>(
        &mut self,
        links: &L,
        scorer: &mut dyn Scorer,
        plan: &Plan<'_>,
    ) -> Result<(), Stopped> {
        while let Some(batch) = self.expand(links, plan) {
            self.absorb(links, batch, scorer, plan)?;
        }
        Ok(())
    }

    /// The first half of a round: closes the best open candidates and meets their neighbours. Returns where these begin in the
    /// list of what was seen; `None` at the end of the walk.
    #[inline]
    pub(crate) fn expand<L: Links>(&mut self, links: &L, plan: &Plan<'_>) -> Option<usize> {
        while let Some(best) = self.frontier.best_open() {
            if self.has_converged(best, plan) {
                return None;
            }
            let from = self.met;
            for _ in 0..NODES_PER_ROUND {
                let Some(slot) = self.frontier.take() else { break };
                self.stats.hops += 1;
                if plan.level == 0 {
                    self.expanded.push(slot);
                }
                self.meet_neighbours(links, slot, plan.level);
            }
            if self.met > from {
                return Some(from);
            }
        }
        None
    }

    /// What was met from `batch` on.
    pub(crate) fn met_since(&self, batch: usize) -> &[Slot] {
        &self.seen[batch..self.met]
    }

    /// The second half: scores what was met, keeps what is good enough and asks for the rows of the best of it.
    #[inline]
    pub(crate) fn absorb<L: Links>(
        &mut self,
        links: &L,
        batch: usize,
        scorer: &mut dyn Scorer,
        plan: &Plan<'_>,
    ) -> Result<(), Stopped> {
        self.take_in(links, batch, scorer, plan)?;
        if plan.level == 0 {
            for slot in self.frontier.next_open(ROWS_AHEAD) {
                links.prefetch(slot);
            }
        }
        Ok(())
    }

    /// True if nothing that an expansion of `best` leads to is likely to be a result.
    fn has_converged(&self, best: Key, plan: &Plan<'_>) -> bool {
        let results = self.results();
        best >= self.margin(plan)
            || results.is_full() && (best > results.limit() || score_of(best) > plan.cap)
    }

    fn results(&self) -> &Pool {
        if self.is_filtered { &self.admitted } else { &self.frontier }
    }

    /// Keys from this one on lie beyond the margin.
    #[inline]
    fn margin(&self, plan: &Plan<'_>) -> Key {
        let Some(margin) = plan.margin else { return Key::MAX };
        let Some(&ranked) = self.results().keys().get((margin.rank as usize).saturating_sub(1)) else {
            return Key::MAX;
        };
        let margin = match self.is_filtered {
            true => margin.admitting(self.stats.admitted as f32 / self.stats.tested.max(1) as f32),
            false => margin,
        };
        key(margin.limit(score_of(ranked)), SLOT_MAX)
    }

    /// Scores the seen slots from `from` on and merges those that are good enough.
    #[inline]
    fn take_in<L: Links>(
        &mut self,
        links: &L,
        from: usize,
        scorer: &mut dyn Scorer,
        plan: &Plan<'_>,
    ) -> Result<(), Stopped> {
        self.fresh.clear();
        let count = self.met - from;
        if count == 0 {
            return Ok(());
        }
        plan.budget.spend(count as u64)?;
        self.stats.distances += count as u64;
        if self.scores.len() < count {
            self.scores.resize(count, 0.0);
        }
        let mut limit = self.frontier.limit().min(self.margin(plan));
        if self.is_filtered {
            limit = limit.min(self.admitted.limit());
        }
        let worst = score_of(limit);
        for (slots, scores) in
            self.seen[from..self.met].chunks(BATCH_MAX).zip(self.scores.chunks_mut(BATCH_MAX))
        {
            scorer.score_within(slots, worst, &mut scores[..slots.len()])?;
        }
        self.keep_below(limit, from);
        if let Some(admit) = plan.admit {
            self.admit(links, admit);
        }
        self.frontier.merge(&mut self.fresh);
        Ok(())
    }

    /// Makes `fresh` the scored slots from `from` on whose keys are below `limit`. A place is written for each and the length grows by
    /// one bit: which are good enough cannot be predicted.
    #[inline]
    fn keep_below(&mut self, limit: Key, from: usize) {
        let slots = &self.seen[from..self.met];
        if self.fresh.len() < slots.len() {
            self.fresh.resize(slots.len(), 0);
        }
        let fresh = &mut self.fresh[..];
        let mut kept = 0;
        for (slot, &score) in slots.iter().zip(&self.scores) {
            let key = key(score, slot.0);
            fresh[kept] = key;
            kept += usize::from(key < limit);
        }
        self.fresh.truncate(kept);
    }

    /// Offers those of `fresh`, and the duplicates they stand for, that are admitted to the results.
    fn admit<L: Links>(&mut self, links: &L, admit: &dyn Admit) {
        let limit = self.admitted.limit();
        self.offered.clear();
        for &fresh in &self.fresh {
            self.offered.push(fresh);
            let chain = std::iter::successors(links.next_duplicate(slot_of(fresh)), |&slot| {
                links.next_duplicate(slot)
            });
            // What was chained since the walk began is not its business.
            let chain = chain.take(self.len as usize).filter(|&slot| slot < self.len);
            self.offered.extend(chain.map(|slot| key(score_of(fresh), slot)));
        }
        self.asked.clear();
        self.asked.extend(self.offered.iter().map(|&key| Slot(slot_of(key))));
        self.stats.tested += self.asked.len() as u64;
        admit.retain(&mut self.asked);
        self.stats.admitted += self.asked.len() as u64;
        let mut admitted = self.asked.iter().peekable();
        self.offered.retain(|&key| admitted.next_if(|slot| slot.0 == slot_of(key)).is_some() && key < limit);
        self.admitted.merge(&mut self.offered);
    }

    /// Meets the neighbours of `slot` and theirs, `slot` itself excepted, and returns them. Begins anew.
    pub(crate) fn around<L: Links>(&mut self, links: &L, slot: u32, known: &[u32]) -> &[Slot] {
        self.begin(links.len());
        self.hide(slot);
        self.make_room(known.len());
        known.iter().for_each(|&slot| self.meet(slot));
        self.meet_neighbours(links, slot, 0);
        for at in 1..self.met {
            self.meet_neighbours(links, self.seen[at].0, 0);
        }
        &self.seen[1..self.met]
    }

    /// The candidates found, best first, in the form of keys.
    pub(crate) fn found(&self) -> &[Key] {
        self.results().keys()
    }

    /// Prepares to go on with a larger plan: everything seen is scored once more, what was expanded stays closed.
    pub(crate) fn widen<L: Links>(
        &mut self,
        links: &L,
        scorer: &mut dyn Scorer,
        plan: &Plan<'_>,
    ) -> Result<(), Stopped> {
        self.frontier.reset(plan.frontier);
        self.is_filtered = plan.admit.is_some();
        self.admitted.reset(if self.is_filtered { plan.ef } else { 0 });
        self.take_in(links, 0, scorer, plan)?;
        for at in 0..self.expanded.len() {
            self.frontier.close(self.expanded[at]);
        }
        Ok(())
    }
}
