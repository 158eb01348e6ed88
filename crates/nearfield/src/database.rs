//! A directory of collections, opened by one process for writing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use nearfield_collection::{
    Cell, Collection as Shard, CollectionConfig, CollectionOptions, Error, ErrorKind, ManifestCell, Result,
    store_error,
};
use nearfield_platform::{
    Clock, Dir, Lock, LockError, LockKind, MemoryDir, PanicHook, Panicked, RealDir, RealOptions, Ticker,
};
use nearfield_snapshot::{LocalStore, SnapshotStore};
use nearfield_types::limits::{ALIASES_MAX, COLLECTIONS_MAX};
use nearfield_types::{Uuid, check_name};
use parking_lot::Mutex;

use crate::catalog::{Catalog, Written};
use crate::collection::Collection;
use crate::options::Options;
use crate::snapshots::SNAPSHOTS_FOLDER;
use crate::tasks::Board;

const LOCK_FILE: &str = "LOCK";
pub(crate) const CATALOG_FOLDER: &str = "catalog";
pub(crate) const COLLECTIONS_FOLDER: &str = "collections";
/// How many ticks the end of a database in this process is waited for: two seconds.
const LOCK_TRIES: u32 = 100;
const TICK: Duration = Duration::from_millis(20);
/// A seal that failed, on a full disk say, is not tried again at every tick.
const SEAL_RETRY_TICKS: u32 = 50;
/// The snapshots are swept every half minute: a pin ends at the second sweep after its time.
const SWEEP_TICKS: u32 = 1_500;
/// An index that failed reads much before it fails again.
const INDEX_RETRY_TICKS: u32 = 3_000;

/// An open database. A clone is another handle to the same one; all methods may be called from several threads.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share. The last one dropped closes the database.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: Arc<dyn Dir>,
    place: String,
    pub(crate) options: Options,
    /// Changed only with the catalog locked, so that nothing of it happens once the directory's lock is given up.
    pub(crate) store: Arc<LocalStore>,
    catalog: Mutex<Ledger>,
    pub(crate) open: Arc<Mutex<BTreeMap<[u8; 16], Arc<Shard>>>>,
    /// Stopped before anything is closed.
    tickers: Mutex<Vec<Ticker>>,
    /// Some of them too: they are woken by writes.
    linkers: Mutex<Vec<Ticker>>,
    lock: Mutex<Option<Lock>>,
    closed: AtomicBool,
    /// Why the background threads ended, if they did.
    pub(crate) failed: Arc<OnceLock<String>>,
    board: Arc<Board>,
    /// Damage that cost nothing, found while opening.
    repaired: Mutex<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    cell: ManifestCell,
    version: u64,
    pub(crate) value: Catalog,
}

/// Open databases by the identity of their directory.
type Registry = HashMap<(u64, u64), Weak<Shared>>;

/// The databases open in this process: a second opening of a directory shares the first.
static OPEN: Mutex<Option<Registry>> = Mutex::new(None);

