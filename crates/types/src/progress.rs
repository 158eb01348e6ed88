//! How far long work is, and whether it is still wanted.
//!
//! **It refuses** to know what the work is, to read a clock and to wake anybody: who works adds steps and asks now and then, who watches
//! reads.
//!
//! # Invariants
//!
//! 1. [`Progress::fraction`] never goes back, even where more steps are found on the way.
//! 2. Once cancelled, work stays cancelled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Steps done of steps expected, shared between who works, who looks and who cancels.
///
/// ```
/// use nearfield_types::Progress;
///
/// let progress = Progress::default();
/// progress.expect(4);
/// progress.add(1);
/// assert_eq!(progress.fraction(), 0.25);
/// // Half of the work was not known before: the fraction stands still until it is made up for.
/// progress.expect(4);
/// assert_eq!(progress.fraction(), 0.25);
/// progress.add(3);
/// assert_eq!(progress.fraction(), 0.5);
/// progress.cancel();
/// assert!(progress.is_cancelled());
/// ```
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    expected: AtomicU64,
    /// The highest fraction ever shown, as bits: of floats that are not negative the bits have the same order.
    shown: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// So many more steps will be taken. Their unit is the worker's; all steps of one work have the same.
    pub fn expect(&self, steps: u64) {
        self.expected.fetch_add(steps, Ordering::Relaxed);
    }

    /// So many more steps were taken.
    pub fn add(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    /// The part that is done, from 0 to 1; 0 before anything is expected.
    pub fn fraction(&self) -> f64 {
        let (done, expected) = (self.done.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        let now = if expected == 0 { 0.0 } else { (done as f64 / expected as f64).min(1.0) };
        f64::from_bits(self.shown.fetch_max(now.to_bits(), Ordering::Relaxed).max(now.to_bits()))
    }

    /// Asks the worker to give up. It does so at its next look, and leaves everything as it was.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to give up.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
