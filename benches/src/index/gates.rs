//! `gates`: what codes cost a graph, counted and not timed: walks on codes and on vectors over graphs built on codes and on vectors.
//!
//! | figure | gate | compared |
//! |---|---|---|
//! | `hops_95`, `hops_99` | E2 | expansions of the walk on codes by those of the walk on vectors, at equal recall, over the graph built on codes |
//! | `recall_lost` | E5 | recall over the graph built on vectors less that over the one built on codes, at equal breadth, both walked on vectors |

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nearfield::{Metric, Quantization, Tier};
use nearfield_ann::{AdmitAll, Budget, BySlot, Scratch, TopK};
use nearfield_hnsw::Params;
use nearfield_segment::{Depth, Field, FieldAsk, IndexOptions, SealedIndex, build};
use nearfield_vectors::{Element, GrowingRows, Shape};
use serde_json::{Value, json};

use super::Settings;
use super::set::Set;
use super::sweep::{LIMIT, recall};
use crate::Result;
use crate::report::Report;

const EFS: [u32; 12] = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448];
/// Graphs are compared where recall is neither poor nor complete.
const COMPARED: std::ops::RangeInclusive<f64> = 0.9..=0.9995;
const TARGETS: [(f64, &str, &str); 2] =
    [(0.95, "hops_95", "distances_95"), (0.99, "hops_99", "distances_99")];

/// What a walk of one breadth finds, and its work a query.
#[derive(Clone, Copy, Debug)]
struct Step {
    ef: u32,
    recall: f64,
    hops: f64,
    distances: f64,
}

/// One graph and what it was built on.
struct Built {
    name: &'static str,
    index: SealedIndex,
}

/// Runs the comparison on the set in `data`.
pub(crate) fn run(data: &Path, settings: &Settings, report: &mut Report) -> Result {
    compare(&settings.set(data)?, settings, &EFS, report)
}

fn compare(set: &Set, settings: &Settings, efs: &[u32], report: &mut Report) -> Result {
    let shape = Shape::new(u32::try_from(set.base.width)?, Metric::Cosine, Element::F32)?;
    let (mut writer, rows) = GrowingRows::create(shape);
    for row in set.base.numbers.chunks_exact(set.base.width) {
        writer.push(Some(row))?;
    }
    let coded = make("codes", Quantization::Rotated, &rows, settings, report)?;
    let plain = make("vectors", Quantization::None, &rows, settings, report)?;
    let codes = coded.index.field(&*rows);
    if codes.codes.is_none() || coded.index.calibration().tier != Tier::Coarse {
        return Err("the codes do not suit this set: there is nothing to compare".into());
    }
    let mut curves = Vec::new();
    for built in [&coded, &plain] {
        // Over the same graph: the codes that the other one was built on, or none at all.
        let (mut by_codes, mut by_vectors) = (built.index.field(&*rows), built.index.field(&*rows));
        (by_codes.codes, by_codes.calibration) = (codes.codes, codes.calibration);
        by_vectors.codes = None;
        for (walk, field) in [("codes", by_codes), ("vectors", by_vectors)] {
            let name = format!("graph built on {}, walked on {walk}", built.name);
            let curve = efs.iter().map(|&ef| step(&field, set, ef)).collect::<Result<Vec<_>>>()?;
            print(&name, &curve);
            report.attach(&name, Value::Array(curve.iter().map(Step::json).collect()));
            curves.push(curve);
        }
    }
    let [by_codes, by_vectors, plain_by_codes, plain_by_vectors] = &curves[..] else {
        return Err("there are two graphs and two walks".into());
    };
    report.add("points", set.base.rows as f64, "", format!("of {} dimensions", set.base.width));
    for (target, hops, distances) in TARGETS {
        for (name, what, part) in [
            (hops, "expansions", (|step| step.hops) as fn(&Step) -> f64),
            (distances, "scores", |step| step.distances),
        ] {
            let ratio = at(by_codes, target, part).zip(at(by_vectors, target, part));
            let Some((codes, vectors)) = ratio else { continue };
            let note = format!("{what} at recall {target}: {codes:.1} on codes, {vectors:.1} on vectors");
            report.add(name, codes / vectors, "", note);
        }
    }
    for (name, mean, one, other, walk) in [
        ("recall_lost", "recall_lost_mean", plain_by_vectors, by_vectors, "vectors"),
        ("recall_lost_on_codes", "recall_lost_on_codes_mean", plain_by_codes, by_codes, "codes"),
    ] {
        let (worst, average) = lost(one, other);
        report.add(
            name,
            worst,
            "",
            format!("by the graph built on codes at the worst breadth, walked on {walk}"),
        );
        report.add(mean, average, "", "the mean of all breadths compared");
    }
    Ok(())
}