impl Database {
    /// Opens the database in the directory `path` for writing, making it if there is none.
    ///
    /// A second opening in one process, however the path is spelt, gives another handle to the same database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] if another process has it open, naming its id; [`ErrorKind::NotFound`] if it must not be made;
    /// [`ErrorKind::Corrupt`] if the catalog is damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        let path: PathBuf = path.as_ref().to_owned();
        let place = path.display().to_string();
        let (create, allow_unsupported_fs) = (options.create, options.allow_unsupported_fs);
        let real = RealOptions { create, allow_unsupported_fs, ..RealOptions::default() };
        let dir = RealDir::open_with(&path, real).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("there is no database at '{place}'"))
            }
            _ => Error::io(format!("opening '{place}'"), e),
        })?;
        Database::open_in(Arc::new(dir), &place, options)
    }

    /// A database in memory, gone with its last handle.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn in_memory() -> Result<Database> {
        Database::open_in(MemoryDir::new(), ":memory:", Options::default())
    }

    /// Opens the database in any directory; `place` is how errors call it.
    ///
    /// # Errors
    ///
    /// As [`Database::open`].
    pub fn open_in(dir: Arc<dyn Dir>, place: &str, options: Options) -> Result<Database> {
        let identity = dir.identity().map_err(|e| Error::io(format!("looking at '{place}'"), e))?;
        let mut registry = OPEN.lock();
        let open = registry.get_or_insert_default();
        open.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = open.get(&identity).and_then(Weak::upgrade)
            && !shared.closed.load(Ordering::Acquire)
        {
            if shared.options.durability != options.durability {
                let context = format!("'{place}' is open in this process with another durability");
                return Err(Error::invalid(context));
            }
            return Ok(Database { shared });
        }
        let shared = Arc::new(Shared::open(dir, place, options)?);
        shared.start()?;
        crate::tasks::resume(&shared);
        open.insert(identity, Arc::downgrade(&shared));
        Ok(Database { shared })
    }

    /// Makes an empty collection. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if the name is taken, by an alias too; [`ErrorKind::Invalid`] for a name or configuration outside the
    /// limits.
    pub fn create_collection(&self, name: &str, config: CollectionConfig) -> Result<Collection> {
        check_name("collection", name).map_err(|e| Error::invalid(e.to_string()))?;
        config.check()?;
        let shared = &self.shared;
        let mut ledger = shared.ledger()?;
        ledger.check_free(name)?;
        if ledger.value.collections.len() >= COLLECTIONS_MAX {
            return Err(Error::invalid(format!(
                "there are {COLLECTIONS_MAX} collections: that is the most allowed"
            )));
        }
        let uuid = shared.options.collections.entropy.uuid_bytes();
        let options = shared.collection_options();
        Shard::create(&shared.dir, &shard_folder(uuid), uuid, &config, &options)?;
        let mut value = ledger.value.clone();
        value.collections.insert(name.to_owned(), uuid);
        ledger.commit(value)?;
        drop(ledger);
        self.collection(name)
    }

    /// The collection called `name`, or the one that the alias `name` stands for. Opened at first use.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if its stored bytes are damaged.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let ledger = self.shared.ledger()?;
        let Some((found, uuid)) = ledger.value.resolve(name) else {
            let shown: String = name.chars().take(80).collect();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no collection or alias {shown:?}"),
            ));
        };
        let found = found.to_owned();
        let shard = self.shared.load(&ledger, &found, uuid)?;
        Ok(Collection::new(Arc::clone(&self.shared), found, uuid, shard))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The names of all collections, sorted.
    pub fn collections(&self) -> Vec<String> {
        self.shared.catalog.lock().value.collections.keys().cloned().collect()
    }

    /// Deletes a collection with its data and its aliases; true if there was one. Handles to it refuse everything afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an alias: name the collection itself.
    pub fn delete_collection(&self, name: &str) -> Result<bool> {
        let mut ledger = self.shared.ledger()?;
        if ledger.value.aliases.contains_key(name) {
            return Err(Error::invalid(format!(
                "{name:?} is an alias: delete the alias, or the collection by its name"
            )));
        }
        let mut value = ledger.value.clone();
        let Some(uuid) = value.collections.remove(name) else { return Ok(false) };
        value.aliases.retain(|_, target| target != name);
        let committed = ledger.commit(value);
        // Even if it failed the catalog may no longer name the collection: nothing more may be acknowledged in it.
        if let Some(shard) = self.shared.open.lock().remove(&uuid) {
            shard.shut();
        }
        drop(ledger);
        self.shared.board.cancel_all(uuid, "the collection was deleted");
        committed?;
        // What cannot be removed now is removed at the next opening: no catalog names it any more.
        let _ = self.shared.dir.remove(&collection_folder(uuid));
        Ok(true)
    }

    /// Lets `alias` stand for a collection, from now on and whatever it stood for before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without the collection, [`ErrorKind::Exists`] if a collection has that name.
    pub fn set_alias(&self, alias: &str, collection: &str) -> Result<()> {
        check_name("alias", alias).map_err(|e| Error::invalid(e.to_string()))?;
        let mut ledger = self.shared.ledger()?;
        if !ledger.value.collections.contains_key(collection) {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no collection {collection:?}")));
        }
        if ledger.value.collections.contains_key(alias) {
            return Err(Error::new(ErrorKind::Exists, format!("there is a collection called {alias:?}")));
        }
        let mut value = ledger.value.clone();
        value.aliases.insert(alias.to_owned(), collection.to_owned());
        if value.aliases.len() > ALIASES_MAX {
            return Err(Error::invalid(format!("there are {ALIASES_MAX} aliases: that is the most allowed")));
        }
        ledger.commit(value)
    }

    /// Forgets an alias; true if there was one.
    ///
    /// # Errors
    ///
    /// What writing the catalog met.
    pub fn delete_alias(&self, alias: &str) -> Result<bool> {
        let mut ledger = self.shared.ledger()?;
        let mut value = ledger.value.clone();
        if value.aliases.remove(alias).is_none() {
            return Ok(false);
        }
        ledger.commit(value)?;
        Ok(true)
    }

    /// Aliases and the collections they stand for, sorted by alias.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let aliases = &self.shared.catalog.lock().value.aliases;
        aliases.iter().map(|(alias, name)| (alias.clone(), name.clone())).collect()
    }

    /// Damage that was found since the database was opened and that cost nothing, in words: what was damaged and what was done
    /// instead. Worth telling somebody: the disk is not well.
    pub fn repaired(&self) -> Vec<String> {
        self.shared.repaired.lock().clone()
    }

    /// Closes the database for every handle: what is in memory is made durable, the lock is given up. Dropping the last handle
    /// does the same, but cannot tell what went wrong.
    ///
    /// # Errors
    ///
    /// The first error of a collection; the others are closed all the same.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }
}

