//! The head of a collection: a segment in memory that takes writes while anybody reads.
//!
//! One writer (the collection's) pushes rows, kills and patches them; readers take no lock but a shared one for looking up ids.
//! Nothing moves once written. Its graphs follow behind: somebody calls [`Growing::catch_up`], never the push itself. It refuses to
//! know the log, and to decide when it is full.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nearfield_ann::{Estimate, Stopped};
use nearfield_hnsw::GraphView;
use nearfield_payload::GrowingPayload;
use nearfield_payload::index::GrowingField;
use nearfield_types::limits::SEGMENT_ROWS_MAX;
use nearfield_types::{PointId, Seq, Slot};
use nearfield_vectors::{GrowingRows, GrowingWriter, PushError, VectorStore};
use parking_lot::{Mutex, RwLock};

use crate::changes::Changes;
use crate::field::Field;
use crate::index::{GrowingIndex, IndexOptions, SealedIndex};
use crate::patches::Row;
use crate::payload_index::FieldSet;
use crate::schema::Schema;

/// One point to store: vectors in the order of the schema, absent ones `None`.
#[derive(Clone, Copy, Debug)]
pub struct NewPoint<'a> {
    /// Its name.
    pub id: &'a PointId,
    /// Its vectors.
    pub vectors: &'a [Option<Vec<f32>>],
    /// Its encoded payload.
    pub payload: &'a Row,
}

/// What is stored of a row beside its vectors and payload.
#[derive(Debug)]
struct Head {
    id: PointId,
    born: Seq,
    /// The row of the same id before this one, dead since.
    before: Option<Slot>,
}

/// A segment in memory. See the module's documentation for who may call what.
pub struct Growing {
    heads: boxcar::Vec<Head>,
    rows: Vec<Arc<GrowingRows>>,
    /// The index of each vector, once there are enough rows to choose codes by and to make a walk worth while.
    indexes: Vec<OnceLock<GrowingIndex>>,
    index_options: Vec<IndexOptions>,
    /// So many rows are scanned before there is a graph.
    graph_rows_min: AtomicU32,
    /// Held by whoever links, and while a graph is copied.
    linking: Mutex<()>,
    /// The writing ends of `rows`. Never contended: there is one writer.
    writers: Mutex<Vec<GrowingWriter>>,
    payload: GrowingPayload,
    /// The indexes of payload fields. They follow behind like the graphs.
    pub(crate) fields: FieldSet<GrowingField>,
    /// The newest row of each id.
    newest: RwLock<BTreeMap<PointId, Slot>>,
    pub(crate) changes: Changes,
    /// Rows complete in every column; stored with Release after them.
    len: AtomicU32,
    /// Birth of the newest row; stored before `len`.
    last_born: AtomicU64,
    heap_bytes: AtomicU64,
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Growing({} rows)", self.len())
    }
}

impl Growing {
    /// An empty segment.
    pub fn new(schema: &Schema) -> Self {
        let (writers, rows) = schema.shapes().iter().map(|&shape| GrowingRows::create(shape)).unzip();
        Growing {
            heads: boxcar::Vec::new(),
            indexes: std::iter::repeat_with(OnceLock::new).take(schema.shapes().len()).collect(),
            index_options: schema.indexes().to_vec(),
            graph_rows_min: AtomicU32::new(schema.graph_rows_min()),
            linking: Mutex::default(),
            rows,
            writers: Mutex::new(writers),
            payload: GrowingPayload::new(),
            fields: FieldSet::default(),
            newest: RwLock::default(),
            changes: Changes::default(),
            len: AtomicU32::new(0),
            last_born: AtomicU64::new(0),
            heap_bytes: AtomicU64::new(0),
        }
    }

