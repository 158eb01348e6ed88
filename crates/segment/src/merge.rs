//! Writing one segment from several sealed ones, as of a Seq.
//!
//! Rows dead by then are left out, patches made by then are folded in. The input with the most living rows comes first, so that its graph
//! keeps its numbers; slots keep their order within an input. With a tenant field, rows of one value of it come together, as in sealing.
//! Deaths and patches that reach the inputs meanwhile are carried onto the output inside the switch of versions.
//!
//! It refuses to choose what is merged, and to name anything in a manifest. Everything is streamed: beside buffers it holds sixteen bytes a row,
//! which say where rows come from and go to, and with a tenant field every distinct value of it once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use nearfield_ann::Stopped;
use nearfield_codec::Summary;
use nearfield_payload::{Path, SealedWriter};
use nearfield_platform::Dir;
use nearfield_quant::Codec;
use nearfield_types::limits::SEGMENT_ROWS_MAX;
use nearfield_types::{Seq, Slot};
use nearfield_vectors::{RowsWriter, WriteError};

use crate::build::{Built, CodeSource, Inheritance, Source, Watch, build_merged};
use crate::changes::{Changes, DROPPED};
use crate::deltas::Delta;
use crate::error::OpenError;
use crate::ids;
use crate::index::IndexOptions;
use crate::partitions::Key;
use crate::seal::write_file;
use crate::sealed::{IDS_FILE, PAYLOAD_FILE, Sealed, SealedFiles, vectors_file};

/// Rows read at a time.
const ROWS_AT_ONCE: usize = 256;
/// A graph of which fewer of a hundred nodes live is not worth healing.
const LIVING_PERCENT_MIN: u64 = 50;

/// Why segments could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The store failed while the new segment was written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An input cannot be read.
    #[error("input {input}: {source}")]
    Input {
        /// Which, counted from 0.
        input: usize,
        /// Why.
        source: OpenError,
    },
    /// The living rows are more than a segment holds.
    #[error("the segments have {rows} living rows: at most {SEGMENT_ROWS_MAX} fit into one")]
    Rows {
        /// How many there are.
        rows: u64,
    },
    /// It was to be given up.
    #[error("merging was given up")]
    Stopped,
}

/// Told of so many more steps: each vector and each payload of a row is one. False gives the merge up.
pub type Steps<'a> = dyn Fn(u64) -> bool + 'a;

/// A merged segment that was written and not opened yet.
#[derive(Debug)]
pub struct Merged {
    /// How many rows it has.
    pub rows: u32,
    /// What the manifest must say of its files.
    pub files: SealedFiles,
    through: Seq,
    plan: Plan,
}

/// Where rows come from and go to.
#[derive(Debug)]
struct Plan {
    /// The inputs, that with the most living rows first.
    ranking: Vec<usize>,
    /// Of each input the new slot of each old one.
    moved: Vec<Vec<u32>>,
    /// Input and slot of each new slot.
    origin: Vec<Origin>,
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    input: u32,
    slot: Slot,
}

impl Merged {
    /// Copies the deaths and patches that reached input `input` after the Seq of the merge onto `target`, which was opened from the files
    /// written here. `source` holds the same rows as that input, and has all its changes. Called by the writer inside the switch of versions,
    /// so that none is lost.
    pub fn carry(&self, input: usize, source: &Sealed, target: &Sealed) {
        source.changes.carry(self.through, &self.plan.moved[input], &target.changes);
    }

    /// What a checkpoint at `through` has to say of the new segment, if anything happened to its rows between the Seq of the merge and that one.
    /// `sources` are as for [`Merged::carry`], in the order of the inputs.
    pub fn delta(&self, sources: &[&Sealed], through: Seq) -> Option<Delta> {
        let changes = Changes::default();
        for (source, moved) in sources.iter().zip(&self.plan.moved) {
            source.changes.carry(self.through, moved, &changes);
        }
        let delta = changes.delta(through);
        (!delta.deaths.is_empty() || !delta.patches.is_empty()).then_some(delta)
    }

