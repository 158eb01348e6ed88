//! Every constant of the segment's files, as `docs/format.md` lists them.

use nearfield_codec::FileTag;

/// Point map.
pub const IDS_MAGIC: [u8; 4] = *b"NFid";
/// Version of the point map.
pub const IDS_VERSION: u16 = 1;
/// Deaths and patches at a checkpoint.
pub const DELTA_MAGIC: [u8; 4] = *b"NFdl";
/// Version of the delta file.
pub const DELTA_VERSION: u16 = 1;
/// Graphs over partitions.
pub const PARTITIONS_MAGIC: [u8; 4] = *b"NFpg";
/// Version of the graphs over partitions.
pub const PARTITIONS_VERSION: u16 = 1;

pub(crate) const IDS_TAG: FileTag = FileTag::new(IDS_MAGIC, IDS_VERSION, IDS_VERSION);
pub(crate) const DELTA_TAG: FileTag = FileTag::new(DELTA_MAGIC, DELTA_VERSION, DELTA_VERSION);
pub(crate) const PARTITIONS_TAG: FileTag =
    FileTag::new(PARTITIONS_MAGIC, PARTITIONS_VERSION, PARTITIONS_VERSION);

/// Counts and settings of the file.
pub const SECTION_HEADER: u32 = 1;
/// Point map: u64 ids, ascending.
pub const SECTION_NUMBERS: u32 = 2;
/// Point map: 16-byte UUIDs, ascending.
pub const SECTION_UUIDS: u32 = 3;
/// Point map: u64 end of each string id in the strings section.
pub const SECTION_STRING_ENDS: u32 = 4;
/// Point map: the bytes of the string ids, ascending.
pub const SECTION_STRINGS: u32 = 5;
/// Point map: u32 slots in id order.
pub const SECTION_ORDER: u32 = 6;
/// Point map: u32 place of each slot in id order.
pub const SECTION_RANKS: u32 = 7;
/// Point map: u64 Seq at which each slot was born.
pub const SECTION_BIRTHS: u32 = 8;
/// Delta: the dead slots, in the portable roaring form.
pub const SECTION_DEATHS: u32 = 9;
/// Delta: `slot u32 | length u32 | payload row` each, in slot order.
pub const SECTION_PATCHES: u32 = 10;
/// Graphs over partitions: the files of the graphs, each at a multiple of 64.
pub const SECTION_GRAPHS: u32 = 11;
