//! One budget of memory for everything in a process that takes much and may wait.
//!
//! It counts what is said of memory, not what the system says: whoever holds rows, codes or graphs says how much, when it changes. What
//! cannot wait (a write that was accepted) is counted and never refused; what can (a builder) asks and waits for its turn. Mapped files are
//! not counted: the system takes their pages back when it needs them.
//!
//! **It refuses** to allocate, to end anybody's work, and to let everybody wait: one builder always goes on, however large.
//!
//! # Invariants
//!
//! 1. What is counted is the sum of all reservations; a reservation that is dropped counts nothing.
//! 2. Of those that wait to build, one is admitted whenever none builds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How often somebody who waits looks whether he is still wanted.
const LOOK: Duration = Duration::from_millis(20);
/// A head is sealed at this part of the budget: a few of them fill, wait and are written at once.
const HEAD_PART: u64 = 12;

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Rows that are not sealed yet, with their codes and graphs.
    Heads,
    /// Indexes that are being built.
    Builders,
    /// What could be read again.
    Caches,
}

/// A number of bytes that all share, and who holds how many.
///
/// ```
/// use nearfield_platform::{Budget, Use};
///
/// let budget = Budget::of(1_000);
/// let rows = budget.reserve(Use::Heads, 700);
/// assert!(!budget.is_near());
/// rows.set(900);
/// assert!(budget.is_near());
/// drop(rows);
/// assert_eq!(budget.used(), 0);
/// ```
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: [AtomicU64; 3],
    builders: Mutex<u32>,
    freed: Condvar,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn of(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit: bytes,
            used: Default::default(),
            builders: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// A budget that is never near.
    pub fn unlimited() -> Arc<Budget> {
        Budget::of(u64::MAX)
    }

    /// The bytes that all share; `u64::MAX` if there is no limit.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that are held.
    pub fn used(&self) -> u64 {
        self.used.iter().map(|used| used.load(Ordering::Relaxed)).sum()
    }

    /// Bytes that are held for one use.
    pub fn used_for(&self, of: Use) -> u64 {
        self.used[of as usize].load(Ordering::Relaxed)
    }

    /// True once three quarters are held: what can be given back should be, and who can wait should.
    pub fn is_near(&self) -> bool {
        self.used() > self.limit / 4 * 3
    }

    /// Bytes at which one head is full, at most `usual`.
    pub fn head_bytes_max(&self, usual: u64) -> u64 {
        usual.min(self.limit / HEAD_PART)
    }

    /// Counts bytes that are held, whether there is room for them or not.
    pub fn reserve(self: &Arc<Self>, of: Use, bytes: u64) -> Reservation {
        let reservation = Reservation { budget: Arc::clone(self), of, bytes: AtomicU64::new(0) };
        reservation.set(bytes);
        reservation
    }

    /// Waits until there is room for a builder that will hold `bytes`, or nobody else builds; `None` if `gives_up` says so first.
    ///
    /// A builder must not ask for a second place while it holds one.
    pub fn admit_builder(self: &Arc<Self>, bytes: u64, gives_up: &dyn Fn() -> bool) -> Option<BuilderPlace> {
        let mut builders = self.builders.lock();
        loop {
            if gives_up() {
                return None;
            }
            if *builders == 0 || self.used().saturating_add(bytes) <= self.limit {
                *builders += 1;
                // With the lock: the next one must see what this one holds.
                return Some(BuilderPlace { reservation: self.reserve(Use::Builders, bytes) });
            }
            self.freed.wait_for(&mut builders, LOOK);
        }
    }
}

/// Bytes that somebody holds; given back when dropped.
pub struct Reservation {
    budget: Arc<Budget>,
    of: Use,
    bytes: AtomicU64,
}

impl Reservation {
    /// So many bytes are held from now on.
    pub fn set(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        let used = &self.budget.used[self.of as usize];
        // Wrapping: of two who set at once the sum of their differences is right, whoever comes first.
        used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        if bytes < before {
            self.budget.freed.notify_all();
        }
    }

    /// The bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What they are part of.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({:?} {})", self.of, self.bytes())
    }
}

/// The place of somebody who builds; given back when dropped.
#[derive(Debug)]
pub struct BuilderPlace {
    reservation: Reservation,
}

impl BuilderPlace {
    /// How many threads it should take, of `usual`: one where memory is near its end, for each has buffers of its own.
    pub fn threads(&self, usual: usize) -> usize {
        if self.reservation.budget.is_near() { 1 } else { usual }
    }
}

impl Drop for BuilderPlace {
    fn drop(&mut self) {
        let budget = Arc::clone(&self.reservation.budget);
        self.reservation.set(0);
        *budget.builders.lock() -= 1;
        budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn what_is_counted_is_the_sum_of_what_is_held() {
        let budget = Budget::of(1_000);
        let (heads, cache) = (budget.reserve(Use::Heads, 300), budget.reserve(Use::Caches, 50));
        heads.set(100);
        assert_eq!((budget.used(), budget.used_for(Use::Heads), heads.bytes()), (150, 100, 100));
        drop(cache);
        heads.set(2_000);
        assert_eq!((budget.used(), budget.is_near()), (2_000, true));
        drop(heads);
        assert_eq!((budget.used(), budget.is_near()), (0, false));
        assert_eq!((budget.head_bytes_max(50), budget.head_bytes_max(1_000)), (50, 1_000 / HEAD_PART));
        let unlimited = Budget::unlimited();
        let much = unlimited.reserve(Use::Heads, u64::MAX / 2);
        assert!(!unlimited.is_near());
        assert_eq!(unlimited.head_bytes_max(much.bytes()), u64::MAX / HEAD_PART);
    }

    #[test]
    fn one_builder_always_goes_on_and_more_only_with_room() {
        let budget = Budget::of(1_000);
        let full = budget.reserve(Use::Heads, 5_000);
        let first = budget.admit_builder(800, &|| false).unwrap();
        assert_eq!((first.threads(4), budget.used_for(Use::Builders)), (1, 800));
        let looks = AtomicU32::new(0);
        let second = budget.admit_builder(10, &|| looks.fetch_add(1, Ordering::Relaxed) > 2);
        assert!(second.is_none());
        full.set(0);
        let second = budget.admit_builder(100, &|| false).unwrap();
        assert_eq!(budget.used(), 900);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| budget.admit_builder(900, &|| false).map(|place| place.threads(4)));
            drop(first);
            drop(second);
            assert!(third.join().unwrap().is_some());
        });
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn many_builders_pass_one_after_another() {
        let budget = Budget::of(100);
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let place = budget.admit_builder(60, &|| false).unwrap();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!((most.into_inner(), budget.used()), (1, 0));
    }
}
