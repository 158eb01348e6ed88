//! The links of a graph as a walk reads them, and the rows in memory that threads link while others walk.
//!
//! A row lists neighbours as `slot + 1`; 0 is an empty place. It refuses to know scores.
//!
//! # Protocol of the rows in memory
//!
//! A row is a run of atomics. Writers hold the stripe lock of the row's slot and store relaxed; readers take no lock and load
//! relaxed. A reader may meet a row half rewritten: old and new neighbours mixed, one twice, one missing. That is harmless, for
//! every value ever stored is 0 or the name of a slot that was published before (`Graph::publish`, Release), readers capture the
//! published length first (Acquire) and drop whatever lies beyond it, and a walk visits a slot once however often it is named.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytemuck::Zeroable;
use nearfield_simd::prefetch;

use crate::levels::{Levels, UpperRows};
use crate::params::{Geometry, Params};

/// What an empty place looks like after decoding: larger than every slot.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// A graph that can be walked. Slots handed to it may be any number; unknown ones have no neighbours.
pub(crate) trait Links: Sync {
    /// The highest level with a node; 0 in an empty graph.
    fn top(&self) -> u32;

    /// Where a walk may begin on `level`, which is at most [`Links::top`]: the first node that stood so high. A reader whose
    /// scorer is older than the top node begins lower.
    fn entry(&self, level: u32) -> Option<u32>;

    /// Slots below this may be visited. Captured once per walk.
    fn len(&self) -> u32;

    /// Most neighbours of a slot on `level`.
    fn width(&self, level: u32) -> usize;

    /// Calls `visit` with every neighbour of `slot` on `level`, empty places as [`NO_SLOT`] among them.
    fn neighbours(&self, slot: u32, level: u32, visit: impl FnMut(u32));

    /// Asks for the level-0 row of `slot`.
    fn prefetch(&self, slot: u32);

    /// The next slot with the same vector as `slot`, which is not linked itself.
    fn next_duplicate(&self, slot: u32) -> Option<u32>;

    /// How many such slots there are.
    fn duplicates(&self) -> u32;
}

/// One cache line of a row.
#[derive(Zeroable)]
#[repr(C, align(64))]
struct Line([AtomicU32; LINE]);

const LINE: usize = 16;

/// Rows of the first chunk; chunks then double the sum until they hold [`CHUNK_ROWS`] each.
const FIRST_CHUNK_ROWS: u32 = 1 << FIRST_CHUNK_BITS;
const FIRST_CHUNK_BITS: u32 = 7;
const CHUNK_BITS: u32 = 13;
const CHUNK_ROWS: u32 = 1 << CHUNK_BITS;
/// Lists of chunks, each twice as long as the one before.
const LISTS: usize = 20;

/// The rows of a graph in memory: chunks that never move once made.
pub(crate) struct Rows {
    /// Places of a level-0 row and of an upper one.
    widths: [usize; 2],
    has_squares: bool,
    levels: Levels,
    lists: [OnceLock<Box<[OnceLock<Chunk>]>>; LISTS],
}

struct Chunk {
    first: u32,
    ground: Box<[Line]>,
    upper_rows: UpperRows,
    upper: Box<[AtomicU32]>,
    duplicates: Box<[AtomicU32]>,
    /// The squared lengths, as bits, where scores are products; else empty.
    squares: Box<[AtomicU32]>,
}

impl Rows {
    pub(crate) fn new(params: Params) -> Rows {
        let m = params.m();
        let widths = [2 * m as usize, m as usize];
        let levels = Levels::new(m, params.seed());
        let has_squares = params.geometry() == Geometry::Product;
        Rows { widths, has_squares, levels, lists: [const { OnceLock::new() }; LISTS] }
    }

    /// Places of a row on `level`.
    pub(crate) fn width(&self, level: u32) -> usize {
        self.widths[level.min(1) as usize]
    }

    pub(crate) fn level(&self, slot: u32) -> u32 {
        self.levels.draw(slot)
    }

    /// Makes the chunk of `slot`, if it is new.
    pub(crate) fn make(&self, slot: u32) {
        let (number, first, rows) = chunk_of(slot);
        let (list, at) = list_of(number);
        let chunks = self.lists[list].get_or_init(|| (0..1usize << list).map(|_| OnceLock::new()).collect());
        chunks[at].get_or_init(|| self.chunk(first, rows));
    }

