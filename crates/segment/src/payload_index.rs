//! Indexes of payload fields in a segment: they follow its rows while it grows, and are files beside them once it is sealed.
//!
//! They are derived, like codes and graphs: one that is missing, behind or lost changes how fast filters are answered, never the answers.
//! An index says what rows were when they were written; rows that were patched since are for the reader to mask
//! ([`Segment::patched`]). It refuses to know which indexes there should be: whoever owns the segment says so at every step.

use std::fmt;
use std::io;
use std::sync::Arc;

use nearfield_codec::Summary;
use nearfield_payload::index::{
    BuildError, FieldBuilder, FieldIndex, FieldReader, GrowingField, IndexConfig, IndexMemory,
    OpenError as FileError,
};
use nearfield_payload::{Path, ReadError, RowRef};
use nearfield_platform::Dir;
use nearfield_types::{Seq, Slot};
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use crate::growing::Growing;
use crate::seal::write_file;
use crate::sealed::Sealed;
use crate::segment::Segment;

/// Rows read at a time while a file is built.
const ROWS_AT_ONCE: u32 = 1_024;

/// An index of one payload field, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadField {
    /// The operation that made it, which is its name: one that was dropped never comes back.
    pub created: Seq,
    /// Where the values are.
    pub path: Path,
    /// The kind and the options.
    pub config: IndexConfig,
}

/// The path of a field index inside a segment's folder.
pub fn field_file(created: Seq) -> String {
    format!("field-{}", created.0)
}

/// Why a field index could not be built or opened.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// The store failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is damaged, or not what the manifest says.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rows cannot be read.
    #[error(transparent)]
    Rows(#[from] ReadError),
    /// No index can be made of the rows.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The length of the file is not that of the manifest.
    #[error("the file has {found} bytes, the manifest says {expected}")]
    Length {
        /// Bytes of the file.
        found: u64,
        /// Bytes it should have.
        expected: u64,
    },
    /// It was to be given up.
    #[error("building was given up")]
    Stopped,
}

/// The indexes that one segment has. There are few, so looking for one is a walk.
pub(crate) struct FieldSet<T> {
    held: RwLock<Vec<(Arc<PayloadField>, Arc<T>)>>,
    /// Held by whoever makes one follow its rows.
    following: Mutex<()>,
}

/// An index in files, and its bytes on disk.
#[derive(Debug)]
pub(crate) struct FieldOnDisk {
    reader: FieldReader,
    bytes: u64,
}

impl<T> Default for FieldSet<T> {
    fn default() -> Self {
        FieldSet { held: RwLock::default(), following: Mutex::default() }
    }
}

impl<T> fmt::Debug for FieldSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.held.read().iter().map(|(field, _)| &field.path)).finish()
    }
}

impl<T> FieldSet<T> {
    /// The one of this path. While one takes the place of another there may be two: either answers.
    fn at(&self, path: &Path) -> Option<Arc<T>> {
        self.find(|field| field.path == *path)
    }

    fn of(&self, created: Seq) -> Option<Arc<T>> {
        self.find(|field| field.created == created)
    }

    fn find(&self, is: impl Fn(&PayloadField) -> bool) -> Option<Arc<T>> {
        self.held.read().iter().find(|(field, _)| is(field)).map(|(_, held)| Arc::clone(held))
    }

    /// Adds one. The first of its name stands.
    fn put(&self, field: &Arc<PayloadField>, value: T) {
        let mut held = self.held.write();
        if held.iter().all(|(known, _)| known.created != field.created) {
            held.push((Arc::clone(field), Arc::new(value)));
        }
    }

    fn retain(&self, keep: impl Fn(&PayloadField) -> bool) {
        self.held.write().retain(|(field, _)| keep(field));
    }

    fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.held.read().iter().map(|(_, held)| of(held)).sum()
    }
}

impl FieldSet<FieldOnDisk> {
    pub(crate) fn bytes(&self) -> u64 {
        self.sum(|field| field.bytes)
    }
}

impl Growing {
    /// Lets each of `fields` take at most `max` rows of those that it does not have yet, and makes those that are new. True if rows
    /// are left. One caller at a time does the work; another one waits. May take a hundred milliseconds where runs are merged.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: no index can be made of the rows.
    pub fn follow_fields(&self, fields: &[Arc<PayloadField>], max: u32) -> Result<bool, BuildError> {
        let _one = self.fields.following.lock();
        let rows = self.len();
        let mut behind = false;
        for field in fields {
            if self.fields.of(field.created).is_none() {
                self.fields.put(field, GrowingField::new(field.config.clone(), field.path.clone())?);
            }
            let Some(follower) = self.fields.of(field.created) else { continue };
            let first = follower.len();
            let end = rows.min(first.saturating_add(max));
            let taken = (first..end).try_for_each(|slot| {
                let row = RowRef::new(self.written(Slot(slot))).map_err(BuildError::from)?;
                follower.push(&row)
            });
            if taken.is_err() {
                // It may have taken a part of a row.
                self.fields.retain(|held| held.created != field.created);
            }
            taken?;
            behind |= end < rows;
        }
        Ok(behind)
    }
}

impl Sealed {
    /// True if this index is here.
    pub fn has_field(&self, created: Seq) -> bool {
        self.fields().of(created).is_some()
    }

