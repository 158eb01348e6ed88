//! Facets, orders, groups, estimates and writes by filter, against a look at every point: random documents in growing and sealed rows, patched,
//! replaced and deleted, with and without an index.

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::filter::{Condition, Datetime, Filter, Key, Number, Path, Test};
use nearfield::{
    Collection, Database, ErrorKind, FieldConfig, FieldKind, Object, Options, OrderBy, OrderValue, Point,
    PointId, Query, Value, With,
};
use nearfield_platform::{Dir, MemoryDir};
use proptest::prelude::*;

use crate::model::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answers_are_those_of_a_look_at_every_point(
        documents in documents(),
        kind in proptest::sample::select(&KINDS[..]),
        also_n in any::<bool>(),
    ) {
        let database = database();
        let c = points(&database);
        let mut model = Model::new();
        // Growing alone; then sealed with a growing rest that no index covers whole; each disturbed, and asked before the indexes
        // have followed too.
        write(&c, &mut model, 0..600, |id| stored(id, &documents, 0));
        disturb(&c, &mut model, &documents, 1);
        if let Some(kind) = kind {
            c.create_field_index("a", &kind.config()).expect("creates");
        }
        if also_n {
            c.create_field_index("n", &FieldKind::Integer.config()).expect("creates");
        }
        check(&c, &model, kind);
        c.wait_indexed().expect("indexes");
        disturb(&c, &mut model, &documents, 2);
        check(&c, &model, kind);
        c.flush().expect("seals");
        write(&c, &mut model, 550..900, |id| stored(id, &documents, 3));
        c.wait_indexed().expect("indexes");
        disturb(&c, &mut model, &documents, 4);
        check(&c, &model, kind);
    }

    #[test]
    fn writes_by_filter_change_what_passes_and_nothing_else(documents in documents(), indexed in any::<bool>()) {
        let database = database();
        let c = points(&database);
        let mut model = Model::new();
        if indexed {
            c.create_field_index("n", &FieldKind::Integer.config()).expect("creates");
            c.create_field_index("a", &FieldKind::Keyword.config()).expect("creates");
        }
        write(&c, &mut model, 0..600, |id| stored(id, &documents, 0));
        c.flush().expect("seals");
        write(&c, &mut model, 600..900, |id| stored(id, &documents, 1));
        c.wait_indexed().expect("indexes");
        disturb(&c, &mut model, &documents, 2);
        for (at, (filter, passes)) in cases().into_iter().enumerate().skip(1) {
            let filter = filter.expect("all but the first have one");
            let passing: Vec<u64> = model.iter().filter(|(id, one)| passes(**id, one)).map(|(id, _)| *id).collect();
            let new = Object::from_entries([("b".to_owned(), Value::from(at as i64)), ("n".to_owned(), 50i64.into())]);
            let changed = match at % 4 {
                0 => c.delete_passing(&filter),
                1 => c.merge_payload_passing(&filter, new.clone()),
                2 => c.replace_payload_passing(&filter, new.clone()),
                _ => c.delete_payload_keys_passing(&filter, &["a", "none"]),
            };
            prop_assert_eq!(changed.expect("writes"), passing.len() as u64);
            for id in passing {
                let payload = &mut model.get_mut(&id).expect("it passes").payload;
                match at % 4 {
                    0 => drop(model.remove(&id)),
                    1 => payload.merge(&new),
                    2 => *payload = new.clone(),
                    _ => drop(payload.remove("a")),
                }
            }
            // What `n` is now is no digit any more; the filters on it are to be right about that too.
            let page = c.scroll(None, 10_000, With::PAYLOAD).expect("scrolls");
            let found: BTreeMap<u64, Option<Object>> =
                page.into_iter().map(|record| (number(&record.id), record.payload)).collect();
            let expected: BTreeMap<u64, Option<Object>> =
                model.iter().map(|(id, one)| (*id, Some(one.payload.clone()))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

/// More points than one batch takes, so that several are written, while somebody else takes points out of the filter and puts others in.
#[test]
fn writes_by_filter_spare_what_no_longer_passes() {
    let database = Database::open_in(MemoryDir::new(), "operations", Options::default()).expect("opens");
    let c = points(&database);
    let of = |state: &str| Object::from_entries([("state".to_owned(), state.into())]);
    for first in (0..12_000).step_by(4_000) {
        let points = (first..first + 4_000u64).map(|id| Point::new(id, vec![1.0, 2.0]).payload(of("old")));
        c.upsert(points.collect()).expect("writes");
    }
    let kept: Vec<PointId> = (0..12_000).step_by(5).map(PointId::from).collect();
    let deleted = std::thread::scope(|scope| {
        let saver = scope.spawn(|| {
            // From the end, where the deletion comes last.
            let saved = kept.iter().rev().map(|id| c.merge_payload(std::slice::from_ref(id), of("kept")));
            saved.map(|saved| saved.expect("patches")).sum::<u64>()
        });
        let deleted = c.delete_passing(&field("state", Test::value("old"))).expect("deletes");
        (deleted, saver.join().expect("saves"))
    });
    let (deleted, saved) = deleted;
    assert_eq!((deleted + saved, c.count().expect("counts")), (12_000, saved));
    assert_eq!(c.count_passing(&field("state", Test::value("kept"))).expect("counts"), saved);
    assert_eq!(c.delete_passing(&field("state", Test::value("old"))).expect("deletes"), 0);
}

/// What a view answers is true at its Seq, while points are replaced, patched and deleted, and indexes follow in the background.
#[test]
fn a_view_is_one_moment_for_every_operation() {
    let mut options = Options::default();
    options.collections.head_rows_max = 1_500;
    let database = Database::open_in(MemoryDir::new(), "operations", options).expect("opens");
    let c = points(&database);
    c.create_field_index("a", &FieldKind::Integer.config()).expect("creates");
    c.create_field_index("n", &FieldKind::Integer.config()).expect("creates");
    let documents: Vec<Option<Value>> = (0..40i64)
        .map(|at| (at % 7 > 0).then(|| Value::from(vec![Value::from(at % 5), Value::from(at % 3)])))
        .collect();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut model = Model::new();
            for round in 0..12 {
                write(&c, &mut model, round * 400..(round + 1) * 400, |id| stored(id, &documents, 0));
                disturb(&c, &mut model, &documents, round);
            }
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) && !writer.is_finished() {
            let view = c.view();
            let page = view.scroll(None, 10_000, With::PAYLOAD).expect("scrolls");
            let model: Model = page
                .into_iter()
                .map(|one| {
                    (number(&one.id), Stored { vector: [0.0; 2], payload: one.payload.expect("asked for") })
                })
                .collect();
            let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
            model.values().flat_map(keys).for_each(|key| *counts.entry(key).or_default() += 1);
            let path = Path::key("a");
            let found = view.facet(&path, None, 1_000, true).expect("counts");
            assert_eq!(
                found.into_iter().map(|hit| (hit.value, hit.count)).collect::<BTreeMap<_, _>>(),
                counts
            );
            let mut all: Vec<(OrderValue, u64)> = Vec::new();
            for (id, stored) in &model {
                all.extend(order_values(stored, FieldKind::Integer).into_iter().map(|value| (value, *id)));
            }
            all.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
            for limit in [9, 10_000] {
                let found = view.order_by(&OrderBy::new(&path, limit)).expect("orders");
                let found: Vec<_> = found.iter().map(|one| (one.value, number(&one.record.id))).collect();
                assert_eq!(found, all[..limit.min(all.len())]);
            }
            let filter = field("a", Test::value(1));
            let count = view.count_passing(&filter).expect("counts");
            let estimate = view.count_estimate(&filter).expect("estimates");
            assert!(estimate.low <= count && count <= estimate.high, "{estimate:?} for {count}");
        }
    });
}

