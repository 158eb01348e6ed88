//! Building indexes anew, with other settings or the same, while the old ones serve.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | say in the manifest that stale indexes are being built anew | that, and the old indexes: the work is taken up again |
//! | build one beside the old one, write its files under the next generation, sync files and folder | files no manifest names, removed at the next open |
//! | swap the manifest: **the commit point** of one index | the new index; the others are taken up again |
//! | switch versions in memory, remove the old files | leftovers, removed at the next open |
//! | say in the manifest that it is done | nothing stale: the same |
//!
//! Given up by its caller, what was built stays, the rest serves as it is, and the manifest says that nothing is under way.

use std::sync::Arc;

use nearfield_ann::Stopped;
use nearfield_segment::{BuildPhase, Sealed, Segment};
use nearfield_types::Progress;

use crate::collection::{Collection, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::settings::raise_epoch;

/// Steps of one build, whatever its size: they are weighted by its rows.
const BUILD_STEPS_A_ROW: u64 = 8;

impl Collection {
    /// Builds the indexes of the vector `name`, or of all, anew with the settings of now, and returns when that is done. The old ones serve until
    /// then, and what is written meanwhile is found. Rows in memory are sealed first. After a kill the background takes it up again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if `progress` was cancelled or the collection closed; [`ErrorKind::Busy`] if somebody else is at it; else as
    /// [`Collection::flush`] and [`Collection::maintain_indexes`].
    pub fn rebuild(&self, name: Option<&str>, progress: &Progress) -> Result<()> {
        let Some(_one) = self.indexing.rebuilding.try_lock() else {
            return Err(Error::new(
                ErrorKind::Busy,
                "the indexes are being built anew already: wait for that",
            ));
        };
        self.flush()?;
        self.change_settings(|manifest| {
            for (place, epoch) in manifest.epochs.iter_mut().enumerate() {
                let wanted = match name {
                    None => true,
                    Some(name) => match manifest.config.find(name) {
                        Some((found, _)) => found == place,
                        None => return Err(crate::prepare::unknown_vector(&manifest.config, name)),
                    },
                };
                if !wanted {
                    continue;
                }
                let built = |entry: &crate::manifest::SegmentEntry| entry.epochs.get(place).copied();
                if manifest.segments.iter().filter_map(built).all(|built| built == epoch.number) {
                    raise_epoch(epoch)?;
                }
                epoch.rebuilding = true;
            }
            Ok(())
        })?;
        let rows = self.stale().iter().map(|stale| u64::from(stale.sealed.rows())).sum::<u64>();
        progress.expect(rows * BUILD_STEPS_A_ROW);
        let done = self.rebuild_stale(progress);
        match &done {
            Ok(()) => self.end_rebuilding()?,
            // The caller wants no more of it. A collection that is closed goes on when it is opened.
            Err(error) if error.kind() == ErrorKind::Cancelled && progress.is_cancelled() => {
                self.end_rebuilding()?;
            }
            Err(_) => {}
        }
        done
    }

    /// Goes on with what a kill cut short, unless somebody is at it.
    pub(crate) fn take_up_rebuilding(&self) -> Result<()> {
        if !self.settings.load().epochs.iter().any(|epoch| epoch.rebuilding) {
            return Ok(());
        }
        let Some(_one) = self.indexing.rebuilding.try_lock() else { return Ok(()) };
        self.rebuild_stale(&Progress::default())?;
        self.end_rebuilding()
    }

    /// Whether stale indexes are being built anew, or are to be.
    pub fn is_rebuilding(&self) -> bool {
        self.settings.load().epochs.iter().any(|epoch| epoch.rebuilding)
    }

    fn end_rebuilding(&self) -> Result<()> {
        self.change_settings(|manifest| {
            manifest.epochs.iter_mut().for_each(|epoch| epoch.rebuilding = false);
            Ok(())
        })
    }

    fn rebuild_stale(&self, progress: &Progress) -> Result<()> {
        while let Some(stale) = self.stale().into_iter().next() {
            let _one = self.indexing.building.lock();
            let meter = BuildMeter::new(progress, u64::from(stale.sealed.rows()));
            let watch = |phase, done, all| match self.indexing.halted() || progress.is_cancelled() {
                true => Err(Stopped::Cancelled),
                false => {
                    meter.reach(phase, done, all);
                    Ok(())
                }
            };
            watch(BuildPhase::Encode, 0, 1).map_err(|_| cancelled())?;
            let made = self.make_index(stale.number, &stale.sealed, stale.vector, None, &watch)?;
            let mut ledger = self.checkpoint.lock();
            self.check_open().map_err(|_| closed())?;
            self.exchange(&mut ledger, stale.number, stale.vector, made)?;
            drop(ledger);
            meter.end();
        }
        Ok(())
    }

    /// Indexes of an earlier epoch than that of the settings, of vectors whose indexes are being built anew.
    fn stale(&self) -> Vec<Stale> {
        let ledger = self.checkpoint.lock();
        let version = self.current.load();
        let mut stale = Vec::new();
        for member in version.settled() {
            let (Segment::Sealed(sealed), Some(number)) = (&member.segment, member.number) else { continue };
            let Some(entry) = ledger.manifest.segments.iter().find(|entry| entry.id == number) else {
                continue;
            };
            for (vector, epoch) in ledger.manifest.epochs.iter().enumerate() {
                let is_older = entry.epochs.get(vector).is_some_and(|built| *built < epoch.number);
                if epoch.rebuilding && is_older && sealed.indexed(vector).is_some() {
                    stale.push(Stale { number, vector, sealed: Arc::clone(sealed) });
                }
            }
        }
        stale
    }
}

/// An index that is to be built anew.
struct Stale {
    number: u64,
    vector: usize,
    sealed: Arc<Sealed>,
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "building indexes was given up")
}

/// Turns the phases of a build into steps of a progress.
pub(crate) struct BuildMeter<'a> {
    progress: &'a Progress,
    steps: u64,
    reached: std::sync::atomic::AtomicU64,
}

impl<'a> BuildMeter<'a> {
    /// Of the build of so many rows: eight steps each, which the caller expects.
    pub(crate) fn new(progress: &'a Progress, rows: u64) -> Self {
        BuildMeter { progress, steps: rows * BUILD_STEPS_A_ROW, reached: 0.into() }
    }

    /// Steps of the build of so many rows.
    pub(crate) fn steps(rows: u64) -> u64 {
        rows * BUILD_STEPS_A_ROW
    }

    /// So much of the phase is done.
    pub(crate) fn reach(&self, phase: BuildPhase, done: u32, all: u32) {
        // Of twenty: what the phases usually take.
        let (begin, end) = match phase {
            BuildPhase::Encode => (0, 1),
            BuildPhase::Link => (1, 13),
            BuildPhase::Refine => (13, 18),
            BuildPhase::Measure => (18, 20),
        };
        let (done, all) = (u64::from(done), u64::from(all.max(1)));
        self.reach_steps(self.steps * (begin * all + (end - begin) * done.min(all)) / (20 * all));
    }

    /// All is done.
    pub(crate) fn end(&self) {
        self.reach_steps(self.steps);
    }

    fn reach_steps(&self, at: u64) {
        let before = self.reached.fetch_max(at, std::sync::atomic::Ordering::Relaxed);
        self.progress.add(at.saturating_sub(before));
    }
}
