//! The class `nearfield.Database`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearfield::{Durability, Metric};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyString, PyType};

use crate::answers::Answer;
use crate::errors::value_error;
use crate::export::Pages;
use crate::failure::{Failure, type_error};
use crate::figures;
use crate::fork::check_opening;
use crate::glance::is_there;
use crate::handle::Handle;
use crate::import;
use crate::later::Later;
use crate::operations::{self, Outcome};
use crate::result::escaped;
use crate::searching;
use crate::store::{Opening, Wanted, metric_name};
use crate::vectors::{Batch, Vector};

/// A persistent database of vectors with ids and metadata, in a directory.
///
/// path: the directory, made if needed; ":memory:" for a database that is gone with its handle.
/// dim: how many numbers a vector has, 1 to 65536. Needed to create; may be left out to open.
/// metric: "cosine" (the default), "euclidean" or "l2" (squared), "dot" or "dot_product". A lower distance is closer.
/// m: links of a node of the graph, 2 to 128 (16); ef_construction: candidates looked at for them (200). Both count at creation only.
/// quantize: searches content with a recall of 0.95, faster; remembered in the directory. Distances stay exact. It is a setting of searches
///     alone: what is stored does not depend on it, and a search that says `ef_search` looks as far as that says.
/// read_only: looks at what is there now, without the write lock and beside a writer in another process.
/// durability: "process" (a write that has returned survives a crash of the process; power loss after at most 200 ms or so) or
///     "sync" (it survives power loss).
///
/// Every error is a ValueError; wrong types of arguments are TypeErrors. All methods may be called from several threads, and long work
/// releases the interpreter lock. What has returned is stored: `save` is a checkpoint, not a commit.
///
/// >>> import nearfield
/// >>> db = nearfield.Database(":memory:", dim=2)
/// >>> db.add("a", [1.0, 0.0], {"lang": "en"})
/// >>> db.add("b", [0.6, 0.8])
/// >>> [result.id for result in db.search([1.0, 0.1], k=2)]
/// ['a', 'b']
/// >>> db.search([0.0, 1.0], where_filter={"lang": "en"})
/// [SearchResult(id='a', distance=1.0000)]
/// >>> len(db), "a" in db, db.get("a")
/// (2, True, ([1.0, 0.0], {'lang': 'en'}))
#[pyclass(frozen, subclass, weakref, module = "nearfield")]
pub(crate) struct Database {
    handle: Arc<Handle>,
}

/// Does the work at once, and lets other Python threads run meanwhile.
fn now<T: Answer>(py: Python<'_>, work: impl FnOnce() -> Outcome<T> + Send) -> PyResult<Py<PyAny>> {
    py.detach(work).map_err(PyErr::from)?.answer(py)
}

