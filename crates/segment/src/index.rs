//! The index of one vector of one segment: codes and a graph over them, growing with the rows or written beside them.
//!
//! It is derived from the rows: losing it costs time, never data. It refuses to decide when to build, and to start threads of its
//! own beyond those it is told to use.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nearfield_ann::{
    AdmitAll, Budget, BuildScorer, BySlot, Flat, Hit, Scorer, Scratch, Search, Stopped, TopK, VectorIndex,
};
use nearfield_hnsw::{Geometry, Graph, GraphView, Linker, Params, Scorers};
use nearfield_platform::on_threads;
use nearfield_quant::{
    Choice, Codec, CodecConfig, Codes, CodesWriter, GrowingCodes, Precision, Quantizer, ScalarConfig, choose,
};
use nearfield_types::{Metric, Slot};
use nearfield_vectors::{GrowingRows, RowBuildScorer, Shape, VectorStore, distance};
use parking_lot::Mutex;

use crate::build::Built;
use crate::calibration::Calibration;
use crate::field::{Field, length};
use crate::partitions::{Partitions, Shifted};

/// Rows that choosing a codec looks at.
const SAMPLE_ROWS: u32 = 4_096;
/// Rows that a thread takes at a time.
const PORTION: u32 = 32;

/// What the vectors of an index are walked by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Quantization {
    /// Chosen by metric and dimension.
    #[default]
    Auto,
    /// The rotated 4 + 4 bit code.
    Rotated,
    /// One 7-bit number a value, on a grid that spans this share of the values.
    Scalar {
        /// The share, above 0 and at most 1; 0.99 is usual.
        quantile: f32,
    },
    /// The vectors themselves.
    None,
}

/// How indexes are built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexOptions {
    /// The graph.
    pub params: Params,
    /// The codes.
    pub quantization: Quantization,
    /// Seeds the rotation.
    pub seed: u64,
}

impl IndexOptions {
    /// The same with codes that need to know nothing of the rows to come.
    fn while_growing(&self) -> IndexOptions {
        let quantization = match self.quantization {
            Quantization::Scalar { .. } => Quantization::Auto,
            other => other,
        };
        IndexOptions { quantization, ..*self }
    }

    /// The codec for these vectors; `None` to walk on the vectors themselves.
    pub(crate) fn codec<'r>(
        &self,
        shape: Shape,
        sample: impl Iterator<Item = &'r [f32]> + Clone,
        epoch: u32,
    ) -> Option<Codec> {
        let (dim, metric) = (shape.dim(), shape.metric());
        let config = match self.quantization {
            Quantization::None => return None,
            Quantization::Scalar { quantile } if metric != Metric::Manhattan => {
                let config = ScalarConfig::from_sample(dim, metric, quantile, sample.clone());
                CodecConfig::Scalar(ScalarConfig { epoch, ..config })
            }
            _ => match choose(metric, shape.element().bytes(), dim, sample.clone(), self.seed, epoch) {
                Choice::Codec(config) => config,
                Choice::Exact => return None,
            },
        };
        // A sample can make a scalar grid without extent: then the vectors are all but equal, and are walked themselves.
        Codec::new(config).ok().filter(|codec| suits(codec, shape, sample))
    }
}

/// Rows and queries of the test whether codes suit the data.
const TRIAL_ROWS: usize = 1_024;
const TRIAL_QUERIES: usize = 48;
/// So many of the nearest rows, and where they must be found among the nearest codes.
const TRIAL_NEAREST: usize = 10;
const TRIAL_KEPT: usize = 20;
/// The least share of them that must be found there.
const TRIAL_RECALL: f32 = 0.97;

