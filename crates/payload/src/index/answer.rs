//! A question to one file: as ranges of keys, as a shape, as words, or by the special rows.
//!
//! It refuses to claim more than the keys say. A test for values of another kind than the index holds is answered by the rows
//! that have such values, to be tested one by one; as a rule there are none.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::config::{IndexConfig, IndexKind};
use super::geo::{self, Shape};
use super::view::{KeysView, Ranges, View};
use super::words::{self, Query, Wanted};
use super::{Estimate, Question, bits, key};
use crate::filter::{Datetime, Key, Number, Range as Bounds, Scalar, Test};

/// A question made ready for one file.
pub(crate) enum Answer<'a> {
    Lookup(Lookup<'a>),
    Shape(Shape<'a>),
    Words(Query),
    /// How many values.
    Count(&'a Bounds<u64>),
    /// The rows of a set, or all others.
    Set(&'a RoaringBitmap, bool),
}

/// Rows with a key in some ranges, and further rows that must be tested.
#[derive(Default)]
pub(crate) struct Lookup<'a> {
    pub(crate) ranges: Ranges,
    /// A row that has such a key need not pass.
    doubtful: bool,
    /// Nor, if it has a list.
    doubtful_lists: bool,
    /// Rows that may pass without such a key.
    further: Vec<&'a RoaringBitmap>,
}

impl<'a> Answer<'a> {
    /// The way to answer `question`; `None` where there is none.
    pub(crate) fn new(config: &IndexConfig, view: &View<'a>, question: Question<'a>) -> Option<Answer<'a>> {
        let test = match question {
            Question::IsEmpty => return Some(Answer::Set(&view.sets.empty, true)),
            Question::IsNull => return Some(Answer::Set(&view.sets.null, true)),
            Question::Exists => return Some(Answer::Set(&view.sets.absent, false)),
            Question::Test(test) => test,
        };
        if let Test::Count(range) = test {
            return Some(Answer::Count(range));
        }
        if let (IndexConfig::Geo, Some(shape)) = (config, Shape::of(test)) {
            return Some(Answer::Shape(shape));
        }
        if let (IndexConfig::Text(text), Test::Text(_) | Test::TextAny(_) | Test::Phrase(_)) = (config, test)
        {
            return words::query(text, view, test).map(|wanted| match wanted {
                Wanted::Any(keys) => Answer::Lookup(Lookup { ranges: joined(keys), ..Lookup::default() }),
                Wanted::All(query) => Answer::Words(query),
            });
        }
        lookup(config.kind(), view, test).map(Answer::Lookup)
    }

    /// Adds what is found to `out`, and what of it must be tested to `recheck`.
    pub(crate) fn select(&self, view: &View<'_>, out: &mut RoaringBitmap, recheck: &mut RoaringBitmap) {
        match self {
            Answer::Lookup(lookup) => lookup.select(view, out, recheck),
            Answer::Shape(shape) => geo::select(view, shape, out),
            Answer::Words(query) => words::select(view, query, out, recheck),
            Answer::Count(range) => {
                let mut found = count(view, range);
                found |= &view.sets.several;
                bits::add_set(out, &found, view.base);
                bits::add_set(recheck, &view.sets.several, view.base);
            }
            Answer::Set(set, true) => bits::add_set(out, set, view.base),
            Answer::Set(set, false) => {
                let mut others = RoaringBitmap::new();
                others.insert_range(0..view.rows);
                others -= *set;
                bits::add_set(out, &others, view.base);
            }
        }
    }

    /// How many rows `select` would find.
    pub(crate) fn estimate(&self, view: &View<'_>) -> Estimate {
        match self {
            Answer::Lookup(lookup) => lookup.estimate(view),
            Answer::Shape(shape) => geo::estimate(view, shape),
            Answer::Words(query) => words::estimate(view, query),
            Answer::Count(range) => {
                let found = count(view, range).len();
                let several = view.sets.several.len();
                Estimate { low: found.saturating_sub(several), likely: found, high: found + several }
            }
            Answer::Set(set, true) => Estimate::exactly(set.len()),
            Answer::Set(set, false) => Estimate::exactly(u64::from(view.rows).saturating_sub(set.len())),
        }
    }

    /// What is known of one row: `None` where it must be tested.
    pub(crate) fn test(&self, view: &View<'_>, row: u32) -> Option<bool> {
        match self {
            Answer::Lookup(lookup) => lookup.test(view, row),
            Answer::Shape(shape) => Some(geo::has(view, row, shape)),
            Answer::Words(query) => words::test(view, query, row),
            Answer::Count(range) => {
                if view.sets.several.contains(row) {
                    return None;
                }
                let count = match view.counts.binary_search_by_key(&row, |pair| pair[0]) {
                    Ok(at) => view.counts.get(at).map_or(1, |pair| u64::from(pair[1])),
                    Err(_) => u64::from(!view.sets.empty.contains(row)),
                };
                Some(range.contains(&count))
            }
            Answer::Set(set, wanted) => Some(set.contains(row) == *wanted),
        }
    }

    /// Rows can be tested one by one for less than selecting all.
    pub(crate) fn is_narrowing(&self, view: &View<'_>) -> bool {
        match self {
            Answer::Lookup(_) | Answer::Shape(_) => view.has_forward,
            _ => true,
        }
    }
}

/// Adds `sets` to `out`, as rows to be tested where they are not in it already.
fn doubt(view: &View<'_>, sets: &[&RoaringBitmap], out: &mut RoaringBitmap, recheck: &mut RoaringBitmap) {
    for set in sets.iter().filter(|set| !set.is_empty()) {
        let mut added = RoaringBitmap::new();
        bits::add_set(&mut added, set, view.base);
        added -= &*out;
        *recheck |= &added;
    }
    // Only now: what is sure must not look added to the next set.
    for set in sets {
        bits::add_set(out, set, view.base);
    }
}

/// The rows of one file that have as many values. A row is counted as one unless something says otherwise.
fn count(view: &View<'_>, range: &Bounds<u64>) -> RoaringBitmap {
    let counted = |wanted: bool| {
        let pairs = view.counts.iter().filter(move |pair| range.contains(&pair[1].into()) == wanted);
        pairs.map(|pair| pair[0]).filter(|&row| row < view.rows)
    };
    let mut found = RoaringBitmap::new();
    if range.contains(&1) {
        found.insert_range(0..view.rows);
        found -= &view.sets.empty;
        found -= counted(false).collect::<RoaringBitmap>();
    } else {
        found.extend(counted(true));
    }
    if range.contains(&0) {
        found |= &view.sets.empty;
    }
    found
}

impl<'a> Lookup<'a> {
    fn select(&self, view: &View<'_>, out: &mut RoaringBitmap, recheck: &mut RoaringBitmap) {
        let mut found = RoaringBitmap::new();
        view.add(&self.ranges, &mut found);
        if self.doubtful {
            *recheck |= &found;
        } else if self.doubtful_lists && !view.sets.listed.is_empty() {
            let mut listed = RoaringBitmap::new();
            bits::add_set(&mut listed, &view.sets.listed, view.base);
            *recheck |= listed & &found;
        }
        if self.further.iter().any(|set| !set.is_empty()) {
            doubt(view, &self.further, &mut found, recheck);
        }
        match out.is_empty() {
            true => *out = found,
            false => *out |= found,
        }
    }

    /// Entries are counted, not rows; with several keys a row that is too many by those that rows have beyond their first.
    fn estimate(&self, view: &View<'_>) -> Estimate {
        let entries = view.count(&self.ranges);
        let alone = matches!(&self.ranges[..], [range] if range.len() == 1);
        let beyond = (view.slots.len() as u64).saturating_sub(view.documents.into());
        let high = entries.min(view.documents.into());
        let mut low = if alone { high } else { entries.saturating_sub(beyond) };
        if self.doubtful {
            low = 0;
        } else if self.doubtful_lists {
            low = low.saturating_sub(view.sets.listed.len());
        }
        // A file that lies about its counts must not break the order.
        let low = low.min(high);
        let likely = match view.many && view.documents > 0 && !alone {
            false => high,
            // As if the keys of a row were drawn by chance.
            true => spread_over(entries, view.documents.into()).clamp(low, high),
        };
        let further: u64 = self.further.iter().map(|set| set.len()).sum();
        let high = (high + further).min(view.rows.into()).max(low);
        Estimate { low, likely: (likely + further / 2).clamp(low, high), high }
    }

    fn test(&self, view: &View<'_>, row: u32) -> Option<bool> {
        let further = || self.further.iter().any(|set| set.contains(row));
        match view.has(row, &self.ranges) {
            true if self.doubtful => None,
            true if self.doubtful_lists && view.sets.listed.contains(row) => None,
            true => Some(true),
            false => (!further()).then_some(false),
        }
    }
}

/// How many of `rows` are hit by `entries` that fall at random.
fn spread_over(entries: u64, rows: u64) -> u64 {
    let rows = rows as f64;
    (rows * (1.0 - (-(entries as f64) / rows).exp())).round() as u64
}

/// The ranges of a test that asks for values one by one or by their order.
pub(crate) fn lookup<'a>(kind: IndexKind, view: &View<'a>, test: &Test) -> Option<Lookup<'a>> {
    let foreign = || Lookup { further: vec![&view.sets.foreign], ..Lookup::default() };
    match test {
        Test::Value(value) => equal_to(kind, view, std::slice::from_ref(value)),
        Test::Any(values) => equal_to(kind, view, values),
        Test::Except(values) => other_than(kind, view, values),
        Test::Equals(scalars) => same_as(kind, view, scalars),
        Test::Range(range) => Some(numbers(kind, view, range)),
        Test::Bare(range) => Some(Lookup { doubtful_lists: true, ..numbers(kind, view, range) }),
        Test::Datetimes(range) => match kind {
            IndexKind::Datetime => Some(Lookup { ranges: times(view, range), ..Lookup::default() }),
            IndexKind::Keyword | IndexKind::Text => None,
            _ => Some(foreign()),
        },
        Test::Prefix(prefix) => match kind {
            IndexKind::Keyword => {
                let keys = view.keys.prefixed(prefix.as_bytes());
                Some(Lookup {
                    ranges: Vec::from_iter((!keys.is_empty()).then_some(keys)),
                    ..Lookup::default()
                })
            }
            kind => (!holds_text(kind)).then(foreign),
        },
        Test::Substring(part) => match kind {
            IndexKind::Keyword => {
                Some(Lookup { ranges: joined(view.keys.holding(part)), ..Lookup::default() })
            }
            kind => (!holds_text(kind)).then(foreign),
        },
        Test::Text(_) | Test::TextAny(_) | Test::Phrase(_) => (!holds_text(kind)).then(foreign),
        Test::GeoBox(_) | Test::GeoRadius(_) | Test::GeoPolygon(_) => Some(foreign()),
        Test::Count(_) => None,
    }
}

