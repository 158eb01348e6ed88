//! The class `nearfield.Index`.

use std::path::PathBuf;

use nearfield::{Breadth, IndexOptions, Metric, Quantization, limits};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::arrays::{self, Rows, is_plain, readonly};
use crate::errors::{exception, no_such_id, value_error};
use crate::stats;

/// Names of metrics: ours first, then those that users of hnswlib, usearch and faiss write.
const METRICS: &[(Metric, &[&str])] = &[
    (Metric::Cosine, &["cosine", "cos"]),
    (Metric::Dot, &["dot", "ip", "inner_product", "dot_product"]),
    (Metric::Euclid, &["euclid", "euclidean", "l2", "l2sq"]),
    (Metric::Manhattan, &["manhattan", "l1"]),
];

const QUANTIZATIONS: &[(Quantization, &str)] = &[
    (Quantization::Auto, "auto"),
    (Quantization::Rotated, "rotated"),
    (Quantization::Scalar { quantile: 0.99 }, "scalar"),
    (Quantization::None, "none"),
];

/// The class of a result, `nearfield._result.Found`: a named tuple, made by Python because only Python can make one.
static FOUND: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// An index of vectors: HNSW over integer codes; the distances it returns are exact.
///
/// Any number of threads may search while one adds. Ids are integers from 0 to 2**64 - 2.
///
/// dim: how many numbers a vector has.
/// metric: "cosine" (1 - cos), "dot" (minus the inner product) or "euclid" (squared). A lower distance is closer.
/// m: links of a node; level 0 has twice as many.
/// ef_construction: how many candidates are looked at for the links of a new node.
/// quantization: what a search walks on: "auto", "rotated" (4 + 4 bits), "scalar" (7 bits) or "none" (the vectors).
/// seed: of the random choices; the same order of single-threaded adds gives the same graph.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Index {
    inner: nearfield::Index,
}

#[pymethods]
impl Index {
    #[new]
    #[pyo3(signature = (dim, metric="cosine", m=16, ef_construction=100, quantization="auto", *, seed=42))]
    fn new(
        py: Python<'_>,
        dim: i64,
        metric: &str,
        m: i64,
        ef_construction: i64,
        quantization: &str,
        seed: u64,
    ) -> PyResult<Index> {
        let options = IndexOptions {
            metric: metric_named(metric)?,
            m: whole("m", m)?,
            ef_construction: whole("ef_construction", ef_construction)?,
            quantization: quantization_named(quantization)?,
            seed,
        };
        let dim = whole("dim", dim)?;
        opened(py.detach(|| nearfield::Index::new(dim, &options)))
    }

    /// Reads a saved index into memory; it can be added to.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Index> {
        opened(py.detach(|| nearfield::Index::load(&path)))
    }

    /// Maps a saved index: it opens at once and is searched where it lies, and cannot be changed.
    #[staticmethod]
    fn view(py: Python<'_>, path: PathBuf) -> PyResult<Index> {
        opened(py.detach(|| nearfield::Index::view(&path)))
    }

    /// Adds vectors, the rows of a table or one alone. An id that is there already is replaced.
    ///
    /// ids: one integer a row, or None to number on from the highest id so far.
    /// vectors: read in place if float32 and in C order, else converted.
    /// threads: 0 for all cores.
    #[pyo3(signature = (ids, vectors, threads=0))]
    fn add(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        vectors: &Bound<'_, PyAny>,
        threads: i64,
    ) -> PyResult<()> {
        let threads = whole("threads", threads)?;
        let rows = Rows::new("vectors", vectors, self.inner.dim() as usize)?;
        let ids = ids.map(arrays::ids).transpose()?;
        if let Some(ids) = &ids
            && ids.len() != rows.count
        {
            return Err(value_error(format!("there are {} ids for {} vectors", ids.len(), rows.count)));
        }
        if rows.count == 0 {
            return Ok(());
        }
        let numbers = rows.slice()?;
        py.detach(|| self.inner.add(ids.as_deref(), numbers, threads)).map_err(|error| exception(&error))
    }

    /// The k nearest points of one query, or of each row of a table: a named tuple (ids, distances).
    ///
    /// ef: how many candidates the walk keeps.
    /// recall: instead of ef, the share of the true neighbours to find, 0.5 to 0.999, by what was measured when the index was built;
    ///     0.99 if nothing else is said. Below 1,000 vectors all are scored.
    /// threads: for a table of queries; 0 for all cores.
    /// exact: instead of both, score every vector.
    #[pyo3(signature = (queries, k=10, ef=None, recall=None, threads=1, *, exact=false))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the Python method")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: i64,
        ef: Option<i64>,
        recall: Option<f32>,
        threads: i64,
        exact: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let breadth = breadth(ef.map(|ef| whole("ef", ef)).transpose()?, recall, exact)?;
        let threads = whole("threads", threads)?;
        let k = match usize::try_from(k) {
            Ok(k) if (1..=limits::LIMIT_MAX).contains(&k) => k,
            _ => return Err(value_error(format!("k is {k}, it must be 1 to {}", limits::LIMIT_MAX))),
        };
        // The common case first: one vector as the engine reads it.
        if let Ok(query) = queries.cast::<PyArray1<f32>>()
            && is_plain(query)
            && query.len() == self.inner.dim() as usize
        {
            let query = readonly("queries", query)?;
            let query = query.as_slice().map_err(|error| value_error(error.to_string()))?;
            return self.search_one(py, query, k, breadth);
        }
        let rows = Rows::new("queries", queries, self.inner.dim() as usize)?;
        if rows.single {
            self.search_one(py, rows.slice()?, k, breadth)
        } else {
            self.search_many(py, &rows, k, breadth, threads)
        }
    }

    /// Removes points; returns how many were there.
    fn remove(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let ids = arrays::ids(ids)?;
        py.detach(|| self.inner.remove(&ids)).map_err(|error| exception(&error))
    }

    /// True if there is a point with this id.
    fn contains(&self, id: &Bound<'_, PyAny>) -> bool {
        id.extract().is_ok_and(|id| self.inner.contains(id))
    }

    /// The vector of a point, as the index keeps it. KeyError if there is none.
    fn get<'py>(&self, py: Python<'py>, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let vector = match id.extract::<u64>() {
            Ok(id) => py.detach(|| self.inner.get(id)).map_err(|error| exception(&error))?,
            Err(_) => None,
        };
        vector.map(|vector| PyArray1::from_vec(py, vector)).ok_or_else(|| no_such_id(id))
    }

    /// Writes the index to a path.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.inner.save(&path)).map_err(|error| exception(&error))
    }

    /// Figures about the index, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = py.detach(|| self.inner.stats());
        stats::dict(py, self.inner.options(), &figures)
    }

    /// How many numbers a vector has.
    #[getter]
    fn dim(&self) -> u32 {
        self.inner.dim()
    }

    /// The name of the metric.
    #[getter]
    fn metric(&self) -> &'static str {
        self.inner.metric().name()
    }

    fn __len__(&self) -> usize {
        usize::try_from(self.inner.len()).unwrap_or(usize::MAX)
    }

    fn __contains__(&self, id: &Bound<'_, PyAny>) -> bool {
        self.contains(id)
    }

    fn __repr__(&self) -> String {
        let (dim, metric, points) = (self.inner.dim(), self.inner.metric(), self.inner.len());
        format!("<nearfield.Index: {points} points, dim {dim}, {metric}>")
    }
}

