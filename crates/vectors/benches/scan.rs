//! Exact search over the whole of a sealed store in memory, against plainly reading the same bytes.
//!
//! One thread; 116,659 rows of 384 dimensions, 179 MB, more than a last-level cache holds. Beside criterion's figures it prints
//! the ratio of each scan to the floor, taken alternately so that both see the same machine. The goal is at most 1.3. Every
//! scan checks its answer: a row that was planted must come first.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use nearfield_ann::{AdmitAll, Budget, BySlot, Flat, Scratch, Search, TopK, VectorIndex};
use nearfield_codec::Region;
use nearfield_platform::MappedBlob;
use nearfield_types::{Metric, Slot};
use nearfield_vectors::{Element, GrowingRows, RowsWriter, SealedRows, Shape, VectorStore, format};

const ROWS: u32 = 116_659;
const DIM: u32 = 384;
const PLANTED: u32 = 77_777;
const ROUNDS: usize = 21;

/// Values that look like those of an embedding and are the same everywhere.
fn rows() -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..ROWS as usize * DIM as usize).map(|_| next()).collect()
}

fn shape(metric: Metric) -> Shape {
    Shape::new(DIM, metric, Element::F32).expect("the dimension is within the limits")
}

fn seal(metric: Metric, rows: &[f32]) -> SealedRows {
    let mut writer = RowsWriter::new(Vec::new(), shape(metric)).expect("memory takes all");
    writer.push_rows(rows).expect("whole rows");
    let (bytes, _) = writer.finish().expect("memory takes all");
    let blob = MappedBlob::open(Region::from(bytes), format::TAG).expect("just written");
    let sealed = SealedRows::open(Arc::new(blob), shape(metric), ROWS).expect("just written");
    sealed.verify().expect("just written");
    sealed
}

fn grow(metric: Metric, rows: &[f32]) -> Arc<GrowingRows> {
    let (mut writer, growing) = GrowingRows::create(shape(metric));
    for row in rows.chunks_exact(DIM as usize) {
        writer.push(Some(row)).expect("rows of the right dimension");
    }
    growing
}

/// The ten nearest; the planted row is its own query.
fn scan(store: &dyn VectorStore, query: &[f32], scratch: &mut Scratch) {
    let mut scorer = store.scorer(query).expect("a row of the store");
    let (mut best, budget) = (TopK::new(10, &BySlot), Budget::unlimited());
    let search = Search::new(&mut *scorer, &AdmitAll, &budget);
    Flat::new(store.len()).search(search, scratch, &mut best).expect("nothing is damaged");
    assert_eq!(best.into_sorted()[0].slot, Slot(PLANTED));
}

/// Reads every byte once: the floor under whatever looks at all rows.
fn read(rows: &[f32]) -> u64 {
    const LANES: usize = 32;
    let words: &[u64] = bytemuck::cast_slice(rows);
    let mut lanes = [0u64; LANES];
    let mut chunks = words.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(chunks.remainder()).fold(0, |sum, word| sum.wrapping_add(*word))
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Prints what each scan costs in units of the floor.
fn ratios(rows: &[f32], query: &[f32], stores: &[(String, &dyn VectorStore)]) {
    let gigabytes = size_of_val(rows) as f64 / 1e9;
    let mut scratch = Scratch::new();
    println!("\nscan of {ROWS} x {DIM}, one thread, median of {ROUNDS}");
    println!("{:<20} {:>9} {:>9} {:>7}", "", "ms", "GB/s", "ratio");
    for (name, store) in stores {
        let (mut floors, mut scans) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            floors.push(seconds(|| {
                black_box(read(black_box(rows)));
            }));
            scans.push(seconds(|| scan(*store, query, &mut scratch)));
        }
        let (floor, time) = (median(floors), median(scans));
        println!("{:<20} {:>9.2} {:>9.2}", "floor", floor * 1e3, gigabytes / floor);
        println!("{name:<20} {:>9.2} {:>9.2} {:>7.2}", time * 1e3, gigabytes / time, time / floor);
    }
}

fn main() {
    let rows = rows();
    let query = &rows[PLANTED as usize * DIM as usize..][..DIM as usize];
    // The planted row is not the best under the dot product, where length counts; cosine runs the same kernel.
    let metrics = [Metric::Cosine, Metric::Euclid, Metric::Manhattan];
    let sealed: Vec<SealedRows> = metrics.iter().map(|&metric| seal(metric, &rows)).collect();
    let growing = grow(Metric::Cosine, &rows);
    let mut stores: Vec<(String, &dyn VectorStore)> = sealed
        .iter()
        .map(|store| (format!("sealed {}", store.shape().metric()), store as &dyn VectorStore))
        .collect();
    stores.push(("growing cosine".to_owned(), &*growing));

    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Bytes(size_of_val(rows.as_slice()) as u64));
    group.bench_function("floor", |bencher| bencher.iter(|| black_box(read(black_box(&rows)))));
    let mut scratch = Scratch::new();
    for (name, store) in &stores {
        group.bench_function(name, |bencher| bencher.iter(|| scan(*store, query, &mut scratch)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("64 scattered slots");
    group.throughput(Throughput::Elements(64));
    for (name, store) in &stores {
        let mut scorer = store.scorer(query).expect("a row of the store");
        let (mut slots, mut scores) = ([Slot(0); 64], [0.0; 64]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for slot in &mut slots {
                    slot.0 = (slot.0 + 70_001) % ROWS;
                }
                slots
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, slot)| slot.0 = (slot.0 + at as u32 * 997) % ROWS);
                scorer.score(&slots, &mut scores).expect("nothing is damaged");
                black_box(scores)
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Bytes(size_of_val(rows.as_slice()) as u64)).sample_size(10);
    group.bench_function("growing push", |bencher| bencher.iter(|| grow(Metric::Cosine, &rows)));
    group.bench_function("sealed file", |bencher| {
        bencher.iter(|| {
            let mut writer =
                RowsWriter::new(std::io::sink(), shape(Metric::Cosine)).expect("a sink takes all");
            writer.push_rows(&rows).expect("whole rows");
            writer.finish().expect("a sink takes all").1
        });
    });
    group.finish();
    ratios(&rows, query, &stores);
    criterion.final_summary();
}