impl Shared {
    fn open(dir: Arc<dyn Dir>, place: &str, options: Options) -> Result<Shared> {
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
        let open: Arc<Mutex<BTreeMap<[u8; 16], Arc<Shard>>>> = Arc::default();
        let (shards, clock) = (Arc::clone(&open), Arc::clone(&options.collections.clock));
        let broken = Arc::new(move |uuid, panicked: &Panicked| {
            if let Some(shard) = shards.lock().get(&uuid) {
                shard.poison(panicked);
            }
        });
        let (board, damage) = Board::open(&dir, clock, !options.background, broken)?;
        repaired.extend(damage);
        let clock = Arc::clone(&options.collections.clock);
        let store = LocalStore::open(Arc::clone(&dir), SNAPSHOTS_FOLDER, clock).map_err(store_error)?;
        // What a killed process left unpublished. Where something cannot be read everything stays, and whoever asks for it is told.
        let _ = store.sweep();
        Ok(Shared {
            dir,
            place: place.to_owned(),
            options,
            store: Arc::new(store),
            catalog: Mutex::new(ledger),
            open,
            board: Arc::new(board),
            tickers: Mutex::default(),
            linkers: Mutex::default(),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::new(false),
            failed: Arc::default(),
            repaired: Mutex::new(repaired),
        })
    }

