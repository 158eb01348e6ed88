//! Building every index anew with m 32 in the place of 16, while points are written and searched; and giving one up half-way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearfield::{Collection, Database, Durability, IndexConfig, Query, TaskId, TaskState};

use super::{recall, recall_of, settle};
use crate::Result;
use crate::dataset::DataSet;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, BATCH};

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Points that are written again at a time, and the pause between two writes.
const REWRITTEN: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// What a reader and a writer met beside a task.
#[derive(Default)]
struct Met {
    recalls: Vec<f64>,
    searches: usize,
    written: usize,
}

pub(super) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let (database, collection) = stored::create(&place.join("rebuild"), set, Durability::Process)?;
    for batch in set.batches(BATCH)? {
        collection.upsert(batch)?;
    }
    settle(&database, &collection)?;
    let before = recall(&collection, set, |query| query.ef(24))?;

    // Given up half-way: the old index serves on.
    collection.set_index("", IndexConfig { m: 32, ..IndexConfig::default() })?;
    let task = collection.rebuild(None)?;
    let cancelled = watch(&database, task, |progress| progress >= 0.3)?;
    let state = database.wait_task(task, None)?.state;
    if state != TaskState::Cancelled {
        return Err(format!("a rebuild that was cancelled at {cancelled:.2} is {state:?}").into());
    }
    let kept = recall(&collection, set, |query| query.ef(24))?;

    let done = AtomicBool::new(false);
    let began = Instant::now();
    let task = collection.rebuild(None)?;
    let met = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&collection, set, &done));
        let writer = scope.spawn(|| write(&collection, set, &done));
        let watched = watch(&database, task, |_| false);
        done.store(true, Ordering::Relaxed);
        let read = reader.join().map_err(|_| "the reader panicked")?;
        let written = writer.join().map_err(|_| "the writer panicked")?;
        watched?;
        Ok::<Met, crate::Error>(Met { written: written?, ..read? })
    })?;
    let took = began.elapsed();
    let state = database.wait_task(task, None)?.state;
    if state != TaskState::Completed {
        return Err(format!("the rebuild is {state:?}").into());
    }
    stored::verify(&collection, set, set.base.rows)?;
    let after = recall(&collection, set, |query| query.ef(24))?;
    let worst = met.recalls.iter().copied().fold(1.0, f64::min);
    let mean = met.recalls.iter().sum::<f64>() / met.recalls.len().max(1) as f64;
    let note = format!("m 16 to 32 beside {} searches and {} rewritten points", met.searches, met.written);
    report.add("rebuild_s", took.as_secs_f64(), "s", note);
    let note = format!(
        "mean of {} compared with exact answers at their Seq meanwhile; the worst {worst:.2}",
        met.recalls.len()
    );
    report.add("rebuild_recall", mean, "", note);
    let note = format!("at ef 24: m 16 {before:.4}, given up half-way {kept:.4}, m 32 {after:.4}");
    report.add("rebuild_recall_gain", after - before, "", note);
    drop(collection);
    database.close()?;
    place.remove("rebuild")
}

/// Watches a task until it ends, and cancels it once `enough` says so; its progress must never go back. The last progress seen, of 1.
fn watch(database: &Database, task: TaskId, enough: impl Fn(f64) -> bool) -> Result<f64> {
    let (mut last, mut is_cancelled) = (0.0, false);
    loop {
        let now = database.task(task)?;
        let progress = now.progress / 100.0;
        if progress < last {
            return Err(format!("progress went back from {last} to {progress}").into());
        }
        last = progress;
        if now.state.is_finished() {
            return Ok(last);
        }
        if !is_cancelled && enough(progress) {
            is_cancelled = database.cancel_task(task)?;
        }
        std::thread::sleep(LOOK);
    }
}

fn read(collection: &Collection, set: &DataSet, done: &AtomicBool) -> Result<Met> {
    let mut met = Met::default();
    while !done.load(Ordering::Relaxed) {
        let vector = set.queries.row(met.searches % set.queries.rows);
        let view = collection.view();
        if met.searches.is_multiple_of(20) {
            met.recalls.push(recall_of(&view, vector)?);
        } else {
            view.search(&Query::new(vector, super::K))?;
        }
        met.searches += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(met)
}

/// Writes points as they are again and again; how many.
fn write(collection: &Collection, set: &DataSet, done: &AtomicBool) -> Result<usize> {
    let mut written = 0;
    while !done.load(Ordering::Relaxed) {
        let rows = (0..REWRITTEN).map(|at| (written + at) * 31 % set.base.rows);
        collection.upsert(rows.map(|row| set.point(row)).collect::<Result<_>>()?)?;
        written += REWRITTEN;
        std::thread::sleep(PAUSE);
    }
    Ok(written)
}
