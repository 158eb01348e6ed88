//! `turnover`: rows die and others come, a merge after every exchange, until the whole set was exchanged several times.
//!
//! The index always lacks one fifth of the set. A step takes out another fifth, adds the one that was missing beside the dead, and
//! saves, which merges: the graph is taken over without the dead and its wounds are healed. After five steps every row was
//! taken out and added once, and the same rows are there as in the beginning, so the index that was built at once stands
//! beside it with the same exact answers.
//!
//! A row is never added while it lies there dead: it would be chained to its dead equal, and nothing would be linked.

use std::path::Path;
use std::time::Instant;

use nearfield::{Breadth, Index};
use nearfield_codec::Region;
use nearfield_hnsw::GraphView;
use nearfield_hnsw::verify::{Verify, Violation};

use super::set::Set;
use super::sweep::{LIMIT, recall};
use super::{Settings, TRUTH};
use crate::Result;
use crate::disk::median;
use crate::npy::Table;
use crate::place::Place;
use crate::report::Report;

const PARTS: usize = 5;
/// So many rows that follow one another live and die together: where a set is sorted, whole neighbourhoods do.
const RUN: usize = 64;
const EFS: [u32; 5] = [16, 24, 48, 96, 192];

/// Shares of the true neighbours found, one for each of [`EFS`].
type Recalls = [f64; EFS.len()];

/// Runs the benchmark on the set in `data`.
pub(crate) fn run(data: &Path, settings: &Settings, place: &Place, report: &mut Report) -> Result {
    let set = settings.set(data)?;
    measure(set, settings, &place.join("index"), report)
}

fn measure(mut set: Set, settings: &Settings, path: &Path, report: &mut Report) -> Result {
    let mut missing = PARTS - 1;
    set.truth = present(&set.truth, missing)?;
    let dim = u32::try_from(set.base.width)?;
    let mut index = Index::new(dim, &settings.options)?;
    let first: Vec<u64> =
        (0..PARTS).filter(|&part| part != missing).flat_map(|part| rows(&set, part)).collect();
    let began = Instant::now();
    add(&index, &set, &first, settings)?;
    let built_s = began.elapsed().as_secs_f64();
    let fresh = recalls(&index, &set)?;
    println!("  recall@{LIMIT} at ef {EFS:?}");
    println!("  built at once        {}", shown(&fresh));

    let (mut unreachable, mut merges) = (0, Vec::new());
    let (mut now, mut worst) = (fresh, 0.0f64);
    for turnover in 1..=settings.turnovers {
        for part in 0..PARTS {
            let gone: Vec<u64> = rows(&set, part).collect();
            if index.remove(&gone)? != gone.len() {
                return Err(format!("part {part} was not there whole").into());
            }
            let back: Vec<u64> = rows(&set, missing).collect();
            add(&index, &set, &back, settings)?;
            missing = part;
            let began = Instant::now();
            index.save(path)?;
            merges.push(began.elapsed());
            unreachable += unreachable_of(path)?;
            index = Index::load(path)?;
        }
        now = recalls(&index, &set)?;
        worst = worst.max(lost(&fresh, &now));
        println!("  after {turnover} turnovers    {}   unreachable so far: {unreachable}", shown(&now));
    }
    report.add("points", index.len() as f64, "", format!("four fifths of the set, of {dim} dimensions"));
    report.add(
        "merges",
        merges.len() as f64,
        "",
        "each without a quarter of the points and with as many new ones",
    );
    report.add("build_s", built_s, "s", "the index built at once");
    if !merges.is_empty() {
        report.add("merge_s", median(&merges).as_secs_f64(), "s", "a merge with its files written, median");
    }
    report.add("recall_lost", lost(&fresh, &now), "", "after the last turnover, the worst breadth");
    report.add("recall_lost_worst", worst, "", "after any turnover");
    report.add("unreachable", unreachable as f64, "", "points that no walk can reach, in all merged graphs");
    Ok(())
}

