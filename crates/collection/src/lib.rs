//! One durable collection: its log, its versions, its one writer, checkpoints and recovery.
//!
//! **It refuses** to know other collections, aliases, protocols and threads: whoever owns it calls [`Collection::maintain_log`],
//! [`Collection::maintain_segments`], [`Collection::maintain_links`], [`Collection::maintain_indexes`],
//! [`Collection::maintain_merges`], [`Collection::follow_fields`] and [`Collection::maintain_fields`].
//!
//! # Invariants
//!
//! 1. Ground truth is the log and the files named by the newest manifest. Everything else can be lost.
//! 2. One writer: it validates, resolves against the applied state, logs, and applies at once. Replay is a pure function of
//!    the log.
//! 3. Readers see an operation whole or not at all: they hold a version and one Seq taken from it, and the Seq advances only
//!    over operations that are applied whole and, in `sync` durability, on the disk.
//! 4. A checkpoint at L writes every death and patch at or before L before its manifest commits; later ones are carried over
//!    inside the switch.
//! 5. A failed log write, log sync or manifest swap stops the shard for good; nothing else does.
//! 6. Log is released, and files are removed, only when neither of the last two manifests needs them.
//!
//! # Reading order
//!
//! `collection` (the parts), `writer`, `passing`, `version`, `view` (the readers), `facet`, `order`, `group`, `checkpoint`, `indexing` (`index_entries`), `fields`, `merging` (`policy`, `optimizers`), `rebuilding`, `turns`, `settings`, `recovery`, then `manifest`, `cell`, `operation`,
//! `prepare`, `point`, `config`, `error`.

mod cell;
mod checkpoint;
mod collection;
mod config;
mod error;
mod explain;
mod facet;
mod fields;
pub mod format;
mod graphs;
mod group;
mod index_entries;
mod indexing;
mod manifest;
mod merging;
mod operation;
mod optimizers;
mod order;
mod passing;
mod point;
pub mod policy;
mod prepare;
mod rebuilding;
mod recovery;
mod restore;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod settings;
mod snapshot;
mod stats;
mod turns;
mod version;
mod view;
mod writer;

pub use cell::{Cell, CellError, ManifestCell, Versioned, decode as decode_cell};
pub use collection::{Collection, CollectionOptions, Durability};
pub use config::{CollectionConfig, IndexConfig, PartitionConfig, VectorConfig};
pub use error::{Error, ErrorKind, Result};
pub use explain::{Explanation, SegmentExplanation};
pub use facet::{FACET_BYTES_MAX, FacetHit};
pub use fields::{FieldIndexInfo, FieldIndexState};
pub use group::Group;
pub use manifest::{Fields, FileEntry, FileKind, IndexEpoch, Manifest, SegmentEntry};
pub use nearfield_payload::index::{Direction, Estimate as CountEstimate};
pub use nearfield_payload::index::{IndexConfig as FieldConfig, IndexKind as FieldKind, IndexMemory};
pub use nearfield_segment::{Depth, OrderValue, PayloadField, Plan, Quantization, Work};
pub use optimizers::OptimizerConfig;
pub use order::{OrderBy, OrderedRecord};
pub use point::{
    Debt, DiskBytes, Hit, NamedVectors, PackedHit, PackedPayload, Point, Query, Record, Stats, Status,
    VectorStats, Vectors, With,
};
pub use recovery::OpenReport;
pub use restore::Blueprint;
pub use snapshot::{Captured, store_error, whereabouts};
pub use view::View;
