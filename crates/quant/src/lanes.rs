//! Sums and scales that are the same on every processor: fixed lanes, joined in one order.
//!
//! It refuses the distance kernels, whose last bits depend on the instruction set: codes must not.

/// Partial sums.
const LANES: usize = 16;
/// Magnitudes within 2^-30 to 2^30 need no scaling: squares and products of 65,536 such values fit f32.
const CALM: f32 = 1_073_741_824.0;

/// The sum of `f(i)` over both lists, in f32.
#[inline(always)]
fn sum_f32(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_steps, a_rest) = a.as_chunks::<LANES>();
    let (b_steps, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_steps.iter().zip(b_steps) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (sum, (&a, &b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += term(a, b);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// The sum of the squares. The values are calm (see [`calm`]).
pub(crate) fn squares(values: &[f32]) -> f32 {
    sum_f32(values, values, |a, b| a * b)
}

/// The inner product, in f64: nothing overflows, whatever the values.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    sums.iter().sum()
}

/// The largest magnitude; NaNs are passed over.
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut most = [0.0_f32; LANES];
    let (steps, rest) = values.as_chunks::<LANES>();
    for step in steps {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], step[lane].abs());
        }
    }
    most.into_iter().chain(rest.iter().map(|value| value.abs())).fold(0.0, larger)
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Scales the values by a power of two where their squares might not fit f32, and returns the exponent that undoes it: 0 for
/// ordinary values, which stay untouched.
pub(crate) fn calm(values: &mut [f32]) -> i32 {
    let most = largest(values);
    if most == 0.0 || (most <= CALM && most >= CALM.recip()) || !most.is_finite() {
        return 0;
    }
    let exponent = f64::from(most).log2().floor() as i32;
    // In two steps: 2^149 is no f32.
    let (half, rest) = (exponent / 2, exponent - exponent / 2);
    for value in values {
        *value = *value * power_of_two(-half) * power_of_two(-rest);
    }
    exponent
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// `value * 2^exponent` as a finite f32.
pub(crate) fn scaled(value: f64, exponent: i32) -> f32 {
    finite(value * f64::from(exponent).exp2())
}

/// The nearest finite f32; NaN stays.
pub(crate) fn finite(value: f64) -> f32 {
    let most = f64::from(f32::MAX);
    value.clamp(-most, most) as f32
}

/// Divides the values by their norm; zeros stay.
pub(crate) fn normalize(values: &mut [f32]) {
    calm(values);
    let norm = squares(values).sqrt();
    if norm > 0.0 {
        let inverse = 1.0 / norm;
        values.iter_mut().for_each(|value| *value *= inverse);
    }
}

/// `values - mean`, kept finite. An empty mean is zero.
pub(crate) fn subtract(values: &mut [f32], mean: &[f32]) {
    for (value, mean) in values.iter_mut().zip(mean) {
        *value = (*value - mean).clamp(f32::MIN, f32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_magnitudes_are_calmed_exactly() {
        for most in [f32::MAX, 1e38, 1e-38, 1e-45, 1.5e20] {
            let mut values = vec![most, most / 2.0, -most / 4.0, 0.0];
            let before = values.clone();
            let exponent = calm(&mut values);
            assert!((1.0..2.0).contains(&values[0]), "{most}: {}", values[0]);
            for (value, before) in values.iter().zip(before) {
                assert_eq!(scaled(f64::from(*value), exponent), before);
            }
        }
        let mut plain = vec![0.5, -3.0];
        assert_eq!((calm(&mut plain), plain), (0, vec![0.5, -3.0]));
    }

    #[test]
    fn norms_of_anything_become_one() {
        for scale in [1.0, 1e-44, 1e-30, 3e38] {
            let mut values: Vec<f32> = (1..40).map(|i| scale / i as f32).collect();
            normalize(&mut values);
            assert!((squares(&values) - 1.0).abs() < 1e-2, "{scale}");
        }
        let mut zeros = [0.0; 5];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0; 5]);
    }
}
