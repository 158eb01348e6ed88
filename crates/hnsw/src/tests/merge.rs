//! Turnovers: points die, a new graph takes over what is left, others come.

use nearfield_ann::conformance::Points;
use nearfield_types::Slot;

use super::{assert_whole, build, finish, link, params, recall};
use crate::{Adopted, Graph, GraphView, Linker, Scorers, Stage, Step};

/// Takes `source` over into `graph`, whose slots hold `points`.
fn adopt(graph: &Graph, source: &Graph, points: &Points, moved: &dyn Fn(Slot) -> Option<Slot>) -> Adopted {
    let same = |a, b| points.row(a) == points.row(b);
    let each = |_: Stage, count: u32, step: &Step<'_>| {
        let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
        let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &same };
        let mut linker = Linker::new();
        (0..count).try_for_each(|at| step(at, &mut scorers, &mut linker))
    };
    graph.adopt(&GraphView::of(source), moved, &each).unwrap()
}

/// Makes every node reachable.
fn reconnect(graph: &Graph, points: &Points) {
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
    graph.reconnect(&mut scorers, &mut Linker::new()).unwrap();
}

/// Keeps those of `points` that `lives` says and adds `added`; the survivors keep their order.
fn turn_over(
    graph: &Graph,
    points: &Points,
    lives: impl Fn(u32) -> bool,
    added: &Points,
) -> (Graph, Points, Adopted) {
    let dim = points.dim();
    let mut rows = Vec::new();
    let mut moved = vec![None; points.len() as usize];
    for slot in (0..points.len()).filter(|&slot| lives(slot)) {
        moved[slot as usize] = Some(Slot((rows.len() / dim) as u32));
        rows.extend_from_slice(points.row(Slot(slot)).unwrap());
    }
    let kept = (rows.len() / dim) as u32;
    rows.extend_from_slice(added.rows());
    let points = Points::from_rows(dim, rows);
    let merged = Graph::new(params().with_seed(99));
    let adopted = adopt(&merged, graph, &points, &|slot| moved[slot.index()]);
    assert_eq!(adopted.slots.len(), kept as usize);
    link(&merged, &points, kept..points.len());
    (merged, points, adopted)
}

#[test]
fn five_turnovers_are_as_good_as_a_fresh_build() {
    let mut points = Points::clustered(2_000, 12, 40);
    let mut graph = build(&points);
    finish(&graph, &points);
    for round in 0..5u32 {
        let added = Points::clustered(400, 12, 41 + u64::from(round));
        let (merged, now, adopted) = turn_over(&graph, &points, |slot| slot % 5 != round % 5, &added);
        assert!(adopted.chosen > 0);
        (graph, points) = (merged, now);
        finish(&graph, &points);
        assert_whole(&graph);
    }
    let fresh = build(&points);
    finish(&fresh, &points);
    let (merged, fresh) = (recall(&graph, &points, 16), recall(&fresh, &points, 16));
    assert!(merged > fresh - 0.01, "{merged} against {fresh}");
}

#[test]
fn a_chain_whose_head_dies_lives_on() {
    let unique = Points::clustered(200, 8, 50);
    let points = Points::from_rows(8, unique.rows().repeat(3));
    let graph = build(&points);
    let added = Points::clustered(0, 8, 1);
    let (merged, points, _) = turn_over(&graph, &points, |slot| slot >= 200 && slot != 207, &added);
    assert_whole(&merged);
    assert_eq!((merged.linked(), merged.stats().duplicates), (399, 199));
    assert!(recall(&merged, &points, 60) > 0.98);
}

#[test]
fn nothing_left_is_an_empty_graph() {
    let points = Points::clustered(100, 4, 1);
    let (merged, points, adopted) =
        turn_over(&build(&points), &points, |_| false, &Points::clustered(30, 4, 2));
    assert_eq!((adopted.slots.len(), merged.linked()), (0, 30));
    assert_eq!(recall(&merged, &points, 30), 1.0);
}

