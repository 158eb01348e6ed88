//! Memory that one thread extends while others read what is already there.
//!
//! Take this crate to keep rows of equal width that come one after another: [`Column::create`] gives the column and the only
//! right to push, [`Column::view`] the rows there are now.
//!
//! **It refuses** to change, move or remove a row once it is published, and to know what a row means.
//!
//! ```
//! use nearfield_column::Column;
//!
//! let (mut writer, column) = Column::<f32>::create(2);
//! assert_eq!(writer.push(&[1.0, 2.0]), Some(0));
//! let view = column.view();
//! assert_eq!(writer.push(&[3.0, 4.0]), Some(1));
//! // A view keeps the length it was made with; its rows never move.
//! assert_eq!((view.len(), view.row(0), view.row(1)), (1, Some(&[1.0, 2.0][..]), None));
//! assert_eq!(column.view().row(1), Some(&[3.0, 4.0][..]));
//! ```
//!
//! A column is chunks and a directory of where they begin. Chunks double from 16 KiB up to 1 MiB and then stay at that size, so that an idle column
//! costs little, a long one wastes at most a chunk, and no row ever moves. Memory is not cleared: rows beyond the length were
//! never written and are never read. Chunks begin at a cache line, so rows of a multiple of 64 bytes do too.
//!
//! # Protocol
//!
//! | who | does | ordering |
//! |---|---|---|
//! | writer | makes the chunk of row `len` and enters it in the directory, if it is new | plain: readers look there only for published rows |
//! | writer | writes row `len` | plain: nobody else may touch a row at or beyond `len` |
//! | writer | stores `len + 1` | Release: the row and its chunk happen before |
//! | reader | loads `len`, once per [`View`] | Acquire: every row below is complete and final |
//! | reader | reads rows below what it loaded | plain |
//!
//! A full directory is copied into one of twice the size; both stay until the column goes. A view finds the one that covers its
//! length, and has every chunk of its rows one load away.
//!
//! There is one writer because [`ColumnWriter`] is made once per column, is not `Clone` and pushes through `&mut self`.
//!
//! # Several columns of one row
//!
//! Whoever keeps a row in several columns pushes to all of them in a fixed order and lets readers take the length of the column
//! that is pushed last, before they look at the others.
#![expect(
    unsafe_code,
    reason = "rows below the published length are read while the writer fills the row behind it"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytemuck::Pod;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

const FIRST_CHUNK_BYTES: usize = 16 << 10;
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks begin at a cache line, so rows of a multiple of 64 bytes do too.
const CHUNK_ALIGN: usize = 64;
/// Chunks of the first directory, as a power of two.
const FIRST_DIRECTORY_BITS: u32 = 4;
/// Directories, each twice as long as the one before: enough for any number of chunks.
const DIRECTORIES: usize = (u32::BITS - FIRST_DIRECTORY_BITS) as usize;

/// Rows of `width` values of `T`, extended by one [`ColumnWriter`].
pub struct Column<T> {
    geometry: Geometry,
    directories: [OnceLock<Directory<T>>; DIRECTORIES],
    /// Rows published.
    len: AtomicU32,
}

/// Where chunks begin, from the first on; null where there is none yet.
type Directory<T> = Box<[AtomicPtr<T>]>;

/// The right to push, and the only one.
pub struct ColumnWriter<T> {
    column: Arc<Column<T>>,
}

/// The rows there were when it was made.
pub struct View<'a, T> {
    column: &'a Column<T>,
    /// Covers the chunks of all rows below `len`.
    directory: &'a [AtomicPtr<T>],
    /// The column's, at hand.
    geometry: Geometry,
    /// At most the published length of `column`, loaded with Acquire.
    len: u32,
}

impl<T: Pod + Sync + Send> Column<T> {
    /// An empty column of rows of `width` values. Nothing is allocated for rows yet.
    ///
    /// # Panics
    ///
    /// If a row would have no bytes: `width` and the size of `T` are at least 1.
    pub fn create(width: usize) -> (ColumnWriter<T>, Arc<Column<T>>) {
        assert!(width > 0 && size_of::<T>() > 0, "rows have at least one value of at least one byte");
        let geometry = Geometry::new(width, size_of::<T>());
        let directories = [const { OnceLock::new() }; DIRECTORIES];
        let column = Arc::new(Column { geometry, directories, len: AtomicU32::new(0) });
        (ColumnWriter { column: Arc::clone(&column) }, column)
    }

