//! From a row to an object, and the full check of a row.

use std::collections::HashSet;

use nearfield_types::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_KEY_BYTES_MAX};
use nearfield_types::{Object, Value, ValueError};
use rkyv::util::AlignedVec;

use super::RowError;
use super::encode::VALUE_WEIGHT;
use super::tape::{ArchivedNode, Span, Tape};
use crate::format::{NODE_BYTES, ROOT_BYTES, ROW_ALIGN, ROW_ALIGN_MIN, kind};

/// Objects of at most this many keys are searched for repeated ones pair by pair; larger ones by hashing.
const PAIRWISE_KEYS_MAX: usize = 24;

/// The object of a row. Any bytes may be given, at any alignment; what comes out passes [`Object::check`].
///
/// # Errors
///
/// [`RowError`] for everything that [`encode`](crate::encode) cannot have made.
///
/// # Complexity
///
/// O(bytes). Bytes that do not start at a multiple of [`ROW_ALIGN_MIN`] are copied first. Memory is at most a small multiple
/// of the bytes given, whatever they say: nodes and text are counted out once each.
pub fn decode(bytes: &[u8]) -> Result<Object, RowError> {
    aligned(bytes, |bytes| {
        let row = Sound::check(bytes)?;
        row.object(Span { at: 0, len: row.tape.top })
    })
}

/// Checks all of a row, as [`decode`] does but without building the object: for bytes from outside that are to be kept.
///
/// # Errors
///
/// As [`decode`].
///
/// # Complexity
///
/// O(bytes).
pub fn check(bytes: &[u8]) -> Result<(), RowError> {
    aligned(bytes, |bytes| Sound::check(bytes)?.distinct_keys())
}

/// Runs `read` on the bytes where they are, or on a copy where they are misaligned.
fn aligned<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    if bytes.as_ptr().addr().is_multiple_of(ROW_ALIGN_MIN) {
        return read(bytes);
    }
    let mut copy = AlignedVec::<ROW_ALIGN>::with_capacity(bytes.len());
    copy.extend_from_slice(bytes);
    read(&copy)
}

/// Whether the parts stand where the encoder puts them: nodes, text, zeros, root. They lie inside `bytes` and fill it.
fn in_place(tape: &Tape<'_>, bytes: &[u8]) -> bool {
    let start = bytes.as_ptr().addr();
    let (text_at, text_end) =
        (tape.nodes.len() * NODE_BYTES, tape.nodes.len() * NODE_BYTES + tape.text.len());
    let gap = bytes.get(text_end..bytes.len() - ROOT_BYTES).unwrap_or_default();
    tape.nodes.as_ptr().addr() == start
        && tape.text.as_ptr().addr() == start + text_at
        && gap.iter().all(|&byte| byte == 0)
}

/// A row whose nodes are known to form a tree within the limits, and whose text is known to be text.
struct Sound<'a> {
    tape: Tape<'a>,
    text: &'a str,
}

/// How far a check has counted: everything before is spoken for.
struct Cursor {
    node: usize,
    text: usize,
}

impl<'a> Sound<'a> {
    /// Checks all but repeated keys. One pass over the nodes, one over the text, nothing allocated.
    fn check(bytes: &'a [u8]) -> Result<Self, RowError> {
        let tape = Tape::open(bytes)?;
        let (nodes, text) = (tape.nodes.len(), tape.text.len());
        if nodes.saturating_mul(VALUE_WEIGHT).saturating_add(text) > PAYLOAD_BYTES_MAX {
            return Err(RowError::Limit(ValueError::Bytes));
        }
        let root = if nodes == 0 { 0 } else { ROOT_BYTES };
        if (nodes * NODE_BYTES + text).next_multiple_of(4) + root != bytes.len() {
            return Err(RowError::Length { len: bytes.len() });
        }
        if nodes > 0 && !in_place(&tape, bytes) {
            return Err(RowError::Places);
        }
        let text = std::str::from_utf8(tape.text).map_err(|_| RowError::Utf8)?;
        let row = Sound { tape, text };
        row.check_tree()?;
        Ok(row)
    }

    /// Each node but the top ones is the child of exactly one node before it, and each byte of text belongs to one node.
    fn check_tree(&self) -> Result<(), RowError> {
        let nodes = self.tape.nodes;
        let mut cursor = Cursor { node: 0, text: 0 };
        self.check_children(&mut cursor, self.tape.top, true)?;
        let (mut depth, mut level_end) = (1, 0);
        for (at, node) in nodes.iter().enumerate() {
            if at == cursor.node {
                return Err(RowError::Children { node: at });
            }
            if at == level_end {
                depth += 1;
                level_end = cursor.node;
            }
            if !node.is_container() {
                continue;
            }
            if depth > PAYLOAD_DEPTH_MAX {
                return Err(RowError::Limit(ValueError::Depth));
            }
            let children = node.span();
            if children.at != cursor.node || children.len > nodes.len() - cursor.node {
                return Err(RowError::Children { node: at });
            }
            self.check_children(&mut cursor, children.len, node.kind == kind::OBJECT)?;
        }
        match cursor.text == self.text.len() {
            true => Ok(()),
            false => Err(RowError::Text { node: nodes.len() }),
        }
    }

