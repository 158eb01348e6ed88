//! JSON to Nearfield's values and back: payload objects, query vectors, ids, and the texts of their errors.
//!
//! **It refuses** to repair: a repeated key, a nesting or a size over the limits, a number that float64 cannot hold and anything after the
//! object are errors that name the field and the limit. It opens no files and knows no lines (see `jsonl`).
//!
//! # Invariants
//!
//! 1. What [`parse_object`] returns passes `Object::check`: the limits are applied while reading, before more is allocated.
//! 2. Reading recurses at most [`PAYLOAD_DEPTH_MAX`] times, whatever the input.

pub(crate) mod record;

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use nearfield::limits::{DIMENSION_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_KEY_BYTES_MAX};
use nearfield::{Object, PointId, Value};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

/// Up to so many keys, repeated ones are looked for by comparing; a set costs more than that.
const KEYS_COMPARED: usize = 24;

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct JsonError {
    /// Where in the text, in bytes from 1.
    pub column: usize,
    /// What is wrong, with the field and the limit.
    pub message: String,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        JsonError { column: error.column(), message: text.strip_suffix(&place).unwrap_or(&text).to_owned() }
    }
}

/// Reads a payload: one JSON object, with nothing but white space after it.
///
/// # Errors
///
/// Anything else, the limits of [`nearfield::limits`] and repeated keys included.
///
/// ```
/// use nearfield_cli::json::parse_object;
///
/// let object = parse_object(r#"{"name": "Ada", "born": 1815}"#)?;
/// assert_eq!(object.get("born"), Some(&1815i64.into()));
///
/// let error = parse_object(r#"{"name": "Ada", "name": "Eve"}"#).unwrap_err();
/// assert_eq!(error.to_string(), r#"column 22: the key "name" stands twice in one object"#);
/// # Ok::<(), nearfield_cli::json::JsonError>(())
/// ```
pub fn parse_object(text: &str) -> Result<Object, JsonError> {
    parse_sized(text).map(|(object, _)| object)
}

/// The same with its size in the unit of [`PAYLOAD_BYTES_MAX`]: bytes of keys and strings, and eight for each value.
pub(crate) fn parse_sized(text: &str) -> Result<(Object, usize), JsonError> {
    let bytes = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object = Root { bytes: &bytes }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((object, bytes.get()))
}

/// Reads a query vector: a JSON array of 1 to [`DIMENSION_MAX`] numbers that float32 can hold.
///
/// # Errors
///
/// Anything else; the component is named.
///
/// ```
/// assert_eq!(nearfield_cli::json::parse_vector("[1, -0.5]")?, [1.0, -0.5]);
/// # Ok::<(), nearfield_cli::json::JsonError>(())
/// ```
pub fn parse_vector(text: &str) -> Result<Vec<f32>, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let vector = deserializer.deserialize_seq(Components)?;
    deserializer.end()?;
    Ok(vector)
}

/// The JSON of a stored value. A stored value is at most [`PAYLOAD_DEPTH_MAX`] deep, so the recursion is bounded.
pub fn from_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::I64(number) => (*number).into(),
        Value::U64(number) => (*number).into(),
        Value::F64(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(from_value).collect(),
        Value::Object(object) => from_object(object),
    }
}

/// The JSON of a stored payload, keys in their order.
pub fn from_object(object: &Object) -> Json {
    object.iter().map(|(key, value)| (key.to_owned(), from_value(value))).collect()
}

/// A number for a number, text for a UUID or a string.
pub fn from_id(id: &PointId) -> Json {
    match id {
        PointId::Number(number) => (*number).into(),
        PointId::Uuid(_) => id.to_string().into(),
        PointId::String(text) => text.as_ref().into(),
    }
}

/// The shortest decimal that reads back as the same float32, where serde_json would print the digits of the float64; null
/// for what JSON cannot say.
pub fn from_f32(number: f32) -> Json {
    number
        .to_string()
        .parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map_or(Json::Null, Json::Number)
}

/// Counts what a value holds, in the unit of [`PAYLOAD_BYTES_MAX`].
fn spend<E: de::Error>(spent: &Cell<usize>, bytes: usize) -> Result<(), E> {
    spent.set(spent.get() + bytes);
    if spent.get() > PAYLOAD_BYTES_MAX {
        return Err(E::custom(format_args!(
            "the payload has more than {PAYLOAD_BYTES_MAX} bytes, which is the limit"
        )));
    }
    Ok(())
}

