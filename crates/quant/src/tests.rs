//! Codes against plain f64 arithmetic, against one another and against damage.

mod bounds;
mod files;
mod stores;

use std::sync::Arc;

use nearfield_types::{Metric, Slot};
use proptest::prelude::*;

use crate::{Codec, CodecConfig, Codes, GrowingCodes, Precision, RotatedConfig, ScalarConfig};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclid];
const PRECISIONS: [Precision; 2] = [Precision::Coarse, Precision::Fine];

type Rows = Vec<Option<Vec<f32>>>;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normally distributed.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

/// The distance by its definition, in f64.
fn naive(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    match metric {
        Metric::Cosine if norm(a) * norm(b) == 0.0 => 1.0,
        Metric::Cosine => 1.0 - dot / (norm(a) * norm(b)),
        Metric::Dot => -dot,
        Metric::Euclid | Metric::Manhattan => pairs().map(|(x, y)| (x - y).powi(2)).sum(),
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn rotated(dim: usize, metric: Metric, seed: Option<u64>, mean: Vec<f32>) -> Arc<Codec> {
    let config = RotatedConfig { dim: dim as u32, metric, epoch: 3, seed, mean };
    Arc::new(Codec::new(CodecConfig::Rotated(config)).unwrap())
}

fn scalar(dim: usize, metric: Metric, quantile: f32, rows: &Rows) -> Arc<Codec> {
    let sample = rows.iter().flatten().map(|row| &row[..]);
    let config = ScalarConfig::from_sample(dim as u32, metric, quantile, sample);
    Arc::new(Codec::new(CodecConfig::Scalar(config)).unwrap())
}

/// One codec of every kind for these rows.
fn codecs(dim: usize, metric: Metric, rows: &Rows) -> Vec<Arc<Codec>> {
    let mean: Vec<f32> = (0..dim).map(|i| ((i * 7 % 11) as f32 - 5.0) * 0.02).collect();
    vec![
        rotated(dim, metric, Some(9), vec![]),
        rotated(dim, metric, None, vec![]),
        rotated(dim, metric, Some(9), mean),
        scalar(dim, metric, 0.99, rows),
    ]
}

fn grow(codec: &Arc<Codec>, rows: &Rows) -> Arc<GrowingCodes> {
    let (mut writer, codes) = GrowingCodes::create(Arc::clone(codec));
    for (slot, row) in rows.iter().enumerate() {
        assert_eq!(writer.push(row.as_deref()), Some(Slot(slot as u32)));
    }
    assert_eq!(codes.len() as usize, rows.len());
    codes
}

/// Ordinary values, and those at which f32 overflows, vanishes or changes sign.
fn value() -> impl Strategy<Value = f32> {
    let odd = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        1e-45,
        1e-38,
        -1e-20,
        1e15,
        1e19,
        -1e30,
        f32::MAX,
        f32::MIN,
    ]);
    prop_oneof![12 => -4.0f32..4.0, 1 => odd]
}

/// A vector of one of the kinds that codes must bear.
fn row(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    let gaussian = any::<u64>().prop_map(move |seed| Random(seed).vector(dim));
    let clustered = (0..4u64, any::<u64>()).prop_map(move |(centre, seed)| {
        let (centre, mut own) = (Random(centre).vector(dim), Random(seed));
        centre.iter().map(|x| x + 0.1 * own.normal()).collect::<Vec<f32>>()
    });
    let one_hot = (0..dim, -3.0f32..3.0).prop_map(move |(at, value)| {
        let mut row = vec![0.0; dim];
        row[at] = value;
        row
    });
    let scale = prop::sample::select(vec![0.0, 1.0, -2.5, 1e-40, 1e-30, 1e-18, 1e18, 1e30, f32::MAX]);
    let constant = scale.prop_map(move |value| vec![value; dim]);
    let odd = prop::collection::vec(value(), dim);
    prop_oneof![4 => gaussian, 2 => clustered, 1 => one_hot, 1 => constant, 1 => odd]
}

/// A dimension with some rows, and a query.
fn rows_and_query() -> impl Strategy<Value = (usize, Rows, Vec<f32>)> {
    let dim = prop_oneof![1usize..8, 30usize..36, 60usize..70, 126usize..132, Just(384)];
    dim.prop_flat_map(|dim| {
        let rows = prop::collection::vec(prop::option::weighted(0.9, row(dim)), 0..70);
        (Just(dim), rows, row(dim))
    })
}
