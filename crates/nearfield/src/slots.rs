//! Which collections are open: one slot for each that was asked for, and the turns in which it is opened, closed and deleted.
//!
//! | from | to | by |
//! |---|---|---|
//! | `Unloaded`, `Failed` | `Loading` | the first use; one opens, others wait for it |
//! | `Loading` | `Loaded`, `Failed` | what opening found |
//! | `Loaded` | `Unloaded` | unloading, if nobody holds it |
//! | any | `Closed` | closing it, which the catalog says too |
//! | `Closed` | `Unloaded` | opening it again |
//! | any | `Gone` | deleting it |
//!
//! A slot changes in a *turn*: a lock that is held while files are read or written, and that nobody takes who holds another lock of the
//! database. Its state can be looked at meanwhile. One collection that takes long, or is damaged, keeps no other waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use nearfield_collection::{Collection as Shard, Error, ErrorKind, Result};
use parking_lot::{Mutex, MutexGuard};

/// One collection of the catalog.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) uuid: [u8; 16],
    turn: Mutex<()>,
    state: Mutex<SlotState>,
    /// Which lists of the background it is in: see `background`.
    pub(crate) marks: AtomicU8,
}

/// What there is of a collection.
#[derive(Clone, Debug)]
pub(crate) enum SlotState {
    /// On the disk.
    Unloaded,
    /// It is being opened.
    Loading,
    /// Open.
    Loaded(Arc<Shard>),
    /// It could not be opened; the next use tries again.
    Failed(ErrorKind, String),
    /// It is not to be used.
    Closed,
    /// There is none any more.
    Gone,
}

/// A turn at a slot.
pub(crate) struct Turn<'a> {
    slot: &'a Slot,
    _guard: MutexGuard<'a, ()>,
}

impl Slot {
    fn new(uuid: [u8; 16], closed: bool) -> Slot {
        let state = if closed { SlotState::Closed } else { SlotState::Unloaded };
        Slot { uuid, turn: Mutex::default(), state: Mutex::new(state), marks: AtomicU8::new(0) }
    }

    /// The state as it is, also while somebody has a turn.
    pub(crate) fn state(&self) -> SlotState {
        self.state.lock().clone()
    }

    /// The collection, if it is open.
    pub(crate) fn loaded(&self) -> Option<Arc<Shard>> {
        match &*self.state.lock() {
            SlotState::Loaded(shard) => Some(Arc::clone(shard)),
            _ => None,
        }
    }

    /// Waits for those before and takes a turn.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { slot: self, _guard: self.turn.lock() }
    }
}

impl Turn<'_> {
    /// The collection, opened by `open` if it is not and may be.
    ///
    /// # Errors
    ///
    /// `Closed` and `NotFound` for one that may not, else that of `open`.
    pub(crate) fn load(
        &self,
        name: &str,
        open: impl FnOnce() -> Result<Arc<Shard>>,
    ) -> Result<(Arc<Shard>, bool)> {
        match self.slot.state() {
            SlotState::Loaded(shard) => return Ok((shard, false)),
            SlotState::Closed => return Err(closed(name)),
            SlotState::Gone => return Err(gone(name)),
            SlotState::Unloaded | SlotState::Loading | SlotState::Failed(..) => {}
        }
        self.set(SlotState::Loading);
        let unless_opened = UnloadedUnlessOpened(self);
        let opened = open();
        std::mem::forget(unless_opened);
        match opened {
            Ok(shard) => {
                self.set(SlotState::Loaded(Arc::clone(&shard)));
                Ok((shard, true))
            }
            Err(error) => {
                self.set(SlotState::Failed(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }

    /// Puts `state` in the place of what there is, and returns that if it was open: the caller ends it.
    pub(crate) fn take(&self, state: SlotState) -> Option<Arc<Shard>> {
        match std::mem::replace(&mut *self.slot.state.lock(), state) {
            SlotState::Loaded(shard) => Some(shard),
            _ => None,
        }
    }

    /// As [`Turn::take`] into `Unloaded`, if nobody else holds the collection.
    ///
    /// # Errors
    ///
    /// `Busy`, saying how many do.
    pub(crate) fn unload(&self, name: &str) -> Result<Option<Arc<Shard>>> {
        let mut state = self.slot.state.lock();
        match &*state {
            SlotState::Loaded(shard) => match Arc::strong_count(shard) - 1 {
                0 => {}
                handles => {
                    let context = format!(
                        "collection {name:?} is in use by {handles} handles, tasks or background threads: it stays loaded"
                    );
                    return Err(Error::new(ErrorKind::Busy, context));
                }
            },
            _ => return Ok(None),
        }
        // Who asks for it now waits for the turn, and opens it when this one has ended.
        match std::mem::replace(&mut *state, SlotState::Unloaded) {
            SlotState::Loaded(shard) => Ok(Some(shard)),
            _ => Ok(None),
        }
    }

    fn set(&self, state: SlotState) {
        *self.slot.state.lock() = state;
    }
}

/// A panic while opening leaves a collection that may be opened.
struct UnloadedUnlessOpened<'a>(&'a Turn<'a>);

impl Drop for UnloadedUnlessOpened<'_> {
    fn drop(&mut self) {
        self.0.set(SlotState::Unloaded);
    }
}

pub(crate) fn closed(name: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("collection '{name}' is closed: open it first"))
}

pub(crate) fn gone(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("collection '{name}' was deleted"))
}

