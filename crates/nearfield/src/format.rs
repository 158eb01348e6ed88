//! Every constant of the catalog, as `docs/format.md` lists them.

/// Version of the catalog inside its cell.
pub const CATALOG_VERSION: u16 = 1;
