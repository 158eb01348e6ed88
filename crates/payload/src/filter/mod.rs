//! Filters: which points are meant. The tree, its limits, and its evaluation on one row.
//!
//! **It refuses** to know any wire form (front ends build trees), segments and indexes (they answer leaves faster, never otherwise), and to recurse:
//! building, checking, evaluating, printing, comparing and dropping take the same stack for one level and a million.
//!
//! # Invariants
//!
//! 1. A tree has any shape and size; [`Filter::check`] and [`Matcher::new`] refuse what is beyond [`limits`].
//! 2. One meaning: what [`Matcher`] answers for a row is what every index and every plan answers.
//! 3. Numbers of different kinds are compared exactly, never by rounding one to the other.
//!
//! # Reading order
//!
//! `tree`, `operand`, `geo`, `datetime`, `limits`, `matcher`, `display`.

pub mod datetime;
mod display;
mod geo;
pub mod limits;
mod matcher;
mod operand;
mod slice;
mod tree;

#[cfg(test)]
mod tests;

pub use datetime::Datetime;
pub use geo::{EARTH_RADIUS_M, GeoBox, GeoPoint, GeoPolygon, GeoRadius};
pub use limits::FilterError;
pub use matcher::Matcher;
pub use operand::{Key, Number, Range, Scalar, Test};
pub use slice::slice_of;
pub use tree::{ClauseRef, Condition, ConditionRef, Filter, FilterRef, Leaf};
