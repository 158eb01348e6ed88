//! An open directory, shared by all handles of this process, and what is kept in it.
//!
//! ```text
//! vectors        alias of the collection with the records, so that compaction can put another in its place in one step
//! vectors-<n>    that collection: the ids are texts, the vector has no name, the metadata is the payload
//! vectors.state  what the engine does not count: deleted slots, whether searches are quantised, the collections that a compaction is
//!                about to leave; made when there is something to keep, and `vectors.state.next` while it is written anew
//! vectors.undo, vectors.intent   see `batches`
//! ```
//!
//! It **refuses** to remove a collection that it has not written down as its own, whatever it is called.
//!
//! # Invariants
//!
//! 1. A directory has one store in a process, whatever its path is spelt like; the last handle dropped closes it.
//! 2. Whoever writes holds `writing` shared, whoever must be alone holds it exclusively. Readers hold neither.
//! 3. Readers see a write of several parts when it is done, not before.
//! 4. A write of several parts that could be neither finished nor taken back is taken back before anything else is written: nothing is
//!    acknowledged that the next opening would take back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{ThreadId, current};

use nearfield::filter::{Filter, suggested_indexes};
use nearfield::{
    Collection, CollectionConfig, Database, Durability, ErrorKind, IndexConfig, Metric, Object, Options,
    Point, PointId, Value, View, With, limits,
};
use nearfield_platform::{Dir, RealDir, RealOptions};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::batches;
use crate::failure::{Failure, check_signals};
use crate::fork::{Live, check_opening};

/// The alias of the records.
pub(crate) const RECORDS: &str = "vectors";
/// The collection of what the engine does not count.
const STATE: &str = "vectors.state";
/// What it is while it is written anew.
const STATE_NEXT: &str = "vectors.state.next";
const SLOTS: &str = "slots";
/// Records copied at once by a compaction.
const PAGE: usize = 1_000;
/// Fewer records are looked at one by one before an index would be found.
const INDEXED_FROM: u64 = 1_000;

/// Where a database is and how it runs.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// The directory, wherever the working directory goes; `None` for one in memory.
    pub(crate) path: Option<PathBuf>,
    /// As the caller spelt it.
    spelt: String,
    pub(crate) durability: Durability,
}

/// What was asked for besides the place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) dim: Option<usize>,
    pub(crate) metric: Option<Metric>,
    pub(crate) m: Option<u32>,
    pub(crate) ef_construction: Option<u32>,
    pub(crate) quantize: bool,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
    durability: Durability,
    _live: Live,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
    /// See the second invariant.
    writing: RwLock<()>,
    /// The thread that is alone with the directory.
    alone: Mutex<Option<ThreadId>>,
    /// See the fourth invariant.
    unsettled: AtomicBool,
    shown: RwLock<Shown>,
    state: Mutex<State>,
    /// True once it was closed under its handles, to be deleted.
    shut: AtomicBool,
}

/// What readers look at.
#[derive(Debug)]
struct Shown {
    collection: Collection,
    /// While a write of several parts is under way: what was before it.
    held: Option<View>,
}

/// What is kept in the collection [`STATE`].
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The collection whose slots were counted; another one has lost none.
    pub(crate) of: String,
    pub(crate) deleted: u64,
    pub(crate) quantized: bool,
    /// Collections that a compaction began with or would leave: all but the current one may go.
    scratch: Vec<String>,
}

/// Open stores by the identity of their directory.
static STORES: Mutex<Option<Registry>> = Mutex::new(None);

type Registry = HashMap<(u64, u64), Weak<Store>>;

impl Opening {
    /// The directory `path`, or memory if it is called so.
    pub(crate) fn new(path: &Path, durability: Durability) -> Result<Opening, Failure> {
        let spelt = path.display().to_string();
        if spelt == ":memory:" {
            return Ok(Opening { path: None, spelt, durability });
        }
        let path =
            std::path::absolute(path).map_err(|error| Failure::value(format!("path '{spelt}': {error}")))?;
        Ok(Opening { path: Some(path), spelt, durability })
    }

    /// How errors call the place.
    pub(crate) fn place(&self) -> &str {
        &self.spelt
    }

