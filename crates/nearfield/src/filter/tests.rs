//! Both forms: what they read, what they refuse in which words, and hostile input.

use nearfield_payload::filter::Matcher;
use nearfield_payload::{RowRef, Scratch, encode_into};
use nearfield_types::{Object, PointId, Value};
use proptest::prelude::*;

use super::{FilterError, ParseError, limits, mongo, qdrant};

fn o<const N: usize>(entries: [(&str, Value); N]) -> Object {
    Object::from_entries(entries.map(|(key, value)| (key.to_owned(), value)))
}

fn v<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(o(entries))
}

fn l<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

fn i(value: i64) -> Value {
    Value::I64(value)
}

fn f(value: f64) -> Value {
    Value::F64(value)
}

fn s(text: &str) -> Value {
    Value::from(text)
}

/// Nested so many levels deep, without recursion.
fn nest(levels: usize, innermost: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(innermost, |inner, _| wrap(inner))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other:?}"),
    }
}

mod qdrant_form {
    use super::*;

    #[track_caller]
    fn check(filter: Object, text: &str) {
        assert_eq!(
            qdrant::parse(&filter).map(|filter| filter.to_string()).map_err(|error| error.to_string()),
            Ok(text.to_owned())
        );
    }

    /// One condition, alone.
    #[track_caller]
    fn one(condition: Value, text: &str) {
        check(o([("must", condition)]), text);
    }

    #[track_caller]
    fn test(test: &str, value: Value, text: &str) {
        one(v([("key", s("a")), (test, value)]), text);
    }

    #[track_caller]
    fn refused(filter: Object, text: &str) {
        assert_eq!(qdrant::parse(&filter).unwrap_err().to_string(), text);
    }

    #[track_caller]
    fn refused_test(test: &str, value: Value, text: &str) {
        refused(
            o([("must", l([v([("key", s("a")), (test, value)])]))]),
            &format!("filter.must[0].{test}{text}"),
        );
    }

    #[test]
    fn every_condition_is_read() {
        test("match", v([("value", i(1))]), "a = 1");
        test("match", v([("value", s("x"))]), "a = \"x\"");
        test("match", v([("value", Value::Bool(true))]), "a = true");
        test("match", v([("any", l([i(1), s("x")]))]), "a in [1, \"x\"]");
        test("match", v([("any", l([]))]), "a in []");
        test("match", v([("except", l([s("x")]))]), "a not in [\"x\"]");
        test("match", v([("text", s("x"))]), "a has all words of \"x\"");
        test("match", v([("text_any", s("x"))]), "a has a word of \"x\"");
        test("match", v([("phrase", s("x")), ("text", Value::Null)]), "a has the phrase \"x\"");
        test("match", v([("prefix", s("x"))]), "a begins with \"x\"");
        test("match", v([("substring", s("x"))]), "a contains \"x\"");
        test("range", v([("gt", i(1)), ("lte", f(2.5)), ("lt", Value::Null)]), "a > 1 and a <= 2.5");
        test("range", v([]), "a in any range");
        test("range", v([("gte", s("2024-01-02"))]), "a >= 2024-01-02T00:00:00Z");
        test("values_count", v([("gte", i(2))]), "count(a) >= 2");
        test("is_empty", Value::Bool(true), "is_empty(a)");
        test("is_null", Value::Bool(false), "(not is_null(a))");
        let point = |lon, lat| v([("lon", lon), ("lat", lat)]);
        let corners = v([("top_left", point(i(1), i(4))), ("bottom_right", point(i(3), f(2.5)))]);
        test("geo_bounding_box", corners, "a in box(1 4 to 3 2.5)");
        test("geo_radius", v([("center", point(i(1), i(2))), ("radius", f(9.5))]), "a within 9.5 m of 1 2");
        let ring = || {
            v([("points", l([point(i(0), i(0)), point(i(1), i(0)), point(i(1), i(1)), point(i(0), i(0))]))])
        };
        test("geo_polygon", v([("exterior", ring())]), "a in polygon(4 points, 0 holes)");
        test(
            "geo_polygon",
            v([("exterior", ring()), ("interiors", l([ring()]))]),
            "a in polygon(4 points, 1 holes)",
        );
        one(v([("is_empty", v([("key", s("a.b"))]))]), "is_empty(a.b)");
        one(v([("is_null", v([("key", s("a[].b"))]))]), "is_null(a[].b)");
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        one(v([("has_id", l([i(1), s(uuid)]))]), &format!("id in [1, {uuid}]"));
        one(v([("has_id", l([s("550E8400E29B41D4A716446655440000")]))]), &format!("id in [{uuid}]"));
        one(v([("has_vector", s("image"))]), "has_vector(\"image\")");
        one(v([("slice", v([("total", i(4)), ("index", i(3))]))]), "slice(3 of 4)");
    }

