//! Random documents, what every operation should answer about them, and a database with them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use nearfield::filter::{Condition, Datetime, Filter, Key, Number, Path, Range, Test};
use nearfield::{
    Collection, CollectionConfig, Database, FacetHit, FieldKind, Metric, Object, Options, OrderBy,
    OrderValue, Point, PointId, Query, Value, With,
};
use nearfield_platform::MemoryDir;
use proptest::prelude::*;

pub(crate) const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// A point as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) vector: [f32; 2],
    pub(crate) payload: Object,
}

pub(crate) type Model = BTreeMap<u64, Stored>;

/// A filter and what it means.
pub(crate) type Case = (Option<Filter>, fn(u64, &Stored) -> bool);

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    let texts = ["x", "y", "", "2024-01-02", "2024-01-02T00:00:00Z", "2023-05-06T07:08:09+01:00", UUID];
    let texts = texts.map(str::to_owned).into_iter().chain([UUID.to_uppercase()]).collect::<Vec<_>>();
    let floats = [0.0, -0.0, 0.5, 1.0, 3.0, -1.5, 9_007_199_254_740_992.0];
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        4 => (-2i64..5).prop_map(Value::I64),
        1 => proptest::sample::select(&[(1i64 << 53) + 1, i64::MAX, i64::MIN][..]).prop_map(Value::I64),
        1 => Just(Value::U64(u64::MAX)),
        2 => proptest::sample::select(floats.to_vec()).prop_map(Value::F64),
        4 => proptest::sample::select(texts).prop_map(Value::String),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => scalar(),
        2 => proptest::collection::vec(scalar(), 0..4).prop_map(Value::Array),
        1 => Just(Value::Array(vec![Value::Array(vec![Value::I64(1)]), Value::Object(Object::new())])),
    ]
}

/// Values of `a`; `None` is a point without.
pub(crate) fn documents() -> impl Strategy<Value = Vec<Option<Value>>> {
    proptest::collection::vec(proptest::option::weighted(0.9, value()), 40)
}

pub(crate) fn stored(id: u64, documents: &[Option<Value>], round: u64) -> Stored {
    let mut payload = Object::new();
    let at = (id.wrapping_mul(2_654_435_761) >> 7).wrapping_add(round * 17);
    if let Some(value) = &documents[at as usize % documents.len()] {
        payload.set("a", value.clone());
    }
    payload.set("n", (id % 10) as i64);
    Stored { vector: [(id * 37 % 101) as f32, (id * 53 % 89) as f32], payload }
}

pub(crate) fn cases() -> Vec<Case> {
    let n = |test: Test| Some(Filter::all([Condition::field(Path::key("n"), test)]));
    let a = |test: Test| Some(Filter::all([Condition::field(Path::key("a"), test)]));
    fn number(stored: &Stored) -> i64 {
        let Some(Value::I64(n)) = stored.payload.get("n") else { panic!("every point has it") };
        *n
    }
    vec![
        (None, |_, _| true),
        (n(Test::Range(Range::below(3))), |_, stored| number(stored) < 3),
        (n(Test::value(7)), |_, stored| number(stored) == 7),
        (Some(Filter::all([Condition::has_id([5u64, 17, 300, 301])])), |id, _| {
            [5, 17, 300, 301].contains(&id)
        }),
        (a(Test::value("x")), |_, stored| values(stored).contains(&&Value::from("x"))),
        (n(Test::value(99)), |_, _| false),
    ]
}

/// The values of `a`: of a list its items.
pub(crate) fn values(stored: &Stored) -> Vec<&Value> {
    match stored.payload.get("a") {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(value) => vec![value],
    }
}

pub(crate) fn keys(stored: &Stored) -> Vec<Key> {
    let key = |value: &&Value| match value {
        Value::Bool(value) => Some(Key::Bool(*value)),
        Value::I64(value) => Some(Key::I64(*value)),
        Value::String(text) => Some(Key::String(text.as_str().into())),
        _ => None,
    };
    let mut keys: Vec<Key> = values(stored).iter().filter_map(key).collect();
    keys.sort();
    keys.dedup();
    keys
}