fn make(
    name: &'static str,
    quantization: Quantization,
    rows: &Arc<GrowingRows>,
    settings: &Settings,
    report: &mut Report,
) -> Result<Built> {
    let given = &settings.options;
    let params = Params::new(given.m, given.ef_construction)?.with_seed(given.seed);
    let options = IndexOptions { params, quantization, seed: given.seed };
    let began = Instant::now();
    let built = build(&**rows, None, &options, 0, settings.threads(), &|_, _, _| Ok(()))?;
    let figure = if quantization == Quantization::None { "build_vectors_s" } else { "build_codes_s" };
    report.add(figure, began.elapsed().as_secs_f64(), "s", format!("the graph built on {name}"));
    Ok(Built { name, index: built.into_index() })
}

fn step(field: &Field<'_>, set: &Set, ef: u32) -> Result<Step> {
    let (budget, mut scratch) = (Budget::unlimited(), Scratch::new());
    let mut ids = vec![u64::MAX; set.queries.rows * LIMIT];
    let (mut hops, mut distances) = (0, 0);
    for (query, ids) in ids.chunks_mut(LIMIT).enumerate() {
        let query = set.queries.row(query);
        let ask =
            FieldAsk { query, depth: Depth::Breadth(ef), admit: &AdmitAll, budget: &budget, bound: None };
        let mut best = TopK::new(LIMIT, &BySlot);
        let stats = field.search(&ask, &mut scratch, &mut best)?;
        (hops, distances) = (hops + stats.hops, distances + stats.distances);
        best.into_sorted().iter().zip(ids).for_each(|(hit, id)| *id = hit.slot.0.into());
    }
    let count = set.queries.rows as f64;
    Ok(Step { ef, recall: recall(set, &ids), hops: hops as f64 / count, distances: distances as f64 / count })
}

/// A part of the curve at a recall, on a line between the steps around it.
fn at(curve: &[Step], target: f64, part: fn(&Step) -> f64) -> Option<f64> {
    let above = curve.iter().position(|step| step.recall >= target)?;
    let (low, high) = (&curve[above.checked_sub(1)?], &curve[above]);
    let share = (target - low.recall) / (high.recall - low.recall);
    Some((1.0 - share) * part(low) + share * part(high))
}

/// What `other` finds less than `one` at the same breadth, where `one` is neither poor nor complete: at the worst breadth, and on average.
fn lost(one: &[Step], other: &[Step]) -> (f64, f64) {
    let compared = one.iter().zip(other).filter(|(one, _)| COMPARED.contains(&one.recall));
    let lost: Vec<f64> = compared.map(|(one, other)| one.recall - other.recall).collect();
    (lost.iter().copied().fold(f64::NEG_INFINITY, f64::max), lost.iter().sum::<f64>() / lost.len() as f64)
}

fn print(name: &str, curve: &[Step]) {
    println!("  {name}\n      ef  recall@{LIMIT}      hops   distances");
    for Step { ef, recall, hops, distances } in curve {
        println!("  {ef:6}     {recall:.4}  {hops:8.1}    {distances:8.1}");
    }
}

impl Step {
    fn json(&self) -> Value {
        json!({ "ef": self.ef, "recall": self.recall, "hops": self.hops, "distances": self.distances })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::generate::Recipe;
    use crate::index::truth;

    #[test]
    fn walks_and_graphs_are_compared() {
        let (base, queries) = Recipe { rows: 1_500, queries: 40, dim: 96, seed: 2 }.make(2);
        let truth = truth::nearest(&base, &queries, LIMIT, 2);
        let mut report = Report::new("gates");
        compare(&Set { base, queries, truth }, &Settings::default(), &[10, 40, 200], &mut report).unwrap();
        assert!(report.value("recall_lost").unwrap() < 0.05);
    }

    #[test]
    fn parts_are_read_between_steps() {
        let step = |ef, recall, hops| Step { ef, recall, hops, distances: 2.0 * hops };
        let curve = [step(10, 0.90, 20.0), step(20, 0.96, 50.0)];
        assert_eq!(at(&curve, 0.93, |step| step.hops).map(f64::round), Some(35.0));
        assert_eq!(at(&curve, 0.97, |step| step.hops), None);
        let other = [step(10, 0.91, 20.0), step(20, 0.955, 50.0)];
        let (worst, mean) = lost(&curve, &other);
        assert!((worst - 0.005).abs() < 1e-9 && (mean + 0.0025).abs() < 1e-9);
    }
}
