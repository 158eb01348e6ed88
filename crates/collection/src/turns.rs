//! Waiting for the turn of long work, and for the end of that of others.
//!
//! Who merges, rebuilds or builds holds a lock for minutes. So nobody waits for one longer than he is wanted, and threads of the background do not wait
//! at all: they try, and come again. The order of the locks is told in `collection`. It refuses to work.

use std::time::Duration;

use nearfield_types::Progress;
use parking_lot::{Mutex, MutexGuard};

use crate::collection::Collection;
use crate::error::{Error, ErrorKind, Result};

/// How often somebody who waits for others looks whether he is still wanted.
const LOOK: Duration = Duration::from_millis(20);

impl Collection {
    /// Waits for a lock as long as that is wanted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if `progress` was cancelled, or the collection is being closed.
    pub(crate) fn wait_for<'a>(
        &self,
        lock: &'a Mutex<()>,
        progress: &Progress,
    ) -> Result<MutexGuard<'a, ()>> {
        loop {
            let guard = lock.try_lock_for(LOOK);
            if self.indexing.halted() || progress.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "it was given up before its turn came"));
            }
            if let Some(guard) = guard {
                return Ok(guard);
            }
        }
    }

    /// Returns when nobody works in the folder any more: what was under way has given up or is done. To be called after
    /// [`Collection::shut`], before the folder is removed.
    pub fn come_to_rest(&self) {
        let _still = self.still();
        let _ledger = self.checkpoint.lock();
        drop(self.writer.lock());
    }

    /// Nobody merges or builds as long as these are held.
    pub(crate) fn still(&self) -> [MutexGuard<'_, ()>; 3] {
        [self.merging.one.lock(), self.indexing.building.lock(), self.indexing.fields.lock()]
    }

    /// What failed on a segment that was merged away meanwhile, with its folder, is no error: nobody needs it.
    pub(crate) fn unless_gone(&self, number: u64, error: Error) -> Result<()> {
        let ledger = self.checkpoint.lock();
        let is_there = ledger.manifest.segments.iter().any(|entry| entry.id == number);
        let is_wish = error.kind() == ErrorKind::Cancelled;
        if is_there || is_wish || self.check_writable().is_err() { Err(error) } else { Ok(()) }
    }
}
