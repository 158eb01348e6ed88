//! Nanoseconds per f32 distance, for each level and call form, beside simsimd's kernels.
//!
//! Three groups, each answer checked before it is timed:
//!
//! - `hot`: eight rows that stay in the first-level cache, at 100 (a tail), 128, 384, 768 and 1,536 dimensions;
//! - `scan`: 116,659 rows of 384 values in order, which should cost what memory bandwidth allows;
//! - `gather`: the same rows in random order, with and without prefetching four rows ahead.
//!
//! One criterion iteration is one distance, whatever the form, so all figures compare. The rows lie in huge pages where the
//! system gives them. Run pinned to one core: `taskset -c 1 cargo bench -p nearfield-simd`.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures time itself, below the crate that owns the clock"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use nearfield_simd::{F32Kernels, Kernels, prefetch, reference};
use simsimd::SpatialSimilarity;

/// The size of the set that index benches use.
const ROWS: usize = 116_659;
const DIM: usize = 384;
/// Rows of a hot loop.
const HOT_ROWS: usize = 8;
/// How many rows ahead the gather prefetches.
const ROWS_AHEAD: usize = 4;
/// Rows visited by the gather before the order repeats.
const ORDER_COUNT: usize = 1 << 20;
/// Rows per call of the scan's batch: the scores stay in the first-level cache.
const SCAN_BATCH: usize = 1024;

type Oracle = fn(&[f32], &[f32]) -> f64;
type Baseline = fn(&[f32], &[f32]) -> Option<f64>;
type Pick = fn(&Kernels) -> &F32Kernels;

struct Distance {
    name: &'static str,
    pick: Pick,
    oracle: Oracle,
    /// simsimd has no Manhattan distance.
    baseline: Option<Baseline>,
}

const DISTANCES: [Distance; 3] = [
    Distance {
        name: "dot",
        pick: Kernels::dot,
        oracle: reference::dot,
        baseline: Some(<f32 as SpatialSimilarity>::dot),
    },
    Distance {
        name: "l2",
        pick: Kernels::squared_l2,
        oracle: reference::squared_l2,
        baseline: Some(<f32 as SpatialSimilarity>::sqeuclidean),
    },
    Distance { name: "l1", pick: Kernels::l1, oracle: reference::l1, baseline: None },
];

/// xorshift64: the same rows and order in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, values: &mut [f32]) {
        for value in values {
            *value = (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        }
    }
}

/// Page-aligned values from `-1..1`, in huge pages where possible.
fn random_block(count: usize) -> memmap2::MmapMut {
    let mut block = memmap2::MmapMut::map_anon(count * size_of::<f32>()).expect("anonymous memory");
    #[cfg(target_os = "linux")]
    if let Err(error) = block.advise(memmap2::Advice::HugePage) {
        eprintln!("no huge pages ({error}): random access will be slower");
    }
    Random(88_172_645_463_325_252).fill(bytemuck::cast_slice_mut(&mut block));
    block
}

/// Checks all three forms against the oracle and one another.
fn check(kernels: &F32Kernels, oracle: Oracle, query: &[f32], rows: &[f32]) {
    let rows: Vec<&[f32]> = rows.chunks_exact(query.len()).collect();
    let mut out = vec![0.0; rows.len()];
    kernels.batch(query, &rows.concat(), &mut out);
    for (group, scores) in rows.chunks_exact(4).zip(out.chunks_exact(4)) {
        assert_eq!(kernels.x4(query, [group[0], group[1], group[2], group[3]]), scores);
        for (row, &score) in group.iter().zip(scores) {
            assert_eq!(kernels.pair(query, row), score);
            check_value(f64::from(score), oracle, query, row);
        }
    }
}

fn check_value(score: f64, oracle: Oracle, query: &[f32], row: &[f32]) {
    let magnitude = reference::absolute_dot(query, row).max(oracle(query, row));
    let error = (score - oracle(query, row)).abs();
    assert!(error <= 4.0 * reference::tolerance(query.len(), magnitude), "off by {error}");
}

