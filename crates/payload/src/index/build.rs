//! Builds the file of a field index from rows in slot order.
//!
//! It refuses to look at more of a row than its path leads to. Memory while building: 8 to 24 bytes for each value, and every
//! distinct text once.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;

use nearfield_codec::Summary;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use super::IndexError;
use super::config::{ConfigError, IndexConfig, IndexKind};
use super::file::{FieldFile, Parts, Words};
use super::key;
use super::sets::Sets;
use super::table::{Keys, Table, by_rank, group};
use super::view::{KeysView, View};
use super::walk;
use super::words::WordsBuilder;
use crate::filter::Datetime;
use crate::path::Path;
use crate::row::{RowError, RowRef, ValueRef};

/// Why an index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A row is damaged.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Too many rows or values for one segment.
    #[error("field index would have {have} {what}: at most {limit} fit one segment")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there would be.
        have: u64,
        /// How many fit.
        limit: u64,
    },
    /// The file could not be written.
    #[error("field index: {0}")]
    Write(#[from] io::Error),
    /// An index that was merged is damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Most entries of a file: their numbers are u32.
const ENTRIES_MAX: u64 = u32::MAX as u64 - 1;

/// Takes rows in slot order and writes their index.
///
/// ```
/// use nearfield_payload::index::{FieldBuilder, FieldReader, FieldIndex, IndexKind, Question};
/// use nearfield_payload::filter::Test;
/// use nearfield_payload::{Path, RowRef, encode};
/// use nearfield_types::Object;
/// use roaring::RoaringBitmap;
///
/// let mut builder = FieldBuilder::new(IndexKind::Keyword.config(), Path::key("pos"))?;
/// for pos in ["noun", "verb", "noun"] {
///     let row = encode(&Object::from_entries([("pos".to_owned(), pos.into())]))?;
///     builder.push(&RowRef::new(&row)?)?;
/// }
/// let (file, _summary) = builder.write(Vec::new())?;
/// let index = FieldReader::open(file.into(), 3)?;
/// let mut nouns = RoaringBitmap::new();
/// index.select(Question::Test(&Test::value("noun")), &mut nouns)?;
/// assert_eq!(nouns.iter().collect::<Vec<_>>(), [0, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FieldBuilder {
    config: IndexConfig,
    path: Path,
    rows: u32,
    sets: Sets,
    counts: Vec<[u32; 2]>,
    entries: Entries,
}

/// Values as they come, each with its row.
#[derive(Debug)]
enum Entries {
    Narrow(Vec<(u64, u32)>),
    Wide(Vec<([u64; 2], u32)>),
    Terms(Terms),
    Points(Vec<(u64, u32, [f64; 2])>),
    Words(Box<WordsBuilder>),
}

/// Texts by number.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    numbers: HashMap<Box<str>, u32>,
    ids: Vec<u32>,
    slots: Vec<u32>,
}

impl Terms {
    /// The number of a text. Most texts are not new: only new ones are copied.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(text.into(), number);
        number
    }

    pub(crate) fn push(&mut self, id: u32, slot: u32) {
        self.ids.push(id);
        self.slots.push(slot);
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The texts in order, where the entries of each begin, and the entries in that order.
    pub(crate) fn sorted(&self) -> (Keys, Vec<u32>, Vec<u32>) {
        let mut texts: Vec<(&str, u32)> = self.numbers.iter().map(|(text, &id)| (&**text, id)).collect();
        texts.sort_unstable();
        let mut rank = vec![0; texts.len()];
        let (mut ends, mut bytes) = (Vec::with_capacity(texts.len()), Vec::new());
        for (at, &(text, id)) in texts.iter().enumerate() {
            rank[id as usize] = at as u32;
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len() as u64);
        }
        let (starts, order) = by_rank(&self.ids, &rank);
        (Keys::Terms { ends, bytes }, starts, order)
    }

    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }
}

