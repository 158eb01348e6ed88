//! Partitions: the rows of one value of a collection's tenant field, which lie together in a sealed segment, and graphs over them alone.
//!
//! Sealing puts rows in the order of that value, so that a tenant is one run of slots: a filter finds it as one range and scanning it reads
//! memory in order. A run large enough that a walk pays has a graph of its own beside the whole one, over slots counted from its first row.
//!
//! It refuses to decide which rows are a tenant's: the order is that of the payload as it was sealed, and rows that were patched since may
//! belong elsewhere. A filter knows them; here they are slots like others. Graphs are derived: without them the whole graph or a scan answers.

use std::fmt;
use std::io;
use std::ops::Range;

use nearfield_ann::{
    Admit, BuildScorer, Estimate, Scorer, Scratch, Search, Stats, Stopped, Ties, TopK, VectorIndex,
};
use nearfield_codec::{Container, ContainerWriter, Decoder, Encoder, Region, Summary};
use nearfield_hnsw::{Graph, GraphView};
use nearfield_payload::{Path, RowError, RowRef, ValueRef};
use nearfield_platform::Dir;
use nearfield_types::{Score, Slot};

use crate::calibration::Calibration;
use crate::error::{IndexError, OpenError, damaged};
use crate::field::GRAPH_ROWS_MIN;
use crate::format::{PARTITIONS_TAG, SECTION_GRAPHS, SECTION_HEADER};
use crate::index_files::{IndexName, check};
use crate::seal::write_file;
use crate::sealed::Sealed;

/// A partition of so many rows in a segment gets a graph of its own, as a segment does; a smaller one is scanned in as little time.
pub const PARTITION_GRAPH_ROWS: u32 = GRAPH_ROWS_MIN;
/// Rows read at a time.
const ROWS_AT_ONCE: u32 = 1_024;
/// Where graphs begin: at multiples of this, so that they may be searched in place.
const GRAPH_ALIGN: usize = 64;
/// Bytes of an entry of the directory: first row, rows, where its graph begins, its bytes.
const ENTRY_BYTES: usize = 4 + 4 + 8 + 8;
/// Slots that are moved at a time.
const PART: usize = 64;

/// The path of the graphs over partitions of an index inside a segment's folder.
pub fn partitions_file(name: impl Into<IndexName>) -> String {
    format!("graph-{}-partitions", name.into())
}

/// What rows are ordered by when a segment is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Nothing is there, or what cannot name a tenant: a list, an object, a fraction, a truth value.
    None,
    Integer(i128),
    Text(Box<str>),
}

impl Key {
    /// The one of the payload in `row`.
    pub(crate) fn of(path: &Path, row: &[u8]) -> Result<Key, RowError> {
        Ok(match RowRef::new(row)?.at(path)? {
            Some(ValueRef::I64(value)) => Key::Integer(value.into()),
            Some(ValueRef::U64(value)) => Key::Integer(value.into()),
            Some(ValueRef::String(text)) => Key::Text(text.into()),
            _ => Key::None,
        })
    }
}

impl Sealed {
    /// The runs of rows, each of one partition, that get graphs of their own; a run that is the whole segment has one already. One pass over
    /// the payload rows.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a block is damaged.
    pub fn partitions(&self, path: &Path) -> Result<Vec<Range<u32>>, OpenError> {
        let (mut runs, mut first, mut last) = (Vec::new(), 0, None);
        let mut slots = Vec::with_capacity(ROWS_AT_ONCE as usize);
        let mut close = |run: Range<u32>| {
            let rows = run.end - run.start;
            if rows >= PARTITION_GRAPH_ROWS && rows < self.rows() {
                runs.push(run);
            }
        };
        for begin in (0..self.rows()).step_by(ROWS_AT_ONCE as usize) {
            slots.clear();
            slots.extend((begin..self.rows().min(begin + ROWS_AT_ONCE)).map(Slot));
            let mut failed = Ok(());
            self.payload_rows().read_many(&slots, &mut |at, row| match Key::of(path, row) {
                Ok(key) if last.as_ref() == Some(&key) => {}
                Ok(key) => {
                    let slot = begin + at as u32;
                    close(first..slot);
                    (first, last) = (slot, Some(key));
                }
                Err(error) => failed = Err(error),
            })?;
            failed?;
        }
        close(first..self.rows());
        Ok(runs)
    }
}

