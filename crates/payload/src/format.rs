//! Every constant of the payload's bytes, as `docs/format.md` lists them.
//!
//! A row is little-endian and begins at a multiple of [`ROW_ALIGN`] where files hold it:
//!
//! ```text
//! 0          nodes   n x 16 B, breadth first: kind u8 | zero u8 | key length u16 | key start u32 | data u64
//! 16 n       text    keys and strings in the order of the nodes, UTF-8
//!            zeros   to a multiple of 4
//! end - 24   root    nodes { offset i32, count u32 } | text { offset i32, length u32 } | top u32 | version u32
//! ```
//!
//! `data` is the number's bits; for text `start u32 | length u32` in the text; for containers `first u32 | count u32` in the
//! nodes. `top` is how many nodes are the payload object's own. Offsets count from the field that holds them. The empty
//! object has no bytes at all.
//!
//! The sealed file is a container (see `nearfield_codec::Container`) of three sections, [`SECTION_HEADER`],
//! [`SECTION_OFFSETS`] and [`SECTION_ROWS`]. The offsets are 0 and the end of each row; a row begins where the one before ends,
//! rounded up to 16, and has no bytes where its end is the one before it.

use nearfield_codec::FileTag;

/// Sealed payload rows.
pub const PAYLOAD_MAGIC: [u8; 4] = *b"NFpa";
/// Version of the sealed file.
pub const PAYLOAD_VERSION: u16 = 1;
/// The tag of the sealed file.
pub const PAYLOAD_TAG: FileTag = FileTag::new(PAYLOAD_MAGIC, PAYLOAD_VERSION, PAYLOAD_VERSION);

/// Counts and settings of the file.
pub const SECTION_HEADER: u32 = 1;
/// u64 offsets in the rows section: the zero and the end of each row.
pub const SECTION_OFFSETS: u32 = 2;
/// The rows, each beginning at a multiple of [`ROW_ALIGN`], zeros between.
pub const SECTION_ROWS: u32 = 3;

/// Bytes of the header section.
pub const HEADER_BYTES: usize = 16;
/// Bytes of one offset.
pub const OFFSET_BYTES: usize = 8;
/// The packing of the rows section: rows as they are. Others (compressed blocks) will have numbers of their own.
pub const PACKING_RAW: u64 = 0;

/// Rows begin at multiples of this in files.
pub const ROW_ALIGN: usize = 16;
/// The alignment that a row needs in memory to be read in place.
pub const ROW_ALIGN_MIN: usize = 8;
/// The version of a row: its last four bytes. Rows are copied verbatim by merges, so each says its own.
pub const ROW_VERSION: u32 = 1;
/// Bytes of one node.
pub const NODE_BYTES: usize = 16;
/// Bytes of the root at a row's end.
pub const ROOT_BYTES: usize = 24;

/// What a node is. Zero is nothing, so that a run of zeros is no row.
pub mod kind {
    /// `null`; data is zero.
    pub const NULL: u8 = 1;
    /// `false` or `true`; data is 0 or 1.
    pub const BOOL: u8 = 2;
    /// A signed integer.
    pub const I64: u8 = 3;
    /// An unsigned integer.
    pub const U64: u8 = 4;
    /// The bits of a finite IEEE 754 double.
    pub const F64: u8 = 5;
    /// Text.
    pub const STRING: u8 = 6;
    /// A list; its children have no keys.
    pub const ARRAY: u8 = 7;
    /// Keys and values; no key twice.
    pub const OBJECT: u8 = 8;
}

/// The fields of a structure: name, offset, bytes.
pub type Layout = &'static [(&'static str, usize, usize)];

/// One value of a row.
pub const NODE_LAYOUT: Layout =
    &[("kind", 0, 1), ("zero", 1, 1), ("key_len", 2, 2), ("key_at", 4, 4), ("data", 8, 8)];

/// The end of a row.
pub const ROOT_LAYOUT: Layout = &[
    ("nodes_offset", 0, 4),
    ("nodes_count", 4, 4),
    ("text_offset", 8, 4),
    ("text_len", 12, 4),
    ("top", 16, 4),
    ("version", 20, 4),
];

/// The header section of the sealed file.
pub const HEADER_LAYOUT: Layout = &[("count", 0, 8), ("packing", 8, 8)];

/// Every structure with its size, for the format document.
pub const LAYOUT: &[(&str, Layout, usize)] = &[
    ("payload row node", NODE_LAYOUT, NODE_BYTES),
    ("payload row root", ROOT_LAYOUT, ROOT_BYTES),
    ("payload file header", HEADER_LAYOUT, HEADER_BYTES),
];

const _: () = {
    let mut i = 0;
    while i < LAYOUT.len() {
        assert!(is_packed(LAYOUT[i].1, LAYOUT[i].2));
        i += 1;
    }
};

/// True where the fields follow one another without a hole and fill `bytes`.
const fn is_packed(layout: Layout, bytes: usize) -> bool {
    let (mut end, mut i) = (0, 0);
    while i < layout.len() && layout[i].1 == end {
        end += layout[i].2;
        i += 1;
    }
    i == layout.len() && end == bytes
}
