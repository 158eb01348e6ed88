//! The search of one vector of one segment: a walk on codes, a scan of what no graph holds yet, and exact scores at the end.
//!
//! It refuses to know points and segments: it sees rows, codes and a graph over the same slots, whoever holds them.
//!
//! # How one query is answered
//!
//! ```text
//! coarse   walk the graph on codes; scan the codes of rows not linked yet          keeps a few times k
//! fine     score these by both planes                                              sorts them
//! exact    score the first k by their vectors, then those whose error leaves them a chance
//! raw      rows that have no code yet are scored by their vectors at once
//! ```
//!
//! Only exact scores leave. Without a graph, or where it would not pay, everything is scored by its vectors.

use nearfield_ann::{
    Admit, AdmitAll, Among, Budget, BySlot, Effort, Flat, Hit, Margin, Scorer, Scratch, Search, Stats,
    Stopped, TopK, VectorIndex,
};
use nearfield_quant::{CodeRow, Codec, Codes, Precision, Prepared, Quantizer};
use nearfield_types::{Score, Slot};
use nearfield_vectors::VectorStore;

use crate::calibration::{Calibration, Tier};
use crate::error::SearchError;

/// Below so many rows everything is scored: a walk would not be faster.
pub const GRAPH_ROWS_MIN: u32 = 1_000;
/// This many times k go on to finer scores, and at least so many more; where coarse scores say little, up to the second pair.
const KEEP_FACTOR: usize = 2;
const KEEP_MORE: usize = 10;
const KEEP_FACTOR_MAX: usize = 8;
const KEEP_MORE_MAX: usize = 40;
/// Both the k-th and the candidate may be off by as much as the stated error.
const KEEP_ERRORS: f32 = 2.0;
/// Rows looked at for one that has a code.
const SLACK_ROWS: u32 = 8;
/// The recall that a search gets which asks for none.
const RECALL_AUTO: f32 = 0.99;
/// A margin is measured from the k-th result, and from no earlier one than this: recall was measured there.
const MARGIN_RANK_MIN: usize = 10;
/// Candidates that a walk with a margin keeps at most: so many times the results, and at least so many.
const MARGIN_BREADTH_FACTOR: usize = 16;
const MARGIN_BREADTH_MIN: usize = 2_048;

/// Rows that lie together and have no more values than this are scored by their vectors: making the query ready for codes, and rescoring, cost as much.
const TOGETHER_VALUES_EXACT: usize = 96 << 10;

/// How hard to look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Depth {
    /// As hard as is needed for a recall of 0.99: [`Depth::Recall`] with that.
    #[default]
    Auto,
    /// Keep this many candidates open, known as `ef`.
    Breadth(u32),
    /// As hard as is needed to find this share of the true answers, by what was measured when the graph was finished; before that, by
    /// a rule that is generous for usual data.
    Recall(f32),
    /// Go on while candidates are nearer than the k-th result and this share of its distance more: what a recall is turned into.
    Margin(f32),
    /// Score everything.
    Exact,
}

/// Rows, and what makes searching them fast.
pub struct Field<'a> {
    /// The vectors.
    pub rows: &'a dyn VectorStore,
    /// Their codes; those of the last rows may be missing.
    pub codes: Option<&'a dyn Codes>,
    /// The graph.
    pub graph: Option<&'a dyn VectorIndex>,
    /// Slots below are in the graph, if they have a vector.
    pub linked: u32,
    /// What was measured of the graph.
    pub calibration: Option<&'a Calibration>,
    /// The length of the longest vector that is linked, where scores are products; else 0.
    pub(crate) longest: f32,
    /// Slots that walks treat as if they were not there, ascending: see `build`.
    pub(crate) hidden: &'a [Slot],
}

/// One question to a field.
#[derive(Clone, Copy)]
pub struct FieldAsk<'a> {
    /// As long as the vectors, and finite.
    pub query: &'a [f32],
    /// How hard to look.
    pub depth: Depth,
    /// Which rows may be answers.
    pub admit: &'a dyn Admit,
    /// How much work is allowed.
    pub budget: &'a Budget<'a>,
    /// The worst exact score that is still of use.
    pub bound: Option<Score>,
}

