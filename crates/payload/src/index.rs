//! Field indexes: which rows have which values at one path, asked by the tests of a filter.
//!
//! **It refuses** to decide (plans do), to know segments, deaths and patches (the owner masks rows, [`bind()`] tests them on what
//! they are now), and to answer otherwise than [`Matcher`](crate::filter::Matcher) would: where an index cannot know, it says
//! which rows must be tested.
//!
//! # One structure
//!
//! Every kind is the same: distinct keys in order, the slots of each key, the keys of each slot, and marks that give a long
//! range of entries in a few bitset operations. A test becomes ranges of keys, so equality, prefixes, ranges and their
//! negations cost two binary searches each and the rows they find. Geo adds the points in Morton order, text the frequencies,
//! lengths and positions of tokens.
//!
//! The sealed form is one file for each field of a segment ([`mod@format`]), so that creating and dropping an index makes and removes
//! a file and touches nothing else. It is mapped and searched in place. Opening checks the frame; the first question checks
//! every block. Sealed indexes are merged by building them anew from the rows: keys, slots and marks all change.
//!
//! The growing form ([`GrowingField`]) is a list of such files in memory, each over a run of rows, merged like the runs of a
//! log-structured tree. Readers take the list and hold no lock while they search; the writer swaps the list. The last rows,
//! [`GROWING_RUN_ROWS`] at most, are in none yet: [`FieldIndex::covered`] says where they begin, and they are tested as rows.
//!
//! # Invariants
//!
//! 1. What [`FieldIndex::select`] adds holds every covered row that passes; [`Exactness`] names those that may not pass.
//! 2. [`Estimate`] brackets the number of covered rows that pass, and costs no more than finding the keys.
//! 3. No bytes make it panic; a damaged file answers [`IndexError`], never a set.
//!
//! # Reading order
//!
//! `config`, `key`, `table`, `file`, `view`, `sets`, `walk`, `build`, `answer`, `geo`, `words`, `reader`, `growing`, `bind`.

mod answer;
pub mod bind;
mod bits;
mod build;
mod config;
mod file;
pub mod format;
mod geo;
mod growing;
mod key;
mod reader;
mod sets;
mod table;
mod view;
mod walk;
mod words;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::ops::ControlFlow;

use nearfield_types::Slot;
use roaring::RoaringBitmap;

use crate::filter::Test;

pub use bind::{Binder, Bound, Resolve, Rows, bind};
pub use build::{BuildError, FieldBuilder};
pub use config::{ConfigError, IndexConfig, IndexKind};
pub use file::OpenError;
pub use growing::{GROWING_RUN_ROWS, GrowingField};
pub use key::KeyRef;
pub use reader::FieldReader;
pub use walk::visit_values;

/// What one field is asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Its values pass the test.
    Test(&'a Test),
    /// It is missing, null or an empty list.
    IsEmpty,
    /// It is null, or a list with a null in it.
    IsNull,
    /// It is there.
    Exists,
}

/// How many rows pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// As many, at least.
    pub low: u64,
    /// As many, probably.
    pub likely: u64,
    /// As many, at most.
    pub high: u64,
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq)]
pub enum Exactness {
    /// All rows of the answer pass.
    Exact,
    /// These rows of the answer must be tested; the others pass.
    Recheck(RoaringBitmap),
}

/// Why an index gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The file is damaged. Dropping the index and building it anew helps.
    #[error(transparent)]
    Damaged(OpenError),
}

/// Bytes that an index takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexMemory {
    /// On the heap.
    pub heap: u64,
    /// In mapped files.
    pub mapped: u64,
}

/// An index of one field over the rows of a segment.
///
/// # Contract
///
/// `select` adds every covered row that passes, and no row past [`FieldIndex::covered`]. `None` means that the index cannot answer;
/// it then added nothing. `estimate` answers wherever `select` does, and brackets it.
///
/// # Complexity
///
/// Estimates: a few binary searches in the keys. Selecting: these, and O(found) for few rows, O(rows / 64) for many. Tests of
/// substrings read every key.
///
/// # Concurrency
///
/// Immutable; asked from any thread. The suite is `index::tests`.
pub trait FieldIndex: Debug + Send + Sync {
    /// The kind and the options.
    fn config(&self) -> &IndexConfig;

    /// Rows below this are in the index, all others must be tested as rows.
    fn covered(&self) -> u32;