/// The second batch cannot be written: the first stays, and the error says so.
#[test]
fn a_write_by_filter_that_fails_says_what_was_done() {
    let database = Database::open_in(MemoryDir::new(), "operations", Options::default()).expect("opens");
    let c = points(&database);
    let large = |id: u64| match id {
        4_500 => Object::from_entries([("x".to_owned(), "s".repeat((16 << 20) - 100).into())]),
        _ => Object::new(),
    };
    c.upsert((0..5_000).map(|id| Point::new(id, vec![0.0, 0.0]).payload(large(id))).collect())
        .expect("writes");
    let more = Object::from_entries([("y".to_owned(), "s".repeat(200).into())]);
    let error = c.merge_payload_passing(&Filter::new(), more).expect_err("one payload would be too large");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        text.starts_with("after ") && text.contains(" points were changed: payload is refused"),
        "{text}"
    );
    let changed = c.count_passing(&Filter::all([Condition::exists(Path::key("y"))])).expect("counts");
    assert!(changed < 4_500 && text.contains(&format!("after {changed} points")), "{text}");
}

#[test]
fn keys_of_points_are_removed_by_id() {
    let database = database();
    let c = points(&database);
    let payload = Object::from_entries([("a".to_owned(), 1i64.into()), ("b".to_owned(), 2i64.into())]);
    c.upsert((0..3u64).map(|id| Point::new(id, vec![0.0, 0.0]).payload(payload.clone())).collect())
        .expect("writes");
    let ids: Vec<PointId> = vec![0.into(), 2.into(), 0.into(), 9.into()];
    assert_eq!(c.delete_payload_keys(&ids, &["a", "c"]).expect("patches"), 2);
    let left = |id: u64| {
        let found = c.get(&[id.into()], With::PAYLOAD).expect("gets").remove(0).expect("it is there");
        found.payload.expect("asked for").len()
    };
    assert_eq!([0, 1, 2].map(left), [1, 2, 1]);
}

