//! Measuring what walks of a graph find, by how far they look.
//!
//! Some rows are hidden from the walks and used as queries; their true neighbours are found by looking at everything. Held-out
//! rows are queries of the kind the data is made of; queries of another kind may find less at the same breadth.
//!
//! If codes of one plane lose recall against the vectors themselves, walks use both planes; if these lose it too, the vectors.
//! It refuses to change anything.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use nearfield_ann::{
    AdmitAll, AdmitIf, Budget, BySlot, Estimate, Flat, Hit, Scratch, Search, Stopped, TopK, VectorIndex,
};
use nearfield_platform::on_threads;
use nearfield_quant::Codes;
use nearfield_types::{Metric, Slot};
use nearfield_vectors::VectorStore;
use parking_lot::Mutex;

use crate::build::{Built, Progress, READ_ROWS, read};
use crate::calibration::{Calibration, RECALL_MAX, Tier};
use crate::error::SearchError;
use crate::field::{Depth, Field, FieldAsk, length};

/// Rows that are hidden and asked for.
const HELD_OUT: u32 = 200;
/// Neighbours asked for.
const NEIGHBOURS: usize = 10;
/// The margins measured: each a third wider than the one before.
const MARGINS: [f32; 18] = [
    0.01, 0.014, 0.019, 0.026, 0.035, 0.046, 0.062, 0.082, 0.11, 0.15, 0.2, 0.26, 0.35, 0.46, 0.62, 0.82,
    1.1, 1.5,
];
/// Codes may lose so much recall against the vectors, in walks as broad as this.
const LOSS_MAX: f32 = 0.01;
const COMPARED_AT: Depth = Depth::Breadth(112);
/// Measures recall by margin, on the cheapest scores that lose nothing.
pub(crate) fn measure(
    rows: &dyn VectorStore,
    built: &Built,
    threads: usize,
    progress: &Progress<'_>,
) -> Result<Calibration, Stopped> {
    let subject = Subject { rows, codes: built.codes(), graph: &built.graph, range: 0..rows.len() };
    let trial = Trial::new(subject, threads)?;
    (progress.watch)(progress.phase, 0, MARGINS.len() as u32)?;
    let has_codes = built.codes.is_some();
    let longest = if rows.shape().metric() == Metric::Dot { longest(rows)? } else { 0.0 };
    let exact = Calibration { tier: Tier::Exact, has_codes, longest, points: Vec::new() };
    if built.codes.is_none() {
        return trial.curve(exact, threads, progress);
    }
    let wanted = trial.recall(&exact, COMPARED_AT, threads)? - LOSS_MAX;
    for tier in [Tier::Coarse, Tier::Fine] {
        let calibration = Calibration { tier, ..exact.clone() };
        if trial.recall(&calibration, COMPARED_AT, threads)? >= wanted {
            return trial.curve(calibration, threads, progress);
        }
    }
    trial.curve(exact, threads, progress)
}

/// The length of the longest row.
fn longest(rows: &dyn VectorStore) -> Result<f32, Stopped> {
    let mut longest = 0.0_f32;
    for first in (0..rows.len()).step_by(READ_ROWS as usize) {
        let slots: Vec<Slot> = (first..rows.len().min(first + READ_ROWS)).map(Slot).collect();
        read(rows, &slots, &mut |row| longest = longest.max(row.map_or(0.0, length)))?;
    }
    Ok(longest)
}

/// What is measured: a graph over a range of rows.
pub(crate) struct Subject<'a> {
    pub(crate) rows: &'a dyn VectorStore,
    pub(crate) codes: Option<&'a dyn Codes>,
    pub(crate) graph: &'a (dyn VectorIndex + Sync),
    pub(crate) range: Range<u32>,
}

/// Hidden rows and what is nearest to them.
pub(crate) struct Trial<'a> {
    subject: Subject<'a>,
    hidden: Vec<Slot>,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<Hit>>,
}