    fn a(value: i64) -> Value {
        v([("key", s("a")), ("match", v([("value", i(value))]))])
    }

    #[test]
    fn clauses_and_filters_nest() {
        check(o([]), "everything");
        check(o([("must", l([])), ("should", Value::Null)]), "everything");
        check(o([("must", l([a(1), a(2)])), ("must_not", a(3))]), "a = 1 and a = 2 and not a = 3");
        check(o([("should", l([a(1), a(2)]))]), "a = 1 or a = 2");
        let min = v([("conditions", l([a(1), a(2), a(3)])), ("min_count", i(2))]);
        check(o([("min_should", min)]), "at least 2 of (a = 1, a = 2, a = 3)");
        check(o([("min_should", v([("conditions", l([])), ("min_count", i(1))]))]), "at least 1 of ()");
        one(v([("should", l([a(1), v([("must_not", l([a(2)]))])]))]), "(a = 1 or (not a = 2))");
        one(v([]), "(everything)");
        let nested = v([("nested", v([("key", s("a.b")), ("filter", v([("must", l([a(1), a(2)]))]))]))]);
        one(nested, "nested(a.b: a = 1 and a = 2)");
        // Several tests are alternatives.
        let several = v([("key", s("a")), ("match", v([("value", i(1))])), ("range", v([("gt", i(5))]))]);
        one(several, "(a = 1 or a > 5)");
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused(
            o([("mus", l([]))]),
            "filter: unknown key `mus`: a filter has must, should, must_not, min_should",
        );
        refused(
            o([("must", i(1))]),
            "filter.must: a condition or a list of conditions is expected, not an integer",
        );
        refused(o([("must", l([i(1)]))]), "filter.must[0]: a condition is expected, not an integer");
        refused(
            o([("must", l([a(1), v([("ky", s("a"))])]))]),
            "filter.must[1]: unknown key `ky`: a condition has `key` with tests, is_empty, is_null, has_id, has_vector, slice, nested, or the clauses of a filter",
        );
        let inner = v([("should", l([v([("key", s("a..b")), ("match", v([("value", i(1))]))])]))]);
        refused(
            o([("must_not", l([inner]))]),
            "filter.must_not[0].should[0].key: invalid JSON path: path is wrong at byte 2: keys are joined by '.', lists are entered by '[]' or '[0]', other keys are quoted",
        );
        refused(
            o([("must", v([("key", s("a"))]))]),
            "filter.must[0]: the condition for `a` asks nothing: one of match, range, geo_bounding_box, geo_radius, geo_polygon, values_count, is_empty, is_null is needed",
        );
        refused_test(
            "rang",
            v([]),
            ": unknown test: one of match, range, geo_bounding_box, geo_radius, geo_polygon, values_count, is_empty, is_null is expected",
        );
        refused_test(
            "match",
            v([("value", f(1.5))]),
            ".value: a string, an integer or a boolean is expected, not a float",
        );
        refused_test(
            "match",
            v([("value", Value::U64(u64::MAX))]),
            ".value: 18446744073709551615 is larger than 9223372036854775807",
        );
        refused_test(
            "match",
            v([("any", l([i(1), l([])]))]),
            ".any[1]: a string, an integer or a boolean is expected, not a list",
        );
        refused_test(
            "match",
            v([("any", l([])), ("value", i(1))]),
            ": exactly one of value, any, except, text, text_any, phrase, prefix, substring is expected",
        );
        refused_test(
            "match",
            v([("regex", s("x"))]),
            ".regex: unknown match: one of value, any, except, text, text_any, phrase, prefix, substring is expected",
        );
        refused_test(
            "range",
            v([("gt", i(1)), ("ge", i(1))]),
            ".ge: unknown bound: one of gt, gte, lt, lte is expected",
        );
        refused_test(
            "range",
            v([("gt", i(1)), ("lt", s("2024-01-01"))]),
            ".gt: a string is expected, not an integer",
        );
        refused_test(
            "range",
            v([("gt", s("tomorrow"))]),
            ".gt: not a date or time: RFC 3339 is expected, as 2026-01-31, 2026-01-31T12:00:00 or 2026-01-31T12:00:00.5+01:00",
        );
        refused_test("values_count", v([("gt", i(-1))]), ".gt: -1 is less than 0");
        refused_test(
            "geo_radius",
            v([("center", v([("lon", i(1))])), ("radius", i(1))]),
            ".center: `lat` is missing",
        );
        refused_test("is_null", i(1), ": true or false is expected, not an integer");
        refused(
            o([("must", v([("has_id", l([i(1), s("x")]))]))]),
            "filter.must[0].has_id[1]: value x is not a valid point ID, valid values are either an unsigned integer or a UUID",
        );
        refused(
            o([("must", v([("has_id", l([i(-1)]))]))]),
            "filter.must[0].has_id[0]: value -1 is not a valid point ID, valid values are either an unsigned integer or a UUID",
        );
        refused(
            o([("must", v([("slice", v([("total", i(2)), ("index", i(2))]))]))]),
            "slice 2 of 2: `total` must be at least 1, and `index` less than `total`",
        );
        refused(
            o([("must", v([("slice", v([("total", i(1 << 32)), ("index", i(2))]))]))]),
            "filter.must[0].slice.total: 4294967296 is larger than 4294967295",
        );
        refused(
            o([("must", v([("is_null", v([("key", s("a"))])), ("is_empty", v([]))]))]),
            "filter.must[0]: `is_null` and `is_empty` in one condition: each needs its own",
        );
        let nested = |filter| o([("must", v([("nested", v([("key", s("a")), ("filter", filter)]))]))]);
        refused(nested(i(1)), "filter.must[0].nested.filter: a filter is expected, not an integer");
        refused(
            nested(v([("x", i(1))])),
            "filter.must[0].nested.filter: unknown key `x`: a filter has must, should, must_not, min_should",
        );
        refused(o([("min_should", v([("conditions", l([]))]))]), "filter.min_should: `min_count` is missing");
    }

