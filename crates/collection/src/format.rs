//! Every constant of the collection's files, as `docs/format.md` lists them.

/// A value of a commit cell: a shard's manifest or the catalog.
pub const CELL_MAGIC: [u8; 4] = *b"NFmf";
/// Version of the cell's frame.
pub const CELL_VERSION: u16 = 1;
/// Version of the shard manifest inside the cell.
pub const MANIFEST_VERSION: u16 = 5;
/// The oldest shard manifest that is read: its vectors are indexed as usual.
pub const MANIFEST_READ_VERSION: u16 = 1;
/// Version of the operations inside log frames.
pub const OPERATION_VERSION: u8 = 1;

/// Log operation: points written, older rows of the same ids die.
pub const OPERATION_UPSERT: u8 = 1;
/// Log operation: ids deleted.
pub const OPERATION_DELETE: u8 = 2;
/// Log operation: payloads replaced in place.
pub const OPERATION_PATCH: u8 = 3;
/// Log operation: a payload index made.
pub const OPERATION_CREATE_FIELD: u8 = 4;
/// Log operation: a payload index dropped.
pub const OPERATION_DROP_FIELD: u8 = 5;

/// Id kind in log operations: u64.
pub const ID_NUMBER: u8 = 1;
/// Id kind in log operations: 16 bytes.
pub const ID_UUID: u8 = 2;
/// Id kind in log operations: u32 length and text.
pub const ID_STRING: u8 = 3;

/// File kind in manifests: point map.
pub const FILE_IDS: u8 = 1;
/// File kind in manifests: payload rows.
pub const FILE_PAYLOAD: u8 = 2;
/// File kind in manifests: rows of one named vector.
pub const FILE_VECTORS: u8 = 3;
/// File kind in manifests: deaths and patches.
pub const FILE_DELTA: u8 = 4;
/// File kind in manifests: codes of one named vector.
pub const FILE_CODES: u8 = 5;
/// File kind in manifests: graph of one named vector.
pub const FILE_GRAPH: u8 = 6;
/// File kind in manifests: index of a payload field.
pub const FILE_FIELD: u8 = 7;
/// File kind in manifests: graphs over partitions of one named vector.
pub const FILE_PARTITIONS: u8 = 8;

/// Partition in manifests: none.
pub const PARTITION_NONE: u8 = 0;
/// Partition in manifests: by a field of text.
pub const PARTITION_KEYWORD: u8 = 1;
/// Partition in manifests: by a field of integers.
pub const PARTITION_INTEGER: u8 = 2;

/// Quantization in manifests: chosen by metric and dimension.
pub const QUANTIZATION_AUTO: u8 = 0;
/// Quantization in manifests: the rotated 4 + 4 bit code.
pub const QUANTIZATION_ROTATED: u8 = 1;
/// Quantization in manifests: one number a value, on a grid over a share of the values.
pub const QUANTIZATION_SCALAR: u8 = 2;
/// Quantization in manifests: none.
pub const QUANTIZATION_NONE: u8 = 3;
