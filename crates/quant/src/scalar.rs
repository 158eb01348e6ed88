//! The scalar code: 7 bits for each dimension, on one grid for all of them.
//!
//! It refuses to follow outlier dimensions: what lies outside the range gets its end. Its range is the caller's, commonly a
//! quantile of a sample ([`ScalarConfig::from_sample`]).
//!
//! ```text
//! code  = (o - lower) / delta, rounded, limited to 0..=127     delta = (upper - lower) / 127; for cosine, o is 1 long
//! <o, q> ~ lower * sum(q) + delta * <code, q>
//! ```
//!
//! One f32 a row stands beside the codes: |o|^2 for Euclid, 0 otherwise, NaN for a slot without a vector.

use nearfield_simd::{CODE_ALIGN, CodeKernels, kernels};
use nearfield_types::{Metric, Score};

use crate::lanes::{calm, dot, finite, largest, normalize, scaled, squares};
use crate::rotated::bound;
use crate::scorer::{Family, Reading};
use crate::{
    CodeBuffer, CodeLayout, CodeRow, CodeScorer, CodecConfig, ConfigError, Precision, Prepared, Quantizer,
    QueryError, Rows, ScalarConfig,
};

/// The largest code.
const CODE_MAX: f32 = 127.0;
/// Values of a sample that are looked at; more would not move a quantile.
const SAMPLE_VALUES_MAX: usize = 1 << 20;

/// The scalar codec of one dimension, metric and range.
#[derive(Clone, Debug)]
pub struct Scalar {
    config: ScalarConfig,
    kernels: CodeKernels,
    /// The worth of one step of a code.
    delta: f32,
}

impl ScalarConfig {
    /// The range that holds the share `quantile` of the values of the sample (of their directions, for cosine): 0.99 leaves
    /// out the lowest and the highest half percent. Of a large sample the first million values are taken.
    ///
    /// A sample without two different values gives a range around what there is.
    ///
    /// ```
    /// use nearfield_quant::ScalarConfig;
    /// use nearfield_types::Metric;
    ///
    /// let rows: Vec<[f32; 2]> = (0..=100).map(|i| [i as f32, -(i as f32)]).collect();
    /// let config = ScalarConfig::from_sample(2, Metric::Dot, 1.0, rows.iter().map(|row| &row[..]));
    /// assert_eq!((config.lower, config.upper), (-100.0, 100.0));
    /// ```
    pub fn from_sample<'r>(
        dim: u32,
        metric: Metric,
        quantile: f32,
        sample: impl IntoIterator<Item = &'r [f32]>,
    ) -> ScalarConfig {
        let mut values: Vec<f32> = Vec::new();
        for row in sample {
            let begin = values.len();
            values.extend_from_slice(row);
            if metric == Metric::Cosine {
                normalize(&mut values[begin..]);
            }
            if values.len() >= SAMPLE_VALUES_MAX {
                break;
            }
        }
        values.sort_unstable_by(f32::total_cmp);
        let tail = (1.0 - f64::from(quantile.clamp(0.0, 1.0))) / 2.0;
        let skipped = (values.len() as f64 * tail) as usize;
        let at = |at: usize| values.get(at).copied().unwrap_or(0.0);
        let (lower, upper) = (at(skipped), at(values.len().saturating_sub(skipped + 1)));
        let (lower, upper) = widened(lower, upper);
        let noise = mean_square_error(&values, lower, upper);
        ScalarConfig { dim, metric, epoch: 0, lower, upper, noise }
    }
}

/// What codes get wrong: the rounding of values within the range, and all that is cut off outside.
fn mean_square_error(values: &[f32], lower: f32, upper: f32) -> f32 {
    let (lower, upper) = (f64::from(lower), f64::from(upper));
    let outside =
        values.iter().map(|&value| (f64::from(value) - f64::from(value).clamp(lower, upper)).powi(2));
    let cut = outside.sum::<f64>() / values.len().max(1) as f64;
    finite(cut + ((upper - lower) / f64::from(CODE_MAX)).powi(2) / 12.0)
}

/// A range with an extent.
fn widened(lower: f32, upper: f32) -> (f32, f32) {
    let margin = lower.abs().max(upper.abs()).clamp(1e-20, 1e30) * 1e-3;
    if f64::from(upper) - f64::from(lower) >= f64::from(margin) {
        let limit = 1e37;
        return (lower.clamp(-limit, limit), upper.clamp(-limit, limit));
    }
    let middle = (lower / 2.0 + upper / 2.0).clamp(-1e30, 1e30);
    (middle - margin, middle + margin)
}

