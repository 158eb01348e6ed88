//! Rows in memory, pushed by one writer and read by anybody.
//!
//! It refuses to replace or remove a row; a point that changes gets a new slot.
//!
//! Invariant: the row of a slot is published before its entry in the second column, and readers take the length of that one.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use nearfield_ann::{Scorer, Stopped};
use nearfield_column::{Column, ColumnWriter, View};
use nearfield_platform::BlobError;
use nearfield_simd::prefetch;
use nearfield_types::{Score, Slot};

use crate::score::{Query, stored_norm};
use crate::{Shape, ShapeError, VectorStore};

/// The rows of a growing segment. Made by [`GrowingRows::create`], together with its only writer.
pub struct GrowingRows {
    shape: Shape,
    rows: Arc<Column<f32>>,
    entries: Arc<Column<Entry>>,
}

/// Pushes rows. There is one per [`GrowingRows`].
pub struct GrowingWriter {
    shape: Shape,
    rows: ColumnWriter<f32>,
    entries: ColumnWriter<Entry>,
    /// The row of a slot without a vector.
    zeros: Box<[f32]>,
}

/// What is kept beside a row.
#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C)]
struct Entry {
    inverse_norm: f32,
    /// 1 where the slot has a vector.
    present: u32,
}

/// Why a row was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It does not fit the store.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A segment holds no more rows.
    #[error("the segment holds {rows} rows, which is all a segment can hold")]
    Full {
        /// How many there are.
        rows: u32,
    },
}

impl GrowingRows {
    /// An empty store and its writer. Memory for rows is taken as they come.
    ///
    /// ```
    /// use nearfield_types::{Metric, Slot};
    /// use nearfield_vectors::{Element, GrowingRows, Shape, VectorStore};
    ///
    /// let (mut writer, rows) = GrowingRows::create(Shape::new(2, Metric::Dot, Element::F32)?);
    /// assert_eq!(writer.push(Some(&[1.0, 2.0]))?, Slot(0));
    /// assert_eq!(writer.push(None)?, Slot(1));
    /// assert_eq!((rows.len(), rows.row(Slot(0)), rows.row(Slot(1))), (2, Some(&[1.0, 2.0][..]), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(shape: Shape) -> (GrowingWriter, Arc<GrowingRows>) {
        let dim = shape.dim() as usize;
        let (row_writer, rows) = Column::create(dim);
        let (entry_writer, entries) = Column::create(1);
        let zeros = vec![0.0; dim].into_boxed_slice();
        let writer = GrowingWriter { shape, rows: row_writer, entries: entry_writer, zeros };
        (writer, Arc::new(GrowingRows { shape, rows, entries }))
    }

    /// The vector of a slot, as it was pushed.
    pub fn row(&self, slot: Slot) -> Option<&[f32]> {
        self.view().present_row(slot.0).map(|(row, _)| row)
    }

    fn view(&self) -> Rows<'_> {
        // The entries first: the row of every entry seen is there already, so the later look at the rows sees it too.
        let entries = self.entries.view();
        Rows { entries, rows: self.rows.view() }
    }
}

impl GrowingWriter {
    /// Appends the vector of the next slot, or a slot without one, and shows it to readers.
    ///
    /// Values are not looked at: they were checked ([`Shape::check`]) where they entered the database.
    ///
    /// # Errors
    ///
    /// [`PushError::Shape`] for another dimension, [`PushError::Full`] at [`SEGMENT_ROWS_MAX`] rows; nothing has changed then.
    ///
    /// # Complexity
    ///
    /// One copy of the row, and its norm for cosine; an allocation of at most 1 MiB (or four rows) now and then.
    ///
    /// [`SEGMENT_ROWS_MAX`]: nearfield_types::limits::SEGMENT_ROWS_MAX
    pub fn push(&mut self, row: Option<&[f32]>) -> Result<Slot, PushError> {
        if let Some(row) = row {
            self.shape.check_dim(row)?;
        }
        let values = row.unwrap_or(&self.zeros);
        let entry = Entry {
            inverse_norm: stored_norm(self.shape.metric(), values),
            present: u32::from(row.is_some()),
        };
        let full = PushError::Full { rows: self.len() };
        let slot = self.rows.push(values).ok_or(full)?;
        let same = self.entries.push(&[entry]).ok_or(full)?;
        debug_assert_eq!(slot, same, "rows and entries are pushed in pairs");
        Ok(Slot(slot))
    }