/// True unless the finest scores of the codec lose the nearest rows of the sample: of data with values of very unlike size, say.
/// Asked before linking, because a graph chosen by bad scores is a bad graph.
fn suits<'r>(codec: &Codec, shape: Shape, sample: impl Iterator<Item = &'r [f32]>) -> bool {
    let sample: Vec<&[f32]> = sample.collect();
    let step = sample.len().div_ceil(TRIAL_ROWS).max(1);
    let sample: Vec<&[f32]> = sample.into_iter().step_by(step).collect();
    if sample.len() < 4 * TRIAL_KEPT {
        return true;
    }
    let (mut writer, codes) = GrowingCodes::create(Arc::new(codec.clone()));
    let (mut rows_writer, rows) = GrowingRows::create(shape);
    for row in &sample {
        writer.push(Some(row));
        if rows_writer.push(Some(row)).is_err() {
            return true;
        }
    }
    let (mut found, mut all) = (0, 0);
    for query in sample.iter().step_by(sample.len().div_ceil(TRIAL_QUERIES)) {
        let (Ok(prepared), Ok(mut exact)) = (codes.query(query), rows.scorer(query)) else { return true };
        let scan = |scorer: &mut dyn Scorer, k| {
            let (budget, mut best) = (Budget::unlimited(), TopK::new(k, &BySlot));
            let question = Search::new(scorer, &AdmitAll, &budget);
            let scanned = Flat::new(rows.len()).search(question, &mut Scratch::new(), &mut best);
            scanned.map(|_| best.into_sorted())
        };
        let Ok(nearest) = scan(&mut *exact, TRIAL_NEAREST) else { return true };
        let Ok(kept) = scan(&mut codes.scorer(&prepared, Precision::Fine), TRIAL_KEPT) else { return true };
        // Rows as near as the last one kept are as good as it: data may hold a row many times.
        let farthest =
            kept.iter().filter_map(|hit| Some(distance(shape.metric(), query, rows.row(hit.slot)?)));
        let farthest = farthest.filter_map(Result::ok).fold(f32::MIN, f32::max);
        let is_kept = |hit: &&Hit| hit.score >= farthest || kept.iter().any(|kept| kept.slot == hit.slot);
        found += nearest.iter().filter(is_kept).count();
        all += nearest.len();
    }
    found as f32 >= TRIAL_RECALL * all as f32
}

impl IndexOptions {
    /// The parameters of a graph over vectors compared by `metric`.
    pub(crate) fn graph(&self, metric: Metric) -> Params {
        self.params.with_geometry(if metric == Metric::Dot { Geometry::Product } else { Geometry::Distance })
    }
}

/// The index of a growing segment: it follows the rows.
pub struct GrowingIndex {
    rows: Arc<GrowingRows>,
    codes: Option<Arc<GrowingCodes>>,
    graph: Graph,
    /// Slots below are in the graph, if they have a vector.
    linked: AtomicU32,
    /// Held by whoever links.
    linking: Mutex<Linking>,
    /// What was measured when the index was built, if it was.
    calibration: Option<Calibration>,
    /// The bits of the length of the longest row linked, where scores are products; else 0. Lengths order as their bits do.
    longest: AtomicU32,
}

struct Linking {
    codes: Option<CodesWriter>,
    linkers: Vec<Linker>,
}

impl GrowingIndex {
    /// The index of `rows`, without anything linked yet. Codes are those that suit the rows there are now; scalar ones wait until the
    /// rows are sealed, because a grid chosen by the first rows would cut off what lies beyond them in later ones.
    pub fn new(rows: Arc<GrowingRows>, options: &IndexOptions) -> GrowingIndex {
        let sample = (0..rows.len().min(SAMPLE_ROWS)).filter_map(|slot| rows.row(Slot(slot)));
        let codec = options.while_growing().codec(rows.shape(), sample, 0);
        let (writer, codes) = codec.map(|codec| GrowingCodes::create(Arc::new(codec))).unzip();
        let graph = Graph::new(options.graph(rows.shape().metric()));
        GrowingIndex {
            rows,
            codes,
            graph,
            linked: AtomicU32::new(0),
            linking: Mutex::new(Linking { codes: writer, linkers: Vec::new() }),
            calibration: None,
            longest: AtomicU32::new(0),
        }
    }

