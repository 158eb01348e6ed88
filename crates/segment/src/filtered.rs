//! Filters over one segment: which rows pass, found by field indexes as far as these reach and by the payload for the rest, and the nearest
//! of them.
//!
//! It refuses to lose results: a walk that meets too few rows that pass, or too much work, is given up for a scan of all of them.
//!
//! # How the nearest rows that pass are found
//!
//! ```text
//! bind    field indexes say which rows may pass, and which of these must be tested
//! scan    few may: test those in doubt, score every one that passes
//! walk    many may: walk the graph, ask of the candidates good enough whether they pass
//! guard   a walk that costs what a scan would, or comes back with too few, becomes a scan
//! ```
//!
//! Where the candidates lie in one partition that has a graph of its own, the walk is one of that graph; the few that lie elsewhere, because they
//! were patched since, are tested and scored.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearfield_ann::{Admit, AdmitAll, Budget, Estimate, Scratch, Stats, Stopped, TopK};
use nearfield_payload::Path;
use nearfield_payload::RowRef;
use nearfield_payload::filter::{Filter, FilterError, Matcher};
use nearfield_payload::index::bind::{self, Bound, Resolve, Rows};
use nearfield_payload::index::{FieldIndex, FieldReader, IndexConfig};
use nearfield_payload::text::Analyzer;
use nearfield_types::{PointId, Seq, Slot};
use parking_lot::Mutex;
use roaring::RoaringBitmap;

use crate::error::{OpenError, SearchError};
use crate::field::{Depth, FieldAsk, GRAPH_ROWS_MIN};
use crate::partitions::Partition;
use crate::payload_index::PayloadField;
use crate::segment::{Ask, Found, Segment};

/// Distances of a walk for each result: so many, and so many more divided by the share of rows that pass. Measured on text embeddings
/// without a margin: 530 distances for ten results where all pass, 700 where half do, 2,200 where a tenth does.
const WALK_DISTANCES: f64 = 33.0;
const WALK_DISTANCES_PASSING: f64 = 19.0;
/// What a distance of a walk costs, in distances of a scan, which knows what is next.
const WALK_COST: f64 = 2.0;
/// What reading and testing a payload costs, in the same unit.
const TEST_COST: f64 = 10.0;
/// What a row of a run without gaps costs in a scan, which reads memory in order: in the same unit.
const RUN_COST: f64 = 0.65;
/// What a walk of the graph over a partition costs, where one of the whole segment costs 1: there are fewer rows, nearer to one another.
const PARTITION_COST: f64 = 0.5;
/// Rows that a walk asks about for each result and each that does not pass before it.
const TESTED: f64 = 2.0;
/// So many rows must have been asked about before the share that passes is believed.
const TESTED_MIN: u64 = 64;
/// Fewer results cost no less.
const RESULTS_MIN: usize = 10;
/// Rows whose payload is read at a time.
const PART: usize = 256;

/// A filter as every segment of a search is asked it: made ready once.
#[derive(Debug)]
pub struct Filtering<'a> {
    filter: &'a Filter,
    matcher: Matcher,
    /// The names of the vectors, in schema order.
    vectors: &'a [&'a str],
    /// The indexes of payload fields that the reader knows of: others are not asked.
    fields: &'a [Arc<PayloadField>],
}

impl<'a> Filtering<'a> {
    /// Makes `filter` ready; `vectors` are the names of the segments' vectors in schema order, `fields` the indexes that may be asked. Texts
    /// in fields with a text index are split as that index does, whether or not a segment has it yet.
    ///
    /// # Errors
    ///
    /// [`FilterError`] where the filter is beyond a limit or has an operand without meaning.
    pub fn new(
        filter: &'a Filter,
        vectors: &'a [&'a str],
        fields: &'a [Arc<PayloadField>],
    ) -> Result<Filtering<'a>, FilterError> {
        Ok(Filtering { filter, matcher: matcher(filter, fields)?, vectors, fields })
    }
}

