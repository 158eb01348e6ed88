//! Which slots may be results: visibility, filters, or both, as one question asked in batches.
//!
//! It refuses to know what it filters by.

use nearfield_types::Slot;

/// Decides which slots may be returned by a search. What is not admitted may still be walked through.
///
/// # Contract
///
/// * [`retain`](Admit::retain) keeps exactly the admitted slots, in their order, and adds none.
/// * The verdict on a slot does not change during a search and does not depend on the batch it comes in.
///
/// # Complexity
///
/// One virtual call per batch of up to 512 slots that passed the score threshold; a few nanoseconds a slot are expected.
///
/// # Concurrency
///
/// Shared by all threads of a search.
///
/// The conformance suite is [`conformance::check_admit`](crate::conformance::check_admit).
pub trait Admit: Sync {
    /// Removes from `slots` those that may not be returned.
    fn retain(&self, slots: &mut Vec<Slot>);

    /// How many slots of the index are admitted, as far as is known without counting.
    fn estimate(&self) -> Estimate;
}

/// How many slots something holds: bounds and a best guess, `low <= likely <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// At least so many.
    pub low: u64,
    /// The best guess.
    pub likely: u64,
    /// At most so many.
    pub high: u64,
}

impl Estimate {
    /// Exactly so many.
    pub fn exactly(count: u64) -> Self {
        Estimate { low: count, likely: count, high: count }
    }

    /// Nothing is known of the share of `len` slots; half of them is the guess.
    pub fn unknown(len: u64) -> Self {
        Estimate { low: 0, likely: len / 2, high: len }
    }

    /// The estimate for an index of `len` slots: no part is larger than that.
    pub fn within(self, len: u64) -> Self {
        Estimate { low: self.low.min(len), likely: self.likely.min(len), high: self.high.min(len) }
    }
}

/// Admits every slot. Its estimate is `u64::MAX`, to be cut by [`Estimate::within`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admit for AdmitAll {
    fn retain(&self, _slots: &mut Vec<Slot>) {}

    fn estimate(&self) -> Estimate {
        Estimate::exactly(u64::MAX)
    }
}

/// Admits the slots for which a function says yes, with an estimate given by who made it.
#[derive(Clone, Copy, Debug)]
pub struct AdmitIf<F> {
    admitted: F,
    estimate: Estimate,
}

impl<F: Fn(Slot) -> bool + Sync> AdmitIf<F> {
    /// Admits where `admitted` says yes; about `estimate` slots are expected to be.
    ///
    /// ```
    /// use nearfield_ann::{Admit, AdmitIf, Estimate};
    /// use nearfield_types::Slot;
    ///
    /// let even = AdmitIf::new(Estimate::exactly(2), |slot| slot.0 % 2 == 0);
    /// let mut slots = vec![Slot(3), Slot(2), Slot(0)];
    /// even.retain(&mut slots);
    /// assert_eq!(slots, [Slot(2), Slot(0)]);
    /// ```
    pub fn new(estimate: Estimate, admitted: F) -> Self {
        AdmitIf { admitted, estimate }
    }
}

impl<F: Fn(Slot) -> bool + Sync> Admit for AdmitIf<F> {
    fn retain(&self, slots: &mut Vec<Slot>) {
        slots.retain(|&slot| (self.admitted)(slot));
    }

    fn estimate(&self) -> Estimate {
        self.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_cut_to_the_index() {
        assert_eq!(AdmitAll.estimate().within(9), Estimate::exactly(9));
        assert_eq!(Estimate::unknown(10), Estimate { low: 0, likely: 5, high: 10 });
        assert_eq!(Estimate::unknown(10).within(3), Estimate { low: 0, likely: 3, high: 3 });
    }
}