/// What searches of fields keep in a scratch.
#[derive(Default)]
struct Work {
    prepared: Prepared,
    slots: Vec<Slot>,
    scores: Vec<Score>,
    candidates: Vec<(Score, Slot)>,
}

impl<'a> Field<'a> {
    /// Rows without anything that makes searching them fast.
    pub(crate) fn bare(rows: &'a dyn VectorStore) -> Field<'a> {
        Field { rows, codes: None, graph: None, linked: 0, calibration: None, longest: 0.0, hidden: &[] }
    }
}

impl Field<'_> {
    /// Offers the nearest admitted rows to `out`, with exact scores.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if the query does not fit, a row cannot be read, or the budget ran out.
    pub fn search(
        &self,
        ask: &FieldAsk<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, SearchError> {
        let mut exact = self.rows.scorer(ask.query)?;
        let Some((graph, effort)) = self.plan(ask, out.k()) else {
            return Ok(Flat::new(self.rows.len()).search(
                self.question(ask, &mut *exact, Effort::Auto),
                scratch,
                out,
            )?);
        };
        let tier = self.calibration.map_or(Tier::default(), |calibration| calibration.tier);
        match (self.codes, tier.precision()) {
            (Some(codes), Some(precision)) => {
                let mut work = std::mem::take(scratch.state::<Work>());
                let stats =
                    self.by_codes(graph, codes, precision, effort, ask, &mut *exact, &mut work, scratch, out);
                *scratch.state::<Work>() = work;
                stats
            }
            _ => {
                let stats = if self.linked < self.rows.len() {
                    // A slot may have been linked after the watermark was read: the scan offers it, and the walk must not.
                    let mut below = Below { scorer: &mut *exact, end: Slot(self.linked) };
                    self.walk(graph, &mut below, effort, ask, ask.bound, scratch, out)?
                } else {
                    self.walk(graph, &mut *exact, effort, ask, ask.bound, scratch, out)?
                };
                self.scan_raw(self.linked, ask, &mut *exact, scratch, out, stats)
            }
        }
    }

    /// Offers the nearest of `slots`, which ascend and are all admitted, to `out`, with exact scores. Codes decide which of them are worth
    /// one, with their error allowed for, unless [`Depth::Exact`] is asked for.
    ///
    /// # Errors
    ///
    /// As [`Field::search`].
    pub(crate) fn search_among(
        &self,
        slots: &[Slot],
        ask: &FieldAsk<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, SearchError> {
        let mut exact = self.rows.scorer(ask.query)?;
        let ask = FieldAsk { admit: &AdmitAll, ..*ask };
        let kept = kept_most(out.k());
        let is_coded = ask.depth != Depth::Exact
            && self.calibration.is_none_or(|calibration| calibration.tier != Tier::Exact);
        let is_short = is_dense(slots) && slots.len() * ask.query.len() <= TOGETHER_VALUES_EXACT;
        let codes = self.codes.filter(|_| is_coded && slots.len() > kept && !is_short);
        let mut work = std::mem::take(scratch.state::<Work>());
        let scored = codes.filter(|codes| codes.codec().prepare(ask.query, &mut work.prepared).is_ok());
        let stats = match scored {
            Some(codes) => self.among_codes(codes, slots, &ask, &mut *exact, &mut work, scratch, out),
            None => Ok(scan(slots, self.question(&ask, &mut *exact, Effort::Auto), scratch, out)?),
        };
        *scratch.state::<Work>() = work;
        stats
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one answer, each borrowed from another place"
    )]
    fn among_codes(
        &self,
        codes: &dyn Codes,
        slots: &[Slot],
        ask: &FieldAsk<'_>,
        exact: &mut dyn Scorer,
        work: &mut Work,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, SearchError> {
        let (slots, raw) = slots.split_at(slots.partition_point(|slot| slot.0 < codes.len()));
        let tier = self.calibration.map_or(Tier::default(), |calibration| calibration.tier);
        let precision = tier.precision().unwrap_or(Precision::Fine);
        let mut keep = TopK::new(kept_most(out.k()), &BySlot);
        let mut stats = {
            let mut scorer = codes.scorer(&work.prepared, precision);
            scan(slots, Search::new(&mut scorer, ask.admit, ask.budget), scratch, &mut keep)?
        };
        Self::keep_promising(codes, precision, keep, out.k(), work);
        sort_finely(codes, work)?;
        stats += rescore(codes, exact, ask, work, scratch, out)?;
        stats += Among::new(raw).search(self.question(ask, exact, Effort::Auto), scratch, out)?;
        Ok(stats)
    }

    /// Makes `work.slots` those of the kept candidates that go on to finer scores.
    fn keep_promising(codes: &dyn Codes, precision: Precision, keep: TopK<'_>, k: usize, work: &mut Work) {
        let mut hits = keep.into_sorted();
        // A slot may have been linked after the watermark was read: then walk and scan have both found it.
        hits.dedup_by_key(|hit| hit.slot);
        let count = promising(codes, &work.prepared, k, precision, &hits);
        work.slots.clear();
        work.slots.extend(hits[..count].iter().map(|hit| hit.slot));
    }

    /// Whether there is a graph, and walking it is worth while where `admitted` rows count: among many dead rows, or for very many results, a
    /// walk meets too few of them.
    pub(crate) fn is_worth_walking(&self, admitted: u64, k: usize) -> bool {
        let admitted = admitted.min(self.linked.into());
        let is_large = self.linked >= GRAPH_ROWS_MIN && admitted >= u64::from(GRAPH_ROWS_MIN);
        self.graph.is_some() && is_large && (k as u64) < admitted / 4
    }

    /// The graph and how hard to look, where walking is worth while.
    fn plan(&self, ask: &FieldAsk<'_>, k: usize) -> Option<(&dyn VectorIndex, Effort)> {
        let graph = self.graph.filter(|_| self.is_worth_walking(ask.admit.estimate().likely, k))?;
        let effort = match ask.depth {
            Depth::Exact => return None,
            Depth::Breadth(breadth) => Effort::Breadth(breadth),
            Depth::Margin(share) => self.margin(ask.query, k, share),
            Depth::Auto => self
                .effort(ask.query, k, RECALL_AUTO)
                .unwrap_or_else(|| Effort::Breadth(unmeasured_breadth(RECALL_AUTO, k))),
            Depth::Recall(recall) => self
                .effort(ask.query, k, recall)
                .unwrap_or_else(|| Effort::Breadth(unmeasured_breadth(recall, k))),
        };
        Some((graph, effort))
    }

    /// What was measured to be enough for a recall.
    fn effort(&self, query: &[f32], k: usize, recall: f32) -> Option<Effort> {
        Some(self.margin(query, k, self.calibration?.margin(recall)?))
    }

    fn margin(&self, query: &[f32], k: usize, share: f32) -> Effort {
        // No product is larger than that of the lengths; every other score is a distance.
        let floor = if self.longest > 0.0 { -self.longest * length(query) } else { 0.0 };
        let rank = k.max(MARGIN_RANK_MIN);
        let breadth = rank.saturating_mul(MARGIN_BREADTH_FACTOR).max(MARGIN_BREADTH_MIN) as u32;
        Effort::Margin(Margin { rank: rank as u32, share, floor, slack: 0.0, breadth })
    }

    fn question<'q>(&self, ask: &FieldAsk<'q>, scorer: &'q mut dyn Scorer, effort: Effort) -> Search<'q> {
        Search { effort, bound: ask.bound, ..Search::new(scorer, ask.admit, ask.budget) }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one answer, each borrowed from another place"
    )]
    fn by_codes(
        &self,
        graph: &dyn VectorIndex,
        codes: &dyn Codes,
        precision: Precision,
        effort: Effort,
        ask: &FieldAsk<'_>,
        exact: &mut dyn Scorer,
        work: &mut Work,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, SearchError> {
        let codec: &Codec = codes.codec();
        // The exact scorer has looked at the query: it has the dimension and is finite.
        if codec.prepare(ask.query, &mut work.prepared).is_err() {
            return Ok(Flat::new(self.rows.len()).search(self.question(ask, exact, effort), scratch, out)?);
        }
        let coded = codes.len();
        let effort = with_slack(effort, codes, &work.prepared, precision);
        let mut keep = TopK::new(kept(out.k(), effort), &BySlot);
        let mut stats = {
            let mut coarse = codes.scorer(&work.prepared, precision);
            let mut stats = self.walk(graph, &mut coarse, effort, ask, None, scratch, &mut keep)?;
            if self.linked < coded {
                let tail = Flat::range(Slot(self.linked), Slot(coded));
                let question = Search::new(&mut coarse, ask.admit, ask.budget);
                stats += tail.search(question, scratch, &mut keep)?;
            }
            stats
        };
        Self::keep_promising(codes, precision, keep, out.k(), work);
        // What was encoded and linked since `coded` was read is scanned with the rows that have no code.
        work.slots.retain(|slot| slot.0 < coded);
        sort_finely(codes, work)?;
        stats += rescore(codes, exact, ask, work, scratch, out)?;
        self.scan_raw(coded, ask, exact, scratch, out, stats)
    }

    /// Walks the graph; a bound is one of scores like those of `scorer`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one answer, each borrowed from another place"
    )]
    fn walk(
        &self,
        graph: &dyn VectorIndex,
        scorer: &mut dyn Scorer,
        effort: Effort,
        ask: &FieldAsk<'_>,
        bound: Option<Score>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, SearchError> {
        let mut hiding;
        let scorer: &mut dyn Scorer = if self.hidden.is_empty() {
            scorer
        } else {
            hiding = Hiding { scorer, hidden: self.hidden };
            &mut hiding
        };
        let question = Search { effort, bound, ..Search::new(scorer, ask.admit, ask.budget) };
        Ok(graph.search(question, scratch, out)?)
    }

    /// Scores the rows from `first` on by their vectors.
    fn scan_raw(
        &self,
        first: u32,
        ask: &FieldAsk<'_>,
        exact: &mut dyn Scorer,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
        mut stats: Stats,
    ) -> Result<Stats, SearchError> {
        let end = self.rows.len();
        if first < end {
            let raw = Flat::range(Slot(first), Slot(end));
            stats += raw.search(self.question(ask, exact, Effort::Auto), scratch, out)?;
        }
        Ok(stats)
    }
}

/// Scores every one of `slots`, which ascend and are all admitted: without a gap they are read as they lie.
fn scan(
    slots: &[Slot],
    question: Search<'_>,
    scratch: &mut Scratch,
    out: &mut TopK<'_>,
) -> Result<Stats, Stopped> {
    match slots.first() {
        Some(first) if is_run(slots) => {
            Flat::range(*first, Slot(first.0 + slots.len() as u32)).search(question, scratch, out)
        }
        _ => Among::new(slots).search(question, scratch, out),
    }
}

/// True if these slots, which ascend, have no gap.
fn is_run(slots: &[Slot]) -> bool {
    span(slots) == slots.len()
}

/// True if few slots are missing between these, which ascend: dead ones of a run, say.
fn is_dense(slots: &[Slot]) -> bool {
    span(slots) <= slots.len() + slots.len() / 4
}

/// Slots from the first to the last.
fn span(slots: &[Slot]) -> usize {
    match (slots.first(), slots.last()) {
        (Some(first), Some(last)) => (last.0 - first.0) as usize + 1,
        _ => 0,
    }
}

/// The same effort, with a margin no narrower than the scores of codes may be off: among near duplicates their order says nothing.
fn with_slack(effort: Effort, codes: &dyn Codes, query: &Prepared, precision: Precision) -> Effort {
    let Effort::Margin(margin) = effort else { return effort };
    // Rows differ in length by little, or the first are as good a guess as any.
    let rows = codes.rows();
    let first =
        (0..codes.len().min(SLACK_ROWS)).filter_map(|slot| rows.row(Slot(slot))).find(CodeRow::is_present);
    let slack = first.map_or(0.0, |code| codes.codec().error_bound(query, code, precision));
    Effort::Margin(Margin { slack, ..margin })
}

/// The breadth for a recall where a graph still grows and nothing was measured: 64 up to .96, 200 for .99, at most 1,024, for ten
/// results; more need as much more. The real set needs a third of that.
fn unmeasured_breadth(recall: f32, k: usize) -> u32 {
    let breadth = (2.0 / (1.0 - recall).max(f32::EPSILON)).ceil().clamp(64.0, 1_024.0) as u32;
    breadth.saturating_mul((k as u32).div_ceil(10))
}

/// The length of a vector.
pub(crate) fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt().min(f32::MAX.into()) as f32
}

