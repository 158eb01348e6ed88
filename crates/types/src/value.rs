//! Payload values: what a user stores beside a vector.

use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_KEY_BYTES_MAX};

/// One payload value: the JSON data model, with integers kept apart from floats.
///
/// Equality compares variants as they are (`I64(1) != F64(1.0)`); comparing by value is the filter's business.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer from -2^63 to 2^63 - 1.
    I64(i64),
    /// An integer from 2^63 to 2^64 - 1; smaller ones are `I64`.
    U64(u64),
    /// A finite number.
    F64(f64),
    /// Text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values, in the order given.
    Object(Object),
}

/// An object whose keys keep their order. A key set twice keeps its first place and its last value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    entries: Vec<(String, Value)>,
}

/// Why a payload is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nested too deeply.
    #[error("payload is nested more than {PAYLOAD_DEPTH_MAX} levels deep")]
    Depth,
    /// Too large.
    #[error("payload has more than {PAYLOAD_BYTES_MAX} bytes")]
    Bytes,
    /// A key is too long.
    #[error("payload key has {bytes} bytes: at most {PAYLOAD_KEY_BYTES_MAX} are allowed")]
    Key {
        /// The length of the key.
        bytes: usize,
    },
    /// A number is NaN or infinite.
    #[error("payload holds a number that is NaN or infinite")]
    NotFinite,
}

impl Object {
    /// An object without keys.
    pub fn new() -> Self {
        Object::default()
    }

    /// An object of these entries, in this order.
    ///
    /// O(n) where keys are few or sorted out by the caller; a repeated key keeps its first place and its last value.
    pub fn from_entries(entries: impl IntoIterator<Item = (String, Value)>) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        let mut places = std::collections::HashMap::with_capacity(entries.len());
        let mut object = Object { entries: Vec::with_capacity(entries.len()) };
        for (key, value) in entries {
            match places.get(&key) {
                Some(&place) => {
                    let (_, slot): &mut (String, Value) = &mut object.entries[place];
                    *slot = value;
                }
                None => {
                    places.insert(key.clone(), object.entries.len());
                    object.entries.push((key, value));
                }
            }
        }
        object
    }

    /// The value of `key`. O(keys).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key`, in its old place if it had one. O(keys).
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes `key` and returns its value. O(keys).
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Sets every key of `changes` at the top level; keys not named stay.
    pub fn merge(&mut self, changes: &Object) {
        for (key, value) in changes.iter() {
            self.set(key, value.clone());
        }
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks depth, size, keys and numbers, without recursion. Returns the size in the unit of the limit.
    ///
    /// # Errors
    ///
    /// The first limit that is passed; see [`crate::limits`].
    pub fn check(&self) -> Result<usize, ValueError> {
        let mut bytes = 0;
        let mut open: Vec<(&Value, usize)> = Vec::new();
        let push_entries = |object: &'_ Object, bytes: &mut usize| -> Result<(), ValueError> {
            for (key, _) in object.iter() {
                if key.len() > PAYLOAD_KEY_BYTES_MAX {
                    return Err(ValueError::Key { bytes: key.len() });
                }
                *bytes += key.len();
            }
            Ok(())
        };
        push_entries(self, &mut bytes)?;
        open.extend(self.entries.iter().map(|(_, value)| (value, 2)));
        while let Some((value, depth)) = open.pop() {
            match value {
                Value::F64(number) if !number.is_finite() => return Err(ValueError::NotFinite),
                Value::String(text) => bytes += text.len(),
                Value::Array(_) | Value::Object(_) if depth > PAYLOAD_DEPTH_MAX => {
                    return Err(ValueError::Depth);
                }
                Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
                Value::Object(object) => {
                    push_entries(object, &mut bytes)?;
                    open.extend(object.entries.iter().map(|(_, value)| (value, depth + 1)));
                }
                _ => {}
            }
            bytes += 8;
            if bytes > PAYLOAD_BYTES_MAX {
                return Err(ValueError::Bytes);
            }
        }
        Ok(bytes)
    }
}

/// Without recursion: what a caller nested too deeply is refused, and must not exhaust the stack on its way out.
impl Drop for Object {
    fn drop(&mut self) {
        let nested = |value: &Value| matches!(value, Value::Array(_) | Value::Object(_));
        if !self.entries.iter().any(|(_, value)| nested(value)) {
            return;
        }
        let mut open: Vec<Value> = self.entries.drain(..).map(|(_, value)| value).collect();
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(mut object) => open.extend(object.entries.drain(..).map(|(_, value)| value)),
                _ => {}
            }
        }
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Object::from_entries(entries)
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.entries).into_iter()
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::I64(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Value::U64(value), Value::I64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::F64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::String(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(items)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Object {
        let mut value = Value::Null;
        for _ in 1..levels {
            value = Value::Array(vec![value]);
        }
        Object::from_entries([("a".to_owned(), value)])
    }

    #[test]
    fn depth_is_limited_without_recursion() {
        assert!(nested(PAYLOAD_DEPTH_MAX).check().is_ok());
        assert_eq!(nested(PAYLOAD_DEPTH_MAX + 1).check(), Err(ValueError::Depth));
        let deep = nested(1_000_000);
        assert_eq!(deep.check(), Err(ValueError::Depth));
        drop(deep);
    }

    #[test]
    fn repeated_keys_keep_first_place_and_last_value() {
        let object = Object::from_entries([
            ("a".into(), 1i64.into()),
            ("b".into(), 2i64.into()),
            ("a".into(), 3i64.into()),
        ]);
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(object.get("a"), Some(&Value::I64(3)));
    }

    #[test]
    fn numbers_must_be_finite_and_keys_short() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let object = Object::from_entries([("x".into(), Value::Array(vec![bad.into()]))]);
            assert_eq!(object.check(), Err(ValueError::NotFinite));
        }
        let object = Object::from_entries([("k".repeat(PAYLOAD_KEY_BYTES_MAX + 1), Value::Null)]);
        assert!(matches!(object.check(), Err(ValueError::Key { .. })));
        let object = Object::from_entries([("x".into(), Value::String("s".repeat(PAYLOAD_BYTES_MAX)))]);
        assert_eq!(object.check(), Err(ValueError::Bytes));
    }

    #[test]
    fn merge_changes_only_what_is_named() {
        let mut object = Object::from_entries([("a".into(), 1i64.into()), ("b".into(), 2i64.into())]);
        object.merge(&Object::from_entries([("b".into(), true.into()), ("c".into(), Value::Null)]));
        assert_eq!(object.get("a"), Some(&Value::I64(1)));
        assert_eq!(object.get("b"), Some(&Value::Bool(true)));
        assert_eq!(object.len(), 3);
    }
}
