//! An index of vectors under numbers of your own: no collection, no log, no payload, one folder when saved.
//!
//! Take it where hnswlib, usearch or faiss would be taken. What must survive a crash at any moment belongs into a
//! [`Database`](crate::Database). It refuses payloads, filters and names.
//!
//! # Invariants
//!
//! 1. A search answers with exact distances, nearest first, equal ones by slot; each id at most once.
//! 2. A removed id is never an answer again, unless it was added anew.
//! 3. A saved folder is complete or not there: it is written beside and renamed.

mod files;
mod ids;
mod search;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use nearfield_ann::Stopped;
use nearfield_hnsw::{GraphStats, Params, ParamsError};
use nearfield_segment::{GrowingIndex, IndexOptions as SegmentOptions, SealedIndex, build};
use nearfield_types::Metric;
use nearfield_types::limits::SEGMENT_ROWS_MAX;
use nearfield_vectors::{Element, GrowingRows, GrowingWriter, SealedRows, Shape, VectorStore};
use parking_lot::Mutex;

pub use nearfield_segment::{Calibration, Quantization, Tier};

use crate::{Error, ErrorKind, Result};
use ids::Ids;

/// With at least this many rows, of which as many came since the last whole build as it had seen, an addition ends with another: it
/// sees all rows at once.
const BUILD_ROWS_MIN: u32 = 1_000;
/// Seeds levels and rotation where no other is given.
const SEED: u64 = 42;

/// How an index is built.
///
/// ```
/// use nearfield::{IndexOptions, Metric};
/// let options = IndexOptions { m: 24, ..IndexOptions::new(Metric::Dot) };
/// assert_eq!((options.m, options.ef_construction), (24, 100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexOptions {
    /// How vectors are compared.
    pub metric: Metric,
    /// Links of a node: 16 suits most data, 24 to 32 suits many dimensions and high recall.
    pub m: u32,
    /// Candidates kept open while a node is linked: more takes longer and finds better links.
    pub ef_construction: u32,
    /// What walks score by.
    pub quantization: Quantization,
    /// Seeds levels and rotation: with one thread, the same seed and order give the same index.
    pub seed: u64,
}

impl IndexOptions {
    /// The usual settings for this metric: m 16, ef_construction 100, codes chosen by dimension.
    pub fn new(metric: Metric) -> IndexOptions {
        IndexOptions { metric, m: 16, ef_construction: 100, quantization: Quantization::Auto, seed: SEED }
    }

    fn segment(&self) -> Result<SegmentOptions> {
        let params = Params::new(self.m, self.ef_construction).map_err(invalid_params)?.with_seed(self.seed);
        if let Quantization::Scalar { quantile } = self.quantization
            && !(quantile > 0.0 && quantile <= 1.0)
        {
            return Err(Error::invalid(format!("quantile is {quantile}: it must be above 0 and at most 1")));
        }
        Ok(SegmentOptions { params, quantization: self.quantization, seed: self.seed })
    }
}

fn invalid_params(error: ParamsError) -> Error {
    Error::invalid(error.to_string())
}

/// How hard a search looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Breadth {
    /// As [`Breadth::Recall`] of 0.99. Fewer than 1,000 vectors are all scored.
    #[default]
    Auto,
    /// Keep this many candidates open, known as `ef`.
    Ef(u32),
    /// As far as this share of the true answers needs, 0.5 to 0.999, by what was measured when the index was built; where nothing
    /// was, by a rule that is generous for usual data.
    Recall(f32),
    /// Score every vector.
    Exact,
}

/// The work of some searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Nodes expanded.
    pub hops: u64,
    /// Scores computed, by codes and by vectors.
    pub distances: u64,
}

/// Figures of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexStats {
    /// Vectors that can be found.
    pub len: u64,
    /// Vectors that were removed or replaced and still take room.
    pub dead: u64,
    /// Vectors that searches still scan because no graph holds them.
    pub unlinked: u64,
    /// Values of a vector.
    pub dim: u32,
    /// How vectors are compared.
    pub metric: Metric,
    /// What walks score by.
    pub tier: Tier,
    /// Levels, degrees and links of the graph.
    pub graph: GraphStats,
    /// Recall by margin, as measured when the index was built.
    pub calibration: Calibration,
    /// Bytes of vectors in memory; 0 where they are mapped.
    pub vectors_memory: u64,
    /// Bytes of codes and graph in memory; of a mapped index nearly nothing.
    pub index_memory: u64,
    /// Bytes of ids in memory.
    pub ids_memory: u64,
}

