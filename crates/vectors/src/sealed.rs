//! Rows in a file, read in place.
//!
//! It refuses to believe the file: its header is compared with what the caller knows, its sections with the header, and every
//! block with its checksum before a byte of it is used.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use nearfield_ann::{Scorer, Stopped};
use nearfield_codec::{DecodeError, Decoder};
use nearfield_platform::{Blob, BlobError};
use nearfield_types::{Metric, Score, Slot};

use crate::format::{
    HEADER_BYTES, NORM_BYTES, PRESENCE_WORD_BYTES, SECTION_HEADER, SECTION_NORMS, SECTION_PRESENCE,
    SECTION_ROWS,
};
use crate::presence::Presence;
use crate::score::Query;
use crate::{Element, Shape, ShapeError, VectorStore};

/// A run is read in pieces of about this size: large enough that the call costs nothing, small enough for the second-level
/// cache, which matters when a block is checked and then scored.
const PIECE_BYTES: usize = 512 << 10;

/// The rows of a sealed segment.
///
/// Opening reads the header and the presence bits. Rows and norms are checked block by block when they are touched.
pub struct SealedRows {
    blob: Arc<dyn Blob>,
    shape: Shape,
    count: u32,
    /// Where the first row begins.
    rows_start: u64,
    /// Where the first inverse norm begins; for cosine only.
    norms_start: u64,
    /// `None` where every slot has a vector.
    presence: Option<Presence>,
}

/// Why a rows file is refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read, or is damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Its header is not one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its elements are of a kind this program does not know.
    #[error(
        "rows have element code {code}, which this program does not support: upgrade Nearfield to open them"
    )]
    Element {
        /// The code in the file.
        code: u8,
    },
    /// Its metric is one this program does not know.
    #[error(
        "rows have metric code {code}, which this program does not support: upgrade Nearfield to open them"
    )]
    Metric {
        /// The code in the file.
        code: u8,
    },
    /// It is sound, but not the file that was expected.
    #[error("rows have {field} {found}, expected {expected}")]
    Other {
        /// What differs: the dimension, the count, or the code of the metric or element.
        field: &'static str,
        /// What the file says.
        found: u64,
        /// What the caller knows.
        expected: u64,
    },
    /// A section is not as long as the header says.
    #[error("section {id} has {found} bytes, expected {expected}")]
    Section {
        /// Its id.
        id: u32,
        /// Its length.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The presence bits are not what the header says.
    #[error("presence bits do not stand for {present} of {count} slots")]
    Presence {
        /// Slots with a vector, by the header.
        present: u32,
        /// Slots, by the header.
        count: u32,
    },
}

impl SealedRows {
    /// Opens a rows file that holds `count` slots of vectors of this shape.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Nothing is allocated from a number in the file.
    ///
    /// # Complexity
    ///
    /// The blocks of header and presence bits: O(count / 8) bytes where some slots have no vector, else O(1).
    pub fn open(blob: Arc<dyn Blob>, shape: Shape, count: u32) -> Result<SealedRows, OpenError> {
        let header = section(&*blob, SECTION_HEADER, HEADER_BYTES as u64)?;
        let present = checked(&*blob, header, |bytes| read_header(bytes, shape, count))??;
        let rows = u64::from(count);
        let rows_start = section(&*blob, SECTION_ROWS, rows * shape.row_bytes() as u64)?.start;
        let norms_start = match shape.metric() {
            Metric::Cosine => section(&*blob, SECTION_NORMS, rows * NORM_BYTES as u64)?.start,
            _ => 0,
        };
        let presence = if present < count { Some(read_presence(&*blob, count, present)?) } else { None };
        Ok(SealedRows { blob, shape, count, rows_start, norms_start, presence })
    }

    /// Checks every block not yet checked.
    ///
    /// # Errors
    ///
    /// The first damaged block, or what the store returned.
    pub fn verify(&self) -> Result<(), BlobError> {
        self.blob.verify_all()
    }

    /// The bytes of `count` rows from `first` on; they lie inside the section.
    fn rows_range(&self, first: u32, count: usize) -> Range<u64> {
        let row_bytes = self.shape.row_bytes() as u64;
        let start = self.rows_start + u64::from(first) * row_bytes;
        start..start + count as u64 * row_bytes
    }