/// A graph over a run of rows, as bytes.
#[derive(Clone, Debug)]
pub struct BuiltPartition {
    /// The rows.
    pub rows: Range<u32>,
    /// The file of a graph whose slot 0 is the first of them.
    pub(crate) graph: Vec<u8>,
}

/// Writes graphs over partitions of the index `name` into `folder`, synced and read-only.
///
/// # Errors
///
/// What the directory returns; a part of the file may be there then.
pub fn write_partitions(
    dir: &dyn Dir,
    folder: &str,
    name: impl Into<IndexName>,
    partitions: &[BuiltPartition],
) -> io::Result<Summary> {
    write_file(dir, &format!("{folder}/{}", partitions_file(name)), |sink| {
        let mut directory = Encoder::new();
        let mut at = 0u64;
        for BuiltPartition { rows, graph } in partitions {
            directory.u32(rows.start).u32(rows.end - rows.start).u64(at).u64(graph.len() as u64);
            at += graph.len().next_multiple_of(GRAPH_ALIGN) as u64;
        }
        let mut file = ContainerWriter::new(sink, PARTITIONS_TAG)?;
        file.section(SECTION_HEADER)?;
        file.write(directory.as_slice())?;
        file.section(SECTION_GRAPHS)?;
        for BuiltPartition { graph, .. } in partitions {
            file.write(graph)?;
            file.write(&[0; GRAPH_ALIGN][..graph.len().next_multiple_of(GRAPH_ALIGN) - graph.len()])?;
        }
        file.finish()
    })
}

/// Opens what [`write_partitions`] wrote, for a segment of `rows` rows, and checks every byte.
pub(crate) fn open_partitions(
    dir: &dyn Dir,
    path: &str,
    rows: u32,
    expected: &Summary,
) -> Result<Partitions, IndexError> {
    let container = Container::open(dir.open(path)?, PARTITIONS_TAG)?;
    check(&container, Some(expected))?;
    read_partitions(&container, rows)
}

fn read_partitions(container: &Container, rows: u32) -> Result<Partitions, IndexError> {
    let section = |id| -> Result<Region, IndexError> {
        let range = container.section(id)?;
        let bytes = container.region().slice(range.start as usize..range.end as usize);
        bytes.ok_or_else(|| damaged("sections").into())
    };
    let (directory, graphs) = (section(SECTION_HEADER)?, section(SECTION_GRAPHS)?);
    let mut from = Decoder::new(&directory);
    let mut list: Vec<Partition> = Vec::with_capacity(directory.len() / ENTRY_BYTES);
    let mut next = 0;
    while from.left() > 0 {
        let (first, count, at, bytes) = (from.u32()?, from.u32()?, from.u64()?, from.u64()?);
        let end = first.checked_add(count).filter(|&end| first >= next && end <= rows && count > 0);
        let Some(end) = end else { return Err(from.range_error(first.into()).into()) };
        let place = usize::try_from(at).ok().zip(usize::try_from(bytes).ok());
        let place = place.filter(|(at, _)| at.is_multiple_of(GRAPH_ALIGN));
        let range = place.and_then(|(at, bytes)| Some(at..at.checked_add(bytes)?));
        let Some(graph) = range.and_then(|range| graphs.slice(range)) else {
            return Err(from.range_error(at).into());
        };
        let graph = GraphView::open(graph)?;
        if graph.len() > count {
            return Err(damaged("graph of a partition and its rows").into());
        }
        let calibration = Calibration::decode(graph.notes())?;
        list.push(Partition { rows: first..end, graph, calibration });
        next = end;
    }
    Ok(Partitions { list })
}