/// The matcher of `filter`; texts in fields with a text index are split as that index does.
pub(crate) fn matcher(filter: &Filter, fields: &[Arc<PayloadField>]) -> Result<Matcher, FilterError> {
    Matcher::with_texts(filter.view(), |path| {
        let field = fields.iter().find(|field| field.path == *path)?;
        let IndexConfig::Text(config) = &field.config else { return None };
        // A configuration without an analyzer was refused when the index was made.
        Analyzer::new(config).ok().map(Arc::new)
    })
}

/// How one segment was searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Without a filter: the graph where there is one and it pays, else every row.
    Unfiltered,
    /// The indexes say that no row passes.
    Nothing,
    /// Every row that passes was scored.
    Scan,
    /// Every row was scored, for want of a graph, and those good enough were asked whether they pass: reading all payloads costs more.
    ScanThenTest,
    /// The graph was walked, and the candidates good enough were asked whether they pass.
    Walk,
    /// A walk met too few rows that pass, or too much work, and was given up for a scan.
    WalkThenScan,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plan::Unfiltered => "unfiltered",
            Plan::Nothing => "nothing",
            Plan::Scan => "scan",
            Plan::ScanThenTest => "scan, then test",
            Plan::Walk => "walk",
            Plan::WalkThenScan => "walk, then scan",
        })
    }
}

/// What the search of one segment did, and what it knew before.
#[derive(Clone, Debug)]
pub struct Work {
    /// How it was searched.
    pub plan: Plan,
    /// The work.
    pub stats: Stats,
    /// How many rows were expected to pass, before anything was selected.
    pub estimate: Estimate,
    /// Rows that may pass, by the field indexes.
    pub candidates: u64,
    /// Rows of these whose payload must be read to know.
    pub in_doubt: u64,
    /// Fields that were asked for and have no index that could answer, each once.
    pub unindexed: Vec<Path>,
}

impl Work {
    /// The work of a search without a filter.
    pub(crate) fn unfiltered(stats: Stats, rows: u32) -> Work {
        let (estimate, candidates) = (Estimate::exactly(rows.into()), rows.into());
        Work { plan: Plan::Unfiltered, stats, estimate, candidates, in_doubt: 0, unindexed: Vec::new() }
    }
}

/// A filter bound to one segment at one Seq.
pub(crate) struct Passing<'a> {
    segment: &'a Segment,
    /// Slots below were there when the indexes were asked; later ones are nobody's business.
    rows: u32,
    seen: Seq,
    filtering: &'a Filtering<'a>,
    candidates: Rows,
    /// True if none of these rows is dead or newer than the reader.
    is_all_visible: bool,
    estimate: Estimate,
    unindexed: Vec<Path>,
    /// Candidates that pass iff the residual does.
    recheck: Rows,
    residual: Option<Matcher>,
    /// Candidates that pass iff the whole filter does.
    whole: RoaringBitmap,
    /// Rows that a walk asked about, and those of them that passed.
    tested: AtomicU64,
    passed: AtomicU64,
    /// What reading a payload met: the answer is none then.
    failed: Mutex<Option<OpenError>>,
    has_failed: AtomicBool,
}

