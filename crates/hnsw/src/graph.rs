//! The graph in memory: threads link nodes while others search.
//!
//! It refuses to hold vectors, and to start threads: linking is a call that any number of threads may make.
//!
//! # Who holds what
//!
//! | what | written | read |
//! |---|---|---|
//! | a row | relaxed, under the stripe lock of its slot | relaxed, without a lock |
//! | `len` | raised with Release before any row names the slot | Acquire, once per walk |
//! | `entries` | Release, under the entry lock, after the node is linked on that level | Acquire |
//!
//! A thread holds one stripe at a time, so there is no order to keep.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nearfield_ann::{BuildScorer, Scratch, Search, Stats, Stopped, TopK, VectorIndex};
use nearfield_types::Slot;

use crate::levels::LEVEL_MAX;
use crate::links::{Links, NO_SLOT, Rows};
use crate::params::Params;
use crate::search::{AnyGraph, Question, Steps, Ticket, fresh_name, resume, search, ticket};
use crate::stats::{GraphStats, gather};
use crate::view::GraphView;

const STRIPES: usize = 4_096;

/// A graph in memory that grows.
///
/// # Concurrency
///
/// Everything takes `&self`. Any number of threads may link different slots, search and read statistics at the same time. With
/// one linking thread the graph is a function of parameters, seed, scorer and the order of slots; with several it is not.
///
/// # Complexity
///
/// `4 * (2m rounded up to 16) + 4` bytes a slot, about `4m / (m - 1)` more for upper levels.
pub struct Graph {
    params: Params,
    pub(crate) rows: Rows,
    /// One more than the largest slot that a row may name.
    len: AtomicU32,
    /// For each level the first node that stood so high, as `slot + 1`; 0 where there is none yet.
    entries: [AtomicU32; LEVEL_MAX as usize + 1],
    entry_lock: Mutex<()>,
    stripes: Box<[Mutex<()>]>,
    linked: AtomicU32,
    duplicates: AtomicU32,
    name: u64,
}

/// The scorers that linking needs: both see the same vectors.
///
/// They may be of different precision: `walk` finds the neighbourhood, a few thousand distances a node, and may be coarse;
/// `judge` chooses the neighbours and should be the better one. A user with one kind of scorer makes two of it.
pub struct Scorers<'a> {
    /// Scores candidates while the neighbourhood of a node is searched.
    pub walk: &'a mut dyn BuildScorer,
    /// Scores candidates against each other when neighbours are chosen.
    pub judge: &'a mut dyn BuildScorer,
    /// True if two slots hold the same vector. One of many equal vectors is linked, the others are chained to it. Always false
    /// is a valid answer; then many equal vectors crowd each other's rows.
    pub same: &'a dyn Fn(Slot, Slot) -> bool,
}

impl fmt::Debug for Scorers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scorers")
    }
}

impl Graph {
    /// A graph without nodes. O(1).
    pub fn new(params: Params) -> Graph {
        Graph {
            params,
            rows: Rows::new(params),
            len: AtomicU32::new(0),
            entries: [const { AtomicU32::new(0) }; LEVEL_MAX as usize + 1],
            entry_lock: Mutex::new(()),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            linked: AtomicU32::new(0),
            duplicates: AtomicU32::new(0),
            name: fresh_name(),
        }
    }

    /// The graph of a file, to be linked further: the same links, the same levels. `scorers` are only asked where scores are products,
    /// once for every slot, for a file does not keep their lengths.
    ///
    /// # Errors
    ///
    /// What the scorer returned.
    ///
    /// # Complexity
    ///
    /// O(n m).
    pub fn restore(view: &GraphView, scorers: &mut Scorers<'_>) -> Result<Graph, Stopped> {
        let graph = Graph::new(view.params());
        let links = view.links();
        let mut row = Vec::new();
        for slot in 0..links.len() {
            graph.publish(slot);
            graph.measure(slot, scorers)?;
            for level in 0..=graph.rows.level(slot) {
                row.clear();
                links.neighbours(slot, level, |neighbour| {
                    if neighbour < links.len() {
                        row.push(neighbour);
                    }
                });
                graph.rows.write(slot, level, &row);
            }
        }
        for slot in 0..links.len() {
            if let Some(next) = links.next_duplicate(slot).filter(|&next| next < links.len()) {
                graph.rows.set_next_duplicate(slot, next);
                graph.duplicates.fetch_add(1, Ordering::Release);
            }
        }
        if let Some(entry) = links.entry(links.top()) {
            graph.found(entry, links.top());
        }
        graph.linked.store(view.linked(), Ordering::Release);
        Ok(graph)
    }

    /// How it is built.
    pub fn params(&self) -> Params {
        self.params
    }

    /// One more than the largest slot linked so far.
    pub fn len(&self) -> u32 {
        Links::len(self)
    }

