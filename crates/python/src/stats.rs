//! Statistics of an index as a dict.

use nearfield::{IndexOptions, IndexStats, Tier};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The statistics and how the index was made, one entry a figure.
pub(crate) fn dict<'py>(
    py: Python<'py>,
    options: &IndexOptions,
    stats: &IndexStats,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("points", stats.len)?;
    dict.set_item("dead", stats.dead)?;
    dict.set_item("unlinked", stats.unlinked)?;
    dict.set_item("dim", stats.dim)?;
    dict.set_item("metric", stats.metric.name())?;
    dict.set_item("m", options.m)?;
    dict.set_item("ef_construction", options.ef_construction)?;
    dict.set_item("seed", options.seed)?;
    dict.set_item("tier", tier(stats.tier))?;
    dict.set_item("levels", &stats.graph.levels)?;
    dict.set_item("degrees", &stats.graph.degrees)?;
    dict.set_item("degree_mean", stats.graph.degree_mean())?;
    dict.set_item("links", stats.graph.links)?;
    dict.set_item("duplicates", stats.graph.duplicates)?;
    dict.set_item("calibration", &stats.calibration.points)?;
    dict.set_item("vectors_bytes", stats.vectors_memory)?;
    dict.set_item("index_bytes", stats.index_memory)?;
    dict.set_item("ids_bytes", stats.ids_memory)?;
    Ok(dict)
}

/// What a search walks on: the high plane of the codes, both planes, or the vectors.
fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Coarse => "coarse",
        Tier::Fine => "fine",
        Tier::Exact => "exact",
    }
}
