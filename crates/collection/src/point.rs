//! What users hand in and get back.

use nearfield_payload::decode;
use nearfield_payload::filter::Filter;
use nearfield_segment::{Depth, Row};
use nearfield_types::{Object, PointId, Score, Seq};

use crate::config::VectorConfig;
use crate::error::{Error, ErrorKind, Result};

/// A point to store.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name, unique in the collection.
    pub id: PointId,
    /// Its vectors.
    pub vectors: Vectors,
    /// What is stored beside them.
    pub payload: Object,
}

impl Point {
    /// A point with one vector and no payload.
    pub fn new(id: impl Into<PointId>, vector: Vec<f32>) -> Self {
        Point { id: id.into(), vectors: Vectors::One(vector), payload: Object::new() }
    }

    /// The same with this payload.
    #[must_use]
    pub fn payload(mut self, payload: Object) -> Self {
        self.payload = payload;
        self
    }
}

/// The vectors of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Vectors {
    /// The vector with the empty name.
    One(Vec<f32>),
    /// Vectors by name. Those of the configuration that are left out, the point does not have.
    Named(Vec<(String, Vec<f32>)>),
}

/// What is wanted of each point found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct With {
    /// Its payload.
    pub payload: bool,
    /// Its vectors.
    pub vectors: bool,
}

impl With {
    /// Payload and vectors.
    pub const ALL: With = With { payload: true, vectors: true };
    /// The id alone.
    pub const NOTHING: With = With { payload: false, vectors: false };
    /// The payload alone.
    pub const PAYLOAD: With = With { payload: true, vectors: false };
}

/// Vectors by name, as they were given.
pub type NamedVectors = Vec<(String, Vec<f32>)>;

/// A stored point.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name.
    pub id: PointId,
    /// Its payload, if asked for.
    pub payload: Option<Object>,
    /// Its vectors as they were given, if asked for.
    pub vectors: Option<NamedVectors>,
}

/// A question for the nearest points.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What to be near to.
    pub vector: &'a [f32],
    /// Which vector of the points to compare; the empty name by default.
    pub using: &'a str,
    /// At most this many answers.
    pub limit: usize,
    /// What is wanted of each.
    pub with: With,
    /// How hard to look.
    pub depth: Depth,
    /// Only points that pass this.
    pub filter: Option<&'a Filter>,
}

impl<'a> Query<'a> {
    /// The `limit` points nearest to `vector`, ids and distances only.
    pub fn new(vector: &'a [f32], limit: usize) -> Self {
        Query { vector, using: "", limit, with: With::NOTHING, depth: Depth::Auto, filter: None }
    }

    /// Compares the vector called `name`.
    #[must_use]
    pub fn using(mut self, name: &'a str) -> Self {
        self.using = name;
        self
    }

    /// Says what is wanted of each point found.
    #[must_use]
    pub fn with(mut self, with: With) -> Self {
        self.with = with;
        self
    }

    /// Looks among the points that pass `filter` alone.
    #[must_use]
    pub fn filter(mut self, filter: &'a Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Keeps so many candidates open in each graph: more looks longer and finds more of the nearest.
    #[must_use]
    pub fn ef(mut self, ef: u32) -> Self {
        self.depth = Depth::Breadth(ef);
        self
    }

    /// Looks as hard as is needed to find this share of the nearest points, 0.5 to 0.999, by what was measured when each graph was
    /// finished.
    #[must_use]
    pub fn recall(mut self, recall: f32) -> Self {
        self.depth = Depth::Recall(recall);
        self
    }

    /// Looks at every point.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.depth = Depth::Exact;
        self
    }
}

/// A point found by a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its name.
    pub id: PointId,
    /// Its exact distance in the engine's unit: lower is closer. [`nearfield_types::Metric::similarity`] turns it into the number
    /// people expect of the metric.
    pub distance: Score,
    /// Its payload, if asked for.
    pub payload: Option<Object>,
    /// Its vectors as they were given, if asked for.
    pub vectors: Option<NamedVectors>,
}

/// A payload as it is stored: an object for whoever looks at it. A clone is another handle.
#[derive(Clone, Debug)]
pub struct PackedPayload(pub(crate) Row);

impl PackedPayload {
    /// The payload. O(bytes).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the stored bytes are damaged.
    pub fn unpack(&self) -> Result<Object> {
        unpacked(&self.0)
    }
}

/// The object of a payload row.
pub(crate) fn unpacked(row: &[u8]) -> Result<Object> {
    decode(row).map_err(|e| Error::caused(ErrorKind::Corrupt, "a payload row is damaged", e))
}