    /// The index of `rows` as it was saved: a copy in memory that goes on growing. The rows are those it was built of.
    ///
    /// # Errors
    ///
    /// What a scorer returned: rows in memory return nothing.
    pub fn from_sealed(rows: Arc<GrowingRows>, sealed: &SealedIndex) -> Result<GrowingIndex, Stopped> {
        let codes = sealed.codes().map(|codes| {
            let (mut writer, copy) = GrowingCodes::create(Arc::clone(codes.codec()));
            let all = codes.rows();
            for code in (0..codes.len()).filter_map(|slot| all.row(Slot(slot))) {
                writer.push_code(code);
            }
            (writer, copy)
        });
        let mut graph = Err(Stopped::Unreadable);
        let codes_of = codes.as_ref().map(|(_, codes)| &**codes as &dyn Codes);
        let target = Target { rows: &*rows, codes: codes_of, first: 0 };
        target.with_scorers(&mut |scorers| {
            graph = Graph::restore(sealed.graph(), scorers);
            Ok(())
        })?;
        let built = Built { codes, graph: graph?, calibration: sealed.calibration().clone() };
        let linked = rows.len();
        Ok(GrowingIndex::from_built(rows, built, linked))
    }

    /// Goes on with an index that was built of the first `linked` rows.
    pub fn from_built(rows: Arc<GrowingRows>, built: Built, linked: u32) -> GrowingIndex {
        let (writer, codes) = built.codes.unzip();
        GrowingIndex {
            rows,
            codes,
            graph: built.graph,
            linked: AtomicU32::new(linked),
            linking: Mutex::new(Linking { codes: writer, linkers: Vec::new() }),
            longest: AtomicU32::new(built.calibration.longest.to_bits()),
            calibration: Some(built.calibration),
        }
    }

    /// What was measured when it was built, if it was.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The codes, where there are any.
    pub fn codes(&self) -> Option<&dyn Codes> {
        self.codes.as_deref().map(|codes| codes as &dyn Codes)
    }

    /// Rows that there are.
    pub(crate) fn rows(&self) -> u32 {
        self.rows.len()
    }

    /// Bytes that a scan reads for a row.
    pub(crate) fn row_bytes(&self) -> u64 {
        match &self.codes {
            Some(codes) => codes.codec().layout().bytes() as u64,
            None => self.rows.shape().row_bytes() as u64,
        }
    }

    /// Rows that are not linked yet: searches scan them.
    pub fn backlog(&self) -> u32 {
        self.rows.len() - self.linked.load(Ordering::Acquire).min(self.rows.len())
    }

    /// Encodes every row there is and links at most `max` of those that are not linked, on so many threads. Returns how many are
    /// left. One caller at a time does the work; another one waits.
    ///
    /// # Errors
    ///
    /// What a scorer returned: rows in memory return nothing.
    pub fn catch_up(&self, max: u32, threads: usize) -> Result<u32, Stopped> {
        let mut linking = self.linking.lock();
        let end = self.rows.len();
        if let Some(writer) = &mut linking.codes {
            for slot in writer.len()..end {
                writer.push(self.rows.row(Slot(slot)));
            }
        }
        let begin = self.linked.load(Ordering::Acquire);
        let end = end.min(begin.saturating_add(max));
        self.note_lengths(begin..end);
        let codes = self.codes.as_deref().map(|codes| codes as &dyn Codes);
        let target = Target { rows: &*self.rows, codes, first: 0 };
        target.each(begin..end, threads, &mut linking.linkers, &|slot, scorers, linker| {
            self.graph.link(slot, scorers, linker)
        })?;
        self.linked.store(end, Ordering::Release);
        Ok(self.backlog())
    }

    /// Notes how long these rows are, before any walk can meet them: a margin is measured from the lowest product there can be.
    fn note_lengths(&self, slots: Range<u32>) {
        if self.rows.shape().metric() == Metric::Dot {
            for row in slots.filter_map(|slot| self.rows.row(Slot(slot))) {
                self.longest.fetch_max(length(row).to_bits(), Ordering::Relaxed);
            }
        }
    }