/// The keys of these kinds stand for text, of which they do not say everything.
fn holds_text(kind: IndexKind) -> bool {
    matches!(kind, IndexKind::Keyword | IndexKind::Text | IndexKind::Datetime | IndexKind::Uuid)
}

/// Where a value to be equal to is.
enum Spot {
    /// Under this key and nowhere else, which may hold others too.
    Key(u32, bool),
    /// Nowhere.
    No,
    /// Among the values of other kinds.
    Foreign,
    /// Among those that rows decide.
    Unsure,
    /// The index does not tell.
    Unknown,
}

fn spot(kind: IndexKind, view: &View<'_>, value: &Key) -> Spot {
    let at = |found: Option<u32>| found.map_or(Spot::No, |key| Spot::Key(key, true));
    let narrow = |code: u64| {
        let range = view.keys.between_narrow(code, code);
        (!range.is_empty()).then_some(range.start)
    };
    match (kind, value) {
        (IndexKind::Keyword, Key::String(text)) => at(view.keys.find_term(text.as_bytes())),
        (IndexKind::Text, Key::String(_)) => Spot::Unknown,
        (IndexKind::Integer, Key::I64(value)) => at(narrow(key::from_i64(*value))),
        (IndexKind::Bool, Key::Bool(value)) => at(narrow((*value).into())),
        // 5 and 5.0 are one key and not one value.
        (IndexKind::Float, Key::I64(value)) => match key::integer_as_f64((*value).into()) {
            Some(float) => narrow(key::from_f64(float)).map_or(Spot::No, |key| Spot::Key(key, false)),
            None => Spot::Unsure,
        },
        (IndexKind::Uuid, Key::String(text)) => {
            key::uuid(text).map_or(Spot::Foreign, |key| at(view.keys.find_wide(key)))
        }
        // Many texts are one time.
        (IndexKind::Datetime, Key::String(text)) => match Datetime::parse(text) {
            Ok(Datetime(micros)) => {
                narrow(key::from_i64(micros)).map_or(Spot::No, |key| Spot::Key(key, false))
            }
            Err(_) => Spot::Foreign,
        },
        _ => Spot::Foreign,
    }
}

