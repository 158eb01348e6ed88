//! Writes of one point each in `sync`: one writer beside bare append and fdatasync, then many writers at once.

use std::time::{Duration, Instant};

use nearfield::{Collection, Durability};

use crate::dataset::DataSet;
use crate::disk::BareLog;
use crate::place::Place;
use crate::report::Report;
use crate::{Result, stored};

const WRITERS: usize = 64;

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Points of the one writer, and records of the bare log.
    writes: usize,
    /// The database and the bare log take turns of this many writes.
    turn: usize,
    /// Points of each of the many writers.
    writes_a_writer: usize,
}

impl Load {
    /// What the goals are judged by.
    pub(crate) const FULL: Load = Load { writes: 2_000, turn: 100, writes_a_writer: 50 };
}

/// Adds the figures of single writes.
pub(crate) fn measure(set: &DataSet, place: &Place, load: Load, report: &mut Report) -> Result {
    let Load { writes, writes_a_writer, .. } = load;
    let path = place.join("singles");
    let (database, collection) = stored::create(&path, set, Durability::Sync)?;
    let mut log = BareLog::create(&place.join("bare.log"))?;
    let (one, bare) = take_turns(set, &collection, load, &mut log)?;
    let many = all_at_once(set, &collection, writes_a_writer)?;
    let total = (WRITERS * writes_a_writer).max(writes).min(set.base.rows);
    drop(collection);
    database.close()?;
    let (database, collection) = stored::open(&path, Durability::Sync)?;
    stored::verify(&collection, set, total)?;
    drop(collection);
    database.close()?;

    let rate = |writes: usize, time: Duration| writes as f64 / time.as_secs_f64();
    let (one, bare, many) = (rate(writes, one), rate(writes, bare), rate(WRITERS * writes_a_writer, many));
    let sync_us = log.median_sync().as_secs_f64() * 1e6;
    report.add(
        "bare_sync_us",
        sync_us,
        "us",
        format!("one fdatasync after a bare append, median of {writes}"),
    );
    report.add("bare_per_s", bare, "/s", "bare append + fdatasync, the bytes of one point each");
    report.add("single_per_s", one, "/s", format!("one writer in `sync`, one point each, {writes} of them"));
    report.add("single_over_bare", one / bare, "", "its rate by the bare rate");
    report.add(
        "writers_64_per_s",
        many,
        "/s",
        format!("{WRITERS} writers in `sync` at once, {writes_a_writer} points each"),
    );
    report.add("writers_64_over_one", many / one, "", "their rate by that of one");
    Ok(())
}

/// The time of all writes to the database and of all appends to the bare log.
fn take_turns(
    set: &DataSet,
    collection: &Collection,
    load: Load,
    log: &mut BareLog,
) -> Result<(Duration, Duration)> {
    let (mut stored, mut bare) = (Duration::ZERO, Duration::ZERO);
    let rows: Vec<usize> = (0..load.writes).map(|write| write % set.base.rows).collect();
    for turn in rows.chunks(load.turn) {
        let points: Vec<_> = turn.iter().map(|row| set.point(*row)).collect::<Result<_>>()?;
        let records: Vec<Vec<u8>> = turn.iter().map(|row| set.row_bytes(*row)).collect();
        let began = Instant::now();
        for point in points {
            collection.upsert(vec![point])?;
        }
        stored += began.elapsed();
        let began = Instant::now();
        for record in &records {
            log.append(record)?;
        }
        bare += began.elapsed();
    }
    Ok((stored, bare))
}

/// The time until every writer has its last acknowledgement.
fn all_at_once(set: &DataSet, collection: &Collection, writes_a_writer: usize) -> Result<Duration> {
    let mut shares = Vec::new();
    for writer in 0..WRITERS {
        let rows = (0..writes_a_writer).map(|write| (writer * writes_a_writer + write) % set.base.rows);
        shares.push(rows.map(|row| set.point(row)).collect::<Result<Vec<_>>>()?);
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        let write = |share: Vec<nearfield::Point>| {
            let collection = collection.clone();
            move || share.into_iter().try_for_each(|point| collection.upsert(vec![point]).map(drop))
        };
        let writers: Vec<_> = shares.into_iter().map(|share| scope.spawn(write(share))).collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(done) => done.map_err(crate::Error::from),
            Err(_) => Err("a writer panicked".into()),
        })
    })?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let mut report = Report::new("import");
        let load = Load { writes: 60, turn: 20, writes_a_writer: 2 };
        measure(&small(64, 8), &place, load, &mut report).unwrap();
        for figure in ["bare_sync_us", "single_over_bare", "writers_64_over_one"] {
            assert!(report.value(figure).unwrap() > 0.0, "{figure}");
        }
    }
}
