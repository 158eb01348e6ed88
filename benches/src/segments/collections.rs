//! Thousands of small collections: what opening and touching them all takes, and what one costs at rest.
//!
//! They are made by one process and measured in another, whose memory and descriptors are those of the collections alone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nearfield::{CollectionConfig, Database, Metric, Object, Options, Point, Query};
use serde_json::{Value, json};

use crate::Result;
use crate::place::Place;
use crate::report::Report;

/// The word that starts this program as the process that is measured.
pub(crate) const MEASURE: &str = "measure-collections";
const COLLECTIONS: u64 = 2_000;
const POINTS: u64 = 100;
const DIM: usize = 384;
/// At rest means that nothing was asked for so long.
const REST: Duration = Duration::from_secs(2);

/// Makes them, measures them and drops them.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result {
    let path = place.join("collections");
    let began = Instant::now();
    make(&path, COLLECTIONS)?;
    let made = began.elapsed();
    let output = Command::new(std::env::current_exe()?).arg(MEASURE).arg(&path).output()?;
    if !output.status.success() {
        return Err(format!(
            "the process that is measured failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
    let each = |name: &str| number(name) / COLLECTIONS as f64;
    report.add("collections", COLLECTIONS as f64, "", format!("of {POINTS} points of {DIM} numbers"));
    report.add("collections_made_s", made.as_secs_f64(), "s", "to make and fill them all");
    report.add("collections_open_s", number("open_s"), "s", "to open the database and ask each once, warm");
    report.add("collections_fds_each", each("fds"), "", "descriptors of each at rest");
    report.add(
        "collections_mib_each",
        each("resident_bytes") / f64::from(1 << 20),
        "MiB",
        "resident of each at rest",
    );
    report.add("collections_rest_cpu", number("rest_cpu"), "", "share of a processor that they take at rest");
    report.add("collections_write_s", number("write_s"), "s", "to write a point to each after it");
    report.add("collections_fds_written_each", each("fds_written"), "", "descriptors of each after it");
    report.add("collections_drop_s", number("drop_s"), "s", "to drop them all");
    report.add("collections_left_mb", number("left_bytes") / 1e6, "MB", "on the disk when all are dropped");
    Ok(())
}

fn make(path: &Path, collections: u64) -> Result {
    let db = Database::open(path, Options::default())?;
    for number in 0..collections {
        let collection = db.create_collection(&name(number), CollectionConfig::new(DIM, Metric::Cosine))?;
        collection.upsert((0..POINTS).map(|id| point(number, id)).collect())?;
    }
    Ok(db.close()?)
}

fn name(number: u64) -> String {
    format!("tenant-{number:05}")
}

fn point(collection: u64, id: u64) -> Point {
    let payload = Object::from_entries([("text".to_owned(), format!("point {id} of {collection}").into())]);
    Point::new(id, vector(collection, id)).payload(payload)
}

fn vector(collection: u64, id: u64) -> Vec<f32> {
    (0..DIM).map(|at| ((collection + 7 * id + 13 * at as u64) % 101) as f32 - 50.0).collect()
}

/// The process that is measured: prints its figures as JSON.
pub(crate) fn measure(path: &Path) -> Result {
    let (fds, resident) = (descriptors()?, resident()?);
    let began = Instant::now();
    let db = Database::open(path, Options::default())?;
    let names = db.collections();
    for (number, name) in names.iter().enumerate() {
        let collection = db.collection(name)?;
        let hits = collection.search(&Query::new(&vector(number as u64, 3), 1))?;
        if collection.count()? != POINTS || hits.len() != 1 {
            return Err(format!("{name} does not hold what was written").into());
        }
    }
    let open = began.elapsed();
    std::thread::sleep(REST);
    let (held, holds) = (descriptors()? - fds, resident_since(resident)?);
    let before = processor_time()?;
    std::thread::sleep(REST);
    let rest_cpu = (processor_time()? - before) / REST.as_secs_f64();
    let began = Instant::now();
    for (number, name) in names.iter().enumerate() {
        db.collection(name)?.upsert(vec![point(number as u64, POINTS)])?;
    }
    let write = began.elapsed();
    std::thread::sleep(REST);
    let written = descriptors()? - fds;
    let began = Instant::now();
    for name in &names {
        db.delete_collection(name)?;
    }
    let dropped = began.elapsed();
    db.close()?;
    let left = bytes_below(&path.join("collections"))?;
    let figures = json!({
        "open_s": open.as_secs_f64(),
        "fds": held,
        "resident_bytes": holds,
        "rest_cpu": rest_cpu,
        "write_s": write.as_secs_f64(),
        "fds_written": written,
        "drop_s": dropped.as_secs_f64(),
        "left_bytes": left,
    });
    println!("{figures}");
    Ok(())
}

fn descriptors() -> Result<i64> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count() as i64)
}

fn resident_since(before: i64) -> Result<i64> {
    Ok(resident()? - before)
}

/// Bytes of this process that are in memory.
fn resident() -> Result<i64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kib: i64 = line.split_whitespace().nth(1).ok_or("no number of VmRSS")?.parse()?;
    Ok(kib << 10)
}

/// Seconds of processors that this process has taken; the system counts in hundredths.
fn processor_time() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = text.rsplit_once(')').ok_or("an odd line of the system")?;
    let ticks = |at: usize| rest.split_whitespace().nth(at).and_then(|word| word.parse::<f64>().ok());
    Ok((ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