/// What is equal to some values: their keys, and the sets that may hold them.
#[derive(Default)]
struct Equals {
    keys: Vec<u32>,
    doubtful: bool,
    foreign: bool,
    unsure: bool,
}

impl Equals {
    /// Adds one value; `None` where the index cannot answer for it.
    fn add(&mut self, spot: Spot) -> Option<()> {
        match spot {
            Spot::Key(key, sure) => {
                self.keys.push(key);
                self.doubtful |= !sure;
            }
            Spot::No => {}
            Spot::Foreign => self.foreign = true,
            Spot::Unsure => self.unsure = true,
            Spot::Unknown => return None,
        }
        Some(())
    }

    fn lookup<'a>(self, view: &View<'a>) -> Lookup<'a> {
        let mut lookup = Lookup { ranges: joined(self.keys), doubtful: self.doubtful, ..Lookup::default() };
        lookup.further.extend(self.foreign.then_some(&view.sets.foreign));
        lookup.further.extend(self.unsure.then_some(&view.sets.unsure));
        lookup
    }
}

fn equal_to<'a>(kind: IndexKind, view: &View<'a>, values: &[Key]) -> Option<Lookup<'a>> {
    let mut equals = Equals::default();
    values.iter().try_for_each(|value| equals.add(spot(kind, view, value)))?;
    Some(equals.lookup(view))
}

