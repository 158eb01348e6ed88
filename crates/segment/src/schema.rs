//! The vectors every point of a segment may have, how each is indexed, and what rows are put together by.

use nearfield_hnsw::{EF_CONSTRUCTION_MAX, M_MAX, Params};
use nearfield_payload::Path;
use nearfield_vectors::Shape;

use crate::field::GRAPH_ROWS_MIN;
use crate::index::{IndexOptions, Quantization};

/// Seeds levels and rotations: the same rows in the same order give the same graph.
const SEED: u64 = 42;

/// The shapes of the named vectors, in the order of the collection's configuration. Names stay above.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    shapes: Vec<Shape>,
    indexes: Vec<IndexOptions>,
    partition: Option<Path>,
    graph_rows_min: u32,
}

impl Schema {
    /// These vectors, in this order, indexed as usual.
    pub fn new(shapes: Vec<Shape>) -> Self {
        let indexes = vec![IndexOptions::default(); shapes.len()];
        Schema { shapes, indexes, partition: None, graph_rows_min: GRAPH_ROWS_MIN }
    }

    /// These vectors, in this order, each with the way it is indexed.
    pub fn indexed(vectors: impl IntoIterator<Item = (Shape, IndexOptions)>) -> Self {
        let (shapes, indexes) = vectors.into_iter().unzip();
        Schema { shapes, indexes, partition: None, graph_rows_min: GRAPH_ROWS_MIN }
    }

    /// The same, with rows of one value at `path` put together when they are sealed.
    #[must_use]
    pub fn partitioned(mut self, path: Option<Path>) -> Self {
        self.partition = path;
        self
    }

    /// The same, with a graph only where there are at least so many rows; [`GRAPH_ROWS_MIN`] is usual.
    #[must_use]
    pub fn graph_from(mut self, rows: u32) -> Self {
        self.graph_rows_min = rows;
        self
    }

    /// Segments of fewer rows are scanned.
    pub fn graph_rows_min(&self) -> u32 {
        self.graph_rows_min
    }

    /// Where the values are whose rows are put together.
    pub fn partition(&self) -> Option<&Path> {
        self.partition.as_ref()
    }

    /// The shapes in order.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// How each vector is indexed, in the same order.
    pub fn indexes(&self) -> &[IndexOptions] {
        &self.indexes
    }
}

impl IndexOptions {
    /// A graph of `m` links a node (twice as many on level 0), made with `ef_construct` candidates; values outside the limits
    /// count as the limit.
    pub fn graph_of(m: u32, ef_construct: u32, quantization: Quantization) -> IndexOptions {
        let params = Params::new(m.clamp(2, M_MAX), ef_construct.clamp(1, EF_CONSTRUCTION_MAX));
        let params = params.expect("both are within their limits").with_seed(SEED);
        IndexOptions { params, quantization, seed: SEED }
    }
}

/// m 16, ef_construct 100, codes chosen by metric and dimension.
impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions::graph_of(16, 100, Quantization::Auto)
    }
}
