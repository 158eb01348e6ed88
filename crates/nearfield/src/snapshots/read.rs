//! A snapshot opened where it lies: reading the past without restoring it.
//!
//! The files of the store are mapped under the names that a database would give them, over which an overlay keeps every change to itself.
//! Views outlive the snapshot: what they map stays, whatever becomes of its names.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(doc)]
use nearfield_collection::ErrorKind;
use nearfield_collection::{Cell, Error, ManifestCell, Result, View, store_error};
use nearfield_platform::Dir;
use nearfield_snapshot::SnapshotStore;

use super::info::{Known, SnapshotName};
use crate::catalog::{Catalog, Written};
use crate::database::Database;
use crate::options::Options;
use crate::reader::{Overlay, Pinned};
use crate::shared::{CATALOG_FOLDER, Shared, shard_folder};

impl Database {
    /// The collection of a snapshot as it was then, to be read: get, count, scroll and search. `of` names the collection in a snapshot of
    /// the whole database.
    ///
    /// Digests are not compared; blocks are checked when they are first read, as always.
    ///
    /// ```
    /// use nearfield::{CollectionConfig, Database, Metric, Point, SnapshotName};
    ///
    /// let db = Database::in_memory()?;
    /// let books = db.create_collection("books", CollectionConfig::new(1, Metric::Dot))?;
    /// books.upsert(vec![Point::new(1, vec![1.0])])?;
    /// books.create_snapshot("monday", "")?;
    /// books.delete(&[1.into()])?;
    /// let then = db.snapshot_view(&SnapshotName::of("books", "monday"), None)?;
    /// assert_eq!((then.count(), books.count()?), (1, 0));
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without the snapshot or the collection in it, [`ErrorKind::Corrupt`] if stored bytes are damaged.
    pub fn snapshot_view(&self, name: &SnapshotName, of: Option<&str>) -> Result<View> {
        let known = self.shared.known(name, None)?;
        let part = known.find(of)?;
        self.look_at(&known, Some(part), |db| Ok(db.collection(&known.body.parts[part].name)?.view()))
    }

    /// Opens a snapshot in memory as the database it was, with the aliases if it is of the whole database, and asks it. What `ask` writes is
    /// forgotten; views outlive it.
    ///
    /// # Errors
    ///
    /// As [`Database::snapshot_view`], and those of `ask`.
    pub fn look_at_snapshot<T>(
        &self,
        name: &SnapshotName,
        ask: impl FnOnce(&Database) -> Result<T>,
    ) -> Result<T> {
        self.look_at(&self.shared.known(name, None)?, None, ask)
    }

    /// As [`Database::look_at_snapshot`], of one part of it, or all.
    pub(crate) fn look_at<T>(
        &self,
        known: &Known,
        part: Option<usize>,
        ask: impl FnOnce(&Database) -> Result<T>,
    ) -> Result<T> {
        let overlay = self.shared.overlay(known, part)?;
        let options = Options { background: false, create: false, ..self.shared.options.clone() };
        let db = Database::open_in(Arc::clone(&overlay) as Arc<dyn Dir>, &known.name.to_string(), options)?;
        let answer = ask(&db);
        // Closing would only write what nobody reads.
        overlay.freeze();
        answer
    }
}

impl Shared {
    /// A directory that holds the collections of a snapshot, or one of them.
    fn overlay(&self, known: &Known, part: Option<usize>) -> Result<Arc<Overlay>> {
        let mut files = BTreeMap::new();
        let mut catalog = Catalog::default();
        let wanted = |at: &usize| part.is_none_or(|part| part == *at);
        for at in (0..known.body.parts.len()).filter(wanted) {
            let of = &known.body.parts[at];
            for (path, object) in known.blueprints[at].files() {
                let bytes = self.store.get(object).map_err(|e| store_error(e).within(&known.name))?;
                files.insert(format!("{}/{path}", shard_folder(of.uuid)), bytes);
            }
            catalog.collections.insert(of.name.clone(), of.uuid);
        }
        if part.is_none() {
            catalog.aliases = known.body.aliases.iter().cloned().collect();
        }
        let overlay = Arc::new(Overlay::new(Pinned::of_files(files)));
        let dir: Arc<dyn Dir> = Arc::clone(&overlay) as _;
        let make = |path: &str| dir.make_dir(path).map_err(|e| Error::io("in memory", e));
        make(CATALOG_FOLDER)?;
        for at in (0..known.body.parts.len()).filter(wanted) {
            let of = &known.body.parts[at];
            let folder = shard_folder(of.uuid);
            for inner in ["segments", "deltas", "staging", "log"] {
                make(&format!("{folder}/{inner}"))?;
            }
            let manifest = known.blueprints[at].renamed(of.uuid, &self.options.collections);
            ManifestCell::new(Arc::clone(&dir), folder).swap_if(None, &manifest.encode())?;
        }
        let cell = ManifestCell::new(Arc::clone(&dir), CATALOG_FOLDER);
        let version = cell.swap_if(None, &catalog.encode(Written::First))?;
        cell.swap_if(Some(version), &catalog.encode(Written::Copy))?;
        Ok(overlay)
    }
}