/// Times `distances(n)`, which computes at least one and about `n` distances and returns their count.
fn per_distance(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: String,
    mut distances: impl FnMut(u64) -> u64,
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| -> Duration {
            let begin = Instant::now();
            let done = distances(iterations);
            begin.elapsed().mul_f64(iterations as f64 / done as f64)
        });
    });
}

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot");
    for dim in [100, 128, 384, 768, 1536] {
        let block = random_block((HOT_ROWS + 1) * dim);
        // Query last: the rows begin at a page, and so do all queries of whole cache lines.
        let (rows, query) = bytemuck::cast_slice::<u8, f32>(&block).split_at(HOT_ROWS * dim);
        for distance in &DISTANCES {
            for level in Kernels::available() {
                let kernels = *(distance.pick)(level);
                check(&kernels, distance.oracle, query, rows);
                let name = |form| format!("{dim}/{}/{}/{form}", distance.name, level.name());
                per_distance(&mut group, name("pair"), |n| {
                    hot_pair(n, query, rows, |q, r| kernels.pair(q, r))
                });
                per_distance(&mut group, name("x4"), |n| hot_x4(n, query, rows, &kernels));
                per_distance(&mut group, name("batch"), |n| hot_batch(n, query, rows, &kernels));
            }
            if let Some(baseline) = distance.baseline {
                let call = |q: &[f32], r: &[f32]| baseline(q, r).expect("equal lengths") as f32;
                check_value(f64::from(call(query, &rows[..dim])), distance.oracle, query, &rows[..dim]);
                let name = format!("{dim}/{}/simsimd/pair", distance.name);
                per_distance(&mut group, name, |n| hot_pair(n, query, rows, call));
            }
        }
    }
}

fn hot_pair(count: u64, query: &[f32], rows: &[f32], distance: impl Fn(&[f32], &[f32]) -> f32) -> u64 {
    let dim = query.len();
    let mut sum = 0.0;
    for i in 0..count as usize {
        let begin = i % HOT_ROWS * dim;
        sum += distance(query, &rows[begin..begin + dim]);
    }
    black_box(sum);
    count
}

fn hot_x4(count: u64, query: &[f32], rows: &[f32], kernels: &F32Kernels) -> u64 {
    let dim = query.len();
    let calls = count.div_ceil(4);
    let mut sum = 0.0;
    for i in 0..calls as usize {
        let begin = i * 4 % HOT_ROWS * dim;
        let group = std::array::from_fn(|r| &rows[begin + r * dim..][..dim]);
        sum += kernels.x4(query, group)[0];
    }
    black_box(sum);
    calls * 4
}

fn hot_batch(count: u64, query: &[f32], rows: &[f32], kernels: &F32Kernels) -> u64 {
    let calls = count.div_ceil(HOT_ROWS as u64);
    let mut out = [0.0; HOT_ROWS];
    for _ in 0..calls {
        kernels.batch(query, rows, &mut out);
        black_box(&out);
    }
    calls * HOT_ROWS as u64
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    let block = random_block((ROWS + 1) * DIM);
    let (query, rows) = bytemuck::cast_slice::<u8, f32>(&block).split_at(DIM);
    for distance in &DISTANCES {
        for level in Kernels::available() {
            let kernels = *(distance.pick)(level);
            check(&kernels, distance.oracle, query, &rows[..5 * DIM]);
            let name = |form| format!("{DIM}/{}/{}/{form}", distance.name, level.name());
            per_distance(&mut group, name("batch"), |n| scan_batch(n, query, rows, &kernels));
            per_distance(&mut group, name("pair"), |n| scan_pair(n, query, rows, |q, r| kernels.pair(q, r)));
        }
        if let Some(baseline) = distance.baseline {
            let call = |q: &[f32], r: &[f32]| baseline(q, r).expect("equal lengths") as f32;
            let name = format!("{DIM}/{}/simsimd/pair", distance.name);
            per_distance(&mut group, name, |n| scan_pair(n, query, rows, call));
        }
    }
}

