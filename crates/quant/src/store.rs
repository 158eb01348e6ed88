//! What stores of codes have in common.

use std::sync::Arc;

use nearfield_types::{Score, Slot};

use crate::scorer::{CodeBuildScorer, CodeScorer};
use crate::{CodeRow, Codec, Precision, Prepared, Quantizer, QueryError, Rows};

/// The codes of the slots `0..len`, one codec for all.
///
/// # Contract
///
/// * A code is read back exactly as it was stored. Two stores that hold the same codes give the same scores, bit for bit.
/// * Whatever is asked of a slot beyond the length is answered as for a slot without a vector.
///
/// # Complexity
///
/// A query is prepared once, for all stores of one codec and both precisions; then making a scorer costs next to nothing. A
/// score is O(dim) and one to three reads from memory, all of them prefetched.
///
/// # Concurrency
///
/// Any number of threads. A store that grows may be longer at the next call, never shorter; a scorer keeps to the length at
/// which it was made.
///
/// The conformance suites are [`nearfield_ann::conformance::check_scorer`] and
/// [`check_build_scorer`](nearfield_ann::conformance::check_build_scorer) over its scorers.
pub trait Codes: Send + Sync {
    /// What made the codes.
    fn codec(&self) -> &Arc<Codec>;

    /// The codes there are now.
    fn rows(&self) -> Rows<'_>;

    /// Bytes of memory held, file maps not counted.
    fn memory(&self) -> u64;

    /// How many slots there are, those without a vector among them.
    fn len(&self) -> u32 {
        self.rows().len()
    }

    /// True without any slot.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of a slot; `None` where it has no vector.
    fn row(&self, slot: Slot) -> Option<CodeRow<'_>> {
        self.rows().row(slot).filter(CodeRow::is_present)
    }

    /// Prepares a query, in fresh memory. To use memory again call [`Quantizer::prepare`] of the codec.
    ///
    /// # Errors
    ///
    /// [`QueryError`] where the query has another dimension or a value that is not finite.
    fn query(&self, query: &[f32]) -> Result<Prepared, QueryError> {
        self.codec().query(query)
    }

    /// A scorer against a query that was prepared by this codec or an equal one.
    ///
    /// # Panics
    ///
    /// If the query was prepared for codes of another size.
    fn scorer<'a>(&'a self, query: &'a Prepared, precision: Precision) -> CodeScorer<'a> {
        self.codec().scorer(query, self.rows(), precision)
    }

    /// A scorer to be aimed at stored codes. Aimed at `slot`, it scores as [`scorer`](Codes::scorer) does with the query that
    /// [`Quantizer::prepare_code`] makes of the code of `slot`, bit for bit.
    fn build_scorer(&self, precision: Precision) -> CodeBuildScorer<'_> {
        CodeBuildScorer::new(self.codec(), self.rows(), precision)
    }

    /// True where both slots have a vector and their codes and factors are equal.
    fn same(&self, a: Slot, b: Slot) -> bool {
        matches!((self.row(a), self.row(b)), (Some(a), Some(b)) if a.same(&b))
    }

    /// How far the score of a slot may be from the true one; see [`Quantizer::error_bound`]. 0 for a slot without a vector.
    fn error_bound(&self, query: &Prepared, slot: Slot, precision: Precision) -> Score {
        self.row(slot).map_or(0.0, |code| self.codec().error_bound(query, code, precision))
    }
}
