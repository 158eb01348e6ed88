//! Microseconds of the loops over a graph: a search at several breadths, linking a node, choosing a row anew.
//!
//! The set is made from a seed: rows of length 1, clustered, of low intrinsic dimension. Two scorers walk the same graph: one on the rows
//! themselves, one on four bits a value, so the loop is seen with dear scores and with cheap ones. The recall of a breadth is
//! checked before it is timed.
//!
//! One criterion iteration of `search` is one query, of `link` and `refine` one node: `refine` is choosing anew and settling. `link`
//! counts the last half of a smaller set, beside the half that stands. Run pinned to one core:
//! `taskset -c 1 cargo bench -p nearfield-hnsw --bench loops`.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures time itself, below the crate that owns the clock"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use nearfield_ann::{
    AdmitAll, Budget, BuildScorer, BySlot, Effort, Flat, Scorer, Scratch, Search, Stopped, TopK, VectorIndex,
};
use nearfield_hnsw::{Graph, Linker, Params, Scorers};
use nearfield_simd::{kernels, prefetch};
use nearfield_types::{Score, Slot};

const ROWS: usize = 12_000;
const DIM: usize = 128;
/// Directions in which the rows of a cluster differ.
const FREEDOM: usize = 16;
const CLUSTERS: usize = 48;
const QUERIES: usize = 200;
const K: usize = 10;
/// A breadth and the recall it must reach on rows and on codes, whose scores lose some.
const BREADTHS: [(u32, f64, f64); 3] = [(16, 0.97, 0.88), (64, 0.99, 0.88), (256, 0.99, 0.88)];
/// Nodes of the graphs that are built while the clock runs.
const BUILT: usize = 2_000;
/// Rows asked for while this many earlier ones are summed.
const AHEAD: usize = 4;

/// Rows of length 1, and codes of four bits a value in one piece.
struct Data {
    rows: Vec<f32>,
    /// `DIM / 2` bytes a row: value `j` in the low half of byte `j`, value `j + DIM / 2` in the high half.
    codes: Vec<u8>,
    /// A value is about `low + step * code`.
    low: f32,
    step: f32,
}

impl Data {
    fn new(seed: u64) -> Data {
        let mut random = Random(seed);
        let mut directions =
            |count: usize| -> Vec<f32> { (0..count * DIM).map(|_| random.normal()).collect() };
        let (centres, axes) = (directions(CLUSTERS), directions(CLUSTERS * FREEDOM));
        let mut rows = Vec::with_capacity((ROWS + QUERIES) * DIM);
        for _ in 0..ROWS + QUERIES {
            let cluster = random.next() as usize % CLUSTERS;
            let mut row = centres[cluster * DIM..][..DIM].to_vec();
            for axis in axes[cluster * FREEDOM * DIM..][..FREEDOM * DIM].chunks_exact(DIM) {
                let along = 0.4 * random.normal();
                row.iter_mut().zip(axis).for_each(|(x, a)| *x += along * a);
            }
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            rows.extend(row.iter().map(|x| x / length));
        }
        // Values beyond four deviations are cut, which are few.
        let high = 4.0 / (DIM as f32).sqrt();
        let (low, step) = (-high, 2.0 * high / 15.0);
        let code = |x: f32| ((x - low) / step).round().clamp(0.0, 15.0) as u8;
        let pack = |row: &[f32]| -> Vec<u8> {
            row[..DIM / 2].iter().zip(&row[DIM / 2..]).map(|(a, b)| code(*a) | code(*b) << 4).collect()
        };
        let codes = rows.chunks_exact(DIM).take(ROWS).flat_map(pack).collect();
        Data { rows, codes, low, step }
    }

    fn row(&self, slot: usize) -> &[f32] {
        &self.rows[slot * DIM..][..DIM]
    }

    fn query(&self, number: usize) -> &[f32] {
        self.row(ROWS + number)
    }

