//! How a database runs.

use nearfield_collection::{CollectionOptions, Durability};
use nearfield_platform::Budget;

/// How a database runs; none of it changes what is stored.
#[derive(Clone, Debug)]
pub struct Options {
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Make the directory if there is none.
    pub create: bool,
    /// Open on file systems that are not known to keep their promises, such as network mounts.
    pub allow_unsupported_fs: bool,
    /// Keep background threads for syncing, sealing, linking and building indexes. Without them the writer does the last three before
    /// its call returns, and `process` writes are synced only by [`crate::Collection::sync`] and at the close.
    pub background: bool,
    /// Sizes at which heads are sealed, threads that build indexes, clock and entropy. Its `durability` and `inline_maintenance` are set from the fields above.
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

    /// Whether many points are about to be written: writing is then never slowed down for searches.
    #[must_use]
    pub fn bulk(mut self, bulk: bool) -> Self {
        self.collections.bulk = bulk;
        self
    }

    /// How much memory all collections together may take for what is not sealed yet and for indexes that are built. Near it heads are sealed
    /// earlier, writers are slowed down and builders wait; nobody is refused. Databases opened with clones of these options share it. Mapped
    /// files are not counted: the system takes their pages back.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.collections.budget = Budget::of(bytes);
        self
    }

    /// Whether a missing directory is made.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }
}
