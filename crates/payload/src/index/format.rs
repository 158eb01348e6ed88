//! Every constant of the field index file, and its layout.
//!
//! The file is a container (see `nearfield_codec::Container`), one for each field of a segment: an index is then created and
//! dropped by one file, and opening a segment reads the frames of its indexes only. All numbers are little-endian.
//!
//! ```text
//! section  1  header     64 bytes, see INDEX_HEADER_LAYOUT
//! section  2  config     the encoded IndexConfig
//! section  3  keys       the distinct keys, ascending: 8 or 16 bytes each; of text, u64 ends in section 4
//! section  4  terms      the bytes of the text keys, one after another
//! section  5  starts     u32 each, keys + 1: where the slots of each key begin
//! section  6  slots      u32 each: the slots of each key, ascending
//! section  7  marks      bitsets of ceil(rows / 64) u64 each: mark i holds the slots of the entries before (i + 1) * block;
//!                        with flag MANY, of the entries from i * block to (i + 1) * block
//! section  8  forward    u32 per row: the number of its key plus one, zero for none; with flag MANY the numbers (plus one) of
//!                        all keys, row after row. None for text
//! section  9  forward starts  with flag MANY: u32 each, rows + 1
//! section 10  sets       roaring bitmaps, each a u64 length and its bytes: the rows that are absent, null, empty, foreign, unsure,
//!                        listed, several
//! section 11  counts     { slot u32, count u32 } where a row has a list of two values or more, ascending
//! section 12  points     of geo: { lon f64, lat f64 } per entry
//! section 13  frequencies  of text: u32 per entry, how often the row has the token
//! section 14  lengths    of text: u32 per row, tokens
//! section 15  position starts  of text with phrases: u32 per entry and one more
//! section 16  positions  of text with phrases: u32 each, ascending within an entry
//! ```
//!
//! A key number that a reader meets is always compared with the number of keys; slots with the number of rows.

use nearfield_codec::FileTag;

use crate::format::Layout;

/// The kind of file.
pub const INDEX_MAGIC: [u8; 4] = *b"NFfx";
/// Version of the file.
pub const INDEX_VERSION: u16 = 1;
/// The tag at the start of the file.
pub const INDEX_TAG: FileTag = FileTag::new(INDEX_MAGIC, INDEX_VERSION, INDEX_VERSION);

/// Counts and flags.
pub const INDEX_SECTION_HEADER: u32 = 1;
/// The encoded configuration.
pub const INDEX_SECTION_CONFIG: u32 = 2;
/// The distinct keys.
pub const INDEX_SECTION_KEYS: u32 = 3;
/// The bytes of text keys.
pub const INDEX_SECTION_TERMS: u32 = 4;
/// Where the slots of a key begin.
pub const INDEX_SECTION_STARTS: u32 = 5;
/// The slots, key after key.
pub const INDEX_SECTION_SLOTS: u32 = 6;
/// Bitsets at equal distances among the entries.
pub const INDEX_SECTION_MARKS: u32 = 7;
/// The keys, row after row.
pub const INDEX_SECTION_FORWARD: u32 = 8;
/// Where the keys of a row begin.
pub const INDEX_SECTION_FORWARD_STARTS: u32 = 9;
/// The sets of special rows.
pub const INDEX_SECTION_SETS: u32 = 10;
/// The numbers of values that are not one.
pub const INDEX_SECTION_COUNTS: u32 = 11;
/// Longitudes and latitudes.
pub const INDEX_SECTION_POINTS: u32 = 12;
/// Token frequencies.
pub const INDEX_SECTION_FREQUENCIES: u32 = 13;
/// Document lengths.
pub const INDEX_SECTION_LENGTHS: u32 = 14;
/// Where the positions of an entry begin.
pub const INDEX_SECTION_POSITION_STARTS: u32 = 15;
/// Token positions.
pub const INDEX_SECTION_POSITIONS: u32 = 16;

/// Flag: some row has several keys.
pub const INDEX_FLAG_MANY: u32 = 1;
/// Flag: there is a forward section.
pub const INDEX_FLAG_FORWARD: u32 = 2;
/// Flag: there are positions.
pub const INDEX_FLAG_POSITIONS: u32 = 4;

/// Bytes of the header.
pub const INDEX_HEADER_BYTES: usize = 64;
/// Most marks of a file.
pub const INDEX_MARKS_MAX: u32 = 32;
/// Fewest entries for which marks are kept.
pub const INDEX_MARKED_ENTRIES_MIN: u32 = 4_096;
/// How many sets there are.
pub const INDEX_SETS: usize = 7;

/// The header section.
pub const INDEX_HEADER_LAYOUT: Layout = &[
    ("rows", 0, 4),
    ("flags", 4, 4),
    ("keys", 8, 4),
    ("entries", 12, 4),
    ("marks", 16, 4),
    ("block", 20, 4),
    ("documents", 24, 4),
    ("kind", 28, 4),
    ("tokens", 32, 8),
    ("zero", 40, 24),
];
