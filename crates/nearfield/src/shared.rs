//! What all handles to a database share: its directory and lock, its catalog, its collections and its threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nearfield_collection::{
    Cell, Collection as Shard, CollectionOptions, Error, ErrorKind, ManifestCell, Result, store_error,
};
use nearfield_platform::{Clock, Dir, Lock, LockError, LockKind, PanicHook, Panicked, Ticker};
use nearfield_snapshot::{LocalStore, SnapshotStore};
use nearfield_types::Uuid;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::background::Background;
use crate::catalog::{Catalog, Written};
use crate::ledger::Ledger;
use crate::options::Options;
use crate::slots::{Slot, SlotState, Slots, gone};
use crate::snapshots::SNAPSHOTS_FOLDER;
use crate::tasks::Board;

const LOCK_FILE: &str = "LOCK";
pub(crate) const CATALOG_FOLDER: &str = "catalog";
pub(crate) const COLLECTIONS_FOLDER: &str = "collections";
/// How many pauses the end of a database in this process is waited for: two seconds.
const LOCK_TRIES: u32 = 100;
/// A pin ends at the second sweep after its time.
const SWEEP_PERIOD: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What all handles share. The last one dropped closes the database.
///
/// Locks, in this order: a turn at a slot, `loads`, `catalog`, the others. No turn is taken with a lock held.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: Arc<dyn Dir>,
    place: String,
    pub(crate) options: Options,
    /// Changed only with the catalog locked, so that nothing of it happens once the directory's lock is given up.
    pub(crate) store: Arc<LocalStore>,
    catalog: Mutex<Ledger>,
    slots: Arc<Slots>,
    /// Held shared while a collection is opened, alone once the database is marked closed: nobody opens files after that.
    loads: RwLock<()>,
    background: Arc<Background>,
    /// Sweeps the snapshots.
    /// Folders of deleted collections that could not be removed yet.
    unremoved: Arc<Mutex<Vec<String>>>,
    sweeper: Mutex<Option<Ticker>>,
    board: Arc<Board>,
    lock: Mutex<Option<Lock>>,
    closed: AtomicBool,
    /// Why a background thread ended, if one did.
    pub(crate) failed: Arc<OnceLock<String>>,
    /// Damage that cost nothing, found since the opening.
    repaired: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn open(dir: Arc<dyn Dir>, place: &str, options: Options) -> Result<Shared> {
        if !options.create {
            let entries = dir.list("").map_err(|e| Error::io(format!("looking into '{place}'"), e))?;
            if !entries.iter().any(|entry| entry.name == CATALOG_FOLDER) {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no database at '{place}'")));
            }
        }
        let lock = take_lock(&*dir, &*options.collections.clock).map_err(|e| match e {
            LockError::Held { holder } => {
                let who =
                    holder.map_or("another process".to_owned(), |holder| format!("process {}", holder.pid));
                Error::new(ErrorKind::Busy, format!("database at '{place}' is open for writing by {who}"))
            }
            LockError::Io(e) => Error::io(format!("locking '{place}'"), e),
        })?;
        for folder in [CATALOG_FOLDER, COLLECTIONS_FOLDER] {
            dir.make_dir(folder).map_err(|e| Error::io(format!("making {folder} in '{place}'"), e))?;
        }
        let cell = ManifestCell::new(Arc::clone(&dir), CATALOG_FOLDER);
        let mut repaired = Vec::new();
        let ledger = match cell.read()? {
            Some(found) => {
                let (value, written) = Catalog::decode(&found.bytes).map_err(|e| {
                    Error::caused(ErrorKind::Corrupt, "the catalog is whole but not understood", e)
                })?;
                if let (Some(why), Written::Copy) = (found.damaged.first(), written) {
                    let context =
                        format!("the newest catalog is damaged ({why}): restore '{place}' from a copy");
                    return Err(Error::new(ErrorKind::Corrupt, context));
                }
                let mut ledger = Ledger { cell, version: found.version, value };
                if written == Written::First {
                    ledger.copy()?;
                }
                if found.damaged.is_empty() {
                    remove_unnamed(&*dir, &ledger.value);
                }
                repaired
                    .extend(found.damaged.into_iter().map(|why| format!("{why}; its copy was read instead")));
                ledger
            }
            None => {
                // The catalog is made before any collection: without one, collections are data whose names were lost.
                let found = dir
                    .list(COLLECTIONS_FOLDER)
                    .map_err(|e| Error::io(format!("looking into '{place}'"), e))?;
                if !found.is_empty() {
                    let context = format!(
                        "'{place}' holds {} collections and no catalog: restore it from a copy",
                        found.len()
                    );
                    return Err(Error::new(ErrorKind::Corrupt, context));
                }
                dir.sync_dir("").map_err(|e| Error::io(format!("syncing '{place}'"), e))?;
                let value = Catalog::default();
                let version = cell.swap_if(None, &value.encode(Written::First))?;
                let mut ledger = Ledger { cell, version, value };
                ledger.copy()?;
                ledger
            }
        };
        let slots: Arc<Slots> = Arc::default();
        let (others, clock) = (Arc::clone(&slots), Arc::clone(&options.collections.clock));
        let broken = Arc::new(move |uuid, panicked: &Panicked| {
            if let Some(shard) = others.get(uuid).and_then(|slot| slot.loaded()) {
                shard.poison(panicked);
            }
        });
        let snapshots =
            LocalStore::open(Arc::clone(&dir), SNAPSHOTS_FOLDER, Arc::clone(&clock)).map_err(store_error)?;
        // What a killed process left unpublished. Where something cannot be read everything stays, and whoever asks for it is told.
        let _ = snapshots.sweep();
        let (board, damage) = Board::open(&dir, clock, !options.background, broken)?;
        repaired.extend(damage);
        let background = Background::new(Arc::clone(&slots), Arc::clone(&options.collections.budget));
        Ok(Shared {
            dir,
            place: place.to_owned(),
            options,
            store: Arc::new(snapshots),
            catalog: Mutex::new(ledger),
            slots,
            loads: RwLock::default(),
            background: Arc::new(background),
            unremoved: Arc::default(),
            sweeper: Mutex::default(),
            board: Arc::new(board),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::new(false),
            failed: Arc::default(),
            repaired: Mutex::new(repaired),
        })
    }

    /// Starts the background threads.
    pub(crate) fn start(&self) -> Result<()> {
        if !self.options.background {
            return Ok(());
        }
        // Without its thread a collection would never be synced or sealed: it must not go on as if it were.
        let (slots, failed) = (Arc::clone(&self.slots), Arc::clone(&self.failed));
        let hook: PanicHook = Arc::new(move |panicked| {
            let _ = failed.set(panicked.to_string());
            slots.loaded().iter().for_each(|shard| shard.poison(panicked));
        });
        let (store, dir, unremoved) =
            (Arc::clone(&self.store), Arc::clone(&self.dir), Arc::clone(&self.unremoved));
        let sweeper = Ticker::spawn("nearfield-sweep", SWEEP_PERIOD, Arc::clone(&hook), move || {
            // What fails is tried again.
            let _ = store.sweep();
            remove_left(&*dir, &unremoved);
        });
        *self.sweeper.lock() = Some(sweeper.map_err(|e| Error::io("starting the background threads", e))?);
        self.background.start(&hook)
    }

    pub(crate) fn dir(&self) -> &Arc<dyn Dir> {
        &self.dir
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Removes a folder that no catalog names any more. What cannot be removed now is tried again with the next one, by the background, and at
    /// the next opening.
    pub(crate) fn remove_folder(&self, folder: String) {
        self.unremoved.lock().push(folder);
        remove_left(&*self.dir, &self.unremoved);
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.options.collections.clock
    }

    pub(crate) fn repaired(&self) -> Vec<String> {
        self.repaired.lock().clone()
    }

    /// Notes damage that cost nothing.
    pub(crate) fn note_repaired(&self, what: impl Iterator<Item = String>) {
        self.repaired.lock().extend(what);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match self.is_closed() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::NotFound, format!("database at '{}' was closed", self.place))),
        }
    }

    pub(crate) fn collection_options(&self) -> CollectionOptions {
        CollectionOptions {
            durability: self.options.durability,
            inline_maintenance: !self.options.background,
            ..self.options.collections.clone()
        }
    }

    /// The catalog, also of a database that was closed.
    pub(crate) fn catalog(&self) -> MutexGuard<'_, Ledger> {
        self.catalog.lock()
    }

    /// The catalog, locked; only then is it certain that nobody closes the database meanwhile.
    ///
    /// # Errors
    ///
    /// `NotFound` once the database is closed.
    pub(crate) fn ledger(&self) -> Result<MutexGuard<'_, Ledger>> {
        let ledger = self.catalog.lock();
        self.check_open()?;
        Ok(ledger)
    }

    /// What `name` means now: the name of a collection and which one that is.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<(String, [u8; 16])>> {
        Ok(self.ledger()?.value.resolve(name).map(|(name, uuid)| (name.to_owned(), uuid)))
    }

    /// The collection that `name` means, with its slot.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub(crate) fn slot(&self, name: &str) -> Result<(String, Arc<Slot>)> {
        let ledger = self.ledger()?;
        let Some((found, uuid)) = ledger.value.resolve(name) else {
            let shown: String = name.chars().take(80).collect();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no collection or alias {shown:?}"),
            ));
        };
        let slot = self.slots.of(uuid, ledger.value.closed.contains(found));
        Ok((found.to_owned(), slot))
    }

    /// The collection of this uuid, with its name and slot, opened if it was not.
    pub(crate) fn find(&self, uuid: [u8; 16]) -> Result<(Arc<Slot>, Arc<Shard>)> {
        let (name, slot) = {
            let ledger = self.ledger()?;
            let named = ledger.value.collections.iter().find(|(_, known)| **known == uuid);
            let (name, _) = named.ok_or_else(|| gone(&Uuid::from_bytes(uuid).to_string()))?;
            (name.clone(), self.slots.of(uuid, ledger.value.closed.contains(name)))
        };
        let shard = self.load(&slot, &name)?;
        Ok((slot, shard))
    }

    /// The collection of a slot, opened if it was not.
    pub(crate) fn load(&self, slot: &Arc<Slot>, name: &str) -> Result<Arc<Shard>> {
        if let Some(shard) = slot.loaded() {
            return Ok(shard);
        }
        let turn = slot.turn();
        let _no_close = self.loads.read();
        self.check_open()?;
        let (shard, is_new) = turn.load(name, || self.open_shard(slot.uuid, name))?;
        if is_new {
            self.background.opened(slot, &shard);
        }
        Ok(shard)
    }

    /// Does `work` with a collection that is closed, and opened for this alone. Nobody opens or deletes it meanwhile.
    pub(crate) fn with_closed<T>(
        &self,
        name: &str,
        uuid: [u8; 16],
        work: impl FnOnce(&Shard) -> Result<T>,
    ) -> Result<T> {
        let slot = self.slots.get(uuid).ok_or_else(|| gone(name))?;
        let _turn = slot.turn();
        let _no_close = self.loads.read();
        self.check_open()?;
        match slot.state() {
            SlotState::Closed => {}
            SlotState::Gone => return Err(gone(name)),
            // It was opened meanwhile: whoever asks again is served.
            _ => {
                let context = format!("collection {name:?} was opened meanwhile: try again");
                return Err(Error::new(ErrorKind::Busy, context));
            }
        }
        let shard = self.open_shard(uuid, name)?;
        let done = work(&shard);
        let closed = shard.close();
        let done = done?;
        closed.map(|()| done)
    }

    fn open_shard(&self, uuid: [u8; 16], name: &str) -> Result<Arc<Shard>> {
        let opened = Shard::open(&self.dir, &shard_folder(uuid), uuid, self.collection_options());
        let (shard, report) = opened.map_err(|e| e.within(format_args!("collection {name:?}")))?;
        self.note_repaired(report.repaired.into_iter().map(|what| format!("collection {name:?}: {what}")));
        if let Some(why) = self.failed.get() {
            shard.poison(why);
        }
        Ok(shard)
    }

    pub(crate) fn close(&self) -> Result<()> {
        let ledger = self.catalog.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        drop(ledger);
        // Who opens a collection now is waited for; who comes later is refused.
        drop(self.loads.write());
        // Or the threads would first finish what they are building.
        self.slots.loaded().iter().for_each(|shard| shard.halt_indexing());
        self.board.halt();
        self.background.stop();
        let sweeper = self.sweeper.lock().take();
        drop(sweeper);
        let mut first = Ok(());
        for slot in self.slots.drain() {
            if let Some(shard) = slot.turn().take(SlotState::Gone) {
                let closed = shard.close();
                first = first.and(closed);
            }
        }
        self.lock.lock().take();
        first
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know what went wrong calls `close`.
        let _ = self.close();
    }
}

