//! How far stored vectors are from one query: the only thing an index knows of vectors.
//!
//! It refuses to say where vectors lie and what their distance means.

use nearfield_types::{Score, Slot};

use crate::Stopped;

/// Slots that the default of [`Scorer::score_run`] scores in one call.
const RUN_PART: usize = 64;

/// Scores stored vectors against one query that is fixed when the scorer is made.
///
/// # Contract
///
/// * `out[i]` becomes the score of `slots[i]`; lower is closer. Slots come in any order and may repeat.
/// * A slot without a vector, or beyond the length the scorer was made for, scores [`Score::INFINITY`]. Every other score is
///   finite: what overflows is clamped by the scorer, so that no stored vector is lost silently.
/// * Scores depend on the query and the stored vector alone, bit for bit: not on the order, the batch, the call form
///   (`score` or `score_run`), nor on where the vector lies.
/// * After an error the content of `out` means nothing, and the scorer may be asked again.
///
/// # Panics
///
/// Where `slots` and `out` differ in length: that is a bug of the index, never reachable from input.
///
/// # Complexity
///
/// One virtual call per batch: indexes ask for 16 to 512 slots at a time. Nothing is allocated per call once the scorer is
/// warm; memory is prefetched inside.
///
/// # Concurrency
///
/// One search at a time (`&mut`); make one scorer per search. The store below may grow meanwhile: a scorer keeps the length
/// it captured when it was made.
///
/// The conformance suite is [`conformance::check_scorer`](crate::conformance::check_scorer).
pub trait Scorer {
    /// Writes the score of each of `slots` to `out`.
    ///
    /// # Errors
    ///
    /// [`Stopped::Damaged`] or [`Stopped::Unreadable`] where a stored row could not be had.
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped>;

    /// Asks the memory system for what scoring `slots` will read, and returns at once. A hint: no answer depends on it.
    ///
    /// A caller that has something else to do before it scores calls this first; the default does nothing.
    fn prefetch(&mut self, slots: &[Slot]) {
        let _ = slots;
    }

    /// As [`score`](Scorer::score), for a caller who has no use for scores above `limit`: a slot whose score is above it may get
    /// [`Score::INFINITY`] instead.
    ///
    /// The default scores all. A store that can tell far rows from less than all their bytes overrides it; where it tells by an
    /// estimate, it may now and then be wrong, and its documentation says how often.
    ///
    /// # Errors
    ///
    /// As [`score`](Scorer::score).
    fn score_within(&mut self, slots: &[Slot], limit: Score, out: &mut [Score]) -> Result<(), Stopped> {
        let _ = limit;
        self.score(slots, out)
    }

    /// Writes the scores of the `out.len()` slots from `first` on.
    ///
    /// The default asks [`score`](Scorer::score) for 64 slots at a time. Stores whose rows are contiguous override it: that
    /// is what makes an exact scan run at memory bandwidth.
    ///
    /// # Errors
    ///
    /// As [`score`](Scorer::score).
    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        let mut next = first.0;
        let mut slots = [Slot(0); RUN_PART];
        for part in out.chunks_mut(RUN_PART) {
            let slots = &mut slots[..part.len()];
            for slot in slots.iter_mut() {
                *slot = Slot(next);
                next = next.saturating_add(1);
            }
            self.score(slots, part)?;
        }
        Ok(())
    }
}

/// A scorer that building an index can point at one stored vector after another.
///
/// # Contract
///
/// After `aim(s)` it scores as a fresh scorer made for the vector of `s` as query would, bit for bit. Aimed at a slot that
/// has no vector, everything scores [`Score::INFINITY`]. A row that cannot be read is reported by the next scoring call.
///
/// # Complexity
///
/// `aim` copies one vector at most and allocates nothing.
///
/// # Concurrency
///
/// As [`Scorer`]: one per building thread.
///
/// The conformance suite is [`conformance::check_build_scorer`](crate::conformance::check_build_scorer).
pub trait BuildScorer: Scorer {
    /// Makes the vector of `slot` the query from now on.
    fn aim(&mut self, slot: Slot);
}