    fn chunk(&self, first: u32, rows: u32) -> Chunk {
        let levels = (0..rows).map(|at| (at, self.levels.draw(first + at)));
        let upper_rows = UpperRows::new(rows, levels.filter(|&(_, level)| level > 0));
        let places = |count: usize| bytemuck::zeroed_slice_box::<AtomicU32>(count);
        Chunk {
            first,
            ground: bytemuck::zeroed_slice_box(rows as usize * self.lines()),
            upper: places(upper_rows.count() as usize * self.widths[1]),
            upper_rows,
            duplicates: places(rows as usize),
            squares: places(if self.has_squares { rows as usize } else { 0 }),
        }
    }

    fn lines(&self) -> usize {
        self.widths[0].div_ceil(LINE)
    }

    #[inline]
    fn find(&self, slot: u32) -> Option<&Chunk> {
        let (list, at) = list_of(chunk_of(slot).0);
        self.lists.get(list)?.get()?.get(at)?.get()
    }

    /// The places of a row; none where its slot does not stand on the level or its chunk was not made.
    #[inline]
    fn places(&self, slot: u32, level: u32) -> impl Iterator<Item = &AtomicU32> {
        let chunk = self.find(slot);
        let (ground, upper): (&[Line], &[AtomicU32]) = match (chunk, level) {
            (None, _) => (&[], &[]),
            (Some(chunk), 0) => {
                let at = (slot - chunk.first) as usize * self.lines();
                (&chunk.ground[at..at + self.lines()], &[])
            }
            (Some(chunk), level) => {
                let mut rows = chunk.upper_rows.rows(slot - chunk.first);
                let places = rows.nth(level as usize - 1).map(|row| row as usize * self.widths[1]);
                (&[], places.map_or(&[], |at| &chunk.upper[at..at + self.widths[1]]))
            }
        };
        ground.iter().flat_map(|line| &line.0).take(self.widths[0]).chain(upper)
    }

    #[inline]
    pub(crate) fn visit(&self, slot: u32, level: u32, mut visit: impl FnMut(u32)) {
        for place in self.places(slot, level) {
            visit(place.load(Relaxed).wrapping_sub(1));
        }
    }

    /// The neighbours in a row. The caller holds its stripe, or can do with a mixture.
    pub(crate) fn read(&self, slot: u32, level: u32, row: &mut Vec<u32>) {
        row.clear();
        self.visit(slot, level, |neighbour| {
            if neighbour != NO_SLOT {
                row.push(neighbour);
            }
        });
    }

    /// Replaces a row by `row`, which fits. The caller holds its stripe.
    pub(crate) fn write(&self, slot: u32, level: u32, row: &[u32]) {
        debug_assert!(row.len() <= self.width(level));
        let mut row = row.iter();
        for place in self.places(slot, level) {
            place.store(row.next().map_or(0, |slot| slot + 1), Relaxed);
        }
    }

    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        if let Some(chunk) = self.find(slot) {
            let at = (slot - chunk.first) as usize * self.lines();
            prefetch(&chunk.ground[at..at + self.lines()]);
        }
    }

    pub(crate) fn next_duplicate(&self, slot: u32) -> Option<u32> {
        let chunk = self.find(slot)?;
        chunk.duplicates[(slot - chunk.first) as usize].load(Relaxed).checked_sub(1)
    }

    /// Makes `next` the slot behind `slot` in its chain. Nobody else changes chains meanwhile.
    pub(crate) fn set_next_duplicate(&self, slot: u32, next: u32) {
        if let Some(chunk) = self.find(slot) {
            chunk.duplicates[(slot - chunk.first) as usize].store(next + 1, Relaxed);
        }
    }

    /// Puts `slot` right behind `head` in its chain. The caller holds the stripe of `head`.
    pub(crate) fn chain(&self, head: u32, slot: u32) {
        let [Some(of_head), Some(of_slot)] = [head, slot].map(|slot| self.find(slot)) else { return };
        let next = &of_head.duplicates[(head - of_head.first) as usize];
        let after = &of_slot.duplicates[(slot - of_slot.first) as usize];
        after.store(next.load(Relaxed), Relaxed);
        next.store(slot + 1, Relaxed);
    }

    /// The squared length of the vector of `slot`, where scores are products; else 0.
    #[inline]
    pub(crate) fn square(&self, slot: u32) -> f32 {
        if !self.has_squares {
            return 0.0;
        }
        let square = self.find(slot).and_then(|chunk| chunk.squares.get((slot - chunk.first) as usize));
        square.map_or(0.0, |bits| f32::from_bits(bits.load(Relaxed)))
    }

    /// Notes a squared length, before any row names the slot.
    pub(crate) fn set_square(&self, slot: u32, square: f32) {
        let chunk = self.find(slot);
        if let Some(place) = chunk.and_then(|chunk| chunk.squares.get((slot - chunk.first) as usize)) {
            place.store(square.to_bits(), Relaxed);
        }
    }

    /// Bytes allocated. O(chunks).
    pub(crate) fn memory(&self) -> u64 {
        let chunks = self.lists.iter().filter_map(OnceLock::get).flatten().filter_map(OnceLock::get);
        let bytes = |chunk: &Chunk| {
            let places =
                size_of_val(&*chunk.upper) + size_of_val(&*chunk.duplicates) + size_of_val(&*chunk.squares);
            size_of_val(&*chunk.ground) + places
        };
        chunks.map(|chunk| bytes(chunk) as u64 + chunk.upper_rows.memory()).sum()
    }
}

