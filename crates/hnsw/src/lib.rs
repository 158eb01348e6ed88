//! HNSW.
mod adopt;
pub mod format;
mod graph;
mod levels;
mod link;
mod links;
mod params;
mod pool;
mod refine;
mod search;
mod select;
mod stats;
pub mod verify;
mod view;
mod walk;

#[cfg(test)]
mod tests;

pub use adopt::Adopted;
pub use graph::{Graph, Scorers};
pub use link::Linker;
pub use params::{EF_CONSTRUCTION_MAX, EF_MAX, Geometry, M_MAX, Params, ParamsError};
pub use refine::{Refinement, Turned};
pub use search::{Question, Steps, Ticket};
pub use stats::GraphStats;
pub use view::{GraphView, OpenError};