    fn norms_range(&self, first: u32, count: usize) -> Range<u64> {
        let start = self.norms_start + u64::from(first) * NORM_BYTES as u64;
        start..start + (count * NORM_BYTES) as u64
    }
}

impl fmt::Debug for SealedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedRows({} of {:?})", self.count, self.shape)
    }
}

impl VectorStore for SealedRows {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn len(&self) -> u32 {
        self.count
    }

    fn scorer(&self, query: &[f32]) -> Result<Box<dyn Scorer + '_>, ShapeError> {
        let query = Query::new(self.shape, query)?;
        let plan = Plan { pieces: Vec::new(), ranges: Vec::new() };
        Ok(Box::new(SealedScorer { store: self, query, plan, norms: Vec::new() }))
    }

    fn read_many(
        &self,
        slots: &[Slot],
        visit: &mut dyn FnMut(usize, Option<&[f32]>),
    ) -> Result<(), BlobError> {
        let present: Vec<usize> = (0..slots.len()).filter(|&at| self.is_present(slots[at])).collect();
        let ranges: Vec<Range<u64>> = present.iter().map(|&at| self.rows_range(slots[at].0, 1)).collect();
        let mut next = 0;
        let mut misread = Ok(());
        self.blob.read_many(&ranges, &mut |i, bytes| {
            let row = floats(bytes);
            misread = misread.and(row.map(|_| ()).ok_or(()));
            (next..present[i]).for_each(|at| visit(at, None));
            visit(present[i], row);
            next = present[i] + 1;
        })?;
        (next..slots.len()).for_each(|at| visit(at, None));
        misread.map_err(|()| misaligned())
    }

    fn is_present(&self, slot: Slot) -> bool {
        match &self.presence {
            Some(presence) => presence.has(slot.0),
            None => slot.0 < self.count,
        }
    }

    fn memory(&self) -> u64 {
        self.presence.as_ref().map_or(0, Presence::memory)
    }
}

struct SealedScorer<'a> {
    store: &'a SealedRows,
    query: Query,
    plan: Plan,
    /// Inverse norms of the piece that is read next.
    norms: Vec<f32>,
}

/// What to read for one call, made anew each time in the same memory.
struct Plan {
    pieces: Vec<Piece>,
    /// One range per piece; for cosine two, the norms before their rows.
    ranges: Vec<Range<u64>>,
}

/// Slots that lie one after another, in the file and in the answer.
#[derive(Clone, Copy)]
struct Piece {
    first: u32,
    count: u32,
    /// Where their scores go.
    at: usize,
}

impl SealedScorer<'_> {
    /// Plans the reads for consecutive `slots`, in pieces; what lies beyond the end is left out.
    fn plan_run(&mut self, first: u32, count: usize, at: usize) {
        let rows_max = (PIECE_BYTES / self.store.shape.row_bytes()).max(1) as u32;
        let end = u64::from(first).saturating_add(count as u64).min(u64::from(self.store.count)) as u32;
        let mut next = first;
        while next < end {
            let count = (end - next).min(rows_max);
            self.plan.pieces.push(Piece { first: next, count, at: at + (next - first) as usize });
            next += count;
        }
    }

    /// Reads and scores what was planned. What was not planned stays as it is in `out`.
    fn run_plan(&mut self, out: &mut [Score]) -> Result<(), Stopped> {
        let SealedScorer { store, query, plan, norms } = self;
        plan.ranges.clear();
        let per_piece = if query.is_cosine() { 2 } else { 1 };
        for piece in &plan.pieces {
            if query.is_cosine() {
                plan.ranges.push(store.norms_range(piece.first, piece.count as usize));
            }
            plan.ranges.push(store.rows_range(piece.first, piece.count as usize));
        }
        let mut misread = false;
        let read = store.blob.read_many(&plan.ranges, &mut |i, bytes| {
            let Some(values) = floats(bytes) else {
                misread = true;
                return;
            };
            if i % per_piece + 1 < per_piece {
                norms.clear();
                norms.extend_from_slice(values);
                return;
            }
            let piece = plan.pieces[i / per_piece];
            let scores = &mut out[piece.at..piece.at + piece.count as usize];
            query.run(values, |row| norms.get(row).copied().unwrap_or(0.0), scores);
        });
        read.map_err(|error| stopped_by(&error))?;
        if misread { Err(Stopped::Unreadable) } else { Ok(()) }
    }

    /// Sets infinity for the slots that have no vector.
    fn hide_absent(&self, slots: impl Iterator<Item = Slot>, out: &mut [Score]) {
        if self.store.presence.is_some() {
            for (score, slot) in out.iter_mut().zip(slots) {
                if !self.store.is_present(slot) {
                    *score = Score::INFINITY;
                }
            }
        }
    }
}

