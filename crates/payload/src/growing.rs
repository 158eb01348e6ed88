//! The rows of a growing segment: in memory, append-only, never moving.
//!
//! It refuses to look into rows and to change one: a later payload of a point is a patch, which the segment keeps.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_types::Slot;

/// An encoded row, shared; `None` is the empty object.
type Row = Option<Arc<[u8]>>;

/// Rows in slot order.
///
/// # Concurrency
///
/// One writer pushes; any number of readers get, without locks. A row is readable as soon as its `push` returned to the
/// writer, and never moves; which slots a reader may look at is the segment's business.
///
/// ```
/// use nearfield_payload::GrowingPayload;
/// use nearfield_types::Slot;
///
/// let rows = GrowingPayload::new();
/// assert_eq!(rows.push(&b"a row"[..]), Slot(0));
/// assert_eq!(rows.push(&b""[..]), Slot(1));
/// assert_eq!(rows.row(Slot(0)), Some(&b"a row"[..]));
/// assert_eq!(rows.row(Slot(1)), Some(&b""[..]));
/// assert_eq!(rows.row(Slot(2)), None);
/// ```
#[derive(Default)]
pub struct GrowingPayload {
    rows: boxcar::Vec<Row>,
    row_bytes: AtomicU64,
}

impl GrowingPayload {
    /// No rows yet.
    pub fn new() -> Self {
        GrowingPayload::default()
    }

    /// Appends a row (shared where it is given as `Arc`, else copied) and returns its slot. Called by the writer alone. O(1)
    /// beside the copy.
    ///
    /// # Panics
    ///
    /// With 2^32 rows; a segment ends at [`SEGMENT_ROWS_MAX`](nearfield_types::limits::SEGMENT_ROWS_MAX).
    pub fn push(&self, row: impl AsRef<[u8]> + Into<Arc<[u8]>>) -> Slot {
        let len = row.as_ref().len() as u64;
        let row = (len > 0).then(|| row.into());
        self.row_bytes.fetch_add(len, Ordering::Relaxed);
        let at = self.rows.push(row);
        Slot(u32::try_from(at).expect("a segment has fewer than 2^31 rows"))
    }

    /// The row of `slot`, empty for the empty object; `None` past the end. O(1).
    pub fn row(&self, slot: Slot) -> Option<&[u8]> {
        self.rows.get(slot.index()).map(|row| row.as_deref().unwrap_or_default())
    }

    /// How many rows have been pushed.
    pub fn len(&self) -> usize {
        self.rows.count()
    }

    /// True before the first push.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in memory: the rows and what it takes to keep them.
    pub fn bytes_resident(&self) -> u64 {
        /// Two counters of the `Arc` and the allocator's header.
        const ROW_OVERHEAD: u64 = 24;
        self.row_bytes.load(Ordering::Relaxed) + self.len() as u64 * (size_of::<Row>() as u64 + ROW_OVERHEAD)
    }
}

impl fmt::Debug for GrowingPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrowingPayload({} rows)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RowRef, ValueRef, encode};
    use nearfield_types::Object;

    #[test]
    fn shares_rows_and_keeps_no_bytes_for_empty_ones() {
        let rows = GrowingPayload::new();
        let shared: Arc<[u8]> = Arc::from(&b"shared"[..]);
        assert_eq!(rows.push(Arc::clone(&shared)), Slot(0));
        assert_eq!(rows.row(Slot(0)).unwrap().as_ptr(), shared.as_ptr());
        let before = rows.bytes_resident();
        assert_eq!(rows.push(Vec::new()), Slot(1));
        assert_eq!(rows.bytes_resident() - before, 16 + 24);
        assert_eq!(rows.row(Slot(1)), Some(&[][..]));
        assert_eq!((rows.len(), rows.is_empty()), (2, false));
        assert_eq!(rows.row(Slot(u32::MAX)), None);
    }

    /// Readers run beside the writer and see whole rows, in place.
    #[test]
    fn readers_see_whole_rows_beside_the_writer() {
        const ROWS: u32 = 5_000;
        let rows = GrowingPayload::new();
        let row = |n: u32| encode(&Object::from_entries([("n".to_owned(), i64::from(n).into())])).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < ROWS {
                        let Some(bytes) = rows.row(Slot(seen)) else { continue };
                        let found = RowRef::new(bytes).unwrap().get("n").unwrap();
                        assert!(matches!(found, Some(ValueRef::I64(n)) if n == i64::from(seen)));
                        seen += 1;
                    }
                });
            }
            for n in 0..ROWS {
                assert_eq!(rows.push(row(n)), Slot(n));
            }
        });
        assert_eq!(rows.len(), ROWS as usize);
    }
}
