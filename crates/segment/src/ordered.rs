//! The rows with the least or the greatest values of a field: the index in its order as far as it reaches, the payload for the rest.
//!
//! It refuses to put segments together. A row with several values comes once for each of them that differs; descending is ascending read
//! backwards, ties included.
//!
//! # How they are found
//!
//! ```text
//! aside    rows that the index does not answer for: patched, not covered, values that it cannot hold
//! walk     the index in its order, rows tested as they come, until the best can no longer change
//! gather   a walk that meets too few rows that pass is given up: every row that passes is looked up
//! rest     the rows aside, by their payload
//! ```

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_ann::Ties;
use nearfield_payload::filter::{Datetime, Number, Range, Test};
use nearfield_payload::index::{Direction, FieldIndex, FieldReader, IndexKind, KeyRef, visit_values};
use nearfield_payload::{Path, RowError, RowRef, ValueRef};
use nearfield_types::{Seq, Slot};
use roaring::RoaringBitmap;

use crate::error::SearchError;
use crate::filtered::Filtering;
use crate::payload_index::PayloadField;
use crate::segment::Segment;
use crate::selection::{PART, Selection};

/// A walk under a filter is given up after so many entries, and sixteen for each answer.
const WALK_ENTRIES: usize = 4_096;

/// A value that points are put in order by.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum OrderValue {
    /// Of an index of integers or floats.
    Number(Number),
    /// Of an index of dates and times.
    Datetime(Datetime),
}

impl OrderValue {
    /// Numbers by value, exactly.
    pub fn order(&self, other: &OrderValue) -> Ordering {
        // Payloads hold no NaN, and one index holds one kind.
        self.partial_cmp(other).unwrap_or(Ordering::Equal)
    }
}

/// What one segment is asked for.
#[derive(Clone, Copy, Debug)]
pub struct OrderAsk<'a> {
    /// The index of integers, floats or times whose values order the rows. It need not be built yet.
    pub field: &'a Arc<PayloadField>,
    /// Which end is first.
    pub direction: Direction,
    /// Only values from this one on, itself included.
    pub start_from: Option<OrderValue>,
    /// Only rows that pass this.
    pub filter: Option<&'a Filtering<'a>>,
    /// At most this many answers.
    pub limit: usize,
    /// As of this Seq.
    pub seen: Seq,
    /// The last value that is still of use; equal ones are.
    pub bound: Option<OrderValue>,
}

/// A row and one of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// The value.
    pub value: OrderValue,
    /// The row.
    pub slot: Slot,
}

impl Segment {
    /// The first rows in the order of their values, ties by id.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if a payload or a field index of the filter is damaged.
    ///
    /// # Complexity
    ///
    /// The entries of the index up to the last answer and its ties; with a filter at most about as much as a look at every row that passes.
    /// Every row that the index does not answer for is read.
    pub fn first_by(&self, ask: &OrderAsk<'_>) -> Result<Vec<Placed>, SearchError> {
        let mut best = Best::new(self, ask);
        if ask.limit == 0 {
            return Ok(Vec::new());
        }
        let path = &ask.field.path;
        let reader = self.field_reader(ask.field);
        // After the index: what was patched since it was read is among these.
        let mut aside = self.patched();
        let selection = Selection::new(self, ask.filter, ask.seen)?;
        let unsure = reader
            .as_ref()
            .and_then(|reader| Some((reader, self.ask_index(path, reader, FieldReader::unsure)?)));
        match unsure {
            Some((reader, unsure)) => {
                aside |= unsure;
                aside.insert_range(reader.covered().min(self.rows())..self.rows());
                let sources = Sources { segment: self, selection: &selection, reader, aside: &aside };
                sources.collect(ask, &mut best)?;
            }
            None => {
                aside.insert_range(0..self.rows());
            }
        }
        self.rest(ask, &selection, &aside, &mut best)?;
        Ok(best.into_sorted())
    }