/// What passes is at the far end of the order: walking there is given up for a look at the rows that pass.
#[test]
fn an_order_under_a_rare_filter_is_complete() {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.head_rows_max = 6_000;
    let database = Database::open_in(MemoryDir::new(), "operations", options).expect("opens");
    let c = points(&database);
    let payload = |id: u64| {
        let (a, rare) =
            (Value::from(vec![Value::from(id as i64), Value::from(0.5 + id as f64)]), id % 100 >= 98);
        Object::from_entries([("a".to_owned(), a), ("rare".to_owned(), (id > 5_000 && rare).into())])
    };
    c.create_field_index("a", &FieldKind::Float.config()).expect("creates");
    for first in (0..10_000).step_by(5_000) {
        let of = |id: u64| Point::new(id, vec![0.0, 0.0]).payload(payload(id));
        c.upsert((first..first + 5_000).map(of).collect()).expect("writes");
    }
    c.wait_indexed().expect("indexes");
    // The first of them is patched: it comes from its payload, and what the index says of it is not asked.
    let patch = Object::from_entries([("a".to_owned(), Value::from(-1i64))]);
    c.merge_payload(&[5_098.into()], patch).expect("patches");
    let path = Path::key("a");
    let rare = field("rare", Test::value(true));
    for indexed in [false, true] {
        if indexed {
            c.create_field_index("rare", &FieldKind::Bool.config()).expect("creates");
            c.wait_indexed().expect("indexes");
        }
        let order = OrderBy::new(&path, 7).filter(&rare);
        let ids = |order: &OrderBy<'_>| {
            let found = c.order_by(order).expect("orders");
            found.iter().map(|one| number(&one.record.id)).collect::<Vec<_>>()
        };
        assert_eq!(ids(&order), [5_098, 5_099, 5_099, 5_198, 5_198, 5_199, 5_199]);
        assert_eq!(ids(&order.descending()), [9_999, 9_999, 9_998, 9_998, 9_899, 9_899, 9_898]);
        assert_eq!(ids(&OrderBy::new(&path, 10_000).filter(&rare)).len(), 199);
    }
}

#[test]
fn orders_need_an_index_that_has_one() {
    let database = database();
    let c = points(&database);
    let path = Path::key("a");
    let refused = |order: &OrderBy<'_>, parts: &[&str]| {
        let error = c.order_by(order).expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let plain = OrderBy::new(&path, 10);
    refused(&plain, &["No range index for `order_by` key: `a`", "no index", "datetime index is needed"]);
    for (config, says) in [
        (FieldKind::Keyword.config(), "keyword index has no order"),
        (FieldConfig::Integer { lookup: true, range: false }, "equality only"),
    ] {
        c.create_field_index("a", &config).expect("creates");
        refused(&plain, &["`a`", says]);
        c.drop_field_index("a").expect("drops");
    }
    c.create_field_index("a", &FieldKind::Float.config()).expect("creates");
    assert_eq!(c.order_by(&plain).expect("orders"), []);
    refused(&OrderBy::new(&path, 10_001), &["limit is 10001", "10000"]);
    refused(&plain.start_from(OrderValue::Datetime(Datetime(0))), &["1970-01-01", "float index"]);
    refused(&plain.start_from(OrderValue::Number(Number::F64(f64::NAN))), &["not a number"]);
    c.drop_field_index("a").expect("drops");
    c.create_field_index("a", &FieldKind::Datetime.config()).expect("creates");
    refused(&plain.start_from(OrderValue::Number(7.into())), &["number 7", "datetime index"]);
}

#[test]
fn limits_are_named() {
    let database = database();
    let c = points(&database);
    let query = Query::new(&[1.0, 2.0], 100);
    let says = |error: nearfield::Error, part: &str| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    };
    says(c.facet("a", None, 10_001, true).expect_err("too many"), "limit is 10001");
    says(c.facet("a..b", None, 1, true).expect_err("no path"), "path is wrong at byte 2");
    says(c.search_groups(&query, "a", 0).expect_err("nothing"), "group_size is 0");
    says(
        c.search_groups(&query, "a", 101).expect_err("too many"),
        "limit 100 times group_size 101 is 10100 points: at most 10000",
    );
    let deep = (0..1_000).fold(Filter::new(), |inner, _| Filter::all([inner.into()]));
    says(c.count_estimate(&deep).expect_err("too deep"), "filter is nested");
    says(c.delete_passing(&deep).expect_err("too deep"), "filter: ");
    says(c.facet("a", Some(&deep), 1, true).expect_err("too deep"), "filter: ");
    let large = Object::from_entries([("x".to_owned(), "s".repeat(17 << 20).into())]);
    says(
        c.replace_payload_passing(&Filter::new(), large.clone()).expect_err("too large"),
        "payload is refused",
    );
    says(c.merge_payload_passing(&Filter::new(), large).expect_err("too large"), "payload is refused");
}

