//! Searches, counts and pages under filters, against a look at every point: growing and sealed rows, patched, replaced and deleted ones.

use std::collections::BTreeMap;

use nearfield::filter::{Condition, Filter, Path, Range, Test, qdrant};
use nearfield::{
    Collection, CollectionConfig, Database, Depth, ErrorKind, FieldConfig, FieldKind, Metric, Object,
    Options, Point, PointId, Query, TextConfig, Tokenizer, Value, With,
};
use nearfield_platform::MemoryDir;

/// Enough for vectors to be walked by codes.
const DIM: usize = 48;
const POINTS: u64 = 7_000;
const K: usize = 10;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Near the centre of a cluster: the vector and the number of the cluster.
    fn vector(&mut self) -> (Vec<f32>, u64) {
        let cluster = self.next() % 12;
        let mut centre = Random(cluster + 1_000);
        let noise = |random: &mut Random| {
            (0..4).map(|_| random.next() as f32 / (1u64 << 31) as f32 - 0.5).sum::<f32>()
        };
        ((0..DIM).map(|_| 1.5 * noise(&mut centre) + noise(self)).collect(), cluster)
    }
}

#[derive(Clone)]
struct Stored {
    vector: Vec<f32>,
    cluster: u64,
    n: i64,
}

type Model = BTreeMap<u64, Stored>;

fn payload(stored: &Stored) -> Object {
    let tags = vec![Value::from(format!("t{}", stored.n % 3)), Value::from(format!("t{}", stored.n % 7))];
    Object::from_entries([
        ("cluster".to_owned(), Value::from(format!("c{}", stored.cluster))),
        ("n".to_owned(), stored.n.into()),
        ("tags".to_owned(), tags.into()),
    ])
}

/// Points in sealed segments and in the head, some patched, replaced and deleted.
fn filled(database: &Database) -> (Collection, Model) {
    let c =
        database.create_collection("points", CollectionConfig::new(DIM, Metric::Euclid)).expect("creates");
    let (mut model, mut random) = (Model::new(), Random(7));
    let mut write = |c: &Collection, model: &mut Model, ids: &mut dyn Iterator<Item = u64>| {
        let points = ids.map(|id| {
            let (vector, cluster) = random.vector();
            let stored = Stored { vector: vector.clone(), cluster, n: (id % 1_000) as i64 };
            let point = Point::new(id, vector).payload(payload(&stored));
            model.insert(id, stored);
            point
        });
        c.upsert(points.collect()).expect("writes");
    };
    for first in (0..POINTS).step_by(1_000) {
        write(&c, &mut model, &mut (first..first + 1_000));
    }
    write(&c, &mut model, &mut (0..POINTS).step_by(97));
    for id in (0..POINTS).step_by(31) {
        let stored = model.get_mut(&id).expect("was written");
        stored.n += 5_000;
        let changed = Object::from_entries([("n".to_owned(), stored.n.into())]);
        c.merge_payload(&[id.into()], changed).expect("patches");
    }
    for id in (3..POINTS).step_by(29) {
        model.remove(&id);
        c.delete(&[id.into()]).expect("deletes");
    }
    (c, model)
}

