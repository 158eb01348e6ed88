//! [`CodeKernels`]: sums over codes of a few bits, and the arithmetic that makes codes, at one level.
//!
//! It refuses to know what a code stands for. Every length is checked here before a pointer is made.
//!
//! Invariant: results are equal at every level, bit for bit. Sums of codes are integers; what is computed in f32 is elementwise
//! or summed in sixteen lanes that every level keeps, without fused multiply-add.
#![expect(unsafe_code, reason = "calls kernels compiled for instruction sets that were detected at run time")]

/// One query, rows anywhere in memory, each of the same number of bytes, one result a row.
pub(crate) type DotFn = unsafe fn(query: *const i8, rows: &[&[u8]], out: &mut [i32]);
/// One query, rows of `bytes` bytes at multiples of that from `plane` on, one result for each of `rows`.
pub(crate) type DotAtFn =
    unsafe fn(query: *const i8, plane: *const u8, bytes: usize, rows: &[u32], out: &mut [i32]);
/// Changes values in place.
pub(crate) type InPlaceFn = unsafe fn(values: &mut [f32]);
/// Changes two lists of equal length in place.
pub(crate) type ButterflyFn = unsafe fn(low: &mut [f32], high: &mut [f32], scale: f32);
/// See [`CodeKernels::quantize`].
pub(crate) type QuantizeFn = unsafe fn(values: &[f32], out: &mut [i8]) -> Quantized;
/// See [`CodeKernels::encode_u8`].
pub(crate) type EncodeFn = unsafe fn(values: &[f32], scale: f32, out: &mut [u8]) -> Encoded;
/// See [`CodeKernels::centre_nibbles`].
pub(crate) type CentreFn = unsafe fn(high: &[u8], low: &[u8], out: &mut [i8]) -> Centred;

/// Rows of codes have a multiple of so many bytes.
pub const CODE_ALIGN: usize = 16;

/// Kernels over integer codes at one level, from [`Kernels::codes`](crate::Kernels::codes). A few pointers: copy it.
///
/// Unlike f32 distances, **all levels agree bit for bit**, so codes and their scores are the same on every processor.
///
/// ```
/// let codes = *nearfield_simd::kernels().codes();
/// // 16 bytes hold 32 codes of 4 bits: the low nibbles meet the first half of the query, the high nibbles the second.
/// let mut query = [0_i8; 32];
/// (query[0], query[16]) = (10, 100);
/// let row = [0x21_u8; 16];
/// let mut sums = [0; 1];
/// codes.dot_u4i8(&query, &[&row], &mut sums);
/// assert_eq!(sums, [10 * 1 + 100 * 2]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CodeKernels {
    pub(crate) dot_u4i8: DotFn,
    pub(crate) dot_u4i8_at: DotAtFn,
    pub(crate) dot_u7i8: DotFn,
    pub(crate) hadamard: InPlaceFn,
    pub(crate) butterflies: ButterflyFn,
    pub(crate) quantize: QuantizeFn,
    pub(crate) encode_u8: EncodeFn,
    pub(crate) centre_nibbles: CentreFn,
}

/// What [`CodeKernels::quantize`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantized {
    /// A value is about its code times this; 0 where all values are 0.
    pub step: f32,
    /// The sum of the codes.
    pub sum: i32,
}

/// What [`CodeKernels::encode_u8`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoded {
    /// The sum of `value * (code - 127.5)`.
    pub fine: f32,
    /// The sum of `value * (code / 16 - 7.5)`, the quotient rounded down.
    pub coarse: f32,
}

/// What [`CodeKernels::centre_nibbles`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Centred {
    /// The sum of the values.
    pub sum: i32,
    /// The sum of their absolute values.
    pub sum_absolute: i32,
    /// The sum of their squares.
    pub sum_squares: i32,
}

impl CodeKernels {
    /// For each row of B bytes the sum of 2 B products of a 4-bit code and a signed byte.
    ///
    /// `query[j]` meets the low nibble of byte j, `query[B + j]` its high nibble. Rows may lie anywhere; those further on are
    /// prefetched while one is summed, the first few before anything else.
    ///
    /// # Panics
    ///
    /// If the rows differ in length, B is no multiple of [`CODE_ALIGN`], the query has not 2 B values, `rows` and `out` differ
    /// in length, or B is above 64 KiB (so that every sum fits).
    ///
    /// # Complexity
    ///
    /// O(rows B), no allocation.
    #[inline]
    pub fn dot_u4i8(&self, query: &[i8], rows: &[&[u8]], out: &mut [i32]) {
        check(query.len() / 2, query.len().is_multiple_of(2), rows, out);
        // SAFETY: the function may run here (`dispatch`), and `check` compared every length.
        unsafe { (self.dot_u4i8)(query.as_ptr(), rows, out) }
    }

