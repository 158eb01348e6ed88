//! Merging two halves of the set against building the index of all of it from scratch.

use nearfield::{Collection, CollectionConfig, Database, Metric, Options};

use super::{ms, recall, settle, timed};
use crate::Result;
use crate::dataset::DataSet;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, BATCH, NAME};

pub(super) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let rows = set.base.rows;
    let (database, collection) = filled(set, place, "scratch", &[rows])?;
    let ((), scratch) = timed(|| Ok(collection.wait_indexed()?))?;
    let fresh = recall(&collection, set, |query| query)?;
    drop(collection);
    database.close()?;
    place.remove("scratch")?;

    let (database, collection) = filled(set, place, "halves", &[rows / 2, rows])?;
    collection.wait_indexed()?;
    let before = collection.stats()?.segments;
    let ((), merged) = timed(|| settle(&database, &collection))?;
    let after = collection.stats()?.segments;
    stored::verify(&collection, set, rows)?;
    let healed = recall(&collection, set, |query| query)?;
    let ratio = merged.as_secs_f64() / scratch.as_secs_f64();
    let note =
        format!("{before} segments to {after} in {:.0} ms; from scratch {:.0} ms", ms(merged), ms(scratch));
    report.add("merge_over_scratch", ratio, "", note);
    let note = format!("from scratch {fresh:.4}, merged {healed:.4}, at the default depth");
    report.add("merge_recall_lost", fresh - healed, "", note);
    drop(collection);
    database.close()?;
    place.remove("halves")
}

/// A database whose points were sealed at each of these counts and not indexed yet.
fn filled(set: &DataSet, place: &Place, name: &str, seals: &[usize]) -> Result<(Database, Collection)> {
    // Without threads of its own, and bulk, nothing is linked or merged before it is asked for.
    let mut options = Options::default().bulk(true);
    options.background = false;
    options.collections.index_threads = 2;
    let database = Database::open(place.join(name), options)?;
    let collection =
        database.create_collection(NAME, CollectionConfig::new(set.base.width, Metric::Cosine))?;
    let mut first = 0;
    for &end in seals {
        for start in (first..end).step_by(BATCH) {
            let batch = (start..end.min(start + BATCH)).map(|row| set.point(row)).collect::<Result<_>>()?;
            collection.upsert(batch)?;
        }
        collection.flush()?;
        first = end;
    }
    Ok((database, collection))
}
