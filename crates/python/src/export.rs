//! `export_json`: all records as one JSON object, a page at a time.

use std::sync::Arc;

use nearfield::{Object, PointId, Record, Value, View, With};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::failure::Failure;
use crate::handle::Handle;
use crate::metadata;
use crate::store::metric_name;

/// Records in a page.
const PAGE: usize = 500;

/// The parts of the file, in order: an iterator of bytes.
#[pyclass(frozen, module = "nearfield._nearfield", name = "_Pages")]
pub(crate) struct Pages {
    view: View,
    head: String,
    pretty: bool,
    progress: Mutex<Progress>,
}

enum Progress {
    /// Nothing was written yet.
    Begin,
    /// Records up to this id were.
    After(PointId),
    /// All records were.
    Records,
    /// All was.
    End,
}

impl Pages {
    /// The records as they are now.
    pub(crate) fn new(handle: &Arc<Handle>, pretty: bool) -> Result<Pages, Failure> {
        let metric = metric_name(handle.metric);
        let head = match pretty {
            true => format!(
                "{{\n  \"version\": 1,\n  \"dim\": {},\n  \"metric\": \"{metric}\",\n  \"vectors\": [",
                handle.dim
            ),
            false => format!("{{\"version\":1,\"dim\":{},\"metric\":\"{metric}\",\"vectors\":[", handle.dim),
        };
        Ok(Pages { view: handle.view()?, head, pretty, progress: Mutex::new(Progress::Begin) })
    }

    fn next(&self) -> Result<Option<Vec<u8>>, Failure> {
        let mut progress = self.progress.lock();
        let (mut out, after) = match &*progress {
            Progress::Begin => (self.head.clone().into_bytes(), None),
            Progress::After(id) => (Vec::new(), Some(id.clone())),
            Progress::Records => {
                let tail = if self.pretty { "\n  ]\n}\n" } else { "]}" };
                *progress = Progress::End;
                return Ok(Some(tail.as_bytes().to_vec()));
            }
            Progress::End => return Ok(None),
        };
        let page = self.view.scroll(after.as_ref(), PAGE, With::ALL)?;
        let mut is_first = after.is_none();
        *progress = page.last().map_or(Progress::Records, |last| Progress::After(last.id.clone()));
        for record in page {
            if !is_first {
                out.push(b',');
            }
            is_first = false;
            self.write(&mut out, record)?;
        }
        Ok(Some(out))
    }

    fn write(&self, out: &mut Vec<u8>, record: Record) -> Result<(), Failure> {
        let entry = Entry::of(record);
        let written = match self.pretty {
            false => serde_json::to_writer(out, &entry),
            true => serde_json::to_string_pretty(&entry).map(|text| {
                text.lines().for_each(|line| {
                    out.extend_from_slice(b"\n    ");
                    out.extend_from_slice(line.as_bytes());
                });
            }),
        };
        written.map_err(|error| Failure::value(error.to_string()))
    }
}

#[pymethods]
impl Pages {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let page = py.detach(|| self.next())?;
        Ok(page.map(|page| PyBytes::new(py, &page)))
    }
}

struct Entry {
    id: String,
    vector: Vec<f32>,
    metadata: Option<Object>,
}

impl Entry {
    fn of(record: Record) -> Entry {
        let vector = record.vectors.into_iter().flatten().next().map(|(_, vector)| vector);
        Entry {
            id: record.id.to_string(),
            vector: vector.unwrap_or_default(),
            metadata: metadata::unmarked(record.payload.unwrap_or_default()),
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("vector", &self.vector)?;
        if let Some(object) = &self.metadata {
            map.serialize_entry("metadata", &Json::Object(object))?;
        }
        map.end()
    }
}

/// A stored value as serde writes it.
enum Json<'a> {
    Value(&'a Value),
    Object(&'a Object),
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Value(Value::Object(object)) => Json::Object(object).serialize(serializer),
            Json::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.len()))?;
                for (key, value) in object.iter() {
                    map.serialize_entry(key, &Json::Value(value))?;
                }
                map.end()
            }
            Json::Value(Value::Null) => serializer.serialize_unit(),
            Json::Value(Value::Bool(truth)) => serializer.serialize_bool(*truth),
            Json::Value(Value::I64(number)) => serializer.serialize_i64(*number),
            Json::Value(Value::U64(number)) => serializer.serialize_u64(*number),
            Json::Value(Value::F64(number)) => serializer.serialize_f64(*number),
            Json::Value(Value::String(text)) => serializer.serialize_str(text),
            Json::Value(Value::Array(items)) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Json::Value(item))?;
                }
                list.end()
            }
        }
    }
}
