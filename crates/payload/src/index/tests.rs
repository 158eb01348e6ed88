//! Every index answers what the matcher answers, growing and sealed, and no bytes break it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_codec::Region;
use nearfield_types::{Object, PointId, Slot, Value};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::bind::Rows;
use super::*;
use crate::filter::{
    Condition, Datetime, Filter, GeoBox, GeoPoint, GeoPolygon, GeoRadius, Key, Matcher, Number, Range, Scalar,
};
use crate::path::Path;
use crate::row::{RowRef, encode};
use crate::text::{Analyzer, Language, TextConfig, Tokenizer};

/// Cases of a property; more by NEARFIELD_MODEL_CASES.
fn cases(few: u32) -> ProptestConfig {
    let cases = std::env::var("NEARFIELD_MODEL_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(few))
}

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";
const TEXTS: &[&str] = &[
    "",
    "a",
    "ab",
    "abc",
    "b a",
    "a b a c",
    "The quick brown fox",
    "quick the fox, Fox!",
    "2024-01-02",
    "2024-01-02T00:00:00Z",
    "2023-05-06T07:08:09+01:00",
    UUID,
    "550E8400-e29b-41d4-a716-446655440000",
    "00000000-0000-0000-0000-00000000000a",
];
const INTEGERS: &[i64] =
    &[0, 1, -1, 5, 100, (1 << 53) + 1, 1 << 53, i64::MIN, i64::MAX, 1_704_153_600_000_000];
const FLOATS: &[f64] = &[0.0, -0.0, 0.5, 1.0, 5.0, -1.5, 9_007_199_254_740_992.0, 1e300, -1e300];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(TEXTS).prop_map(str::to_owned), "[ab ]{0,6}"]
}

fn point() -> impl Strategy<Value = GeoPoint> {
    let coordinate = |half: f64| prop_oneof![-half..=half, Just(-half), Just(half), Just(0.0), Just(10.0)];
    (coordinate(180.0), coordinate(90.0)).prop_map(|(lon, lat)| GeoPoint { lon, lat })
}

fn scalar() -> impl Strategy<Value = Value> {
    let place = |(point, spoilt): (GeoPoint, u8)| {
        let mut object = Object::new();
        object.set("lon", point.lon);
        match spoilt {
            0 => object.set("lat", "north"),
            1 => object.set("lat", 91i64),
            _ => object.set("lat", point.lat),
        }
        Value::Object(object)
    };
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => proptest::sample::select(INTEGERS).prop_map(Value::I64),
        2 => (-4i64..12).prop_map(Value::I64),
        1 => Just(Value::U64(u64::MAX)),
        2 => proptest::sample::select(FLOATS).prop_map(Value::F64),
        4 => text().prop_map(Value::String),
        2 => (point(), 0u8..12).prop_map(place),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..4).prop_map(Value::Array),
        1 => Just(Value::Array(vec![Value::Array(vec![Value::I64(1)]), Value::Null])),
    ]
}

/// An object with `a` and `l[].b`.
fn document() -> impl Strategy<Value = Object> {
    (proptest::option::weighted(0.9, value()), proptest::collection::vec(proptest::option::of(value()), 0..3))
        .prop_map(|(a, list)| {
            let mut object = Object::new();
            if let Some(a) = a {
                object.set("a", a);
            }
            let items = list.into_iter().map(|b| {
                let mut item = Object::new();
                if let Some(b) = b {
                    item.set("b", b);
                }
                Value::Object(item)
            });
            object.set("l", items.collect::<Vec<_>>());
            object
        })
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        proptest::sample::select(INTEGERS).prop_map(Number::I64),
        proptest::sample::select(FLOATS).prop_map(Number::F64),
        (-4i64..12).prop_map(Number::I64),
        Just(Number::U64(u64::MAX)),
        Just(Number::F64(f64::INFINITY)),
    ]
}