/// One value is nearest many times over: the searches for groups pass over it.
#[test]
fn a_group_of_all_the_nearest_points_hides_no_other() {
    let database = database();
    let c = points(&database);
    let of = |name: String| Object::from_entries([("tag".to_owned(), name.into())]);
    let near =
        (0..3_000u64).map(|id| Point::new(id, vec![0.001 * id as f32, 0.0]).payload(of("near".into())));
    let far = (3_000..3_040u64)
        .map(|id| Point::new(id, vec![id as f32, 0.0]).payload(of(format!("far {}", id % 8))));
    c.upsert(near.chain(far).collect()).expect("writes");
    for indexed in [false, true] {
        if indexed {
            c.create_field_index("tag", &FieldKind::Keyword.config()).expect("creates");
        }
        c.wait_indexed().expect("indexes");
        let groups = c.search_groups(&Query::new(&[0.0, 0.0], 5), "tag", 3).expect("groups");
        let names: Vec<Key> = groups.iter().map(|group| group.value.clone()).collect();
        assert_eq!(names, ["near", "far 0", "far 1", "far 2", "far 3"].map(Key::from));
        assert!(groups.iter().all(|group| group.hits.len() == 3));
        assert_eq!(
            groups[2].hits.iter().map(|hit| number(&hit.id)).collect::<Vec<_>>(),
            [3_001, 3_009, 3_017]
        );
    }
}

/// The files of payload indexes below `folder`.
fn field_files(dir: &MemoryDir, folder: &str) -> Vec<String> {
    let below = |entry: nearfield_platform::Entry| {
        let path = format!("{folder}/{}", entry.name);
        match entry.is_dir {
            true => field_files(dir, &path),
            false => Vec::from_iter(entry.name.starts_with("field-").then_some(path)),
        }
    };
    dir.list(folder).expect("lists").into_iter().flat_map(below).collect()
}

/// An index is derived: one whose bytes are damaged is done without, and built anew.
#[test]
fn damaged_indexes_change_no_answer() {
    const POINTS: u64 = 1_500;
    // A byte of the second block, which nobody looks at before the first question.
    const AT: usize = 70_000;
    let dir = MemoryDir::new();
    let open = || {
        let mut options = Options { background: false, ..Options::default() };
        options.collections.head_rows_max = POINTS as u32;
        Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "operations", options).expect("opens")
    };
    let path = Path::key("a");
    let rare = field("a", Test::value(7));
    let facet = |c: &Collection| format!("{:?}", c.facet("a", None, 50, true).expect("counts"));
    let order = |c: &Collection| {
        let order = OrderBy::new(&path, 50).start_from(OrderValue::Number(100.into()));
        format!("{:?}", c.order_by(&order).expect("orders"))
    };
    let groups = |c: &Collection| {
        let query = [50.0, 50.0];
        format!("{:?}", c.search_groups(&Query::new(&query, 5).exact(), "a", 3).expect("groups"))
    };
    let estimate = |c: &Collection| {
        let found = c.count_estimate(&rare).expect("estimates");
        format!("{:?}", found.low <= 30 && 30 <= found.high)
    };
    let questions: [&dyn Fn(&Collection) -> String; 4] = [&facet, &order, &groups, &estimate];

    let database = open();
    let c = points(&database);
    c.create_field_index("a", &FieldKind::Integer.config()).expect("creates");
    // Many values, so that the file has a second block.
    let values =
        |id: u64| Value::from((0..20).map(|at| Value::from(id / 30 + at * 1_000)).collect::<Vec<_>>());
    write(&c, &mut Model::new(), 0..POINTS, |id| stored(id, &[Some(values(id))], 0));
    c.flush().expect("seals");
    c.wait_indexed().expect("indexes");
    let answers = questions.map(|question| question(&c));
    database.close().expect("closes");

    let file = field_files(&dir, "collections").pop().expect("there is one");
    let mut bytes = dir.open(&file).expect("opens").to_vec();
    dir.remove(&file).expect("removes");
    bytes[AT] ^= 1;
    let file = dir.create(&file).expect("creates");
    file.write_at(0, &[&bytes]).expect("writes");
    file.sync().expect("syncs");
    for (question, answer) in questions.iter().zip(answers) {
        let database = open();
        let c = database.collection("points").expect("opens");
        let unbuilt = || c.stats().expect("counts").unbuilt_field_indexes;
        assert_eq!(unbuilt(), 0, "nobody has asked yet");
        assert_eq!(question(&c), answer);
        assert_eq!(unbuilt(), 1, "whoever asks first finds the damage");
    }
}