/// A filter and what it means.
type Case = (&'static str, Filter, Box<dyn Fn(u64, &Stored) -> bool>);

fn field(key: &str, test: Test) -> Condition {
    Condition::field(Path::key(key), test)
}

fn below(bound: i64) -> Condition {
    field("n", Test::Range(Range::below(bound)))
}

fn cases() -> Vec<Case> {
    let cluster = |name: &str| field("cluster", Test::value(name));
    vec![
        ("everything", Filter::new(), Box::new(|_, _| true)),
        ("half", Filter::all([below(500)]), Box::new(|_, one| one.n < 500)),
        ("a twelfth, near itself", Filter::all([cluster("c4")]), Box::new(|_, one| one.cluster == 4)),
        ("one in a hundred", Filter::all([below(10)]), Box::new(|_, one| one.n < 10)),
        ("a few", Filter::all([below(10), cluster("c1")]), Box::new(|_, one| one.n < 10 && one.cluster == 1)),
        ("patched", Filter::none([below(5_000)]), Box::new(|_, one| one.n >= 5_000)),
        ("nothing", Filter::all([cluster("c99")]), Box::new(|_, _| false)),
        ("all but one cluster", Filter::none([cluster("c4")]), Box::new(|_, one| one.cluster != 4)),
        (
            "either",
            Filter::any([cluster("c1"), field("tags", Test::value("t6"))]),
            Box::new(|_, one| one.cluster == 1 || one.n % 5_000 % 7 == 6),
        ),
        (
            "these points",
            Filter::all([Condition::has_id([5u64, 6, 3, 97, 99_999]), below(5_000)]),
            Box::new(|id, one| [5, 6, 97].contains(&id) && one.n < 5_000),
        ),
        ("with the vector", Filter::all([Condition::has_vector("")]), Box::new(|_, _| true)),
        ("with another", Filter::all([Condition::has_vector("other")]), Box::new(|_, _| false)),
    ]
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn number(id: &PointId) -> u64 {
    let PointId::Number(number) = id else { panic!("{id:?} was never written") };
    *number
}

/// Searches at the default depth find nearly all, exact ones all; whatever is found passes.
fn check_searches(
    c: &Collection,
    model: &Model,
    name: &str,
    filter: &Filter,
    passes: &dyn Fn(u64, &Stored) -> bool,
) {
    let mut random = Random(99);
    let (mut right, mut wanted) = (0, 0);
    for _ in 0..15 {
        let (query, _) = random.vector();
        let mut truth: Vec<f32> = model
            .iter()
            .filter(|(id, stored)| passes(**id, stored))
            .map(|(_, stored)| squared(&stored.vector, &query))
            .collect();
        truth.sort_unstable_by(f32::total_cmp);
        truth.truncate(K);
        for depth in [Depth::Auto, Depth::Exact] {
            let query = Query { depth, ..Query::new(&query, K).filter(filter) };
            let hits = c.search(&query).expect("searches");
            assert_eq!(hits.len(), truth.len(), "{name}, {depth:?}");
            assert!(hits.iter().all(|hit| passes(number(&hit.id), &model[&number(&hit.id)])), "{name}");
            let near =
                hits.iter().zip(&truth).filter(|(hit, truth)| hit.distance <= **truth * 1.000_1).count();
            if depth == Depth::Exact {
                assert_eq!(near, truth.len(), "{name}");
            } else {
                right += near;
                wanted += truth.len();
            }
        }
    }
    assert!(right as f64 >= 0.95 * wanted as f64, "{name}: {right} of {wanted}");
}

fn check_counts_and_pages(
    c: &Collection,
    model: &Model,
    name: &str,
    filter: &Filter,
    passes: &dyn Fn(u64, &Stored) -> bool,
) {
    let expected: Vec<u64> =
        model.iter().filter(|(id, stored)| passes(**id, stored)).map(|(id, _)| *id).collect();
    assert_eq!(c.count_passing(filter).expect("counts"), expected.len() as u64, "{name}");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = c.scroll_passing(filter, after.as_ref(), 700, With::NOTHING).expect("scrolls");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        found.extend(page.iter().map(|record| number(&record.id)));
    }
    assert_eq!(found, expected, "{name}");
}

#[test]
fn filters_answer_as_a_look_at_every_point() {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.head_rows_max = 2_500;
    let database = Database::open_in(MemoryDir::new(), "filters", options).expect("opens");
    let (c, model) = filled(&database);
    // Without field indexes, with those of growing segments too, and with all of them sealed.
    for step in 0..3 {
        if step == 1 {
            for (path, kind) in
                [("cluster", FieldKind::Keyword), ("n", FieldKind::Integer), ("tags", FieldKind::Keyword)]
            {
                assert!(c.create_field_index(path, &kind.config()).expect("creates"));
            }
        }
        if step > 0 {
            if step == 2 {
                c.flush().expect("flushes");
            }
            c.wait_indexed().expect("indexes");
        }
        for (name, filter, passes) in cases() {
            check_searches(&c, &model, name, &filter, &*passes);
            check_counts_and_pages(&c, &model, name, &filter, &*passes);
        }
    }
}

/// What was there before and stays is counted and paged whole, whatever is written meanwhile.
#[test]
fn counts_are_whole_while_points_are_written() {
    let database = Database::open_in(MemoryDir::new(), "filters", Options::default()).expect("opens");
    let c = database.create_collection("points", CollectionConfig::new(2, Metric::Euclid)).expect("creates");
    let point = |id: u64| {
        let old = Object::from_entries([("old".to_owned(), Value::from(id < 1_000))]);
        Point::new(id, vec![id as f32, 1.0]).payload(old)
    };
    c.upsert((0..1_000).map(point).collect()).expect("writes");
    let filter = Filter::all([field("old", Test::value(true))]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for id in 1_000..4_000 {
                c.upsert(vec![point(id)]).expect("writes");
            }
        });
        while !writer.is_finished() {
            assert_eq!(c.count_passing(&filter).expect("counts"), 1_000);
            let page = c.scroll_passing(&filter, None, 2_000, With::NOTHING).expect("scrolls");
            assert_eq!(page.len(), 1_000);
        }
    });
}

