//! Results of operations as Python values.

use nearfield::Object;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList, PyString};

use crate::metadata;
use crate::result::SearchResult;
use crate::searching::Found;

/// What an operation came to, once the interpreter is ours again.
pub(crate) trait Answer: Send + 'static {
    /// The value that Python gets.
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

impl Answer for () {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

impl Answer for bool {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
    }
}

impl Answer for u64 {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
    }
}

impl Answer for Vec<Found> {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let results: Vec<_> =
            self.into_iter().map(|found| SearchResult::of(py, found)).collect::<PyResult<_>>()?;
        Ok(PyList::new(py, results)?.into_any().unbind())
    }
}

impl Answer for Vec<Vec<Found>> {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let lists: Vec<_> = self.into_iter().map(|hits| hits.answer(py)).collect::<PyResult<_>>()?;
        Ok(PyList::new(py, lists)?.into_any().unbind())
    }
}

/// A record as `get` returns it: its vector and its metadata.
pub(crate) struct Stored {
    pub(crate) vector: Vec<f32>,
    pub(crate) metadata: Object,
}

impl Answer for Stored {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let numbers = self.vector.iter().map(|number| PyFloat::new(py, f64::from(*number)));
        let vector = PyList::new(py, numbers.collect::<Vec<_>>())?;
        (vector, metadata::to_python(py, self.metadata)?).into_py_any(py)
    }
}

/// Ids, as a list of texts.
pub(crate) struct Ids(pub(crate) Vec<nearfield::PointId>);

impl Answer for Ids {
    fn answer(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let texts = self.0.iter().map(|id| match id {
            nearfield::PointId::String(text) => PyString::new(py, text),
            other => PyString::new(py, &other.to_string()),
        });
        Ok(PyList::new(py, texts.collect::<Vec<_>>())?.into_any().unbind())
    }
}