impl Scorer for SealedScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        out.fill(Score::INFINITY);
        self.plan.pieces.clear();
        let mut at = 0;
        for run in slots.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
            self.plan_run(run[0].0, run.len(), at);
            at += run.len();
        }
        self.run_plan(out)?;
        self.hide_absent(slots.iter().copied(), out);
        Ok(())
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        let known = self.store.count.saturating_sub(first.0) as usize;
        let (out, beyond) = out.split_at_mut(known.min(out.len()));
        beyond.fill(Score::INFINITY);
        self.plan.pieces.clear();
        self.plan_run(first.0, out.len(), 0);
        self.run_plan(out)?;
        self.hide_absent((first.0..).map(Slot), out);
        Ok(())
    }
}

/// Where a section lies, if it has the length it should have.
fn section(blob: &dyn Blob, id: u32, expected: u64) -> Result<Range<u64>, OpenError> {
    let range = blob.section(id)?;
    let found = range.end - range.start;
    if found != expected {
        return Err(OpenError::Section { id, found, expected });
    }
    Ok(range)
}

/// Reads one range and hands its bytes to `read`.
fn checked<T>(blob: &dyn Blob, range: Range<u64>, read: impl Fn(&[u8]) -> T) -> Result<T, OpenError> {
    let mut result = None;
    blob.read_many(&[range], &mut |_, bytes| result = Some(read(bytes)))?;
    result.ok_or_else(|| OpenError::Blob(misaligned()))
}

/// How many slots have a vector, once everything else in the header is what the caller expects.
fn read_header(bytes: &[u8], shape: Shape, count: u32) -> Result<u32, OpenError> {
    let mut header = Decoder::new(bytes);
    let (dim, stored_count, present) = (header.u32()?, header.u32()?, header.u32()?);
    let (metric_code, element_code, zero) = (header.u8()?, header.u8()?, header.u16()?);
    header.finish()?;
    let metric = Metric::from_code(metric_code).ok_or(OpenError::Metric { code: metric_code })?;
    let element = Element::from_code(element_code).ok_or(OpenError::Element { code: element_code })?;
    for (field, found, expected) in [
        ("dimension", dim.into(), shape.dim().into()),
        ("count", stored_count.into(), u64::from(count)),
        ("metric code", metric.code().into(), shape.metric().code().into()),
        ("element code", element.code().into(), shape.element().code().into()),
        ("reserved bytes", zero.into(), 0),
    ] {
        if found != expected {
            return Err(OpenError::Other { field, found, expected });
        }
    }
    if present > count { Err(OpenError::Presence { present, count }) } else { Ok(present) }
}

fn read_presence(blob: &dyn Blob, count: u32, present: u32) -> Result<Presence, OpenError> {
    let bytes_expected = Presence::words_for(count) * PRESENCE_WORD_BYTES;
    let range = section(blob, SECTION_PRESENCE, bytes_expected as u64)?;
    let words = checked(blob, range, |bytes| {
        let words = bytes.chunks_exact(PRESENCE_WORD_BYTES);
        words.map(|word| Decoder::new(word).u64()).collect::<Result<Vec<u64>, _>>()
    })??;
    let presence = Presence::from_words(words, count).filter(|presence| presence.count() == present);
    presence.ok_or(OpenError::Presence { present, count })
}

/// The values of bytes from a blob. `None` only where a blob broke its contract on alignment.
fn floats(bytes: &[u8]) -> Option<&[f32]> {
    bytemuck::try_cast_slice(bytes).ok()
}

fn misaligned() -> BlobError {
    BlobError::Io(std::io::Error::other("the store gave bytes that are not aligned as its contract says"))
}

fn stopped_by(error: &BlobError) -> Stopped {
    match error {
        BlobError::Io(_) => Stopped::Unreadable,
        BlobError::Damaged(_) | BlobError::Outside { .. } => Stopped::Damaged,
    }
}
