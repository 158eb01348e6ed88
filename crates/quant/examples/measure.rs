//! Measures codes on a set of vectors: what encoding and scoring cost, and how many true neighbours the codes find.
//!
//! ```text
//! cargo run --release -p nearfield-quant --example measure -- BASE.npy QUERIES.npy [METRIC]
//! ```
//!
//! Both files hold two-dimensional little-endian f32. The truth is computed here, exhaustively, for the first 400 queries.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool measures time and reads the files it is given by itself, below the crates that own clock and files"
)]

use std::sync::Arc;
use std::time::Instant;

use nearfield_ann::{BuildScorer, Scorer};
use nearfield_quant::{
    Codec, CodecConfig, Codes, GrowingCodes, Precision, Prepared, Quantizer, RotatedConfig, ScalarConfig,
};
use nearfield_types::{Metric, Slot};

type Failure = Box<dyn std::error::Error>;

const QUERIES: usize = 400;
const K: usize = 10;
const DEPTHS: [usize; 6] = [10, 12, 15, 20, 30, 50];
/// Slots a call of the timed scorers, as a graph asks.
const BATCH: usize = 40;

struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    fn read(path: &str) -> Result<Vectors, Failure> {
        let bytes = std::fs::read(path)?;
        let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..10 + len])?;
        let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next());
        let dim = shape.and_then(|shape| shape.split(", ").nth(1)).ok_or("no shape")?.parse()?;
        if !header.contains("'<f4'") || header.contains("'fortran_order': True") {
            return Err("not rows of little-endian f32".into());
        }
        let values = bytes[10 + len..].as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        Ok(Vectors { dim, values })
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> + Clone {
        self.values.chunks_exact(self.dim)
    }

    fn len(&self) -> usize {
        self.values.len() / self.dim
    }
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let kernels = nearfield_simd::kernels();
    match metric {
        Metric::Cosine => {
            let norms = kernels.dot().pair(a, a) * kernels.dot().pair(b, b);
            metric.distance_of(kernels.dot().pair(a, b), if norms > 0.0 { 1.0 / norms.sqrt() } else { 0.0 })
        }
        Metric::Dot => -kernels.dot().pair(a, b),
        Metric::Euclid | Metric::Manhattan => kernels.squared_l2().pair(a, b),
    }
}

/// The slots of the `count` lowest scores, best first.
fn best(scores: &[f32], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let by_score = |a: &u32, b: &u32| scores[*a as usize].total_cmp(&scores[*b as usize]).then(a.cmp(b));
    let count = count.min(order.len());
    if count < order.len() {
        order.select_nth_unstable_by(count, by_score);
    }
    order.truncate(count);
    order.sort_unstable_by(by_score);
    order
}

fn mean(metric: Metric, base: &Vectors) -> Vec<f32> {
    let mut sum = vec![0.0_f64; base.dim];
    for row in base.rows() {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = if metric == Metric::Cosine && norm > 0.0 { 1.0 / norm } else { 1.0 };
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x * scale));
    }
    sum.iter().map(|sum| (sum / base.len() as f64) as f32).collect()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

/// The best and the median of nanoseconds a slot over pieces of `count` slots: the best is what the machine can do when nobody
/// else uses it.
fn fastest(slots: &[Slot], count: usize, mut work: impl FnMut(&[Slot])) -> String {
    let mut took: Vec<f64> =
        slots.chunks(count).map(|part| seconds(|| work(part)) / part.len() as f64 * 1e9).collect();
    took.sort_unstable_by(f64::total_cmp);
    format!("{:.1} (median {:.1})", took[took.len() / 50], took[took.len() / 2])
}

fn fill(codec: &Arc<Codec>, base: &Vectors) -> (Arc<GrowingCodes>, f64) {
    let (mut writer, codes) = GrowingCodes::create(Arc::clone(codec));
    let took = seconds(|| base.rows().for_each(|row| assert!(writer.push(Some(row)).is_some())));
    (codes, took)
}