    fn on_rows(&self, query: &[f32]) -> OnRows<'_> {
        OnRows { data: self, query: query.to_vec() }
    }

    fn on_codes(&self, query: &[f32]) -> OnCodes<'_> {
        let mut scorer = OnCodes {
            data: self,
            query: vec![0; DIM],
            scale: 0.0,
            rest: 0.0,
            sums: Vec::new(),
            slots: Vec::new(),
        };
        scorer.set(query);
        scorer
    }
}

/// Squared distances of rows of length 1.
struct OnRows<'d> {
    data: &'d Data,
    query: Vec<f32>,
}

impl Scorer for OnRows<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        let dot = kernels().dot();
        for (at, (slot, score)) in slots.iter().zip(out).enumerate() {
            if let Some(next) = slots.get(at + AHEAD) {
                prefetch(self.data.row(next.index()));
            }
            *score = 2.0 - 2.0 * dot.pair(&self.query, self.data.row(slot.index()));
        }
        Ok(())
    }
}

impl BuildScorer for OnRows<'_> {
    fn aim(&mut self, slot: Slot) {
        self.query.copy_from_slice(self.data.row(slot.index()));
    }
}

/// The same from codes: sums of integers.
struct OnCodes<'d> {
    data: &'d Data,
    query: Vec<i8>,
    /// A score is `rest - scale * sum`.
    scale: f32,
    rest: f32,
    sums: Vec<i32>,
    slots: Vec<u32>,
}

impl OnCodes<'_> {
    fn set(&mut self, query: &[f32]) {
        let largest = query.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        let step = largest / 127.0;
        self.query.clear();
        self.query.extend(query.iter().map(|x| (x / step).round() as i8));
        self.scale = 2.0 * step * self.data.step;
        self.rest = 2.0 - 2.0 * self.data.low * query.iter().sum::<f32>();
    }
}

impl Scorer for OnCodes<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        self.slots.clear();
        self.slots.extend(slots.iter().map(|slot| slot.0));
        self.sums.resize(slots.len(), 0);
        kernels().codes().dot_u4i8_at(&self.query, &self.data.codes, &self.slots, &mut self.sums);
        for (score, sum) in out.iter_mut().zip(&self.sums) {
            *score = self.rest - self.scale * *sum as f32;
        }
        Ok(())
    }
}

impl BuildScorer for OnCodes<'_> {
    fn aim(&mut self, slot: Slot) {
        let data = self.data;
        self.set(data.row(slot.index()));
    }
}

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

/// Links `slots` one by one.
fn link(graph: &Graph, data: &Data, slots: std::ops::Range<usize>) {
    with_scorers(data, |scorers, linker| {
        for slot in slots {
            graph.link(Slot(slot as u32), scorers, linker).expect("these scorers do not fail");
        }
    });
}

/// Calls `work` with the scorers of one thread: it walks on codes and chooses by rows.
fn with_scorers(data: &Data, work: impl FnOnce(&mut Scorers<'_>, &mut Linker)) {
    let (mut walk, mut judge) = (data.on_codes(data.row(0)), data.on_rows(data.row(0)));
    let same = |_, _| false;
    work(&mut Scorers { walk: &mut walk, judge: &mut judge, same: &same }, &mut Linker::new());
}

/// One pass over all nodes: the time of both of its steps.
fn refine(graph: &Graph, data: &Data) -> Duration {
    let mut passed = Duration::ZERO;
    with_scorers(data, |scorers, linker| {
        let slots = || (0..graph.len()).map(Slot);
        let began = Instant::now();
        let pass = graph.refine();
        slots().for_each(|slot| pass.forward(slot, scorers, linker).expect("these scorers do not fail"));
        let pass = pass.turn();
        slots().for_each(|slot| pass.settle(slot, scorers, linker).expect("these scorers do not fail"));
        passed = began.elapsed();
        graph.reconnect(scorers, linker).expect("these scorers do not fail");
    });
    passed
}

fn ask(index: &dyn VectorIndex, scorer: &mut dyn Scorer, ef: u32, scratch: &mut Scratch) -> Vec<u32> {
    let (budget, mut best) = (Budget::unlimited(), TopK::new(K, &BySlot));
    let search = Search { effort: Effort::Breadth(ef), ..Search::new(scorer, &AdmitAll, &budget) };
    index.search(search, scratch, &mut best).expect("these scorers do not fail");
    best.into_sorted().iter().map(|hit| hit.slot.0).collect()
}

fn scorer<'d>(data: &'d Data, on_codes: bool, query: &[f32]) -> Box<dyn Scorer + 'd> {
    if on_codes { Box::new(data.on_codes(query)) } else { Box::new(data.on_rows(query)) }
}

