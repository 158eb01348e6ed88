//! The AVX2 code kernels.
//!
//! # Why these numbers
//!
//! `maddubs` multiplies 32 unsigned by 32 signed bytes and adds neighbours in 16 bits. A 4-bit code gives at most
//! 15 * 128 * 2 = 3,840, so eight results fit before they are widened to 32 bits by `madd`; a 7-bit code gives up to
//! 32,512 and is widened at once. Four rows share each load of the query, and the last additions of four rows are done together.
#![expect(unsafe_code, reason = "AVX2 loads through raw pointers")]

use core::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_epi32, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16,
    _mm_storeu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_permute_ps, _mm256_permute2f128_ps, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setr_epi32, _mm256_setzero_si256, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_ps,
    _mm256_xor_si256,
};

use super::Avx2;
use crate::code_kernels::{Centred, CodeKernels, Encoded, Quantized};
use crate::elementwise;
use crate::x86::{Numbered, Rows, prefetch_row};

/// Bytes in one register.
const LANES: usize = 32;
/// Registers of 4-bit products that fit in 16-bit sums.
const WIDEN: usize = 8;
/// Rows prefetched ahead.
const ROWS_AHEAD: usize = 8;
/// Rows summed together.
const GROUP: usize = 4;

impl Avx2 {
    /// The functions of this level.
    pub(crate) fn code_kernels(self) -> CodeKernels {
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
}

/// # Safety
///
/// The processor has AVX2. `query` points to two values for each byte of a row; rows have one length, a multiple of 16, and
/// there are as many as in `out`.
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_u4i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    let bytes = rows.first().map_or(0, |row| row.len());
    // SAFETY: as this function's.
    unsafe { sum_u4(query, rows, bytes, out) }
}

/// # Safety
///
/// As [`dot_u4i8`], for rows of `bytes` bytes at these multiples of `bytes` from `plane` on.
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_u4i8_at(query: *const i8, plane: *const u8, bytes: usize, rows: &[u32], out: &mut [i32]) {
    // SAFETY: as this function's.
    unsafe { sum_u4(query, Numbered { plane, bytes, rows }, bytes, out) }
}

/// # Safety
///
/// As [`dot_u4i8`], for rows of `bytes` bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_u4(query: *const i8, rows: impl Rows, bytes: usize, out: &mut [i32]) {
    // SAFETY: as this function's, the length being that of the rows.
    unsafe {
        match bytes {
            48 => gather::<U4<48>>(query, rows, bytes, out),
            64 => gather::<U4<64>>(query, rows, bytes, out),
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
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_u7i8(query: *const i8, rows: &[&[u8]], out: &mut [i32]) {
    // SAFETY: as this function's.
    unsafe { gather::<U7>(query, rows, rows.first().map_or(0, |row| row.len()), out) }
}

/// How the rows of one kind of code are summed.
trait Code {
    /// The length of a row where it is known while compiling, else 0.
    const BYTES: usize;

    /// The sums of some rows of `bytes` bytes, in eight lanes each.
    ///
    /// # Safety
    ///
    /// AVX2; each of `rows` points to `bytes` bytes, a multiple of 16, and `query` to its values for them.
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m256i; ROWS];
}

/// 4-bit codes.
struct U4<const BYTES: usize>;
/// 7-bit codes.
struct U7;

/// Four rows at a time, the rest one by one, while the rows further on are on their way.
///
/// # Safety
///
/// AVX2; rows have `bytes` bytes, a multiple of 16; `query` points to the values of `C` for it; `out` is as long as `rows`.
#[inline]
#[target_feature(enable = "avx2,fma")]
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
        // SAFETY: as this function's; `sums` holds four values.
        unsafe {
            let lanes: [__m256i; GROUP] = C::sums(query, group, bytes);
            _mm_storeu_si128(sums.as_mut_ptr().cast(), join_x4(lanes));
        }
    }
    for (at, sum) in (whole..).zip(out_rest) {
        // SAFETY: as this function's.
        let [lanes] = unsafe { C::sums(query, [rows.row(at)], bytes) };
        *sum = join(lanes);
    }
}