fn speed(codec: &Arc<Codec>, base: &Vectors, queries: &Vectors) -> Result<(), Failure> {
    let (codes, encoding) = fill(codec, base);
    let mut prepared = Prepared::new();
    let mut best_prepare = f64::MAX;
    for _ in 0..5 {
        let took = seconds(|| {
            queries.rows().take(QUERIES).for_each(|q| assert!(codec.prepare(q, &mut prepared).is_ok()))
        });
        best_prepare = best_prepare.min(took / QUERIES as f64);
    }
    println!(
        "  encode and push {:.2} us, prepare {:.2} us",
        encoding / base.len() as f64 * 1e6,
        best_prepare * 1e6
    );
    let mut state = 88_172_645_463_325_252_u64;
    let slots: Vec<Slot> = (0..4_000_000 / BATCH * BATCH)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Slot((state % base.len() as u64) as u32)
        })
        .collect();
    let mut out = [0.0; BATCH];
    for precision in [Precision::Coarse, Precision::Fine] {
        let mut scorer = codes.scorer(&prepared, precision);
        let random = fastest(&slots, 4000, |slots| {
            slots.chunks(BATCH).for_each(|batch| assert!(scorer.score(batch, &mut out).is_ok()));
        });
        let few: Vec<Slot> = (0..4000).map(|at| Slot(at % 32)).collect();
        let hot = fastest(&few.repeat(50), 4000, |slots| {
            slots.chunks(BATCH).for_each(|batch| assert!(scorer.score(batch, &mut out).is_ok()));
        });
        let order: Vec<Slot> = (0..base.len() as u32).map(Slot).collect();
        let mut all = vec![0.0; 4000];
        let scan = fastest(&order, 4000, |slots| {
            assert!(scorer.score_run(slots[0], &mut all[..slots.len()]).is_ok());
        });
        println!("  {precision:?}: random {random} ns, in order {scan} ns, hot {hot} ns a distance");
    }
    let mut build = codes.build_scorer(Precision::Fine);
    let aim = fastest(&slots, 1000, |slots| slots.iter().for_each(|&slot| build.aim(slot)));
    let fresh = fastest(&slots, 1000, |slots| {
        for slot in slots {
            let mut scorer = codes.scorer(&prepared, Precision::Coarse);
            assert!(scorer.score(std::slice::from_ref(slot), &mut out[..1]).is_ok());
        }
    });
    println!("  aim {aim} ns, a new scorer and its first distance {fresh} ns");
    Ok(())
}

fn recall(codes: &GrowingCodes, queries: &Vectors, truth: &[Vec<f32>]) -> Result<(), Failure> {
    for precision in [Precision::Coarse, Precision::Fine] {
        let mut found = [0_usize; DEPTHS.len()];
        let (mut squares, mut stated) = (0.0_f64, 0.0_f64);
        let mut scores = vec![0.0; codes.len() as usize];
        for (query, exact) in queries.rows().zip(truth) {
            let prepared = codes.query(query)?;
            codes.scorer(&prepared, precision).score_run(Slot(0), &mut scores)?;
            let order = best(&scores, DEPTHS[DEPTHS.len() - 1]);
            let wanted = best(exact, K);
            for (found, depth) in found.iter_mut().zip(DEPTHS) {
                *found += wanted.iter().filter(|slot| order[..depth].contains(slot)).count();
            }
            let errors = scores.iter().zip(exact).map(|(a, b)| f64::from(a - b).powi(2));
            squares += errors.sum::<f64>() / scores.len() as f64;
            stated += f64::from(codes.error_bound(&prepared, Slot(0), precision));
        }
        let shares = found.map(|found| format!("{:.4}", found as f64 / (K * truth.len()) as f64));
        let (error, stated) = ((squares / truth.len() as f64).sqrt(), stated / truth.len() as f64);
        println!(
            "  {precision:?}: error {error:.5}, stated {stated:.5}; found in {DEPTHS:?}: {}",
            shares.join(" ")
        );
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: measure BASE.npy QUERIES.npy [cosine|dot|euclid]";
    let base = Vectors::read(&arguments.next().ok_or(usage)?)?;
    let queries = Vectors::read(&arguments.next().ok_or(usage)?)?;
    let metric: Metric = arguments.next().as_deref().unwrap_or("cosine").parse()?;
    let dim = base.dim as u32;
    println!(
        "{} x {dim}, {metric}, {} queries, {}",
        base.len(),
        QUERIES.min(queries.len()),
        nearfield_simd::kernels().name()
    );
    let truth: Vec<Vec<f32>> = queries
        .rows()
        .take(QUERIES)
        .map(|q| base.rows().map(|row| distance(metric, q, row)).collect())
        .collect();
    for (rotated, centred) in [(true, false), (false, false), (true, true), (false, true)] {
        let mean = if centred { mean(metric, &base) } else { Vec::new() };
        let config = RotatedConfig { dim, metric, epoch: 0, seed: rotated.then_some(7), mean };
        let codec = Arc::new(Codec::new(CodecConfig::Rotated(config))?);
        println!("rotation {rotated}, centring {centred}, {} bytes a vector", codec.layout().bytes());
        speed(&codec, &base, &queries)?;
        recall(&fill(&codec, &base).0, &queries, &truth)?;
    }
    let config = ScalarConfig::from_sample(dim, metric, 0.99, base.rows().step_by(37));
    let codec = Arc::new(Codec::new(CodecConfig::Scalar(config))?);
    println!("scalar {} to {}, {} bytes a vector", config.lower, config.upper, codec.layout().bytes());
    speed(&codec, &base, &queries)?;
    recall(&fill(&codec, &base).0, &queries, &truth)
}