fn range<T: Debug + Clone>(bound: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Range<T>> {
    let side = move || proptest::option::weighted(0.4, bound.clone());
    (side(), side(), side(), side()).prop_map(|(gt, gte, lt, lte)| Range { gt, gte, lt, lte })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        any::<bool>().prop_map(Key::Bool),
        proptest::sample::select(INTEGERS).prop_map(Key::I64),
        (-4i64..12).prop_map(Key::I64),
        text().prop_map(|text| Key::String(text.into())),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let keys = || proptest::collection::vec(key(), 0..4);
    let time = proptest::sample::select(&[0i64, 1_704_153_600_000_000, 1_683_353_289_000_000, i64::MAX][..])
        .prop_map(Datetime);
    let scalar = prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        number().prop_map(Scalar::Number),
        text().prop_map(|text| Scalar::String(text.into())),
    ];
    let words = || text().prop_map(|text| text.into_boxed_str());
    let triangle = (point(), point(), point())
        .prop_map(|(a, b, c)| GeoPolygon { exterior: vec![a, b, c, a], interiors: Vec::new() });
    prop_oneof![
        key().prop_map(Test::Value),
        keys().prop_map(Test::Any),
        keys().prop_map(Test::Except),
        proptest::collection::vec(scalar, 0..4).prop_map(Test::Equals),
        range(number().boxed()).prop_map(Test::Range),
        range(number().boxed()).prop_map(Test::Bare),
        range(time).prop_map(Test::Datetimes),
        range(0u64..4).prop_map(Test::Count),
        words().prop_map(Test::Text),
        words().prop_map(Test::TextAny),
        words().prop_map(Test::Phrase),
        words().prop_map(Test::Prefix),
        words().prop_map(Test::Substring),
        (point(), point())
            .prop_map(|(top_left, bottom_right)| Test::GeoBox(GeoBox { top_left, bottom_right })),
        (point(), 0.0..2.1e7f64)
            .prop_map(|(center, radius_m)| Test::GeoRadius(GeoRadius { center, radius_m })),
        triangle.prop_map(Test::GeoPolygon),
    ]
}

fn configs() -> Vec<IndexConfig> {
    let text = |tokenizer, phrase_matching| {
        IndexConfig::Text(TextConfig { tokenizer, phrase_matching, ..TextConfig::default() })
    };
    let stems = TextConfig {
        stopwords: vec![Language::English],
        stemmer: Some(Language::English),
        phrase_matching: true,
        ..TextConfig::default()
    };
    let others = [
        text(Tokenizer::Word, true),
        text(Tokenizer::Whitespace, false),
        text(Tokenizer::Prefix, true),
        IndexConfig::Text(stems),
    ];
    IndexKind::ALL.map(IndexKind::config).into_iter().chain(others).collect()
}

fn rows_of(documents: &[Object]) -> Vec<Vec<u8>> {
    documents.iter().map(|document| encode(document).unwrap()).collect()
}

fn builder(config: &IndexConfig, path: &Path, rows: &[Vec<u8>]) -> FieldBuilder {
    let mut builder = FieldBuilder::new(config.clone(), path.clone()).unwrap();
    for row in rows {
        builder.push(&RowRef::new(row).unwrap()).unwrap();
    }
    builder
}

fn sealed(config: &IndexConfig, path: &Path, rows: &[Vec<u8>]) -> FieldReader {
    let (file, _) = builder(config, path, rows).write(Vec::new()).unwrap();
    let reader = FieldReader::open_as(Region::from(file), rows.len() as u32, config).unwrap();
    reader.verify().unwrap();
    reader
}

/// A growing index, flushed at odd places so that it has several runs.
fn growing(config: &IndexConfig, path: &Path, rows: &[Vec<u8>], flush_each: usize) -> FieldReader {
    let field = GrowingField::new(config.clone(), path.clone()).unwrap();
    for (at, row) in rows.iter().enumerate() {
        field.push(&RowRef::new(row).unwrap()).unwrap();
        if at % flush_each == flush_each - 1 {
            field.flush().unwrap();
        }
    }
    field.flush().unwrap();
    let reader = field.reader();
    reader.verify().unwrap();
    assert_eq!((reader.covered(), field.len()), (rows.len() as u32, rows.len() as u32));
    reader
}

fn analyzer(config: &IndexConfig) -> Option<Arc<Analyzer>> {
    match config {
        IndexConfig::Text(text) => Some(Arc::new(Analyzer::new(text).unwrap())),
        _ => None,
    }
}