#[pymethods]
impl Database {
    #[new]
    #[pyo3(signature = (path, dim=None, metric=None, m=None, ef_construction=None, quantize=false, *, read_only=false, durability="process"))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the Python class")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        dim: Option<i64>,
        metric: Option<&str>,
        m: Option<i64>,
        ef_construction: Option<i64>,
        quantize: bool,
        read_only: bool,
        durability: &str,
    ) -> PyResult<Database> {
        let wanted = wanted(dim, metric, m, ef_construction, quantize)?;
        let durability = match durability {
            "process" => Durability::Process,
            "sync" => Durability::Sync,
            _ => return Err(value_error("durability must be 'sync' or 'process'")),
        };
        let opening = Opening::new(&path, durability)?;
        let opened = py.detach(|| match read_only {
            true => Handle::reader(opening, &wanted),
            false => Handle::writer(opening, &wanted),
        });
        Ok(Database { handle: Arc::new(opened?) })
    }

    /// Adds a record. ValueError if the id exists, or if the vector has another length or a number that is not finite.
    ///
    /// vector: a list or an array of shape (dim,). metadata: a dict that JSON can express, or None.
    #[pyo3(signature = (id, vector, metadata=None))]
    fn add(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyString>,
        vector: &Bound<'_, PyAny>,
        metadata: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        now(py, operations::put(&self.handle, id, vector, metadata, true)?)
    }

    /// Adds a record, or replaces vector and metadata of the one with this id: no metadata given means that none is kept.
    #[pyo3(signature = (id, vector, metadata=None))]
    fn upsert(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyString>,
        vector: &Bound<'_, PyAny>,
        metadata: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        now(py, operations::put(&self.handle, id, vector, metadata, false)?)
    }

    /// Adds many records, all or nothing. ValueError if an id exists or occurs twice, or if lengths differ.
    ///
    /// vectors: a list of vectors or an array of shape (n, dim). metadatas: a list of n dicts or None.
    ///
    /// >>> import nearfield, numpy as np
    /// >>> db = nearfield.Database(":memory:", dim=3)
    /// >>> db.add_many(["a", "b"], np.eye(2, 3), [{"n": 1}, None])
    /// >>> db.count({"n": {"$gte": 1}})
    /// 1
    #[pyo3(signature = (ids, vectors, metadatas=None))]
    fn add_many(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        metadatas: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        now(py, operations::put_many(&self.handle, ids, vectors, metadatas, true)?)
    }

    /// Adds or replaces many records, all or nothing. If an id occurs twice, the last one counts.
    #[pyo3(signature = (ids, vectors, metadatas=None))]
    fn upsert_many(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        metadatas: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        now(py, operations::put_many(&self.handle, ids, vectors, metadatas, false)?)
    }

    /// The k nearest records, the nearest first: a list of SearchResult.
    ///
    /// ef_search: candidates kept while walking; more finds more and takes longer. None: as many as are needed.
    /// where_filter: conditions on the metadata, such as {"year": {"$gte": 2020}, "lang": {"$in": ["en", "de"]}}. Operators: $eq $ne $in $nin
    ///     $gt $gte $lt $lte $exists $not, and $and, $or, $not around filters. It costs no results.
    /// max_distance: farther ones are left out.
    ///
    /// Distances: 1 - cosine; the squared Euclidean distance; minus the dot product.
    #[pyo3(signature = (vector, k=10, ef_search=None, where_filter=None, max_distance=None))]
    fn search(
        &self,
        py: Python<'_>,
        vector: &Bound<'_, PyAny>,
        k: i64,
        ef_search: Option<i64>,
        where_filter: Option<&Bound<'_, PyAny>>,
        max_distance: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let ask = operations::ask(&self.handle, k, ef_search, where_filter, max_distance)?;
        let vector = Vector::new("vector", vector, self.handle.dim)?;
        let numbers = vector.slice()?;
        now(py, || searching::search(&self.handle.view_for(ask.filter.as_ref())?, numbers, &ask))
    }

    /// The k nearest records of each query, in their order, found in parallel: a list of lists of SearchResult.
    ///
    /// vectors: a list of vectors or an array of shape (n, dim). The rest is as in `search` and applies to all.
    #[pyo3(signature = (vectors, k=10, ef_search=None, where_filter=None, max_distance=None))]
    fn search_many(
        &self,
        py: Python<'_>,
        vectors: &Bound<'_, PyAny>,
        k: i64,
        ef_search: Option<i64>,
        where_filter: Option<&Bound<'_, PyAny>>,
        max_distance: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let ask = operations::ask(&self.handle, k, ef_search, where_filter, max_distance)?;
        let batch = Batch::new("vectors", vectors)?;
        batch.check(self.handle.dim)?;
        let numbers = batch.numbers()?;
        let numbers: &[f32] = &numbers;
        now(py, || {
            let view = self.handle.view_for(ask.filter.as_ref())?;
            searching::search_many(&view, numbers, self.handle.dim, &ask)
        })
    }

    /// A record: (vector, metadata). The vector is a list of floats as it was given, with the precision of float32. ValueError if the id is
    /// missing.
    fn get(&self, py: Python<'_>, id: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        now(py, operations::get(&self.handle, id)?)
    }

    /// Deletes a record; True if it existed.
    fn delete(&self, py: Python<'_>, id: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        now(py, operations::delete(&self.handle, id)?)
    }

    /// Deletes records; returns how many existed. Up to 10,000 ids are deleted whole or not at all; more are deleted in steps of so many,
    /// and an error or the end of the process may come between them.
    fn delete_many(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        now(py, operations::delete_many(&self.handle, ids)?)
    }

    /// Changes the vector, the metadata or both of a record and keeps the rest. Metadata is replaced, not merged. ValueError if the id is
    /// missing or nothing is given.
    #[pyo3(signature = (id, vector=None, metadata=None))]
    fn update(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyString>,
        vector: Option<&Bound<'_, PyAny>>,
        metadata: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        now(py, operations::update(&self.handle, id, vector, metadata)?)
    }

    /// How many records match the filter; all without one. Exact.
    #[pyo3(signature = (where_filter=None))]
    fn count(&self, py: Python<'_>, where_filter: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        now(py, operations::count(&self.handle, where_filter)?)
    }

    /// All ids, sorted.
    fn ids(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        now(py, operations::ids(&self.handle))
    }

    /// Makes a checkpoint and empties the log. Nothing is lost without it; opening is quicker after it.
    fn save(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        now(py, operations::save(&self.handle))
    }

    /// Rebuilds with live records only: the room of deleted ones is given back.
    fn compact(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        now(py, operations::compact(&self.handle))
    }

    /// Waits until everything written is linked and indexed: searches are then as fast as they get. Nobody needs it but measurements.
    fn wait_indexed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        now(py, operations::wait_indexed(&self.handle))
    }

    /// Saves and gives up the directory. The handle can do nothing afterwards; closing it again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        now(py, operations::close(&self.handle))
    }

    /// Has this handle search for a recall of 0.95: faster, and a few neighbours may be missed. Distances stay exact. It has no effect on
    /// searches that say `ef_search`.
    fn enable_quantized_search(&self) {
        self.handle.quantized.store(true, Ordering::Relaxed);
    }

    /// Has this handle search as precisely as the engine finds right.
    fn disable_quantized_search(&self) {
        self.handle.quantized.store(false, Ordering::Relaxed);
    }

    /// Figures by name: num_vectors, num_deleted, num_layers, avg_degree_layer0, max_degree_layer0, min_degree_layer0,
    /// memory_vectors_bytes, memory_graph_bytes, memory_quantized_bytes, uses_brute_force, uses_quantized_search.
    ///
    /// Layers and degrees are those of the graph, 0 where there is none yet: few records are all looked at. uses_quantized_search is the
    /// setting of this handle, as quantized_search is; memory_quantized_bytes are the codes that walks score by, which there are either way.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = py.detach(|| figures::gather(&self.handle))?;
        figures.dict(py)
    }

    /// Writes all records to a JSON file, which appears under its name when it is complete. pretty: indented.
    #[pyo3(signature = (path, pretty=false))]
    fn export_json(&self, py: Python<'_>, path: &Bound<'_, PyAny>, pretty: bool) -> PyResult<()> {
        let pages = Pages::new(&self.handle, pretty)?;
        py.import("nearfield._files")?.call_method1("write_whole", (path, pages)).map(drop)
    }

    /// Adds or replaces the records of a JSON file, all or nothing. ValueError if its vectors have another length or it is not of the format.
    fn import_json(&self, py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<()> {
        let read = py.import("nearfield._files")?.call_method1("read_whole", (path,))?;
        let read = read.cast_into::<PyBytes>()?;
        let bytes = read.as_bytes();
        Ok(py.detach(|| import::import(&self.handle, bytes))?)
    }

    /// How many numbers a vector has.
    #[getter]
    fn dim(&self) -> usize {
        self.handle.dim
    }

    /// The metric: "cosine", "euclidean" or "dot_product".
    #[getter]
    fn metric(&self) -> &'static str {
        metric_name(self.handle.metric)
    }

    /// The directory, or ":memory:".
    #[getter]
    fn path(&self) -> &str {
        self.handle.opening.place()
    }

    /// True if this handle only reads.
    #[getter]
    fn read_only(&self) -> bool {
        self.handle.read_only
    }

    /// True if this handle searches quantised.
    #[getter]
    fn quantized_search(&self) -> bool {
        self.handle.quantized()
    }

    /// Deleted slots not yet reclaimed by `compact`.
    #[getter]
    fn deleted_count(&self) -> PyResult<u64> {
        Ok(self.handle.deleted()?)
    }

    /// All slots, live and deleted.
    #[getter]
    fn total_slots(&self) -> PyResult<u64> {
        Ok(self.handle.view()?.count() + self.handle.deleted()?)
    }

    fn __len__(&self) -> PyResult<usize> {
        let count = self.handle.view()?.count();
        usize::try_from(count)
            .map_err(|_| value_error(format!("{count} records are more than len() can tell")))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(id) = id.cast::<PyString>() else {
            return Err(type_error("an id must be str"));
        };
        let id = id.to_str()?;
        Ok(py.detach(|| operations::contains(&self.handle, id))?)
    }

    /// Goes through the ids, sorted, as they were when it began.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.ids(py)?.bind(py).try_iter()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc_val=None, exc_tb=None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyType>>,
        exc_val: Option<&Bound<'_, PyAny>>,
        exc_tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let _ = (exc_type, exc_tb);
        // An exception is not ours to swallow, nor to hide behind another one.
        match (now(py, operations::leave(&self.handle)), exc_val) {
            (Err(error), Some(raised)) => {
                // Python 3.10 has no notes.
                let _ =
                    raised.call_method1("add_note", (format!("leaving the database failed too: {error}"),));
                Ok(false)
            }
            (left, _) => left.map(|_| false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        py.detach(|| self.handle.describe())
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let handle = &self.handle;
        let (count, deleted) = (py.detach(|| handle.view())?.count(), handle.deleted()?);
        let rows = [
            ("path", escaped(handle.opening.place())),
            ("records", count.to_string()),
            ("dim", handle.dim.to_string()),
            ("metric", metric_name(handle.metric).to_owned()),
            ("deleted slots", deleted.to_string()),
        ];
        let row = |(name, value)| format!("<tr><th>{name}</th><td>{value}</td></tr>");
        Ok(format!("<table>{}</table>", rows.map(row).concat()))
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(type_error(
            "a Database cannot be pickled or copied: it holds its directory's lock. Open the directory again where you need it, \
             with read_only=True beside a writer",
        ))
    }

    /// The operations for an event loop.
    #[getter]
    fn _later(&self) -> Later {
        Later::new(Arc::clone(&self.handle))
    }
}