    /// Opens the directory for writing, making it if `wanted` says how.
    pub(crate) fn open(&self, wanted: &Wanted) -> Result<Arc<Store>, Failure> {
        check_opening()?;
        // Before anything is made.
        if let Some(dim) = wanted.dim {
            wanted.config(dim).check()?;
        }
        let Some(path) = &self.path else {
            let Some(_) = wanted.dim else { return Err(not_found()) };
            return Store::of(Database::in_memory()?, self.durability, wanted).map(Arc::new);
        };
        let real = RealOptions { create: wanted.dim.is_some(), ..RealOptions::default() };
        let dir = RealDir::open_with(path, real).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_found(),
            _ => Failure::value(error.to_string()),
        })?;
        let identity = dir.identity().map_err(|error| Failure::value(error.to_string()))?;
        let mut stores = STORES.lock();
        let stores = stores.get_or_insert_default();
        stores.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = stores.get(&identity).and_then(Weak::upgrade).filter(|store| !store.is_shut()) {
            return self.share(store, wanted);
        }
        refuse_vctrs(&dir, self.place())?;
        // Whoever writes much at once is not made to wait for its graph: searches scan what is not linked yet.
        let options = Options::default().durability(self.durability).create(wanted.dim.is_some()).bulk(true);
        let db =
            Database::open_in(Arc::new(dir), self.place(), options).map_err(|error| match error.kind() {
                ErrorKind::NotFound => not_found(),
                _ => error.into(),
            })?;
        let store = Arc::new(Store::of(db, self.durability, wanted)?);
        stores.insert(identity, Arc::downgrade(&store));
        Ok(store)
    }

    /// The store that is open already, if it fits.
    fn share(&self, store: Arc<Store>, wanted: &Wanted) -> Result<Arc<Store>, Failure> {
        if store.durability != self.durability {
            let place = self.place();
            return Err(Failure::value(format!("'{place}' is open in this process with another durability")));
        }
        wanted.check(store.dim, store.metric)?;
        store.remember_quantized(wanted.quantize)?;
        Ok(store)
    }

    /// The store of the directory if it is open in this process.
    pub(crate) fn opened(&self) -> Option<Arc<Store>> {
        let dir = RealDir::open_with(self.path.as_ref()?, RealOptions::default()).ok()?;
        let identity = dir.identity().ok()?;
        STORES.lock().as_ref()?.get(&identity)?.upgrade().filter(|store| !store.is_shut())
    }
}

impl Wanted {
    /// Refuses a stored database of another shape.
    pub(crate) fn check(&self, dim: usize, metric: Metric) -> Result<(), Failure> {
        match (self.dim, self.metric) {
            (Some(wanted), _) if wanted != dim => Err(Failure::dimension(dim, wanted)),
            (_, Some(wanted)) if wanted != metric => {
                let (stored, wanted) = (metric_name(metric), metric_name(wanted));
                Err(Failure::value(format!("metric mismatch: expected '{stored}', got '{wanted}'")))
            }
            _ => Ok(()),
        }
    }

    fn config(&self, dim: usize) -> CollectionConfig {
        let index = IndexConfig {
            m: self.m.unwrap_or(16),
            ef_construct: self.ef_construction.unwrap_or(200),
            ..IndexConfig::default()
        };
        CollectionConfig::new(dim, self.metric.unwrap_or(Metric::Cosine)).index(index)
    }
}

impl Store {
    /// The records in an open database, made if `wanted` says how.
    fn of(db: Database, durability: Durability, wanted: &Wanted) -> Result<Store, Failure> {
        let collection = match (existing(&db, RECORDS)?, wanted.dim) {
            (Some(collection), _) => collection,
            (None, None) => return Err(not_found()),
            (None, Some(dim)) => {
                // What is called so already may be anybody's.
                let name = next_name(&db);
                let collection = db.create_collection(&name, wanted.config(dim))?;
                db.set_alias(RECORDS, &name)?;
                collection
            }
        };
        let (dim, metric) = shape(&collection.config())?;
        wanted.check(dim, metric)?;
        batches::recover(&db, &collection)?;
        let state = State::find(&db, collection.name())?;
        let store = Store {
            db,
            durability,
            _live: Live::new(),
            dim,
            metric,
            writing: RwLock::new(()),
            alone: Mutex::new(None),
            unsettled: AtomicBool::new(false),
            shown: RwLock::new(Shown { collection, held: None }),
            state: Mutex::new(state),
            shut: AtomicBool::new(false),
        };
        store.remove_scratch()?;
        store.remember_quantized(wanted.quantize)?;
        Ok(store)
    }

