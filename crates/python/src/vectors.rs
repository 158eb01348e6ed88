//! Vectors of a database's callers: lists and numpy arrays of any numbers, as float32.
//!
//! What is float32 and in C order is read where it lies. Everything else is converted once.

use std::borrow::Cow;

use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList, PyString, PyTuple};

use crate::arrays::{is_plain, readonly};
use crate::errors::value_error;
use crate::failure::{Failure, class_of, type_error};

/// One vector, borrowed from numpy or owned.
pub(crate) enum Vector<'py> {
    Borrowed(PyReadonlyArray1<'py, f32>),
    Owned(Vec<f32>),
}

impl<'py> Vector<'py> {
    /// Reads `given`; `field` is its name in errors. Checks its length and that all numbers are finite.
    pub(crate) fn new(field: &str, given: &Bound<'py, PyAny>, dim: usize) -> PyResult<Vector<'py>> {
        let vector = Vector::unchecked(field, given)?;
        check(vector.slice()?, dim)?;
        Ok(vector)
    }

    fn unchecked(field: &str, given: &Bound<'py, PyAny>) -> PyResult<Vector<'py>> {
        if let Ok(array) = given.cast::<PyArray1<f32>>() {
            if is_plain(array) {
                return Ok(Vector::Borrowed(readonly(field, array)?));
            }
            // Strides that are no multiple of a number's size and odd addresses are numpy's to read.
            let array = array_of(field, array)?.into_any().cast_into::<PyArray1<f32>>()?;
            return Ok(Vector::Borrowed(readonly(field, &array)?));
        }
        if let Some(numbers) = listed(field, given)? {
            return Ok(Vector::Owned(numbers));
        }
        let array = array_of(field, given)?;
        if array.ndim() != 1 {
            return Err(wrong_axes(field, array.ndim(), 1));
        }
        let array = array.into_any().cast_into::<PyArray1<f32>>()?;
        Ok(Vector::Borrowed(readonly(field, &array)?))
    }

    /// The numbers.
    pub(crate) fn slice(&self) -> PyResult<&[f32]> {
        match self {
            Vector::Borrowed(array) => array.as_slice().map_err(|error| value_error(error.to_string())),
            Vector::Owned(numbers) => Ok(numbers),
        }
    }

    /// The numbers as the caller's own.
    pub(crate) fn into_vec(self) -> PyResult<Vec<f32>> {
        match self {
            Vector::Owned(numbers) => Ok(numbers),
            Vector::Borrowed(_) => Ok(self.slice()?.to_vec()),
        }
    }
}

/// Vectors one after another.
pub(crate) enum Batch<'py> {
    Borrowed(PyReadonlyArray2<'py, f32>),
    /// Row by row, and where each row has its own length so that a wrong one can be named.
    Owned(Vec<f32>, Vec<usize>),
}

impl<'py> Batch<'py> {
    /// Reads `given`, a list of vectors or an array of two axes. Lengths are not checked yet: see [`Batch::check`].
    pub(crate) fn new(field: &str, given: &Bound<'py, PyAny>) -> PyResult<Batch<'py>> {
        if let Ok(array) = given.cast::<PyArray2<f32>>()
            && is_plain(array)
        {
            return Ok(Batch::Borrowed(readonly(field, array)?));
        }
        if given.cast::<PyList>().is_ok() || given.cast::<PyTuple>().is_ok() {
            return listed_rows(field, given);
        }
        let array = array_of(field, given)?;
        match *array.shape() {
            // What an empty list becomes.
            [0] => Ok(Batch::Owned(Vec::new(), Vec::new())),
            [_, _] => {
                let array = array.into_any().cast_into::<PyArray2<f32>>()?;
                Ok(Batch::Borrowed(readonly(field, &array)?))
            }
            _ => Err(wrong_axes(field, array.ndim(), 2)),
        }
    }

    /// How many vectors.
    pub(crate) fn len(&self) -> usize {
        match self {
            Batch::Borrowed(array) => array.shape()[0],
            Batch::Owned(_, lengths) => lengths.len(),
        }
    }

    /// Checks that every vector has `dim` finite numbers.
    pub(crate) fn check(&self, dim: usize) -> PyResult<()> {
        let wrong = match self {
            Batch::Borrowed(array) => {
                let &[count, width] = array.shape() else {
                    return Err(value_error("vectors must have 2 axes"));
                };
                (count > 0 && width != dim).then_some(width)
            }
            Batch::Owned(_, lengths) => lengths.iter().copied().find(|length| *length != dim),
        };
        match wrong {
            Some(got) => Err(Failure::dimension(dim, got).into()),
            None => check_finite(&self.numbers()?),
        }
    }

    /// All numbers, row by row.
    pub(crate) fn numbers(&self) -> PyResult<Cow<'_, [f32]>> {
        match self {
            Batch::Borrowed(array) => {
                array.as_slice().map(Cow::Borrowed).map_err(|error| value_error(error.to_string()))
            }
            Batch::Owned(numbers, _) => Ok(Cow::Borrowed(numbers)),
        }
    }
}

fn listed_rows<'py>(field: &str, given: &Bound<'py, PyAny>) -> PyResult<Batch<'py>> {
    let count = given.len()?;
    let (mut numbers, mut lengths) = (Vec::new(), Vec::with_capacity(count));
    for row in given.try_iter()? {
        let row = row?;
        let place = || format!("{field}[{}]", lengths.len());
        let begun = numbers.len();
        // The common case without a text for errors that do not happen.
        match row.cast::<PyList>() {
            Ok(list) => append(&place, list.iter(), &mut numbers)?,
            Err(_) => numbers.extend_from_slice(Vector::unchecked(&place(), &row)?.slice()?),
        }
        lengths.push(numbers.len() - begun);
    }
    Ok(Batch::Owned(numbers, lengths))
}

