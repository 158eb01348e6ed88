//! Payload indexes: made and dropped by operations of the log, built beside the rows.
//!
//! Which there are is configuration, and every change of it has a Seq: creating and dropping one is logged and replayed like a write, and
//! that Seq is the name of its files. A manifest says which there were when it was written; replay passes over the operations that it knows.
//! An index answers for the rows as they were written, so nothing waits for it: where it is missing, rows are tested.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | log the creation | the index, of no rows |
//! | write `field-<n>` into a segment's folder, sync file and folder | a file no manifest names, removed at the next open |
//! | swap the manifest: **the commit point** | the new state |
//! | log the drop | no index; files that the manifest names and nobody opens |
//! | swap the manifest | files no manifest names, removed at the next open |
//!
//! It refuses to start threads: whoever owns the collection calls [`Collection::follow_fields`] and [`Collection::maintain_fields`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearfield_codec::Summary;
use nearfield_payload::Path;
use nearfield_payload::index::{FieldReader, GROWING_RUN_ROWS, IndexConfig, IndexMemory};
use nearfield_platform::Dir;
use nearfield_segment::{FieldError, PayloadField, Sealed, Segment, field_file, open_field};
use nearfield_types::Seq;
use nearfield_types::limits::{FIELD_CONFIG_BYTES_MAX, FIELD_INDEXES_MAX};
use nearfield_wal::Class;

use crate::checkpoint::{Ledger, segment_folder};
use crate::collection::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::indexing::{index_name, remove_files};
use crate::manifest::{Fields, FileEntry, FileKind, Manifest, SegmentEntry};
use crate::operation::Operation;

/// Rows that an index takes at a time.
const FOLLOW_PORTION: u32 = 4_096;

/// How far an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldIndexState {
    /// Rows are still to be taken into it. They are tested one by one.
    Building {
        /// Rows that it has.
        done: u64,
        /// Rows that there are.
        rows: u64,
    },
    /// It has all rows but the newest few hundred of those in memory.
    Ready,
}

/// A payload index of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldIndexInfo {
    /// What it is: path, kind and options, and the operation that made it.
    pub field: Arc<PayloadField>,
    /// How far it is.
    pub state: FieldIndexState,
    /// Bytes that it takes.
    pub memory: IndexMemory,
}

impl FieldIndexInfo {
    /// True once it has the rows that there were.
    pub fn is_ready(&self) -> bool {
        self.state == FieldIndexState::Ready
    }
}

impl Fields {
    fn find(&self, path: &Path) -> Option<&Arc<PayloadField>> {
        self.list.iter().find(|field| field.path == *path)
    }

    fn has(&self, created: Seq) -> bool {
        self.list.iter().any(|field| field.created == created)
    }
}

impl Collection {
    /// Has an index of the values at `path` made, in the background; true if there was none. It serves as far as it is. As durable as any
    /// write.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if there is one of another kind or with other options, [`ErrorKind::Invalid`] past the limits, else as
    /// [`Collection::upsert`].
    pub fn create_field_index(&self, path: &Path, config: &IndexConfig) -> Result<bool> {
        check_field(path, config)?;
        self.write(Class::Ordinary, |_| {
            let fields = self.fields.load();
            match fields.find(path) {
                Some(known) if known.config == *config => Ok((Operation::NOTHING, false)),
                Some(known) => {
                    let context = format!(
                        "there is a {} index of \"{path}\" with other settings than the {} index that is asked for: drop it first",
                        known.config.kind().name(),
                        config.kind().name()
                    );
                    Err(Error::new(ErrorKind::Exists, context))
                }
                None if fields.list.len() >= FIELD_INDEXES_MAX => Err(Error::invalid(format!(
                    "there are {FIELD_INDEXES_MAX} payload indexes: that is the most allowed"
                ))),
                None => Ok((Operation::CreateField(path.clone(), config.clone()), true)),
            }
        })
    }

    /// Drops the index of the values at `path`; true if there was one. Filters on it are tested on rows from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for that of the field by which points are put together, else as [`Collection::delete`].
    pub fn drop_field_index(&self, path: &Path) -> Result<bool> {
        if self.settings.load().schema.partition() == Some(path) {
            let context = format!("the collection is partitioned by \"{path}\": that index stays");
            return Err(Error::invalid(context));
        }
        self.write(Class::Reducing, |_| match self.fields.load().find(path) {
            Some(_) => Ok((Operation::DropField(path.clone()), true)),
            None => Ok((Operation::NOTHING, false)),
        })
    }

