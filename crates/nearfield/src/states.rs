//! States of collections: what can be done with each, why not, and what to do about it.

use std::sync::Arc;
use std::time::Duration;

use nearfield_collection::{ErrorKind, Result};

use crate::collection::Collection;
use crate::database::Database;
use crate::slots::SlotState;

/// How often unloading waits for a background thread that is at the collection just now.
const UNLOAD_TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether a collection can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CollectionState {
    /// It is open and takes reads and writes, also while it is rebuilt or optimized.
    Ready,
    /// It is on the disk and is opened at its first use, which takes a moment.
    Unloaded,
    /// It is being opened: who asks for it waits.
    Loading,
    /// It was closed and refuses all work until [`Database::open_collection`], after a restart too.
    Closed,
    /// It could not be opened, or takes no writes any more.
    Error {
        /// What is wrong.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
}

impl CollectionState {
    /// One word for it: `ready`, `unloaded`, `loading`, `closed`, `error`.
    pub fn name(&self) -> &'static str {
        match self {
            CollectionState::Ready => "ready",
            CollectionState::Unloaded => "unloaded",
            CollectionState::Loading => "loading",
            CollectionState::Closed => "closed",
            CollectionState::Error { .. } => "error",
        }
    }
}

/// What to do about a collection that could not be opened.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Corrupt => "restore it from a snapshot or a copy; the other collections are not touched",
        ErrorKind::Full => "free some space on the disk and open it again",
        ErrorKind::Unsupported => "open it with the version of Nearfield that wrote it, or a newer one",
        _ => "look after the disk and open it again",
    }
}

impl Database {
    /// The state of a collection, which this does not change: it is not opened for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such collection or alias.
    pub fn collection_state(&self, name: &str) -> Result<CollectionState> {
        let (_, slot) = self.shared().slot(name)?;
        Ok(match slot.state() {
            SlotState::Unloaded => CollectionState::Unloaded,
            SlotState::Loading => CollectionState::Loading,
            SlotState::Closed => CollectionState::Closed,
            SlotState::Failed(kind, reason) => CollectionState::Error { reason, advice: advice(kind) },
            SlotState::Gone => return Err(crate::slots::gone(name)),
            SlotState::Loaded(shard) => match shard.poisoned() {
                None => CollectionState::Ready,
                Some(why) => CollectionState::Error {
                    reason: format!("it is read-only, because {why}"),
                    advice: "look after the disk and open it again: everything that was acknowledged as synced is there",
                },
            },
        })
    }

    /// Opens a collection for use: one that was closed, one that failed, or one that has become read-only, whose handles end with that.
    /// One that is ready is left as it is. Durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`Database::collection`].
    pub fn open_collection(&self, name: &str) -> Result<Collection> {
        let shared = self.shared();
        {
            let mut ledger = shared.ledger()?;
            if let Some(found) = ledger.value.resolve(name).map(|(found, _)| found.to_owned())
                && ledger.value.closed.contains(&found)
            {
                let mut value = ledger.value.clone();
                value.closed.remove(&found);
                ledger.commit(value)?;
            }
        }
        let (_, slot) = shared.slot(name)?;
        {
            let turn = slot.turn();
            match slot.state() {
                SlotState::Closed => drop(turn.take(SlotState::Unloaded)),
                SlotState::Loaded(shard) if shard.poisoned().is_some() => {
                    turn.take(SlotState::Unloaded);
                    // Why it failed is known.
                    let _ = shard.close();
                }
                _ => {}
            }
        }
        self.collection(name)
    }

    /// Closes a collection: it refuses all work, also after a restart, until [`Database::open_collection`]. What is in memory is made
    /// durable, its tasks are taken back, its handles end. Views of it go on seeing what they saw. One that is closed is left as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such collection or alias; what making it durable met: it is closed all the same.
    pub fn close_collection(&self, name: &str) -> Result<()> {
        let shared = self.shared();
        let (found, slot) = shared.slot(name)?;
        {
            let mut ledger = shared.ledger()?;
            if !ledger.value.closed.contains(&found) && ledger.value.collections.contains_key(&found) {
                let mut value = ledger.value.clone();
                value.closed.insert(found);
                ledger.commit(value)?;
            }
        }
        let turn = slot.turn();
        // First, so that work under way ends as taken back and not by the close, and says in the collection that it has ended.
        let why = "the collection was closed";
        shared.board().cancel_all(slot.uuid, why);
        let ended = match slot.state() {
            SlotState::Gone => return Err(crate::slots::gone(name)),
            _ => turn.take(SlotState::Closed).map_or(Ok(()), |shard| shard.close()),
        };
        drop(turn);
        // What was asked for until then.
        shared.board().cancel_all(slot.uuid, why);
        ended
    }

    /// Gives back the memory and the open files of a collection that nobody uses: it is opened again at its next use. True if it was open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while there are handles to it or work is done on it; what making it durable met.
    pub fn unload_collection(&self, name: &str) -> Result<bool> {
        let (found, slot) = self.shared().slot(name)?;
        let turn = slot.turn();
        let mut tries = UNLOAD_TRIES;
        let shard = loop {
            match turn.unload(&found) {
                Err(error) if error.kind() == ErrorKind::Busy && tries > 1 => {
                    tries -= 1;
                    self.shared().clock().sleep(PAUSE);
                }
                unloaded => break unloaded?,
            }
        };
        let Some(shard) = shard else { return Ok(false) };
        debug_assert_eq!(Arc::strong_count(&shard), 1);
        shard.close().map(|()| true)
    }
}
