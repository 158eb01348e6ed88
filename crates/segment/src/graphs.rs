//! What the graphs of a segment look like, for people who tune them.
//!
//! It refuses to keep anything: every call counts anew.

use nearfield_hnsw::GraphStats;

use crate::segment::Segment;

impl Segment {
    /// Figures of the graph of the vector at place `vector`; `None` while there is none. O(links). The graph of a segment in memory is
    /// copied first, and nobody links meanwhile.
    pub fn graph_stats(&self, vector: usize) -> Option<GraphStats> {
        match self {
            Segment::Growing(growing) => growing.graphs().into_iter().nth(vector)?.map(|graph| graph.stats()),
            Segment::Sealed(sealed) => sealed.indexed(vector).map(|index| index.graph().stats()),
        }
    }
}
