//! Memory that one thread extends while others read what is already there: the unsafe code of this crate.
//!
//! It refuses to change or move a row once it is published, and to know what a row means.
//!
//! A column is a list of chunks. Chunks double from 16 KiB up to 1 MiB and then stay at that size, so that an idle column
//! costs little, a long one wastes at most a chunk, and no row ever moves. Memory is not cleared: rows beyond the length were
//! never written and are never read.
//!
//! # Protocol
//!
//! | who | does | ordering |
//! |---|---|---|
//! | writer | makes the chunk of row `len`, if it is new | the `OnceLock` publishes it |
//! | writer | writes row `len` | plain: nobody else may touch a row at or beyond `len` |
//! | writer | stores `len + 1` | Release: the row and its chunk happen before |
//! | reader | loads `len`, once per [`View`] | Acquire: every row below is complete and final |
//! | reader | reads rows below what it loaded | plain |
//!
//! There is one writer because [`ColumnWriter`] is made once per column, is not `Clone` and pushes through `&mut self`.
#![expect(
    unsafe_code,
    reason = "rows below the published length are read while the writer fills the row behind it"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytemuck::Pod;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

const FIRST_CHUNK_BYTES: usize = 16 << 10;
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks begin at a cache line, so rows of a multiple of 64 bytes do too.
const CHUNK_ALIGN: usize = 64;
/// Lists of chunks, each twice as long as the one before: enough for any number of them.
const LISTS: usize = u32::BITS as usize;

/// Rows of `width` values of `T`, extended by one [`ColumnWriter`].
pub(crate) struct Column<T> {
    geometry: Geometry,
    lists: [OnceLock<ChunkList<T>>; LISTS],
    /// Rows published.
    len: AtomicU32,
}

type ChunkList<T> = Box<[OnceLock<Chunk<T>>]>;

/// The right to push, and the only one.
pub(crate) struct ColumnWriter<T> {
    column: Arc<Column<T>>,
}

/// The rows there were when it was made.
pub(crate) struct View<'a, T> {
    column: &'a Column<T>,
    /// At most the published length of `column`, loaded with Acquire.
    len: u32,
}

impl<T: Pod + Sync + Send> Column<T> {
    /// An empty column of rows of `width` values, at least one. Nothing is allocated for rows yet.
    pub(crate) fn create(width: usize) -> (ColumnWriter<T>, Arc<Column<T>>) {
        let geometry = Geometry::new(width, size_of::<T>());
        let column =
            Arc::new(Column { geometry, lists: [const { OnceLock::new() }; LISTS], len: AtomicU32::new(0) });
        (ColumnWriter { column: Arc::clone(&column) }, column)
    }

    /// Rows published so far.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// The rows published so far.
    pub(crate) fn view(&self) -> View<'_, T> {
        View { column: self, len: self.len() }
    }

    /// Bytes allocated for rows. O(chunks).
    pub(crate) fn memory(&self) -> u64 {
        let chunks = self.lists.iter().filter_map(OnceLock::get).flatten().filter_map(OnceLock::get);
        chunks.map(|chunk| chunk.layout.size() as u64).sum()
    }

    /// The chunk of this number, where it has been made.
    fn chunk(&self, number: u32) -> Option<&Chunk<T>> {
        let (list, at) = list_of(number);
        self.lists[list].get()?[at].get()
    }

    fn chunk_or_new(&self, number: u32) -> &Chunk<T> {
        let (list, at) = list_of(number);
        let chunks = self.lists[list].get_or_init(|| (0..1usize << list).map(|_| OnceLock::new()).collect());
        chunks[at].get_or_init(|| Chunk::new(self.geometry.chunk_rows(number) * self.geometry.width))
    }
}

impl<T: Pod + Sync + Send> ColumnWriter<T> {
    /// Rows pushed so far.
    pub(crate) fn len(&self) -> u32 {
        self.column.len()
    }

