//! The rows of one named vector of one segment: growing in memory, then sealed in a file.
//!
//! Take this crate to keep vectors and to have them scored exactly. [`GrowingRows`] takes one row after another while others
//! read; [`RowsWriter`] and [`SealedRows`] write them to a container file once and read it in place. Both are a
//! [`VectorStore`], and give bit for bit the same scores.
//!
//! **It refuses** to know points, ids, payloads, graphs and codes; to change a vector after it was pushed; to normalise
//! anything (rows come back exactly as they were given); and to open files: it is handed a sink or a `Blob`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nearfield_ann::{AdmitAll, Budget, BySlot, Flat, Scratch, Search, TopK, VectorIndex};
//! use nearfield_codec::Region;
//! use nearfield_platform::MappedBlob;
//! use nearfield_types::{Metric, Slot};
//! use nearfield_vectors::{Element, GrowingRows, SealedRows, Shape, VectorStore, format, write_rows};
//!
//! let shape = Shape::new(2, Metric::Cosine, Element::F32)?;
//! let (mut writer, growing) = GrowingRows::create(shape);
//! for row in [Some([3.0, 4.0]), None, Some([1.0, 0.0])] {
//!     writer.push(row.as_ref().map(|row| &row[..]))?;
//! }
//!
//! let rows = (0..growing.len()).map(|slot| growing.row(Slot(slot)));
//! let (bytes, written) = write_rows(Vec::new(), shape, rows)?;
//! let blob = MappedBlob::open(Region::from(bytes), format::TAG)?;
//! let sealed = SealedRows::open(Arc::new(blob), shape, written.count)?;
//!
//! for store in [&*growing as &dyn VectorStore, &sealed] {
//!     let mut scorer = store.scorer(&[6.0, 8.0])?;
//!     let (mut best, budget) = (TopK::new(5, &BySlot), Budget::unlimited());
//!     let search = Search::new(&mut *scorer, &AdmitAll, &budget);
//!     Flat::new(store.len()).search(search, &mut Scratch::new(), &mut best)?;
//!     let slots: Vec<u32> = best.into_sorted().iter().map(|hit| hit.slot.0).collect();
//!     assert_eq!(slots, [0, 2]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! 1. Rows are stored as given and never move or change. A slot may have no vector; then its row is zeros on disk and nobody
//!    is shown it.
//! 2. A score depends on the query and the row alone, bit for bit: not on growing or sealed, not on list or run.
//! 3. Every score of a vector is finite; a slot without a vector, or beyond the length, scores infinity, which no result
//!    list takes.
//! 4. A growing store has one writer, which the type system sees to ([`GrowingWriter`] is not `Clone`). A reader captures the
//!    length once and never looks beyond it.
//! 5. Bytes of a sealed store are used only after the checksum of their block held, whenever they are touched first.
//!
//! # What a score is
//!
//! [`Metric::distance_of`](nearfield_types::Metric::distance_of) of what the kernel computed in f32, with three additions:
//!
//! * Where f32 overflows (values around 10^19 and beyond), or a cosine meets a vector with a norm outside 10^-15 to 10^15,
//!   the pair is computed again in f64 and the result clamped to the finite f32. So no vector is lost to an infinity or NaN.
//!   Distances beyond the largest f32 tie there, and squared distances below the smallest tie at 0.
//! * A cosine distance is clamped to 0..=2, so that rounding never shows a similarity above 1.
//! * `-0.0` is given as `0.0`.
//!
//! # Bytes
//!
//! `4 * dim` a vector in memory and on disk; 8 more in memory and, for cosine only, 4 more on disk (the inverse norm). Where
//! some slots have no vector, one bit a slot on disk and in memory.
//!
//! # Concurrency
//!
//! Stores are shared by any number of threads; readers of a growing store take no lock. A scorer belongs to one search.
//!
//! # Reading order
//!
//! `shape`, `store`, `score`, `growing`, `format`, `write`, `sealed`, `presence`.

#[cfg(target_endian = "big")]
compile_error!("sealed rows are read in place as little-endian f32: a big-endian reader is not written yet");

mod build;
pub mod format;
mod growing;
mod presence;
mod score;
mod sealed;
mod shape;
mod store;
mod write;

#[cfg(test)]
mod tests;

pub use build::RowBuildScorer;
pub use growing::{GrowingRows, GrowingWriter, PushError};
pub use score::distance;
pub use sealed::{OpenError, SealedRows};
pub use shape::{Element, Shape, ShapeError};
pub use store::VectorStore;
pub use write::{RowsWriter, WriteError, Written, write_rows};