    /// The payload indexes, in the order in which they were made. O(segments) each.
    pub fn field_indexes(&self) -> Vec<FieldIndexInfo> {
        // The version first: an index that is made meanwhile has at most fewer rows than there are.
        let version = self.current.load_full();
        let info = |field: &Arc<PayloadField>| {
            let (mut done, mut rows, mut ready) = (0, 0, true);
            let mut memory = IndexMemory::default();
            for member in version.members() {
                let (covered, bytes) = member.segment.field_state(field.created).unwrap_or_default();
                let present = member.segment.rows();
                let slack = match &member.segment {
                    Segment::Growing(_) => GROWING_RUN_ROWS,
                    Segment::Sealed(_) => 1,
                };
                ready &= present.saturating_sub(covered) < slack;
                done += u64::from(covered);
                rows += u64::from(present);
                memory.heap += bytes.heap;
                memory.mapped += bytes.mapped;
            }
            let state = if ready { FieldIndexState::Ready } else { FieldIndexState::Building { done, rows } };
            FieldIndexInfo { field: Arc::clone(field), state, memory }
        };
        self.fields.load().list.iter().map(info).collect()
    }

    /// Whether there is an index of the values at `path`, finished or not.
    pub fn has_field_index(&self, path: &Path) -> bool {
        self.fields.load().list.iter().any(|field| field.path == *path)
    }

    /// True if there are payload indexes, which what is written has to be taken into.
    pub fn has_field_indexes(&self) -> bool {
        !self.fields.load().list.is_empty()
    }

    /// Takes a portion of the rows in memory into their indexes; true if there is more. Called by whoever owns the collection, best from a
    /// thread of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if rows in memory cannot be indexed.
    pub fn follow_fields(&self) -> Result<bool> {
        let fields = self.fields.load_full();
        if self.indexing.halted() || fields.list.is_empty() {
            return Ok(false);
        }
        let version = self.current.load_full();
        let mut more = false;
        for growing in version.frozen().chain([version.head()]) {
            let followed = growing.follow_fields(&fields.list, FOLLOW_PORTION);
            more |= followed.map_err(|e| {
                Error::caused(ErrorKind::Internal, "rows in memory cannot be taken into an index", e)
            })?;
        }
        self.forget_stale(&fields);
        Ok(more)
    }

    /// Builds the payload indexes that sealed segments lack, and removes the files of dropped ones; true if there was something to do.
    /// Called like [`Collection::follow_fields`].
    ///
    /// # Errors
    ///
    /// The first that reading a segment or writing an index met; the others were built. It is tried again at the next call.
    /// [`ErrorKind::Cancelled`] after [`Collection::halt_indexing`].
    pub fn maintain_fields(&self) -> Result<bool> {
        // First of all: whoever waits for the work of another must find it done.
        let _one = self.indexing.fields.lock();
        let fields = self.fields.load_full();
        let removed = self.remove_dropped()?;
        let unbuilt = self.unbuilt(&fields);
        let mut first = Ok(());
        for (number, sealed, field) in &unbuilt {
            if self.indexing.halted() {
                return Err(stopped());
            }
            let built = self.build_field(*number, sealed, field);
            first = first.and(built);
            // Rows that come meanwhile should not wait for a long row of segments.
            self.follow_fields()?;
        }
        first.map(|()| removed || !unbuilt.is_empty())
    }

    /// Does all that [`Collection::follow_fields`] and [`Collection::maintain_fields`] find to do.
    pub(crate) fn settle_fields(&self) -> Result<()> {
        while self.follow_fields()? | self.maintain_fields()? {}
        Ok(())
    }

    /// Called by the writer or by recovery.
    pub(crate) fn apply_create_field(&self, seq: Seq, path: &Path, config: &IndexConfig) -> Result<()> {
        let fields = self.fields.load_full();
        if seq <= fields.changed {
            // The manifest that was opened knows it, or that it was dropped.
            return Ok(());
        }
        if fields.find(path).is_some() || fields.list.len() >= FIELD_INDEXES_MAX {
            let context = format!("an index of \"{path}\" does not fit the collection");
            return Err(Error::new(ErrorKind::Internal, context));
        }
        let mut list = fields.list.clone();
        list.push(Arc::new(PayloadField { created: seq, path: path.clone(), config: config.clone() }));
        self.fields.store(Arc::new(Fields { changed: seq, list }));
        Ok(())
    }

