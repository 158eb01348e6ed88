//! Collections partitioned by a tenant field, against brute force: tenants of very different size, written, moved to others, deleted, sealed,
//! reopened, damaged and cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield::filter::{Condition, Filter, Path, Range, Test};
use nearfield::{
    Collection, CollectionConfig, Database, Depth, ErrorKind, FieldKind, IndexConfig, Metric, Object,
    Options, Plan, Point, PointId, Quantization, Query, Value,
};
use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir};
use proptest::prelude::*;

const DIM: usize = 32;
const K: usize = 10;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn noise(&mut self) -> f32 {
        (0..4).map(|_| self.next() as f32 / (1u64 << 31) as f32 - 0.5).sum()
    }

    fn vector(&mut self) -> Vec<f32> {
        let mut centre = Random(self.next() % 24 + 1_000);
        (0..DIM).map(|_| 2.0 * centre.noise() + self.noise()).collect()
    }
}

/// Whose a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Points have no such field.
    Nobody,
    /// Or a list in it.
    Listed,
    Tenant(u64),
}

/// One large, one just large enough for a graph, small ones, and points without one.
fn owner(random: &mut Random) -> Owner {
    match random.next() % 64 {
        0..30 => Owner::Tenant(0),
        30..52 => Owner::Tenant(1),
        52..58 => Owner::Tenant(2),
        58..60 => Owner::Tenant(3 + random.next() % 9),
        60..62 => Owner::Listed,
        _ => Owner::Nobody,
    }
}

#[derive(Clone, Debug)]
struct Stored {
    vector: Vec<f32>,
    owner: Owner,
    n: i64,
}

type Model = BTreeMap<u64, Stored>;

fn value(owner: Owner) -> Option<Value> {
    match owner {
        Owner::Nobody => None,
        Owner::Listed => Some(Value::Array(vec!["t0".into(), "t1".into()])),
        Owner::Tenant(number) => Some(format!("t{number}").into()),
    }
}

fn payload(stored: &Stored) -> Object {
    let tenant = value(stored.owner).map(|value| ("tenant".to_owned(), value));
    let owner = Object::from_entries(tenant);
    Object::from_entries([("owner".to_owned(), Value::Object(owner)), ("n".to_owned(), stored.n.into())])
}

fn config() -> CollectionConfig {
    let quantization = Quantization::Scalar { quantile: 0.99 };
    CollectionConfig::new(DIM, Metric::Euclid)
        .index(IndexConfig { quantization, ..IndexConfig::default() })
        .partition_by("owner.tenant")
}

fn open(dir: Arc<dyn Dir>) -> Database {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.head_rows_max = 6_000;
    Database::open_in(dir, "tenants", options).expect("opens")
}

fn write(c: &Collection, model: &mut Model, random: &mut Random, ids: impl Iterator<Item = u64>) {
    let points = ids.map(|id| {
        let stored =
            Stored { vector: random.vector(), owner: owner(random), n: (random.next() % 100) as i64 };
        let point = Point::new(id, stored.vector.clone()).payload(payload(&stored));
        model.insert(id, stored);
        point
    });
    c.upsert(points.collect()).expect("writes");
}

fn of_tenant(tenant: u64) -> Condition {
    Condition::field(Path::parse("owner.tenant").expect("a path"), Test::value(format!("t{tenant}").as_str()))
}

fn below(bound: i64) -> Condition {
    Condition::field(Path::key("n"), Test::Range(Range::below(bound)))
}

fn owned(stored: &Stored, tenant: u64) -> bool {
    // A list is each of its values.
    stored.owner == Owner::Tenant(tenant) || (stored.owner == Owner::Listed && tenant < 2)
}

