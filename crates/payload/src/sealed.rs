//! The rows of a sealed segment: one write-once file, read by slot, every block checked on first touch.
//!
//! It refuses to look into rows, to hold them in memory, and to believe a number in the file: counts and offsets are only
//! compared with what is known. The layout is in [`crate::format`].

mod write;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use nearfield_platform::{Blob, BlobError};
use nearfield_types::Slot;

use crate::format::{
    HEADER_BYTES, OFFSET_BYTES, PACKING_RAW, ROW_ALIGN, SECTION_HEADER, SECTION_OFFSETS, SECTION_ROWS,
};
pub use write::{SealedWriter, write};

/// Rows in slot order, in a file.
///
/// # Concurrency
///
/// All methods may be called from several threads; there is no state but the blob's.
#[derive(Clone, Debug)]
pub struct SealedPayload {
    blob: Arc<dyn Blob>,
    count: u32,
    offsets: Range<u64>,
    rows: Range<u64>,
}

/// Why a file is not the payload of this segment.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The file is of another segment.
    #[error("payload file has {have} rows, {expected} are expected")]
    Count {
        /// Rows the file says.
        have: u64,
        /// Rows there should be.
        expected: u32,
    },
    /// A section has not the length it should.
    #[error("section {id} of the payload file has {have} bytes, {expected} are expected")]
    Length {
        /// Which section.
        id: u32,
        /// Its length.
        have: u64,
        /// What the count asks for.
        expected: u64,
    },
    /// The offsets do not span the rows.
    #[error("offsets of the payload file run from {first} to {last}, its rows have {len} bytes")]
    Offsets {
        /// The first offset, which should be 0.
        first: u64,
        /// The last offset, which should be the length of the rows.
        last: u64,
        /// Bytes of all rows.
        len: u64,
    },
    /// Rows are kept in a way that this program does not know.
    #[error(
        "payload file uses packing {packing}, which this program does not know: upgrade Nearfield to open it"
    )]
    Packing {
        /// What the file says.
        packing: u64,
    },
}

/// Why a row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// There is no such row.
    #[error("slot {slot} is past the {count} rows of the payload file")]
    Slot {
        /// Which was asked for.
        slot: u32,
        /// Rows there are.
        count: u32,
    },
    /// The offsets of a row are not in order or lead outside.
    #[error("row {slot} of the payload file claims bytes {start}..{end} of {len}")]
    Offsets {
        /// Which row.
        slot: u32,
        /// Where it would begin.
        start: u64,
        /// Where it would end.
        end: u64,
        /// Bytes of all rows.
        len: u64,
    },
}

impl SealedPayload {
    /// The rows of `blob`, which must be `count`. Reads the header and the first and the last offset. O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is damaged, of another kind, or of another segment.
    pub fn open(blob: Arc<dyn Blob>, count: u32) -> Result<SealedPayload, OpenError> {
        let section = |id, expected: Option<u64>| -> Result<Range<u64>, OpenError> {
            let range = blob.section(id)?;
            let have = range.end - range.start;
            match expected {
                Some(expected) if have != expected => Err(OpenError::Length { id, have, expected }),
                _ => Ok(range),
            }
        };
        let header = section(SECTION_HEADER, Some(HEADER_BYTES as u64))?;
        let (mut have, mut packing) = (0, 0);
        blob.read_many(&[header], &mut |_, bytes| (have, packing) = (number(bytes, 0), number(bytes, 8)))?;
        if packing != PACKING_RAW {
            return Err(OpenError::Packing { packing });
        }
        if have != u64::from(count) {
            return Err(OpenError::Count { have, expected: count });
        }
        let offsets = section(SECTION_OFFSETS, Some((u64::from(count) + 1) * OFFSET_BYTES as u64))?;
        let rows = section(SECTION_ROWS, None)?;
        let payload = SealedPayload { blob, count, offsets, rows };
        payload.check_ends()?;
        Ok(payload)
    }

