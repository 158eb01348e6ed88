//! The layout of a codec's numbers and of the codes file, as `docs/format.md` shows it: the one place where its numbers stand.
//!
//! **Codec**:
//!
//! ```text
//! version u8 | kind u8 | metric u8 | flags u8 | dim u32 | epoch u32
//! kind 1, rotated:  seed u64 (0 unless flag 1) | mean f32[dim], only with flag 2
//! kind 2, scalar:   lower f32 | upper f32 | noise f32
//! ```
//!
//! **Codes file**: a container (see `nearfield_codec`) with these sections, each beginning at a multiple of 64:
//!
//! ```text
//! section 1  header   16 bytes: count u32 | plane bytes u32 | planes u16 | hot factors u16 | cold factors u16 | zero u16
//! section 2  codec    the codec's numbers
//! section 3  high     count * plane bytes: the first plane, slot after slot
//! section 4  low      as above, the second plane; only where there are two
//! section 5  hot      count * hot factors * f32; the first is NaN where a slot has no vector
//! section 6  cold     count * cold factors * f32; only where there are any
//! ```

use nearfield_codec::FileTag;

/// The kind of file.
pub const MAGIC: [u8; 4] = *b"NFcd";
/// The oldest reader that understands what this program writes.
pub const READ_VERSION: u16 = 1;
/// The version of this program.
pub const WRITE_VERSION: u16 = 1;
/// The tag at the start of the file.
pub const TAG: FileTag = FileTag::new(MAGIC, READ_VERSION, WRITE_VERSION);

/// The header.
pub const SECTION_HEADER: u32 = 1;
/// The codec.
pub const SECTION_CODEC: u32 = 2;
/// The first plane.
pub const SECTION_HIGH: u32 = 3;
/// The second plane.
pub const SECTION_LOW: u32 = 4;
/// Hot factors.
pub const SECTION_HOT: u32 = 5;
/// Cold factors.
pub const SECTION_COLD: u32 = 6;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of one factor.
pub const FACTOR_BYTES: usize = 4;

/// The version of a codec's numbers.
pub const CONFIG_VERSION: u8 = 1;
/// The kind of rotated codecs.
pub const KIND_ROTATED: u8 = 1;
/// The kind of scalar codecs.
pub const KIND_SCALAR: u8 = 2;
/// The codec has a seed.
pub const FLAG_ROTATED: u8 = 1;
/// The codec has a mean.
pub const FLAG_MEAN: u8 = 2;