/// The rows that match, one by one.
fn matching(filter: &Filter, config: &IndexConfig, path: &Path, rows: &[Vec<u8>]) -> RoaringBitmap {
    let texts = |asked: &Path| analyzer(config).filter(|_| asked == path);
    let matcher = Matcher::with_texts(filter.view(), texts).unwrap();
    let matches = |slot: &u32| {
        let row = RowRef::new(&rows[*slot as usize]).unwrap();
        matcher.matches(row, &PointId::from(u64::from(*slot)), |_| false).unwrap()
    };
    (0..rows.len() as u32).filter(matches).collect()
}

fn question_filter(path: &Path, question: Question<'_>) -> Filter {
    Filter::all([match question {
        Question::Test(test) => Condition::field(path.clone(), test.clone()),
        Question::IsEmpty => Condition::is_empty(path.clone()),
        Question::IsNull => Condition::is_null(path.clone()),
        Question::Exists => Condition::exists(path.clone()),
    }])
}

/// All that an index says about one question, against the truth. Returns whether it answered.
fn check_question(
    index: &FieldReader,
    question: Question<'_>,
    truth: &RoaringBitmap,
    some: &RoaringBitmap,
) -> Result<bool, TestCaseError> {
    let mut found = RoaringBitmap::new();
    let exactness = index.select(question, &mut found).unwrap();
    let estimate = index.estimate(question).unwrap();
    prop_assert_eq!(exactness.is_some(), estimate.is_some());
    let (Some(exactness), Some(estimate)) = (exactness, estimate) else {
        prop_assert!(found.is_empty());
        return Ok(false);
    };
    let recheck = exactness.into_recheck();
    prop_assert!(recheck.is_subset(&found), "{:?} beside {:?}", recheck, found);
    prop_assert!(truth.is_subset(&found), "{question:?}: {:?} of {:?}", found, truth);
    prop_assert!(
        (&found - &recheck).is_subset(truth),
        "{question:?}: {:?} - {:?}, {:?}",
        found,
        recheck,
        truth
    );
    prop_assert!(
        estimate.low <= truth.len() && truth.len() <= estimate.high,
        "{question:?}: {estimate:?}, {}",
        truth.len()
    );
    prop_assert!(estimate.low <= estimate.likely && estimate.likely <= estimate.high, "{estimate:?}");
    let mut narrowed = some.clone();
    if let Some(exactness) = index.narrow(question, &mut narrowed).unwrap() {
        let (recheck, truth) = (exactness.into_recheck(), truth & some);
        prop_assert!(truth.is_subset(&narrowed) && narrowed.is_subset(some));
        prop_assert!(recheck.is_subset(&narrowed) && (&narrowed - &recheck).is_subset(&truth));
    }
    Ok(true)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn indexes_answer_what_the_matcher_answers(
        documents in proptest::collection::vec(document(), 0..40),
        tests in proptest::collection::vec(test(), 6),
        flush_each in 1usize..20,
        inside in any::<bool>(),
    ) {
        let path = Path::parse(if inside { "l[].b" } else { "a" }).unwrap();
        let rows = rows_of(&documents);
        let some: RoaringBitmap = (0..rows.len() as u32).step_by(3).collect();
        for config in configs() {
            let indexes = [sealed(&config, &path, &rows), growing(&config, &path, &rows, flush_each)];
            let questions = tests.iter().map(Question::Test);
            for question in questions.chain([Question::IsEmpty, Question::IsNull, Question::Exists]) {
                let truth = matching(&question_filter(&path, question), &config, &path, &rows);
                for index in &indexes {
                    check_question(index, question, &truth, &some)?;
                }
            }
        }
    }
}

#[test]
fn substrings_do_not_reach_over_texts() {
    let texts = ["ab", "aba", "", "ba", "éa", "aé", "bab"];
    let rows = rows_of(&texts.map(|text| Object::from_entries([("a".to_owned(), text.into())])));
    let index = sealed(&IndexKind::Keyword.config(), &Path::key("a"), &rows);
    for part in ["ab", "ba", "a", "éa", "é", "", "aba", "abab", "x"] {
        let mut found = RoaringBitmap::new();
        index.select(Question::Test(&Test::Substring(part.into())), &mut found).unwrap();
        let truth = (0..texts.len() as u32).filter(|&slot| texts[slot as usize].contains(part)).collect();
        assert_eq!(found, truth, "{part}");
    }
}