/// The rows of a part.
fn rows(set: &Set, part: usize) -> impl Iterator<Item = u64> + use<> {
    (0..set.base.rows).filter(move |&row| part_of(row) == part).map(|row| row as u64)
}

fn part_of(row: usize) -> usize {
    row / RUN % PARTS
}

/// The first answers to each query that are not in the part `missing`.
fn present(truth: &Table<i32>, missing: usize) -> Result<Table<i32>> {
    let mut numbers = Vec::with_capacity(truth.rows * LIMIT);
    for query in 0..truth.rows {
        let is_there = |row: &&i32| usize::try_from(**row).is_ok_and(|row| part_of(row) != missing);
        numbers.extend(truth.row(query).iter().filter(is_there).take(LIMIT));
        if numbers.len() != (query + 1) * LIMIT {
            let text = format!(
                "query {query} has fewer than {LIMIT} answers left of {}: at most {TRUTH} are kept",
                truth.width
            );
            return Err(text.into());
        }
    }
    Ok(Table { rows: truth.rows, width: LIMIT, numbers })
}

fn add(index: &Index, set: &Set, ids: &[u64], settings: &Settings) -> Result {
    let rows: Vec<f32> = ids.iter().flat_map(|&id| set.base.row(id as usize)).copied().collect();
    Ok(index.add(Some(ids), &rows, settings.build_threads)?)
}

fn recalls(index: &Index, set: &Set) -> Result<Recalls> {
    let (mut ids, mut distances) = (vec![0; set.queries.rows * LIMIT], vec![0.0; set.queries.rows * LIMIT]);
    let mut found = [0.0; EFS.len()];
    for (ef, found) in EFS.into_iter().zip(&mut found) {
        index.search_many(&set.queries.numbers, LIMIT, Breadth::Ef(ef), 0, &mut ids, &mut distances)?;
        *found = recall(set, &ids);
    }
    Ok(found)
}

/// The most that any breadth finds less than before.
fn lost(before: &Recalls, now: &Recalls) -> f64 {
    before.iter().zip(now).map(|(before, now)| before - now).fold(f64::NEG_INFINITY, f64::max)
}

fn shown(recalls: &Recalls) -> String {
    recalls.iter().map(|recall| format!("{recall:.4}  ")).collect()
}

/// Points of the saved graph that cannot be reached; anything else that is wrong with it is an error.
fn unreachable_of(path: &Path) -> Result<usize> {
    let graph = GraphView::open(Region::from(std::fs::read(path.join("graph-0"))?))?;
    let violations = graph.verify(usize::MAX);
    match violations
        .iter()
        .find(|violation| !matches!(violation, Violation::Unreachable { .. } | Violation::Count { .. }))
    {
        Some(violation) => Err(format!("the merged graph is broken: {violation:?}").into()),
        None => Ok(violations
            .iter()
            .filter(|violation| matches!(violation, Violation::Unreachable { .. }))
            .count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::generate::Recipe;
    use crate::index::truth;

    #[test]
    fn a_small_set_is_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (base, queries) = Recipe { rows: 1_400, queries: 40, dim: 24, seed: 2 }.make(2);
        let truth = truth::nearest(&base, &queries, TRUTH, 2);
        let settings = Settings { turnovers: 1, ..Settings::default() };
        let mut report = Report::new("turnover");
        measure(Set { base, queries, truth }, &settings, &folder.path().join("index"), &mut report).unwrap();
        assert_eq!((report.value("merges"), report.value("unreachable")), (Some(5.0), Some(0.0)));
        assert!(report.value("recall_lost").unwrap() < 0.05);
    }

    #[test]
    fn answers_that_are_missing_are_left_out() {
        let truth = Table { rows: 1, width: 12, numbers: (60..72).collect() };
        assert_eq!(present(&truth, 4).unwrap().numbers, (60..70).collect::<Vec<_>>());
        assert!(present(&truth, 1).is_err());
    }
}
