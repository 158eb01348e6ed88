//! The collection: one shard with its log, its versions and its one writer.
//!
//! Locks, always taken in this order: `rebuilding` (one at a time), `merging` (one merge or rebuilding at a time), `indexing` (one index is built at a time, and beside it one payload index), `checkpoint` (one checkpoint at a time), `writer` (one writer), `reveal` (the version that
//! readers take and the Seq they may see). Readers take none of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use nearfield_platform::{Budget, Clock, Dir, Entropy, Reservation, SystemClock, SystemEntropy, Use};
use nearfield_segment::{Growing, Segment};
use nearfield_types::Seq;
use nearfield_wal::{FileLogWriter, LogError, Syncer};
use parking_lot::{Mutex, RwLock};

use crate::checkpoint::Ledger;
use crate::config::CollectionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::indexing::Indexing;
use crate::manifest::Fields;
use crate::merging::Merging;
use crate::settings::Settings;
use crate::version::{Member, Version};
use crate::view::View;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is in the page cache: it survives a killed process, and power loss once its group was synced, which
    /// begins within 200 ms unless the disk is still busy with the group before. The default.
    #[default]
    Process,
    /// Once it is on the disk: it survives power loss.
    Sync,
}

/// How a collection runs; none of it changes what is stored.
#[derive(Clone, Debug)]
pub struct CollectionOptions {
    /// When writes are acknowledged.
    pub durability: Durability,
    /// The head is sealed at this many rows.
    pub head_rows_max: u32,
    /// The head is sealed at this many bytes.
    pub head_bytes_max: u64,
    /// A checkpoint is due once this many bytes were logged since the last.
    pub log_bytes_max: u64,
    /// True if nobody calls [`Collection::maintain_segments`] and its like: the writer then seals, links, builds indexes and, after
    /// sealing, merges before its call returns.
    pub inline_maintenance: bool,
    /// Threads that build the index of a sealed segment.
    pub index_threads: usize,
    /// Many points are about to be written: they may stay unlinked, so that writing is not slowed down, as long as searches have no more to
    /// scan than the two limits below. Searches are slower until the background has caught up.
    pub bulk: bool,
    /// What searches have to scan for want of a graph ([`Collection::debt`]): at so many bytes writers have to work it off themselves.
    pub debt_bytes_max: u64,
    /// The same in milliseconds that a search takes longer, as estimated.
    pub debt_ms_max: u64,
    /// The memory that this and other collections share. When it is near its end, heads are sealed earlier, writers seal, and builders wait.
    pub budget: Arc<Budget>,
    /// The clock for pauses and ages; correctness never reads it.
    pub clock: Arc<dyn Clock>,
    /// The source of fresh identities.
    pub entropy: Arc<dyn Entropy>,
}

