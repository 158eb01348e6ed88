//! A row read in place: one value of many, without decoding the others.
//!
//! Opening costs the same whatever the size of the row. Each step checks what it touches and no more, so a damaged part that is not asked for
//! goes unseen; [`check`](crate::check) sees all. Every step down leads to later nodes, so walks end on any bytes.

use nearfield_types::Object;

use super::tape::{Span, Tape};
use super::{RowError, decode};
use crate::format::{ROW_ALIGN_MIN, kind};
use crate::path::{Path, Step};

/// An encoded payload, borrowed.
///
/// ```
/// use nearfield_payload::{RowRef, Scratch, ValueRef, encode_into};
/// use nearfield_types::Object;
///
/// let object = Object::from_entries([("pos".to_owned(), "noun".into()), ("words".to_owned(), 2i64.into())]);
/// let mut scratch = Scratch::default();
/// let row = RowRef::new(encode_into(&object, &mut scratch)?)?;
/// assert!(matches!(row.get("words")?, Some(ValueRef::I64(2))));
/// assert!(matches!(row.get("pos")?, Some(ValueRef::String("noun"))));
/// assert!(row.get("lemma")?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    bytes: &'a [u8],
    object: ObjectRef<'a>,
}

/// One value of a row, borrowed. The same kinds as [`nearfield_types::Value`].
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// An integer of 2^63 or more.
    U64(u64),
    /// A number; finite in rows that [`check`](crate::check) accepts.
    F64(f64),
    /// Text.
    String(&'a str),
    /// A list.
    Array(ArrayRef<'a>),
    /// Keys and values.
    Object(ObjectRef<'a>),
}

/// An object inside a row, borrowed.
#[derive(Clone, Copy)]
pub struct ObjectRef<'a>(Siblings<'a>);

/// A list inside a row, borrowed.
#[derive(Clone, Copy)]
pub struct ArrayRef<'a>(Siblings<'a>);

/// The children of one container; they lie inside the nodes.
#[derive(Clone, Copy)]
struct Siblings<'a> {
    tape: Tape<'a>,
    span: Span,
}

impl<'a> RowRef<'a> {
    /// A view of `bytes`, which begin at a multiple of [`ROW_ALIGN_MIN`]: rows from [`Scratch`](crate::Scratch), from a
    /// sealed file and from a growing segment do. O(1).
    ///
    /// # Errors
    ///
    /// [`RowError::Unaligned`] (copy the bytes, or use [`decode`]), and what is found wrong with the frame of the row.
    pub fn new(bytes: &'a [u8]) -> Result<RowRef<'a>, RowError> {
        if !bytes.as_ptr().addr().is_multiple_of(ROW_ALIGN_MIN) && !bytes.is_empty() {
            return Err(RowError::Unaligned);
        }
        let tape = Tape::open(bytes)?;
        let span = Span { at: 0, len: tape.top };
        Ok(RowRef { bytes, object: ObjectRef(Siblings { tape, span }) })
    }

    /// The value of a top-level key. O(top-level keys), independent of the size of the values.
    ///
    /// # Errors
    ///
    /// What is found wrong with the nodes and the text on the way.
    pub fn get(&self, key: &str) -> Result<Option<ValueRef<'a>>, RowError> {
        self.object.get(key)
    }

