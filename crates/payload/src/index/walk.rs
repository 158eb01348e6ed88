//! From a row to the values that its index holds.
//!
//! It refuses to judge values. A path with `[]` leads to several; of a list its items are the values, one level deep.

use crate::filter::GeoPoint;
use crate::path::{Path, Step};
use crate::row::{RowError, RowRef, ValueRef};

/// What was found at a path, beside the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Values that the path leads to, lists as one.
    pub(crate) count: u32,
    /// Of them those that are null or an empty list.
    pub(crate) empty: u32,
    /// The items of the last of them: of a list its length, of null none, else one.
    pub(crate) items: u32,
    /// One is null, or a list with a null in it.
    pub(crate) nulls: bool,
    /// One is a list.
    pub(crate) listed: bool,
}

/// Calls `visit` with each value at `path` that is not null: those the path leads to, and of lists their items, one level deep. A value that
/// is there twice comes twice. They are the values that an index of the field is made of.
///
/// # Errors
///
/// What is found wrong with the row on the way, and what `visit` returns.
pub fn visit_values<'a>(
    path: &Path,
    row: &RowRef<'a>,
    visit: impl FnMut(ValueRef<'a>) -> Result<(), RowError>,
) -> Result<(), RowError> {
    values(path, row, visit).map(|_| ())
}

/// As [`visit_values`], and what else was found.
#[inline]
pub(crate) fn values<'a>(
    path: &Path,
    row: &RowRef<'a>,
    mut visit: impl FnMut(ValueRef<'a>) -> Result<(), RowError>,
) -> Result<Found, RowError> {
    let mut found = Found::default();
    if let Some(key) = path.as_key() {
        if let Some(value) = row.get(key)? {
            found.take(value, &mut visit)?;
        }
        return Ok(found);
    }
    let Some((Step::Key(first), steps)) = path.steps().split_first() else { return Ok(found) };
    let Some(value) = row.get(first)? else { return Ok(found) };
    let mut open = vec![(value, steps)];
    while let Some((value, steps)) = open.pop() {
        let Some((step, below)) = steps.split_first() else {
            found.take(value, &mut visit)?;
            continue;
        };
        match (step, value) {
            (Step::Key(key), ValueRef::Object(object)) => {
                open.extend(object.get(key)?.map(|value| (value, below)))
            }
            (Step::Index(at), ValueRef::Array(list)) => {
                let item = list.iter().nth(*at as usize).transpose()?;
                open.extend(item.map(|value| (value, below)));
            }
            (Step::Each, ValueRef::Array(list)) => {
                for item in list.iter() {
                    open.push((item?, below));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Found {
    fn take<'a>(
        &mut self,
        value: ValueRef<'a>,
        visit: &mut impl FnMut(ValueRef<'a>) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        self.count += 1;
        self.items = 1;
        match value {
            ValueRef::Null => {
                (self.items, self.nulls) = (0, true);
                self.empty += 1;
            }
            ValueRef::Array(list) => {
                self.listed = true;
                self.items = list.len() as u32;
                self.empty += u32::from(list.is_empty());
                for item in list.iter() {
                    match item? {
                        ValueRef::Null => self.nulls = true,
                        item => visit(item)?,
                    }
                }
            }
            value => visit(value)?,
        }
        Ok(())
    }
}

/// The place that a value is: an object with numbers `lon` and `lat` inside their ranges.
pub(crate) fn point(value: &ValueRef<'_>) -> Result<Option<GeoPoint>, RowError> {
    let ValueRef::Object(object) = value else { return Ok(None) };
    let number = |key: &str| -> Result<Option<f64>, RowError> {
        Ok(match object.get(key)? {
            Some(ValueRef::I64(value)) => Some(value as f64),
            Some(ValueRef::U64(value)) => Some(value as f64),
            Some(ValueRef::F64(value)) => Some(value),
            _ => None,
        })
    };
    let (Some(lon), Some(lat)) = (number("lon")?, number("lat")?) else { return Ok(None) };
    Ok(Some(GeoPoint { lon, lat }).filter(GeoPoint::is_valid))
}