fn scan_batch(count: u64, query: &[f32], rows: &[f32], kernels: &F32Kernels) -> u64 {
    let passes = count.div_ceil(ROWS as u64);
    let mut scores = [0.0; SCAN_BATCH];
    for _ in 0..passes {
        for block in rows.chunks(SCAN_BATCH * DIM) {
            let out = &mut scores[..block.len() / DIM];
            kernels.batch(query, block, out);
            black_box(&out);
        }
    }
    passes * ROWS as u64
}

fn scan_pair(count: u64, query: &[f32], rows: &[f32], distance: impl Fn(&[f32], &[f32]) -> f32) -> u64 {
    let passes = count.div_ceil(ROWS as u64);
    for _ in 0..passes {
        let sum: f32 = rows.chunks_exact(DIM).map(|row| distance(query, row)).sum();
        black_box(sum);
    }
    passes * ROWS as u64
}

fn gather(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gather");
    let block = random_block((ROWS + 1) * DIM);
    let (query, rows) = bytemuck::cast_slice::<u8, f32>(&block).split_at(DIM);
    let mut random = Random(7);
    let order: Vec<u32> = (0..ORDER_COUNT).map(|_| (random.next() % ROWS as u64) as u32).collect();
    let distance = &DISTANCES[0];
    for level in Kernels::available() {
        let kernels = *(distance.pick)(level);
        check(&kernels, distance.oracle, query, &rows[..5 * DIM]);
        let name = |form| format!("{DIM}/{}/{}/{form}", distance.name, level.name());
        let pair = |q: &[f32], r: &[f32]| kernels.pair(q, r);
        per_distance(&mut group, name("pair"), |n| gather_pair::<false>(n, query, rows, &order, pair));
        per_distance(&mut group, name("pair+prefetch"), |n| {
            gather_pair::<true>(n, query, rows, &order, pair)
        });
        per_distance(&mut group, name("x4+prefetch"), |n| gather_x4(n, query, rows, &order, &kernels));
    }
    let call = |q: &[f32], r: &[f32]| <f32 as SpatialSimilarity>::dot(q, r).expect("equal lengths") as f32;
    let name = format!("{DIM}/dot/simsimd/pair+prefetch");
    per_distance(&mut group, name, |n| gather_pair::<true>(n, query, rows, &order, call));
}

/// The row that `order` names at `i`, counted round the end.
fn row_at<'a>(rows: &'a [f32], order: &[u32], i: usize) -> &'a [f32] {
    &rows[order[i % ORDER_COUNT] as usize * DIM..][..DIM]
}

fn gather_pair<const PREFETCH: bool>(
    count: u64,
    query: &[f32],
    rows: &[f32],
    order: &[u32],
    distance: impl Fn(&[f32], &[f32]) -> f32,
) -> u64 {
    let mut sum = 0.0;
    for i in 0..count as usize {
        if PREFETCH {
            prefetch(row_at(rows, order, i + ROWS_AHEAD));
        }
        sum += distance(query, row_at(rows, order, i));
    }
    black_box(sum);
    count
}

fn gather_x4(count: u64, query: &[f32], rows: &[f32], order: &[u32], kernels: &F32Kernels) -> u64 {
    let calls = count.div_ceil(4);
    let mut sum = 0.0;
    for i in (0..calls as usize * 4).step_by(4) {
        for next in i + 4..i + 8 {
            prefetch(row_at(rows, order, next));
        }
        let group = std::array::from_fn(|r| row_at(rows, order, i + r));
        sum += kernels.x4(query, group)[0];
    }
    black_box(sum);
    calls * 4
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(400))
}

criterion_group! { name = kernels; config = config(); targets = hot, scan, gather }
criterion_main!(kernels);
