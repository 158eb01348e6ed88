//! Every constant of the snapshot store's files, as `docs/format.md` lists them.

/// The manifest of a snapshot.
pub const MANIFEST_MAGIC: [u8; 4] = *b"NFsn";
/// Version of manifests.
pub const MANIFEST_VERSION: u16 = 1;
/// A name and the manifest it stands for.
pub const REF_MAGIC: [u8; 4] = *b"NFsr";
/// Version of names.
pub const REF_VERSION: u16 = 1;
/// The pins.
pub const PINS_MAGIC: [u8; 4] = *b"NFsp";
/// Version of pins.
pub const PINS_VERSION: u16 = 1;
