//! f32 arithmetic that is the same at every level: plain Rust, written once and compiled anew by each level for its registers.
//!
//! It refuses `core::arch` and fused multiply-add. Each element is computed by itself, and sums are kept in [`LANES`] lanes and
//! joined in one order, so the width of the registers cannot show in a result.

use crate::code_kernels::{Centred, Encoded, Quantized};

/// Partial sums of every reduction.
const LANES: usize = 16;

/// Adding it to a value of 0 to 2^22 leaves the value, rounded to even, in the low bits.
const UNSIGNED_ROUND: f32 = 8_388_608.0;
/// As above for values of either sign.
const SIGNED_ROUND: f32 = 12_582_912.0;

#[inline(always)]
pub(crate) fn butterflies(low: &mut [f32], high: &mut [f32], scale: f32) {
    for (l, h) in low.iter_mut().zip(high) {
        let (a, b) = (*l, *h);
        *l = (a + b) * scale;
        *h = (a - b) * scale;
    }
}

/// All stages from stride `first` on.
#[inline(always)]
pub(crate) fn hadamard_from(values: &mut [f32], first: usize) {
    let mut stride = first;
    while stride < values.len() {
        for block in values.chunks_exact_mut(2 * stride) {
            let (low, high) = block.split_at_mut(stride);
            for (l, h) in low.iter_mut().zip(high) {
                let (a, b) = (*l, *h);
                *l = a + b;
                *h = a - b;
            }
        }
        stride *= 2;
    }
}

#[inline(always)]
pub(crate) fn quantize(values: &[f32], out: &mut [i8]) -> Quantized {
    let mut most = [0.0_f32; LANES];
    let (steps, rest) = values.as_chunks::<LANES>();
    for step in steps {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], step[lane].abs());
        }
    }
    for (most, value) in most.iter_mut().zip(rest) {
        *most = larger(*most, value.abs());
    }
    let most = most.into_iter().fold(0.0, larger);
    if most == 0.0 {
        out.fill(0);
        return Quantized { step: 0.0, sum: 0 };
    }
    let scale = 127.0 / most;
    let mut sum = 0_i32;
    for (code, value) in out.iter_mut().zip(values) {
        let rounded = (value * scale + SIGNED_ROUND).to_bits() as i8;
        *code = rounded;
        sum += i32::from(rounded);
    }
    Quantized { step: most / 127.0, sum }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
pub(crate) fn encode_u8(values: &[f32], scale: f32, out: &mut [u8]) -> Encoded {
    for (code, value) in out.iter_mut().zip(values) {
        let scaled = value * scale + 127.5;
        let limited = if scaled > 0.0 { scaled } else { 0.0 };
        let limited = if limited < 255.0 { limited } else { 255.0 };
        *code = (limited + UNSIGNED_ROUND).to_bits() as u8;
    }
    let (mut fine, mut coarse) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (value_steps, value_rest) = values.as_chunks::<LANES>();
    let (code_steps, code_rest) = out.as_chunks::<LANES>();
    for (values, codes) in value_steps.iter().zip(code_steps) {
        for lane in 0..LANES {
            fine[lane] += values[lane] * (f32::from(codes[lane]) - 127.5);
            coarse[lane] += values[lane] * (f32::from(codes[lane] >> 4) - 7.5);
        }
    }
    for (lane, (&value, &code)) in value_rest.iter().zip(code_rest).enumerate() {
        fine[lane] += value * (f32::from(code) - 127.5);
        coarse[lane] += value * (f32::from(code >> 4) - 7.5);
    }
    Encoded { fine: join(fine), coarse: join(coarse) }
}

#[inline(always)]
fn join(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

#[inline(always)]
pub(crate) fn centre_nibbles(high: &[u8], low: &[u8], out: &mut [i8]) -> Centred {
    let (first, second) = out.split_at_mut(high.len());
    let nibbles = high.iter().zip(low);
    for ((&h, &l), (first, second)) in nibbles.zip(first.iter_mut().zip(second.iter_mut())) {
        *first = towards_zero((h << 4) | (l & 15));
        *second = towards_zero((h & 0xf0) | (l >> 4));
    }
    let mut found = Centred { sum: 0, sum_absolute: 0, sum_squares: 0 };
    for &value in out.iter() {
        let value = i32::from(value);
        found.sum += value;
        found.sum_absolute += value.abs();
        found.sum_squares += value * value;
    }
    found
}

/// `code - 127.5` without its half.
#[inline(always)]
fn towards_zero(code: u8) -> i8 {
    let value = (code ^ 0x80) as i8;
    value - (value >> 7)
}