    /// Rows published so far.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// True before the first row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows published so far.
    pub fn view(&self) -> View<'_, T> {
        let len = self.len();
        let directory = match len.checked_sub(1) {
            // The directory of the last row was made before the row was published.
            Some(last) => self.directory(self.geometry.locate(last).0).map_or(&[][..], |found| found),
            None => &[],
        };
        View { column: self, directory, geometry: self.geometry, len }
    }

    /// Bytes allocated for rows. O(chunks).
    pub fn memory(&self) -> u64 {
        self.chunks().map(|(number, _)| self.chunk_layout(number).size() as u64).sum()
    }

    /// The smallest directory that has a place for this chunk.
    fn directory(&self, chunk: u32) -> Option<&Directory<T>> {
        self.directories[directory_of(chunk)].get()
    }

    fn chunk_or_new(&self, number: u32) -> NonNull<T> {
        let at = directory_of(number);
        let directory = self.directories[at].get_or_init(|| self.larger_directory(at));
        let place = &directory[number as usize];
        // Relaxed: only the writer enters chunks, and it is the writer that asks.
        NonNull::new(place.load(Ordering::Relaxed)).unwrap_or_else(|| {
            let chunk = new_chunk(self.chunk_layout(number));
            // Relaxed: who reads it has seen a length that was stored with Release afterwards.
            place.store(chunk.as_ptr(), Ordering::Relaxed);
            chunk
        })
    }

    /// The directory of this number, with the chunks of the one before, which is full.
    fn larger_directory(&self, at: usize) -> Directory<T> {
        let known = at.checked_sub(1).and_then(|before| self.directories[before].get());
        let known = known.into_iter().flatten().map(|chunk| chunk.load(Ordering::Relaxed));
        let size = 1 << (FIRST_DIRECTORY_BITS as usize + at);
        known.chain(std::iter::repeat(null_mut())).take(size).map(AtomicPtr::new).collect()
    }
}

impl<T> Column<T> {
    /// Every chunk with its number.
    fn chunks(&self) -> impl Iterator<Item = (u32, NonNull<T>)> {
        let largest = self.directories.iter().filter_map(OnceLock::get).last();
        let chunks = largest.into_iter().flatten().map(|chunk| NonNull::new(chunk.load(Ordering::Relaxed)));
        (0..).zip(chunks).filter_map(|(number, chunk)| Some((number, chunk?)))
    }

    fn chunk_layout(&self, number: u32) -> Layout {
        let values = self.geometry.chunk_rows(number) * self.geometry.width;
        let layout = Layout::array::<T>(values).and_then(|layout| layout.align_to(CHUNK_ALIGN));
        layout.expect("a chunk holds a megabyte, or one row within the limits")
    }
}

// SAFETY: a column owns its chunks, which are plain memory of `T`. It is shared under the protocol above, which lets threads read
// values at the same time (`T: Sync`) and lets one thread write what others read and free later (`T: Send`).
unsafe impl<T: Send + Sync> Send for Column<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Column<T> {}

impl<T> Drop for Column<T> {
    fn drop(&mut self) {
        for (number, chunk) in self.chunks() {
            // SAFETY: allocated in `new_chunk` with this layout, entered in the largest directory once, freed only here. Every
            // reference into it borrows the column.
            unsafe { dealloc(chunk.as_ptr().cast(), self.chunk_layout(number)) }
        }
    }
}

/// Memory for a chunk, not initialised; [`Column`] knows which of its values are.
fn new_chunk<T>(layout: Layout) -> NonNull<T> {
    assert!(layout.size() > 0, "rows have at least one value of at least one byte");
    // SAFETY: the layout has a size, as just checked.
    let start = unsafe { alloc(layout) }.cast::<T>();
    let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
    start
}

impl<T: Pod + Sync + Send> ColumnWriter<T> {
    /// Rows pushed so far.
    pub fn len(&self) -> u32 {
        self.column.len()
    }

