//! What no single file can test: whole graphs over points whose answers are known.

mod build;
mod file;
mod golden;
mod merge;

use nearfield_ann::conformance::Points;
use nearfield_ann::{AdmitAll, Budget, BySlot, Effort, Flat, Hit, Scratch, Search, Stats, TopK, VectorIndex};
use nearfield_types::Slot;

use crate::verify::Verify;
use crate::{Graph, Linker, Params, Scorers};

pub(super) fn params() -> Params {
    Params::new(8, 60).unwrap()
}

/// Links `slots` in order.
pub(super) fn link(graph: &Graph, points: &Points, slots: impl Iterator<Item = u32>) {
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let same = |a, b| points.row(a) == points.row(b);
    let mut linker = Linker::new();
    for slot in slots {
        let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &same };
        graph.link(Slot(slot), &mut scorers, &mut linker).unwrap();
    }
}

pub(super) fn build(points: &Points) -> Graph {
    let graph = Graph::new(params());
    link(&graph, points, 0..points.len());
    graph
}

/// The last pass and the check of reachability.
pub(super) fn finish(graph: &Graph, points: &Points) -> u32 {
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
    let mut linker = Linker::new();
    let pass = graph.refine();
    for slot in 0..graph.len() {
        pass.forward(Slot(slot), &mut scorers, &mut linker).unwrap();
    }
    let pass = pass.turn();
    for slot in 0..graph.len() {
        pass.settle(Slot(slot), &mut scorers, &mut linker).unwrap();
    }
    graph.reconnect(&mut scorers, &mut linker).unwrap()
}

pub(super) fn ask(
    index: &dyn VectorIndex,
    points: &Points,
    query: &[f32],
    k: usize,
    ef: u32,
) -> (Vec<Hit>, Stats) {
    ask_for(index, points, query, k, Effort::Breadth(ef))
}

pub(super) fn ask_for(
    index: &dyn VectorIndex,
    points: &Points,
    query: &[f32],
    k: usize,
    effort: Effort,
) -> (Vec<Hit>, Stats) {
    let mut scorer = points.scorer(query);
    let (budget, mut best) = (Budget::unlimited(), TopK::new(k, &BySlot));
    let search = Search { effort, ..Search::new(&mut scorer, &AdmitAll, &budget) };
    let stats = index.search(search, &mut Scratch::new(), &mut best).unwrap();
    (best.into_sorted(), stats)
}

/// Queries that are no points: halfway between two.
pub(super) fn queries(points: &Points, count: u32) -> Vec<Vec<f32>> {
    let step = (points.len() / count).max(1);
    let row = |slot: u32| points.row(Slot(slot % points.len())).unwrap();
    (0..count)
        .map(|n| {
            row(n * step).iter().zip(row(n * step + step / 2 + 1)).map(|(a, b)| 0.75 * a + 0.25 * b).collect()
        })
        .collect()
}

pub(super) fn recall(index: &dyn VectorIndex, points: &Points, ef: u32) -> f64 {
    let (mut hit, mut all) = (0, 0);
    for query in queries(points, 100) {
        let (truth, _) = ask(&Flat::new(points.len()), points, &query, 10, 0);
        let (found, _) = ask(index, points, &query, 10, ef);
        let limit = truth.last().map_or(0.0, |hit| hit.score);
        hit += found.iter().filter(|hit| hit.score <= limit).count();
        all += truth.len();
    }
    hit as f64 / all as f64
}

pub(super) fn assert_whole(graph: &dyn Verify) {
    assert_eq!(graph.verify(10), []);
}
