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
//! No merge runs meanwhile, and none that began before ends after it: it would bring indexes of the settings before.
//!
//! Given up by its caller, what was built stays, the rest serves as it is, and the manifest says that nothing is under way.

use std::sync::Arc;

use nearfield_ann::Stopped;
use nearfield_segment::{BuildPhase, Sealed, Segment};
use nearfield_types::Progress;
use parking_lot::MutexGuard;

use crate::collection::{Collection, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Manifest;
use crate::settings::raise_epoch;

/// Steps of one build, whatever its size: they are weighted by its rows.
const BUILD_STEPS_A_ROW: u64 = 8;

impl Collection {
    /// Builds the indexes of the vector `name`, or of all, anew with the settings of now, and returns when that is done. The old ones serve until
    /// then, and what is written meanwhile is found. Rows in memory are sealed first. After a kill the background takes it up again. If somebody
    /// is at it already, what is asked for here is added to that and waited for; so is a merge under way.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if `progress` was cancelled or the collection closed; [`ErrorKind::NotFound`] if there is no such vector; else as
    /// [`Collection::flush`] and [`Collection::maintain_indexes`].
    pub fn rebuild(&self, name: Option<&str>, progress: &Progress) -> Result<()> {
        let (_rebuilding, asked) = match self.indexing.rebuilding.try_lock() {
            Some(guard) => (guard, false),
            None => {
                // Before waiting: what was built with earlier settings until now is built anew by either.
                self.ask_for(name, true)?;
                (self.wait_for(&self.indexing.rebuilding, progress)?, true)
            }
        };
        // A merge under way took its settings before these: it must not end after this.
        let _merging = self.wait_for(&self.merging.one, progress)?;
        self.flush()?;
        self.ask_for(name, !asked)?;
        let rows = self.stale().iter().map(|stale| u64::from(stale.sealed.rows())).sum::<u64>();
        progress.expect(rows * BUILD_STEPS_A_ROW);
        let done = self.finish_rebuilding(progress);
        if let Err(error) = &done
            && error.kind() == ErrorKind::Cancelled
            && progress.is_cancelled()
        {
            // The caller wants no more of it. A collection that is closed goes on when it is opened.
            self.end_rebuilding(true)?;
        }
        done
    }

    /// Says in the manifest that indexes are to be built anew. If all are of the settings of now, those settings count as new ones, if `anew`
    /// says so and nobody is at it.
    fn ask_for(&self, name: Option<&str>, anew: bool) -> Result<()> {
        self.change_settings(|manifest| {
            let wanted = match name {
                None => None,
                Some(name) => match manifest.config.find(name) {
                    Some((place, _)) => Some(place),
                    None => return Err(crate::prepare::unknown_vector(&manifest.config, name)),
                },
            };
            let stale = manifest.stale_indexes();
            for (place, epoch) in manifest.epochs.iter_mut().enumerate() {
                if wanted.is_some_and(|wanted| wanted != place) {
                    continue;
                }
                let mut is_stale = stale.get(place).is_some_and(|&stale| stale > 0);
                if !is_stale && anew && !epoch.rebuilding {
                    raise_epoch(epoch)?;
                    is_stale = true;
                }
                epoch.rebuilding |= is_stale;
            }
            Ok(())
        })
    }

    /// Goes on with what a kill cut short, unless somebody is at it; true if it has to wait for a merge.
    pub(crate) fn take_up_rebuilding(&self) -> Result<bool> {
        if !self.is_rebuilding() {
            return Ok(false);
        }
        let Some(_rebuilding) = self.indexing.rebuilding.try_lock() else { return Ok(false) };
        let Some(_merging) = self.merging.one.try_lock() else { return Ok(true) };
        self.finish_rebuilding(&Progress::default()).map(|()| false)
    }

    /// Whether stale indexes are being built anew, or are to be.
    pub fn is_rebuilding(&self) -> bool {
        self.settings.load().epochs.iter().any(|epoch| epoch.rebuilding)
    }

    /// Builds until nothing that was asked for is stale, also what is asked for meanwhile. The caller holds the lock of merging.
    fn finish_rebuilding(&self, progress: &Progress) -> Result<()> {
        loop {
            self.rebuild_stale(progress)?;
            self.end_rebuilding(false)?;
            if !self.is_rebuilding() {
                return Ok(());
            }
        }
    }

    /// Says in the manifest that nothing is to be built anew any more; unless all of it is given up, only where nothing is stale.
    fn end_rebuilding(&self, all: bool) -> Result<()> {
        self.change_settings(|manifest| {
            let stale = self.stale_by(manifest);
            for (place, epoch) in manifest.epochs.iter_mut().enumerate() {
                epoch.rebuilding &= !all && stale.iter().any(|stale| stale.vector == place);
            }
            Ok(())
        })
    }

    /// Builds what is stale, one at a time. It ends under the lock of building: nobody is then at an index of earlier settings.
    fn rebuild_stale(&self, progress: &Progress) -> Result<()> {
        loop {
            let building = self.wait_for(&self.indexing.building, progress)?;
            // First what searches have to scan: whoever else would build it may wait for long.
            self.build_unindexed(progress)?;
            let Some(stale) = self.stale().into_iter().next() else { return Ok(()) };
            self.rebuild_one(&stale, progress)?;
            MutexGuard::unlock_fair(building);
        }
    }

    fn rebuild_one(&self, stale: &Stale, progress: &Progress) -> Result<()> {
        let meter = BuildMeter::new(progress, u64::from(stale.sealed.rows()));
        let watch = |phase, done, all| match self.indexing.halted() || progress.is_cancelled() {
            true => Err(Stopped::Cancelled),
            false => {
                meter.reach(phase, done, all);
                Ok(())
            }
        };
        watch(BuildPhase::Encode, 0, 1).map_err(|_| cancelled())?;
        let made = match self.make_index(stale.number, &stale.sealed, stale.vector, None, &watch) {
            Ok(made) => made,
            Err(error) => return self.unless_gone(stale.number, error),
        };
        let mut ledger = self.checkpoint.lock();
        self.check_open().map_err(|_| closed())?;
        self.exchange(&mut ledger, stale.number, stale.vector, made)?;
        drop(ledger);
        meter.end();
        Ok(())
    }

    /// Indexes of an earlier epoch than that of the settings, of vectors whose indexes are being built anew.
    fn stale(&self) -> Vec<Stale> {
        let ledger = self.checkpoint.lock();
        self.stale_by(&ledger.manifest)
    }

    /// The same by this manifest; the caller holds the lock of the checkpoint.
    fn stale_by(&self, manifest: &Manifest) -> Vec<Stale> {
        let version = self.current.load();
        let mut stale = Vec::new();
        for member in version.settled() {
            let (Segment::Sealed(sealed), Some(number)) = (&member.segment, member.number) else { continue };
            let Some(entry) = manifest.segments.iter().find(|entry| entry.id == number) else {
                continue;
            };
            for (vector, epoch) in manifest.epochs.iter().enumerate() {
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
        let (done, all) = (u128::from(done), u128::from(all.max(1)));
        // Wide: the product of some hundred million rows with themselves does not fit otherwise.
        let steps = u128::from(self.steps) * (begin * all + (end - begin) * done.min(all)) / (20 * all);
        self.reach_steps(steps as u64);
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

#[cfg(test)]
mod tests;
