//! The code kernels that run everywhere: plain loops that the compiler may vectorise as far as every processor of the target
//! allows.
//!
//! It refuses to prefetch by itself more than the one next row: processors without a level of their own are not tuned for.

use crate::code_kernels::{Centred, CodeKernels, Encoded, Quantized};
use crate::{elementwise, prefetch};

/// The functions of this level.
pub(crate) fn code_kernels() -> CodeKernels {
    CodeKernels {
        dot_u4i8,
        dot_u4i8_at,
        dot_u7i8,
        hadamard,
        butterflies,
        quantize,
        encode_u8,
        centre_nibbles,
    }
}

/// # Safety
///
/// `query` points to two values for each byte of a row; rows have one length, and there are as many as in `out`.
unsafe fn dot_u4i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    let bytes = rows.first().map_or(0, |row| row.len());
    // SAFETY: as this function's.
    let (low, high) = unsafe { super::bytes_at(query, 2 * bytes) }.split_at(bytes);
    for_each(rows, out, |row| {
        let sums = row.iter().zip(low.iter().zip(high));
        sums.map(|(&code, (&l, &h))| product(code & 15, l) + product(code >> 4, h)).sum()
    });
}

/// # Safety
///
/// As [`dot_u4i8`], for rows of `bytes` bytes at these multiples of `bytes` from `plane` on.
unsafe fn dot_u4i8_at(query: *const i8, plane: *const u8, bytes: usize, rows: &[u32], out: &mut [i32]) {
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: as this function's; the row lies inside the plane.
        unsafe {
            let row = core::slice::from_raw_parts(plane.add(row as usize * bytes), bytes);
            dot_u4i8(query, &[row], core::slice::from_mut(out));
        }
    }
}

/// # Safety
///
/// `query` points to a value for each byte of a row; rows have one length, and there are as many as in `out`.
unsafe fn dot_u7i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    let bytes = rows.first().map_or(0, |row| row.len());
    // SAFETY: as this function's.
    let query = unsafe { super::bytes_at(query, bytes) };
    for_each(rows, out, |row| row.iter().zip(query).map(|(&code, &q)| product(code, q)).sum());
}

fn for_each(rows: &[&[u8]], out: &mut [i32], sum: impl Fn(&[u8]) -> i32) {
    for (at, (row, one)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + 1) {
            prefetch(next);
        }
        *one = sum(row);
    }
}

#[inline(always)]
fn product(code: u8, query: i8) -> i32 {
    i32::from(code) * i32::from(query)
}

fn hadamard(values: &mut [f32]) {
    elementwise::hadamard_from(values, 1);
}

fn butterflies(low: &mut [f32], high: &mut [f32], scale: f32) {
    elementwise::butterflies(low, high, scale);
}

fn quantize(values: &[f32], out: &mut [i8]) -> Quantized {
    elementwise::quantize(values, out)
}

fn encode_u8(values: &[f32], scale: f32, out: &mut [u8]) -> Encoded {
    elementwise::encode_u8(values, scale, out)
}

fn centre_nibbles(high: &[u8], low: &[u8], out: &mut [i8]) -> Centred {
    elementwise::centre_nibbles(high, low, out)
}
