//! Every limit on what comes from outside, in one table. Each is checked before anything is allocated from the number.

/// Most dimensions of one vector.
pub const DIMENSION_MAX: usize = 65_536;
/// Most bytes of a string id.
pub const ID_BYTES_MAX: usize = 4_096;
/// Most bytes of a collection, alias or vector name.
pub const NAME_BYTES_MAX: usize = 255;
/// Most named vectors of a collection.
pub const VECTOR_NAMES_MAX: usize = 64;
/// Most points of one write.
pub const BATCH_POINTS_MAX: usize = 10_000;
/// Most queries of one batch search.
pub const BATCH_QUERIES_MAX: usize = 10_000;
/// Most bytes of one write, encoded for the log.
pub const BATCH_BYTES_MAX: usize = 1 << 30;
/// Most results of one search, and most points of one page.
pub const LIMIT_MAX: usize = 10_000;
/// Deepest nesting of a payload value; the payload object itself is depth 1.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// Most bytes of one payload: keys, strings and eight bytes a number.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Most bytes of one payload key.
pub const PAYLOAD_KEY_BYTES_MAX: usize = 4_096;
/// Most collections of one database.
pub const COLLECTIONS_MAX: usize = 65_536;
/// Most aliases of one database.
pub const ALIASES_MAX: usize = 65_536;
/// Finished tasks that a database remembers; older ones are forgotten.
pub const TASKS_KEPT_MAX: usize = 1_000;
/// Most tasks of one database that wait or run.
pub const TASKS_LIVE_MAX: usize = 4_096;
/// Most bytes of a text that a task is kept with.
pub const TASK_TEXT_BYTES_MAX: usize = 4_096;
/// Most payload indexes of one collection.
pub const FIELD_INDEXES_MAX: usize = 64;
/// Most bytes of the settings of one payload index, encoded: stop words take the most.
pub const FIELD_CONFIG_BYTES_MAX: usize = 1 << 20;
/// Most rows of one segment: slots stay below 2^31.
pub const SEGMENT_ROWS_MAX: usize = (1 << 31) - 1;
/// Most snapshots of one database.
pub const SNAPSHOTS_MAX: usize = 65_536;
/// Most files of one snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 1 << 20;
/// Most bytes of the manifest of one snapshot.
pub const SNAPSHOT_MANIFEST_BYTES_MAX: usize = 256 << 20;
/// Most bytes of a path inside a snapshot.
pub const SNAPSHOT_PATH_BYTES_MAX: usize = 1_024;
/// Most bytes of the description of a snapshot.
pub const SNAPSHOT_DESCRIPTION_BYTES_MAX: usize = 65_536;
/// Most pins of one database.
pub const SNAPSHOT_PINS_MAX: usize = 65_536;