/// The slots of a database, by the uuid of the collection; made at first use.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    by_uuid: Mutex<HashMap<[u8; 16], Arc<Slot>>>,
}

impl Slots {
    /// The slot of a collection that the catalog names and calls closed or not. The caller holds the catalog.
    pub(crate) fn of(&self, uuid: [u8; 16], closed: bool) -> Arc<Slot> {
        let mut slots = self.by_uuid.lock();
        Arc::clone(slots.entry(uuid).or_insert_with(|| Arc::new(Slot::new(uuid, closed))))
    }

    /// The slot of a collection that was opened before the catalog named it.
    pub(crate) fn adopt(&self, uuid: [u8; 16], shard: Arc<Shard>) -> Arc<Slot> {
        let slot = self.of(uuid, false);
        slot.turn().set(SlotState::Loaded(shard));
        slot
    }

    /// Forgets a slot whose collection is deleted.
    pub(crate) fn remove(&self, uuid: [u8; 16]) -> Option<Arc<Slot>> {
        self.by_uuid.lock().remove(&uuid)
    }

    /// The slot of `uuid`, if there is one.
    pub(crate) fn get(&self, uuid: [u8; 16]) -> Option<Arc<Slot>> {
        self.by_uuid.lock().get(&uuid).cloned()
    }

    /// The collections that are open.
    pub(crate) fn loaded(&self) -> Vec<Arc<Shard>> {
        let slots: Vec<Arc<Slot>> = self.by_uuid.lock().values().cloned().collect();
        slots.iter().filter_map(|slot| slot.loaded()).collect()
    }

    /// All slots, which are forgotten.
    pub(crate) fn drain(&self) -> Vec<Arc<Slot>> {
        self.by_uuid.lock().drain().map(|(_, slot)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use nearfield_collection::{CollectionConfig, CollectionOptions};
    use nearfield_platform::{Dir, MemoryDir};
    use nearfield_types::Metric;

    use super::*;

    fn open() -> Result<Arc<Shard>> {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        dir.make_dir("c").unwrap();
        let options = CollectionOptions::system();
        Shard::create(&dir, "c", [1; 16], &CollectionConfig::new(1, Metric::Dot), &options)?;
        Ok(Shard::open(&dir, "c", [1; 16], options)?.0)
    }

    #[test]
    fn it_is_opened_once_and_seen_meanwhile() {
        let slots = Slots::default();
        let slot = slots.of([1; 16], false);
        assert!(Arc::ptr_eq(&slot, &slots.of([1; 16], false)));
        let failed = slot.turn().load("c", || {
            assert!(matches!(slot.state(), SlotState::Loading) && slots.loaded().is_empty());
            Err(Error::new(ErrorKind::Corrupt, "a bit is gone"))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(matches!(slot.state(), SlotState::Failed(ErrorKind::Corrupt, _)));
        let (shard, is_new) = slot.turn().load("c", open).unwrap();
        assert!(is_new && slots.loaded().len() == 1);
        let (again, is_new) = slot.turn().load("c", || unreachable!()).unwrap();
        assert!(!is_new && Arc::ptr_eq(&shard, &again));
        assert_eq!(slot.turn().unload("c").unwrap_err().kind(), ErrorKind::Busy);
        drop((shard, again));
        assert!(slot.turn().unload("c").unwrap().is_some());
        assert!(slot.turn().unload("c").unwrap().is_none());
    }

    #[test]
    fn closed_and_deleted_ones_are_not_opened() {
        let slots = Slots::default();
        let slot = slots.of([1; 16], true);
        let refused = |slot: &Slot| slot.turn().load("c", || unreachable!()).unwrap_err().kind();
        assert_eq!(refused(&slot), ErrorKind::Closed);
        assert!(slot.turn().take(SlotState::Gone).is_none());
        assert_eq!(refused(&slot), ErrorKind::NotFound);
        assert!(slots.remove([1; 16]).is_some() && slots.get([1; 16]).is_none());
    }

    #[test]
    fn a_panic_while_opening_leaves_it_to_the_next() {
        let slot = Slots::default().of([1; 16], false);
        let open_badly =
            std::panic::AssertUnwindSafe(|| slot.turn().load("c", || panic!("a defect")).map(drop));
        assert!(std::panic::catch_unwind(open_badly).is_err());
        assert!(matches!(slot.state(), SlotState::Unloaded));
        assert!(slot.turn().load("c", open).unwrap().1);
    }
}