    #[test]
    fn hostile_filters_are_refused() {
        let wraps: [fn(Value) -> Value; 2] = [
            |inner| v([("must", l([inner]))]),
            |inner| v([("must", v([("nested", v([("key", s("a")), ("filter", inner)]))]))]),
        ];
        for wrap in wraps {
            let deep = object(nest(1_000_000, v([("must", a(1))]), wrap));
            assert_eq!(qdrant::parse(&deep), Err(FilterError::Depth.into()));
            let deepest = object(nest(limits::FILTER_DEPTH_MAX - 1, v([("must", a(1))]), wrap));
            assert!(qdrant::parse(&deepest).is_ok());
        }
        let wide = o([("should", Value::Array(vec![a(1); 100_000]))]);
        assert_eq!(qdrant::parse(&wide), Err(FilterError::Conditions.into()));
        let many = Value::Array((0..1_000_000).map(i).collect());
        for condition in
            [v([("has_id", many.clone())]), v([("key", s("a")), ("match", v([("any", many.clone())]))])]
        {
            assert_eq!(qdrant::parse(&o([("must", condition)])), Err(FilterError::Operands.into()));
        }
        let long = v([("key", s("a")), ("match", v([("text", s(&"x".repeat(10 << 20)))]))]);
        assert!(matches!(
            qdrant::parse(&o([("must", long)])),
            Err(ParseError::Filter(FilterError::Text { .. }))
        ));
        let nan = v([("key", s("a")), ("range", v([("gt", f(f64::NAN))]))]);
        assert_eq!(
            qdrant::parse(&o([("must", nan)])).unwrap_err().to_string(),
            "a bound for `a` is not a number"
        );
    }
}

