//! One leaf made ready, and what it asks of one row.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_types::PointId;

use super::words::Words;
use crate::filter::datetime::Datetime;
use crate::filter::geo::{GeoBox, GeoPoint, GeoPolygon, GeoRadius};
use crate::filter::operand::{Key, Number, Range, Scalar, Test};
use crate::filter::slice::slice_of;
use crate::filter::tree::Leaf;
use crate::path::{Path, Step};
use crate::row::{ArrayRef, ObjectRef, RowError, ValueRef};
use crate::text::Analyzer;

/// Up to so many texts are compared one by one; a set costs more than that.
const TEXTS_COMPARED: usize = 8;

/// The point that is asked.
pub(super) struct Subject<'a> {
    pub(super) object: ObjectRef<'a>,
    pub(super) id: &'a PointId,
    pub(super) has_vector: &'a dyn Fn(&str) -> bool,
}

#[derive(Debug)]
pub(super) enum Probe {
    Field(Path, Ask),
    IsEmpty(Path),
    IsNull(Path),
    Exists(Path),
    HasId(HashSet<PointId>),
    HasVector(Box<str>),
    Slice { total: u32, index: u32 },
}

/// A test made ready.
#[derive(Debug)]
pub(super) enum Ask {
    In(Keys),
    NotIn(Keys),
    Equals(Scalars),
    Words(Words),
    Prefix(Box<str>),
    Substring(Box<str>),
    Range(Range<Number>),
    Bare(Range<Number>),
    Datetimes(Range<Datetime>),
    Count(Range<u64>),
    GeoBox(GeoBox),
    GeoRadius(GeoRadius),
    GeoPolygon(GeoBox, GeoPolygon),
}

/// Values to be equal to, kind and all.
#[derive(Debug, Default)]
pub(super) struct Keys {
    no: bool,
    yes: bool,
    /// Ascending.
    integers: Vec<i64>,
    texts: Texts,
}

/// Values to be equal to, numbers by value.
#[derive(Debug, Default)]
pub(super) struct Scalars {
    null: bool,
    no: bool,
    yes: bool,
    /// Ascending.
    numbers: Vec<Number>,
    texts: Texts,
}

#[derive(Debug)]
enum Texts {
    Few(Vec<Box<str>>),
    Many(HashSet<Box<str>>),
}

impl Default for Texts {
    fn default() -> Self {
        Texts::Few(Vec::new())
    }
}

impl Texts {
    fn push(&mut self, text: &str) {
        match self {
            Texts::Few(texts) if texts.len() < TEXTS_COMPARED => texts.push(text.into()),
            Texts::Few(texts) => {
                let mut many: HashSet<_> = texts.drain(..).collect();
                many.insert(text.into());
                *self = Texts::Many(many);
            }
            Texts::Many(texts) => {
                texts.insert(text.into());
            }
        }
    }

    fn contains(&self, text: &str) -> bool {
        match self {
            Texts::Few(texts) => texts.iter().any(|one| **one == *text),
            Texts::Many(texts) => texts.contains(text),
        }
    }
}

impl Keys {
    fn new(keys: &[Key]) -> Keys {
        let mut set = Keys::default();
        for key in keys {
            match key {
                Key::Bool(value) => *(if *value { &mut set.yes } else { &mut set.no }) = true,
                Key::I64(value) => set.integers.push(*value),
                Key::String(text) => set.texts.push(text),
            }
        }
        set.integers.sort_unstable();
        set.integers.dedup();
        set
    }

    fn contains(&self, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Bool(value) => {
                if value {
                    self.yes
                } else {
                    self.no
                }
            }
            ValueRef::I64(value) => self.integers.binary_search(&value).is_ok(),
            ValueRef::String(text) => self.texts.contains(text),
            _ => false,
        }
    }
}

impl Scalars {
    fn new(scalars: &[Scalar]) -> Scalars {
        let mut set = Scalars::default();
        for scalar in scalars {
            match scalar {
                Scalar::Null => set.null = true,
                Scalar::Bool(value) => *(if *value { &mut set.yes } else { &mut set.no }) = true,
                Scalar::Number(number) => set.numbers.push(*number),
                Scalar::String(text) => set.texts.push(text),
            }
        }
        // NaN was refused; without it numbers are totally ordered.
        set.numbers.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        set.numbers.dedup();
        set
    }

    fn contains(&self, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Null => self.null,
            ValueRef::Bool(value) => {
                if value {
                    self.yes
                } else {
                    self.no
                }
            }
            ValueRef::String(text) => self.texts.contains(text),
            value => number_of(value).is_some_and(|number| {
                let order = |one: &Number| one.partial_cmp(&number).unwrap_or(std::cmp::Ordering::Less);
                self.numbers.binary_search_by(order).is_ok()
            }),
        }
    }
}

