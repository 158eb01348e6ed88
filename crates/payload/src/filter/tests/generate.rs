//! Random documents and random trees over few keys and few values, so that they meet.

use nearfield_types::{Object, PointId, Value};
use proptest::prelude::*;
use proptest::sample::select;

use crate::filter::{
    Condition, Datetime, Filter, GeoBox, GeoPoint, GeoPolygon, GeoRadius, Key, Number, Range, Scalar, Test,
};
use crate::path::Path;

const TEXTS: &[&str] = &[
    "",
    "x",
    "red",
    "Red fox",
    "the red fox",
    "fox red",
    "red, red fox!",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "2024-01-02 04:04:05+01:00",
    "größe",
    "GRÖSSE",
    "1",
    "true",
];

pub(super) const VECTORS: &[&str] = &["", "image"];

pub(super) fn text() -> impl Strategy<Value = String> {
    select(TEXTS).prop_map(str::to_owned)
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -2i64..4, 1 => (1i64 << 53) - 1..(1i64 << 53) + 2, 1 => select(&[i64::MIN, i64::MAX][..])]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-4i32..8).prop_map(|halves| f64::from(halves) / 2.0),
        select(&[-0.0, 9_007_199_254_740_992.0, 9.223_372_036_854_776e18, 1e300][..]),
    ]
}

fn scalar_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => integer().prop_map(Value::I64),
        1 => select(&[1u64 << 63, u64::MAX][..]).prop_map(Value::U64),
        2 => float().prop_map(Value::F64),
        4 => text().prop_map(Value::String),
        1 => point().prop_map(|point| object([("lon", point.lon.into()), ("lat", point.lat.into())])),
        1 => point().prop_map(|point| object([("lon", 5i64.into()), ("lat", Value::F64(point.lat * 20.0))])),
    ]
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(Object::from_entries(entries.map(|(key, value)| (key.to_owned(), value))))
}

fn key() -> impl Strategy<Value = String> {
    select(&["a", "b", "c", "d.e"][..]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    scalar_value().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((key(), inner), 0..4)
                .prop_map(|entries| Value::Object(Object::from_entries(entries))),
        ]
    })
}

pub(super) fn document() -> impl Strategy<Value = Object> {
    proptest::collection::vec((key(), value()), 0..5).prop_map(Object::from_entries)
}

pub(super) fn id() -> impl Strategy<Value = PointId> {
    prop_oneof![
        (0u64..4).prop_map(PointId::from),
        (0u128..3).prop_map(|n| PointId::Uuid(nearfield_types::Uuid::from_u128(n))),
        text().prop_map(|text| PointId::from(text.as_str())),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    let step = select(&[".a", ".b", ".c", ".\"d.e\"", "[]", "[0]", "[1]"][..]);
    let first = select(&["a", "b", "c", "\"d.e\""][..]);
    let rest = prop_oneof![3 => Just(0usize), 2 => Just(1), 1 => Just(2), 1 => Just(3)]
        .prop_flat_map(move |count| proptest::collection::vec(step.clone(), count));
    (first, rest).prop_map(|(first, rest)| Path::parse(&format!("{first}{}", rest.concat())).unwrap())
}

fn operand_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        any::<bool>().prop_map(Key::Bool),
        integer().prop_map(Key::I64),
        text().prop_map(|text| Key::String(text.into())),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        integer().prop_map(Number::I64),
        float().prop_map(Number::F64),
        Just(Number::U64(1 << 63)),
        Just(Number::F64(f64::INFINITY)),
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        number().prop_map(Scalar::Number),
        text().prop_map(|text| Scalar::String(text.into())),
    ]
}

fn range<T: std::fmt::Debug + 'static>(
    bound: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Range<T>> {
    let one = bound.boxed();
    let bound = || proptest::option::weighted(0.4, one.clone());
    (bound(), bound(), bound(), bound()).prop_map(|(gt, gte, lt, lte)| Range { gt, gte, lt, lte })
}

fn point() -> impl Strategy<Value = GeoPoint> {
    (-2i32..12, -2i32..12).prop_map(|(lon, lat)| GeoPoint::new(f64::from(lon), f64::from(lat)))
}

fn ring() -> impl Strategy<Value = Vec<GeoPoint>> {
    proptest::collection::vec(point(), 3..6).prop_map(|mut ring| {
        ring.push(ring[0]);
        ring
    })
}

fn test() -> impl Strategy<Value = Test> {
    use proptest::collection::vec;
    let text = || text().prop_map(String::into_boxed_str);
    let time = (0i64..3).prop_map(|days| Datetime::parse(&format!("2024-01-0{}", days + 1)).unwrap());
    prop_oneof![
        3 => operand_key().prop_map(Test::Value),
        2 => vec(operand_key(), 0..14).prop_map(Test::Any),
        2 => vec(operand_key(), 0..4).prop_map(Test::Except),
        1 => text().prop_map(Test::Text),
        1 => text().prop_map(Test::TextAny),
        1 => text().prop_map(Test::Phrase),
        1 => text().prop_map(Test::Prefix),
        1 => text().prop_map(Test::Substring),
        3 => range(number()).prop_map(Test::Range),
        1 => range(number()).prop_map(Test::Bare),
        1 => range(time).prop_map(Test::Datetimes),
        1 => range(0u64..4).prop_map(Test::Count),
        2 => vec(scalar(), 0..14).prop_map(Test::Equals),
        1 => (point(), point()).prop_map(|(top_left, bottom_right)| Test::GeoBox(GeoBox { top_left, bottom_right })),
        1 => (point(), 0f64..2e6).prop_map(|(center, radius_m)| Test::GeoRadius(GeoRadius { center, radius_m })),
        1 => (ring(), vec(ring(), 0..2))
            .prop_map(|(exterior, interiors)| Test::GeoPolygon(GeoPolygon { exterior, interiors })),
    ]
}

fn leaf() -> impl Strategy<Value = Condition> {
    prop_oneof![
        10 => (path(), test()).prop_map(|(path, test)| Condition::field(path, test)),
        1 => path().prop_map(Condition::is_empty),
        1 => path().prop_map(Condition::is_null),
        1 => path().prop_map(Condition::exists),
        1 => proptest::collection::vec(id(), 0..4).prop_map(Condition::has_id),
        1 => select(VECTORS).prop_map(Condition::has_vector),
        1 => (1u32..4)
            .prop_flat_map(|total| (Just(total), 0..total))
            .prop_map(|(total, index)| crate::filter::Leaf::Slice { total, index }.into()),
    ]
}

fn filter_of(condition: impl Strategy<Value = Condition> + Clone) -> impl Strategy<Value = Filter> {
    let clause = |most: usize| proptest::collection::vec(condition.clone(), 0..most);
    let min_should = proptest::option::weighted(0.3, (0u64..4, clause(4)));
    (clause(3), clause(3), clause(3), min_should).prop_map(|(must, should, must_not, min_should)| {
        let filter = Filter::new().must(must).should(should).must_not(must_not);
        match min_should {
            Some((count, conditions)) => filter.min_should(count, conditions),
            None => filter,
        }
    })
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let condition = leaf().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            2 => filter_of(inner.clone()).prop_map(Condition::from),
            1 => (path(), filter_of(inner)).prop_map(|(path, filter)| Condition::nested(path, filter)),
        ]
    });
    filter_of(condition)
}
