//! Loading, serving and merging within a memory budget, in a process of its own that holds nothing else: the set is read in pieces.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nearfield::{Collection, CollectionConfig, Database, Durability, Metric, Options, Point, PointId};
use serde_json::{Value, json};

use super::{FIELDS_AT_LOAD, index_fields, settle};
use crate::Result;
use crate::dataset::{DataSet, object};
use crate::filters::FIELDS;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, BATCH, NAME};

const BUDGET_BYTES: u64 = 300_000_000;

pub(super) fn measure(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("budget");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("budget")
        .arg(&path)
        .arg(&set.folder)
        .args([set.base.rows, set.base.width].map(|n| n.to_string()));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the process with a budget ended with {}", output.status).into());
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let (database, collection) = stored::open(&path, Durability::Process)?;
    stored::verify(&collection, set, set.base.rows)?;
    let right = super::recall(&collection, set, |query| query)?;
    drop(collection);
    database.close()?;
    let peak = said["peak_bytes"].as_f64().ok_or("the process did not say its peak")?;
    let note = format!("anonymous memory at most, by the budget of {} MB: {said}", BUDGET_BYTES / 1_000_000);
    report.add("budget_peak", peak / BUDGET_BYTES as f64, "", note);
    report.add("budget_recall", right, "", "of what was loaded within it, at the default depth");
    place.remove("budget")
}

/// Loads the set in `data`, so many rows of so many numbers, into a database at `path` within the budget, churns a fifth of it, merges, and
/// prints the peak.
pub(crate) fn run(path: &Path, data: &Path, rows: usize, width: usize) -> Result {
    let set = || Rows::open(data, rows, width);
    let (peak, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let bare = anonymous_bytes()?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes().unwrap_or(u64::MAX), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let worked = load(path, set, width);
        done.store(true, Ordering::Relaxed);
        worked
    })?;
    println!(
        "{}",
        json!({"peak_bytes": peak.load(Ordering::Relaxed), "bare_bytes": bare, "budget_bytes": BUDGET_BYTES})
    );
    Ok(())
}

fn load(path: &Path, set: impl Fn() -> Result<Rows>, width: usize) -> Result {
    let options = Options::default().memory_budget(BUDGET_BYTES);
    let database = Database::open(path, options)?;
    let mut rows = set()?;
    let collection = database.create_collection(NAME, CollectionConfig::new(width, Metric::Cosine))?;
    index_fields(&collection, &FIELDS[..FIELDS_AT_LOAD])?;
    rows.write(&collection, 1)?;
    collection.wait_indexed()?;
    let gone: Vec<_> = (0..rows.read as u64).step_by(5).map(PointId::from).collect();
    for ids in gone.chunks(BATCH) {
        collection.delete(ids)?;
    }
    settle(&database, &collection)?;
    set()?.write(&collection, 5)?;
    settle(&database, &collection)?;
    drop(collection);
    Ok(database.close()?)
}

/// The rows of a set, read one after another.
struct Rows {
    vectors: BufReader<std::fs::File>,
    payloads: std::io::Lines<BufReader<std::fs::File>>,
    width: usize,
    read: usize,
}

impl Rows {
    fn open(data: &Path, rows: usize, width: usize) -> Result<Rows> {
        let mut vectors = BufReader::new(std::fs::File::open(data.join("base.npy"))?);
        // The numbers end the file.
        vectors.seek(SeekFrom::End(-i64::try_from(rows * width * 4)?))?;
        let payloads = BufReader::new(std::fs::File::open(data.join("payload.jsonl"))?).lines();
        Ok(Rows { vectors, payloads, width, read: 0 })
    }

    /// Writes every `step`-th row.
    fn write(&mut self, collection: &Collection, step: usize) -> Result {
        let mut batch = Vec::new();
        let mut bytes = vec![0; self.width * 4];
        for payload in self.payloads.by_ref() {
            self.vectors.read_exact(&mut bytes)?;
            if self.read.is_multiple_of(step) {
                let numbers = bytes
                    .chunks_exact(4)
                    .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                batch.push(Point::new(self.read as u64, numbers.collect()).payload(object(&payload?)?));
            }
            self.read += 1;
            if batch.len() == BATCH {
                collection.upsert(std::mem::take(&mut batch))?;
            }
        }
        if !batch.is_empty() {
            collection.upsert(batch)?;
        }
        Ok(())
    }
}

/// Anonymous memory of this process.
fn anonymous_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .ok_or("no RssAnon in /proc/self/status")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
