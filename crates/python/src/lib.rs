//! `nearfield._nearfield`: the compiled part of the Python package `nearfield`.
//!
//! **It refuses** to have opinions: every check of a value, every limit and every distance belongs to the engine. What is here turns
//! numpy arrays into slices, lets other Python threads run meanwhile, and turns errors into exceptions.
//!
//! # Invariants
//!
//! 1. An array that is float32, aligned and in C order is read in place; any other is converted once, by numpy, or refused by name.
//! 2. The interpreter lock is released for every call that searches, adds, removes, reads or writes files.
//! 3. No memory is allocated for a result before `k` and the number of queries were checked.
//!
//! # Reading order
//!
//! `arrays`, `errors`, `index`, `stats`.

mod arrays;
mod errors;
mod index;
mod stats;

use pyo3::prelude::*;

/// The compiled part of the package. Import from `nearfield`.
#[pymodule]
fn _nearfield(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<index::Index>()
}
