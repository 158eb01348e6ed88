//! The rotated nested code: 4 bits and 4 more for each dimension, and a scale that makes estimates unbiased.
//!
//! It refuses training. Its numbers are a seed and a mean, and any mean is right; a good one makes errors smaller.
//!
//! # The code of a vector o
//!
//! ```text
//! x    = rotate(o - mean)                              for cosine, o is first made 1 long
//! sig  = |x| / sqrt(dim)
//! b    = x / (3.2 sig) * 128 + 127.5, rounded, limited to 0..=255
//! high = b >> 4, low = b & 15                          two planes, in blocks (`layout`)
//! u4   = high - 7.5, u8 = (b - 127.5) / 16             both in steps of 4 bits
//! s4   = |x|^2 / <x, u4>, s8 = |x|^2 / <x, u8>         so that <x, s4 u4> = <x, s8 u8> = |x|^2
//! ```
//!
//! # The score of a query q
//!
//! With y = rotate(q - mean), kept in signed bytes, `<x, y> ~ s4 <u4, y>`, and by the metric:
//!
//! ```text
//! cosine   1 - <o, q> = (1 - <mean, q>) - <o - mean, mean> - <x, y>        both of length 1
//! dot        - <o, q> =    (-<mean, q>) - <o - mean, mean> - <x, y>
//! Euclid   |o - q|^2  =           |y|^2 + |x|^2             - 2 <x, y>
//!                           the query's    the row's
//! ```
//!
//! So the query is centred for every metric: the error is a share of |o - mean| |q - mean|. The row's part is a second hot
//! factor, which a codec without a mean does not need for cosine and dot.

use nearfield_simd::{CodeKernels, kernels};
use nearfield_types::{Metric, Score};

use crate::lanes::{calm, dot, finite, normalize, scaled, squares, subtract};
use crate::layout::{arrange, padded, split};
use crate::scorer::{Family, Reading};
use crate::{
    CodeBuffer, CodeLayout, CodeRow, CodeScorer, CodecConfig, ConfigError, Precision, Prepared, Quantizer,
    QueryError, RotatedConfig, Rotation, Rows,
};

/// The range of a code in standard deviations.
const CLIP: f32 = 3.2;
/// What padding dimensions get: the query's bytes are zero there, and so is this code as a query.
const PADDING: u8 = 128;
/// The mean squared error of a rotated coordinate, as a share of its variance: 18.65 dB and 36.3 dB.
const NOISE_COARSE: f32 = 0.013_65;
const NOISE_FINE: f32 = 0.000_234;
/// Standard deviations in the stated error.
const DEVIATIONS: f32 = 1.9;
/// The worth of a step of `u4` in standard deviations is about this: codes are `CLIP * 2 / 16` wide.
const STEP: f32 = 2.0 * CLIP / 16.0;

/// The rotated nested codec of one dimension, metric, seed and mean.
#[derive(Clone, Debug)]
pub struct Rotated {
    config: RotatedConfig,
    rotation: Rotation,
    kernels: CodeKernels,
    /// `|mean|^2`.
    mean_square: f64,
}

impl Rotated {
    /// The codec of these numbers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    ///
    /// # Complexity
    ///
    /// O(dim), and 16 bytes a dimension where there is a rotation.
    pub fn new(config: RotatedConfig) -> Result<Rotated, ConfigError> {
        let config = CodecConfig::Rotated(config);
        config.check()?;
        let CodecConfig::Rotated(mut config) = config else { unreachable!("made a line above") };
        // A mean of zeros is none: it would only cost a factor.
        if config.mean.iter().all(|&value| value == 0.0) {
            config.mean = Vec::new();
        }
        let rotation = Rotation::new(config.dim as usize, config.seed);
        let mean_square = dot(&config.mean, &config.mean);
        Ok(Rotated { config, rotation, kernels: *kernels().codes(), mean_square })
    }

    /// Its numbers.
    pub fn config(&self) -> &RotatedConfig {
        &self.config
    }

    fn dim(&self) -> usize {
        self.config.dim as usize
    }

    fn is_euclid(&self) -> bool {
        self.config.metric == Metric::Euclid
    }

    /// True where rows have a part of their own in the score.
    fn has_offset(&self) -> bool {
        self.is_euclid() || !self.config.mean.is_empty()
    }

    /// How often the inner product counts.
    fn times(&self) -> f32 {
        if self.is_euclid() { 2.0 } else { 1.0 }
    }

    /// The length of `x` of a row, from its scale.
    fn length(&self, scale: f32) -> f32 {
        scale / STEP * (self.config.dim as f32).sqrt()
    }
}

impl Quantizer for Rotated {
    fn layout(&self) -> CodeLayout {
        let hot = if self.has_offset() { 2 } else { 1 };
        CodeLayout { plane_bytes: padded(self.dim()) / 2, planes: 2, hot, cold: 1 }
    }