    /// Builds the index of the vector at place `vector` of `target`, which was opened from the files written here, out of those of the inputs.
    /// `is_current` says of each input whether its index was made with `options`; others are left aside.
    ///
    /// # Errors
    ///
    /// As [`build_merged`].
    #[expect(clippy::too_many_arguments, reason = "what is built, of what and how")]
    pub fn build(
        &self,
        inputs: &[&Sealed],
        is_current: &[bool],
        target: &Sealed,
        vector: usize,
        options: &IndexOptions,
        threads: usize,
        watch: &Watch<'_>,
    ) -> Result<Built, Stopped> {
        let indexed = |&input: &usize| Some((input, inputs[input].indexed(vector)?));
        let usable = self.plan.ranking.iter().copied().filter(|&input| is_current[input]);
        let usable: Vec<_> = usable.filter_map(|input| indexed(&input)).collect();
        let moves: Vec<_> = usable.iter().map(|&(input, _)| self.mover(input)).collect();
        let mut graphs = Vec::with_capacity(usable.len());
        for ((input, index), moved) in usable.iter().zip(&moves) {
            if self.living(*input) * 100 >= LIVING_PERCENT_MIN * u64::from(inputs[*input].rows()) {
                graphs.push(Source { graph: index.graph(), moved });
            }
        }
        let codec = usable.first().and_then(|(_, index)| Some(Arc::clone(index.codes()?.codec())));
        let codec = codec.filter(|codec| match **codec {
            Codec::Rotated(_) => true,
            // A grid over the values of some rows cuts off those of others.
            Codec::Scalar(_) => inputs.len() == 1,
        });
        let config = codec.as_ref().map(|codec| codec.config());
        let mut codes = vec![None; inputs.len()];
        for (input, index) in &usable {
            codes[*input] = index.codes().filter(|codes| Some(codes.codec().config()) == config);
        }
        let code = |slot: Slot| {
            let Origin { input, slot } = *self.plan.origin.get(slot.index())?;
            codes[input as usize]?.row(slot)
        };
        let codes = codec.as_ref().map(|codec| CodeSource { codec, code: &code });
        let inheritance = Inheritance { graphs: &graphs, codes };
        build_merged(target.vectors(vector), &inheritance, options, 0, threads, watch)
    }

    fn mover(&self, input: usize) -> impl Fn(Slot) -> Option<Slot> + Sync + '_ {
        let moved = &self.plan.moved[input];
        move |slot| moved.get(slot.index()).copied().filter(|slot| *slot != DROPPED).map(Slot)
    }

    fn living(&self, input: usize) -> u64 {
        self.plan.moved[input].iter().filter(|&&slot| slot != DROPPED).count() as u64
    }
}

/// Writes the living rows of `inputs` as of `through` into `folder`, which exists. Every change at or before `through` is in the inputs, and of
/// two rows of one id at most one lives. Rows of one value at `partition` come to lie together.
///
/// # Errors
///
/// [`MergeError`]; the folder may then hold some of the files.
pub fn merge(
    inputs: &[&Sealed],
    through: Seq,
    partition: Option<&Path>,
    dir: &dyn Dir,
    folder: &str,
    steps: &Steps<'_>,
) -> Result<Merged, MergeError> {
    let plan = plan(inputs, through, partition, steps)?;
    let read = Reading { inputs, plan: &plan, steps };
    let mut vectors = Vec::new();
    for vector in 0..inputs.first().map_or(0, |input| input.vector_count()) {
        vectors.push(read.write_vectors(vector, dir, &format!("{folder}/{}", vectors_file(vector)))?);
    }
    let payload = read.write_payload(through, dir, &format!("{folder}/{PAYLOAD_FILE}"))?;
    let order = id_order(inputs, &plan);
    let maps: Vec<_> = inputs.iter().map(|input| input.ids()).collect();
    let origin = |slot: u32| plan.origin[slot as usize];
    let id = |slot: u32| {
        let Origin { input, slot } = origin(slot);
        let map = maps[input as usize];
        map.ref_at_rank(map.rank(slot))
    };
    let born = |slot: u32| maps[origin(slot).input as usize].born(origin(slot).slot);
    let ids =
        write_file(dir, &format!("{folder}/{IDS_FILE}"), |sink| ids::write_ordered(&order, id, born, sink))?;
    let rows = plan.origin.len() as u32;
    Ok(Merged { rows, files: SealedFiles { ids, payload, vectors }, through, plan })
}

