//! Searches: the rules of the library over a view of the engine.

use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield::filter::Filter;
use nearfield::{Metric, Object, PackedPayload, PointId, Query, View, limits};
use nearfield_platform::{Clock, SystemClock, on_threads};
use parking_lot::Mutex;

use crate::failure::{Failure, check_signals};
use crate::wide;

/// What a quantised search is content with; others look as hard as the engine finds right, which is harder.
const QUANTIZED_RECALL: f32 = 0.95;
/// The engine's largest width.
const EF_MAX: usize = 1 << 20;
/// Queries worth a thread of their own.
const QUERIES_A_THREAD: usize = 4;
/// How long Ctrl-C waits at most, where queries are quick.
const SIGNALS_MS: u64 = 50;

/// A record that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: PointId,
    pub(crate) distance: f32,
    pub(crate) metadata: Metadata,
}

/// The metadata of a record: most callers look at none of it, so it is left as it is stored.
#[derive(Clone, Debug)]
pub(crate) enum Metadata {
    Packed(PackedPayload),
    Whole(Object),
}

impl Metadata {
    /// The object.
    pub(crate) fn unpack(&self) -> Result<Object, Failure> {
        match self {
            Metadata::Packed(packed) => Ok(packed.unpack()?),
            Metadata::Whole(object) => Ok(object.clone()),
        }
    }
}

/// What is asked for besides the vector.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) k: usize,
    pub(crate) ef: Option<usize>,
    pub(crate) filter: Option<Filter>,
    pub(crate) max_distance: Option<f32>,
    pub(crate) quantized: bool,
    pub(crate) metric: Metric,
}

/// The nearest records of one query.
pub(crate) fn search(view: &View, vector: &[f32], ask: &Ask) -> Result<Vec<Found>, Failure> {
    if ask.k == 0 {
        return Ok(Vec::new());
    }
    if ask.k > limits::LIMIT_MAX {
        let count = usize::try_from(view.count()).unwrap_or(usize::MAX);
        if count > limits::LIMIT_MAX {
            return wide::search(view, vector, ask);
        }
    }
    let limit = ask.k.min(limits::LIMIT_MAX);
    let mut query = Query::new(vector, limit);
    query.filter = ask.filter.as_ref();
    query = match ask.ef {
        // A walk keeps as many candidates as it is to find, or it could not find them.
        Some(ef) => query.ef(ef.max(limit).min(EF_MAX) as u32),
        None if ask.quantized => query.recall(QUANTIZED_RECALL),
        None => query,
    };
    let mut hits = view.search_packed(&query)?;
    if ask.filter.is_none() && hits.len() < limit && (hits.len() as u64) < view.count() {
        hits = view.search_packed(&query.exact())?;
    }
    let found = hits.into_iter().map(|hit| Found {
        id: hit.id,
        distance: hit.distance,
        metadata: Metadata::Packed(hit.payload),
    });
    let mut found: Vec<Found> = found.collect();
    cut(&mut found, ask.max_distance);
    Ok(found)
}

/// Leaves out what is farther than wanted.
pub(crate) fn cut(hits: &mut Vec<Found>, max_distance: Option<f32>) {
    if let Some(most) = max_distance {
        let near = hits.iter().take_while(|hit| hit.distance <= most).count();
        hits.truncate(near);
    }
}

/// The nearest records of each query, in their order; on all processors.
pub(crate) fn search_many(
    view: &View,
    vectors: &[f32],
    dim: usize,
    ask: &Ask,
) -> Result<Vec<Vec<Found>>, Failure> {
    let count = vectors.len() / dim.max(1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(count / QUERIES_A_THREAD).max(1);
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Vec<Found>)>> = Mutex::new(Vec::with_capacity(count));
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let fail = |failure| {
        // Nobody takes another query.
        next.store(count, Ordering::Relaxed);
        failed.lock().get_or_insert(failure);
    };
    on_threads(threads, &|number| {
        let clock = SystemClock::new();
        let mut asked = clock.now_ms();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(vector) = vectors.get(at.saturating_mul(dim)..).and_then(|rest| rest.get(..dim)) else {
                return;
            };
            match search(view, vector, ask) {
                Ok(hits) => found.lock().push((at, hits)),
                Err(failure) => return fail(failure),
            }
            // Number 0 is the caller, the only one whom a signal may concern.
            if number == 0 && clock.now_ms().saturating_sub(asked) >= SIGNALS_MS {
                asked = clock.now_ms();
                if let Err(failure) = check_signals() {
                    return fail(failure);
                }
            }
        }
    });
    match failed.into_inner() {
        Some(failure) => Err(failure),
        None => {
            let mut found = found.into_inner();
            found.sort_unstable_by_key(|(at, _)| *at);
            Ok(found.into_iter().map(|(_, hits)| hits).collect())
        }
    }
}
