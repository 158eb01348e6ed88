//! The oracle: each distance as its definition says, in f64, with the error bound a kernel must keep; sums over codes in 64 bits.
//!
//! It refuses to be fast. It is public so that the tests of upper crates need no second copy; no query runs through it.
//!
//! # The stated tolerance
//!
//! Let `u = 2^-24` be the rounding unit of f32 and `S` the sum of the absolute values of the terms. A kernel with `L` partial
//! sums adds at most `n / L` terms into each and joins them in `log2 L` further additions; a term is at most four roundings
//! away from the truth (`(q - r)^2`: two for the subtraction squared, one for the product, one for the sum). Since each
//! rounding errs by at most `u` relative to partial sums that never exceed `S`, the result errs by at most
//! `(n / L + log2 L + 4) u S` to first order. Every level has at least 16 partial sums and at most 64, which gives
//! [`tolerance`]: `(n / 16 + 12) u S`, plus one smallest subnormal per term for underflow. Second-order terms are below the
//! difference between `n / 16 + 12` and the true count for every dimension a collection can have.

/// The dot product, the sum of `q * r`.
///
/// # Panics
///
/// As all functions here, if the lengths differ.
pub fn dot(query: &[f32], row: &[f32]) -> f64 {
    terms(query, row, |q, r| q * r).sum()
}

/// The squared Euclidean distance, the sum of `(q - r)^2`.
pub fn squared_l2(query: &[f32], row: &[f32]) -> f64 {
    terms(query, row, |q, r| (q - r) * (q - r)).sum()
}

/// The Manhattan distance, the sum of `|q - r|`.
pub fn l1(query: &[f32], row: &[f32]) -> f64 {
    terms(query, row, |q, r| (q - r).abs()).sum()
}

/// The sum of `|q * r|`, to which [`tolerance`] of a dot product relates. For the other two distances it is the distance.
pub fn absolute_dot(query: &[f32], row: &[f32]) -> f64 {
    terms(query, row, |q, r| (q * r).abs()).sum()
}

/// How far a kernel's finite value may be from the exact one: `dim` terms whose absolute values add up to `magnitude`.
///
/// ```
/// use nearfield_simd::{kernels, reference};
/// let (q, r) = ([0.1_f32, 0.2, 0.3], [0.3_f32, -0.2, 0.1]);
/// let error = f64::from(kernels().dot().pair(&q, &r)) - reference::dot(&q, &r);
/// assert!(error.abs() <= reference::tolerance(3, reference::absolute_dot(&q, &r)));
/// ```
pub fn tolerance(dim: usize, magnitude: f64) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let smallest = f64::from(f32::from_bits(1));
    (dim as f64 / 16.0 + 12.0) * unit * magnitude + dim as f64 * smallest
}

/// What [`dot_u4i8`](crate::CodeKernels::dot_u4i8) gives for one row.
pub fn dot_u4i8(query: &[i8], row: &[u8]) -> i64 {
    assert_eq!(query.len(), 2 * row.len(), "a query has two values for each byte");
    let low = row.iter().map(|byte| byte & 15);
    let high = row.iter().map(|byte| byte >> 4);
    low.chain(high).zip(query).map(|(code, &q)| i64::from(code) * i64::from(q)).sum()
}

/// What [`dot_u7i8`](crate::CodeKernels::dot_u7i8) gives for one row.
pub fn dot_u7i8(query: &[i8], row: &[u8]) -> i64 {
    assert_eq!(query.len(), row.len(), "a query has a value for each byte");
    row.iter().zip(query).map(|(&code, &q)| i64::from(code) * i64::from(q)).sum()
}

/// The Walsh-Hadamard transform by its definition: value `i` of the result adds or subtracts value `j` as the bits that `i` and
/// `j` share are even or odd in number. O(n^2).
pub fn hadamard(values: &[f32]) -> Vec<f64> {
    let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    let of = |i| values.iter().enumerate().map(|(j, &value)| sign(i, j) * f64::from(value)).sum();
    (0..values.len()).map(of).collect()
}

fn terms(query: &[f32], row: &[f32], term: impl Fn(f64, f64) -> f64) -> impl Iterator<Item = f64> {
    assert_eq!(query.len(), row.len(), "query and row differ in dimension");
    query.iter().zip(row).map(move |(&q, &r)| term(f64::from(q), f64::from(r)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions() {
        let (q, r) = ([1.0, -2.0, 3.0], [4.0, 5.0, -6.0]);
        assert_eq!(dot(&q, &r), -24.0);
        assert_eq!(absolute_dot(&q, &r), 32.0);
        assert_eq!(squared_l2(&q, &r), 9.0 + 49.0 + 81.0);
        assert_eq!(l1(&q, &r), 3.0 + 7.0 + 9.0);
        assert_eq!((dot(&[], &[]), squared_l2(&[], &[]), l1(&[], &[])), (0.0, 0.0, 0.0));
    }

    #[test]
    fn sums_over_codes() {
        assert_eq!(dot_u4i8(&[1, 2, 10, -10], &[0x31, 0xf2]), 1 + 4 + 30 - 150);
        assert_eq!(dot_u7i8(&[1, -2], &[127, 3]), 121);
        assert_eq!(hadamard(&[1.0, 2.0, 3.0, 4.0]), [10.0, -2.0, -4.0, 0.0]);
    }

    #[test]
    fn the_tolerance_is_a_few_rounding_units_of_the_magnitude() {
        assert_eq!(tolerance(0, 0.0), 0.0);
        let unit = 2f64.powi(-24);
        assert!((tolerance(1536, 2.0) / (2.0 * unit) - 108.0).abs() < 1e-6);
    }
}
