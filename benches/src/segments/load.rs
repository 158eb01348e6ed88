//! Loading the whole set until it is indexed; then what it takes on disk, how fast it is searched and how fast it opens.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nearfield::{
    Breadth, Collection, CollectionConfig, Database, Durability, Index, IndexOptions, Metric, Options, Query,
};

use super::{FIELDS_AT_LOAD, K, index_fields, ms, settle, timed};
use crate::Result;
use crate::dataset::DataSet;
use crate::disk::median;
use crate::filters::FIELDS;
use crate::place::Place;
use crate::report::Report;
use crate::stored::{self, BATCH, NAME};

/// Breadths that the bare index and the collection are compared at.
const EFS: [u32; 4] = [16, 24, 48, 96];
/// Passes over the queries of which the median counts.
const PASSES: usize = 5;
/// Openings of which the median counts.
const OPENS: usize = 9;

pub(super) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("load");
    let options = Options::default().durability(Durability::Process).bulk(true);
    let database = Database::open(&path, options)?;
    let collection =
        database.create_collection(NAME, CollectionConfig::new(set.base.width, Metric::Cosine))?;
    index_fields(&collection, &FIELDS[..FIELDS_AT_LOAD])?;
    let batches = set.batches(BATCH)?;
    let began = Instant::now();
    for batch in batches {
        collection.upsert(batch)?;
    }
    let written = began.elapsed();
    collection.flush()?;
    collection.wait_indexed()?;
    let loaded = began.elapsed();
    settle(&database, &collection)?;
    let rows = set.base.rows;
    let note = format!(
        "{rows} points with payload, 4 field indexes; the writes alone {:.1} s",
        written.as_secs_f64()
    );
    report.add("load_s", loaded.as_secs_f64(), "s", note);
    stored::verify(&collection, set, rows)?;
    let raw: usize = (0..rows).map(|row| set.row_bytes(row).len()).sum();
    let disk = collection.stats()?.disk;
    let note = format!("by vectors and payload text; {disk:?}");
    report.add("disk_over_raw", disk.total() as f64 / raw as f64, "", note);
    over_index(set, &collection, report)?;
    index_fields(&collection, &FIELDS[FIELDS_AT_LOAD..])?;
    settle(&database, &collection)?;
    drop(collection);
    database.close()?;
    reopen(set, place, report)?;
    place.remove("load")
}

/// Searches through the collection against those of an index that was built alone with the same parameters.
fn over_index(set: &DataSet, collection: &Collection, report: &mut Report) -> Result {
    let index = Index::new(
        u32::try_from(set.base.width)?,
        &IndexOptions { ef_construction: 100, ..IndexOptions::new(Metric::Cosine) },
    )?;
    index.add(None, &set.base.numbers, 0)?;
    let (mut ids, mut distances) = (vec![0; K], vec![0.0; K]);
    let (mut ratios, mut shown) = (Vec::new(), Vec::new());
    for ef in EFS {
        let (mut alone, mut through) = (Vec::new(), Vec::new());
        // In turns, so that both see the same minutes of the machine.
        for _ in 0..PASSES {
            let one = || -> Result {
                for query in 0..set.queries.rows {
                    index.search_many(
                        set.queries.row(query),
                        K,
                        Breadth::Ef(ef),
                        1,
                        &mut ids,
                        &mut distances,
                    )?;
                }
                Ok(())
            };
            alone.push(timed(one)?.1);
            let one = || -> Result {
                for query in 0..set.queries.rows {
                    black_box(collection.search(&Query::new(set.queries.row(query), K).ef(ef))?);
                }
                Ok(())
            };
            through.push(timed(one)?.1);
        }
        let [alone, through] =
            [alone, through].map(|times| median(&times).as_secs_f64() / set.queries.rows as f64);
        let right = super::recall(collection, set, |query| query.ef(ef))?;
        shown.push(format!("ef {ef}: {:.0}/s by {:.0}/s, recall {right:.3}", 1.0 / through, 1.0 / alone));
        ratios.push(alone / through);
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    report.add(
        "search_over_index",
        mean,
        "",
        format!("rate through the collection by the bare index; {}", shown.join("; ")),
    );
    Ok(())
}

fn reopen(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let mut times: Vec<Duration> = Vec::new();
    let mut fields = 0;
    for _ in 0..OPENS {
        let open = || stored::open(&place.join("load"), Durability::Process);
        let ((database, collection), took) = timed(open)?;
        times.push(took);
        if collection.count()? != set.base.rows as u64 {
            return Err("points are missing after reopening".into());
        }
        fields = collection.field_indexes()?.len();
        drop(collection);
        database.close()?;
    }
    let note = format!(
        "with {fields} field indexes ({} asked for at the load), warm, median of {OPENS}",
        FIELDS_AT_LOAD
    );
    report.add("reopen_ms", ms(median(&times)), "ms", note);
    Ok(())
}
