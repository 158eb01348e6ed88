//! From an object to a row.

use nearfield_types::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_KEY_BYTES_MAX};
use nearfield_types::{Object, Value, ValueError};
use rkyv::api::high::to_bytes_in;
use rkyv::rancor::Failure;
use rkyv::util::AlignedVec;

use super::tape::{Node, Row, pack};
use crate::format::{NODE_BYTES, ROW_ALIGN, ROW_VERSION, kind};

/// What one value weighs beside its text, as [`Object::check`] counts.
pub(crate) const VALUE_WEIGHT: usize = 8;
/// Room that is kept from one row to the next; a rare huge row does not stay.
const KEEP_BYTES: usize = 1 << 20;

/// Room for encoding rows, kept from one to the next: after the first rows, flat objects are encoded without allocating.
#[derive(Debug, Default)]
pub struct Scratch {
    row: Row,
    bytes: AlignedVec<ROW_ALIGN>,
}

/// A container whose children have not been laid out yet.
struct Pending<'o> {
    node: usize,
    depth: usize,
    children: Children<'o>,
}

#[derive(Clone, Copy)]
enum Children<'o> {
    Array(&'o [Value]),
    Object(&'o Object),
}

/// The row of `object`, in memory of its own. See [`encode_into`].
///
/// # Errors
///
/// As [`encode_into`].
pub fn encode(object: &Object) -> Result<Vec<u8>, ValueError> {
    encode_into(object, &mut Scratch::default()).map(<[u8]>::to_vec)
}

/// The row of `object`, in the room of `scratch`, aligned to [`ROW_ALIGN`]. The empty object has an empty row.
///
/// An object that [`Object::check`] accepts is never refused; the same object has the same row, to the bit.
///
/// # Errors
///
/// What [`Object::check`] refuses is refused here too, before anything is allocated beyond the limits.
///
/// # Complexity
///
/// O(values + bytes of text), without recursion; flat objects allocate nothing once `scratch` is warm.
///
/// ```
/// use nearfield_payload::{Scratch, decode, encode_into};
/// use nearfield_types::Object;
///
/// let mut scratch = Scratch::default();
/// let mut object = Object::new();
/// assert_eq!(encode_into(&object, &mut scratch)?, b"");
///
/// object.set("lemma", "able");
/// object.set("offset", 1740i64);
/// let row = encode_into(&object, &mut scratch)?;
/// assert_eq!(decode(row)?, object);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_into<'s>(object: &Object, scratch: &'s mut Scratch) -> Result<&'s [u8], ValueError> {
    if object.is_empty() {
        return Ok(&[]);
    }
    if scratch.bytes_resident() > KEEP_BYTES {
        *scratch = Scratch::default();
    }
    scratch.row.lay_out(object)?;
    let mut room = std::mem::take(&mut scratch.bytes);
    room.clear();
    scratch.bytes = to_bytes_in::<_, Failure>(&scratch.row, room)
        .expect("a row within the limits lies within the reach of 32-bit offsets");
    Ok(&scratch.bytes)
}

impl Scratch {
    fn bytes_resident(&self) -> usize {
        self.row.nodes.capacity() * NODE_BYTES + self.row.text.capacity() + self.bytes.capacity()
    }
}

impl Row {
    /// Fills the row with `object`, breadth first.
    fn lay_out(&mut self, object: &Object) -> Result<(), ValueError> {
        self.nodes.clear();
        self.text.clear();
        self.version = ROW_VERSION;
        let mut pending = Vec::new();
        let mut at = 0;
        self.push_object(object, 2, &mut pending)?;
        self.top = self.nodes.len() as u32;
        while let Some(&Pending { node, depth, children }) = pending.get(at) {
            at += 1;
            let first = self.nodes.len();
            match children {
                Children::Array(items) => {
                    for item in items {
                        self.push("", item, depth + 1, &mut pending)?;
                    }
                }
                Children::Object(object) => self.push_object(object, depth + 1, &mut pending)?,
            }
            self.nodes[node].data = pack(first, self.nodes.len() - first);
        }
        Ok(())
    }

    fn push_object<'o>(
        &mut self,
        object: &'o Object,
        depth: usize,
        pending: &mut Vec<Pending<'o>>,
    ) -> Result<(), ValueError> {
        object.iter().try_for_each(|(key, value)| self.push(key, value, depth, pending))
    }

    /// Appends one value; `depth` is what a container in its place would have.
    #[inline]
    fn push<'o>(
        &mut self,
        key: &str,
        value: &'o Value,
        depth: usize,
        pending: &mut Vec<Pending<'o>>,
    ) -> Result<(), ValueError> {
        if key.len() > PAYLOAD_KEY_BYTES_MAX {
            return Err(ValueError::Key { bytes: key.len() });
        }
        let string = if let Value::String(text) = value { text.as_str() } else { "" };
        let text_len = self.text.len().saturating_add(key.len()).saturating_add(string.len());
        if text_len.saturating_add((self.nodes.len() + 1) * VALUE_WEIGHT) > PAYLOAD_BYTES_MAX {
            return Err(ValueError::Bytes);
        }
        let node = self.nodes.len();
        let key_at = self.text.len();
        self.text.extend_from_slice(key.as_bytes());
        let mut await_children = |children| {
            if depth > PAYLOAD_DEPTH_MAX {
                return Err(ValueError::Depth);
            }
            pending.push(Pending { node, depth, children });
            Ok(0)
        };
        let (kind, data) = match value {
            Value::Null => (kind::NULL, 0),
            Value::Bool(yes) => (kind::BOOL, u64::from(*yes)),
            Value::I64(number) => (kind::I64, number.cast_unsigned()),
            Value::U64(number) => (kind::U64, *number),
            Value::F64(number) if !number.is_finite() => return Err(ValueError::NotFinite),
            Value::F64(number) => (kind::F64, number.to_bits()),
            Value::String(_) => (kind::STRING, pack(self.text.len(), string.len())),
            Value::Array(items) => (kind::ARRAY, await_children(Children::Array(items))?),
            Value::Object(object) => (kind::OBJECT, await_children(Children::Object(object))?),
        };
        self.text.extend_from_slice(string.as_bytes());
        self.nodes.push(Node { kind, zero: 0, key_len: key.len() as u16, key_at: key_at as u32, data });
        Ok(())
    }
}