impl<'a> Passing<'a> {
    pub(crate) fn new(
        segment: &'a Segment,
        seen: Seq,
        filtering: &'a Filtering<'a>,
    ) -> Result<Passing<'a>, SearchError> {
        let rows = segment.rows();
        let fields = segment.field_indexes(filtering.fields);
        let mut known = Known { segment, seen, vectors: filtering.vectors, fields };
        // After the indexes: what was patched since one was read is among these.
        let masked = segment.patched();
        let bound = bind::bind(filtering.filter.view(), &known, rows, &masked).or_else(|_| {
            // A field index is damaged. It is derived: the rows are asked instead, and it is built anew.
            for (path, reader) in known.fields.drain(..) {
                if reader.verify().is_err() {
                    segment.discard_field_index(&path);
                }
            }
            bind::bind(filtering.filter.view(), &known, rows, &masked)
        });
        let Bound { candidates, recheck, residual, whole, estimate, unindexed } = bound?;
        let estimate = Estimate { low: estimate.low, likely: estimate.likely, high: estimate.high };
        let is_all_visible = segment.is_all_visible(seen);
        let residual = residual.map(|filter| matcher(&filter, filtering.fields)).transpose()?;
        let (failed, has_failed) = (Mutex::new(None), AtomicBool::new(false));
        Ok(Passing {
            segment,
            rows,
            seen,
            filtering,
            candidates,
            is_all_visible,
            estimate,
            unindexed,
            recheck,
            residual,
            whole,
            tested: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            failed,
            has_failed,
        })
    }

    fn is_candidate(&self, slot: Slot) -> bool {
        match &self.candidates {
            Rows::All => slot.0 < self.rows,
            Rows::Some(some) => some.contains(slot.0),
        }
    }

    /// What is known before the search.
    fn work(&self) -> Work {
        Work {
            plan: Plan::Nothing,
            stats: Stats::default(),
            estimate: self.estimate,
            candidates: self.may(),
            in_doubt: self.doubts(),
            unindexed: self.unindexed.clone(),
        }
    }

    /// Rows that must be tested.
    fn doubts(&self) -> u64 {
        self.recheck.len(self.rows) + self.whole.len()
    }

    fn may(&self) -> u64 {
        self.candidates.len(self.rows)
    }

    /// The visible rows that pass, ascending. O(candidates), and a test for each in doubt.
    pub(crate) fn all(&self) -> Result<Vec<Slot>, SearchError> {
        let mut passing = Vec::with_capacity(self.may().min(u64::from(self.rows)) as usize);
        let mut part = Vec::with_capacity(PART);
        let mut take = |slots: &mut dyn Iterator<Item = u32>| {
            part.clear();
            part.extend(slots.map(Slot));
            self.retain_passing(&mut part);
            passing.extend_from_slice(&part);
        };
        match &self.candidates {
            Rows::All => {
                let firsts = (0..self.rows).step_by(PART);
                firsts.for_each(|first| take(&mut (first..self.rows.min(first + PART as u32))));
            }
            Rows::Some(some) => {
                let (mut slots, mut buffer) = (some.iter(), [0; PART]);
                loop {
                    let some = slots.next_many(&mut buffer);
                    if some.is_empty() {
                        break;
                    }
                    take(&mut some.iter().copied());
                }
            }
        }
        self.checked(passing)
    }

    /// Up to `limit` points that pass with ids after `after`, in id order. O(points passed over).
    pub(crate) fn page(
        &self,
        after: Option<&PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, Slot)>, SearchError> {
        let mut page: Vec<(PointId, Slot)> = Vec::new();
        let mut last = after.cloned();
        while page.len() < limit {
            let part = self.segment.page(last.as_ref(), PART.max(limit), self.seen);
            let Some((id, _)) = part.last() else { break };
            last = Some(id.clone());
            let mut passing: Vec<Slot> = part.iter().map(|&(_, slot)| slot).collect();
            self.retain(&mut passing);
            let mut passing = passing.into_iter().peekable();
            page.extend(part.into_iter().filter(|(_, slot)| passing.next_if_eq(slot).is_some()));
            page.truncate(limit);
        }
        self.checked(page)
    }

    /// The answer, unless a payload could not be read on the way to it.
    pub(crate) fn checked<T>(&self, answer: T) -> Result<T, SearchError> {
        match self.failed.lock().take() {
            Some(error) => Err(SearchError::Payload(error)),
            None => Ok(answer),
        }
    }

    /// How many rows were asked about, and how many of them passed.
    fn asked(&self) -> (u64, u64) {
        (self.tested.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }

    /// How a row must be tested: not at all, by the residual, by the whole filter.
    fn test(&self, slot: Slot) -> Option<&Matcher> {
        if self.whole.contains(slot.0) {
            return Some(&self.filtering.matcher);
        }
        let is_in_doubt = match &self.recheck {
            Rows::All => true,
            Rows::Some(some) => some.contains(slot.0),
        };
        self.residual.as_ref().filter(|_| is_in_doubt)
    }

    fn passes(&self, matcher: &Matcher, slot: Slot, row: &[u8]) -> bool {
        let has_vector = |name: &str| {
            let place = self.filtering.vectors.iter().position(|known| *known == name);
            place.is_some_and(|place| self.segment.has_vector(slot, place))
        };
        let tested = RowRef::new(row)
            .and_then(|row| matcher.matches(row, &self.segment.id(slot), has_vector))
            .map_err(OpenError::from);
        tested.unwrap_or_else(|error| self.fail(error))
    }

    fn fail(&self, error: OpenError) -> bool {
        self.has_failed.store(true, Ordering::Relaxed);
        self.failed.lock().get_or_insert(error);
        false
    }
}