/// The graphs over partitions of one vector of a segment.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    /// In the order of their rows.
    list: Vec<Partition>,
}

impl Partitions {
    /// The one that holds all of these rows.
    pub(crate) fn holding(&self, first: u32, last: u32) -> Option<&Partition> {
        let at = self.list.partition_point(|partition| partition.rows.end <= first);
        self.list.get(at).filter(|partition| partition.rows.start <= first && last < partition.rows.end)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of memory, file maps not counted.
    pub(crate) fn memory(&self) -> u64 {
        self.list.iter().map(|partition| VectorIndex::memory(&partition.graph)).sum()
    }
}

/// A graph over a run of rows. As an index it is asked of the segment's slots, and finds those of the run.
pub(crate) struct Partition {
    rows: Range<u32>,
    /// Its slot 0 is the first of the rows.
    graph: GraphView,
    /// What was measured of it.
    calibration: Calibration,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({:?}, {:?})", self.rows, self.graph)
    }
}

impl Partition {
    /// One over these rows with a copy of `graph`, of which nothing was measured.
    pub(crate) fn of(rows: Range<u32>, graph: &Graph) -> Partition {
        Partition { rows, graph: GraphView::of(graph), calibration: Calibration::default() }
    }

    /// What was measured of it.
    pub(crate) fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The rows of the segment that it is over.
    pub(crate) fn rows(&self) -> Range<u32> {
        self.rows.clone()
    }
}

impl VectorIndex for Partition {
    fn search(
        &self,
        search: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, Stopped> {
        let first = self.rows.start;
        let Search { scorer, admit, effort, budget, seeds, bound, radius } = search;
        let mut scorer = Shifted { scorer, first };
        let admit = ShiftedAdmit { admit, first };
        let within = seeds.iter().filter(|seed| self.rows.contains(&seed.0));
        let seeds: Vec<Slot> = within.map(|seed| Slot(seed.0 - first)).collect();
        let question =
            Search { scorer: &mut scorer, admit: &admit, effort, budget, seeds: &seeds, bound, radius };
        let ties = ShiftedTies { ties: out.ties(), first };
        let mut best = TopK::new(out.k(), &ties);
        let stats = self.graph.search(question, scratch, &mut best)?;
        for hit in best.into_sorted() {
            out.push(Slot(hit.slot.0 + first), hit.score);
        }
        Ok(stats)
    }

    fn memory(&self) -> u64 {
        VectorIndex::memory(&self.graph)
    }
}

/// A scorer asked of slots that are counted from `first`.
pub(crate) struct Shifted<'a, S: ?Sized> {
    pub(crate) scorer: &'a mut S,
    pub(crate) first: u32,
}

impl<S: Scorer + ?Sized> Shifted<'_, S> {
    /// Calls `work` with the slots meant by each part of `slots`, and where in them it begins.
    fn each(
        &mut self,
        slots: &[Slot],
        mut work: impl FnMut(&mut S, &[Slot], Range<usize>) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let mut meant = [Slot(0); PART];
        for (at, part) in slots.chunks(PART).enumerate() {
            let meant = &mut meant[..part.len()];
            for (meant, slot) in meant.iter_mut().zip(part) {
                *meant = self.meant(*slot);
            }
            work(self.scorer, meant, at * PART..at * PART + part.len())?;
        }
        Ok(())
    }

    /// A slot beyond all there can be stays beyond.
    fn meant(&self, slot: Slot) -> Slot {
        Slot(slot.0.saturating_add(self.first))
    }
}

