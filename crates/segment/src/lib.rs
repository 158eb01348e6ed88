//! Growing and sealed segments: rows, payload, ids, deaths and patches of a part of a collection, and the search of one.
//!
//! **It refuses** to know the log, other segments, names given by users, and when to seal: `collection` decides that.
//!
//! # Invariants
//!
//! 1. A row is visible at Seq S iff `born <= S < died`; nothing is de-duplicated at read time.
//! 2. At any S at most one row of an id is visible in all segments of a version: the writer kills the old row at the Seq at
//!    which the new one is born.
//! 3. A slot is never reused. Sealing keeps the order of slots, or that of the tenant field and of slots within, and drops rows that
//!    are dead at its checkpoint.
//! 4. A sealed segment holds only rows born at or before its checkpoint L, and is read at S >= L only.
//! 5. Deaths and patches never touch files; a checkpoint writes them beside, as a delta.
//! 6. Indexes are derived from rows: one that is missing, behind or lost changes how fast answers come and how many of the nearest
//!    are found, never which points there are.
//!
//! # Concurrency
//!
//! One writer (`push`, `kill`, `patch`), one who links (`catch_up`), any readers. What a reader may see is decided by the Seq it holds, which its version
//! publishes with Release after the writer applied the operation.
//!
//! # Reading order
//!
//! `segment` (the questions), `field` (the search of one vector), `index`, `build`, `trial`, `interim`, `growing`, `sealed`, `payload_index`, `selection` (`facet`, `ordered`), `changes` (`deaths`, `patches`, `deltas`), `ids`, `seal`, `merge`, `partitions`, `format`.

mod build;
mod calibration;
mod changes;
mod deaths;
mod deltas;
mod error;
mod facet;
mod field;
mod filtered;
pub mod format;
mod graphs;
mod growing;
mod ids;
mod index;
mod index_files;
mod interim;
mod merge;
mod ordered;
mod partitions;
mod patches;
mod payload_index;
mod schema;
mod seal;
mod sealed;
mod segment;
mod selection;
mod trial;

pub use build::{
    BuildPhase, Built, CodeSource, Inheritance, Source, Watch, build, build_merged, build_partitions,
};
pub use calibration::{Calibration, RECALL_MAX, RECALL_MIN, Tier};
pub use deltas::Delta;
pub use error::{IndexError, OpenError, SearchError};
pub use facet::CountValue;
pub use field::{Depth, Field, FieldAsk, GRAPH_ROWS_MIN};
pub use filtered::{Filtering, Plan, Work};
pub use growing::{Growing, NewPoint};
pub use index::{GrowingIndex, IndexOptions, Quantization, SealedIndex};
pub use index_files::{IndexFiles, IndexName, codes_file, graph_file, open_index, write_index};
pub use merge::{MergeError, Merged, Steps, merge};
pub use ordered::{OrderAsk, OrderValue, Placed};
pub use partitions::{BuiltPartition, PARTITION_GRAPH_ROWS, partitions_file, write_partitions};
pub use patches::Row;
pub use payload_index::{FieldError, PayloadField, field_file, open_field};
pub use schema::Schema;
pub use seal::{FileSink, Heritage, Written, seal, write_file};
pub use sealed::{IDS_FILE, PAYLOAD_FILE, Sealed, SealedFiles, SegmentBytes, vectors_file};
pub use segment::{Ask, Found, Segment};
pub use selection::RowTest;
