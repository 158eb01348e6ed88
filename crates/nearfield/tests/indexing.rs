//! Indexes of collections: they follow what is written, answer like brute force, and cost nothing but time when they are lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, Database, Depth, ErrorKind, IndexConfig, Metric, Options, Point, PointId,
    Quantization, Query,
};
use nearfield_platform::{Action, Call, Dir, Fault, FaultPlan, Faults, FaultyDir, LossModel, MemoryDir};

const DIM: usize = 32;
const CLUSTERS: u64 = 24;
const K: usize = 10;

type Model = BTreeMap<u64, Vec<f32>>;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Of a hump around 0.
    fn noise(&mut self) -> f32 {
        (0..4).map(|_| self.next() as f32 / (1u64 << 31) as f32 - 0.5).sum()
    }

    /// Near the centre of some cluster.
    fn vector(&mut self) -> Vec<f32> {
        let mut centre = Random(self.next() % CLUSTERS + 1_000);
        (0..DIM).map(|_| 2.0 * centre.noise() + self.noise()).collect()
    }

    fn points(&mut self, ids: impl Iterator<Item = u64>, model: &mut Model) -> Vec<Point> {
        let point = |id| {
            let vector = self.vector();
            model.insert(id, vector.clone());
            Point::new(id, vector)
        };
        ids.map(point).collect()
    }
}

fn config() -> CollectionConfig {
    let quantization = Quantization::Scalar { quantile: 0.99 };
    CollectionConfig::new(DIM, Metric::Euclid).index(IndexConfig { quantization, ..IndexConfig::default() })
}

