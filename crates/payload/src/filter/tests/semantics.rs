//! Questions with the answers that Qdrant 1.20 gives to them without an index (asked of its embedded form), and where ours differ, why.

use nearfield_types::{Object, Value};

use super::ask;
use crate::filter::{
    Condition, Datetime, Filter, GeoBox, GeoPoint, GeoPolygon, GeoRadius, Key, Leaf, Number, Range, Scalar,
    Test,
};
use crate::path::Path;

fn object(entries: &[(&str, Value)]) -> Value {
    Value::Object(Object::from_entries(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()))))
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

fn b(value: impl Into<Value>) -> Value {
    object(&[("b", value.into())])
}

/// Documents by name; `None` has no field `a`.
fn documents() -> Vec<(&'static str, Option<Value>)> {
    let one = || Value::I64(1);
    vec![
        ("1", Some(one())),
        ("1.0", Some(Value::F64(1.0))),
        ("'1'", Some("1".into())),
        ("null", Some(Value::Null)),
        ("missing", None),
        ("[]", Some(list([]))),
        ("[1]", Some(list([one()]))),
        ("[[1]]", Some(list([list([one()])]))),
        ("[null]", Some(list([Value::Null]))),
        ("[1,null]", Some(list([one(), Value::Null]))),
        ("true", Some(true.into())),
        ("b1", Some(b(1i64))),
        ("[b1,b2]", Some(list([b(1i64), b(2i64)]))),
        ("[b[]]", Some(list([b(list([]))]))),
        ("bnull", Some(b(Value::Null))),
        ("b[3]", Some(b(list([Value::I64(3)])))),
        ("[bnull,b5]", Some(list([b(Value::Null), b(5i64)]))),
        ("[[]]", Some(list([list([])]))),
        ("{}", Some(object(&[]))),
        ("'x'", Some("x".into())),
    ]
}

