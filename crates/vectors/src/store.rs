//! What growing and sealed rows have in common.

use nearfield_ann::Scorer;
use nearfield_platform::BlobError;
use nearfield_types::Slot;

use crate::{Shape, ShapeError};

/// The vectors of the slots `0..len`, at most one each.
///
/// # Contract
///
/// * A vector is read back exactly as it was stored.
/// * Scorers keep the contract of [`Scorer`]; two stores that hold the same rows give the same scores, bit for bit.
/// * Whatever is asked of a slot beyond the length is answered as for a slot without a vector.
///
/// # Complexity
///
/// `scorer` is O(dim); a score is O(dim) and one read of the row; presence is O(1).
///
/// # Concurrency
///
/// Any number of threads. A store that grows may be longer at the next call, never shorter; a scorer keeps to the length at
/// which it was made.
///
/// The conformance suite is [`nearfield_ann::conformance::check_scorer`] over its scorers.
pub trait VectorStore: Send + Sync {
    /// Dimension, metric and element.
    fn shape(&self) -> Shape;

    /// How many slots there are, those without a vector among them.
    fn len(&self) -> u32;

    /// True without any slot.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A scorer against `query`, which is copied.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] where the query has another dimension or a value that is not finite.
    fn scorer(&self, query: &[f32]) -> Result<Box<dyn Scorer + '_>, ShapeError>;

    /// Calls `visit(i, vector)` for each of `slots`, in order; `None` for a slot without a vector.
    ///
    /// # Errors
    ///
    /// [`BlobError`] where bytes could not be read or are damaged; then some slots have been visited.
    fn read_many(
        &self,
        slots: &[Slot],
        visit: &mut dyn FnMut(usize, Option<&[f32]>),
    ) -> Result<(), BlobError>;

    /// True where the slot has a vector.
    fn is_present(&self, slot: Slot) -> bool;

    /// Bytes of memory held, file maps not counted.
    fn memory(&self) -> u64;
}
