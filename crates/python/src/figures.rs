//! `stats`: figures about a database by the names of the original.

use nearfield::GraphStats;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;
use crate::handle::Handle;

/// What `stats` tells.
#[derive(Debug)]
pub(crate) struct Figures {
    vectors: u64,
    deleted: u64,
    vectors_bytes: u64,
    /// One for each part of the records that has a graph; the others are all looked at.
    graphs: Vec<GraphStats>,
    /// Codes and graphs in memory.
    index_bytes: u64,
    quantized: bool,
}

/// Counts what there is.
pub(crate) fn gather(handle: &Handle) -> Result<Figures, Failure> {
    let (view, deleted) = (handle.view()?, handle.deleted()?);
    let index_bytes = match handle.held()? {
        Some(store) => store.collection().stats()?.index_memory_bytes,
        None => 0,
    };
    Ok(Figures {
        vectors: view.count(),
        deleted,
        vectors_bytes: (view.count() + deleted) * handle.dim as u64 * 4,
        graphs: view.graph_stats(""),
        index_bytes,
        quantized: handle.quantized(),
    })
}

impl Figures {
    pub(crate) fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let degrees = || self.graphs.iter().flat_map(|graph| graph.degrees.iter().enumerate());
        let there = || degrees().filter(|(_, nodes)| **nodes > 0).map(|(degree, _)| degree);
        let nodes: u64 = degrees().map(|(_, nodes)| u64::from(*nodes)).sum();
        let links: u64 = self.graphs.iter().map(|graph| graph.links).sum();
        let graph_bytes: u64 = self.graphs.iter().map(|graph| graph.memory).sum();
        let dict = PyDict::new(py);
        dict.set_item("num_vectors", self.vectors)?;
        dict.set_item("num_deleted", self.deleted)?;
        dict.set_item("num_layers", self.graphs.iter().map(|graph| graph.levels.len()).max().unwrap_or(0))?;
        dict.set_item("avg_degree_layer0", links as f64 / nodes.max(1) as f64)?;
        dict.set_item("max_degree_layer0", there().max().unwrap_or(0))?;
        dict.set_item("min_degree_layer0", there().min().unwrap_or(0))?;
        dict.set_item("memory_vectors_bytes", self.vectors_bytes)?;
        dict.set_item("memory_graph_bytes", graph_bytes)?;
        dict.set_item("memory_quantized_bytes", self.index_bytes.saturating_sub(graph_bytes))?;
        // A graph that was just begun holds few of the records: the others are looked at one by one.
        let linked: u64 = self.graphs.iter().map(|graph| u64::from(graph.linked)).sum();
        dict.set_item("uses_brute_force", 2 * linked <= self.vectors)?;
        dict.set_item("uses_quantized_search", self.quantized)?;
        Ok(dict)
    }
}
