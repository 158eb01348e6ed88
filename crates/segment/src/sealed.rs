//! A segment on disk: write-once files, and in memory what happened to their rows since.
//!
//! Every row in it was born at or before the checkpoint that wrote it, and a reader of the version that holds it sees at least
//! that far; so only deaths and patches are looked at. It refuses to write: sealing is [`crate::seal`]'s business.

use std::sync::{Arc, OnceLock};

use nearfield_ann::Estimate;
use nearfield_codec::{Container, Summary};
use nearfield_payload::SealedPayload;
use nearfield_platform::Dir;
use nearfield_types::{PointId, Seq, Slot};
use nearfield_vectors::{SealedRows, VectorStore};

use crate::build::Source;
use crate::changes::Changes;
use crate::deltas::Delta;
use crate::error::{OpenError, damaged};
use crate::field::Field;
use crate::format::{DELTA_TAG, IDS_TAG};
use crate::ids::PointMap;
use crate::index::SealedIndex;
use crate::index_files::IndexFiles;
use crate::partitions::Partition;
use crate::patches::Row;
use crate::payload_index::{FieldOnDisk, FieldSet};
use crate::schema::Schema;

/// The path of the point map inside a segment's folder.
pub const IDS_FILE: &str = "ids";
/// The path of the payload rows inside a segment's folder.
pub const PAYLOAD_FILE: &str = "payload";

/// The path of the rows of the vector at place `vector` inside a segment's folder.
pub fn vectors_file(vector: usize) -> String {
    format!("vectors-{vector}")
}

/// The files of a segment: never changed, shared by every version that names it.
#[derive(Debug)]
struct Files {
    ids: PointMap,
    payload: SealedPayload,
    rows: Vec<SealedRows>,
    bytes: SegmentBytes,
    /// The indexes of payload fields. Derived too, and they come and go.
    fields: FieldSet<FieldOnDisk>,
}

#[derive(Debug)]
struct Indexed {
    index: Arc<SealedIndex>,
    codes: u64,
    graphs: u64,
}

impl Indexed {
    fn new(index: SealedIndex, files: &IndexFiles) -> Indexed {
        let [codes, partitions] =
            [files.codes, files.partitions].map(|file| file.map_or(0, |file| file.length));
        Indexed { index: Arc::new(index), codes, graphs: files.graph.length + partitions }
    }
}

/// Bytes on disk by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentBytes {
    /// Rows of vectors.
    pub vectors: u64,
    /// Payload rows.
    pub payload: u64,
    /// The point map.
    pub ids: u64,
    /// Codes.
    pub codes: u64,
    /// Graphs, those over partitions included.
    pub graphs: u64,
    /// Indexes of payload fields.
    pub fields: u64,
}

impl SegmentBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.vectors + self.payload + self.ids + self.codes + self.graphs + self.fields
    }
}

/// What a manifest says of the files of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFiles {
    /// The point map.
    pub ids: Summary,
    /// The payload rows.
    pub payload: Summary,
    /// The rows of each vector, in schema order.
    pub vectors: Vec<Summary>,
}

/// A segment on disk.
#[derive(Debug)]
pub struct Sealed {
    files: Arc<Files>,
    /// The index of each vector and its bytes on disk. Derived: attaching one changes how fast answers come.
    indexes: Vec<Arc<OnceLock<Indexed>>>,
    /// What serves until the index of a vector is built.
    interim: Vec<Arc<OnceLock<SealedIndex>>>,
    /// Shared by all that differ in their indexes alone: what the writer does to one happens to all.
    pub(crate) changes: Arc<Changes>,
}

