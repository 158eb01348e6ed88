//! The catalog in the hands of its one committer.

use nearfield_collection::{Cell, Error, ErrorKind, ManifestCell, Result};

use crate::catalog::{Catalog, Written};

/// The catalog, its cell, and which value of the cell it is.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) cell: ManifestCell,
    pub(crate) version: u64,
    pub(crate) value: Catalog,
}

impl Ledger {
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        let taken = if self.value.collections.contains_key(name) {
            "collection"
        } else if self.value.aliases.contains_key(name) {
            "alias"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Exists, format!("{taken} '{name}' already exists")))
    }

    pub(crate) fn commit(&mut self, value: Catalog) -> Result<()> {
        // A swap whose outcome is unknown leaves the version behind, so every later one is refused as `Busy`.
        self.version = self.cell.swap_if(Some(self.version), &value.encode(Written::First))?;
        self.value = value;
        self.copy()
    }

    /// Writes the value once more, so that damage to one file loses nothing.
    pub(crate) fn copy(&mut self) -> Result<()> {
        self.version = self.cell.swap_if(Some(self.version), &self.value.encode(Written::Copy))?;
        Ok(())
    }
}