/// The start of a long text, quoted, for an error.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Reads the payload object itself.
struct Root<'a> {
    bytes: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object, A::Error> {
        read_entries(map, None, 1, self.bytes)
    }
}

/// Reads any value below it.
struct Node<'a> {
    /// The key of the payload under which this value lies.
    field: &'a str,
    /// How deep a list or object would be here; the payload itself is at 1.
    depth: usize,
    bytes: &'a Cell<usize>,
}

impl Node<'_> {
    fn check_depth<E: de::Error>(&self) -> Result<(), E> {
        if self.depth <= PAYLOAD_DEPTH_MAX {
            return Ok(());
        }
        let field = quoted(self.field);
        Err(E::custom(format_args!(
            "field {field} is nested more than {PAYLOAD_DEPTH_MAX} levels deep, which is the limit"
        )))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        spend(self.bytes, 8)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        if number.is_finite() { Ok(number.into()) } else { Err(E::custom("a number is NaN or infinite")) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        spend(self.bytes, text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let Node { field, depth, bytes } = self;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Node { field, depth: depth + 1, bytes })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        read_entries(map, Some(self.field), self.depth, self.bytes).map(Value::Object)
    }
}

/// Reads the entries of an object at `depth`, under `field` unless it is the payload itself.
fn read_entries<'de, A: MapAccess<'de>>(
    mut map: A,
    field: Option<&str>,
    depth: usize,
    bytes: &Cell<usize>,
) -> Result<Object, A::Error> {
    let mut entries: Vec<(String, Value)> = Vec::new();
    let mut many: HashSet<String> = HashSet::new();
    while let Some(key) = map.next_key::<String>()? {
        if key.len() > PAYLOAD_KEY_BYTES_MAX {
            let (length, start) = (key.len(), quoted(&key));
            return Err(de::Error::custom(format_args!(
                "the key {start} has {length} bytes: at most {PAYLOAD_KEY_BYTES_MAX} are allowed"
            )));
        }
        spend(bytes, key.len())?;
        let repeated = if entries.len() < KEYS_COMPARED {
            entries.iter().any(|(other, _)| *other == key)
        } else {
            if many.is_empty() {
                many.extend(entries.iter().map(|(key, _)| key.clone()));
            }
            !many.insert(key.clone())
        };
        if repeated {
            return Err(de::Error::custom(format_args!(
                "the key {} stands twice in one object",
                quoted(&key)
            )));
        }
        let value = map.next_value_seed(Node { field: field.unwrap_or(&key), depth: depth + 1, bytes })?;
        entries.push((key, value));
    }
    Ok(collect(entries))
}

/// An object of entries whose keys differ.
fn collect(entries: Vec<(String, Value)>) -> Object {
    if entries.len() > KEYS_COMPARED {
        return Object::from_entries(entries);
    }
    let mut object = Object::new();
    for (key, value) in entries {
        object.set(key, value);
    }
    object
}

/// Reads the components of a vector.
struct Components;

impl<'de> Visitor<'de> for Components {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of numbers such as [0.1, -2, 3]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<f32>, A::Error> {
        let mut vector: Vec<f32> = Vec::new();
        while let Some(number) = items.next_element::<f64>()? {
            let (at, component) = (vector.len(), number as f32);
            if at == DIMENSION_MAX {
                return Err(de::Error::custom(format_args!(
                    "the vector has more than {DIMENSION_MAX} components"
                )));
            }
            if !component.is_finite() {
                return Err(de::Error::custom(format_args!(
                    "component {at} is {number:e}: float32 cannot hold it"
                )));
            }
            vector.push(component);
        }
        if vector.is_empty() {
            return Err(de::Error::custom("the vector has no components"));
        }
        Ok(vector)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        parse_object(text).unwrap_err().to_string()
    }

