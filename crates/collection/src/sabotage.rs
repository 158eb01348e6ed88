//! A switch that breaks recovery on purpose, so that the tests which must notice can be tested.
//!
//! It exists only with the feature `sabotage`, which nothing that keeps data turns on, and is off until somebody sets it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::operation::Operation;

/// A way to break the collections of this process.
#[derive(Debug)]
pub struct Switch(AtomicBool);

/// Replaying the log leaves out deletes.
pub static DROP_DELETES: Switch = Switch(AtomicBool::new(false));

impl Switch {
    /// Turns it on or off.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }
}

/// True for an operation that replay leaves out.
pub(crate) fn drops(operation: &Operation) -> bool {
    DROP_DELETES.0.load(Ordering::Relaxed) && matches!(operation, Operation::Delete(_))
}