    /// How many covered rows pass.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn estimate(&self, question: Question<'_>) -> Result<Option<Estimate>, IndexError>;

    /// Adds the covered rows that pass to `out`.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged; `out` may have been added to.
    fn select(
        &self,
        question: Question<'_>,
        out: &mut RoaringBitmap,
    ) -> Result<Option<Exactness>, IndexError>;

    /// Removes the covered rows that do not pass from `rows`, looking at these rows alone: for a few rows of many. `None` where
    /// that would be no cheaper than [`FieldIndex::select`]; nothing is removed then.
    ///
    /// # Errors
    ///
    /// As `select`.
    fn narrow(
        &self,
        question: Question<'_>,
        rows: &mut RoaringBitmap,
    ) -> Result<Option<Exactness>, IndexError>;

    /// Bytes it takes.
    fn memory(&self) -> IndexMemory;

    /// Rows by value, where values have an order that users know.
    fn ordered(&self) -> Option<&dyn Ordered>;

    /// Values with their number of rows.
    fn terms(&self) -> Option<&dyn Terms>;

    /// Values of one row.
    fn values(&self) -> Option<&dyn Values>;

    /// Statistics of words.
    fn words(&self) -> Option<&dyn WordStats>;
}

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least value first, and the least slot of equal ones.
    Ascending,
    /// The greatest value first, and the greatest slot of equal ones.
    Descending,
}

/// Rows by value.
pub trait Ordered {
    /// Visits covered rows by their values until `visit` breaks. A row with several values comes once for each; rows without a value of
    /// the index's kind do not come. `within` is a range of numbers or times to begin and to end at.
    ///
    /// `Ok(false)`: `within` is no question that this index can answer with ranges; nothing was visited.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn visit(
        &self,
        within: Option<&Test>,
        direction: Direction,
        visit: &mut dyn FnMut(KeyRef<'_>, Slot) -> ControlFlow<()>,
    ) -> Result<bool, IndexError>;
}

/// Values with their number of rows.
pub trait Terms {
    /// Visits each value that some covered row of `within` has, ascending, with how many have it; of all covered rows without `within`.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn visit(
        &self,
        within: Option<&RoaringBitmap>,
        visit: &mut dyn FnMut(KeyRef<'_>, u64) -> ControlFlow<()>,
    ) -> Result<(), IndexError>;
}

/// Values of one row.
pub trait Values {
    /// Visits the distinct values of `slot` that the index holds, ascending. Values of other kinds are not among them.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn visit(&self, slot: Slot, visit: &mut dyn FnMut(KeyRef<'_>)) -> Result<(), IndexError>;

    /// Some row has values that the index does not hold.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn has_others(&self) -> Result<bool, IndexError>;
}

/// What ranking by words needs (BM25): lengths and frequencies.
pub trait WordStats {
    /// Covered rows with at least one token, and the tokens of all of them.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn totals(&self) -> Result<(u64, u64), IndexError>;

    /// How many covered rows have `token`.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn document_count(&self, token: &str) -> Result<u64, IndexError>;

    /// Visits the rows that have `token`, ascending, each with how often it has it and how many tokens it has.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    fn postings(&self, token: &str, visit: &mut dyn FnMut(Slot, u32, u32)) -> Result<(), IndexError>;
}

impl Estimate {
    /// Known to be `count`.
    pub fn exactly(count: u64) -> Estimate {
        Estimate { low: count, likely: count, high: count }
    }

    /// Nothing is known about `rows` rows.
    pub fn unknown(rows: u64) -> Estimate {
        Estimate { low: 0, likely: rows / 2, high: rows }
    }

    /// The sum, for rows that are apart.
    pub(crate) fn plus(self, other: Estimate) -> Estimate {
        Estimate {
            low: self.low + other.low,
            likely: self.likely + other.likely,
            high: self.high + other.high,
        }
    }
}

impl Exactness {
    /// `Exact` without rows to test.
    pub(crate) fn from_recheck(recheck: RoaringBitmap) -> Exactness {
        if recheck.is_empty() { Exactness::Exact } else { Exactness::Recheck(recheck) }
    }

    /// The rows that must be tested.
    pub fn into_recheck(self) -> RoaringBitmap {
        match self {
            Exactness::Exact => RoaringBitmap::new(),
            Exactness::Recheck(rows) => rows,
        }
    }
}
