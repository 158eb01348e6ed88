//! Codes of vectors: a few bits for each dimension, and scorers that estimate distances from them.
//!
//! Take this crate to search vectors by codes an eighth or a quarter of their size. A [`Codec`] turns vectors into codes and
//! queries into [`Prepared`] ones; [`GrowingCodes`] takes one code after another while others read, [`write_codes`] and
//! [`SealedCodes`] keep them in a file. Both are [`Codes`], and give bit for bit the same scores. For exact distances take
//! `nearfield-vectors`; an index that walks on codes asks it to score the best candidates again.
//!
//! **It refuses** to know graphs, points, ids and what a query is for; to read files (it is handed a container's bytes); to be
//! trained behind the caller's back: a codec's numbers are given, and [`choose`](choose()) is a pure function that suggests some.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nearfield_ann::{AdmitAll, Budget, BySlot, Flat, Scratch, Search, TopK, VectorIndex};
//! use nearfield_codec::{Container, Region};
//! use nearfield_quant::{
//!     Codec, CodecConfig, Codes, GrowingCodes, Precision, RotatedConfig, SealedCodes, format, write_codes,
//! };
//! use nearfield_types::{Metric, Slot};
//!
//! let config = RotatedConfig { dim: 64, metric: Metric::Cosine, epoch: 0, seed: Some(1), mean: vec![] };
//! let codec = Arc::new(Codec::new(CodecConfig::Rotated(config))?);
//! let (mut writer, growing) = GrowingCodes::create(codec);
//! for i in 0..100 {
//!     let row: Vec<f32> = (0..64).map(|j| ((i * j) as f32).sin()).collect();
//!     assert_eq!(writer.push(Some(&row)), Some(Slot(i)));
//! }
//!
//! let (bytes, _) = write_codes(Vec::new(), growing.codec(), growing.len(), |slot| growing.row(Slot(slot)))?;
//! let sealed = SealedCodes::open(&Container::open(Region::from(bytes), format::TAG)?)?;
//!
//! let query: Vec<f32> = (0..64).map(|j| ((7 * j) as f32).sin()).collect();
//! let query = growing.query(&query)?; // serves both stores
//! for codes in [&*growing as &dyn Codes, &sealed] {
//!     let mut scorer = codes.scorer(&query, Precision::Fine);
//!     let (mut best, budget) = (TopK::new(1, &BySlot), Budget::unlimited());
//!     let search = Search::new(&mut scorer, &AdmitAll, &budget);
//!     Flat::new(codes.len()).search(search, &mut Scratch::new(), &mut best)?;
//!     assert_eq!(best.into_sorted()[0].slot, Slot(7));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which codec
//!
//! | codec | bytes at 384 dimensions | error of a cosine | for |
//! |---|---|---|---|
//! | [`Rotated`], [`Precision::Coarse`] | 192 + 4 | 0.006 | walking a graph; the true ten lie in the best 15 to 20 |
//! | [`Rotated`], [`Precision::Fine`] | 384 + 4 | 0.0008 | building a graph, refining candidates |
//! | [`Scalar`] | 384 + 4 | 0.003 at quantile 0.99 | users who ask for int8; hurt by outlier dimensions |
//!
//! A codec with a mean, and every one for Euclid, takes 4 bytes more. The two planes of a rotated code lie apart, so a walk reads
//! the first alone.
//!
//! # Invariants
//!
//! 1. Codes, prepared queries and scores have the same bits on every processor: nothing here depends on the width of registers.
//! 2. A score depends on query, code and precision alone: not on growing or sealed, on list, run or batch.
//! 3. Scores are estimates without bias: an estimated cosine or Euclidean distance may be a little below 0. They are finite, and
//!    infinity for a slot without a vector or beyond the length.
//! 4. A growing store has one writer; a reader captures the length once and never looks beyond it.
//! 5. No panic is reachable from the bytes of a file. What was damaged and not verified gives wrong scores.
//!
//! # Complexity
//!
//! At 384 dimensions, with a rotation: about a microsecond to encode a vector or prepare a query, some ten nanoseconds for a
//! score that is in the cache and a few times that for one that is not. Scorers allocate once, then nothing.
//!
//! # Reading order
//!
//! `codec` (the contract), `rotated`, `rotation`, `scalar`, `layout`, `lanes`, `config`, `choose`; `prepared`, `rows`, `scorer`;
//! `store`, `growing`, `format`, `write`, `sealed`.

#[cfg(target_endian = "big")]
compile_error!("factors are read in place as little-endian f32: a big-endian reader is not written yet");

mod choose;
mod codec;
mod config;
pub mod format;
mod growing;
mod lanes;
mod layout;
mod prepared;
mod rotated;
mod rotation;
mod rows;
mod scalar;
mod scorer;
mod sealed;
mod store;
mod write;

#[cfg(test)]
mod tests;

pub use choose::{Choice, choose};
pub use codec::{Codec, Quantizer};
pub use config::{CodecConfig, ConfigError, RotatedConfig, ScalarConfig};
pub use growing::{CodesWriter, GrowingCodes};
pub use layout::{CodeBuffer, CodeLayout, CodeRow, Precision};
pub use prepared::{Prepared, QueryError};
pub use rotated::Rotated;
pub use rotation::Rotation;
pub use rows::Rows;
pub use scalar::Scalar;
pub use scorer::{CodeBuildScorer, CodeScorer};
pub use sealed::{OpenError, SealedCodes};
pub use store::Codes;
pub use write::{WriteError, write_codes, write_rows};
