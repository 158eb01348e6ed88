//! Forked processes. Threads and locks stay with the parent, so a child must not touch what was opened before.
//!
//! A child has no thread but one, yet the tables in which waiting threads are kept came along, with entries of threads that are not there. So
//! while a database was open at the fork, the child cannot use any, not even one of its own; it is told so instead of failing strangely.
//!
//! Python tells of every fork it makes (`os.register_at_fork`), so asking costs one load.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;

/// Forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Databases with threads of their own.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// True if there were some when this process was forked.
static TAINTED: AtomicBool = AtomicBool::new(false);
/// This process, and the one it was forked from.
static PID: AtomicU32 = AtomicU32::new(0);
static PARENT: AtomicU32 = AtomicU32::new(0);

/// A database with threads of its own, as long as this lives.
#[derive(Debug)]
pub(crate) struct Live(());

impl Live {
    pub(crate) fn new() -> Live {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Live(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Refuses to open a database where none can be used.
pub(crate) fn check_opening() -> Result<(), Failure> {
    match TAINTED.load(Ordering::Relaxed) {
        false => Ok(()),
        true => Err(Failure::value(format!(
            "databases were open in process {} when process {} was forked from it, and their threads stayed there: open databases \
             after the fork, or start processes with the method 'spawn'",
            PARENT.load(Ordering::Relaxed),
            std::process::id()
        ))),
    }
}

/// When something was made: in which process, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    forks: u32,
    pid: u32,
}

impl Birth {
    /// Now and here.
    pub(crate) fn now() -> Birth {
        Birth { forks: FORKS.load(Ordering::Relaxed), pid: std::process::id() }
    }

    /// True in the process it was made in.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// Refuses what was made before a fork.
    #[inline]
    pub(crate) fn check(self) -> Result<(), Failure> {
        match self.is_here() {
            true => Ok(()),
            false => Err(Failure::value(format!(
                "database was opened by process {}, and process {} was forked from it: open databases after the fork, or start \
                 processes with the method 'spawn'",
                self.pid,
                std::process::id()
            ))),
        }
    }
}

#[pyfunction]
fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    PARENT.store(PID.swap(std::process::id(), Ordering::Relaxed), Ordering::Relaxed);
    if LIVE.load(Ordering::SeqCst) > 0 {
        TAINTED.store(true, Ordering::Relaxed);
    }
}

/// Has Python tell of forks. Systems without forks have nothing to tell.
pub(crate) fn watch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    PID.store(std::process::id(), Ordering::Relaxed);
    let py = module.py();
    let os = py.import("os")?;
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", pyo3::wrap_pyfunction!(count_fork, module)?)?;
    os.getattr("register_at_fork")?.call((), Some(&hooks)).map(drop)
}