mod dictionary_form {
    use super::*;

    /// Documents that match, by name.
    #[track_caller]
    fn check(filter: Object, expected: &str) {
        let documents = [
            ("none", o([])),
            ("null", o([("a", Value::Null)])),
            ("true", o([("a", Value::Bool(true))])),
            ("false", o([("a", Value::Bool(false))])),
            ("1", o([("a", i(1))])),
            ("1.0", o([("a", f(1.0))])),
            ("2.5", o([("a", f(2.5))])),
            ("x", o([("a", s("x"))])),
            ("X", o([("a", s("X"))])),
            ("list", o([("a", l([i(1), s("x")]))])),
            ("object", o([("a", v([("b", i(1))]))])),
            ("dotted", o([("a.b", i(1))])),
        ];
        let filter = mongo::parse(&filter).unwrap();
        let matcher = Matcher::new(&filter).unwrap();
        let mut scratch = Scratch::default();
        let mut matches = |object: &Object| {
            let row = RowRef::new(encode_into(object, &mut scratch).unwrap()).unwrap();
            matcher.matches(row, &PointId::from("id"), |_| false).unwrap()
        };
        let found: Vec<_> =
            documents.iter().filter(|(_, object)| matches(object)).map(|(name, _)| *name).collect();
        assert_eq!(found.join(" "), expected, "{filter}");
    }

    const ALL: &str = "none null true false 1 1.0 2.5 x X list object dotted";

    fn a(value: Value) -> Object {
        o([("a", value)])
    }

    #[test]
    fn the_contract_holds() {
        check(o([]), ALL);
        check(a(v([])), ALL);
        check(a(i(1)), "1 1.0 list");
        check(a(f(1.0)), "1 1.0 list");
        check(a(Value::Bool(true)), "true");
        check(a(Value::Null), "null");
        check(a(s("x")), "x list");
        check(a(v([("$eq", i(1))])), "1 1.0 list");
        check(a(v([("$ne", i(1))])), "none null true false 2.5 x X object dotted");
        check(a(v([("$ne", Value::Bool(true))])), "none null false 1 1.0 2.5 x X list object dotted");
        check(a(v([("$in", l([i(1), Value::Null, s("X")]))])), "null 1 1.0 X list");
        check(a(v([("$in", l([]))])), "");
        check(a(v([("$nin", l([i(1), s("x")]))])), "none null true false 2.5 X object dotted");
        check(a(v([("$nin", l([]))])), ALL);
        check(a(v([("$gt", i(1))])), "2.5");
        check(a(v([("$gte", f(1.0)), ("$lt", i(2))])), "1 1.0");
        check(a(v([("$lte", i(1))])), "1 1.0");
        check(a(v([("$exists", Value::Bool(true))])), "null true false 1 1.0 2.5 x X list object");
        check(a(v([("$exists", Value::Bool(false))])), "none dotted");
        check(a(v([("$not", v([("$gt", i(1))]))])), "none null true false 1 1.0 x X list object dotted");
        check(
            a(v([("$not", v([("$gte", i(1)), ("$lt", i(2))]))])),
            "none null true false 2.5 x X list object dotted",
        );
        check(a(v([("$not", v([("$not", v([("$gt", i(1))]))]))])), "2.5");
        check(a(v([("$not", v([]))])), "");
        check(o([("a.b", i(1))]), "dotted");
    }

    #[test]
    fn dictionaries_join() {
        let x = || v([("a", s("x"))]);
        check(o([("$and", l([x(), v([("a", v([("$exists", Value::Bool(true))]))])]))]), "x list");
        check(o([("$or", l([x(), v([("a", v([("$gt", i(2))]))])]))]), "2.5 x list");
        // What one dictionary of several says stays together.
        let between =
            v([("a", v([("$gte", i(1)), ("$lte", i(2))])), ("a.b", v([("$exists", Value::Bool(false))]))]);
        check(o([("$or", l([between, v([("a", s("X"))])]))]), "1 1.0 X");
        check(o([("$or", l([]))]), "");
        check(o([("$and", l([]))]), ALL);
        check(o([("$or", l([v([])]))]), ALL);
        check(o([("$not", v([("a", s("x"))]))]), "none null true false 1 1.0 2.5 X object dotted");
        check(o([("$not", v([("a", s("x")), ("a.b", i(1))]))]), ALL);
        check(o([("$not", v([]))]), "");
        check(o([("a", s("x")), ("$or", l([v([("a", i(1))])]))]), "list");
    }

