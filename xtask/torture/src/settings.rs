//! How a database is opened: drawn anew each time, so that no promise rests on one size or mode.

use std::fmt;
use std::sync::Arc;

use nearfield::{Durability, Options};
use nearfield_platform::{Entropy, ManualClock, SeededEntropy};

use crate::workload::one_of;

/// Settings that change nothing of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Whether two threads of the database seal and sync.
    pub background: bool,
    /// Rows at which a head is sealed.
    pub head_rows_max: u32,
    /// Bytes at which a head is sealed.
    pub head_bytes_max: u64,
    /// Logged bytes at which a checkpoint is due.
    pub log_bytes_max: u64,
}

impl Settings {
    /// Settings under which sealing is frequent.
    pub fn draw(random: &SeededEntropy) -> Settings {
        Settings {
            durability: one_of(random, &[Durability::Process, Durability::Sync]),
            background: random.below(2) == 0,
            head_rows_max: one_of(random, &[20, 60, 200, 600, 2000]),
            head_bytes_max: one_of(random, &[4 << 10, 64 << 10, 1 << 30]),
            log_bytes_max: one_of(random, &[16 << 10, 256 << 10, 1 << 30]),
        }
    }

    /// The options over the machine's clock and entropy.
    pub fn options(&self) -> Options {
        let mut options = Options::default().durability(self.durability);
        options.background = self.background;
        options.collections.head_rows_max = self.head_rows_max;
        options.collections.head_bytes_max = self.head_bytes_max;
        options.collections.log_bytes_max = self.log_bytes_max;
        // Two databases on small disks in memory would otherwise find their file system unknown.
        options.allow_unsupported_fs = true;
        options
    }

    /// The options for a run that can be repeated to the last byte: identities come from `seed`, the clock stands still.
    pub fn repeatable(&self, seed: u64) -> Options {
        let mut options = self.options();
        options.collections.entropy = Arc::new(SeededEntropy::new(seed));
        if !self.background {
            options.collections.clock = Arc::new(ManualClock::new(1_000_000_000_000));
        }
        options
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { durability, background, head_rows_max, head_bytes_max, log_bytes_max } = self;
        let threads = if *background { "background" } else { "inline" };
        write!(
            f,
            "{durability:?}, {threads}, head {head_rows_max} rows or {head_bytes_max} bytes, log {log_bytes_max} bytes"
        )
    }
}