fn recall(graph: &Graph, data: &Data, truth: &[Vec<u32>], on_codes: bool, ef: u32) -> f64 {
    let mut scratch = Scratch::new();
    let found = truth.iter().enumerate().map(|(number, truth)| {
        let found = ask(graph, &mut *scorer(data, on_codes, data.query(number)), ef, &mut scratch);
        truth.iter().filter(|slot| found.contains(slot)).count()
    });
    found.sum::<usize>() as f64 / (QUERIES * K) as f64
}

fn loops(criterion: &mut Criterion) {
    let data = Data::new(7);
    let params = Params::new(16, 100).expect("these settings are within the limits");
    let graph = Graph::new(params);
    link(&graph, &data, 0..ROWS);
    refine(&graph, &data);
    let truth: Vec<Vec<u32>> = (0..QUERIES)
        .map(|number| {
            let mut exact = data.on_rows(data.query(number));
            ask(&Flat::new(ROWS as u32), &mut exact, 0, &mut Scratch::new())
        })
        .collect();
    searches(criterion, &graph, &data, &truth);
    builds(criterion, params, &data);
}

fn searches(criterion: &mut Criterion, graph: &Graph, data: &Data, truth: &[Vec<u32>]) {
    let mut group = criterion.benchmark_group("search");
    group.measurement_time(Duration::from_secs(3));
    for (name, on_codes) in [("rows", false), ("codes", true)] {
        for (ef, floor_rows, floor_codes) in BREADTHS {
            let (reached, floor) =
                (recall(graph, data, truth, on_codes, ef), if on_codes { floor_codes } else { floor_rows });
            assert!(reached >= floor, "a walk on {name} at ef {ef} reaches {reached}, below {floor}");
            println!("search/{name}/{ef}: recall {reached:.4}");
            let mut scratch = Scratch::new();
            let mut number = 0;
            group.bench_function(format!("{name}/{ef}"), |bencher| {
                bencher.iter(|| {
                    number = (number + 1) % QUERIES;
                    ask(graph, &mut *scorer(data, on_codes, black_box(data.query(number))), ef, &mut scratch)
                });
            });
        }
    }
}

fn builds(criterion: &mut Criterion, params: Params, data: &Data) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(100));
    group.bench_function("link", |bencher| {
        let run = || {
            let graph = Graph::new(params);
            link(&graph, data, 0..BUILT / 2);
            let began = Instant::now();
            link(&graph, data, BUILT / 2..BUILT);
            began.elapsed()
        };
        bencher.iter_custom(|nodes| timed(nodes, BUILT / 2, run));
    });
    let graph = Graph::new(params);
    link(&graph, data, 0..BUILT);
    group.bench_function("refine", |bencher| {
        bencher.iter_custom(|nodes| timed(nodes, BUILT, || refine(&graph, data)));
    });
}

/// The time of `nodes` nodes, from as many runs of `each` nodes as that takes.
fn timed(nodes: u64, each: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let runs = nodes.div_ceil(each as u64);
    let passed: Duration = (0..runs).map(|_| run()).sum();
    passed.mul_f64(nodes as f64 / (runs * each as u64) as f64)
}

criterion_group!(benches, loops);
criterion_main!(benches);
