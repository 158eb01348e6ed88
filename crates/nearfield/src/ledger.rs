//! The catalog in the hands of its one committer.

use nearfield_collection::{Cell, Error, ErrorKind, ManifestCell, Result};

use crate::catalog::{Catalog, Written};

/// The catalog, its cell, and which value of the cell it is.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) cell: ManifestCell,
    pub(crate) version: u64,
    pub(crate) value: Catalog,
    /// A write of it failed: what is on the disk is not known until it is read again.
    pub(crate) is_doubtful: bool,
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

    /// Refuses to answer by a value that may not be the one on the disk.
    pub(crate) fn check_sure(&self) -> Result<()> {
        if self.is_doubtful {
            let context = "the catalog could not be written before, and what it holds is not known: open the database again";
            return Err(Error::new(ErrorKind::Unavailable, context));
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self, value: Catalog) -> Result<()> {
        let done = self.commit_steps(value);
        self.is_doubtful |= done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
        done
    }

    fn commit_steps(&mut self, value: Catalog) -> Result<()> {
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
