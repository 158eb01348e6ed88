//! The row codec: one payload object as bytes, by rkyv, and back.
//!
//! It refuses to know JSON, files and checksums, and to guess: what [`encode`] cannot have made is an error, never a value.
//!
//! [`encode`] and [`decode`] are inverse to each other, floats to the bit and keys in order. Whatever the bytes, nothing here
//! panics, recurses past the depth limit, or takes memory beyond a small multiple of the bytes.

mod decode;
mod encode;
mod tape;
mod view;

#[cfg(test)]
mod tests;

use nearfield_types::ValueError;

pub use decode::{check, decode};
pub use encode::{Scratch, encode, encode_into};
pub use view::{ArrayRef, ObjectRef, RowRef, ValueRef};

/// Why bytes are not a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Too short for any row.
    #[error("payload row has {len} bytes, too few for any row")]
    Short {
        /// How many there are.
        len: usize,
    },
    /// Made by another version.
    #[error("payload row has version {found}, this program reads version {}", crate::format::ROW_VERSION)]
    Version {
        /// The version it says.
        found: u32,
    },
    /// The bytes do not begin where a row in memory must.
    #[error("payload row does not begin at a multiple of {}", crate::format::ROW_ALIGN_MIN)]
    Unaligned,
    /// The parts do not lie inside the bytes.
    #[error("the parts of the payload row do not lie inside its bytes")]
    Archive,
    /// The parts do not account for all bytes.
    #[error("payload row has {len} bytes, its parts account for another number")]
    Length {
        /// How many there are.
        len: usize,
    },
    /// The parts do not stand where the encoder puts them.
    #[error("the parts of the payload row are out of place")]
    Places,
    /// The number of top-level keys is impossible.
    #[error("payload row claims {count} top-level keys among {nodes} values")]
    Top {
        /// The number it says.
        count: usize,
        /// Values in all.
        nodes: usize,
    },
    /// A value of no known kind.
    #[error("value {node} of the payload row has the unknown kind {kind}")]
    Kind {
        /// Which value.
        node: usize,
        /// Its kind.
        kind: u8,
    },
    /// A value that its kind does not have.
    #[error("value {node} of the payload row is not one of its kind")]
    Value {
        /// Which value.
        node: usize,
    },
    /// A value whose text is not its own.
    #[error("text of value {node} of the payload row lies outside its place")]
    Text {
        /// Which value.
        node: usize,
    },
    /// A container whose children are not its own.
    #[error("children of value {node} of the payload row lie outside their place")]
    Children {
        /// Which value.
        node: usize,
    },
    /// Text that is not UTF-8.
    #[error("text of the payload row is not UTF-8")]
    Utf8,
    /// An object with a key twice.
    #[error("payload row has an object with a key twice")]
    RepeatedKey,
    /// A payload outside the limits.
    #[error(transparent)]
    Limit(ValueError),
}
