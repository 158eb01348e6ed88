//! The AVX-512 code kernels: `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds four neighbours in 32 bits, without
//! saturation. The tail is loaded under a mask.
//!
//! It refuses what does not gain from wider registers: everything but the sums over codes is the AVX2 level's.
#![expect(unsafe_code, reason = "AVX-512 loads through raw pointers")]

use core::arch::x86_64::{
    __m512i, __mmask64, _mm512_and_si512, _mm512_dpbusd_epi32, _mm512_maskz_loadu_epi8,
    _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_srli_epi16,
};

use crate::code_kernels::CodeKernels;
use crate::x86::{Numbered, Rows, prefetch_row};

/// Bytes in one register.
const LANES: usize = 64;
/// Rows prefetched ahead.
const ROWS_AHEAD: usize = 8;
/// Rows summed together.
const GROUP: usize = 4;

/// The proof that this processor and its operating system run AVX-512 F, BW and VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(());

impl Vnni {
    /// The proof, where it holds.
    pub(crate) fn detect() -> Option<Self> {
        let found = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vnni");
        found.then_some(Self(()))
    }

    /// The functions of this level over those of the level `below`.
    pub(crate) fn code_kernels(self, below: CodeKernels) -> CodeKernels {
        CodeKernels { dot_u4i8, dot_u4i8_at, dot_u7i8, ..below }
    }
}

/// # Safety
///
/// The processor has AVX-512 F, BW and VNNI. `query` points to two values for each byte of a row; rows have one length, and there
/// are as many as in `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_u4i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    let bytes = rows.first().map_or(0, |row| row.len());
    // SAFETY: as this function's.
    unsafe { sum_u4(query, rows, bytes, out) }
}

/// # Safety
///
/// As [`dot_u4i8`], for rows of `bytes` bytes at these multiples of `bytes` from `plane` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_u4i8_at(query: *const i8, plane: *const u8, bytes: usize, rows: &[u32], out: &mut [i32]) {
    // SAFETY: as this function's.
    unsafe { sum_u4(query, Numbered { plane, bytes, rows }, bytes, out) }
}

/// # Safety
///
/// As [`dot_u4i8`], for rows of `bytes` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_u4(query: *const i8, rows: impl Rows, bytes: usize, out: &mut [i32]) {
    // SAFETY: as this function's, the length being that of the rows.
    unsafe {
        match bytes {
            192 => gather::<U4<192>>(query, rows, bytes, out),
            384 => gather::<U4<384>>(query, rows, bytes, out),
            512 => gather::<U4<512>>(query, rows, bytes, out),
            768 => gather::<U4<768>>(query, rows, bytes, out),
            _ => gather::<U4<0>>(query, rows, bytes, out),
        }
    }
}

/// # Safety
///
/// As [`dot_u4i8`], with one value for each byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_u7i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    // SAFETY: as this function's.
    unsafe { gather::<U7>(query, rows, rows.first().map_or(0, |row| row.len()), out) }
}

/// How the rows of one kind of code are summed.
trait Code {
    /// The length of a row where it is known while compiling, else 0.
    const BYTES: usize;

    /// The sums of some rows of `bytes` bytes, in sixteen lanes each.
    ///
    /// # Safety
    ///
    /// The instruction sets of [`Vnni`]; each of `rows` points to `bytes` bytes, and `query` to its values for them.
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m512i; ROWS];
}

/// 4-bit codes.
struct U4<const BYTES: usize>;
/// 7-bit codes.
struct U7;

/// Four rows at a time, the rest one by one, while the rows further on are on their way.
///
/// # Safety
///
/// The instruction sets of [`Vnni`]; rows have `bytes` bytes; `query` points to the values of `C` for it; `out` is as long as `rows`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn gather<C: Code>(query: *const i8, rows: impl Rows, bytes: usize, out: &mut [i32]) {
    let bytes = if C::BYTES > 0 { C::BYTES } else { bytes };
    let count = rows.count().min(out.len());
    for at in 0..count.min(ROWS_AHEAD) {
        prefetch_row(rows.row(at), bytes);
    }
    let (out_groups, out_rest) = out[..count].as_chunks_mut::<GROUP>();
    let whole = out_groups.len() * GROUP;
    for (group, sums) in out_groups.iter_mut().enumerate() {
        let first = group * GROUP;
        for at in first + ROWS_AHEAD..(first + ROWS_AHEAD + GROUP).min(count) {
            prefetch_row(rows.row(at), bytes);
        }
        let group = core::array::from_fn(|at| rows.row(first + at));
        // SAFETY: as this function's.
        let lanes: [__m512i; GROUP] = unsafe { C::sums(query, group, bytes) };
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum = _mm512_reduce_add_epi32(lanes);
        }
    }
    for (at, sum) in (whole..).zip(out_rest) {
        // SAFETY: as this function's.
        let [lanes] = unsafe { C::sums(query, [rows.row(at)], bytes) };
        *sum = _mm512_reduce_add_epi32(lanes);
    }
}

impl<const BYTES: usize> Code for U4<BYTES> {
    const BYTES: usize = BYTES;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m512i; ROWS] {
        let bytes = if BYTES > 0 { BYTES } else { bytes };
        let nibble = _mm512_set1_epi8(15);
        let (mut low, mut high) = ([_mm512_setzero_si512(); ROWS], [_mm512_setzero_si512(); ROWS]);
        let mut at = 0;
        while at < bytes {
            let mask = first_lanes(bytes - at);
            // SAFETY: the mask reads at most `bytes - at` bytes; rows have `bytes` bytes, the query twice as many values.
            let (q_low, q_high) = unsafe { (load(query.add(at), mask), load(query.add(bytes + at), mask)) };
            for (row, (low, high)) in rows.iter().zip(low.iter_mut().zip(&mut high)) {
                // SAFETY: as above.
                let codes = unsafe { load(row.add(at), mask) };
                let odd = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
                *low = _mm512_dpbusd_epi32(*low, _mm512_and_si512(codes, nibble), q_low);
                *high = _mm512_dpbusd_epi32(*high, odd, q_high);
            }
            at += LANES;
        }
        core::array::from_fn(|r| core::arch::x86_64::_mm512_add_epi32(low[r], high[r]))
    }
}

impl Code for U7 {
    const BYTES: usize = 0;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m512i; ROWS] {
        let mut sums = [_mm512_setzero_si512(); ROWS];
        let mut at = 0;
        while at < bytes {
            let mask = first_lanes(bytes - at);
            // SAFETY: the mask reads at most `bytes - at` bytes; rows have `bytes` bytes, the query as many values.
            let q = unsafe { load(query.add(at), mask) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                *sum = unsafe { _mm512_dpbusd_epi32(*sum, load(row.add(at), mask), q) };
            }
            at += LANES;
        }
        sums
    }
}

/// # Safety
///
/// The instruction sets of [`Vnni`]; the bytes of the mask are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn load<T>(from: *const T, mask: __mmask64) -> __m512i {
    // SAFETY: as this function's.
    unsafe { _mm512_maskz_loadu_epi8(mask, from.cast()) }
}

/// The mask of the first `count` lanes, all of them from 64 on.
#[inline]
fn first_lanes(count: usize) -> __mmask64 {
    if count >= LANES { __mmask64::MAX } else { (1 << count) - 1 }
}
