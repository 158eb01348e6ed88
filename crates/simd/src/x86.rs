//! What both x86 levels share: sums over the four lanes of an SSE register, and the prefetch instruction. SSE2 is part of every
//! x86-64 processor, so nothing here needs detection.
//!
//! It refuses anything that belongs to one level.
//!
//! Invariant: [`sum_lanes`] and [`sum_lanes_x4`] add in the same order, `(l0 + l2) + (l1 + l3)`.
#![expect(unsafe_code, reason = "the prefetch intrinsic takes a raw pointer")]

use core::arch::x86_64::{
    __m128, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_movelh_ps, _mm_prefetch,
    _mm_shuffle_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
};

use crate::prefetch::CACHE_LINE_BYTES;

/// How far the contiguous batch prefetches: 8 KiB, in values. From 2 to 16 KiB the scan runs at memory bandwidth (one stream of
/// rows; four streams lost 5 to 20 %); more pushes lines out of the first-level cache before they are used.
pub(crate) const BATCH_AHEAD: usize = 2048;

/// Asks for the one line that holds `address`, which need not be readable.
#[inline(always)]
pub(crate) fn prefetch_line<T>(address: *const T) {
    // SAFETY: a prefetch is a hint: it never faults and changes no value, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) };
}

/// The sum of the four lanes.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn sum_lanes(lanes: __m128) -> f32 {
    let halves = _mm_add_ps(lanes, _mm_movehl_ps(lanes, lanes));
    let odd = _mm_shuffle_ps::<0b01>(halves, halves);
    _mm_cvtss_f32(_mm_add_ss(halves, odd))
}

/// The sums of four registers, lane `i` of the result that of `rows[i]`: a transpose folded into the additions.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn sum_lanes_x4(rows: [__m128; 4]) -> __m128 {
    let [a, b, c, d] = rows;
    // [a0+a2, b0+b2, a1+a3, b1+b3]
    let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab))
}

/// Where the rows of one call lie.
pub(crate) trait Rows: Copy {
    /// How many there are.
    fn count(self) -> usize;
    /// The row at a place below that.
    fn row(self, at: usize) -> *const u8;
}

impl Rows for &[&[u8]] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn row(self, at: usize) -> *const u8 {
        self[at].as_ptr()
    }
}

/// Rows of a plane, by their numbers.
#[derive(Clone, Copy)]
pub(crate) struct Numbered<'a> {
    pub(crate) plane: *const u8,
    pub(crate) bytes: usize,
    pub(crate) rows: &'a [u32],
}

impl Rows for Numbered<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.rows.len()
    }

    #[inline(always)]
    fn row(self, at: usize) -> *const u8 {
        self.plane.wrapping_add(self.rows[at] as usize * self.bytes)
    }
}

/// Asks for every line of a row. As [`prefetch`](crate::prefetch()), with as little arithmetic as possible.
#[inline(always)]
pub(crate) fn prefetch_row(row: *const u8, bytes: usize) {
    let mut at = 0;
    while at < bytes {
        prefetch_line(row.wrapping_add(at));
        at += CACHE_LINE_BYTES;
    }
    if !row.addr().is_multiple_of(CACHE_LINE_BYTES) {
        prefetch_line(row.wrapping_add(bytes.saturating_sub(1)));
    }
}
