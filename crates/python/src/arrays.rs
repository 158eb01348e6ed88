//! Numpy arrays as slices: in place where they are what the engine reads, converted by numpy where they are not.

use numpy::{
    PyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArray, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods, ndarray,
};
use pyo3::intern;
use pyo3::prelude::*;

use crate::errors::value_error;

/// Vectors of Python, readable as rows one after another.
pub(crate) struct Rows<'py> {
    numbers: PyReadonlyArrayDyn<'py, f32>,
    /// True if it is one vector, an array of one axis.
    pub(crate) single: bool,
    /// How many rows.
    pub(crate) count: usize,
}

impl<'py> Rows<'py> {
    /// Reads `given`, an array of one or two axes, or anything numpy can make one from. `field` is its name in errors.
    pub(crate) fn new(field: &str, given: &Bound<'py, PyAny>, dim: usize) -> PyResult<Rows<'py>> {
        let array = match given.cast::<PyArrayDyn<f32>>() {
            Ok(array) if is_plain(array) => array.clone(),
            _ => numbers(field, given, "fiu", "float32")?.cast_into::<PyArrayDyn<f32>>()?,
        };
        let (single, count, width) = match *array.shape() {
            [width] => (true, 1, width),
            [count, width] => (false, count, width),
            _ => return Err(value_error(format!("{field} has {} axes, it must have 1 or 2", array.ndim()))),
        };
        // A table without rows may have any width: `np.empty((0, 0))` is what an empty list becomes.
        if width != dim && count > 0 {
            return Err(value_error(format!(
                "{field} has vectors of {width} numbers, the index has dim {dim}"
            )));
        }
        Ok(Rows { numbers: readonly(field, &array)?, single, count })
    }

    /// All numbers, row by row.
    pub(crate) fn slice(&self) -> PyResult<&[f32]> {
        self.numbers.as_slice().map_err(|error| value_error(error.to_string()))
    }
}

/// Ids of Python as `u64`. An array of uint64 in C order is copied once, which costs less than looking any of them up.
pub(crate) fn ids(given: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    if let Ok(id) = given.extract::<u64>() {
        return Ok(vec![id]);
    }
    let array = as_array(given)?;
    if array.ndim() > 1 {
        return Err(value_error(format!("ids has {} axes, it must have 1", array.ndim())));
    }
    match kind(&array)? {
        // What an empty list becomes.
        _ if array.len() == 0 => Ok(Vec::new()),
        'i' => {
            let signed = numbers("ids", &array, "i", "int64")?.cast_into::<PyArrayDyn<i64>>()?;
            let signed = readonly("ids", &signed)?;
            let slice = signed.as_slice().map_err(|error| value_error(error.to_string()))?;
            let id = |id: &i64| {
                u64::try_from(*id).map_err(|_| value_error(format!("ids holds {id}, ids are 0 to 2**64 - 2")))
            };
            slice.iter().map(id).collect()
        }
        _ => {
            let unsigned = numbers("ids", &array, "u", "uint64")?.cast_into::<PyArrayDyn<u64>>()?;
            let unsigned = readonly("ids", &unsigned)?;
            unsigned.as_slice().map(<[u64]>::to_vec).map_err(|error| value_error(error.to_string()))
        }
    }
}

/// True if the numbers lie in memory as a slice of rows. Numpy calls an array of Fortran order contiguous too.
pub(crate) fn is_plain<T, D>(array: &Bound<'_, PyArray<T, D>>) -> bool {
    array.is_c_contiguous() && array.is_aligned()
}

/// A reading loan of an array; it fails while another thread has lent it for writing.
pub(crate) fn readonly<'py, T: numpy::Element, D: ndarray::Dimension>(
    field: &str,
    array: &Bound<'py, PyArray<T, D>>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    array.try_readonly().map_err(|error| value_error(format!("{field} cannot be read: {error}")))
}

/// `given` as an array of `dtype` in C order, if its numbers are of one of `kinds`.
fn numbers<'py>(
    field: &str,
    given: &Bound<'py, PyAny>,
    kinds: &str,
    dtype: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = given.py();
    let array = as_array(given)?;
    let is_empty = array.len() == 0;
    if !is_empty && !kinds.contains(kind(&array)?) {
        let found = array.dtype().to_string();
        return Err(value_error(format!("{field} holds {found}, it must hold numbers that become {dtype}")));
    }
    let require = py.import(intern!(py, "numpy"))?.getattr(intern!(py, "require"))?;
    Ok(require.call1((array, dtype, "CA"))?.cast_into::<PyUntypedArray>()?)
}

/// The letter by which numpy sorts its types: `f` for floats, `i` and `u` for integers, `O` for objects and so on.
fn kind(array: &Bound<'_, PyUntypedArray>) -> PyResult<char> {
    array.dtype().getattr(intern!(array.py(), "kind"))?.extract()
}

fn as_array<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = given.py();
    let asarray = py.import(intern!(py, "numpy"))?.getattr(intern!(py, "asarray"))?;
    Ok(asarray.call1((given,))?.cast_into::<PyUntypedArray>()?)
}