/// The arguments that say what is wanted of a directory.
fn wanted(
    dim: Option<i64>,
    metric: Option<&str>,
    m: Option<i64>,
    ef_construction: Option<i64>,
    quantize: bool,
) -> PyResult<Wanted> {
    let metric = metric.map(metric_named).transpose()?;
    let dim = match dim {
        Some(dim) if dim < 1 => return Err(value_error("dim must be at least 1")),
        dim => dim.map(|dim| usize::try_from(dim).unwrap_or(usize::MAX)),
    };
    let small = |name: &str, value: i64| {
        u32::try_from(value)
            .map_err(|_| value_error(format!("{name} is {value}, it is below 0 or far too large")))
    };
    Ok(Wanted {
        dim,
        metric,
        m: m.map(|m| small("m", m)).transpose()?,
        ef_construction: ef_construction.map(|ef| small("ef_construction", ef)).transpose()?,
        quantize,
    })
}

fn metric_named(name: &str) -> PyResult<Metric> {
    match name {
        "cosine" => Ok(Metric::Cosine),
        "euclidean" | "l2" => Ok(Metric::Euclid),
        "dot" | "dot_product" => Ok(Metric::Dot),
        _ => Err(value_error("metric must be 'cosine', 'euclidean'/'l2', or 'dot'/'dot_product'")),
    }
}