pub(crate) fn order_values(stored: &Stored, kind: FieldKind) -> Vec<OrderValue> {
    let number = |number: Number| match Number::F64(number.as_f64()) {
        float if kind == FieldKind::Float && float == number => float,
        _ => number,
    };
    let value = |value: &&Value| match (kind, value) {
        (FieldKind::Datetime, Value::String(text)) => Datetime::parse(text).ok().map(OrderValue::Datetime),
        (FieldKind::Datetime, _) => None,
        (_, Value::I64(value)) => Some(OrderValue::Number(number(Number::I64(*value)))),
        (_, Value::U64(value)) => Some(OrderValue::Number(number(Number::U64(*value)))),
        (_, Value::F64(value)) => Some(OrderValue::Number(number(Number::F64(*value)))),
        _ => None,
    };
    let mut found: Vec<OrderValue> = values(stored).iter().filter_map(value).collect();
    found.sort_by(OrderValue::order);
    found.dedup();
    found
}

pub(crate) fn number(id: &PointId) -> u64 {
    let PointId::Number(number) = id else { panic!("{id:?} was never written") };
    *number
}

pub(crate) fn check_facets(c: &Collection, model: &Model) {
    for (filter, passes) in cases() {
        let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
        for (_, stored) in model.iter().filter(|(id, stored)| passes(**id, stored)) {
            keys(stored).into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
        }
        let mut expected: Vec<FacetHit> =
            counts.into_iter().map(|(value, count)| FacetHit { value, count }).collect();
        expected.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        for (limit, exact) in [(1_000, true), (1_000, false), (3, true), (0, true)] {
            let found = c.facet("a", filter.as_ref(), limit, exact).expect("counts");
            assert_eq!(found, expected[..limit.min(expected.len())], "{filter:?}");
        }
    }
}

pub(crate) fn check_orders(c: &Collection, model: &Model, kind: FieldKind) {
    let path = Path::key("a");
    let starts: &[OrderValue] = match kind {
        FieldKind::Datetime => &[OrderValue::Datetime(Datetime(1_704_153_600_000_000))],
        _ => &[OrderValue::Number(Number::I64(1)), OrderValue::Number(Number::F64(0.25))],
    };
    for (filter, passes) in cases() {
        let mut all: Vec<(OrderValue, u64)> = Vec::new();
        for (&id, stored) in model.iter().filter(|(id, stored)| passes(**id, stored)) {
            all.extend(order_values(stored, kind).into_iter().map(|value| (value, id)));
        }
        all.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
        for start_from in starts.iter().copied().map(Some).chain([None]) {
            for (limit, descending) in [(10_000, false), (10_000, true), (7, false), (7, true), (0, true)] {
                let on = |value: &OrderValue| match start_from.map(|from| value.order(&from)) {
                    Some(Ordering::Less) => descending,
                    Some(Ordering::Greater) => !descending,
                    _ => true,
                };
                let mut expected: Vec<(OrderValue, u64)> =
                    all.iter().filter(|(value, _)| on(value)).copied().collect();
                if descending {
                    expected.reverse();
                }
                expected.truncate(limit);
                let order = OrderBy { start_from, filter: filter.as_ref(), ..OrderBy::new(&path, limit) };
                let order = if descending { order.descending() } else { order };
                let found = c.order_by(&order).expect("orders");
                let found: Vec<_> = found.iter().map(|one| (one.value, number(&one.record.id))).collect();
                assert_eq!(found, expected, "{kind:?} {filter:?} from {start_from:?}, {descending}");
            }
        }
    }
}

pub(crate) fn check_groups(c: &Collection, model: &Model) {
    let query = [40.0, 40.0];
    let distance = |stored: &Stored| (stored.vector[0] - 40.0).powi(2) + (stored.vector[1] - 40.0).powi(2);
    for (filter, passes) in cases() {
        let mut near: Vec<(f32, u64, &Stored)> = model
            .iter()
            .filter(|(id, stored)| passes(**id, stored))
            .map(|(id, stored)| (distance(stored), *id, stored))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (limit, size) in [(3, 2), (3, 5), (100, 4), (1, 50), (0, 1)] {
            let mut expected: Vec<(Key, Vec<u64>)> = Vec::new();
            for (_, id, stored) in &near {
                for key in keys(stored).into_iter().filter(|key| !matches!(key, Key::Bool(_))) {
                    match expected.iter().position(|(known, _)| *known == key) {
                        Some(at) if expected[at].1.len() < size => expected[at].1.push(*id),
                        None if expected.len() < limit => expected.push((key, vec![*id])),
                        _ => {}
                    }
                }
            }
            let mut asked = Query::new(&query, limit).exact().with(With::PAYLOAD);
            asked.filter = filter.as_ref();
            let groups = c.search_groups(&asked, "a", size).expect("groups");
            let found: Vec<(Key, Vec<u64>)> = groups
                .iter()
                .map(|group| (group.value.clone(), group.hits.iter().map(|hit| number(&hit.id)).collect()))
                .collect();
            assert_eq!(found, expected, "{filter:?} {limit} x {size}");
            for hit in groups.iter().flat_map(|group| &group.hits) {
                assert_eq!(hit.payload.as_ref(), Some(&model[&number(&hit.id)].payload));
            }
        }
    }
}