    /// True before the first push.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a row of the column's width and publishes it. `None` once there are [`SEGMENT_ROWS_MAX`] rows.
    ///
    /// # Panics
    ///
    /// If the row has another width.
    pub fn push(&mut self, row: &[T]) -> Option<u32> {
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
            let target = chunk.as_ptr().add(offset * width);
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
    /// Rows it shows.
    #[inline]
    pub fn len(self) -> u32 {
        self.len
    }

    /// True where it shows none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// A view of the same column with the rows published since.
    #[must_use]
    pub fn refreshed(self) -> View<'a, T> {
        self.column.view()
    }

    /// The row of `slot`; `None` beyond the length.
    #[inline]
    pub fn row(self, slot: u32) -> Option<&'a [T]> {
        if slot >= self.len {
            return None;
        }
        let width = self.geometry.width;
        let (number, offset) = self.geometry.locate(slot);
        // SAFETY: as in `run`, for one row.
        unsafe {
            let start = self.chunk(number).as_ptr().add(offset * width);
            Some(std::slice::from_raw_parts(start, width))
        }
    }

    /// Rows that lie one after another in memory, from `first` on: at least one and at most `max`; none beyond the length.
    #[inline]
    pub fn run(self, first: u32, max: usize) -> &'a [T] {
        if first >= self.len {
            return &[];
        }
        let geometry = self.geometry;
        let (number, offset) = geometry.locate(first);
        let count = (geometry.chunk_rows(number) - offset).min((self.len - first) as usize).min(max);
        // SAFETY: `count` rows from `offset` lie inside the chunk and below `self.len`, which was loaded with Acquire from the
        // published length: they were written completely before, and nobody writes them again. The chunk lives as long as
        // the column, which is borrowed for 'a. `T: Pod` has no invalid bit patterns and no destructor.
        unsafe {
            let start = self.chunk(number).as_ptr().add(offset * geometry.width);
            std::slice::from_raw_parts(start, count * geometry.width)
        }
    }

    /// Where the chunk of a row below the length begins.
    #[inline]
    fn chunk(self, number: u32) -> NonNull<T> {
        // Relaxed: the chunk was entered before the length that this view loaded with Acquire.
        let chunk = self.directory[number as usize].load(Ordering::Relaxed);
        NonNull::new(chunk).expect("the chunk of a published row was made before the row")
    }
}

/// How slots are spread over chunks. All sizes are powers of two.
#[derive(Clone, Copy)]
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
        let full = slot >> self.full_bits;
        if full != 0 {
            return (self.full_bits - self.first_bits + full, (slot - (full << self.full_bits)) as usize);
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

/// The number of the smallest directory that has a place for this chunk.
#[inline]
fn directory_of(chunk: u32) -> usize {
    (chunk >> FIRST_DIRECTORY_BITS).checked_ilog2().map_or(0, |bits| bits as usize + 1)
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
        assert!(directory_of(last.0) < DIRECTORIES);
    }

    #[test]
    fn a_chunk_has_a_place_in_its_directory_and_in_no_smaller_one() {
        for chunk in (0..2_000).chain([1 << 20, (1 << 29) + 1]) {
            let at = directory_of(chunk);
            let places = |at: usize| 1_u64 << (FIRST_DIRECTORY_BITS as usize + at);
            assert!(
                u64::from(chunk) < places(at) && (at == 0 || u64::from(chunk) >= places(at - 1)),
                "{chunk}"
            );
        }
    }

    #[test]
    fn many_chunks_are_found_by_old_and_new_views() {
        let (mut writer, column) = Column::<u8>::create(65_536);
        let mut views = vec![];
        for slot in 0..300_u32 {
            writer.push(&[slot as u8; 65_536]).unwrap();
            if slot % 50 == 15 {
                views.push(column.view());
            }
        }
        assert!(column.chunks().count() > 1 << FIRST_DIRECTORY_BITS);
        for view in views.into_iter().chain([column.view()]) {
            for slot in [0, view.len() / 2, view.len() - 1] {
                let ends = [view.row(slot).unwrap()[0], view.refreshed().row(slot).unwrap()[65_535]];
                assert_eq!(ends, [slot as u8; 2]);
            }
        }
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