    #[test]
    fn refusals_have_the_texts_of_the_contract() {
        let check =
            |filter: Object, text: &str| assert_eq!(mongo::parse(&filter).unwrap_err().to_string(), text);
        check(a(v([("$x", i(1))])), "unknown operator: $x");
        check(a(v([("b", i(1))])), "unknown operator: b");
        check(o([("$x", i(1))]), "unknown operator: $x");
        for operator in ["$gt", "$gte", "$lt", "$lte"] {
            for value in [s("1"), Value::Bool(true), Value::Null, l([])] {
                check(a(v([(operator, value)])), &format!("{operator} value must be a number"));
            }
        }
        for operator in ["$in", "$nin"] {
            check(a(v([(operator, i(1))])), &format!("{operator} value must be a list"));
            check(a(v([(operator, l([l([])]))])), "unsupported filter value type");
        }
        for operator in ["$and", "$or"] {
            check(o([(operator, v([]))]), &format!("{operator} value must be a list"));
            check(o([(operator, l([i(1)]))]), "unsupported filter value type");
        }
        check(a(l([i(1)])), "unsupported filter value type");
        check(a(v([("$eq", l([]))])), "unsupported filter value type");
        check(a(v([("$ne", v([]))])), "unsupported filter value type");
        check(a(v([("$exists", i(1))])), "$exists value must be a boolean");
        check(a(v([("$not", i(1))])), "$not value must be a dict");
        check(o([("$not", l([]))]), "$not value must be a dict");
        check(a(v([("$gt", f(f64::NAN))])), "a bound for `a` is not a number");
    }

    #[test]
    fn hostile_dictionaries_are_refused() {
        let wraps: [fn(Value) -> Value; 2] =
            [|inner| v([("$not", inner)]), |inner| v([("$or", l([inner, v([("b", i(1))])]))])];
        for wrap in wraps {
            let deep = object(nest(1_000_000, v([("a", i(1))]), wrap));
            let error = mongo::parse(&deep).unwrap_err();
            assert!(matches!(error, ParseError::Filter(FilterError::Depth)), "{error}");
        }
        let operators = nest(1_000_000, v([("$gt", i(1))]), |inner| v([("$not", inner)]));
        assert_eq!(mongo::parse(&a(operators)), Err(FilterError::Depth.into()));
        let many = Value::Array((0..1_000_000).map(i).collect());
        assert_eq!(mongo::parse(&a(v([("$in", many)]))), Err(FilterError::Operands.into()));
        let wide = Value::Array(vec![v([("a", i(1))]); 100_000]);
        assert_eq!(mongo::parse(&o([("$or", wide)])), Err(FilterError::Conditions.into()));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    const KEYS: &[&str] = &[
        "must",
        "should",
        "must_not",
        "min_should",
        "conditions",
        "min_count",
        "key",
        "match",
        "value",
        "any",
        "range",
        "gt",
        "is_null",
        "nested",
        "filter",
        "has_id",
        "slice",
        "total",
        "index",
        "$and",
        "$or",
        "$not",
        "$in",
        "$gt",
        "$exists",
        "a",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        "[a-c.\\[\\]0]{0,4}".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((proptest::sample::select(KEYS).prop_map(str::to_owned), inner), 0..4)
                .prop_map(|entries| Value::Object(Object::from_entries(entries))),
        ]
    })
}

proptest! {
    /// Whatever comes: a filter that passes its own check, or an error; both forms.
    #[test]
    fn any_value_is_read_or_refused(value in any_value()) {
        if let Value::Object(object) = &value {
            for parsed in [qdrant::parse(object), mongo::parse(object)] {
                match parsed {
                    Ok(filter) => prop_assert!(Matcher::new(&filter).is_ok()),
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}