fn plan(
    inputs: &[&Sealed],
    through: Seq,
    partition: Option<&Path>,
    steps: &Steps<'_>,
) -> Result<Plan, MergeError> {
    let living: Vec<u64> = inputs.iter().map(|input| input.count(through)).collect();
    let rows: u64 = living.iter().sum();
    if rows > SEGMENT_ROWS_MAX as u64 {
        return Err(MergeError::Rows { rows });
    }
    let mut ranking: Vec<usize> = (0..inputs.len()).collect();
    ranking.sort_by_key(|&input| Reverse(living[input]));
    let mut origin = Vec::with_capacity(rows as usize);
    for &input in &ranking {
        let slots = (0..inputs[input].rows()).map(Slot);
        let slots = slots.filter(|&slot| inputs[input].visible(slot, through));
        origin.extend(slots.map(|slot| Origin { input: input as u32, slot }));
    }
    if let Some(path) = partition {
        put_together(inputs, through, path, &mut origin, steps)?;
    }
    let mut moved: Vec<Vec<u32>> = inputs.iter().map(|input| vec![DROPPED; input.rows() as usize]).collect();
    for (new, Origin { input, slot }) in origin.iter().enumerate() {
        moved[*input as usize][slot.index()] = new as u32;
    }
    Ok(Plan { ranking, moved, origin })
}

/// Orders rows by the value at `path`; those of one value keep their order.
fn put_together(
    inputs: &[&Sealed],
    through: Seq,
    path: &Path,
    origin: &mut Vec<Origin>,
    steps: &Steps<'_>,
) -> Result<(), MergeError> {
    let mut known: HashMap<Key, u32> = HashMap::new();
    let mut keyed: Vec<(u32, Origin)> = Vec::with_capacity(origin.len());
    let mut slots = Vec::with_capacity(ROWS_AT_ONCE);
    for run in runs(origin) {
        let input = origin[run.start].input as usize;
        slots.clear();
        slots.extend(origin[run.clone()].iter().map(|origin| origin.slot));
        let mut failed = Ok(());
        if !steps(0) {
            return Err(MergeError::Stopped);
        }
        let read = inputs[input].visit_payloads(&slots, through, &mut |at, row| match Key::of(path, row) {
            Ok(key) => {
                let next = known.len() as u32;
                keyed.push((*known.entry(key).or_insert(next), origin[run.start + at]));
            }
            Err(error) => failed = Err(OpenError::from(error)),
        });
        read.and(failed).map_err(|source| MergeError::Input { input, source })?;
    }
    let mut keys: Vec<(Key, u32)> = known.into_iter().collect();
    keys.sort_unstable();
    let mut place = vec![0u32; keys.len()];
    for (at, (_, number)) in keys.iter().enumerate() {
        place[*number as usize] = at as u32;
    }
    keyed.sort_by_key(|(number, _)| place[*number as usize]);
    origin.clear();
    origin.extend(keyed.into_iter().map(|(_, origin)| origin));
    Ok(())
}

/// Parts of `origin` that are read at once: rows of one input.
fn runs(origin: &[Origin]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = origin.get(at)?;
        let rest = &origin[at..origin.len().min(at + ROWS_AT_ONCE)];
        let rows = rest.iter().take_while(|row| row.input == first.input).count();
        at += rows;
        Some(at - rows..at)
    })
}

