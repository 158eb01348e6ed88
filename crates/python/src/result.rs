//! The class `nearfield.SearchResult`.

use pyo3::exceptions::{PyIndexError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};

use crate::metadata;
use crate::searching::{Found, Metadata};

/// One result of a search: the id of the record, its distance (lower is closer) and its metadata, a dict or None.
///
/// It is also a sequence of the three: `id, distance, metadata = result`.
///
/// >>> import nearfield
/// >>> nearfield.SearchResult("a", 0.25, {"lang": "en"})
/// SearchResult(id='a', distance=0.2500)
#[pyclass(frozen, module = "nearfield", weakref)]
pub(crate) struct SearchResult {
    /// Text, verbatim as it was added.
    #[pyo3(get)]
    id: Py<PyString>,
    distance: f32,
    /// What was stored, until somebody asks for it.
    stored: Metadata,
    metadata: PyOnceLock<Py<PyAny>>,
}

impl SearchResult {
    /// A result whose metadata becomes a dict when it is looked at.
    pub(crate) fn of(py: Python<'_>, found: Found) -> PyResult<Py<SearchResult>> {
        let id = match &found.id {
            nearfield::PointId::String(text) => PyString::new(py, text),
            other => PyString::new(py, &other.to_string()),
        };
        let (id, distance, stored) = (id.unbind(), found.distance, found.metadata);
        Py::new(py, SearchResult { id, distance, stored, metadata: PyOnceLock::new() })
    }

    fn look(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        self.metadata.get_or_try_init(py, || metadata::to_python(py, self.stored.unpack()?))
    }
}

#[pymethods]
impl SearchResult {
    #[new]
    #[pyo3(signature = (id, distance, metadata=None))]
    fn new(id: Bound<'_, PyString>, distance: f32, metadata: Option<Bound<'_, PyDict>>) -> PyResult<Self> {
        let stored = Metadata::Whole(metadata::stored(metadata.as_ref())?);
        Ok(SearchResult { id: id.unbind(), distance, stored, metadata: PyOnceLock::new() })
    }

    /// The distance between the query and the record, in the unit of the metric; lower is closer.
    #[getter]
    fn distance(&self) -> f64 {
        f64::from(self.distance)
    }

    /// The metadata of the record, or None if it has none.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.look(py)?.clone_ref(py))
    }

    fn __len__(&self) -> usize {
        3
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let place = match index.extract::<isize>() {
            // No sequence is so long.
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => isize::MAX,
            place => place?,
        };
        match place {
            0 | -3 => Ok(self.id.clone_ref(py).into_any()),
            1 | -2 => Ok(self.distance().into_pyobject(py)?.into_any().unbind()),
            2 | -1 => self.metadata(py),
            _ => Err(PyIndexError::new_err("index out of range")),
        }
    }

    /// Goes through the three.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let three = (self.id.clone_ref(py), self.distance(), self.metadata(py)?).into_pyobject(py)?;
        three.into_any().try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        // Python writes texts in quotes of its own.
        let id = self.id.bind(py).repr()?;
        Ok(format!("SearchResult(id={id}, distance={:.4})", self.distance))
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let row = |name: &str, text: &str| format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(text));
        let id = row("id", &self.id.bind(py).to_string());
        let metadata = row("metadata", &self.look(py)?.bind(py).repr()?.to_string());
        Ok(format!("<table>{id}<tr><th>distance</th><td>{:.4}</td></tr>{metadata}</table>", self.distance))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<SearchResult>() else { return Ok(false) };
        let other = other.get();
        let same = self.distance == other.distance && self.id.bind(py).as_any().eq(other.id.bind(py))?;
        Ok(same && self.look(py)?.bind(py).eq(other.look(py)?)?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.id.bind(py).hash()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let parts = (this.id.clone_ref(py), this.distance(), this.metadata(py)?).into_pyobject(py)?;
        Ok((slf.get_type().into_any(), parts))
    }
}

/// Text as it may stand in HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