impl Sealed {
    /// Opens the segment in `folder`: maps its files, compares them with the manifest, verifies the point map and reads the
    /// delta. Rows and payload are verified block by block when first touched. O(ids).
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the file's path.
    pub fn open(
        dir: &dyn Dir,
        folder: &str,
        schema: &Schema,
        rows: u32,
        files: &SealedFiles,
        delta: Option<(&str, &Summary)>,
    ) -> Result<Sealed, (String, OpenError)> {
        let ids_path = format!("{folder}/{IDS_FILE}");
        let ids = open_container(dir, &ids_path, IDS_TAG, &files.ids)
            .and_then(|file| PointMap::open(&file, rows))
            .map_err(|e| (ids_path, e))?;
        let payload_path = format!("{folder}/{PAYLOAD_FILE}");
        let payload =
            open_payload(dir, &payload_path, rows, &files.payload).map_err(|e| (payload_path, e))?;
        if files.vectors.len() != schema.shapes().len() {
            return Err((folder.to_owned(), damaged("schema and the manifest")));
        }
        let mut stores = Vec::with_capacity(files.vectors.len());
        for (vector, (shape, summary)) in schema.shapes().iter().zip(&files.vectors).enumerate() {
            let path = format!("{folder}/{}", vectors_file(vector));
            stores.push(open_rows(dir, &path, *shape, rows, summary).map_err(|e| (path, e))?);
        }
        let changes = match delta {
            None => Changes::default(),
            Some((path, summary)) => {
                let read =
                    open_container(dir, path, DELTA_TAG, summary).and_then(|file| Delta::read(&file, rows));
                Changes::from_delta(&read.map_err(|e| (path.to_owned(), e))?)
            }
        };
        let bytes = SegmentBytes {
            vectors: files.vectors.iter().map(|summary| summary.length).sum(),
            payload: files.payload.length,
            ids: files.ids.length,
            ..SegmentBytes::default()
        };
        let indexes = std::iter::repeat_with(Arc::default).take(stores.len()).collect();
        let interim = std::iter::repeat_with(Arc::default).take(stores.len()).collect();
        let files = Files { ids, payload, rows: stores, bytes, fields: FieldSet::default() };
        Ok(Sealed { files: Arc::new(files), indexes, interim, changes: Arc::new(changes) })
    }

    /// Lets searches of the vector at place `vector` use `index`, which was built of these rows and lies in `files`. The first one
    /// stands.
    pub fn attach(&self, vector: usize, index: SealedIndex, files: &IndexFiles) {
        let _ = self.indexes[vector].set(Indexed::new(index, files));
    }

    /// The same segment with another index of the vector at place `vector`: deaths and patches reach both. Readers of this one go on with the
    /// index that it has.
    #[must_use]
    pub fn with_index(&self, vector: usize, index: SealedIndex, files: &IndexFiles) -> Sealed {
        let mut indexes = self.indexes.clone();
        indexes[vector] = Arc::new(OnceLock::from(Indexed::new(index, files)));
        let mut interim = self.interim.clone();
        interim[vector] = Arc::default();
        Sealed { files: Arc::clone(&self.files), indexes, interim, changes: Arc::clone(&self.changes) }
    }

    /// Lets searches use `index` until there is one that was built of these rows.
    pub(crate) fn lend(&self, vector: usize, index: SealedIndex) {
        let _ = self.interim[vector].set(index);
    }