impl<S: Scorer + ?Sized> Scorer for Shifted<'_, S> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        self.each(slots, |scorer, slots, places| scorer.score(slots, &mut out[places]))
    }

    fn prefetch(&mut self, slots: &[Slot]) {
        // A hint returns nothing.
        let _ = self.each(slots, |scorer, slots, _| {
            scorer.prefetch(slots);
            Ok(())
        });
    }

    fn score_within(&mut self, slots: &[Slot], limit: Score, out: &mut [Score]) -> Result<(), Stopped> {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        self.each(slots, |scorer, slots, places| scorer.score_within(slots, limit, &mut out[places]))
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        let first = self.meant(first);
        self.scorer.score_run(first, out)
    }
}

impl<S: BuildScorer + ?Sized> BuildScorer for Shifted<'_, S> {
    fn aim(&mut self, slot: Slot) {
        let slot = self.meant(slot);
        self.scorer.aim(slot);
    }
}

struct ShiftedAdmit<'a> {
    admit: &'a dyn Admit,
    first: u32,
}

impl Admit for ShiftedAdmit<'_> {
    fn retain(&self, slots: &mut Vec<Slot>) {
        slots.iter_mut().for_each(|slot| slot.0 += self.first);
        self.admit.retain(slots);
        slots.iter_mut().for_each(|slot| slot.0 -= self.first);
    }

    fn estimate(&self) -> Estimate {
        self.admit.estimate()
    }
}

struct ShiftedTies<'a> {
    ties: &'a dyn Ties,
    first: u32,
}

impl Ties for ShiftedTies<'_> {
    fn compare(&self, a: Slot, b: Slot) -> std::cmp::Ordering {
        self.ties.compare(Slot(a.0 + self.first), Slot(b.0 + self.first))
    }
}

#[cfg(test)]
mod tests {
    use nearfield_ann::conformance::Points;
    use nearfield_ann::{AdmitAll, AdmitIf, Budget, BySlot, Effort, Flat, Hit};
    use nearfield_hnsw::{Linker, Params, Scorers};
    use nearfield_platform::MemoryDir;

    use super::*;

    const FIRST: u32 = 70;
    const END: u32 = 470;

    /// Graphs over two runs of 500 points.
    fn built(points: &Points) -> Vec<BuiltPartition> {
        [FIRST..END, END..490].map(|rows| partition(points, rows)).into()
    }

    fn partition(points: &Points, rows: Range<u32>) -> BuiltPartition {
        let first = rows.start;
        let graph = Graph::new(Params::new(8, 60).unwrap());
        let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
        let (mut walk, mut judge) =
            (Shifted { scorer: &mut walk, first }, Shifted { scorer: &mut judge, first });
        let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
        for slot in 0..rows.end - first {
            graph.link(Slot(slot), &mut scorers, &mut Linker::new()).unwrap();
        }
        let notes = Calibration::default().encode();
        BuiltPartition { rows, graph: nearfield_hnsw::format::write(&graph, &notes, Vec::new()).unwrap().0 }
    }

    fn written(built: &[BuiltPartition]) -> Vec<u8> {
        let dir = MemoryDir::new();
        dir.make_dir("s").unwrap();
        let summary = write_partitions(&*dir, "s", 3, built).unwrap();
        let path = format!("s/{}", partitions_file(3));
        assert_eq!(open_partitions(&*dir, &path, 500, &summary).unwrap().len(), built.len());
        let other = Summary { tables_crc: summary.tables_crc ^ 1, ..summary };
        assert!(open_partitions(&*dir, &path, 500, &other).is_err(), "another file than the manifest's");
        dir.open(&path).unwrap().to_vec()
    }

    fn read(bytes: &[u8], rows: u32) -> Result<Partitions, IndexError> {
        let container = Container::open(Region::from(bytes.to_vec()), PARTITIONS_TAG)?;
        container.verify_all()?;
        read_partitions(&container, rows)
    }

    fn asked(index: &dyn VectorIndex, points: &Points, query: Slot, admit: &dyn Admit) -> Vec<Hit> {
        let mut scorer = points.scorer(points.row(query).unwrap());
        let (budget, mut best) = (Budget::unlimited(), TopK::new(5, &BySlot));
        let question = Search { effort: Effort::Breadth(200), ..Search::new(&mut scorer, admit, &budget) };
        index.search(question, &mut Scratch::new(), &mut best).unwrap();
        best.into_sorted()
    }

