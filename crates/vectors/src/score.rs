//! From two vectors to a score, the same way everywhere.
//!
//! It refuses to know where rows lie. All stores score through [`Query`], so that equal rows have equal scores.
//!
//! Invariant: for finite vectors every score is finite and never `-0.0`.

use std::ops::RangeInclusive;

use nearfield_codec::AlignedBytes;
use nearfield_simd::F32Kernels;
use nearfield_types::{Metric, Score};

use crate::{Element, Shape, ShapeError};

/// Inverse norms for which a cosine is computed in f32. Two norms between 10^-15 and 10^15 have a product between 10^-30 and
/// 10^30: no partial sum of the dot product overflows, and what underflows is below a billionth of the result.
const INVERSE_NORMS_SAFE: RangeInclusive<f32> = 1.0e-15..=1.0e15;

/// The score of `b` against the query `a`, bit for bit as every store gives it. For oracles and single pairs.
///
/// # Errors
///
/// [`ShapeError`] where the dimensions differ or are outside the limits, or a value of `a` is not finite.
///
/// # Complexity
///
/// O(dim), with a copy of `a`.
///
/// ```
/// use nearfield_types::Metric;
/// use nearfield_vectors::distance;
///
/// assert_eq!(distance(Metric::Euclid, &[1.0, 2.0], &[4.0, 6.0])?, 25.0);
/// assert_eq!(distance(Metric::Cosine, &[1.0e30, 0.0], &[1.0e-30, 0.0])?, 0.0);
/// # Ok::<(), nearfield_vectors::ShapeError>(())
/// ```
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> Result<Score, ShapeError> {
    let dim = u32::try_from(a.len()).map_err(|_| ShapeError::Limit { dim: a.len() as u64 })?;
    let shape = Shape::new(dim, metric, Element::F32)?;
    shape.check_dim(b)?;
    Ok(Query::new(shape, a)?.row(b, stored_norm(metric, b)))
}

/// The inverse norm that is kept beside a row: that of the row for cosine, 0 otherwise.
pub(crate) fn stored_norm(metric: Metric, row: &[f32]) -> f32 {
    if metric == Metric::Cosine { inverse_norm(row) } else { 0.0 }
}

/// `1 / |row|`, computed in f64; 0 for the zero vector, at most `f32::MAX`.
pub(crate) fn inverse_norm(row: &[f32]) -> f32 {
    let squares = dot_wide(row, row);
    if squares == 0.0 { 0.0 } else { narrow(1.0 / squares.sqrt()) }
}

/// A query, ready to meet rows.
pub(crate) struct Query {
    metric: Metric,
    kernels: F32Kernels,
    /// The values, aligned so that no load of the kernels crosses a cache line.
    values: AlignedBytes,
    inverse_norm: f32,
    /// False where every pair must be computed in f64.
    is_safe: bool,
}

impl Query {
    pub(crate) fn new(shape: Shape, query: &[f32]) -> Result<Query, ShapeError> {
        shape.check(query)?;
        let (metric, table) = (shape.metric(), nearfield_simd::kernels());
        let kernels = match metric {
            Metric::Cosine | Metric::Dot => table.dot(),
            Metric::Euclid => table.squared_l2(),
            Metric::Manhattan => table.l1(),
        };
        let inverse_norm = stored_norm(metric, query);
        let is_safe = metric != Metric::Cosine || INVERSE_NORMS_SAFE.contains(&inverse_norm);
        let values = AlignedBytes::from(bytemuck::cast_slice(query));
        Ok(Query { metric, kernels: *kernels, values, inverse_norm, is_safe })
    }

    pub(crate) fn is_cosine(&self) -> bool {
        self.metric == Metric::Cosine
    }

    pub(crate) fn dim(&self) -> usize {
        self.values().len()
    }

    fn values(&self) -> &[f32] {
        bytemuck::cast_slice(&self.values)
    }

    /// The score of one row. `norm` is what [`stored_norm`] gave for it.
    pub(crate) fn row(&self, row: &[f32], norm: f32) -> Score {
        self.finish(self.kernels.pair(self.values(), row), norm, row)
    }

    /// The scores of four rows anywhere.
    pub(crate) fn four(&self, rows: [&[f32]; 4], norms: [f32; 4]) -> [Score; 4] {
        let mut scores = self.kernels.x4(self.values(), rows);
        for (at, score) in scores.iter_mut().enumerate() {
            *score = self.finish(*score, norms[at], rows[at]);
        }
        scores
    }

    /// The scores of `out.len()` rows that lie one after another; `norm(i)` belongs to the i-th.
    pub(crate) fn run(&self, rows: &[f32], norm: impl Fn(usize) -> f32, out: &mut [Score]) {
        self.kernels.batch(self.values(), rows, out);
        let rows = rows.chunks_exact(self.values().len());
        for (at, (score, row)) in out.iter_mut().zip(rows).enumerate() {
            *score = self.finish(*score, norm(at), row);
        }
    }

    /// From what a kernel computed to a score.
    #[inline]
    fn finish(&self, raw: f32, norm: f32, row: &[f32]) -> Score {
        match self.metric {
            Metric::Cosine if self.is_safe && INVERSE_NORMS_SAFE.contains(&norm) => {
                let distance = self.metric.distance_of(raw, self.inverse_norm * norm);
                // NaN, which only a stored norm that lies can give, becomes the farthest.
                if distance <= 2.0 { distance.max(0.0) } else { 2.0 }
            }
            Metric::Cosine => self.wide(row),
            _ if raw.is_finite() => self.metric.distance_of(raw, 0.0) + 0.0,
            _ => self.wide(row),
        }
    }