    fn encode(&self, row: &[f32], code: &mut CodeBuffer) {
        assert_eq!(row.len(), self.dim(), "a row of another dimension than its codec");
        code.reset(&self.layout());
        let CodeBuffer { high, low, hot, cold, values, codes } = code;
        values.clear();
        values.extend_from_slice(row);
        if self.config.metric == Metric::Cosine {
            normalize(values);
        }
        subtract(values, &self.config.mean);
        let along_mean = dot(values, &self.config.mean);
        let exponent = calm(values);
        self.rotation.apply_with(&self.kernels, values);
        let square = squares(values);
        codes.clear();
        codes.resize(padded(self.dim()), PADDING);
        let (mut coarse, mut fine) = (0.0, 0.0);
        if square > 0.0 {
            let to_codes = 128.0 / CLIP / (square / self.config.dim as f32).sqrt();
            let sums = self.kernels.encode_u8(values, to_codes, &mut codes[..row.len()]);
            coarse = scaled(f64::from(square) / f64::from(sums.coarse), exponent);
            fine = scaled(16.0 * f64::from(square) / f64::from(sums.fine), exponent);
        }
        split(codes, high, low);
        cold[0] = fine;
        hot[0] = coarse;
        if let Some(offset) = hot.get_mut(1) {
            let own =
                if self.is_euclid() { scaled(square.into(), 2 * exponent) } else { finite(-along_mean) };
            *offset = own;
        }
    }

    fn prepare(&self, query: &[f32], out: &mut Prepared) -> Result<(), QueryError> {
        out.take(self.config.dim, query)?;
        let values = &mut out.values;
        if self.config.metric == Metric::Cosine {
            normalize(values);
        }
        let along_mean = dot(values, &self.config.mean);
        subtract(values, &self.config.mean);
        let exponent = calm(values);
        self.rotation.apply_with(&self.kernels, values);
        let square = f64::from(squares(values));
        out.base = match self.config.metric {
            Metric::Euclid => scaled(square, 2 * exponent),
            Metric::Cosine => finite(1.0 - along_mean),
            Metric::Dot | Metric::Manhattan => finite(-along_mean),
        };
        out.codes.clear();
        out.codes.resize(padded(query.len()), 0);
        let quantized = self.kernels.quantize(values, &mut out.codes[..query.len()]);
        let codes = std::mem::take(&mut out.codes);
        arrange(&codes, out.code_mut(codes.len()));
        out.codes = codes;
        out.sum = quantized.sum;
        out.step = scaled(f64::from(quantized.step * self.times()), exponent);
        out.quantum = out.step;
        out.reach = scaled(square.sqrt() * f64::from(self.times()), exponent);
        Ok(())
    }

    fn prepare_code(&self, code: CodeRow<'_>, out: &mut Prepared) -> bool {
        let (Some(&scale), true) = (code.cold.first(), code.is_present()) else { return false };
        let offset = code.hot.get(1).copied().unwrap_or(0.0);
        out.base = match self.config.metric {
            Metric::Euclid => offset,
            // <mean, o> = |mean|^2 + <o - mean, mean>
            Metric::Cosine => finite(1.0 - self.mean_square + f64::from(offset)),
            Metric::Dot | Metric::Manhattan => finite(f64::from(offset) - self.mean_square),
        };
        let (high, low) = (code.high, code.low);
        let centred = self.kernels.centre_nibbles(high, low, out.code_mut(2 * high.len()));
        // A code is its byte and a half away from zero. Along the bytes that half is worth this much.
        let squares = f64::from(centred.sum_squares.max(1));
        let longer = 1.0 + 0.5 * f64::from(centred.sum_absolute) / squares;
        out.sum = centred.sum;
        out.step = finite(f64::from(scale) / 16.0 * longer * f64::from(self.times()));
        out.quantum = out.step;
        out.reach = self.length(scale) * self.times();
        true
    }

    fn scorer<'a>(&self, query: &'a Prepared, rows: Rows<'a>, precision: Precision) -> CodeScorer<'a> {
        CodeScorer::new(self.kernels, self.reading(precision), query, rows)
    }

    fn error_bound(&self, query: &Prepared, code: CodeRow<'_>, precision: Precision) -> Score {
        let (scale, noise) = match precision {
            Precision::Coarse => (code.hot.first(), NOISE_COARSE),
            Precision::Fine => (code.cold.first(), NOISE_FINE),
        };
        let deviation = query.deviation(self.config.dim, noise) * f64::from(scale.copied().unwrap_or(0.0));
        bound(deviation)
    }
}

/// The stated error for a standard deviation. Factors of a damaged file may give none: then nothing is known.
pub(crate) fn bound(deviation: f64) -> Score {
    if deviation.is_nan() { Score::MAX } else { finite(f64::from(DEVIATIONS) * deviation) }
}

impl Prepared {
    /// The standard deviation of the score of a row of scale 1.
    fn deviation(&self, dim: u32, noise: f32) -> f64 {
        let of_codes = f64::from(self.reach).powi(2) * f64::from(noise);
        let of_query = f64::from(self.quantum).powi(2) / 12.0 * f64::from(dim);
        (of_codes + of_query).sqrt() / f64::from(STEP)
    }

    /// How far the coarse score of a row of scale 1 is above the fine one at most, but for one in 700.
    pub(crate) fn slack(&self, dim: u32) -> f32 {
        finite(3.0 * self.deviation(dim, NOISE_COARSE))
    }
}

impl Rotated {
    pub(crate) fn reading(&self, precision: Precision) -> Reading {
        let family = match (precision, self.has_offset()) {
            (Precision::Coarse, false) => Family::Coarse,
            (Precision::Coarse, true) => Family::CoarseWithOffset,
            (Precision::Fine, false) => Family::Fine,
            (Precision::Fine, true) => Family::FineWithOffset,
        };
        Reading { family, plane_bytes: padded(self.dim()) / 2, dim: self.config.dim }
    }
}
