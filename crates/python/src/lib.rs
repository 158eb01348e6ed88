//! `nearfield._nearfield`: the compiled part of the Python package `nearfield`.
//!
//! Two things for Python: `Index`, an index in memory, and `Database`, a durable database with ids and metadata.
//!
//! **It refuses** to have opinions: every check of a value, every limit and every distance belongs to the engine. What is here turns
//! Python values into those of the engine and back, lets other Python threads run meanwhile, and turns errors into exceptions. The rules that
//! the library `vctrs` has and the engine has not (slots, metadata or none, whole batches of any size) are kept here too.
//!
//! # Invariants
//!
//! 1. An array that is float32, aligned and in C order is read in place; any other is converted once, by numpy, or refused by name.
//! 2. The interpreter lock is released for every call that searches, adds, removes, reads or writes files.
//! 3. No memory is allocated for a result before `k` and the number of queries were checked.
//! 4. No lock of ours is held while the interpreter lock is waited for, but by whoever asks for signals, who holds it for writing alone.
//! 5. What a process opened is never touched by a process forked from it.
//!
//! # Reading order
//!
//! The index: `arrays`, `errors`, `index`, `stats`. The database: `failure`, `fork`; `vectors`, `metadata`, `filters`; `store`, `batches`, `glance`, `handle`;
//! `searching`, `wide`, `operations`, `result`, `answers`, `database`, `later`; `figures`, `export`, `import`.

mod answers;
mod arrays;
mod batches;
mod database;
mod errors;
mod export;
mod failure;
mod figures;
mod filters;
mod fork;
mod glance;
mod handle;
mod import;
mod index;
mod later;
mod metadata;
mod operations;
mod result;
mod searching;
mod stats;
mod store;
mod vectors;
mod wide;

use pyo3::prelude::*;

/// The compiled part of the package. Import from `nearfield`.
#[pymodule]
fn _nearfield(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<index::Index>()?;
    module.add_class::<database::Database>()?;
    module.add_class::<result::SearchResult>()?;
    module.add_class::<later::Later>()?;
    module.add_class::<database::Claim>()?;
    module.add_function(wrap_pyfunction!(database::_claim, module)?)?;
    module.add_function(wrap_pyfunction!(database::_is_there, module)?)?;
    later::watch(module)?;
    fork::watch(module)
}
