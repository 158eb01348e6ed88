//! Codes as a scorer reads them: where the planes and factors of a slot lie, in a store that grows or in one that does not.
//!
//! It refuses to know what the numbers mean.

use nearfield_column::View;
use nearfield_types::Slot;

use crate::CodeRow;

/// The codes there were when it was made, of either kind of store. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Rows<'a>(pub(crate) Kind<'a>);

#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Growing(GrowingRows<'a>),
    Sealed(SealedRows<'a>),
}

/// What both kinds can do, so that loops are compiled for each of them.
///
/// Only `hot` is exact about the length: the other parts of a code may be there a moment earlier, and mean nothing until then.
pub(crate) trait Source<'a>: Copy {
    /// Slots there are.
    fn len(self) -> u32;
    /// The first plane of a slot; none beyond the length.
    fn high(self, slot: u32) -> Option<&'a [u8]>;
    /// The second plane; none beyond the length or without such a plane.
    fn low(self, slot: u32) -> Option<&'a [u8]>;
    /// Hot factors.
    fn hot(self, slot: u32) -> Option<&'a [f32]>;
    /// Cold factors.
    fn cold(self, slot: u32) -> Option<&'a [f32]>;
}

/// Codes in columns.
#[derive(Clone, Copy)]
pub(crate) struct GrowingRows<'a> {
    pub(crate) high: View<'a, u8>,
    pub(crate) low: Option<View<'a, u8>>,
    /// Pushed last: its length is that of all.
    pub(crate) hot: View<'a, f32>,
    pub(crate) cold: Option<View<'a, f32>>,
}

/// Codes in one piece for each part.
#[derive(Clone, Copy)]
pub(crate) struct SealedRows<'a> {
    pub(crate) len: u32,
    pub(crate) plane_bytes: usize,
    pub(crate) hot_count: usize,
    pub(crate) cold_count: usize,
    pub(crate) high: &'a [u8],
    pub(crate) low: &'a [u8],
    pub(crate) hot: &'a [f32],
    pub(crate) cold: &'a [f32],
}

impl<'a> Rows<'a> {
    /// A single code.
    pub(crate) fn one(code: CodeRow<'a>) -> Rows<'a> {
        Rows(Kind::Sealed(SealedRows {
            len: 1,
            plane_bytes: code.high.len(),
            hot_count: code.hot.len(),
            cold_count: code.cold.len(),
            high: code.high,
            low: code.low,
            hot: code.hot,
            cold: code.cold,
        }))
    }

    /// Slots there are, those without a vector among them.
    pub fn len(self) -> u32 {
        match self.0 {
            Kind::Growing(rows) => rows.len(),
            Kind::Sealed(rows) => rows.len(),
        }
    }

    /// True without any slot.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The code of a slot, present or not; `None` beyond the length.
    pub fn row(self, slot: Slot) -> Option<CodeRow<'a>> {
        match self.0 {
            Kind::Growing(rows) => code(rows, slot.0),
            Kind::Sealed(rows) => code(rows, slot.0),
        }
    }

    /// The same store, with what was pushed since.
    #[must_use]
    pub fn refreshed(self) -> Rows<'a> {
        match self.0 {
            Kind::Growing(rows) => Rows(Kind::Growing(rows.refreshed())),
            Kind::Sealed(_) => self,
        }
    }
}

fn code<'a>(rows: impl Source<'a>, slot: u32) -> Option<CodeRow<'a>> {
    Some(CodeRow {
        high: rows.high(slot)?,
        low: rows.low(slot).unwrap_or_default(),
        hot: rows.hot(slot)?,
        cold: rows.cold(slot).unwrap_or_default(),
    })
}

impl<'a> GrowingRows<'a> {
    fn refreshed(self) -> GrowingRows<'a> {
        // The length first: whatever it counts is in the other columns by then.
        let hot = self.hot.refreshed();
        GrowingRows {
            high: self.high.refreshed(),
            low: self.low.map(View::refreshed),
            hot,
            cold: self.cold.map(View::refreshed),
        }
    }
}

impl<'a> Source<'a> for GrowingRows<'a> {
    #[inline]
    fn len(self) -> u32 {
        self.hot.len()
    }

    #[inline]
    fn high(self, slot: u32) -> Option<&'a [u8]> {
        self.high.row(slot)
    }

    #[inline]
    fn low(self, slot: u32) -> Option<&'a [u8]> {
        self.low?.row(slot)
    }

    #[inline]
    fn hot(self, slot: u32) -> Option<&'a [f32]> {
        self.hot.row(slot)
    }

    #[inline]
    fn cold(self, slot: u32) -> Option<&'a [f32]> {
        self.cold?.row(slot)
    }
}

impl<'a> Source<'a> for SealedRows<'a> {
    #[inline]
    fn len(self) -> u32 {
        self.len
    }

    #[inline]
    fn high(self, slot: u32) -> Option<&'a [u8]> {
        self.part(self.high, slot, self.plane_bytes)
    }

    #[inline]
    fn low(self, slot: u32) -> Option<&'a [u8]> {
        self.part(self.low, slot, self.plane_bytes)
    }

    #[inline]
    fn hot(self, slot: u32) -> Option<&'a [f32]> {
        self.part(self.hot, slot, self.hot_count)
    }

    #[inline]
    fn cold(self, slot: u32) -> Option<&'a [f32]> {
        self.part(self.cold, slot, self.cold_count)
    }
}

impl<'a> SealedRows<'a> {
    #[inline]
    fn part<T>(self, all: &'a [T], slot: u32, count: usize) -> Option<&'a [T]> {
        if slot >= self.len {
            return None;
        }
        let begin = slot as usize * count;
        all.get(begin..begin + count)
    }
}
