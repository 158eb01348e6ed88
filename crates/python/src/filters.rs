//! The argument `where_filter`: a dict of Python as the engine's filter.

use nearfield::filter::{Filter, ParseError, mongo};
use nearfield::{Object, Value, limits};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::value_error;
use crate::failure::{class_of, noted, type_error};

/// Reads a filter; `None` if there is none.
pub(crate) fn filter(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Filter>> {
    let Some(given) = given else { return Ok(None) };
    let Ok(dict) = given.cast::<PyDict>() else {
        return Err(type_error(format!("where_filter must be a dict or None, not {}", class_of(given))));
    };
    let object = object_of(dict, 1)?;
    mongo::parse(&object).map(Some).map_err(|error| {
        let raised = value_error(error.to_string());
        match error {
            ParseError::Operator(name) => noted(raised, &meant(&name)),
            _ => raised,
        }
    })
}

/// What somebody may have meant by an operator that there is not.
fn meant(operator: &str) -> String {
    let bare = operator.trim_start_matches('$').to_ascii_lowercase();
    match OPERATORS.iter().find(|known| known[1..] == bare) {
        Some(known) => format!("write \"{known}\""),
        None => format!("there are {}", OPERATORS.join(", ")),
    }
}

fn object_of(dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<Object> {
    check_depth(depth)?;
    let mut entries = Vec::with_capacity(dict.len());
    for (key, value) in dict {
        let Ok(name) = key.cast::<PyString>() else {
            return Err(type_error(format!("a field name of a filter must be str, not {}", class_of(&key))));
        };
        let name = text_of(name)?;
        let value = match RANGES.iter().find(|range| **range == name) {
            Some(range) => bound_of(range, &value)?,
            None => operand_of(&name, &value, depth)?,
        };
        entries.push((name, value));
    }
    Ok(Object::from_entries(entries))
}

/// All operators.
const OPERATORS: [&str; 12] =
    ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$and", "$or", "$not"];
/// Operators that compare numbers.
const RANGES: [&str; 4] = ["$gt", "$gte", "$lt", "$lte"];

/// An operand, or what the operator says of one that is not of its form.
fn operand_of(operator: &str, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    let is_dict = value.is_instance_of::<PyDict>();
    let wrong = match operator {
        "$in" if !is_list => ParseError::List { operator: "$in" },
        "$nin" if !is_list => ParseError::List { operator: "$nin" },
        "$and" if !is_list => ParseError::List { operator: "$and" },
        "$or" if !is_list => ParseError::List { operator: "$or" },
        "$not" if !is_dict => ParseError::Dict { operator: "$not" },
        "$exists" if !value.is_instance_of::<PyBool>() => ParseError::Boolean { operator: "$exists" },
        _ => return value_of(value, depth),
    };
    Err(value_error(wrong.to_string()))
}

/// The operand of a range. Infinity is one: all numbers are below it.
fn bound_of(operator: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let wrong = || value_error(ParseError::Number { operator }.to_string());
    if value.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return match float.value() {
            number if number.is_nan() => Err(wrong()),
            number => Ok(Value::F64(number)),
        };
    }
    if !value.is_instance_of::<PyInt>() {
        return Err(wrong());
    }
    match whole(value)? {
        Whole::Exact(value) => Ok(value),
        // The float beside it, on the side where the same numbers pass: no number that can be stored lies between them.
        Whole::Between(below, above) => {
            Ok(Value::F64(if matches!(operator, "$gt" | "$lte") { below } else { above }))
        }
    }
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
        return Ok(match whole(value)? {
            Whole::Exact(value) => value,
            // No stored number is infinite, so nothing is equal to it, as to the integer.
            Whole::Between(..) => Value::F64(f64::INFINITY),
        });
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

/// An integer of any size.
enum Whole {
    /// It can be stored.
    Exact(Value),
    /// It cannot; the floats below and above it.
    Between(f64, f64),
}

fn whole(value: &Bound<'_, PyAny>) -> PyResult<Whole> {
    if let Ok(number) = value.extract::<i64>() {
        return Ok(Whole::Exact(Value::I64(number)));
    }
    if let Ok(number) = value.extract::<u64>() {
        return Ok(Whole::Exact(Value::U64(number)));
    }
    let near = match value.extract::<f64>() {
        Ok(near) => near,
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            return Ok(match value.gt(0)? {
                true => Whole::Between(f64::MAX, f64::INFINITY),
                false => Whole::Between(f64::NEG_INFINITY, f64::MIN),
            });
        }
        Err(error) => return Err(error),
    };
    // Python compares integers with floats exactly.
    let float = PyFloat::new(value.py(), near);
    Ok(match (value.eq(&float)?, value.gt(&float)?) {
        (true, _) => Whole::Exact(Value::F64(near)),
        (false, true) => Whole::Between(near, near.next_up()),
        (false, false) => Whole::Between(near.next_down(), near),
    })
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
