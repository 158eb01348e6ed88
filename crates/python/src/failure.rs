//! What went wrong, as something that may travel between threads before it becomes an exception.

use nearfield::{Error, ErrorKind};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

const BESIDE_A_WRITER: &str =
    "read_only=True opens it for reading beside the writer; or close it there first";

/// Why an operation of a database failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A `ValueError` with this text: every error of the database is one.
    Value(String),
    /// The same with a note on what to do, which Python prints below it.
    Noted(String, &'static str),
    /// What a signal handler raised while we worked: `KeyboardInterrupt`, usually.
    Raised(PyErr),
}

impl Failure {
    /// A `ValueError` with this text.
    pub(crate) fn value(text: impl Into<String>) -> Failure {
        Failure::Value(text.into())
    }

    /// The error for an id that is not there.
    pub(crate) fn missing(id: &str) -> Failure {
        Failure::Value(format!("id '{}' not found", shown(id)))
    }

    /// The error for an id that is there already.
    pub(crate) fn exists(id: &str) -> Failure {
        Failure::Value(format!("id '{}' already exists, use upsert instead", shown(id)))
    }

    /// The error for a vector of another length.
    pub(crate) fn dimension(expected: usize, got: usize) -> Failure {
        Failure::Value(format!("dimension mismatch: expected {expected}, got {got}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.kind() {
            ErrorKind::Busy => Failure::Noted(error.to_string(), BESIDE_A_WRITER),
            _ => Failure::Value(error.to_string()),
        }
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Raised(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        match failure {
            Failure::Value(text) => PyValueError::new_err(text),
            Failure::Noted(text, note) => noted(PyValueError::new_err(text), note),
            Failure::Raised(error) => error,
        }
    }
}

/// The exception with a note, which tracebacks print below its text: what is wrong stays as others know it, what to do stands beside it.
/// Before Python 3.11 there are no notes.
pub(crate) fn noted(error: PyErr, note: &str) -> PyErr {
    Python::attach(|py| {
        let _ = error.value(py).call_method1("add_note", (note,));
    });
    error
}

/// A `TypeError` with this text.
pub(crate) fn type_error(text: impl Into<String>) -> PyErr {
    PyTypeError::new_err(text.into())
}

/// The name of the Python class of a value, for messages.
pub(crate) fn class_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}

/// Lets a waiting Ctrl-C interrupt long work. Only Python's main thread is ever told of signals; elsewhere this does nothing.
pub(crate) fn check_signals() -> Result<(), Failure> {
    Python::attach(|py| py.check_signals()).map_err(Failure::Raised)
}

/// The beginning of an id, for an error message.
fn shown(id: &str) -> &str {
    id.char_indices().nth(200).map_or(id, |(end, _)| &id[..end])
}
