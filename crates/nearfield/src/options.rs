//! How a database runs.

use nearfield_collection::{CollectionOptions, Durability};

/// How a database runs; none of it changes what is stored.
#[derive(Clone, Debug)]
pub struct Options {
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Make the directory if there is none.
    pub create: bool,
    /// Open on file systems that are not known to keep their promises, such as network mounts.
    pub allow_unsupported_fs: bool,
    /// Keep two background threads for syncing and sealing. Without them the writer does both before its call returns, and
    /// `process` writes are synced only by [`crate::Collection::sync`] and at the close.
    pub background: bool,
    /// Sizes at which heads are sealed, clock and entropy. Its `durability` and `inline_maintenance` are set from the fields above.
    pub collections: CollectionOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::Process,
            create: true,
            allow_unsupported_fs: false,
            background: true,
            collections: CollectionOptions::system(),
        }
    }
}

impl Options {
    /// When writes are acknowledged.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether a missing directory is made.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }
}
