//! Searching an index, one query or many.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nearfield_ann::{Budget, BySlot, Scratch, Stats, TopK};
use nearfield_platform::on_threads;
use nearfield_segment::{Depth, Field, FieldAsk, RECALL_MAX, RECALL_MIN, SearchError};
use nearfield_types::limits::LIMIT_MAX;
use parking_lot::Mutex;

use super::ids::NO_ID;
use super::{Breadth, Held, Index, SearchStats, cores};
use crate::{Error, ErrorKind, Result};

/// Queries that a thread takes at a time.
const PORTION: usize = 32;

thread_local! {
    /// Working memory of this thread's searches.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Index {
    /// Finds the `k` nearest vectors: writes their ids and exact distances, nearest first, and returns how many there are.
    ///
    /// `ids` and `distances` hold at least `k` places; those beyond the answers stay as they were. Distances are the engine's, lower
    /// is nearer: see [`Metric`](crate::Metric).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the query does not fit or a value is outside its limits, [`ErrorKind::Corrupt`] if stored bytes are
    /// damaged.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        breadth: Breadth,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<usize> {
        let depth = depth(breadth)?;
        check_k(k)?;
        check_room(k, ids.len(), distances.len())?;
        SCRATCH.with_borrow_mut(|scratch| {
            let found = self.with_field(|field| self.one(field, query, k, depth, scratch, ids, distances));
            found.map(|(found, _)| found)
        })
    }

    /// As [`Index::search`] for many queries, one after another in `queries`, on `threads` threads, 0 for one a core. The answers to
    /// query `i` begin at place `i * k`; places without an answer hold the id `u64::MAX` and an infinite distance.
    ///
    /// # Errors
    ///
    /// As [`Index::search`].
    pub fn search_many(
        &self,
        queries: &[f32],
        k: usize,
        breadth: Breadth,
        threads: usize,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<SearchStats> {
        let depth = depth(breadth)?;
        check_k(k)?;
        let dim = self.dim() as usize;
        if !queries.len().is_multiple_of(dim) {
            let text =
                format!("queries hold {} values, which is no multiple of the dimension {dim}", queries.len());
            return Err(Error::invalid(text));
        }
        let count = queries.len() / dim;
        check_room(count * k, ids.len(), distances.len())?;
        ids[..count * k].fill(NO_ID);
        distances[..count * k].fill(f32::INFINITY);
        if count == 0 {
            return Ok(SearchStats::default());
        }
        let portions = queries
            .chunks(PORTION * dim)
            .zip(ids.chunks_mut(PORTION * k).zip(distances.chunks_mut(PORTION * k)));
        let portions: Vec<_> = portions.map(Mutex::new).collect();
        let threads = if threads == 0 { cores() } else { threads }.min(portions.len());
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let (hops, scored) = (AtomicU64::new(0), AtomicU64::new(0));
        self.with_field(|field| {
            on_threads(threads, &|_| {
                let mut scratch = Scratch::new();
                while let Some(portion) = portions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut portion = portion.lock();
                    let (queries, (ids, distances)) = &mut *portion;
                    let places = ids.chunks_mut(k).zip(distances.chunks_mut(k));
                    for (query, (ids, distances)) in queries.chunks(dim).zip(places) {
                        match self.one(field, query, k, depth, &mut scratch, ids, distances) {
                            Ok((_, stats)) => {
                                hops.fetch_add(stats.hops, Ordering::Relaxed);
                                scored.fetch_add(stats.distances, Ordering::Relaxed);
                            }
                            Err(error) => {
                                failed.lock().get_or_insert(error);
                                return;
                            }
                        }
                    }
                }
            });
        });
        match failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(SearchStats { hops: hops.into_inner(), distances: scored.into_inner() }),
        }
    }

    fn with_field<T>(&self, work: impl FnOnce(&Field<'_>) -> T) -> T {
        match &self.held {
            Held::Memory { index, .. } => work(&index.load().field()),
            Held::Mapped(mapped) => work(&mapped.index.field(&mapped.rows)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the question and the places of its answer")]
    fn one(
        &self,
        field: &Field<'_>,
        query: &[f32],
        k: usize,
        depth: Depth,
        scratch: &mut Scratch,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<(usize, Stats)> {
        self.shape.check(query).map_err(|e| Error::invalid(format!("query: {e}")))?;
        let (alive, budget) = (self.ids.alive(), Budget::unlimited());
        let ask = FieldAsk { query, depth, admit: &alive, budget: &budget, bound: None };
        let mut best = TopK::new(k, &BySlot);
        let stats = field.search(&ask, scratch, &mut best).map_err(failed)?;
        let best = best.into_sorted();
        for (hit, (id, distance)) in best.iter().zip(ids.iter_mut().zip(distances)) {
            (*id, *distance) = (self.ids.id(hit.slot), hit.score);
        }
        Ok((best.len(), stats))
    }
}

fn depth(breadth: Breadth) -> Result<Depth> {
    Ok(match breadth {
        Breadth::Auto => Depth::Auto,
        Breadth::Exact => Depth::Exact,
        Breadth::Ef(0) => return Err(Error::invalid("ef is 0: it must be at least 1")),
        Breadth::Ef(ef) => Depth::Breadth(ef),
        Breadth::Recall(recall) if (RECALL_MIN..=RECALL_MAX).contains(&recall) => Depth::Recall(recall),
        Breadth::Recall(recall) => {
            let text = format!("recall is {recall}: it must be {RECALL_MIN} to {RECALL_MAX}");
            return Err(Error::invalid(text));
        }
    })
}

fn check_k(k: usize) -> Result<()> {
    if (1..=LIMIT_MAX).contains(&k) {
        Ok(())
    } else {
        Err(Error::invalid(format!("k is {k}: it must be 1 to {LIMIT_MAX}")))
    }
}

fn check_room(places: usize, ids: usize, distances: usize) -> Result<()> {
    if ids >= places && distances >= places {
        return Ok(());
    }
    Err(Error::invalid(format!("room for {ids} ids and {distances} distances, but {places} are asked for")))
}

fn failed(error: SearchError) -> Error {
    match error {
        SearchError::Shape(e) => Error::invalid(format!("query: {e}")),
        // Nothing is filtered here: what is left is damage.
        e => Error::caused(ErrorKind::Corrupt, "stored vectors cannot be read", e),
    }
}
