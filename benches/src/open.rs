//! `open`: reopening the sealed set while its files are in the page cache.

use std::time::Instant;

use nearfield::{Durability, Query};

use crate::dataset::DataSet;
use crate::disk::median;
use crate::place::Place;
use crate::report::Report;
use crate::{Result, stored};

const REPEATS: usize = 15;

/// Runs the benchmark.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("open");
    stored::build_sealed(&path, set)?;
    let (mut opens, mut searches) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let began = Instant::now();
        let (database, collection) = stored::open(&path, Durability::Process)?;
        let count = collection.count()?;
        opens.push(began.elapsed());
        if count != set.base.rows as u64 {
            return Err(format!("{count} points after reopening, {} were written", set.base.rows).into());
        }
        let began = Instant::now();
        collection.search(&Query::new(set.queries.row(0), 10))?;
        searches.push(began.elapsed());
        drop(collection);
        database.close()?;
    }
    let (database, collection) = stored::open(&path, Durability::Process)?;
    stored::verify(&collection, set, set.base.rows)?;
    let stats = collection.stats()?;
    drop(collection);
    database.close()?;
    let slowest = opens.iter().max().copied().unwrap_or_default();
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    report.add(
        "points",
        stats.points as f64,
        "",
        format!("in {} sealed segments, {} not sealed", stats.segments, stats.growing_rows),
    );
    report.add(
        "disk_mb",
        stats.disk.total() as f64 / 1e6,
        "MB",
        "on disk, room reserved for the log included",
    );
    report.add(
        "reopen_ms",
        ms(median(&opens)),
        "ms",
        format!("open, find the collection, count; median of {REPEATS}, warm"),
    );
    report.add("reopen_max_ms", ms(slowest), "ms", "the slowest of them");
    report.add(
        "first_search_ms",
        ms(median(&searches)),
        "ms",
        "the first exact search after it, checksums included",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let mut report = Report::new("open");
        run(&small(300, 8), &place, &mut report).unwrap();
        assert_eq!(report.value("points"), Some(300.0));
        assert!(report.value("reopen_ms").unwrap() > 0.0);
    }
}
