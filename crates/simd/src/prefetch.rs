//! Prefetch as a safe call: a hint that a row will be read soon.
//!
//! It refuses to read: no value is loaded and no address can fault, so any slice is allowed. On architectures without a
//! stable prefetch intrinsic it does nothing.

#[cfg(target_arch = "x86_64")]
use crate::x86::prefetch_line;

/// Bytes in one cache line, on every processor we build for.
pub const CACHE_LINE_BYTES: usize = 64;

/// Asks the processor to bring every cache line of `values` into its first-level cache.
///
/// Call it a few rows before the row is needed: one random load costs 170 to 260 ns, a hot distance 5 to 30. A core keeps only
/// a few dozen misses in flight, so prefetching far more than the next few kilobytes does not help.
///
/// # Complexity
///
/// One instruction per 64 bytes, no waiting; nothing for an empty slice.
///
/// ```
/// let rows = vec![[0.5_f32; 384]; 100];
/// let order = [70, 3, 41];
/// let mut sum = 0.0;
/// for (i, &row) in order.iter().enumerate() {
///     if let Some(&next) = order.get(i + 1) {
///         nearfield_simd::prefetch(&rows[next]);
///     }
///     sum += nearfield_simd::kernels().dot().pair(&rows[0], &rows[row]);
/// }
/// assert_eq!(sum, 3.0 * 96.0);
/// ```
#[inline]
pub fn prefetch<T>(values: &[T]) {
    let begin = values.as_ptr().cast::<u8>();
    // From the line of the first byte on, so that a slice across a line border gets its last line too.
    let lead = begin.addr() % CACHE_LINE_BYTES;
    let mut line = begin.wrapping_sub(lead);
    for _ in 0..line_count(lead, size_of_val(values)) {
        prefetch_line(line);
        line = line.wrapping_add(CACHE_LINE_BYTES);
    }
}

/// Asks for the one cache line in which `value` begins: [`prefetch`] for a single number.
///
/// # Complexity
///
/// One instruction, no waiting.
#[inline]
pub fn prefetch_one<T>(value: &T) {
    prefetch_line(core::ptr::from_ref(value));
}

/// Asks for the cache lines of rows of `width` values that lie one after another in `values`; `rows` are their numbers. Rows beyond
/// the end are asked for as well: nothing is read.
///
/// # Complexity
///
/// A few instructions for each line, no waiting.
#[inline]
pub fn prefetch_rows<T>(values: &[T], width: usize, rows: &[u32]) {
    let bytes = width * size_of::<T>();
    let begin = values.as_ptr().cast::<u8>();
    let is_aligned = begin.addr().is_multiple_of(CACHE_LINE_BYTES) && bytes.is_multiple_of(CACHE_LINE_BYTES);
    for &row in rows {
        let row = begin.wrapping_add(row as usize * bytes);
        let mut at = 0;
        while at < bytes {
            prefetch_line(row.wrapping_add(at));
            at += CACHE_LINE_BYTES;
        }
        if !is_aligned {
            prefetch_line(row.wrapping_add(bytes.saturating_sub(1)));
        }
    }
}

/// How many lines `bytes` bytes touch that begin `lead` bytes into a line.
#[inline]
const fn line_count(lead: usize, bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (lead + bytes).div_ceil(CACHE_LINE_BYTES) }
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch_line<T>(_: *const T) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_touched_is_counted_once() {
        for (lead, bytes, lines) in
            [(0, 0, 0), (63, 0, 0), (0, 1, 1), (0, 64, 1), (0, 65, 2), (1, 64, 2), (63, 1, 1), (63, 2, 2)]
        {
            assert_eq!(line_count(lead, bytes), lines, "{bytes} bytes at {lead}");
        }
        assert_eq!(line_count(0, 384 * 4), 24);
        assert_eq!(line_count(4, 384 * 4), 25);
    }
}
