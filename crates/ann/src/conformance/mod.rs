//! The suites that ship with the traits: what every implementation must pass.
//!
//! An implementation calls one function from a test:
//!
//! ```
//! use nearfield_ann::conformance::{Promise, check_index};
//! use nearfield_ann::Flat;
//!
//! check_index(&|points| Box::new(Flat::new(points.len())), Promise::Exact)?;
//! # Ok::<(), nearfield_ann::conformance::Violation>(())
//! ```
//!
//! They refuse to be lenient: the first broken law ends the run and is named. They need no files, threads, clock or chance.
//!
//! Reading order: `points` (the data), `indexes`, `scorers`, `others`.

mod indexes;
mod others;
mod points;
mod scorers;

pub use indexes::{Promise, check_index};
pub use others::{check_admit, check_ties};
pub use points::{Points, PointsScorer};
pub use scorers::{check_build_scorer, check_scorer};

/// A law of one of the traits, as far as it can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// Results come best first, by score and then by ties.
    Order,
    /// A result is a slot of the index, at most once, at most k in all.
    Slots,
    /// A result has the score its scorer gives it, and scores do not depend on batch, order or call form.
    Scores,
    /// An exact index finds all that belongs; an approximate one reaches its recall.
    Completeness,
    /// Only admitted slots are results; admission is exact, stable and keeps the order.
    Admission,
    /// Nothing above bound or radius is a result; what is equal stays.
    Cap,
    /// A raised flag or a refusing check stops the search, and both are consulted often enough.
    Interruption,
    /// Never more distances than the budget allows.
    Budget,
    /// What the scorer reports is passed on.
    Failure,
    /// Repeating a search gives the same answer, whatever the scratch held before.
    Determinism,
    /// The statistics are true.
    Stats,
    /// Slots that have no vector, or lie beyond the end, score infinity.
    Absence,
    /// A total order.
    Totality,
}

/// A broken law.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{law:?} is broken: {detail}")]
pub struct Violation {
    /// Which one.
    pub law: Law,
    /// What was asked, expected and found.
    pub detail: String,
}

/// Ends the suite where `holds` is false; the detail is only written then.
fn require(law: Law, holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { law, detail: detail() }) }
}