/// Graphs of parts of the points, finished each on its own.
fn parts(points: &Points, ends: &[u32]) -> Vec<(Graph, u32)> {
    let mut first = 0;
    let mut part = |&end: &u32| {
        let rows = &points.rows()[first as usize * points.dim()..end as usize * points.dim()];
        let own = Points::from_rows(points.dim(), rows.to_vec());
        let graph = build(&own);
        finish(&graph, &own);
        (graph, std::mem::replace(&mut first, end))
    };
    ends.iter().map(&mut part).collect()
}

/// Joins them as they are: no last pass over all.
fn joined(points: &Points, parts: &[(Graph, u32)]) -> Graph {
    let merged = Graph::new(params());
    for (part, first) in parts {
        adopt(&merged, part, points, &|slot| Some(Slot(first + slot.0)));
    }
    reconnect(&merged, points);
    merged
}

#[test]
fn joined_graphs_find_as_much_as_one_built_at_once() {
    let points = Points::clustered(3_000, 12, 60);
    let fresh = build(&points);
    finish(&fresh, &points);
    let fresh = recall(&fresh, &points, 16);
    for ends in [&[1_500, 3_000][..], &[2_000, 2_900, 3_000], &[2_999, 3_000]] {
        let merged = joined(&points, &parts(&points, ends));
        assert_whole(&merged);
        assert_eq!(merged.linked(), 3_000);
        let merged = recall(&merged, &points, 16);
        assert!(merged > fresh - 0.02, "{ends:?}: {merged} against {fresh}");
    }
}

#[test]
fn what_stands_already_is_chained_when_it_joins() {
    let half = Points::clustered(400, 8, 61);
    // The second half holds the rows of the first, and the second half of itself holds its own first.
    let rows = [half.rows(), &half.rows()[..half.rows().len() / 2], &half.rows()[..half.rows().len() / 2]];
    let points = Points::from_rows(8, rows.concat());
    let merged = joined(&points, &parts(&points, &[400, 800]));
    assert_whole(&merged);
    assert_eq!((merged.linked(), merged.stats().duplicates), (800, 400));
    assert!(recall(&merged, &points, 60) > 0.98);
}

#[test]
fn the_dead_of_both_sides_are_left_out() {
    let points = Points::clustered(3_000, 12, 62);
    let lives = |slot: u32| !slot.is_multiple_of(3);
    let mut rows = Vec::new();
    let mut moved = vec![None; 3_000];
    for slot in (0..3_000).filter(|&slot| lives(slot)) {
        moved[slot as usize] = Some(Slot((rows.len() / 12) as u32));
        rows.extend_from_slice(points.row(Slot(slot)).unwrap());
    }
    let living = Points::from_rows(12, rows);
    let merged = Graph::new(params());
    for (part, first) in parts(&points, &[1_800, 3_000]) {
        adopt(&merged, &part, &living, &|slot| moved[(first + slot.0) as usize]);
    }
    reconnect(&merged, &living);
    assert_whole(&merged);
    assert_eq!(merged.linked(), 2_000);
    let fresh = build(&living);
    finish(&fresh, &living);
    let (merged, fresh) = (recall(&merged, &living, 16), recall(&fresh, &living, 16));
    assert!(merged > fresh - 0.02, "{merged} against {fresh}");
}

#[test]
fn a_pass_over_some_slots_leaves_the_rows_of_others_but_where_they_are_named() {
    let points = Points::clustered(1_200, 8, 63);
    let graph = build(&points);
    finish(&graph, &points);
    let rows = |graph: &Graph| (0..1_200).map(|slot| graph.neighbours(Slot(slot), 0)).collect::<Vec<_>>();
    let before = rows(&graph);
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
    let mut linker = Linker::new();
    let pass = graph.refine();
    (0..10).for_each(|slot| pass.forward(Slot(slot), &mut scorers, &mut linker).unwrap());
    let pass = pass.turn();
    let targets = pass.targets();
    assert!((10..400).contains(&targets.len()), "{}", targets.len());
    targets.iter().for_each(|&slot| pass.settle(slot, &mut scorers, &mut linker).unwrap());
    for (slot, (before, after)) in before.iter().zip(rows(&graph)).enumerate() {
        assert!(*before == after || targets.contains(&Slot(slot as u32)), "{slot}");
    }
    reconnect(&graph, &points);
    assert_whole(&graph);
}