    /// Appends a row of the column's width and publishes it. `None` once there are [`SEGMENT_ROWS_MAX`] rows.
    ///
    /// # Panics
    ///
    /// If the row has another width.
    pub(crate) fn push(&mut self, row: &[T]) -> Option<u32> {
        let column = &*self.column;
        let width = column.geometry.width;
        assert_eq!(row.len(), width, "the row has another width than its column");
        // Relaxed: only this writer stores the length.
        let slot = column.len.load(Ordering::Relaxed);
        if slot as usize >= SEGMENT_ROWS_MAX {
            return None;
        }
        let (number, offset) = column.geometry.locate(slot);
        let chunk = column.chunk_or_new(number);
        // SAFETY: `locate` gives an offset below the rows of the chunk, so the row lies inside its allocation. The row is not
        // published, so no reader holds a reference to it (`View` stops at the published length), and this is the only
        // writer (`&mut self` of a handle that exists once). `row` cannot overlap it: a published row is another row, and
        // all other memory is another allocation.
        unsafe {
            let target = chunk.start.as_ptr().add(offset * width);
            std::ptr::copy_nonoverlapping(row.as_ptr(), target, width);
        }
        column.len.store(slot + 1, Ordering::Release);
        Some(slot)
    }
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T: Pod + Sync + Send> View<'a, T> {
    /// The row of `slot`; `None` beyond the length.
    #[inline]
    pub(crate) fn row(self, slot: u32) -> Option<&'a [T]> {
        let row = self.run(slot, 1);
        (!row.is_empty()).then_some(row)
    }

    /// Rows that lie one after another in memory, from `first` on: at least one and at most `max`; none beyond the length.
    #[inline]
    pub(crate) fn run(self, first: u32, max: usize) -> &'a [T] {
        if first >= self.len {
            return &[];
        }
        let geometry = &self.column.geometry;
        let (number, offset) = geometry.locate(first);
        let count = (geometry.chunk_rows(number) - offset).min((self.len - first) as usize).min(max);
        let chunk = self.column.chunk(number).expect("the chunk of a published row was made before the row");
        // SAFETY: `count` rows from `offset` lie inside the chunk and below `self.len`, which was loaded with Acquire from the
        // published length: they were written completely before, and nobody writes them again. The chunk lives as long as
        // the column, which is borrowed for 'a. `T: Pod` has no invalid bit patterns and no destructor.
        unsafe {
            let start = chunk.start.as_ptr().add(offset * geometry.width);
            std::slice::from_raw_parts(start, count * geometry.width)
        }
    }
}

/// How slots are spread over chunks. All sizes are powers of two.
struct Geometry {
    width: usize,
    /// The first chunk holds `1 << first_bits` rows; chunks then double the sum until they hold `1 << full_bits`.
    first_bits: u32,
    full_bits: u32,
}

impl Geometry {
    fn new(width: usize, value_bytes: usize) -> Geometry {
        let row_bytes = width * value_bytes;
        let bits = |bytes: usize| (bytes / row_bytes).max(1).ilog2();
        Geometry { width, first_bits: bits(FIRST_CHUNK_BYTES), full_bits: bits(CHUNK_BYTES) }
    }

    /// The chunk of a slot and the row inside it.
    #[inline]
    fn locate(&self, slot: u32) -> (u32, usize) {
        if slot >> self.full_bits != 0 {
            let doubling = self.full_bits - self.first_bits;
            return (doubling + (slot >> self.full_bits), (slot & ((1 << self.full_bits) - 1)) as usize);
        }
        if slot >> self.first_bits == 0 {
            return (0, slot as usize);
        }
        let bits = slot.ilog2();
        (bits - self.first_bits + 1, (slot - (1 << bits)) as usize)
    }

    /// Rows of a chunk.
    #[inline]
    fn chunk_rows(&self, number: u32) -> usize {
        let bits = self.first_bits + number.saturating_sub(1);
        1 << bits.min(self.full_bits)
    }
}

/// Where the chunk of this number stands in the lists.
#[inline]
fn list_of(number: u32) -> (usize, usize) {
    let list = (number + 1).ilog2();
    (list as usize, (number + 1 - (1 << list)) as usize)
}

/// One allocation of values, not initialised; [`Column`] knows which of them are.
struct Chunk<T> {
    start: NonNull<T>,
    layout: Layout,
}

// SAFETY: a chunk owns plain memory of `T`. It is shared under the protocol above, which lets threads read values at the same
// time (`T: Sync`) and lets one thread write what others read later (`T: Send`).
unsafe impl<T: Send + Sync> Send for Chunk<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Chunk<T> {}

