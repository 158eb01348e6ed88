//! The background threads: what each of them does, for which collections, and when.
//!
//! A collection is on the list of a thread only while it may have something for it: whoever changes one marks it, and a thread takes it off
//! its list before it looks, and puts it back if there is more. So thousands of collections at rest cost nothing, and a thread without a
//! list sleeps until it is woken.
//!
//! # Invariants
//!
//! 1. A bit of [`Slot::marks`] is set iff the slot is on the list of that duty, or about to be put there.
//! 2. The bit is taken back before the work is looked for. So what is changed after the look marks again, and nothing is missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfield_collection::{Collection as Shard, Error, Result};
use nearfield_platform::{Budget, PanicHook, Ticker, Urgency};
use parking_lot::Mutex;

use crate::slots::{Slot, Slots};

/// Between two looks at collections that have something to do later, or again.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// A seal that failed, on a full disk say, is not tried again at every tick.
const SEAL_RETRY_TICKS: u32 = 50;
/// An index that failed reads much before it fails again.
const INDEX_RETRY_TICKS: u32 = 3_000;

/// What one thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// Syncs logs and marks them.
    Log,
    /// Seals heads.
    Seal,
    /// Links what was written, a portion of each collection in turn, so that none waits for a busy one to be done.
    Link,
    /// Takes rows into payload indexes.
    Field,
    /// Builds graphs.
    Index,
    /// Merges segments.
    Merge,
}

/// So many collections seal their heads at once for want of memory, those with the largest first.
const GIVERS: usize = 4;
const EVERY_BIT: u8 = (1 << Duty::ALL.len()) - 1;

/// What is still to be done for a collection after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    Nothing,
    /// At the next tick.
    Later,
    /// As soon as the others had their turn.
    More,
}

impl Duty {
    const ALL: [Duty; 6] = [Duty::Log, Duty::Seal, Duty::Link, Duty::Field, Duty::Index, Duty::Merge];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    fn thread(self) -> (&'static str, Urgency) {
        match self {
            Duty::Log => ("nearfield-log", Urgency::Normal),
            // Writers wait for it.
            Duty::Seal => ("nearfield-seal", Urgency::Normal),
            Duty::Link => ("nearfield-link", Urgency::Normal),
            Duty::Field => ("nearfield-field", Urgency::Background),
            Duty::Index => ("nearfield-index", Urgency::Background),
            Duty::Merge => ("nearfield-merge", Urgency::Background),
        }
    }

    fn retry_ticks(self) -> u32 {
        match self {
            Duty::Log | Duty::Link | Duty::Seal => SEAL_RETRY_TICKS,
            Duty::Field | Duty::Index | Duty::Merge => INDEX_RETRY_TICKS,
        }
    }

    /// Does a portion of it. Also true if it did something that may give other threads something to do.
    fn work(self, shard: &Shard) -> Result<(Rest, bool)> {
        let later = |waits: bool| if waits { Rest::Later } else { Rest::Nothing };
        match self {
            Duty::Log => {
                let (waited, synced) = (shard.log_waits(), shard.synced_seq());
                // A failure poisons the collection, which then says so to everybody who writes.
                let done = shard.maintain_log();
                let waits = done.is_ok() && shard.log_waits();
                // Once in a while, not at every write: rows may have died of which segments are to be rid.
                Ok((later(waits), shard.synced_seq() > synced || waited && !waits))
            }
            Duty::Seal => {
                let due = shard.checkpoint_due();
                shard.maintain_segments()?;
                Ok((later(shard.checkpoint_due()), due))
            }
            Duty::Link => {
                let more = shard.maintain_links()?;
                Ok((if more { Rest::More } else { Rest::Nothing }, false))
            }
            Duty::Field => {
                let more = shard.follow_fields()? | shard.maintain_fields()?;
                Ok((if more { Rest::More } else { Rest::Nothing }, false))
            }
            Duty::Index => {
                let due = shard.index_due();
                let waits = shard.maintain_indexes()?;
                Ok((later(waits), due && !waits))
            }
            Duty::Merge => {
                let due = shard.merge_due();
                let waits = shard.maintain_merges()?;
                Ok((later(waits), due && !waits))
            }
        }
    }
}

/// The collections that a thread is to look at.
#[derive(Debug, Default)]
struct List {
    slots: Mutex<Vec<Arc<Slot>>>,
    ticker: Mutex<Option<Ticker>>,
}

/// The threads of a database and their lists.
#[derive(Debug)]
pub(crate) struct Background {
    lists: [List; Duty::ALL.len()],
    slots: Arc<Slots>,
    budget: Arc<Budget>,
    /// Without threads there is nobody to be told.
    started: AtomicBool,
}

impl Background {
    /// The background of these collections, which share this memory. No thread is started.
    pub(crate) fn new(slots: Arc<Slots>, budget: Arc<Budget>) -> Background {
        Background { lists: Default::default(), slots, budget, started: AtomicBool::new(false) }
    }

