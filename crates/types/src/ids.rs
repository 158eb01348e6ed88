//! What names a point (`PointId`), a row (`Slot`) and a moment (`Seq`).

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The name a user gives a point: unique within a collection.
///
/// The order is number < UUID < string; numbers by value, UUIDs and strings by their bytes. Scrolls run in this order and
/// equal scores are broken by it. A string is kept verbatim: `"7"` and the text of a UUID stay strings.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointId {
    /// An unsigned integer.
    Number(u64),
    /// A 128-bit UUID.
    Uuid(Uuid),
    /// Any text of at most [`limits::ID_BYTES_MAX`](crate::limits::ID_BYTES_MAX) bytes, the empty text included.
    String(Arc<str>),
}

impl PointId {
    /// Bytes this id holds outside its own size.
    pub fn heap_bytes(&self) -> usize {
        match self {
            PointId::Number(_) | PointId::Uuid(_) => 0,
            PointId::String(text) => text.len(),
        }
    }

    /// The id that a person means by `text`: decimal digits are a number, the hyphenated form is a UUID, all else is a string.
    ///
    /// Only for places where the kind cannot be said, such as a command line; the engine itself never guesses.
    pub fn guess(text: &str) -> PointId {
        if let Ok(number) = text.parse::<u64>()
            && number.to_string() == text
        {
            return PointId::Number(number);
        }
        match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => PointId::Uuid(uuid),
            _ => PointId::from(text),
        }
    }
}

impl From<u64> for PointId {
    fn from(number: u64) -> Self {
        PointId::Number(number)
    }
}

impl From<Uuid> for PointId {
    fn from(uuid: Uuid) -> Self {
        PointId::Uuid(uuid)
    }
}

impl From<&str> for PointId {
    fn from(text: &str) -> Self {
        PointId::String(text.into())
    }
}

impl From<String> for PointId {
    fn from(text: String) -> Self {
        PointId::String(text.into())
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointId::Number(number) => write!(f, "{number}"),
            PointId::Uuid(uuid) => write!(f, "{uuid}"),
            PointId::String(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointId::Number(number) => write!(f, "{number}"),
            PointId::Uuid(uuid) => write!(f, "{uuid}"),
            PointId::String(text) => write!(f, "{text:?}"),
        }
    }
}

/// The dense number of a row inside one segment, from 0; never reused within the segment, below 2^31.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable,
)]
#[repr(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// The slot as an index into a slice.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of an operation in the order of all changes of one shard; 0 means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every operation.
    pub const ZERO: Seq = Seq(0);
    /// Later than every operation.
    pub const MAX: Seq = Seq(u64::MAX);

    /// The one after this.
    #[inline]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_number_uuid_string() {
        let uuid = PointId::Uuid(Uuid::from_u128(0));
        assert!(PointId::from(u64::MAX) < uuid && uuid < PointId::from(""));
        assert!(PointId::from("10") < PointId::from("9"));
        assert!(PointId::from(9) < PointId::from(10));
    }

    #[test]
    fn guess_keeps_what_is_not_canonical_as_text() {
        assert_eq!(PointId::guess("7"), PointId::Number(7));
        for text in ["07", "+7", "-1", "", "18446744073709551616", "67e5504410b1426f9247bb680e5fe0c8"] {
            assert_eq!(PointId::guess(text), PointId::from(text), "{text}");
        }
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(PointId::guess(uuid).to_string(), uuid);
        assert!(matches!(PointId::guess(uuid), PointId::Uuid(_)));
    }
}
