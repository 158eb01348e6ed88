//! [`F32Kernels`]: the three call forms of one f32 distance at one level, with every length checked before a pointer is made.
//!
//! Invariant: a value holds functions of one level only, and a level's constructor is called only with the proof that the
//! processor has the instructions. That is what makes the calls below sound.
#![expect(unsafe_code, reason = "calls kernels compiled for instruction sets that were detected at run time")]

/// One query, one row, `dim` values each.
pub(crate) type PairFn = unsafe fn(query: *const f32, row: *const f32, dim: usize) -> f32;
/// One query, four rows anywhere in memory, `dim` values each.
pub(crate) type X4Fn = unsafe fn(query: *const f32, rows: &[*const f32; 4], dim: usize) -> [f32; 4];
/// One query of `dim` values, `out.len()` rows of `dim` values one after the other.
pub(crate) type BatchFn = unsafe fn(query: *const f32, rows: *const f32, dim: usize, out: &mut [f32]);

/// One distance over f32 vectors at one level, in three forms that agree bit for bit.
///
/// Obtained from [`Kernels::dot`](crate::Kernels::dot), [`squared_l2`](crate::Kernels::squared_l2) and
/// [`l1`](crate::Kernels::l1). It is three pointers: copy it into a scorer once instead of asking the table per row.
///
/// ```
/// let l2 = *nearfield_simd::kernels().squared_l2();
/// let query = [1.0, 2.0, 3.0];
/// let rows = [1.0, 2.0, 3.0, /* next row */ 1.0, 0.0, 4.0];
/// let mut out = [0.0; 2];
/// l2.batch(&query, &rows, &mut out);
/// assert_eq!(out, [0.0, 5.0]);
/// assert_eq!(l2.pair(&query, &rows[3..]), 5.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct F32Kernels {
    pair: PairFn,
    x4: X4Fn,
    batch: BatchFn,
}

impl F32Kernels {
    /// Bundles the forms of one level.
    ///
    /// # Safety
    ///
    /// On this processor each function may be executed, reads exactly the values its type names, and writes only `out`.
    pub(crate) const unsafe fn new(pair: PairFn, x4: X4Fn, batch: BatchFn) -> Self {
        Self { pair, x4, batch }
    }

    /// The distance between `query` and `row`; 0 where both are empty.
    ///
    /// # Panics
    ///
    /// If the lengths differ. Dimensions are checked where vectors enter the database; here it would be a bug of the caller.
    ///
    /// # Complexity
    ///
    /// O(dim), no allocation.
    #[inline]
    pub fn pair(&self, query: &[f32], row: &[f32]) -> f32 {
        assert_eq!(query.len(), row.len(), "query and row differ in dimension");
        // SAFETY: the function may run here (`new`), and both slices hold `query.len()` values.
        unsafe { (self.pair)(query.as_ptr(), row.as_ptr(), query.len()) }
    }

    /// The distances between `query` and four rows that may lie anywhere, in the order of `rows`.
    ///
    /// Element `i` is bit for bit `pair(query, rows[i])`; the query is loaded once for all (or for two), so a distance costs
    /// about half of a hot `pair`. A list that is no multiple of four ends with `pair`.
    ///
    /// # Panics
    ///
    /// If a row's length differs from the query's.
    ///
    /// # Complexity
    ///
    /// O(4 dim), no allocation.
    #[inline]
    pub fn x4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        for row in rows {
            assert_eq!(query.len(), row.len(), "query and row differ in dimension");
        }
        let rows = rows.map(<[f32]>::as_ptr);
        // SAFETY: the function may run here (`new`), and all five slices hold `query.len()` values.
        unsafe { (self.x4)(query.as_ptr(), &rows, query.len()) }
    }

    /// The distances between `query` and every row of a contiguous block.
    ///
    /// `rows` is row-major: `out.len()` rows of `query.len()` values. Element `i` of `out` is bit for bit
    /// `pair(query, row i)`. Memory is prefetched ahead, so a block larger than the caches runs at memory bandwidth.
    ///
    /// # Panics
    ///
    /// If `rows.len() != out.len() * query.len()`.
    ///
    /// # Complexity
    ///
    /// O(out.len() dim), no allocation.
    #[inline]
    pub fn batch(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_eq!(
            Some(rows.len()),
            query.len().checked_mul(out.len()),
            "rows must hold one row of the query's dimension per element of out"
        );
        // SAFETY: the function may run here (`new`), and `rows` holds `out.len()` rows of `query.len()` values.
        unsafe { (self.batch)(query.as_ptr(), rows.as_ptr(), query.len(), out) }
    }
}