impl Scalar {
    /// The codec of these numbers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: ScalarConfig) -> Result<Scalar, ConfigError> {
        CodecConfig::Scalar(config).check()?;
        let extent = f64::from(config.upper) - f64::from(config.lower);
        let delta = (extent / f64::from(CODE_MAX)) as f32;
        Ok(Scalar { config, kernels: *kernels().codes(), delta })
    }

    /// Its numbers.
    pub fn config(&self) -> &ScalarConfig {
        &self.config
    }

    fn dim(&self) -> usize {
        self.config.dim as usize
    }

    fn is_euclid(&self) -> bool {
        self.config.metric == Metric::Euclid
    }

    fn times(&self) -> f32 {
        if self.is_euclid() { 2.0 } else { 1.0 }
    }

    /// Prepares the query in `out.values`.
    fn prepare_values(&self, out: &mut Prepared) {
        let values = &mut out.values;
        if self.config.metric == Metric::Cosine {
            normalize(values);
        }
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        let square = dot(values, values);
        let across = f64::from(self.config.lower) * sum;
        out.base = finite(match self.config.metric {
            Metric::Euclid => square - 2.0 * across,
            Metric::Cosine => 1.0 - across,
            Metric::Dot | Metric::Manhattan => -across,
        });
        let exponent = calm(values);
        let len = values.len();
        let values = std::mem::take(&mut out.values);
        let code = out.code_mut(len.next_multiple_of(CODE_ALIGN));
        code[len..].fill(0);
        let quantized = self.kernels.quantize(&values, &mut code[..len]);
        out.values = values;
        out.sum = quantized.sum;
        let times = f64::from(self.times());
        out.step = scaled(f64::from(quantized.step) * f64::from(self.delta) * times, exponent);
        out.quantum = scaled(f64::from(quantized.step) * times, exponent);
        out.reach = finite(square.sqrt() * times);
    }
}

impl Quantizer for Scalar {
    fn layout(&self) -> CodeLayout {
        CodeLayout { plane_bytes: self.dim().next_multiple_of(CODE_ALIGN), planes: 1, hot: 1, cold: 0 }
    }

    fn encode(&self, row: &[f32], code: &mut CodeBuffer) {
        assert_eq!(row.len(), self.dim(), "a row of another dimension than its codec");
        code.reset(&self.layout());
        let CodeBuffer { high, hot, values, .. } = code;
        values.clear();
        values.extend_from_slice(row);
        if self.config.metric == Metric::Cosine {
            normalize(values);
        }
        let (lower, inverse) = (self.config.lower, 1.0 / self.delta);
        for (code, value) in high.iter_mut().zip(values.iter()) {
            // Half up: the same everywhere, and without a call for each value.
            *code = ((value - lower) * inverse + 0.5).clamp(0.0, CODE_MAX) as u8;
        }
        if self.is_euclid() {
            let exponent = calm(values);
            hot[0] = scaled(squares(values).into(), 2 * exponent);
        }
    }

    fn prepare(&self, query: &[f32], out: &mut Prepared) -> Result<(), QueryError> {
        out.take(self.config.dim, query)?;
        self.prepare_values(out);
        Ok(())
    }

    fn prepare_code(&self, code: CodeRow<'_>, out: &mut Prepared) -> bool {
        if !code.is_present() {
            return false;
        }
        out.values.clear();
        let decoded =
            code.high.iter().take(self.dim()).map(|&c| self.config.lower + self.delta * f32::from(c));
        out.values.extend(decoded);
        self.prepare_values(out);
        true
    }

    fn scorer<'a>(&self, query: &'a Prepared, rows: Rows<'a>, precision: Precision) -> CodeScorer<'a> {
        CodeScorer::new(self.kernels, self.reading(precision), query, rows)
    }

    fn error_bound(&self, query: &Prepared, code: CodeRow<'_>, _: Precision) -> Score {
        let dim = f64::from(self.config.dim);
        let square = match self.config.metric {
            Metric::Cosine => 1.0,
            Metric::Euclid => code.hot.first().map_or(0.0, |&square| f64::from(square)),
            Metric::Dot | Metric::Manhattan => {
                dim * f64::from(largest(&[self.config.lower, self.config.upper])).powi(2)
            }
        };
        let of_codes = f64::from(query.reach).powi(2) * f64::from(self.config.noise);
        let of_query = f64::from(query.quantum).powi(2) / 12.0 * square;
        bound((of_codes + of_query).sqrt())
    }
}

impl Scalar {
    pub(crate) fn reading(&self, _: Precision) -> Reading {
        Reading { family: Family::Scalar, plane_bytes: self.layout().plane_bytes, dim: self.config.dim }
    }
}
