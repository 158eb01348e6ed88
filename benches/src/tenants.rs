//! `tenants`: one tenant's searches among a thousand, in a collection partitioned by tenant, in one that is not, and in one that holds
//! nobody else.
//!
//! It refuses to compare times of different minutes: each query is asked of every collection in turn.

use std::hint::black_box;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use nearfield::filter::{Condition, Filter, Path, Test};
use nearfield::{
    Collection, CollectionConfig, Database, Durability, FieldKind, Metric, Options, PointId, Query,
};
use serde_json::json;

use crate::Result;
use crate::dataset::DataSet;
use crate::place::Place;
use crate::report::Report;
use crate::stored::BATCH;

/// Results of a search.
const K: usize = 10;
const TENANTS: usize = 1_000;
/// The tenants that are asked for, by place in the order of their sizes, with the names of their figures.
const ASKED: &[(usize, [&str; 3])] = &[
    (1, ["p50_ratio_1", "p99_ratio_1", "p99_mixed_1"]),
    (10, ["p50_ratio_10", "p99_ratio_10", "p99_mixed_10"]),
    (100, ["p50_ratio_100", "p99_ratio_100", "p99_mixed_100"]),
    (500, ["p50_ratio_500", "p99_ratio_500", "p99_mixed_500"]),
];
/// Passes over the queries. What counts of a query is its median: what other programs took of the machine is no part of an answer.
const PASSES: usize = 9;
/// One of so many points is deleted before the second round.
const DELETED_STEP: usize = 100;
const FIELD: &str = "tenant";
const SEED: u64 = 20_261;

/// What one tenant's searches took in one collection: percentiles over the queries.
struct Measured {
    p50: Duration,
    p99: Duration,
    recall: f64,
}

/// Runs the benchmark over all queries of the set.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let tenants = assign(set.base.rows, TENANTS);
    let database = open(&place.join("tenants"))?;
    let usual = CollectionConfig::new(set.base.width, Metric::Cosine);
    let everyone: Vec<usize> = (0..set.base.rows).collect();
    let shared = fill(&database, "shared", usual.clone().partition_by(FIELD), set, &tenants, &everyone)?;
    let mixed = fill(&database, "mixed", usual.clone(), set, &tenants, &everyone)?;
    mixed.create_field_index(FIELD, &FieldKind::Keyword.config())?;
    mixed.wait_indexed()?;
    eprintln!("{} graphs over partitions", shared.stats()?.partition_graphs);
    let mut alone = Vec::new();
    for &(rank, _) in ASKED {
        let rows: Vec<usize> = everyone.iter().copied().filter(|&row| tenants[row] == rank - 1).collect();
        alone.push(fill(&database, &format!("alone-{rank}"), usual.clone(), set, &tenants, &rows)?);
    }
    let (mut worst, mut worst_deleted, mut recall) = (0.0_f64, 0.0_f64, 1.0_f64);
    let mut matrix = Vec::new();
    println!("{}", heading());
    for (&(rank, [p50, p99, p99_mixed]), alone) in ASKED.iter().zip(&alone) {
        let measured = measure(rank - 1, set, [&shared, &mixed, alone])?;
        let size = format!("tenant {rank} of {} points", alone.count()?);
        tell(rank, alone, "", &measured, &mut matrix)?;
        let [together, mixed, alone] = measured;
        report.add(
            p50,
            ratio(together.p50, alone.p50),
            "",
            format!("median of {size}, partitioned over alone"),
        );
        report.add(p99, ratio(together.p99, alone.p99), "", format!("p99 of {size}, partitioned over alone"));
        report.add(
            p99_mixed,
            ratio(mixed.p99, alone.p99),
            "",
            format!("p99 of {size}, not partitioned over alone"),
        );
        worst = worst.max(ratio(together.p99, alone.p99));
        recall = recall.min(together.recall);
    }
    let deleted: Vec<PointId> =
        everyone.iter().step_by(DELETED_STEP).map(|&row| (row as u64).into()).collect();
    for collection in [&shared, &mixed].into_iter().chain(&alone) {
        for ids in deleted.chunks(BATCH) {
            collection.delete(ids)?;
        }
    }
    for (&(rank, _), alone) in ASKED.iter().zip(&alone) {
        let measured = measure(rank - 1, set, [&shared, &mixed, alone])?;
        tell(rank, alone, ", 1 % deleted", &measured, &mut matrix)?;
        let [together, _, alone] = measured;
        worst_deleted = worst_deleted.max(ratio(together.p99, alone.p99));
        recall = recall.min(together.recall);
    }
    let meaning = "the worst p99 of a tenant's search, partitioned over alone, once a hundredth of the points is deleted";
    report.add("p99_ratio_deleted", worst_deleted, "", meaning);
    report.add("p99_ratio_max", worst, "", "the worst p99 of a tenant's search, partitioned over alone");
    report.add("recall_min", recall, "", "the worst recall of a tenant in the partitioned collection");
    report.attach("tenants", matrix.into_iter().collect());
    drop((shared, mixed, alone));
    database.close()?;
    Ok(())
}