    /// Slots pushed so far.
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// True before the first push.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl VectorStore for GrowingRows {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn len(&self) -> u32 {
        self.entries.len()
    }

    fn scorer(&self, query: &[f32]) -> Result<Box<dyn Scorer + '_>, ShapeError> {
        Ok(Box::new(GrowingScorer { query: Query::new(self.shape, query)?, rows: self.view() }))
    }

    fn read_many(
        &self,
        slots: &[Slot],
        visit: &mut dyn FnMut(usize, Option<&[f32]>),
    ) -> Result<(), BlobError> {
        let view = self.view();
        for (at, slot) in slots.iter().enumerate() {
            visit(at, view.present_row(slot.0).map(|(row, _)| row));
        }
        Ok(())
    }

    fn is_present(&self, slot: Slot) -> bool {
        self.view().present_row(slot.0).is_some()
    }

    fn memory(&self) -> u64 {
        self.rows.memory() + self.entries.memory()
    }
}

/// Both columns, as long as the shorter one.
#[derive(Clone, Copy)]
struct Rows<'a> {
    entries: View<'a, Entry>,
    rows: View<'a, f32>,
}

impl<'a> Rows<'a> {
    /// The vector of a slot and its inverse norm.
    #[inline]
    fn present_row(self, slot: u32) -> Option<(&'a [f32], f32)> {
        match self.entries.row(slot)? {
            [entry] if entry.present == 1 => Some((self.rows.row(slot)?, entry.inverse_norm)),
            _ => None,
        }
    }
}

/// Rows scored at once by the gather kernel.
const GATHER: usize = 4;

struct GrowingScorer<'a> {
    query: Query,
    rows: Rows<'a>,
}

impl GrowingScorer<'_> {
    fn score_group(&self, slots: &[Slot], out: &mut [Score]) {
        let rows: [_; GATHER] = std::array::from_fn(|at| self.rows.present_row(slots.get(at)?.0));
        if let [Some(a), Some(b), Some(c), Some(d)] = rows {
            let scores = self.query.four([a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]);
            out.copy_from_slice(&scores);
            return;
        }
        for (row, score) in rows.into_iter().zip(out) {
            *score = row.map_or(Score::INFINITY, |(row, norm)| self.query.row(row, norm));
        }
    }
}

impl Scorer for GrowingScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        let mut groups = slots.chunks(GATHER).zip(out.chunks_mut(GATHER)).peekable();
        while let Some((group, scores)) = groups.next() {
            if let Some((next, _)) = groups.peek() {
                // The next rows travel while these are scored.
                next.iter().filter_map(|slot| self.rows.rows.row(slot.0)).for_each(prefetch);
            }
            self.score_group(group, scores);
        }
        Ok(())
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        let (mut next, mut out) = (first.0, out);
        while !out.is_empty() {
            let entries = self.rows.entries.run(next, out.len());
            let rows = self.rows.rows.run(next, entries.len());
            let count = rows.len() / self.query.dim();
            if count == 0 {
                out.fill(Score::INFINITY);
                break;
            }
            let (part, rest) = out.split_at_mut(count);
            self.query.run(rows, |at| entries[at].inverse_norm, part);
            for (score, entry) in part.iter_mut().zip(entries) {
                if entry.present == 0 {
                    *score = Score::INFINITY;
                }
            }
            (next, out) = (next + count as u32, rest);
        }
        Ok(())
    }
}
