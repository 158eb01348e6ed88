//! `import_json`: what `export_json` writes, read back. The whole file is read and checked before anything is stored.

use std::fmt;

use nearfield::{Object, Point, Value, limits};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::batches;
use crate::failure::Failure;
use crate::handle::Handle;
use crate::metadata;
use crate::vectors::not_finite;

/// Stores the records of a file.
pub(crate) fn import(handle: &Handle, bytes: &[u8]) -> Result<(), Failure> {
    let store = handle.store()?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let file = json.deserialize_map(File::default()).and_then(|file| json.end().map(|()| file));
    let file = file.map_err(|error| Failure::value(format!("corrupt data: invalid JSON: {error}")))?;
    if file.dim != handle.dim as u64 {
        return Err(Failure::value(format!("dimension mismatch: expected {}, got {}", handle.dim, file.dim)));
    }
    for point in &file.points {
        let nearfield::Vectors::One(vector) = &point.vectors else { continue };
        if vector.len() != handle.dim {
            return Err(Failure::dimension(handle.dim, vector.len()));
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(not_finite());
        }
    }
    batches::write(&store, file.points, false)
}

/// The file, as far as it counts here.
#[derive(Default)]
struct File {
    dim: u64,
    points: Vec<Point>,
}

impl<'de> Visitor<'de> for File {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with version, dim, metric and vectors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let (mut version, mut dim, mut metric, mut points) =
            (None::<IgnoredAny>, None, None::<IgnoredAny>, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value()?),
                "metric" => metric = Some(map.next_value()?),
                "dim" => dim = Some(map.next_value()?),
                "vectors" => points = Some(map.next_value_seed(Points)?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        version.ok_or_else(|| A::Error::missing_field("version"))?;
        let dim = dim.ok_or_else(|| A::Error::missing_field("dim"))?;
        metric.ok_or_else(|| A::Error::missing_field("metric"))?;
        Ok(File { dim, points: points.ok_or_else(|| A::Error::missing_field("vectors"))? })
    }
}

struct Points;

impl<'de> DeserializeSeed<'de> for Points {
    type Value = Vec<Point>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Point>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Points {
    type Value = Vec<Point>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Point>, A::Error> {
        let mut points = Vec::new();
        while let Some(point) = seq.next_element_seed(Entry)? {
            points.push(point);
        }
        Ok(points)
    }
}

struct Entry;

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = Point;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Point, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record with id and vector")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Point, A::Error> {
        let (mut id, mut vector, mut stored) = (None::<String>, None::<Vec<f32>>, Object::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => id = Some(map.next_value()?),
                "vector" => vector = Some(map.next_value()?),
                "metadata" => stored = stored_of(map.next_value_seed(Json)?).map_err(A::Error::custom)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let id = id.ok_or_else(|| A::Error::missing_field("id"))?;
        if id.len() > limits::ID_BYTES_MAX {
            let text = format!("id has {} bytes: at most {} are allowed", id.len(), limits::ID_BYTES_MAX);
            return Err(A::Error::custom(text));
        }
        let vector = vector.ok_or_else(|| A::Error::missing_field("vector"))?;
        Ok(Point::new(id, vector).payload(stored))
    }
}

/// Metadata as it is stored; null is none.
fn stored_of(value: Value) -> Result<Object, String> {
    match value {
        Value::Null => Ok(Object::new()),
        Value::Object(object) => {
            object.check().map_err(|error| error.to_string())?;
            Ok(metadata::marked(object))
        }
        _ => Err("metadata must be an object or null".to_owned()),
    }
}

/// Any JSON value. serde_json refuses what is nested too deeply before this could.
struct Json;

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::I64(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::F64(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Json)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value_seed(Json)?));
        }
        Ok(Value::Object(Object::from_entries(entries)))
    }
}