    /// The score by f64 arithmetic, for the few pairs that f32 cannot hold.
    #[cold]
    fn wide(&self, row: &[f32]) -> Score {
        let query = self.values();
        let pairs = || query.iter().zip(row).map(|(&q, &r)| f64::from(q) - f64::from(r));
        narrow(match self.metric {
            Metric::Cosine => {
                let norms = dot_wide(query, query).sqrt() * dot_wide(row, row).sqrt();
                let cosine = if norms == 0.0 { 0.0 } else { dot_wide(query, row) / norms };
                if cosine.is_nan() { 2.0 } else { (1.0 - cosine).clamp(0.0, 2.0) }
            }
            Metric::Dot => -dot_wide(query, row),
            Metric::Euclid => pairs().map(|difference| difference * difference).sum(),
            Metric::Manhattan => pairs().map(f64::abs).sum(),
        })
    }
}

/// Into f32, clamped to what is finite. NaN, which only rows that are not finite can give, becomes the farthest.
fn narrow(value: f64) -> f32 {
    let limit = f64::from(f32::MAX);
    if value.is_nan() { f32::MAX } else { value.clamp(-limit, limit) as f32 + 0.0 }
}

/// The dot product in f64. No sum of products of finite f32 overflows it; eight sums let the processor overlap them.
fn dot_wide(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0f64; LANES];
    let (heads, tails) = (a.chunks_exact(LANES).zip(b.chunks_exact(LANES)), (LANES * (a.len() / LANES))..);
    for (a, b) in heads {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let tail: f64 = a[tails.clone()].iter().zip(&b[tails]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    lanes.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
        distance(metric, a, b).unwrap()
    }

    #[test]
    fn ordinary_pairs() {
        let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
        assert!((score(Metric::Cosine, &a, &b) - 0.04).abs() < 1e-6);
        assert_eq!(score(Metric::Dot, &a, &b), -24.0);
        assert_eq!(score(Metric::Euclid, &a, &b), 2.0);
        assert_eq!(score(Metric::Manhattan, &a, &b), 2.0);
        assert_eq!(score(Metric::Dot, &[0.0], &[5.0]).to_bits(), 0.0f32.to_bits());
    }

    #[test]
    fn cosine_is_right_at_every_magnitude() {
        let direction = [3.0f32, -1.0, 2.0, 0.5];
        let other = [1.0f32, 1.0, -2.0, 4.0];
        let plain = score(Metric::Cosine, &direction, &other);
        for a in [1e-38, 1e-30, 1e-16, 1e-14, 1.0, 1e14, 1e16, 1e30, 8e37] {
            for b in [1e-38, 1e-30, 1e-16, 1e-14, 1.0, 1e14, 1e16, 1e30, 8e37] {
                let (x, y) = (direction.map(|v| v * a), other.map(|v| v * b));
                assert!((score(Metric::Cosine, &x, &y) - plain).abs() < 1e-6, "{a} {b}");
                let (same, opposite) = (direction.map(|v| v * b), direction.map(|v| v * -b));
                assert!(score(Metric::Cosine, &x, &same) < 1e-6, "{a} {b}");
                assert!(score(Metric::Cosine, &x, &opposite) > 2.0 - 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_zero_vector_is_at_cosine_distance_one() {
        for other in [[0.0, 0.0], [1.0, 2.0], [1e30, -1e30], [1e-40, 0.0]] {
            assert_eq!(score(Metric::Cosine, &[0.0, -0.0], &other), 1.0);
            assert_eq!(score(Metric::Cosine, &other, &[0.0, -0.0]), 1.0);
        }
    }

    #[test]
    fn overflow_keeps_the_order_and_the_sign() {
        let far = score(Metric::Euclid, &[1e19, 0.0], &[-1e19, 0.0]);
        assert_eq!(far, f32::MAX);
        assert!(score(Metric::Euclid, &[1e18, 0.0], &[-1e18, 0.0]) < far);
        assert_eq!(score(Metric::Manhattan, &[f32::MAX; 3], &[-f32::MAX; 3]), f32::MAX);
        assert_eq!(score(Metric::Dot, &[1e20; 2], &[1e20; 2]), -f32::MAX);
        assert_eq!(score(Metric::Dot, &[1e20; 2], &[-1e20; 2]), f32::MAX);
        // f32 says infinity minus infinity; the truth is a small number.
        assert_eq!(score(Metric::Dot, &[1e20, 1e20, 3.0], &[1e20, -1e20, 2.0]), -6.0);
    }

    #[test]
    fn rows_that_are_not_finite_still_have_an_order() {
        for metric in Metric::ALL {
            for row in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [f32::NEG_INFINITY, f32::INFINITY]] {
                assert!(score(metric, &[1.0, 2.0], &row).is_finite(), "{metric} {row:?}");
            }
        }
    }

    #[test]
    fn norms_are_inverse_and_finite() {
        assert_eq!(inverse_norm(&[3.0, 4.0]), 0.2);
        assert_eq!(inverse_norm(&[0.0; 9]), 0.0);
        assert_eq!(inverse_norm(&[f32::from_bits(1); 17]), f32::MAX);
        let tiny = inverse_norm(&vec![f32::MAX; 65_536]);
        assert!(tiny > 0.0 && tiny < 1e-40);
    }

    #[test]
    fn wrong_queries_are_refused() {
        assert_eq!(distance(Metric::Dot, &[], &[]), Err(ShapeError::Limit { dim: 0 }));
        let short = ShapeError::Dimension { expected: 2, found: 1 };
        assert_eq!(distance(Metric::Dot, &[1.0, 2.0], &[1.0]), Err(short));
        assert_eq!(distance(Metric::Dot, &[f32::NAN], &[1.0]), Err(ShapeError::NotFinite { at: 0 }));
    }
}
