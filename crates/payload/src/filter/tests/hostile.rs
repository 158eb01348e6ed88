//! Trees that nobody means: a clear error or the right answer, and no stack is exhausted.

use nearfield_types::Object;

use super::ask;
use crate::filter::limits::*;
use crate::filter::{
    Condition, Filter, FilterError, GeoPoint, GeoPolygon, GeoRadius, Leaf, Matcher, Number, Range, Test,
};
use crate::path::Path;

fn field(test: Test) -> Condition {
    Condition::field(Path::key("a"), test)
}

fn refused(condition: Condition) -> FilterError {
    let filter = Filter::all([condition]);
    assert_eq!(filter.check().err(), Matcher::new(&filter).err());
    filter.check().unwrap_err()
}

fn nested(levels: usize, wrap: impl Fn(Condition) -> Condition) -> Condition {
    (0..levels).fold(field(Test::value(1i64)), |inner, _| wrap(inner))
}

#[test]
fn a_million_levels_are_built_looked_at_and_dropped() {
    let wraps: [fn(Condition) -> Condition; 3] = [
        |inner| !inner,
        |inner| Filter::any([inner]).into(),
        |inner| Condition::nested(Path::key("a"), inner.into()),
    ];
    for wrap in wraps {
        let deep = nested(1_000_000, wrap);
        assert_eq!(deep.clone(), deep);
        assert_eq!(refused(deep), FilterError::Depth);
        let printed = nested(50_000, wrap);
        assert!(format!("{printed:?}").len() > 1_000_000);
        assert!(printed.to_string().len() > 100_000);
    }
}

#[test]
fn the_deepest_allowed_tree_is_answered() {
    let object = Object::from_entries([("a".to_owned(), 1i64.into())]);
    let deepest = Filter::all([nested(FILTER_DEPTH_MAX - 1, |inner| !inner)]);
    assert_eq!(ask(&deepest, &object, &1u64.into(), &[]), (FILTER_DEPTH_MAX - 1).is_multiple_of(2));
    assert_eq!(refused(nested(FILTER_DEPTH_MAX, |inner| !inner)), FilterError::Depth);
}

#[test]
fn width_is_limited() {
    let many = |count| (0..count).map(|n| field(Test::value(n as i64)));
    assert_eq!(Filter::any(many(1_000_000)).check(), Err(FilterError::Conditions));
    let object = Object::from_entries([("a".to_owned(), 65_535i64.into())]);
    assert!(ask(&Filter::any(many(FILTER_CONDITIONS_MAX)), &object, &1u64.into(), &[]));
    assert!(!ask(&Filter::none(many(FILTER_CONDITIONS_MAX)), &object, &1u64.into(), &[]));
    assert!(!ask(&Filter::new().min_should(2, many(FILTER_CONDITIONS_MAX)), &object, &1u64.into(), &[]));
    // Spread over levels they count as well.
    let wide = |_| Condition::from(Filter::any(many(20_000)));
    assert_eq!(Filter::all((0..4).map(wide)).check(), Err(FilterError::Conditions));
}

#[test]
fn operands_are_limited() {
    assert_eq!(refused(field(Test::any(0..1_000_000i64))), FilterError::Operands);
    assert_eq!(refused(field(Test::except((0..300_000i64).map(|n| n.to_string())))), FilterError::Operands);
    assert_eq!(refused(Condition::has_id(0..1_000_000u64)), FilterError::Operands);
    let object = Object::from_entries([("a".to_owned(), "9".into())]);
    let all = Test::any((0..FILTER_OPERANDS_MAX).map(|n| n.to_string()));
    assert!(ask(&Filter::all([field(all)]), &object, &1u64.into(), &[]));
    let ids = Condition::has_id(0..FILTER_OPERANDS_MAX as u64);
    assert!(ask(&Filter::all([ids]), &object, &7u64.into(), &[]));
    let ring = vec![GeoPoint::new(0.0, 0.0); FILTER_OPERANDS_MAX + 1];
    assert_eq!(
        refused(field(Test::GeoPolygon(GeoPolygon { exterior: ring, interiors: vec![] }))),
        FilterError::Operands
    );
}