    /// As [`dot_u4i8`](CodeKernels::dot_u4i8) for rows that lie one after another in `plane`, without a gap: `rows` are their numbers,
    /// in any order. It saves making a slice of each, which costs as much as summing it.
    ///
    /// # Panics
    ///
    /// If a row lies beyond the plane, B is no multiple of [`CODE_ALIGN`], the query has not 2 B values, `rows` and `out` differ in
    /// length, or B is above 64 KiB.
    ///
    /// # Complexity
    ///
    /// O(rows B), no allocation.
    #[inline]
    pub fn dot_u4i8_at(&self, query: &[i8], plane: &[u8], rows: &[u32], out: &mut [i32]) {
        let bytes = query.len() / 2;
        check_query(bytes, query.len().is_multiple_of(2));
        assert_eq!(rows.len(), out.len(), "one result for each row");
        let end = rows.iter().max().map_or(0, |&row| row as usize);
        assert!(rows.is_empty() || end < plane.len() / bytes.max(1), "row {end} lies beyond the plane");
        // SAFETY: the function may run here (`dispatch`); every row lies inside the plane and every length fits.
        unsafe { (self.dot_u4i8_at)(query.as_ptr(), plane.as_ptr(), bytes, rows, out) }
    }

    /// For each row of B bytes the sum of B products of a 7-bit code and a signed byte: `query[j]` meets byte j.
    ///
    /// A code above 127 gives a wrong sum, the same at every level only by chance; nothing worse.
    ///
    /// # Panics
    ///
    /// As [`dot_u4i8`](CodeKernels::dot_u4i8), for a query of B values.
    ///
    /// # Complexity
    ///
    /// O(rows B), no allocation.
    #[inline]
    pub fn dot_u7i8(&self, query: &[i8], rows: &[&[u8]], out: &mut [i32]) {
        check(query.len(), true, rows, out);
        // SAFETY: the function may run here (`dispatch`), and `check` compared every length.
        unsafe { (self.dot_u7i8)(query.as_ptr(), rows, out) }
    }

    /// The Walsh-Hadamard transform in place, not normalised: applied twice it multiplies by the length.
    ///
    /// ```
    /// let mut values = [1.0, 2.0, 3.0, 4.0];
    /// nearfield_simd::kernels().codes().hadamard(&mut values);
    /// assert_eq!(values, [10.0, -2.0, -4.0, 0.0]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the length is no power of two.
    ///
    /// # Complexity
    ///
    /// O(n log n), no allocation.
    #[inline]
    pub fn hadamard(&self, values: &mut [f32]) {
        assert!(values.len().is_power_of_two(), "the length of a Hadamard transform is a power of two");
        // SAFETY: the function may run here (`dispatch`); the length is a power of two.
        unsafe { (self.hadamard)(values) }
    }

    /// Replaces each pair `(low[i], high[i])` by `((l + h) * scale, (l - h) * scale)`.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn butterflies(&self, low: &mut [f32], high: &mut [f32], scale: f32) {
        assert_eq!(low.len(), high.len(), "low and high differ in length");
        // SAFETY: the function may run here (`dispatch`); the lengths are equal.
        unsafe { (self.butterflies)(low, high, scale) }
    }

    /// Symmetric 8-bit codes: `out[i]` is `values[i] / step` rounded, from -127 to 127, where the largest magnitude gets 127.
    ///
    /// Values must be finite and below 2^120 in magnitude, and the largest, unless it is 0, above 2^-100: the caller scales by a
    /// power of two where that does not hold. Otherwise the codes mean nothing.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn quantize(&self, values: &[f32], out: &mut [i8]) -> Quantized {
        assert_eq!(values.len(), out.len(), "values and codes differ in length");
        // SAFETY: the function may run here (`dispatch`); the lengths are equal.
        unsafe { (self.quantize)(values, out) }
    }

    /// Unsigned 8-bit codes: `out[i]` is `values[i] * scale + 127.5` rounded and limited to 0 to 255.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn encode_u8(&self, values: &[f32], scale: f32, out: &mut [u8]) -> Encoded {
        assert_eq!(values.len(), out.len(), "values and codes differ in length");
        // SAFETY: the function may run here (`dispatch`); the lengths are equal.
        unsafe { (self.encode_u8)(values, scale, out) }
    }

    /// Puts the nibbles of two rows together to 8-bit codes c and writes `c - 127.5` rounded towards zero: what
    /// [`dot_u4i8`](CodeKernels::dot_u4i8) takes as a query, low nibbles first.
    ///
    /// # Panics
    ///
    /// If the rows differ in length, it is no multiple of [`CODE_ALIGN`], or `out` is not twice as long.
    #[inline]
    pub fn centre_nibbles(&self, high: &[u8], low: &[u8], out: &mut [i8]) -> Centred {
        assert_eq!(high.len(), low.len(), "high and low nibbles differ in length");
        check(high.len(), out.len() == 2 * high.len(), &[], &[]);
        // SAFETY: the function may run here (`dispatch`); all lengths were compared.
        unsafe { (self.centre_nibbles)(high, low, out) }
    }
}

/// Most bytes of one row: with all codes and values at their largest its sum still fits.
const ROW_BYTES_MAX: usize = 1 << 16;

#[inline]
fn check_query(bytes: usize, query_fits: bool) {
    assert!(query_fits, "the query does not have a value for each code");
    assert!(bytes.is_multiple_of(CODE_ALIGN), "rows of codes have a multiple of 16 bytes");
    assert!(bytes <= ROW_BYTES_MAX, "a row of codes has at most 64 KiB");
}

#[inline]
fn check(bytes: usize, query_fits: bool, rows: &[&[u8]], out: &[i32]) {
    check_query(bytes, query_fits);
    assert_eq!(rows.len(), out.len(), "rows and out differ in length");
    assert!(rows.iter().all(|row| row.len() == bytes), "a row has another length than the query");
}