impl<T> Chunk<T> {
    /// Memory for `values` values, at least one of at least one byte.
    fn new(values: usize) -> Chunk<T> {
        let layout = Layout::array::<T>(values).and_then(|layout| layout.align_to(CHUNK_ALIGN));
        let layout = layout.expect("a chunk holds a megabyte, or one row within the limits");
        assert!(layout.size() > 0, "rows have at least one value of at least one byte");
        // SAFETY: the layout has a size, as just checked.
        let start = unsafe { alloc(layout) }.cast::<T>();
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Chunk { start, layout }
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed only here. Every reference into it borrows the column.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunk sizes and places, by counting.
    fn check_geometry(width: usize, slots: u32) {
        let geometry = Geometry::new(width, 4);
        let (mut number, mut offset) = (0, 0);
        for slot in 0..slots {
            assert_eq!(geometry.locate(slot), (number, offset), "slot {slot} of width {width}");
            offset += 1;
            if offset == geometry.chunk_rows(number) {
                (number, offset) = (number + 1, 0);
            }
        }
    }

    #[test]
    fn every_slot_has_its_own_place() {
        let slots = |slots| if cfg!(miri) { slots / 200 } else { slots };
        check_geometry(1, slots(1 << 20));
        check_geometry(384, slots(20_000));
        check_geometry(5_000, slots(2_000));
        check_geometry(65_536, slots(2_000));
        for (width, first, full) in [(1, 4096, 262_144), (384, 8, 512), (65_536, 1, 4)] {
            let geometry = Geometry::new(width, 4);
            assert_eq!((geometry.chunk_rows(0), geometry.chunk_rows(99)), (first, full));
        }
        let last = Geometry::new(65_536, 4).locate(SEGMENT_ROWS_MAX as u32 - 1);
        assert!(list_of(last.0).0 < LISTS);
    }

    #[test]
    fn chunk_lists_have_no_gaps() {
        let places: Vec<_> = (0..1_000).map(list_of).collect();
        let counted = (0..10usize).flat_map(|list| (0..1 << list).map(move |at| (list, at)));
        assert_eq!(places, counted.take(1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_view_does_not_grow_and_rows_do_not_move() {
        let (mut writer, column) = Column::<u32>::create(3);
        let empty = column.view();
        assert_eq!((empty.len, empty.row(0), empty.run(0, 9)), (0, None, &[][..]));
        assert_eq!(column.memory(), 0);
        assert_eq!(writer.push(&[1, 2, 3]), Some(0));
        let view = column.view();
        let first = view.row(0).unwrap();
        let rows = if cfg!(miri) { 3_000 } else { 200_000 };
        for slot in 1..rows {
            assert_eq!(writer.push(&[slot, slot + 1, slot + 2]), Some(slot));
        }
        assert_eq!((view.len, view.row(1)), (1, None));
        assert_eq!(first, [1, 2, 3]);
        assert_eq!(first.as_ptr(), column.view().row(0).unwrap().as_ptr());
        assert!(
            column.memory() >= u64::from(rows) * 12 && column.memory() < u64::from(rows) * 12 + (2 << 20)
        );
    }

    #[test]
    fn runs_cover_every_row_once() {
        let (mut writer, column) = Column::<u32>::create(700);
        let rows = if cfg!(miri) { 30 } else { 1_100 };
        for slot in 0..rows {
            writer.push(&[slot; 700]).unwrap();
        }
        let view = column.view();
        let mut next = 0;
        while next < view.len {
            let run = view.run(next, 100);
            assert!(!run.is_empty() && run.len() <= 100 * 700 && run.as_ptr().is_aligned());
            for row in run.chunks(700) {
                assert!(row.iter().all(|&value| value == next));
                next += 1;
            }
        }
        assert_eq!(next, rows);
    }

    #[test]
    fn a_row_may_be_pushed_again_from_the_column_itself() {
        let (mut writer, column) = Column::<u32>::create(2);
        writer.push(&[7, 8]).unwrap();
        let rows = if cfg!(miri) { 3_000 } else { 10_000 };
        for _ in 0..rows {
            let last = column.view().row(column.len() - 1).unwrap();
            writer.push(last).unwrap();
        }
        assert_eq!(column.view().row(rows), Some(&[7, 8][..]));
    }

    #[test]
    fn readers_see_whole_rows_while_the_writer_pushes() {
        const WIDTH: usize = 33;
        let rows = if cfg!(miri) { 400 } else { 60_000 };
        let (mut writer, column) = Column::<u32>::create(WIDTH);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < rows {
                        let view = column.view();
                        assert!(view.len >= seen, "the length went back");
                        let fresh = seen.saturating_sub(2)..view.len;
                        for slot in fresh {
                            assert_eq!(view.row(slot), Some(&[slot; WIDTH][..]));
                        }
                        seen = view.len;
                        std::thread::yield_now();
                    }
                });
            }
            for slot in 0..rows {
                writer.push(&[slot; WIDTH]).unwrap();
            }
        });
    }
}