    /// Checks the next `count` nodes, the children of one container; there are that many.
    fn check_children(&self, cursor: &mut Cursor, count: usize, keyed: bool) -> Result<(), RowError> {
        let children = &self.tape.nodes[cursor.node..cursor.node + count];
        for (at, node) in (cursor.node..).zip(children) {
            let key = node.key();
            if key.len > PAYLOAD_KEY_BYTES_MAX {
                return Err(RowError::Limit(ValueError::Key { bytes: key.len }));
            }
            if (!keyed && key.len != 0) || node.zero != 0 {
                return Err(RowError::Value { node: at });
            }
            self.check_text(cursor, at, key)?;
            let bits = node.bits();
            match node.kind {
                kind::NULL if bits != 0 => return Err(RowError::Value { node: at }),
                kind::BOOL if bits > 1 => return Err(RowError::Value { node: at }),
                kind::F64 if !f64::from_bits(bits).is_finite() => {
                    return Err(RowError::Limit(ValueError::NotFinite));
                }
                kind::STRING => self.check_text(cursor, at, node.span())?,
                kind::NULL..=kind::OBJECT => {}
                kind => return Err(RowError::Kind { node: at, kind }),
            }
        }
        cursor.node += count;
        Ok(())
    }

    /// The text of `node` is the next text, and is whole characters.
    fn check_text(&self, cursor: &mut Cursor, node: usize, span: Span) -> Result<(), RowError> {
        if span.at != cursor.text || !self.text.is_char_boundary(span.end()) {
            return Err(RowError::Text { node });
        }
        cursor.text = span.end();
        Ok(())
    }

    /// The object of these nodes. Recursion ends at [`PAYLOAD_DEPTH_MAX`], which the check established.
    fn object(&self, children: Span) -> Result<Object, RowError> {
        let nodes = self.nodes(children);
        let mut object = Object::new();
        if nodes.len() <= PAIRWISE_KEYS_MAX {
            for node in nodes {
                object.set(self.str(node.key()), self.value(node)?);
            }
        } else {
            object = nodes
                .iter()
                .map(|node| Ok((self.str(node.key()).to_owned(), self.value(node)?)))
                .collect::<Result<Object, RowError>>()?;
        }
        match object.len() == nodes.len() {
            true => Ok(object),
            false => Err(RowError::RepeatedKey),
        }
    }

    fn value(&self, node: &ArchivedNode) -> Result<Value, RowError> {
        let bits = node.bits();
        Ok(match node.kind {
            kind::BOOL => Value::Bool(bits == 1),
            kind::I64 => Value::I64(bits.cast_signed()),
            kind::U64 => Value::U64(bits),
            kind::F64 => Value::F64(f64::from_bits(bits)),
            kind::STRING => Value::String(self.str(node.span()).to_owned()),
            kind::ARRAY => Value::Array(
                self.nodes(node.span()).iter().map(|node| self.value(node)).collect::<Result<_, _>>()?,
            ),
            kind::OBJECT => Value::Object(self.object(node.span())?),
            _ => Value::Null,
        })
    }

    /// Checks that no object has a key twice.
    fn distinct_keys(&self) -> Result<(), RowError> {
        let containers =
            self.tape.nodes.iter().filter(|node| node.kind == kind::OBJECT).map(ArchivedNode::span);
        std::iter::once(Span { at: 0, len: self.tape.top }).chain(containers).try_for_each(|children| {
            let nodes = self.nodes(children);
            let keys = || nodes.iter().map(|node| self.str(node.key()));
            let repeated = if nodes.len() <= PAIRWISE_KEYS_MAX {
                keys().enumerate().any(|(at, key)| keys().take(at).any(|earlier| earlier == key))
            } else {
                let mut seen = HashSet::with_capacity(nodes.len());
                keys().any(|key| !seen.insert(key))
            };
            match repeated {
                true => Err(RowError::RepeatedKey),
                false => Ok(()),
            }
        })
    }

    /// Nodes that the check has seen.
    fn nodes(&self, children: Span) -> &'a [ArchivedNode] {
        &self.tape.nodes[children.at..children.end()]
    }

    /// Text that the check has seen.
    fn str(&self, span: Span) -> &'a str {
        &self.text[span.at..span.end()]
    }
}
