//! The AVX-512F level: four accumulators of 16 lanes per row, the tail under a mask.
//!
//! It refuses to decide whether it may run: [`Avx512`] is the proof, and only detection makes one.
//!
//! # The order of additions (lib.rs, I1)
//!
//! Value `i` goes to lane `i % 16` of accumulator `i / 16 % 4`; values past the end are zeros, whose terms are zero. The four
//! accumulators are added as `(0 + 1) + (2 + 3)`, then the upper half of the lanes onto the lower one until one is left.
//! [`accumulate`] is the only loop, generic over the count of rows, and rows never meet before the last step: that is why
//! all forms agree. A new form must be built on it.
//!
//! # Why these numbers
//!
//! A fused multiply-add takes four cycles and two can start in each. One row is limited by its two loads per term (one term
//! per cycle), which four accumulators cover. Four rows share the query's load and use 16 + 4 of the 32 registers.
#![expect(unsafe_code, reason = "AVX-512 loads through raw pointers")]

mod codes;

pub(crate) use codes::Vnni;

use core::arch::x86_64::{
    __m128, __m512, __mmask16, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castpd_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_abs_ps, _mm512_add_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps,
    _mm512_setzero_ps, _mm512_sub_ps,
};

use crate::f32_kernels::F32Kernels;
use crate::term::{AbsoluteDifference, Product, SquaredDifference, Term, TermKind};
use crate::x86::{BATCH_AHEAD, prefetch_line, sum_lanes, sum_lanes_x4};

/// Values in one register.
const LANES: usize = 16;
/// Values in one step of the main loop: one register for each of four accumulators.
const STEP: usize = 4 * LANES;

/// The proof that this processor and its operating system run AVX-512F.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, where it holds.
    pub(crate) fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Dot product, squared Euclidean and Manhattan distance.
    pub(crate) fn f32_kernels(self) -> [F32Kernels; 3] {
        [self.of::<Product>(), self.of::<SquaredDifference>(), self.of::<AbsoluteDifference>()]
    }

    fn of<T: Term>(self) -> F32Kernels {
        // SAFETY: `self` proves the instruction set; the contracts of the functions are those of the pointer types.
        unsafe { F32Kernels::new(pair::<T>, x4::<T>, batch::<T>) }
    }
}

/// # Safety
///
/// `query` and `row` point to `dim` values.
#[target_feature(enable = "avx512f")]
unsafe fn pair<T: Term>(query: *const f32, row: *const f32, dim: usize) -> f32 {
    // SAFETY: as this function's.
    let [sums] = unsafe { accumulate::<T, 1, 0>(query, [row], dim) };
    sum_lanes(fold_to_4(sums))
}

/// # Safety
///
/// `query` and each of `rows` point to `dim` values.
#[target_feature(enable = "avx512f")]
unsafe fn x4<T: Term>(query: *const f32, rows: &[*const f32; 4], dim: usize) -> [f32; 4] {
    let mut out = [0.0; 4];
    // SAFETY: as this function's.
    let [a, b, c, d] = unsafe { accumulate::<T, 4, 0>(query, *rows, dim) };
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
#[target_feature(enable = "avx512f")]
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
#[target_feature(enable = "avx512f")]
unsafe fn accumulate<T: Term, const ROWS: usize, const AHEAD: usize>(
    query: *const f32,
    rows: [*const f32; ROWS],
    dim: usize,
) -> [__m512; ROWS] {
    let mut sums = [[_mm512_setzero_ps(); ROWS]; 4];
    let mut at = 0;
    while dim - at >= STEP {
        for (part, sums) in sums.iter_mut().enumerate() {
            let from = at + part * LANES;
            // SAFETY: `from + LANES <= at + STEP <= dim`, and every pointer has `dim` values.
            let q = unsafe { _mm512_loadu_ps(query.add(from)) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                if AHEAD > 0 {
                    prefetch_line(row.wrapping_add(from + AHEAD));
                }
                // SAFETY: as above.
                let r = unsafe { _mm512_loadu_ps(row.add(from)) };
                *sum = add_term::<T>(*sum, q, r);
            }
        }
        at += STEP;
    }
    for sums in &mut sums {
        if at < dim {
            let mask = first_lanes(dim - at);
            // SAFETY: `at < dim`, and the mask reads at most `dim - at` values from there on.
            let q = unsafe { _mm512_maskz_loadu_ps(mask, query.add(at)) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let r = unsafe { _mm512_maskz_loadu_ps(mask, row.add(at)) };
                *sum = add_term::<T>(*sum, q, r);
            }
            at += LANES;
        }
    }
    let [a, b, c, d] = sums;
    core::array::from_fn(|r| _mm512_add_ps(_mm512_add_ps(a[r], b[r]), _mm512_add_ps(c[r], d[r])))
}

/// The mask of the first `count` lanes, all of them from 16 on.
#[inline]
fn first_lanes(count: usize) -> __mmask16 {
    if count >= LANES { __mmask16::MAX } else { (1 << count) - 1 }
}

/// `sum` plus the term of `q` and `r`, lane by lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_term<T: Term>(sum: __m512, q: __m512, r: __m512) -> __m512 {
    match T::KIND {
        TermKind::Product => _mm512_fmadd_ps(q, r, sum),
        TermKind::SquaredDifference => {
            let d = _mm512_sub_ps(q, r);
            _mm512_fmadd_ps(d, d, sum)
        }
        TermKind::AbsoluteDifference => _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(q, r))),
    }
}

/// Sixteen lanes to four: the upper half onto the lower one, twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_to_4(lanes: __m512) -> __m128 {
    let low = _mm512_castps512_ps256(lanes);
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes)));
    let eight = _mm256_add_ps(low, high);
    _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
}