/// Enough rows for marks and dense answers, with and without several values.
#[test]
fn long_ranges_are_right() {
    let path = Path::key("n");
    for many in [false, true] {
        let rows: Vec<Vec<u8>> = (0..9_000i64)
            .map(|at| {
                let value = at * 7919 % 1_000;
                let value: Value = match many && at % 3 == 0 {
                    true => vec![Value::I64(value), Value::I64(999 - value), Value::I64(value)].into(),
                    false => value.into(),
                };
                encode(&Object::from_entries([("n".to_owned(), value)])).unwrap()
            })
            .collect();
        let index = sealed(&IndexKind::Integer.config(), &path, &rows);
        let view_marks = index.memory().mapped;
        assert!(view_marks > 0);
        for (low, high) in
            [(0, 999), (0, 0), (1, 998), (500, 500), (100, 130), (0, 499), (333, 900), (700, 2_000), (5, 4)]
        {
            let test = Test::Range(Range::between(low, high));
            let truth: RoaringBitmap = {
                let filter = question_filter(&path, Question::Test(&test));
                matching(&filter, &IndexKind::Integer.config(), &path, &rows)
            };
            let mut found = RoaringBitmap::new();
            assert_eq!(index.select(Question::Test(&test), &mut found).unwrap(), Some(Exactness::Exact));
            assert_eq!(found, truth, "{low}..={high} {many}");
            // Two long ranges at once.
            let test = Test::Except(vec![Key::I64(low)]);
            let filter = question_filter(&path, Question::Test(&test));
            let truth = matching(&filter, &IndexKind::Integer.config(), &path, &rows);
            let mut found = RoaringBitmap::new();
            index.select(Question::Test(&test), &mut found).unwrap();
            assert_eq!(found, truth, "except {low} {many}");
        }
    }
}

#[test]
fn growing_covers_runs_and_leaves_a_tail() {
    let path = Path::key("n");
    let field = GrowingField::new(IndexKind::Integer.config(), path).unwrap();
    let rows: Vec<Vec<u8>> = (0..5_000i64)
        .map(|n| encode(&Object::from_entries([("n".to_owned(), (n % 10).into())])).unwrap())
        .collect();
    for (at, row) in rows.iter().enumerate() {
        field.push(&RowRef::new(row).unwrap()).unwrap();
        assert!(at as u32 + 1 - field.reader().covered() < GROWING_RUN_ROWS);
    }
    let reader = field.reader();
    assert_eq!(reader.covered(), 4_864);
    let mut found = RoaringBitmap::new();
    let test = Test::value(3);
    reader.select(Question::Test(&test), &mut found).unwrap();
    assert_eq!(found, (0..4_864).filter(|slot| slot % 10 == 3).collect());
    field.push_absent().unwrap();
    field.flush().unwrap();
    let mut absent = RoaringBitmap::new();
    field.reader().select(Question::IsEmpty, &mut absent).unwrap();
    assert_eq!(absent.iter().collect::<Vec<_>>(), [5_000]);
    // The reader taken before is as it was.
    assert_eq!(reader.covered(), 4_864);
    assert!(reader.memory().heap > 0 && reader.memory().mapped == 0);
}

