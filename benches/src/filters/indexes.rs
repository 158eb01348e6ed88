//! The payload indexes of the set: how fast each is built, what it takes, and what ten of them add to opening a collection.

use std::path::Path;
use std::time::{Duration, Instant};

use nearfield::{Durability, FieldKind};

use crate::dataset::DataSet;
use crate::disk::median;
use crate::report::Report;
use crate::{Result, stored};

/// The fields and the index of each. Filters ask for the first three.
pub(crate) const FIELDS: &[(&str, FieldKind)] = &[
    ("words", FieldKind::Integer),
    ("bucket", FieldKind::Integer),
    ("category", FieldKind::Keyword),
    ("lemma", FieldKind::Keyword),
    ("pos", FieldKind::Keyword),
    ("first_letter", FieldKind::Keyword),
    ("offset", FieldKind::Integer),
    ("gloss_len", FieldKind::Integer),
    ("id", FieldKind::Integer),
    ("text", FieldKind::Text),
];
const OPENINGS: usize = 11;

/// Writes the set, seals it and has every index built.
pub(super) fn build(path: &Path, set: &DataSet, report: &mut Report) -> Result {
    stored::build_sealed(path, set)?;
    let (database, collection) = stored::open(path, Durability::Process)?;
    eprintln!("linking ...");
    collection.wait_indexed()?;
    drop(collection);
    database.close()?;
    let without = opening(path)?;
    let (database, collection) = stored::open(path, Durability::Process)?;
    let mut slowest = f64::MAX;
    for (field, kind) in FIELDS {
        let began = Instant::now();
        collection.create_field_index(field, &kind.config())?;
        collection.wait_indexed()?;
        let rate = set.base.rows as f64 / began.elapsed().as_secs_f64();
        let built = collection.field_indexes()?.into_iter().find(|one| one.field.path.to_string() == *field);
        let memory = built.map(|one| one.memory).ok_or_else(|| format!("the index of {field} is missing"))?;
        let (heap, mapped) = (memory.heap as f64 / 1e6, memory.mapped as f64 / 1e6);
        eprintln!(
            "{field:13} {kind:?}: {rate:>11.0} rows/s, {mapped:>6.2} MB mapped, {heap:.3} MB of memory"
        );
        if *kind != FieldKind::Text {
            slowest = slowest.min(rate);
        }
    }
    drop(collection);
    database.close()?;
    let with = opening(path)?;
    report.add(
        "index_rows_per_s",
        slowest,
        "1/s",
        "rows taken into an index of a simple field, the slowest of nine",
    );
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    let note = format!(
        "opening with {} indexes ({:.1} ms) by opening without ({:.1} ms), medians of {OPENINGS}",
        FIELDS.len(),
        with.as_secs_f64() * 1e3,
        without.as_secs_f64() * 1e3
    );
    report.add("open_ratio", ratio, "", note);
    Ok(())
}

/// How long opening takes, until the points are counted.
fn opening(path: &Path) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..OPENINGS {
        let began = Instant::now();
        let (database, collection) = stored::open(path, Durability::Process)?;
        collection.count()?;
        times.push(began.elapsed());
        drop(collection);
        database.close()?;
    }
    Ok(median(&times))
}
