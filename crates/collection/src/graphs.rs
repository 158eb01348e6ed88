//! What the graphs of a collection look like, for people who tune them.

use nearfield_hnsw::GraphStats;

use crate::view::View;

impl View {
    /// Figures of the graphs of the vector `name`, one for each segment that has one; the others are scanned. O(links).
    pub fn graph_stats(&self, name: &str) -> Vec<GraphStats> {
        let Some((vector, _)) = self.config.find(name) else { return Vec::new() };
        let members = self.version.members().iter();
        members.filter_map(|member| member.segment.graph_stats(vector)).collect()
    }
}