#[test]
fn texts_are_limited() {
    let long = || "x".repeat(10 << 20);
    let text = FilterError::Text { path: Path::key("a"), bytes: 10 << 20 };
    for test in [Test::Text(long().into()), Test::TextAny(long().into()), Test::Phrase(long().into())] {
        assert_eq!(refused(field(test)), text);
    }
    assert_eq!(refused(field(Test::any([long(), long()]))), FilterError::Bytes);
    let object = Object::from_entries([("a".to_owned(), long().into())]);
    for test in [Test::value(long()), Test::Prefix(long().into()), Test::Substring(long().into())] {
        assert!(ask(&Filter::all([field(test)]), &object, &1u64.into(), &[]));
    }
    let phrase = Test::Phrase("x ".repeat(FILTER_TEXT_BYTES_MAX / 2).into());
    let words = Object::from_entries([("a".to_owned(), "x ".repeat(5 << 20).into())]);
    assert!(ask(&Filter::all([field(phrase)]), &words, &1u64.into(), &[]));
}

#[test]
fn operands_must_mean_something() {
    let path = Path::key("a");
    let nan = FilterError::NotANumber { path: path.clone() };
    assert_eq!(refused(field(Test::Range(Range::at_least(f64::NAN)))), nan);
    assert_eq!(refused(field(Test::Bare(Range::below(f64::NAN)))), nan);
    assert_eq!(refused(field(Test::equals(f64::NAN))), nan);
    let center = GeoPoint::new(0.0, 0.0);
    assert_eq!(refused(field(Test::GeoRadius(GeoRadius { center, radius_m: f64::NAN }))), nan);
    let place = FilterError::Place { path: path.clone(), lon: 200.0, lat: 0.0 };
    let far = GeoRadius { center: GeoPoint::new(200.0, 0.0), radius_m: 1.0 };
    assert_eq!(refused(field(Test::GeoRadius(far))), place);
    let ring = |points: &[(f64, f64)]| {
        let exterior = points.iter().map(|&(lon, lat)| GeoPoint::new(lon, lat)).collect();
        field(Test::GeoPolygon(GeoPolygon { exterior, interiors: vec![] }))
    };
    let three = [(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)];
    assert_eq!(refused(ring(&three)), FilterError::Ring { path: path.clone(), points: 3 });
    let open = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];
    assert_eq!(refused(ring(&open)), FilterError::Open { path });
    let slice = |total, index| refused(Leaf::Slice { total, index }.into());
    assert_eq!(slice(0, 0), FilterError::Slice { total: 0, index: 0 });
    assert_eq!(slice(2, 2), FilterError::Slice { total: 2, index: 2 });
}

#[test]
fn contradictions_match_nothing() {
    let object = Object::from_entries([("a".to_owned(), 5i64.into())]);
    let range =
        |gt: f64, lt: f64| Range { gt: Some(Number::F64(gt)), lt: Some(Number::F64(lt)), ..Range::default() };
    assert!(!ask(&Filter::all([field(Test::Range(range(6.0, 4.0)))]), &object, &1u64.into(), &[]));
    assert!(!ask(&Filter::all([field(Test::Range(range(5.0, 5.0)))]), &object, &1u64.into(), &[]));
    let more = u64::MAX;
    assert!(!ask(&Filter::new().min_should(more, [field(Test::value(5i64))]), &object, &1u64.into(), &[]));
}

#[test]
fn constant_filters_say_so() {
    let constant = |filter: Filter| Matcher::new(&filter).unwrap().constant();
    assert_eq!(constant(Filter::new()), Some(true));
    assert_eq!(constant(Filter::none([Filter::new().into()])), Some(false));
    assert_eq!(constant(Filter::new().min_should(0, [])), Some(true));
    assert_eq!(constant(Filter::new().min_should(1, [])), Some(false));
    assert_eq!(constant(Filter::all([field(Test::value(1i64))])), None);
    let paths = Filter::all([
        field(Test::value(1i64)),
        !field(Test::value(2i64)),
        Condition::is_null(Path::key("b")),
    ]);
    assert_eq!(Matcher::new(&paths).unwrap().paths(), [&Path::key("a"), &Path::key("b")]);
}
