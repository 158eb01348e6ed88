//! Filters as callers write them: two forms, one tree.
//!
//! [`qdrant`] reads the form of the Qdrant API, [`mongo`] the dictionaries of the embedded Python library. Both take values that somebody has parsed already.
//!
//! **It refuses** to know JSON, to repair (an unknown key, operator or type is an error, never ignored), and to recurse: what is nested a million levels deep is
//! refused like anything else that is too deep.

pub mod mongo;
pub mod qdrant;
mod suggest;

pub use nearfield_payload::filter::{
    ClauseRef, Condition, ConditionRef, Datetime, Filter, FilterError, FilterRef, GeoBox, GeoPoint,
    GeoPolygon, GeoRadius, Key, Leaf, Number, Range, Scalar, Test, limits, slice_of,
};
pub use nearfield_payload::{Path, PathError, Step};
pub use suggest::suggested_indexes;

use nearfield_types::Value;

/// Why a filter cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// Something of the wrong form, and where.
    #[error("{at}: {message}")]
    Form {
        /// Where: `filter.must[0].range`.
        at: String,
        /// What was expected, and what came.
        message: String,
    },
    /// A range operand of a dictionary that is no number.
    #[error("{operator} value must be a number")]
    Number {
        /// The operator.
        operator: &'static str,
    },
    /// An operand of a dictionary that is no list.
    #[error("{operator} value must be a list")]
    List {
        /// The operator.
        operator: &'static str,
    },
    /// An operand of a dictionary that is not true or false.
    #[error("{operator} value must be a boolean")]
    Boolean {
        /// The operator.
        operator: &'static str,
    },
    /// An operand of a dictionary that is no dictionary.
    #[error("{operator} value must be a dict")]
    Dict {
        /// The operator.
        operator: &'static str,
    },
    /// A value that nothing can be equal to.
    #[error("unsupported filter value type")]
    Value,
    /// An operator of a dictionary that there is not.
    #[error("unknown operator: {0}")]
    Operator(String),
    /// Beyond a limit, or an operand without meaning.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// What a value is, for messages.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::I64(_) | Value::U64(_) => "an integer",
        Value::F64(_) => "a float",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn number_of(value: &Value) -> Option<Number> {
    match value {
        Value::I64(value) => Some(Number::I64(*value)),
        Value::U64(value) => Some(Number::U64(*value)),
        Value::F64(value) => Some(Number::F64(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
