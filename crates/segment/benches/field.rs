//! Microseconds of a whole search of one vector: the walk on codes, the finer scores, the exact ones.
//!
//! The set is made from a seed, clustered and of low intrinsic dimension; queries are of the same kind and not in it. `codes` is what a
//! segment does by itself, `vectors` the same graph walked on the vectors, `exact` a look at every row. The recall of a breadth is
//! checked before it is timed. Run pinned to one core: `taskset -c 1 cargo bench -p nearfield-segment --bench field`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use nearfield_ann::{AdmitAll, Budget, BySlot, Scratch, TopK};
use nearfield_hnsw::Params;
use nearfield_segment::{Depth, Field, FieldAsk, IndexOptions, Quantization, SealedIndex, Tier, build};
use nearfield_types::{Metric, Slot};
use nearfield_vectors::{Element, GrowingRows, Shape};

const ROWS: usize = 12_000;
const DIM: usize = 256;
/// Directions in which the rows of a cluster differ.
const FREEDOM: usize = 16;
const CLUSTERS: usize = 48;
const QUERIES: usize = 200;
const K: usize = 10;
/// A breadth and the recall it must reach.
const BREADTHS: [(u32, f64); 3] = [(16, 0.97), (64, 0.99), (256, 0.99)];

/// xorshift64: the same set in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// About normal: the sum of twelve even ones.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.next() as f32 / (1u64 << 53) as f32).sum::<f32>() - 6.0
    }
}

/// `count` clustered rows.
fn rows(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    let mut directions = |count: usize| -> Vec<f32> { (0..count * DIM).map(|_| random.normal()).collect() };
    let (centres, axes) = (directions(CLUSTERS), directions(CLUSTERS * FREEDOM));
    let row = |_| {
        let cluster = random.next() as usize % CLUSTERS;
        let mut row = centres[cluster * DIM..][..DIM].to_vec();
        for axis in axes[cluster * FREEDOM * DIM..][..FREEDOM * DIM].chunks_exact(DIM) {
            let along = 0.4 * random.normal();
            row.iter_mut().zip(axis).for_each(|(x, a)| *x += along * a);
        }
        row
    };
    (0..count).map(row).collect()
}

/// What is searched and asked.
struct Data {
    rows: Arc<GrowingRows>,
    index: SealedIndex,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<Slot>>,
}

impl Data {
    fn new() -> Data {
        let mut all = rows(ROWS + QUERIES, 11);
        let queries = all.split_off(ROWS);
        let shape = Shape::new(DIM as u32, Metric::Cosine, Element::F32).expect("this shape is legal");
        let (mut writer, rows) = GrowingRows::create(shape);
        for row in &all {
            writer.push(Some(row)).expect("these rows are legal");
        }
        let params = Params::new(16, 100).expect("these settings are within the limits");
        let options = IndexOptions { params, quantization: Quantization::Auto, seed: 42 };
        let built =
            build(&*rows, None, &options, 0, 2, &|_, _, _| Ok(())).expect("rows in memory can be read");
        let index = built.into_index();
        assert_eq!(index.calibration().tier, Tier::Coarse, "this set suits the codes");
        let mut data = Data { rows, index, queries, truth: Vec::new() };
        let mut scratch = Scratch::new();
        let exact = |query| ask(&data.field(), query, Depth::Exact, &mut scratch);
        data.truth = data.queries.iter().map(Vec::as_slice).map(exact).collect();
        data
    }

    fn field(&self) -> Field<'_> {
        self.index.field(&*self.rows)
    }

    fn recall(&self, field: &Field<'_>, depth: Depth) -> f64 {
        let mut scratch = Scratch::new();
        let found = self.queries.iter().zip(&self.truth).map(|(query, truth)| {
            let found = ask(field, query, depth, &mut scratch);
            truth.iter().filter(|slot| found.contains(slot)).count()
        });
        found.sum::<usize>() as f64 / (QUERIES * K) as f64
    }
}

fn ask(field: &Field<'_>, query: &[f32], depth: Depth, scratch: &mut Scratch) -> Vec<Slot> {
    let (budget, mut best) = (Budget::unlimited(), TopK::new(K, &BySlot));
    let ask = FieldAsk { query, depth, admit: &AdmitAll, budget: &budget, bound: None };
    field.search(&ask, scratch, &mut best).expect("these queries are legal");
    best.into_sorted().iter().map(|hit| hit.slot).collect()
}

fn searches(criterion: &mut Criterion) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("field");
    group.measurement_time(Duration::from_secs(3));
    let mut on_vectors = data.field();
    on_vectors.codes = None;
    let walks = BREADTHS.map(|(ef, floor)| (format!("{ef}"), Depth::Breadth(ef), floor));
    for (name, field) in [("codes", data.field()), ("vectors", on_vectors)] {
        for (breadth, depth, floor) in &walks {
            time(&mut group, &data, &format!("{name}/{breadth}"), &field, *depth, *floor);
        }
    }
    time(&mut group, &data, "exact", &data.field(), Depth::Exact, 1.0);
}

fn time(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    data: &Data,
    name: &str,
    field: &Field<'_>,
    depth: Depth,
    floor: f64,
) {
    let recall = data.recall(field, depth);
    assert!(recall >= floor, "{name} reaches {recall}, below {floor}");
    println!("field/{name}: recall {recall:.4}");
    let (mut scratch, mut number) = (Scratch::new(), 0);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            number = (number + 1) % QUERIES;
            ask(field, black_box(&data.queries[number]), depth, &mut scratch)
        });
    });
}

criterion_group!(benches, searches);
criterion_main!(benches);