/// Prints what was measured, and keeps it for the JSON.
fn tell(
    rank: usize,
    alone: &Collection,
    when: &str,
    measured: &[Measured; 3],
    matrix: &mut Vec<serde_json::Value>,
) -> Result {
    for (name, measured) in ["partitioned", "not partitioned", "alone"].into_iter().zip(measured) {
        let (points, name) = (alone.count()?, format!("{name}{when}"));
        println!("{}", line(rank, points, &name, measured));
        matrix.push(
            json!({"tenant": rank, "points": points, "collection": name, "p50_us": micros(measured.p50),
            "p99_us": micros(measured.p99), "recall": measured.recall}),
        );
    }
    Ok(())
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

/// The tenant of each row: sizes fall as one over the place (Zipf), every tenant has a row or more, rows are dealt at random.
fn assign(rows: usize, tenants: usize) -> Vec<usize> {
    let weights: Vec<f64> = (1..=tenants).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let mut assigned = Vec::with_capacity(rows);
    let mut so_far = 0.0;
    for (tenant, weight) in weights.iter().enumerate() {
        so_far += weight / all;
        let end = ((so_far * rows as f64).round() as usize).min(rows);
        assigned.resize(end.max(assigned.len()), tenant);
    }
    assigned.resize(rows, 0);
    let mut state = SEED;
    for at in (1..rows).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        assigned.swap(at, ((state >> 33) as usize) % (at + 1));
    }
    assigned
}

fn tenant_name(tenant: usize) -> String {
    format!("tenant-{tenant:04}")
}

fn open(path: &FilePath) -> Result<Database> {
    Ok(Database::open(path, Options::default().durability(Durability::Process))?)
}

/// A collection of these rows, sealed and indexed.
fn fill(
    database: &Database,
    name: &str,
    config: CollectionConfig,
    set: &DataSet,
    tenants: &[usize],
    rows: &[usize],
) -> Result<Collection> {
    eprintln!("{name}: {} points ...", rows.len());
    let collection = database.create_collection(name, config)?;
    for batch in rows.chunks(BATCH) {
        let point = |&row: &usize| {
            let mut point = set.point(row)?;
            point.payload.set(FIELD, tenant_name(tenants[row]));
            Ok(point)
        };
        collection.upsert(batch.iter().map(point).collect::<Result<_>>()?)?;
    }
    collection.flush()?;
    collection.wait_indexed()?;
    Ok(collection)
}

/// Asks the queries for one tenant of all collections, the last of which holds nobody else and is asked without a filter.
fn measure(tenant: usize, set: &DataSet, collections: [&Collection; 3]) -> Result<[Measured; 3]> {
    // Of each query the times in each collection.
    let mut times: Vec<[Vec<Duration>; 3]> = vec![[const { Vec::new() }; 3]; set.queries.rows];
    for pass in 0..=PASSES {
        for (query, times) in times.iter_mut().enumerate() {
            for (at, (collection, times)) in collections.iter().zip(times).enumerate() {
                let began = Instant::now();
                black_box(search(collection, (at < 2).then_some(tenant), set.queries.row(query))?);
                let taken = began.elapsed();
                // The first pass warms what is read.
                if pass > 0 {
                    times.push(taken);
                }
            }
        }
    }
    let mut recalls = [0.0; 3];
    for query in 0..set.queries.rows {
        let vector = set.queries.row(query);
        let exact = collections[2].search(&Query::new(vector, K).exact())?;
        let last = exact.last().map_or(f32::MAX, |hit| hit.distance);
        for (at, collection) in collections.iter().enumerate() {
            let found = search(collection, (at < 2).then_some(tenant), vector)?;
            let right = found.iter().filter(|(_, distance)| *distance <= last).count();
            recalls[at] += right as f64 / exact.len().max(1) as f64;
        }
    }
    Ok([0, 1, 2].map(|at| {
        let (p50, p99) = percentiles(times.iter_mut().map(|times| median(&mut times[at])).collect());
        Measured { p50, p99, recall: recalls[at] / set.queries.rows as f64 }
    }))
}

/// One search, with its filter made for it.
fn search(collection: &Collection, tenant: Option<usize>, vector: &[f32]) -> Result<Vec<(PointId, f32)>> {
    let filter = tenant.map(|tenant| {
        let is = Test::value(tenant_name(tenant).as_str());
        Filter::new().must([Condition::field(Path::key(FIELD), is)])
    });
    let query = Query::new(vector, K);
    let query = match &filter {
        Some(filter) => query.filter(filter),
        None => query,
    };
    Ok(collection.search(&query)?.into_iter().map(|hit| (hit.id, hit.distance)).collect())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    (at(50), at(99))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn heading() -> String {
    format!(
        "{:>6} {:>8} {:29} {:>10} {:>10} {:>8}",
        "tenant", "points", "collection", "p50 us", "p99 us", "recall"
    )
}

fn line(rank: usize, points: u64, name: &str, measured: &Measured) -> String {
    let Measured { p50, p99, recall } = measured;
    format!("{rank:>6} {points:>8} {name:29} {:>10.1} {:>10.1} {recall:>8.4}", micros(*p50), micros(*p99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_as_one_over_the_place() {
        let tenants = assign(116_659, TENANTS);
        let size = |tenant: usize| tenants.iter().filter(|&&other| other == tenant).count();
        assert_eq!(tenants.len(), 116_659);
        assert!((15_500..15_700).contains(&size(0)) && (1_550..1_570).contains(&size(9)));
        assert!(size(999) > 0 && tenants[..1_000].iter().filter(|&&tenant| tenant == 0).count() < 200);
    }
}