/// A filter and what it means.
type Case = (String, Filter, Box<dyn Fn(&Stored) -> bool>);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        ("everybody".into(), Filter::new(), Box::new(|_| true)),
        (
            "nobody".into(),
            Filter::all([Condition::is_empty(Path::parse("owner.tenant").expect("a path"))]),
            Box::new(|one| one.owner == Owner::Nobody),
        ),
        (
            "two".into(),
            Filter::any([of_tenant(1), of_tenant(3)]),
            Box::new(|one| owned(one, 1) || owned(one, 3)),
        ),
        ("all but one".into(), Filter::none([of_tenant(0)]), Box::new(|one| !owned(one, 0))),
    ];
    for tenant in [0, 1, 2, 5, 99] {
        cases.push((
            format!("tenant {tenant}"),
            Filter::all([of_tenant(tenant)]),
            Box::new(move |one| owned(one, tenant)),
        ));
        for bound in [5, 60] {
            cases.push((
                format!("tenant {tenant} below {bound}"),
                Filter::all([of_tenant(tenant), below(bound)]),
                Box::new(move |one| owned(one, tenant) && one.n < bound),
            ));
        }
    }
    cases
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn number(id: &PointId) -> u64 {
    let PointId::Number(number) = id else { panic!("{id:?} was never written") };
    *number
}

/// Exact searches find all, others nearly all, and whatever is found passes.
fn check(c: &Collection, model: &Model, when: &str) {
    let mut random = Random(99);
    for (name, filter, passes) in cases() {
        let count = model.values().filter(|stored| passes(stored)).count();
        assert_eq!(c.count_passing(&filter).expect("counts"), count as u64, "{name}, {when}");
        let (mut right, mut wanted) = (0, 0);
        for _ in 0..8 {
            let query = random.vector();
            let mut truth: Vec<f32> = model
                .values()
                .filter(|stored| passes(stored))
                .map(|stored| squared(&stored.vector, &query))
                .collect();
            truth.sort_unstable_by(f32::total_cmp);
            truth.truncate(K);
            for depth in [Depth::Auto, Depth::Exact] {
                let query = Query { depth, ..Query::new(&query, K).filter(&filter) };
                let hits = c.search(&query).expect("searches");
                assert_eq!(hits.len(), truth.len(), "{name}, {depth:?}, {when}");
                assert!(hits.iter().all(|hit| passes(&model[&number(&hit.id)])), "{name}, {when}");
                let near =
                    hits.iter().zip(&truth).filter(|(hit, truth)| hit.distance <= **truth * 1.000_1).count();
                if depth == Depth::Exact {
                    assert_eq!(near, truth.len(), "{name}, {when}");
                } else {
                    right += near;
                    wanted += truth.len();
                }
            }
        }
        assert!(right as f64 >= 0.95 * wanted as f64, "{name}, {when}: {right} of {wanted}");
    }
}

/// Gives points to other tenants, without their vectors.
fn move_points(c: &Collection, model: &mut Model, random: &mut Random, count: u64) {
    for _ in 0..count {
        let id = random.next() % 6_000;
        let Some(stored) = model.get_mut(&id) else { continue };
        stored.owner = owner(random);
        c.replace_payload(&[id.into()], payload(stored)).expect("patches");
    }
}