/// A scorer for which some slots have no vector.
struct Hiding<'a> {
    scorer: &'a mut dyn Scorer,
    /// Ascending.
    hidden: &'a [Slot],
}

impl Scorer for Hiding<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        self.scorer.score(slots, out)?;
        for (slot, score) in slots.iter().zip(out) {
            if self.hidden.binary_search(slot).is_ok() {
                *score = Score::INFINITY;
            }
        }
        Ok(())
    }
}

/// A scorer for which the slots from `end` on have no vector.
struct Below<'a> {
    scorer: &'a mut dyn Scorer,
    end: Slot,
}

impl Scorer for Below<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        self.scorer.score(slots, out)?;
        for (slot, score) in slots.iter().zip(out) {
            if *slot >= self.end {
                *score = Score::INFINITY;
            }
        }
        Ok(())
    }
}

/// The most candidates that finer scores are asked for.
fn kept_most(k: usize) -> usize {
    k.saturating_mul(KEEP_FACTOR_MAX).max(k.saturating_add(KEEP_MORE_MAX))
}

/// How many candidates a walk hands on.
fn kept(k: usize, effort: Effort) -> usize {
    let wanted = kept_most(k);
    match effort {
        Effort::Auto | Effort::Margin(_) => wanted,
        Effort::Breadth(breadth) => wanted.min((breadth as usize).max(k)),
    }
}

