//! `snapshots`: making, sharing, restoring and carrying snapshots of the whole set.

use std::collections::HashSet;
use std::fs;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use nearfield::{Collection, Database, Durability, Progress, Replace, SnapshotInfo, SnapshotName};

use crate::Result;
use crate::dataset::DataSet;
use crate::disk::median;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, NAME};

/// How often each step is timed.
const REPEATS: usize = 7;
/// Snapshots of changing data.
const ROUNDS: usize = 10;

/// Runs the benchmark.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("snapshots");
    stored::build_sealed(&path, set)?;
    let (db, collection) = stored::open(&path, Durability::Process)?;
    collection.wait_indexed()?;
    // The indexes are named by a manifest of their own, and the log is empty.
    collection.flush()?;
    let data = collection.stats()?.disk;
    report.add("points", collection.count()? as f64, "", "sealed and indexed");
    create(set, &collection, &path, report)?;
    rounds(set, &db, &collection, data.total() - data.log, report)?;
    restore(&db, report)?;
    carry(&db, place, report)?;
    stored::verify(&db.collection("restored-0")?, set, set.base.rows)?;
    drop(collection);
    Ok(db.close()?)
}

fn name(n: impl std::fmt::Display) -> SnapshotName {
    SnapshotName::of(NAME, format!("s{n}"))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A snapshot of the whole set after one more write, so that there is a log to be ended.
fn create(set: &DataSet, collection: &Collection, path: &Path, report: &mut Report) -> Result {
    let (mut times, mut syncs, mut copied) = (Vec::new(), Vec::new(), 0);
    for n in 0..REPEATS {
        collection.upsert(vec![set.point(n)?])?;
        let began = Instant::now();
        // What ending the log costs by itself: the bytes of one write to the disk.
        collection.sync()?;
        syncs.push(began.elapsed());
        collection.upsert(vec![set.point(n)?])?;
        let before = own_bytes(&path.join("snapshots"));
        let began = Instant::now();
        collection.create_snapshot(&format!("s{n}"), "")?;
        times.push(began.elapsed());
        copied = copied.max(own_bytes(&path.join("snapshots")).saturating_sub(before));
    }
    report.add("create_ms", ms(median(&times)), "ms", format!("of the whole set; median of {REPEATS}"));
    let slowest = times.iter().max().copied().unwrap_or_default();
    report.add("create_max_ms", ms(slowest), "ms", "the slowest of them");
    report.add("sync_ms", ms(median(&syncs)), "ms", "one write synced, for comparison");
    report.add(
        "create_new_mb",
        copied as f64 / 1e6,
        "MB",
        "bytes that no live file shares, the most of them",
    );
    Ok(())
}

/// Snapshots of data of which a hundredth changes in between.
fn rounds(set: &DataSet, db: &Database, collection: &Collection, data: u64, report: &mut Report) -> Result {
    let mut seen: HashSet<String> = HashSet::new();
    let mut new = 0;
    let mut note = |info: &SnapshotInfo| -> u64 {
        let fresh = info.files.iter().filter(|file| seen.insert(file.digest.clone()));
        fresh.map(|file| file.bytes).sum()
    };
    for n in 0..REPEATS {
        note(&db.describe_snapshot(&name(n))?);
    }
    let change = (set.base.rows / 100).max(1);
    for round in 0..ROUNDS {
        let rows = round * change..(round + 1) * change;
        let points = rows.map(|row| set.point(row % set.base.rows)).collect::<Result<Vec<_>>>()?;
        for batch in points.chunks(stored::BATCH) {
            collection.upsert(batch.to_vec())?;
        }
        collection.flush()?;
        new = note(&collection.create_snapshot(&format!("round-{round}"), "")?);
    }
    report.add(
        "tenth_over_data",
        new as f64 / data as f64,
        "",
        "files that only the tenth snapshot has, over those of the live data, 1 % of the points rewritten before each",
    );
    Ok(())
}

fn restore(db: &Database, report: &mut Report) -> Result {
    let (mut times, mut copied) = (Vec::new(), 0);
    for n in 0..REPEATS {
        let target = format!("restored-{n}");
        let began = Instant::now();
        let done = db.restore_snapshot_with(&name(0), None, &target, Replace::Never, &Progress::default())?;
        times.push(began.elapsed());
        copied = done.copied;
        if n > 0 {
            db.delete_collection(&target)?;
        }
    }
    report.add(
        "restore_ms",
        ms(median(&times)),
        "ms",
        format!("to a new collection, digests compared; median of {REPEATS}, warm"),
    );
    report.add("restore_copied_mb", copied as f64 / 1e6, "MB", "of it copied, the rest linked");
    Ok(())
}

fn carry(db: &Database, place: &Place, report: &mut Report) -> Result {
    let (file, other) = (place.join("archive.tar"), place.join("copy.tar"));
    let (mut writes, mut reads, mut copies, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..3 {
        let began = Instant::now();
        let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(&file)?);
        bytes = db.archive_snapshot(&name(0), &mut out, &Progress::default())?.bytes;
        out.flush()?;
        out.get_ref().sync_all()?;
        writes.push(began.elapsed());
        let began = Instant::now();
        fs::copy(&file, &other)?;
        fs::File::open(&other)?.sync_all()?;
        copies.push(began.elapsed());
        // Into a database that has nothing of it.
        let fresh = place.join("fresh");
        let empty = Database::open(&fresh, nearfield::Options::default())?;
        let mut from = BufReader::with_capacity(1 << 20, fs::File::open(&file)?);
        let began = Instant::now();
        empty.recover_archive(&mut from, None, None, None, Replace::Never, &Progress::default())?;
        reads.push(began.elapsed());
        empty.close()?;
        place.remove("fresh")?;
    }
    let (write, read, copy) = (median(&writes), median(&reads), median(&copies));
    report.add("archive_mb", bytes as f64 / 1e6, "MB", "one file");
    report.add("cp_ms", ms(copy), "ms", "copying and syncing those bytes; median of 3");
    report.add("archive_ms", ms(write), "ms", "writing and syncing it");
    report.add("recover_ms", ms(read), "ms", "restoring it in an empty database");
    report.add("archive_over_cp", write.as_secs_f64() / copy.as_secs_f64(), "", "writing it over copying");
    report.add("recover_over_cp", read.as_secs_f64() / copy.as_secs_f64(), "", "restoring it over copying");
    Ok(())
}

/// Bytes of the files below `path` that have no other name.
fn own_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let own = entries.filter_map(std::result::Result::ok).map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => own_bytes(&entry.path()),
        Ok(about) if about.nlink() == 1 => about.blocks() * 512,
        _ => 0,
    });
    own.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let mut report = Report::new("snapshots");
        run(&small(300, 8), &place, &mut report).unwrap();
        assert_eq!(report.value("points"), Some(300.0));
        for figure in ["create_ms", "restore_ms", "archive_over_cp", "recover_over_cp"] {
            assert!(report.value(figure).unwrap() > 0.0, "{figure}");
        }
    }
}