    /// The rows and what makes searching them fast.
    pub fn field(&self) -> Field<'_> {
        // The watermark first: whatever is below it is linked, and has its code.
        let linked = self.linked.load(Ordering::Acquire);
        Field {
            rows: &*self.rows,
            codes: self.codes.as_deref().map(|codes| codes as &dyn Codes),
            graph: Some(&self.graph),
            linked,
            calibration: self.calibration.as_ref(),
            longest: f32::from_bits(self.longest.load(Ordering::Relaxed)),
            hidden: &[],
        }
    }

    /// Bytes of memory held by codes and graph.
    pub fn memory(&self) -> u64 {
        self.codes.as_ref().map_or(0, |codes| codes.memory()) + self.graph.memory()
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

impl fmt::Debug for GrowingIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrowingIndex({:?}, {} not linked)", self.graph, self.backlog())
    }
}

/// Rows and their codes, to be linked.
pub(crate) struct Target<'a> {
    pub(crate) rows: &'a dyn VectorStore,
    pub(crate) codes: Option<&'a dyn Codes>,
    /// Slots are counted from this row.
    pub(crate) first: u32,
}

/// One step for one slot.
pub(crate) type Step<'a> = dyn Fn(Slot, &mut Scorers<'_>, &mut Linker) -> Result<(), Stopped> + Sync + 'a;

