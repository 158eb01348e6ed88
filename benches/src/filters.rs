//! `filters`: payload indexes of the whole set, and searches under filters, each filter read from its JSON in the call that is timed.
//!
//! It refuses to keep anything of a filter from one call to the next, and to time a depth without saying the recall that it had.

mod cells;
mod indexes;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use nearfield::filter::{Filter, qdrant};
use nearfield::{Collection, Depth, Durability, PointId, Query};
use serde_json::json;

use crate::dataset::{DataSet, object};
use crate::disk::median;
use crate::place::Place;
use crate::report::Report;
use crate::{Result, stored};
use cells::{Cell, Cells};
pub(crate) use indexes::FIELDS;

/// Results of a search.
const K: usize = 10;
/// Passes over the queries of which the median counts.
const PASSES: usize = 3;
/// Depths that are tried, from the least work to the most; the name of the one that nobody asked for is `default`.
const DEPTHS: &[(&str, Depth)] = &[
    ("margin 0", Depth::Margin(0.0)),
    ("margin .05", Depth::Margin(0.05)),
    ("margin .10", Depth::Margin(0.10)),
    ("margin .15", Depth::Margin(0.15)),
    ("default", Depth::Auto),
    ("margin .20", Depth::Margin(0.20)),
    ("margin .30", Depth::Margin(0.30)),
];

/// What one depth reached in one cell.
struct Measured {
    depth: &'static str,
    recall: f64,
    queries_per_s: f64,
}

/// Runs the benchmark.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("filters");
    eprintln!("exact answers of every cell ...");
    let cells = Cells::new(set, K)?;
    indexes::build(&path, set, report)?;
    let (database, collection) = stored::open(&path, Durability::Process)?;
    let mut matrix = Vec::new();
    println!("{}", heading());
    for cell in cells.iter() {
        let measured = measure(cell, set, &collection)?;
        let plans = plans(cell, set, &collection)?;
        println!("{}", line(cell, &measured, &plans));
        matrix.push((cell, measured, plans));
    }
    let defaults = matrix.iter().map(|(_, measured, _)| default_recall(measured));
    let worst = defaults.fold(1.0, f64::min);
    report.add("recall_min", worst, "", "the worst recall of a cell at the default depth");
    for (name, band) in [("qps_50", "n50"), ("qps_10", "n10"), ("qps_1", "n1"), ("qps_004", "n01")] {
        let Some((_, measured, _)) = matrix.iter().find(|(cell, ..)| cell.name == band) else { continue };
        let at = at_recall(measured, 0.95).unwrap_or(0.0);
        report.add(
            name,
            at,
            "1/s",
            format!("searches a second in {band} at the first depth with a recall of 0.95"),
        );
    }
    report.attach(
        "cells",
        matrix.iter().map(|(cell, measured, plans)| cell_json(cell, measured, plans)).collect(),
    );
    drop(collection);
    database.close()?;
    Ok(())
}

/// One search as a user sends it.
fn search(collection: &Collection, text: &str, vector: &[f32], depth: Depth) -> Result<Vec<PointId>> {
    let filter = parse(text)?;
    let mut query = Query::new(vector, K).filter(&filter);
    query.depth = depth;
    Ok(collection.search(&query)?.into_iter().map(|hit| hit.id).collect())
}

fn parse(text: &str) -> Result<Filter> {
    Ok(qdrant::parse(&object(text)?)?)
}

fn measure(cell: &Cell, set: &DataSet, collection: &Collection) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for (name, depth) in DEPTHS {
        let mut recall = 0.0;
        for query in 0..set.queries.rows {
            let found = search(collection, cell.filter(query), set.queries.row(query), *depth)?;
            recall += cell.recall(set, query, &found, K)?;
        }
        let mut times = Vec::new();
        for _ in 0..PASSES {
            let began = Instant::now();
            for query in 0..set.queries.rows {
                black_box(search(collection, cell.filter(query), set.queries.row(query), *depth)?);
            }
            times.push(began.elapsed());
        }
        let count = set.queries.rows as f64;
        let queries_per_s = count / median(&times).as_secs_f64();
        all.push(Measured { depth: name, recall: recall / count, queries_per_s });
    }
    Ok(all)
}

/// How often each plan was used at the default depth, most often first.
fn plans(cell: &Cell, set: &DataSet, collection: &Collection) -> Result<Vec<(String, usize)>> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for query in 0..set.queries.rows {
        let filter = parse(cell.filter(query))?;
        let explanation = collection.explain(&Query::new(set.queries.row(query), K).filter(&filter))?;
        // Nothing is to be said of memory that holds no rows.
        for segment in explanation.segments.iter().filter(|segment| segment.rows > 0) {
            *counts.entry(segment.work.plan.to_string()).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(counts)
}

fn default_recall(measured: &[Measured]) -> f64 {
    measured.iter().find(|one| one.depth == "default").map_or(0.0, |one| one.recall)
}

/// The most searches a second of the depths with at least this recall.
fn at_recall(measured: &[Measured], recall: f64) -> Option<f64> {
    let enough = measured.iter().filter(|one| one.recall >= recall);
    enough.map(|one| one.queries_per_s).max_by(f64::total_cmp)
}

fn heading() -> String {
    format!(
        "{:16} {:>9} {:>10} {:>10} {:>14} {:>16}  plans at the default depth",
        "cell", "share", "QPS at .95", "QPS at .99", "default recall", "QPS at default"
    )
}

fn line(cell: &Cell, measured: &[Measured], plans: &[(String, usize)]) -> String {
    let at = |recall| at_recall(measured, recall).map_or("-".to_owned(), |qps| format!("{qps:.0}"));
    let default = measured.iter().find(|one| one.depth == "default");
    let (recall, speed) = default.map_or((0.0, 0.0), |one| (one.recall, one.queries_per_s));
    let plans: Vec<String> = plans.iter().map(|(plan, count)| format!("{plan} {count}")).collect();
    format!(
        "{:16} {:>8.3}% {:>10} {:>10} {recall:>14.4} {speed:>16.0}  {}",
        cell.name,
        cell.share * 100.0,
        at(0.95),
        at(0.99),
        plans.join(", ")
    )
}

fn cell_json(cell: &Cell, measured: &[Measured], plans: &[(String, usize)]) -> serde_json::Value {
    let depths: Vec<serde_json::Value> = measured
        .iter()
        .map(|one| json!({"depth": one.depth, "recall": one.recall, "queries_per_s": one.queries_per_s}))
        .collect();
    json!({"cell": cell.name, "share": cell.share, "depths": depths, "plans": plans})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let mut report = Report::new("filters");
        let mut set = small(2_000, 16);
        assert!(run(&set, &place, &mut report).unwrap_err().to_string().contains("the text set"));
        let categories = ["noun.artifact", "noun.quantity", "noun.motive"];
        for (row, payload) in set.payload.iter_mut().enumerate() {
            let (category, bucket) = (categories[row % 3], row * 7 % 1_000);
            *payload = json!({"words": row % 4, "bucket": bucket, "category": category}).to_string();
        }
        run(&set, &place, &mut report).unwrap();
        assert!(report.value("recall_min").unwrap() > 0.9);
    }
}
