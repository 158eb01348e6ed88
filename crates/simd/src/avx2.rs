//! The AVX2 + FMA level: four accumulators of 8 lanes per row, two rows at a time, the tail under a mask.
//!
//! It refuses to decide whether it may run: [`Avx2`] is the proof, and only detection makes one.
//!
//! # The order of additions (lib.rs, I1)
//!
//! Value `i` goes to lane `i % 8` of accumulator `i / 8 % 4`; values past the end are zeros, whose terms are zero. The four
//! accumulators are added as `(0 + 1) + (2 + 3)`, then the upper half of the lanes onto the lower one until one is left.
//! [`accumulate`] is the only loop, as in the AVX-512 level.
//!
//! # Why these numbers
//!
//! One row needs four accumulators to cover the latency of a fused multiply-add. Four rows of four would be all 16
//! registers and leave none for the query, so the four-row form runs twice over two rows (8 accumulators).
#![expect(unsafe_code, reason = "AVX2 loads through raw pointers")]

mod codes;

use core::arch::x86_64::{
    __m128, __m256, __m256i, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_andnot_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_maskload_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_sub_ps,
};

use crate::f32_kernels::F32Kernels;
use crate::term::{AbsoluteDifference, Product, SquaredDifference, Term, TermKind};
use crate::x86::{BATCH_AHEAD, prefetch_line, sum_lanes, sum_lanes_x4};

/// Values in one register.
const LANES: usize = 8;
/// Values in one step of the main loop: one register for each of four accumulators.
const STEP: usize = 4 * LANES;

/// The proof that this processor and its operating system run AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, where it holds.
    pub(crate) fn detect() -> Option<Self> {
        let found = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }

    /// Dot product, squared Euclidean and Manhattan distance.
    pub(crate) fn f32_kernels(self) -> [F32Kernels; 3] {
        [self.of::<Product>(), self.of::<SquaredDifference>(), self.of::<AbsoluteDifference>()]
    }

    fn of<T: Term>(self) -> F32Kernels {
        // SAFETY: `self` proves the instruction sets; the contracts of the functions are those of the pointer types.
        unsafe { F32Kernels::new(pair::<T>, x4::<T>, batch::<T>) }
    }
}

/// # Safety
///
/// `query` and `row` point to `dim` values.
#[target_feature(enable = "avx2,fma")]
unsafe fn pair<T: Term>(query: *const f32, row: *const f32, dim: usize) -> f32 {
    // SAFETY: as this function's.
    let [sums] = unsafe { accumulate::<T, 1, 0>(query, [row], dim) };
    sum_lanes(fold_to_4(sums))
}

/// # Safety
///
/// `query` and each of `rows` point to `dim` values.
#[target_feature(enable = "avx2,fma")]
unsafe fn x4<T: Term>(query: *const f32, rows: &[*const f32; 4], dim: usize) -> [f32; 4] {
    let mut out = [0.0; 4];
    let [a, b, c, d] = *rows;
    // SAFETY: as this function's.
    let ([a, b], [c, d]) =
        unsafe { (accumulate::<T, 2, 0>(query, [a, b], dim), accumulate::<T, 2, 0>(query, [c, d], dim)) };
    let sums = sum_lanes_x4([fold_to_4(a), fold_to_4(b), fold_to_4(c), fold_to_4(d)]);
    // SAFETY: `out` holds four values.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), sums) };
    out
}

/// One row after the other: several at once are several streams, which memory serves more slowly.
///
/// # Safety
///
/// `query` points to `dim` values and `rows` to `out.len() * dim`.
#[target_feature(enable = "avx2,fma")]
unsafe fn batch<T: Term>(query: *const f32, rows: *const f32, dim: usize, out: &mut [f32]) {
    let mut row = rows;
    for one in out {
        // SAFETY: one more row is there for each element of `out`, so `row` ends at the end of `rows`.
        unsafe {
            let [sums] = accumulate::<T, 1, BATCH_AHEAD>(query, [row], dim);
            *one = sum_lanes(fold_to_4(sums));
            row = row.add(dim);
        }
    }
}

/// The one loop: for each row, the sum of its four accumulators. Where `AHEAD` is not 0, the cache lines that many values on
/// are prefetched.
///
/// # Safety
///
/// `query` and each of `rows` point to `dim` values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn accumulate<T: Term, const ROWS: usize, const AHEAD: usize>(
    query: *const f32,
    rows: [*const f32; ROWS],
    dim: usize,
) -> [__m256; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); ROWS]; 4];
    let mut at = 0;
    while dim - at >= STEP {
        for (part, sums) in sums.iter_mut().enumerate() {
            let from = at + part * LANES;
            // SAFETY: `from + LANES <= at + STEP <= dim`, and every pointer has `dim` values.
            let q = unsafe { _mm256_loadu_ps(query.add(from)) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // Two registers make one cache line.
                if AHEAD > 0 && part % 2 == 0 {
                    prefetch_line(row.wrapping_add(from + AHEAD));
                }
                // SAFETY: as above.
                let r = unsafe { _mm256_loadu_ps(row.add(from)) };
                *sum = add_term::<T>(*sum, q, r);
            }
        }
        at += STEP;
    }
    for sums in &mut sums {
        if at < dim {
            let mask = first_lanes(dim - at);
            // SAFETY: `at < dim`, and the mask reads at most `dim - at` values from there on.
            let q = unsafe { _mm256_maskload_ps(query.add(at), mask) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let r = unsafe { _mm256_maskload_ps(row.add(at), mask) };
                *sum = add_term::<T>(*sum, q, r);
            }
            at += LANES;
        }
    }
    let [a, b, c, d] = sums;
    core::array::from_fn(|r| _mm256_add_ps(_mm256_add_ps(a[r], b[r]), _mm256_add_ps(c[r], d[r])))
}

/// The mask of the first `count` lanes, all of them from 8 on.
#[inline]
#[target_feature(enable = "avx2")]
fn first_lanes(count: usize) -> __m256i {
    /// A window of eight that begins `count` before the middle has `count` set lanes.
    static WINDOW: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let begin = LANES - count.min(LANES);
    // SAFETY: `begin <= LANES`, so the eight elements from there on lie inside the table.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(begin).cast()) }
}

/// `sum` plus the term of `q` and `r`, lane by lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_term<T: Term>(sum: __m256, q: __m256, r: __m256) -> __m256 {
    match T::KIND {
        TermKind::Product => _mm256_fmadd_ps(q, r, sum),
        TermKind::SquaredDifference => {
            let d = _mm256_sub_ps(q, r);
            _mm256_fmadd_ps(d, d, sum)
        }
        TermKind::AbsoluteDifference => {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(q, r)))
        }
    }
}

/// Eight lanes to four: the upper half onto the lower one.
#[inline]
#[target_feature(enable = "avx2")]
fn fold_to_4(lanes: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes))
}