    /// Starts the background threads: one syncs and marks logs, one seals, one links, one builds graphs, one indexes payloads, so that none
    /// waits for another.
    fn start(&self) -> Result<()> {
        if !self.options.background {
            return Ok(());
        }
        // Without its thread a collection would never be synced or sealed: it must not go on as if it were.
        let open = Arc::clone(&self.open);
        let hook: PanicHook =
            Arc::new(move |panicked| opened(&open).iter().for_each(|shard| shard.poison(panicked)));
        let unstarted = |e| Error::io("starting the background threads", e);
        let open = Arc::clone(&self.open);
        // A failure poisons its collection, which then says so to everybody who writes.
        let log = Ticker::spawn("nearfield-log", TICK, Arc::clone(&hook), move || {
            for shard in opened(&open) {
                let _ = shard.maintain_log();
            }
        })
        .map_err(unstarted)?;
        let open = Arc::clone(&self.open);
        let mut pauses = Pauses::new(SEAL_RETRY_TICKS);
        let (store, mut ticks) = (Arc::clone(&self.store), 0);
        let seal = Ticker::spawn("nearfield-seal", TICK, Arc::clone(&hook), move || {
            ticks = (ticks + 1) % SWEEP_TICKS;
            if ticks == 0 {
                // It ends pins whose time is over. What fails is tried again.
                let _ = store.sweep();
            }
            for shard in opened(&open) {
                pauses.call(&shard, |shard| shard.maintain_segments());
            }
        })
        .map_err(unstarted)?;
        let open = Arc::clone(&self.open);
        let mut pauses = Pauses::new(INDEX_RETRY_TICKS);
        let index = Ticker::spawn("nearfield-index", TICK, Arc::clone(&hook), move || {
            for shard in opened(&open) {
                pauses.call(&shard, |shard| shard.maintain_indexes());
            }
        })
        .map_err(unstarted)?;
        let open = Arc::clone(&self.open);
        // A portion of each collection in turn, so that none waits for a busy one to be done.
        let link = Ticker::spawn("nearfield-link", TICK, Arc::clone(&hook), move || {
            while opened(&open)
                .iter()
                .map(|shard| shard.maintain_links().unwrap_or(false))
                .fold(false, |a, b| a | b)
            {}
        })
        .map_err(unstarted)?;
        let open = Arc::clone(&self.open);
        let mut pauses = Pauses::new(INDEX_RETRY_TICKS);
        let field = Ticker::spawn("nearfield-field", TICK, hook, move || {
            let mut busy = opened(&open);
            while !busy.is_empty() {
                busy.retain(|shard| {
                    let more = shard.follow_fields().unwrap_or(false);
                    more | pauses.call(shard, |shard| shard.maintain_fields())
                });
            }
        })
        .map_err(unstarted)?;
        self.tickers.lock().extend([log, seal, index]);
        self.linkers.lock().extend([link, field]);
        Ok(())
    }

