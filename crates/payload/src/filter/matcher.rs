//! A filter made ready to be asked of many rows.
//!
//! The tree becomes a straight program: each leaf says where to go on when it holds and where when not, so that one row costs a walk over the leaves that
//! decide, with no stack. Operands are sorted, hashed, split into words and parsed once. Only nested filters, counts and lists of lists allocate for a row.

mod probe;
mod program;
mod words;

use std::sync::Arc;

use nearfield_types::PointId;

use super::limits::{FilterError, check};
use super::tree::{Filter, FilterRef};
use crate::path::Path;
use crate::row::{RowError, RowRef};
use crate::text::Analyzer;
use probe::Subject;
use program::Program;

/// A filter ready to be asked of rows. Immutable: any number of threads may ask it.
///
/// ```
/// use nearfield_payload::filter::{Condition, Filter, Matcher, Test};
/// use nearfield_payload::{Path, RowRef, Scratch, encode_into};
/// use nearfield_types::{Object, PointId};
///
/// let filter = Filter::all([Condition::field(Path::key("pos"), Test::value("noun"))]);
/// let matcher = Matcher::new(&filter)?;
/// let mut scratch = Scratch::default();
/// let noun = Object::from_entries([("pos".to_owned(), "noun".into())]);
/// let row = RowRef::new(encode_into(&noun, &mut scratch)?)?;
/// assert!(matcher.matches(row, &PointId::from(7), |_| false)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Matcher {
    program: Program,
}

impl Matcher {
    /// The filter made ready, texts split by the default rules. O(operands).
    ///
    /// # Errors
    ///
    /// What [`Filter::check`] refuses.
    pub fn new(filter: &Filter) -> Result<Matcher, FilterError> {
        Matcher::with_texts(filter.view(), |_| None)
    }

    /// The same for any part of a tree, the texts of the fields that `texts` knows split as it says: a text index must find what a scan finds. Paths inside nested
    /// filters are asked for in full, `a[].b` for `b` inside `a`.
    ///
    /// # Errors
    ///
    /// As [`Matcher::new`].
    pub fn with_texts(
        filter: FilterRef<'_>,
        texts: impl Fn(&Path) -> Option<Arc<Analyzer>>,
    ) -> Result<Matcher, FilterError> {
        check(filter)?;
        Ok(Matcher { program: Program::compile(filter, &texts) })
    }

    /// Whether the point matches: its payload, its id, and whether it has a vector of a name.
    ///
    /// # Errors
    ///
    /// What is found wrong with the row on the way.
    pub fn matches(
        &self,
        row: RowRef<'_>,
        id: &PointId,
        has_vector: impl Fn(&str) -> bool,
    ) -> Result<bool, RowError> {
        self.program.run(&Subject { object: row.object(), id, has_vector: &has_vector })
    }

    /// The answer for every point, where the shape of the filter alone decides it.
    pub fn constant(&self) -> Option<bool> {
        self.program.constant()
    }

    /// The fields outside nested filters that are asked something, each once, in order: what indexes would help.
    pub fn paths(&self) -> Vec<&Path> {
        self.program.paths()
    }
}