impl Admit for Passing<'_> {
    fn retain(&self, slots: &mut Vec<Slot>) {
        // The counters order nothing, they only add up.
        self.tested.fetch_add(slots.len() as u64, Ordering::Relaxed);
        slots.retain(|&slot| self.is_candidate(slot));
        self.retain_passing(slots);
        self.passed.fetch_add(slots.len() as u64, Ordering::Relaxed);
    }

    fn estimate(&self) -> Estimate {
        let may = self.may();
        Estimate { low: 0, likely: may, high: may }
    }
}

impl Passing<'_> {
    /// Removes those of `slots`, which are candidates, that are not visible or do not pass.
    fn retain_passing(&self, slots: &mut Vec<Slot>) {
        if self.has_failed.load(Ordering::Relaxed) {
            return slots.clear();
        }
        if !self.is_all_visible {
            slots.retain(|&slot| self.segment.visible(slot, self.seen));
        }
        if self.residual.is_none() && self.whole.is_empty() {
            return;
        }
        let doubtful: Vec<Slot> = slots.iter().copied().filter(|&slot| self.test(slot).is_some()).collect();
        if doubtful.is_empty() {
            return;
        }
        let mut refused = vec![false; doubtful.len()];
        let read = self.segment.visit_payloads(&doubtful, self.seen, &mut |at, row| {
            let slot = doubtful[at];
            refused[at] = !self.test(slot).is_none_or(|matcher| self.passes(matcher, slot, row));
        });
        if let Err(error) = read {
            self.fail(error);
            return slots.clear();
        }
        let mut tested = doubtful.iter().zip(&refused).peekable();
        slots.retain(|slot| match tested.next_if(|(doubtful, _)| *doubtful == slot) {
            Some((_, &is_refused)) => !is_refused,
            None => true,
        });
    }
}

/// What a segment can say of rows without looking at payloads.
struct Known<'a> {
    segment: &'a Segment,
    seen: Seq,
    vectors: &'a [&'a str],
    fields: Vec<(Path, FieldReader)>,
}

impl Resolve for Known<'_> {
    fn field(&self, path: &Path) -> Option<&dyn FieldIndex> {
        let (_, reader) = self.fields.iter().find(|(known, _)| known == path)?;
        Some(reader)
    }

    fn ids(&self, ids: &[PointId]) -> Option<RoaringBitmap> {
        Some(ids.iter().filter_map(|id| self.segment.find(id, self.seen)).map(|slot| slot.0).collect())
    }

    fn vectors(&self, name: &str) -> Option<RoaringBitmap> {
        // A name that no vector has is had by no row; of the others, the rows know best.
        (!self.vectors.contains(&name)).then(RoaringBitmap::new)
    }
}

/// The nearest rows of `segment` that pass, nearest first, ties by id.
pub(crate) fn search(
    segment: &Segment,
    ask: &Ask<'_>,
    filtering: &Filtering<'_>,
    budget: &Budget<'_>,
    scratch: &mut Scratch,
) -> Result<(Vec<Found>, Work), SearchError> {
    if segment.rows() == 0 {
        // The head after everything was sealed: asking no rows costs as much as asking many.
        let nothing = Work::unfiltered(Stats::default(), 0);
        return Ok((Vec::new(), Work { plan: Plan::Nothing, ..nothing }));
    }
    let passing = Passing::new(segment, ask.seen, filtering)?;
    let mut work = passing.work();
    if passing.candidates.is_empty() {
        return Ok((Vec::new(), work));
    }
    work.plan = Plan::Scan;
    let costs = Costs::new(&passing, ask.limit);
    let place = (ask.depth != Depth::Exact).then(|| costs.place(&passing, ask)).flatten();
    if let Some(place) = place {
        work.plan = if place.has_graph { Plan::Walk } else { Plan::ScanThenTest };
        let (found, stats) = walk(&passing, &place, ask, &costs, budget, scratch)?;
        work.stats += stats;
        // A look at all rows has found all there are, however few.
        if let Some(mut found) = found.filter(|found| found.len() == ask.limit || !place.has_graph) {
            found.retain(|one| one.distance <= ask.bound.unwrap_or(f32::MAX));
            return Ok((found, work));
        }
        work.plan = Plan::WalkThenScan;
    }
    let slots = passing.all()?;
    let mut best = TopK::new(ask.limit, segment);
    let question = question(ask, &passing, budget);
    work.stats += segment.field(ask.vector).search_among(&slots, &question, scratch, &mut best)?;
    Ok((found(best), work))
}