impl Index {
    fn search_one<'py>(
        &self,
        py: Python<'py>,
        query: &[f32],
        k: usize,
        breadth: Breadth,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (mut ids, mut distances) = (vec![0; k], vec![0.0; k]);
        let count = py
            .detach(|| self.inner.search(query, k, breadth, &mut ids, &mut distances))
            .map_err(|error| exception(&error))?;
        let ids = PyArray1::from_slice(py, &ids[..count]);
        let distances = PyArray1::from_slice(py, &distances[..count]);
        found_class(py)?.call1((ids, distances))
    }

    fn search_many<'py>(
        &self,
        py: Python<'py>,
        queries: &Rows<'py>,
        k: usize,
        breadth: Breadth,
        threads: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shape = [queries.count, k];
        let (ids, distances) = (PyArray2::zeros(py, shape, false), PyArray2::zeros(py, shape, false));
        if queries.count > 0 {
            let (mut ids, mut distances) = (ids.readwrite(), distances.readwrite());
            let not_plain = |error: numpy::AsSliceError| value_error(error.to_string());
            let (ids, distances) =
                (ids.as_slice_mut().map_err(not_plain)?, distances.as_slice_mut().map_err(not_plain)?);
            let numbers = queries.slice()?;
            py.detach(|| self.inner.search_many(numbers, k, breadth, threads, ids, distances))
                .map_err(|error| exception(&error))?;
        }
        found_class(py)?.call1((ids, distances))
    }
}

fn opened(index: Result<nearfield::Index, nearfield::Error>) -> PyResult<Index> {
    index.map(|inner| Index { inner }).map_err(|error| exception(&error))
}

fn found_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    FOUND.import(py, "nearfield._result", "Found")
}

/// An integer of Python as the engine's; the engine checks it against its own limits.
fn whole<T: TryFrom<i64>>(field: &str, value: i64) -> PyResult<T> {
    T::try_from(value).map_err(|_| value_error(format!("{field} is {value}, it is below 0 or far too large")))
}

fn breadth(ef: Option<u32>, recall: Option<f32>, exact: bool) -> PyResult<Breadth> {
    match (ef, recall, exact) {
        (None, None, false) => Ok(Breadth::Auto),
        (None, None, true) => Ok(Breadth::Exact),
        (Some(ef), None, false) => Ok(Breadth::Ef(ef)),
        (None, Some(recall), false) => Ok(Breadth::Recall(recall)),
        _ => {
            Err(value_error("ef, recall and exact are three ways to say one thing: give at most one of them"))
        }
    }
}

fn metric_named(name: &str) -> PyResult<Metric> {
    let known = METRICS.iter().find(|(_, names)| names.contains(&name));
    known.map(|(metric, _)| *metric).ok_or_else(|| {
        let names: Vec<&str> = METRICS.iter().map(|(metric, _)| metric.name()).collect();
        value_error(format!("metric is {:?}, it must be one of {}", short(name), names.join(", ")))
    })
}

fn quantization_named(name: &str) -> PyResult<Quantization> {
    let known = QUANTIZATIONS.iter().find(|(_, known)| *known == name);
    known.map(|(quantization, _)| *quantization).ok_or_else(|| {
        let names: Vec<&str> = QUANTIZATIONS.iter().map(|(_, name)| *name).collect();
        value_error(format!("quantization is {:?}, it must be one of {}", short(name), names.join(", ")))
    })
}

/// The beginning of a text of a stranger, for an error message.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