    /// Lets `work` use what serves until the index is built as the source of building it, if there is something.
    pub fn with_interim<T>(&self, vector: usize, work: impl FnOnce(Option<&Source<'_>>) -> T) -> T {
        match self.interim[vector].get() {
            None => work(None),
            Some(index) => work(Some(&Source { graph: index.graph(), moved: &Some })),
        }
    }

    /// The index of the vector at place `vector`, if one was attached.
    pub fn indexed(&self, vector: usize) -> Option<&Arc<SealedIndex>> {
        self.indexes[vector].get().map(|indexed| &indexed.index)
    }

    /// How many graphs over partitions there are.
    pub fn partition_graphs(&self) -> u64 {
        self.all_indexed().map(|indexed| indexed.index.partitions().len() as u64).sum()
    }

    fn all_indexed(&self) -> impl Iterator<Item = &Indexed> {
        self.indexes.iter().filter_map(|index| index.get())
    }

    /// The vectors that lack an index. A segment of fewer rows than `rows_min`, which is scanned, lacks none.
    pub fn unindexed(&self, rows_min: u32) -> Vec<usize> {
        let worth = self.rows() >= rows_min;
        (0..self.files.rows.len()).filter(|&vector| worth && self.indexed(vector).is_none()).collect()
    }

    /// How many vectors a row may have.
    pub(crate) fn vector_count(&self) -> usize {
        self.files.rows.len()
    }

    /// Rows that a search of one of these vectors, which lack their index, scans, and the bytes of them: of that with the most.
    pub fn scanned(&self, vectors: &[usize]) -> (u32, u64) {
        let scan = |&vector: &usize| {
            let linked = self.interim[vector].get().map_or(0, |index| index.linked(self.rows()));
            let rows = self.rows() - linked;
            (u64::from(rows) * self.store(vector).shape().row_bytes() as u64, rows)
        };
        vectors.iter().map(scan).max().map_or((0, 0), |(bytes, rows)| (rows, bytes))
    }

    /// The rows of the vector at place `vector`, for building an index.
    pub fn vectors(&self, vector: usize) -> &dyn VectorStore {
        self.store(vector)
    }

    /// Bytes of memory held by indexes, file maps not counted.
    pub fn index_memory(&self) -> u64 {
        let built: u64 = self.all_indexed().map(|indexed| indexed.index.memory()).sum();
        let lent: u64 = self.interim.iter().filter_map(|index| Some(index.get()?.memory())).sum();
        built + lent
    }

    /// The same files with the patches that no reader at `through` or later can ask for left out.
    #[must_use]
    pub fn compacted(&self, through: Seq) -> Sealed {
        let changes = Arc::new(self.changes.compacted(through));
        let (indexes, interim) = (self.indexes.clone(), self.interim.clone());
        Sealed { files: Arc::clone(&self.files), indexes, interim, changes }
    }

    /// What a checkpoint at `through` must write for this segment.
    pub fn delta(&self, through: Seq) -> Delta {
        self.changes.delta(through)
    }

    /// The latest death or patch.
    pub fn last_change(&self) -> Seq {
        self.changes.last()
    }

    /// True if patches at or before `through` are held in more versions than a reader there can ask for.
    pub fn patched_before(&self, through: Seq) -> bool {
        self.changes.patches.superseded(through)
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.files.ids.rows()
    }

    /// How many of the rows are visible at `seen`. O(deaths).
    pub fn living(&self, seen: Seq) -> u64 {
        self.count(seen)
    }

    /// How many of the rows nobody has killed so far. O(1).
    pub fn living_now(&self) -> u32 {
        self.rows() - self.changes.deaths.count()
    }

    /// Bytes on disk by kind.
    pub fn bytes(&self) -> SegmentBytes {
        let codes = self.all_indexed().map(|indexed| indexed.codes).sum();
        let graphs = self.all_indexed().map(|indexed| indexed.graphs).sum();
        SegmentBytes { codes, graphs, fields: self.files.fields.bytes(), ..self.files.bytes }
    }

    /// Bytes held in memory: the patches, until the segment is written anew.
    pub fn memory(&self) -> u64 {
        self.changes.patches.bytes()
    }

    /// Checks every block of rows and payload that was not checked yet. O(bytes).
    ///
    /// # Errors
    ///
    /// The first damage found, with the name of the file inside the segment's folder.
    pub fn verify(&self) -> Result<(), (String, OpenError)> {
        let payload = self.files.payload.blob().verify_all();
        payload.map_err(|e| (PAYLOAD_FILE.to_owned(), OpenError::from(e)))?;
        for (vector, rows) in self.files.rows.iter().enumerate() {
            rows.verify().map_err(|e| (vectors_file(vector), OpenError::from(e)))?;
        }
        Ok(())
    }

    pub(crate) fn fields(&self) -> &FieldSet<FieldOnDisk> {
        &self.files.fields
    }

    pub(crate) fn payload_rows(&self) -> &SealedPayload {
        &self.files.payload
    }

    pub(crate) fn ids(&self) -> &PointMap {
        &self.files.ids
    }

    pub(crate) fn visible(&self, slot: Slot, seen: Seq) -> bool {
        self.changes.deaths.alive_at(slot, seen)
    }

    pub(crate) fn find(&self, id: &PointId, seen: Seq) -> Option<Slot> {
        self.files.ids.slot(id).filter(|&slot| self.visible(slot, seen))
    }

    pub(crate) fn page(&self, after: Option<&PointId>, limit: usize, seen: Seq) -> Vec<(PointId, Slot)> {
        let ids = &self.files.ids;
        let first = match after.map(|id| ids.find(id)) {
            None => 0,
            Some(Ok(rank)) => rank + 1,
            Some(Err(rank)) => rank,
        };
        let slots = (first..ids.rows()).map(|rank| (rank, ids.at_rank(rank)));
        let visible = slots.filter(|&(_, slot)| self.visible(slot, seen));
        visible.take(limit).map(|(rank, slot)| (ids.id_at_rank(rank), slot)).collect()
    }

    pub(crate) fn count(&self, seen: Seq) -> u64 {
        let dead = self.changes.deaths.iter().filter(|(_, died)| *died <= seen).count() as u64;
        u64::from(self.rows()) - dead
    }

    pub(crate) fn store(&self, vector: usize) -> &dyn VectorStore {
        &self.files.rows[vector]
    }

    /// The rows of the vector at place `vector` and what makes searching them fast.
    pub(crate) fn field(&self, vector: usize) -> Field<'_> {
        let rows = self.store(vector);
        let interim = || self.interim[vector].get();
        match self.indexed(vector).map(|index| &**index).or_else(interim) {
            Some(index) => index.field(rows),
            None => Field::bare(rows),
        }
    }