impl FieldBuilder {
    /// An index of the values at `path`.
    ///
    /// # Errors
    ///
    /// What [`IndexConfig::check`] refuses.
    pub fn new(config: IndexConfig, path: Path) -> Result<FieldBuilder, BuildError> {
        config.check()?;
        let entries = match &config {
            IndexConfig::Keyword { .. } => Entries::Terms(Terms::default()),
            IndexConfig::Uuid => Entries::Wide(Vec::new()),
            IndexConfig::Geo => Entries::Points(Vec::new()),
            IndexConfig::Text(text) => {
                Entries::Words(Box::new(WordsBuilder::new(text).map_err(ConfigError::from)?))
            }
            _ => Entries::Narrow(Vec::new()),
        };
        Ok(FieldBuilder { config, path, rows: 0, sets: Sets::default(), counts: Vec::new(), entries })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Takes the row of the next slot.
    ///
    /// # Errors
    ///
    /// [`BuildError::Row`], [`BuildError::TooMany`]. The row may have been taken in part: give up the index then.
    pub fn push(&mut self, row: &RowRef<'_>) -> Result<(), BuildError> {
        self.room(1)?;
        let FieldBuilder { config, path, rows, sets, counts, entries } = self;
        let slot = *rows;
        let kind = config.kind();
        let found = walk::values(path, row, |value| entries.take(kind, slot, &value, sets))?;
        *rows += 1;
        if found.count == 0 {
            sets.absent.insert(slot);
        }
        if found.empty == found.count {
            sets.empty.insert(slot);
        }
        if found.nulls {
            sets.null.insert(slot);
        }
        if found.listed {
            sets.listed.insert(slot);
        }
        if found.count > 1 {
            sets.several.insert(slot);
        }
        if found.count == 1 && found.items > 1 {
            counts.push([slot, found.items]);
        }
        if let Entries::Words(words) = entries {
            words.end_row(slot);
        }
        Ok(())
    }

    /// Takes the next slot without a row, as one that has no values: for rows that are gone.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooMany`].
    pub fn push_absent(&mut self) -> Result<(), BuildError> {
        self.room(1)?;
        self.sets.absent.insert(self.rows);
        self.sets.empty.insert(self.rows);
        self.rows += 1;
        if let Entries::Words(words) = &mut self.entries {
            words.end_row(self.rows - 1);
        }
        Ok(())
    }

    fn room(&self, rows: u32) -> Result<(), BuildError> {
        let (have, limit) = (u64::from(self.rows) + u64::from(rows), SEGMENT_ROWS_MAX as u64);
        if have > limit {
            return Err(BuildError::TooMany { what: "rows", have, limit });
        }
        let have = self.entries.len() as u64;
        if have > ENTRIES_MAX {
            return Err(BuildError::TooMany { what: "values", have, limit: ENTRIES_MAX });
        }
        Ok(())
    }

    /// Adds the rows of a file behind those that are here.
    pub(crate) fn absorb(&mut self, file: &FieldFile) -> Result<(), BuildError> {
        let view = file.view()?;
        self.room(view.rows)?;
        let base = self.rows;
        self.sets.absorb(view.sets, base);
        self.counts.extend(view.counts.iter().map(|&[slot, count]| [slot + base, count]));
        let keys = 0..view.keys.len();
        match (&mut self.entries, view.keys) {
            (Entries::Narrow(entries), KeysView::Narrow(codes)) => {
                each_entry(&view, keys, |key, _, slot| entries.push((codes[key as usize], base + slot)));
            }
            (Entries::Wide(entries), KeysView::Wide(codes)) => {
                each_entry(&view, keys, |key, _, slot| entries.push((codes[key as usize], base + slot)));
            }
            (Entries::Points(entries), KeysView::Narrow(codes)) => {
                each_entry(&view, keys, |key, entry, slot| {
                    entries.push((codes[key as usize], base + slot, view.points[entry]));
                });
            }
            (Entries::Terms(terms), KeysView::Terms { .. }) => {
                for key in keys {
                    let id = terms.number(view.keys.text(key));
                    each_entry(&view, key..key + 1, |_, _, slot| terms.push(id, base + slot));
                }
            }
            (Entries::Words(words), KeysView::Terms { .. }) => words.absorb(&view, base),
            _ => {}
        }
        self.rows += view.rows;
        Ok(())
    }

    /// The arrays of the file.
    fn parts(self) -> Result<Parts, BuildError> {
        self.room(0)?;
        let FieldBuilder { config, rows, mut sets, counts, entries, .. } = self;
        sets.optimize();
        let (mut points, mut words) = (Vec::new(), Words::default());
        let table = match entries {
            Entries::Narrow(mut pairs) => {
                let (keys, starts, slots) = distinct(&mut pairs);
                Table::new(rows, Keys::Narrow(keys), starts, slots).with_forward().with_marks()
            }
            Entries::Wide(mut pairs) => {
                let (keys, starts, slots) = distinct(&mut pairs);
                Table::new(rows, Keys::Wide(keys), starts, slots).with_forward().with_marks()
            }
            Entries::Points(mut entries) => {
                entries.sort_unstable_by_key(|&(key, slot, _)| (key, slot));
                let (keys, starts, slots) = group(entries.iter().map(|&(key, slot, _)| (key, slot)));
                points = entries.into_iter().map(|(_, _, point)| point).collect();
                Table::new(rows, Keys::Narrow(keys), starts, slots).with_forward()
            }
            Entries::Terms(terms) => terms_table(rows, &terms).with_forward().with_marks(),
            Entries::Words(builder) => {
                let (table, found) = builder.finish(rows);
                words = found;
                table
            }
        };
        if !matches!(config, IndexConfig::Text(_)) {
            words.documents = table.keyed_rows();
        }
        Ok(Parts { config, table, sets, counts, points, words })
    }

    /// Writes the file; returns the sink with what a manifest keeps of it.
    ///
    /// # Errors
    ///
    /// What the sink returns; [`BuildError::TooMany`].
    pub fn write<W: Write>(self, sink: W) -> Result<(W, Summary), BuildError> {
        Ok(self.parts()?.write(sink)?)
    }

    /// The file in memory, its first row at `base` of the segment.
    pub(crate) fn into_file(self, base: u32) -> Result<FieldFile, BuildError> {
        let parts = self.parts()?;
        let (bytes, _) = parts.write(Vec::new())?;
        let file = FieldFile::fresh(bytes.into(), parts.table.rows, base, parts.sets);
        Ok(file.map_err(IndexError::Damaged)?)
    }
}

impl Entries {
    /// One value that is neither null nor a list that was entered.
    #[inline]
    fn take(
        &mut self,
        kind: IndexKind,
        slot: u32,
        value: &ValueRef<'_>,
        sets: &mut Sets,
    ) -> Result<(), RowError> {
        let fate = match (self, value) {
            (Entries::Terms(terms), ValueRef::String(text)) => {
                let id = terms.number(text);
                terms.push(id, slot);
                Fate::Kept
            }
            (Entries::Words(words), ValueRef::String(text)) => {
                words.text(text);
                Fate::Kept
            }
            (Entries::Wide(entries), ValueRef::String(text)) => match key::uuid(text) {
                Some(key) => {
                    entries.push((key, slot));
                    Fate::Kept
                }
                None => Fate::Foreign,
            },
            (Entries::Points(entries), value) => match walk::point(value)? {
                Some(point) => {
                    entries.push((super::geo::key(&point), slot, [point.lon, point.lat]));
                    Fate::Kept
                }
                None => Fate::Foreign,
            },
            (Entries::Narrow(entries), value) => match narrow(kind, value) {
                Narrow::Key(key) => {
                    entries.push((key, slot));
                    Fate::Kept
                }
                Narrow::Unsure => Fate::Unsure,
                Narrow::Foreign => Fate::Foreign,
            },
            _ => Fate::Foreign,
        };
        match fate {
            Fate::Kept => {}
            Fate::Unsure => drop(sets.unsure.insert(slot)),
            Fate::Foreign => drop(sets.foreign.insert(slot)),
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Entries::Narrow(entries) => entries.len(),
            Entries::Wide(entries) => entries.len(),
            Entries::Terms(terms) => terms.len(),
            Entries::Points(entries) => entries.len(),
            Entries::Words(words) => words.len(),
        }
    }
}

/// What became of a value.
enum Fate {
    Kept,
    Unsure,
    Foreign,
}

/// What a value is to an index of numbers.
enum Narrow {
    Key(u64),
    Unsure,
    Foreign,
}

fn narrow(kind: IndexKind, value: &ValueRef<'_>) -> Narrow {
    let exact = |value: i128| match key::integer_as_f64(value) {
        Some(float) => Narrow::Key(key::from_f64(float)),
        None => Narrow::Unsure,
    };
    match (kind, *value) {
        (IndexKind::Bool, ValueRef::Bool(value)) => Narrow::Key(value.into()),
        (IndexKind::Integer, ValueRef::I64(value)) => Narrow::Key(key::from_i64(value)),
        (IndexKind::Integer, ValueRef::U64(_) | ValueRef::F64(_)) => Narrow::Unsure,
        (IndexKind::Float, ValueRef::I64(value)) => exact(value.into()),
        (IndexKind::Float, ValueRef::U64(value)) => exact(value.into()),
        (IndexKind::Float, ValueRef::F64(value)) if value.is_finite() => Narrow::Key(key::from_f64(value)),
        (IndexKind::Float, ValueRef::F64(_)) => Narrow::Unsure,
        (IndexKind::Datetime, ValueRef::String(text)) => match Datetime::parse(text) {
            Ok(Datetime(micros)) => Narrow::Key(key::from_i64(micros)),
            Err(_) => Narrow::Foreign,
        },
        _ => Narrow::Foreign,
    }
}

/// Sorts, and drops what a row has twice.
fn distinct<K: Copy + Ord>(pairs: &mut Vec<(K, u32)>) -> (Vec<K>, Vec<u32>, Vec<u32>) {
    pairs.sort_unstable();
    pairs.dedup();
    group(pairs.iter().copied())
}

fn terms_table(rows: u32, terms: &Terms) -> Table {
    let (keys, starts, order) = terms.sorted();
    let (mut unique_starts, mut slots) = (Vec::with_capacity(starts.len()), Vec::with_capacity(order.len()));
    for range in starts.windows(2) {
        let from = slots.len();
        unique_starts.push(from as u32);
        for &place in &order[range[0] as usize..range[1] as usize] {
            let slot = terms.slots()[place as usize];
            if slots.len() == from || slots.last() != Some(&slot) {
                slots.push(slot);
            }
        }
    }
    unique_starts.push(slots.len() as u32);
    Table::new(rows, keys, unique_starts, slots)
}

/// Calls `visit(key, entry, slot)` for each entry of `keys`.
pub(crate) fn each_entry(view: &View<'_>, keys: Range<u32>, mut visit: impl FnMut(u32, usize, u32)) {
    for key in keys {
        for entry in view.entries(&(key..key + 1)) {
            visit(key, entry, view.slots[entry]);
        }
    }
}