    /// Lets filters use `reader`, which was built of these rows and has `bytes` bytes on disk. The first one stands.
    pub fn attach_field(&self, field: &Arc<PayloadField>, reader: FieldReader, bytes: u64) {
        self.fields().put(field, FieldOnDisk { reader, bytes });
    }

    /// Writes the index of `field` into `folder`, synced and read-only, as long as `go_on` says so. Patches are left out.
    ///
    /// # Errors
    ///
    /// [`FieldError`]; a part of the file may be there then.
    ///
    /// # Complexity
    ///
    /// One pass over the payload rows. Memory: 8 to 24 bytes for each value, and every distinct text once.
    pub fn write_field(
        &self,
        dir: &dyn Dir,
        folder: &str,
        field: &PayloadField,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Summary, FieldError> {
        let mut builder = FieldBuilder::new(field.config.clone(), field.path.clone())?;
        let mut slots = Vec::with_capacity(ROWS_AT_ONCE as usize);
        for first in (0..self.rows()).step_by(ROWS_AT_ONCE as usize) {
            if !go_on() {
                return Err(FieldError::Stopped);
            }
            slots.clear();
            slots.extend((first..self.rows().min(first + ROWS_AT_ONCE)).map(Slot));
            let mut taken = Ok(());
            self.payload_rows().read_many(&slots, &mut |_, row| {
                if taken.is_ok() {
                    taken = RowRef::new(row).map_err(BuildError::from).and_then(|row| builder.push(&row));
                }
            })?;
            taken?;
        }
        let path = format!("{folder}/{}", field_file(field.created));
        Ok(write_file(dir, &path, |sink| {
            builder.write(sink).map_err(|error| match error {
                BuildError::Write(error) => error,
                other => io::Error::other(other),
            })
        })?)
    }
}

/// Maps what [`Sealed::write_field`] wrote for `rows` rows, and compares it with `expected`, which is what the manifest says. Every byte is
/// checked at the first question.
///
/// # Errors
///
/// [`FieldError`], with the file's path.
pub fn open_field(
    dir: &dyn Dir,
    folder: &str,
    field: &PayloadField,
    rows: u32,
    expected: &Summary,
) -> Result<FieldReader, (String, FieldError)> {
    let path = format!("{folder}/{}", field_file(field.created));
    let open = || {
        let region = dir.open(&path)?;
        let found = region.len() as u64;
        if found != expected.length {
            return Err(FieldError::Length { found, expected: expected.length });
        }
        let reader = FieldReader::open_as(region, rows, &field.config)?;
        reader.check_tables(expected.tables_crc)?;
        Ok(reader)
    };
    open().map_err(|e| (path.clone(), e))
}

impl Segment {
    /// The index of the values at `path`, as it is now, if there is one. It may not cover the last rows of a growing segment, and knows no
    /// patches.
    pub fn field_index(&self, path: &Path) -> Option<FieldReader> {
        match self {
            Segment::Growing(growing) => growing.fields.at(path).map(|field| field.reader()),
            Segment::Sealed(sealed) => sealed.fields().at(path).map(|field| field.reader.clone()),
        }
    }

    /// The indexes that are here of `fields`, each with its path.
    pub(crate) fn field_indexes(&self, fields: &[Arc<PayloadField>]) -> Vec<(Path, FieldReader)> {
        let reader = |field: &Arc<PayloadField>| match self {
            Segment::Growing(growing) => growing.fields.of(field.created).map(|held| held.reader()),
            Segment::Sealed(sealed) => sealed.fields().of(field.created).map(|held| held.reader.clone()),
        };
        fields.iter().filter_map(|field| Some((field.path.clone(), reader(field)?))).collect()
    }

    /// Gives up the index of the values at `path`, which was found damaged: whoever owns the segment builds it anew.
    pub fn discard_field_index(&self, path: &Path) {
        self.retain(|field| field.path != *path);
    }

    /// Gives up every index that is not among `fields`.
    pub fn retain_fields(&self, fields: &[Arc<PayloadField>]) {
        self.retain(|field| fields.iter().any(|kept| kept.created == field.created));
    }

    fn retain(&self, keep: impl Fn(&PayloadField) -> bool) {
        match self {
            Segment::Growing(growing) => growing.fields.retain(keep),
            Segment::Sealed(sealed) => sealed.fields().retain(keep),
        }
    }

    /// How many rows this index covers and the bytes that it takes; `None` where it is missing.
    pub fn field_state(&self, created: Seq) -> Option<(u32, IndexMemory)> {
        let reader = match self {
            Segment::Growing(growing) => growing.fields.of(created)?.reader(),
            Segment::Sealed(sealed) => sealed.fields().of(created)?.reader.clone(),
        };
        Some((reader.covered(), FieldIndex::memory(&reader)))
    }

    /// The rows whose payload may not be the one that was indexed: all that were ever patched, also after any Seq that a reader holds.
    /// O(patched / 1000), and nothing without patches.
    pub fn patched(&self) -> RoaringBitmap {
        match self {
            Segment::Growing(growing) => growing.changes.patches.slots(),
            Segment::Sealed(sealed) => sealed.changes.patches.slots(),
        }
    }
}
