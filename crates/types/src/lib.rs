//! Identifiers, metrics, payload values and limits: the words every Nearfield crate speaks.
//!
//! **It refuses** to do I/O, to know serde or any wire form, and to hold anything that only one crate needs.
//!
//! ```
//! use nearfield_types::{Metric, PointId, Slot};
//!
//! // Numbers come before UUIDs, UUIDs before strings; within a kind the order is the natural one.
//! let mut ids = vec![PointId::from("b"), PointId::from(7), PointId::from("a")];
//! ids.sort();
//! assert_eq!(ids, [PointId::from(7), PointId::from("a"), PointId::from("b")]);
//!
//! // Inside the engine a lower score is always closer; people see the metric's customary number.
//! assert_eq!(Metric::Cosine.similarity(0.25), 0.75);
//! assert_eq!(Slot(3).index(), 3);
//! ```
//!
//! # Invariants
//!
//! 1. `PointId` has one total order (number < UUID < string); results and scrolls break ties by it.
//! 2. [`Value`] numbers are finite once [`Object::check`] accepted them; nesting is at most [`limits::PAYLOAD_DEPTH_MAX`].
//! 3. Nothing here recurses on input: values from outside are walked and dropped with an explicit stack.
//!
//! # Reading order
//!
//! `ids`, `metric`, `value`, `limits`, `name`, `progress`.

mod ids;
pub mod limits;
mod metric;
mod name;
mod progress;
mod value;

pub use ids::{PointId, Seq, Slot};
pub use metric::{Metric, Score, UnknownMetric};
pub use name::{NameError, check_name};
pub use progress::Progress;
/// The UUID type used in [`PointId`], re-exported so that users need no second dependency.
pub use uuid::Uuid;
pub use value::{Object, Value, ValueError};
