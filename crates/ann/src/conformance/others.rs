//! The suites of [`Admit`] and [`Ties`].

use std::cmp::Ordering;

use nearfield_types::Slot;

use super::points::Mix;
use super::{Law, Violation, require};
use crate::{Admit, Ties};

/// Checks that an admission over the slots `0..len` gives one verdict per slot, whatever the batch, keeps the order, and that its
/// estimate holds.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_admit(admit: &dyn Admit, len: u32) -> Result<(), Violation> {
    let alone: Vec<bool> = (0..len).map(|slot| admitted_alone(admit, Slot(slot))).collect();
    let mut mix = Mix(u64::from(len));
    for length in [0, 1, 2, 17, 512] {
        let length = if len == 0 { 0 } else { length };
        let asked: Vec<Slot> = (0..length).map(|_| Slot(mix.below(len))).collect();
        let wanted: Vec<Slot> = asked.iter().copied().filter(|slot| alone[slot.index()]).collect();
        let mut found = asked.clone();
        admit.retain(&mut found);
        require(Law::Admission, found == wanted, || {
            format!("{found:?} of {asked:?}, one by one {wanted:?}")
        })?;
    }
    let count = alone.iter().filter(|&&admitted| admitted).count() as u64;
    let estimate = admit.estimate().within(u64::from(len));
    let ordered = estimate.low <= estimate.likely && estimate.likely <= estimate.high;
    require(Law::Admission, ordered && (estimate.low..=estimate.high).contains(&count), || {
        format!("{estimate:?} for {count} admitted slots")
    })
}

/// Checks that `ties` is a total order over `slots`, for which O(n^3) comparisons are made.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_ties(ties: &dyn Ties, slots: &[Slot]) -> Result<(), Violation> {
    for &a in slots {
        for &b in slots {
            let (forth, back) = (ties.compare(a, b), ties.compare(b, a));
            require(Law::Totality, forth == back.reverse() && (a != b || forth == Ordering::Equal), || {
                format!("{a:?} to {b:?} is {forth:?}, back {back:?}")
            })?;
            for &c in slots.iter().filter(|_| forth.is_le()) {
                let transitive = ties.compare(b, c).is_gt() || ties.compare(a, c).is_le();
                require(Law::Totality, transitive, || format!("{a:?}, {b:?}, {c:?} have no order"))?;
            }
        }
    }
    Ok(())
}

fn admitted_alone(admit: &dyn Admit, slot: Slot) -> bool {
    let mut one = vec![slot];
    admit.retain(&mut one);
    !one.is_empty()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::{AdmitAll, AdmitIf, BySlot, Estimate};

    #[test]
    fn what_ships_conforms() {
        check_admit(&AdmitAll, 100).unwrap();
        check_admit(&AdmitAll, 0).unwrap();
        check_admit(&AdmitIf::new(Estimate::unknown(100), |slot| slot.0 % 3 == 0), 100).unwrap();
        check_ties(&BySlot, &[Slot(3), Slot(1), Slot(1), Slot(9)]).unwrap();
    }

    struct Cycle;

    impl Ties for Cycle {
        fn compare(&self, a: Slot, b: Slot) -> Ordering {
            match (3 + b.0 - a.0) % 3 {
                0 => Ordering::Equal,
                1 => Ordering::Less,
                _ => Ordering::Greater,
            }
        }
    }

    #[test]
    fn faults_are_found() {
        let too_few = AdmitIf::new(Estimate::exactly(1), |slot: Slot| slot.0 < 2);
        assert_eq!(check_admit(&too_few, 9).map_err(|v| v.law), Err(Law::Admission));
        let calls = AtomicU32::new(0);
        let fickle = AdmitIf::new(Estimate::unknown(9), |_| calls.fetch_add(1, Relaxed).is_multiple_of(2));
        assert_eq!(check_admit(&fickle, 9).map_err(|v| v.law), Err(Law::Admission));
        let cycle = check_ties(&Cycle, &[Slot(0), Slot(1), Slot(2)]);
        assert_eq!(cycle.map_err(|v| v.law), Err(Law::Totality));
    }
}