    /// Called by the writer or by recovery.
    pub(crate) fn apply_drop_field(&self, seq: Seq, path: &Path) {
        let fields = self.fields.load_full();
        if seq <= fields.changed {
            return;
        }
        let list = fields.list.iter().filter(|field| field.path != *path).cloned().collect();
        self.fields.store(Arc::new(Fields { changed: seq, list }));
        self.retain_fields();
        self.indexing.dropped.store(true, Ordering::Release);
    }

    /// Lets no segment keep an index that was dropped.
    pub(crate) fn retain_fields(&self) {
        let fields = self.fields.load_full();
        for member in self.current.load_full().members() {
            member.segment.retain_fields(&fields.list);
        }
    }

    /// Undoes what was attached by somebody who still knew `fields`, if some of them were dropped meanwhile. Whoever drops one changes the
    /// list first and the segments then, so one of the two sees the other.
    fn forget_stale(&self, fields: &Arc<Fields>) {
        if !Arc::ptr_eq(fields, &self.fields.load_full()) {
            self.retain_fields();
        }
    }

    /// Which sealed segments lack which index.
    fn unbuilt(&self, fields: &Fields) -> Vec<(u64, Arc<Sealed>, Arc<PayloadField>)> {
        let version = self.current.load_full();
        let sealed = version.settled().iter().filter_map(|member| match (&member.segment, member.number) {
            (Segment::Sealed(sealed), Some(number)) => Some((number, sealed)),
            _ => None,
        });
        let lacking = |(number, sealed): (u64, &Arc<Sealed>)| {
            let lacks = fields.list.iter().filter(|field| !sealed.has_field(field.created));
            lacks.map(|field| (number, Arc::clone(sealed), Arc::clone(field))).collect::<Vec<_>>()
        };
        sealed.flat_map(lacking).collect()
    }

    fn build_field(&self, number: u64, sealed: &Sealed, field: &Arc<PayloadField>) -> Result<()> {
        self.check_writable()?;
        let (reader, summary) = match self.make_field(number, sealed, field) {
            Ok(made) => made,
            Err(error) => return self.unless_gone(number, error),
        };
        let kind = FileKind::Field(field.created);
        self.commit_files(number, &[kind], [(kind, summary)])?;
        // The commit left it out if it was dropped by then.
        sealed.attach_field(field, reader, summary.length);
        if !self.fields.load().has(field.created) {
            self.retain_fields();
        }
        Ok(())
    }

    /// Writes the index of a segment's rows into its folder and opens it. Nothing names it yet.
    fn make_field(
        &self,
        number: u64,
        sealed: &Sealed,
        field: &PayloadField,
    ) -> Result<(FieldReader, Summary)> {
        self.make_field_in(&segment_folder(&self.folder, number), sealed, field, &|| !self.indexing.halted())
    }

