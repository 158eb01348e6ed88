//! The layout of the rows file, as `docs/format.md` shows it: the one place where its numbers stand.
//!
//! The file is a container (see `nearfield_codec`) with these sections, each beginning at a multiple of 64:
//!
//! ```text
//! section 1  rows       count * dim elements, slot after slot, without gaps; zeros where a slot has no vector
//! section 2  norms      count * f32: 1 / |row|, computed in f64, 0 for the zero vector; for cosine only
//! section 3  presence   ceil(count / 64) * u64: bit `slot % 64` of word `slot / 64`; only where present < count
//! section 4  header     16 bytes: what the other sections hold
//! ```
//!
//! The header comes last because rows are written as they arrive, before they have been counted.

use nearfield_codec::FileTag;

/// The kind of file.
pub const MAGIC: [u8; 4] = *b"NFve";
/// The oldest reader that understands what this program writes.
pub const READ_VERSION: u16 = 1;
/// The version of this program.
pub const WRITE_VERSION: u16 = 1;
/// The tag at the start of the file.
pub const TAG: FileTag = FileTag::new(MAGIC, READ_VERSION, WRITE_VERSION);

/// The rows.
pub const SECTION_ROWS: u32 = 1;
/// The inverse norms.
pub const SECTION_NORMS: u32 = 2;
/// The presence bits.
pub const SECTION_PRESENCE: u32 = 3;
/// The header.
pub const SECTION_HEADER: u32 = 4;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of one inverse norm.
pub const NORM_BYTES: usize = 4;
/// Bytes of one word of presence bits.
pub const PRESENCE_WORD_BYTES: usize = 8;

/// One field of the layout. All numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The section it stands in.
    pub section: u32,
    /// Its first byte in the section.
    pub offset: usize,
    /// Its bytes; those of one element where it repeats to the end of the section.
    pub bytes: usize,
    /// Its name.
    pub name: &'static str,
}

/// The layout, field by field.
pub const LAYOUT: &[Field] = &[
    Field { section: SECTION_ROWS, offset: 0, bytes: 4, name: "element f32, repeated" },
    Field { section: SECTION_NORMS, offset: 0, bytes: NORM_BYTES, name: "inverse norm f32, repeated" },
    Field {
        section: SECTION_PRESENCE,
        offset: 0,
        bytes: PRESENCE_WORD_BYTES,
        name: "presence u64, repeated",
    },
    Field { section: SECTION_HEADER, offset: 0, bytes: 4, name: "dim u32" },
    Field { section: SECTION_HEADER, offset: 4, bytes: 4, name: "count u32" },
    Field { section: SECTION_HEADER, offset: 8, bytes: 4, name: "present u32" },
    Field { section: SECTION_HEADER, offset: 12, bytes: 1, name: "metric u8" },
    Field { section: SECTION_HEADER, offset: 13, bytes: 1, name: "element u8" },
    Field { section: SECTION_HEADER, offset: 14, bytes: 2, name: "zero u16" },
];

/// The fields of each section follow one another without gaps, and those of the header fill it.
const _: () = {
    let (mut at, mut end) = (0, 0);
    while at < LAYOUT.len() {
        let field = LAYOUT[at];
        let follows = at > 0 && LAYOUT[at - 1].section == field.section;
        assert!(field.offset == if follows { end } else { 0 });
        end = field.offset + field.bytes;
        at += 1;
    }
    assert!(end == HEADER_BYTES);
};
