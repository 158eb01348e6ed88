//! Every constant of the catalog, of tasks and of saved indexes, as `docs/format.md` lists them.

/// Version of the catalog inside its cell.
pub const CATALOG_VERSION: u16 = 2;
/// The oldest catalog that is read: its collections are open.
pub const CATALOG_READ_VERSION: u16 = 1;
/// Collection in the catalog: opened at first use.
pub const COLLECTION_OPEN: u8 = 0;
/// Collection in the catalog: refuses all work.
pub const COLLECTION_CLOSED: u8 = 1;

/// Version of the tasks inside their cell.
pub const TASKS_VERSION: u16 = 1;

/// Settings and ids of a saved index.
pub const INDEX_MAGIC: [u8; 4] = *b"NFix";
/// Version of the index file.
pub const INDEX_VERSION: u16 = 1;
/// Index file: `dim u32 | count u32 | metric u8 | quantization u8 | zero u16 | quantile f32 | m u32 | ef_construction u32 | seed u64`.
pub const SECTION_INDEX_SETTINGS: u32 = 1;
/// Index file: u64 id of each slot.
pub const SECTION_INDEX_IDS: u32 = 2;

/// Version of what the manifest of a snapshot says of its collections.
pub const SNAPSHOT_VERSION: u16 = 1;
/// Snapshot: of one collection.
pub const SNAPSHOT_OF_COLLECTION: u16 = 0;
/// Snapshot: of all collections and their aliases.
pub const SNAPSHOT_OF_DATABASE: u16 = 1;
