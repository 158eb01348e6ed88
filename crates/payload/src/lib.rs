//! Payload values as rows: the codec of one payload, the rows of a growing segment, the rows of a sealed one.
//!
//! **It refuses** to know JSON or any wire form, vectors, points and logs, to merge or patch (the segment resolves changes to
//! whole payloads), and to believe bytes: what the encoder cannot have made is an error, never a value.
//!
//! ```
//! use nearfield_payload::{GrowingPayload, RowRef, Scratch, ValueRef, decode, encode_into};
//! use nearfield_types::{Object, Slot};
//!
//! let payload = Object::from_entries([
//!     ("lemma".to_owned(), "able".into()),
//!     ("words".to_owned(), 1i64.into()),
//! ]);
//! let mut scratch = Scratch::default();
//! let rows = GrowingPayload::new();
//! rows.push(encode_into(&payload, &mut scratch)?);
//!
//! let row = rows.row(Slot(0)).expect("it was just pushed");
//! assert!(matches!(RowRef::new(row)?.get("words")?, Some(ValueRef::I64(1))));
//! assert_eq!(decode(row)?, payload);
//!
//! let (file, summary) = nearfield_payload::write(Vec::new(), [row])?;
//! assert_eq!(file.len() as u64, summary.length);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! 1. `decode(encode(o)) == o`: floats to the bit, keys in order, number kinds as they were. The empty object is the empty row.
//! 2. The same object has the same row, to the bit; what [`check`] accepts decodes, to an object that
//!    [`Object::check`](nearfield_types::Object::check) accepts.
//! 3. Decoders are pure functions of bytes: no panic, no recursion past the depth limit, memory at most a small multiple of
//!    the bytes.
//! 4. Rows never move and never change: a reader holds slices of a growing segment while its writer pushes.
//! 5. A sealed row reaches the caller only after the checksums of its blocks held; numbers in the file are only compared.
//!
//! # Complexity
//!
//! A row has 16 bytes a value, its text, and 24 to 27 bytes; sealed rows are padded to 16 and have an offset of 8. Encoding
//! and decoding are linear in the row; one top-level value is found by looking at the top-level keys alone. A sealed file is
//! written in one pass and opened in O(1).
//!
//! # Concurrency
//!
//! The codec has no state but the caller's [`Scratch`]. [`GrowingPayload`] has one writer and any readers, without locks;
//! [`SealedPayload`] is immutable.
//!
//! # Format
//!
//! [`mod@format`] is the one source of the layout. A row says its version in its last four bytes, so merges may copy rows they do
//! not decode; a sealed file has a container tag, and names how its rows are packed.
//!
//! # Reading order
//!
//! `format`, `row` (`tape`, `encode`, `decode`, `view`), `growing`, `sealed`, `path`, `text`, `filter`, `index`.

pub mod filter;
pub mod format;
mod growing;
pub mod index;
mod path;
mod row;
mod sealed;
pub mod text;

pub use growing::GrowingPayload;
pub use path::{PATH_BYTES_MAX, PATH_STEPS_MAX, Path, PathError, Step};
pub use row::{ArrayRef, ObjectRef, RowError, RowRef, Scratch, ValueRef, check, decode, encode, encode_into};
pub use sealed::{OpenError, ReadError, SealedPayload, SealedWriter, write};
