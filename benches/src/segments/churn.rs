//! Deleting and reinserting the whole set again and again, while a reader checks that it sees what lives and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nearfield::{Collection, Durability, PointId, Query};

use super::{K, recall, settle};
use crate::Result;
use crate::dataset::DataSet;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, BATCH};

const TURNOVERS: usize = 10;
/// Parts of the set that are taken out and put back one after another.
const PARTS: usize = 5;

/// What the writer says of a point: what is being changed may be seen or not.
const LIVE: u8 = 0;
const DEAD: u8 = 1;
const CHANGING: u8 = 2;

/// The writer's word on every point.
struct Known(Vec<AtomicU8>);

impl Known {
    fn set(&self, rows: impl Iterator<Item = usize>, state: u8) {
        rows.for_each(|row| self.0[row].store(state, Ordering::SeqCst));
    }

    fn of(&self, row: usize) -> u8 {
        self.0[row].load(Ordering::SeqCst)
    }
}

pub(super) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let (database, collection) = stored::create(&place.join("churn"), set, Durability::Process)?;
    for batch in set.batches(BATCH)? {
        collection.upsert(batch)?;
    }
    settle(&database, &collection)?;
    let (fresh, fresh_bytes) = (recall(&collection, set, |query| query)?, collection.stats()?.disk.total());
    let known = Known((0..set.base.rows).map(|_| AtomicU8::new(LIVE)).collect());
    let done = AtomicBool::new(false);
    let checked = std::thread::scope(|scope| {
        let reader = scope.spawn(|| check(&collection, set, &known, &done));
        let written = (0..TURNOVERS).try_for_each(|turnover| {
            eprintln!("  turnover {} of {TURNOVERS}", turnover + 1);
            turn(&collection, set, &known)
        });
        done.store(true, Ordering::Relaxed);
        let checked = reader.join().map_err(|_| "the reader panicked")?;
        written.and(checked)
    })?;
    settle(&database, &collection)?;
    stored::verify(&collection, set, set.base.rows)?;
    let (now, bytes) = (recall(&collection, set, |query| query)?, collection.stats()?.disk.total());
    let note = format!("{TURNOVERS} turnovers; fresh {fresh:.4}, now {now:.4}");
    report.add("churn_recall_lost", fresh - now, "", note);
    let note = format!("{:.0} MB, fresh {:.0} MB", bytes as f64 / 1e6, fresh_bytes as f64 / 1e6);
    report.add("churn_disk_over_fresh", bytes as f64 / fresh_bytes as f64, "", note);
    report.add(
        "churn_wrong",
        checked.wrong as f64,
        "",
        format!("of {} looks at points while they came and went", checked.looks),
    );
    drop(collection);
    database.close()?;
    place.remove("churn")
}

fn turn(collection: &Collection, set: &DataSet, known: &Known) -> Result {
    for part in 0..PARTS {
        let rows: Vec<usize> = (part..set.base.rows).step_by(PARTS).collect();
        for rows in rows.chunks(BATCH) {
            known.set(rows.iter().copied(), CHANGING);
            let ids: Vec<PointId> = rows.iter().map(|row| PointId::from(*row as u64)).collect();
            if collection.delete(&ids)? != ids.len() as u64 {
                return Err("a point that was written was not there to be deleted".into());
            }
            known.set(rows.iter().copied(), DEAD);
        }
        for rows in rows.chunks(BATCH) {
            known.set(rows.iter().copied(), CHANGING);
            collection.upsert(rows.iter().map(|row| set.point(*row)).collect::<Result<_>>()?)?;
            known.set(rows.iter().copied(), LIVE);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Checked {
    looks: usize,
    wrong: usize,
}

/// A point that was live before the view was taken and after it was read must be there; one that was dead must not.
fn check(collection: &Collection, set: &DataSet, known: &Known, done: &AtomicBool) -> Result<Checked> {
    let mut checked = Checked::default();
    for turn in 0usize.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let probes: Vec<usize> = (0..64).map(|at| (turn * 64 + at) * 7_919 % set.base.rows).collect();
        let before: Vec<u8> = (0..set.base.rows).map(|row| known.of(row)).collect();
        let view = collection.view();
        let hits = view.search(&Query::new(set.queries.row(turn % set.queries.rows), K))?;
        let there: Vec<bool> = probes.iter().map(|row| view.contains(&PointId::from(*row as u64))).collect();
        let steady = |row: usize, state: u8| before[row] == state && known.of(row) == state;
        for hit in &hits {
            let PointId::Number(row) = hit.id else { return Err("a point that nobody wrote".into()) };
            checked.wrong += usize::from(steady(usize::try_from(row)?, DEAD));
        }
        for (&row, &there) in probes.iter().zip(&there) {
            checked.wrong += usize::from(steady(row, LIVE) && !there || steady(row, DEAD) && there);
        }
        checked.looks += hits.len() + probes.len();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(checked)
}