/// Takes the directory's lock. One held by this process belongs to a database whose last handle is being dropped right now by
/// another thread: that is waited for.
fn take_lock(dir: &dyn Dir, clock: &dyn Clock) -> std::result::Result<Lock, LockError> {
    let own = std::process::id();
    for _ in 0..LOCK_TRIES {
        match dir.lock(LOCK_FILE, LockKind::Exclusive) {
            Err(LockError::Held { holder: Some(holder) }) if holder.pid == own => clock.sleep(LOCK_PAUSE),
            taken => return taken,
        }
    }
    dir.lock(LOCK_FILE, LockKind::Exclusive)
}

pub(crate) fn collection_folder(uuid: [u8; 16]) -> String {
    format!("{COLLECTIONS_FOLDER}/{}", Uuid::from_bytes(uuid))
}

pub(crate) fn shard_folder(uuid: [u8; 16]) -> String {
    format!("{}/shards/0", collection_folder(uuid))
}

fn remove_left(dir: &dyn Dir, folders: &Mutex<Vec<String>>) {
    let is_left =
        |folder: &String| dir.remove(folder).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound);
    folders.lock().retain(is_left);
}

/// Removes the folders of collections that were never committed or were deleted, and what a killed writer of the catalog left.
/// Failing to is harmless.
fn remove_unnamed(dir: &dyn Dir, catalog: &Catalog) {
    for entry in
        dir.list(CATALOG_FOLDER).unwrap_or_default().iter().filter(|entry| entry.name.ends_with(".tmp"))
    {
        let _ = dir.remove(&format!("{CATALOG_FOLDER}/{}", entry.name));
    }
    let Ok(entries) = dir.list(COLLECTIONS_FOLDER) else { return };
    let known: Vec<String> =
        catalog.collections.values().map(|uuid| Uuid::from_bytes(*uuid).to_string()).collect();
    for entry in entries.iter().filter(|entry| !known.contains(&entry.name)) {
        let _ = dir.remove(&format!("{COLLECTIONS_FOLDER}/{}", entry.name));
    }
}