#[test]
fn order_terms_values_and_words() {
    let documents: Vec<Object> = [Some(5i64), Some(2), None, Some(5), Some(9)]
        .into_iter()
        .enumerate()
        .map(|(at, n)| {
            let mut object = Object::new();
            if let Some(n) = n {
                object.set("n", n);
            }
            object.set(
                "k",
                if at % 2 == 0 { vec![Value::from("x"), Value::from("y")] } else { vec![Value::from("x")] },
            );
            object.set("t", "red fish blue fish");
            object
        })
        .collect();
    let rows = rows_of(&documents);
    let integer = IndexKind::Integer.config();
    for index in [sealed(&integer, &Path::key("n"), &rows), growing(&integer, &Path::key("n"), &rows, 2)] {
        let visit = |within: Option<&Test>, direction, most: usize| {
            let mut seen = Vec::new();
            let answered = index.ordered().unwrap().visit(within, direction, &mut |key, slot| {
                let KeyRef::I64(value) = key else { panic!("{key:?}") };
                seen.push((value, slot.0));
                if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(answered.unwrap());
            seen
        };
        assert_eq!(visit(None, Direction::Ascending, 9), [(2, 1), (5, 0), (5, 3), (9, 4)]);
        assert_eq!(visit(None, Direction::Descending, 3), [(9, 4), (5, 3), (5, 0)]);
        let from = Test::Range(Range::at_least(5));
        assert_eq!(visit(Some(&from), Direction::Ascending, 9), [(5, 0), (5, 3), (9, 4)]);
        assert!(!index.values().unwrap().has_others().unwrap());
    }
    let keyword = IndexKind::Keyword.config();
    for index in [sealed(&keyword, &Path::key("k"), &rows), growing(&keyword, &Path::key("k"), &rows, 2)] {
        let facets = |within: Option<&RoaringBitmap>| {
            let mut counts = BTreeMap::new();
            let mut visit = |key: KeyRef<'_>, count| {
                let KeyRef::String(text) = key else { panic!("{key:?}") };
                counts.insert(text.to_owned(), count);
                ControlFlow::Continue(())
            };
            index.terms().unwrap().visit(within, &mut visit).unwrap();
            counts.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(facets(None), [("x".to_owned(), 5), ("y".to_owned(), 3)]);
        assert_eq!(
            facets(Some(&RoaringBitmap::from([0u32, 1, 3]))),
            [("x".to_owned(), 3), ("y".to_owned(), 1)]
        );
        assert_eq!(facets(Some(&RoaringBitmap::from([1u32]))), [("x".to_owned(), 1)]);
        let mut values = Vec::new();
        index.values().unwrap().visit(Slot(2), &mut |key| values.push(format!("{key:?}"))).unwrap();
        assert_eq!(values, ["String(\"x\")", "String(\"y\")"]);
        index.values().unwrap().visit(Slot(99), &mut |_| panic!("there is no such row")).unwrap();
    }
    let text = IndexKind::Text.config();
    for index in [sealed(&text, &Path::key("t"), &rows), growing(&text, &Path::key("t"), &rows, 2)] {
        let words = index.words().unwrap();
        assert_eq!(words.totals().unwrap(), (5, 20));
        assert_eq!((words.document_count("fish").unwrap(), words.document_count("cat").unwrap()), (5, 0));
        let mut postings = Vec::new();
        words
            .postings("fish", &mut |slot, frequency, length| postings.push((slot.0, frequency, length)))
            .unwrap();
        assert_eq!(postings, [(0, 2, 4), (1, 2, 4), (2, 2, 4), (3, 2, 4), (4, 2, 4)]);
        assert!(index.ordered().is_none() && index.terms().is_none());
    }
}

/// Small files of every kind.
fn small_files() -> Vec<(IndexConfig, Vec<u8>, u32)> {
    let mut documents: Vec<Object> =
        TEXTS.iter().map(|text| Object::from_entries([("a".to_owned(), (*text).into())])).collect();
    documents.extend(INTEGERS.iter().map(|&n| Object::from_entries([("a".to_owned(), n.into())])));
    documents.push(Object::from_entries([(
        "a".to_owned(),
        vec![Value::from(true), Value::from("a b"), Value::from(7i64)].into(),
    )]));
    let place =
        Object::from_entries([("lon".to_owned(), 3.5.into()), ("lat".to_owned(), Value::from(50i64))]);
    documents.push(Object::from_entries([("a".to_owned(), Value::Object(place))]));
    documents.push(Object::new());
    let rows = rows_of(&documents);
    let file = |config: &IndexConfig| builder(config, &Path::key("a"), &rows).write(Vec::new()).unwrap().0;
    configs().into_iter().map(|config| (config.clone(), file(&config), rows.len() as u32)).collect()
}

fn hostile_tests() -> Vec<Test> {
    let earth = GeoBox {
        top_left: GeoPoint { lon: -180.0, lat: 90.0 },
        bottom_right: GeoPoint { lon: 180.0, lat: -90.0 },
    };
    vec![
        Test::value("a"),
        Test::value(5),
        Test::value(true),
        Test::except(["a"]),
        Test::Range(Range::at_least(0i64)),
        Test::Datetimes(Range::at_least(Datetime(0))),
        Test::Text("quick fox".into()),
        Test::Phrase("the quick".into()),
        Test::Prefix("a".into()),
        Test::Substring("b".into()),
        Test::GeoBox(earth),
        Test::Count(Range::at_least(2u64)),
    ]
}

/// Asks everything; answers the slots found for each question.
fn ask_all(index: &FieldReader) -> Vec<Result<Vec<u32>, IndexError>> {
    let tests = hostile_tests();
    let mut answers = Vec::new();
    let questions =
        tests.iter().map(Question::Test).chain([Question::IsEmpty, Question::IsNull, Question::Exists]);
    for question in questions {
        let mut found = RoaringBitmap::new();
        let selected = index.select(question, &mut found);
        let _ = index.estimate(question);
        let _ = index.narrow(question, &mut found.clone());
        answers.push(selected.map(|_| found.iter().collect()));
    }
    let go_on = || ControlFlow::Continue(());
    if let Some(ordered) = index.ordered() {
        let _ = ordered.visit(None, Direction::Descending, &mut |_, _| go_on());
    }
    if let Some(terms) = index.terms() {
        let _ = terms.visit(Some(&RoaringBitmap::from([0u32, 3])), &mut |_, _| go_on());
    }
    if let Some(values) = index.values() {
        let _ = (0..index.covered()).try_for_each(|slot| values.visit(Slot(slot), &mut |_| ()));
    }
    if let Some(words) = index.words() {
        let _ = words.postings("fox", &mut |_, _, _| ());
    }
    let _ = index.verify();
    answers
}

#[test]
fn damaged_files_are_refused_or_answer_nothing() {
    for (config, file, rows) in small_files() {
        let whole = FieldReader::open(Region::from(file.clone()), rows).unwrap();
        let truth = ask_all(&whole);
        assert!(matches!(
            FieldReader::open(Region::from(file.clone()), rows + 1),
            Err(OpenError::Value { .. })
        ));
        for cut in 0..file.len() {
            assert!(FieldReader::open(Region::from(file[..cut].to_vec()), rows).is_err(), "{config:?} {cut}");
        }
        for at in 0..file.len() {
            let mut bytes = file.clone();
            bytes[at] ^= 1 << (at % 8);
            let Ok(index) = FieldReader::open(Region::from(bytes), rows) else { continue };
            let answers = ask_all(&index);
            let right = answers.iter().zip(&truth).all(|(answer, truth)| answer.is_err() || answer == truth);
            assert!(right, "{config:?} byte {at}");
            assert!(index.verify().is_err(), "{config:?} byte {at}");
        }
    }
}

/// With checksums made true again: no panic, slots inside, and what is found wrong is an error of `verify`.
#[test]
fn forged_files_do_no_harm() {
    use nearfield_codec::{Container, ContainerWriter};
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for (_, file, rows) in small_files() {
        let container = Container::open(Region::from(file), format::INDEX_TAG).unwrap();
        let sections: Vec<(u32, Vec<u8>)> = (1..=16)
            .filter_map(|id| {
                let range = container.section(id).ok()?;
                Some((id, container.region()[range.start as usize..range.end as usize].to_vec()))
            })
            .collect();
        for _ in 0..400 {
            let mut forged = sections.clone();
            for _ in 0..1 + next() % 3 {
                let place = (next() % forged.len() as u64) as usize;
                let section = &mut forged[place].1;
                if section.is_empty() {
                    continue;
                }
                let at = (next() % section.len() as u64) as usize;
                section[at] = next() as u8;
            }
            let mut writer = ContainerWriter::new(Vec::new(), format::INDEX_TAG).unwrap();
            for (id, bytes) in &forged {
                writer.section(*id).unwrap();
                writer.write(bytes).unwrap();
            }
            let (bytes, _) = writer.finish().unwrap();
            let Ok(index) = FieldReader::open(Region::from(bytes), rows) else { continue };
            for answer in ask_all(&index).into_iter().flatten() {
                assert!(answer.iter().all(|&slot| slot < rows));
            }
        }
    }
}

/// Indexes by path, as a segment has them.
struct Segment {
    indexes: Vec<(Path, FieldReader)>,
    ids: u32,
}

impl Resolve for Segment {
    fn field(&self, path: &Path) -> Option<&dyn FieldIndex> {
        let found = self.indexes.iter().find(|(own, _)| own == path);
        found.map(|(_, index)| index as &dyn FieldIndex)
    }

    fn ids(&self, ids: &[PointId]) -> Option<RoaringBitmap> {
        let slot = |id: &PointId| (0..self.ids).find(|&slot| PointId::from(u64::from(slot)) == *id);
        Some(ids.iter().filter_map(slot).collect())
    }

    fn vectors(&self, _name: &str) -> Option<RoaringBitmap> {
        None
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let path =
        proptest::sample::select(&["a", "l[].b", "unknown"][..]).prop_map(|text| Path::parse(text).unwrap());
    let ids = proptest::collection::vec(0u64..50, 0..6);
    let leaf = prop_oneof![
        8 => (path.clone(), test()).prop_map(|(path, test)| Condition::field(path, test)),
        1 => path.clone().prop_map(Condition::is_empty),
        1 => path.clone().prop_map(Condition::is_null),
        1 => path.prop_map(Condition::exists),
        1 => ids.prop_map(Condition::has_id),
        1 => Just(Condition::has_vector("v")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let clause = || proptest::collection::vec(inner.clone(), 0..3);
        let filter = (clause(), clause(), clause(), clause(), proptest::option::weighted(0.3, 0u64..4))
            .prop_map(|(must, should, must_not, min_should, count)| {
                let filter = Filter::new().must(must).should(should).must_not(must_not);
                match count {
                    Some(count) => filter.min_should(count, min_should),
                    None => filter,
                }
            });
        let nested = proptest::collection::vec(test(), 0..3).prop_map(|tests| {
            let inside = tests.into_iter().map(|test| Condition::field(Path::key("b"), test));
            Condition::nested(Path::key("l"), Filter::all(inside))
        });
        prop_oneof![4 => filter.prop_map(Condition::from), 1 => nested]
    })
}

proptest! {
    #![proptest_config(cases(400))]

    /// Candidates, tests on rows and masked rows together are the answer.
    #[test]
    fn bound_filters_match_what_the_matcher_matches(
        documents in proptest::collection::vec(document(), 0..40),
        changed in proptest::collection::vec((0u32..40, document()), 0..4),
        condition in condition(),
        kind in proptest::sample::select(&IndexKind::ALL[..]),
        uncovered in 0usize..6,
    ) {
        let (a, b) = (Path::key("a"), Path::parse("l[].b").unwrap());
        let indexed = rows_of(&documents);
        let covered = indexed.len().saturating_sub(uncovered);
        let config = kind.config();
        let segment = Segment {
            indexes: vec![
                (a.clone(), sealed(&config, &a, &indexed)),
                (b.clone(), growing(&config, &b, &indexed[..covered], 7)),
            ],
            ids: indexed.len() as u32,
        };
        let (mut now, mut masked) = (documents, RoaringBitmap::new());
        for (slot, document) in changed.into_iter().filter(|(slot, _)| (*slot as usize) < indexed.len()) {
            now[slot as usize] = document;
            masked.insert(slot);
        }
        let rows = rows_of(&now);
        let filter = Filter::from(condition);
        let texts = |path: &Path| segment.indexes.iter().find(|(own, _)| own == path).and_then(|_| analyzer(&config));
        let test = |filter: &Filter, slots: &RoaringBitmap| -> RoaringBitmap {
            let matcher = Matcher::with_texts(filter.view(), texts).unwrap();
            let matches = |slot: &u32| {
                let row = RowRef::new(&rows[*slot as usize]).unwrap();
                matcher.matches(row, &PointId::from(u64::from(*slot)), |_| true).unwrap()
            };
            slots.iter().filter(matches).collect()
        };
        let len = rows.len() as u32;
        let all = Rows::All.into_set(len);
        let truth = test(&filter, &all);
        let bound = bind(filter.view(), &segment, len, &masked).unwrap();
        let candidates = bound.candidates.into_set(len);
        let recheck = bound.recheck.into_set(len);
        prop_assert!(recheck.is_disjoint(&bound.whole) && bound.whole.is_subset(&candidates) && recheck.is_subset(&candidates));
        prop_assert!(masked.is_subset(&bound.whole));
        let mut found = &candidates - &recheck - &bound.whole;
        if let Some(residual) = &bound.residual {
            found |= test(residual, &recheck);
        } else {
            prop_assert!(recheck.is_empty());
        }
        found |= test(&filter, &bound.whole);
        prop_assert_eq!(&found, &truth, "{:?}", filter);
        let estimate = bound.estimate;
        prop_assert!(estimate.low <= truth.len() && truth.len() <= estimate.high, "{estimate:?} {} {filter:?}", truth.len());
        prop_assert!(bound.unindexed.iter().all(|path| path.to_string() != "missing"));
    }
}

/// One level more than any stack could take, and a great many alternatives.
#[test]
fn binding_does_not_recurse() {
    let rows = rows_of(&[Object::from_entries([("a".to_owned(), 1i64.into())])]);
    let path = Path::key("a");
    let segment =
        Segment { indexes: vec![(path.clone(), sealed(&IndexKind::Integer.config(), &path, &rows))], ids: 1 };
    let leaf = || Condition::field(path.clone(), Test::value(1));
    let mut deep = leaf();
    for _ in 0..50_000 {
        deep = !deep;
    }
    let bound = bind(Filter::from(deep).view(), &segment, 1, &RoaringBitmap::new()).unwrap();
    assert_eq!((bound.candidates.len(1), bound.recheck.is_empty(), bound.residual), (1, true, None));
    let wide = Filter::any((0..50_000).map(|_| leaf()));
    let bound = bind(wide.view(), &segment, 1, &RoaringBitmap::new()).unwrap();
    assert_eq!(bound.candidates, Rows::Some(RoaringBitmap::from([0u32])));
    let most = Filter::new().min_should(30_000, (0..50_000).map(|_| leaf()));
    let bound = bind(most.view(), &segment, 1, &RoaringBitmap::new()).unwrap();
    assert_eq!((bound.candidates.len(1), bound.recheck.is_empty()), (1, false));
}

/// A condition on a field without an index remains, the others do not.
#[test]
fn the_residual_is_what_indexes_left() {
    let rows = rows_of(
        &(0..100i64).map(|n| Object::from_entries([("a".to_owned(), (n % 4).into())])).collect::<Vec<_>>(),
    );
    let path = Path::key("a");
    let segment = Segment {
        indexes: vec![(path.clone(), sealed(&IndexKind::Integer.config(), &path, &rows))],
        ids: 100,
    };
    let known = Condition::field(path.clone(), Test::value(1));
    let unknown = Condition::field(Path::key("x"), Test::value("y"));
    let filter = Filter::all([known.clone(), unknown.clone()]).must_not([Condition::is_empty(path)]);
    let bound = bind(filter.view(), &segment, 100, &RoaringBitmap::from([3u32])).unwrap();
    assert_eq!(bound.residual, Some(Filter::all([unknown])));
    assert_eq!(bound.unindexed, [Path::key("x")]);
    assert_eq!((bound.candidates.len(100), bound.recheck.len(100)), (26, 25));
    assert_eq!(bound.whole.iter().collect::<Vec<_>>(), [3]);
    let bound = bind(Filter::from(known).view(), &segment, 100, &RoaringBitmap::new()).unwrap();
    assert_eq!((bound.residual, bound.estimate), (None, Estimate::exactly(25)));
    let everything = bind(Filter::new().view(), &segment, 100, &RoaringBitmap::new()).unwrap();
    assert_eq!((everything.candidates, everything.residual), (Rows::All, None));
}