/// An index of vectors under numbers of your own.
///
/// ```
/// use nearfield::{Breadth, Index, IndexOptions, Metric};
///
/// let index = Index::new(2, &IndexOptions::new(Metric::Euclid))?;
/// index.add(Some(&[7, 9]), &[0.0, 0.0, 3.0, 4.0], 1)?;
/// let (mut ids, mut distances) = ([0; 2], [0.0; 2]);
/// assert_eq!(index.search(&[0.1, 0.0], 2, Breadth::Auto, &mut ids, &mut distances)?, 2);
/// assert_eq!(ids, [7, 9]);
/// # Ok::<(), nearfield::Error>(())
/// ```
///
/// # Concurrency
///
/// Any number of threads may search while one adds; adding, removing and saving wait for one another.
pub struct Index {
    shape: Shape,
    options: IndexOptions,
    held: Held,
    ids: Ids,
}

/// Where rows and index are.
enum Held {
    /// In memory, and growing.
    Memory {
        rows: Arc<GrowingRows>,
        index: ArcSwap<GrowingIndex>,
        /// Held by whoever changes the index.
        writer: Mutex<GrowingWriter>,
        /// Rows of the last whole build.
        built: AtomicU32,
    },
    /// In mapped files.
    Mapped(Box<Mapped>),
}

/// Rows and index of a saved folder.
struct Mapped {
    rows: SealedRows,
    index: SealedIndex,
}

impl Index {
    /// An empty index of vectors of `dim` values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a value outside its limits.
    pub fn new(dim: u32, options: &IndexOptions) -> Result<Index> {
        let shape =
            Shape::new(dim, options.metric, Element::F32).map_err(|e| Error::invalid(e.to_string()))?;
        let segment = options.segment()?;
        let (writer, rows) = GrowingRows::create(shape);
        let index = GrowingIndex::new(Arc::clone(&rows), &segment);
        Ok(Index::in_memory(shape, *options, writer, rows, index, Ids::new(), 0))
    }

    fn in_memory(
        shape: Shape,
        options: IndexOptions,
        writer: GrowingWriter,
        rows: Arc<GrowingRows>,
        index: GrowingIndex,
        ids: Ids,
        built: u32,
    ) -> Index {
        let (index, writer) = (ArcSwap::from_pointee(index), Mutex::new(writer));
        let held = Held::Memory { rows, index, writer, built: AtomicU32::new(built) };
        Index { shape, options, held, ids }
    }

    /// Adds the vectors in `rows`, one after another, under `ids`; without ids they are numbered on from the largest there ever
    /// was. An id that is there already is replaced; a search that runs meanwhile may find neither vector. They are linked by
    /// `threads` threads, 0 for one a core, and can be found when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if lengths do not fit or a value is not finite, [`ErrorKind::Full`] past 2^31 rows or the last number,
    /// [`ErrorKind::Unsupported`] for a mapped index. Nothing was added then.
    pub fn add(&self, ids: Option<&[u64]>, rows: &[f32], threads: usize) -> Result<()> {
        let Held::Memory { rows: stored, index, writer, built } = &self.held else { return Err(read_only()) };
        let count = self.check_rows(rows)?;
        if let Some(ids) = ids {
            check_ids(ids, count)?;
        }
        let mut writer = writer.lock();
        if writer.len() as usize + count > SEGMENT_ROWS_MAX {
            let text = format!("{count} rows on top of {} are more than {SEGMENT_ROWS_MAX}", writer.len());
            return Err(Error::new(ErrorKind::Full, text));
        }
        if ids.is_none() && !self.ids.can_number(count) {
            let text =
                format!("{count} rows without ids cannot be numbered on: the largest id is too near 2^64");
            return Err(Error::new(ErrorKind::Full, text));
        }
        // The ids first: a search that runs meanwhile must find the id of every row that it finds.
        self.ids.append(writer.len(), count, ids);
        for row in rows.chunks_exact(self.dim() as usize) {
            writer.push(Some(row)).map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        }
        let threads = if threads == 0 { cores() } else { threads };
        let (total, before) = (stored.len(), built.load(Ordering::Relaxed));
        if total >= BUILD_ROWS_MIN && total - before >= before {
            let options = self.options.segment()?;
            let made = build(&**stored, None, &options, 0, threads, &|_, _, _| Ok(())).map_err(unreadable)?;
            index.store(Arc::new(GrowingIndex::from_built(Arc::clone(stored), made, total)));
            built.store(total, Ordering::Relaxed);
        }
        index.load().catch_up(u32::MAX, threads).map_err(unreadable)?;
        Ok(())
    }

