//! Nearfield, the embedded vector database: a directory is a database of durable collections.
//!
//! **It refuses** to know protocols, serialisation formats of the outside, async runtimes, and anything inside a collection.
//!
//! ```
//! use nearfield::{CollectionConfig, Database, Metric, Options, Point, Query};
//!
//! # fn main() -> nearfield::Result<()> {
//! # let place = std::env::temp_dir().join(format!("nearfield-doc-{}", std::process::id()));
//! let db = Database::open(&place, Options::default())?;
//! let books = db.create_collection("books", CollectionConfig::new(2, Metric::Cosine))?;
//! books.upsert(vec![Point::new(1, vec![1.0, 0.0]), Point::new("b", vec![0.6, 0.8])])?;
//! let hits = books.search(&Query::new(&[1.0, 0.1], 1))?;
//! assert_eq!(hits[0].id, 1.into());
//! db.close()?;
//! # std::fs::remove_dir_all(place).unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! # Durability
//!
//! With [`Durability::Process`], the default here, an acknowledged write survives a killed process, and power loss once its
//! group was synced, which begins within 200 ms unless the disk is still busy with the group before. With [`Durability::Sync`] it survives power loss. Damage is detected; a damaged truth file is refused and named.
//!
//! # Searching
//!
//! A search walks a graph over codes of the vectors and answers with exact distances; rows that no graph holds yet are scanned, so
//! that what was written is found at once. How hard it looks is said with the query: [`Query::ef`], [`Query::recall`] or
//! [`Query::exact`]. Graphs are linked and rebuilt in the background; [`Collection::wait_indexed`] waits for them.
//!
//! # Invariants
//!
//! 1. One process writes: it holds the lock of the directory. In that process all handles share one database.
//! 2. The catalog is the one commit point for names: a collection exists iff the catalog names it.
//! 3. A task is written down before its id is known to anybody, and so is its end.
//! 4. A collection is opened at first use; a damaged one does not keep the others from opening.
//!
//! # Reading order
//!
//! `database`, `shared`, `slots`, `states`, `background`, `collection`, `catalog`, `options`, `tasks`, `reader`; `snapshots`, `restore`,
//! `archive`.

/// The example of the README is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod archive;
mod background;
mod catalog;
mod collection;
mod database;
pub mod filter;
pub mod format;
mod index;
mod ledger;
mod options;
mod reader;
mod restore;
mod shared;
mod slots;
mod snapshots;
mod states;
mod tasks;

pub use archive::{Archived, Uploaded};
pub use collection::Collection;
pub use database::Database;
pub use index::{Breadth, Calibration, Index, IndexOptions, IndexStats, Quantization, SearchStats, Tier};
pub use nearfield_collection::{
    CollectionConfig, CollectionOptions, CountEstimate, Debt, Depth, Direction, DiskBytes, Durability, Error,
    ErrorKind, Explanation, FACET_BYTES_MAX, FacetHit, FieldConfig, FieldIndexInfo, FieldIndexState,
    FieldKind, Group, Hit, IndexConfig, IndexMemory, NamedVectors, OptimizerConfig, OrderBy, OrderValue,
    OrderedRecord, PackedHit, PackedPayload, PartitionConfig, PayloadField, Plan, Point, Query, Record,
    Result, SegmentExplanation, Stats, Status, VectorConfig, VectorStats, Vectors, View, With, Work,
};
pub use nearfield_hnsw::GraphStats;
pub use nearfield_payload::text::{Language, TextConfig, Tokenizer};
pub use nearfield_types::{
    Metric, NameError, Object, PointId, Progress, Score, Seq, UnknownMetric, Uuid, Value, ValueError,
    check_name, limits,
};
pub use options::Options;
pub use reader::Reader;
pub use restore::{Replace, Restored, Verified};
pub use snapshots::info::{SnapshotCollection, SnapshotFile, SnapshotInfo, SnapshotName};
pub use snapshots::{SnapshotListing, SnapshotPin};
pub use states::CollectionState;
pub use tasks::{Task, TaskFilter, TaskId, TaskKind, TaskState};
