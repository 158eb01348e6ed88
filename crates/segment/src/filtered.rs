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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_ann::{Admit, Budget, Estimate, Scratch, Stats, Stopped, TopK};
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
use crate::field::{Depth, FieldAsk};
use crate::payload_index::PayloadField;
use crate::segment::{Ask, Found, Segment};

/// A scan of `n` of `all` rows is chosen where `n * n` is at most this many times `all`: a walk costs about so many scanned rows, and more
/// by the share of rows that do not pass.
const WALK_ROWS: u64 = 2_500;
/// Rows in doubt that are tested before anything else: about a millisecond.
const DOUBTS_FIRST: u64 = 4_096;
/// Distances after which a walk whose rows in doubt are many is given up: a test costs ten of them.
const DOUBTFUL_WALK: u64 = 20_000;
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

fn matcher(filter: &Filter, fields: &[Arc<PayloadField>]) -> Result<Matcher, FilterError> {
    Matcher::with_texts(filter.view(), |path| {
        let field = fields.iter().find(|field| field.path == *path)?;
        let IndexConfig::Text(config) = &field.config else { return None };
        // A configuration without an analyzer was refused when the index was made.
        Analyzer::new(config).ok().map(Arc::new)
    })
}

/// A filter bound to one segment at one Seq.
pub(crate) struct Passing<'a> {
    segment: &'a Segment,
    seen: Seq,
    filtering: &'a Filtering<'a>,
    candidates: Rows,
    /// Candidates that pass iff the residual does.
    recheck: Rows,
    residual: Option<Matcher>,
    /// Candidates that pass iff the whole filter does.
    whole: RoaringBitmap,
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
        let Bound { candidates, recheck, residual, whole, .. } = bound?;
        let residual = residual.map(|filter| matcher(&filter, filtering.fields)).transpose()?;
        let (failed, has_failed) = (Mutex::new(None), AtomicBool::new(false));
        Ok(Passing { segment, seen, filtering, candidates, recheck, residual, whole, failed, has_failed })
    }

    /// Rows that must be tested.
    fn doubts(&self) -> u64 {
        self.recheck.len(self.segment.rows()) + self.whole.len()
    }

    fn may(&self) -> u64 {
        self.candidates.len(self.segment.rows())
    }

    /// The visible rows that pass, ascending. O(candidates), and a test for each in doubt.
    pub(crate) fn all(&self) -> Result<Vec<Slot>, SearchError> {
        let mut passing = Vec::new();
        let mut part = Vec::with_capacity(PART);
        let mut slots: Box<dyn Iterator<Item = u32>> = match &self.candidates {
            Rows::All => Box::new(0..self.segment.rows()),
            Rows::Some(some) => Box::new(some.iter()),
        };
        loop {
            part.extend(slots.by_ref().take(PART).map(Slot));
            if part.is_empty() {
                break;
            }
            self.retain(&mut part);
            passing.append(&mut part);
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

    fn checked<T>(&self, answer: T) -> Result<T, SearchError> {
        match self.failed.lock().take() {
            Some(error) => Err(SearchError::Payload(error)),
            None => Ok(answer),
        }
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
        if self.has_failed.load(Ordering::Relaxed) {
            return slots.clear();
        }
        slots.retain(|&slot| {
            self.segment.visible(slot, self.seen)
                && match &self.candidates {
                    Rows::All => true,
                    Rows::Some(some) => some.contains(slot.0),
                }
        });
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

    fn estimate(&self) -> Estimate {
        let may = self.may();
        Estimate { low: 0, likely: may, high: may }
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
) -> Result<(Vec<Found>, Stats), SearchError> {
    let passing = Passing::new(segment, ask.seen, filtering)?;
    let mut stats = Stats::default();
    if ask.depth != Depth::Exact && is_walk_worthwhile(&passing, segment.rows()) {
        let guard = if passing.doubts() > 0 { DOUBTFUL_WALK } else { passing.may() };
        match walk(&passing, ask, guard, budget, scratch)? {
            (Some(mut found), work) if found.len() == ask.limit => {
                found.retain(|one| one.distance <= ask.bound.unwrap_or(f32::MAX));
                return Ok((found, work));
            }
            (_, work) => stats = work,
        }
    }
    let slots = passing.all()?;
    let mut best = TopK::new(ask.limit, segment);
    let question = question(ask, &passing, budget);
    stats += segment.field(ask.vector).search_among(&slots, &question, scratch, &mut best)?;
    Ok((found(best), stats))
}

/// True where walking the graph is expected to cost less than scoring every row that passes.
fn is_walk_worthwhile(passing: &Passing<'_>, rows: u32) -> bool {
    let may = passing.may();
    passing.doubts() > DOUBTS_FIRST || may.saturating_mul(may) > WALK_ROWS * u64::from(rows)
}

/// Walks until enough rows that pass are found; none where more than `guard` distances would be needed.
fn walk(
    passing: &Passing<'_>,
    ask: &Ask<'_>,
    guard: u64,
    budget: &Budget<'_>,
    scratch: &mut Scratch,
) -> Result<(Option<Vec<Found>>, Stats), SearchError> {
    let check = || budget.check().err();
    let guarded = Budget::unlimited().with_distances_max(guard.min(budget.left())).with_check(&check);
    let mut best = TopK::new(ask.limit, passing.segment);
    // Without the bound: how many were found says whether the walk was enough.
    let unbound = Ask { bound: None, ..*ask };
    let walked =
        passing.segment.field(ask.vector).search(&question(&unbound, passing, &guarded), scratch, &mut best);
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
