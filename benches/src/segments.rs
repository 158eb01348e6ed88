//! `segments`: what segments cost that seal, merge and heal by themselves: loading, serving, merging, streaming, churn, rebuilding, small memory.
//!
//! It refuses to time an answer it has not checked: searches beside writes are compared with exact answers at the same Seq.

mod budget;
mod churn;
mod collections;
mod load;
mod merge;
mod rebuild;
mod stream;

use std::time::{Duration, Instant};

use nearfield::{Collection, Database, FieldKind, PointId, Query, TaskState, View};

use crate::Result;
use crate::dataset::DataSet;

use crate::place::Place;
use crate::report::Report;

pub(crate) use budget::run as run_budget;
pub(crate) use collections::{MEASURE, measure as measure_collections};

/// Results of a search.
const K: usize = 10;
/// So many fields are indexed while the set is loaded, of those of `filters`.
const FIELDS_AT_LOAD: usize = 4;

/// The parts by name.
type Part = fn(&DataSet, &Place, &mut Report) -> Result;

const PARTS: [(&str, Part); 7] = [
    ("load", load::run),
    ("merge", merge::run),
    ("stream", stream::run),
    ("churn", churn::run),
    ("rebuild", rebuild::run),
    ("collections", |_, place, report| collections::run(place, report)),
    ("budget", budget::measure),
];

/// Runs the parts named, or all.
pub(crate) fn run(set: &DataSet, only: &[String], place: &Place, report: &mut Report) -> Result {
    if let Some(unknown) = only.iter().find(|name| PARTS.iter().all(|(known, _)| known != name)) {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("segments has no part {unknown:?}; there are {}", names.join(", ")).into());
    }
    for (name, part) in PARTS {
        if only.is_empty() || only.iter().any(|one| one == name) {
            eprintln!("{name} ...");
            part(set, place, report)?;
        }
    }
    Ok(())
}

/// Makes the indexes of these fields.
fn index_fields(collection: &Collection, fields: &[(&str, FieldKind)]) -> Result {
    for (path, kind) in fields {
        collection.create_field_index(path, &kind.config())?;
    }
    Ok(())
}

/// Waits until nothing is left to be done in the background: sealed, merged, linked, indexed.
fn settle(database: &Database, collection: &Collection) -> Result {
    let task = database.wait_task(collection.optimize()?, None)?;
    match task.state {
        TaskState::Completed => Ok(()),
        state => Err(format!("optimising is {state:?}: {}", task.message).into()),
    }
}

/// Mean recall of all queries, against the exact answers of the set.
fn recall(collection: &Collection, set: &DataSet, shape: impl Fn(Query<'_>) -> Query<'_>) -> Result<f64> {
    let mut sum = 0.0;
    for query in 0..set.queries.rows {
        let hits = collection.search(&shape(Query::new(set.queries.row(query), K)))?;
        let ids: Vec<PointId> = hits.into_iter().map(|hit| hit.id).collect();
        sum += set.recall(query, &ids);
    }
    Ok(sum / set.queries.rows as f64)
}

/// The share of the exact answers at a view's Seq that a search of the same view finds.
fn recall_of(view: &View, vector: &[f32]) -> Result<f64> {
    let exact = view.search(&Query::new(vector, K).exact())?;
    let found = view.search(&Query::new(vector, K))?;
    let right = found.iter().filter(|hit| exact.iter().any(|other| other.id == hit.id)).count();
    Ok(if exact.is_empty() { 1.0 } else { right as f64 / exact.len() as f64 })
}

/// The time under which this share of the times lies.
fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the call returned and how long it took.
fn timed<T>(call: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let began = Instant::now();
    let done = call()?;
    Ok((done, began.elapsed()))
}