/// Gives up a directory for deletion: handles of this process are closed, and the lock is taken. It is released with what this returns.
#[pyfunction]
pub(crate) fn _claim(py: Python<'_>, path: PathBuf) -> PyResult<Claim> {
    let claimed = py.detach(|| Claim::take(path));
    Ok(claimed?)
}

/// True if the directory holds a database of this class; others may lie there too.
#[pyfunction]
pub(crate) fn _is_there(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    let opening = Opening::new(&path, Durability::Process)?;
    Ok(py.detach(|| is_there(&opening)))
}

/// The lock of a directory that is about to be removed.
#[pyclass(frozen, module = "nearfield._nearfield", name = "_Claim")]
pub(crate) struct Claim {
    _lock: nearfield_platform::Lock,
}

impl Claim {
    fn take(path: PathBuf) -> Result<Claim, Failure> {
        use nearfield_platform::{Dir, LockError, LockKind, RealDir, RealOptions};
        check_opening()?;
        let opening = Opening::new(&path, Durability::Process)?;
        if let Some(store) = opening.opened() {
            store.shut()?;
        }
        let dir =
            RealDir::open_with(&path, RealOptions::default()).map_err(|e| Failure::value(e.to_string()))?;
        match dir.lock("LOCK", LockKind::Exclusive) {
            Ok(lock) => Ok(Claim { _lock: lock }),
            Err(LockError::Held { holder }) => {
                let who =
                    holder.map_or("another process".to_owned(), |holder| format!("process {}", holder.pid));
                Err(Failure::value(format!("database at '{}' is open for writing by {who}", opening.place())))
            }
            Err(error) => Err(Failure::value(error.to_string())),
        }
    }
}
