//! A query as the kernels take it.

use nearfield_codec::AlignedBytes;

/// A query, rotated and in 8 bits. It belongs to a codec's numbers, serves every store of such codes at both precisions, and
/// may be prepared again in the same memory.
///
/// The score of a code is `base + offset - step * scale * t`, where `t` is the inner product of both codes and `offset` and
/// `scale` are the row's factors.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// 8-bit values in the order of the kernel; from a cache line on.
    code: AlignedBytes,
    /// Their sum.
    pub(crate) sum: i32,
    /// The part of the score that is the query's alone.
    pub(crate) base: f32,
    /// The worth of one step of the query's 8-bit values in the score.
    pub(crate) step: f32,
    /// The length of the vector that was quantised, times 2 for Euclid.
    pub(crate) reach: f32,
    /// The error of a value by the 8 bits of the query is spread evenly over so much of the score.
    pub(crate) quantum: f32,
    /// Room for the vector while it is worked on.
    pub(crate) values: Vec<f32>,
    /// Codes in the order of dimensions.
    pub(crate) codes: Vec<i8>,
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It has another dimension than the codec.
    #[error("query has {found} dimensions, expected {expected}")]
    Dimension {
        /// The dimension of the codec.
        expected: u32,
        /// The dimension that came.
        found: usize,
    },
    /// One of its values is NaN or infinite.
    #[error("query value at index {at} is NaN or infinite")]
    NotFinite {
        /// Its index.
        at: usize,
    },
}

impl Prepared {
    /// No query yet; memory comes with the first.
    pub fn new() -> Prepared {
        Prepared::default()
    }

    /// The 8-bit values.
    pub(crate) fn code(&self) -> &[i8] {
        bytemuck::cast_slice(&self.code)
    }

    /// Room for `len` 8-bit values.
    pub(crate) fn code_mut(&mut self, len: usize) -> &mut [i8] {
        if self.code.len() != len {
            self.code = AlignedBytes::zeroed(len);
        }
        bytemuck::cast_slice_mut(&mut self.code)
    }

    /// Takes a copy of `query` to work on, once it is seen to be one.
    pub(crate) fn take(&mut self, dim: u32, query: &[f32]) -> Result<(), QueryError> {
        if query.len() != dim as usize {
            return Err(QueryError::Dimension { expected: dim, found: query.len() });
        }
        // Without a branch for each value.
        if query.iter().fold(false, |is_bad, value| is_bad | !value.is_finite()) {
            let at = query.iter().position(|value| !value.is_finite()).unwrap_or(0);
            return Err(QueryError::NotFinite { at });
        }
        self.values.clear();
        self.values.extend_from_slice(query);
        Ok(())
    }
}
