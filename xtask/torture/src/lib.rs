//! What is done to a database to see whether its promises hold: kills at random moments, power cuts, failing disks.
//!
//! **It refuses** to look inside the engine: it writes and reads through the public library, harms files and processes from outside,
//! and keeps its own record of what was acknowledged. It also refuses to be believed untested: [`sabotage`] breaks the engine in
//! five ways, each of which the rest must notice.
//!
//! ```
//! use nearfield_torture::model::{Model, Outcome};
//! use nearfield_torture::workload::{Size, Stream, World, execute};
//! use std::sync::Arc;
//!
//! let world = Arc::new(World::new(1, Size { keys: 10, batch: 5, dim: 4 }));
//! let stream = &Stream::all(&world, 2, 1)[0];
//! let (db, mut model) = (nearfield::Database::in_memory()?, Model::default());
//! for op in (0..20).map(|n| stream.op(n)).filter(|op| op.to_string() != "close and open") {
//!     assert_eq!(execute(&db, &op), model.run(&op), "{op}");
//! }
//! assert_eq!(Model::read(&db, 7), Ok(model));
//! # Ok::<(), nearfield::Error>(())
//! ```
//!
//! # Invariants
//!
//! 1. The n-th operation of a stream follows from the seed alone, so the judge never asks the accused what he did.
//! 2. Every random choice comes from the seed that is printed; only the timing of threads and of kills from outside does not.
//! 3. An operation counts as acknowledged once the call returned, and as begun before it was made; what lies between may be
//!    there whole or not at all, nothing else may.
//!
//! # Reading order
//!
//! `workload`, `model`, `answers`, `report`; then `kills` with `child`, `watch` and `settings`; `images` with `history`; `faults`
//! with `trial`; `sabotage`; `command`, the words of the program. Beside them `bitflip`.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool that starts, times and kills processes and copies their files; the platform seam is for the engine"
)]

pub mod answers;
pub mod bitflip;
pub mod child;
pub mod command;
pub mod faults;
mod history;
pub mod images;
pub mod kills;
pub mod model;
pub mod report;
pub mod sabotage;
pub mod settings;
mod trial;
pub mod watch;
pub mod workload;
