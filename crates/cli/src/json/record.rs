//! One point of an export as one JSON object, and back.
//!
//! Ids keep their kind: numbers are numbers, strings are strings, a UUID is `{"uuid": "..."}`.

use std::cell::Cell;
use std::fmt::{self, Write};

use nearfield::limits::ID_BYTES_MAX;
use nearfield::{Object, PointId, Record, Uuid};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value as Json, json};

use super::{Components, JsonError, Root, from_object};

/// What a line says of a point.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PointLine {
    pub(crate) id: Option<PointId>,
    /// The vectors by name; the one without a name if it was called `vector`.
    pub(crate) vectors: Vec<(String, Vec<f32>)>,
    /// Names of vectors that the point does not have, where they lie in files of their own.
    pub(crate) absent: Vec<String>,
    pub(crate) payload: Object,
    /// The last line of an export: how many points come before it, and the CRC-64 of all lines before it.
    pub(crate) end: Option<(u64, String)>,
    /// About how large it is.
    pub(crate) bytes: usize,
}

/// Appends the line of a point, without a line feed.
pub(crate) fn write_line(out: &mut String, record: &Record, with_vectors: bool, absent: &[&str]) {
    out.push_str("{\"id\":");
    out.push_str(&exact_id(&record.id).to_string());
    if with_vectors {
        out.push_str(",\"vectors\":{");
        for (at, (name, vector)) in record.vectors.iter().flatten().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&Json::from(name.as_str()).to_string());
            out.push(':');
            write_numbers(out, vector);
        }
        out.push('}');
    }
    if !absent.is_empty() {
        out.push_str(",\"absent\":");
        out.push_str(&absent.iter().copied().collect::<Json>().to_string());
    }
    if let Some(payload) = record.payload.as_ref().filter(|payload| !payload.is_empty()) {
        out.push_str(",\"payload\":");
        out.push_str(&from_object(payload).to_string());
    }
    out.push('}');
}

/// Appends a list of numbers, each the shortest decimal that reads back as the same float32.
pub(crate) fn write_numbers(out: &mut String, vector: &[f32]) {
    out.push('[');
    for (at, number) in vector.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        // Stored numbers are finite, and writing to a string does not fail.
        let _ = write!(out, "{number:?}");
    }
    out.push(']');
}

/// An id with its kind.
pub(crate) fn exact_id(id: &PointId) -> Json {
    match id {
        PointId::Number(number) => (*number).into(),
        PointId::Uuid(uuid) => json!({"uuid": uuid.to_string()}),
        PointId::String(text) => text.as_ref().into(),
    }
}

/// The id that [`exact_id`] wrote.
pub(crate) fn read_exact_id(json: &Json) -> Option<PointId> {
    match json {
        Json::Number(number) => number.as_u64().map(PointId::Number),
        Json::String(text) => Some(PointId::from(text.as_str())),
        Json::Object(object) => uuid_of(object.get("uuid")?.as_str()?),
        _ => None,
    }
}

fn uuid_of(text: &str) -> Option<PointId> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(PointId::Uuid)
}

/// Reads the line of a point.
///
/// # Errors
///
/// Anything else, naming the field.
pub(crate) fn parse_line(text: &str) -> Result<PointLine, JsonError> {
    let bytes = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut line = deserializer.deserialize_map(Lines { bytes: &bytes })?;
    deserializer.end()?;
    line.bytes = bytes.get() + line.vectors.iter().map(|(_, vector)| vector.len() * 4).sum::<usize>();
    Ok(line)
}

struct Lines<'a> {
    bytes: &'a Cell<usize>,
}

impl<'de> Visitor<'de> for Lines<'_> {
    type Value = PointLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with id, vectors and payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PointLine, A::Error> {
        let mut line = PointLine::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(de::Error::custom(format_args!("the key {} stands twice", super::quoted(&key))));
            }
            match key.as_str() {
                "id" => line.id = Some(map.next_value_seed(Id)?),
                "vector" => line.vectors.push((String::new(), map.next_value_seed(Numbers)?)),
                "vectors" => line.vectors = map.next_value_seed(Vectors)?,
                "absent" => line.absent = map.next_value()?,
                "payload" | "metadata" => {
                    line.payload =
                        map.next_value_seed(Maybe(Root { bytes: self.bytes }))?.unwrap_or_default();
                }
                "end" => line.end = Some(map.next_value_seed(End)?),
                other => {
                    let other = super::quoted(other);
                    return Err(de::Error::custom(format_args!(
                        "the key {other} is not known: id, vector, vectors, absent, payload and metadata are"
                    )));
                }
            }
            seen.push(key);
        }
        Ok(line)
    }
}