    /// Offers the rows of `aside` by their payload.
    fn rest(
        &self,
        ask: &OrderAsk<'_>,
        selection: &Selection<'_>,
        aside: &RoaringBitmap,
        best: &mut Best<'_>,
    ) -> Result<(), SearchError> {
        let kind = ask.field.config.kind();
        let mut slots = aside.iter().take_while(|&slot| slot < self.rows()).map(Slot);
        loop {
            let mut part: Vec<Slot> = slots.by_ref().take(PART).collect();
            if part.is_empty() {
                return Ok(());
            }
            selection.retain(&mut part)?;
            self.visit_rows(part, ask.seen, &mut |slot, row| {
                for value in row_values(&ask.field.path, kind, row)? {
                    best.offer(Placed { value, slot });
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
    }
}

/// What the rows that the index answers for are found by.
struct Sources<'a> {
    segment: &'a Segment,
    selection: &'a Selection<'a>,
    reader: &'a FieldReader,
    aside: &'a RoaringBitmap,
}

impl Sources<'_> {
    fn collect(&self, ask: &OrderAsk<'_>, best: &mut Best<'_>) -> Result<(), SearchError> {
        if self.walk(ask, best)? {
            return Ok(());
        }
        best.clear();
        self.gather(best)
    }

    /// Offers entries in the order of the index; false if it was given up.
    fn walk(&self, ask: &OrderAsk<'_>, best: &mut Best<'_>) -> Result<bool, SearchError> {
        let Some(ordered) = self.reader.ordered() else { return Ok(false) };
        let guard = match self.selection.is_unfiltered() {
            true => usize::MAX,
            false => ask.limit.saturating_mul(16).saturating_add(WALK_ENTRIES),
        };
        let within = ask.start_from.map(|from| within(from, ask.direction));
        let mut part: Vec<Placed> = Vec::with_capacity(PART);
        let (mut met, mut failed) = (0, None);
        let visited = ordered.visit(within.as_ref(), ask.direction, &mut |key, slot| {
            let Some(value) = value_of(key) else { return ControlFlow::Continue(()) };
            met += 1;
            if best.is_beyond(&value) || met > guard {
                return ControlFlow::Break(());
            }
            if self.aside.contains(slot.0) {
                return ControlFlow::Continue(());
            }
            part.push(Placed { value, slot });
            if part.len() < PART {
                return ControlFlow::Continue(());
            }
            match self.offer(&mut part, best) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        // Damage would have shown when the index was asked for its special rows: every question checks all of it at first.
        let is_answer = visited?;
        self.offer(&mut part, best)?;
        Ok(is_answer && met <= guard)
    }

    /// Offers those of `part` that are selected.
    fn offer(&self, part: &mut Vec<Placed>, best: &mut Best<'_>) -> Result<(), SearchError> {
        let mut slots: Vec<Slot> = part.iter().map(|placed| placed.slot).collect();
        self.selection.retain(&mut slots)?;
        let mut kept = slots.into_iter().peekable();
        for placed in part.drain(..) {
            if kept.next_if_eq(&placed.slot).is_some() {
                best.offer(placed);
            }
        }
        best.settle();
        Ok(())
    }

    /// Offers every selected row by what the index says of it.
    fn gather(&self, best: &mut Best<'_>) -> Result<(), SearchError> {
        let Some(values) = self.reader.values() else { return Ok(()) };
        for slot in self.selection.rows()? - self.aside {
            let slot = Slot(slot);
            values.visit(slot, &mut |key| {
                if let Some(value) = value_of(key) {
                    best.offer(Placed { value, slot });
                }
            })?;
        }
        debug_assert!(self.segment.rows() >= self.aside.max().map_or(0, |last| last + 1));
        Ok(())
    }
}

/// The first rows so far.
struct Best<'a> {
    segment: &'a Segment,
    direction: Direction,
    start_from: Option<OrderValue>,
    limit: usize,
    bound: Option<OrderValue>,
    /// The bound that was asked for.
    bound_given: Option<OrderValue>,
    /// At most twice the limit and a part.
    found: Vec<Placed>,
}

impl<'a> Best<'a> {
    fn new(segment: &'a Segment, ask: &OrderAsk<'_>) -> Self {
        let OrderAsk { direction, start_from, limit, bound, .. } = *ask;
        Best { segment, direction, start_from, limit, bound, bound_given: bound, found: Vec::new() }
    }

    /// The order of values in the direction asked for.
    fn compare(&self, a: &OrderValue, b: &OrderValue) -> Ordering {
        directed(self.direction, a.order(b))
    }

    /// True for a value that comes after all that can still be an answer.
    fn is_beyond(&self, value: &OrderValue) -> bool {
        self.bound.is_some_and(|bound| self.compare(value, &bound).is_gt())
    }

    fn offer(&mut self, placed: Placed) {
        let is_before = |from: OrderValue| self.compare(&placed.value, &from).is_lt();
        if self.is_beyond(&placed.value) || self.start_from.is_some_and(is_before) {
            return;
        }
        self.found.push(placed);
        if self.found.len() >= self.limit.saturating_mul(2).saturating_add(PART) {
            self.settle();
        }
    }

    /// Leaves the first ones, and no value after them a chance.
    fn settle(&mut self) {
        if self.found.len() < self.limit {
            return;
        }
        let (segment, direction) = (self.segment, self.direction);
        self.found.sort_unstable_by(|a, b| {
            directed(direction, a.value.order(&b.value).then_with(|| segment.compare(a.slot, b.slot)))
        });
        self.found.truncate(self.limit);
        self.bound = self.found.last().map(|last| last.value);
    }

    fn clear(&mut self) {
        self.found.clear();
        self.bound = self.bound_given;
    }

    fn into_sorted(mut self) -> Vec<Placed> {
        self.limit = self.limit.min(self.found.len());
        self.settle();
        self.found
    }
}

fn directed(direction: Direction, order: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => order,
        Direction::Descending => order.reverse(),
    }
}

/// The values from `from` on.
fn within(from: OrderValue, direction: Direction) -> Test {
    match (from, direction) {
        (OrderValue::Number(from), Direction::Ascending) => {
            Test::Range(Range { gte: Some(from), ..Range::default() })
        }
        (OrderValue::Number(from), Direction::Descending) => {
            Test::Range(Range { lte: Some(from), ..Range::default() })
        }
        (OrderValue::Datetime(from), Direction::Ascending) => {
            Test::Datetimes(Range { gte: Some(from), ..Range::default() })
        }
        (OrderValue::Datetime(from), Direction::Descending) => {
            Test::Datetimes(Range { lte: Some(from), ..Range::default() })
        }
    }
}

fn value_of(key: KeyRef<'_>) -> Option<OrderValue> {
    match key {
        KeyRef::I64(value) => Some(OrderValue::Number(Number::I64(value))),
        KeyRef::F64(value) => Some(OrderValue::Number(Number::F64(value))),
        KeyRef::Datetime(value) => Some(OrderValue::Datetime(value)),
        KeyRef::Bool(_) | KeyRef::String(_) | KeyRef::Uuid(_) => None,
    }
}

/// The values of one row, each once, as an index of this kind would have them, and those that it could not hold.
fn row_values(path: &Path, kind: IndexKind, row: RowRef<'_>) -> Result<Vec<OrderValue>, RowError> {
    let mut values = Vec::new();
    visit_values(path, &row, |value| {
        values.extend(match kind {
            IndexKind::Datetime => match value {
                ValueRef::String(text) => Datetime::parse(text).ok().map(OrderValue::Datetime),
                _ => None,
            },
            _ => number_of(value).map(|number| OrderValue::Number(as_indexed(kind, number))),
        });
        Ok(())
    })?;
    values.sort_unstable_by(OrderValue::order);
    values.dedup();
    Ok(values)
}

fn number_of(value: ValueRef<'_>) -> Option<Number> {
    match value {
        ValueRef::I64(value) => Some(Number::I64(value)),
        ValueRef::U64(value) => Some(Number::from(value)),
        // -0.0 is 0.0.
        ValueRef::F64(value) => Some(Number::F64(value + 0.0)),
        _ => None,
    }
}

/// The number with the kind that an index gives it: one of floats makes a float of every number that is one.
fn as_indexed(kind: IndexKind, number: Number) -> Number {
    let float = Number::F64(number.as_f64());
    match kind {
        IndexKind::Float if float == number => float,
        _ => number,
    }
}