/// The new slots in the order of their ids: the inputs are in that order, and are merged.
fn id_order(inputs: &[&Sealed], plan: &Plan) -> Vec<u32> {
    let next = |input: usize, mut rank: u32| {
        let ids = inputs[input].ids();
        while rank < ids.rows() {
            let new = plan.moved[input][ids.at_rank(rank).index()];
            if new != DROPPED {
                return Some(Reverse((ids.ref_at_rank(rank), input, rank, new)));
            }
            rank += 1;
        }
        None
    };
    let mut order = Vec::with_capacity(plan.origin.len());
    let mut heads: BinaryHeap<_> = (0..inputs.len()).filter_map(|input| next(input, 0)).collect();
    while let Some(Reverse((_, input, rank, new))) = heads.pop() {
        order.push(new);
        heads.extend(next(input, rank + 1));
    }
    order
}

/// Rows of the inputs in their new order.
struct Reading<'a> {
    inputs: &'a [&'a Sealed],
    plan: &'a Plan,
    steps: &'a Steps<'a>,
}

impl Reading<'_> {
    /// Calls `read` with each run of rows, all of one input, and gives up where somebody wants that.
    fn each_run(
        &self,
        mut read: impl FnMut(&Sealed, &[Slot]) -> Result<(), Failed>,
    ) -> Result<(), MergeError> {
        let mut slots = Vec::with_capacity(ROWS_AT_ONCE);
        for run in runs(&self.plan.origin) {
            slots.clear();
            slots.extend(self.plan.origin[run.clone()].iter().map(|origin| origin.slot));
            let input = self.plan.origin[run.start].input as usize;
            read(self.inputs[input], &slots).map_err(|failed| match failed {
                Failed::Read(source) => MergeError::Input { input, source },
                Failed::Write(error) => MergeError::Io(error),
            })?;
            if !(self.steps)(slots.len() as u64) {
                return Err(MergeError::Stopped);
            }
        }
        Ok(())
    }

    fn write_vectors(&self, vector: usize, dir: &dyn Dir, path: &str) -> Result<Summary, MergeError> {
        let shape = match self.inputs.first() {
            Some(input) => input.store(vector).shape(),
            None => return Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
        };
        written(dir, path, |sink| {
            let mut file = RowsWriter::new(sink, shape)?;
            self.each_run(|input, slots| {
                let mut pushed = Ok(());
                let read = input.store(vector).read_many(slots, &mut |_, row| {
                    if pushed.is_ok() {
                        pushed = file.push(row).map_err(write_failed);
                    }
                });
                read.map_err(|e| Failed::Read(e.into()))?;
                pushed.map_err(Failed::Write)
            })?;
            let (sink, written) = file.finish()?;
            Ok((sink, written.summary))
        })
    }

    fn write_payload(&self, through: Seq, dir: &dyn Dir, path: &str) -> Result<Summary, MergeError> {
        written(dir, path, |sink| {
            let mut file = SealedWriter::new(sink)?;
            self.each_run(|input, slots| {
                let mut pushed = Ok(());
                let read = input.visit_payloads(slots, through, &mut |_, row| {
                    if pushed.is_ok() {
                        pushed = file.push(row);
                    }
                });
                read.map_err(Failed::Read)?;
                pushed.map_err(Failed::Write)
            })?;
            Ok(file.finish()?)
        })
    }
}

/// Which side of a copy failed.
enum Failed {
    Read(OpenError),
    Write(io::Error),
}

fn write_failed(error: WriteError) -> io::Error {
    match error {
        WriteError::Io(error) => error,
        other => io::Error::other(other),
    }
}

type Sink = io::BufWriter<crate::seal::FileSink>;

/// As [`write_file`], with errors that are not the file's.
fn written(
    dir: &dyn Dir,
    path: &str,
    write: impl FnOnce(Sink) -> Result<(Sink, Summary), MergeError>,
) -> Result<Summary, MergeError> {
    let mut failed = None;
    let summary = write_file(dir, path, |sink| {
        write(sink).map_err(|error| match error {
            MergeError::Io(error) => error,
            other => {
                failed = Some(other);
                io::Error::other("reading what is to be written")
            }
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(summary?),
    }
}

#[cfg(test)]
mod tests;