/// All keys but those of the values. A key that may hold others too stays, in doubt.
fn other_than<'a>(kind: IndexKind, view: &View<'a>, values: &[Key]) -> Option<Lookup<'a>> {
    if kind == IndexKind::Text {
        return None;
    }
    let mut lookup = Lookup { further: vec![&view.sets.foreign, &view.sets.unsure], ..Lookup::default() };
    let mut keys = Vec::with_capacity(values.len());
    for value in values {
        match spot(kind, view, value) {
            Spot::Key(key, true) => keys.push(key),
            Spot::Key(_, false) => lookup.doubtful = true,
            Spot::No | Spot::Foreign | Spot::Unsure => {}
            Spot::Unknown => return None,
        }
    }
    let mut next = 0;
    for range in joined(keys) {
        lookup.ranges.extend((next < range.start).then_some(next..range.start));
        next = range.end;
    }
    let end = view.keys.len();
    lookup.ranges.extend((next < end).then_some(next..end));
    Some(lookup)
}

/// As `equal_to`, numbers by value.
fn same_as<'a>(kind: IndexKind, view: &View<'a>, scalars: &[Scalar]) -> Option<Lookup<'a>> {
    let (mut equals, mut null) = (Equals::default(), false);
    for scalar in scalars {
        let value = match scalar {
            Scalar::Null => {
                null = true;
                continue;
            }
            Scalar::Number(number) if matches!(kind, IndexKind::Integer | IndexKind::Float) => {
                equals.keys.extend(number_range(kind, view, &Bounds::between(*number, *number)));
                equals.unsure = true;
                continue;
            }
            Scalar::Number(_) => {
                equals.foreign = true;
                continue;
            }
            Scalar::Bool(value) => Key::Bool(*value),
            Scalar::String(text) => Key::String(text.clone()),
        };
        equals.add(spot(kind, view, &value))?;
    }
    let mut lookup = equals.lookup(view);
    lookup.further.extend(null.then_some(&view.sets.null));
    Some(lookup)
}

/// Key numbers in any order as ranges.
fn joined(mut keys: Vec<u32>) -> Ranges {
    keys.sort_unstable();
    let mut ranges = Ranges::new();
    for key in keys {
        match ranges.last_mut() {
            Some(last) if key < last.end => {}
            Some(last) if key == last.end => last.end += 1,
            _ => ranges.push(key..key + 1),
        }
    }
    ranges
}

fn numbers<'a>(kind: IndexKind, view: &View<'a>, range: &Bounds<Number>) -> Lookup<'a> {
    match kind {
        IndexKind::Integer | IndexKind::Float => {
            let keys = number_range(kind, view, range);
            let ranges = Vec::from_iter((!keys.is_empty()).then_some(keys));
            Lookup { ranges, further: vec![&view.sets.unsure], ..Lookup::default() }
        }
        _ => Lookup { further: vec![&view.sets.foreign], ..Lookup::default() },
    }
}

/// The keys inside: numbers are compared as the tests compare them, so the ends are exact whatever the kinds.
fn number_range(kind: IndexKind, view: &View<'_>, range: &Bounds<Number>) -> Range<u32> {
    let KeysView::Narrow(codes) = view.keys else { return 0..0 };
    let number = |code: u64| match kind {
        IndexKind::Integer => Number::I64(key::to_i64(code)),
        _ => Number::F64(key::to_f64(code)),
    };
    let (above, below) = sides(range);
    let from = codes.partition_point(|&code| !above.contains(&number(code)));
    let to = codes.partition_point(|&code| below.contains(&number(code)));
    from as u32..to.max(from) as u32
}

fn times(view: &View<'_>, range: &Bounds<Datetime>) -> Ranges {
    let KeysView::Narrow(codes) = view.keys else { return Ranges::new() };
    let (above, below) = sides(range);
    let from = codes.partition_point(|&code| !above.contains(&Datetime(key::to_i64(code)))) as u32;
    let to = codes.partition_point(|&code| below.contains(&Datetime(key::to_i64(code)))) as u32;
    Vec::from_iter((from < to).then_some(from..to))
}

/// The lower bounds alone, and the upper ones.
fn sides<T: Copy>(range: &Bounds<T>) -> (Bounds<T>, Bounds<T>) {
    let above = Bounds { gt: range.gt, gte: range.gte, lt: None, lte: None };
    (above, Bounds { gt: None, gte: None, lt: range.lt, lte: range.lte })
}
