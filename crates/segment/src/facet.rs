//! How many rows have which value: by the index of the field as far as it reaches, by the payload for the rest.
//!
//! It refuses to rank values and to put segments together. Counted are texts, integers of 64 bits with a sign and booleans, whatever the index:
//! the answer is the same with and without one.

use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_payload::index::{FieldIndex, FieldReader, IndexError, IndexKind, KeyRef, visit_values};
use nearfield_payload::{Path, RowError, RowRef, ValueRef};
use nearfield_types::{Seq, Slot};
use roaring::RoaringBitmap;

use crate::error::SearchError;
use crate::filtered::Filtering;
use crate::payload_index::PayloadField;
use crate::segment::Segment;
use crate::selection::Selection;

/// Takes a value and how many more rows have it, until it breaks. A UUID may come as one or as its text.
pub type CountValue<'a> = dyn FnMut(KeyRef<'_>, u64) -> ControlFlow<()> + 'a;

impl Segment {
    /// Calls `count` with the values at `path` of the rows that are visible at `seen` and pass: a value comes any number of times, each time with
    /// how many more rows have it. `field` is the index of these values, if there is one.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if a payload or a field index of the filter is damaged.
    ///
    /// # Complexity
    ///
    /// O(values) and a step for each row with an index, and a payload read for each row that it does not answer for.
    pub fn facet(
        &self,
        path: &Path,
        field: Option<&Arc<PayloadField>>,
        filtering: Option<&Filtering<'_>>,
        seen: Seq,
        count: &mut CountValue<'_>,
    ) -> Result<(), SearchError> {
        let reader =
            field.filter(|field| is_facet(field.config.kind())).and_then(|field| self.field_reader(field));
        // After the index: what was patched since it was read is among these.
        let patched = self.patched();
        let mut rows = Selection::new(self, filtering, seen)?.rows()?;
        let mut flow = ControlFlow::Continue(());
        if let Some(reader) = &reader {
            let counted = self.ask_index(path, reader, |reader| count_terms(reader, &rows, &patched, count));
            if let Some((answered, ended)) = counted {
                rows -= answered;
                flow = ended;
            }
        }
        if flow.is_break() {
            return Ok(());
        }
        self.visit_rows(rows.into_iter().map(Slot), seen, &mut |_, row| count_row(path, row, count))
    }
}

/// True for kinds of indexes whose values are counted as they are.
fn is_facet(kind: IndexKind) -> bool {
    matches!(kind, IndexKind::Keyword | IndexKind::Integer | IndexKind::Bool | IndexKind::Uuid)
}

/// Counts the values of those of `rows` that the index answers for; returns these. An index that is damaged says so before the first value.
fn count_terms(
    reader: &FieldReader,
    rows: &RoaringBitmap,
    patched: &RoaringBitmap,
    count: &mut CountValue<'_>,
) -> Result<(RoaringBitmap, ControlFlow<()>), IndexError> {
    let mut answered = rows - patched;
    answered.remove_range(reader.covered()..);
    answered -= reader.foreign()?;
    let Some(terms) = reader.terms() else { return Ok((RoaringBitmap::new(), ControlFlow::Continue(()))) };
    let is_all = answered.len() == u64::from(reader.covered());
    let mut flow = ControlFlow::Continue(());
    terms.visit((!is_all).then_some(&answered), &mut |value, more| {
        flow = count(value, more);
        flow
    })?;
    Ok((answered, flow))
}

/// Counts each value of one row once.
fn count_row(path: &Path, row: RowRef<'_>, count: &mut CountValue<'_>) -> Result<ControlFlow<()>, RowError> {
    // In an order of their own, so that what is there twice stands side by side.
    let mut values: Vec<(u8, i64, &str)> = Vec::new();
    visit_values(path, &row, |value| {
        values.extend(match value {
            ValueRef::Bool(value) => Some((0, value.into(), "")),
            ValueRef::I64(value) => Some((1, value, "")),
            ValueRef::String(text) => Some((2, 0, text)),
            _ => None,
        });
        Ok(())
    })?;
    values.sort_unstable();
    values.dedup();
    for (kind, number, text) in values {
        let value = match kind {
            0 => KeyRef::Bool(number != 0),
            1 => KeyRef::I64(number),
            _ => KeyRef::String(text),
        };
        if count(value, 1).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Segment {
    /// Calls `visit` with the texts, integers and booleans at `path` of one row, each once: booleans, then integers, then texts, ascending.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if its payload is damaged.
    pub fn values_of(
        &self,
        slot: Slot,
        path: &Path,
        seen: Seq,
        visit: &mut dyn FnMut(KeyRef<'_>),
    ) -> Result<(), SearchError> {
        self.visit_rows([slot], seen, &mut |_, row| {
            count_row(path, row, &mut |value, _| {
                visit(value);
                ControlFlow::Continue(())
            })
        })
    }
}
