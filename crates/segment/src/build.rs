//! Building the index of rows that do not change: codes, graph, the last pass over it, and the measurement of what it finds (`trial`).
//!
//! It refuses to know where rows and files are: it reads a [`VectorStore`] and hands back what was built.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nearfield_ann::Stopped;
use nearfield_codec::{Container, Region};
use nearfield_hnsw::{Graph, GraphView, Linker, Stage};
use nearfield_quant::{CodeRow, Codec, Codes, CodesWriter, GrowingCodes, SealedCodes, write_codes};
use nearfield_types::Slot;
use nearfield_vectors::VectorStore;
use parking_lot::Mutex;

use crate::calibration::Calibration;
use crate::index::{IndexOptions, SealedIndex, Target};
use crate::partitions::{BuiltPartition, Partition};
use crate::trial::{Subject, Trial, measure};

/// Rows read at a time while encoding.
pub(crate) const READ_ROWS: u32 = 64;
const SAMPLE_ROWS: u32 = 4_096;

/// What a build is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildPhase {
    /// Codes are made.
    Encode,
    /// Rows are linked.
    Link,
    /// Rows are linked anew, knowing all others.
    Refine,
    /// Recall is measured.
    Measure,
}

/// Told of progress: rows done of rows in all, in a phase. An error stops the build.
pub type Watch<'a> = dyn Fn(BuildPhase, u32, u32) -> Result<(), Stopped> + Sync + 'a;

/// A graph whose links are taken over.
pub struct Source<'a> {
    /// The graph.
    pub graph: &'a GraphView,
    /// The new slot of each of its slots; `None` for what is dead.
    pub moved: &'a (dyn Fn(Slot) -> Option<Slot> + Sync),
}

/// What finished indexes leave to the index of rows that come from them.
pub struct Inheritance<'a> {
    /// Their graphs, the largest first, built with the same parameters as the new one.
    pub graphs: &'a [Source<'a>],
    /// Their codes.
    pub codes: Option<CodeSource<'a>>,
}

/// Codes that are copied.
pub struct CodeSource<'a> {
    /// What made them, and makes those that are missing.
    pub codec: &'a Arc<Codec>,
    /// The code of a row; `None` where there is none of this codec.
    pub code: &'a (dyn Fn(Slot) -> Option<CodeRow<'a>> + Sync),
}

/// What a build made.
pub struct Built {
    /// The codes and what adds to them, where there are any.
    pub codes: Option<(CodesWriter, Arc<GrowingCodes>)>,
    /// The graph.
    pub graph: Graph,
    /// What was measured of it.
    pub calibration: Calibration,
}

impl Built {
    /// The index, in memory.
    pub fn into_index(self) -> SealedIndex {
        let codes = self.codes.map(|(_, codes)| Box::new(Shared(codes)) as Box<dyn Codes>);
        SealedIndex::new(codes, GraphView::of(&self.graph), self.calibration)
    }

    /// The codes.
    pub fn codes(&self) -> Option<&dyn Codes> {
        self.codes.as_ref().map(|(_, codes)| &**codes as &dyn Codes)
    }
}

/// Codes that are held by others too.
pub(crate) struct Shared(pub(crate) Arc<GrowingCodes>);

impl Codes for Shared {
    fn codec(&self) -> &Arc<Codec> {
        self.0.codec()
    }

    fn rows(&self) -> nearfield_quant::Rows<'_> {
        self.0.rows()
    }

    fn memory(&self) -> u64 {
        self.0.memory()
    }
}

/// Builds the index of `rows` on so many threads, taking over the links of `source`. `epoch` is written into the codec.
///
/// # Errors
///
/// [`Stopped`] if a row cannot be read or `watch` said so.
///
/// # Complexity
///
/// About `ef_construction * m` distances by code a row, and as many again for the last pass; a row taken over costs a tenth of that.
pub fn build(
    rows: &dyn VectorStore,
    source: Option<&Source<'_>>,
    options: &IndexOptions,
    epoch: u32,
    threads: usize,
    watch: &Watch<'_>,
) -> Result<Built, Stopped> {
    let codes = encode(rows, options, epoch, watch)?;
    let mut work = Work::new(rows, codes, options, threads, watch);
    let sources = source.map_or(&[][..], std::slice::from_ref);
    let taken = work.take_over(sources)?;
    work.link(&taken)?;
    work.refine(0..rows.len())?;
    work.finish()
}

