//! How the background works on segments: the settings people know from elsewhere, each honoured or refused.
//!
//! Sizes are kilobytes (1,024 bytes) of vectors, all vectors of a point together. It refuses to do anything: `policy` chooses, `merging` does.

use nearfield_segment::GRAPH_ROWS_MIN;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::config::CollectionConfig;
use crate::error::{Error, Result};
use crate::policy::Limits;

/// Bytes of the unit of sizes.
const KB: u64 = 1_024;
/// Smaller segments cost more than they are worth.
const SEGMENT_KB_MIN: u64 = 1_000;
/// Kilobytes a processor where no size is given.
const SEGMENT_KB_A_CORE: u64 = 256_000;
const SEGMENTS_MAX: u32 = 1_000;
const THREADS_MAX: u32 = 1_024;
/// Segments wanted where no number is given: half as many as processors, within these.
const SEGMENTS_AUTO: std::ops::RangeInclusive<usize> = 2..=8;
/// Segments beyond those wanted that are borne where sizes are too unlike.
const SLACK: usize = 4;

/// When segments are merged, written anew and indexed.
///
/// ```
/// use nearfield_collection::OptimizerConfig;
///
/// let eager = OptimizerConfig { deleted_threshold: 0.05, ..OptimizerConfig::default() };
/// assert!(eager.check().is_ok());
/// let wrong = OptimizerConfig { deleted_threshold: 5.0, ..OptimizerConfig::default() };
/// assert_eq!(wrong.check().unwrap_err().to_string(), "deleted_threshold is 5: it must be 0 to 1, a share of rows");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// A segment of which more than this share of rows is dead is written anew. 0 to 1.
    pub deleted_threshold: f64,
    /// Segments with fewer rows are not written anew for their dead rows; merges take these away too.
    pub vacuum_min_vector_number: u64,
    /// Segments wanted at most; 0 is half the processors, at least 2 and at most 8. A few more are borne while their sizes differ so much that
    /// merging would write large ones anew for little.
    pub default_segment_number: u32,
    /// No merge makes a segment of more kilobytes, and the first write after the head has as many seals it: a head is larger by what its last
    /// write added. `None` is 256,000 a processor for merges; heads are then sealed by the options of the process alone.
    pub max_segment_size: Option<u64>,
    /// Vectors of more kilobytes lie in mapped files: the head is sealed there, by the next write, though not below 1,000. `None` leaves it to the other limits;
    /// whatever is sealed is mapped in any case.
    pub memmap_threshold: Option<u64>,
    /// Segments of fewer kilobytes get no graph and are scanned; 0: none gets one. `None` gives one to every segment of 1,000 rows or more, which
    /// is where a walk begins to be faster than a scan.
    pub indexing_threshold: Option<u64>,
    /// Every write survives power loss after so many seconds at the latest. At least 1; writes are synced within 200 ms in any case.
    pub flush_interval_sec: u64,
    /// Threads that build indexes and merge; 0: none of that is done in the background. `None` is half the processors.
    pub max_optimization_threads: Option<u32>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            deleted_threshold: 0.2,
            vacuum_min_vector_number: 1_000,
            default_segment_number: 0,
            max_segment_size: None,
            memmap_threshold: None,
            indexing_threshold: None,
            flush_interval_sec: 5,
            max_optimization_threads: None,
        }
    }
}

impl OptimizerConfig {
    /// Checks the values against what can be honoured.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`], naming the field, the value and the reason.
    pub fn check(&self) -> Result<()> {
        let refused = |text: String| Err(Error::invalid(text));
        if !(0.0..=1.0).contains(&self.deleted_threshold) {
            return refused(format!(
                "deleted_threshold is {}: it must be 0 to 1, a share of rows",
                self.deleted_threshold
            ));
        }
        if self.default_segment_number > SEGMENTS_MAX {
            let number = self.default_segment_number;
            return refused(format!("default_segment_number is {number}: it must be 0 to {SEGMENTS_MAX}"));
        }
        if let Some(size) = self.max_segment_size.filter(|&size| size < SEGMENT_KB_MIN) {
            return refused(format!(
                "max_segment_size is {size} KB: it must be at least {SEGMENT_KB_MIN}, smaller segments cost more than they are worth"
            ));
        }
        if self.memmap_threshold == Some(0) {
            return refused(
                "memmap_threshold is 0, which asks for no mapped files: sealed vectors are always mapped, leave it out"
                    .to_owned(),
            );
        }
        if self.flush_interval_sec == 0 {
            return refused(
                "flush_interval_sec is 0: it must be at least 1; for writes that are on the disk when they are acknowledged open with durability sync"
                    .to_owned(),
            );
        }
        match self.max_optimization_threads {
            Some(threads) if threads > THREADS_MAX => refused(format!(
                "max_optimization_threads is {threads}: it must be 0 to {THREADS_MAX}, or be left out"
            )),
            _ => Ok(()),
        }
    }

