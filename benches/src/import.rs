//! `import`: the whole set with payload in both durabilities, beside writing the same bytes plainly; then single points.
//!
//! The points are made before the clock starts. The clock stops after a clean close and a verified reopen: every point counted,
//! some read back and compared. What is still to be sealed then is sealed under a second clock.

use std::time::{Duration, Instant};

use nearfield::Durability;

use crate::dataset::DataSet;
use crate::disk::{median, plain_write};
use crate::place::Place;
use crate::report::Report;
use crate::{Result, singles, stored};

/// What one import took.
struct Times {
    acknowledged: Duration,
    reopened: Duration,
    settled: Duration,
}

/// Runs the benchmark.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let rows: Vec<usize> = (0..set.base.rows).collect();
    let part = |rows: &[usize]| rows.iter().flat_map(|row| set.row_bytes(*row)).collect();
    let parts: Vec<Vec<u8>> = rows.chunks(stored::BATCH).map(part).collect();
    let mb = parts.iter().map(Vec::len).sum::<usize>() as f64 / 1e6;

    let mut plain = vec![plain(place, &parts)?];
    let process = import(set, place, Durability::Process)?;
    plain.push(self::plain(place, &parts)?);
    let sync = import(set, place, Durability::Sync)?;
    plain.push(self::plain(place, &parts)?);
    let plain = median(&plain);

    report.add(
        "points",
        rows.len() as f64,
        "",
        format!("with payload, {mb:.0} MB, batches of {}", stored::BATCH),
    );
    let plain_rate = rows.len() as f64 / plain.as_secs_f64();
    let note = format!(
        "writing the same bytes to one file, one sync: {:.0} MB/s, median of 3",
        mb / plain.as_secs_f64()
    );
    report.add("plain_points_per_s", plain_rate, "/s", note);
    let names = ["process_points_per_s", "process_settled_s", "process_over_plain"];
    process.add(names, rows.len(), plain_rate, report);
    let names = ["sync_points_per_s", "sync_settled_s", "sync_over_plain"];
    sync.add(names, rows.len(), plain_rate, report);
    singles::measure(set, place, singles::Load::FULL, report)
}

impl Times {
    /// Adds rate, time until settled and the rate by the plain rate.
    fn add(
        &self,
        [rate, settled, ratio]: [&'static str; 3],
        rows: usize,
        plain_rate: f64,
        report: &mut Report,
    ) {
        let [acknowledged, reopened, all] =
            [self.acknowledged, self.reopened, self.settled].map(|time| time.as_secs_f64());
        let points_per_s = rows as f64 / reopened;
        let note = format!(
            "until a clean close and a verified reopen: {acknowledged:.2} s acknowledged, {reopened:.2} s reopened"
        );
        report.add(rate, points_per_s, "/s", note);
        report.add(settled, all, "s", "until all of it is sealed and settled");
        report.add(ratio, points_per_s / plain_rate, "", "its rate by the plain rate");
    }
}

fn plain(place: &Place, parts: &[Vec<u8>]) -> Result<Duration> {
    let time = plain_write(&place.join("plain"), parts)?;
    place.remove("plain")?;
    Ok(time)
}

fn import(set: &DataSet, place: &Place, durability: Durability) -> Result<Times> {
    let path = place.join("import");
    let (database, collection) = stored::create(&path, set, durability)?;
    let batches = set.batches(stored::BATCH)?;
    let began = Instant::now();
    for batch in batches {
        collection.upsert(batch)?;
    }
    let acknowledged = began.elapsed();
    drop(collection);
    database.close()?;
    let (database, collection) = stored::open(&path, durability)?;
    stored::verify(&collection, set, set.base.rows)?;
    let reopened = began.elapsed();
    collection.flush()?;
    let settled = began.elapsed();
    let left = collection.stats()?.growing_rows;
    if left > 0 {
        return Err(format!("{left} rows are not sealed after a flush").into());
    }
    drop(collection);
    database.close()?;
    place.remove("import")?;
    Ok(Times { acknowledged, reopened, settled })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let set = small(1_500, 8);
        for durability in [Durability::Process, Durability::Sync] {
            let times = import(&set, &place, durability).unwrap();
            assert!(times.acknowledged <= times.reopened && times.reopened <= times.settled);
        }
        assert!(plain(&place, &[vec![0; 100]]).unwrap() > Duration::ZERO);
    }
}