    /// The one value that `path` leads to; `None` where it leads nowhere, or to every value of a list. O(keys on the way).
    ///
    /// ```
    /// use nearfield_payload::{Path, RowRef, Scratch, ValueRef, encode_into};
    /// use nearfield_types::{Object, Value};
    ///
    /// let owner = Object::from_entries([("ids".to_owned(), Value::Array(vec![7i64.into(), 8i64.into()]))]);
    /// let object = Object::from_entries([("owner".to_owned(), Value::Object(owner))]);
    /// let mut scratch = Scratch::default();
    /// let row = RowRef::new(encode_into(&object, &mut scratch)?)?;
    /// assert!(matches!(row.at(&Path::parse("owner.ids[1]")?)?, Some(ValueRef::I64(8))));
    /// for nowhere in ["owner.name", "owner.ids[2]", "owner.ids[]", "owner[0]", "owner.ids.x"] {
    ///     assert!(row.at(&Path::parse(nowhere)?)?.is_none());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RowRef::get`].
    pub fn at(&self, path: &Path) -> Result<Option<ValueRef<'a>>, RowError> {
        let mut value = ValueRef::Object(self.object);
        for step in path.steps() {
            let below = match (step, value) {
                (Step::Key(key), ValueRef::Object(object)) => object.get(key)?,
                (Step::Index(at), ValueRef::Array(list)) => list.iter().nth(*at as usize).transpose()?,
                _ => None,
            };
            match below {
                Some(below) => value = below,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    /// The payload object itself.
    pub fn object(&self) -> ObjectRef<'a> {
        self.object
    }

    /// All of it, as [`decode`].
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn to_object(&self) -> Result<Object, RowError> {
        decode(self.bytes)
    }
}

impl<'a> ObjectRef<'a> {
    /// The value of `key`. O(keys of this object).
    ///
    /// # Errors
    ///
    /// What is found wrong with the nodes and the text on the way.
    pub fn get(&self, key: &str) -> Result<Option<ValueRef<'a>>, RowError> {
        for node in self.0.nodes() {
            let span = self.0.tape.nodes[node].key();
            if span.len == key.len() && self.0.tape.bytes(node, span)? == key.as_bytes() {
                return self.0.value(node).map(Some);
            }
        }
        Ok(None)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<(&'a str, ValueRef<'a>), RowError>> + use<'a> {
        let siblings = self.0;
        siblings.nodes().map(move |node| {
            Ok((siblings.str(node, siblings.tape.nodes[node].key())?, siblings.value(node)?))
        })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.span.len
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> ArrayRef<'a> {
    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<ValueRef<'a>, RowError>> + use<'a> {
        let siblings = self.0;
        siblings.nodes().map(move |node| siblings.value(node))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.span.len
    }

    /// True without any value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Siblings<'a> {
    fn nodes(&self) -> std::ops::Range<usize> {
        self.span.at..self.span.end()
    }

    /// The value of `node`, one of these.
    fn value(&self, node: usize) -> Result<ValueRef<'a>, RowError> {
        let found = &self.tape.nodes[node];
        let bits = found.bits();
        Ok(match found.kind {
            kind::NULL => ValueRef::Null,
            kind::BOOL => ValueRef::Bool(bits != 0),
            kind::I64 => ValueRef::I64(bits.cast_signed()),
            kind::U64 => ValueRef::U64(bits),
            kind::F64 => ValueRef::F64(f64::from_bits(bits)),
            kind::STRING => ValueRef::String(self.str(node, found.span())?),
            kind::ARRAY => ValueRef::Array(ArrayRef(self.children(node, found.span())?)),
            kind::OBJECT => ValueRef::Object(ObjectRef(self.children(node, found.span())?)),
            kind => return Err(RowError::Kind { node, kind }),
        })
    }

    fn str(&self, node: usize, span: Span) -> Result<&'a str, RowError> {
        std::str::from_utf8(self.tape.bytes(node, span)?).map_err(|_| RowError::Utf8)
    }

    /// Children stand after their parent: what else the bytes may say, a walk downwards ends.
    fn children(&self, node: usize, span: Span) -> Result<Siblings<'a>, RowError> {
        match span.at > node && span.end() <= self.tape.nodes.len() {
            true => Ok(Siblings { tape: self.tape, span }),
            false => Err(RowError::Children { node }),
        }
    }
}

impl std::fmt::Debug for RowRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowRef({} bytes, {} keys)", self.bytes.len(), self.object.len())
    }
}

impl std::fmt::Debug for ObjectRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectRef({} keys)", self.len())
    }
}

impl std::fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArrayRef({} values)", self.len())
    }
}
