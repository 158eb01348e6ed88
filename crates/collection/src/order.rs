//! Points in the order of a field: the least or the greatest values first.
//!
//! It refuses fields without an index that has an order: an order by payloads alone reads all of them for every page.

use nearfield_payload::Path;
use nearfield_payload::filter::Filter;
use nearfield_payload::index::{Direction, IndexConfig, IndexKind};
use nearfield_segment::{Filtering, OrderAsk, OrderValue, PayloadField, Placed, Segment};
use nearfield_types::PointId;

use crate::error::{Error, Result};
use crate::point::{Record, With};
use crate::view::{View, check_limit, search_error};

/// A question for the first points in the order of a field.
#[derive(Clone, Copy, Debug)]
pub struct OrderBy<'a> {
    /// Where the values are. There must be an index of integers (for ranges), floats or times.
    pub path: &'a Path,
    /// Which end is first.
    pub direction: Direction,
    /// Only values from this one on, in the direction asked for and itself included.
    pub start_from: Option<OrderValue>,
    /// Only points that pass this.
    pub filter: Option<&'a Filter>,
    /// At most this many answers.
    pub limit: usize,
    /// What is wanted of each.
    pub with: With,
}

impl<'a> OrderBy<'a> {
    /// The `limit` points with the least values at `path`, ids and values only.
    pub fn new(path: &'a Path, limit: usize) -> Self {
        let direction = Direction::Ascending;
        OrderBy { path, direction, start_from: None, filter: None, limit, with: With::NOTHING }
    }

    /// The greatest values first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    /// Only values from `value` on.
    #[must_use]
    pub fn start_from(mut self, value: OrderValue) -> Self {
        self.start_from = Some(value);
        self
    }

    /// Only points that pass `filter`.
    #[must_use]
    pub fn filter(mut self, filter: &'a Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Says what is wanted of each point found.
    #[must_use]
    pub fn with(mut self, with: With) -> Self {
        self.with = with;
        self
    }
}

/// A point and the value that gives it its place.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderedRecord {
    /// The value.
    pub value: OrderValue,
    /// The point.
    pub record: Record,
}

impl View {
    /// The first points in the order of the values at a path, ties by id; descending is ascending read backwards. A point with several values
    /// comes once for each that differs, one without any does not come. Numbers are compared by value, exactly.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] without an index that has an order, if `start_from` is of another kind, or past the limits;
    /// [`crate::ErrorKind::Corrupt`] if stored bytes are damaged.
    ///
    /// # Complexity
    ///
    /// The entries of the index up to the last answer; with a filter at most about as much as a look at every point that passes. Points that
    /// the index does not have yet are read.
    pub fn order_by(&self, order: &OrderBy<'_>) -> Result<Vec<OrderedRecord>> {
        check_limit(order.limit)?;
        let field = self.field(order.path).filter(|field| has_order(field));
        let Some(field) = field else { return Err(no_order(order.path, self.field(order.path))) };
        check_start(field, order.start_from)?;
        let names = self.vector_names();
        let filtering: Option<Filtering<'_>> =
            order.filter.map(|filter| self.filtering(filter, &names)).transpose()?;
        let mut first: Vec<(PointId, &Segment, Placed)> = Vec::new();
        for member in self.version.members() {
            let last = (first.len() == order.limit).then(|| first.last()).flatten();
            let ask = OrderAsk {
                field,
                direction: order.direction,
                start_from: order.start_from,
                filter: filtering.as_ref(),
                limit: order.limit,
                seen: self.seen,
                bound: last.map(|(_, _, placed)| placed.value),
            };
            let segment = &member.segment;
            let found = segment.first_by(&ask).map_err(|e| self.located(segment, search_error(e)))?;
            first.extend(found.into_iter().map(|placed| (segment.id(placed.slot), segment, placed)));
            first.sort_unstable_by(|(a_id, _, a), (b_id, _, b)| {
                let ascending = a.value.order(&b.value).then_with(|| a_id.cmp(b_id));
                if order.direction == Direction::Ascending { ascending } else { ascending.reverse() }
            });
            first.truncate(order.limit);
        }
        first
            .into_iter()
            .map(|(id, segment, Placed { value, slot })| {
                let (payload, vectors) = self.fetch(segment, slot, order.with)?;
                Ok(OrderedRecord { value, record: Record { id, payload, vectors } })
            })
            .collect()
    }
}

fn has_order(field: &PayloadField) -> bool {
    matches!(
        field.config,
        IndexConfig::Integer { range: true, .. } | IndexConfig::Float | IndexConfig::Datetime
    )
}

fn no_order(path: &Path, field: Option<&std::sync::Arc<PayloadField>>) -> Error {
    let have = match field.map(|field| field.config.kind()) {
        None => "there is no index of it".to_owned(),
        Some(IndexKind::Integer) => "its index of integers is for equality only".to_owned(),
        Some(kind) => format!("its {} index has no order", kind.name()),
    };
    Error::invalid(format!(
        "No range index for `order_by` key: `{path}`. Please create one to use `order_by`: {have}, an integer (with range), float or datetime index is needed"
    ))
}

fn check_start(field: &PayloadField, start_from: Option<OrderValue>) -> Result<()> {
    let (path, kind) = (&field.path, field.config.kind());
    match start_from {
        Some(OrderValue::Number(number)) if kind == IndexKind::Datetime => Err(Error::invalid(format!(
            "start_from is the number {}: \"{path}\" is in the order of its datetime index",
            number.as_f64()
        ))),
        Some(OrderValue::Datetime(time)) if kind != IndexKind::Datetime => Err(Error::invalid(format!(
            "start_from is the time {time}: \"{path}\" is in the order of its {} index",
            kind.name()
        ))),
        Some(OrderValue::Number(number)) if number.is_nan() => {
            Err(Error::invalid(format!("start_from for \"{path}\" is not a number")))
        }
        _ => Ok(()),
    }
}