/// One question of a trial, answered in a scratch.
type AskOne<'f, 'a> = dyn Fn(&Trial<'a>, &[f32], &mut Scratch) -> Result<Vec<Hit>, SearchError> + Sync + 'f;

impl<'a> Trial<'a> {
    pub(crate) fn new(subject: Subject<'a>, threads: usize) -> Result<Trial<'a>, Stopped> {
        let Subject { rows, range, .. } = &subject;
        let len = range.end - range.start;
        // A small set would lose too much of itself.
        let wanted = HELD_OUT.min(len / 8).max(1);
        let spread = range.clone().step_by(len.div_ceil(wanted).max(1) as usize).map(Slot);
        let mut hidden: Vec<Slot> = spread.filter(|&slot| rows.is_present(slot)).collect();
        hidden.truncate((len / 8) as usize);
        let mut queries = Vec::new();
        read(*rows, &hidden, &mut |row| queries.extend(row.map(<[f32]>::to_vec)))?;
        let mut trial = Trial { subject, hidden, queries, truth: Vec::new() };
        trial.truth = trial.ask_all(threads, &|trial, query, scratch| {
            let Subject { rows, range, .. } = &trial.subject;
            let estimate = Estimate { low: 0, likely: len.into(), high: len.into() };
            let admit = AdmitIf::new(estimate, |slot| trial.hidden.binary_search(&slot).is_err());
            let (mut scorer, budget) = (rows.scorer(query)?, Budget::unlimited());
            let mut best = TopK::new(NEIGHBOURS, &BySlot);
            let scan = Flat::range(Slot(range.start), Slot(range.end));
            scan.search(Search::new(&mut *scorer, &admit, &budget), scratch, &mut best)?;
            Ok(best.into_sorted())
        })?;
        Ok(trial)
    }

    /// The answers to all queries.
    fn ask_all(&self, threads: usize, ask: &AskOne<'_, 'a>) -> Result<Vec<Vec<Hit>>, Stopped> {
        let answers: Vec<Mutex<Vec<Hit>>> = self.queries.iter().map(|_| Mutex::default()).collect();
        let (next, failed) = (AtomicU32::new(0), Mutex::new(None));
        on_threads(threads, &|_| {
            let mut scratch = Scratch::new();
            while let Some(at) =
                Some(next.fetch_add(1, Ordering::Relaxed) as usize).filter(|&at| at < answers.len())
            {
                match ask(self, &self.queries[at], &mut scratch) {
                    Ok(hits) => *answers[at].lock() = hits,
                    Err(SearchError::Stopped(stopped)) => *failed.lock() = Some(stopped),
                    // A stored row is a legal query, and there is no filter.
                    Err(_) => *failed.lock() = Some(Stopped::Damaged),
                }
            }
        });
        match failed.into_inner() {
            Some(stopped) => Err(stopped),
            None => Ok(answers.into_iter().map(Mutex::into_inner).collect()),
        }
    }

    /// The share of true neighbours that walks of this depth find. Rows as near as the last of them are as good.
    fn recall(&self, calibration: &Calibration, depth: Depth, threads: usize) -> Result<f32, Stopped> {
        let found = self.ask_all(threads, &|trial, query, scratch| {
            let field = Field {
                rows: trial.subject.rows,
                codes: trial.subject.codes,
                graph: Some(trial.subject.graph),
                linked: trial.subject.rows.len(),
                calibration: Some(calibration),
                longest: calibration.longest,
                hidden: &trial.hidden,
            };
            let budget = Budget::unlimited();
            let ask = FieldAsk { query, depth, admit: &AdmitAll, budget: &budget, bound: None };
            let mut best = TopK::new(NEIGHBOURS, &BySlot);
            field.search(&ask, scratch, &mut best).map(|_| best.into_sorted())
        })?;
        let (mut hit, mut all) = (0, 0);
        for (found, truth) in found.iter().zip(&self.truth) {
            let limit = truth.last().map_or(f32::MIN, |hit| hit.score);
            hit += found.iter().filter(|found| found.score <= limit).count().min(truth.len());
            all += truth.len();
        }
        Ok(hit as f32 / all.max(1) as f32)
    }

    /// Recall by margin, until it is as high as a search may ask for.
    pub(crate) fn curve(
        &self,
        mut calibration: Calibration,
        threads: usize,
        progress: &Progress<'_>,
    ) -> Result<Calibration, Stopped> {
        if self.queries.is_empty() {
            return Ok(calibration);
        }
        for (at, margin) in (1..).zip(MARGINS) {
            (progress.watch)(progress.phase, at, MARGINS.len() as u32)?;
            let recall = self.recall(&calibration, Depth::Margin(margin), threads)?;
            calibration.note(margin, recall);
            if recall > RECALL_MAX {
                break;
            }
        }
        Ok(calibration)
    }
}
