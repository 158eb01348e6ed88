//! The level that runs everywhere: plain Rust without `core::arch`, written so that the compiler may use the vector
//! instructions every processor of the target has.
//!
//! It refuses fused multiply-add (without the instruction it is a slow library call), so its values differ in the last bits
//! from those of the x86 levels. In return they are the same on every architecture.
//!
//! # The order of additions (lib.rs, I1)
//!
//! Value `i` goes to lane `i % 16`, so there are sixteen sums; the tail fills the first lanes. Then the upper half is added
//! onto the lower one until one is left. The other two forms call [`sum`] row by row, hence agree with it.
#![expect(unsafe_code, reason = "the table's forms take raw pointers, which become slices again here")]

mod codes;

pub(crate) use codes::code_kernels;

use crate::f32_kernels::F32Kernels;
use crate::term::{AbsoluteDifference, Product, SquaredDifference, Term, TermKind};

/// The count of partial sums: four registers of four, enough to hide the latency of an addition.
const LANES: usize = 16;

/// Dot product, squared Euclidean and Manhattan distance.
pub(crate) fn f32_kernels() -> [F32Kernels; 3] {
    [of::<Product>(), of::<SquaredDifference>(), of::<AbsoluteDifference>()]
}

fn of<T: Term>() -> F32Kernels {
    // SAFETY: no special instructions; the contracts of the functions are those of the pointer types.
    unsafe { F32Kernels::new(pair::<T>, x4::<T>, batch::<T>) }
}

/// # Safety
///
/// `query` and `row` point to `dim` values.
unsafe fn pair<T: Term>(query: *const f32, row: *const f32, dim: usize) -> f32 {
    // SAFETY: as this function's.
    let (query, row) = unsafe { (slice(query, dim), slice(row, dim)) };
    sum::<T>(query, row)
}

/// # Safety
///
/// `query` and each of `rows` point to `dim` values.
unsafe fn x4<T: Term>(query: *const f32, rows: &[*const f32; 4], dim: usize) -> [f32; 4] {
    // SAFETY: as this function's.
    let (query, rows) = unsafe { (slice(query, dim), rows.map(|row| slice(row, dim))) };
    rows.map(|row| sum::<T>(query, row))
}

/// # Safety
///
/// `query` points to `dim` values and `rows` to `out.len() * dim`.
unsafe fn batch<T: Term>(query: *const f32, rows: *const f32, dim: usize, out: &mut [f32]) {
    // SAFETY: as this function's; the caller's slice of rows has this length, so the product does not overflow.
    let (query, rows) = unsafe { (slice(query, dim), slice(rows, dim * out.len())) };
    if dim == 0 {
        return out.fill(0.0);
    }
    for (one, row) in out.iter_mut().zip(rows.chunks_exact(dim)) {
        *one = sum::<T>(query, row);
    }
}

/// # Safety
///
/// `values` points to `count` values that live and stay unchanged for `'a`.
unsafe fn slice<'a>(values: *const f32, count: usize) -> &'a [f32] {
    // SAFETY: as this function's.
    unsafe { core::slice::from_raw_parts(values, count) }
}

/// # Safety
///
/// `values` points to `count` values that live and stay unchanged for `'a`.
unsafe fn bytes_at<'a>(values: *const i8, count: usize) -> &'a [i8] {
    // SAFETY: as this function's.
    unsafe { core::slice::from_raw_parts(values, count) }
}

/// The sum of the terms of two slices of equal length.
fn sum<T: Term>(query: &[f32], row: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (query_steps, query_rest) = query.as_chunks::<LANES>();
    let (row_steps, row_rest) = row.as_chunks::<LANES>();
    for (q, r) in query_steps.iter().zip(row_steps) {
        for lane in 0..LANES {
            sums[lane] += term::<T>(q[lane], r[lane]);
        }
    }
    for (sum, (&q, &r)) in sums.iter_mut().zip(query_rest.iter().zip(row_rest)) {
        *sum += term::<T>(q, r);
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

/// One term.
#[inline(always)]
fn term<T: Term>(q: f32, r: f32) -> f32 {
    match T::KIND {
        TermKind::Product => q * r,
        TermKind::SquaredDifference => (q - r) * (q - r),
        TermKind::AbsoluteDifference => (q - r).abs(),
    }
}
