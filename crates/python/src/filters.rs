//! The argument `where_filter`: a dict of Python as the engine's filter.

use nearfield::filter::{Filter, ParseError, mongo};
use nearfield::{Object, Value, limits};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::value_error;
use crate::failure::{class_of, type_error};

/// Reads a filter; `None` if there is none.
pub(crate) fn filter(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Filter>> {
    let Some(given) = given else { return Ok(None) };
    let Ok(dict) = given.cast::<PyDict>() else {
        return Err(type_error(format!("where_filter must be a dict or None, not {}", class_of(given))));
    };
    let object = object_of(dict, 1)?;
    mongo::parse(&object).map(Some).map_err(|error| value_error(error.to_string()))
}

fn object_of(dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<Object> {
    check_depth(depth)?;
    let mut entries = Vec::with_capacity(dict.len());
    for (key, value) in dict {
        let Ok(name) = key.cast::<PyString>() else {
            return Err(type_error(format!("a field name of a filter must be str, not {}", class_of(&key))));
        };
        entries.push((text_of(name)?, value_of(&value, depth)?));
    }
    Ok(Object::from_entries(entries))
}

fn value_of(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(text_of(text)?));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return number_of(value);
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return match float.value() {
            number if number.is_finite() => Ok(Value::F64(number)),
            _ => Err(unsupported()),
        };
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return object_of(dict, depth + 1).map(Value::Object);
    }
    if let Ok(list) = value.cast::<PyList>() {
        return list_of(list.iter(), depth + 1);
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return list_of(tuple.iter(), depth + 1);
    }
    Err(unsupported())
}

fn list_of<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> PyResult<Value> {
    check_depth(depth)?;
    items.map(|item| value_of(&item, depth)).collect::<PyResult<Vec<Value>>>().map(Value::Array)
}

/// Integers beyond 64 bits become the nearest float: nothing stored is equal to them but what became the same float.
fn number_of(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Ok(number) = value.extract::<i64>() {
        return Ok(Value::I64(number));
    }
    if let Ok(number) = value.extract::<u64>() {
        return Ok(Value::U64(number));
    }
    match value.extract::<f64>() {
        Ok(number) => Ok(Value::F64(number)),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Err(unsupported()),
        Err(error) => Err(error),
    }
}

fn text_of(text: &Bound<'_, PyString>) -> PyResult<String> {
    text.to_str().map(str::to_owned).map_err(|_| unsupported())
}

fn unsupported() -> PyErr {
    value_error(ParseError::Value.to_string())
}

fn check_depth(depth: usize) -> PyResult<()> {
    match depth > limits::PAYLOAD_DEPTH_MAX {
        true => Err(value_error(format!(
            "the filter is nested more than {} levels deep",
            limits::PAYLOAD_DEPTH_MAX
        ))),
        false => Ok(()),
    }
}