    /// Removes what a compaction has left, and nothing that it has not written down.
    fn remove_scratch(&self) -> Result<(), Failure> {
        let collection = self.collection();
        let mut state = self.state.lock();
        if state.scratch.is_empty() || !numbered(collection.name()) {
            return Ok(());
        }
        for name in state.scratch.iter().filter(|name| numbered(name) && *name != collection.name()) {
            self.db.delete_collection(name)?;
        }
        state.scratch.clear();
        self.keep(&state)
    }

    /// For whoever writes beside others.
    pub(crate) fn shared(&self) -> Result<RwLockReadGuard<'_, ()>, Failure> {
        loop {
            self.refuse_handler()?;
            let guard = self.writing.read();
            if !self.unsettled.load(Ordering::Acquire) {
                return Ok(guard);
            }
            drop(guard);
            drop(self.alone()?);
        }
    }

    /// For whoever must be alone.
    pub(crate) fn alone(&self) -> Result<Alone<'_>, Failure> {
        self.refuse_handler()?;
        let guard = self.writing.write();
        *self.alone.lock() = Some(current().id());
        let alone = Alone { store: self, _guard: guard };
        if self.unsettled.load(Ordering::Acquire) {
            let why =
                |error| Failure::value(format!("a batch that failed cannot be taken back yet: {error}"));
            alone.settle().map_err(why)?;
        }
        Ok(alone)
    }

    /// Refuses a thread that is alone with the directory already: it would wait for itself.
    pub(crate) fn refuse_handler(&self) -> Result<(), Failure> {
        match *self.alone.lock() == Some(current().id()) {
            true => Err(Failure::value("database is busy: called from a signal handler")),
            false => Ok(()),
        }
    }

    /// What readers see now.
    pub(crate) fn view(&self) -> View {
        let shown = self.shown.read();
        shown.held.clone().unwrap_or_else(|| shown.collection.view())
    }

    /// The records, for whoever writes. Hold `writing` meanwhile.
    pub(crate) fn collection(&self) -> Collection {
        self.shown.read().collection.clone()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.db
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub(crate) fn deleted(&self) -> u64 {
        self.state.lock().deleted
    }

    pub(crate) fn quantized(&self) -> bool {
        self.state.lock().quantized
    }

    /// Counts slots that were given up.
    pub(crate) fn count_deleted(&self, count: u64) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        let mut state = self.state.lock();
        state.deleted += count;
        self.keep(&state)
    }

    /// Remembers in the directory that searches are quantised, if they are.
    fn remember_quantized(&self, quantized: bool) -> Result<(), Failure> {
        let mut state = self.state.lock();
        if !quantized || state.quantized {
            return Ok(());
        }
        state.quantized = true;
        self.keep(&state)
    }

    /// Writes the state down.
    fn keep(&self, state: &State) -> Result<(), Failure> {
        let kept = match State::kept(&self.db)? {
            Some(kept) => kept,
            None => self.db.create_collection(STATE, State::config())?,
        };
        Ok(state.write(&kept)?)
    }

    /// Writes the state down where there is nothing else: every change of it leaves something behind.
    fn keep_anew(&self, state: &State) -> Result<(), Failure> {
        let Some(old) = State::kept(&self.db)? else { return Ok(()) };
        let (old, new) = match old.name() {
            STATE => (STATE, STATE_NEXT),
            _ => (STATE_NEXT, STATE),
        };
        // What is not the one with the state is the beginning of another one.
        self.db.delete_collection(new)?;
        if state.quantized || !state.scratch.is_empty() {
            let kept = self.db.create_collection(new, State::config())?;
            state.write(&kept)?;
            kept.sync()?;
        }
        self.db.delete_collection(old)?;
        Ok(())
    }

    /// Has the indexes made, in the background, that `filter` would be answered by, once there are so many records that it matters.
    pub(crate) fn index_for(&self, filter: &Filter) {
        let collection = self.collection();
        let lacks = |(path, _): &(nearfield::filter::Path, _)| !collection.has_field_index(path);
        if !suggested_indexes(filter).iter().any(lacks) || collection.view().count() < INDEXED_FROM {
            return;
        }
        // Somebody is alone with the directory, or the index cannot be made: the filter is answered without it.
        let Some(_writing) = self.writing.try_read() else { return };
        if self.unsettled.load(Ordering::Acquire) {
            return;
        }
        let _ = collection.create_suggested_indexes(filter);
    }

    /// Makes a checkpoint: everything is in files that need no log.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let _writing = self.shared()?;
        self.collection().flush()?;
        match State::kept(&self.db)? {
            Some(kept) => Ok(kept.flush()?),
            None => Ok(()),
        }
    }

    /// Copies the live records to a collection of their own and puts it in the place of the old one.
    pub(crate) fn compact(&self) -> Result<(), Failure> {
        let _alone = self.alone()?;
        let old = self.collection();
        let stats = old.stats()?;
        let parts = stats.segments + u64::from(stats.growing_rows > 0);
        if self.deleted() == 0 && stats.deleted == 0 && parts <= 1 {
            return Ok(old.flush()?);
        }
        if !numbered(old.name()) {
            let name = old.name();
            return Err(Failure::value(format!(
                "the records are in the collection '{name}', which was not made here: it cannot be replaced"
            )));
        }
        let name = next_name(&self.db);
        self.note_scratch(vec![name.clone(), old.name().to_owned()])?;
        let new = self.db.create_collection(&name, CollectionConfig::clone(&old.config()))?;
        let copied = copy(&old.view(), &new).and_then(|()| Ok(new.flush()?));
        if let Err(failure) = copied {
            self.db.delete_collection(&name)?;
            self.note_scratch(Vec::new())?;
            return Err(failure);
        }
        self.db.set_alias(RECORDS, &name)?;
        self.shown.write().collection = new;
        // From here on the old one is nobody's; if it cannot be removed now, the next opening does it.
        let scratch = match self.db.delete_collection(old.name()) {
            Ok(_) => Vec::new(),
            Err(_) => vec![old.name().to_owned()],
        };
        let mut state = self.state.lock();
        *state = State { of: name, deleted: 0, quantized: state.quantized, scratch };
        self.keep_anew(&state)
    }

    /// Writes down which collections the next opening may remove.
    fn note_scratch(&self, names: Vec<String>) -> Result<(), Failure> {
        let mut state = self.state.lock();
        state.scratch = names;
        self.keep(&state)?;
        if let Some(kept) = State::kept(&self.db)? {
            kept.sync()?;
        }
        Ok(())
    }

    /// True once it was closed for every handle.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Closes the directory for every handle.
    pub(crate) fn shut(&self) -> Result<(), Failure> {
        self.refuse_handler()?;
        self.shut.store(true, Ordering::Release);
        Ok(self.db.clone().close()?)
    }
}

