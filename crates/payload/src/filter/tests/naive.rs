//! The meaning of filters, written a second time: recursive, on plain values, without any preparation.

use nearfield_types::{Object, PointId, Value};

use crate::filter::{ConditionRef, Datetime, FilterRef, Key, Leaf, Number, Scalar, Test, slice_of};
use crate::path::{Path, Step};

/// The point, as far as a nested filter sees it: its elements have no id and no vectors.
#[derive(Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) object: &'a Object,
    pub(super) outer: Option<(&'a PointId, &'a [&'a str])>,
}

pub(super) fn matches(filter: FilterRef<'_>, point: Point<'_>) -> bool {
    let holds = |condition| condition_holds(condition, point);
    filter.must.to_vec().into_iter().all(holds)
        && (filter.should.is_empty() || filter.should.to_vec().into_iter().any(holds))
        && !filter.must_not.to_vec().into_iter().any(holds)
        && filter.min_count.is_none_or(|count| {
            filter.min_should.to_vec().into_iter().filter(|one| holds(*one)).count() as u64 >= count
        })
}

fn condition_holds(condition: ConditionRef<'_>, point: Point<'_>) -> bool {
    match condition {
        ConditionRef::Filter(filter) => matches(filter, point),
        ConditionRef::Leaf(leaf) => leaf_holds(leaf, point),
        ConditionRef::Nested(path, filter) => {
            let mut steps = path.steps().to_vec();
            if steps.last() != Some(&Step::Each) {
                steps.push(Step::Each);
            }
            let mut found = Vec::new();
            resolve_object(point.object, &steps, &mut found);
            found.into_iter().any(|value| match value {
                Value::Object(object) => matches(filter, Point { object, outer: None }),
                _ => false,
            })
        }
    }
}

fn leaf_holds(leaf: &Leaf, point: Point<'_>) -> bool {
    let values = |path| values(point.object, path);
    match leaf {
        Leaf::Field { path, test } => test_holds(test, &values(path)),
        Leaf::IsEmpty(path) => values(path).into_iter().all(|value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            _ => false,
        }),
        Leaf::IsNull(path) => values(path).into_iter().any(|value| match value {
            Value::Null => true,
            Value::Array(items) => items.contains(&Value::Null),
            _ => false,
        }),
        Leaf::Exists(path) => !values(path).is_empty(),
        Leaf::HasId(ids) => point.outer.is_some_and(|(id, _)| ids.contains(id)),
        Leaf::HasVector(name) => point.outer.is_some_and(|(_, vectors)| vectors.contains(&&**name)),
        Leaf::Slice { total, index } => point.outer.is_some_and(|(id, _)| slice_of(id, *total) == *index),
    }
}

fn values<'a>(object: &'a Object, path: &Path) -> Vec<&'a Value> {
    let mut found = Vec::new();
    resolve_object(object, path.steps(), &mut found);
    found
}

fn resolve_object<'a>(object: &'a Object, steps: &[Step], found: &mut Vec<&'a Value>) {
    if let Some((Step::Key(key), rest)) = steps.split_first()
        && let Some(value) = object.get(key)
    {
        resolve(value, rest, found);
    }
}

fn resolve<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) {
    match (steps.split_first(), value) {
        (None, value) => found.push(value),
        (Some(_), Value::Object(object)) => resolve_object(object, steps, found),
        (Some((Step::Each, rest)), Value::Array(items)) => {
            items.iter().for_each(|item| resolve(item, rest, found))
        }
        (Some((Step::Index(index), rest)), Value::Array(items)) => {
            items.get(*index as usize).into_iter().for_each(|item| resolve(item, rest, found));
        }
        _ => {}
    }
}

fn test_holds(test: &Test, values: &[&Value]) -> bool {
    match test {
        Test::Count(range) => {
            let count = |value: &Value| match value {
                Value::Null => 0,
                Value::Array(items) => items.len() as u64,
                _ => 1,
            };
            match values {
                [] => range.contains(&0),
                values => values.iter().any(|value| range.contains(&count(value))),
            }
        }
        Test::Bare(range) => {
            values.iter().any(|value| number(value).is_some_and(|number| range.contains(&number)))
        }
        test => values.iter().any(|value| match value {
            Value::Array(items) => items.iter().any(|item| passes(test, item)),
            one => passes(test, one),
        }),
    }
}

fn passes(test: &Test, value: &Value) -> bool {
    let text = if let Value::String(text) = value { Some(text.as_str()) } else { None };
    let point = || super::super::GeoPoint {
        lon: if let Value::Object(object) = value { float(object.get("lon")) } else { f64::NAN },
        lat: if let Value::Object(object) = value { float(object.get("lat")) } else { f64::NAN },
    };
    match test {
        Test::Value(key) => is_key(value, key),
        Test::Any(keys) => keys.iter().any(|key| is_key(value, key)),
        Test::Except(keys) => *value != Value::Null && !keys.iter().any(|key| is_key(value, key)),
        Test::Equals(scalars) => scalars.iter().any(|scalar| match (scalar, value) {
            (Scalar::Null, Value::Null) => true,
            (Scalar::Bool(a), Value::Bool(b)) => a == b,
            (Scalar::String(a), Value::String(b)) => **a == **b,
            (Scalar::Number(a), value) => number(value) == Some(*a),
            _ => false,
        }),
        Test::Text(wanted) => text.is_some_and(|text| {
            let (wanted, words) = (words(wanted), words(text));
            !wanted.is_empty() && wanted.iter().all(|word| words.contains(word))
        }),
        Test::TextAny(wanted) => text.is_some_and(|text| {
            let words = words(text);
            self::words(wanted).iter().any(|word| words.contains(word))
        }),
        Test::Phrase(wanted) => text.is_some_and(|text| {
            let wanted = words(wanted);
            !wanted.is_empty() && words(text).windows(wanted.len()).any(|window| window == wanted)
        }),
        Test::Prefix(prefix) => {
            text.is_some_and(|text| text.as_bytes().get(..prefix.len()) == Some(prefix.as_bytes()))
        }
        Test::Substring(part) => text.is_some_and(|text| {
            (0..=text.len()).any(|at| text.as_bytes()[at..].starts_with(part.as_bytes()))
        }),
        Test::Range(range) => number(value).is_some_and(|number| range.contains(&number)),
        Test::Datetimes(range) => {
            text.and_then(|text| Datetime::parse(text).ok()).is_some_and(|time| range.contains(&time))
        }
        Test::GeoBox(area) => point().is_valid() && area.contains(&point()),
        Test::GeoRadius(area) => point().is_valid() && area.contains(&point()),
        Test::GeoPolygon(area) => point().is_valid() && area.contains(&point()),
        Test::Count(_) | Test::Bare(_) => unreachable!("asked of the field as a whole"),
    }
}

fn is_key(value: &Value, key: &Key) -> bool {
    match (value, key) {
        (Value::Bool(a), Key::Bool(b)) => a == b,
        (Value::I64(a), Key::I64(b)) => a == b,
        (Value::String(a), Key::String(b)) => **a == **b,
        _ => false,
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::I64(value) => Some(Number::I64(*value)),
        Value::U64(value) => Some(Number::U64(*value)),
        Value::F64(value) => Some(Number::F64(*value)),
        _ => None,
    }
}

fn float(value: Option<&Value>) -> f64 {
    value.and_then(number).map_or(f64::NAN, Number::as_f64)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}