fn open(dir: Arc<dyn Dir>, background: bool) -> Database {
    let mut options = Options { background, ..Options::default() };
    options.collections.head_rows_max = 2_500;
    Database::open_in(dir, "indexing", options).expect("opens")
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The share of true neighbours found. Whatever is found must be there, with its true distance, in order.
fn recall(c: &Collection, model: &Model, random: &mut Random, depth: Depth) -> f64 {
    let (mut right, mut asked) = (0, 0);
    for _ in 0..20 {
        let query = random.vector();
        let hits = c.search(&Query { depth, ..Query::new(&query, K) }).expect("searches");
        assert_eq!(hits.len(), K.min(model.len()));
        assert!(hits.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
        let mut truth: Vec<f32> = model.values().map(|vector| squared(vector, &query)).collect();
        truth.sort_unstable_by(f32::total_cmp);
        truth.truncate(K);
        let limit = truth.last().copied().unwrap_or(0.0);
        for hit in &hits {
            let PointId::Number(id) = hit.id else { panic!("{:?} was never written", hit.id) };
            let distance = squared(&model[&id], &query);
            assert!((distance - hit.distance).abs() <= 1e-3 * distance, "{distance} is not {}", hit.distance);
            right += usize::from(distance <= limit * 1.000_1);
        }
        asked += truth.len();
    }
    right as f64 / asked as f64
}

#[test]
fn searches_answer_like_brute_force_whatever_is_written() {
    for background in [false, true] {
        let (mut random, mut model) = (Random(7), Model::new());
        let dir = MemoryDir::new();
        let mut db = open(Arc::clone(&dir) as Arc<dyn Dir>, background);
        let mut c = db.create_collection("c", config()).expect("creates");
        for round in 0..24u64 {
            // Most are new, some replace others.
            let ids: Vec<u64> = (0..300)
                .map(|at| if at % 5 == 0 { random.next() % 6_000 } else { round * 300 + at })
                .collect();
            c.upsert(random.points(ids.into_iter(), &mut model)).expect("upserts");
            let dead: Vec<u64> = (0..40).map(|_| random.next() % 7_000).collect();
            dead.iter().for_each(|id| drop(model.remove(id)));
            c.delete(&dead.into_iter().map(PointId::from).collect::<Vec<_>>()).expect("deletes");
            match round % 8 {
                3 => c.flush().expect("flushes"),
                5 => {
                    drop(c);
                    db.close().expect("closes");
                    db = open(Arc::clone(&dir) as Arc<dyn Dir>, background);
                    c = db.collection("c").expect("opens");
                }
                7 => c.wait_indexed().expect("indexes"),
                _ => {}
            }
            if round % 2 == 1 {
                let found = recall(&c, &model, &mut random, Depth::Auto);
                assert!(found >= 0.95, "recall is {found} in round {round}");
                assert_eq!(recall(&c, &model, &mut random, Depth::Exact), 1.0);
            }
        }
        assert_eq!(c.count().expect("counts"), model.len() as u64);
        c.flush().expect("flushes");
        c.wait_indexed().expect("indexes");
        for _ in 0..2 {
            let stats = c.stats().expect("counts");
            assert_eq!((stats.unlinked_rows, stats.unindexed_segments, stats.damaged_indexes), (0, 0, 0));
            assert!(stats.segments > 0 && stats.disk.index > 0 && stats.disk.total() > stats.disk.index);
            for depth in [Depth::Auto, Depth::Recall(0.99), Depth::Breadth(100)] {
                let found = recall(&c, &model, &mut random, depth);
                assert!(found >= 0.95, "recall is {found} at last");
            }
            drop(c);
            db.close().expect("closes");
            db = open(Arc::clone(&dir) as Arc<dyn Dir>, false);
            c = db.collection("c").expect("opens");
        }
    }
}

/// A database with one sealed segment of so many rows, not indexed.
fn sealed(dir: Arc<dyn Dir>, rows: u64) -> (Database, Collection, Model) {
    let mut model = Model::new();
    let db = open(dir, false);
    let c = db.create_collection("c", config()).expect("creates");
    c.upsert(Random(3).points(0..rows, &mut model)).expect("upserts");
    c.flush().expect("flushes");
    assert_eq!(c.stats().expect("counts").unindexed_segments, 1);
    (db, c, model)
}

fn check(c: &Collection, model: &Model) {
    assert_eq!(c.count().expect("counts"), model.len() as u64);
    let found = recall(c, model, &mut Random(5), Depth::Auto);
    assert!(found >= 0.95, "recall is {found}");
}

#[test]
fn a_crash_while_an_index_is_written_costs_nothing_but_time() {
    let dir = FaultyDir::new();
    let (_db, c, model) = sealed(Arc::clone(&dir) as Arc<dyn Dir>, 1_200);
    let before = dir.ops();
    c.wait_indexed().expect("indexes");
    let after = dir.ops();
    assert!(after > before + 4, "files are written, synced and named");
    for ops in before..=after {
        for model_of_loss in LossModel::ALL {
            let image = dir.crash_image_at(ops, model_of_loss, ops as u64);
            let db = open(Arc::clone(&image) as Arc<dyn Dir>, false);
            let c = db.collection("c").expect("opens");
            assert_eq!(db.repaired(), Vec::<String>::new(), "operation {ops}");
            check(&c, &model);
            let stats = c.stats().expect("counts");
            let named = if stats.unindexed_segments == 0 { 1 } else { 0 };
            assert_eq!(
                files(&image, "collections").iter().filter(|path| path.contains("graph-")).count(),
                named
            );
        }
    }
}

#[test]
fn an_index_that_could_not_be_written_is_written_later() {
    for call in [Call::Create, Call::Overwrite, Call::Open, Call::SyncDir] {
        let dir = MemoryDir::new();
        let plan = FaultPlan::new();
        let faulty = Faults::new(Arc::clone(&dir) as Arc<dyn Dir>, Arc::clone(&plan));
        let (db, c, model) = sealed(faulty, 1_100);
        plan.arm_on(call, plan.calls_of(call), Action::Fail { fault: Fault::NoSpace, lasting: false });
        assert!(c.wait_indexed().is_err() || plan.fired() > 0, "{call:?} is made");
        check(&c, &model);
        c.upsert(vec![Point::new(1, model[&1].clone())]).unwrap_or_else(|e| panic!("after {call:?}: {e}"));
        c.wait_indexed().expect("indexes");
        check(&c, &model);
        db.close().expect("closes");
        let db = open(dir, false);
        let c = db.collection("c").expect("opens");
        assert_eq!(
            (db.repaired(), c.stats().expect("counts").unindexed_segments),
            (Vec::new(), 0),
            "{call:?}"
        );
        check(&c, &model);
    }
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
fn a_damaged_index_is_built_anew() {
    for name in ["graph-0", "codes-0"] {
        for at in [None, Some(20), Some(3_000)] {
            let dir = MemoryDir::new();
            let (db, c, model) = sealed(Arc::clone(&dir) as Arc<dyn Dir>, 1_100);
            c.wait_indexed().expect("indexes");
            db.close().expect("closes");
            let path =
                files(&dir, "collections").into_iter().find(|path| path.contains(name)).expect("is there");
            let mut bytes = dir.open(&path).expect("opens").to_vec();
            dir.remove(&path).expect("removes");
            if let Some(at) = at {
                bytes[at] ^= 1;
                let file = dir.create(&path).expect("creates");
                file.write_at(0, &[&bytes]).expect("writes");
                file.sync().expect("syncs");
            }
            let db = open(Arc::clone(&dir) as Arc<dyn Dir>, false);
            let c = db.collection("c").expect("an index is no truth");
            assert!(db.repaired()[0].contains(&path), "{:?} names {path}", db.repaired());
            let stats = c.stats().expect("counts");
            assert_eq!((stats.damaged_indexes, stats.unindexed_segments), (1, 1));
            check(&c, &model);
            c.wait_indexed().expect("indexes");
            check(&c, &model);
            db.close().expect("closes");
            let db = open(dir, false);
            let c = db.collection("c").expect("opens");
            let stats = c.stats().expect("counts");
            assert_eq!((db.repaired(), stats.damaged_indexes, stats.unindexed_segments), (Vec::new(), 0, 0));
            check(&c, &model);
        }
    }
}

#[test]
fn the_background_links_and_builds_by_itself() {
    let mut model = Model::new();
    let db = open(MemoryDir::new(), true);
    let c = db.create_collection("c", config()).expect("creates");
    c.upsert(Random(3).points(0..2_000, &mut model)).expect("upserts");
    let until = |done: &dyn Fn(&nearfield::Stats) -> bool| {
        while !done(&c.stats().expect("counts")) {
            std::thread::yield_now();
        }
    };
    until(&|stats| stats.unlinked_rows == 0 && stats.index_memory_bytes > 0);
    check(&c, &model);
    c.flush().expect("flushes");
    until(&|stats| stats.unindexed_segments == 0 && stats.disk.index > 0);
    check(&c, &model);
}

#[test]
fn a_close_does_not_wait_for_an_index() {
    let mut model = Model::new();
    let dir = MemoryDir::new();
    let db = open(Arc::clone(&dir) as Arc<dyn Dir>, true);
    let c = db.create_collection("c", config()).expect("creates");
    c.upsert(Random(3).points(0..2_400, &mut model)).expect("upserts");
    c.flush().expect("flushes");
    db.close().expect("closes");
    assert!(c.wait_indexed().is_err());
    let db = open(dir, true);
    let c = db.collection("c").expect("opens");
    check(&c, &model);
    c.wait_indexed().expect("indexes");
    check(&c, &model);
}

#[test]
fn depths_outside_the_limits_are_refused() {
    let db = Database::in_memory().expect("opens");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    let query = Query::new(&[1.0, 0.0], 3);
    for (asked, expected) in [
        (query.ef(0), "ef is 0: it must be 1 to 1048576"),
        (query.ef(u32::MAX), "ef is 4294967295: it must be 1 to 1048576"),
        (query.recall(0.4), "recall is 0.4: it must be 0.5 to 0.999"),
        (query.recall(1.0), "recall is 1: it must be 0.5 to 0.999"),
        (query.recall(f32::NAN), "recall is NaN: it must be 0.5 to 0.999"),
    ] {
        let error = c.search(&asked).expect_err("is refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, expected));
    }
    for fine in [query.ef(1), query.recall(0.5), query.recall(0.999), query.exact()] {
        assert!(c.search(&fine).expect("searches").is_empty());
    }
}