    /// What the policy keeps to on a machine of so many processors.
    pub fn limits(&self, cores: usize) -> Limits {
        let segments = match self.default_segment_number {
            0 => (cores / 2).clamp(*SEGMENTS_AUTO.start(), *SEGMENTS_AUTO.end()),
            number => number as usize,
        };
        let automatic = SEGMENT_KB_A_CORE.saturating_mul(cores as u64);
        Limits {
            segments,
            slack: SLACK,
            bytes_max: self.max_segment_size.unwrap_or(automatic).saturating_mul(KB),
            rows_max: SEGMENT_ROWS_MAX as u64,
            dead_share_max: self.deleted_threshold,
            dead_rows_min: self.vacuum_min_vector_number,
        }
    }

    /// Bytes of vectors at which the head is sealed, where the settings say so.
    pub(crate) fn head_bytes_max(&self) -> Option<u64> {
        let mapped = self.memmap_threshold.map(|size| size.max(SEGMENT_KB_MIN));
        let sizes = mapped.into_iter().chain(self.max_segment_size);
        sizes.min().map(|size| size.saturating_mul(KB))
    }

    /// The rows from which on a segment gets a graph.
    pub(crate) fn graph_rows_min(&self, config: &CollectionConfig) -> u32 {
        let row: u64 = config.vectors().map(|(_, vector)| 4 * u64::from(vector.dim)).sum();
        match self.indexing_threshold {
            None => GRAPH_ROWS_MIN,
            Some(0) => u32::MAX,
            Some(size) => {
                let rows = size.saturating_mul(KB).div_ceil(row.max(1));
                u32::try_from(rows).unwrap_or(u32::MAX).max(GRAPH_ROWS_MIN)
            }
        }
    }

    /// True if the background is to leave segments as they are.
    pub(crate) fn is_off(&self) -> bool {
        self.max_optimization_threads == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use nearfield_types::Metric;

    use super::*;

    fn usual() -> OptimizerConfig {
        OptimizerConfig::default()
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_reason() {
        let text = |config: OptimizerConfig| config.check().err().map(|e| e.to_string());
        assert_eq!(text(usual()), None);
        let cases = [
            (OptimizerConfig { deleted_threshold: f64::NAN, ..usual() }, "deleted_threshold is NaN"),
            (OptimizerConfig { deleted_threshold: -0.1, ..usual() }, "deleted_threshold is -0.1"),
            (OptimizerConfig { default_segment_number: 1_001, ..usual() }, "default_segment_number is 1001"),
            (OptimizerConfig { max_segment_size: Some(999), ..usual() }, "max_segment_size is 999 KB"),
            (OptimizerConfig { memmap_threshold: Some(0), ..usual() }, "memmap_threshold is 0"),
            (OptimizerConfig { flush_interval_sec: 0, ..usual() }, "flush_interval_sec is 0"),
            (
                OptimizerConfig { max_optimization_threads: Some(1_025), ..usual() },
                "max_optimization_threads is 1025",
            ),
        ];
        for (config, begin) in cases {
            assert!(text(config).is_some_and(|text| text.starts_with(begin)), "{begin}");
        }
    }

    #[test]
    fn defaults_follow_the_machine() {
        let wanted = |cores| usual().limits(cores).segments;
        assert_eq!([1, 2, 4, 6, 16, 64].map(wanted), [2, 2, 2, 3, 8, 8]);
        assert_eq!(usual().limits(2).bytes_max, 2 * 256_000 * 1_024);
        let named = OptimizerConfig { default_segment_number: 1, max_segment_size: Some(5_000), ..usual() };
        assert_eq!((named.limits(2).segments, named.limits(2).bytes_max), (1, 5_000 * 1_024));
    }

    #[test]
    fn thresholds_are_kilobytes_of_vectors() {
        let config = CollectionConfig::new(256, Metric::Dot);
        let rows = |size| OptimizerConfig { indexing_threshold: size, ..usual() }.graph_rows_min(&config);
        assert_eq!(
            [None, Some(10_000), Some(7), Some(0), Some(u64::MAX)].map(rows),
            [1_000, 10_000, 1_000, u32::MAX, u32::MAX]
        );
        let head = |memmap_threshold, max_segment_size| {
            OptimizerConfig { memmap_threshold, max_segment_size, ..usual() }.head_bytes_max()
        };
        assert_eq!(head(None, None), None);
        assert_eq!(head(Some(5), None), Some(1_000 * 1_024));
        assert_eq!(head(Some(20_000), Some(9_000)), Some(9_000 * 1_024));
    }
}