impl Probe {
    pub(super) fn new(leaf: &Leaf, texts: &dyn Fn(&Path) -> Option<Arc<Analyzer>>) -> Probe {
        match leaf {
            Leaf::Field { path, test } => Probe::Field(path.clone(), Ask::new(test, &|| texts(path))),
            Leaf::IsEmpty(path) => Probe::IsEmpty(path.clone()),
            Leaf::IsNull(path) => Probe::IsNull(path.clone()),
            Leaf::Exists(path) => Probe::Exists(path.clone()),
            Leaf::HasId(ids) => Probe::HasId(ids.iter().cloned().collect()),
            Leaf::HasVector(name) => Probe::HasVector(name.clone()),
            Leaf::Slice { total, index } => Probe::Slice { total: *total, index: *index },
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Probe::Field(path, _) | Probe::IsEmpty(path) | Probe::IsNull(path) | Probe::Exists(path) => {
                Some(path)
            }
            Probe::HasId(_) | Probe::HasVector(_) | Probe::Slice { .. } => None,
        }
    }

    pub(super) fn holds(&self, object: ObjectRef<'_>, subject: &Subject<'_>) -> Result<bool, RowError> {
        match self {
            Probe::Field(path, ask) => match any_value(object, path, |value| ask.holds(value))? {
                Some(holds) => Ok(holds),
                None => Ok(matches!(ask, Ask::Count(range) if range.contains(&0))),
            },
            Probe::IsEmpty(path) => {
                let full = |value| match value {
                    ValueRef::Null => Ok(false),
                    ValueRef::Array(array) => Ok(!array.is_empty()),
                    _ => Ok(true),
                };
                Ok(any_value(object, path, full)? != Some(true))
            }
            Probe::IsNull(path) => {
                let null = |value| any_element(value, |one| Ok(matches!(one, ValueRef::Null)));
                Ok(any_value(object, path, null)? == Some(true))
            }
            Probe::Exists(path) => Ok(any_value(object, path, |_| Ok(true))?.is_some()),
            Probe::HasId(ids) => Ok(ids.contains(subject.id)),
            Probe::HasVector(name) => Ok((subject.has_vector)(name)),
            Probe::Slice { total, index } => Ok(slice_of(subject.id, *total) == *index),
        }
    }
}

impl Ask {
    fn new(test: &Test, analyzer: &dyn Fn() -> Option<Arc<Analyzer>>) -> Ask {
        match test {
            Test::Value(key) => Ask::In(Keys::new(std::slice::from_ref(key))),
            Test::Any(keys) => Ask::In(Keys::new(keys)),
            Test::Except(keys) => Ask::NotIn(Keys::new(keys)),
            Test::Equals(scalars) => Ask::Equals(Scalars::new(scalars)),
            Test::Text(text) => Ask::Words(Words::all(text, analyzer().unwrap_or_default())),
            Test::TextAny(text) => Ask::Words(Words::any(text, analyzer().unwrap_or_default())),
            Test::Phrase(text) => Ask::Words(Words::phrase(text, analyzer().unwrap_or_default())),
            Test::Prefix(text) => Ask::Prefix(text.clone()),
            Test::Substring(text) => Ask::Substring(text.clone()),
            Test::Range(range) => Ask::Range(*range),
            Test::Bare(range) => Ask::Bare(*range),
            Test::Datetimes(range) => Ask::Datetimes(*range),
            Test::Count(range) => Ask::Count(*range),
            Test::GeoBox(area) => Ask::GeoBox(*area),
            Test::GeoRadius(area) => Ask::GeoRadius(*area),
            Test::GeoPolygon(area) => Ask::GeoPolygon(area.bounds(), area.clone()),
        }
    }

    /// Whether a value of the field passes, by one of its elements where it is a list.
    #[inline]
    fn holds(&self, value: ValueRef<'_>) -> Result<bool, RowError> {
        match (self, value) {
            (Ask::Count(range), value) => Ok(range.contains(&count_of(value))),
            (Ask::Bare(range), value) => Ok(number_of(value).is_some_and(|number| range.contains(&number))),
            (ask, ValueRef::Array(array)) => any_item(array, |one| ask.holds_one(one)),
            (ask, one) => ask.holds_one(one),
        }
    }

    fn holds_one(&self, value: ValueRef<'_>) -> Result<bool, RowError> {
        Ok(match (self, value) {
            (Ask::In(keys), value) => keys.contains(value),
            (Ask::NotIn(keys), value) => !matches!(value, ValueRef::Null) && !keys.contains(value),
            (Ask::Equals(scalars), value) => scalars.contains(value),
            (Ask::Words(words), ValueRef::String(text)) => words.in_text(text),
            (Ask::Prefix(prefix), ValueRef::String(text)) => text.starts_with(&**prefix),
            (Ask::Substring(part), ValueRef::String(text)) => text.contains(&**part),
            (Ask::Range(range), value) => number_of(value).is_some_and(|number| range.contains(&number)),
            (Ask::Datetimes(range), ValueRef::String(text)) => {
                Datetime::parse(text).is_ok_and(|time| range.contains(&time))
            }
            (Ask::GeoBox(area), value) => point_of(value)?.is_some_and(|point| area.contains(&point)),
            (Ask::GeoRadius(area), value) => point_of(value)?.is_some_and(|point| area.contains(&point)),
            (Ask::GeoPolygon(bounds, area), value) => {
                point_of(value)?.is_some_and(|point| bounds.contains(&point) && area.contains(&point))
            }
            _ => false,
        })
    }
}