/// The number of a slot's chunk, its first slot and how many it holds.
#[inline]
fn chunk_of(slot: u32) -> (u32, u32, u32) {
    if slot >= CHUNK_ROWS {
        let number = CHUNK_BITS - FIRST_CHUNK_BITS + (slot >> CHUNK_BITS);
        (number, slot & !(CHUNK_ROWS - 1), CHUNK_ROWS)
    } else if slot >= FIRST_CHUNK_ROWS {
        let bits = slot.ilog2();
        (bits - FIRST_CHUNK_BITS + 1, 1 << bits, 1 << bits)
    } else {
        (0, 0, FIRST_CHUNK_ROWS)
    }
}

/// Where a chunk stands in the lists.
#[inline]
fn list_of(number: u32) -> (usize, usize) {
    let list = (number + 1).ilog2();
    (list as usize, (number + 1 - (1 << list)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_lies_in_one_chunk() {
        let (mut number, mut first, mut rows) = (0, 0, FIRST_CHUNK_ROWS);
        for slot in 0..100_000 {
            if slot == first + rows {
                (number, first) = (number + 1, slot);
                rows = chunk_of(slot).2;
            }
            assert_eq!(chunk_of(slot), (number, first, rows), "{slot}");
        }
        assert!(list_of(chunk_of((1 << 31) - 2).0).0 < LISTS);
        let places: Vec<_> = (0..1_000).map(list_of).collect();
        let counted = (0..10usize).flat_map(|list| (0..1 << list).map(move |at| (list, at)));
        assert_eq!(places, counted.take(1_000).collect::<Vec<_>>());
    }

    #[test]
    fn rows_are_read_as_written_on_every_level() {
        let rows = Rows::new(Params::new(5, 9).unwrap().with_seed(3));
        let mut row = Vec::new();
        rows.read(70, 0, &mut row);
        assert_eq!(row, []);
        for slot in 0..1_000 {
            rows.make(slot);
            for level in 0..=rows.level(slot) {
                let width = rows.width(level) as u32;
                rows.write(slot, level, &(slot..slot + width).collect::<Vec<_>>());
            }
        }
        for slot in 0..1_000 {
            for level in 0..=rows.level(slot) {
                rows.read(slot, level, &mut row);
                assert_eq!(row, (slot..slot + rows.width(level) as u32).collect::<Vec<_>>());
            }
            rows.read(slot, rows.level(slot) + 1, &mut row);
            assert_eq!(row, []);
            rows.write(slot, 0, &[7]);
            rows.read(slot, 0, &mut row);
            assert_eq!(row, [7]);
        }
    }

    #[test]
    fn chains_grow_behind_their_head() {
        let rows = Rows::new(Params::new(2, 9).unwrap());
        rows.make(200);
        rows.make(3);
        rows.chain(3, 200);
        rows.chain(3, 201);
        let chain = std::iter::successors(Some(3), |&slot| rows.next_duplicate(slot));
        assert_eq!(chain.collect::<Vec<_>>(), [3, 201, 200]);
    }
}
