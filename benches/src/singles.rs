//! Writes of one point each in `sync`: one writer beside bare append and fdatasync, then many writers at once.

use std::time::{Duration, Instant};

use nearfield::{Collection, Durability};

use crate::dataset::DataSet;
use crate::disk::BareLog;
use crate::place::Place;
use crate::report::Report;
use crate::{Result, stored};

const WRITES: usize = 2_000;
/// The database and the bare log take turns of this many writes.
const TURN: usize = 100;
const WRITERS: usize = 64;
const WRITES_A_WRITER: usize = 50;

/// Adds the figures of single writes.
pub(crate) fn measure(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("singles");
    let (database, collection) = stored::create(&path, set, Durability::Sync)?;
    let mut log = BareLog::create(&place.join("bare.log"))?;
    let (one, bare) = take_turns(set, &collection, &mut log)?;
    let many = all_at_once(set, &collection)?;
    let total = (WRITERS * WRITES_A_WRITER).max(WRITES).min(set.base.rows);
    drop(collection);
    database.close()?;
    let (database, collection) = stored::open(&path, Durability::Sync)?;
    stored::verify(&collection, set, total)?;
    drop(collection);
    database.close()?;

    let rate = |writes: usize, time: Duration| writes as f64 / time.as_secs_f64();
    let (one, bare, many) = (rate(WRITES, one), rate(WRITES, bare), rate(WRITERS * WRITES_A_WRITER, many));
    let sync_us = log.median_sync().as_secs_f64() * 1e6;
    report.add(
        "bare_sync_us",
        sync_us,
        "us",
        format!("one fdatasync after a bare append, median of {WRITES}"),
    );
    report.add("bare_per_s", bare, "/s", "bare append + fdatasync, the bytes of one point each");
    report.add("single_per_s", one, "/s", format!("one writer in `sync`, one point each, {WRITES} of them"));
    report.add("single_over_bare", one / bare, "", "its rate by the bare rate");
    report.add(
        "writers_64_per_s",
        many,
        "/s",
        format!("{WRITERS} writers in `sync` at once, {WRITES_A_WRITER} points each"),
    );
    report.add("writers_64_over_one", many / one, "", "their rate by that of one");
    Ok(())
}

/// The time of all writes to the database and of all appends to the bare log.
fn take_turns(set: &DataSet, collection: &Collection, log: &mut BareLog) -> Result<(Duration, Duration)> {
    let (mut stored, mut bare) = (Duration::ZERO, Duration::ZERO);
    let rows: Vec<usize> = (0..WRITES).map(|write| write % set.base.rows).collect();
    for turn in rows.chunks(TURN) {
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
fn all_at_once(set: &DataSet, collection: &Collection) -> Result<Duration> {
    let mut shares = Vec::new();
    for writer in 0..WRITERS {
        let rows = (0..WRITES_A_WRITER).map(|write| (writer * WRITES_A_WRITER + write) % set.base.rows);
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
        measure(&small(64, 8), &place, &mut report).unwrap();
        for figure in ["bare_sync_us", "single_over_bare", "writers_64_over_one"] {
            assert!(report.value(figure).unwrap() > 0.0, "{figure}");
        }
    }
}
