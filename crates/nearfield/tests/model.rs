//! The database against a map and brute force: random operations across seals, reopenings and kills.
//!
//! Vectors hold small whole numbers, so that dot, Euclid and Manhattan distances are exact in f32 and ties are frequent: the
//! order of equal distances is tested too.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, Database, Durability, ErrorKind, Metric, Object, Options, Point, PointId,
    Query, Uuid, Value, Vectors, View, With,
};
use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir};
use proptest::prelude::*;

const DIM: usize = 3;
const NAMED_DIM: usize = 2;

/// Id, vector, named vector, payload.
type Drawn = (u8, Vec<i8>, Option<Vec<i8>>, u8);

#[derive(Clone, Debug)]
enum Step {
    Upsert(Vec<Drawn>),
    Insert(u8, Vec<i8>),
    Delete(Vec<u8>),
    Replace(Vec<u8>, u8),
    Merge(Vec<u8>, u8),
    Flush,
    Reopen,
    Kill,
    Check(Vec<i8>, u8),
}

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    vector: Vec<f32>,
    named: Option<Vec<f32>>,
    payload: Object,
}

type Model = BTreeMap<PointId, Stored>;

/// Few ids, of all kinds, so that they meet again.
fn id(number: u8) -> PointId {
    match number % 3 {
        0 => PointId::from(u64::from(number)),
        1 => PointId::from(Uuid::from_u128(u128::from(number))),
        _ => PointId::from(format!("s{number}")),
    }
}

fn floats(values: &[i8]) -> Vec<f32> {
    values.iter().map(|&value| f32::from(value)).collect()
}

fn payload(number: u8) -> Object {
    if number == 0 {
        return Object::new();
    }
    let list = Value::Array(vec![Value::Null, Value::Bool(number.is_multiple_of(2)), Value::F64(-0.5)]);
    Object::from_entries([
        ("n".into(), Value::I64(number.into())),
        ("text".into(), "ä".into()),
        ("list".into(), list),
    ])
}

fn change(number: u8) -> Object {
    Object::from_entries([(format!("k{}", number % 3), Value::I64(number.into()))])
}

fn values(dim: usize) -> impl Strategy<Value = Vec<i8>> {
    prop::collection::vec(-3i8..=3, dim)
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0u8..24;
    let point = (number(), values(DIM), prop::option::of(values(NAMED_DIM)), any::<u8>());
    prop_oneof![
        8 => prop::collection::vec(point, 1..8).prop_map(Step::Upsert),
        2 => (number(), values(DIM)).prop_map(|(id, vector)| Step::Insert(id, vector)),
        3 => prop::collection::vec(number(), 1..6).prop_map(Step::Delete),
        2 => (prop::collection::vec(number(), 1..6), any::<u8>()).prop_map(|(ids, n)| Step::Replace(ids, n)),
        2 => (prop::collection::vec(number(), 1..6), any::<u8>()).prop_map(|(ids, n)| Step::Merge(ids, n)),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        3 => (values(DIM), 0u8..30).prop_map(|(query, limit)| Step::Check(query, limit)),
    ]
}

fn options(durability: Durability) -> Options {
    let mut options = Options { background: false, ..Options::default().durability(durability) };
    options.collections.head_rows_max = 10;
    options
}

fn config(metric: Metric) -> CollectionConfig {
    CollectionConfig::new(DIM, metric).vector("named", NAMED_DIM, Metric::Manhattan)
}

/// The database under test, on a directory that can be cut off at any moment.
struct Rig {
    dir: Arc<FaultyDir>,
    durability: Durability,
    db: Option<Database>,
}

impl Rig {
    fn open(dir: Arc<FaultyDir>, durability: Durability) -> Rig {
        let db =
            Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "model", options(durability)).expect("opens");
        Rig { dir, durability, db: Some(db) }
    }

    fn collection(&self) -> Collection {
        self.db.as_ref().expect("open").collection("c").expect("is there")
    }

    /// What a kill leaves: every call made, nothing that was still in memory.
    fn kill(&mut self) {
        let image = self.dir.crash_image(LossModel::Process, 0);
        self.db.take();
        *self = Rig::open(FaultyDir::over(image), self.durability);
    }

    fn reopen(&mut self) {
        self.db.take().expect("open").close().expect("closes");
        *self = Rig::open(Arc::clone(&self.dir), self.durability);
    }
}

fn apply(step: &Step, rig: &mut Rig, model: &mut Model, metric: Metric) -> Result<(), TestCaseError> {
    let collection = rig.collection();
    match step {
        Step::Upsert(points) => {
            let mut sent = Vec::new();
            for (number, vector, named, text) in points {
                let (vector, named) = (floats(vector), named.as_deref().map(floats));
                let mut vectors = vec![(String::new(), vector.clone())];
                vectors.extend(named.clone().map(|named| ("named".to_owned(), named)));
                sent.push(Point {
                    id: id(*number),
                    vectors: Vectors::Named(vectors),
                    payload: payload(*text),
                });
                model.insert(id(*number), Stored { vector, named, payload: payload(*text) });
            }
            collection.upsert(sent).expect("upserts");
        }
        Step::Insert(number, vector) => {
            let done = collection.insert(vec![Point::new(id(*number), floats(vector))]);
            match model.contains_key(&id(*number)) {
                true => prop_assert_eq!(done.expect_err("is there").kind(), ErrorKind::Exists),
                false => {
                    done.expect("inserts");
                    let stored = Stored { vector: floats(vector), named: None, payload: Object::new() };
                    model.insert(id(*number), stored);
                }
            }
        }
        Step::Delete(numbers) => {
            let ids: Vec<_> = numbers.iter().map(|&number| id(number)).collect();
            let there = ids.iter().filter(|id| model.remove(id).is_some()).count() as u64;
            prop_assert_eq!(collection.delete(&ids).expect("deletes"), there);
        }
        Step::Replace(numbers, text) => {
            let ids = distinct(numbers);
            let mut there = 0;
            for id in &ids {
                if let Some(stored) = model.get_mut(id) {
                    stored.payload = payload(*text);
                    there += 1;
                }
            }
            prop_assert_eq!(collection.replace_payload(&ids, payload(*text)).expect("replaces"), there);
        }
        Step::Merge(numbers, text) => {
            let ids = distinct(numbers);
            let mut there = 0;
            for id in &ids {
                if let Some(stored) = model.get_mut(id) {
                    stored.payload.merge(&change(*text));
                    there += 1;
                }
            }
            prop_assert_eq!(collection.merge_payload(&ids, change(*text)).expect("merges"), there);
        }
        Step::Flush => collection.flush().expect("flushes"),
        Step::Reopen => {
            drop(collection);
            rig.reopen();
        }
        Step::Kill => {
            drop(collection);
            rig.kill();
        }
        Step::Check(query, limit) => {
            check(&collection.view(), model, metric, &floats(query), *limit as usize)?
        }
    }
    Ok(())
}

