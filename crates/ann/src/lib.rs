//! The contract of vector search: what scores, what admits, what indexes, and the simplest index that keeps it.
//!
//! Take this crate to write an index ([`VectorIndex`]) or a store of vectors ([`Scorer`]), or to search exactly over any store
//! ([`Flat`], [`Among`]). An index written against it works with every store, and the suite in [`conformance`] tests both.
//!
//! **It refuses** to know how vectors are stored, what a distance means, which point a slot belongs to, and what time it is.
//! It sees slots and scores; bytes, ids, payloads, clocks and threads stay with its callers.
//!
//! ```
//! use nearfield_ann::{AdmitAll, Budget, BySlot, Flat, Scorer, Scratch, Search, Stopped, TopK, VectorIndex};
//! use nearfield_types::{Score, Slot};
//!
//! /// The distance of one number to many.
//! struct Line<'a> {
//!     query: f32,
//!     stored: &'a [f32],
//! }
//!
//! impl Scorer for Line<'_> {
//!     fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
//!         for (slot, score) in slots.iter().zip(out) {
//!             *score = self.stored.get(slot.index()).map_or(Score::INFINITY, |x| (x - self.query).abs());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let stored = [3.0, 9.0, 5.0, 1.0];
//! let mut scorer = Line { query: 4.0, stored: &stored };
//! let budget = Budget::unlimited();
//! let mut best = TopK::new(2, &BySlot);
//! let stats = Flat::new(4).search(Search::new(&mut scorer, &AdmitAll, &budget), &mut Scratch::new(), &mut best)?;
//! // 3 and 5 are equally far from 4: the tie is broken by slot.
//! assert_eq!(best.into_sorted().iter().map(|hit| hit.slot).collect::<Vec<_>>(), [Slot(0), Slot(2)]);
//! assert_eq!(stats.distances, 4);
//! # Ok::<(), Stopped>(())
//! ```
//!
//! # Invariants
//!
//! 1. A lower score is closer. Results are ordered by (score, then [`Ties`]); that order is total, so an answer does not
//!    depend on the order in which candidates were met.
//! 2. Only finite scores are results. A [`Scorer`] says `INFINITY` for a slot that has no vector; [`TopK`] refuses it, and
//!    NaN too.
//! 3. `-0.0` and `0.0` are one score: [`TopK`] keeps `0.0`.
//! 4. Nothing is allocated from `k`, from a length or from a limit alone: buffers grow with what was really found.
//! 5. A search that stops early says so ([`Stopped`]); what it left in the [`TopK`] is not an answer.
//!
//! # Units and shapes
//!
//! Slots are dense numbers from 0; scores are `f32` in the unit of the scorer; `slots` and `out` of one call have one length.
//!
//! # Complexity
//!
//! [`Flat`] makes one virtual call per 512 slots and nothing virtual per slot; [`TopK::push`] rejects in O(1) and keeps in
//! O(log k).
//!
//! # Concurrency
//!
//! Indexes, admissions, tie-breakers and budgets are shared by any number of threads; scorers, scratches and top-k lists
//! belong to one search at a time.
//!
//! # Reading order
//!
//! `scorer`, `admit`, `topk`, `budget`, `search`, `flat`, `recall`, `conformance`.

mod admit;
mod budget;
pub mod conformance;
mod flat;
pub mod recall;
mod scorer;
mod scratch;
mod search;
mod topk;

pub use admit::{Admit, AdmitAll, AdmitIf, Estimate};
pub use budget::{Budget, DISTANCES_PER_CHECK, Stopped};
pub use flat::{Among, Flat};
pub use scorer::{BuildScorer, Scorer};
pub use scratch::Scratch;
pub use search::{Effort, Margin, Search, Stats, VectorIndex};
pub use topk::{BySlot, Hit, Ties, TopK};