/// A point found by a search, its payload as it is stored.
#[derive(Clone, Debug)]
pub struct PackedHit {
    /// Its name.
    pub id: PointId,
    /// As in [`Hit`].
    pub distance: Score,
    /// Its payload.
    pub payload: PackedPayload,
}

/// Bytes on disk by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskBytes {
    /// Rows of vectors.
    pub vectors: u64,
    /// Payload rows.
    pub payload: u64,
    /// Point maps.
    pub ids: u64,
    /// Codes, graphs and payload indexes together, which can be made anew from the rows.
    pub index: u64,
    /// The codes among these.
    pub codes: u64,
    /// The graphs among these.
    pub graphs: u64,
    /// The payload indexes among these.
    pub field_indexes: u64,
    /// The log, room reserved for it included.
    pub log: u64,
    /// Manifests and deltas.
    pub other: u64,
}

impl DiskBytes {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.vectors + self.payload + self.ids + self.index + self.log + self.other
    }
}

/// Rows that searches scan because no graph holds them yet. Segments so small that they are to be scanned are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// How many rows.
    pub rows: u64,
    /// Bytes that a search reads for them: of their codes, where there are some, else of their vectors.
    pub bytes: u64,
    /// Microseconds that this adds to a search, estimated: at ten gigabytes a second.
    pub micros: u64,
}

/// How a vector is indexed, and how far.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorStats {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: VectorConfig,
    /// Rows that graphs hold, dead ones included.
    pub indexed_rows: u64,
    /// Rows that are scanned: in segments too small for a graph, and those of the debt.
    pub scanned_rows: u64,
    /// Indexes built with earlier settings.
    pub stale_indexes: u64,
}

/// How a collection is, in a word and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is done.
    Green,
    /// The background is at work, for these reasons.
    Yellow(Vec<String>),
    /// There is work that nobody does: the settings have turned the background off.
    Grey(Vec<String>),
    /// It takes no writes, for this reason.
    Red(String),
}

impl Status {
    /// The word: green, yellow, grey or red.
    pub fn name(&self) -> &'static str {
        match self {
            Status::Green => "green",
            Status::Yellow(_) => "yellow",
            Status::Grey(_) => "grey",
            Status::Red(_) => "red",
        }
    }

    /// Why it is not green.
    pub fn reasons(&self) -> &[String] {
        match self {
            Status::Green => &[],
            Status::Yellow(reasons) | Status::Grey(reasons) => reasons,
            Status::Red(reason) => std::slice::from_ref(reason),
        }
    }
}

/// The state of a collection, true at one Seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Points that can be found.
    pub points: u64,
    /// Rows that can no longer be found and still take room.
    pub deleted: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Rows in memory, not sealed yet, dead ones included.
    pub growing_rows: u64,
    /// Rows in memory that no graph holds yet: searches scan them.
    pub unlinked_rows: u64,
    /// Sealed segments that wait for an index: searches scan them.
    pub unindexed_segments: u64,
    /// What searches have to scan for want of a graph, and what that costs.
    pub debt: Debt,
    /// Indexes built with settings that are no longer those of the collection: they serve, and are built anew by merges and
    /// [`Collection::rebuild`](crate::Collection::rebuild).
    pub stale_indexes: u64,
    /// Segments that are being merged, or that the settings ask to be merged or written anew next.
    pub unmerged_segments: u64,
    /// Indexes found damaged or missing when the collection was opened; they are built anew.
    pub damaged_indexes: u64,
    /// Payload indexes that there are.
    pub field_indexes: u64,
    /// Those of them that some rows are still to be taken into: such rows are tested one by one.
    pub unbuilt_field_indexes: u64,
    /// Graphs over one partition each, beside the whole ones; see [`CollectionConfig::partition_by`](crate::CollectionConfig::partition_by).
    pub partition_graphs: u64,
    /// Bytes of memory held by codes, graphs and payload indexes, mapped files not counted.
    pub index_memory_bytes: u64,
    /// Bytes of codes and graphs in mapped files. They are read whole when they are opened, so this estimates what is resident of them while
    /// the system has no better use for the memory; rows and payload are mapped besides, and come in as they are asked for.
    pub mapped_index_bytes: u64,
    /// Bytes on disk.
    pub disk: DiskBytes,
    /// Bytes held in memory: rows not sealed yet, and payload changes of sealed ones.
    pub memory_bytes: u64,
    /// Readers see every operation at or before this.
    pub visible_seq: Seq,
    /// Every operation at or before this survives power loss.
    pub synced_seq: Seq,
    /// Every operation at or before this is in sealed files.
    pub flushed_seq: Seq,
}