/// Nobody else writes as long as this lives.
pub(crate) struct Alone<'a> {
    store: &'a Store,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Alone<'_> {
    /// Lets readers see what was before a write of several parts, which begins now, until [`Alone::reveal`].
    pub(crate) fn begin(&self) {
        self.store.unsettled.store(true, Ordering::Release);
        let mut shown = self.store.shown.write();
        shown.held = Some(shown.collection.view());
    }

    /// Lets readers see what is there.
    pub(crate) fn reveal(&self) {
        self.store.shown.write().held = None;
    }

    /// Takes back what was not finished, and forgets the way back. If it fails, the next write begins with it.
    pub(crate) fn settle(&self) -> nearfield::Result<()> {
        batches::recover(&self.store.db, &self.store.collection())?;
        self.store.unsettled.store(false, Ordering::Release);
        self.reveal();
        Ok(())
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        *self.store.alone.lock() = None;
    }
}

/// The collection if there is one.
pub(crate) fn existing(db: &Database, name: &str) -> nearfield::Result<Option<Collection>> {
    match db.collection(name) {
        Ok(collection) => Ok(Some(collection)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl State {
    fn none(of: &str) -> State {
        State { of: of.to_owned(), ..State::default() }
    }

    fn config() -> CollectionConfig {
        CollectionConfig::new(1, Metric::Euclid)
    }

    /// Where it is kept: whichever holds something, since the other one is being made or removed.
    fn kept(db: &Database) -> nearfield::Result<Option<Collection>> {
        let first = existing(db, STATE)?;
        if first.as_ref().is_some_and(|kept| kept.view().count() > 0) {
            return Ok(first);
        }
        let next = existing(db, STATE_NEXT)?.filter(|kept| kept.view().count() > 0);
        Ok(next.or(first))
    }

    /// What is kept, as far as it is about the collection `of`.
    pub(crate) fn find(db: &Database, of: &str) -> nearfield::Result<State> {
        match State::kept(db)? {
            Some(kept) => State::read(&kept.view(), of),
            None => Ok(State::none(of)),
        }
    }

    fn write(&self, kept: &Collection) -> nearfield::Result<()> {
        kept.upsert(vec![Point::new(SLOTS, vec![0.0]).payload(self.to_object())]).map(drop)
    }

    fn read(view: &View, of: &str) -> nearfield::Result<State> {
        let found = view.get(&[PointId::from(SLOTS)], With::PAYLOAD)?;
        let payload =
            found.into_iter().next().flatten().and_then(|record| record.payload).unwrap_or_default();
        let quantized = payload.get("quantized") == Some(&Value::Bool(true));
        let deleted = match (payload.get("of"), payload.get("deleted")) {
            (Some(Value::String(counted)), Some(Value::I64(deleted))) if counted == of => {
                deleted.unsigned_abs()
            }
            _ => 0,
        };
        let name = |value: &Value| match value {
            Value::String(name) => Some(name.clone()),
            _ => None,
        };
        let scratch = match payload.get("scratch") {
            Some(Value::Array(names)) => names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        Ok(State { deleted, quantized, scratch, ..State::none(of) })
    }

    fn to_object(&self) -> Object {
        let deleted = i64::try_from(self.deleted).unwrap_or(i64::MAX);
        Object::from_entries([
            ("of".to_owned(), Value::String(self.of.clone())),
            ("deleted".to_owned(), Value::I64(deleted)),
            ("quantized".to_owned(), Value::Bool(self.quantized)),
            ("scratch".to_owned(), Value::Array(self.scratch.iter().cloned().map(Value::String).collect())),
        ])
    }
}

/// Dimension and metric of the records.
pub(crate) fn shape(config: &CollectionConfig) -> Result<(usize, Metric), Failure> {
    match config.find("") {
        Some((_, vector)) => Ok((vector.dim as usize, vector.metric)),
        None => Err(Failure::value("the collection 'vectors' of this database has no vector without a name")),
    }
}

/// The metric as the library calls it.
pub(crate) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Euclid => "euclidean",
        Metric::Dot => "dot_product",
        other => other.name(),
    }
}

fn not_found() -> Failure {
    Failure::value("database not found — specify dim to create a new one")
}

/// True for a collection of records, current or not.
fn numbered(name: &str) -> bool {
    let number = name.strip_prefix(RECORDS).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

fn next_name(db: &Database) -> String {
    let number = |name: &String| name.rsplit_once('-').and_then(|(_, digits)| digits.parse::<u64>().ok());
    let names = db.collections();
    let highest = names.iter().filter(|name| numbered(name)).filter_map(number).max().unwrap_or(0);
    format!("{RECORDS}-{}", highest.saturating_add(1))
}

/// Copies every record of `from`.
fn copy(from: &View, to: &Collection) -> Result<(), Failure> {
    let mut after: Option<PointId> = None;
    loop {
        check_signals()?;
        let page = from.scroll(after.as_ref(), PAGE, With::ALL)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for part in batches::split(page.into_iter().map(point_of).collect()) {
            to.upsert(part)?;
        }
    }
}

/// A stored record as a point to store.
pub(crate) fn point_of(record: nearfield::Record) -> Point {
    Point {
        id: record.id,
        vectors: nearfield::Vectors::Named(record.vectors.unwrap_or_default()),
        payload: record.payload.unwrap_or_default(),
    }
}

/// A directory of vctrs is read by an importer and never changed in place.
fn refuse_vctrs(dir: &RealDir, place: &str) -> Result<(), Failure> {
    let entries = dir.list("").map_err(|error| Failure::value(error.to_string()))?;
    let has = |wanted: &str| entries.iter().any(|entry| entry.name == wanted);
    if !has("catalog") && (has("graph.vctrs") || has("wal.vctrs")) {
        return Err(Failure::value(format!(
            "'{place}' holds a database of vctrs: nearfield.migrate.from_vctrs(source, target) copies it into a new directory"
        )));
    }
    Ok(())
}

const _: () = assert!(PAGE <= limits::BATCH_POINTS_MAX, "a page is written in one go");