/// Builds the index of `rows`, which come from several segments, out of the indexes of these. Rows of their graphs are not chosen anew
/// save where they lost neighbours or gain some.
///
/// # Errors
///
/// As [`build`].
///
/// # Complexity
///
/// A row of the first graph costs a copy, one of the others about a fifth of what building costs, one of none as much as building.
pub fn build_merged(
    rows: &dyn VectorStore,
    inheritance: &Inheritance<'_>,
    options: &IndexOptions,
    epoch: u32,
    threads: usize,
    watch: &Watch<'_>,
) -> Result<Built, Stopped> {
    let codes = match &inheritance.codes {
        Some(source) => Some(copy_codes(rows, source, watch)?),
        None => encode(rows, options, epoch, watch)?,
    };
    let mut work = Work::new(rows, codes, options, threads, watch);
    let taken = work.take_over(inheritance.graphs)?;
    work.link(&taken)?;
    let fresh = (0..rows.len()).filter(|&slot| !is_taken(&taken, Slot(slot)));
    let fresh: Vec<u32> = fresh.collect();
    match fresh.len() {
        0 => work.progress(BuildPhase::Refine).all_done()?,
        // So many change nearly every row.
        many if many > rows.len() as usize / 4 => work.refine(0..rows.len())?,
        _ => work.refine(fresh.into_iter())?,
    }
    work.finish()
}

fn is_taken(taken: &[bool], slot: Slot) -> bool {
    taken.get(slot.index()).is_some_and(|&taken| taken)
}

/// A build under way.
struct Work<'a> {
    rows: &'a dyn VectorStore,
    built: Built,
    /// The codes in one piece, which are scored faster.
    packed: Option<SealedCodes>,
    linkers: Vec<Linker>,
    threads: usize,
    watch: &'a Watch<'a>,
}

impl<'a> Work<'a> {
    fn new(
        rows: &'a dyn VectorStore,
        codes: Option<(CodesWriter, Arc<GrowingCodes>)>,
        options: &IndexOptions,
        threads: usize,
        watch: &'a Watch<'a>,
    ) -> Work<'a> {
        let graph = Graph::new(options.graph(rows.shape().metric()));
        let built = Built { codes, graph, calibration: Calibration::default() };
        let packed = built.codes().and_then(pack);
        Work { rows, built, packed, linkers: Vec::new(), threads, watch }
    }

    fn progress(&self, phase: BuildPhase) -> Progress<'a> {
        Progress { watch: self.watch, phase, done: AtomicU32::new(0), all: self.rows.len() }
    }

    /// Takes the nodes of `sources` over; returns which slots are linked then. Graphs of other parameters are left aside.
    fn take_over(&mut self, sources: &[Source<'_>]) -> Result<Vec<bool>, Stopped> {
        let mut taken = vec![false; if sources.is_empty() { 0 } else { self.rows.len() as usize }];
        let link = self.progress(BuildPhase::Link);
        let Work { rows, built, packed, linkers, threads, .. } = self;
        let target = target(*rows, built, packed.as_ref());
        let linkers = Mutex::new(linkers);
        for source in sources.iter().filter(|source| source.graph.params() == built.graph.params()) {
            let each = |stage: Stage, count: u32, step: &nearfield_hnsw::Step<'_>| {
                target.each_number(0..count, *threads, &mut linkers.lock(), &|at, scorers, linker| {
                    step(at, scorers, linker)?;
                    match stage {
                        Stage::Choose => link.one(),
                        // The others are short, and may be given up too.
                        _ if at.is_multiple_of(1_024) => link.more(0),
                        _ => Ok(()),
                    }
                })
            };
            let adopted = built.graph.adopt(source.graph, source.moved, &each)?;
            adopted.slots.iter().for_each(|slot| taken[slot.index()] = true);
            link.more(adopted.slots.len() as u32 - adopted.chosen.min(adopted.slots.len() as u32))?;
        }
        Ok(taken)
    }

    /// Links every row that was not taken over.
    fn link(&mut self, taken: &[bool]) -> Result<(), Stopped> {
        let link = self.progress(BuildPhase::Link);
        link.done.store(taken.iter().filter(|&&taken| taken).count() as u32, Ordering::Relaxed);
        let Work { rows, built, packed, linkers, threads, .. } = self;
        let target = target(*rows, built, packed.as_ref());
        target.each(0..rows.len(), *threads, linkers, &|slot, scorers, linker| {
            if is_taken(taken, slot) {
                return Ok(());
            }
            built.graph.link(slot, scorers, linker)?;
            link.one()
        })
    }

    /// The last pass, over these slots and those that they come to be named by.
    fn refine(&mut self, slots: impl Iterator<Item = u32>) -> Result<(), Stopped> {
        let progress = self.progress(BuildPhase::Refine);
        let Work { rows, built, packed, linkers, threads, .. } = self;
        let slots: Vec<u32> = slots.filter(|&slot| rows.is_present(Slot(slot))).collect();
        let target = target(*rows, built, packed.as_ref());
        let pass = built.graph.refine();
        target.each_number(0..slots.len() as u32, *threads, linkers, &|at, scorers, linker| {
            pass.forward(Slot(slots[at as usize]), scorers, linker)?;
            progress.one()
        })?;
        let pass = pass.turn();
        let targets = pass.targets();
        target.each_number(0..targets.len() as u32, *threads, linkers, &|at, scorers, linker| {
            pass.settle(targets[at as usize], scorers, linker)
        })?;
        progress.all_done()
    }

    /// Makes all rows reachable and measures what walks find.
    fn finish(self) -> Result<Built, Stopped> {
        let target = target(self.rows, &self.built, self.packed.as_ref());
        target
            .with_scorers(&mut |scorers| self.built.graph.reconnect(scorers, &mut Linker::new()).map(drop))?;
        let measured = self.progress(BuildPhase::Measure);
        let calibration = measure(self.rows, &self.built, self.threads, &measured)?;
        Ok(Built { calibration, ..self.built })
    }
}