impl Target<'_> {
    /// Calls `step` once for every slot of `slots` that has a vector, on so many threads.
    ///
    /// With one thread the slots come in order.
    pub(crate) fn each(
        &self,
        slots: Range<u32>,
        threads: usize,
        linkers: &mut Vec<Linker>,
        step: &Step<'_>,
    ) -> Result<(), Stopped> {
        self.each_number(slots, threads, linkers, &|slot, scorers, linker| {
            if self.rows.is_present(Slot(self.first + slot)) {
                step(Slot(slot), scorers, linker)
            } else {
                Ok(())
            }
        })
    }

    /// Calls `step` once for every one of `numbers`, on so many threads.
    ///
    /// With one thread the numbers come in order.
    pub(crate) fn each_number(
        &self,
        numbers: Range<u32>,
        threads: usize,
        linkers: &mut Vec<Linker>,
        step: &nearfield_hnsw::Step<'_>,
    ) -> Result<(), Stopped> {
        let threads = threads.clamp(1, numbers.len().div_ceil(PORTION as usize).max(1));
        linkers.resize_with(linkers.len().max(threads), Linker::new);
        let linkers: Vec<Mutex<&mut Linker>> = linkers.iter_mut().map(Mutex::new).collect();
        let next = AtomicU64::new(numbers.start.into());
        let failed = Mutex::new(None);
        on_threads(threads, &|number| {
            let mut linker = linkers[number].lock();
            let done = self.with_scorers(&mut |scorers| {
                loop {
                    let first = next.fetch_add(PORTION.into(), Ordering::Relaxed);
                    let portion = first..(first + u64::from(PORTION)).min(numbers.end.into());
                    if portion.is_empty() || failed.lock().is_some() {
                        return Ok(());
                    }
                    portion.into_iter().try_for_each(|number| step(number as u32, scorers, &mut linker))?;
                }
            });
            if let Err(stopped) = done {
                failed.lock().get_or_insert(stopped);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Calls `work` with the scorers of one thread.
    pub(crate) fn with_scorers(
        &self,
        work: &mut dyn FnMut(&mut Scorers<'_>) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let (mut walk, mut judge): (Box<dyn BuildScorer + '_>, Box<dyn BuildScorer + '_>) = match self.codes {
            Some(codes) => (
                Box::new(codes.build_scorer(Precision::Coarse)),
                Box::new(codes.build_scorer(Precision::Fine)),
            ),
            None => (Box::new(RowBuildScorer::new(self.rows)), Box::new(RowBuildScorer::new(self.rows))),
        };
        let first = self.first;
        let same = |a: Slot, b: Slot| {
            self.codes.is_some_and(|codes| codes.same(Slot(first + a.0), Slot(first + b.0)))
        };
        if first == 0 {
            return work(&mut Scorers { walk: &mut *walk, judge: &mut *judge, same: &same });
        }
        let (mut walk, mut judge) =
            (Shifted { scorer: &mut *walk, first }, Shifted { scorer: &mut *judge, first });
        work(&mut Scorers { walk: &mut walk, judge: &mut judge, same: &same })
    }
}

/// The index of a sealed segment: files beside its rows, or the same bytes in memory.
pub struct SealedIndex {
    codes: Option<Box<dyn Codes>>,
    graph: GraphView,
    calibration: Calibration,
    partitions: Partitions,
    /// Rows from this one on are not in the graph and are scanned.
    linked: u32,
}

impl SealedIndex {
    /// Codes, if it walks on codes, and the graph over them.
    pub(crate) fn new(
        codes: Option<Box<dyn Codes>>,
        graph: GraphView,
        calibration: Calibration,
    ) -> SealedIndex {
        SealedIndex { codes, graph, calibration, partitions: Partitions::default(), linked: u32::MAX }
    }

    /// The same, of whose rows only the first `linked` are in the graph.
    pub(crate) fn linked_to(self, linked: u32) -> SealedIndex {
        SealedIndex { linked, ..self }
    }

    /// How many of `rows` rows are in the graph.
    pub(crate) fn linked(&self, rows: u32) -> u32 {
        self.linked.min(rows)
    }

    /// The same, with graphs over partitions of its rows.
    pub(crate) fn with_partitions(self, partitions: Partitions) -> SealedIndex {
        SealedIndex { partitions, ..self }
    }

    /// The graphs over partitions.
    pub(crate) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Searches `rows`, which it was built of.
    pub fn field<'a>(&'a self, rows: &'a dyn VectorStore) -> Field<'a> {
        Field {
            rows,
            codes: self.codes.as_deref(),
            graph: Some(&self.graph),
            linked: self.linked(rows.len()),
            calibration: Some(&self.calibration),
            longest: self.calibration.longest,
            hidden: &[],
        }
    }

    /// The codes, where there are any.
    pub fn codes(&self) -> Option<&dyn Codes> {
        self.codes.as_deref()
    }

    /// The graph.
    pub fn graph(&self) -> &GraphView {
        &self.graph
    }

    /// What was measured of it.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Bytes of memory held, file maps not counted.
    pub fn memory(&self) -> u64 {
        self.codes.as_ref().map_or(0, |codes| codes.memory())
            + VectorIndex::memory(&self.graph)
            + self.partitions.memory()
    }
}

impl fmt::Debug for SealedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedIndex({:?}, {})", self.graph, self.calibration.tier.name())
    }
}

#[cfg(test)]
mod tests {
    use nearfield_vectors::Element;

    use super::*;

    #[test]
    fn the_longest_row_is_known_as_soon_as_it_is_linked() {
        let options =
            IndexOptions { params: Params::new(4, 16).unwrap(), quantization: Quantization::None, seed: 1 };
        for (metric, expected) in [(Metric::Dot, [0.0, 5.0, 13.0]), (Metric::Euclid, [0.0; 3])] {
            let (mut writer, rows) = GrowingRows::create(Shape::new(2, metric, Element::F32).unwrap());
            let index = GrowingIndex::new(rows, &options);
            let mut longest = vec![index.field().longest];
            for row in [[3.0, 4.0], [-5.0, 12.0]] {
                writer.push(Some(&row)).unwrap();
                index.catch_up(u32::MAX, 1).unwrap();
                longest.push(index.field().longest);
            }
            assert_eq!(longest, expected);
        }
    }
}