#[test]
fn tenants_are_answered_like_brute_force_whatever_is_written() {
    let (mut random, mut model) = (Random(7), Model::new());
    let dir = MemoryDir::new();
    let mut db = open(Arc::clone(&dir) as Arc<dyn Dir>);
    let mut c = db.create_collection("c", config()).expect("creates");
    write(&c, &mut model, &mut random, 0..5_000);
    move_points(&c, &mut model, &mut random, 300);
    check(&c, &model, "growing");
    c.wait_indexed().expect("indexes");
    c.flush().expect("flushes");
    check(&c, &model, "sealed");
    c.wait_indexed().expect("indexes");
    assert_eq!(c.stats().expect("counts").partition_graphs, 2);
    check(&c, &model, "indexed");
    move_points(&c, &mut model, &mut random, 40);
    check(&c, &model, "patched");
    for round in 0..4 {
        write(&c, &mut model, &mut random, (0..400).map(|at| at * 31 % 6_000 + round));
        let dead: Vec<u64> = (0..300).map(|_| random.next() % 6_000).collect();
        dead.iter().for_each(|id| drop(model.remove(id)));
        c.delete(&dead.into_iter().map(PointId::from).collect::<Vec<_>>()).expect("deletes");
        move_points(&c, &mut model, &mut random, 150);
        match round {
            1 => c.flush().expect("flushes"),
            2 => c.wait_indexed().expect("indexes"),
            _ => {}
        }
        drop(c);
        db.close().expect("closes");
        db = open(Arc::clone(&dir) as Arc<dyn Dir>);
        c = db.collection("c").expect("opens");
        assert_eq!(db.repaired(), Vec::<String>::new());
        assert_eq!(*c.config(), config());
        check(&c, &model, &format!("round {round}"));
    }
}

/// One sealed and indexed segment, with a graph over the large tenant.
fn sealed(dir: Arc<dyn Dir>, rows: u64) -> (Database, Collection, Model) {
    let (mut random, mut model) = (Random(3), Model::new());
    let db = open(dir);
    let c = db.create_collection("c", config()).expect("creates");
    write(&c, &mut model, &mut random, 0..rows);
    c.flush().expect("flushes");
    (db, c, model)
}

#[test]
fn a_large_tenant_is_walked_alone_and_a_small_one_scanned_as_it_lies() {
    let (_db, c, mut model) = sealed(MemoryDir::new(), 5_500);
    c.wait_indexed().expect("indexes");
    let (large, small) = (Filter::all([of_tenant(0)]), Filter::all([of_tenant(5)]));
    let mut random = Random(11);
    let vector = random.vector();
    let plan = |filter: &Filter| {
        let explained = c.explain(&Query::new(&vector, 3).filter(filter)).expect("explains");
        explained.segments[0].work.plan
    };
    let distances = |filter: &Filter| {
        let explained = c.explain(&Query::new(&vector, 3).filter(filter)).expect("explains");
        explained.segments[0].work.stats.distances
    };
    assert_eq!(plan(&small), Plan::Scan);
    assert!(distances(&large) < 1_200, "{} distances", distances(&large));
    // A few rows given to others keep it so.
    move_points(&c, &mut model, &mut random, 20);
    assert!(distances(&large) < 1_400, "{} distances", distances(&large));
    check(&c, &model, "a few patched");
}

#[test]
fn the_field_of_partitions_stays_as_it_is() {
    let db = open(MemoryDir::new());
    let c = db.create_collection("c", config()).expect("creates");
    assert_eq!(
        c.config().partition().map(|by| (by.path.as_str(), by.kind)),
        Some(("owner.tenant", FieldKind::Keyword))
    );
    let indexes = c.field_indexes().expect("lists");
    assert_eq!(indexes.len(), 1);
    assert_eq!(indexes[0].field.path.to_string(), "owner.tenant");
    assert!(!c.create_field_index("owner.tenant", &FieldKind::Keyword.config()).expect("is there"));
    let refused =
        c.create_field_index("owner.tenant", &FieldKind::Integer.config()).expect_err("another kind");
    assert_eq!(refused.kind(), ErrorKind::Exists);
    let refused = c.drop_field_index("owner.tenant").expect_err("it stays");
    let expected = "the collection is partitioned by \"owner.tenant\": that index stays";
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Invalid, expected));
    let each = CollectionConfig::new(2, Metric::Dot).partition_by("a[].b");
    assert_eq!(db.create_collection("d", each).expect_err("is refused").kind(), ErrorKind::Invalid);
    assert!(
        db.create_collection("e", CollectionConfig::new(2, Metric::Dot))
            .expect("creates")
            .config()
            .partition()
            .is_none()
    );
}