fn distinct(numbers: &[u8]) -> Vec<PointId> {
    let mut ids: Vec<_> = numbers.iter().map(|&number| id(number)).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Everything a reader can ask, against the model.
fn check(
    view: &View,
    model: &Model,
    metric: Metric,
    query: &[f32],
    limit: usize,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.count(), model.len() as u64);
    let all: Vec<PointId> = (0..24).map(id).collect();
    for (id, record) in all.iter().zip(view.get(&all, With::ALL).expect("gets")) {
        let found = record.map(|record| {
            let mut vectors = record.vectors.expect("asked for").into_iter();
            let vector = vectors.next().expect("the first vector").1;
            Stored {
                vector,
                named: vectors.next().map(|(_, named)| named),
                payload: record.payload.expect("asked for"),
            }
        });
        prop_assert_eq!(found.as_ref(), model.get(id), "get {:?}", id);
    }
    let mut scrolled: Vec<PointId> = Vec::new();
    loop {
        let page = view.scroll(scrolled.last(), 5, With::NOTHING).expect("scrolls");
        if page.is_empty() {
            break;
        }
        scrolled.extend(page.into_iter().map(|record| record.id));
    }
    prop_assert_eq!(scrolled, model.keys().cloned().collect::<Vec<_>>());

    let vectors = model.iter().map(|(id, stored)| (id, stored.vector.as_slice()));
    let found = view.search(&Query::new(query, limit)).expect("searches");
    let found: Vec<_> = found.into_iter().map(|hit| (hit.id, hit.distance)).collect();
    compare(&found, &nearest(vectors, metric, query, limit), metric)?;
    let named = model.iter().filter_map(|(id, stored)| Some((id, stored.named.as_deref()?)));
    let found = view.search(&Query::new(&query[..NAMED_DIM], limit).using("named")).expect("searches");
    let found: Vec<_> = found.into_iter().map(|hit| (hit.id, hit.distance)).collect();
    compare(&found, &nearest(named, Metric::Manhattan, &query[..NAMED_DIM], limit), Metric::Manhattan)
}

fn compare(found: &[(PointId, f32)], truth: &[(PointId, f32)], metric: Metric) -> Result<(), TestCaseError> {
    if metric == Metric::Cosine {
        // Cosine is not exact in f32: equal angles may differ in the last bit, so only the distances are compared.
        prop_assert_eq!(found.len(), truth.len());
        for ((_, found), (_, truth)) in found.iter().zip(truth) {
            prop_assert!((found - truth).abs() < 1e-5, "{} is not {}", found, truth);
        }
    } else {
        prop_assert_eq!(found, truth);
    }
    Ok(())
}

fn nearest<'a>(
    vectors: impl Iterator<Item = (&'a PointId, &'a [f32])>,
    metric: Metric,
    query: &[f32],
    limit: usize,
) -> Vec<(PointId, f32)> {
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let mut all: Vec<(PointId, f32)> = vectors
        .map(|(id, vector)| {
            let pairs = || query.iter().zip(vector).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let dot: f64 = pairs().map(|(a, b)| a * b).sum();
            let distance = match metric {
                Metric::Dot => -dot,
                Metric::Euclid => pairs().map(|(a, b)| (a - b).powi(2)).sum(),
                Metric::Manhattan => pairs().map(|(a, b)| (a - b).abs()).sum(),
                Metric::Cosine if norm(query) * norm(vector) == 0.0 => 1.0,
                Metric::Cosine => 1.0 - dot / (norm(query) * norm(vector)),
            };
            // -0.0 and 0.0 are the same distance.
            (id.clone(), distance as f32 + 0.0)
        })
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

fn cases() -> u32 {
    std::env::var("NEARFIELD_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn database_equals_map_and_brute_force(
        steps in prop::collection::vec(step(), 1..40),
        metric in prop::sample::select(Metric::ALL.to_vec()),
        sync in any::<bool>(),
    ) {
        let durability = if sync { Durability::Sync } else { Durability::Process };
        let mut rig = Rig::open(FaultyDir::over(MemoryDir::new()), durability);
        rig.db.as_ref().expect("open").create_collection("c", config(metric)).expect("creates");
        let mut model = Model::new();
        for step in &steps {
            apply(step, &mut rig, &mut model, metric)?;
        }
        check(&rig.collection().view(), &model, metric, &[1.0, -2.0, 0.0], 10)?;
        rig.kill();
        check(&rig.collection().view(), &model, metric, &[0.0, 0.0, 3.0], 30)?;
    }
}