impl CollectionOptions {
    /// The defaults over the machine's clock and entropy.
    pub fn system() -> Self {
        CollectionOptions {
            durability: Durability::default(),
            head_rows_max: 256 << 10,
            head_bytes_max: 512 << 20,
            log_bytes_max: 1 << 30,
            inline_maintenance: false,
            index_threads: (cores() / 2).max(1),
            bulk: false,
            budget: Budget::unlimited(),
            debt_bytes_max: 2 << 30,
            debt_ms_max: 100,
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// Processors that there are for this process.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether the shard still takes writes.
#[derive(Debug)]
enum State {
    Open,
    /// A log or manifest operation failed: what is stored is read-only until it is opened again.
    Poisoned(String),
    Closed,
}

/// Whether something waits, and since when. Marked by those who make it wait, cleared by the one who serves it.
#[derive(Debug, Default)]
pub(crate) struct Since {
    waits: AtomicBool,
    at_ms: AtomicU64,
}

impl Since {
    /// It waits from `now_ms` on, if it did not wait already.
    pub(crate) fn mark(&self, now_ms: u64) {
        // Read-modify-write on both sides: whoever clears sees all that was done before the mark.
        if !self.waits.swap(true, Ordering::AcqRel) {
            self.at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    pub(crate) fn clear(&self) {
        self.waits.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// True if it has waited for `after_ms`.
    pub(crate) fn due(&self, now_ms: u64, after_ms: u64) -> bool {
        self.waits.load(Ordering::Acquire)
            && now_ms.saturating_sub(self.at_ms.load(Ordering::Relaxed)) >= after_ms
    }
}

/// What only the writer touches.
pub(crate) struct Writer {
    /// `None` before recovery is done and after the close.
    pub(crate) log: Option<FileLogWriter>,
}

/// A durable collection. Share it by `Arc`; every method may be called from several threads.
pub struct Collection {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) folder: String,
    /// Changed under the lock of the checkpoint, after the manifest that says so.
    pub(crate) settings: ArcSwap<Settings>,
    /// Of each vector, how many indexes were built with earlier settings, by the newest manifest.
    pub(crate) stale: ArcSwap<Vec<u64>>,
    pub(crate) options: CollectionOptions,
    pub(crate) current: ArcSwap<Version>,
    pub(crate) checkpoint: Mutex<Ledger>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) indexing: Indexing,
    pub(crate) merging: Merging,
    /// The payload indexes as applied. Changed by the writer alone.
    pub(crate) fields: ArcSwap<Fields>,
    reveal: Mutex<()>,
    syncer: OnceLock<Arc<dyn Syncer>>,
    /// The last operation that is whole in memory.
    applied: AtomicU64,
    /// Bytes logged since the last checkpoint began.
    pub(crate) logged_bytes: AtomicU64,
    /// Something was applied and is not yet known durable.
    pub(crate) dirty: Since,
    /// A group was synced and the log does not say so yet.
    pub(crate) unmarked: Since,
    pub(crate) flushed: AtomicU64,
    /// What the rows in memory take of the budget.
    heads: Reservation,
    state: RwLock<State>,
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection")
            .field("folder", &self.folder)
            .field("config", &self.settings.load().config)
            .finish_non_exhaustive()
    }
}

impl Collection {
    /// A collection of these sealed segments with an empty head, revealed as far as its manifest goes. It takes no writes
    /// before [`Collection::start`].
    pub(crate) fn assemble(
        dir: Arc<dyn Dir>,
        folder: String,
        options: CollectionOptions,
        members: Vec<Member>,
        ledger: Ledger,
    ) -> Collection {
        let flushed = ledger.manifest.flushed;
        let settings = Settings::of(&ledger.manifest);
        let head = Arc::new(Growing::new(&settings.schema));
        let fields = ledger.manifest.fields.clone();
        let heads = options.budget.reserve(Use::Heads, 0);
        Collection {
            dir,
            folder,
            settings: ArcSwap::from_pointee(settings),
            stale: ArcSwap::from_pointee(ledger.manifest.stale_indexes()),
            options,
            current: ArcSwap::from_pointee(Version::new(members, head, flushed)),
            checkpoint: Mutex::new(ledger),
            writer: Mutex::new(Writer { log: None }),
            indexing: Indexing::default(),
            merging: Merging::default(),
            fields: ArcSwap::from_pointee(fields),
            reveal: Mutex::new(()),
            syncer: OnceLock::new(),
            applied: AtomicU64::new(flushed.0),
            logged_bytes: AtomicU64::new(0),
            dirty: Since::default(),
            unmarked: Since::default(),
            flushed: AtomicU64::new(flushed.0),
            heads,
            state: RwLock::new(State::Open),
        }
    }

    /// Ends recovery: what was replayed is durable and visible, and writes are taken.
    pub(crate) fn start(&mut self, log: FileLogWriter, syncer: Arc<dyn Syncer>) {
        self.writer.get_mut().log = Some(log);
        self.syncer.get_or_init(|| syncer);
        self.reveal(self.applied());
        self.account();
    }

    /// What the collection is made of, as it is now: index settings may change.
    pub fn config(&self) -> Arc<CollectionConfig> {
        Arc::clone(&self.settings.load().config)
    }

    /// What can be read now, held still.
    pub fn view(&self) -> View {
        let version = self.current.load_full();
        let seen = version.visible();
        View { version, config: self.config(), fields: self.fields.load_full(), seen }
    }

    /// Makes everything applied so far survive power loss; returns the last Seq that does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the disk failed: the collection is then read-only.
    pub fn sync(&self) -> Result<Seq> {
        self.check_open()?;
        // Cleared before looking: what is applied from here on sets it again.
        self.dirty.clear();
        self.sync_through(self.applied())
    }

    /// Every operation at or before this may be seen by readers.
    pub fn visible_seq(&self) -> Seq {
        self.current.load().visible()
    }

    /// Every operation at or before this survives power loss.
    pub fn synced_seq(&self) -> Seq {
        self.syncer.get().map_or(Seq::ZERO, |syncer| syncer.synced())
    }

    /// Every operation at or before this is in sealed files.
    pub fn flushed_seq(&self) -> Seq {
        Seq(self.flushed.load(Ordering::Acquire))
    }

    /// Refuses everything from now on; used when the collection is deleted or closed.
    pub fn shut(&self) {
        self.halt_indexing();
        *self.state.write() = State::Closed;
    }

    /// Stops taking writes until it is opened again: the log or the manifest could not be written, or whoever maintains the
    /// collection failed.
    pub fn poison(&self, why: &dyn std::fmt::Display) {
        let mut state = self.state.write();
        if matches!(*state, State::Open) {
            *state = State::Poisoned(why.to_string());
        }
    }

    /// Why it takes no writes any more, if it does not.
    pub fn poisoned(&self) -> Option<String> {
        match &*self.state.read() {
            State::Poisoned(why) => Some(why.clone()),
            State::Open | State::Closed => None,
        }
    }

    /// Bytes of memory that rows which are not sealed yet take, with their codes and graphs.
    pub fn head_bytes(&self) -> u64 {
        let version = self.current.load();
        let bytes = |growing: &Arc<Growing>| growing.bytes() + growing.index_memory();
        version.frozen().chain([version.head()]).map(bytes).sum()
    }

    /// Says what the heads take, and the indexes that sealed ones keep until their own are built. After every write, and whenever some of them
    /// are given up. Nobody asks where there is no limit.
    pub(crate) fn account(&self) {
        if self.options.budget.limit() < u64::MAX {
            let version = self.current.load();
            let kept = version.settled().iter().map(|member| match &member.segment {
                Segment::Sealed(sealed) => sealed.index_memory(),
                Segment::Growing(_) => 0,
            });
            self.heads.set(self.head_bytes() + kept.sum::<u64>());
        }
    }

    pub(crate) fn applied(&self) -> Seq {
        Seq(self.applied.load(Ordering::Acquire))
    }

    /// The operation at `seq` is whole in memory. Called by the writer alone.
    pub(crate) fn set_applied(&self, seq: Seq) {
        self.applied.store(seq.0, Ordering::Release);
    }

    /// Refuses what is asked of a collection that was closed or deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub fn check_open(&self) -> Result<()> {
        match &*self.state.read() {
            State::Closed => Err(closed()),
            State::Open | State::Poisoned(_) => Ok(()),
        }
    }

    /// Why it takes no writes, if it takes none.
    pub(crate) fn stopped_because(&self) -> Option<String> {
        match &*self.state.read() {
            State::Open => None,
            State::Closed => Some("it was closed or deleted".to_owned()),
            State::Poisoned(why) => Some(format!("it is read-only because {why}")),
        }
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        match &*self.state.read() {
            State::Open => Ok(()),
            State::Closed => Err(closed()),
            State::Poisoned(why) => {
                let context = format!("the collection is read-only until it is opened again, because {why}");
                Err(Error::new(ErrorKind::Unavailable, context))
            }
        }
    }

    /// The current version, after a full head was set aside for sealing.
    pub(crate) fn version_with_room(&self, rows: usize) -> arc_swap::Guard<Arc<Version>> {
        let version = self.current.load();
        let head = version.head();
        let asked = self.settings.load().optimizers.head_bytes_max();
        let bytes_max = self.options.head_bytes_max.min(asked.unwrap_or(u64::MAX));
        let full =
            head.len() as usize + rows > self.options.head_rows_max as usize || head.bytes() >= bytes_max;
        if head.is_empty() || !full {
            return version;
        }
        self.freeze();
        self.current.load()
    }

    /// Puts an empty head in the place of the current one, which then waits to be sealed. The caller is the writer.
    pub(crate) fn freeze(&self) {
        let version = self.current.load();
        if !version.head().is_empty() {
            self.install(version.members().to_vec(), Arc::new(Growing::new(&self.settings.load().schema)));
        }
    }

    /// Publishes a version. The caller is the writer. Whoever reveals meanwhile waits, so the new version never lags behind
    /// what was acknowledged.
    pub(crate) fn install(&self, settled: Vec<Member>, head: Arc<Growing>) {
        let _guard = self.reveal.lock();
        let visible = self.current.load().visible();
        self.current.store(Arc::new(Version::new(settled, head, visible)));
    }

    /// Lets readers see up to `through`, but never an operation that is not applied whole: a sync may cover a frame whose
    /// writer is still at it.
    pub(crate) fn reveal(&self, through: Seq) {
        let _guard = self.reveal.lock();
        self.current.load().reveal(through.min(self.applied()));
    }

    /// Waits until `seq` is as durable as it must be.
    pub(crate) fn acknowledge(&self, seq: Seq) -> Result<()> {
        if self.options.durability == Durability::Sync {
            self.sync_through(seq)?;
        }
        if self.options.inline_maintenance {
            // The write is done, whatever becomes of the sealing: it is tried again, and what poisons shows at the next write.
            let seals = self.checkpoint_due();
            let _ = self
                .maintain_segments()
                .and_then(|()| self.maintain_indexes())
                .and_then(|_| self.settle_fields())
                .and_then(|()| if seals { self.maintain_merges().map(drop) } else { Ok(()) });
        }
        Ok(())
    }

    pub(crate) fn sync_through(&self, seq: Seq) -> Result<Seq> {
        let through = self.sync_log(seq)?;
        self.reveal(through);
        self.unmarked.mark(self.options.clock.now_ms());
        Ok(through)
    }

    /// Makes the log durable through `seq` without revealing anything.
    pub(crate) fn sync_log(&self, seq: Seq) -> Result<Seq> {
        self.syncer.get().ok_or_else(closed)?.sync(seq).map_err(|e| self.log_error(e))
    }

    /// Lets the log forget what is at or before `through`.
    pub(crate) fn release_log(&self, through: Seq) -> Result<()> {
        self.syncer
            .get()
            .ok_or_else(closed)?
            .release(through)
            .map_err(|e| Error::caused(ErrorKind::Unavailable, "the log", e))
    }

    /// What a failed log means for the shard: no room is an answer, all else ends its writing.
    pub(crate) fn log_error(&self, error: LogError) -> Error {
        match error {
            LogError::Full => Error::caused(ErrorKind::Full, "no room for the log: free some space", error),
            // The log is as it was and may be asked again.
            LogError::Io(_) => {
                Error::caused(ErrorKind::Busy, "the log could not be continued, nothing was written", error)
            }
            LogError::TooLarge { .. } => Error::caused(ErrorKind::Invalid, "the write is too large", error),
            other => {
                self.poison(&other);
                Error::caused(ErrorKind::Unavailable, "the log failed, the outcome is unknown", other)
            }
        }
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::NotFound, "the collection was closed or deleted")
}
