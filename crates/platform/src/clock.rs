//! Time as a value that is handed in.
//!
//! No rule of correctness reads a clock (architecture: time is a value); clocks serve ages, expiry times fixed once a request,
//! pauses and the figures shown to people.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
///
/// # Contract
///
/// [`Clock::nanos`] never goes back; [`Clock::now_ms`] may, when people set the wall clock.
///
/// # Complexity and concurrency
///
/// O(1); all methods may be called from several threads.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970, by the wall clock.
    fn now_ms(&self) -> u64;

    /// Nanoseconds since some fixed moment in the life of this clock.
    fn nanos(&self) -> u64;

    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Its [`Clock::nanos`] count from now.
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A wall clock before 1970 is as good as one that stands at 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn nanos(&self) -> u64 {
        whole_nanos(self.start.elapsed())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A clock that moves only when told: for tests and simulations.
///
/// Sleeping moves it too and returns at once, so a simulated wait costs no time.
///
/// ```
/// use nearfield_platform::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(1_000);
/// clock.sleep(Duration::from_millis(5));
/// assert_eq!((clock.now_ms(), clock.nanos()), (1_005, 5_000_000));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    start_ms: u64,
    nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `start_ms` milliseconds since 1970.
    pub fn new(start_ms: u64) -> Self {
        ManualClock { start_ms, nanos: AtomicU64::new(0) }
    }

    /// Moves the clock on.
    pub fn advance(&self, time: Duration) {
        self.nanos.fetch_add(whole_nanos(time), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.start_ms.saturating_add(self.nanos() / 1_000_000)
    }

    fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::SeqCst)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}

/// 584 years fit.
fn whole_nanos(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_moves() {
        let clock = SystemClock::new();
        let (wall, before) = (clock.now_ms(), clock.nanos());
        clock.sleep(Duration::from_millis(2));
        assert!(clock.nanos() - before >= 2_000_000);
        assert!(wall > 1_600_000_000_000);
    }
}