    /// Appends rows born at `born`. The caller has killed the older rows of the same ids. Called by the writer alone.
    ///
    /// # Errors
    ///
    /// [`PushError`] if a vector does not fit the schema or the segment is full; nothing was appended then.
    pub fn push(&self, born: Seq, points: &[NewPoint<'_>]) -> Result<(), PushError> {
        let first = self.len.load(Ordering::Relaxed);
        self.check(first, points)?;
        let mut writers = self.writers.lock();
        let mut heap_bytes = 0;
        self.last_born.fetch_max(born.0, Ordering::Relaxed);
        let slots = points.iter().zip(first..);
        for (point, slot) in slots.clone() {
            let before = self.newest.read().get(point.id).copied();
            debug_assert!(before.is_none_or(|before| before.0 < slot));
            self.heads.push(Head { id: point.id.clone(), born, before });
            for (rows, vector) in writers.iter_mut().zip(point.vectors) {
                rows.push(vector.as_deref())?;
            }
            self.payload.push(Arc::clone(point.payload));
            heap_bytes += 2 * point.id.heap_bytes() as u64 + ROW_OVERHEAD_BYTES;
        }
        self.heap_bytes.fetch_add(heap_bytes, Ordering::Relaxed);
        self.len.store(first + points.len() as u32, Ordering::Release);
        let mut newest = self.newest.write();
        for (point, slot) in slots {
            let before = newest.insert(point.id.clone(), Slot(slot));
            // Of rows with one id in one push the last stands; the others were never visible.
            if let Some(before) = before.filter(|before| before.0 >= first) {
                self.changes.deaths.kill(before, born);
            }
        }
        Ok(())
    }

    /// What could go wrong with a push is found before it begins, so that the columns never differ in length.
    fn check(&self, first: u32, points: &[NewPoint<'_>]) -> Result<(), PushError> {
        if first as usize + points.len() > SEGMENT_ROWS_MAX {
            return Err(PushError::Full { rows: first });
        }
        for point in points {
            for (rows, vector) in self.rows.iter().zip(point.vectors) {
                if let Some(vector) = vector {
                    rows.shape().check(vector)?;
                }
            }
        }
        Ok(())
    }

    /// Rows so far, dead ones included.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// True before the first row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of `slot`, which must be below [`Growing::len`].
    pub fn id(&self, slot: Slot) -> PointId {
        self.heads[slot.index()].id.clone()
    }

    /// When `slot` was born.
    pub fn born(&self, slot: Slot) -> Seq {
        self.heads[slot.index()].born
    }

    pub(crate) fn id_ref(&self, slot: Slot) -> &PointId {
        &self.heads[slot.index()].id
    }

    /// True iff `slot` is visible at `seen`.
    pub(crate) fn visible(&self, slot: Slot, seen: Seq) -> bool {
        self.born(slot) <= seen && self.changes.deaths.alive_at(slot, seen)
    }

    /// The row of `id` visible at `seen`.
    pub(crate) fn find(&self, id: &PointId, seen: Seq) -> Option<Slot> {
        let newest = *self.newest.read().get(id)?;
        self.visible_version(newest, seen)
    }

    /// The row visible at `seen` among `slot` and the rows of the same id before it.
    fn visible_version(&self, slot: Slot, seen: Seq) -> Option<Slot> {
        let mut version = Some(slot);
        while let Some(slot) = version {
            if self.visible(slot, seen) {
                return Some(slot);
            }
            version = self.heads[slot.index()].before;
        }
        None
    }

    /// Up to `limit` points visible at `seen` whose ids come after `after`, in id order.
    pub(crate) fn page(&self, after: Option<&PointId>, limit: usize, seen: Seq) -> Vec<(PointId, Slot)> {
        let newest = self.newest.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let visible = newest.range::<PointId, _>((from, Bound::Unbounded));
        visible
            .filter_map(|(id, &slot)| self.visible_version(slot, seen).map(|slot| (id.clone(), slot)))
            .take(limit)
            .collect()
    }

    /// How many points are visible at `seen`. O(rows).
    pub(crate) fn count(&self, seen: Seq) -> u64 {
        (0..self.len()).filter(|&slot| self.visible(Slot(slot), seen)).count() as u64
    }

    /// The rows of the vector at place `vector`.
    pub(crate) fn store(&self, vector: usize) -> &dyn VectorStore {
        &*self.rows[vector]
    }

    /// The rows of the vector at place `vector` and what makes searching them fast.
    pub(crate) fn field(&self, vector: usize) -> Field<'_> {
        match self.indexes[vector].get() {
            Some(index) => index.field(),
            None => Field::bare(self.store(vector)),
        }
    }

    /// How many of the rows are visible at `seen`, as far as can be told without counting.
    pub(crate) fn estimate(&self, seen: Seq) -> Estimate {
        // The length first: the birth stored before it covers all rows below, and later ones are not counted.
        let len = u64::from(self.len());
        let deaths = u64::from(self.changes.deaths.count());
        // Any death may be among the rows that a graph holds, which may be fewer than all: then nothing is promised.
        let all = deaths == 0 && self.last_born.load(Ordering::Relaxed) <= seen.0;
        Estimate { low: if all { len } else { 0 }, likely: len.saturating_sub(deaths), high: u64::MAX }
    }

    /// Rows that no graph holds yet, of the vector that is furthest behind: searches scan them. 0 for a segment so small that all
    /// of it is scanned.
    pub fn backlog(&self) -> u32 {
        let backlog = |(index, rows): (&OnceLock<GrowingIndex>, &Arc<GrowingRows>)| match index.get() {
            Some(index) => index.backlog(),
            None if rows.len() >= self.graph_rows_min() => rows.len(),
            None => 0,
        };
        self.indexes.iter().zip(&self.rows).map(backlog).max().unwrap_or(0)
    }

    /// Encodes what there is and links at most `max` rows of each vector, on so many threads. Returns the backlog that is left.
    /// One caller at a time does the work; another one waits.
    ///
    /// # Errors
    ///
    /// What a scorer returned: rows in memory return nothing.
    pub fn catch_up(&self, max: u32, threads: usize) -> Result<u32, Stopped> {
        let _one = self.linking.lock();
        let vectors = self.indexes.iter().zip(&self.rows).zip(&self.index_options);
        for ((index, rows), options) in vectors {
            if index.get().is_some() || rows.len() >= self.graph_rows_min() {
                let index = index.get_or_init(|| GrowingIndex::new(Arc::clone(rows), options));
                index.catch_up(max, threads)?;
            }
        }
        Ok(self.backlog())
    }

    /// Rows that the graph of the vector at place `vector` holds.
    pub fn linked_rows(&self, vector: usize) -> u32 {
        let index = self.indexes.get(vector).and_then(OnceLock::get);
        index.map_or(0, |index| index.rows().saturating_sub(index.backlog()))
    }

    /// Bytes that a search of the vector that is furthest behind scans for want of links: codes where there are some, else vectors.
    pub fn backlog_bytes(&self) -> u64 {
        let bytes = |(index, rows): (&OnceLock<GrowingIndex>, &Arc<GrowingRows>)| match index.get() {
            Some(index) => u64::from(index.backlog()) * index.row_bytes(),
            None if rows.len() >= self.graph_rows_min() => {
                u64::from(rows.len()) * rows.shape().row_bytes() as u64
            }
            None => 0,
        };
        self.indexes.iter().zip(&self.rows).map(bytes).max().unwrap_or(0)
    }

    fn graph_rows_min(&self) -> u32 {
        self.graph_rows_min.load(Ordering::Relaxed)
    }

    /// From now on there is a graph only where there are at least so many rows; one that was begun goes on.
    pub fn graph_from(&self, rows: u32) {
        self.graph_rows_min.store(rows, Ordering::Relaxed);
    }

    /// Bytes of memory held by codes and graphs.
    pub fn index_memory(&self) -> u64 {
        self.indexes.iter().filter_map(OnceLock::get).map(GrowingIndex::memory).sum()
    }

    /// Copies of the graphs as they are, in schema order; `None` where there is none.
    pub(crate) fn graphs(&self) -> Vec<Option<GraphView>> {
        let _nobody_links = self.linking.lock();
        let copy = |index: &OnceLock<GrowingIndex>| index.get().map(|index| GraphView::of(index.graph()));
        self.indexes.iter().map(copy).collect()
    }

    /// What serves for the index of the vector at place `vector`, with slots moved into `rows`, until it is built.
    pub(crate) fn interim(
        &self,
        vector: usize,
        moved: &[u32],
        rows: &dyn VectorStore,
        threads: usize,
    ) -> Option<SealedIndex> {
        let _nobody_links = self.linking.lock();
        self.indexes.get(vector)?.get()?.interim(moved, rows, threads)
    }

    /// The rows of every vector.
    pub(crate) fn rows(&self) -> &[Arc<GrowingRows>] {
        &self.rows
    }

    /// The payload of `slot` as it was written, without its patches.
    pub(crate) fn written(&self, slot: Slot) -> &[u8] {
        self.payload.row(slot).unwrap_or_default()
    }

    /// The payload of `slot` as of `seen`.
    pub(crate) fn payload(&self, slot: Slot, seen: Seq) -> Row {
        match self.changes.patches.get(slot, seen) {
            Some(patched) => patched,
            None => Row::from(self.written(slot)),
        }
    }

    /// Calls `visit` with the payload of `slot` as of `seen`.
    pub(crate) fn visit_payload(&self, slot: Slot, seen: Seq, visit: &mut dyn FnMut(&[u8])) {
        match self.changes.patches.get(slot, seen) {
            Some(patched) => visit(&patched),
            None => visit(self.payload.row(slot).unwrap_or_default()),
        }
    }

    /// Bytes held in memory by rows, to a few per cent. Codes and graphs come on top: see [`Growing::index_memory`].
    pub fn bytes(&self) -> u64 {
        let rows: u64 = self.rows.iter().map(|rows| rows.memory()).sum();
        rows + self.payload.bytes_resident()
            + self.heap_bytes.load(Ordering::Relaxed)
            + self.changes.patches.bytes()
    }
}

/// Head and map entry of one row.
const ROW_OVERHEAD_BYTES: u64 = 130;

#[cfg(test)]
mod tests {
    use nearfield_types::Metric;
    use nearfield_vectors::{Element, Shape};

    use super::*;

    #[test]
    fn of_one_id_twice_in_a_push_the_last_stands() {
        let growing = Growing::new(&Schema::new(vec![Shape::new(1, Metric::Dot, Element::F32).unwrap()]));
        let (ids, payload): ([PointId; 2], Row) = ([7.into(), 8.into()], Row::from([]));
        let vectors = [1.0, 2.0, 3.0].map(|value| vec![Some(vec![value])]);
        let point =
            |id: usize, at: usize| NewPoint { id: &ids[id], vectors: &vectors[at], payload: &payload };
        growing.push(Seq(5), &[point(0, 0), point(1, 1), point(0, 2)]).unwrap();
        assert_eq!((growing.count(Seq(5)), growing.find(&ids[0], Seq(5))), (2, Some(Slot(2))));
        assert_eq!((growing.count(Seq(4)), growing.visible(Slot(0), Seq::MAX)), (0, false));
        let page = growing.page(None, 9, Seq::MAX);
        assert_eq!(page, [(ids[0].clone(), Slot(2)), (ids[1].clone(), Slot(1))]);
    }
}
