//! Metadata: what JSON makes of a dict, as the engine's object and back.
//!
//! None and the empty dict are two things for the caller and one for the engine, which keeps an empty object for both. The empty dict is
//! therefore stored as `{"$empty": null}`, and a dict that looks like that gets one more `$`.

use nearfield::{Object, Value, limits};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::failure::{class_of, noted, type_error};

const EMPTY: &str = "$empty";

/// Metadata as it is stored.
pub(crate) fn stored(given: Option<&Bound<'_, PyDict>>) -> PyResult<Object> {
    let Some(dict) = given else { return Ok(Object::new()) };
    let object = object_of(dict, 1)?;
    object.check().map_err(|error| invalid(error.to_string()))?;
    Ok(marked(object))
}

/// The object as it is stored, so that it can be told from no metadata.
pub(crate) fn marked(object: Object) -> Object {
    match only_key(&object) {
        _ if object.is_empty() => Object::from_entries([(EMPTY.to_owned(), Value::Null)]),
        Some(key) => Object::from_entries([(format!("${key}"), Value::Null)]),
        None => object,
    }
}

/// What was given, from what is stored: `None` if it was none.
pub(crate) fn unmarked(object: Object) -> Option<Object> {
    match only_key(&object) {
        _ if object.is_empty() => None,
        Some(EMPTY) => Some(Object::new()),
        Some(key) => Some(Object::from_entries([(key[1..].to_owned(), Value::Null)])),
        None => Some(object),
    }
}

/// The key of an object that looks like the mark: dollars, the word, and null.
fn only_key(object: &Object) -> Option<&str> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((key, Value::Null)), None)
            if key.trim_start_matches('$') == &EMPTY[1..] && key.starts_with('$') =>
        {
            Some(key)
        }
        _ => None,
    }
}

/// A dict as JSON would have it, at this depth.
pub(crate) fn object_of(dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<Object> {
    if depth > limits::PAYLOAD_DEPTH_MAX {
        let text = format!("it is nested more than {} levels deep", limits::PAYLOAD_DEPTH_MAX);
        return Err(invalid(text));
    }
    let mut entries = Vec::with_capacity(dict.len());
    for (key, value) in dict {
        let key = key_of(&key)?;
        let value =
            value_of(&value, depth).map_err(|error| noted(error, &format!("in the metadata key {key:?}")))?;
        entries.push((key, value));
    }
    Ok(Object::from_entries(entries))
}

/// A value as JSON would have it, inside something at this depth.
pub(crate) fn value_of(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
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
        return integer_of(value);
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return match float.value() {
            number if number.is_finite() => Ok(Value::F64(number)),
            number => Err(invalid(format!("{number} is no number that JSON can express"))),
        };
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return object_of(dict, depth + 1).map(Value::Object);
    }
    if let Ok(list) = value.cast::<PyList>() {
        return array_of(list.iter(), depth + 1);
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return array_of(tuple.iter(), depth + 1);
    }
    Err(type_error(format!("Object of type {} is not JSON serializable", class_of(value))))
}

fn array_of<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> PyResult<Value> {
    if depth > limits::PAYLOAD_DEPTH_MAX {
        let text = format!("it is nested more than {} levels deep", limits::PAYLOAD_DEPTH_MAX);
        return Err(invalid(text));
    }
    items.map(|item| value_of(&item, depth)).collect::<PyResult<Vec<Value>>>().map(Value::Array)
}

/// An integer, kept exactly or refused: one beyond 64 bits is kept as a float only if that is the same number.
fn integer_of(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Ok(number) = value.extract::<i64>() {
        return Ok(Value::I64(number));
    }
    if let Ok(number) = value.extract::<u64>() {
        return Ok(Value::U64(number));
    }
    match value.extract::<f64>() {
        Ok(float) if PyFloat::new(value.py(), float).as_any().eq(value)? => Ok(Value::F64(float)),
        _ => Err(invalid("an integer outside -2**63 to 2**64 - 1 cannot be kept exactly")),
    }
}

/// A key as `json.dumps` writes it.
fn key_of(key: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = key.cast::<PyString>() {
        return text_of(text);
    }
    if key.is_none() {
        return Ok("null".to_owned());
    }
    if let Ok(truth) = key.cast::<PyBool>() {
        return Ok(truth.is_true().to_string());
    }
    if key.is_instance_of::<PyInt>() {
        let plain = key.py().get_type::<PyInt>().call_method1("__repr__", (key,))?;
        return plain.extract();
    }
    if let Ok(float) = key.cast::<PyFloat>() {
        if !float.value().is_finite() {
            return Err(invalid(format!("{} is no key that JSON can express", float.value())));
        }
        return key.py().get_type::<PyFloat>().call_method1("__repr__", (key,))?.extract();
    }
    Err(type_error(format!("keys must be str, int, float, bool or None, not {}", class_of(key))))
}

fn text_of(text: &Bound<'_, PyString>) -> PyResult<String> {
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(invalid("a text holds half of a surrogate pair")),
    }
}

/// The error for metadata that is no JSON.
fn invalid(why: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("invalid metadata: {why}"))
}

/// Stored metadata as Python sees it: a dict or None.
pub(crate) fn to_python(py: Python<'_>, object: Object) -> PyResult<Py<PyAny>> {
    match unmarked(object) {
        Some(object) => Ok(dict_of(py, &object)?.into_any().unbind()),
        None => Ok(py.None()),
    }
}

fn dict_of<'py>(py: Python<'py>, object: &Object) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in object.iter() {
        dict.set_item(key, item_of(py, value)?)?;
    }
    Ok(dict)
}

/// A stored value; stored objects are at most [`limits::PAYLOAD_DEPTH_MAX`] deep, so this may call itself.
fn item_of<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any(),
        Value::I64(number) => number.into_pyobject(py)?.into_any(),
        Value::U64(number) => number.into_pyobject(py)?.into_any(),
        Value::F64(number) => PyFloat::new(py, *number).into_any(),
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| item_of(py, item)).collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(object) => dict_of(py, object)?.into_any(),
    })
}