/// An index of other words than the default ones decides for every row, those it does not have yet included.
#[test]
fn texts_are_split_as_their_index_does() {
    let options = Options { background: false, ..Options::default() };
    let database = Database::open_in(MemoryDir::new(), "filters", options).expect("opens");
    let c = database.create_collection("points", CollectionConfig::new(2, Metric::Euclid)).expect("creates");
    let point = |id: u64| {
        let text = Object::from_entries([("text".to_owned(), "Running-shoes".into())]);
        Point::new(id, vec![id as f32, 1.0]).payload(text)
    };
    c.upsert((0..2_000).map(point).collect()).expect("writes");
    let count = |word: &str| {
        let filter = Filter::all([field("text", Test::Text(word.into()))]);
        c.count_passing(&filter).expect("counts")
    };
    assert_eq!((count("running"), count("running-shoes")), (2_000, 2_000));
    let whitespace = TextConfig { tokenizer: Tokenizer::Whitespace, ..TextConfig::default() };
    assert!(c.create_field_index("text", &FieldConfig::Text(whitespace)).expect("creates"));
    assert_eq!((count("running"), count("running-shoes")), (0, 2_000));
    c.wait_indexed().expect("indexes");
    c.upsert((2_000..2_010).map(point).collect()).expect("writes");
    assert_eq!((count("running"), count("running-shoes")), (0, 2_010));
    assert!(c.drop_field_index("text").expect("drops"));
    assert_eq!((count("running"), count("running-shoes")), (2_010, 2_010));
}

#[test]
fn filters_beyond_a_limit_are_refused_by_name() {
    let database = Database::open_in(MemoryDir::new(), "filters", Options::default()).expect("opens");
    let c = database.create_collection("points", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    let deep = (0..1_000).fold(Filter::new(), |inner, _| Filter::all([inner.into()]));
    for error in [
        c.search(&Query::new(&[1.0, 2.0], 3).filter(&deep)).expect_err("too deep"),
        c.count_passing(&deep).expect_err("too deep"),
        c.scroll_passing(&deep, None, 3, With::NOTHING).expect_err("too deep"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("filter: "), "{error}");
    }
    let nan = Filter::all([field("n", Test::Range(Range::below(f64::NAN)))]);
    assert_eq!(c.count_passing(&nan).expect_err("no bound").kind(), ErrorKind::Invalid);
    assert!(qdrant::parse(&Object::from_entries([("mast".to_owned(), Value::Null)])).is_err());
}

#[test]
fn packed_payloads_are_those_of_other_searches() {
    let database = Database::in_memory().expect("opens");
    let (c, _) = filled(&database);
    let vector = Random(11).vector().0;
    let query = Query::new(&vector, K);
    let whole = c.search(&query.with(With::PAYLOAD)).expect("searches");
    let packed = c.view().search_packed(&query).expect("searches");
    assert_eq!(packed.len(), K);
    for (packed, whole) in packed.iter().zip(&whole) {
        assert_eq!((&packed.id, packed.distance), (&whole.id, whole.distance));
        assert_eq!(Some(packed.payload.unpack().expect("is whole")), whole.payload);
    }
}