    /// The graph over a partition that holds all of these rows, of the vector at place `vector`.
    pub(crate) fn partition(&self, vector: usize, first: u32, last: u32) -> Option<&Partition> {
        self.indexed(vector)?.partitions().holding(first, last)
    }

    /// How many of the rows are visible to a reader, as far as can be told without counting.
    pub(crate) fn estimate(&self) -> Estimate {
        let rows = u64::from(self.rows());
        let deaths = u64::from(self.changes.deaths.count());
        // Any death may be among the rows that a graph holds, which may be fewer than all: then nothing is promised.
        Estimate { low: if deaths == 0 { rows } else { 0 }, likely: rows.saturating_sub(deaths), high: rows }
    }

    /// Calls `visit(i, row)` with the payload of each of `slots` as of `seen`, in order.
    pub(crate) fn visit_payloads(
        &self,
        slots: &[Slot],
        seen: Seq,
        visit: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), OpenError> {
        let patches = &self.changes.patches;
        Ok(self.files.payload.read_many(slots, &mut |at, row| match patches.get(slots[at], seen) {
            Some(patched) => visit(at, &patched),
            None => visit(at, row),
        })?)
    }

    pub(crate) fn payload(&self, slot: Slot, seen: Seq) -> Result<Row, OpenError> {
        match self.changes.patches.get(slot, seen) {
            Some(patched) => Ok(patched),
            None => Ok(Row::from(self.files.payload.row(slot)?)),
        }
    }
}

fn open_container(
    dir: &dyn Dir,
    path: &str,
    tag: nearfield_codec::FileTag,
    expected: &Summary,
) -> Result<Container, OpenError> {
    let region = dir.open(path)?;
    let file = Container::open(region, tag)?;
    if file.region().len() as u64 != expected.length || file.tables_crc() != expected.tables_crc {
        return Err(damaged("file and the manifest"));
    }
    Ok(file)
}

fn open_payload(
    dir: &dyn Dir,
    path: &str,
    rows: u32,
    expected: &Summary,
) -> Result<SealedPayload, OpenError> {
    let blob = dir.blob(path, nearfield_payload::format::PAYLOAD_TAG)?;
    if blob.file_len() != expected.length || blob.tables_crc() != expected.tables_crc {
        return Err(damaged("file and the manifest"));
    }
    Ok(SealedPayload::open(blob, rows)?)
}

fn open_rows(
    dir: &dyn Dir,
    path: &str,
    shape: nearfield_vectors::Shape,
    rows: u32,
    expected: &Summary,
) -> Result<SealedRows, OpenError> {
    let blob = dir.blob(path, nearfield_vectors::format::TAG)?;
    if blob.file_len() != expected.length || blob.tables_crc() != expected.tables_crc {
        return Err(damaged("file and the manifest"));
    }
    Ok(SealedRows::open(blob, shape, rows)?)
}