    /// As [`Collection::make_field`], in whatever folder the segment lies.
    pub(crate) fn make_field_in(
        &self,
        folder: &str,
        sealed: &Sealed,
        field: &PayloadField,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(FieldReader, Summary)> {
        let what = || format!("building the index of \"{}\" in {folder}", field.path);
        remove_files(&*self.dir, folder, &[field_file(field.created)]).map_err(|e| Error::io(what(), e))?;
        let summary = sealed.write_field(&*self.dir, folder, field, go_on);
        let summary = summary.map_err(|e| field_error(what(), e))?;
        self.dir.sync_dir(folder).map_err(|e| Error::io(what(), e))?;
        let reader = open_field(&*self.dir, folder, field, sealed.rows(), &summary);
        let reader = reader.map_err(|(path, e)| {
            Error::caused(ErrorKind::Unavailable, format!("{path}, just written, cannot be read"), e)
        })?;
        Ok((reader, summary))
    }

    /// Gives a segment that was just written its indexes before anybody sees it, so that filters do not get slower when a head is sealed.
    /// What fails is built later.
    pub(crate) fn seal_fields(&self, number: u64, sealed: &Sealed, entry: &mut SegmentEntry) {
        for field in &self.fields.load_full().list {
            let Ok((reader, summary)) = self.make_field(number, sealed, field) else { return };
            sealed.attach_field(field, reader, summary.length);
            let kind = FileKind::Field(field.created);
            entry.files.push(FileEntry { kind, generation: 0, summary });
        }
    }

    /// Says in `manifest` which indexes there are, and leaves out the files of others; returns the paths of those that the manifest before
    /// it names too, or an attempt under way left.
    pub(crate) fn put_fields(&self, ledger: &Ledger, manifest: &mut Manifest) -> Result<Vec<String>> {
        let fields = self.fields.load_full();
        if fields.changed > self.synced_seq().max(ledger.manifest.synced) {
            // Or the manifest could say what a power cut takes from the log.
            self.sync_log(fields.changed)?;
        }
        let mut dropped = Vec::new();
        for entry in &mut manifest.segments {
            let folder = segment_folder(&self.folder, entry.id);
            entry.files.retain(|file| match file.kind {
                FileKind::Field(created) if !fields.has(created) => {
                    dropped.extend(index_name(file).map(|name| format!("{folder}/{name}")));
                    false
                }
                _ => true,
            });
        }
        manifest.fields = Fields::clone(&fields);
        Ok(dropped)
    }

    /// Commits a manifest without the files of dropped indexes, and removes them; true if there were some.
    fn remove_dropped(&self) -> Result<bool> {
        if !self.indexing.dropped.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        let mut ledger = self.checkpoint.lock();
        let fields = self.fields.load_full();
        let mut files = ledger.manifest.segments.iter().flat_map(|entry| &entry.files);
        if !files.any(|file| matches!(file.kind, FileKind::Field(created) if !fields.has(created))) {
            return Ok(false);
        }
        let manifest = ledger.manifest.clone();
        let removed = self.check_writable().and_then(|()| self.commit(&mut ledger, manifest));
        if removed.is_err() {
            self.indexing.dropped.store(true, Ordering::Release);
        }
        removed.map(|()| true)
    }
}

/// Attaches the payload indexes that the manifest names and that were not dropped since; returns what is wrong with those that cannot be
/// used.
pub(crate) fn open_fields(
    dir: &dyn Dir,
    folder: &str,
    entry: &SegmentEntry,
    sealed: &Sealed,
    fields: &Fields,
) -> Vec<String> {
    let mut damaged = Vec::new();
    for field in &fields.list {
        let kind = FileKind::Field(field.created);
        let Some(file) = entry.files.iter().find(|file| file.kind == kind) else { continue };
        match open_field(dir, &segment_folder(folder, entry.id), field, entry.rows, &file.summary) {
            Ok(reader) => sealed.attach_field(field, reader, file.summary.length),
            Err((path, e)) => damaged.push(format!("{path} cannot be used ({e}): the index is built anew")),
        }
    }
    damaged
}

/// Checks what can be settled without looking at the collection.
fn check_field(path: &Path, config: &IndexConfig) -> Result<()> {
    let shown = path.to_string();
    if Path::parse(&shown).ok().as_ref() != Some(path) {
        let context = format!("path {shown} cannot be written down: keys hold no quotation marks");
        return Err(Error::invalid(context));
    }
    config
        .check()
        .map_err(|e| Error::caused(ErrorKind::Invalid, format!("index of \"{path}\" is refused"), e))?;
    match config.encode().len() {
        bytes if bytes > FIELD_CONFIG_BYTES_MAX => Err(Error::invalid(format!(
            "settings of the index of \"{path}\" take {bytes} bytes: at most {FIELD_CONFIG_BYTES_MAX} are allowed"
        ))),
        _ => Ok(()),
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "building indexes was given up")
}

fn field_error(what: String, error: FieldError) -> Error {
    match error {
        FieldError::Io(error) => Error::io(what, error),
        FieldError::Stopped => stopped(),
        FieldError::Rows(_) => Error::caused(ErrorKind::Corrupt, what, error),
        FieldError::File(_) | FieldError::Build(_) | FieldError::Length { .. } => {
            Error::caused(ErrorKind::Internal, what, error)
        }
    }
}

#[cfg(test)]
mod tests;
