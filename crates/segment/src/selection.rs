//! The rows of a segment that a reader sees and a filter passes: all of them as a set, some of them at a time, one of them alone, and how many
//! there may be.
//!
//! It refuses to rank and to count values: [`crate::Segment::facet`] and [`crate::Segment::first_by`] do, with what is here.

use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_ann::Admit;
use nearfield_payload::filter::{Filter, FilterError, Matcher};
use nearfield_payload::index::bind::{Binder, Resolve};
use nearfield_payload::index::{Estimate, FieldIndex, FieldReader, IndexError};
use nearfield_payload::{Path, RowError, RowRef};
use nearfield_types::{PointId, Seq, Slot};
use roaring::RoaringBitmap;

use crate::error::{OpenError, SearchError};
use crate::filtered::{Filtering, Passing, matcher};
use crate::payload_index::PayloadField;
use crate::segment::Segment;

/// Rows looked at in one go.
pub(crate) const PART: usize = 256;

/// Looks at a row, and says whether to go on.
pub(crate) type VisitRow<'a> = dyn FnMut(Slot, RowRef<'_>) -> Result<ControlFlow<()>, RowError> + 'a;

/// The rows of one segment visible at one Seq that pass a filter, if there is one.
pub(crate) struct Selection<'a> {
    segment: &'a Segment,
    seen: Seq,
    passing: Option<Passing<'a>>,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(
        segment: &'a Segment,
        filtering: Option<&'a Filtering<'a>>,
        seen: Seq,
    ) -> Result<Self, SearchError> {
        let passing = filtering.map(|filtering| Passing::new(segment, seen, filtering)).transpose()?;
        Ok(Selection { segment, seen, passing })
    }

    /// True where every visible row is selected.
    pub(crate) fn is_unfiltered(&self) -> bool {
        self.passing.is_none()
    }

    /// All of them. O(rows) while growing, else O(deaths), without a filter; with one O(candidates) and a test for each in doubt.
    pub(crate) fn rows(&self) -> Result<RoaringBitmap, SearchError> {
        match &self.passing {
            Some(passing) => Ok(passing.all()?.into_iter().map(|slot| slot.0).collect()),
            None => Ok(self.segment.visible_rows(self.seen)),
        }
    }

    /// Keeps those of `slots` that are among them, in order.
    pub(crate) fn retain(&self, slots: &mut Vec<Slot>) -> Result<(), SearchError> {
        match &self.passing {
            None => slots.retain(|&slot| self.segment.visible(slot, self.seen)),
            Some(passing) => {
                passing.retain(slots);
                passing.checked(())?;
            }
        }
        Ok(())
    }
}

impl Segment {
    /// The rows visible at `seen`.
    fn visible_rows(&self, seen: Seq) -> RoaringBitmap {
        let mut visible = RoaringBitmap::new();
        match self {
            Segment::Growing(growing) => {
                visible.extend((0..growing.len()).filter(|&slot| growing.visible(Slot(slot), seen)));
            }
            Segment::Sealed(sealed) => {
                visible.insert_range(0..sealed.rows());
                let dead = sealed.changes.deaths.iter().filter(|(_, died)| *died <= seen);
                let dead: RoaringBitmap = dead.map(|(slot, _)| slot.0).collect();
                visible -= dead;
            }
        }
        visible
    }

    /// The index of `field` as it is now, if it is here.
    pub(crate) fn field_reader(&self, field: &Arc<PayloadField>) -> Option<FieldReader> {
        self.field_indexes(std::slice::from_ref(field)).pop().map(|(_, reader)| reader)
    }

    /// Calls `visit` with the payload of each of `slots` as of `seen`, in order, until it breaks.
    pub(crate) fn visit_rows(
        &self,
        slots: impl IntoIterator<Item = Slot>,
        seen: Seq,
        visit: &mut VisitRow<'_>,
    ) -> Result<(), SearchError> {
        let mut slots = slots.into_iter();
        let mut part: Vec<Slot> = Vec::with_capacity(PART);
        loop {
            part.clear();
            part.extend(slots.by_ref().take(PART));
            if part.is_empty() {
                return Ok(());
            }
            let mut flow = Ok(ControlFlow::Continue(()));
            let read = self.visit_payloads(&part, seen, &mut |at, row| {
                if let Ok(ControlFlow::Continue(())) = flow {
                    flow = RowRef::new(row).and_then(|row| visit(part[at], row));
                }
            });
            read.map_err(SearchError::Payload)?;
            if flow.map_err(|error| SearchError::Payload(error.into()))?.is_break() {
                return Ok(());
            }
        }
    }

