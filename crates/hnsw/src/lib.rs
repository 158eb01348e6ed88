//! HNSW: a graph that finds the nearest vectors without looking at all of them, over any scorer.
//!
//! **Should I use this crate?** Take it if you have vectors of your own, in whatever form, and want the index alone: you write a
//! [`Scorer`](nearfield_ann::Scorer) that says how far slots are from a query, and get building from many threads, searching while
//! building, filters, budgets, merging, one checksummed file that is searched in place, and a full check of it. Take the `nearfield`
//! crate if you also want vectors and codes kept for you.
//!
//! **It refuses** to see a vector, to know a metric, ids, payloads or files other than its own bytes, to start threads, and to
//! rescore: results carry the scores of the scorer that walked.
//!
//! ```
//! use nearfield_ann::conformance::Points;
//! use nearfield_ann::{AdmitAll, Budget, BySlot, Effort, Scratch, Search, TopK, VectorIndex};
//! use nearfield_hnsw::{Graph, Linker, Params, Scorers};
//! use nearfield_types::Slot;
//!
//! // 2,000 points in 16 dimensions; `Points` is a scorer over f32 rows for tests and examples.
//! let points = Points::clustered(2_000, 16, 7);
//! let graph = Graph::new(Params::new(16, 100)?);
//! let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
//! let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
//! let mut linker = Linker::new();
//! for slot in (0..points.len()).map(Slot) {
//!     graph.link(slot, &mut scorers, &mut linker)?;
//! }
//!
//! let mut query = points.scorer(points.row(Slot(42)).unwrap());
//! let (budget, mut scratch, mut best) = (Budget::unlimited(), Scratch::new(), TopK::new(10, &BySlot));
//! let search = Search { effort: Effort::Breadth(64), ..Search::new(&mut query, &AdmitAll, &budget) };
//! let stats = graph.search(search, &mut scratch, &mut best)?;
//! assert_eq!(best.into_sorted()[0].score, 0.0);
//! assert!(stats.distances < 1_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Life of a graph
//!
//! | step | call | threads |
//! |---|---|---|
//! | link nodes, in any order | [`Graph::link`] | any number |
//! | choose every row anew, knowing all nodes (optional) | [`Graph::refine`] | any number |
//! | make every node reachable | [`Graph::reconnect`] | one |
//! | write the file | [`format::write`] | one |
//! | search the file where it lies | [`GraphView::open`] | any number |
//! | take the links of one or several over into a new graph, without the dead | [`Graph::adopt`] | any number |
//! | check everything | [`verify::Verify`] | one |
//!
//! # Invariants
//!
//! 1. A row of level 0 has at most `2 m` neighbours, one of an upper level at most `m`; a neighbour stands on that level.
//! 2. A slot stands on level `l` or above with probability `m^-l`, drawn from seed and slot alone.
//! 3. A row never names its own slot, nor a slot that was not published before.
//! 4. After [`Graph::reconnect`] every linked slot can be reached from the entry over level 0, or hangs in the chain of one that can.
//! 5. A slot with the same vector as a linked one is chained to it and not linked itself; a result stands for its chain.
//! 6. What is not admitted is walked through, never returned.
//!
//! # Complexity
//!
//! At `m` = 16, searching 116,659 text embeddings scores about `330 + 16 * ef` slots: 618 at recall 0.95. Linking costs a search of breadth
//! `ef_construction` and a few hundred scores of the judge. Memory: `4 (2 m, rounded up to 16)` bytes a node on level 0, about
//! `4 m / (m - 1)` for upper levels, 4 for chains while in memory: 137 bytes at `m` = 16.
//!
//! # Units and shapes
//!
//! Slots are dense numbers from 0, below 2^31. Scores are the scorer's; lower is closer. `m` is links, `ef` is candidates.
//!
//! # Concurrency
//!
//! Searches take no lock and allocate nothing once their scratch is warm. Linking threads hold one of 4,096 stripe locks for the
//! row they change. See [`Graph`] for who may call what.
//!
//! # Determinism
//!
//! One linking thread: the same parameters, seed, order and scorers give the same graph, bit for bit, on every processor whose
//! scorer gives the same scores. Searching is deterministic always. The counts of hops and distances are golden numbers of the tests.
//!
//! # The file
//!
//! [`mod@format`] has the layout. Readers refuse files of a later read version; every byte lies under a CRC-32C. A file is checked
//! by `Container::verify_all`; a row that lies about its neighbours can cost recall, never memory safety or an endless loop.
//!
//! # Quirks
//!
//! * Scores that are negative inner products need [`Geometry::Product`]: see there.
//! * The codes of many engines give estimates that are slightly below 0 for equal vectors; nothing here minds.
//! * A filter that admits less than a few in a thousand is better served by [`Among`](nearfield_ann::Among) its slots.
//!
//! # Reading order
//!
//! `params`, `pool`, `links`, `walk` (the loop), `search`, `select`, `graph`, `link`, `refine`, `adopt`, `format`, `view`, `verify`.
//!
//! Sources: Malkov and Yashunin 2016 (arXiv 1603.09320); Subramanya et al. 2019 (DiskANN) for slack and the second pass.

mod adopt;
pub mod format;
mod graph;
mod levels;
mod link;
mod links;
mod params;
mod pool;
mod refine;
mod search;
mod select;
mod stats;
pub mod verify;
mod view;
mod walk;

#[cfg(test)]
mod tests;

pub use adopt::{Adopted, Each, Stage, Step};
pub use graph::{Graph, Scorers};
pub use link::Linker;
pub use params::{EF_CONSTRUCTION_MAX, EF_MAX, Geometry, M_MAX, Params, ParamsError};
pub use refine::{Refinement, Turned};
pub use search::{Question, Steps, Ticket};
pub use stats::GraphStats;
pub use view::{GraphView, OpenError};
