//! Nanoseconds per distance over codes, for each level, and what making codes costs.
//!
//! Each answer is checked before it is timed:
//!
//! - `hot`: rows that stay in the first-level cache, at 96 to 1,536 dimensions;
//! - `scan`: 116,659 rows of 384 dimensions in order;
//! - `gather`: the same rows in random order, in calls of 16 and of 40 as a graph makes them; the kernel prefetches;
//! - `make`: transform, quantisation and encoding of 384 values.
//!
//! One criterion iteration of the first three groups is one distance. The rows lie in huge pages where the system gives them. Run
//! pinned to one core: `taskset -c 1 cargo bench -p nearfield-simd --bench codes`.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures time itself, below the crate that owns the clock"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use nearfield_simd::{CodeKernels, Kernels, reference};

/// The size of the set that index benches use.
const ROWS: usize = 116_659;
const DIM: usize = 384;
/// Rows of a hot loop.
const HOT_ROWS: usize = 32;
/// Rows visited by the gather before the order repeats.
const ORDER_COUNT: usize = 1 << 20;
const BATCHES: [usize; 2] = [16, 40];
/// The largest batch.
const BATCH_MAX: usize = 64;

type Dot = fn(&CodeKernels, &[i8], &[&[u8]], &mut [i32]);

/// A kind of code: how it is summed, what is right, and how many dimensions a byte holds.
struct Kind {
    name: &'static str,
    dot: Dot,
    oracle: fn(&[i8], &[u8]) -> i64,
    per_byte: usize,
}

const KINDS: [Kind; 2] = [
    Kind { name: "u4i8", dot: CodeKernels::dot_u4i8, oracle: reference::dot_u4i8, per_byte: 2 },
    Kind { name: "u7i8", dot: CodeKernels::dot_u7i8, oracle: reference::dot_u7i8, per_byte: 1 },
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
}

/// Page-aligned bytes from 0 to 127, in huge pages where possible.
fn random_block(bytes: usize) -> memmap2::MmapMut {
    let mut block = memmap2::MmapMut::map_anon(bytes).expect("anonymous memory");
    #[cfg(target_os = "linux")]
    if let Err(error) = block.advise(memmap2::Advice::HugePage) {
        eprintln!("no huge pages ({error}): random access will be slower");
    }
    let mut random = Random(88_172_645_463_325_252);
    block.fill_with(|| (random.next() >> 32) as u8 & 127);
    block
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

/// Times every kind and level over `rows` rows of `dim` dimensions, visited in `order`.
fn visit(
    group: &mut BenchmarkGroup<'_, WallTime>,
    dim: usize,
    rows: usize,
    batch: usize,
    order: impl Fn(usize) -> usize,
) {
    for kind in &KINDS {
        let bytes = dim / kind.per_byte;
        let block = random_block(rows * bytes + dim);
        // Query last: the rows begin at a page, and so does the query of whole cache lines.
        let (codes, query) = block.split_at(rows * bytes);
        let query: &[i8] = bytemuck::cast_slice(query);
        for level in Kernels::available() {
            let mut out = [0; BATCH_MAX];
            let mut list: Vec<&[u8]> = Vec::with_capacity(batch);
            let mut one_batch = |begin: usize| {
                list.clear();
                list.extend((begin..begin + batch).map(|at| &codes[order(at) * bytes..][..bytes]));
                (kind.dot)(level.codes(), query, &list, &mut out[..batch]);
                i64::from(black_box(out[0]))
            };
            assert_eq!(one_batch(0), (kind.oracle)(query, &codes[order(0) * bytes..][..bytes]));
            let name = format!("{dim}/{}/{}/{batch}", kind.name, level.name());
            per_distance(group, name, |count| {
                let calls = count.div_ceil(batch as u64);
                (0..calls as usize).for_each(|call| {
                    one_batch(call * batch);
                });
                calls * batch as u64
            });
        }
    }
}

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes/hot");
    for dim in [96, 128, 384, 416, 768, 1536] {
        visit(&mut group, dim, HOT_ROWS, BATCHES[1], |at| at % HOT_ROWS);
    }
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes/scan");
    visit(&mut group, DIM, ROWS, BATCH_MAX, |at| at % ROWS);
}

fn gather(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes/gather");
    let mut random = Random(7);
    let order: Vec<u32> = (0..ORDER_COUNT).map(|_| (random.next() % ROWS as u64) as u32).collect();
    for batch in BATCHES {
        visit(&mut group, DIM, ROWS, batch, |at| order[at % ORDER_COUNT] as usize);
    }
}

fn make(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes/make");
    let mut random = Random(3);
    let values: Vec<f32> = (0..DIM).map(|_| (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect();
    for level in Kernels::available() {
        let codes = level.codes();
        let mut work = values.clone();
        group.bench_function(format!("hadamard 256/{}", level.name()), |bencher| {
            bencher.iter(|| {
                codes.hadamard(black_box(&mut work[..256]));
                work.copy_from_slice(&values);
            });
        });
        let mut signed = [0; DIM];
        group.bench_function(format!("quantize {DIM}/{}", level.name()), |bencher| {
            bencher.iter(|| codes.quantize(black_box(&values), &mut signed));
        });
        let mut unsigned = [0; DIM];
        group.bench_function(format!("encode {DIM}/{}", level.name()), |bencher| {
            bencher.iter(|| codes.encode_u8(black_box(&values), 60.0, &mut unsigned));
        });
        let (high, low) = unsigned.split_at(DIM / 2);
        group.bench_function(format!("centre {DIM}/{}", level.name()), |bencher| {
            bencher.iter(|| codes.centre_nibbles(black_box(high), low, &mut signed));
        });
    }
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(400))
}

criterion_group! { name = codes; config = config(); targets = hot, scan, gather, make }
criterion_main!(codes);