    /// How many rows there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// True without any row.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The blob underneath, for verification in the background.
    pub fn blob(&self) -> &Arc<dyn Blob> {
        &self.blob
    }

    /// The row of `slot`, copied; empty for the empty object. O(row).
    ///
    /// # Errors
    ///
    /// As [`SealedPayload::read_many`].
    pub fn row(&self, slot: Slot) -> Result<Vec<u8>, ReadError> {
        let mut row = Vec::new();
        self.read_many(&[slot], &mut |_, bytes| row.extend_from_slice(bytes))?;
        Ok(row)
    }

    /// Calls `visit(i, row)` for each of `slots`, in order. Rows are aligned to [`ROW_ALIGN`] and empty for the empty object.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: a damaged block, a slot past the end. Rows before the error may have been visited.
    ///
    /// # Complexity
    ///
    /// O(slots + bytes of their blocks at the first touch, of their rows later). The rows of the file are not checked for
    /// being rows; that is [`decode`](crate::decode)'s business.
    pub fn read_many(&self, slots: &[Slot], visit: &mut dyn FnMut(usize, &[u8])) -> Result<(), ReadError> {
        let mut places = Vec::with_capacity(slots.len());
        let mut ranges = Vec::with_capacity(slots.len());
        self.locate(slots, |place, range| {
            places.push(place);
            ranges.push(range);
        })?;
        // Empty rows have no range; they are visited on the way to the next one that has.
        let mut next = 0;
        self.blob.read_many(&ranges, &mut |at, bytes| {
            let place = places[at];
            (next..place).for_each(|empty| visit(empty, &[]));
            visit(place, bytes);
            next = place + 1;
        })?;
        (next..slots.len()).for_each(|empty| visit(empty, &[]));
        Ok(())
    }

    /// Calls `found(i, range in the file)` for each of `slots` whose row is not empty, in order.
    fn locate(&self, slots: &[Slot], mut found: impl FnMut(usize, Range<u64>)) -> Result<(), ReadError> {
        if let Some(&Slot(slot)) = slots.iter().find(|slot| slot.0 >= self.count) {
            return Err(ReadError::Slot { slot, count: self.count });
        }
        let entry = |slot: &Slot| {
            let at = self.offsets.start + u64::from(slot.0) * OFFSET_BYTES as u64;
            at..at + 2 * OFFSET_BYTES as u64
        };
        let entries: Vec<_> = slots.iter().map(entry).collect();
        let len = self.rows.end - self.rows.start;
        let mut wrong = None;
        self.blob.read_many(&entries, &mut |place, bytes| {
            let (before, end) = (number(bytes, 0), number(bytes, OFFSET_BYTES));
            if before == end {
                return;
            }
            let start = before.checked_next_multiple_of(ROW_ALIGN as u64).unwrap_or(u64::MAX);
            if start < end && end <= len {
                found(place, self.rows.start + start..self.rows.start + end);
            } else {
                wrong.get_or_insert(ReadError::Offsets { slot: slots[place].0, start, end, len });
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    /// The first offset is zero and the last one is the length of the rows.
    fn check_ends(&self) -> Result<(), OpenError> {
        let each = OFFSET_BYTES as u64;
        let ends = [self.offsets.start..self.offsets.start + each, self.offsets.end - each..self.offsets.end];
        let mut found = [0; 2];
        self.blob.read_many(&ends, &mut |at, bytes| found[at] = number(bytes, 0))?;
        let ([first, last], len) = (found, self.rows.end - self.rows.start);
        match first == 0 && last == len {
            true => Ok(()),
            false => Err(OpenError::Offsets { first, last, len }),
        }
    }
}

/// The u64 at `at` of bytes that a blob returned for a range that holds it.
fn number(bytes: &[u8], at: usize) -> u64 {
    let raw = bytes.get(at..).and_then(|rest| rest.first_chunk());
    raw.map_or(u64::MAX, |raw| u64::from_le_bytes(*raw))
}
