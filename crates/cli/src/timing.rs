//! The one clock of the command line: how long something took, for people to read.
//!
//! **It refuses** to be used for anything a result depends on.
#![expect(
    clippy::disallowed_methods,
    reason = "rates and latencies are shown to people; no rule of the engine reads this clock"
)]

use std::time::{Duration, Instant};

/// Runs from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// How many a second, 0 for no time at all.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