/// The numbers of a list or tuple; `None` if `given` is neither.
fn listed(field: &str, given: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f32>>> {
    let mut numbers = Vec::new();
    if let Ok(list) = given.cast::<PyList>() {
        numbers.reserve_exact(list.len());
        append(&|| field.to_owned(), list.iter(), &mut numbers)?;
    } else if let Ok(tuple) = given.cast::<PyTuple>() {
        numbers.reserve_exact(tuple.len());
        append(&|| field.to_owned(), tuple.iter(), &mut numbers)?;
    } else {
        return Ok(None);
    }
    Ok(Some(numbers))
}

fn append<'py>(
    place: &dyn Fn() -> String,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    numbers: &mut Vec<f32>,
) -> PyResult<()> {
    let begun = numbers.len();
    for item in items {
        let number = match item.cast_exact::<PyFloat>() {
            Ok(float) => float.value(),
            Err(_) => item.extract::<f64>().map_err(|_| {
                let at = numbers.len() - begun;
                type_error(format!("{}[{at}] must be a number, not {}", place(), class_of(&item)))
            })?,
        };
        numbers.push(number as f32);
    }
    Ok(())
}

/// `given` as an array of float32 in C order: what numpy can make one from, if it holds numbers.
fn array_of<'py>(field: &str, given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = given.py();
    let wrong = |found: &str| type_error(format!("{field} must hold numbers, not {found}"));
    let is_text = given.is_instance_of::<PyString>() || given.is_none();
    let sized = given.hasattr(intern!(py, "__len__"))? || given.hasattr(intern!(py, "__array__"))?;
    if is_text || !sized {
        return Err(type_error(format!(
            "{field} must be a list or an array of numbers, not {}",
            class_of(given)
        )));
    }
    let numpy = py.import(intern!(py, "numpy"))?;
    let array = numpy.getattr(intern!(py, "asarray"))?.call1((given,))?.cast_into::<PyUntypedArray>()?;
    let kind: char = array.dtype().getattr(intern!(py, "kind"))?.extract()?;
    if array.len() > 0 && !"fiu".contains(kind) {
        return Err(wrong(&array.dtype().to_string()));
    }
    // What is too large for float32 becomes infinite and is refused then; numpy would warn too.
    let quiet = numpy.getattr(intern!(py, "errstate"))?.call((), Some(&over_ignored(py)?))?;
    quiet.call_method0(intern!(py, "__enter__"))?;
    let made = numpy.getattr(intern!(py, "require"))?.call1((array, "float32", "CA"));
    quiet.call_method1(intern!(py, "__exit__"), (py.None(), py.None(), py.None()))?;
    Ok(made?.cast_into::<PyUntypedArray>()?)
}

fn over_ignored(py: Python<'_>) -> PyResult<Bound<'_, pyo3::types::PyDict>> {
    let words = pyo3::types::PyDict::new(py);
    words.set_item("over", "ignore")?;
    Ok(words)
}

fn wrong_axes(field: &str, found: usize, expected: usize) -> PyErr {
    let axes = if found == 1 { "axis" } else { "axes" };
    value_error(format!("{field} has {found} {axes}, it must have {expected}"))
}

/// Checks one vector.
fn check(vector: &[f32], dim: usize) -> PyResult<()> {
    match vector.len() == dim {
        true => check_finite(vector),
        false => Err(Failure::dimension(dim, vector.len()).into()),
    }
}

fn check_finite(numbers: &[f32]) -> PyResult<()> {
    // Without a branch a number, so that it runs on whole registers.
    match numbers.chunks(1024).all(|part| part.iter().fold(true, |fine, number| fine & number.is_finite())) {
        true => Ok(()),
        false => Err(not_finite().into()),
    }
}

/// The error for a vector that has no distance to anything.
pub(crate) fn not_finite() -> Failure {
    Failure::value("vector contains NaN or infinity")
}