impl<const BYTES: usize> Code for U4<BYTES> {
    const BYTES: usize = BYTES;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m256i; ROWS] {
        let bytes = if BYTES > 0 { BYTES } else { bytes };
        let whole = bytes / LANES * LANES;
        // SAFETY: as this function's.
        let mut sums = unsafe { run_u4(query, rows, bytes, 0, whole.min(WIDEN * LANES)) };
        let mut at = WIDEN * LANES;
        while at < whole {
            // SAFETY: as this function's.
            let more = unsafe { run_u4(query, rows, bytes, at, whole.min(at + WIDEN * LANES)) };
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = _mm256_add_epi32(*sum, more);
            }
            at += WIDEN * LANES;
        }
        let at = whole;
        if at < bytes {
            // SAFETY: 16 bytes are left, since `bytes` is a multiple of 16.
            let q = unsafe { pair(load_half(query.add(at)), load_half(query.add(bytes + at))) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let codes = unsafe { load_half(row.add(at)) };
                let nibble = _mm_set1_epi8(15);
                let odd = _mm_and_si128(_mm_srli_epi16::<4>(codes), nibble);
                let products = _mm256_maddubs_epi16(pair(_mm_and_si128(codes, nibble), odd), q);
                *sum = _mm256_add_epi32(*sum, widen(products));
            }
        }
        sums
    }
}

/// The sums of bytes `from..to` of each row, at most [`WIDEN`] registers of them.
///
/// # Safety
///
/// As [`Code::sums`]; `from..to` lies within the rows and is a multiple of [`LANES`] long.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_u4<const ROWS: usize>(
    query: *const i8,
    rows: [*const u8; ROWS],
    bytes: usize,
    from: usize,
    to: usize,
) -> [__m256i; ROWS] {
    let nibble = _mm256_set1_epi8(15);
    let (mut low, mut high) = ([_mm256_setzero_si256(); ROWS], [_mm256_setzero_si256(); ROWS]);
    let mut at = from;
    while at < to {
        // SAFETY: `at + LANES <= bytes`; rows have `bytes` bytes, the query twice as many values.
        let (q_low, q_high) = unsafe { (load(query.add(at)), load(query.add(bytes + at))) };
        for (row, (low, high)) in rows.iter().zip(low.iter_mut().zip(&mut high)) {
            // SAFETY: as above.
            let codes = unsafe { load(row.add(at)) };
            let odd = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
            let even = _mm256_and_si256(codes, nibble);
            *low = _mm256_add_epi16(*low, _mm256_maddubs_epi16(even, q_low));
            *high = _mm256_add_epi16(*high, _mm256_maddubs_epi16(odd, q_high));
        }
        at += LANES;
    }
    core::array::from_fn(|row| _mm256_add_epi32(widen(low[row]), widen(high[row])))
}

impl Code for U7 {
    const BYTES: usize = 0;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sums<const ROWS: usize>(
        query: *const i8,
        rows: [*const u8; ROWS],
        bytes: usize,
    ) -> [__m256i; ROWS] {
        let mut sums = [_mm256_setzero_si256(); ROWS];
        let mut at = 0;
        while bytes - at >= LANES {
            // SAFETY: `at + LANES <= bytes`; rows have `bytes` bytes, the query as many values.
            let q = unsafe { load(query.add(at)) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let codes = unsafe { load(row.add(at)) };
                *sum = _mm256_add_epi32(*sum, widen(_mm256_maddubs_epi16(codes, q)));
            }
            at += LANES;
        }
        if at < bytes {
            let zeros = _mm_set1_epi8(0);
            // SAFETY: 16 bytes are left, since `bytes` is a multiple of 16.
            let q = unsafe { pair(load_half(query.add(at)), zeros) };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let codes = unsafe { pair(load_half(row.add(at)), zeros) };
                *sum = _mm256_add_epi32(*sum, widen(_mm256_maddubs_epi16(codes, q)));
            }
        }
        sums
    }
}