/// What a search costs by either plan, in distances of a scan.
struct Costs {
    results: f64,
    is_doubtful: bool,
    scan: f64,
}

impl Costs {
    fn new(passing: &Passing<'_>, limit: usize) -> Costs {
        let doubts = passing.doubts();
        let row = if passing.candidates.is_run() { RUN_COST } else { 1.0 };
        let scan = row * passing.may() as f64 + TEST_COST * doubts as f64;
        Costs { results: limit.max(RESULTS_MIN) as f64, is_doubtful: doubts > 0, scan }
    }

    /// Of a walk where `share` of the rows it meets pass.
    fn walk(&self, share: f64) -> f64 {
        let distances = WALK_DISTANCES + WALK_DISTANCES_PASSING / share.max(f64::MIN_POSITIVE);
        self.results * WALK_COST * distances + self.tests(share)
    }

    /// Of the tests of a search that asks about good candidates only.
    fn tests(&self, share: f64) -> f64 {
        if self.is_doubtful { self.results * TEST_COST * TESTED / share.max(f64::MIN_POSITIVE) } else { 0.0 }
    }

    /// Where a walk is expected to cost less than scoring every row that passes: of two such graphs the one where it costs least.
    fn place<'p>(&self, passing: &'p Passing<'_>, ask: &Ask<'_>) -> Option<Place<'p>> {
        let likely = passing.estimate.likely.min(passing.may());
        let share = likely as f64 / f64::from(passing.rows.max(1));
        let field = passing.segment.field(ask.vector);
        let has_graph = field.is_worth_walking(passing.may(), ask.limit);
        let whole = match has_graph {
            true => self.walk(share),
            false if self.is_doubtful => f64::from(passing.rows) + self.tests(share),
            // Those that pass are known, and no more than all.
            false => f64::INFINITY,
        };
        let (own, place) = match passing.partition(ask) {
            Some((partition, inside, strays)) => {
                let tested = (1.0 + TEST_COST) * strays.len() as f64;
                let rows = partition.rows().len() as u64;
                let cost = PARTITION_COST * self.walk(inside as f64 / rows as f64) + tested;
                let passes_whole = inside == rows && passing.doubts() == 0;
                (
                    cost,
                    Place {
                        partition: Some(partition),
                        strays,
                        passes_whole,
                        has_graph: true,
                        cost: PARTITION_COST,
                    },
                )
            }
            None => (f64::INFINITY, Place::whole(has_graph)),
        };
        let place = if own <= whole { place } else { Place::whole(has_graph) };
        (own.min(whole) < self.scan).then_some(place)
    }
}

/// The graph that is walked, and the candidates that are not in it.
struct Place<'p> {
    /// One over a partition; else the whole one.
    partition: Option<&'p Partition>,
    strays: RoaringBitmap,
    /// Every row of the partition passes, if it is visible.
    passes_whole: bool,
    /// False where all rows are scored for want of a graph.
    has_graph: bool,
    /// What a walk costs, where one of the whole segment costs 1.
    cost: f64,
}

impl Place<'_> {
    fn whole(has_graph: bool) -> Self {
        Place { partition: None, strays: RoaringBitmap::new(), passes_whole: false, has_graph, cost: 1.0 }
    }
}