/// The number that a value is.
pub(crate) fn number_of(value: ValueRef<'_>) -> Option<Number> {
    match value {
        ValueRef::I64(value) => Some(Number::I64(value)),
        ValueRef::U64(value) => Some(Number::U64(value)),
        ValueRef::F64(value) => Some(Number::F64(value)),
        _ => None,
    }
}

/// How many values a value is.
pub(crate) fn count_of(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Array(array) => array.len() as u64,
        _ => 1,
    }
}

/// The place that a value is: an object with numbers `lon` and `lat` inside their ranges.
pub(crate) fn point_of(value: ValueRef<'_>) -> Result<Option<GeoPoint>, RowError> {
    let ValueRef::Object(object) = value else { return Ok(None) };
    let (Some(lon), Some(lat)) = (object.get("lon")?, object.get("lat")?) else { return Ok(None) };
    let point = match (number_of(lon), number_of(lat)) {
        (Some(lon), Some(lat)) => GeoPoint::new(lon.as_f64(), lat.as_f64()),
        _ => return Ok(None),
    };
    Ok(point.is_valid().then_some(point))
}

/// True if a value, or an element of it where it is a list, passes.
pub(crate) fn any_element<'a>(
    value: ValueRef<'a>,
    mut passes: impl FnMut(ValueRef<'a>) -> Result<bool, RowError>,
) -> Result<bool, RowError> {
    match value {
        ValueRef::Array(array) => any_item(array, passes),
        one => passes(one),
    }
}

fn any_item<'a>(
    array: ArrayRef<'a>,
    mut passes: impl FnMut(ValueRef<'a>) -> Result<bool, RowError>,
) -> Result<bool, RowError> {
    for item in array.iter() {
        if passes(item?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The objects at `path`, the first one last.
pub(super) fn collect_objects<'a>(
    object: ObjectRef<'a>,
    path: &Path,
    objects: &mut Vec<ObjectRef<'a>>,
) -> Result<(), RowError> {
    objects.clear();
    any_value(object, path, |value| {
        if let ValueRef::Object(object) = value {
            objects.push(object);
        }
        Ok(false)
    })?;
    objects.reverse();
    Ok(())
}

/// Asks the values at `path` in order until one passes: true if one did, `None` if there is no value at all. Allocates only for lists within lists on the path.
pub(crate) fn any_value<'a>(
    object: ObjectRef<'a>,
    path: &Path,
    mut passes: impl FnMut(ValueRef<'a>) -> Result<bool, RowError>,
) -> Result<Option<bool>, RowError> {
    let mut found = None;
    let mut visit = |value| -> Result<ControlFlow<()>, RowError> {
        let passed = passes(value)?;
        found = Some(passed);
        Ok(if passed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let steps = path.steps();
    let (array, at) = match descend(ValueRef::Object(object), steps, 0)? {
        Place::Missing => return Ok(None),
        Place::Value(value) => {
            let _ = visit(value)?;
            return Ok(found);
        }
        Place::List(array, at) => (array, at),
    };
    let mut open = vec![(array.iter(), at)];
    while let Some((items, at)) = open.last_mut() {
        let Some(item) = items.next() else {
            open.pop();
            continue;
        };
        match descend(item?, steps, *at)? {
            Place::Missing => {}
            Place::Value(value) => {
                if visit(value)?.is_break() {
                    break;
                }
            }
            Place::List(array, at) => open.push((array.iter(), at)),
        }
    }
    Ok(found)
}

/// Where a path leads before it divides.
enum Place<'a> {
    Missing,
    Value(ValueRef<'a>),
    /// A list whose every item goes on at this step.
    List(ArrayRef<'a>, usize),
}

#[inline]
fn descend<'a>(mut value: ValueRef<'a>, steps: &[Step], mut at: usize) -> Result<Place<'a>, RowError> {
    while let Some(step) = steps.get(at) {
        at += 1;
        let next = match (step, value) {
            (Step::Key(key), ValueRef::Object(object)) => object.get(key)?,
            (Step::Index(index), ValueRef::Array(array)) => array.iter().nth(*index as usize).transpose()?,
            (Step::Each, ValueRef::Array(array)) => return Ok(Place::List(array, at)),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(Place::Missing),
        }
    }
    Ok(Place::Value(value))
}