/// # Safety
///
/// AVX2; 32 bytes are there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<T>(from: *const T) -> __m256i {
    // SAFETY: as this function's.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// # Safety
///
/// AVX2; 16 bytes are there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_half<T>(from: *const T) -> __m128i {
    // SAFETY: as this function's.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// Two halves as one register.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn pair(low: __m128i, high: __m128i) -> __m256i {
    _mm256_set_m128i(high, low)
}

/// Sixteen sums as eight, in 32 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen(sums: __m256i) -> __m256i {
    _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
}

/// The sum of eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn join(lanes: __m256i) -> i32 {
    let zeros = _mm256_setzero_si256();
    let mut out = [0; 4];
    // SAFETY: `out` holds four values.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), join_x4([lanes, zeros, zeros, zeros])) };
    out[0]
}

/// The sums of four registers, lane `i` that of `rows[i]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn join_x4([a, b, c, d]: [__m256i; GROUP]) -> __m128i {
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}

/// Values whose first six stages are done in registers.
const BLOCK: usize = 64;

/// # Safety
///
/// AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn hadamard(values: &mut [f32]) {
    let (blocks, _) = values.as_chunks_mut::<BLOCK>();
    if blocks.is_empty() {
        return elementwise::hadamard_from(values, 1);
    }
    for block in blocks {
        hadamard_block(block);
    }
    elementwise::hadamard_from(values, BLOCK);
}

/// The stages of strides 1 to 32 within 64 values.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn hadamard_block(values: &mut [f32; BLOCK]) {
    let start = values.as_mut_ptr();
    // SAFETY: eight registers of eight values are the whole array.
    let mut v: [__m256; 8] = core::array::from_fn(|i| unsafe { _mm256_loadu_ps(start.add(8 * i)) });
    for v in &mut v {
        *v = within(*v);
    }
    for stride in [1, 2, 4] {
        for i in 0..8 {
            if i & stride == 0 {
                let (a, b) = (v[i], v[i + stride]);
                v[i] = _mm256_add_ps(a, b);
                v[i + stride] = _mm256_sub_ps(a, b);
            }
        }
    }
    for (i, v) in v.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(start.add(8 * i), v) };
    }
}

/// The stages of strides 1, 2 and 4 within a register: the partner plus the value, negated where it is the second of the two.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn within(v: __m256) -> __m256 {
    let negate = i32::MIN;
    let v = _mm256_add_ps(
        _mm256_permute_ps::<0b10_11_00_01>(v),
        flip(v, _mm256_setr_epi32(0, negate, 0, negate, 0, negate, 0, negate)),
    );
    let v = _mm256_add_ps(
        _mm256_permute_ps::<0b01_00_11_10>(v),
        flip(v, _mm256_setr_epi32(0, 0, negate, negate, 0, 0, negate, negate)),
    );
    _mm256_add_ps(
        _mm256_permute2f128_ps::<0x01>(v, v),
        flip(v, _mm256_setr_epi32(0, 0, 0, 0, negate, negate, negate, negate)),
    )
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn flip(v: __m256, signs: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_xor_si256(_mm256_castps_si256(v), signs))
}

/// # Safety
///
/// AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn butterflies(low: &mut [f32], high: &mut [f32], scale: f32) {
    elementwise::butterflies(low, high, scale);
}

/// # Safety
///
/// AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn quantize(values: &[f32], out: &mut [i8]) -> Quantized {
    elementwise::quantize(values, out)
}

/// # Safety
///
/// AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn encode_u8(values: &[f32], scale: f32, out: &mut [u8]) -> Encoded {
    elementwise::encode_u8(values, scale, out)
}

/// # Safety
///
/// AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn centre_nibbles(high: &[u8], low: &[u8], out: &mut [i8]) -> Centred {
    elementwise::centre_nibbles(high, low, out)
}