/// A value, or null.
struct Maybe<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = PointId;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PointId, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Id {
    type Value = PointId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an id: an integer from 0, a string of at most {ID_BYTES_MAX} bytes, or {{\"uuid\": \"...\"}}"
        )
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<PointId, E> {
        Ok(PointId::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PointId, E> {
        if text.len() > ID_BYTES_MAX {
            let bytes = text.len();
            return Err(E::custom(format_args!(
                "the id has {bytes} bytes: at most {ID_BYTES_MAX} are allowed"
            )));
        }
        Ok(PointId::from(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PointId, A::Error> {
        let (key, text) = map.next_entry::<String, String>()?.unwrap_or_default();
        let more = map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some();
        let id = uuid_of(&text).filter(|_| key == "uuid" && !more);
        id.ok_or_else(|| de::Error::custom("an id in an object must be {\"uuid\": \"...\"} with its hyphens"))
    }
}

struct Numbers;

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<f32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f32>, D::Error> {
        deserializer.deserialize_seq(Components)
    }
}

struct Vectors;

impl<'de> DeserializeSeed<'de> for Vectors {
    type Value = Vec<(String, Vec<f32>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Vectors {
    type Value = Vec<(String, Vec<f32>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of numbers for each vector")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut vectors: Vec<(String, Vec<f32>)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if vectors.iter().any(|(other, _)| *other == name) {
                let name = super::quoted(&name);
                return Err(de::Error::custom(format_args!("the vector {name} stands twice")));
            }
            vectors.push((name, map.next_value_seed(Numbers)?));
        }
        Ok(vectors)
    }
}

struct End;

impl<'de> DeserializeSeed<'de> for End {
    type Value = (u64, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for End {
    type Value = (u64, String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with points and crc64")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut points, mut crc) = (0, String::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "points" => points = map.next_value()?,
                "crc64" => crc = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok((points, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_to_the_last_bit() {
        let uuid = PointId::Uuid(Uuid::from_u128(7));
        let numbers = vec![0.1, -0.0, f32::MIN_POSITIVE, f32::MAX, 1e-45, 16_777_217.0, std::f32::consts::PI];
        for id in [PointId::from(u64::MAX), PointId::from("7"), PointId::from(""), uuid] {
            let mut payload = Object::new();
            payload.set("a".to_owned(), nearfield::Value::from(0.1 + 0.2));
            let record = Record {
                id: id.clone(),
                payload: Some(payload.clone()),
                vectors: Some(vec![("v".to_owned(), numbers.clone())]),
            };
            let mut text = String::new();
            write_line(&mut text, &record, true, &["w"]);
            let line = parse_line(&text).unwrap();
            let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&line.vectors[0].1), bits(&numbers));
            assert_eq!((line.id.as_ref(), &line.payload), (Some(&id), &payload));
            assert_eq!(line.absent, ["w"]);
            assert_eq!(read_exact_id(&exact_id(&id)), Some(id));
        }
    }

    #[test]
    fn both_spellings_are_read_and_others_refused() {
        let line = parse_line(r#"{"id": "a", "vector": [1, 2], "metadata": null}"#).unwrap();
        assert_eq!(line.vectors, [(String::new(), vec![1.0, 2.0])]);
        assert_eq!(
            parse_line(r#"{"end": {"points": 3, "crc64": "ff"}}"#).unwrap().end,
            Some((3, "ff".to_owned()))
        );
        for (bad, part) in [
            ("[]", "object"),
            (r#"{"id": -1}"#, "an id"),
            (r#"{"id": 1.5}"#, "an id"),
            (r#"{"id": {"uuid": "x"}}"#, "uuid"),
            (r#"{"id": 1, "id": 2}"#, "twice"),
            (r#"{"vector": []}"#, "no components"),
            (r#"{"vectors": {"a": [1], "a": [2]}}"#, "twice"),
            (r#"{"payload": []}"#, "object"),
            (r#"{"ids": 1}"#, "not known"),
        ] {
            let error = parse_line(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
