//! Percentiles of measured times by the nearest rank: every figure is a time that was really measured.
//!
//! **It refuses** to interpolate and to measure (see `timing`).

use std::time::Duration;

/// Times, sorted.
pub(crate) struct Percentiles {
    sorted: Vec<Duration>,
}

impl Percentiles {
    /// Of at least one time.
    pub(crate) fn new(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        if times.is_empty() { None } else { Some(Percentiles { sorted: times }) }
    }

    /// The smallest time that at least `percent` of all do not exceed; 0 is the smallest, 100 and above the largest.
    pub(crate) fn at(&self, percent: u32) -> Duration {
        let count = self.sorted.len() as u64;
        let rank = (u64::from(percent.min(100)) * count).div_ceil(100).max(1);
        self.sorted[rank as usize - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Percentiles {
        Percentiles::new(micros.into_iter().map(Duration::from_micros).collect()).unwrap()
    }

    #[test]
    fn nearest_ranks() {
        let hundred = of((1..=100).rev());
        for percent in [1, 50, 95, 99, 100] {
            assert_eq!(hundred.at(percent), Duration::from_micros(percent.into()));
        }
        assert_eq!(hundred.at(0), Duration::from_micros(1));
        assert_eq!(hundred.at(u32::MAX), Duration::from_micros(100));
        let five = of([15, 20, 35, 40, 50]);
        assert_eq!([five.at(30), five.at(40), five.at(50)].map(|time| time.as_micros()), [20, 20, 35]);
    }

    #[test]
    fn one_time_is_every_percentile_and_none_is_no_answer() {
        assert_eq!(of([7]).at(1), of([7]).at(99));
        assert!(Percentiles::new(Vec::new()).is_none());
    }
}