impl Passing<'_> {
    /// The partition with a graph that nearly all candidates lie in, how many do, and those that do not: only rows that were patched.
    fn partition(&self, ask: &Ask<'_>) -> Option<(&Partition, u64, RoaringBitmap)> {
        let Rows::Some(candidates) = &self.candidates else { return None };
        let (first, last) = match self.whole.is_empty() {
            true => (candidates.min()?, candidates.max()?),
            false => {
                let sealed = candidates - &self.whole;
                (sealed.min()?, sealed.max()?)
            }
        };
        let partition = self.segment.partition(ask.vector, first, last)?;
        let mut strays = RoaringBitmap::new();
        if !self.whole.is_empty() {
            strays = candidates.clone();
            strays.remove_range(partition.rows());
        }
        let inside = candidates.len() - strays.len();
        // Of fewer, and for more results, no graph is walked.
        let is_worth = inside >= u64::from(GRAPH_ROWS_MIN) && (ask.limit as u64) < inside / 4;
        is_worth.then_some((partition, inside, strays))
    }

    /// Those of `strays` that pass.
    fn passing_of(&self, strays: &RoaringBitmap) -> Vec<Slot> {
        let mut slots: Vec<Slot> = strays.iter().map(Slot).collect();
        self.retain_passing(&mut slots);
        slots
    }
}

/// Walks until enough rows that pass are found; none where a scan is expected to be cheaper after all, by what passed so far.
fn walk(
    passing: &Passing<'_>,
    place: &Place<'_>,
    ask: &Ask<'_>,
    costs: &Costs,
    budget: &Budget<'_>,
    scratch: &mut Scratch,
) -> Result<(Option<Vec<Found>>, Stats), SearchError> {
    let check = || {
        let (tested, passed) = passing.asked();
        let is_hopeless = place.has_graph
            && tested >= TESTED_MIN
            && place.cost * costs.walk((passed + 1) as f64 / tested as f64) > costs.scan;
        budget.check().err().or(is_hopeless.then_some(Stopped::Budget))
    };
    // Whatever is hoped for, a walk that has cost as much as a scan ends.
    // One where all pass ends as one without a filter does, and a look at all rows at their end.
    let is_bound = place.passes_whole || !place.has_graph;
    let guard = if is_bound { u64::MAX } else { (costs.scan / (place.cost * WALK_COST)) as u64 };
    let guarded = Budget::unlimited().with_distances_max(guard.min(budget.left())).with_check(&check);
    let mut best = TopK::new(ask.limit, passing.segment);
    // Without the bound: how many were found says whether the walk was enough.
    // And where no graph was seen to be worth a walk, none that has grown since is walked.
    let depth = if place.has_graph { ask.depth } else { Depth::Exact };
    let unbound = Ask { bound: None, depth, ..*ask };
    let mut question = question(&unbound, passing, &guarded);
    if place.passes_whole && passing.is_all_visible {
        question.admit = &AdmitAll;
    }
    let mut field = passing.segment.field(ask.vector);
    if let Some(partition) = place.partition {
        field.graph = Some(partition);
        field.calibration = Some(partition.calibration());
    }
    let walked = field.search(&question, scratch, &mut best).and_then(|mut stats| {
        if !place.strays.is_empty() {
            let strays = passing.passing_of(&place.strays);
            stats += field.search_among(&strays, &question, scratch, &mut best)?;
        }
        Ok(stats)
    });
    budget.spend(guarded.spent())?;
    let work = Stats { distances: guarded.spent(), ..Stats::default() };
    match walked {
        Ok(stats) => Ok((Some(passing.checked(found(best))?), stats)),
        Err(SearchError::Stopped(Stopped::Budget)) => passing.checked((None, work)),
        Err(error) => Err(error),
    }
}

fn question<'q>(ask: &Ask<'q>, admit: &'q Passing<'_>, budget: &'q Budget<'q>) -> FieldAsk<'q> {
    FieldAsk { query: ask.query, depth: ask.depth, admit, budget, bound: ask.bound }
}

fn found(best: TopK<'_>) -> Vec<Found> {
    best.into_sorted().into_iter().map(|near| Found { slot: near.slot, distance: near.score }).collect()
}