fn target<'a>(rows: &'a dyn VectorStore, built: &'a Built, packed: Option<&'a SealedCodes>) -> Target<'a> {
    let packed = packed.map(|codes| codes as &dyn Codes);
    Target { rows, codes: packed.or(built.codes()), first: 0 }
}

/// Builds a graph over each of these runs of the rows that `built` was built of, on the same codes. Slots of each are counted from its first
/// row.
///
/// # Errors
///
/// As [`build`].
///
/// # Complexity
///
/// As [`build`]. Margins are measured for each: in a smaller graph narrower ones find as much.
pub fn build_partitions(
    rows: &dyn VectorStore,
    built: &Built,
    runs: &[Range<u32>],
    options: &IndexOptions,
    threads: usize,
    watch: &Watch<'_>,
) -> Result<Vec<BuiltPartition>, Stopped> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let packed = built.codes().and_then(pack);
    let codes = packed.as_ref().map(|codes| codes as &dyn Codes).or(built.codes());
    let all = runs.iter().map(|run| run.end - run.start).sum();
    let counted = |phase| Progress { watch, phase, done: AtomicU32::new(0), all };
    let (link, again) = (counted(BuildPhase::Link), counted(BuildPhase::Refine));
    let measured = counted(BuildPhase::Measure);
    let mut partitions = Vec::with_capacity(runs.len());
    for run in runs {
        let mut linkers = Vec::new();
        let target = Target { rows, codes, first: run.start };
        let graph = Graph::new(options.graph(rows.shape().metric()));
        target.each(0..run.end - run.start, threads, &mut linkers, &|slot, scorers, linker| {
            graph.link(slot, scorers, linker)?;
            link.one()
        })?;
        refine(&graph, &target, threads, &mut linkers, &again)?;
        let partition = Partition::of(run.clone(), &graph);
        let subject = Subject { rows, codes: built.codes(), graph: &partition, range: run.clone() };
        let plain = Calibration { points: Vec::new(), ..built.calibration.clone() };
        let calibration = Trial::new(subject, threads)?.curve(plain, threads, &measured)?;
        let written = nearfield_hnsw::format::write(&graph, &calibration.encode(), Vec::new());
        // Memory takes what is written to it.
        let (graph, _) = written.map_err(|_| Stopped::Unreadable)?;
        partitions.push(BuiltPartition { rows: run.clone(), graph });
    }
    Ok(partitions)
}