    /// Starts the threads, one for each duty, so that none waits for another.
    ///
    /// # Errors
    ///
    /// If the system gives no thread: without it a collection would never be synced or sealed and must not go on as if it were.
    pub(crate) fn start(self: &Arc<Self>, hook: &PanicHook) -> Result<()> {
        for duty in Duty::ALL {
            let (name, urgency) = duty.thread();
            let own = Arc::downgrade(self);
            let mut pauses = Pauses::new(duty.retry_ticks());
            let tick = move || own.upgrade().map_or(Duration::MAX, |own| own.look(duty, &mut pauses));
            let ticker = Ticker::on_demand(name, urgency, Arc::clone(hook), tick);
            let ticker = ticker.map_err(|e| Error::io("starting the background threads", e))?;
            *self.list(duty).ticker.lock() = Some(ticker);
        }
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    /// Has those threads look at a collection that was just opened that have something to do: of thousands most rest.
    pub(crate) fn opened(&self, slot: &Arc<Slot>, shard: &Shard) {
        let bit = |duty: Duty, due: bool| if due { duty.bit() } else { 0 };
        let bits = bit(Duty::Log, shard.log_waits())
            | bit(Duty::Seal, shard.checkpoint_due())
            | bit(Duty::Link, shard.backlog() > 0)
            | bit(Duty::Field, shard.has_field_indexes())
            | bit(Duty::Index, shard.index_due())
            | bit(Duty::Merge, shard.merge_due());
        self.mark_for(slot, bits);
    }

    /// Has all threads look at a collection that was changed at large.
    pub(crate) fn mark(&self, slot: &Arc<Slot>) {
        self.mark_for(slot, EVERY_BIT);
    }

    /// Has those threads look at a collection that have something to do after a write: it may be one of thousands in a second.
    pub(crate) fn written(&self, slot: &Arc<Slot>, shard: &Shard) {
        let bit = |duty: Duty, due: bool| if due { duty.bit() } else { 0 };
        let bits = Duty::Log.bit()
            | bit(Duty::Seal, shard.checkpoint_due() || self.budget.is_near())
            | bit(Duty::Link, shard.backlog() > 0)
            | bit(Duty::Field, shard.has_field_indexes());
        self.mark_for(slot, bits);
    }

    fn mark_for(&self, slot: &Arc<Slot>, bits: u8) {
        if bits == 0 || !self.started.load(Ordering::Acquire) {
            return;
        }
        // AcqRel: whoever takes a bit back sees all that was done before it was set.
        let new = bits & !slot.marks.fetch_or(bits, Ordering::AcqRel);
        for duty in Duty::ALL.into_iter().filter(|duty| new & duty.bit() != 0) {
            self.list(duty).slots.lock().push(Arc::clone(slot));
            if let Some(ticker) = &*self.list(duty).ticker.lock() {
                ticker.wake();
            }
        }
    }

    /// Stops the threads, once each has done what it is at.
    pub(crate) fn stop(&self) {
        self.started.store(false, Ordering::Release);
        // Those that link first: the others are short or were told to give up.
        for list in self.lists.iter().rev() {
            let ticker = list.ticker.lock().take();
            drop(ticker);
            list.slots.lock().clear();
        }
    }

    fn list(&self, duty: Duty) -> &List {
        &self.lists[duty as usize]
    }

    /// Looks at each collection of the list once; returns when to look again.
    fn look(&self, duty: Duty, pauses: &mut Pauses) -> Duration {
        let slots = std::mem::take(&mut *self.list(duty).slots.lock());
        let mut most = Rest::Nothing;
        for slot in slots {
            slot.marks.fetch_and(!duty.bit(), Ordering::AcqRel);
            let Some(shard) = slot.loaded() else {
                pauses.forget(&slot);
                continue;
            };
            let (rest, changed) = pauses.call(&slot, || duty.work(&shard));
            if changed {
                let others = if duty == Duty::Log { Duty::Merge.bit() } else { EVERY_BIT & !duty.bit() };
                self.mark_for(&slot, others);
            }
            if rest != Rest::Nothing && slot.marks.fetch_or(duty.bit(), Ordering::AcqRel) & duty.bit() == 0 {
                self.list(duty).slots.lock().push(slot);
            }
            most = most.max(rest);
        }
        if duty == Duty::Seal && self.budget.is_near() && self.give_room() {
            most = most.max(Rest::Later);
        }
        match most {
            Rest::Nothing => Duration::MAX,
            Rest::Later => TICK,
            Rest::More => Duration::ZERO,
        }
    }
}

impl Background {
    /// Seals the largest heads, whosever they are: somebody needs the memory. True if there were some worth it.
    fn give_room(&self) -> bool {
        let mut heads: Vec<(u64, Arc<Shard>)> =
            self.slots.loaded().into_iter().map(|shard| (shard.head_bytes(), shard)).collect();
        heads.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut gave = false;
        for (bytes, shard) in heads.iter().take(GIVERS) {
            // What fails is tried again at its own time.
            gave |= shard.give_room().is_ok() && shard.head_bytes() < *bytes;
        }
        gave
    }
}

/// Looks that are left out for a while after one failed, by collection.
struct Pauses {
    ticks: u32,
    left: HashMap<[u8; 16], u32>,
}

impl Pauses {
    fn new(ticks: u32) -> Self {
        Pauses { ticks, left: HashMap::new() }
    }

    /// What the call returned; to be done later where it failed or was not made.
    fn call(&mut self, slot: &Slot, work: impl FnOnce() -> Result<(Rest, bool)>) -> (Rest, bool) {
        if let Some(left) = self.left.get_mut(&slot.uuid).filter(|left| **left > 0) {
            *left -= 1;
            return (Rest::Later, false);
        }
        match work() {
            Ok(done) => {
                self.left.remove(&slot.uuid);
                done
            }
            Err(_) => {
                self.left.insert(slot.uuid, self.ticks);
                (Rest::Later, false)
            }
        }
    }

    fn forget(&mut self, slot: &Slot) {
        self.left.remove(&slot.uuid);
    }
}