/// The candidates that go on to finer scores, of `hits` in the order of coarse ones: a few times k, and beyond that those
/// whose error leaves them a chance against the k-th.
fn promising(codes: &dyn Codes, query: &Prepared, k: usize, precision: Precision, hits: &[Hit]) -> usize {
    let sure = k.saturating_mul(KEEP_FACTOR).max(k.saturating_add(KEEP_MORE));
    let Some(last) = k.checked_sub(1).and_then(|at| hits.get(at)).filter(|_| hits.len() > sure) else {
        return hits.len();
    };
    let far = last.score + KEEP_ERRORS * codes.error_bound(query, last.slot, precision);
    sure + hits[sure..].iter().take_while(|hit| hit.score <= far).count()
}

/// Turns `work.slots` into `work.candidates`, nearest first by both planes.
fn sort_finely(codes: &dyn Codes, work: &mut Work) -> Result<(), SearchError> {
    let Work { prepared, slots, scores, candidates } = work;
    scores.resize(slots.len(), 0.0);
    codes.scorer(prepared, Precision::Fine).score(slots, scores)?;
    candidates.clear();
    candidates.extend(scores.iter().copied().zip(slots.iter().copied()));
    candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    Ok(())
}

/// Scores candidates by their vectors: the first k, then those that may still be nearer than the k-th.
fn rescore(
    codes: &dyn Codes,
    exact: &mut dyn Scorer,
    ask: &FieldAsk<'_>,
    work: &mut Work,
    scratch: &mut Scratch,
    out: &mut TopK<'_>,
) -> Result<Stats, SearchError> {
    let Work { prepared, slots, candidates, .. } = work;
    let (sure, maybe) = candidates.split_at(out.k().min(candidates.len()));
    let mut stats = Stats::default();
    let mut score = |slots: &mut Vec<Slot>, out: &mut TopK<'_>| {
        // In slot order: rows that lie together are read together.
        slots.sort_unstable();
        let question = Search { bound: ask.bound, ..Search::new(&mut *exact, &AdmitAll, ask.budget) };
        Among::new(slots).search(question, scratch, out)
    };
    slots.clear();
    slots.extend(sure.iter().map(|&(_, slot)| slot));
    stats += score(slots, out)?;
    let worst = out.worst().min(ask.bound.unwrap_or(Score::MAX));
    slots.clear();
    let (rows, codec) = (codes.rows(), codes.codec());
    let error = |slot| rows.row(slot).map_or(0.0, |code| codec.error_bound(prepared, code, Precision::Fine));
    let near = maybe.iter().filter(|&&(fine, slot)| fine - error(slot) <= worst);
    slots.extend(near.map(|&(_, slot)| slot));
    stats += score(slots, out)?;
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmeasured_graphs_are_searched_generously() {
        let breadths = [0.5, 0.95, 0.99, 0.999].map(|recall| unmeasured_breadth(recall, 10));
        assert!(breadths[..2] == [64, 64] && (200..=201).contains(&breadths[2]) && breadths[3] == 1_024);
    }
}
