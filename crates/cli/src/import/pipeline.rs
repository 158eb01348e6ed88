//! Two threads: one reads and parses, this one writes. A few batches wait between them.
//!
//! **It refuses** to decide anything: what a batch means for progress and checkpoints is the caller's business.
//!
//! # Invariants
//!
//! 1. Batches are written in file order, each by one atomic upsert.
//! 2. At most [`QUEUED`] + 2 batches are in memory.

use std::sync::mpsc::sync_channel;

use nearfield::{Collection, Seq};

use super::source::{Place, Points};
use crate::failure::{Failure, Outcome};

/// Batches that wait for the writer: enough that neither thread waits for the other's next turn on a busy machine.
const QUEUED: usize = 8;

/// Writes all of `source` into `collection`; `written` is told of each batch that was acknowledged, with the place after it.
pub(crate) fn run(
    collection: &Collection,
    mut source: Box<dyn Points>,
    mut written: impl FnMut(Place, Seq) -> Outcome<()>,
) -> Outcome<()> {
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(QUEUED);
        scope.spawn(move || {
            // The reader stops after an error, after the last batch, and when the writer has gone.
            while let Some(next) = source.next_batch().transpose() {
                let failed = next.is_err();
                if sender.send(next).is_err() || failed {
                    return;
                }
            }
        });
        for batch in batches {
            let batch = batch?;
            let first = batch.end.row - batch.points.len() as u64;
            let seq = collection.upsert(batch.points).map_err(|error| {
                let failure = Failure::from(error);
                failure.within(&format!("rows {first} to {}", batch.end.row - 1))
            })?;
            written(batch.end, seq)?;
        }
        Ok(())
    })
}