    /// Removes vectors and returns how many of `ids` there were.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a mapped index.
    pub fn remove(&self, ids: &[u64]) -> Result<usize> {
        let Held::Memory { writer, .. } = &self.held else { return Err(read_only()) };
        let _writer = writer.lock();
        Ok(self.ids.remove(ids))
    }

    /// The vector of an id, as it was added.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if its bytes are damaged.
    pub fn get(&self, id: u64) -> Result<Option<Vec<f32>>> {
        let Some(slot) = self.ids.slot(id) else { return Ok(None) };
        let mut found = None;
        let read = self.rows().read_many(&[slot], &mut |_, row| found = row.map(<[f32]>::to_vec));
        read.map_err(|e| {
            Error::caused(ErrorKind::Corrupt, format!("the vector of id {id} cannot be read"), e)
        })?;
        Ok(found)
    }

    /// Whether there is a vector of this id.
    pub fn contains(&self, id: u64) -> bool {
        self.ids.slot(id).is_some()
    }

    /// How many vectors there are.
    pub fn len(&self) -> u64 {
        self.ids.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values of a vector.
    pub fn dim(&self) -> u32 {
        self.shape.dim()
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.shape.metric()
    }

    /// How it was built.
    pub fn options(&self) -> &IndexOptions {
        &self.options
    }

    /// True where it was opened by [`Index::view`] and cannot be changed.
    pub fn is_mapped(&self) -> bool {
        matches!(self.held, Held::Mapped(_))
    }

    /// Figures. O(n m).
    pub fn stats(&self) -> IndexStats {
        let (graph, calibration, codes, unlinked, index_memory) = match &self.held {
            Held::Memory { index, .. } => {
                let index = index.load();
                let calibration = index.calibration().cloned();
                let has_codes = index.codes().is_some();
                (index.graph().stats(), calibration, has_codes, index.backlog(), index.memory())
            }
            Held::Mapped(mapped) => {
                let index = &mapped.index;
                let has_codes = index.codes().is_some();
                (index.graph().stats(), Some(index.calibration().clone()), has_codes, 0, index.memory())
            }
        };
        let tier = if codes { Tier::Coarse } else { Tier::Exact };
        let calibration =
            calibration.unwrap_or(Calibration { tier, has_codes: codes, longest: 0.0, points: Vec::new() });
        IndexStats {
            len: self.len(),
            dead: self.ids.dead(),
            unlinked: unlinked.into(),
            dim: self.dim(),
            metric: self.metric(),
            tier: calibration.tier,
            graph,
            calibration,
            vectors_memory: self.rows().memory(),
            index_memory,
            ids_memory: self.ids.memory(),
        }
    }

    fn rows(&self) -> &dyn VectorStore {
        match &self.held {
            Held::Memory { rows, .. } => &**rows,
            Held::Mapped(mapped) => &mapped.rows,
        }
    }

    /// How many vectors `rows` holds, once every value was looked at.
    fn check_rows(&self, rows: &[f32]) -> Result<usize> {
        let dim = self.dim() as usize;
        if !rows.len().is_multiple_of(dim) {
            let text =
                format!("vectors hold {} values, which is no multiple of the dimension {dim}", rows.len());
            return Err(Error::invalid(text));
        }
        match rows.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                let text =
                    format!("vector {} has a value at index {} that is NaN or infinite", at / dim, at % dim);
                Err(Error::invalid(text))
            }
            None => Ok(rows.len() / dim),
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} vectors, {} dimensions, {})", self.len(), self.dim(), self.metric())
    }
}

fn check_ids(ids: &[u64], count: usize) -> Result<()> {
    if ids.len() != count {
        return Err(Error::invalid(format!("{} ids for {count} vectors", ids.len())));
    }
    match ids.iter().position(|&id| id == ids::NO_ID) {
        Some(at) => Err(Error::invalid(format!("id {at} is {}: that number means no id", ids::NO_ID))),
        None => Ok(()),
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "the index is a view of files: open it with load to change it")
}

fn unreadable(stopped: Stopped) -> Error {
    Error::new(ErrorKind::Internal, format!("rows in memory could not be linked: {stopped}"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests;