#[test]
fn integers_name_tenants_too() {
    let db = open(MemoryDir::new());
    let config = CollectionConfig::new(1, Metric::Euclid).partition_by_kind("t", FieldKind::Integer);
    let c = db.create_collection("c", config).expect("creates");
    let point = |id: u64| {
        let tenant = match id % 5 {
            0 => Value::U64(u64::MAX),
            other => Value::I64(other as i64 - 3),
        };
        Point::new(id, vec![id as f32]).payload(Object::from_entries([("t".to_owned(), tenant)]))
    };
    c.upsert((0..4_000).map(point).collect()).expect("writes");
    c.flush().expect("flushes");
    c.wait_indexed().expect("indexes");
    let filter = Filter::all([Condition::field(Path::key("t"), Test::value(-2i64))]);
    let hits = c.search(&Query::new(&[2_001.0], 3).filter(&filter)).expect("searches");
    let ids: Vec<u64> = hits.iter().map(|hit| number(&hit.id)).collect();
    assert_eq!(ids, [2_001, 1_996, 2_006]);
}

/// Every file below `folder`.
fn files(dir: &MemoryDir, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in dir.list(folder).expect("lists") {
        let path = format!("{folder}/{}", entry.name);
        if entry.is_dir { found.extend(files(dir, &path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_damaged_file_of_partitions_is_built_anew() {
    for at in [None, Some(20), Some(70), Some(9_000)] {
        let dir = MemoryDir::new();
        let (db, c, model) = sealed(Arc::clone(&dir) as Arc<dyn Dir>, 2_600);
        c.wait_indexed().expect("indexes");
        db.close().expect("closes");
        let mut paths = files(&dir, "collections").into_iter();
        let path = paths.find(|path| path.ends_with("graph-0-partitions")).expect("is there");
        let mut bytes = dir.open(&path).expect("opens").to_vec();
        dir.remove(&path).expect("removes");
        if let Some(at) = at {
            bytes[at] ^= 1;
            let file = dir.create(&path).expect("creates");
            file.write_at(0, &[&bytes]).expect("writes");
            file.sync().expect("syncs");
        }
        let db = open(Arc::clone(&dir) as Arc<dyn Dir>);
        let c = db.collection("c").expect("an index is no truth");
        assert!(db.repaired()[0].contains(&path), "{:?} names {path}", db.repaired());
        assert_eq!(c.stats().expect("counts").partition_graphs, 0);
        check(&c, &model, "damaged");
        c.wait_indexed().expect("indexes");
        assert_eq!(c.stats().expect("counts").partition_graphs, 1);
        db.close().expect("closes");
        let db = open(dir);
        let c = db.collection("c").expect("opens");
        assert_eq!((db.repaired(), c.stats().expect("counts").partition_graphs), (Vec::new(), 1));
        check(&c, &model, "built anew");
    }
}

#[test]
fn a_crash_while_partitions_are_sealed_and_indexed_loses_nothing() {
    let dir = FaultyDir::new();
    let (mut random, mut model) = (Random(3), Model::new());
    let db = open(Arc::clone(&dir) as Arc<dyn Dir>);
    let c = db.create_collection("c", config()).expect("creates");
    write(&c, &mut model, &mut random, 0..2_600);
    c.sync().expect("syncs");
    let before = dir.ops();
    c.flush().expect("flushes");
    c.wait_indexed().expect("indexes");
    let after = dir.ops();
    for ops in before..=after {
        let image = dir.crash_image_at(ops, LossModel::ALL[ops % LossModel::ALL.len()], ops as u64);
        let db = open(Arc::clone(&image) as Arc<dyn Dir>);
        let c = db.collection("c").expect("opens");
        assert_eq!(db.repaired(), Vec::<String>::new(), "operation {ops}");
        for (name, filter, passes) in cases() {
            let count = model.values().filter(|stored| passes(stored)).count() as u64;
            assert_eq!(c.count_passing(&filter).expect("counts"), count, "{name}, operation {ops}");
        }
        let stats = c.stats().expect("counts");
        let indexed = stats.segments == 1 && stats.unindexed_segments == 0;
        assert_eq!(stats.partition_graphs, u64::from(indexed), "operation {ops}");
        let left = files(&image, "collections");
        let left = left.iter().filter(|path| path.ends_with("-partitions")).count();
        assert_eq!(left, usize::from(indexed), "operation {ops}");
    }
}

/// Id, tenant (0: none, 1: a list), place on a line.
type Drawn = (u8, u8, i8);

#[derive(Clone, Debug)]
enum Step {
    Upsert(Vec<Drawn>),
    Delete(Vec<u8>),
    Move(u8, u8),
    Flush,
    Reopen,
}

fn small(tenant: u8) -> Object {
    let value: Value = match tenant {
        0 => return Object::new(),
        1 => Value::Array(vec!["2".into(), "3".into()]),
        other => other.to_string().into(),
    };
    Object::from_entries([("t".to_owned(), value)])
}

fn step() -> impl Strategy<Value = Step> {
    let (id, tenant) = (|| 0u8..40, || 0u8..7);
    prop_oneof![
        6 => prop::collection::vec((id(), tenant(), -20i8..20), 1..12).prop_map(Step::Upsert),
        2 => prop::collection::vec(id(), 1..5).prop_map(Step::Delete),
        3 => (id(), tenant()).prop_map(|(id, tenant)| Step::Move(id, tenant)),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_order_of_writes_and_seals_answers_like_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let dir = MemoryDir::new();
        let open = |dir: &Arc<MemoryDir>| {
            let mut options = Options { background: false, ..Options::default() };
            options.collections.head_rows_max = 15;
            Database::open_in(Arc::clone(dir) as Arc<dyn Dir>, "small", options).expect("opens")
        };
        let mut db = open(&dir);
        let config = CollectionConfig::new(1, Metric::Euclid).partition_by("t");
        let mut c = db.create_collection("c", config).expect("creates");
        let mut model: BTreeMap<u64, (u8, f32)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Upsert(drawn) => {
                    let points = drawn.into_iter().map(|(id, tenant, at)| {
                        model.insert(id.into(), (tenant, at.into()));
                        Point::new(u64::from(id), vec![f32::from(at)]).payload(small(tenant))
                    });
                    c.upsert(points.collect()).expect("writes");
                }
                Step::Delete(ids) => {
                    model.retain(|id, _| !ids.iter().any(|&dead| u64::from(dead) == *id));
                    let ids: Vec<PointId> = ids.into_iter().map(|id| u64::from(id).into()).collect();
                    c.delete(&ids).expect("deletes");
                }
                Step::Move(id, tenant) => {
                    model.get_mut(&u64::from(id)).into_iter().for_each(|stored| stored.0 = tenant);
                    c.replace_payload(&[u64::from(id).into()], small(tenant)).expect("patches");
                }
                Step::Flush => c.flush().expect("flushes"),
                Step::Reopen => {
                    drop(c);
                    db.close().expect("closes");
                    db = open(&dir);
                    c = db.collection("c").expect("opens");
                }
            }
            for tenant in 2u8..7 {
                let filter = Filter::all([Condition::field(Path::key("t"), Test::value(tenant.to_string().as_str()))]);
                let hits = c.search(&Query::new(&[0.5], 100).filter(&filter)).expect("searches");
                let found: Vec<(f32, u64)> = hits.iter().map(|hit| (hit.distance, number(&hit.id))).collect();
                let owned = |stored: &u8| *stored == tenant || (*stored == 1 && tenant < 4);
                let mut expected: Vec<(f32, u64)> = model.iter().filter(|(_, (stored, _))| owned(stored))
                    .map(|(id, (_, at))| ((at - 0.5) * (at - 0.5), *id)).collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                prop_assert_eq!(found, expected);
            }
        }
    }
}
