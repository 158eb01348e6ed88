//! Building a collection of files that a store keeps: under another identity, beside everything that there is, and never by writing
//! points again.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | compare what the manifest names with what there is | nothing |
//! | make the folders, place the files (linked or copied), sync the folders | a folder that no catalog names, removed at the next opening |
//! | write the shard's manifest | the same |
//!
//! The caller opens it, which checks it, and commits its name. **It refuses** files that no manifest names, and paths of anybody's making:
//! every path here is made from numbers.

use std::collections::HashMap;
use std::sync::Arc;

use nearfield_platform::Dir;
use nearfield_snapshot::{Entry, Object, Placed, SnapshotStore};
use nearfield_types::Progress;

use crate::cell::{Cell, ManifestCell};
use crate::checkpoint::segment_folder;
use crate::collection::{Collection, CollectionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Manifest;
use crate::snapshot::{named_files, store_error};

/// Digits of the name of a log file.
const LOG_NAME_DIGITS: usize = 20;

/// A collection that can be built: its manifest, and the file for each path that it needs.
#[derive(Clone, Debug)]
pub struct Blueprint {
    manifest: Manifest,
    files: Vec<(String, Object)>,
}

impl Blueprint {
    /// Fits a manifest, as [`Collection::capture`] gave it, and files together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`], naming the file, if one is missing, another than the manifest says, or not needed.
    pub fn new(manifest: &[u8], files: &[Entry]) -> Result<Blueprint> {
        let manifest = Manifest::decode(manifest).map_err(|e| {
            Error::caused(
                ErrorKind::Corrupt,
                "the manifest of a collection in the snapshot is not understood",
                e,
            )
        })?;
        let corrupt =
            |path: &str, what: &str| Error::new(ErrorKind::Corrupt, format!("{path} in the snapshot {what}"));
        let mut left: HashMap<&str, &Entry> =
            files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let mut needed = Vec::with_capacity(files.len());
        for (path, file) in named_files(&manifest) {
            let entry = left.remove(path.as_str()).ok_or_else(|| corrupt(&path, "is missing"))?;
            if entry.object.digest.0 != file.summary.blake3 || entry.object.length != file.summary.length {
                return Err(corrupt(&path, "is another file than the manifest of its collection says"));
            }
            needed.push((path, entry.object));
        }
        let mut logs: Vec<(String, Object)> =
            left.into_iter().map(|(path, entry)| (path.to_owned(), entry.object)).collect();
        logs.sort_unstable();
        if let Some((path, _)) = logs.iter().find(|(path, _)| !is_log(path)) {
            return Err(corrupt(path, "is named by no manifest"));
        }
        needed.extend(logs);
        Ok(Blueprint { manifest, files: needed })
    }

    /// The files, by their paths in the shard's folder.
    pub fn files(&self) -> &[(String, Object)] {
        &self.files
    }

    /// The manifest, to be looked at.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest of the collection that is built, which is called `uuid`.
    ///
    /// Where nothing is in the log it begins a new one; otherwise it goes on with the log it was taken with, in a generation of its own.
    pub fn renamed(&self, uuid: [u8; 16], options: &CollectionOptions) -> Manifest {
        let has_log = self.files.iter().any(|(path, _)| is_log(path));
        let mut manifest = Manifest { collection: uuid, previous_crc: 0, ..self.manifest.clone() };
        if !has_log {
            manifest.wal = options.entropy.uuid_bytes();
            manifest.synced = manifest.flushed.max(manifest.fields.changed);
        }
        manifest
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, (_, object)| sum.saturating_add(object.length))
    }
}

impl Collection {
    /// Builds `blueprint` in `folder`, which must not exist, as the collection `uuid`. Durable when this returns; until a catalog names it
    /// nothing does. Answers how many bytes were copied instead of linked. A step of `progress` is a byte.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`], [`ErrorKind::Full`], [`ErrorKind::Corrupt`], [`ErrorKind::Unavailable`]; what was made is then the
    /// caller's to remove.
    pub fn build(
        dir: &Arc<dyn Dir>,
        folder: &str,
        uuid: [u8; 16],
        blueprint: &Blueprint,
        store: &dyn SnapshotStore,
        options: &CollectionOptions,
        progress: &Progress,
    ) -> Result<u64> {
        let mut folders: Vec<String> =
            ["segments", "deltas", "staging", "log"].map(|part| format!("{folder}/{part}")).into();
        folders.extend(blueprint.manifest.segments.iter().map(|segment| segment_folder(folder, segment.id)));
        let failed = |what: &str, path: &str, e| Error::io(format!("{what} {path}"), e);
        folders.iter().try_for_each(|path| dir.make_dir(path).map_err(|e| failed("making", path, e)))?;
        let mut copied = 0;
        for (path, object) in &blueprint.files {
            if progress.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the restore was cancelled"));
            }
            let to = format!("{folder}/{path}");
            if store.place(object, &**dir, &to).map_err(store_error)? == Placed::Copied {
                copied += object.length;
            }
            progress.add(object.length);
        }
        folders.iter().try_for_each(|path| dir.sync_dir(path).map_err(|e| failed("syncing", path, e)))?;
        let manifest = blueprint.renamed(uuid, options);
        ManifestCell::new(Arc::clone(dir), folder).swap_if(None, &manifest.encode())?;
        let mut path = folder;
        while let Some((above, _)) = path.rsplit_once('/') {
            dir.sync_dir(above).map_err(|e| failed("syncing", above, e))?;
            path = above;
        }
        dir.sync_dir("").map_err(|e| failed("syncing", "the directory", e))?;
        Ok(copied)
    }
}

/// True for the path of a log file.
fn is_log(path: &str) -> bool {
    let digits = path.strip_prefix("log/").and_then(|name| name.strip_suffix(".log"));
    digits.is_some_and(|digits| digits.len() == LOG_NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()))
}