    #[test]
    fn values_and_their_order_survive_the_way_there_and_back() {
        let text = r#"{"z":null,"a":[true,-1,18446744073709551615,0.5,{"k":"ü\"\n"}],"":{},"e":[]}"#;
        let object = parse_object(text).unwrap();
        assert_eq!(object.check(), Ok(parse_sized(text).unwrap().1));
        assert_eq!(from_object(&object).to_string(), text);
        assert_eq!(
            object.get("a").unwrap(),
            &Value::Array(vec![
                true.into(),
                Value::I64(-1),
                Value::U64(u64::MAX),
                0.5.into(),
                Value::Object(Object::from_entries([("k".into(), "ü\"\n".into())])),
            ])
        );
    }

    #[test]
    fn depth_is_limited_at_64_and_bottomless_text_is_harmless() {
        let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(parse_object(&nested(PAYLOAD_DEPTH_MAX - 1)).is_ok());
        let expected = r#"field "a" is nested more than 64 levels deep"#;
        assert!(refused(&nested(PAYLOAD_DEPTH_MAX)).contains(expected));
        assert!(refused(&nested(100_000)).contains(expected));
        assert!(refused(&r#"{"a":"#.repeat(100_000)).contains(expected));
    }

    #[test]
    fn repeated_keys_are_refused_among_few_and_many() {
        assert_eq!(refused(r#"{"a":{"b":1,"b":2}}"#), r#"column 15: the key "b" stands twice in one object"#);
        let many = |last: &str| {
            let keys: String = (0..1_000).map(|i| format!(r#""k{i}":{i},"#)).collect();
            format!(r#"{{{keys}"{last}":0}}"#)
        };
        assert_eq!(parse_object(&many("other")).unwrap().len(), 1_001);
        for repeated in ["k0", "k23", "k24", "k999"] {
            assert!(refused(&many(repeated)).contains("stands twice"), "{repeated}");
        }
    }

    #[test]
    fn sizes_are_limited_while_reading() {
        let text = |bytes: usize| format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes));
        assert!(parse_object(&text(PAYLOAD_BYTES_MAX - 9)).is_ok());
        assert!(refused(&text(PAYLOAD_BYTES_MAX - 8)).contains("more than 16777216 bytes"));
        assert!(
            refused(&format!(r#"{{"a":[{}0]}}"#, "0,".repeat(3 << 20))).contains("more than 16777216 bytes")
        );
        let key = format!(r#"{{"{}":0}}"#, "k".repeat(PAYLOAD_KEY_BYTES_MAX + 1));
        assert!(refused(&key).contains("has 4097 bytes: at most 4096"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, part) in [
            ("", "EOF"),
            ("[1]", "expected a JSON object"),
            ("7", "expected a JSON object"),
            ("{} {}", "trailing characters"),
            (r#"{"a":NaN}"#, "expected value"),
            (r#"{"a":1e999}"#, "out of range"),
            (r#"{"a":1"#, "EOF"),
            ("{\"a\":\"\u{1}\"}", "control character"),
            (r#"{"a":"\ud800"}"#, "escape"),
        ] {
            let error = refused(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn vectors_are_numbers_that_float32_holds() {
        assert_eq!(parse_vector(" [1, 2.5e0 ,-3]\n").unwrap(), [1.0, 2.5, -3.0]);
        let many = format!("[{}0]", "0,".repeat(DIMENSION_MAX));
        for (text, part) in [
            ("[]", "no components"),
            ("[1,1e39]", "component 1 is 1e39"),
            ("[NaN]", "expected value"),
            (r#"["1"]"#, "invalid type: string"),
            ("{}", "array of numbers"),
            ("1, 2", "array of numbers"),
            (many.as_str(), "more than 65536"),
            (&"[".repeat(100_000), "invalid type: sequence"),
        ] {
            let error = parse_vector(text).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn float32_is_printed_with_the_digits_it_has() {
        assert_eq!(from_f32(0.1).to_string(), "0.1");
        assert_eq!(from_f32(f32::MIN_POSITIVE).as_f64().unwrap() as f32, f32::MIN_POSITIVE);
        assert_eq!(from_f32(f32::NAN), Json::Null);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{}:,"a1e.\- \\u]{0,60}"#) {
            if let Ok(object) = parse_object(&text) {
                prop_assert!(object.check().is_ok());
                prop_assert_eq!(parse_object(&from_object(&object).to_string()).unwrap(), object);
            }
            let _: Result<Vec<f32>, JsonError> = parse_vector(&text);
        }
    }
}