    /// Has what was written linked and indexed now instead of at the next tick.
    pub(crate) fn wake_linkers(&self) {
        self.linkers.lock().iter().for_each(Ticker::wake);
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.options.collections.clock
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What `name` means now: the name of a collection and which one that is.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<(String, [u8; 16])>> {
        Ok(self.ledger()?.value.resolve(name).map(|(name, uuid)| (name.to_owned(), uuid)))
    }

    /// The collection of this uuid, opened if it was not.
    pub(crate) fn shard(&self, uuid: [u8; 16]) -> Result<Arc<Shard>> {
        let ledger = self.ledger()?;
        let named = ledger.value.collections.iter().find(|(_, known)| **known == uuid);
        let Some((name, _)) = named else {
            return Err(Error::new(ErrorKind::NotFound, "the collection was deleted"));
        };
        self.load(&ledger, name, uuid)
    }

    /// A collection of the catalog, opened if it was not. The catalog's lock makes openings wait for each other; the list of the open ones
    /// stays free for the background.
    fn load(&self, _ledger: &Ledger, name: &str, uuid: [u8; 16]) -> Result<Arc<Shard>> {
        if let Some(shard) = self.open.lock().get(&uuid) {
            return Ok(Arc::clone(shard));
        }
        let opened = Shard::open(&self.dir, &shard_folder(uuid), uuid, self.collection_options());
        let (shard, report) = opened.map_err(|e| e.within(format_args!("collection {name:?}")))?;
        let repaired = report.repaired.into_iter().map(|what| format!("collection {name:?}: {what}"));
        self.repaired.lock().extend(repaired);
        if let Some(why) = self.failed.get() {
            shard.poison(why);
        }
        self.open.lock().insert(uuid, Arc::clone(&shard));
        Ok(shard)
    }

    pub(crate) fn collection_options(&self) -> CollectionOptions {
        CollectionOptions {
            durability: self.options.durability,
            inline_maintenance: !self.options.background,
            ..self.options.collections.clone()
        }
    }

    /// Notes damage that cost nothing.
    pub(crate) fn note_repaired(&self, what: impl Iterator<Item = String>) {
        self.repaired.lock().extend(what);
    }

    /// The catalog, locked; only then is it certain that nobody closes the database meanwhile.
    pub(crate) fn ledger(&self) -> Result<parking_lot::MutexGuard<'_, Ledger>> {
        let ledger = self.catalog.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::NotFound, format!("database at '{}' was closed", self.place)));
        }
        Ok(ledger)
    }

    fn close(&self) -> Result<()> {
        let ledger = self.catalog.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        drop(ledger);
        // Or the threads would first finish what they are building.
        opened(&self.open).iter().for_each(|shard| shard.halt_indexing());
        self.board.halt();
        let linkers = std::mem::take(&mut *self.linkers.lock());
        drop(linkers);
        self.tickers.lock().clear();
        let shards = std::mem::take(&mut *self.open.lock());
        let mut first = Ok(());
        for shard in shards.into_values() {
            let closed = shard.close();
            first = first.and(closed);
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

/// Calls that are not repeated for a while after one failed, by collection.
struct Pauses {
    ticks: u32,
    left: HashMap<usize, u32>,
}

impl Pauses {
    fn new(ticks: u32) -> Self {
        Pauses { ticks, left: HashMap::new() }
    }

    /// What the call returned; the default where it failed or was not made.
    fn call<T: Default>(&mut self, shard: &Arc<Shard>, work: impl FnOnce(&Shard) -> Result<T>) -> T {
        let key = Arc::as_ptr(shard) as usize;
        if let Some(left) = self.left.get_mut(&key).filter(|left| **left > 0) {
            *left -= 1;
            return T::default();
        }
        match work(shard) {
            Ok(done) => {
                self.left.remove(&key);
                done
            }
            Err(_) => {
                self.left.insert(key, self.ticks);
                T::default()
            }
        }
    }
}

impl Ledger {
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        let taken = if self.value.collections.contains_key(name) {
            "collection"
        } else if self.value.aliases.contains_key(name) {
            "alias"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Exists, format!("{taken} '{name}' already exists")))
    }

    pub(crate) fn commit(&mut self, value: Catalog) -> Result<()> {
        // A swap whose outcome is unknown leaves the version behind, so every later one is refused as `Busy`.
        self.version = self.cell.swap_if(Some(self.version), &value.encode(Written::First))?;
        self.value = value;
        self.copy()
    }

    /// Writes the value once more, so that damage to one file loses nothing.
    fn copy(&mut self) -> Result<()> {
        self.version = self.cell.swap_if(Some(self.version), &self.value.encode(Written::Copy))?;
        Ok(())
    }
}

/// Takes the directory's lock. One held by this process belongs to a database whose last handle is being dropped right now by
/// another thread: that is waited for.
fn take_lock(dir: &dyn Dir, clock: &dyn Clock) -> std::result::Result<Lock, LockError> {
    let own = std::process::id();
    for _ in 0..LOCK_TRIES {
        match dir.lock(LOCK_FILE, LockKind::Exclusive) {
            Err(LockError::Held { holder: Some(holder) }) if holder.pid == own => clock.sleep(TICK),
            taken => return taken,
        }
    }
    dir.lock(LOCK_FILE, LockKind::Exclusive)
}

fn opened(open: &Mutex<BTreeMap<[u8; 16], Arc<Shard>>>) -> Vec<Arc<Shard>> {
    open.lock().values().cloned().collect()
}

pub(crate) fn collection_folder(uuid: [u8; 16]) -> String {
    format!("{COLLECTIONS_FOLDER}/{}", Uuid::from_bytes(uuid))
}

pub(crate) fn shard_folder(uuid: [u8; 16]) -> String {
    format!("{}/shards/0", collection_folder(uuid))
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