    /// True before the first node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes and duplicates linked so far.
    pub fn linked(&self) -> u32 {
        self.linked.load(Ordering::Acquire)
    }

    /// Levels, degrees, memory. O(n m).
    pub fn stats(&self) -> GraphStats {
        gather(self, self.linked(), self.memory())
    }

    /// The neighbours of `slot` on `level`, nearest first where nothing was linked to it since they were chosen; none where it
    /// does not stand on that level.
    pub fn neighbours(&self, slot: Slot, level: u32) -> Vec<Slot> {
        let mut row = Vec::new();
        self.rows.read(slot.0, level, &mut row);
        row.into_iter().map(Slot).collect()
    }

    /// The ticket of the last search of this graph with `scratch`, to go on with it. `None` if another index was searched since.
    pub fn ticket(&self, scratch: &mut Scratch) -> Option<Ticket> {
        ticket(self.name, scratch)
    }

    /// Goes on with a finished search: for a larger `k`, breadth or radius. The scorer must be for the same query; it scores again
    /// what was seen, but nothing is expanded twice. `None` if `scratch` does not hold that walk any more: search anew.
    ///
    /// # Errors
    ///
    /// As [`VectorIndex::search`].
    pub fn resume(
        &self,
        from: Ticket,
        search: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Option<Result<Stats, Stopped>> {
        resume(self, self.name, from, search, scratch, out)
    }

    /// Begins a search that the caller advances step by step.
    pub fn begin<'a>(&'a self, question: Question<'a>, scratch: &'a mut Scratch) -> Steps<'a> {
        Steps::begin(AnyGraph::Memory(self), self.name, question, scratch)
    }

    /// Lets rows name `slot` from now on.
    pub(crate) fn publish(&self, slot: u32) {
        self.rows.make(slot);
        self.len.fetch_max(slot + 1, Ordering::Release);
    }

    /// The lock of the rows of `slot`. It guards no data of its own, so a thread that panicked while holding it left nothing
    /// broken behind: rows are valid at every step.
    pub(crate) fn stripe(&self, slot: u32) -> MutexGuard<'_, ()> {
        self.stripes[slot as usize % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `slot` the entry of every level up to its own that has none. True if it stands higher than any node before.
    pub(crate) fn raise(&self, slot: u32, level: u32) -> bool {
        if self.entries[level as usize].load(Ordering::Acquire) != 0 {
            return false;
        }
        let _guard = self.entry_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut raised = false;
        for entry in &self.entries[..=level as usize] {
            raised |= entry.compare_exchange(0, slot + 1, Ordering::Release, Ordering::Relaxed).is_ok();
        }
        raised
    }

    /// Makes `slot` the first node of all; false if there is one.
    pub(crate) fn found(&self, slot: u32, level: u32) -> bool {
        let _guard = self.entry_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.entries[0].load(Ordering::Relaxed) != 0 {
            return false;
        }
        for entry in &self.entries[..=level as usize] {
            entry.store(slot + 1, Ordering::Release);
        }
        true
    }

    pub(crate) fn count_linked(&self) {
        self.linked.fetch_add(1, Ordering::Release);
    }

    /// Chains `slot` to `head`, which has the same vector.
    pub(crate) fn chain(&self, head: u32, slot: u32) {
        let _guard = self.stripe(head);
        self.rows.chain(head, slot);
        self.duplicates.fetch_add(1, Ordering::Release);
    }
}

impl Links for Graph {
    fn top(&self) -> u32 {
        let tops = self.entries.iter().rposition(|entry| entry.load(Ordering::Acquire) != 0);
        tops.unwrap_or(0) as u32
    }

    fn entry(&self, level: u32) -> Option<u32> {
        self.entries.get(level as usize)?.load(Ordering::Acquire).checked_sub(1)
    }

    fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    fn width(&self, level: u32) -> usize {
        self.rows.width(level)
    }

    #[inline]
    fn neighbours(&self, slot: u32, level: u32, visit: impl FnMut(u32)) {
        self.rows.visit(slot, level, visit);
    }

    #[inline]
    fn prefetch(&self, slot: u32) {
        self.rows.prefetch(slot);
    }

    fn next_duplicate(&self, slot: u32) -> Option<u32> {
        if self.duplicates() == 0 {
            None
        } else {
            self.rows.next_duplicate(slot).filter(|&slot| slot != NO_SLOT)
        }
    }

    fn duplicates(&self) -> u32 {
        self.duplicates.load(Ordering::Acquire)
    }
}

impl VectorIndex for Graph {
    fn search(
        &self,
        question: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, Stopped> {
        search(self, self.name, question, scratch, out)
    }

    fn memory(&self) -> u64 {
        self.rows.memory() + (STRIPES * size_of::<Mutex<()>>()) as u64
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} linked, {:?})", self.linked(), self.params)
    }
}