    #[test]
    fn a_partition_answers_with_the_segments_slots_as_a_scan_of_its_run() {
        let points = Points::clustered(500, 8, 3);
        let partitions = read(&written(&built(&points)), 500).unwrap();
        let partition = partitions.holding(FIRST, END - 1).unwrap();
        assert_eq!(partition.rows(), FIRST..END);
        let scan = Flat::range(Slot(FIRST), Slot(END));
        let odd = AdmitIf::new(Estimate::unknown(500), |slot: Slot| slot.0 % 2 == 1);
        let (mut right, mut all) = (0, 0);
        for query in (0..500).step_by(7).map(Slot) {
            for admit in [&AdmitAll as &dyn Admit, &odd] {
                let (found, truth) =
                    (asked(partition, &points, query, admit), asked(&scan, &points, query, admit));
                assert!(found.iter().all(|hit| (FIRST..END).contains(&hit.slot.0)));
                let last = truth.last().unwrap().score;
                right += found.iter().filter(|hit| hit.score <= last).count();
                all += truth.len();
            }
        }
        assert!(right * 100 >= all * 98, "{right} of {all}");
    }

    #[test]
    fn rows_are_held_by_one_partition_or_none() {
        let partitions = read(&written(&built(&Points::clustered(500, 8, 3))), 500).unwrap();
        let held = |first, last| partitions.holding(first, last).map(|held| held.rows().start);
        assert_eq!([held(70, 469), held(71, 71), held(470, 489)], [Some(70), Some(70), Some(470)]);
        assert_eq!([held(69, 100), held(100, 470), held(0, 0), held(489, 490), held(495, 499)], [None; 5]);
        assert!(read(&written(&[]), 500).unwrap().holding(0, 1).is_none());
    }

    #[test]
    fn directories_that_lie_are_refused() {
        let points = Points::clustered(500, 8, 3);
        let built = built(&points);
        let with = |at: usize, rows: Range<u32>| {
            let mut lying = built.clone();
            lying[at].rows = rows;
            let dir = MemoryDir::new();
            dir.make_dir("s").unwrap();
            write_partitions(&*dir, "s", 0, &lying).unwrap();
            read(&dir.open("s/graph-0-partitions").unwrap(), 500).map(|_| ())
        };
        assert!(with(0, FIRST..END).is_ok());
        assert!(with(1, END..501).is_err(), "beyond the segment");
        assert!(with(1, END - 1..490).is_err(), "two over one row");
        assert!(with(0, FIRST..END - 1).is_err(), "a graph of more slots than rows");
        assert!(with(0, FIRST..FIRST).is_err(), "over nothing");
        let bytes = written(&built);
        for length in (0..bytes.len()).step_by(211) {
            assert!(read(&bytes[..length], 500).is_err());
        }
        for bit in (0..bytes.len() * 8).step_by(997) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Zeros between sections are the one thing that nothing depends on, and they are checked too.
            assert!(read(&damaged, 500).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn keys_put_nothing_first_then_integers_then_texts() {
        use nearfield_types::{Object, Value};
        let key = |value: Option<Value>| {
            let object = Object::from_entries(value.map(|value| ("t".to_owned(), value)));
            let row = Region::from(nearfield_payload::encode(&object).unwrap());
            Key::of(&Path::key("t"), &row).unwrap()
        };
        let list = Value::Array(vec!["a".into()]);
        for nothing in [None, Some(Value::Null), Some(list), Some(true.into()), Some(1.5.into())] {
            assert_eq!(key(nothing), Key::None);
        }
        let ascending = [
            Key::None,
            key(Some(Value::I64(-2))),
            key(Some(Value::I64(7))),
            key(Some(Value::U64(u64::MAX))),
            key(Some("".into())),
            key(Some("a".into())),
            key(Some("b".into())),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }
}