/// Counts what is done and tells of it now and then.
pub(crate) struct Progress<'a> {
    pub(crate) watch: &'a Watch<'a>,
    pub(crate) phase: BuildPhase,
    done: AtomicU32,
    all: u32,
}

impl Progress<'_> {
    /// One more is done.
    fn one(&self) -> Result<(), Stopped> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(256) || done == self.all {
            (self.watch)(self.phase, done.min(self.all), self.all)
        } else {
            Ok(())
        }
    }

    /// So many more are done.
    fn more(&self, count: u32) -> Result<(), Stopped> {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        (self.watch)(self.phase, done.min(self.all), self.all)
    }

    fn all_done(&self) -> Result<(), Stopped> {
        (self.watch)(self.phase, self.all, self.all)
    }
}

fn encode(
    rows: &dyn VectorStore,
    options: &IndexOptions,
    epoch: u32,
    watch: &Watch<'_>,
) -> Result<Option<(CodesWriter, Arc<GrowingCodes>)>, Stopped> {
    let len = rows.len();
    let step = len.div_ceil(SAMPLE_ROWS).max(1);
    let spread: Vec<Slot> = (0..len).step_by(step as usize).map(Slot).collect();
    let mut sample: Vec<Vec<f32>> = Vec::new();
    read(rows, &spread, &mut |row| sample.extend(row.map(<[f32]>::to_vec)))?;
    let Some(codec) = options.codec(rows.shape(), sample.iter().map(Vec::as_slice), epoch) else {
        return Ok(None);
    };
    let (mut writer, codes) = GrowingCodes::create(Arc::new(codec));
    for first in (0..len).step_by(READ_ROWS as usize) {
        let slots: Vec<Slot> = (first..len.min(first + READ_ROWS)).map(Slot).collect();
        read(rows, &slots, &mut |row| {
            writer.push(row);
        })?;
        if first % (256 * READ_ROWS) == 0 {
            watch(BuildPhase::Encode, first, len)?;
        }
    }
    Ok(Some((writer, codes)))
}

/// Copies the codes that there are and makes those that are missing.
fn copy_codes(
    rows: &dyn VectorStore,
    source: &CodeSource<'_>,
    watch: &Watch<'_>,
) -> Result<(CodesWriter, Arc<GrowingCodes>), Stopped> {
    let (mut writer, codes) = GrowingCodes::create(Arc::clone(source.codec));
    for slot in (0..rows.len()).map(Slot) {
        match (source.code)(slot) {
            Some(code) => {
                writer.push_code(code);
            }
            None => read(rows, &[slot], &mut |row| {
                writer.push(row);
            })?,
        }
        if slot.0.is_multiple_of(256 * READ_ROWS) {
            watch(BuildPhase::Encode, slot.0, rows.len())?;
        }
    }
    Ok((writer, codes))
}

/// A copy in one piece, which is scored faster than chunks are. Where it cannot be had, the chunks do.
fn pack(codes: &dyn Codes) -> Option<SealedCodes> {
    let written = write_codes(Vec::new(), codes.codec(), codes.len(), |slot| codes.row(Slot(slot)));
    let region = Region::from(written.ok()?.0);
    SealedCodes::open(&Container::open(region, nearfield_quant::format::TAG).ok()?).ok()
}

pub(crate) fn read(
    rows: &dyn VectorStore,
    slots: &[Slot],
    visit: &mut dyn FnMut(Option<&[f32]>),
) -> Result<(), Stopped> {
    rows.read_many(slots, &mut |_, row| visit(row)).map_err(|error| match error {
        nearfield_platform::BlobError::Damaged(_) => Stopped::Damaged,
        _ => Stopped::Unreadable,
    })
}

fn refine(
    graph: &Graph,
    target: &Target<'_>,
    threads: usize,
    linkers: &mut Vec<Linker>,
    progress: &Progress<'_>,
) -> Result<(), Stopped> {
    let slots = 0..graph.len();
    let pass = graph.refine();
    target.each(slots.clone(), threads, linkers, &|slot, scorers, linker| {
        pass.forward(slot, scorers, linker)?;
        progress.one()
    })?;
    let pass = pass.turn();
    target.each(slots, threads, linkers, &|slot, scorers, linker| pass.settle(slot, scorers, linker))?;
    target.with_scorers(&mut |scorers| graph.reconnect(scorers, &mut Linker::new()).map(drop))
}