    /// How many points visible at `seen` pass `filter`, as far as the indexes of `fields` tell: no payload is read. Conditions are taken for
    /// independent of each other where the bounds do not say more. O(conditions · log values), and O(rows) while growing.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if the filter is beyond a limit.
    pub fn estimate_passing(
        &self,
        filter: &Filter,
        fields: &[Arc<PayloadField>],
        seen: Seq,
    ) -> Result<Estimate, SearchError> {
        filter.check()?;
        let mut known = Known { segment: self, seen, fields: self.field_indexes(fields) };
        // After the indexes, as everywhere.
        let masked = self.patched();
        let rows = self.rows();
        let found = Binder::new(&known, rows, &masked).estimate(filter.view()).or_else(|_| {
            known.discard_damaged();
            Binder::new(&known, rows, &masked).estimate(filter.view())
        })?;
        let visible = self.count(seen);
        let gone = u64::from(rows).saturating_sub(visible);
        let high = found.high.min(visible);
        let low = found.low.saturating_sub(gone).min(high);
        // The others are spread evenly, as far as anybody knows.
        let share = visible as f64 / u64::from(rows).max(1) as f64;
        let likely = ((found.likely as f64 * share.min(1.0)).round() as u64).clamp(low, high);
        Ok(Estimate { low, likely, high })
    }
}

/// What a segment knows of rows without looking at payloads.
struct Known<'a> {
    segment: &'a Segment,
    seen: Seq,
    fields: Vec<(Path, FieldReader)>,
}

impl Known<'_> {
    /// A damaged index is derived: it is done without, and built anew.
    fn discard_damaged(&mut self) {
        for (path, reader) in self.fields.drain(..) {
            self.segment.discard_if_damaged(&path, &reader);
        }
    }
}

impl Segment {
    /// Gives up an index that is damaged.
    pub(crate) fn discard_if_damaged(&self, path: &Path, reader: &FieldReader) {
        if reader.verify().is_err() {
            self.discard_field_index(path);
        }
    }

    /// What `ask` makes of `reader`; `None` where the index is damaged, which is then given up.
    pub(crate) fn ask_index<T>(
        &self,
        path: &Path,
        reader: &FieldReader,
        ask: impl FnOnce(&FieldReader) -> Result<T, IndexError>,
    ) -> Option<T> {
        let asked = ask(reader);
        if asked.is_err() {
            self.discard_if_damaged(path, reader);
        }
        asked.ok()
    }
}

impl Resolve for Known<'_> {
    fn field(&self, path: &Path) -> Option<&dyn FieldIndex> {
        let (_, reader) = self.fields.iter().find(|(known, _)| known == path)?;
        Some(reader)
    }

    fn ids(&self, ids: &[PointId]) -> Option<RoaringBitmap> {
        Some(ids.iter().filter_map(|id| self.segment.find(id, self.seen)).map(|slot| slot.0).collect())
    }

    fn vectors(&self, _: &str) -> Option<RoaringBitmap> {
        None
    }
}

/// A filter that is asked of single rows, by whoever changes them and must know what they are now.
#[derive(Debug)]
pub struct RowTest<'a> {
    matcher: Matcher,
    vectors: &'a [&'a str],
}

impl<'a> RowTest<'a> {
    /// Makes `filter` ready; the arguments are those of [`Filtering::new`], and so are the answers.
    ///
    /// # Errors
    ///
    /// [`FilterError`] where the filter is beyond a limit or has an operand without meaning.
    pub fn new(
        filter: &Filter,
        vectors: &'a [&'a str],
        fields: &[Arc<PayloadField>],
    ) -> Result<RowTest<'a>, FilterError> {
        Ok(RowTest { matcher: matcher(filter, fields)?, vectors })
    }

    /// Whether the row passes with the payload that it has at `seen`. It is not asked whether it is visible then.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if its block is damaged.
    pub fn passes(&self, segment: &Segment, slot: Slot, seen: Seq) -> Result<bool, OpenError> {
        let has_vector = |name: &str| {
            let place = self.vectors.iter().position(|known| *known == name);
            place.is_some_and(|place| segment.has_vector(slot, place))
        };
        let mut passes = Ok(false);
        segment.visit_payloads(&[slot], seen, &mut |_, row| {
            passes =
                RowRef::new(row).and_then(|row| self.matcher.matches(row, &segment.id(slot), has_vector));
        })?;
        Ok(passes?)
    }
}
