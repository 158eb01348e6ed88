//! What a graph looks like, for people who tune it.
//!
//! It refuses to judge: [`crate::verify`] does.

use crate::links::{Links, NO_SLOT};

/// Figures of one graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphStats {
    /// Nodes and duplicates.
    pub linked: u32,
    /// Slots chained to a node with the same vector.
    pub duplicates: u32,
    /// Nodes by the highest level they stand on.
    pub levels: Vec<u32>,
    /// Links of level 0.
    pub links: u64,
    /// Nodes by the number of their level-0 links.
    pub degrees: Vec<u32>,
    /// Bytes in memory; of a mapped graph, without the map.
    pub memory: u64,
}

impl GraphStats {
    /// Level-0 links of a node, on average.
    pub fn degree_mean(&self) -> f64 {
        let nodes: u32 = self.degrees.iter().sum();
        self.links as f64 / f64::from(nodes.max(1))
    }
}

pub(crate) fn gather<L: Links>(links: &L, linked: u32, memory: u64) -> GraphStats {
    let width = links.width(0);
    let mut stats = GraphStats {
        linked,
        duplicates: links.duplicates(),
        levels: vec![0; links.top() as usize + 1],
        degrees: vec![0; width + 1],
        memory,
        ..GraphStats::default()
    };
    let degree = |slot, level| {
        let mut degree = 0;
        links.neighbours(slot, level, |neighbour| degree += u32::from(neighbour != NO_SLOT));
        degree
    };
    for slot in 0..links.len() {
        let links_of_slot = degree(slot, 0);
        if links_of_slot == 0 && links.entry(0) != Some(slot) {
            continue;
        }
        stats.links += u64::from(links_of_slot);
        stats.degrees[links_of_slot as usize] += 1;
        let highest = (1..=links.top()).rev().find(|&level| degree(slot, level) > 0).unwrap_or(0);
        stats.levels[highest as usize] += 1;
    }
    stats
}