/// Which documents match, by name.
fn found(documents: &[(&'static str, Option<Value>)], filter: &Filter) -> Vec<&'static str> {
    let matches = |value: &Option<Value>| {
        let entries = value.iter().map(|value| ("a".to_owned(), value.clone()));
        ask(filter, &Object::from_entries(entries), &1u64.into(), &[""])
    };
    documents.iter().filter(|(_, value)| matches(value)).map(|(name, _)| *name).collect()
}

#[track_caller]
fn check(condition: impl Into<Condition>, expected: &str) {
    let filter: Filter = condition.into().into();
    assert_eq!(found(&documents(), &filter).join(" "), expected, "{filter}");
}

/// Those that do not match.
#[track_caller]
fn check_but(condition: impl Into<Condition>, expected: &str) {
    check(!condition.into(), expected);
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn a(test: Test) -> Condition {
    Condition::field(Path::key("a"), test)
}

#[test]
fn equality_keeps_kinds() {
    check(a(Test::value(1i64)), "1 [1] [1,null]");
    check(a(Test::value("1")), "'1'");
    check(a(Test::value(true)), "true");
    check(a(Test::any([1i64, 2])), "1 [1] [1,null]");
    check(a(Test::any(["1", "x"])), "'1' 'x'");
    check(a(Test::any::<Key>([])), "");
    check_but(a(Test::except([1i64])), "1 null missing [] [1] [null] [1,null]");
    check_but(a(Test::except(["x"])), "null missing [] [null] 'x'");
    check_but(a(Test::except::<Key>([])), "null missing [] [null]");
}

#[test]
fn equality_by_value() {
    check(a(Test::equals(1i64)), "1 1.0 [1] [1,null]");
    check(a(Test::equals(1.0)), "1 1.0 [1] [1,null]");
    check(a(Test::equals(true)), "true");
    check(a(Test::Equals(vec![Scalar::Null])), "null [null] [1,null]");
    check(a(Test::Bare(Range::at_least(1i64))), "1 1.0");
    check_but(Condition::exists(Path::key("a")), "missing");
}

#[test]
fn paths_lead_where_they_say() {
    let one = |text| Condition::field(path(text), Test::value(1i64));
    check(one("a.b"), "b1");
    check(one("a[].b"), "[b1,b2]");
    check(one("a[0]"), "[1] [[1]] [1,null]");
    check(one("a[0].b"), "[b1,b2]");
    check(one("a[]"), "[1] [[1]] [1,null]");
    check(one("a[].b[]"), "");
    check(one("a[][]"), "[[1]]");
}

#[test]
fn empty_and_null() {
    let (empty, null) = (|text| Condition::is_empty(path(text)), |text| Condition::is_null(path(text)));
    check(empty("a"), "null missing []");
    check_but(empty("a.b"), "b1 b[3]");
    check_but(empty("a[].b"), "[b1,b2] [bnull,b5]");
    check_but(empty("a[0]"), "[1] [[1]] [1,null] [b1,b2] [b[]] [bnull,b5]");
    check_but(empty("a[]"), "[1] [[1]] [1,null] [b1,b2] [b[]] [bnull,b5]");
    check_but(empty("a[][]"), "[[1]]");
    check(null("a"), "null [null] [1,null]");
    check(null("a.b"), "bnull");
    check(null("a[].b"), "[bnull,b5]");
    check(null("a[0]"), "[null]");
    check(null("a[]"), "[null] [1,null]");
    check(null("a[][]"), "");
}

#[test]
fn counts() {
    let count = |text, range| Condition::field(path(text), Test::Count(range));
    check_but(count("a", Range::at_least(0u64)), "");
    check_but(count("a", Range::default()), "");
    check(count("a", Range::below(1u64)), "null missing []");
    check(count("a", Range::above(1u64)), "[1,null] [b1,b2] [bnull,b5]");
    check(count("a.b", Range::at_least(1u64)), "b1 b[3]");
    check(count("a[].b", Range::at_least(1u64)), "[b1,b2] [bnull,b5]");
    check(count("a[][]", Range::at_least(1u64)), "[[1]]");
}

#[test]
fn ranges() {
    check(a(Test::Range(Range::at_least(1i64))), "1 1.0 [1] [1,null]");
    check(a(Test::Range(Range::default())), "1 1.0 [1] [1,null]");
    let large = [
        ("2^53", Some(Value::F64(9_007_199_254_740_992.0))),
        ("2^53+1", Some(Value::I64((1 << 53) + 1))),
        ("2^63-1", Some(Value::I64(i64::MAX))),
        ("2^63", Some(Value::U64(1 << 63))),
    ];
    let found = |test| found(&large, &a(test).into()).join(" ");
    // Ours is exact where the other compares integers rounded to floats, and leaves 2^53 + 1 out.
    assert_eq!(found(Test::Range(Range::above(9_007_199_254_740_992.0))), "2^53+1 2^63-1 2^63");
    assert_eq!(found(Test::value((1i64 << 53) + 1)), "2^53+1");
    assert_eq!(found(Test::equals(Number::U64(1 << 63))), "2^63");
    assert_eq!(found(Test::equals(9_223_372_036_854_775_808.0)), "2^63");
}

#[test]
fn empty_clauses_say_nothing() {
    let all = documents().len();
    let count = |filter: Filter| found(&documents(), &filter).len();
    assert_eq!(count(Filter::new()), all);
    assert_eq!(count(Filter::new().should([]).must([]).must_not([])), all);
    assert_eq!(count(Filter::new().min_should(0, [])), all);
    assert_eq!(count(Filter::new().min_should(1, [])), 0);
    assert_eq!(count(Filter::none([Filter::new().into()])), 0);
    assert_eq!(count(Filter::all([Filter::any([]).into()])), all);
}

#[test]
fn nested_filters_look_at_one_element() {
    let xy = |x: i64, y: i64| object(&[("x", x.into()), ("y", y.into())]);
    let documents = [
        ("apart", Some(list([xy(1, 2), xy(2, 1)]))),
        ("bare", Some(xy(1, 1))),
        ("together", Some(list([xy(1, 1)]))),
        ("scalars", Some(list([Value::I64(1)]))),
        ("empty", Some(list([]))),
        ("missing", None),
        ("deep", Some(list([list([xy(1, 1)])]))),
        ("below", Some(list([object(&[("x", 3i64.into()), ("c", list([xy(1, 1)]))])]))),
    ];
    let both = || {
        let is_one = |name| Condition::field(Path::key(name), Test::value(1i64));
        Filter::all([is_one("x"), is_one("y")])
    };
    let check = |text: &str, filter: Filter, expected: &str| {
        let condition = Condition::nested(path(text), filter);
        assert_eq!(found(&documents, &condition.into()).join(" "), expected);
    };
    check("a", both(), "together");
    check("a[]", both(), "together");
    check("a[][]", both(), "deep");
    check("a[0]", both(), "deep");
    check("a[].c", both(), "below");
    check("a", Condition::nested(Path::key("c"), both()).into(), "below");
    check("a", Filter::new(), "apart together below");
    check("a", Filter::none([Condition::field(Path::key("x"), Test::value(1i64))]), "apart below");
    check("a", Condition::is_empty(Path::key("z")).into(), "apart together below");
    // Elements are no points.
    check("a", Condition::has_id([1u64]).into(), "");
    check("a", Condition::has_vector("").into(), "");
    check("a", Condition::from(Leaf::Slice { total: 1, index: 0 }).into(), "");
    check("a", Filter::none([Condition::has_id([1u64])]), "apart together below");
    let not = !Condition::nested(Path::key("a"), both());
    assert_eq!(found(&documents, &not.into()).len(), documents.len() - 1);
}

#[test]
fn texts_by_word() {
    let texts = [
        "The quick Brown fox",
        "quick",
        "brown quick",
        "Straße café",
        "don't stop",
        "foo_bar",
        "",
        "İstanbul",
        "hello world, hello",
        "日本語テキスト",
        "3.14 pi",
        "ﬁne",
    ];
    let mut documents: Vec<_> = texts.map(|text| (text, Some(Value::from(text)))).into();
    documents.push(("two", Some(list(["quick one".into(), "brown two".into()]))));
    documents.push(("five", Some(Value::I64(5))));
    let check = |test: Test, expected: &[&str]| assert_eq!(found(&documents, &a(test).into()), expected);
    let text = |text: &str| Test::Text(text.into());
    check(text("quick"), &["The quick Brown fox", "quick", "brown quick", "two"]);
    check(text("QUICK brown"), &["The quick Brown fox", "brown quick"]);
    check(text(""), &[]);
    check(text(" ! "), &[]);
    check(text("strasse"), &[]);
    check(text("café"), &["Straße café"]);
    check(text("cafe"), &[]);
    check(text("don t"), &["don't stop"]);
    check(text("dont"), &[]);
    check(text("foo"), &["foo_bar"]);
    check(text("日本"), &[]);
    check(text("日本語テキスト"), &["日本語テキスト"]);
    check(text("3.14"), &["3.14 pi"]);
    check(text("istanbul"), &[]);
    check(text("hello hello"), &["hello world, hello"]);
    check(text("quick two"), &[]);
    check(text("fine"), &[]);
    check(Test::TextAny("quick zebra".into()), &["The quick Brown fox", "quick", "brown quick", "two"]);
    check(Test::TextAny("".into()), &[]);
    check(Test::Phrase("quick brown".into()), &["The quick Brown fox"]);
    check(Test::Phrase("world hello".into()), &["hello world, hello"]);
    check(Test::Phrase("hello hello".into()), &[]);
    check(Test::Phrase("one brown".into()), &[]);
    check(Test::Phrase("".into()), &[]);
    check(Test::Prefix("qui".into()), &["quick", "two"]);
    check(Test::Prefix("Qui".into()), &[]);
    check(Test::Substring("uick".into()), &["The quick Brown fox", "quick", "brown quick", "two"]);
    check(Test::Substring("ick b".into()), &[]);
    check(Test::Substring("k o".into()), &["two"]);
    assert_eq!(found(&documents, &a(Test::Substring("".into())).into()).len(), documents.len() - 1);
    assert_eq!(found(&documents, &a(Test::Prefix("".into())).into()).len(), documents.len() - 1);
}

#[test]
fn times() {
    let texts = [
        "2024-01-02T03:04:05Z",
        "2024-01-02T05:04:05+02:00",
        "2024-01-02T03:04:05.123456789Z",
        "2024-01-02",
        "never",
    ];
    let documents: Vec<_> = texts.map(|text| (text, Some(Value::from(text)))).into();
    let time = |text| Datetime::parse(text).unwrap();
    let check =
        |range, expected: &[&str]| assert_eq!(found(&documents, &a(Test::Datetimes(range)).into()), expected);
    let four = time("2024-01-02T03:04:05Z");
    check(Range::between(four, four), &texts[..2]);
    check(Range::at_least(four), &texts[..3]);
    let micros = time("2024-01-02T03:04:05.123456Z");
    check(Range::between(micros, micros), &texts[2..3]);
    check(Range::below(four), &texts[3..4]);
    check(Range::default(), &texts[..4]);
}

#[test]
fn places() {
    let place = |lon: f64, lat: f64| object(&[("lon", lon.into()), ("lat", lat.into())]);
    let documents = [
        ("0,0", Some(place(0.0, 0.0))),
        ("10,10", Some(place(10.0, 10.0))),
        ("5,5", Some(object(&[("lat", 5i64.into()), ("lon", 5i64.into()), ("z", 1i64.into())]))),
        ("5,0", Some(place(5.0, 0.0))),
        ("179,1", Some(place(179.0, 1.0))),
        ("-179,1", Some(place(-179.0, 1.0))),
        ("half", Some(object(&[("lat", 5i64.into())]))),
        ("texts", Some(object(&[("lat", "5".into()), ("lon", "5".into())]))),
        ("list", Some(list([place(5.0, 5.0), place(50.0, 50.0)]))),
        ("pair", Some(list([5i64.into(), 5i64.into()]))),
        ("2.5,2.5", Some(place(2.5, 2.5))),
        ("2,2", Some(place(2.0, 2.0))),
        ("2,2.5", Some(place(2.0, 2.5))),
        // The other database takes such points where no index refuses them; ours are no places anywhere.
        ("200,5", Some(place(200.0, 5.0))),
        ("5,95", Some(place(5.0, 95.0))),
    ];
    let check = |test, expected: &str| assert_eq!(found(&documents, &a(test).into()).join(" "), expected);
    let area = |west: f64, north: f64, east: f64, south: f64| {
        let (top_left, bottom_right) = (GeoPoint::new(west, north), GeoPoint::new(east, south));
        Test::GeoBox(GeoBox { top_left, bottom_right })
    };
    check(area(0.0, 10.0, 10.0, 0.0), "5,5 list 2.5,2.5 2,2 2,2.5");
    check(area(170.0, 10.0, -170.0, 0.0), "179,1 -179,1");
    check(area(0.0, 0.0, 10.0, 10.0), "");
    let radius = |center: (f64, f64), radius_m| {
        Test::GeoRadius(GeoRadius { center: GeoPoint::new(center.0, center.1), radius_m })
    };
    check(radius((5.0, 5.0), 0.0), "");
    check(radius((5.0, 5.0), -1.0), "");
    // Five degrees of the equator are 555,975.4 m.
    check(radius((0.0, 0.0), 555_975.0), "0,0 2.5,2.5 2,2 2,2.5");
    check(radius((0.0, 0.0), 555_976.0), "0,0 5,0 2.5,2.5 2,2 2,2.5");
    let ring =
        |points: &[(f64, f64)]| points.iter().map(|&(lon, lat)| GeoPoint::new(lon, lat)).collect::<Vec<_>>();
    let square = |from: f64, to: f64| ring(&[(from, from), (to, from), (to, to), (from, to), (from, from)]);
    let polygon = |exterior, interiors| Test::GeoPolygon(GeoPolygon { exterior, interiors });
    check(polygon(square(0.0, 10.0), vec![]), "5,5 list 2.5,2.5 2,2 2,2.5");
    check(polygon(square(0.0, 10.0).into_iter().rev().collect(), vec![]), "5,5 list 2.5,2.5 2,2 2,2.5");
    check(polygon(square(0.0, 10.0), vec![square(2.0, 3.0)]), "5,5 list");
}