pub(crate) fn check_counts(c: &Collection, model: &Model) {
    let every: BTreeSet<Key> = model.values().flat_map(keys).collect();
    for key in every {
        let count = model.values().filter(|stored| keys(stored).contains(&key)).count() as u64;
        let filter = Filter::all([Condition::field(Path::key("a"), Test::Any(vec![key]))]);
        assert_eq!(c.count_passing(&filter).expect("counts"), count, "{filter:?}");
    }
    for (filter, passes) in cases() {
        let Some(filter) = filter else { continue };
        let count = model.iter().filter(|(id, stored)| passes(**id, stored)).count() as u64;
        let estimate = c.count_estimate(&filter).expect("estimates");
        assert_eq!(c.count_passing(&filter).expect("counts"), count);
        assert!(estimate.low <= count && count <= estimate.high, "{filter:?}: {estimate:?} for {count}");
        assert!(estimate.low <= estimate.likely && estimate.likely <= estimate.high, "{estimate:?}");
        assert!(estimate.high <= model.len() as u64);
    }
}

pub(crate) fn check(c: &Collection, model: &Model, kind: Option<FieldKind>) {
    check_facets(c, model);
    check_counts(c, model);
    check_groups(c, model);
    if let Some(kind @ (FieldKind::Integer | FieldKind::Float | FieldKind::Datetime)) = kind {
        check_orders(c, model, kind);
    }
}

pub(crate) fn write(
    c: &Collection,
    model: &mut Model,
    ids: impl Iterator<Item = u64>,
    make: impl Fn(u64) -> Stored,
) {
    let points = ids.map(|id| {
        let stored = make(id);
        let point = Point::new(id, stored.vector.to_vec()).payload(stored.payload.clone());
        model.insert(id, stored);
        point
    });
    c.upsert(points.collect()).expect("writes");
}

/// Replaces, patches and deletes some of the points.
pub(crate) fn disturb(c: &Collection, model: &mut Model, documents: &[Option<Value>], round: u64) {
    let some = |step: u64| move |id: &u64| (id + round).is_multiple_of(step);
    let replaced: Vec<u64> = model.keys().copied().filter(some(13)).collect();
    write(c, model, replaced.into_iter(), |id| stored(id, documents, round));
    for id in model.keys().copied().filter(some(11)).collect::<Vec<_>>() {
        let payload = stored(id, documents, round + 5).payload;
        model.get_mut(&id).expect("it is there").payload = payload.clone();
        assert_eq!(c.replace_payload(&[id.into()], payload).expect("patches"), 1);
    }
    for id in model.keys().copied().filter(some(7)).collect::<Vec<_>>() {
        model.remove(&id);
        assert_eq!(c.delete(&[id.into()]).expect("deletes"), 1);
    }
}

pub(crate) fn database() -> Database {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.head_rows_max = 700;
    Database::open_in(MemoryDir::new(), "operations", options).expect("opens")
}

pub(crate) fn points(database: &Database) -> Collection {
    database.create_collection("points", CollectionConfig::new(2, Metric::Euclid)).expect("creates")
}

pub(crate) const KINDS: [Option<FieldKind>; 8] = [
    None,
    Some(FieldKind::Keyword),
    Some(FieldKind::Integer),
    Some(FieldKind::Float),
    Some(FieldKind::Bool),
    Some(FieldKind::Datetime),
    Some(FieldKind::Uuid),
    Some(FieldKind::Text),
];

pub(crate) fn field(key: &str, test: Test) -> Filter {
    Filter::all([Condition::field(Path::key(key), test)])
}
