//! How much work a search may do, and why it stopped.
//!
//! It refuses to read a clock: a deadline is a function that the caller hands in.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The flag and the injected check are consulted once per so many distances.
///
/// At 10 to 100 ns a distance that is every 5 to 50 µs: soon enough to give up a walk that leads nowhere, too rare to cost.
pub const DISTANCES_PER_CHECK: u64 = 512;

/// Why a search ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stopped {
    /// The caller asked it to stop.
    #[error("the search was cancelled")]
    Cancelled,
    /// Its time is up.
    #[error("the search passed its deadline")]
    Deadline,
    /// It would need more distances than it was given. A planner that set the limit finishes another way.
    #[error("the search spent its budget of distances")]
    Budget,
    /// A stored row failed its checksum. The store can name the file and the block.
    #[error("a stored row is damaged")]
    Damaged,
    /// The store could not read a row; it is not known to be damaged.
    #[error("a stored row could not be read")]
    Unreadable,
}

/// The limits of one request: shared by all its searches, one segment after another or several at once.
///
/// ```
/// use nearfield_ann::{Budget, Stopped};
///
/// let budget = Budget::unlimited().with_distances_max(1_000);
/// assert_eq!(budget.spend(900), Ok(()));
/// assert_eq!(budget.spend(101), Err(Stopped::Budget));
/// assert_eq!(budget.spent(), 900);
/// ```
///
/// # Concurrency
///
/// Any number of threads may spend from one budget.
pub struct Budget<'a> {
    cancelled: Option<&'a AtomicBool>,
    check: Option<&'a (dyn Fn() -> Option<Stopped> + Sync)>,
    distances_max: u64,
    spent: AtomicU64,
}

impl<'a> Budget<'a> {
    /// No limit at all.
    pub fn unlimited() -> Self {
        Budget { cancelled: None, check: None, distances_max: u64::MAX, spent: AtomicU64::new(0) }
    }

    /// Stops with [`Stopped::Cancelled`] soon after `flag` became true.
    pub fn with_cancel(mut self, flag: &'a AtomicBool) -> Self {
        self.cancelled = Some(flag);
        self
    }

    /// Stops with what `check` returns soon after it returns something: the way in for deadlines.
    pub fn with_check(mut self, check: &'a (dyn Fn() -> Option<Stopped> + Sync)) -> Self {
        self.check = Some(check);
        self
    }

    /// Stops with [`Stopped::Budget`] before more than `max` distances are computed.
    pub fn with_distances_max(mut self, max: u64) -> Self {
        self.distances_max = max;
        self
    }

    /// Pays for `distances` that are about to be computed; looks at flag and check once per [`DISTANCES_PER_CHECK`].
    ///
    /// # Errors
    ///
    /// The reason to stop: then nothing was paid and nothing may be computed.
    #[inline]
    pub fn spend(&self, distances: u64) -> Result<(), Stopped> {
        // Relaxed: the counter orders nothing, it only adds up.
        let before = self.spent.fetch_add(distances, Ordering::Relaxed);
        let after = before.saturating_add(distances);
        if after > self.distances_max {
            self.spent.fetch_sub(distances, Ordering::Relaxed);
            return Err(Stopped::Budget);
        }
        if before / DISTANCES_PER_CHECK == after / DISTANCES_PER_CHECK {
            return Ok(());
        }
        self.check()
    }

    /// Looks at the flag and calls the check. A search does so once at its start.
    ///
    /// # Errors
    ///
    /// [`Stopped::Cancelled`], or what the check returned.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Stopped::Cancelled);
        }
        self.check.and_then(|check| check()).map_or(Ok(()), Err)
    }

    /// Distances paid for so far.
    pub fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Distances that may still be computed; `u64::MAX` less what was spent where there is no limit.
    pub fn left(&self) -> u64 {
        self.distances_max.saturating_sub(self.spent())
    }
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Budget::unlimited()
    }
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("cancelled", &self.cancelled)
            .field("check", &self.check.map(|_| ".."))
            .field("distances_max", &self.distances_max)
            .field("spent", &self.spent)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_and_check_are_consulted_once_per_interval() {
        let calls = AtomicU64::new(0);
        let check = || {
            calls.fetch_add(1, Ordering::Relaxed);
            None
        };
        let budget = Budget::unlimited().with_check(&check);
        for _ in 0..4 * DISTANCES_PER_CHECK / 16 {
            assert_eq!(budget.spend(16), Ok(()));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        // One large payment is one look, not many.
        assert_eq!(budget.spend(1 << 20), Ok(()));
        assert_eq!(calls.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_flag_raised_in_between_stops_at_the_next_look() {
        let flag = AtomicBool::new(false);
        let budget = Budget::unlimited().with_cancel(&flag);
        assert_eq!(budget.check(), Ok(()));
        flag.store(true, Ordering::Relaxed);
        assert_eq!(budget.spend(1), Ok(()));
        assert_eq!(budget.spend(DISTANCES_PER_CHECK), Err(Stopped::Cancelled));
        assert_eq!(budget.check(), Err(Stopped::Cancelled));
    }

    #[test]
    fn the_limit_is_never_passed_and_a_refused_payment_is_not_made() {
        let budget = Budget::unlimited().with_distances_max(10);
        assert_eq!(budget.spend(10), Ok(()));
        assert_eq!(budget.left(), 0);
        assert_eq!(budget.spend(1), Err(Stopped::Budget));
        assert_eq!(budget.spend(0), Ok(()));
        assert_eq!(budget.spent(), 10);
        assert_eq!(Budget::unlimited().with_distances_max(0).spend(1), Err(Stopped::Budget));
    }

    #[test]
    fn the_check_gives_its_own_reason() {
        let late = || Some(Stopped::Deadline);
        assert_eq!(Budget::unlimited().with_check(&late).check(), Err(Stopped::Deadline));
    }
}
