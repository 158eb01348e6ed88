//! Which precision suits vectors, decided by a pure function of what they are and a sample of them.
//!
//! It refuses to measure recall and to be clever: a wrong choice costs memory or speed, never an answer.

use nearfield_types::Metric;

use crate::lanes::normalize;
use crate::{Codec, CodecConfig, Quantizer, RotatedConfig};

/// Below this dimension codes save little, and their errors are large.
const DIM_MIN: u32 = 32;
/// Fewer vectors say too little of where the middle is.
const SAMPLE_MIN: usize = 64;
/// A mean is taken off where it leaves at most this share of the mean square: less would not pay for the factor a row.
const CENTRED_MAX: f64 = 0.9;

/// What a segment's vectors are searched by.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The vectors themselves.
    Exact,
    /// Codes of this codec.
    Codec(CodecConfig),
}

/// Chooses for vectors of `dim` values of `element_bytes` bytes each, of which `sample` shows some.
///
/// Manhattan distances, dimensions below 32 and vectors that codes would not make smaller are searched exactly; everything else
/// by rotated codes with this seed and epoch. The mean of the sample is taken off where that shortens vectors noticeably; with
/// fewer than 64 vectors it is not.
///
/// ```
/// use nearfield_quant::{Choice, CodecConfig, choose};
/// use nearfield_types::Metric;
///
/// let sample: Vec<[f32; 64]> = (0..100).map(|i| [1.0 + (i % 7) as f32; 64]).collect();
/// let rows = || sample.iter().map(|row| &row[..]);
/// let Choice::Codec(CodecConfig::Rotated(config)) = choose(Metric::Euclid, 4, 64, rows(), 1, 0) else { panic!() };
/// assert_eq!(config.mean.len(), 64);
/// assert_eq!(choose(Metric::Manhattan, 4, 64, rows(), 1, 0), Choice::Exact);
/// ```
///
/// # Complexity
///
/// O(values of the sample).
pub fn choose<'r>(
    metric: Metric,
    element_bytes: usize,
    dim: u32,
    sample: impl IntoIterator<Item = &'r [f32]>,
    seed: u64,
    epoch: u32,
) -> Choice {
    if metric == Metric::Manhattan || dim < DIM_MIN {
        return Choice::Exact;
    }
    let mean = useful_mean(metric, dim as usize, sample).unwrap_or_default();
    let config = CodecConfig::Rotated(RotatedConfig { dim, metric, epoch, seed: Some(seed), mean });
    match Codec::new(config) {
        Ok(codec) if codec.layout().bytes() < element_bytes * dim as usize => Choice::Codec(codec.config()),
        _ => Choice::Exact,
    }
}

/// The mean of the sample, where it is worth taking off.
fn useful_mean<'r>(
    metric: Metric,
    dim: usize,
    sample: impl IntoIterator<Item = &'r [f32]>,
) -> Option<Vec<f32>> {
    let (mut sums, mut squares, mut count) = (vec![0.0_f64; dim], 0.0_f64, 0_usize);
    let mut row = Vec::new();
    for given in sample.into_iter().filter(|row| row.len() == dim) {
        row.clear();
        row.extend_from_slice(given);
        if metric == Metric::Cosine {
            normalize(&mut row);
        }
        for (sum, &value) in sums.iter_mut().zip(&row) {
            *sum += f64::from(value);
            squares += f64::from(value) * f64::from(value);
        }
        count += 1;
    }
    if count < SAMPLE_MIN {
        return None;
    }
    let inverse = 1.0 / count as f64;
    let mean_square: f64 = sums.iter().map(|sum| (sum * inverse).powi(2)).sum();
    let left = squares * inverse - mean_square;
    let mean: Vec<f32> = sums.iter().map(|sum| (sum * inverse) as f32).collect();
    (left < CENTRED_MAX * squares * inverse && mean.iter().all(|value| value.is_finite())).then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(metric: Metric, dim: u32, shift: f32, count: u32) -> Choice {
        let rows: Vec<Vec<f32>> = (0..count)
            .map(|i| {
                (0..dim).map(|j| ((i * 7919 + j * 104_729) % 211) as f32 / 105.0 - 1.0 + shift).collect()
            })
            .collect();
        choose(metric, 4, dim, rows.iter().map(|row| &row[..]), 3, 5)
    }

    fn has_mean(choice: Choice) -> bool {
        let Choice::Codec(CodecConfig::Rotated(config)) = choice else { panic!("{choice:?}") };
        assert_eq!((config.seed, config.epoch), (Some(3), 5));
        !config.mean.is_empty()
    }

    #[test]
    fn a_common_part_is_taken_off() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::Euclid] {
            assert!(has_mean(chosen(metric, 48, 2.0, 200)));
            assert!(!has_mean(chosen(metric, 48, 0.0, 200)));
            assert!(!has_mean(chosen(metric, 48, 2.0, 63)));
        }
        assert!(!has_mean(chosen(Metric::Dot, 48, 0.0, 0)));
    }

    #[test]
    fn what_codes_do_not_help_stays_exact() {
        assert_eq!(chosen(Metric::Manhattan, 768, 0.0, 100), Choice::Exact);
        assert_eq!(chosen(Metric::Dot, 31, 0.0, 100), Choice::Exact);
        assert!(!has_mean(chosen(Metric::Dot, 32, 0.0, 100)));
        let one_byte = choose(Metric::Dot, 1, 768, [], 3, 5);
        assert_eq!(one_byte, Choice::Exact);
        assert_eq!(choose(Metric::Dot, 4, 70_000, [], 3, 5), Choice::Exact);
    }
}
