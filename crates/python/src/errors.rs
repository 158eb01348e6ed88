//! Errors of the engine as exceptions of Python. The text is the engine's: it names the field, the value and the limit.

use nearfield::{Error, ErrorKind};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyKeyError, PyOSError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;

/// The exception for an error of the engine.
pub(crate) fn exception(error: &Error) -> PyErr {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => PyValueError::new_err(text),
        ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        ErrorKind::Exists => PyFileExistsError::new_err(text),
        ErrorKind::Busy | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Unavailable => {
            PyOSError::new_err(text)
        }
        _ => PyRuntimeError::new_err(text),
    }
}

/// A `ValueError` with this text.
pub(crate) fn value_error(text: impl Into<String>) -> PyErr {
    PyValueError::new_err(text.into())
}

/// The `KeyError` for an id that is not there.
pub(crate) fn no_such_id(id: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err(format!("id {id} is not in the index"))
}
