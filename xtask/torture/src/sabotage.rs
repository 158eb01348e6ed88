//! The test is tested: the engine is broken in five ways, and each must be found.

use std::fmt;
use std::time::Instant;

use nearfield_collection::sabotage::DROP_DELETES;
use nearfield_platform::Sabotage;
use nearfield_wal::sabotage::{ACCEPT_BAD_CHECKSUMS, HOLD_BACK_FRAMES};

use crate::images;
use crate::kills;
use crate::report::{Kind, Report, Tally};

/// A way to break the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Files are not synced.
    SkipDataSync,
    /// Folders are not synced.
    SkipDirSync,
    /// A write is acknowledged before it is in the log.
    EarlyAck,
    /// Replaying the log leaves out deletes.
    DropDeletes,
    /// Log frames whose checksum does not hold are taken for whole.
    BadChecksums,
}

impl Lie {
    /// All five.
    pub const ALL: [Lie; 5] =
        [Lie::SkipDataSync, Lie::SkipDirSync, Lie::EarlyAck, Lie::DropDeletes, Lie::BadChecksums];

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Lie::SkipDataSync => "skip-data-sync",
            Lie::SkipDirSync => "skip-dir-sync",
            Lie::EarlyAck => "early-ack",
            Lie::DropDeletes => "drop-deletes",
            Lie::BadChecksums => "bad-checksums",
        }
    }

    /// The lie of this name.
    pub fn named(name: &str) -> Option<Lie> {
        Lie::ALL.into_iter().find(|lie| lie.name() == name)
    }

    /// The part of the directory that lies, if it is the directory.
    pub(crate) fn skipped(self) -> Option<Sabotage> {
        match self {
            Lie::SkipDataSync => Some(Sabotage::SkipDataSync),
            Lie::SkipDirSync => Some(Sabotage::SkipDirSync),
            _ => None,
        }
    }

    /// True if it is told while writing, not while recovering.
    pub(crate) fn is_of_the_writer(self) -> bool {
        matches!(self, Lie::SkipDataSync | Lie::SkipDirSync | Lie::EarlyAck)
    }

    /// True if a killed process shows it: the page cache forgives what is not synced.
    fn shows_in_kills(self) -> bool {
        matches!(self, Lie::EarlyAck | Lie::DropDeletes)
    }

    /// Breaks the engine in this process, for good.
    pub fn tell(self) {
        self.switch(true);
    }

    /// Breaks the engine in this process until the answer is dropped.
    pub fn guard(self) -> Told {
        self.switch(true);
        Told(self)
    }

    fn switch(self, on: bool) {
        match self {
            Lie::SkipDataSync | Lie::SkipDirSync => {}
            Lie::EarlyAck => HOLD_BACK_FRAMES.set(on),
            Lie::DropDeletes => DROP_DELETES.set(on),
            Lie::BadChecksums => ACCEPT_BAD_CHECKSUMS.set(on),
        }
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The engine is broken as long as this lives.
#[derive(Debug)]
pub struct Told(Lie);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.switch(false);
    }
}

/// Breaks the engine in each of these ways and sees to it that it is noticed.
///
/// # Errors
///
/// If the machine does not play along.
pub fn run(lies: &[Lie], seed: u64, images_max: u64, kills_max: u64) -> Result<Report, String> {
    let started = Instant::now();
    let mut report = Report::new("the test is tested", Tally::default());
    for &lie in lies {
        // One thread: how many images it takes is then the same each time.
        let found = images::run(&images::Plan { images: images_max, seed, threads: 1, lie: Some(lie) });
        note(&mut report, lie, "images", &found);
        if lie.shows_in_kills() {
            let plan = kills::Plan { kills: kills_max, seed, dir: None, lie: Some(lie), keep: false };
            note(&mut report, lie, "kills", &kills::run(&plan)?);
        }
    }
    report.figure("seconds", started.elapsed().as_secs());
    Ok(report)
}

fn note(report: &mut Report, lie: Lie, of: &str, found: &Report) {
    let count =
        found.figures.iter().find(|(name, _)| name == of).map_or(0, |(_, count)| count.as_u64().unwrap_or(0));
    if found.tally.total() == 0 {
        report.shortcomings.push(format!("{lie} was not noticed in {count} {of}"));
        return;
    }
    let kinds: Vec<&str> =
        Kind::ALL.into_iter().filter(|kind| found.tally.count(*kind) > 0).map(Kind::name).collect();
    report.figure(format!("{lie}: {of} until noticed"), count);
    report.figure(format!("{lie}: {of} show"), kinds.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_told_by_name_and_end() {
        for lie in Lie::ALL {
            assert_eq!(Lie::named(lie.name()), Some(lie));
        }
        assert_eq!(Lie::named("truth"), None);
    }

    #[test]
    fn a_lie_that_nobody_notices_is_a_shortcoming() {
        let mut report = Report::new("test", Tally::default());
        let mut innocent = Report::new("images", Tally::default());
        innocent.figure("images", 7);
        note(&mut report, Lie::EarlyAck, "images", &innocent);
        assert_eq!(report.shortcomings, ["early-ack was not noticed in 7 images"]);
        assert!(!report.passed());
    }
}
